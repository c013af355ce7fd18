# SPDX-License-Identifier: BSD-3-Clause
"""Every command that reservations are about, of every host, under every type; many hosts; and what a PREEMPT AND ABORT
aborts."""
import struct

import pytest

import resv
from nvme_tcp import IO_COMPARE, IO_DSM, IO_FLUSH, IO_READ, IO_WRITE, IO_WRITE_ZEROES, OK, Host, must, rw, sqe
from resv import CONFLICT, EA, EARO, WE

IO_WRITE_UNCOR, IO_VERIFY, IO_COPY = 0x04, 0x0c, 0x19
FUSED_FAIL, PREEMPTED, INVALID_FIELD = 0x09, 0x1b, 0x02
HOST_BEHAVIOR = 0x16
MANY = 70                       # SPDK's target stops at 16
BLOCK = bytes(512)


def fused(host):
    first = host.io.submit(rw(IO_COMPARE, 0, 1, flags=0x41), BLOCK)
    second = host.io.submit(rw(IO_WRITE, 0, 1, flags=0x42), BLOCK)
    statuses = host.io.wait(first).status, host.io.wait(second).status
    assert statuses in ((OK, OK), (CONFLICT, FUSED_FAIL)), statuses
    return statuses[0]


def copy(host, nsid=1, source=1):
    entry = struct.pack("<I4xQH14x", source, 8, 0)
    return host.io.command(sqe(IO_COPY, nsid, cdw10=16, cdw12=2 << 8), entry).status


def discard(attributes):
    return lambda host: host.io.command(sqe(IO_DSM, 1, cdw11=attributes), struct.pack("<IIQ", 0, 1, 20)).status


READS = {
    "read": lambda host: host.io.command(rw(IO_READ, 0, 1), expect=512).status,
    "compare": lambda host: host.io.command(rw(IO_COMPARE, 0, 1), BLOCK).status,
    "verify": lambda host: host.io.command(rw(IO_VERIFY, 0, 1)).status,
}
WRITES = {
    "write": lambda host: host.io.write(0, BLOCK).status,
    "write zeroes": lambda host: host.io.command(rw(IO_WRITE_ZEROES, 0, 1)).status,
    "write uncorrectable": lambda host: host.io.command(rw(IO_WRITE_UNCOR, 30, 1)).status,
    "flush": lambda host: host.io.command(sqe(IO_FLUSH, 1)).status,
    "flush of all": lambda host: host.io.command(sqe(IO_FLUSH, 0xffffffff)).status,
    "deallocate": discard(4),
    "hint": discard(1),
    "copy": copy,
    "compare and write": fused,
}


def know_formats(host):
    data = struct.pack("<4xH506x", 1 << 2)
    must(host.admin.command(sqe(0x09, 0, cdw10=HOST_BEHAVIOR), data))


@pytest.fixture
def trio(served):
    """Who will hold, who will be registered, and a stranger."""
    hosts = [Host(served.port, served.nqn, hostnqn=resv.nqn(f"host{n}")) for n in range(3)]
    for host in hosts:
        know_formats(host)
    yield hosts
    for host in hosts:
        host.close()


@pytest.mark.parametrize("kind", resv.TYPES)
def test_who_may_do_what(trio, kind):
    """By the standard's table: one command in the wrong column, and a cluster's disk has two owners."""
    holder, registrant, stranger = trio
    must(resv.register(holder, 0xa))
    must(resv.register(registrant, 0xb))
    must(resv.acquire(holder, 0xa, kind))
    everything = {**READS, **WRITES}
    for host, (may_read, may_write) in ((holder, (True, True)), (registrant, resv.may(kind, registered=True)),
                                        (stranger, resv.may(kind, registered=False))):
        did = {name for name, command in everything.items() if command(host) == OK}
        assert did == (set(READS) if may_read else set()) | (set(WRITES) if may_write else set())
    assert resv.acquire(stranger, 0xc, kind).status == CONFLICT
    assert resv.release(stranger, 0xc, kind).status == CONFLICT
    assert resv.preempt(stranger, 0xc, kind, 0xa).status == CONFLICT
    assert resv.clear(stranger, 0xc).status == CONFLICT
    assert resv.register(stranger, 0xd, old=0xc, action=2).status == CONFLICT
    assert resv.release(holder, 0xe, kind).status == CONFLICT     # not its key
    assert [who.key for who in resv.report(stranger).who] == [0xa, 0xb]
    other = resv.TYPES[kind % len(resv.TYPES)]
    if kind not in (resv.WEAR, resv.EAAR):
        assert resv.acquire(registrant, 0xb, kind).status == CONFLICT
        assert resv.release(registrant, 0xb, kind).status == OK   # not the holder: nothing happens
        assert resv.report(holder).kind == kind
    assert resv.acquire(holder, 0xa, other).status == CONFLICT    # another type
    assert resv.acquire(holder, 0xa, kind).status == OK           # what it has
    assert resv.release(holder, 0xa, other).status == INVALID_FIELD
    must(resv.register(registrant, 0xbb, old=0, action=2, ignore=True))
    assert [who.key for who in resv.report(stranger).who] == [0xa, 0xbb]
    must(resv.release(holder, 0xa, kind))
    assert resv.allowed(stranger) == (True, True)


