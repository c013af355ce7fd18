# SPDX-License-Identifier: BSD-3-Clause
"""Reservations of NVMe hosts: who may do what, who is told, what is over when it is said to be, what survives."""
import os

import pytest

import resv
from gantry import Daemon
from nvme_tcp import ADMIN_ASYNC_EVENT, ADMIN_GET_FEATURES, ADMIN_SET_FEATURES, IO_WRITE, OK, Host, must, rw, sqe
from resv import allowed

NQNS = [resv.nqn(name) for name in "ab"]
INVALID_FIELD = 0x002


@pytest.fixture
def hosts(served):
    with Host(served.port, served.nqn, hostnqn=NQNS[0]) as a, Host(served.port, served.nqn, hostnqn=NQNS[1]) as b:
        yield a, b


def test_identify_says_what_there_is(hosts):
    """A cluster would not look for what nobody announces."""
    a, _ = hosts
    oncs = int.from_bytes(a.admin.identify(1)[520:522], "little")
    rescap = a.admin.identify(0, nsid=1)[31]
    assert oncs & 1 << 5 and rescap == 0xfe   # no --state-dir: nothing persists


@pytest.mark.parametrize("kind", resv.TYPES)
def test_all_types(hosts, kind):
    """A wrong cell of the table lets a host write what another believes is its own."""
    resv.check_type(*hosts, kind)


def test_a_second_path_is_the_same_host(served, hosts):
    """A multipath host would lock itself out."""
    a, b = hosts
    must(resv.register(a, 0xa))
    must(resv.acquire(a, 0xa, resv.EA))
    with Host(served.port, served.nqn, hostnqn=NQNS[0]) as path:
        assert allowed(path) == (True, True)
        assert sorted(who.cntlid for who in resv.report(b).who) == sorted([a.cntlid, path.cntlid])
    assert allowed(b) == (False, False)


def test_who_lost_something_is_told(hosts):
    a, b = hosts
    event = b.admin.submit(sqe(ADMIN_ASYNC_EVENT))
    must(resv.register(a, 0xa))
    must(resv.register(b, 0xb))
    must(resv.acquire(b, 0xb, resv.WE))
    must(resv.preempt(a, 0xa, resv.WE, 0xb))
    assert must(b.admin.wait(event)).value & 0xffffffff == resv.NOTIFIED
    assert resv.notification(b) == (resv.REGISTRATION_PREEMPTED, 1, 0)
    assert resv.notification(b)[0] == 0
    report = resv.report(b)
    assert [(who.key, who.holds) for who in report.who] == [(0xa, True)] and report.generation == 3
    must(b.admin.command(sqe(ADMIN_SET_FEATURES, 1, cdw10=resv.FEATURE_MASK, cdw11=1 << resv.RESERVATION_PREEMPTED)))
    must(resv.register(b, 0xb))
    must(resv.clear(a, 0xa))
    assert resv.notification(b)[0] == 0 and not resv.report(b).who


def test_preempt_and_abort_is_answered_when_the_write_is_over(daemon):
    """A write of the host that lost the disk would land in what the other one has written since."""
    daemon.malloc("ram", mib=16)
    daemon.rpc("bdev_delay_create", base_bdev_name="ram", name="slow", avg_read_latency=0, p99_read_latency=0,
               avg_write_latency=1_000_000, p99_write_latency=1_000_000)
    served = daemon.serve("slow")
    with Host(served.port, served.nqn, hostnqn=NQNS[0]) as a, Host(served.port, served.nqn, hostnqn=NQNS[1]) as b:
        must(resv.register(a, 0xa))
        must(resv.register(b, 0xb))
        must(resv.acquire(b, 0xb, resv.WE))
        old = b.io.submit(rw(IO_WRITE, 0, 1), b"b" * 512)
        must(resv.report(b) and resv.preempt(a, 0xa, resv.WE, 0xb, abort=True))   # the report: the write has been begun
        before = a.io.read(0, 1)
        assert b.io.write(0, b"c" * 512).status == resv.CONFLICT
        b.io.wait(old)
        assert a.io.read(0, 1) == before, "the old write landed after the answer"


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_what_persists_is_there_again(tmp_path, how):
    """After a power cut both hosts of a cluster would believe that the disk is theirs."""
    state = tmp_path / "state"
    daemon = Daemon(tmp_path, "--state-dir", state)
    with daemon:
        image = tmp_path / "image"
        image.write_bytes(bytes(1 << 20))
        daemon.rpc("bdev_aio_create", filename=str(image), name="disk", block_size=512)
        served = daemon.serve("disk")
        with Host(served.port, served.nqn, hostnqn=NQNS[0]) as a, Host(served.port, served.nqn, hostnqn=NQNS[1]) as b:
            assert a.admin.identify(0, nsid=1)[31] == 0xff
            must(resv.register(a, 0xa, persist=resv.PERSIST))
            must(resv.register(b, 0xb))
            must(resv.acquire(a, 0xa, resv.EARO))
            must(resv.unregister(b, 0xb))
            assert resv.report(b).persists
        if how == "killed":
            daemon.kill()
        else:
            daemon.stop()
        daemon.start()
        with Host(served.port, served.nqn, hostnqn=NQNS[0]) as a, Host(served.port, served.nqn, hostnqn=NQNS[1]) as b:
            assert allowed(b) == (False, False) and allowed(a) == (True, True)
            report = resv.report(b)
            assert (report.kind, report.persists) == (resv.EARO, True)
            assert [(who.key, who.holds, who.cntlid) for who in report.who] == [(0xa, True, a.cntlid)]
            value = must(a.admin.command(sqe(ADMIN_GET_FEATURES, 1, cdw10=resv.FEATURE_PERSIST))).value
            assert value & 1
            must(a.admin.command(sqe(ADMIN_SET_FEATURES, 1, cdw10=resv.FEATURE_PERSIST, cdw11=0)))
        daemon.kill()
        daemon.start()
        with Host(served.port, served.nqn, hostnqn=NQNS[1]) as b:
            assert allowed(b) == (True, True) and not resv.report(b).who


def test_nothing_persists_without_a_directory(hosts):
    """A host that was promised persistence would rely on it."""
    a, _ = hosts
    assert resv.register(a, 0xa, persist=resv.PERSIST).status == INVALID_FIELD
    assert not resv.report(a).who


def test_reservations_under_io(hosts):
    """Types that come and go while a host writes: every write is done or refused, and nothing else breaks."""
    a, b = hosts
    must(resv.register(a, 0xa))
    for turn in range(20):
        cids = [b.io.submit(rw(IO_WRITE, 8 * n, 8), os.urandom(4096)) for n in range(8)]
        must(resv.acquire(a, 0xa, resv.TYPES[turn % 2]))
        assert {b.io.wait(cid).status for cid in cids} <= {OK, resv.CONFLICT}
        assert b.io.write(0, bytes(512)).status == resv.CONFLICT
        must(resv.release(a, 0xa, resv.TYPES[turn % 2]))
        must(b.io.write(0, bytes(512)))
