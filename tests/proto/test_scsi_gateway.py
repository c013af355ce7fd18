# SPDX-License-Identifier: BSD-3-Clause
"""A remote NVMe disk behind a LUN: what its controller cannot do as one act is not offered as one."""
import os
import struct

import pytest

from iscsi import CHECK_CONDITION, INVALID_FIELD_IN_CDB, Session, good, read_cdb
from remote import attach

MISCOMPARE_DURING_VERIFY = 0x1d00


@pytest.fixture
def session(daemon, target):
    (disk,) = attach(daemon, target.serve(target.malloc("disk0", mib=16)))
    exported = daemon.export(disk)
    with Session(exported.port, exported.name) as s:
        yield s


def caw(s, lba, old, new):
    return s.command(struct.pack(">BBQ3xBxx", 0x89, 0, lba, len(old) // 512), old + new)


def test_compare_and_write_of_as_much_as_is_offered(session):
    """A host that locks by COMPARE AND WRITE would be refused at some addresses, and not at others (VPD page B0h)."""
    most = session.inquiry(0xb0, 64)[5]
    assert most
    disk = os.urandom((24 + most) * 512)
    good(session.write(0, disk))
    for lba in range(24):
        new, at = os.urandom(most * 512), slice(lba * 512, (lba + most) * 512)
        good(caw(session, lba, disk[at], new))
        disk = disk[:at.start] + new + disk[at.stop:]
        assert caw(session, lba, bytes(512) + new[512:], new).asc == MISCOMPARE_DURING_VERIFY
    assert session.read(0, 24 + most) == disk
    if most < 255:
        refused = caw(session, 0, bytes((most + 1) * 512), bytes((most + 1) * 512))
        assert refused.status == CHECK_CONDITION and refused.asc == INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("lba, blocks", [(0, 1), (7, 2), (3, 100), (5, 300)])
def test_orwrite_is_not_limited_by_that(session, lba, blocks):
    """ORWRITE, which is made of compare and write, would be refused or leave out blocks."""
    old, bits = os.urandom((blocks + 2) * 512), os.urandom(blocks * 512)
    start = lba + 1
    good(session.write(lba, old))
    good(session.command(struct.pack(">BBQIxx", 0x8b, 0, start, blocks), bits))
    merged = bytes(a | b for a, b in zip(old[512:-512], bits))
    data = good(session.command(read_cdb(lba, blocks + 2), expect=len(old))).data
    assert data == old[:512] + merged + old[-512:]
