# SPDX-License-Identifier: BSD-3-Clause
"""Asymmetric Namespace Access: how good each way is, told truly, and what commands meet on ways that are not."""
import struct
import time

import pytest

from gantry import NQN, RpcError, free_port, wait_until
from nvme_tcp import (ADMIN_ASYNC_EVENT, ADMIN_GET_LOG_PAGE, ADMIN_SET_FEATURES, IO_READ, IO_WRITE, OK, Host, must, rw,
                      sqe)
from test_nvme_aer import changed

ANA_LOG, ANA_CHANGED = 0x0c, 0x0c0302           # log page 0Ch, information 3, type 2
OPTIMIZED, NON_OPTIMIZED, INACCESSIBLE, LOSS, CHANGE = 1, 2, 3, 4, 15
STATES = {"optimized": OPTIMIZED, "non_optimized": NON_OPTIMIZED, "inaccessible": INACCESSIBLE, "persistent_loss": LOSS}
STATUS = {INACCESSIBLE: 0x302, LOSS: 0x301, CHANGE: 0x303}
TRANSITION_SEC = 4                              # in which a slow machine does the looking


@pytest.fixture
def ways(daemon):
    """Two namespaces in two groups, over two ports."""
    return daemon.serve(daemon.malloc("disk0", mib=16), daemon.malloc("disk1", mib=16), ports=2, ana_reporting=True,
                        max_namespaces=8)


def set_state(daemon, port, state, **more):
    daemon.rpc("nvmf_subsystem_listener_set_ana_state", nqn=NQN, listen_address=daemon.address(port), ana_state=state,
               **more)


def log(host, groups_only=False):
    """(change count, {group: (state, namespaces, its change count)})"""
    cdw10 = ANA_LOG | (1 << 8 if groups_only else 0) | 1023 << 16
    data = must(host.admin.command(sqe(ADMIN_GET_LOG_PAGE, 0xffffffff, cdw10=cdw10), expect=4096)).data
    count, ngrps = struct.unpack_from("<QH", data)
    groups, at = {}, 16
    for _ in range(ngrps):
        group, nnsids, chgcnt, state = struct.unpack_from("<IIQB", data, at)
        nsids = struct.unpack_from(f"<{nnsids}I", data, at + 32)
        groups[group] = (state, list(nsids), chgcnt)
        at += 32 + 4 * nnsids
    assert data[at:] == bytes(len(data) - at)
    return count, groups


def states(host):
    return {group: state for group, (state, _, _) in log(host)[1].items()}


def listen(host):
    must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0b, cdw11=1 << 11 | 1 << 8)))
    return host.admin.submit(sqe(ADMIN_ASYNC_EVENT))


def is_told(host, aer):
    return must(host.admin.wait(aer)).value & 0xffffffff == ANA_CHANGED


def completions(host, nsid):
    yield host.io.command(rw(IO_READ, 0, 8, nsid), expect=4096)
    yield host.io.command(rw(IO_WRITE, 0, 8, nsid), bytes(4096))


def test_what_is_offered(daemon, ways):
    with Host(ways.port, NQN) as host:
        ctrl = host.admin.identify(1)
        anatt, anacap, anagrpmax, nanagrpid = struct.unpack_from("<BBII", ctrl, 342)
        assert ctrl[76] & 8 and struct.unpack_from("<I", ctrl, 92)[0] & 1 << 11
        assert (anatt, anacap, anagrpmax, nanagrpid) == (10, 0x1f, 8, 8)
        assert log(host)[1] == {1: (OPTIMIZED, [1], 0), 2: (OPTIMIZED, [2], 0)}
        assert log(host, groups_only=True)[1] == {1: (OPTIMIZED, [], 0), 2: (OPTIMIZED, [], 0)}


@pytest.mark.parametrize("name", STATES)
def test_each_state(daemon, ways, name):
    """A host would use a way that it must not, or not take another one: path errors must not forbid to try again."""
    state = STATES[name]
    with Host(ways.ports[0], NQN) as host, Host(ways.ports[1], NQN) as other:
        aer, untold = listen(host), listen(other)
        set_state(daemon, ways.ports[0], name, anagrpid=1)
        assert is_told(host, aer)
        assert states(host) == {1: state, 2: OPTIMIZED}
        assert states(other) == {1: OPTIMIZED, 2: OPTIMIZED} and untold not in other.admin.done
        for completion in completions(host, 1):
            assert (completion.status, completion.dnr) == (STATUS.get(state, OK), False)
        for nsid, by in ((2, host), (1, other), (2, other)):
            assert [c.status for c in completions(by, nsid)] == [OK, OK]
        nsze, _, nuse = struct.unpack_from("<QQQ", host.admin.identify(0, nsid=1))
        assert nsze == 32768 and nuse == (0 if state in (INACCESSIBLE, LOSS) else nsze)


