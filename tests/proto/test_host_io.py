# SPDX-License-Identifier: BSD-3-Clause
"""I/O on a remote disk, seen by a host of the daemon that attached it: every operation arrives as itself, statuses come
back as they were, what takes too long is dealt with, and cores share queues when there are too few."""
import os
import struct

import pytest

from gantry import cpus
from load import Load
from nvme_tcp import (IO_COMPARE, IO_DSM, IO_FLUSH, IO_READ, IO_WRITE, IO_WRITE_ZEROES, LBA_OUT_OF_RANGE, OK, Host,
                      must, rw, sqe)
from remote import attach, paths, states, wait_state

IO_WRITE_UNCORRECTABLE, IO_VERIFY, IO_COPY = 0x04, 0x0c, 0x19
FUSE_FIRST, FUSE_SECOND = 0x41, 0x42
COMPARE_FAILED, FUSED_FAILED, READ_ERROR = 0x285, 0x009, 0x281
BLOCK = 512


def stat(target, what, name="m0"):
    return target.rpc("bdev_get_iostat", names=[name])["bdevs"][0][what]


@pytest.fixture
def served(daemon, target):
    exported = target.export()
    attach(daemon, exported)
    return daemon.serve("Nvme0n1")


def test_every_operation(target, host):
    io = host.io
    data = os.urandom(8 * BLOCK)
    must(io.write(16, data))
    assert io.read(16, 8) == data
    must(io.command(sqe(IO_FLUSH, 1)))
    must(io.command(rw(IO_COMPARE, 16, 8), data))
    assert io.command(rw(IO_COMPARE, 16, 8), data[1:] + data[:1]).status & 0x7ff == COMPARE_FAILED
    must(io.command(rw(IO_VERIFY, 16, 8)))
    must(io.command(rw(IO_WRITE_ZEROES, 18, 2)))
    assert io.read(16, 8) == data[:2 * BLOCK] + bytes(2 * BLOCK) + data[4 * BLOCK:]
    ranges = b"".join(struct.pack("<IIQ", 0, count, lba) for lba, count in ((16, 1), (20, 0), (22, 2)))
    must(io.command(sqe(IO_DSM, 1, cdw10=2, cdw11=4), ranges))
    assert io.read(16, 1) == bytes(BLOCK) and io.read(17, 1) == data[BLOCK:2 * BLOCK]
    assert io.read(22, 2) == bytes(2 * BLOCK)
    must(io.write(100, data))
    sources = b"".join(struct.pack("<8xQH14x", lba, count - 1) for lba, count in ((100, 2), (104, 1)))
    must(io.command(sqe(IO_COPY, 1, cdw10=200, cdw12=1), sources))
    assert io.read(200, 3) == data[:2 * BLOCK] + data[4 * BLOCK:5 * BLOCK]
    must(io.command(rw(IO_WRITE_UNCORRECTABLE, 300, 1)))
    assert io.command(rw(IO_READ, 300, 1), expect=BLOCK).status & 0x7ff == READ_ERROR
    assert io.command(rw(IO_READ, 1 << 30, 1), expect=BLOCK).status & 0x7ff == LBA_OUT_OF_RANGE
    assert stat(target, "num_unmap_ops") == 2 and stat(target, "num_copy_ops") == 2   # not emulated on the way


def counter(daemon, name):
    return paths(daemon)[0]["io"][name]


def compare_and_write(io, lba, old, new):
    first = io.submit(rw(IO_COMPARE, lba, 1, flags=FUSE_FIRST), old)
    second = io.submit(rw(IO_WRITE, lba, 1, flags=FUSE_SECOND), new)
    return io.wait(first).status & 0x7ff, io.wait(second).status & 0x7ff


def test_compare_and_write_is_one_act_of_the_target(host):
    io = host.io
    old, new = os.urandom(BLOCK), os.urandom(BLOCK)
    must(io.write(5, old))
    assert compare_and_write(io, 5, old, new) == (OK, OK)
    assert io.read(5, 1) == new
    assert compare_and_write(io, 5, old, bytes(BLOCK)) == (COMPARE_FAILED, FUSED_FAILED)
    assert io.read(5, 1) == new


def test_long_zeroing_is_not_cut_by_the_size_of_data(daemon, host):
    before = counter(daemon, "submitted")
    must(host.io.command(rw(IO_WRITE_ZEROES, 0, 32768)))
    assert counter(daemon, "submitted") - before == 1


# --- what takes too long -----------------------------------------------------------------------------------------

@pytest.fixture
def stuck(daemon, target):
    """serve(action): a remote disk whose reads get no answer from now on; the gateway's subsystem."""
    def serve(action):
        daemon.rpc("bdev_nvme_set_options", action_on_timeout=action, timeout_us=300000)
        target.malloc("m0", mib=4)
        target.rpc("bdev_error_create", base_name="m0")
        exported = target.serve("EE_m0")
        attach(daemon, exported)
        gateway = daemon.serve("Nvme0n1")
        target.rpc("bdev_error_inject_error", name="EE_m0", io_type="read", error_type="pending", num=1)
        return gateway
    yield serve
    target.rpc("bdev_error_inject_error", name="EE_m0", io_type="clear", error_type="failure")
    target.rpc("bdev_error_resume_pending", name="EE_m0")


def test_a_late_command_is_aborted(daemon, stuck):
    gateway = stuck("abort")
    with Host(gateway.port, gateway.nqn) as host:
        cid = host.io.submit(rw(IO_READ, 0, 1), expect=BLOCK)
        assert host.io.wait(cid).status & 0x7ff != OK
        assert host.io.read(0, 1) == bytes(BLOCK)
    assert counter(daemon, "timed_out") >= 1


def test_a_late_command_resets_its_path(daemon, stuck):
    gateway = stuck("reset")
    with Host(gateway.port, gateway.nqn) as host:
        assert host.io.read(0, 1) == bytes(BLOCK)      # it went out again
    wait_state(daemon, "enabled")
    assert paths(daemon)[0]["connected"] >= 2 and paths(daemon)[0]["ended_by"]["io_timeout"] >= 1


def test_nobody_is_asked_about_a_late_command(daemon, target, stuck):
    gateway = stuck("none")
    with Host(gateway.port, gateway.nqn) as host:
        cid = host.io.submit(rw(IO_READ, 0, 1), expect=BLOCK)
        for n in range(50):
            must(host.io.write(n, bytes(BLOCK)))
        assert cid not in host.io.done and states(daemon) == ["enabled"]
        target.rpc("bdev_error_resume_pending", name="EE_m0")
        must(host.io.wait(cid))


# --- fewer queues than cores -----------------------------------------------------------------------------------------

@pytest.mark.skipif("," not in cpus(2), reason="one CPU")
@pytest.mark.parametrize("who", ["target", "we"])
def test_cores_share_a_queue(daemon, target, who):
    daemon.stop()
    daemon.args = ["-m", cpus(2), *daemon.args]
    daemon.start()
    exported = target.export(transport={"max_io_qpairs_per_ctrlr": 1} if who == "target" else {})
    attach(daemon, exported, **({"num_io_queues": 1} if who == "we" else {}))
    gateway = daemon.serve("Nvme0n1")
    with Load(daemon, gateway, qpairs=4) as load:
        load.more_ios(500)
        daemon.rpc("bdev_nvme_reset_controller", name="Nvme0")
        load.more_ios(500)
    assert paths(daemon)[0]["queues"] == 1 and counter(daemon, "forwarded") > 100 and counter(daemon, "errors") == 0
