# SPDX-License-Identifier: BSD-3-Clause
"""GET LBA STATUS of disks with more blocks than a descriptor can count."""
import os
import struct

from iscsi import Session, good

BLOCKS = 3 << 32
WRITTEN = 5 << 31           # behind a hole that is longer than 32 bits


def lba_status(s, lba, descriptors):
    """[(first block, blocks, mapped)]"""
    room = 8 + 16 * descriptors
    data = good(s.command(struct.pack(">BBQIxx", 0x9e, 0x12, lba, room), expect=room)).data
    count = (struct.unpack_from(">I", data)[0] + 4 - 8) // 16
    assert count <= descriptors
    found = [struct.unpack_from(">QIB", data, 8 + 16 * i) for i in range(count)]
    return [(first, blocks, status == 0) for first, blocks, status in found]


def test_descriptors_leave_nothing_out(daemon, tmp_path):
    """A tool that walks a thin disk would take what lies between two descriptors for what it is not, and lose it."""
    path = tmp_path / "disk"
    with open(path, "wb") as f:
        f.truncate(BLOCKS * 512)
        os.pwrite(f.fileno(), b"x" * 4096, WRITTEN * 512)
    daemon.tell("bdev_aio_create", name="file", filename=str(path), block_size=512)
    disk = daemon.export("file")
    with Session(disk.port, disk.name) as s:
        for start in (0, 12345, WRITTEN - 8, BLOCKS - 1):
            next_lba, found = start, lba_status(s, start, 16)
            for first, blocks, _ in found:
                assert first == next_lba and blocks, f"{found}: nothing is said of block {next_lba}"
                next_lba = first + blocks
            assert next_lba == BLOCKS, found
            assert all(mapped for first, blocks, mapped in found if first <= WRITTEN < first + blocks), found
        ((first, blocks, _),) = lba_status(s, 7, 1)
        assert first == 7 and blocks == 0xffffffff or first + blocks == WRITTEN, (first, blocks)
