# SPDX-License-Identifier: BSD-3-Clause
"""Who says which core does what: the scheduler's options in SPDK's shapes, masks of CPUs, threads that are pinned anew,
connections that are moved by hand."""
import os
import threading
import time

import pytest

from gantry import NQN, Daemon, RpcError, cpus
from jsonrpc import Waiting
from load import Load
from nvme_tcp import Host, must

CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture
def wide(tmp_path):
    """A daemon with two reactors."""
    if len(CPUS) < 2:
        pytest.skip("needs two CPUs")
    with Daemon(tmp_path, "-m", cpus(2)) as daemon:
        yield daemon


def mask(*numbers):
    return f"{sum(1 << n for n in numbers):x}"


def thread_of(daemon, served, qid):
    return next(q["thread"] for q in daemon.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn) if q["qid"] == qid)


def test_static_at_first(daemon):
    scheduler = daemon.rpc("framework_get_scheduler")
    assert scheduler["scheduler_name"] == "static"
    assert scheduler["isolated_core_mask"] == "0"
    assert scheduler["scheduling_core"] == CPUS[0]
    assert daemon.rpc("framework_get_governor") == {}


def test_options_are_kept_until_given_anew(daemon):
    daemon.rpc("framework_set_scheduler", name="dynamic", period=500000, load_limit=10, core_limit=70, core_busy=90)
    daemon.rpc("framework_set_scheduler", name="dynamic", core_busy=85)
    scheduler = daemon.rpc("framework_get_scheduler")
    assert scheduler["scheduler_name"] == "dynamic" and scheduler["scheduler_period"] == 500000
    assert [scheduler[k] for k in ("load_limit", "core_limit", "core_busy")] == [10, 70, 85]
    saved = daemon.rpc("save_subsystem_config", name="scheduler")["config"]
    assert saved == [{"method": "framework_set_scheduler", "params": {
        "name": "dynamic", "period": 500000, "load_limit": 10, "core_limit": 70, "core_busy": 85}}]
    daemon.rpc("framework_set_scheduler", name="static")
    assert daemon.rpc("framework_get_scheduler")["scheduler_name"] == "static"


def test_other_schedulers_are_taken_for_static(daemon):
    assert daemon.rpc("framework_set_scheduler", name="gscheduler", period=1000000) is True
    assert daemon.rpc("framework_get_scheduler")["scheduler_name"] == "static"
    assert "no scheduler gscheduler here" in daemon.log()
    saved = daemon.rpc("save_subsystem_config", name="scheduler")["config"]
    assert saved[0]["params"] == {"name": "gscheduler", "period": 1000000}


@pytest.mark.parametrize("params", [{}, {"name": ""}, {"name": "dynamic", "core_busy": 101}, {"name": "x" * 64}])
def test_bad_options(daemon, params):
    with pytest.raises(RpcError):
        daemon.rpc("framework_set_scheduler", **params)
    assert daemon.rpc("framework_get_scheduler")["scheduler_name"] == "static"


def test_cores_of_the_scheduler(tmp_path):
    if len(CPUS) < 2:
        pytest.skip("needs two CPUs")
    first, second = CPUS[:2]
    with Waiting(tmp_path, "-m", cpus(2)) as daemon:
        for bad in ({"isolated_core_mask": mask(first)}, {"scheduling_core": 4000},
                    {"isolated_core_mask": mask(second), "scheduling_core": second},
                    {"isolated_core_mask": "[4000]"}, {"isolated_core_mask": "cores"}):
            with pytest.raises(RpcError):
                daemon.rpc("scheduler_set_options", **bad)
        assert daemon.rpc("scheduler_set_options", isolated_core_mask="0x" + mask(first),
                          scheduling_core=second) is True
        scheduler = daemon.rpc("framework_get_scheduler")
        assert scheduler["isolated_core_mask"] == mask(first) and scheduler["scheduling_core"] == second
        daemon.rpc("framework_start_init")
        assert daemon.rpc("save_subsystem_config", name="scheduler")["config"] == [
            {"method": "scheduler_set_options", "params": {"isolated_core_mask": mask(first),
                                                           "scheduling_core": second}}]


def test_connections_live_where_poll_groups_may(tmp_path):
    if len(CPUS) < 2:
        pytest.skip("needs two CPUs")
    with Waiting(tmp_path, "-m", cpus(2)) as daemon:
        with pytest.raises(RpcError, match="poll_groups_mask"):
            daemon.rpc("nvmf_set_config", poll_groups_mask="[4000]")
        daemon.rpc("nvmf_set_config", poll_groups_mask=mask(CPUS[1]))
        daemon.rpc("framework_start_init")
        served = daemon.serve(daemon.malloc("disk0"))
        with Host(served.port, served.nqn, io_queues=3):
            threads = {q["thread"] for q in daemon.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn)}
            assert threads == {"reactor_1"}
        saved = daemon.rpc("save_subsystem_config", name="nvmf")["config"]
        assert {"method": "nvmf_set_config", "params": {"poll_groups_mask": mask(CPUS[1])}} in saved


