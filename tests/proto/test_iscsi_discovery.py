# SPDX-License-Identifier: BSD-3-Clause
"""Discovery sessions, SendTargets, private portals, redirection, IPv6."""
import pytest

from gantry import free_port, has_ipv6, wait_until
from iscsi import (FINAL, FULL_FEATURE, INITIATOR, MOVED_TEMPORARILY, NONE, NOT_FOUND, OPERATIONAL, REJECT,
                   SCSI_COMMAND, TASK_MANAGEMENT, TEXT, Ended, LoginFailed, Session, good, make_pdu, make_text)


def test_all_targets(iscsi):
    """A host would not find the disk, or only one of its ways."""
    with iscsi.discovery() as s:
        found = s.targets()
        assert found[iscsi.name] == [f"127.0.0.1:{port},{tag}" for tag, port in enumerate(iscsi.node.ports, 1)]
        assert s.targets() == found     # may be asked for again
        assert s.logout() == 0
        s.expect_closed()


def test_thousands_of_requests_at_once(iscsi):
    """Each is worth a list of all targets, which nobody reads: they end the session before they fill the memory."""
    names = [f"iqn.2026-11.test:{n:03}" + "n" * 200 for n in range(200)]
    for name in names:
        iscsi.daemon.rpc("iscsi_create_target_node", name=name, alias_name="", luns=[], queue_depth=8,
                         pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}])
    rss = iscsi.daemon.rss_kib()
    with iscsi.discovery(receive_buffer=4096) as s:
        one = make_pdu(TEXT, immediate=True, itt=9, words=(NONE, s.cmdsn, s.expstatsn),
                       data=make_text({"SendTargets": "All"}))
        try:
            s.send(one * 3000)
        except OSError:
            pass        # it was ended already
        iscsi.check_serves()
        if not iscsi.daemon.is_sanitized:
            assert iscsi.daemon.rss_kib() < rss + 16 * 1024, "answers nobody takes are kept in memory"
    for name in names:
        iscsi.daemon.rpc("iscsi_delete_target_node", name=name)
    iscsi.check_serves()


def test_one_target(iscsi):
    with iscsi.discovery() as s:
        assert list(s.targets(iscsi.name)) == [iscsi.name]
        assert s.targets("iqn.2016-06.io.gantry:nobody") == {}


def test_in_a_normal_session(iscsi):
    """There "All" is not for the asking; the session's own target is (RFC 7143, appendix C)."""
    with iscsi.session() as s:
        assert list(s.targets("")) == [iscsi.name]
        assert list(s.targets(iscsi.name)) == [iscsi.name]
        assert s.text({"SendTargets": "All"}).pairs in ([("SendTargets", "Reject")], [])
        good(s.test_unit_ready())


def test_no_commands_in_a_discovery_session(iscsi):
    """Who never said which disk it wants, and was never asked who it is, would get at one."""
    for opcode in (SCSI_COMMAND, TASK_MANAGEMENT):
        with iscsi.discovery() as s:
            s.send_pdu(opcode, FINAL | 1, itt=7, words=(0, s.cmdsn, s.expstatsn))
            try:
                assert s.recv_pdu().opcode == REJECT
            except Ended:
                pass


def test_nop_in_a_discovery_session(iscsi):
    with iscsi.discovery() as s:
        assert s.nop(b"ping").data == b"ping"


def test_many_targets(iscsi):
    """An answer of several PDUs (C bit) would be cut, or its parts exchanged."""
    rpc = iscsi.daemon.rpc
    names = [f"iqn.2016-06.io.gantry:many{i:03}" for i in range(150)]
    for name in names:
        rpc("iscsi_create_target_node", name=name, alias_name="many", queue_depth=16, disable_chap=True,
            pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}, {"pg_tag": 2, "ig_tag": 1}],
            luns=[])
    try:
        for keys in ({}, {"MaxRecvDataSegmentLength": "512"}):
            with iscsi.discovery(keys=keys) as s:
                found = s.targets()
                assert set(names) | {iscsi.name} == set(found)
                assert all(len(addresses) == 2 for addresses in found.values())
    finally:
        for name in names:
            rpc("iscsi_delete_target_node", name=name)