def test_copies_from_and_to_what_is_reserved(daemon):
    """The source is read, the destination is written: either may be another host's."""
    served = daemon.serve(daemon.malloc("to", mib=4), daemon.malloc("from", mib=4))
    with Host(served.port, served.nqn, hostnqn=resv.nqn("a")) as a, \
            Host(served.port, served.nqn, hostnqn=resv.nqn("b")) as b:
        know_formats(b)
        assert copy(b, 1, 2) == OK
        must(resv.register(a, 0xa, nsid=2))
        must(resv.acquire(a, 0xa, EA, nsid=2))
        assert copy(b, 1, 2) == CONFLICT
        must(resv.release(a, 0xa, EA, nsid=2))
        must(resv.acquire(a, 0xa, WE, nsid=2))
        assert copy(b, 1, 2) == OK
        assert copy(b, 2, 1) == CONFLICT


def test_many_registrants(daemon):
    """A seventeenth host would stay outside, and a report be cut."""
    served = daemon.serve(daemon.malloc("disk0", mib=4))
    hosts = [Host(served.port, served.nqn, hostnqn=resv.nqn(f"one of many {n}")) for n in range(MANY)]
    try:
        for n, host in enumerate(hosts):
            must(resv.register(host, n + 1))
        must(resv.acquire(hosts[0], 1, EARO))
        assert all(resv.allowed(host) == (True, True) for host in hosts)
        report = resv.report(hosts[-1], length=64 + 64 * MANY)
        assert [who.key for who in report.who] == list(range(1, MANY + 1)) and report.kind == EARO
        assert len({who.hostid for who in report.who}) == MANY
        must(resv.preempt(hosts[1], 2, EARO, 1))
        assert resv.allowed(hosts[0]) == (False, False)
        must(resv.clear(hosts[2], 3))
        assert {resv.notification(host)[0] for host in hosts[3:]} == {resv.RESERVATION_PREEMPTED}
        assert not resv.report(hosts[0]).who
    finally:
        for host in hosts:
            host.close()


def test_preempt_and_abort_aborts(daemon):
    """The answer would wait for the slowest command of the host that is gone, on any of its queues: here for ever."""
    daemon.malloc("ram", mib=16)
    daemon.rpc("bdev_error_create", base_name="ram")
    daemon.rpc("bdev_error_inject_error", name="EE_ram", io_type="write", error_type="pending", num=12)
    served = daemon.serve("EE_ram", daemon.malloc("other", mib=4))
    with Host(served.port, served.nqn, hostnqn=resv.nqn("a")) as a, \
            Host(served.port, served.nqn, hostnqn=resv.nqn("b"), io_queues=3) as b:
        must(resv.register(a, 0xa))
        must(resv.register(b, 0xb))
        must(resv.acquire(b, 0xb, WE))
        writes = [(io, io.submit(rw(IO_WRITE, lba, 1), BLOCK)) for io in b.ios for lba in range(4)]
        for io in b.ios:
            must(io.command(rw(IO_READ, 100, 1), expect=512))   # what was sent before has begun
        must(resv.preempt(a, 0xa, WE, 0xb, abort=True))
        assert {io.wait(cid).status for io, cid in writes} == {PREEMPTED}
        assert b.io.write(0, BLOCK).status == CONFLICT
        must(b.io.write(0, BLOCK, nsid=2))
        must(a.io.write(0, BLOCK))


def test_a_reservation_stays_with_its_disk(daemon):
    """Taken out of the subsystem and put back, or of another size, it would be anybody's."""
    served = daemon.serve(daemon.malloc("disk0", mib=4))
    with Host(served.port, served.nqn, hostnqn=resv.nqn("a")) as a, \
            Host(served.port, served.nqn, hostnqn=resv.nqn("b")) as b:
        must(resv.register(a, 0xa))
        must(resv.acquire(a, 0xa, WE))
        daemon.rpc("bdev_malloc_resize", name="disk0", new_size=8)
        assert b.io.write(0, BLOCK).status == CONFLICT
        daemon.rpc("nvmf_subsystem_remove_ns", nqn=served.nqn, nsid=1)
        daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": "disk0", "nsid": 1})
        assert b.io.write(0, BLOCK).status == CONFLICT
        assert a.io.write(0, BLOCK).status == OK