def test_a_thread_runs_where_it_is_put(wide):
    """SPDK's ids: the control thread is 1."""
    threads = {t["name"]: t for t in wide.rpc("thread_get_stats")["threads"]}
    tids = {r["lcore"]: r["tid"] for r in wide.rpc("framework_get_reactors")["reactors"]}
    reactor = threads["reactor_1"]
    assert reactor["cpumask"] == mask(CPUS[1])
    assert wide.rpc("thread_set_cpumask", id=reactor["id"], cpumask=mask(CPUS[0])) is True
    assert os.sched_getaffinity(tids[CPUS[1]]) == {CPUS[0]}
    assert wide.rpc("thread_set_cpumask", id=reactor["id"], cpumask=f"[{CPUS[0]},{CPUS[1]}]") is True
    assert os.sched_getaffinity(tids[CPUS[1]]) == set(CPUS[:2])
    assert {t["name"]: t["cpumask"] for t in wide.rpc("thread_get_stats")["threads"]}["reactor_1"] == mask(*CPUS[:2])
    assert wide.rpc("thread_set_cpumask", id=threads["control"]["id"], cpumask=mask(CPUS[1])) is True
    assert os.sched_getaffinity(wide.pid) == {CPUS[1]}
    for bad in ({"id": 4, "cpumask": "1"}, {"id": 2, "cpumask": "0"}, {"id": 2, "cpumask": "[4000]"},
                {"id": 2, "cpumask": "somewhere"}):
        with pytest.raises(RpcError):
            wide.rpc("thread_set_cpumask", **bad)


def test_reactors_tell_of_nodes_and_messages(wide):
    for reactor in wide.rpc("framework_get_reactors")["reactors"]:
        assert isinstance(reactor["numa_id"], int)
        assert reactor["busy"] >= 0 and reactor["idle"] >= reactor["sleep"]
        assert reactor["message_depth"] <= 16 and reactor["message_depth_max"] >= 1
        assert reactor["message_age_ns"] <= 10 ** 10
        assert reactor["in_interrupt"] is False and reactor["parked"] is False


def test_a_connection_is_moved_by_hand(wide):
    served = wide.serve(wide.malloc("disk0"))
    with Host(served.port, served.nqn) as host:
        cntlid = wide.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn)[0]["cntlid"]
        data = os.urandom(4096)
        for qid in (1, 0):
            for cpu, name in ((CPUS[1], "reactor_1"), (CPUS[0], "reactor_0"), (CPUS[0], "reactor_0")):
                assert wide.rpc("nvmf_move_qpair", nqn=served.nqn, cntlid=cntlid, qid=qid, lcore=cpu) is True
                assert thread_of(wide, served, qid) == name
                must(host.io.write(0, data))
                assert host.io.read(0, 8) == data
        for bad in ({"qid": 9}, {"cntlid": 77}, {"lcore": 4000}, {"nqn": NQN + "x"}):
            params = {"nqn": served.nqn, "cntlid": cntlid, "qid": 1, "lcore": CPUS[0], **bad}
            with pytest.raises(RpcError):
                wide.rpc("nvmf_move_qpair", **params)


def test_a_connection_under_load_can_be_moved(wide):
    """It is never without commands in hand: it has to be kept from taking more."""
    served = wide.serve(wide.malloc("disk0", mib=64))
    with Load(wide, served, qpairs=2, depth=64, rate=0, seconds=4) as load:
        moves = 0
        while moves < 20:
            load.check()
            try:
                for q in wide.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn):
                    wide.rpc("nvmf_move_qpair", nqn=served.nqn, cntlid=q["cntlid"], qid=q["qid"],
                             lcore=CPUS[moves % 2])
                    moves += 1
            except RpcError as e:       # between two rounds of the load there is nobody
                assert "has no controller" in e.message or "went away" in e.message, e.message
        load.more_ios(1000)


def test_a_connection_with_slow_commands_stays_and_says_so(wide):
    """It cannot take along what a device has in hand, and its host must be heard."""
    wide.malloc("disk0")
    wide.rpc("bdev_delay_create", base_bdev_name="disk0", name="slow", avg_read_latency=2_000_000,
             p99_read_latency=2_000_000, avg_write_latency=0, p99_write_latency=0)
    served = wide.serve("slow")
    with Host(served.port, served.nqn) as host:
        cntlid = wide.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn)[0]["cntlid"]
        before = thread_of(wide, served, 1)
        other = CPUS[1] if before == "reactor_0" else CPUS[0]
        done = threading.Thread(target=lambda: host.io.read(0, 8))
        done.start()
        with pytest.raises(RpcError, match="took too long"):
            while True:     # until the read is with the device
                wide.rpc("nvmf_move_qpair", nqn=served.nqn, cntlid=cntlid, qid=1, lcore=other)
                before, other = thread_of(wide, served, 1), CPUS[0] if other == CPUS[1] else CPUS[1]
        assert thread_of(wide, served, 1) == before
        done.join()
        assert wide.rpc("nvmf_move_qpair", nqn=served.nqn, cntlid=cntlid, qid=1, lcore=other) is True
        assert host.io.read(0, 8) == bytes(4096)


@pytest.mark.parametrize("mode", ["adaptive", "poll", "interrupt"])
def test_time_is_busy_or_idle_whatever_the_mode(tmp_path, mode):
    """A scheduler that took spinning for work would flee from every polling core."""
    def account():
        reactor, = daemon.rpc("framework_get_reactors")["reactors"]
        thread = daemon.rpc("thread_get_stats")["threads"][0]
        assert thread["busy"] >= reactor["busy"] and thread["idle"] >= reactor["idle"]
        return reactor["busy"], reactor["idle"], time.monotonic_ns()

    with Daemon(tmp_path, "--mode", mode) as daemon:
        served = daemon.serve(daemon.malloc("disk0", mib=64))
        before = account()
        time.sleep(0.5)
        busy, idle, elapsed = (b - a for a, b in zip(before, account()))
        assert busy < idle / 4
        assert elapsed / 2 < busy + idle < elapsed * 2
        with Load(daemon, served, qpairs=2, depth=32, rate=0, seconds=2) as load:
            before = account()
            load.more_ios(5000)
            busy_at_work, idle, elapsed = (b - a for a, b in zip(before, account()))
        assert busy_at_work > 5000 * 200            # 200 ns for each is little
        assert elapsed / 2 < busy_at_work + idle < elapsed * 2
