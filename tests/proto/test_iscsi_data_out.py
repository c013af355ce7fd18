# SPDX-License-Identifier: BSD-3-Clause
"""Data of writes: immediate, unsolicited, asked for; in order and not (RFC 7143 4.2.5.2, 11.7, 11.8)."""
import os

import pytest

from gantry import wait_until
from iscsi import (ABORTED_COMMAND, CHECK_CONDITION, CRC_ERROR, DATA_OUT, FINAL, NONE, OVERFLOW, REJECT,
                   SCSI_RESPONSE, UNDERFLOW, Ended, Rejected, good, make_pdu, write_cdb)


def asked(s, data, lba=0, **how):
    """A write of which all data has to be asked for; its ITT and first R2T."""
    s.hold_r2t = True
    itt = s.submit(write_cdb(lba, len(data) // 512), data, immediate_data=0, unsolicited=0, **how)
    _, ttt, offset, length = s.wait_r2t()
    return itt, ttt, offset, length


@pytest.mark.parametrize("piece", [4, 512, 1000, 8192])
def test_pieces(iscsi, piece):
    """A burst in many Data-Outs of any length would be lost or torn."""
    data = os.urandom(8192 if piece > 4 else 512)
    with iscsi.session() as s:
        itt, ttt, offset, length = asked(s, data, 7)
        assert (offset, length) == (0, len(data))
        for n, at in enumerate(range(0, length, piece)):
            s.send_data(itt, ttt, at, data[at:at + piece], n, final=at + piece >= length)
        good(s.wait(itt))
        assert s.read(7, len(data) // 512) == data


@pytest.mark.parametrize("immediate, unsolicited", [(0, 4096), (512, 0), (512, 3584), (4096, 0), (4096, 61440)])
def test_unasked_data(iscsi, immediate, unsolicited):
    """What comes unasked and what is asked for would not fit together."""
    data = os.urandom(128 * 1024)
    with iscsi.session({"InitialR2T": "No", "FirstBurstLength": "65536"}) as s:
        itt = s.submit(write_cdb(3, 256), data, immediate_data=immediate, unsolicited=unsolicited)
        good(s.wait(itt))
        assert s.read(3, 256) == data


def test_several_r2ts(iscsi):
    """As many as were agreed, in order, none too large; a second burst may be sent before the first."""
    data = os.urandom(64 * 1024)
    with iscsi.session({"MaxBurstLength": "8192", "MaxOutstandingR2T": "4"}) as s:
        s.hold_r2t = True
        itt = s.submit(write_cdb(0, 128), data, immediate_data=0)
        sent, most = 0, 0
        while sent < len(data):
            _, ttt, offset, length = s.wait_r2t()
            most = max(most, len(s.r2ts) + 1)
            assert offset == sent and length == 8192
            s.send_sequence(itt, ttt, offset, length)
            sent += length
        good(s.wait(itt))
        assert most <= 4
        s.hold_r2t = False
        assert s.read(0, 128) == data


def test_two_writes_in_turns(iscsi):
    """Data of two commands that comes in turns would be exchanged."""
    a, b = os.urandom(8192), os.urandom(8192)
    with iscsi.session() as s:
        first, first_ttt, _, _ = asked(s, a)
        second, second_ttt, _, _ = asked(s, b, 16)
        for n in range(4):
            for itt, ttt, data in ((second, second_ttt, b), (first, first_ttt, a)):
                s.send_data(itt, ttt, n * 2048, data[n * 2048:][:2048], n, final=n == 3)
        good(s.wait(first))
        good(s.wait(second))
        assert s.read(0, 32) == a + b


def test_others_pass_while_data_is_owed(iscsi):
    """A connection that owes data would answer nothing else."""
    with iscsi.session() as s:
        itt, ttt, _, length = asked(s, bytes(65536))
        assert len(s.read(200, 1)) == 512
        s.send_sequence(itt, ttt, 0, length)
        good(s.wait(itt))


@pytest.mark.parametrize("expected, residual", [(1024, 512), (256, -256), (0, -512), (8192, 7680)])
def test_residuals(iscsi, expected, residual):
    """The initiator expects to send more or less than the CDB says: only what both mean is moved, the rest is told."""
    data = b"r" * expected
    with iscsi.session() as s:
        for immediate_data in (0, None):
            result = s.command(write_cdb(11, 1), data, expected_length=expected, immediate_data=immediate_data,
                               **({} if data else {"flags": 0xa1}))
            assert result.flags == (UNDERFLOW if residual > 0 else OVERFLOW), str(result)
            assert result.residual == abs(residual), str(result)


# --- wrong ones ----------------------------------------------------------------------------------------------------

def ends(s, itt):
    """Wrong data: it is rejected, the command fails, or the session is dropped; nothing else."""
    try:
        pdu = s.recv_pdu()
    except Ended:
        return
    if pdu.opcode == SCSI_RESPONSE and pdu.itt == itt:
        aborted = pdu.bhs[3] == CHECK_CONDITION and pdu.data[2 + 2] & 0xf == ABORTED_COMMAND
        assert pdu.bhs[2] != 0 or aborted, str(pdu)
    else:
        assert pdu.opcode == REJECT, str(pdu)


WRONG = {
    "offset too high": {"offset": 512},
    "DataSN too high": {"datasn": 1},
    "DataSN all ones": {"datasn": NONE},
    "target transfer tag": {"ttt": 0x7abcdef0},
    "longer than asked": {"data": b"w" * 4096, "final": True},
    "shorter than asked": {"data": b"w" * 512, "final": True},
    "offset of all ones": {"offset": 0xfffffe00},
    "LUN": {"lun": 1},
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_data_out(iscsi, what):
    """Data would land where it does not belong, or what was not there would be written."""
    wrong = dict(WRONG[what])
    with iscsi.session() as s:
        good(s.write(100, b"a" * 2048, immediate_data=2048))
        itt, ttt, _, _ = asked(s, b"w" * 2048, 100)
        s.send_data(itt, wrong.pop("ttt", ttt), wrong.pop("offset", 0), wrong.pop("data", b"w" * 2048),
                    wrong.pop("datasn", 0), wrong.pop("final", True), **wrong)
        ends(s, itt)
    with iscsi.session() as s:
        assert s.read(100, 4) == b"a" * 2048
    iscsi.check_serves()


@pytest.mark.parametrize("numbers", [(0, 0), (1, 0), (5, 6), (NONE, 0)], ids=str)
def test_numbers_out_of_sequence(iscsi, numbers):
    """They mean that a PDU was lost to a digest error (RFC 7143 7.9): the command fails when its data has come, and
    nothing else does."""
    with iscsi.session() as s:
        good(s.write(100, b"a" * 1024, immediate_data=1024))
        itt, ttt, _, _ = asked(s, b"w" * 1024, 100)
        for n, datasn in enumerate(numbers):
            s.send_data(itt, ttt, n * 512, b"w" * 512, datasn, final=n == 1)
        result = s.wait(itt)
        assert result.status == CHECK_CONDITION and result.key == ABORTED_COMMAND and result.asc == CRC_ERROR
        s.hold_r2t = False
        assert s.read(100, 2) == b"a" * 1024


def test_data_out_for_nobody(iscsi):
    """A Data-Out for an ITT that is not there; the session may survive it or not, its neighbours do."""
    with iscsi.session() as s, iscsi.session(initiator="iqn.2026-11.test:other") as other:
        s.send_data(0x5555, 0x77, 0, b"w" * 512)
        try:
            s.expect_reject()
        except Ended:
            pass
        good(other.test_unit_ready())


def test_unsolicited_where_it_was_not_agreed(iscsi):
    """InitialR2T=Yes, and data comes unasked (F bit 0 in the command)."""
    with iscsi.session({"InitialR2T": "Yes"}) as s:
        good(s.write(100, b"a" * 2048, immediate_data=2048))
        itt = s.submit(write_cdb(100, 4), b"w" * 2048, immediate_data=0, unsolicited=2048)
        ends(s, itt)
    with iscsi.session() as s:
        assert s.read(100, 4) == b"a" * 2048


def test_immediate_where_it_was_not_agreed(iscsi):
    with iscsi.session({"ImmediateData": "No"}) as s:
        itt = s.submit(write_cdb(100, 4), b"w" * 2048, immediate_data=2048)
        ends(s, itt)
    iscsi.check_serves()


def test_more_than_the_first_burst(iscsi):
    with iscsi.session({"InitialR2T": "No", "FirstBurstLength": "1024"}) as s:
        good(s.write(100, b"a" * 2048))
        itt = s.submit(write_cdb(100, 4), b"w" * 2048, immediate_data=1024, unsolicited=1024)
        ends(s, itt)
    with iscsi.session() as s:
        assert s.read(100, 4) == b"a" * 2048


def test_more_immediate_data_than_expected(iscsi):
    """Expected Data Transfer Length 512, and 1024 bytes come with the command."""
    with iscsi.session() as s:
        itt = s.submit(write_cdb(100, 1), b"w" * 1024, immediate_data=1024, expected_length=512)
        ends(s, itt)
    iscsi.check_serves()


def test_data_for_a_read(iscsi):
    """Immediate data with a command that writes nothing."""
    with iscsi.session() as s:
        itt = s.submit(bytes(6), b"w" * 512, immediate_data=512, flags=0x81, expected_length=0)
        try:
            s.wait(itt)
        except (Ended, Rejected):
            pass
    iscsi.check_serves()


def test_unfinished_sequence(iscsi):
    """The last Data-Out of a burst has no F bit, and all bytes are there: the target may wait, or refuse."""
    with iscsi.session() as s:
        itt, ttt, _, _ = asked(s, b"w" * 2048, 100)
        s.send_data(itt, ttt, 0, b"w" * 2048, final=False)
        s.sock.settimeout(1)
        try:
            ends(s, itt)
        except TimeoutError:
            pass
    iscsi.check_serves()


def test_end_amid_data(iscsi):
    """An initiator that dies between R2T and data, or within a Data-Out, would leave something behind."""
    for cut in (0, 20, 48, 100):
        s = iscsi.session()
        itt, ttt, _, _ = asked(s, b"w" * 2048, 100)
        s.send(make_cut(s, itt, ttt, cut))
        s.reset()
    wait_until(lambda: len(iscsi.daemon.rpc("iscsi_get_connections")) == 0, "the connections to be gone")
    iscsi.check_serves()


def make_cut(s, itt, ttt, cut):
    return make_pdu(DATA_OUT, FINAL, itt=itt, words=(ttt, 0, s.expstatsn), data=b"w" * 2048)[:cut]
