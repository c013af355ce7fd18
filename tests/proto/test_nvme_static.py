# SPDX-License-Identifier: BSD-3-Clause
"""Controllers of the static model: who gets which, and what of one lasts from host to host (NVMe base 2.2, 3.1.2, 4.4
and 6.3)."""
import json
import struct

import pytest

from gantry import Daemon, RpcError, free_port, wait_until
from jsonrpc import gantry
from nvme_tcp import (ADMIN_GET_FEATURES, ADMIN_SET_FEATURES, CC, CONNECT_CONTROLLER_BUSY, CONNECT_INVALID_HOST,
                      CONNECT_INVALID_PARAMETERS, CSTS, HOST_NQN, OK, Conn, Host, crc32c, must, sqe)
from test_nvme_discovery import Discovery

DYNAMIC, ANY = 0xffff, 0xfffe
NOT_SAVEABLE, INVALID_FIELD = 0x10d, 0x02
ARBITRATION, TEMPERATURE, ERROR_RECOVERY, WRITE_CACHE, WRITE_ATOMIC, EVENTS = 0x01, 0x04, 0x05, 0x06, 0x0a, 0x0b
CURRENT, DEFAULT, SAVED, SUPPORTED = range(4)
FCATT = 1802
OTHER, THIRD = HOST_NQN[:-1] + "5", HOST_NQN[:-1] + "6"
STATIC = {"controller_model": "static", "min_cntlid": 3, "max_cntlid": 6}


@pytest.fixture
def served(daemon):
    return daemon.serve(daemon.malloc("disk0", mib=8), **STATIC)


@pytest.fixture
def lasting(tmp_path):
    (tmp_path / "state").mkdir()
    with Daemon(tmp_path, "--state-dir", str(tmp_path / "state")) as running:
        yield running


def attempt(served, cntlid, hostnqn=HOST_NQN):
    with Conn(served.port) as conn:
        return conn.connect(served.nqn, cntlid=cntlid, hostnqn=hostnqn)


def gets(served, hostnqn=HOST_NQN, cntlid=ANY):
    """Which controller a host has for a moment."""
    with Conn(served.port) as conn:
        return must(conn.connect(served.nqn, cntlid=cntlid, hostnqn=hostnqn)).value & 0xffff


def nobody_has_any(daemon, served):
    wait_until(lambda: not daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn), "the controllers to be free")


def set_feature(host, fid, value, save=False):
    return host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=fid | save << 31, cdw11=value)).status


def get_feature(host, fid, sel=CURRENT, cdw11=0):
    return must(host.admin.command(sqe(ADMIN_GET_FEATURES, cdw10=fid | sel << 8, cdw11=cdw11))).value & 0xffffffff


def reset(host):
    host.admin.property_set(CC, 0)
    wait_until(lambda: not host.admin.property_get(CSTS) & 1, "the controller to be disabled")
    host.enable()


# --- which one a host gets ---

def test_a_host_gets_what_it_asks_for(served):
    """A host that remembers a controller would get another one, with another's settings."""
    with Host(served.port, served.nqn, asks=5) as host, Host(served.port, served.nqn, asks=3, hostnqn=OTHER) as other:
        assert (host.cntlid, other.cntlid) == (5, 3)
        assert struct.unpack_from("<H", host.admin.identify(1), 78) == (5,)
        must(host.io.write(0, b"x" * 512))
        assert other.io.read(0, 1) == b"x" * 512
        assert gets(served, THIRD) == 4


@pytest.mark.parametrize("cntlid", [0, 1, 2, 7, 0xffef, 0xfff0, 0xfffd, DYNAMIC])
def test_no_such_controller(served, cntlid):
    """Static controllers are those of the range and no others; and none is dynamic (6.3)."""
    answer = attempt(served, cntlid)
    assert answer.status == CONNECT_INVALID_PARAMETERS and answer.dnr
    assert (answer.value >> 16 & 0xff, answer.value & 0xffff) == (1, 16)


