# SPDX-License-Identifier: BSD-3-Clause
"""One disk over NVMe and iSCSI: what a host of one protocol reserves keeps out those of the other."""
import pytest

import pr
import resv
from gantry import Daemon, wait_until
from iscsi import CHECK_CONDITION, GOOD, INITIATOR, RESERVATION_CONFLICT, Session, good, read_cdb, write_cdb
from nvme_tcp import ADMIN_ASYNC_EVENT, IO_WRITE, Host, must, rw, sqe

NQN = resv.nqn("host")


@pytest.fixture
def both(daemon):
    """An NVMe host and an iSCSI session on the same disk."""
    disk = daemon.malloc("disk0", mib=16)
    served, exported = daemon.serve(disk), daemon.export(disk)
    with Host(served.port, served.nqn, hostnqn=NQN) as host, Session(exported.port, exported.name) as session:
        session.clear_attentions()
        yield host, session


def scsi_may(session):
    answers = (session.command(read_cdb(0, 1), expect=512).status,
               session.command(write_cdb(0, 1), bytes(512)).status)
    assert set(answers) <= {GOOD, RESERVATION_CONFLICT}, answers
    return tuple(status == GOOD for status in answers)


@pytest.mark.parametrize("kind", resv.TYPES)
def test_a_host_of_nvme_reserves(daemon, both, kind):
    """The other protocol would write into what the holder believes is its own."""
    host, session = both
    must(resv.register(host, 0xa))
    must(resv.acquire(host, 0xa, kind))
    assert resv.allowed(host) == (True, True)
    assert scsi_may(session) == resv.may(kind, registered=False)
    assert pr.reserve(session, 0xb, kind).status == RESERVATION_CONFLICT
    good(pr.register(session, 0xb))
    assert scsi_may(session) == resv.may(kind, registered=True)
    assert pr.reservation(session) == (kind, 0 if kind in (resv.WEAR, resv.EAAR) else 0xa)
    status = pr.full_status(session)
    assert [(who.key, who.name) for who in status] == [(0xa, NQN), (0xb, pr.port_name(INITIATOR))]
    assert status[0].holds
    [seen] = daemon.rpc("bdev_get_reservations", name="disk0")
    assert [(who["kind"], who["name"], who["key"]) for who in seen["registrants"]] == \
        [("nvme", NQN, "0xa"), ("scsi", INITIATOR, "0xb")]
    assert seen["registrants"][0]["holds"] and seen["generation"] == 2 and not seen["persists"]
    good(pr.out(session, pr.REGISTER, key=0xb))
    must(resv.release(host, 0xa, kind))
    assert scsi_may(session) == (True, True)


@pytest.mark.parametrize("kind", resv.TYPES)
def test_an_initiator_reserves(both, kind):
    host, session = both
    good(pr.register(session, 0xb))
    good(pr.reserve(session, 0xb, kind))
    assert scsi_may(session) == (True, True)
    assert resv.allowed(host) == resv.may(kind, registered=False)
    assert resv.acquire(host, 0xa, kind).status == resv.CONFLICT
    must(resv.register(host, 0xa))
    assert resv.allowed(host) == resv.may(kind, registered=True)
    report = resv.report(host)
    assert report.kind == kind and report.generation == pr.keys(session)[0] == 2
    assert [(who.key, who.cntlid) for who in report.who] == [(0xb, 0xffff), (0xa, host.cntlid)]
    assert report.who[0].holds and any(report.who[0].hostid)
    must(resv.unregister(host, 0xa))
    good(pr.release(session, 0xb, kind))
    assert resv.allowed(host) == (True, True)


def attention(session):
    """The unit attention that waits; None."""
    result = session.command(bytes(6))
    return result.asc if result.status == CHECK_CONDITION else None


def test_preempting_across(both):
    """Who lost a disk to the other protocol would not hear of it."""
    host, session = both
    good(pr.register(session, 0xb))
    good(pr.reserve(session, 0xb, resv.WE))
    must(resv.register(host, 0xa))
    must(resv.preempt(host, 0xa, resv.EA, 0xb, abort=True))
    assert wait_until(lambda: attention(session), "a unit attention") == pr.REGISTRATIONS_PREEMPTED
    assert scsi_may(session) == (False, False) and resv.allowed(host) == (True, True)
    event = host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
    good(pr.register(session, 0xb))
    good(pr.preempt(session, 0xb, resv.WE, 0xa, abort=True))
    assert must(host.admin.wait(event)).value & 0xffffffff == resv.NOTIFIED
    assert resv.notification(host) == (resv.REGISTRATION_PREEMPTED, 1, 0)
    assert resv.allowed(host) == (True, False) and scsi_may(session) == (True, True)
    assert attention(session) is None
    must(resv.register(host, 0xa))
    must(resv.clear(host, 0xa))
    assert wait_until(lambda: attention(session), "a unit attention") == pr.RESERVATIONS_PREEMPTED
    assert pr.keys(session)[1] == []


