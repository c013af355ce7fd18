# SPDX-License-Identifier: BSD-3-Clause
"""Attached and detached again and again: nothing grows. GANTRY_ROUNDS=1000 for the long one."""
import os

import pytest

import bad_ways as ways
from attached import PATIENCE_S, attach, detach, disks_of, gateway, refused, works
from bad_target import BadTarget
from gantry import Daemon, wait_until

ROUNDS = int(os.environ.get("GANTRY_ROUNDS", "200"))
WARM_UP = 20
GROWTH_KIB = 1024


@pytest.fixture
def pair(tmp_path):
    for side in ("far", "near"):
        (tmp_path / side).mkdir()
    with Daemon(tmp_path / "far") as far, Daemon(tmp_path / "near") as daemon:
        yield far, daemon


def does_not_grow(daemon, once, rounds):
    for _ in range(WARM_UP):
        once()
    rss, fds = daemon.rss_kib(), daemon.fd_count()
    for _ in range(rounds):
        once()
    wait_until(lambda: daemon.fd_count() <= fds, f"no more than {fds} descriptors; there are {daemon.fd_count()}",
               PATIENCE_S)
    print(f"{rounds} rounds: {rss} -> {daemon.rss_kib()} KiB, {fds} -> {daemon.fd_count()} descriptors")
    if not daemon.is_sanitized:
        assert daemon.rss_kib() < rss + GROWTH_KIB


def test_attach_and_detach(pair):
    far, daemon = pair
    served = far.serve(far.malloc("disk"))

    def once():
        attach(daemon, served)
        detach(daemon)
    does_not_grow(daemon, once, ROUNDS)
    assert not disks_of(daemon)


def test_attach_use_and_detach(pair):
    """With queues on the cores, and a subsystem over it."""
    far, daemon = pair
    served = far.serve(far.malloc("disk"))

    def once():
        disk = attach(daemon, served)
        with gateway(daemon, disk) as host:
            works(host)
            nqn = host.nqn
        daemon.rpc("nvmf_delete_subsystem", nqn=nqn)
        detach(daemon)
    does_not_grow(daemon, once, ROUNDS // 8)


def test_attach_that_fails(pair):
    _, daemon = pair
    with BadTarget() as target:
        target.on("identify_ns", ways.rst)
        does_not_grow(daemon, lambda: refused(daemon, target, ctrlr_loss_timeout_sec=0), ROUNDS // 4)


def test_reconnects(pair):
    """Connections that are lost and made again, under I/O."""
    _, daemon = pair
    with BadTarget() as target:
        disk = attach(daemon, target, ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
        with gateway(daemon, disk) as host:
            def once():
                target.drop_all()
                assert host.io.read(0, 8) is not None
            does_not_grow(daemon, once, ROUNDS // 8)
        assert target.seen["connect"] > ROUNDS // 8
