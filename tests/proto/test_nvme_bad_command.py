# SPDX-License-Identifier: BSD-3-Clause
"""Commands that must fail and leave the connection alone."""
import struct

import pytest

from nvme_tcp import (ADMIN_ASYNC_EVENT, ADMIN_GET_FEATURES, ADMIN_GET_LOG_PAGE, ADMIN_IDENTIFY, FABRICS,
                      INVALID_FIELD, INVALID_NAMESPACE, INVALID_OPCODE, IO_COMPARE, IO_DSM, IO_FLUSH, IO_READ, IO_WRITE,
                      IO_WRITE_ZEROES, LBA_OUT_OF_RANGE, SGL_LENGTH_INVALID, SGL_OFFSET_INVALID, SGL_TYPE_INVALID, must,
                      rw, sgl_in_capsule, sgl_transport, sqe)

BLOCKS = 64 << 11
READS = {
    # name: command; status
    "unknown_opcode":        (sqe(0x7e, nsid=1), INVALID_OPCODE),
    "vendor_opcode":         (sqe(0xc1, nsid=1), INVALID_OPCODE),
    "fabrics_type_unknown":  (sqe(FABRICS, nsid=0x55), INVALID_OPCODE),
    "namespace_0":           (rw(IO_READ, 0, 8, nsid=0), INVALID_NAMESPACE),
    "namespace_2":           (rw(IO_READ, 0, 8, nsid=2), INVALID_NAMESPACE),
    "namespace_all":         (rw(IO_READ, 0, 8, nsid=0xffffffff), INVALID_NAMESPACE),
    "namespace_huge":        (rw(IO_READ, 0, 8, nsid=0xfffffffe), INVALID_NAMESPACE),
    "first_block_beyond":    (rw(IO_READ, BLOCKS, 1), LBA_OUT_OF_RANGE),
    "last_block_beyond":     (rw(IO_READ, BLOCKS - 7, 8), LBA_OUT_OF_RANGE),
    "lba_that_wraps":        (rw(IO_READ, 0xffffffffffffffff, 2), LBA_OUT_OF_RANGE),
    "larger_than_mdts":      (rw(IO_READ, 0, 65536), INVALID_FIELD),
    "prp_instead_of_sgl":    (rw(IO_READ, 0, 8, flags=0x00), INVALID_FIELD),
    "psdt_reserved":         (rw(IO_READ, 0, 8, flags=0xc0), INVALID_FIELD),
    "fuse_reserved":         (rw(IO_READ, 0, 8, flags=0x43), INVALID_FIELD),
    "flush_of_nothing":      (sqe(IO_FLUSH, nsid=9), INVALID_NAMESPACE),
    "zeroes_beyond":         (rw(IO_WRITE_ZEROES, BLOCKS, 1), LBA_OUT_OF_RANGE),
}


@pytest.mark.parametrize("name", READS)
def test_refused(host, name):
    """A command that cannot be right would be executed, or cost its host the connection."""
    command, status = READS[name]
    answer = host.io.command(command, expect=4096)
    assert answer.status == status, f"status {answer.status:#x}"
    assert answer.data == b""
    assert host.io.read(0, 1) == bytes(512)


@pytest.mark.parametrize("in_capsule", [True, False], ids=["in_capsule", "asked_for"])
@pytest.mark.parametrize("opcode, lba, status", [
    (IO_WRITE, BLOCKS, LBA_OUT_OF_RANGE), (IO_COMPARE, BLOCKS, LBA_OUT_OF_RANGE), (0x7d, 0, INVALID_OPCODE)],
    ids=["write", "compare", "unknown"])
def test_refused_with_data(host, in_capsule, opcode, lba, status):
    """The data of a refused command would be taken for the next PDU, or asked for in vain."""
    answer = host.io.command(rw(opcode, lba, 8), bytes(range(256)) * 16, in_capsule=in_capsule)
    assert answer.status == status, f"status {answer.status:#x}"
    assert host.io.read(0, 8) == bytes(4096)


