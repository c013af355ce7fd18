# SPDX-License-Identifier: BSD-3-Clause
"""Sense data: what they point at, in both formats."""
import struct

import pytest

from iscsi import CHECK_CONDITION, ILLEGAL_REQUEST, Session, good

COPY_ABORTED, COPY_TARGET_NOT_REACHABLE, INVALID_FIELD_IN_PARAMETERS = 0xa, 0x0d02, 0x2600
SELF = 0xffff


@pytest.fixture
def session(daemon):
    disk = daemon.export(daemon.malloc("disk0"))
    with Session(disk.port, disk.name) as s:
        yield s


def set_descriptor_format(s):
    """D_SENSE of the control mode page."""
    page = bytearray(good(s.command(bytes([0x1a, 8, 0x0a, 0, 64, 0]), expect=64)).data)
    page[0] = page[2] = 0
    page[4] &= 0x3f         # PS is reserved then
    page[4 + 2] |= 4
    good(s.command(bytes([0x15, 0x10, 0, 0, len(page), 0]), bytes(page)))


def copy(s, *segments):
    """EXTENDED COPY (LID1) with segments of type 02h, block to block: (source, destination) by CSCD index."""
    body = b"".join(struct.pack(">BBHHHHHQQ", 2, 0, 24, src, dst, 0, 1, 0, 8) for src, dst in segments)
    parameters = struct.pack(">BBH4xI4x", 1, 0, 0, len(body)) + body
    return s.command(struct.pack(">BB8xIxx", 0x83, 0, len(parameters)), parameters)


@pytest.mark.parametrize("descriptors", [False, True], ids=["fixed", "descriptors"])
def test_which_segment_of_a_copy_failed(session, descriptors):
    """A host that copies by many segments could not tell which one is wrong (SPC-4: COMMAND-SPECIFIC INFORMATION)."""
    if descriptors:
        set_descriptor_format(session)
    refused = copy(session, (SELF, SELF), (SELF, SELF), (SELF, 3))
    assert refused.status == CHECK_CONDITION and refused.key == COPY_ABORTED, str(refused)
    assert refused.asc == COPY_TARGET_NOT_REACHABLE, str(refused)
    if descriptors:
        assert refused.sense[0] == 0x72 and refused.sense[7] == len(refused.sense) - 8, refused.sense.hex()
        assert refused.sense[8:10] == bytes([0x01, 0x0a]), refused.sense.hex()
        assert struct.unpack_from(">Q", refused.sense, 12) == (2,)
    else:
        assert struct.unpack_from(">I", refused.sense, 8) == (2,)


@pytest.mark.parametrize("action, flags_at", [(0, 20), (6, 20), (7, 17)],
                         ids=["REGISTER", "REGISTER AND IGNORE EXISTING KEY", "REGISTER AND MOVE"])
def test_where_aptpl_is_that_cannot_be(session, action, flags_at):
    """Without a place to keep reservations APTPL is refused; the field pointer has to name the byte that has it."""
    name = b"iqn.2026-11.test.initiator:two,i,0x800000000002"
    name = name.ljust(len(name) + 4 & ~3, b"\0")
    transport_id = struct.pack(">BBH", 0x45, 0, len(name)) + name if action == 7 else b""

    def pr_out(action, parameters):
        return session.command(struct.pack(">BBBxxIx", 0x5f, action, 1, len(parameters)), parameters)
    if action == 7:         # is for who holds the reservation
        good(pr_out(0, struct.pack(">QQ8x", 0, 0xa)))
        good(pr_out(1, struct.pack(">QQ8x", 0xa, 0)))
        parameters = struct.pack(">QQBBHI", 0xa, 0xb, 0, 1, 1, len(transport_id)) + transport_id
    else:
        parameters = struct.pack(">QQ4xB3x", 0, 0xa, 1)
    refused = pr_out(action, parameters)
    assert (refused.key, refused.asc) == (ILLEGAL_REQUEST, INVALID_FIELD_IN_PARAMETERS), str(refused)
    assert refused.sense[15:18] == bytes([0x88, 0, flags_at]), refused.sense.hex()
