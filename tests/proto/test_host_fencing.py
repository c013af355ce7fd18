# SPDX-License-Identifier: BSD-3-Clause
"""A write whose path was lost goes out again when the first one cannot land any more: when the target has reset the
lost controller by way of another one (Cross-Controller Reset), or when the time is over in which it may."""
import os
import time

import pytest

import bad_ways as ways
import remote
from attached import PATIENCE_S, attach, controllers, gateway
from bad_target import NQN, BadTarget
from gantry import wait_until
from jsonrpc import gantry
from nvme_tcp import must, rw
from proxy import Proxy

IO_WRITE = 1
BOTH = {"multipath": "multipath", "ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1}
LONG_MS, SHORT_MS = 25000, 1000     # keep-alive: nobody waits twice as long; everybody does


def fences(daemon):
    return [c["fence"] for c in controllers(daemon)]


class Pair:
    """Two ports of one subsystem, attached; a write is out over the first, and then the first is gone."""

    def __init__(self, daemon, keep_alive_ms, a, b, **options):
        self.daemon, self.a, self.b = daemon, a, b
        daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=keep_alive_ms, **options)
        self.disk = attach(daemon, a, **BOTH)
        attach(daemon, b, **BOTH)
        self.data = os.urandom(4096)

    def on(self, *rule, **how):
        for t in (self.a, self.b):
            t.on(*rule, **how)

    def lose(self, host, both=False):
        """Which of them a core's I/O goes to is chance: from here on that is `a`."""
        self.on("write", ways.ignore)
        cid = host.io.submit(rw(IO_WRITE, 8, 8), self.data)
        wait_until(lambda: self.a.seen["ignored"] or self.b.seen["ignored"], "the write to be out", PATIENCE_S)
        if self.b.seen["ignored"]:
            self.a, self.b = self.b, self.a
        with self.b.lock:
            self.b.rules[:] = [rule for rule in self.b.rules if rule.step != "write"]
        self.lost = next(c.cntlid for c in self.a.admin_queues())
        if both:
            self.b.stop()
        self.a.stop()
        self.lost_at = time.monotonic()
        return cid

    def check(self, host, cid):
        must(host.io.wait(cid))
        assert host.io.read(8, 8) == self.data
        return self.b.times_of("write")[0] - self.lost_at


@pytest.fixture
def pair(daemon):
    made = []

    def make(keep_alive_ms, options=None, **target):
        a = BadTarget(**target)
        a.start()
        made.append(a)
        b = BadTarget(a.disks, **target)
        b.start()
        made.append(b)
        return Pair(daemon, keep_alive_ms, a, b, **(options or {}))
    yield make
    for target in made:
        target.stop()
        assert not target.failures, target.failures


def test_reset_by_way_of_the_other_path(daemon, pair):
    """A write would wait for keep-alive times, or go out before the first one is out of the way."""
    p = pair(LONG_MS, ccrl=4)
    with gateway(daemon, p.disk) as host:
        assert p.check(host, p.lose(host)) < 2 * LONG_MS / 1000
        assert p.b.times_of("ccr")[0] <= p.b.times_of("write")[0]
    assert p.a.disks.reset == [p.lost]
    assert sum(f["ccr_done"] for f in fences(daemon)) == 1 and sum(f["ccr_sent"] for f in fences(daemon)) == 1


def test_reads_do_not_wait(daemon, pair):
    p = pair(LONG_MS)
    with gateway(daemon, p.disk) as host:
        p.on("read", ways.ignore, times=1)
        cid = host.io.submit(rw(2, 0, 8), expect=4096)
        wait_until(lambda: p.a.seen["ignored"] or p.b.seen["ignored"], "the read to be out", PATIENCE_S)
        used, other = (p.a, p.b) if p.a.seen["ignored"] else (p.b, p.a)
        other.good()
        used.stop()
        must(host.io.wait(cid))


def test_not_yet(daemon, pair):
    """An answer without Immediate Reset Successful would be taken for one with it."""
    p = pair(LONG_MS, ccrl=4)
    p.on("ccr", ways.value(0), times=1)
    p.on("ccr", ways.status(0x13f), times=2)
    p.on("ccr", ways.status(0x141), times=1)
    with gateway(daemon, p.disk) as host:
        assert p.check(host, p.lose(host)) < 2 * LONG_MS / 1000
    assert p.b.seen["ccr"] == 5 and p.b.times_of("ccr")[4] <= p.b.times_of("write")[0]


