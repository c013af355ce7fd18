# SPDX-License-Identifier: BSD-3-Clause
"""Protection information over NVMe/TCP: what Identify says of it, inserted and stripped (PRACT), checked as PRCHK says
on the way in and on the way out, for every type. The guard is computed here, bit by bit."""
import os
import struct

import pytest

from attached import attach
from gantry import RpcError
from iscsi import GOOD, Session, good, read_cdb
from nvme_tcp import (ADMIN_SET_FEATURES, INVALID_FIELD, IO_COMPARE, IO_READ, IO_WRITE, IO_WRITE_ZEROES, OK, Host, must,
                      rw, sqe)

IO_WRITE_UNCOR, IO_VERIFY, IO_COPY = 0x04, 0x0c, 0x19
GUARD, APP, REF, PRACT = 1 << 28, 1 << 27, 1 << 26, 1 << 29   # in dword 12
GUARD_ERROR, APP_ERROR, REF_ERROR, COMPARE_FAILED, INVALID_PI, FUSED_FAIL = 0x282, 0x283, 0x284, 0x285, 0x181, 0x09
ALL = GUARD | APP | REF
TAG = 0xbeef


def make_table():
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8bb7 if crc & 0x8000 else crc << 1) & 0xffff
        table.append(crc)
    return table


TABLE = make_table()


def crc16(data):
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xffff) ^ TABLE[crc >> 8 ^ byte]
    return crc


assert crc16(b"123456789") == 0xd0db


