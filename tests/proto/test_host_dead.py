# SPDX-License-Identifier: BSD-3-Clause
"""Dozens of dead controllers of every kind, attached, retried and detached: a healthy one is served all along, RPCs are
answered, no callback holds a core. In the field one restarted target blocks its host's threads until all time out."""
import time

import pytest

import bad_ways as ways
from attached import (PATIENCE_S, Beside, attach, controllers, detach, in_parallel, longest_callbacks, longest_cpu,
                      refused, serve)
from bad_scripts import BY_STEP
from bad_target import BadTarget, Disks, Namespace
from black_hole import BlackHole
from gantry import NQN, Daemon, RpcError, free_port, wait_until
from load import Load, cpu_ns

DEAD = 64
KINDS = ("black hole", "closed port", "mute", "dies")
STEPS = [s for s in BY_STEP if not s.endswith("_io")]
DEADLINE_S = 5
LINE_S = 90                 # at most, for waiting in line and for a slow machine
LONGEST_MS = 500            # of a callback, by the clock: others may have the core


class Nowhere:
    """A port nobody listens on."""
    address, nqn = "127.0.0.1", NQN

    def __init__(self):
        self.port = free_port()


@pytest.fixture
def dead():
    """Where the dead are: DEAD targets, of all kinds in turn."""
    with BlackHole() as hole, BadTarget().on("accept", ways.silence) as mute:
        nowhere, dying = Nowhere(), []
        try:
            for step in STEPS:
                dying.append(BadTarget().on(step, ways.rst))
                dying[-1].start()
            yield [(hole, nowhere, mute, dying[n // 4 % len(dying)])[n % 4] for n in range(DEAD)]
        finally:
            for target in dying:
                target.stop()


@pytest.fixture
def healthy(tmp_path):
    """(daemon, Load): a daemon with a healthy remote disk that is used all along."""
    for side in ("far", "near"):
        (tmp_path / side).mkdir()
    with Daemon(tmp_path / "far") as far, Daemon(tmp_path / "near") as daemon:
        disk = attach(daemon, far.serve(far.malloc("disk")), "healthy")
        with Load(daemon, serve(daemon, disk), rate=2000, depth=4, qpairs=1) as load:
            yield daemon, load
            load.more_ios(500)
        told = longest_callbacks(daemon)
        print("longest callbacks, ms:", told, "of CPU time:", longest_cpu(daemon))
        if not daemon.is_sanitized:
            assert max(ms for ms, _ in told.values()) < LONGEST_MS, told
        detach(daemon, "healthy")


def test_dead_ones_are_attached(healthy, dead):
    daemon, load = healthy
    with Beside(daemon) as rpcs:
        for _ in range(2):
            answers = in_parallel(lambda n: refused(daemon, dead[n], f"dead{n}", ctrlr_loss_timeout_sec=0), DEAD)
            for n, answer in enumerate(answers):
                assert isinstance(answer, tuple), f"{KINDS[n % 4]}: {answer}"
                said, took_s = answer
                assert str(dead[n].port) in said and dead[n].address in said, f"{KINDS[n % 4]}: {said}"
                assert took_s < DEADLINE_S + LINE_S, f"{KINDS[n % 4]}: {took_s:.1f} s: {said}"
            load.check()
    print(f"RPCs: {len(rpcs.times)}, the longest {max(rpcs.times) * 1000:.1f} ms")
    assert [c["name"] for c in daemon.rpc("bdev_nvme_get_controllers")] == ["healthy"]


def test_dead_ones_are_retried_and_detached(healthy):
    """Controllers that were well once, and are now reconnected again and again to something dead."""
    daemon, load = healthy
    count = 24
    targets = [BadTarget(Disks({1: Namespace()})) for _ in range(count)]
    try:
        for target in targets:
            target.start()
        in_parallel(lambda n: attach(daemon, targets[n], f"r{n}", ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1),
                    count)
        assert len(daemon.rpc("bdev_nvme_get_controllers")) == count + 1
        with Beside(daemon) as rpcs:
            for n, target in enumerate(targets):
                if n % 3 == 0:
                    target.stop()
                    continue
                target.on(*(("accept", ways.silence) if n % 3 == 1 else (STEPS[n % len(STEPS)], ways.rst)))
                target.drop_all()
            there = [t for t in targets if t.listener]
            wait_until(lambda: all(t.seen["accept"] > 3 for t in there), "retries", PATIENCE_S)
            load.check()
            for n, answer in enumerate(in_parallel(lambda n: detach(daemon, f"r{n}"), count)):
                assert answer is None, f"{n}: {answer}"
        print(f"RPCs: {len(rpcs.times)}, the longest {max(rpcs.times) * 1000:.1f} ms")
    finally:
        for target in targets:
            target.stop()
    assert [c["name"] for c in daemon.rpc("bdev_nvme_get_controllers")] == ["healthy"]


def test_retries_cost_little(daemon):
    """Sixteen dead controllers must not keep a core busy by being tried."""
    targets = [BadTarget(Disks({1: Namespace()})) for _ in range(16)]
    for n, target in enumerate(targets):
        target.start()
        attach(daemon, target, f"r{n}", ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
    for target in targets:
        target.stop()
    time.sleep(1)
    before, began = cpu_ns(daemon.pid), time.monotonic()
    time.sleep(4)
    busy = (cpu_ns(daemon.pid) - before) / 1e7 / (time.monotonic() - began)
    print(f"CPU: {busy:.2f} % of a core")
    assert busy < (5 if not daemon.is_sanitized else 50)
    for n in range(len(targets)):
        detach(daemon, f"r{n}")


def test_refused_by_a_caller_that_hurries(healthy):
    """The same dead address, again and again, without a pause: each attempt is answered."""
    daemon, load = healthy
    nowhere = Nowhere()
    for n in range(50):
        said, _ = refused(daemon, nowhere, "again", ctrlr_loss_timeout_sec=0)
        assert str(nowhere.port) in said
    load.check()
    assert not controllers(daemon, "again")


def test_names_are_free_again(daemon, dead):
    with BadTarget() as target:
        refused(daemon, dead[1], "r")
        attach(daemon, target, "r")
        with pytest.raises(RpcError):
            attach(daemon, BadTarget(Disks(nqn=f"{NQN}-other")), "r")
        detach(daemon, "r")
