# SPDX-License-Identifier: BSD-3-Clause
"""Digests (RFC 7143 7.8, 13.1): a wrong one of a header ends the connection, a wrong one of data ends the command."""
import os

import pytest

from iscsi import CHECK_CONDITION, CRC_ERROR, DATA_DIGEST_ERROR, FINAL, NOP_OUT, REJECT, good, write_cdb

BOTH = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}


@pytest.mark.parametrize("keys", [{"HeaderDigest": "CRC32C"}, {"DataDigest": "CRC32C"}, BOTH],
                         ids=["header", "data", "both"])
@pytest.mark.parametrize("size", [512, 4096, 300 * 1024])
def test_right(iscsi, keys, size):
    """Sound data would be refused, or data would go without a digest."""
    data = os.urandom(size)
    with iscsi.session(keys) as s:
        good(s.write(3, data))
        assert s.read(3, size // 512) == data
        assert s.nop(b"odd").data == b"odd"         # padding is digested too
        assert s.inquiry(length=37)


def test_header_digest_wrong(iscsi):
    """A command whose header was damaged would be executed."""
    with iscsi.session(BOTH) as s:
        s.submit(write_cdb(0, 1), b"z" * 512, header_digest=0x12345678)
        s.expect_closed()
    iscsi.check_serves()


def test_header_digest_of_data_out_wrong(iscsi):
    with iscsi.session(BOTH) as s:
        s.hold_r2t = True
        itt = s.submit(write_cdb(0, 1), b"z" * 512, immediate_data=0)
        _, ttt, _, _ = s.wait_r2t()
        s.send_data(itt, ttt, 0, b"z" * 512, header_digest=1)
        s.expect_closed()


def expect_crc_error(s, itt):
    """Reject with reason 2, then CHECK CONDITION: protocol service CRC error (RFC 7143 7.8)."""
    pdu = s.recv_pdu()
    assert pdu.opcode == REJECT and pdu.bhs[2] == DATA_DIGEST_ERROR, str(pdu)
    result = s.wait(itt)
    assert result.status == CHECK_CONDITION and result.key == 0xb and result.asc == CRC_ERROR, str(result)


def test_data_digest_of_immediate_data_wrong(iscsi):
    """Damaged data would be written; or one bit on the wire would cost the session."""
    with iscsi.session(BOTH) as s:
        good(s.write(40, b"a" * 512))
        itt = s.submit(write_cdb(40, 1), b"b" * 512, data_digest=0x12345678)
        expect_crc_error(s, itt)
        assert s.read(40, 1) == b"a" * 512
        good(s.write(40, b"c" * 512))


def test_data_digest_of_data_out_wrong(iscsi):
    """The rest of the sequence is still to come and belongs to no command any more."""
    with iscsi.session(BOTH) as s:
        s.hold_r2t = True
        good(s.write(48, b"a" * 2048, immediate_data=2048))
        itt = s.submit(write_cdb(48, 4), b"b" * 2048, immediate_data=0)
        _, ttt, offset, length = s.wait_r2t()
        assert (offset, length) == (0, 2048)
        for n in range(4):
            s.send_data(itt, ttt, n * 512, b"b" * 512, n, final=n == 3, **({"data_digest": 7} if n == 1 else {}))
        expect_crc_error(s, itt)
        s.hold_r2t = False
        assert s.read(48, 4) == b"a" * 2048
        good(s.write(48, b"c" * 2048, immediate_data=0))


def test_data_digest_of_a_nop_wrong(iscsi):
    """Only that PDU is lost."""
    with iscsi.session(BOTH) as s:
        itt = s.request(NOP_OUT, data=b"ping", data_digest=1)
        pdu = s.recv_pdu()
        assert pdu.opcode == REJECT and pdu.bhs[2] == DATA_DIGEST_ERROR
        del s.outstanding[itt]
        assert s.nop(b"pong").data == b"pong"


def test_no_digests_in_the_login(iscsi):
    """They begin with the full feature phase: the first PDU after it has them."""
    with iscsi.session(BOTH, attentions=False) as s:
        s.send_pdu(NOP_OUT, FINAL, immediate=True, itt=5, words=(0xffffffff, s.cmdsn, s.expstatsn))
        assert s.recv_pdu().itt == 5
