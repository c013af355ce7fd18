# SPDX-License-Identifier: BSD-3-Clause
"""Digests that are wrong."""
import os

import pytest

from nvme_tcp import (CMD, HEADER_DIGEST, IO_WRITE, TRANSIENT_TRANSPORT_ERROR, Host, crc32c, make_pdu, must, rw,
                      sgl_in_capsule)


@pytest.fixture
def host(served):
    with Host(served.port, served.nqn, hdgst=True, ddgst=True) as connected:
        yield connected


def test_header_digest_error_is_fatal(host, serves):
    """A command with a flipped bit would be executed."""
    host.io.send_pdu(CMD, rw(IO_WRITE, 0, 1, sgl=sgl_in_capsule(512)), bytes(512), header_digest=0x12345678)
    host.io.expect_term(HEADER_DIGEST, 0x12345678, quoting=bytes([CMD]))
    serves()


def test_data_digest_error_in_capsule_fails_the_command(host):
    """Damaged data would be written; or a whole connection be lost for one bit."""
    good, bad = os.urandom(4096), os.urandom(4096)
    must(host.io.write(0, good))
    assert host.io.write(0, bad, data_digest=crc32c(bad) ^ 1).status == TRANSIENT_TRANSPORT_ERROR
    assert host.io.read(0, 8) == good
    must(host.io.write(0, bad))
    assert host.io.read(0, 8) == bad


@pytest.mark.parametrize("damaged", [0, 1, 3])
def test_data_digest_error_of_one_piece_fails_the_command(host, damaged):
    """The damage of one of several H2CData would be forgotten with the next good one."""
    io, data = host.io, os.urandom(16384)
    io.submit(rw(IO_WRITE, 0, 32), data, in_capsule=False)
    r2t = io.recv_r2t()
    for n in range(4):
        part = data[n * 4096:(n + 1) * 4096]
        io.send_h2c(r2t, n * 4096, part, last=n == 3, **({"data_digest": 1} if n == damaged else {}))
    assert io.wait(r2t.cid).status == TRANSIENT_TRANSPORT_ERROR
    assert io.read(0, 32) == bytes(16384), "damaged data was written"
    must(io.write(0, data, in_capsule=False))
    assert io.read(0, 32) == data


def test_digests_are_not_optional_once_agreed(host):
    """A PDU without its digest would pass."""
    host.io.send(make_pdu(CMD, rw(IO_WRITE, 0, 1, sgl=sgl_in_capsule(512)), bytes(512)))
    host.io.expect_term(1, 1)
