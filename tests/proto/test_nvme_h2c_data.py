# SPDX-License-Identifier: BSD-3-Clause
"""H2CData that does not fit its R2T. The FES are those of src/wire/nvme_tcp.h; SPDK's target differs in some."""
import os

import pytest

from nvme_tcp import (AT_CCCID, AT_DATAL, AT_FLAGS, AT_TTAG, INVALID_HEADER, IO_WRITE, LIMIT_EXCEEDED, OUT_OF_RANGE,
                      SEQUENCE, SUCCESS, rw)

SIZE = 8192
DATA = os.urandom(SIZE)


def ask(io):
    io.submit(rw(IO_WRITE, 0, SIZE // 512), DATA, in_capsule=False)
    return io.recv_r2t()


WRONG = {
    # name: offset, bytes, what else is said; FES, FEI
    "h2c_data_beyond_r2t":       (4096, 8192, {"last": True}, OUT_OF_RANGE, 0),
    "begins_beyond_r2t":         (SIZE + 512, 512, {"last": True}, OUT_OF_RANGE, 0),
    "offset_that_wraps":         (0xfffffe00, 512, {"last": True}, OUT_OF_RANGE, 0),
    "not_the_next_byte":         (512, 512, {}, SEQUENCE, 0),
    "last_too_early":            (0, 4096, {"last": True}, SEQUENCE, 0),
    "last_is_missing":           (0, SIZE, {}, SEQUENCE, 0),
    "unknown_ttag":              (0, SIZE, {"last": True, "ttag": 0xfff0}, INVALID_HEADER, AT_TTAG),
    "cccid_of_another":          (0, SIZE, {"last": True, "cid": 0x4321}, INVALID_HEADER, AT_CCCID),
    "datal_too_long":            (0, 4096, {"length": 4608}, INVALID_HEADER, AT_DATAL),
    "datal_too_short":           (0, 4096, {"length": 512}, INVALID_HEADER, AT_DATAL),
    "no_data":                   (0, 0, {}, INVALID_HEADER, AT_DATAL),
    "success_flag":              (0, SIZE, {"last": True, "flags": SUCCESS}, INVALID_HEADER, AT_FLAGS),
}


@pytest.mark.parametrize("name", WRONG)
def test_ends_the_connection(host, serves, name):
    """Data would be written where no command asked for it, or be waited for in vain."""
    offset, count, said, fes, fei = WRONG[name]
    r2t = ask(host.io)
    host.io.send_h2c(r2t, offset, bytes(count), **said)
    host.io.expect_term(fes, fei, quoting=b"\x06")
    serves()


def test_more_than_maxh2cdata(host, serves):
    """A PDU larger than we said we take would be taken."""
    io = host.io
    r2t = ask(io)
    io.send_h2c(r2t, 0, b"", length=io.maxh2cdata + 4, pdo=24, plen=24 + io.maxh2cdata + 4)
    io.expect_term(LIMIT_EXCEEDED)
    serves()


def test_without_r2t(host, serves):
    """Data nobody asked for would be taken."""
    io = host.io
    r2t = ask(io)
    io.answer_r2t(r2t)
    io.wait(r2t.cid)
    io.send_h2c(r2t, 0, DATA, last=True)
    io.expect_term(INVALID_HEADER, AT_TTAG)
    serves()


def test_nothing_is_written_of_a_broken_transfer(host, served):
    """Half of a write whose connection broke would be on the disk: RAM disks of ours take a write whole."""
    from nvme_tcp import Host
    r2t = ask(host.io)
    host.io.send_h2c(r2t, 0, DATA[:4096])
    host.io.send_h2c(r2t, 0, DATA[:4096])
    host.io.expect_term(SEQUENCE)
    with Host(served.port, served.nqn) as other:
        assert other.io.read(0, SIZE // 512) == bytes(SIZE)
