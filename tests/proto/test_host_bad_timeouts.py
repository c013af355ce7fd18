# SPDX-License-Identifier: BSD-3-Clause
"""Controllers that stop answering, one way or another: noticed in time, and what was out ends as the policy says.
Success of Keep Alive is no proof that I/O moves, and I/O that moves is proof of life."""
import time

import pytest

import bad_ways as ways
from attached import PATIENCE_S, attach, controllers, gateway, works
from bad_target import BadTarget
from gantry import wait_until
from nvme_tcp import IO_READ, rw

FOR_EVER = {"ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1}


@pytest.fixture
def target():
    with BadTarget() as running:
        yield running


def read(host):
    return host.io.command(rw(IO_READ, 0, 8), expect=4096).status


def test_keep_alive_is_not_answered(daemon, target):
    """The kernel of a dead target acknowledges whatever is sent."""
    daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=1000)
    with gateway(daemon, attach(daemon, target, **FOR_EVER)) as host:
        works(host)
        target.on("admin", ways.ignore)
        wait_until(lambda: target.seen["accept"] > 2, "a new connection", PATIENCE_S)
        target.good()
        wait_until(lambda: controllers(daemon)[0]["state"] == "enabled", "the controller", PATIENCE_S)
        works(host)


def test_io_is_life(daemon, target):
    """A target that is busy with I/O, and slow with Keep Alive, would be cut off."""
    daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=1000)
    with gateway(daemon, attach(daemon, target, **FOR_EVER)) as host:
        works(host)
        target.on("keep_alive", ways.ignore)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            works(host)
            time.sleep(0.02)
        assert target.seen["connect"] == 1


@pytest.mark.parametrize("action", ["reset", "abort"])
def test_io_is_not_answered(daemon, target, action):
    """Keep Alive is answered, so nothing else would ever end it."""
    daemon.rpc("bdev_nvme_set_options", timeout_us=1000000, action_on_timeout=action)
    with gateway(daemon, attach(daemon, target, **FOR_EVER)) as host:
        works(host)
        target.on("read", ways.ignore, times=1)
        assert read(host) == 0
        assert target.seen["connect"] > 1      # the abort did nothing: this target cannot
        works(host)


def test_io_is_not_answered_and_nothing_is_to_be_done(daemon, target):
    """action_on_timeout none: a slow device is waited for."""
    daemon.rpc("bdev_nvme_set_options", timeout_us=500000, action_on_timeout="none")
    with gateway(daemon, attach(daemon, target, **FOR_EVER)) as host:
        works(host)
        target.on("read", ways.late(2), times=1)
        assert read(host) == 0
        assert target.seen["connect"] == 1 and target.seen["abort"] == 0


def test_target_reads_nothing(daemon, target):
    """What is sent piles up in the sockets: the daemon must not wait for that."""
    daemon.rpc("bdev_nvme_set_options", timeout_us=1000000, action_on_timeout="reset", keep_alive_timeout_ms=2000)
    with gateway(daemon, attach(daemon, target, **FOR_EVER)) as host:
        works(host)
        target.on("write", ways.deaf, times=1)
        works(host)
        assert target.seen["connect"] > 1