def test_preempt_and_abort_waits_for_the_other_protocol(daemon):
    """A write over iSCSI would land after an NVMe host was told that it is over."""
    daemon.malloc("ram", mib=16)
    daemon.rpc("bdev_delay_create", base_bdev_name="ram", name="slow", avg_read_latency=0, p99_read_latency=0,
               avg_write_latency=1_000_000, p99_write_latency=1_000_000)
    served, exported = daemon.serve("slow"), daemon.export("slow")
    with Host(served.port, served.nqn, hostnqn=NQN) as host, Session(exported.port, exported.name) as session:
        session.clear_attentions()
        good(pr.register(session, 0xb))
        good(pr.reserve(session, 0xb, resv.WE))
        must(resv.register(host, 0xa))
        old = session.submit(write_cdb(0, 1), b"b" * 512)
        good(session.command(read_cdb(1, 1), expect=512))   # the write has been begun
        must(resv.preempt(host, 0xa, resv.WE, 0xb, abort=True))
        before = host.io.read(0, 1)
        wait_until(lambda: attention(session), "a unit attention")
        assert session.command(write_cdb(0, 1), b"c" * 512).status == RESERVATION_CONFLICT
        session.wait(old)
        assert host.io.read(0, 1) == before, "the old write landed after the answer"


def test_reserve_of_spc2_keeps_nvme_out(both):
    host, session = both
    good(session.command(pr.RESERVE_6))
    assert resv.allowed(host) == (False, False) and scsi_may(session) == (True, True)
    assert resv.register(host, 0xa).status == resv.CONFLICT
    session.close()
    wait_until(lambda: resv.allowed(host) == (True, True), "the reservation to end with its session")


def test_both_come_back_to_what_persists(tmp_path):
    """After a restart one protocol would have forgotten what the other one remembers."""
    daemon = Daemon(tmp_path, "--state-dir", tmp_path / "state")
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    with daemon:
        daemon.rpc("bdev_aio_create", filename=str(image), name="disk", block_size=512)
        served, exported = daemon.serve("disk"), daemon.export("disk")
        with Host(served.port, served.nqn, hostnqn=NQN) as host, Session(exported.port, exported.name) as session:
            session.clear_attentions()
            assert pr.read(session, pr.REPORT_CAPABILITIES)[2] & 1
            good(pr.register(session, 0xb, aptpl=True))
            must(resv.register(host, 0xa))
            good(pr.reserve(session, 0xb, resv.EARO))
            must(resv.unregister(host, 0xa))
        daemon.kill()
        daemon.start()
        with Host(served.port, served.nqn, hostnqn=NQN) as host, Session(exported.port, exported.name) as session:
            session.clear_attentions()
            assert resv.allowed(host) == (False, False) and scsi_may(session) == (True, True)
            assert pr.reservation(session) == (resv.EARO, 0xb) and pr.keys(session)[1] == [0xb]
            assert pr.read(session, pr.REPORT_CAPABILITIES)[3] & 1
            good(pr.clear(session, 0xb))
            assert resv.allowed(host) == (True, True)


def test_two_disks_have_two_reservations(daemon):
    """A reservation of one disk would bind another one of the same initiator."""
    disks = [daemon.malloc(f"disk{n}", mib=8) for n in range(2)]
    served, exported = daemon.serve(*disks), daemon.export(*disks)
    with Host(served.port, served.nqn, hostnqn=NQN) as host, Session(exported.port, exported.name) as session:
        for lun in range(2):
            session.clear_attentions(lun)
        good(pr.register(session, 0xb, lun=1))
        good(pr.reserve(session, 0xb, resv.EA, lun=1))
        assert resv.allowed(host) == (True, True)
        assert host.io.command(rw(IO_WRITE, 0, 1, nsid=2), bytes(512)).status == resv.CONFLICT
