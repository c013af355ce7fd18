# SPDX-License-Identifier: BSD-3-Clause
"""How sessions end and come again: reinstatement, logout, requests to log out, connections that are cut."""
import os
import socket

import pytest

import pr
from gantry import wait_until
from iscsi import (ASYNC, FULL_FEATURE, INITIATOR, LOGOUT, NO_SESSION, NONE, OPERATIONAL, REJECT, SUCCESS, Ended,
                   LoginFailed, Session, good, read_cdb, write_cdb)

OTHER_ISID = b"\x80\0\0\0\0\x02"


def connections(iscsi):
    return [c for c in iscsi.daemon.rpc("iscsi_get_connections") if c["target_name"] == iscsi.name]


def wait_for(iscsi, count):
    return wait_until(lambda: len(connections(iscsi)) == count, f"{count} connections")


def test_who_logs_in_again_gets_a_new_session(iscsi):
    """A host that crashed comes back and finds its old session still there: the old one ends, the new one begins."""
    with iscsi.session() as old:
        old.hold_r2t = True
        old.submit(write_cdb(0, 4), b"o" * 2048, immediate_data=0)
        old.wait_r2t()
        with iscsi.session() as new:
            assert new.tsih != old.tsih
            old.expect_closed()
            good(new.write(0, b"n" * 2048))
            assert new.read(0, 4) == b"n" * 2048
            wait_for(iscsi, 1)


def test_who_names_its_session_and_connection_takes_its_place(iscsi):
    """Connection reinstatement (RFC 7143 6.3.4): a host whose connection broke comes back to its session. It keeps its
    TSIH and what was agreed for it; the old connection's tasks end, and it is closed before the login is answered."""
    with iscsi.session({"MaxBurstLength": "1024", "FirstBurstLength": "512", "InitialR2T": "Yes"}) as old:
        old.hold_r2t = True
        old.submit(write_cdb(0, 4), b"o" * 2048, immediate_data=0)
        old.wait_r2t()
        with iscsi.session(tsih=old.tsih, cmdsn=old.cmdsn) as new:
            assert new.tsih == old.tsih
            old.expect_closed()
            new.hold_r2t = True
            itt = new.submit(write_cdb(0, 4), b"n" * 2048, immediate_data=0)
            for offset in (0, 1024):
                _, ttt, at, length = new.wait_r2t()
                assert (at, length) == (offset, 1024)       # MaxBurstLength was the session's
                new.send_sequence(itt, ttt, at, length)
            good(new.wait(itt))
            assert new.read(0, 2) == b"n" * 1024
            wait_for(iscsi, 1)
            with iscsi.session(tsih=new.tsih, cmdsn=new.cmdsn) as third:
                assert third.tsih == old.tsih
                new.expect_closed()
                good(third.test_unit_ready())
    wait_for(iscsi, 0)


@pytest.mark.parametrize("other", [{"isid": OTHER_ISID}, {"initiator": INITIATOR + "2"}, {"portal": 1}])
def test_nobody_else_takes_its_place(iscsi, other):
    """The TSIH alone names no session: it is that initiator port's."""
    with iscsi.session() as s:
        with pytest.raises(LoginFailed) as failed:
            iscsi.session(tsih=s.tsih, **other)
        assert failed.value.status == NO_SESSION
        good(s.test_unit_ready())


def test_who_logs_in_last_stays(iscsi):
    """Whose connection was there first does not matter: the later login replaces the earlier one."""
    with iscsi.conn() as first, iscsi.session() as old:
        answer = first.login_step(OPERATIONAL, FULL_FEATURE, {"InitiatorName": INITIATOR, "SessionType": "Normal",
                                                              "TargetName": iscsi.name})
        assert answer.status == SUCCESS and answer.tsih not in (0, old.tsih)
        old.expect_closed()
        wait_for(iscsi, 1)
    wait_for(iscsi, 0)


def test_again_and_again(iscsi):
    last = iscsi.session()
    for _ in range(20):
        new = iscsi.session(attentions=False)
        last.expect_closed()
        last.close()
        last = new
    last.clear_attentions()
    good(last.test_unit_ready())
    last.close()
    wait_for(iscsi, 0)


def test_the_longest_name_has_ports_too(iscsi):
    """An initiator port is a name and an ISID: of the longest name both have to fit."""
    name = "iqn.2026-11.test:" + "x" * 206
    with iscsi.session(initiator=name, isid=b"\x80\0\0\0\0\1") as a, \
            iscsi.session(initiator=name, isid=b"\x80\0\0\0\0\2") as b:
        good(a.test_unit_ready())
        good(b.test_unit_ready())


def test_other_ports_are_other_sessions(iscsi):
    """Another ISID, another initiator, another portal group: each has a session of its own."""
    sessions = [iscsi.session(), iscsi.session(isid=OTHER_ISID), iscsi.session(initiator=INITIATOR + "2"),
                iscsi.session(portal=1)]
    assert len({s.tsih for s in sessions}) == len(sessions)
    for s in sessions:
        good(s.test_unit_ready())
        s.close()
    wait_for(iscsi, 0)