def test_who_may_see_what(iscsi):
    """An initiator would be told of disks that are not its own, or get at them."""
    rpc = iscsi.daemon.rpc
    rpc("iscsi_create_initiator_group", tag=7, initiators=["iqn.2026-11.test:friend"], netmasks=["127.0.0.0/8"])
    name = "iqn.2016-06.io.gantry:ours"
    rpc("iscsi_create_target_node", name=name, alias_name="x", queue_depth=16, disable_chap=True, luns=[],
        pg_ig_maps=[{"pg_tag": 1, "ig_tag": 7}])
    try:
        with iscsi.discovery() as s:
            assert name not in s.targets() and s.targets(name) == {}
        with iscsi.discovery(initiator="iqn.2026-11.test:friend") as s:
            assert s.targets()[name] == [f"127.0.0.1:{iscsi.port},1"]
        with pytest.raises(LoginFailed) as e:
            Session(iscsi.port, name)
        assert e.value.status in (0x202, NOT_FOUND)
        with pytest.raises(LoginFailed) as e:    # by a portal group that does not have it
            Session(iscsi.node.ports[1], name, initiator="iqn.2026-11.test:friend")
        assert e.value.status in (0x202, NOT_FOUND)
        Session(iscsi.port, name, initiator="iqn.2026-11.test:friend").close()
    finally:
        rpc("iscsi_delete_target_node", name=name)
        rpc("iscsi_delete_initiator_group", tag=7)


def test_redirect(iscsi):
    """A login that is to go elsewhere would stay, or not be told where to go."""
    rpc = iscsi.daemon.rpc
    port = free_port()
    rpc("iscsi_create_portal_group", tag=9, portals=[{"host": "127.0.0.1", "port": str(port)}], private=True)
    name = "iqn.2016-06.io.gantry:moved"
    rpc("iscsi_create_target_node", name=name, alias_name="x", queue_depth=16, disable_chap=True, luns=[],
        pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}, {"pg_tag": 9, "ig_tag": 1}])
    try:
        with iscsi.discovery() as s:    # private: not told
            assert s.targets()[name] == [f"127.0.0.1:{iscsi.port},1"]
        rpc("iscsi_target_node_set_redirect", name=name, pg_tag=1, redirect_host="127.0.0.1", redirect_port=str(port))
        with iscsi.conn() as c:
            answer = c.login_step(OPERATIONAL, FULL_FEATURE, {"InitiatorName": INITIATOR, "SessionType": "Normal",
                                                              "TargetName": name})
            assert answer.status == MOVED_TEMPORARILY
            assert answer.keys["TargetAddress"].split(",")[0] == f"127.0.0.1:{port}"
            c.expect_closed()
        Session(port, name).close()
        rpc("iscsi_target_node_set_redirect", name=name, pg_tag=1)
        Session(iscsi.port, name).close()
    finally:
        rpc("iscsi_delete_target_node", name=name)
        rpc("iscsi_delete_portal_group", tag=9)


@pytest.mark.skipif(not has_ipv6(), reason="no ::1 here")
def test_ipv6(iscsi):
    """Addresses in brackets, as hosts expect them."""
    rpc = iscsi.daemon.rpc
    port = free_port()
    rpc("iscsi_create_portal_group", tag=6, portals=[{"host": "[::1]", "port": str(port)}])
    name = "iqn.2016-06.io.gantry:six"
    rpc("bdev_malloc_create", name="six", num_blocks=8192, block_size=512)
    rpc("iscsi_create_initiator_group", tag=6, initiators=["ANY"], netmasks=["[::1]/128"])
    rpc("iscsi_create_target_node", name=name, alias_name="x", queue_depth=16, disable_chap=True,
        luns=[{"bdev_name": "six", "lun_id": 0}], pg_ig_maps=[{"pg_tag": 6, "ig_tag": 6}])
    try:
        with Session(port, None, host="::1") as s:
            assert s.targets()[name] == [f"[::1]:{port},6"]
        with Session(port, name, host="::1") as s:
            good(s.write(0, b"6" * 512))
            assert s.read(0, 1) == b"6" * 512
            wait_until(lambda: name in [c["target_name"] for c in rpc("iscsi_get_connections")], "the connection")
    finally:
        rpc("iscsi_delete_target_node", name=name)
        rpc("iscsi_delete_portal_group", tag=6)
        rpc("iscsi_delete_initiator_group", tag=6)
        rpc("bdev_malloc_delete", name="six")
