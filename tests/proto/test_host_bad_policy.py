# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of I/O while a controller is away: as the person asked, never sooner and never for ever."""
import time

import pytest

import bad_ways as ways
from attached import PATIENCE_S, attach, controllers, detach, disks_of, gateway, serve, works
from bad_target import BadTarget, Connection
from gantry import RpcError, wait_until
from nvme_tcp import IO_READ, IO_WRITE, Host, rw

FOR_EVER = {"ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1}


@pytest.fixture
def target():
    with BadTarget() as running:
        yield running


def submit_read(host):
    return host.io.submit(rw(IO_READ, 0, 8), expect=4096)


def is_answered(host, cid, within_s):
    host.io.sock.settimeout(within_s)
    try:
        while cid not in host.io.done:
            host.io.step()
        return True
    except TimeoutError:
        return False
    finally:
        host.io.sock.settimeout(PATIENCE_S)


def test_io_waits_for_the_controller(daemon, target):
    """Reads and writes of a target that restarts would fail."""
    with gateway(daemon, attach(daemon, target, **FOR_EVER)) as host:
        works(host)
        target.stop()
        cid = submit_read(host)
        assert not is_answered(host, cid, 2)
        target.start()
        assert host.io.wait(cid).status == 0
        works(host)
        assert target.seen["connect"] == 2


def test_fast_io_fail(daemon, target):
    """I/O would wait for the controller when it was to wait two seconds."""
    disk = attach(daemon, target, fast_io_fail_timeout_sec=2, **FOR_EVER)
    with gateway(daemon, disk) as host:
        works(host)
        began = time.monotonic()
        target.stop()
        cid = submit_read(host)
        assert host.io.wait(cid).status
        assert time.monotonic() - began > 1.5
        assert host.io.command(rw(IO_READ, 0, 8), expect=4096).status    # and the next at once
        target.start()
        wait_until(lambda: host.io.command(rw(IO_READ, 0, 8), expect=4096).status == 0, "the controller", PATIENCE_S)
        works(host)


def test_controller_loss(daemon, target):
    """A controller that never comes back would be kept for ever, and its disks with it."""
    disk = attach(daemon, target, ctrlr_loss_timeout_sec=2, reconnect_delay_sec=1)
    with gateway(daemon, disk) as host:
        works(host)
        target.stop()
        cid = submit_read(host)
        assert host.io.wait(cid).status
        wait_until(lambda: not disks_of(daemon), "it to be given up", PATIENCE_S)
    target.start()
    attach(daemon, target)


def test_reconnects_are_not_hurried(daemon, target):
    """A host that tries again at once keeps a target that comes up from coming up."""
    attach(daemon, target, ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=2)
    target.on("connect", ways.rst)
    target.drop_all()
    wait_until(lambda: target.seen["connect"] >= 4, "three attempts", PATIENCE_S)
    tries = target.times_of("connect")[1:]
    gaps = [b - a for a, b in zip(tries, tries[1:])]
    assert min(gaps) > 1.4, gaps        # jitter may take something off
    target.good()
    wait_until(lambda: controllers(daemon)[0]["state"] == "enabled", "the controller", PATIENCE_S)


def test_disable_and_enable(daemon, target):
    disk = attach(daemon, target, **FOR_EVER)
    with gateway(daemon, disk) as host:
        works(host)
        daemon.rpc("bdev_nvme_disable_controller", PATIENCE_S, name="r")
        wait_until(lambda: not target.admin_queues(), "the connections to end", PATIENCE_S)
        seen = target.seen["connect"]
        time.sleep(2)
        assert target.seen["connect"] == seen
        daemon.rpc("bdev_nvme_enable_controller", PATIENCE_S, name="r")
        wait_until(lambda: host.io.command(rw(IO_READ, 0, 8), expect=4096).status == 0, "I/O", PATIENCE_S)
        works(host)


def test_reset(daemon, target):
    """I/O goes on over a reset that somebody asked for."""
    disk = attach(daemon, target, **FOR_EVER)
    with gateway(daemon, disk) as host:
        works(host)
        for n in range(3):
            daemon.rpc("bdev_nvme_reset_controller", PATIENCE_S, name="r")
            works(host)
            assert target.seen["connect"] == n + 2


def test_reset_of_a_controller_that_is_away(daemon, target):
    """It ends with an error, not never."""
    attach(daemon, target, **FOR_EVER)
    target.stop()
    began = time.monotonic()
    try:
        daemon.rpc("bdev_nvme_reset_controller", PATIENCE_S, name="r")
    except RpcError as error:
        assert len(error.message) > 20, error.message
    assert time.monotonic() - began < PATIENCE_S / 2
    target.start()
    wait_until(lambda: controllers(daemon)[0]["state"] == "enabled", "the controller", PATIENCE_S)
    detach(daemon)


@pytest.mark.parametrize("opcode", ["read", "write"])
def test_poison(daemon, target, opcode):
    """A command that ends its connection, each time it is sent, would keep all others from getting on."""
    daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=1000)
    served = serve(daemon, attach(daemon, target, **FOR_EVER))
    target.on(opcode, lambda conn, request: (ways.rst if request.lba == 64 else Connection.do_right)(conn, request))
    with Host(served.port, served.nqn) as host, Host(served.port, served.nqn) as other:
        for conn in (host.io, other.io):
            conn.sock.settimeout(PATIENCE_S)
        cid = host.io.submit(rw(IO_WRITE, 64, 8), bytes(4096)) if opcode == "write" else \
            host.io.submit(rw(IO_READ, 64, 8), expect=4096)
        wait_until(lambda: target.seen["connect_io"] > 2, "it to be sent again", PATIENCE_S)
        for _ in range(5):
            works(other)
        assert cid not in host.io.done
        target.good()
        assert host.io.wait(cid).status == 0
