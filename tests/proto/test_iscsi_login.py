# SPDX-License-Identifier: BSD-3-Clause
"""The stages of a login: who gets in, who is refused and with which status (RFC 7143, 6.3 and 11.13)."""
import pytest

from iscsi import (CANNOT_INCLUDE, DATA_OUT, FULL_FEATURE, INITIATOR, INITIATOR_ERROR, INVALID_DURING_LOGIN, LOGIN,
                   LOGOUT, MISSING_PARAMETER, NO_SESSION, NOP_OUT, NOT_FOUND, OPERATIONAL, SCSI_COMMAND, SECURITY,
                   SESSION_TYPE, SNACK, SUCCESS, TASK_MANAGEMENT, TEXT, UNSUPPORTED_VERSION, Ended, Rejected, make_pdu,
                   make_text)


def names(iscsi, **more):
    return {"InitiatorName": INITIATOR, "SessionType": "Normal", "TargetName": iscsi.name, **more}


def test_straight_to_full_feature(iscsi):
    """A host that needs no security stage (libiscsi, Windows) would not get in with one request."""
    with iscsi.conn() as c:
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, names(iscsi))
        assert answer.status == SUCCESS and answer.transit and answer.csg == OPERATIONAL
        assert answer.nsg == FULL_FEATURE and answer.tsih != 0
        assert answer.keys["TargetPortalGroupTag"] == "1"


def test_security_then_operational(iscsi):
    """open-iscsi begins with AuthMethod even if there is nothing to prove."""
    with iscsi.conn() as c:
        answer = c.login_step(SECURITY, OPERATIONAL, names(iscsi, AuthMethod="None"))
        assert answer.status == SUCCESS and answer.transit and answer.nsg == OPERATIONAL
        assert answer.keys["AuthMethod"] == "None" and answer.keys["TargetPortalGroupTag"] == "1"
        assert answer.tsih == 0
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, {"HeaderDigest": "None"})
        assert answer.status == SUCCESS and answer.transit and answer.tsih != 0
        assert "TargetPortalGroupTag" not in answer.keys


def test_security_to_full_feature(iscsi):
    """The operational stage may be left out: all defaults."""
    with iscsi.conn() as c:
        answer = c.login_step(SECURITY, FULL_FEATURE, names(iscsi, AuthMethod="None"))
        assert answer.status == SUCCESS and answer.transit and answer.nsg == FULL_FEATURE and answer.tsih != 0


def test_security_without_auth_method(iscsi):
    """Who offers no AuthMethod means None."""
    with iscsi.conn() as c:
        answer = c.login_step(SECURITY, OPERATIONAL, names(iscsi))
        assert answer.status == SUCCESS and answer.transit


def test_initiator_that_does_not_transit_yet(iscsi):
    """The target may not leave a stage that the initiator wants to stay in."""
    with iscsi.conn() as c:
        for keys in (names(iscsi), {}, {"ImmediateData": "Yes"}):
            answer = c.login_step(OPERATIONAL, 0, keys, transit=False)
            assert answer.status == SUCCESS and not answer.transit and answer.csg == OPERATIONAL
        answer = c.login_step(OPERATIONAL, FULL_FEATURE)
        assert answer.transit and answer.nsg == FULL_FEATURE


def test_keys_over_several_pdus(iscsi):
    """Keys that are cut anywhere (C bit) would be taken apart wrongly."""
    text = make_text(names(iscsi, InitiatorAlias="a" * 200, MaxBurstLength="65536"))
    with iscsi.conn() as c:
        cuts = [0, 1, 13, 14, 15, 40, 100, len(text) - 1]
        for start, end in zip(cuts, cuts[1:]):
            answer = c.login_step(OPERATIONAL, 0, text[start:end], transit=False, cont=True)
            assert answer.status == SUCCESS and not answer.pairs and not answer.transit
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, text[cuts[-1]:])
        assert answer.transit and answer.keys["MaxBurstLength"] == "65536"


def test_names_in_any_case(iscsi):
    """iSCSI names are compared as if they were lower case."""
    with iscsi.conn() as c:
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, names(iscsi, TargetName=iscsi.name.upper()))
        assert answer.status == SUCCESS