def test_event_asks_again(daemon, pair):
    """The end would be found out late."""
    p = pair(LONG_MS, ccrl=4)
    p.on("ccr", ways.value(0), times=1)
    with gateway(daemon, p.disk) as host:
        cid = p.lose(host)
        wait_until(lambda: p.b.seen["ccr"], "the reset", PATIENCE_S)
        for conn in p.b.admin_queues():
            conn.event(0x1ef402)
        p.check(host, cid)
        wait_until(lambda: p.b.seen["log_page"] >= 2, "the log page to be read", PATIENCE_S)


@pytest.mark.parametrize("how", ["refused", "invalid", "ignored", "not offered", "switched off", "no path"])
def test_without_it_time_decides(daemon, pair, how):
    """A write would go out while the first one may still land; or never."""
    p = pair(SHORT_MS, {"ccr": False} if how == "switched off" else None, ccrl=0 if how == "not offered" else 4,
             cqt_ms=1500)
    answers = {"refused": ways.status(0x11f, dnr=True), "invalid": ways.status(0x02), "ignored": ways.ignore}
    if how in answers:
        p.on("ccr", answers[how])
    with gateway(daemon, p.disk) as host:
        cid = p.lose(host, how == "no path")
        wait_until(lambda: any("waits" in f for f in fences(daemon)), "it to be said", PATIENCE_S)
        if how == "no path":
            time.sleep(3.6)
            p.b.start()
        waited = p.check(host, cid)
    assert waited >= 2 * SHORT_MS / 1000 + 1.5 - 0.1, f"{how}: {waited}"
    assert bool(p.b.seen["ccr"]) == (how in answers)
    assert sum(f["ccr_done"] for f in fences(daemon)) == 0
    wait_until(lambda: not any("waits" in f for f in fences(daemon)), "it to be over", PATIENCE_S)


def test_the_same_path_again(daemon):
    """With one path only a write would wait for keep-alive times, though the target could say that it is over."""
    with BadTarget(ccrl=4) as target:
        daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=LONG_MS)
        disk = attach(daemon, target, **BOTH)
        with gateway(daemon, disk) as host:
            data = os.urandom(4096)
            target.on("write", ways.ignore, times=1)
            cid = host.io.submit(rw(IO_WRITE, 0, 8), data)
            wait_until(lambda: target.seen["ignored"], "the write to be out", PATIENCE_S)
            lost = next(c.cntlid for c in target.admin_queues())
            began = time.monotonic()
            target.drop_all()
            must(host.io.wait(cid))
            assert time.monotonic() - began < 2 * LONG_MS / 1000
            assert target.disks.reset == [lost] and host.io.read(0, 8) == data


def test_path_that_dies_with_the_answer(daemon, pair):
    """Who is asked goes too: the next one that comes is asked, and nothing is repeated before."""
    p = pair(LONG_MS, ccrl=4)
    p.on("ccr", ways.rst, times=1)
    with gateway(daemon, p.disk) as host:
        assert p.check(host, p.lose(host)) < 2 * LONG_MS / 1000
    assert p.b.seen["ccr"] >= 2 and p.a.disks.reset[0] == p.lost


def test_detach_while_nobody_answers(daemon, pair):
    """A path that waits for an answer would never go, or be freed under it."""
    p = pair(LONG_MS, ccrl=4)
    p.on("ccr", ways.ignore)
    with gateway(daemon, p.disk) as host:
        cid = p.lose(host)
        wait_until(lambda: p.b.seen["ccr"], "the reset", PATIENCE_S)
        daemon.rpc("bdev_nvme_detach_controller", PATIENCE_S, name="r")
        host.io.wait(cid)
    wait_until(lambda: not controllers(daemon), "it to be gone", PATIENCE_S)


def test_detached_path_is_not_kept_by_a_silent_one(daemon, pair):
    """It would have its place among the paths for as long as the other one says nothing to its question."""
    p = pair(SHORT_MS, ccrl=4)
    p.on("ccr", ways.ignore)
    with gateway(daemon, p.disk) as host:
        cid = p.lose(host)
        wait_until(lambda: p.b.seen["ccr"], "the reset", PATIENCE_S)
        daemon.rpc("bdev_nvme_detach_controller", PATIENCE_S, name="r", **remote.address(p.a.port, NQN))
        p.check(host, cid)
        wait_until(lambda: len(controllers(daemon)) == 1, "it to be gone", PATIENCE_S)
        assert p.b.seen["ccr"] == 1


