# SPDX-License-Identifier: BSD-3-Clause
"""Persistent reservations of a SCSI initiator (iscsi.Session): commands and what they answer. Keys are numbers; types
are NVMe's, 1 to 6, so that a test can speak of both."""
import struct
from dataclasses import dataclass

from iscsi import ISID, good

READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS = range(4)
REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_ABORT, REGISTER_IGNORE, REGISTER_MOVE = range(8)
SPC = {0: 0, 1: 1, 2: 3, 3: 5, 4: 6, 5: 7, 6: 8}     # our types as SPC's
NVME = {spc: nvme for nvme, spc in SPC.items()}
RESERVATIONS_PREEMPTED, RESERVATIONS_RELEASED, REGISTRATIONS_PREEMPTED = 0x2a03, 0x2a04, 0x2a05
RESERVE_6, RELEASE_6 = bytes([0x16, 0, 0, 0, 0, 0]), bytes([0x17, 0, 0, 0, 0, 0])


def out(session, action, *, kind=0, key=0, other=0, aptpl=False, all_ports=False, lun=0):
    data = struct.pack(">QQ4xB3x", key, other, aptpl | all_ports << 2)
    return session.command(struct.pack(">BBB2xIB", 0x5f, action, SPC[kind], len(data), 0), data, lun=lun)


def read(session, action, lun=0, length=8192):
    return good(session.command(struct.pack(">BB5xHB", 0x5e, action, length, 0), expect=length, lun=lun)).data


def register(session, key, old=0, **how):
    return out(session, REGISTER, key=old, other=key, **how)


def reserve(session, key, kind, **how):
    return out(session, RESERVE, kind=kind, key=key, **how)


def release(session, key, kind, **how):
    return out(session, RELEASE, kind=kind, key=key, **how)


def clear(session, key, **how):
    return out(session, CLEAR, key=key, **how)


def preempt(session, key, kind, victim, abort=False, **how):
    return out(session, PREEMPT_ABORT if abort else PREEMPT, kind=kind, key=key, other=victim, **how)


def keys(session, lun=0):
    """PRgeneration, and the keys."""
    data = read(session, READ_KEYS, lun)
    generation, length = struct.unpack_from(">II", data)
    return generation, list(struct.unpack_from(f">{length // 8}Q", data, 8))


def reservation(session, lun=0):
    """Its type and key; (0, 0) when there is none."""
    data = read(session, READ_RESERVATION, lun)
    if not struct.unpack_from(">4xI", data)[0]:
        return 0, 0
    key, kind = struct.unpack_from(">Q5xB", data, 8)
    return NVME[kind & 0xf], key


@dataclass
class Registrant:
    key: int
    holds: bool
    kind: int
    port: int
    name: str


def full_status(session, lun=0):
    data = read(session, READ_FULL_STATUS, lun)
    end = 8 + struct.unpack_from(">4xI", data)[0]
    at, who = 8, []
    while at < end:
        key, flags, kind, port, length = struct.unpack_from(">Q4xBB4xHI", data, at)
        field = struct.unpack_from(">H", data, at + 26)[0]
        name = data[at + 28:at + 28 + field].split(b"\0")[0].decode()
        who.append(Registrant(key, bool(flags & 1), NVME[kind & 0xf], port, name))
        at += 24 + length
    return who


def port_name(initiator, isid=ISID):
    """An initiator port as TransportIDs call it."""
    return f"{initiator},i,0x{isid.hex()}"
