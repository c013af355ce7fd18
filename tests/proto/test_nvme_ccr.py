# SPDX-License-Identifier: BSD-3-Clause
"""Cross-Controller Reset: a host has one controller of its own ended by another, and is told when nothing of the first
can land any more. Layouts are nvme-cli's and those of its review of the Base Specification 2.3 (docs/FAILOVER.md)."""
import os
import struct
import time
from dataclasses import dataclass

import pytest

from gantry import wait_until
from nvme_tcp import (ADMIN_ASYNC_EVENT, ADMIN_GET_LOG_PAGE, ADMIN_SET_FEATURES, CC, CSTS, DISCOVERY_NQN, INVALID_FIELD,
                      INVALID_OPCODE, IO_WRITE, Host, must, rw, sqe)
from remote import attach, paths
from scrape import Metrics

CCR = 0x38
CCR_LOG = 0x1e
CCR_EVENT = CCR_LOG << 16 | 0xf4 << 8 | 2
INVALID_CONTROLLER, IN_PROGRESS, LIMIT_EXCEEDED = 0x11f, 0x13f, 0x141
RUNNING, SUCCESSFUL = 0, 1
OTHER_HOST = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"
WAIT_S = 60


@dataclass
class Instance:
    cntlid: int
    ciu: int
    cirn: int


def instance(host):
    page = host.admin.identify(1)
    return Instance(struct.unpack_from("<H", page, 78)[0], page[135], struct.unpack_from("<Q", page, 136)[0])


def reset(host, i, **wrong):
    f = {"cntlid": i.cntlid, "ciu": i.ciu, "cirn": i.cirn, **wrong}
    return host.admin.command(sqe(CCR, cdw10=f["cntlid"] | f["ciu"] << 16, cdw12=f["cirn"] & 0xffffffff,
                                  cdw13=f["cirn"] >> 32))


