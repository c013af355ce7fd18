# SPDX-License-Identifier: BSD-3-Clause
"""The dynamic scheduler: connections leave a saturated core and are packed onto one when there is little to do, while
the data on them is written, read and compared; and nothing flaps."""
import os
import time

import pytest

from gantry import Daemon, RpcError, cpus, wait_until
from load import Load, cpu_ns, differences, is_sanitized, wakeups
from nvme_tcp import IO_READ, Host, must, rw

CPUS = sorted(os.sched_getaffinity(0))
PERIOD_US = 50_000


@pytest.fixture
def wide(tmp_path):
    if len(CPUS) < 2:
        pytest.skip("needs two CPUs")
    with Daemon(tmp_path, "-m", cpus(2)) as daemon:
        yield daemon


def did(daemon):
    return daemon.rpc("framework_get_scheduler")["did"]


def queues(daemon, kind="current_io_qpairs"):
    return [g[kind] for g in daemon.rpc("nvmf_get_stats")["poll_groups"]]


def gather_on_first(daemon, served):
    """By hand, not pinned."""
    try:
        for q in daemon.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn):
            daemon.rpc("nvmf_move_qpair", nqn=served.nqn, cntlid=q["cntlid"], qid=q["qid"], lcore=CPUS[0], pin=False)
    except RpcError as e:       # between two rounds of a load there is nobody, and the scheduler moves some too
        assert "has no controller" in e.message or "went away" in e.message or "moved" in e.message, e.message


def test_saturation_spreads_and_idleness_packs(wide):
    """Thresholds are low: what saturates a core here depends on the machine."""
    served = wide.serve(wide.malloc("disk0", mib=64))
    with Load(wide, served, qpairs=4, depth=32, rate=0, seconds=3) as load:
        wide.rpc("framework_set_scheduler", name="dynamic", period=PERIOD_US, load_limit=1, core_limit=100,
                 core_busy=10)

        def moved():
            """A new round of the load brings new connections, which are placed well."""
            moves = did(wide)["moves"]
            if max(queues(wide)) - min(queues(wide)) < 2:
                gather_on_first(wide, served)
            return did(wide)["moves"] > moves
        wait_until(moved, "a connection to leave the saturated core", 60)
        load.more_ios(2000)
    wait_until(lambda: did(wide)["naps"] >= 1, "the scheduler to sleep", 60)


def test_pinned_connections_stay(wide):
    served = wide.serve(wide.malloc("disk0"))
    with Host(served.port, served.nqn, io_queues=4):
        for q in wide.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn):
            wide.rpc("nvmf_move_qpair", nqn=served.nqn, cntlid=q["cntlid"], qid=q["qid"], lcore=CPUS[q["qid"] % 2])
        wide.rpc("framework_set_scheduler", name="dynamic", period=PERIOD_US)
        wait_until(lambda: did(wide)["naps"] >= 1, "the scheduler to find nothing to do", 60)
        assert queues(wide) == [2, 2] and did(wide)["moves"] == 0


def test_a_move_that_failed_pins_nothing(wide):
    """A device that does not answer keeps a connection where it is; later the scheduler may move it all the same."""
    wide.malloc("disk0")
    wide.rpc("bdev_error_create", base_name="disk0")
    served = wide.serve("EE_disk0")
    with Host(served.port, served.nqn) as host:
        cntlid = wide.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn)[0]["cntlid"]
        wide.rpc("nvmf_move_qpair", nqn=served.nqn, cntlid=cntlid, qid=1, lcore=CPUS[1], pin=False)
        wide.rpc("bdev_error_inject_error", name="EE_disk0", io_type="read", error_type="pending", num=1)
        cid = host.io.submit(rw(IO_READ, 0, 8), expect=4096)
        must(host.io.write(0, bytes(512)))      # the read has gone by
        with pytest.raises(RpcError, match="took too long"):
            wide.rpc("nvmf_move_qpair", nqn=served.nqn, cntlid=cntlid, qid=1, lcore=CPUS[0])
        wide.rpc("bdev_error_resume_pending", name="EE_disk0")
        must(host.io.wait(cid))
        wide.rpc("framework_set_scheduler", name="dynamic", period=PERIOD_US)
        wait_until(lambda: queues(wide) == [1, 0], "the connection to go to the first core", 60)


@pytest.mark.parametrize("mode", ["adaptive", "interrupt", "poll"])
def test_idle_daemon_is_packed_and_sleeps(tmp_path, mode):
    if len(CPUS) < 2:
        pytest.skip("needs two CPUs")
    with Daemon(tmp_path, "-m", cpus(2), "--mode", mode) as daemon:
        daemon.rpc("framework_set_scheduler", name="dynamic", period=PERIOD_US)
        served = daemon.serve(daemon.malloc("disk0"))
        hosts = [Host(served.port, served.nqn, io_queues=4) for _ in range(3)]
        wait_until(lambda: sum(queues(daemon)) == 12, "all queues to be counted")
        wait_until(lambda: queues(daemon)[1] == 0 and queues(daemon, "current_admin_qpairs")[1] == 0,
                   "everything to be on one core", 60)
        # Asking is work too: ask rarely enough.
        wait_until(lambda: did(daemon)["naps"] >= 1, "the scheduler to sleep", 60, 0.5)
        wait_until(lambda: daemon.rpc("framework_get_reactors")["reactors"][1]["parked"],
                   "the empty core to be parked", 60)

        def quiet():
            """Its own thread answers this: nobody else is woken. Asking for more may wake the scheduler once."""
            before = did(daemon)
            time.sleep(1)
            return did(daemon) == before
        wait_until(quiet, "a second without a look: a timer runs in an idle daemon", 60)
        before, busy = wakeups(daemon), cpu_ns(daemon.pid)
        time.sleep(1)
        busy = cpu_ns(daemon.pid) - busy
        woke = differences(before, wakeups(daemon))
        print(mode, woke, busy)
        assert woke["reactor_1"]["sleeps"] <= 20 and woke["reactor_1"]["work.timers"] <= 2
        if mode != "poll" and not is_sanitized(daemon):
            assert busy < 50_000_000
        for host in hosts:
            host.close()


def test_steady_load_does_not_flap(wide):
    """After it has found its places nothing moves any more."""
    served = wide.serve(wide.malloc("disk0", mib=64))
    with Load(wide, served, qpairs=4, depth=16, rate=8000, seconds=6) as load:
        wide.rpc("framework_set_scheduler", name="dynamic", period=PERIOD_US)

        def settled():
            """Naps count as rounds here: with so little to do that it sleeps, it does not move anything either."""
            before = did(wide)
            wait_until(lambda: did(wide)["rounds"] + 15 * did(wide)["naps"] >= before["rounds"] +
                       15 * before["naps"] + 15, "rounds to go by", 60)
            return did(wide)["moves"] == before["moves"]
        wait_until(settled, "moves to end", 60)
        load.check()
