# SPDX-License-Identifier: BSD-3-Clause
"""CmdSN, the command window, task tags, StatSN (RFC 7143 4.2.2)."""
import os

import pytest

from iscsi import (NONE, NOP_OUT, R2T, REJECT, SCSI_COMMAND, TOO_MANY_IMMEDIATE, Ended, Outstanding, good,
                   read_cdb, serial, write_cdb)


def is_silent(s, seconds=0.3):
    s.sock.settimeout(seconds)
    try:
        raise AssertionError(f"{s.recv_pdu()}, and nothing was expected")
    except TimeoutError:
        s.sock.settimeout(60)


@pytest.mark.parametrize("gap", [1, 2, 10])
def test_a_gap(iscsi, gap):
    """On one connection numbers come in order (RFC 7143 4.2.2.1). A command before which one is missing may be
    rejected, or kept until the other is there; it is not executed before it."""
    with iscsi.session() as s:
        good(s.write(0, b"0" * 512))
        s.submit(write_cdb(0, 1), b"2" * 512, cmdsn=s.cmdsn + gap)
        s.sock.settimeout(0.5)
        try:
            assert s.recv_pdu().opcode == REJECT
        except (TimeoutError, Ended):
            pass
    with iscsi.session() as s:
        assert s.read(0, 1) == b"0" * 512


def test_immediate_commands_have_no_place(iscsi):
    """They carry a CmdSN and use up none."""
    with iscsi.session() as s:
        for _ in range(5):
            good(s.command(bytes(6), immediate=True))
            assert s.nop(b"now").data == b"now"
            good(s.command(bytes(6)))


def test_too_many_immediate_commands(iscsi):
    """They take no place in the window, and none of those that it promises."""
    with iscsi.session() as s:
        good(s.test_unit_ready())
        width = serial(s.maxcmdsn - s.expcmdsn) + 1
        for n in range(width + 16):
            s.submit(write_cdb(0, 1), b"w" * 512, immediate_data=0, immediate=True)
        answers = [s.recv_pdu() for _ in range(width + 16)]
        rejected = [pdu for pdu in answers if pdu.opcode == REJECT]
        assert rejected and {pdu.bhs[2] for pdu in rejected} == {TOO_MANY_IMMEDIATE}
        assert {pdu.opcode for pdu in answers} == {REJECT, R2T}
        itts = [s.submit(read_cdb(n, 1), expect=512) for n in range(width)]
        for itt in itts:
            good(s.wait(itt))


@pytest.mark.parametrize("off", [-1, -2, -100, -0x7fffff00], ids=str)
def test_numbers_that_are_past(iscsi, off):
    """A command that was executed already would be executed again. It is ignored, silently."""
    with iscsi.session() as s:
        good(s.write(0, b"0" * 512))
        itt = s.submit(write_cdb(0, 1), b"1" * 512, cmdsn=s.cmdsn + off & NONE)
        is_silent(s)
        del s.outstanding[itt]
        assert s.read(0, 1) == b"0" * 512


def test_numbers_beyond_the_window(iscsi):
    """More commands than there is memory for. Ignored, silently; those within the window are served."""
    with iscsi.session() as s:
        good(s.test_unit_ready())
        itts = [s.submit(bytes(6), cmdsn=s.maxcmdsn + n & NONE) for n in (1, 2, 1000, 0x7fffff00)]
        is_silent(s)
        for itt in itts:
            del s.outstanding[itt]
        good(s.test_unit_ready())


def test_the_window_is_as_wide_as_it_says(iscsi):
    """Commands within the window have to be taken, all of them."""
    with iscsi.session() as s:
        good(s.test_unit_ready())
        width = serial(s.maxcmdsn - s.expcmdsn) + 1
        assert 16 <= width <= 1024 and s.expcmdsn == s.cmdsn
        data = os.urandom(512 * width)
        itts = [s.submit(write_cdb(n, 1), data[512 * n:][:512]) for n in range(width)]
        for itt in itts:
            good(s.wait(itt))
        itts = [s.submit(read_cdb(n, 1), expect=512) for n in range(width)]
        assert b"".join(good(s.wait(itt)).data for itt in itts) == data
        good(s.test_unit_ready())
        assert serial(s.maxcmdsn - s.expcmdsn) + 1 == width


def test_long_answers_in_short_pdus(iscsi):
    """A read that does not fit into one batch, from blocks that lie far from each other, and short answers behind it:
    nothing is said twice, nor out of order. The session looks at each DataSN, StatSN, MaxCmdSN and offset."""
    data = os.urandom(512 * 512)
    with iscsi.session({"MaxRecvDataSegmentLength": "512"}, receive_buffer=16384) as s:
        for at in [*range(0, 512, 16), *range(8, 512, 16)]:
            good(s.write(at, data[512 * at:][:4096]))
        reads = [r for n in range(20) for r in ((0, 512), (n, 1), (8 * n, 64))]
        itts = [s.submit(read_cdb(lba, count), expect=512 * count) for lba, count in reads]
        for itt, (lba, count) in zip(itts, reads):
            assert good(s.wait(itt)).data == data[512 * lba:][:512 * count]


def test_numbers_wrap(iscsi):
    """CmdSN goes on at 0 after its largest value."""
    with iscsi.session(cmdsn=0xfffffff8) as s:
        for n in range(20):
            good(s.write(n, bytes([n]) * 512))
            assert s.read(n, 1) == bytes([n]) * 512
        assert s.cmdsn < 0x100


def test_tag_of_a_task_that_is_there(iscsi):
    """Two tasks of one tag could not be told apart: the second is rejected, or ends the session."""
    with iscsi.session() as s:
        s.hold_r2t = True
        itt = s.submit(write_cdb(0, 4), b"w" * 2048, immediate_data=0)
        _, ttt, _, length = s.wait_r2t()
        s.send_pdu(SCSI_COMMAND, 0xc1, itt=itt, cdb=read_cdb(0, 1), words=(512, s.take_cmdsn(), s.expstatsn))
        try:
            pdu = s.recv_pdu()
            assert pdu.opcode == REJECT or pdu.bhs[2] != 0 or pdu.bhs[3] != 0, str(pdu)
        except Ended:
            pass
    iscsi.check_serves()


def test_tags_may_be_used_again(iscsi):
    """As soon as the answer is there."""
    with iscsi.session() as s:
        for n in range(50):
            good(s.command(write_cdb(n, 1), bytes([n]) * 512, itt=7))
            assert good(s.command(read_cdb(n, 1), expect=512, itt=7)).data == bytes([n]) * 512


def test_tag_of_all_ones(iscsi):
    """It means "no tag"; for a NOP-Out that no answer is wanted."""
    with iscsi.session() as s:
        s.send_pdu(NOP_OUT, immediate=True, itt=NONE, words=(NONE, s.cmdsn, s.expstatsn))
        good(s.test_unit_ready())


def test_expected_status_numbers_do_not_matter_much(iscsi):
    """ExpStatSN acknowledges; at recovery level 0 a strange one loses nothing."""
    with iscsi.session() as s:
        itt = s.new_itt()
        s.outstanding[itt] = Outstanding(b"", 0)
        s.send_pdu(SCSI_COMMAND, 0x81, itt=itt, cdb=bytes(6), words=(0, s.take_cmdsn(), 0))
        good(s.wait(itt))