def test_logout(iscsi):
    """A host would wait in vain when it says goodbye."""
    for reason in (0, 1):
        with iscsi.session() as s:
            assert s.logout(reason) == 0
            s.expect_closed()
        wait_for(iscsi, 0)


def test_logout_of_another_connection(iscsi):
    with iscsi.session() as s:
        assert s.logout(1, words=lambda cmdsn, expstatsn: (9 << 16, cmdsn, expstatsn)) == 1     # CID not found
        good(s.test_unit_ready())


def test_logout_for_recovery(iscsi):
    """Not at recovery level 0."""
    with iscsi.session() as s:
        assert s.logout(2) in (1, 2)
        iscsi.check_serves()


def test_logout_waits_for_what_came_before(iscsi):
    """A logout that is not immediate has its place among the commands."""
    data = os.urandom(64 * 1024)
    with iscsi.session() as s:
        itts = [s.submit(read_cdb(0, 128), expect=len(data)) for _ in range(8)]
        assert s.logout(immediate=False) == 0
        assert all(itt in s.done or itt in s.outstanding for itt in itts)
        s.expect_closed()


def test_logout_and_more(iscsi):
    """What comes after a logout is not executed."""
    with iscsi.session() as s:
        good(s.write(0, b"a" * 512))
        s.request(LOGOUT, words=lambda cmdsn, expstatsn: (1 << 16, cmdsn, expstatsn))
        s.submit(write_cdb(0, 1), b"b" * 512)
        try:
            while True:
                s.recv_pdu()
        except Ended:
            pass
    with iscsi.session() as s:
        assert s.read(0, 1) == b"a" * 512


def test_hosts_are_asked_to_log_out(iscsi):
    """An asynchronous message, event 1, with the time there is."""
    with iscsi.session() as s:
        iscsi.daemon.rpc("iscsi_target_node_request_logout", name=iscsi.name)
        pdu = s.recv_pdu()
        assert pdu.opcode == ASYNC and pdu.itt == NONE and pdu.bhs[36] == 1, str(pdu)
        assert s.logout() == 0
        s.expect_closed()


def test_a_cut_connection_is_noticed(iscsi):
    """FIN or RST, with commands under way: the session goes, and nothing of it is left."""
    for cut in ("close", "reset"):
        for _ in range(5):
            s = iscsi.session(attentions=False)
            for n in range(16):
                s.submit(read_cdb(n, 256), expect=256 * 512)
            s.hold_r2t = True
            s.submit(write_cdb(0, 4), b"o" * 2048, immediate_data=0)
            getattr(s, cut)()
    wait_for(iscsi, 0)
    iscsi.check_serves()


def test_half_closed(iscsi):
    """Who sends no more may still wait for answers: it gets them, or the end; it is not kept."""
    with iscsi.session() as s:
        itt = s.submit(read_cdb(0, 8), expect=4096)
        s.sock.shutdown(socket.SHUT_WR)
        try:
            s.wait(itt)
        except Ended:
            pass
        s.expect_closed()
    wait_for(iscsi, 0)


def test_who_has_logged_out_holds_nothing(iscsi):
    """Another host is told to go on when the first has logged out, and would meet its RESERVE still: the answer says
    that the session is over. Often, since it is a matter of moments."""
    with iscsi.session(initiator=INITIATOR + ":other") as other:
        other.clear_attentions()
        for _ in range(50):
            with iscsi.session() as s:
                s.clear_attentions()
                good(s.command(pr.RESERVE_6))
                assert s.logout() == 0
                good(other.command(pr.RESERVE_6))
                good(other.command(pr.RELEASE_6))
    wait_for(iscsi, 0)


def test_connections_say_what_they_are(iscsi):
    """An administrator could not tell who is there."""
    with iscsi.session() as s:
        (c,) = wait_until(lambda: connections(iscsi), "the connection")
        assert c["initiator_addr"].startswith("127.0.0.1") and c["target_addr"].startswith("127.0.0.1")
        assert c["tsih"] == s.tsih and c["cid"] == 1


def test_a_node_that_is_deleted(iscsi):
    """Its sessions end, then it is gone; the others stay."""
    rpc = iscsi.daemon.rpc
    name = "iqn.2016-06.io.gantry:short"
    rpc("bdev_malloc_create", name="short", num_blocks=8192, block_size=512)
    rpc("iscsi_create_target_node", name=name, alias_name="x", queue_depth=16, disable_chap=True,
        luns=[{"bdev_name": "short", "lun_id": 0}], pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}])
    with iscsi.session() as stays, Session(iscsi.port, name) as s:
        itts = [s.submit(read_cdb(n, 8), expect=4096) for n in range(8)]
        rpc("iscsi_delete_target_node", name=name)
        try:
            while True:
                assert s.recv_pdu().opcode != REJECT
        except Ended:
            pass
        good(stays.test_unit_ready())
        with pytest.raises(LoginFailed):
            Session(iscsi.port, name)
        del itts
    rpc("bdev_malloc_delete", name="short")