def test_a_transition_takes_its_time(daemon, ways):
    """A host would fail what it may try again: it is told of a change, and then of the new state, within ANATT."""
    with Host(ways.port, NQN) as host:
        aer = listen(host)
        began = time.monotonic()
        set_state(daemon, ways.port, "inaccessible", anagrpid=1, transition_sec=TRANSITION_SEC)
        assert is_told(host, aer)
        first = log(host)
        assert first[1][1][0] == CHANGE and first[1][2][0] == OPTIMIZED
        assert [c.status for c in completions(host, 1)] == [0x303, 0x303]
        listed = daemon.rpc("nvmf_subsystem_get_listeners", nqn=NQN)[0]["ana_states"][0]
        assert listed == {"ana_group": 1, "ana_state": "change", "ana_state_to": "inaccessible"}

        aer = host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
        assert is_told(host, aer) and time.monotonic() - began >= TRANSITION_SEC
        second = log(host)
        assert second[1][1][0] == INACCESSIBLE
        assert second[0] > first[0] and second[1][1][2] > first[1][1][2] and second[1][2][2] == 0
        assert [c.status for c in completions(host, 1)] == [0x302, 0x302]


def test_what_is_said_meanwhile_takes_its_place(daemon, ways):
    """A transition that nobody wants any more would still come true."""
    with Host(ways.port, NQN) as host:
        set_state(daemon, ways.port, "inaccessible", transition_sec=TRANSITION_SEC)
        assert states(host) == {1: CHANGE, 2: CHANGE}
        set_state(daemon, ways.port, "non_optimized", anagrpid=1)
        assert states(host) == {1: NON_OPTIMIZED, 2: CHANGE}
        wait_until(lambda: states(host)[2] == INACCESSIBLE, "the transition of the other group to end")
        assert states(host) == {1: NON_OPTIMIZED, 2: INACCESSIBLE}
    with pytest.raises(RpcError, match="transition_sec"):
        set_state(daemon, ways.port, "optimized", transition_sec=11)


def test_a_listener_that_goes_within_its_transition(daemon, ways):
    port = free_port()
    daemon.rpc("nvmf_subsystem_add_listener", nqn=NQN, listen_address=daemon.address(port), ana_state="inaccessible")
    with Host(port, NQN) as host:
        assert states(host) == {1: INACCESSIBLE, 2: INACCESSIBLE}
    set_state(daemon, port, "optimized", transition_sec=1)
    set_state(daemon, ways.port, "non_optimized", transition_sec=10)
    daemon.rpc("nvmf_subsystem_remove_listener", nqn=NQN, listen_address=daemon.address(port))
    with Host(ways.port, NQN) as host:
        assert states(host) == {1: CHANGE, 2: CHANGE}    # and the daemon stops before that is over


def test_a_namespace_changes_its_group(daemon, ways):
    """A host would take the state of the old group for the namespace's."""
    set_state(daemon, ways.port, "inaccessible", anagrpid=5)
    with Host(ways.port, NQN) as host:
        must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0b, cdw11=1 << 11 | 1 << 8)))
        aers = [host.admin.submit(sqe(ADMIN_ASYNC_EVENT)) for _ in range(2)]
        daemon.rpc("nvmf_subsystem_set_ns_ana_group", nqn=NQN, nsid=2, anagrpid=5)
        assert {must(host.admin.wait(a)).value & 0xffffffff for a in aers} == {0x040002, ANA_CHANGED}
        assert changed(host) == [2]
        groups = log(host)[1]
        assert {g: groups[g][:2] for g in groups} == {1: (OPTIMIZED, [1]), 5: (INACCESSIBLE, [2])}
        assert struct.unpack_from("<I", host.admin.identify(0, nsid=2), 92)[0] == 5
        assert [c.status for c in completions(host, 2)] == [0x302, 0x302]
        assert daemon.rpc("nvmf_get_subsystems", nqn=NQN)[0]["namespaces"][1]["anagrpid"] == 5
        daemon.rpc("nvmf_subsystem_set_ns_ana_group", nqn=NQN, nsid=2, anagrpid=1)
        assert [c.status for c in completions(host, 2)] == [OK, OK] and log(host)[1][1][1] == [1, 2]
    for wrong in (0, 9):
        with pytest.raises(RpcError, match="anagrpid"):
            daemon.rpc("nvmf_subsystem_set_ns_ana_group", nqn=NQN, nsid=2, anagrpid=wrong)


def test_as_many_groups_as_there_can_be(daemon):
    """A host that reads its log would hold up a core: its work is by groups and by namespaces, not by both."""
    served = daemon.serve(ana_reporting=True, max_namespaces=65536)
    for n, nsid in enumerate((1, 77, 65536)):
        daemon.malloc(f"disk{n}", mib=1)
        daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": f"disk{n}", "nsid": nsid,
                                                               "anagrpid": 65536 if n else 3})
    with Host(served.port, NQN) as host:
        for _ in range(100):
            assert log(host)[1] == {3: (OPTIMIZED, [1], 0), 65536: (OPTIMIZED, [77, 65536], 0)}


def test_hidden_namespaces_are_not_in_the_log(daemon, ways):
    daemon.malloc("disk2", mib=1)
    daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk2", "anagrpid": 1,
                                                           "no_auto_visible": True})
    with Host(ways.port, NQN) as host:
        assert log(host)[1][1][1] == [1]
        daemon.rpc("nvmf_ns_add_host", nqn=NQN, nsid=3, host=host.hostnqn)
        assert log(host)[1][1][1] == [1, 3]