class Shape:
    """A namespace's blocks: how metadata are laid out, and what is right in them."""

    def __init__(self, dif, md=8, head=False, block=512, separate=False):
        self.dif, self.md, self.head, self.block, self.separate = dif, md, head, block, separate

    def __str__(self):
        return f"type{self.dif}-{self.block}+{self.md}{'-head' if self.head else ''}{'-apart' if self.separate else ''}"

    stride = property(lambda self: self.block + self.md)
    at = property(lambda self: self.block + (0 if self.head else self.md - 8))

    def checks(self):
        return GUARD | APP | (REF if self.dif != 3 else 0)

    def protect(self, data, lba, app=TAG, ref=None):
        """Blocks with their metadata, all of it right."""
        out = b""
        for n in range(len(data) // self.block):
            block = data[n * self.block:(n + 1) * self.block]
            rest = os.urandom(self.md - 8)
            guard = crc16(block if self.head else block + rest)
            first = lba if ref is None else ref
            pi = struct.pack(">HHI", guard, app, first if self.dif == 3 else first + n & 0xffffffff)
            out += block + (pi + rest if self.head else rest + pi)
        return out

    def data_of(self, blocks):
        return b"".join(blocks[n:n + self.block] for n in range(0, len(blocks), self.stride))


SHAPES = [Shape(1), Shape(2), Shape(3), Shape(1, md=16), Shape(2, md=64, head=True, block=4096),
          Shape(1, separate=True), Shape(2, md=16, separate=True), Shape(1, block=4096)]


@pytest.fixture(params=SHAPES, ids=str)
def ns(request, daemon):
    """A host of a namespace of that shape, whose device's data can be corrupted."""
    shape = request.param
    daemon.tell("bdev_malloc_create", name="base", num_blocks=4096, block_size=shape.block, md_size=shape.md,
                md_interleave=not shape.separate, dif_type=shape.dif, dif_is_head_of_md=shape.head)
    daemon.tell("bdev_error_create", base_name="base")
    served = daemon.serve("EE_base")
    with Host(served.port, served.nqn) as host:
        host.shape, host.daemon = shape, daemon
        yield host


def corrupt(ns, io_type, offset):
    ns.daemon.tell("bdev_error_inject_error", name="EE_base", io_type=io_type, error_type="corrupt_data", num=1,
                   corrupt_offset=offset, corrupt_value=0x40)


def io(ns, opcode, lba, blocks, bits=0, data=b"", ref=None, app=TAG, mask=0xffff, expect=0, flags=0x40):
    ref = lba & 0xffffffff if ref is None else ref
    command = rw(opcode, lba, blocks, cdw14=ref, cdw15=app | mask << 16, flags=flags)
    command = command[:48] + struct.pack("<I", blocks - 1 | bits) + command[52:]
    return ns.io.command(command, data, in_capsule=len(data) <= 4096, expect=expect)


def write(ns, lba, data, bits=0, **more):
    size = ns.shape.block if bits & PRACT and ns.shape.md == 8 else ns.shape.stride
    return io(ns, IO_WRITE, lba, len(data) // size, bits, data, **more)


def read(ns, lba, blocks, bits=0, **more):
    size = ns.shape.block if bits & PRACT and ns.shape.md == 8 else ns.shape.stride
    return io(ns, IO_READ, lba, blocks, bits, expect=blocks * size, **more)


def test_identify(ns):
    """A host that believes what is wrong here reads garbage."""
    page, shape = ns.admin.identify(0, 1), ns.shape
    assert page[25:30] == bytes([0, 0x10, 1, 1 << shape.dif - 1 | (8 if shape.head else 16),
                                 shape.dif | (8 if shape.head else 0)])
    assert struct.unpack_from("<HB", page, 128) == (shape.md, shape.block.bit_length() - 1)
    assert page[33] == 9  # DLFEAT: what was deallocated reads as zeroes; its guard is FFFFh
    assert ns.admin.identify(5, 1) == bytes(4096)  # 16 bits of guard, no storage tag


def test_as_it_came(ns):
    """Without PRACT the device keeps what came, and says so bit by bit. In-capsule and by R2T."""
    for lba, blocks in ((0, 1), (5, 7), (100, 30)):
        data = ns.shape.protect(os.urandom(blocks * ns.shape.block), lba)
        must(write(ns, lba, data, ns.shape.checks()))
        assert must(read(ns, lba, blocks, ns.shape.checks())).data == data
        assert must(read(ns, lba, blocks)).data == data


def test_inserted_and_stripped(ns):
    """The host has none, and what is on the media is right."""
    shape, plain = ns.shape, os.urandom(24 * ns.shape.block)
    data = plain if shape.md == 8 else shape.protect(plain, 0)
    must(write(ns, 40, data, PRACT))
    raw = must(read(ns, 40, 24, shape.checks())).data
    assert shape.data_of(raw) == plain
    for n in range(24):
        block = raw[n * shape.stride:(n + 1) * shape.stride]
        guard, app, ref = struct.unpack_from(">HHI", block, shape.at)
        assert guard == crc16(block[:shape.block if shape.head else shape.at])
        assert (app, ref) == (TAG, 40 if shape.dif == 3 else 40 + n)
    back = must(read(ns, 40, 24, PRACT | shape.checks())).data
    assert back == (plain if shape.md == 8 else raw)


@pytest.mark.parametrize("blocks, wrong", [(1, 0), (20, 13)])
def test_wrong_writes_are_refused(ns, blocks, wrong):
    """Each field by its own check, in the order guard, application tag, reference tag; and nothing of it is written."""
    shape = ns.shape
    good = shape.protect(os.urandom(blocks * shape.block), 8)
    must(write(ns, 8, good, shape.checks()))
    for offset, bit, status in ((3, GUARD, GUARD_ERROR), (shape.at, GUARD, GUARD_ERROR), (shape.at + 3, APP, APP_ERROR),
                                (shape.at + 7, REF, REF_ERROR)):
        bad = bytearray(shape.protect(os.urandom(blocks * shape.block), 8))
        bad[wrong * shape.stride + offset] ^= 0x21
        if bit == REF and shape.dif == 3:
            assert write(ns, 8, bytes(bad), REF).status == INVALID_PI
            continue
        answer = write(ns, 8, bytes(bad), bit)
        assert (answer.status, answer.dnr) == (status, True)
        assert must(read(ns, 8, blocks)).data == good
        must(write(ns, 8, bytes(bad), shape.checks() & ~bit))  # nobody asked
        assert read(ns, 8, blocks, shape.checks()).status == status
        must(write(ns, 8, good))


@pytest.mark.parametrize("blocks, wrong", [(1, 0), (20, 13)])
def test_corruption_is_found(ns, blocks, wrong):
    """A bit that changed between the host and the media, or on its way back."""
    shape = ns.shape
    good = shape.protect(os.urandom(blocks * shape.block), 16)
    device_stride = shape.block if shape.separate else shape.stride
    corrupt(ns, "write", wrong * device_stride + 77)
    must(write(ns, 16, good, shape.checks()))
    assert read(ns, 16, blocks, GUARD).status == GUARD_ERROR
    assert read(ns, 16, blocks, PRACT | GUARD).status == GUARD_ERROR
    assert io(ns, IO_VERIFY, 16, blocks, GUARD).status == GUARD_ERROR
    must(io(ns, IO_VERIFY, 16, blocks))
    must(write(ns, 16, good, shape.checks()))
    corrupt(ns, "read", wrong * device_stride + 5)
    assert read(ns, 16, blocks, GUARD).status == GUARD_ERROR
    assert must(read(ns, 16, blocks, shape.checks())).data == good


def test_tags_that_are_expected(ns):
    """The mask; what a read expects; type 1's reference tag is the LBA's and nothing else, type 3's is not checked."""
    shape = ns.shape
    must(write(ns, 3, shape.protect(os.urandom(2 * shape.block), 3), shape.checks()))
    assert read(ns, 3, 2, APP, app=TAG ^ 0x100).status == APP_ERROR
    must(read(ns, 3, 2, APP, app=TAG ^ 0x100, mask=0x00ff))
    must(read(ns, 3, 2, GUARD, app=0))
    expected = {1: INVALID_PI, 2: REF_ERROR, 3: INVALID_PI}[shape.dif]
    assert read(ns, 3, 2, REF, ref=4).status == expected
    assert write(ns, 3, shape.protect(os.urandom(shape.block), 3), REF, ref=4).status == expected
    if shape.dif == 2:
        must(write(ns, 3, shape.protect(os.urandom(2 * shape.block), 3, ref=0xffffffff), ALL, ref=0xffffffff))
        must(read(ns, 3, 2, ALL, ref=0xffffffff))


def test_blocks_that_nobody_wrote(ns):
    """Nothing is to be checked of what was never written, was deallocated, or zeroed without protection."""
    shape = ns.shape
    assert must(read(ns, 4000, 9, shape.checks())).data[shape.at:shape.at + 8] == b"\xff" * 8
    must(write(ns, 50, shape.protect(os.urandom(9 * shape.block), 50), shape.checks()))
    must(io(ns, IO_WRITE_ZEROES, 50, 9))
    assert shape.data_of(must(read(ns, 50, 9, shape.checks(), app=0x1111)).data) == bytes(9 * shape.block)
    must(io(ns, IO_WRITE_ZEROES, 50, 9, PRACT))
    raw = must(read(ns, 50, 9, shape.checks())).data
    assert shape.data_of(raw) == bytes(9 * shape.block)
    assert struct.unpack_from(">HHI", raw, shape.at) == (0, TAG, 50)
    assert read(ns, 50, 9, APP, app=0x1111).status == APP_ERROR


def test_compare(ns):
    """Tuples are looked at, not compared."""
    shape = ns.shape
    good = shape.protect(os.urandom(9 * shape.block), 70)
    must(write(ns, 70, good, shape.checks()))
    must(io(ns, IO_COMPARE, 70, 9, shape.checks(), good))
    other = bytearray(good)
    other[shape.at + 1] ^= 1
    must(io(ns, IO_COMPARE, 70, 9, GUARD, bytes(other)))
    other[8 * shape.stride + 1] ^= 1
    assert io(ns, IO_COMPARE, 70, 9, GUARD, bytes(other)).status == COMPARE_FAILED
    assert io(ns, IO_COMPARE, 70, 9, PRACT, good).status == INVALID_PI
    corrupt(ns, "read", 20)
    assert io(ns, IO_COMPARE, 70, 9, GUARD, good).status == GUARD_ERROR


def fused(ns, lba, old, new, bits):
    tags = {"cdw14": lba, "cdw15": TAG | 0xffff0000}
    first, second = (rw(opcode, lba, 1, flags=flags, **tags)
                     for opcode, flags in ((IO_COMPARE, 0x41), (IO_WRITE, 0x42)))
    first, second = (c[:48] + struct.pack("<I", bits) + c[52:] for c in (first, second))
    first = ns.io.submit(first, old, in_capsule=len(old) <= 4096)
    second = ns.io.submit(second, new, in_capsule=len(new) <= 4096)
    return ns.io.wait(first).status, ns.io.wait(second).status


def test_compare_and_write(ns):
    """Both halves are protected: what is there when it is compared, what comes before it is written."""
    shape = ns.shape
    old, new = (shape.protect(os.urandom(shape.block), 80) for _ in range(2))
    must(write(ns, 80, old, shape.checks()))
    assert fused(ns, 80, old, new, shape.checks()) == (OK, OK)
    assert must(read(ns, 80, 1, shape.checks())).data == new
    assert fused(ns, 80, old, new, shape.checks()) == (COMPARE_FAILED, FUSED_FAIL)
    bad = bytearray(old)
    bad[shape.at] ^= 1
    assert fused(ns, 80, new, bytes(bad), GUARD)[0] != OK
    assert must(read(ns, 80, 1, shape.checks())).data == new


def copy(ns, to, ranges, read_bits, write_bits):
    """PRINFO of both sides, as bits of dword 12 of a read or write."""
    descs = b"".join(struct.pack("<8xQH6xIHH", lba, blocks - 1, lba, 0xffff, TAG) for lba, blocks in ranges)
    cdw12 = len(ranges) - 1 | read_bits >> 26 << 12 | write_bits
    return ns.io.command(sqe(IO_COPY, 1, cdw10=to, cdw12=cdw12, cdw14=to, cdw15=TAG | 0xffff0000), descs)


def test_copies(ns):
    """Reference tags count from where a copy goes to, over its ranges; what is copied is checked on both sides."""
    shape = ns.shape
    plain = os.urandom(12 * shape.block)
    must(write(ns, 200, shape.protect(plain, 200), shape.checks()))
    must(copy(ns, 300, [(200, 5), (205, 7)], PRACT | shape.checks(), PRACT))
    assert shape.data_of(must(read(ns, 300, 12, shape.checks())).data) == plain
    if shape.dif != 3:
        assert copy(ns, 400, [(200, 12)], shape.checks(), REF).status == REF_ERROR
    must(copy(ns, 400, [(200, 12)], shape.checks(), 0))  # as they are
    assert must(read(ns, 400, 12, GUARD | APP)).data == must(read(ns, 200, 12)).data
    assert copy(ns, 400, [(200, 12)], PRACT, 0).status == INVALID_FIELD
    corrupt(ns, "read", 7)
    assert copy(ns, 400, [(200, 12)], PRACT | GUARD, PRACT).status == GUARD_ERROR


def test_formats_of_wider_guards(ns):
    """Guards have 16 bits here: descriptors for wider ones, of 40 bytes, are neither offered nor taken."""
    assert struct.unpack_from("<H", ns.admin.identify(1, 0), 534)[0] == 0b101
    must(write(ns, 200, ns.shape.protect(os.urandom(ns.shape.block), 200), ns.shape.checks()))
    for form in (1, 3):
        desc = struct.pack("<8xQH22x", 200, 0)
        assert len(desc) == 40
        found = ns.io.command(sqe(IO_COPY, 1, cdw10=300, cdw12=form << 8), desc)
        assert found.status == INVALID_FIELD, form
    behavior = bytearray(512)
    struct.pack_into("<H", behavior, 4, 1 << 3)
    assert ns.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x16), bytes(behavior)).status == INVALID_FIELD


