# SPDX-License-Identifier: BSD-3-Clause
import os
import struct

import pytest

from nvme_tcp import (ADMIN_GET_FEATURES, ADMIN_KEEP_ALIVE, ADMIN_SET_FEATURES, CAP, CSTS, DISCOVERY_NQN, IO_FLUSH, OK,
                      VS, Conn, Host, must, sqe)


def test_connect_identify_write_read(host):
    """No host could use a disk at all."""
    admin, io = host.admin, host.io
    cap = admin.property_get(CAP, 8)
    assert cap & 0xffff >= 31 and cap >> 37 & 1, f"CAP {cap:#x}: queue entries, NVM command set"
    assert admin.property_get(VS) >= 0x10300 and admin.property_get(CSTS) & 1

    ctrl = admin.identify(1)
    assert struct.unpack_from("<H", ctrl, 78)[0] == host.cntlid
    assert ctrl[768:1024].rstrip(b"\0").decode() == host.nqn
    ioccsz, iorcsz = struct.unpack_from("<II", ctrl, 1792)
    assert ioccsz >= 4 and iorcsz == 1
    assert ctrl[111] in (1, 2), "controller type: I/O, or discovery"
    assert struct.unpack_from("<I", admin.identify(2), 0)[0] == 1, "active namespaces"
    namespace = admin.identify(0, nsid=1)
    assert struct.unpack_from("<Q", namespace)[0] == 64 << 11

    data = os.urandom(4096)
    must(io.write(16, data))
    assert io.read(16, 8) == data
    assert io.read(32, 8) == bytes(4096), "never written"
    must(io.command(sqe(IO_FLUSH, nsid=1)))
    must(admin.command(sqe(ADMIN_KEEP_ALIVE)))


def test_queue_count_is_told(served):
    """A host would open more queues than there may be, or fewer than it may."""
    with Host(served.port, served.nqn, io_queues=0) as host:
        for opcode in (ADMIN_SET_FEATURES, ADMIN_GET_FEATURES):
            value = must(host.admin.command(sqe(opcode, cdw10=7, cdw11=3 | 3 << 16))).value
            assert value & 0xffff >= 3 and value >> 16 & 0xffff >= 3, f"{value:#x}"
        for _ in range(4):
            host.add_io()
        assert host.ios[3].read(0, 1) == bytes(512)


@pytest.mark.parametrize("hpda", [0, 1, 15, 31])
@pytest.mark.parametrize("digests", [{}, {"hdgst": True}, {"ddgst": True}, {"hdgst": True, "ddgst": True}],
                         ids=["plain", "header", "data", "both"])
def test_digests_and_alignment(served, digests, hpda):
    """A host that asks for digests or aligned data would see bad ones (the library checks each PDU)."""
    data = os.urandom(20480)
    with Host(served.port, served.nqn, hpda=hpda, **digests) as host:
        must(host.io.write(3, data[:512]))
        must(host.io.write(4, data[512:], in_capsule=False))
        assert host.io.read(3, 40) == data
        assert host.admin.identify(1)[24:].strip(b" \0")


def test_sqhd_follows_the_queue(served):
    """A host with flow control would stop for ever, or overrun the queue."""
    with Host(served.port, served.nqn, entries=8) as host:
        heads = [host.io.write(0, bytes(512)).sqhd for _ in range(20)]
    begin = heads[0]
    assert heads == [(begin + n) % 8 for n in range(20)], heads


def test_discovery_log_lists_the_port(served):
    """Hosts would not find what is served."""
    with Conn(served.port) as conn:
        must(conn.connect(DISCOVERY_NQN))
        conn.property_set(0x14, 4 << 20 | 6 << 16 | 1)
        header = conn.get_log_page(0x70, 1024)
        generation, records, form = struct.unpack_from("<QQH", header)
        assert records >= 1 and form == 0
        log = conn.get_log_page(0x70, 1024 * (records + 1))
        entries = [log[at:at + 1024] for at in range(1024, len(log), 1024)]
        found = [(e[32:64].rstrip(b" \0").decode(), e[512:768].rstrip(b" \0").decode()) for e in entries
                 if e[256:512].rstrip(b"\0").decode() == served.nqn]
        assert found == [(str(served.port), "127.0.0.1")], found
        assert conn.get_log_page(0x70, 1024, offset=0) == header and generation == struct.unpack_from("<Q", header)[0]


def test_read_of_every_size(host):
    """Reads that need several buffers, or none, would come back wrong."""
    data = os.urandom(131072)
    must(host.io.write(0, data, in_capsule=False))
    for lba, blocks in ((0, 1), (1, 7), (7, 1), (0, 8), (5, 17), (0, 255), (3, 128), (0, 256)):
        assert host.io.read(lba, blocks) == data[lba * 512:(lba + blocks) * 512], (lba, blocks)
    assert host.io.command(sqe(IO_FLUSH, nsid=1)).status == OK
