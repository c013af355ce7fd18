# SPDX-License-Identifier: BSD-3-Clause
"""NOP-Out and NOP-In: pings from both sides."""
import time

import pytest

from gantry import wait_until
from iscsi import NONE, NOP_IN, NOP_OUT, Ended, good, read_cdb


@pytest.fixture(scope="module", autouse=True)
def impatient(iscsi):
    """Sessions that begin now are asked after a second of silence, and have six to answer."""
    iscsi.daemon.rpc("iscsi_set_options", nop_in_interval=1, nop_timeout=6)


@pytest.mark.parametrize("size", [0, 1, 4, 100, 8192])
def test_echo(iscsi, size):
    """A host would take the target for dead, or for confused."""
    data = bytes(range(256)) * 32
    with iscsi.session() as s:
        pdu = s.nop(data[:size])
        assert pdu.opcode == NOP_IN and pdu.data == data[:size] and pdu.ttt == NONE
        pdu = s.nop(data[:size], immediate=False)
        assert pdu.data == data[:size] and pdu.expcmdsn == s.cmdsn


def test_echo_is_no_longer_than_we_take(iscsi):
    """An answer longer than our MaxRecvDataSegmentLength is cut."""
    with iscsi.session({"MaxRecvDataSegmentLength": "512"}) as s:
        assert s.nop(b"x" * 2000).data == b"x" * 512


def test_nop_without_an_answer(iscsi):
    """ITT of all ones: nothing comes back."""
    with iscsi.session() as s:
        s.send_pdu(NOP_OUT, immediate=True, itt=NONE, words=(NONE, s.cmdsn, s.expstatsn), data=b"quiet")
        assert s.nop(b"after").data == b"after"


def test_we_are_asked_and_live_when_we_answer(iscsi):
    """A host that is idle would be thrown out."""
    with iscsi.session() as s:
        for _ in range(3):
            pdu = s.recv_pdu()
            assert pdu.opcode == NOP_IN and pdu.itt == NONE and pdu.ttt != NONE, str(pdu)
            s.send_pdu(NOP_OUT, immediate=True, lun=pdu.bhs[8:16], words=(pdu.ttt, s.cmdsn, s.expstatsn))
        good(s.test_unit_ready())


def test_who_does_not_answer_is_closed(iscsi):
    """A host that lost power would keep its session, and what it reserved, for ever."""
    with iscsi.session() as s, iscsi.session(initiator="iqn.2026-11.test:other") as other:
        def closed():
            good(other.test_unit_ready())
            s.sock.settimeout(0.2)
            try:
                return not s.sock.recv(65536)
            except TimeoutError:
                return False
            except OSError:
                return True
        wait_until(closed, "the silent session to be closed", 60, 0.1)


def test_who_is_busy_is_not_closed(iscsi):
    """Any PDU proves that the host lives: one that has better to do than to answer pings would lose its session."""
    with iscsi.session() as s:
        s.answer_nops = False
        until = time.monotonic() + 9
        while time.monotonic() < until:
            good(s.command(read_cdb(0, 8), expect=4096))
            time.sleep(0.01)


def test_nop_out_that_answers_nothing(iscsi):
    """A target transfer tag that nobody gave out."""
    with iscsi.session() as s:
        s.send_pdu(NOP_OUT, immediate=True, itt=NONE, words=(0x12345, s.cmdsn, s.expstatsn))
        try:
            s.nop(b"x")
        except Ended:
            pass
        except Exception as e:
            assert type(e).__name__ == "Rejected"
    iscsi.check_serves()
