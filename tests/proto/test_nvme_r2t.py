# SPDX-License-Identifier: BSD-3-Clause
import os

import pytest

from nvme_tcp import IO_WRITE, RSP, Host, must, rw


def start_write(io, data, lba=0):
    """A write whose data has to be asked for; its first R2T."""
    io.submit(rw(IO_WRITE, lba, len(data) // 512), data, in_capsule=False)
    return io.recv_r2t()


@pytest.mark.parametrize("digests", [{}, {"hdgst": True, "ddgst": True}], ids=["plain", "digests"])
@pytest.mark.parametrize("piece", [512, 4, 4096, 10000, 65536])
def test_data_comes_in_pieces(served, piece, digests):
    """A write whose data comes in several H2CData PDUs would be lost or torn."""
    data = os.urandom(16384 if piece > 4 else 512)
    with Host(served.port, served.nqn, **digests) as host:
        r2t = start_write(host.io, data, lba=7)
        assert r2t.offset == 0
        host.io.answer_r2t(r2t, piece)
        must(host.io.wait(r2t.cid))
        assert host.io.read(7, len(data) // 512) == data


def test_largest_write(host):
    """A write of the largest size that is announced would fail."""
    mdts = host.admin.identify(1)[77]
    data = os.urandom(4096 << mdts if mdts else 1 << 20)
    must(host.io.write(0, data, in_capsule=False))
    assert host.io.read(0, len(data) // 512) == data


def test_interleaved_writes(host):
    """Data of two commands that comes in turns would be exchanged."""
    io = host.io
    a, b = os.urandom(8192), os.urandom(8192)
    first, second = start_write(io, a), start_write(io, b, lba=16)
    for at in range(0, 8192, 2048):
        for r2t, data in ((second, b), (first, a)):
            io.send_h2c(r2t, at, data[at:at + 2048], last=at + 2048 == 8192)
    must(io.wait(first.cid))
    must(io.wait(second.cid))
    assert io.read(0, 32) == a + b


def test_other_commands_pass_while_data_is_owed(host):
    """A connection that owes data would answer nothing else until the data came."""
    io = host.io
    r2t = start_write(io, bytes(65536))
    assert io.read(200, 1) == bytes(512)
    io.answer_r2t(r2t)
    must(io.wait(r2t.cid))


def test_cid_may_be_used_again_at_once(host):
    """A host that reuses the CID of an answered command would get the old command's answer."""
    io = host.io
    for n in range(50):
        io.next_cid = 1
        io.submit(rw(IO_WRITE, n, 16), bytes([n]) * 8192, in_capsule=False)
        r2t = io.recv_r2t()
        io.answer_r2t(r2t)
        pdu = io.recv_pdu()
        assert pdu.type == RSP
        io.on_response(pdu)
        must(io.wait(1))
    assert io.read(49, 16) == bytes([49]) * 8192