REFUSED = {
    "no initiator name": ({"InitiatorName": None}, MISSING_PARAMETER),
    "no target name": ({"TargetName": None}, MISSING_PARAMETER),
    "unknown target": ({"TargetName": "iqn.2016-06.io.gantry:other"}, NOT_FOUND),
    "unknown session type": ({"SessionType": "Other"}, SESSION_TYPE),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(iscsi, what):
    """The reason would not be told, or who has no business here would be let in."""
    change, status = REFUSED[what]
    keys = {k: v for k, v in {**names(iscsi), **change}.items() if v is not None}
    with iscsi.conn() as c:
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, keys)
        assert answer.status == status
        c.expect_closed()


def test_no_session_type_means_normal(iscsi):
    keys = names(iscsi)
    del keys["SessionType"]
    with iscsi.conn() as c:
        assert c.login_step(OPERATIONAL, FULL_FEATURE, keys).status == SUCCESS


def refused_at_once(iscsi, *statuses, csg=OPERATIONAL, nsg=FULL_FEATURE, **wrong):
    with iscsi.conn() as c:
        answer = c.login_step(csg, nsg, names(iscsi), **wrong)
        assert answer.status in statuses, f"{answer.status:#x}"
        c.expect_closed()


def test_version_too_new(iscsi):
    refused_at_once(iscsi, UNSUPPORTED_VERSION, version_min=1, version_max=1)


def test_newer_version_with_a_range_is_fine(iscsi):
    with iscsi.conn() as c:
        assert c.login_step(OPERATIONAL, FULL_FEATURE, names(iscsi), version_max=3).status == SUCCESS


def test_session_that_is_not_there(iscsi):
    refused_at_once(iscsi, NO_SESSION, tsih=0x7777)


def test_second_connection_of_a_session(iscsi):
    """MaxConnections is 1."""
    with iscsi.session() as s, iscsi.conn() as c:
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, names(iscsi), tsih=s.tsih, cid=2)
        assert answer.status in (CANNOT_INCLUDE, 0x206)
        c.expect_closed()
        assert s.test_unit_ready().status == 0


@pytest.mark.parametrize("csg, nsg", [(2, 3), (0, 2), (1, 0), (1, 1), (0, 0), (3, 3)])
def test_stages_that_do_not_follow(iscsi, csg, nsg):
    refused_at_once(iscsi, INITIATOR_ERROR, INVALID_DURING_LOGIN, csg=csg, nsg=nsg)


def test_transit_and_continue_together(iscsi):
    refused_at_once(iscsi, INITIATOR_ERROR, INVALID_DURING_LOGIN, cont=True)


def test_back_to_security(iscsi):
    """Who has left the security stage could come back as somebody else."""
    with iscsi.conn() as c:
        assert c.login_step(SECURITY, OPERATIONAL, names(iscsi, AuthMethod="None")).status == SUCCESS
        answer = c.login_step(SECURITY, OPERATIONAL, {"AuthMethod": "None"})
        assert answer.status in (INITIATOR_ERROR, INVALID_DURING_LOGIN)
        c.expect_closed()


def test_a_key_twice(iscsi):
    """A key is negotiated once in a login."""
    with iscsi.conn() as c:
        c.login_step(OPERATIONAL, 0, names(iscsi, MaxBurstLength="65536"), transit=False)
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, {"MaxBurstLength": "4096"})
        assert answer.status == INITIATOR_ERROR
        c.expect_closed()


@pytest.mark.parametrize("change", [{"isid": b"\x80\0\0\0\0\x99"}, {"itt": 99}, {"cid": 9}],
                         ids=lambda change: next(iter(change)))
def test_identity_changes_within_a_login(iscsi, change):
    """ISID, CID and ITT are those of the first request."""
    with iscsi.conn() as c:
        c.login_step(OPERATIONAL, 0, names(iscsi), transit=False)
        answer = c.login_step(OPERATIONAL, FULL_FEATURE, **change)
        assert answer.status in (INITIATOR_ERROR, INVALID_DURING_LOGIN)
        c.expect_closed()