def test_write_uncorrectable(ns):
    must(write(ns, 5, ns.shape.protect(os.urandom(ns.shape.block), 5), ns.shape.checks()))
    must(io(ns, IO_WRITE_UNCOR, 5, 1))
    assert read(ns, 5, 1, ns.shape.checks()).status == 0x281
    must(write(ns, 5, ns.shape.protect(os.urandom(ns.shape.block), 5), ns.shape.checks()))
    must(read(ns, 5, 1, ns.shape.checks()))


def test_length_is_that_of_all_bytes(ns):
    """A descriptor for the data alone would leave the metadata nowhere to go."""
    short = rw(IO_READ, 0, 2)
    assert ns.io.command(short, expect=2 * ns.shape.block).status == 0x0f


def test_metadata_without_protection(daemon):
    """They are carried and compared; there is nothing to check."""
    daemon.tell("bdev_malloc_create", name="md", num_blocks=4096, block_size=512, md_size=16, md_interleave=True)
    served = daemon.serve("md")
    with Host(served.port, served.nqn) as host:
        host.shape = Shape(0, 16)
        data = os.urandom(10 * 528)
        page = host.admin.identify(0, 1)
        assert page[26:30] == bytes([0x10, 1, 0, 0])
        must(io(host, IO_WRITE, 9, 10, 0, data))
        assert must(read(host, 9, 10)).data == data
        must(io(host, IO_COMPARE, 9, 10, 0, data))
        assert io(host, IO_COMPARE, 9, 10, 0, data[:-1] + bytes([data[-1] ^ 1])).status == COMPARE_FAILED
        assert read(host, 9, 10, GUARD).status == INVALID_PI


