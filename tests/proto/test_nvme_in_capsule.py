# SPDX-License-Identifier: BSD-3-Clause
import os

import pytest

from nvme_tcp import CMD, IO_WRITE, must, rw, sgl_in_capsule


@pytest.mark.parametrize("size", [512, 4096])
def test_write_in_capsule_is_read_back(host, size):
    """Small writes would lose their data."""
    data = os.urandom(size)
    must(host.io.write(5, data))
    assert host.io.read(5, size // 512) == data


def test_capsules_that_share_a_segment(host):
    """Several commands in one TCP segment, cut in two at any place, would be mixed up."""
    io = host.io
    blocks = [os.urandom(512) for _ in range(8)]
    for cut in range(1, 8 * 584, 371):
        sent = b""
        cids = []
        for lba, block in enumerate(blocks):
            command = rw(IO_WRITE, lba, 1, sgl=sgl_in_capsule(512), cid=lba)
            sent += io.pdu(CMD, command, block)
            io.pending[lba] = b""
            cids.append(lba)
        io.send(sent[:cut])
        io.send(sent[cut:])
        for cid in cids:
            must(io.wait(cid))
        assert io.read(0, 8) == b"".join(blocks)
        blocks.append(blocks.pop(0))
