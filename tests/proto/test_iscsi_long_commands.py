# SPDX-License-Identifier: BSD-3-Clause
"""Commands that move more than the target has buffers for at a time: up to 32 MiB, in pieces of 1 MiB."""
import os
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from gantry import Daemon
from iscsi import (CHECK_CONDITION, GOOD, ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB, MEDIUM_ERROR, UNDERFLOW, Session, good,
                   read_cdb, write_cdb)

MIB = 1 << 20
LONGEST = 32 * MIB
WRITE_AND_VERIFY, VERIFY, ORWRITE = 0x8e, 0x8f, 0x8b
MISCOMPARE = 0xe


@pytest.fixture
def disk(daemon):
    return daemon.export(daemon.malloc("disk0", mib=40))


@pytest.mark.parametrize("keys", [{}, {"InitialR2T": "No", "FirstBurstLength": "1048576"},
                                  {"MaxBurstLength": "16777212", "MaxOutstandingR2T": "8"},
                                  {"DataDigest": "CRC32C", "MaxRecvDataSegmentLength": "60000"}], ids=str)
def test_longest(disk, keys):
    """Data of one piece would come as another one's, or a sequence would be broken between two."""
    data = os.urandom(9 * MIB + 512)
    with Session(disk.port, disk.name, keys) as s:
        good(s.write(1, data))
        assert s.read(1, len(data) // 512) == data
        assert s.read(2049, 3) == data[2048 * 512:2051 * 512]


def test_limits_are_told(disk):
    """A host would send what is refused; or what is slow, where it could do better."""
    with Session(disk.port, disk.name) as s:
        longest, best = struct.unpack_from(">II", s.inquiry(0xb0), 8)
        assert longest == LONGEST // 512 and best == MIB // 512
        assert len(s.read(0, longest)) == LONGEST
        for result in s.command(read_cdb(0, longest + 1), expect=LONGEST + 512), s.write(0, bytes(LONGEST + 512)):
            assert (result.status, result.key, result.asc) == (CHECK_CONDITION, ILLEGAL_REQUEST, INVALID_FIELD_IN_CDB)
        assert s.read(0, 1) == bytes(512)


def test_memory_for_few_pieces(tmp_path):
    """Sessions that each want many times what there is would wait for each other forever. A file's I/O has no memory
    but the target's."""
    with open(tmp_path / "disk", "wb") as f:
        f.truncate(64 * MIB)
    with Daemon(tmp_path, "--memory", "12M") as daemon:
        daemon.rpc("bdev_aio_create", name="file", filename=str(tmp_path / "disk"), block_size=512)
        exported = daemon.export("file")
        blocks = 5 * MIB // 512 + 1
        data = [os.urandom(blocks * 512) for _ in range(4)]
        def host(n):
            with Session(exported.port, exported.name, isid=bytes([0x80, 0, 0, 0, 0, n + 1])) as s:
                for itt in [s.submit(write_cdb((n + 4 * k) * blocks, blocks), data[n]) for k in range(3)]:
                    good(s.wait(itt))
                for itt in [s.submit(read_cdb((n + 4 * k) * blocks, blocks), expect=blocks * 512) for k in range(3)]:
                    assert good(s.wait(itt)).data == data[n]

        with ThreadPoolExecutor() as hosts:
            list(hosts.map(host, range(4)))


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
def test_failure_in_the_middle(daemon, write):
    """The status would be lost, or the residual would say that all had moved; and the next command would find the
    session out of step."""
    daemon.malloc("disk0", mib=40)
    daemon.tell("bdev_error_create", base_name="disk0")
    exported = daemon.export("EE_disk0")
    data = os.urandom(8 * MIB)
    with Session(exported.port, exported.name) as s:
        good(s.write(0, data))
        daemon.rpc("bdev_error_inject_error", name="EE_disk0", io_type="write" if write else "read", num=1,
                   error_type="failure", status="MEDIA_ERROR", offset_blocks=3 * 2048 + 5, num_blocks=1)
        other = data[::-1]
        result = s.write(0, other) if write else s.command(read_cdb(0, 16384), expect=len(data))
        assert (result.status, result.key) == (CHECK_CONDITION, MEDIUM_ERROR)
        assert result.flags == UNDERFLOW and result.residual == 5 * MIB
        assert write or result.data == data[:3 * MIB]
        assert s.read(0, 16384) == (other[:3 * MIB] + data[3 * MIB:] if write else data)
        good(s.write(0, data))


def test_others_that_are_long(disk):
    """VERIFY, WRITE AND VERIFY and ORWRITE have the same limit, and what they find differs beyond the first piece."""
    def command(opcode, flags, data):
        return s.command(struct.pack(">BBQIxx", opcode, flags, 8, len(data) // 512), data)

    data = os.urandom(3 * MIB + 1024)
    with Session(disk.port, disk.name) as s:
        good(command(WRITE_AND_VERIFY, 2, data))
        good(command(VERIFY, 2, data))
        wrong = bytearray(data)
        wrong[2 * MIB + 77] ^= 1
        result = command(VERIFY, 2, bytes(wrong))
        assert (result.status, result.key) == (CHECK_CONDITION, MISCOMPARE)
        assert struct.unpack_from(">I", result.sense, 3)[0] == 2 * MIB + 77
        bits = os.urandom(len(data))
        good(command(ORWRITE, 0, bits))
        both = int.from_bytes(data, "little") | int.from_bytes(bits, "little")
        assert s.read(8, len(data) // 512) == both.to_bytes(len(data), "little")


def test_what_fits_is_moved(disk):
    """A host that offers less than its CDB says gets as much, and hears how much more there is."""
    with Session(disk.port, disk.name) as s:
        data = os.urandom(4 * MIB)
        good(s.write(0, data))
        result = s.command(read_cdb(0, 8192), expect=2 * MIB + 100)
        assert result.status == GOOD and result.data == data[:2 * MIB + 100] and result.residual == 2 * MIB - 100
        result = s.command(write_cdb(0, 8192), data[::-1][:2 * MIB], expected_length=2 * MIB)
        assert result.status == GOOD and result.residual == 2 * MIB
        assert s.read(0, 8192) == data[::-1][:2 * MIB] + data[2 * MIB:]