@pytest.mark.parametrize("dif, md, separate", [(1, 8, False), (2, 16, False), (3, 8, True), (0, 8, False)])
def test_hidden_from_hosts(daemon, dif, md, separate):
    """With dif_insert_or_strip hosts see 512 bytes, and what changed on the media is found all the same."""
    daemon.tell("bdev_malloc_create", name="base", num_blocks=4096, block_size=512, md_size=md,
                md_interleave=not separate, dif_type=dif)
    daemon.tell("bdev_error_create", base_name="base")
    daemon.tell("nvmf_create_transport", trtype="TCP", dif_insert_or_strip=True)
    served = daemon.serve("EE_base")
    with Host(served.port, served.nqn) as host:
        host.daemon = daemon
        page = host.admin.identify(0, 1)
        assert page[26:30] == bytes(4) and struct.unpack_from("<HB", page, 128) == (0, 9)
        data = os.urandom(60 * 512)
        must(host.io.write(10, data, in_capsule=False))
        must(host.io.write(7, data[:512]))
        assert host.io.read(10, 60) == data and host.io.read(7, 1) == data[:512]
        must(host.io.command(rw(IO_COMPARE, 10, 60), data, in_capsule=False))
        must(host.io.command(rw(IO_WRITE_ZEROES, 12, 3)))
        assert host.io.read(10, 60) == data[:1024] + bytes(1536) + data[5 * 512:]
        assert io(host, IO_READ, 10, 1, GUARD, expect=512).status == INVALID_PI
        corrupt(host, "write", 600)
        must(host.io.write(10, data[:20 * 512], in_capsule=False))
        found = host.io.command(rw(IO_READ, 10, 20), expect=20 * 512).status
        assert found == (GUARD_ERROR if dif else OK)