def test_a_controller_has_one_host(daemon, served):
    """Two hosts would reset each other's controller. It is worth another try: the other may go."""
    with Host(served.port, served.nqn, asks=4):
        for who in (HOST_NQN, OTHER):
            answer = attempt(served, 4, who)
            assert answer.status == CONNECT_CONTROLLER_BUSY and not answer.dnr
        others = [Host(served.port, served.nqn, asks=ANY, hostnqn=OTHER, io_queues=0) for _ in range(3)]
        assert sorted(h.cntlid for h in others) == [3, 5, 6]
        answer = attempt(served, ANY)
        assert answer.status == CONNECT_CONTROLLER_BUSY and not answer.dnr
        for h in others:
            h.close()
    nobody_has_any(daemon, served)
    assert gets(served, OTHER, 4) == 4


def test_a_host_without_a_wish_comes_back_to_what_it_had(daemon, served):
    """Each reboot would give it the settings of another host."""
    for who, has in ((HOST_NQN, 3), (OTHER, 4), (THIRD, 5)) * 2:
        assert gets(served, who) == has
        nobody_has_any(daemon, served)
    assert gets(served, HOST_NQN[:-1] + "7") == 6        # that nobody had
    nobody_has_any(daemon, served)
    assert gets(served, HOST_NQN[:-1] + "8") == 3        # none is left that nobody had


def test_allocated_controllers(daemon, served):
    """A host would find its controller, and its settings, in another's hands."""
    def give(cntlid, host):
        daemon.rpc("nvmf_subsystem_set_controller_host", nqn=served.nqn, cntlid=cntlid, host=host)

    give(5, OTHER)
    answer = attempt(served, 5)
    assert answer.status == CONNECT_INVALID_HOST and answer.dnr
    assert gets(served, OTHER) == 5
    nobody_has_any(daemon, served)
    assert gets(served, OTHER, 5) == 5
    nobody_has_any(daemon, served)
    with Host(served.port, served.nqn, asks=5, hostnqn=OTHER), Host(served.port, served.nqn, asks=3) as host:
        give(3, HOST_NQN)                                  # has it
        assert host.io.read(0, 1) == bytes(512)
        give(3, OTHER)                                     # answered when the other one has gone
        host.io.expect_closed()
        assert [c["cntlid"] for c in daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn)] == [5]
    for cntlid in range(3, 7):
        give(cntlid, OTHER)
    for wish in (ANY, 4):
        answer = attempt(served, wish)
        assert answer.status == CONNECT_INVALID_HOST and answer.dnr
    give(6, "")
    assert gets(served) == 6
    shown = daemon.rpc("nvmf_get_subsystems", nqn=served.nqn)[0]
    assert shown["controller_model"] == "static"
    assert [(c["cntlid"], c.get("host")) for c in shown["static_controllers"]] == [(3, OTHER), (4, OTHER), (5, OTHER),
                                                                                  (6, None)]


def test_what_they_tell_of_themselves(daemon, served):
    """Hosts know the model by the discovery log and by FCATT, and the controllers by their list, used or not."""
    dynamic = daemon.serve(nqn=served.nqn + "-dynamic")
    with Discovery(served.port) as discovery:
        told = {e.nqn: e.cntlid for e in discovery.entries()}
        assert (told[served.nqn], told[dynamic.nqn]) == (ANY, DYNAMIC)
    daemon.rpc("nvmf_subsystem_set_controller_host", nqn=served.nqn, cntlid=6, host=OTHER)
    daemon.malloc("disk1", mib=8)
    daemon.tell("nvmf_subsystem_add_ns", nqn=served.nqn,
                namespace={"bdev_name": "disk1", "nsid": 2, "no_auto_visible": True, "hosts": [OTHER]})
    with Host(served.port, served.nqn, asks=ANY, hostnqn=OTHER) as host:
        listed = lambda cns, nsid=0: struct.unpack_from("<5H", host.admin.identify(cns, nsid=nsid))
        assert host.cntlid == 6 and host.admin.identify(1)[FCATT] == 1
        assert listed(0x13) == listed(0x12, 1) == (4, 3, 4, 5, 6)
        assert listed(0x12, 2) == (1, 6, 0, 0, 0)
    with Host(dynamic.port, dynamic.nqn) as host:
        assert host.admin.identify(1)[FCATT] == 0