@pytest.mark.parametrize("opcode", [NOP_OUT, SCSI_COMMAND, TASK_MANAGEMENT, TEXT, DATA_OUT, LOGOUT, SNACK, 0x1f],
                         ids=hex)
@pytest.mark.parametrize("begun", [False, True], ids=["first", "within"])
def test_something_else_before_the_end_of_the_login(iscsi, opcode, begun):
    """Commands of somebody who has not logged in would be executed."""
    with iscsi.conn() as c:
        if begun:
            c.login_step(OPERATIONAL, 0, names(iscsi), transit=False)
        c.send_pdu(opcode, itt=7, words=(32, 1, 1))
        try:
            answer = c.login_response()
        except (Ended, Rejected):
            pass
        else:
            assert answer.status in (INITIATOR_ERROR, INVALID_DURING_LOGIN)
        c.expect_closed(10)
    iscsi.check_serves()


def test_login_pdu_that_is_too_long(iscsi):
    """In a login 8192 bytes of data are the most."""
    with iscsi.conn() as c:
        c.login_request(OPERATIONAL, FULL_FEATURE, names(iscsi), data_length=0x10000)
        try:
            assert c.login_response().status in (INITIATOR_ERROR, INVALID_DURING_LOGIN)
        except (Ended, Rejected):
            pass
        c.expect_closed()
    iscsi.check_serves()


def test_text_without_an_end(iscsi):
    """Text that never ends (C bit for ever) would take all memory."""
    with iscsi.conn() as c:
        for _ in range(1000):
            try:
                answer = c.login_step(OPERATIONAL, 0, b"A" * 8000, transit=False, cont=True)
            except (Ended, BrokenPipeError, ConnectionResetError):
                break
            if answer.status != SUCCESS:
                assert answer.status & 0xff00 in (0x200, 0x300)
                break
        else:
            pytest.fail("8 MB of one key were taken")
    iscsi.check_serves()


@pytest.mark.parametrize("text", [b"InitiatorName", b"=x\0", b"\0\0\0\0", b"A=" + b"b" * 300, b"\xff\xfe=1\0",
                                  b"A=\xff\0", b"K" * 100 + b"=1\0"], ids=range(7))
def test_garbage_for_text(iscsi, text):
    """Text that is no text would be read beyond its end; nobody else may notice."""
    with iscsi.conn() as c:
        try:
            c.login_step(OPERATIONAL, FULL_FEATURE, text)
        except (Ended, Rejected, AssertionError):
            pass
    iscsi.check_serves()


def test_who_is_silent_is_closed(iscsi):
    """Connections that never log in would use up all there are."""
    iscsi.daemon.rpc("iscsi_set_options", login_timeout_ms=3000)
    silent, half = iscsi.conn(), iscsi.conn()
    half.login_step(OPERATIONAL, 0, names(iscsi), transit=False)
    half.send(bytes([LOGIN]))
    iscsi.check_serves()
    for c in (silent, half):
        c.expect_closed(60)
        c.close()
    iscsi.daemon.rpc("iscsi_set_options", login_timeout_ms=15000)


@pytest.mark.parametrize("again", [False, True], ids=["no session yet", "a session that ends first"])
def test_more_behind_the_last_request(iscsi, again):
    """Commands in the same segment as the request that ends the login: the session is about to go to a core, or waits
    for an older one to end. They end it; nobody else may notice."""
    last = make_pdu(LOGIN, 0x87, immediate=True, lun=b"\x80\0\0\0\0\1\0\0", itt=0, words=(1 << 16, 1, 0),
                    data=make_text(names(iscsi)))
    for more in (b"\0", make_pdu(NOP_OUT, immediate=True, itt=5, words=(0xffffffff, 1, 0)) * 4):
        old = iscsi.session() if again else None
        with iscsi.conn() as c:
            c.send(last + more)
            try:
                while True:
                    c.recv_pdu()
            except Ended:
                pass
        if old:
            old.close()
    iscsi.check_serves()