@pytest.mark.parametrize("dif, separate", [(1, False), (3, True)])
def test_scsi_hosts_see_plain_blocks(daemon, dif, separate):
    """What knows nothing of metadata is protected all the same."""
    daemon.tell("bdev_malloc_create", name="base", num_blocks=4096, block_size=512, md_size=8,
                md_interleave=not separate, dif_type=dif)
    daemon.tell("bdev_error_create", base_name="base")
    node = daemon.export("EE_base")
    with Session(node.port, node.name) as host:
        data = os.urandom(20 * 512)
        assert host.capacity() == (4096, 512)
        good(host.write(10, data))
        assert host.read(10, 20) == data
        host.daemon = daemon
        corrupt(host, "write", 600)
        good(host.write(10, data))
        bad = host.command(read_cdb(10, 20), expect=20 * 512)
        assert bad.status != GOOD and bad.sense[2] & 15 == 0x0b and bad.sense[12:14] == b"\x10\x01", str(bad)


def test_raids_and_parts(daemon):
    """Tuples go with their blocks, whatever lies in between; devices that differ make no raid."""
    for n, dif in enumerate((1, 1, 3)):
        daemon.tell("bdev_malloc_create", name=f"m{n}", num_blocks=4096, block_size=512, md_size=8, md_interleave=True,
                    dif_type=dif)
    with pytest.raises(RpcError, match="protection information of type 3"):
        daemon.rpc("bdev_raid_create", name="no", raid_level="0", strip_size_kb=4, base_bdevs=["m0", "m2"])
    daemon.tell("bdev_raid_create", name="raid", raid_level="0", strip_size_kb=4, base_bdevs=["m0", "m1"])
    daemon.tell("bdev_passthru_create", name="pass", base_bdev_name="raid")
    info = daemon.rpc("bdev_get_bdevs", name="pass")[0]
    assert (info["block_size"], info["md_size"], info["md_interleave"], info["dif_type"]) == (520, 8, True, 1)
    assert info["dif_is_head_of_md"] is False and info["enabled_dif_check_types"] == {"reftag": True, "apptag": False,
                                                                                     "guard": True}
    served = daemon.serve("pass")
    with Host(served.port, served.nqn) as host:
        host.shape = Shape(1)
        data = os.urandom(60 * 512)
        must(write(host, 5, data, PRACT))
        assert must(read(host, 5, 60, PRACT | ALL)).data == data
        assert host.shape.data_of(must(read(host, 5, 60, ALL)).data) == data