# --- what lasts ---

def test_saved_features_last(lasting):
    """What persists over a reset persists over associations (3.1.2): saved values, and no others."""
    served = lasting.serve(lasting.malloc("disk0", mib=8), **STATIC)
    under = 1 << 20
    with Host(served.port, served.nqn, asks=4) as host:
        for fid in (ARBITRATION, TEMPERATURE, WRITE_ATOMIC, EVENTS):
            assert get_feature(host, fid, SUPPORTED) == 4 | 1, hex(fid)
        assert set_feature(host, TEMPERATURE, 0x150, save=True) == OK
        assert set_feature(host, TEMPERATURE, under | 0x111, save=True) == OK
        assert set_feature(host, EVENTS, 0, save=True) == OK
        assert set_feature(host, ARBITRATION, 0x01020303) == OK
        assert set_feature(host, TEMPERATURE, 0x155) == OK
        assert get_feature(host, TEMPERATURE) == 0x155 and get_feature(host, TEMPERATURE, SAVED) == 0x150
        assert get_feature(host, TEMPERATURE, DEFAULT) == 0x157 and get_feature(host, ARBITRATION, SAVED) == 0
        reset(host)
        assert get_feature(host, TEMPERATURE) == 0x150 and get_feature(host, ARBITRATION) == 0
    nobody_has_any(lasting, served)
    with Host(served.port, served.nqn, asks=4, hostnqn=OTHER) as host, Host(served.port, served.nqn, asks=3) as beside:
        assert [get_feature(host, TEMPERATURE, SAVED, which) for which in (0, under)] == [0x150, 0x111]
        assert [get_feature(host, TEMPERATURE, CURRENT, which) for which in (0, under)] == [0x150, 0x111]
        assert get_feature(host, EVENTS) == 0 and get_feature(host, ARBITRATION) == 0
        assert get_feature(beside, TEMPERATURE) == 0x157 and get_feature(beside, EVENTS) == 0x100
    lasting.rpc("bdev_null_create", name="after", num_blocks=8, block_size=512)  # answered: all before it is written
    lasting.kill()
    lasting.start()
    with Host(served.port, served.nqn, asks=4) as host:
        assert get_feature(host, TEMPERATURE) == 0x150 and get_feature(host, EVENTS) == 0
    shown = lasting.rpc("nvmf_get_subsystems", nqn=served.nqn)[0]["static_controllers"]
    assert shown == [{"cntlid": 4, "saved_features": {"temperature_over": 0x150, "temperature_under": 0x111,
                                                      "async_events": 0}}]


def test_of_two_saves_the_last_one_counts(lasting):
    """A host that changes its mind, and back, would find after a reset what it did not want."""
    served = lasting.serve(lasting.malloc("disk0", mib=8), **STATIC)
    with Host(served.port, served.nqn, asks=4) as host:
        assert set_feature(host, TEMPERATURE, 0x150, save=True) == OK
        for values in ((0x151, 0x150), (0x151, 0x152, 0x151, 0x150), tuple(range(0x140, 0x150)) + (0x150,)):
            cids = [host.admin.submit(sqe(ADMIN_SET_FEATURES, cdw10=TEMPERATURE | 1 << 31, cdw11=v)) for v in values]
            assert [host.admin.wait(cid).status for cid in cids] == [OK] * len(values)
            assert get_feature(host, TEMPERATURE) == get_feature(host, TEMPERATURE, SAVED) == 0x150
            assert lasting.rpc("nvmf_get_subsystems", nqn=served.nqn)[0]["static_controllers"][0]["saved_features"] == {
                "temperature_over": 0x150}
            reset(host)
            assert get_feature(host, TEMPERATURE) == 0x150


