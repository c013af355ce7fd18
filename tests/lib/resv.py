# SPDX-License-Identifier: BSD-3-Clause
"""Reservations of an NVMe host: commands, report, notifications. Keys are numbers."""
import struct
import uuid
from dataclasses import dataclass

from nvme_tcp import IO_READ, OK, must, rw, sqe

REGISTER, REPORT, ACQUIRE, RELEASE = 0x0d, 0x0e, 0x11, 0x15
CONFLICT = 0x083
LOG_PAGE = 0x80
NOTIFIED = 0x800006            # log page 80h, information 0, type 6 (I/O command set)
FEATURE_MASK, FEATURE_PERSIST = 0x82, 0x83
WE, EA, WERO, EARO, WEAR, EAAR = TYPES = range(1, 7)
REGISTRATION_PREEMPTED, RESERVATION_RELEASED, RESERVATION_PREEMPTED = 1, 2, 3
PERSIST, VOLATILE = 3 << 30, 2 << 30


def may(kind, registered):
    """What who does not hold a reservation of this type may do, as the standards' tables say: (read, write)."""
    if kind == WE:
        return True, False
    if kind == EA:
        return False, False
    return kind in (WERO, WEAR) or registered, registered


def nqn(name):
    """A host's, which has its identifier."""
    return f"nqn.2014-08.org.nvmexpress:uuid:{uuid.uuid5(uuid.NAMESPACE_DNS, name)}"


def allowed(host):
    """What it may do: (read, write)."""
    answers = (host.io.command(rw(IO_READ, 0, 1), expect=512).status, host.io.write(0, bytes(512)).status)
    assert set(answers) <= {OK, CONFLICT}, answers
    return tuple(status == OK for status in answers)


def check_type(a, b, kind):
    """One host reserves; what the other may do before it has registered, and then."""
    must(register(a, 0xa))
    must(acquire(a, 0xa, kind))
    assert allowed(a) == (True, True)
    assert allowed(b) == may(kind, registered=False)
    must(register(b, 0xb))
    assert allowed(b) == may(kind, registered=True)
    must(unregister(b, 0xb))
    must(release(a, 0xa, kind))
    assert allowed(b) == (True, True)


def register(host, key, *, old=0, action=0, ignore=False, persist=0, nsid=1):
    return host.io.command(sqe(REGISTER, nsid, cdw10=action | ignore << 3 | persist), struct.pack("<QQ", old, key))


def unregister(host, key, nsid=1):
    return register(host, 0, old=key, action=1, nsid=nsid)


def acquire(host, key, kind, *, victim=0, action=0, nsid=1):
    return host.io.command(sqe(ACQUIRE, nsid, cdw10=action | kind << 8), struct.pack("<QQ", key, victim))


def preempt(host, key, kind, victim, *, abort=False, nsid=1):
    return acquire(host, key, kind, victim=victim, action=2 if abort else 1, nsid=nsid)


def release(host, key, kind, nsid=1):
    return host.io.command(sqe(RELEASE, nsid, cdw10=kind << 8), struct.pack("<Q", key))


def clear(host, key, nsid=1):
    return host.io.command(sqe(RELEASE, nsid, cdw10=1), struct.pack("<Q", key))


@dataclass
class Registrant:
    cntlid: int
    holds: bool
    key: int
    hostid: bytes


@dataclass
class Report:
    generation: int
    kind: int
    persists: bool
    who: list


def report(host, nsid=1, length=4096):
    data = must(host.io.command(sqe(REPORT, nsid, cdw10=length // 4 - 1, cdw11=1), expect=length)).data
    generation, kind, count, persists = struct.unpack_from("<IBH2xB", data)
    who = [Registrant(cntlid, bool(status & 1), key, hostid)
           for cntlid, status, key, hostid in struct.iter_unpack("<HB5xQ16s32x", data[64:64 + 64 * count])]
    return Report(generation, kind, bool(persists), who)


def notification(host):
    """The next page of the log: kind (0: there is none), namespace, how many more there are."""
    _, kind, more, nsid = struct.unpack_from("<QBB2xI", host.admin.get_log_page(LOG_PAGE, 64))
    return kind, nsid, more
