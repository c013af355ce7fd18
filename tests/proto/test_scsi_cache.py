# SPDX-License-Identifier: BSD-3-Clause
"""The write cache of a logical unit, on a disk that loses what it has not flushed when its power is cut."""
from iscsi import Session, good

BLOCK = 512
CACHING = 0x08
WCE = 0x04


def unflushed(daemon):
    return daemon.rpc("bdev_get_bdevs", name="disk0")[0]["driver_specific"]["powercut"]["unflushed_blocks"]


def told(daemon):
    """What the daemon says of the LUN beside its configuration."""
    lun, = daemon.rpc("iscsi_get_target_nodes")[0]["luns"]
    return {key for key in lun if key.endswith("_by_host")}


def caching_page(session):
    data = good(session.command(bytes([0x1a, 0x08, CACHING, 0, 255, 0]), expect=255)).data
    return data[4:4 + 20]


def set_wce(session, on):
    page = bytearray(caching_page(session))
    page[2] = page[2] | WCE if on else page[2] & ~WCE
    parameters = bytes(4) + bytes(page)
    good(session.command(bytes([0x15, 0x10, 0, 0, len(parameters), 0]), data=parameters))


def copy(session, src, dst, blocks):
    """EXTENDED COPY within the logical unit."""
    segment = bytes([2, 0, 0, 24, 0xff, 0xff, 0xff, 0xff, 0, 0]) + blocks.to_bytes(2, "big")
    segment += src.to_bytes(8, "big") + dst.to_bytes(8, "big")
    parameters = bytes([0, 0x18]) + bytes(6) + len(segment).to_bytes(4, "big") + bytes(4) + segment
    good(session.command(bytes([0x83]) + bytes(9) + len(parameters).to_bytes(4, "big") + bytes(2), data=parameters))


def test_a_cache_that_is_switched_off_holds_nothing_back(daemon):
    """A host that switched the cache off, because it does not flush, would lose what was answered."""
    daemon.malloc("media", mib=16, block_size=BLOCK)
    exported = daemon.export(daemon.tell("bdev_powercut_create", name="disk0", base_bdev_name="media"))
    with Session(exported.port, exported.name) as session:
        session.clear_attentions()
        assert caching_page(session)[2] & WCE
        session.write(0, b"a" * BLOCK)
        assert unflushed(daemon) == 1
        set_wce(session, False)
        assert unflushed(daemon) == 0, "what was in the cache stayed there"
        assert not caching_page(session)[2] & WCE
        assert told(daemon) == {"write_cache_disabled_by_host"}
        session.write(1, b"b" * BLOCK)
        copy(session, 0, 8, 2)
        assert unflushed(daemon) == 0
        set_wce(session, True)
        session.write(2, b"c" * BLOCK)
        assert unflushed(daemon) == 1
        good(session.command(bytes([0x1b, 0, 0, 0, 0, 0])))   # STOP
        assert unflushed(daemon) == 0
        assert session.test_unit_ready().asc == 0x0402
        assert told(daemon) == {"stopped_by_host"}
        good(session.command(bytes([0x1b, 0, 0, 0, 1, 0])))
        assert not told(daemon)
        assert session.read(8, 2) == b"a" * BLOCK + b"b" * BLOCK
