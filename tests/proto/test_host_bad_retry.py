# SPDX-License-Identifier: BSD-3-Clause
"""Commands that a controller answers with an error: tried again when the status allows it, and not before the
controller says; not when it forbids it."""
import pytest

import bad_ways as ways
from attached import attach, gateway, works
from bad_target import BadTarget
from nvme_tcp import ABORTED, IO_READ, LBA_OUT_OF_RANGE, OK, rw

NAMESPACE_NOT_READY = 0x82
INTERNAL_ERROR = 0x06
UNRECOVERED_READ = 0x281


@pytest.fixture
def target():
    """Its Command Retry Delay Times are 0.5, 1 and 2 s."""
    with BadTarget(crdt=(5, 10, 20)) as running:
        yield running


def read(host):
    return host.io.command(rw(IO_READ, 0, 8), expect=4096).status


def read_times(target, before):
    return target.times_of("read")[before:]


@pytest.mark.parametrize("code", [NAMESPACE_NOT_READY, INTERNAL_ERROR])
def test_tried_again(daemon, target, code):
    with gateway(daemon, attach(daemon, target)) as host:
        works(host)
        before = target.seen["read"]
        target.on("read", ways.status(code), times=1)
        assert read(host) == OK
        assert target.seen["read"] == before + 2


@pytest.mark.parametrize("code", [NAMESPACE_NOT_READY, INTERNAL_ERROR, LBA_OUT_OF_RANGE, UNRECOVERED_READ])
def test_not_tried_again_when_forbidden(daemon, target, code):
    """DNR: the same again can only fail again."""
    with gateway(daemon, attach(daemon, target)) as host:
        works(host)
        before = target.seen["read"]
        target.on("read", ways.status(code, dnr=True), times=1)
        assert read(host) != OK
        assert target.seen["read"] == before + 1


@pytest.mark.parametrize("crd, delay_s", [(1, 0.5), (2, 1.0), (3, 2.0)])
def test_not_tried_again_too_soon(daemon, target, crd, delay_s):
    """A controller that asks for time would be asked again and again."""
    with gateway(daemon, attach(daemon, target)) as host:
        works(host)
        before = len(target.times_of("read"))
        target.on("read", ways.status(NAMESPACE_NOT_READY, crd=crd), times=2)
        assert read(host) == OK
        times = read_times(target, before)
        assert len(times) == 3 and all(b - a >= delay_s * 0.98 for a, b in zip(times, times[1:])), times


def test_others_do_not_wait_with_it(daemon, target):
    """One command's delay must not hold up the queue."""
    with gateway(daemon, attach(daemon, target)) as host:
        works(host)
        target.on("read", ways.status(NAMESPACE_NOT_READY, crd=3), times=1)
        waits = host.io.submit(rw(IO_READ, 0, 8), expect=4096)
        assert read(host) == OK and waits not in host.io.done
        assert host.io.wait(waits).status == OK


def test_aborted_by_nobody(daemon, target):
    """Whether it is tried again is a matter of taste; that it ends is not."""
    with gateway(daemon, attach(daemon, target)) as host:
        works(host)
        target.on("read", ways.status(ABORTED), times=1)
        assert read(host) in (OK, ABORTED)
        works(host)


def test_not_for_ever(daemon, target):
    """An error that stays would hang the I/O."""
    daemon.rpc("bdev_nvme_set_options", bdev_retry_count=3)
    with gateway(daemon, attach(daemon, target)) as host:
        works(host)
        before = target.seen["read"]
        target.on("read", ways.status(INTERNAL_ERROR))
        assert read(host) != OK
        assert target.seen["read"] == before + 4