def entries(host, remove=False, length=4096):
    """What the log page lists: controller, CIU, who was asked, status."""
    cmd = sqe(ADMIN_GET_LOG_PAGE, 0xffffffff, cdw10=CCR_LOG | remove << 8 | (length // 4 - 1) << 16)
    page = must(host.admin.command(cmd, expect=length)).data
    return [struct.unpack_from("<HBxHBB", page, 8 + 8 * n) for n in range(struct.unpack_from("<H", page)[0])]


def expect_ended(host):
    host.admin.expect_closed()
    for io in host.ios:
        io.expect_closed()


class Slow:
    """A disk that keeps commands: another daemon's, which is stopped."""

    def __init__(self, daemon, target):
        self.daemon, self.target = daemon, target
        attach(daemon, target.export())
        served = daemon.serve("Nvme0n1")
        self.port, self.nqn = served.port, served.nqn

    def keep(self, *hosts):
        """Connections of their cores to the disk are there, then."""
        for host in hosts:
            host.io.read(0, 8)
        self.target.freeze()

    def wait_kept(self, count=1):
        """What is not with the disk yet never gets there after a reset."""
        wait_until(lambda: paths(self.daemon)[0]["io"]["outstanding"] >= count, "the disk to have it", WAIT_S)

    def go_on(self):
        self.target.thaw()


@pytest.fixture
def slow(daemon, target):
    disk = Slow(daemon, target)
    yield disk
    disk.go_on()


def test_what_identify_tells(daemon, host):
    """A host would take a controller for another, or never ask."""
    with Host(host.port, host.nqn) as second:
        a, b = instance(host), instance(second)
        assert a.ciu and b.ciu and a.cirn != b.cirn and a.cntlid != b.cntlid
        page = host.admin.identify(1)
        assert page[1807] == 4 and struct.unpack_from("<H", page, 386)[0] == 5000
        assert struct.unpack_from("<I", page, 92)[0] & 1 << 20
    with Host(host.port, DISCOVERY_NQN, io_queues=0) as discovery:
        page = discovery.admin.identify(1)
        assert page[135:144] == bytes(9) and page[1807] == 0
        assert discovery.admin.command(sqe(CCR, cdw10=1 | 1 << 16)).status == INVALID_OPCODE


def test_the_other_controller_ends(daemon, host, serves):
    """A host that lost a path would wait for keep-alive times."""
    with Host(host.port, host.nqn) as lost:
        lost_is = instance(lost)
        must(lost.io.write(0, bytes(512)))
        answer = must(reset(host, lost_is))
        assert answer.value & 1 == 1
        expect_ended(lost)
        assert must(reset(host, lost_is)).value & 1 == 1   # it is known to have gone
    assert entries(host) == []
    assert daemon.rpc("nvmf_get_failover")["ccr_done"] == 1
    counted = Metrics(daemon.rpc("metrics_get")).samples["gantry_nvmf_controller_resets_total"]
    assert {dict(labels)["event"]: value for labels, value in counted.items()} == {"begun": 1, "done": 1, "failed": 0}
    serves()


def test_one_that_went_by_itself(daemon, host):
    """A host would have to wait for what is over."""
    with Host(host.port, host.nqn) as lost:
        lost_is = instance(lost)
    deadline = time.monotonic() + WAIT_S
    while len(daemon.rpc("nvmf_subsystem_get_controllers", nqn=host.nqn)) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert must(reset(host, lost_is)).value & 1 == 1


def test_what_is_refused(daemon, host):
    """A host could end others' controllers, or be told that nothing lands of one that this daemon knows nothing of."""
    with Host(host.port, host.nqn) as mine, Host(host.port, host.nqn, hostnqn=OTHER_HOST) as theirs:
        me, other, i = instance(host), instance(theirs), instance(mine)
        for answer, status in [
                (reset(host, me), INVALID_FIELD), (reset(host, i, ciu=0), INVALID_FIELD),
                (reset(host, other), INVALID_CONTROLLER), (reset(host, i, cirn=i.cirn ^ 1), INVALID_CONTROLLER),
                (reset(host, i, ciu=i.ciu % 255 + 1), INVALID_CONTROLLER),
                (reset(host, i, cntlid=0xfff0), INVALID_CONTROLLER)]:
            assert (answer.status, answer.dnr, answer.value & 0xffffffff) == (status, True, 0)
        must(theirs.io.write(0, bytes(512)))
        must(mine.io.write(0, bytes(512)))
        assert entries(host) == []


def test_a_controller_that_was_reset_is_another(host):
    """A late reset would hit the connection that came after."""
    with Host(host.port, host.nqn) as lost:
        old = instance(lost)
        lost.admin.property_set(CC, 0)
        while lost.admin.property_get(CSTS) & 1:
            pass
        lost.enable()
        new = instance(lost)
        assert (new.cntlid, new.ciu) == (old.cntlid, old.ciu % 255 + 1) and new.cirn != old.cirn
        assert must(reset(host, old)).value & 1 == 1
        assert instance(lost) == new
        assert must(reset(host, new)).value & 1 == 1
        lost.admin.expect_closed()


def test_disk_that_keeps_a_write(daemon, slow):
    """It would be answered, or told of, while the write may still land."""
    old, new = os.urandom(4096), os.urandom(4096)
    with Host(slow.port, slow.nqn) as host, Host(slow.port, slow.nqn) as lost:
        i, mine = instance(lost), instance(host)
        slow.keep(lost)
        lost.io.submit(rw(IO_WRITE, 0, 8), old)
        lost.io.submit(rw(IO_WRITE, 0, 8), old, in_capsule=False)   # its data never comes
        lost.io.recv_r2t()
        slow.wait_kept()
        must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0b, cdw11=1 << 20)))
        event = host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
        answer = must(reset(host, i))
        assert answer.value & 1 == 0, "said to be over while a disk has a write"
        assert entries(host, remove=True) == [(i.cntlid, i.ciu, mine.cntlid, RUNNING, 0)]
        again = reset(host, i)
        assert again.status == IN_PROGRESS
        slow.go_on()
        assert must(host.admin.wait(event)).value & 0xffffffff == CCR_EVENT
        must(host.io.write(0, new))
        expect_ended(lost)
        assert entries(host) == [(i.cntlid, i.ciu, mine.cntlid, SUCCESSFUL, 0)]
        assert entries(host, length=16) and entries(host, remove=True) and entries(host) == []
        assert host.io.read(0, 8) == new
        assert must(reset(host, i)).value & 1 == 1


