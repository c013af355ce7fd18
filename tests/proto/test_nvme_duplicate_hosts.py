# SPDX-License-Identifier: BSD-3-Clause
"""How often a host may come, and how many controllers there can be."""
import pytest

from gantry import NQN, wait_until
from jsonrpc import Waiting
from nvme_tcp import HOST_NQN, IO_READ, OK, Conn, Host, must, rw
from tcp import Ended

BUSY, INVALID_HOST = 0x181, 0x184
OTHER_HOST = HOST_NQN[:-1] + "5"


@pytest.fixture
def serving(tmp_path):
    """serving(policy) -> the daemon, and two ports."""
    daemons = []

    def serve(policy):
        daemon = Waiting(tmp_path).__enter__()
        daemons.append(daemon)
        if policy:
            daemon.rpc("nvmf_set_config", dup_host_policy=policy)
        daemon.rpc("framework_start_init")
        return daemon, daemon.serve(daemon.malloc("disk0", mib=1), ports=2).ports
    yield serve
    for daemon in daemons:
        daemon.__exit__(None, None, None)


def status(port, hostnqn=HOST_NQN, hostid=None):
    with Conn(port) as conn:
        return conn.connect(NQN, hostnqn=hostnqn, hostid=hostid).status


@pytest.mark.parametrize("policy", [None, "allow"])
def test_allowed(serving, policy):
    """Hosts with several ways, or several processes, could not come."""
    _, ports = serving(policy)
    with Host(ports[0], NQN) as one, Host(ports[0], NQN) as two, Host(ports[1], NQN) as three:
        assert len({h.cntlid for h in (one, two, three)}) == 3
        assert all(h.io.read(0, 1) == bytes(512) for h in (one, two, three))


def test_one_by_each_listener(serving):
    daemon, ports = serving("restrict_per_listener")
    with Host(ports[0], NQN) as one:
        assert status(ports[0]) == BUSY
        assert status(ports[0], OTHER_HOST) == OK and status(ports[0], hostid=bytes(15) + b"\1") == OK
        with Host(ports[1], NQN) as two:
            assert one.io.read(0, 1) == two.io.read(0, 1) == bytes(512)
    wait_until(lambda: not daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN), "the host to be gone")
    assert status(ports[0]) == OK


def test_refused(serving):
    daemon, ports = serving("refuse")
    with Host(ports[0], NQN) as one:
        assert [status(p) for p in ports] == [BUSY, BUSY] and status(ports[0], OTHER_HOST) == OK
        with Conn(ports[0]) as conn:
            completion = conn.connect(NQN)
            assert (completion.status, completion.dnr) == (BUSY, False)     # it may come back
        one.add_io()
        assert one.io.read(0, 1) == bytes(512)
    assert "dup_host_policy" in daemon.log()


def test_replaced(serving):
    """A host that lost its machine would have to wait for its old keep-alive."""
    daemon, ports = serving("replace")
    with Host(ports[0], NQN) as old, Host(ports[0], NQN, hostnqn=OTHER_HOST) as other:
        with Conn(ports[1]) as conn:
            must(conn.connect(NQN))
            assert old.io.read(0, 1) == bytes(512)       # it has not been enabled yet
        with Host(ports[1], NQN) as new:
            with pytest.raises((Ended, OSError)):
                while True:
                    old.io.command(rw(IO_READ, 0, 1), expect=512)
            wait_until(lambda: len(daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN)) == 2, "the old one to go")
            assert new.io.read(0, 1) == other.io.read(0, 1) == bytes(512)


def test_a_static_controller_is_replaced(tmp_path):
    """A host that lost its machine, and asks for its own controller, would be Busy until its old keep-alive."""
    static = {"controller_model": "static", "min_cntlid": 3, "max_cntlid": 4}
    with Waiting(tmp_path) as daemon:
        daemon.rpc("nvmf_set_config", dup_host_policy="replace")
        daemon.rpc("framework_start_init")
        port = daemon.serve(daemon.malloc("disk0", mib=1), **static).port
        daemon.rpc("nvmf_subsystem_set_controller_host", nqn=NQN, cntlid=4, host=HOST_NQN)
        with Host(port, NQN, asks=4) as old, Host(port, NQN, asks=3, hostnqn=OTHER_HOST) as other:
            with Conn(port) as conn:
                assert conn.connect(NQN, cntlid=3).status == BUSY           # that is another host's
            with Conn(port) as conn:
                assert conn.connect(NQN, cntlid=4, hostnqn=OTHER_HOST).status == INVALID_HOST
            with Conn(port) as conn:
                must(conn.connect(NQN, cntlid=4))
                assert old.io.read(0, 1) == bytes(512)                      # it has not been enabled yet
            for wish in (4, 0xfffe):
                with Host(port, NQN, asks=wish) as new:
                    assert new.cntlid == 4
                    with pytest.raises((Ended, OSError)):
                        while True:
                            old.io.command(rw(IO_READ, 0, 1), expect=512)
                    wait_until(lambda: [c["cntlid"] for c in daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN)
                                        ].count(4) == 1, "the old one to go")
                    assert new.io.read(0, 1) == other.io.read(0, 1) == bytes(512)
                old = Host(port, NQN, asks=4)
            old.close()
            strangers = [Conn(port) for _ in range(20)]
            said = [conn.connect(NQN, cntlid=4).status for conn in strangers]
            assert said[0] == OK and said[-1] == BUSY                       # not without end
            for conn in strangers:
                conn.close()


def test_controller_ids(daemon):
    """A host would get an id that is none of the subsystem's, or one that somebody has."""
    daemon.malloc("disk0", mib=1)
    port = daemon.serve("disk0", min_cntlid=7, max_cntlid=9).port
    hosts = [Host(port, NQN, hostnqn=f"{HOST_NQN[:-1]}{n}") for n in range(3)]
    assert {h.cntlid for h in hosts} == {7, 8, 9}
    with Conn(port) as conn:
        completion = conn.connect(NQN)
        assert (completion.status, completion.dnr) == (BUSY, False)
    hosts.pop(1).close()
    wait_until(lambda: status(port) == OK, "an id to be free")
    for host in hosts:
        host.close()