@pytest.mark.parametrize("shape", [Shape(1), Shape(2, md=16, head=True), Shape(3)], ids=str)
def test_through_another_daemon(daemon, target, shape):
    """Metadata travel on as they are, and are looked at here; with prchk_guard there, too."""
    target.tell("bdev_malloc_create", name="base", num_blocks=4096, block_size=512, md_size=shape.md,
                md_interleave=True, dif_type=shape.dif, dif_is_head_of_md=shape.head)
    target.tell("bdev_error_create", base_name="base")
    there = target.serve("EE_base")
    assert attach(daemon, there, "near", prchk_guard=True, prchk_reftag=True) == "nearn1"
    info = daemon.rpc("bdev_get_bdevs", name="nearn1")[0]
    assert (info["md_size"], info["dif_type"], info["dif_is_head_of_md"]) == (shape.md, shape.dif, shape.head)
    with Host(there.port, there.nqn) as far, Host(*(lambda s: (s.port, s.nqn))(daemon.serve("nearn1"))) as host:
        host.shape = far.shape = shape
        far.daemon = target
        data = shape.protect(os.urandom(30 * 512), 5)
        must(write(host, 5, data, shape.checks()))
        assert must(read(host, 5, 30, shape.checks())).data == data == must(read(far, 5, 30, shape.checks())).data
        must(io(host, IO_COMPARE, 5, 30, shape.checks(), data))
        if shape.dif == 2:
            other = shape.protect(os.urandom(4 * 512), 777)
            must(io(host, IO_WRITE, 60, 4, shape.checks(), other, ref=777))
            assert must(io(host, IO_READ, 60, 4, shape.checks(), ref=777, expect=len(other))).data == other
            assert write(host, 60, other).status == REF_ERROR  # by the controller, which is told the LBA
        bad = bytearray(data)
        bad[700] ^= 1
        assert write(host, 5, bytes(bad)).status == GUARD_ERROR  # by the controller, as nobody asked here
        assert write(host, 5, bytes(bad), GUARD).status == GUARD_ERROR
        corrupt(far, "read", 700)
        assert read(host, 5, 30).status == GUARD_ERROR
        if shape.dif == 1:
            must(io(host, IO_WRITE_ZEROES, 7, 3, PRACT))
            assert shape.data_of(must(read(host, 5, 30, shape.checks())).data)[1024:2560] == bytes(1536)
