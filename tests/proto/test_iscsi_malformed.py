# SPDX-License-Identifier: BSD-3-Clause
"""PDUs that are none: wrong lengths, additional headers, opcodes, bits. Each may end its own session; never another."""
import os
import random

import pytest

from iscsi import (DATA_OUT, FINAL, LOGIN, LOGOUT, NONE, NOP_OUT, READ, REJECT, SCSI_COMMAND, SNACK, TASK_MANAGEMENT,
                   TEXT, WRITE, Ended, Outstanding, good, make_pdu, read_cdb, write_cdb)


@pytest.fixture(scope="module")
def neighbour(iscsi):
    with iscsi.session(initiator="iqn.2026-11.test:neighbour") as s:
        yield s


@pytest.fixture
def victim(iscsi, neighbour):
    s = iscsi.session()
    yield s
    s.close()
    good(neighbour.write(1000, b"n" * 512))
    assert neighbour.read(1000, 1) == b"n" * 512


def refused(s):
    """A Reject, or the end; which of both, and what follows a Reject, is for the target to say."""
    try:
        pdu = s.recv_pdu()
    except Ended:
        return False
    assert pdu.opcode == REJECT, f"{pdu} instead of a Reject"
    return True


@pytest.mark.parametrize("opcode", [0x07, 0x08, 0x0f, 0x11, 0x1c, 0x1e, 0x20, 0x21, 0x3f, 0x80, 0xc0], ids=hex)
def test_opcodes_that_initiators_do_not_have(victim, opcode):
    """0x20 and more are the target's own. Bit 7 of byte 0 is reserved: it is ignored, or refused."""
    victim.send(bytes([opcode]) + make_pdu(NOP_OUT, itt=77, words=(NONE, victim.cmdsn, victim.expstatsn))[1:])
    if opcode & 0x80:
        try:
            victim.recv_pdu()
        except Ended:
            pass
    else:
        refused(victim)


@pytest.mark.parametrize("length", [0x40001, 0x100000, 0xffffff])
@pytest.mark.parametrize("opcode", [NOP_OUT, SCSI_COMMAND, TEXT, DATA_OUT, LOGOUT, TASK_MANAGEMENT], ids=hex)
def test_more_data_than_we_take(victim, opcode, length):
    """MaxRecvDataSegmentLength is what was declared: buffers end there."""
    victim.send_pdu(opcode, FINAL, itt=77, words=(NONE, victim.cmdsn, victim.expstatsn), data_length=length)
    refused(victim)


@pytest.mark.parametrize("words", [1, 64, 255])
@pytest.mark.parametrize("opcode", [NOP_OUT, TEXT, DATA_OUT, LOGOUT, TASK_MANAGEMENT], ids=hex)
def test_additional_headers_where_there_are_none(victim, opcode, words):
    """Only SCSI commands have any."""
    victim.send_pdu(opcode, FINAL, itt=77, words=(NONE, victim.cmdsn, victim.expstatsn), ahs=bytes(4 * words))
    try:
        victim.recv_pdu()       # a Reject; some ignore them
    except Ended:
        pass


AHS = {
    "length 0": b"\0\0\1\0" + bytes(4),
    "longer than all": b"\xff\xff\1\0" + bytes(16),
    "unknown type": b"\0\5\x3e\0" + bytes(8),
    "two CDBs": (b"\0\x11\1\0" + bytes(16)) * 2,
    "read length too short": b"\0\3\2\0" + bytes(4),
    "zeroes": bytes(64),
    "ones": b"\xff" * 64,
}


@pytest.mark.parametrize("what", AHS)
def test_additional_headers_of_commands(victim, what):
    """Lengths within lengths: the inner may not be believed."""
    victim.submit(read_cdb(0, 1), expect=512, ahs=AHS[what])
    try:
        victim.recv_pdu()
    except Ended:
        pass


def test_long_cdb(victim):
    """A CDB of 32 bytes comes in two parts; what is not known is told so, and the session goes on."""
    rest = bytes(16)
    result = victim.command(b"\x7f" + bytes(6) + b"\x18" + bytes(8), ahs=b"\0\x11\1\0" + rest)
    assert result.status == 2 and result.key == 5
    good(victim.test_unit_ready())