KEYED = struct.pack("<Q3sIB", 4096, b"\0\x10\0", 7, 0x40)
SGLS = {
    # name: command, bytes in the capsule; status
    "data_block_address":     (rw(IO_READ, 0, 8, sgl=struct.pack("<QI3xB", 4096, 4096, 0x00)), 0, SGL_TYPE_INVALID),
    "keyed":                  (rw(IO_READ, 0, 8, sgl=KEYED), 0, SGL_TYPE_INVALID),
    "segment":                (rw(IO_READ, 0, 8, sgl=struct.pack("<QI3xB", 4096, 16, 0x21)), 0, SGL_TYPE_INVALID),
    "bit_bucket":             (rw(IO_READ, 0, 8, sgl=struct.pack("<QI3xB", 0, 4096, 0x10)), 0, SGL_TYPE_INVALID),
    "read_in_capsule":        (rw(IO_READ, 0, 8, sgl=sgl_in_capsule(4096)), 0, SGL_TYPE_INVALID),
    "read_too_short":         (rw(IO_READ, 0, 8, sgl=sgl_transport(2048)), 0, SGL_LENGTH_INVALID),
    "write_too_short":        (rw(IO_WRITE, 0, 8, sgl=sgl_transport(2048)), 0, SGL_LENGTH_INVALID),
    "capsule_offset":         (rw(IO_WRITE, 0, 8, sgl=sgl_in_capsule(4096, offset=8)), 4096, SGL_OFFSET_INVALID),
    "capsule_too_short":      (rw(IO_WRITE, 0, 8, sgl=sgl_in_capsule(2048)), 2048, SGL_LENGTH_INVALID),
    "capsule_without_data":   (rw(IO_WRITE, 0, 8, sgl=sgl_in_capsule(4096)), 0, SGL_LENGTH_INVALID),
    "capsule_lies":           (rw(IO_WRITE, 0, 8, sgl=sgl_in_capsule(4096)), 512, SGL_LENGTH_INVALID),
}


@pytest.mark.parametrize("name", SGLS)
def test_wrong_sgl(host, name):
    """Memory that the host does not offer would be read or written."""
    command, count, status = SGLS[name]
    answer = host.io.command(command, b"\xee" * count)
    assert answer.status == status, f"status {answer.status:#x}"
    assert host.io.read(0, 8) == bytes(4096)


ADMINS = {
    "unknown_opcode":      (sqe(0x7e), INVALID_OPCODE),
    "identify_unknown":    (sqe(ADMIN_IDENTIFY, cdw10=0xfe), INVALID_FIELD),
    "identify_namespace":  (sqe(ADMIN_IDENTIFY, nsid=0xfffffff0, cdw10=0), INVALID_NAMESPACE),
    "feature_unknown":     (sqe(ADMIN_GET_FEATURES, cdw10=0xbf), INVALID_FIELD),
    "log_unknown":         (sqe(ADMIN_GET_LOG_PAGE, nsid=0xffffffff, cdw10=0xbf | 1023 << 16), (INVALID_FIELD, 0x109)),
    "log_offset_odd":      (sqe(ADMIN_GET_LOG_PAGE, nsid=0xffffffff, cdw10=0x01 | 15 << 16, cdw12=2), INVALID_FIELD),
}


@pytest.mark.parametrize("name", ADMINS)
def test_refused_admin(host, name):
    """nvme-cli and drivers probe with what we do not have: an answer must come, and be the right one."""
    command, status = ADMINS[name]
    answer = host.admin.command(command, expect=4096)
    assert answer.status in (status if isinstance(status, tuple) else (status,)), f"status {answer.status:#x}"
    assert host.admin.identify(1)


def test_dsm_range_beyond_the_end(host):
    """A discard beyond the end would free another's memory."""
    data = struct.pack("<IIQ", 0, 8, 0) + struct.pack("<IIQ", 0, 8, BLOCKS - 4)
    must(host.io.write(0, b"\x11" * 4096))
    assert host.io.command(sqe(IO_DSM, nsid=1, cdw10=1, cdw11=4), data).status == LBA_OUT_OF_RANGE
    assert host.io.read(0, 8) == b"\x11" * 4096, "none of the ranges is discarded when one is wrong"


@pytest.mark.parametrize("opcode", range(256))
def test_any_opcode_with_nonsense(host, opcode):
    """Some opcode would take the daemon down when its fields are all ones."""
    nonsense = sqe(opcode, nsid=1, sgl=sgl_transport(4096), cdw10=0xffffffff, cdw11=0xffffffff, cdw12=0xffffffff,
                   cdw13=0xffffffff, cdw14=0xffffffff, cdw15=0xffffffff)
    for conn in (host.io, host.admin):
        cid = conn.submit(nonsense, b"\xff" * 4096, in_capsule=False)
        if conn is host.io or opcode != ADMIN_ASYNC_EVENT:
            conn.wait(cid)
        assert conn.command(sqe(0xfe)).status == INVALID_OPCODE