def test_immediate(daemon, pair):
    """Who wants Linux's behaviour would not get it."""
    p = pair(LONG_MS, {"write_replay": "immediate"}, ccrl=4)
    with gateway(daemon, p.disk) as host:
        assert p.check(host, p.lose(host)) < 2 * LONG_MS / 1000
    assert not p.b.seen["ccr"]


def test_people_are_told(daemon, pair):
    """A disk that stands still for half a minute would look broken."""
    p = pair(LONG_MS)
    with gateway(daemon, p.disk) as host:
        p.lose(host)
        wait_until(lambda: any("waits" in f for f in fences(daemon)), "it to be known", PATIENCE_S)
        shown = " ".join(gantry("nvme", "list", socket=daemon.socket).split())
        assert "writes of a connection that was lost wait until they cannot land any more: for " in shown
        assert 0 < max(f.get("waits_ms", 0) for f in fences(daemon)) <= 2 * LONG_MS
        daemon.rpc("bdev_nvme_detach_controller", PATIENCE_S, name="r")


# --- a target of ours ------------------------------------------------------------------------------------------------

class HalfCut:
    """Two paths to a Gantry target; the first goes by a cable of which only the host's end can be pulled."""

    def __init__(self, daemon, target, served):
        self.daemon, self.target = daemon, target
        self.proxy = Proxy(served.ports[0])
        daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=LONG_MS)
        remote.attach(daemon, served, port=self.proxy.port, **BOTH)
        remote.attach(daemon, served, port=served.ports[1], **BOTH)
        daemon.rpc("bdev_nvme_set_preferred_path", name="Nvme0n1", cntlid=controllers(daemon, "Nvme0")[0]["cntlid"])

    def wait_used(self, host):
        """The first path's connections may come a moment after the attach."""
        def used():
            before = controllers(self.daemon, "Nvme0")[0]["io"]["submitted"]
            must(host.io.command(rw(2, 0, 8), expect=4096))
            return controllers(self.daemon, "Nvme0")[0]["io"]["submitted"] > before
        wait_until(used, "I/O over the first path", PATIENCE_S)

    def pull(self):
        """The host hears that its connections are gone; the target does not."""
        self.proxy.cut()
        for s in list(self.proxy.sockets):
            if s.getsockname()[1] == self.proxy.port:
                self.proxy.drop(s)

    def resets(self):
        return self.target.rpc("nvmf_get_failover")["ccr_done"]


def test_target_of_ours(daemon, target):
    """The target's end of a lost path would live on, with what it still gets, until its keep-alive time is over."""
    p = HalfCut(daemon, target, target.export(ports=2))
    data = os.urandom(4096)
    with p.proxy, gateway(daemon, "Nvme0n1") as host:
        p.wait_used(host)
        p.proxy.cut()
        began = time.monotonic()
        cid = host.io.submit(rw(IO_WRITE, 0, 8), data)
        wait_until(lambda: controllers(daemon, "Nvme0")[0]["io"]["outstanding"], "the write to be out", PATIENCE_S)
        p.pull()
        must(host.io.wait(cid))
        assert time.monotonic() - began < 2 * LONG_MS / 1000
        assert p.resets() == 1 and host.io.read(0, 8) == data


def test_disk_behind_it_that_hangs(daemon, target, tmp_path):
    """The target would vouch for a write that its disk still has."""
    (tmp_path / "disk").mkdir()
    old, new = os.urandom(4096), os.urandom(4096)
    with remote.Target(tmp_path / "disk") as disk:
        remote.attach(target, disk.export())
        p = HalfCut(daemon, target, target.serve("Nvme0n1", nqn="nqn.2016-06.io.gantry:middle", ports=2))
        with p.proxy, gateway(daemon, "Nvme0n1") as host:
            p.wait_used(host)
            disk.freeze()
            try:
                cid = host.io.submit(rw(IO_WRITE, 0, 8), old)
                wait_until(lambda: controllers(target, "Nvme0")[0]["io"]["outstanding"], "the disk to have it",
                           PATIENCE_S)
                p.pull()
                wait_until(lambda: sum(f["ccr_sent"] for c in controllers(daemon, "Nvme0") for f in [c["fence"]]) >= 2,
                           "it to be asked again", PATIENCE_S)
                assert p.resets() == 0 and cid not in host.io.done
            finally:
                disk.thaw()
            must(host.io.wait(cid))
            assert p.resets() == 1
            must(host.io.write(0, new))
            assert host.io.read(0, 8) == new
