# SPDX-License-Identifier: BSD-3-Clause
"""Notifications as messages, both ways: the device says one at a time and waits for its answer; which a front-end that
gives another channel, or does not read for a while, may owe for ever."""
import struct

import pytest

import vhost_user as vu
from gantry import Daemon, wait_until
from virtio_blk import IN, OK, SECTOR, Blk


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path, "-S", tmp_path) as daemon:
        daemon.tell("bdev_malloc_create", name="disk", num_blocks=2048, block_size=SECTOR)
        daemon.tell("vhost_create_blk_controller", ctrlr="vm", dev_name="disk")
        yield daemon
        daemon.check_alive()


def without_bells(daemon, **how):
    disk = Blk(daemon.directory / "vm", inband=True, **how)
    for queue in disk.queues:
        disk.front.set_vring_fd(vu.SET_VRING_CALL, queue.index, None)
    return disk


def submit(disk, queue=0):
    """One whose end is told, whatever the driver's event index says."""
    disk.queues[queue].ring.want_calls()
    return disk.submit(IN, want=SECTOR, queue=queue)


def finish(disk, request):
    wait_until(lambda: request.queue.collect() or request.token in request.queue.done, "the request to be used")
    assert disk.wait(request) == OK


def expect_call(disk, queue=0):
    said = disk.front.backend_says()
    assert said.request == vu.BACKEND_VRING_CALL and struct.unpack("<II", said.payload)[0] == queue


def test_every_end_is_told(daemon):
    with without_bells(daemon, queues=2) as disk:
        for n in range(6):
            request = submit(disk, n % 2)
            expect_call(disk, n % 2)
            finish(disk, request)


def test_channel_is_replaced_before_the_answer(daemon):
    """Nobody answers on the old one any more."""
    with without_bells(daemon) as disk:
        finish(disk, submit(disk))
        disk.front.open_backend_channel()
        request = submit(disk)
        expect_call(disk)
        finish(disk, request)


def test_channel_comes_after_the_end(daemon):
    """What could not be told is told when it can."""
    with without_bells(daemon) as disk:
        disk.front.backend.close()
        request = submit(disk)
        finish(disk, request)
        disk.front.open_backend_channel()
        expect_call(disk)


def test_front_end_does_not_read_for_a_while(daemon):
    """The channel is full of news; then it reads them, and the call comes behind."""
    with without_bells(daemon) as disk:
        for n in range(600):
            daemon.rpc("bdev_malloc_resize", name="disk", new_size=2 + n)
        request = submit(disk)
        finish(disk, request)
        while disk.front.backend_says().request == vu.BACKEND_CONFIG_CHANGE:
            pass
        request = submit(disk)
        expect_call(disk)
        finish(disk, request)


def test_a_ring_that_stops_is_told(daemon):
    """By its number, behind the news that the device needs a reset; the others go on."""
    with without_bells(daemon, queues=2) as disk:
        disk.front.set_vring_fd(vu.SET_VRING_ERR, 1, None)
        disk.queues[1].ring.add([(1 << 50, 16, False)])
        disk.queues[1].publish()
        assert disk.front.backend_says().request == vu.BACKEND_CONFIG_CHANGE
        said = disk.front.backend_says()
        assert said.request == vu.BACKEND_VRING_ERR and struct.unpack("<II", said.payload)[0] == 1
        request = submit(disk)
        expect_call(disk)
        finish(disk, request)
