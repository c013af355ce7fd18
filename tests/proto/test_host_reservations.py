# SPDX-License-Identifier: BSD-3-Clause
"""One namespace behind two daemons, its reservations those of its target: a cluster whose nodes come by different
gateways fences as if it were there."""
import struct

import pytest

import resv
from gantry import Daemon, RpcError, wait_until
from nvme_tcp import Ended, Host, must, sqe
from remote import attach, detach
from resv import allowed

NQNS = [resv.nqn(name) for name in "abc"]


@pytest.fixture
def ways(tmp_path, target):
    """Two daemons in front of the target, each with a subsystem of the disk."""
    served = target.export()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Daemon(tmp_path / "one") as one, Daemon(tmp_path / "two") as two:
        fronts = []
        for daemon in (one, two):
            daemon.rpc("bdev_nvme_set_options", reservations="target")
            fronts.append(daemon.serve(attach(daemon, served)[0]))
        yield fronts
        for daemon in (one, two):
            daemon.check_log()


@pytest.fixture
def hosts(ways):
    with Host(ways[0].port, ways[0].nqn, hostnqn=NQNS[0]) as a, Host(ways[1].port, ways[1].nqn, hostnqn=NQNS[1]) as b:
        yield a, b


@pytest.mark.parametrize("kind", resv.TYPES)
def test_all_types(hosts, kind):
    resv.check_type(*hosts, kind)


def test_fencing(hosts):
    """Each node is registered, one holds; the other takes it over and throws the first one out."""
    a, b = hosts
    must(resv.register(a, 0xa))
    must(resv.register(b, 0xb))
    must(resv.acquire(a, 0xa, resv.WERO))
    for host in hosts:
        assert allowed(host) == (True, True)
        assert sorted((who.key, who.holds) for who in resv.report(host).who) == [(0xa, True), (0xb, False)]
    assert resv.acquire(b, 0xb, resv.WERO).status == resv.CONFLICT
    must(resv.preempt(b, 0xb, resv.WERO, 0xa))
    assert allowed(b) == (True, True) and allowed(a) == (True, False)
    for host in hosts:
        assert [(who.key, who.holds) for who in resv.report(host).who] == [(0xb, True)]
    must(resv.register(a, 0xa))             # and it may come back
    assert allowed(a) == (True, True)
    must(resv.clear(b, 0xb))
    assert not resv.report(a).who and allowed(a) == (True, True)


def test_one_host_at_a_time(ways, hosts):
    """The target knows a daemon as one host: a second one of that daemon must not pass for the first."""
    a, b = hosts
    with Host(ways[0].port, ways[0].nqn, hostnqn=NQNS[2]) as c:
        must(resv.register(a, 0xa))
        assert resv.register(c, 0xc).status == resv.CONFLICT
        must(resv.acquire(a, 0xa, resv.EA))
        assert allowed(c) == (False, False) and allowed(b) == (False, False) and allowed(a) == (True, True)
        assert resv.release(c, 0xa, resv.EA).status == resv.CONFLICT
        must(resv.unregister(a, 0xa))
        assert allowed(c) == (True, True) and allowed(b) == (True, True)
        must(resv.register(c, 0xc))
        assert [who.key for who in resv.report(b).who] == [0xc]


def test_the_disk_goes_meanwhile(daemon, target):
    """An operation that waits for a target that is dead ends with its disk."""
    daemon.rpc("bdev_nvme_set_options", reservations="target")
    front = daemon.serve(attach(daemon, target.export())[0])
    with Host(front.port, front.nqn, hostnqn=NQNS[0]) as host:
        must(resv.register(host, 0xa))
        target.kill()
        wait_until(lambda: daemon.rpc("bdev_nvme_get_controllers")[0]["ctrlrs"][0]["state"] != "enabled", "its loss")
        cid = host.io.submit(sqe(resv.REGISTER, 1, cdw10=2), struct.pack("<QQ", 0xa, 0xb))
        detach(daemon)
        try:
            assert host.io.wait(cid).status
        except (OSError, Ended):
            pass                                # its namespace went first
    assert daemon.rpc("bdev_get_bdevs") == []


def test_what_cannot_be(daemon):
    with pytest.raises(RpcError, match="reservations"):
        daemon.rpc("bdev_nvme_set_options", reservations="somewhere")