def test_what_cannot_be_saved(lasting):
    """A host would believe that something is kept."""
    served = lasting.serve(lasting.malloc("disk0", mib=8), **STATIC)
    with Host(served.port, served.nqn, asks=ANY) as host:
        for fid in (0x02, ERROR_RECOVERY, 0x07, 0x0e, 0x0f, 0x16):
            assert set_feature(host, fid, 0, save=True) == NOT_SAVEABLE
            assert get_feature(host, fid, SUPPORTED) & 1 == 0
        assert set_feature(host, TEMPERATURE, 1 << 16, save=True) == INVALID_FIELD
        assert set_feature(host, EVENTS, 1 << 30, save=True) == INVALID_FIELD
    dynamic = lasting.serve(nqn=served.nqn + "-dynamic")
    with Host(dynamic.port, dynamic.nqn) as host:
        assert set_feature(host, TEMPERATURE, 0x150, save=True) == NOT_SAVEABLE
        assert get_feature(host, TEMPERATURE, SUPPORTED) == 4
    assert not lasting.rpc("nvmf_get_subsystems", nqn=served.nqn)[0]["static_controllers"]


def test_nothing_is_saved_where_it_would_not_last(served):
    """Without --state-dir a restart would forget it."""
    with Host(served.port, served.nqn, asks=ANY) as host:
        assert set_feature(host, TEMPERATURE, 0x150, save=True) == NOT_SAVEABLE
        assert get_feature(host, TEMPERATURE) == 0x157


def test_what_is_set_by_hand(daemon, served):
    """Who runs the target says what a controller begins with, and takes it back."""
    feature = lambda **p: daemon.rpc("nvmf_subsystem_set_controller_feature", nqn=served.nqn, **p)
    feature(cntlid=6, feature="temperature_over", value="0x150")
    feature(cntlid=6, feature="arbitration", value="7")
    with Host(served.port, served.nqn, asks=6) as host:
        assert get_feature(host, TEMPERATURE, SAVED) == get_feature(host, TEMPERATURE) == 0x150
        assert get_feature(host, ARBITRATION) == 7
    feature(cntlid=6, feature="temperature_over", value="")
    nobody_has_any(daemon, served)
    with Host(served.port, served.nqn, asks=6) as host:
        assert get_feature(host, TEMPERATURE) == 0x157 and get_feature(host, ARBITRATION) == 7
    for wrong, why in (({"cntlid": 7, "feature": "arbitration", "value": "1"}, "3 to 6"),
                       ({"cntlid": 6, "feature": "write_atomicity", "value": "2"}, "more than"),
                       ({"cntlid": 6, "feature": "arbitration", "value": "many"}, "many")):
        with pytest.raises(RpcError, match=why):
            feature(**wrong)


def test_events_that_are_not_there_are_not_set_by_hand(daemon, served):
    """A controller would begin with events that Set Features refuses: who changes one bit of what it read could not."""
    daemon.serve(nqn=served.nqn + "-ana", ana_reporting=True, **STATIC)
    feature = lambda value, nqn=served.nqn: daemon.rpc("nvmf_subsystem_set_controller_feature", nqn=nqn, cntlid=4,
                                                       feature="async_events", value=value)
    for wrong in ("0x80000000", "0x40000000", "0x800", "0x200", "0xffffffff"):
        with pytest.raises(RpcError, match="value: .* events"):
            feature(wrong)
    feature("0x800", served.nqn + "-ana")                  # that one tells of ANA
    feature("0x10013f")
    with Host(served.port, served.nqn, asks=4) as host:
        assert get_feature(host, EVENTS) == get_feature(host, EVENTS, SAVED) == 0x10013f
        daemon.rpc("nvmf_set_failover", ccr_limit=0)       # one event less; what was saved comes back with it
        reset(host)
        assert get_feature(host, EVENTS) == 0x13f
        assert set_feature(host, EVENTS, 0x13f) == OK


def with_other_text(line, old, new):
    """A line of a state (docs/STATE.md) that says something else."""
    kind, number, _, _, text = line.split(b" ", 4)
    assert old in text
    text = text.replace(old, new)
    head = b"%s %s %d " % (kind, number, len(text))
    return head + b"%08x " % crc32c(head + text) + text