def test_more_at_a_time_than_announced(daemon, slow):
    """A host could make a target keep as much as it likes."""
    daemon.rpc("nvmf_set_failover", ccr_limit=1)
    with Host(slow.port, slow.nqn) as host, Host(slow.port, slow.nqn) as a, Host(slow.port, slow.nqn) as b:
        assert host.admin.identify(1)[1807] == 1
        slow.keep(a, b)
        for lost in (a, b):
            lost.io.submit(rw(IO_WRITE, 0, 8), bytes(4096))
        slow.wait_kept(2)
        first, second = instance(a), instance(b)
        assert must(reset(host, first)).value & 1 == 0
        answer = reset(host, second)
        assert (answer.status, answer.dnr) == (LIMIT_EXCEEDED, False)
        must(b.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0b)))   # it lives
        slow.go_on()
        deadline = time.monotonic() + WAIT_S
        while reset(host, second).status == LIMIT_EXCEEDED:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_who_asked_goes_first(daemon, slow):
    """What waits for a disk would keep a controller that has gone, or be told to nobody."""
    with Host(slow.port, slow.nqn) as lost:
        with Host(slow.port, slow.nqn) as host:
            slow.keep(lost)
            lost.io.submit(rw(IO_WRITE, 0, 8), bytes(4096))
            slow.wait_kept()
            assert must(reset(host, instance(lost))).value & 1 == 0
    slow.go_on()
    deadline = time.monotonic() + WAIT_S
    while daemon.rpc("nvmf_subsystem_get_controllers", nqn=slow.nqn):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with Host(slow.port, slow.nqn) as host:
        must(host.io.write(0, bytes(4096)))


def test_each_ends_the_other(daemon, slow):
    """Two that wait for each other's end would never go."""
    with Host(slow.port, slow.nqn) as a, Host(slow.port, slow.nqn) as b:
        slow.keep(a, b)
        i, j = instance(a), instance(b)
        a.io.submit(rw(IO_WRITE, 0, 8), bytes(4096))
        b.io.submit(rw(IO_WRITE, 8, 8), bytes(4096))
        slow.wait_kept(2)
        for host, other in ((a, j), (b, i)):
            host.admin.submit(sqe(CCR, cdw10=other.cntlid | other.ciu << 16, cdw12=other.cirn & 0xffffffff,
                                  cdw13=other.cirn >> 32))
        time.sleep(0.2)   # more or less: any moment will do
    slow.go_on()
    deadline = time.monotonic() + WAIT_S
    while daemon.rpc("nvmf_subsystem_get_controllers", nqn=slow.nqn):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_switched_off(daemon, host):
    """A host would wait for what it is not given."""
    with Host(host.port, host.nqn) as lost:
        i = instance(lost)
        daemon.rpc("nvmf_set_failover", ccr_limit=0, cqt_ms=1234)
        page = host.admin.identify(1)
        assert page[135:144] == bytes(9) and page[1807] == 0 and struct.unpack_from("<H", page, 386)[0] == 1234
        assert not struct.unpack_from("<I", page, 92)[0] & 1 << 20
        assert reset(host, i).status == INVALID_OPCODE
        log = host.admin.command(sqe(ADMIN_GET_LOG_PAGE, 0xffffffff, cdw10=CCR_LOG | 63 << 16), expect=256)
        assert log.status == 0x109
        effects = host.admin.get_log_page(5, 4096)
        assert struct.unpack_from("<I", effects, 4 * CCR)[0] == 0
        must(lost.io.write(0, bytes(512)))
        daemon.rpc("nvmf_set_failover", ccr_limit=4)
        assert must(reset(host, i)).value & 1 == 1