def test_bidirectional(victim):
    """R and W both set; no command of a disk does that."""
    victim.submit(write_cdb(0, 1), b"x" * 512, flags=FINAL | READ | WRITE | 1)
    try:
        victim.recv_pdu()
    except Ended:
        pass


def test_snack(victim):
    """For recovery levels above 0."""
    victim.send_pdu(SNACK, FINAL, itt=5, words=(NONE, 0, victim.expstatsn))
    refused(victim)


def test_login_in_the_full_feature_phase(victim):
    victim.login_request(1, 3, {"MaxBurstLength": "512"})
    refused(victim)


@pytest.mark.parametrize("reserved", [0x08, 0x10])
def test_reserved_bits_of_a_command(victim, reserved):
    victim.submit(bytes(6), flags=FINAL | 1 | reserved)
    try:
        victim.recv_pdu()
    except Ended:
        pass


def test_reserved_task_attribute(victim):
    victim.submit(bytes(6), flags=FINAL | 7)
    try:
        victim.recv_pdu()
    except Ended:
        pass


@pytest.mark.parametrize("lun", [b"\0\5" + bytes(6), b"\x40\0" + bytes(6), b"\xc1\1" + bytes(6), b"\xff" * 8,
                                 b"\0\0\0\1" + bytes(4), b"\x01\0" + bytes(6)], ids=lambda lun: lun.hex())
def test_luns_that_are_not_there(victim, lun):
    """A LUN in a form that we do not know would be taken for another. 4000h is LUN 0 in flat form."""
    result = victim.command(bytes(6), lun=lun)
    if lun[0] != 0x40:
        assert result.status == 2 and result.key == 5 and result.asc == 0x2500, str(result)


def test_pdus_byte_by_byte(victim):
    """Headers, data and digests may be cut anywhere on their way."""
    data = os.urandom(512)
    itt = victim.new_itt()
    victim.outstanding[itt] = Outstanding(data, 0)
    pdu = make_pdu(SCSI_COMMAND, FINAL | WRITE | 1, itt=itt, cdb=write_cdb(5, 1), data=data,
                   words=(512, victim.take_cmdsn(), victim.expstatsn))
    for byte in pdu[:60]:
        victim.send(bytes([byte]))
    victim.send(pdu[60:])
    good(victim.wait(itt))
    assert victim.read(5, 1) == data


def test_many_pdus_in_one_segment(victim):
    """All that arrives at once is dealt with at once, and in order."""
    count = 40
    s = victim
    s.send(b"".join(make_pdu(NOP_OUT, FINAL, immediate=True, itt=1000 + n, data=b"x" * n,
                             words=(NONE, s.cmdsn, s.expstatsn)) for n in range(count)))
    for n in range(count):
        pdu = s.recv_pdu()
        assert pdu.itt == 1000 + n and pdu.data == b"x" * n


@pytest.mark.parametrize("seed", range(8))
def test_noise(iscsi, neighbour, seed):
    """Random bytes instead of a login, and in the full feature phase."""
    dice = random.Random(seed)
    with iscsi.conn() as c:
        try:
            c.send(dice.randbytes(4096))
        except OSError:
            pass
    with iscsi.session() as s:
        try:
            for _ in range(20):
                opcode = dice.choice([NOP_OUT, SCSI_COMMAND, TASK_MANAGEMENT, TEXT, DATA_OUT, LOGOUT, LOGIN])
                pdu = bytearray(make_pdu(opcode, FINAL, immediate=dice.random() < 0.5, itt=dice.randrange(50),
                                         words=(NONE, s.cmdsn, s.expstatsn or 0)))
                for _ in range(dice.randrange(6)):
                    pdu[dice.randrange(48)] = dice.randrange(256)
                s.send(bytes(pdu))
        except OSError:
            pass
    good(neighbour.test_unit_ready())
    iscsi.daemon.check_alive()