def test_events_of_an_older_version_are_left_out(lasting):
    """It took any bits: the whole value would be refused, and the controller begin with what nobody chose."""
    served = lasting.serve(lasting.malloc("disk0", mib=8), **STATIC)
    saved = lambda: lasting.rpc("nvmf_get_subsystems", nqn=served.nqn)[0]["static_controllers"]
    wanted = [{"cntlid": 4, "saved_features": {"async_events": 0x102}}]
    lasting.rpc("nvmf_subsystem_set_controller_feature", nqn=served.nqn, cntlid=4, feature="async_events",
                value="0x102")
    lasting.stop()
    state = lasting.directory / "state" / "state"
    state.write_bytes(b"\n".join(with_other_text(line, b'"0x102"', b'"0xC0000102"') if b'"0x102"' in line else line
                                 for line in state.read_bytes().split(b"\n")))
    lasting.start()
    assert saved() == wanted and not lasting.rpc("config_get_missing")
    assert "0xc0000102, this version does not have 0xc0000000" in lasting.log()
    with Host(served.port, served.nqn, asks=4) as host:
        assert get_feature(host, EVENTS) == get_feature(host, EVENTS, SAVED) == 0x102
    config = json.loads(json.dumps(lasting.rpc("save_config")).replace('"0x102"', '"0x80000101"'))
    lasting.rpc("config_apply", config=config)             # a file of that version
    wanted[0]["saved_features"]["async_events"] = 0x101
    assert saved() == wanted


def test_a_transport_of_an_older_version_is_there(lasting):
    """It took a max_io_size that is refused now: without the transport nothing of the state would be served."""
    served = lasting.serve(lasting.malloc("disk0", mib=8), transport={"max_io_size": 8192})
    lasting.stop()
    state = lasting.directory / "state" / "state"
    new, old = b'"max_io_size":8192', b'"max_io_size":4096'
    state.write_bytes(b"\n".join(with_other_text(line, new, old) if new in line else line
                                 for line in state.read_bytes().split(b"\n")))
    lasting.start()
    assert lasting.rpc("nvmf_get_transports")[0]["max_io_size"] == 8192 and not lasting.rpc("config_get_missing")
    assert "of an older version, max_io_size 4096" in lasting.log()
    with Host(served.port, served.nqn):
        pass


def test_models_that_cannot_be(daemon):
    create = lambda **p: daemon.rpc("nvmf_create_subsystem", nqn="nqn.2016-06.io.gantry:x", **p)
    for wrong in ({}, {"min_cntlid": 5}, {"max_cntlid": 1025}, {"min_cntlid": 9, "max_cntlid": 8}):
        with pytest.raises(RpcError, match="cntlid"):
            create(controller_model="static", **wrong)
    with pytest.raises(RpcError, match="dynamic"):
        create(controller_model="static", max_cntlid=4, subtype="Discovery")
    create(controller_model="dynamic")
    with pytest.raises(RpcError, match="dynamic"):
        daemon.rpc("nvmf_subsystem_set_controller_host", nqn="nqn.2016-06.io.gantry:x", cntlid=1, host=HOST_NQN)


def test_versions_go_back(lasting):
    """What is exchanged by config_rollback would stay given, or saved."""
    served = lasting.serve(lasting.malloc("disk0", mib=8), **STATIC)
    first = lasting.rpc("config_get_state")["version"]
    with Host(served.port, served.nqn, asks=4) as host:
        assert set_feature(host, TEMPERATURE, 0x150, save=True) == OK
    lasting.rpc("nvmf_subsystem_set_controller_host", nqn=served.nqn, cntlid=4, host=OTHER)
    assert attempt(served, 4).status == CONNECT_INVALID_HOST
    lasting.rpc("config_rollback", version=first)
    nobody_has_any(lasting, served)
    with Host(served.port, served.nqn, asks=4) as host:
        assert get_feature(host, TEMPERATURE, SAVED) == 0x157


def test_the_command_line(daemon):
    """A person would be told to type what cannot work."""
    daemon.malloc("disk0", mib=8)
    said = gantry("export", "disk", "disk0", "--listen", f"127.0.0.1:{free_port()}", "--controller-model", "static",
                  "--max-cntlid", "4", socket=daemon.socket)
    assert "static" in said and "--cntlid any" in said
    assert daemon.rpc("nvmf_get_subsystems")[-1]["max_cntlid"] == 4
