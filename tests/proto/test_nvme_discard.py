# SPDX-License-Identifier: BSD-3-Clause
import os
import struct

import pytest

from gantry import wait_until
from nvme_tcp import IO_DSM, IO_WRITE_ZEROES, Host, must, rw, sqe

MIB = 64
DEALLOCATE = 4


def fill(io, blocks=MIB << 11):
    piece = os.urandom(131072)
    for lba in range(0, blocks, 256):
        must(io.write(lba, piece, in_capsule=False))


def discard(io, *ranges):
    data = b"".join(struct.pack("<IIQ", 0, count, lba) for lba, count in ranges)
    must(io.command(sqe(IO_DSM, nsid=1, cdw10=len(ranges) - 1, cdw11=DEALLOCATE), data))


def test_memory_comes_and_goes(daemon, served):
    """A RAM disk would keep what was discarded, or a little of it each time."""
    after = []
    with Host(served.port, served.nqn, io_queues=2) as host:
        for n in range(4):
            fill(host.ios[n % 2])
            full = daemon.rss_kib()
            discard(host.ios[(n + 1) % 2], (0, MIB << 11))
            wait_until(lambda: daemon.is_sanitized or daemon.rss_kib() < full - MIB * 1024 * 0.75,
                       f"memory to come back from {full} KiB")
            after.append(daemon.rss_kib())
        assert daemon.is_sanitized or after[-1] - after[0] < 1024, f"KiB after each discard: {after}"


@pytest.mark.parametrize("ranges", [[(0, 1)], [(7, 1), (9, 7)], [(0, 8)], [(1, 254), (256, 1)],
                                    [(n * 3, 2) for n in range(256)]], ids=str)
def test_exactly_the_blocks_named(host, ranges):
    """A discard of part of a page would take its neighbours, or leave old data."""
    fill(host.io, 1024)
    expected = bytearray(host.io.read(0, 256) * 4)
    discard(host.io, *ranges)
    for lba, count in ranges:
        expected[lba * 512:(lba + count) * 512] = bytes(count * 512)
    assert b"".join(host.io.read(lba, 256) for lba in range(0, 1024, 256)) == bytes(expected)


@pytest.mark.parametrize("lba, blocks", [(0, 1), (3, 5), (5, 2000), (0, 65536)])
def test_write_zeroes(host, lba, blocks):
    """Blocks that were told to be zero would not be."""
    fill(host.io, 4096)
    before = host.io.read(lba + blocks, 1)
    must(host.io.command(rw(IO_WRITE_ZEROES, lba, blocks)))
    assert host.io.read(lba + blocks, 1) == before
    for at in range(lba, min(lba + blocks, 4096), 256):
        count = min(256, lba + blocks - at)
        assert host.io.read(at, count) == bytes(count * 512)
