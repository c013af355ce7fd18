# SPDX-License-Identifier: BSD-3-Clause
"""The target over NVMe/RDMA as an administrator meets it: on a machine without adapters, and over an rdma-core that
only pretends (bench/fake_verbs), with a host in it that reads, writes and compares."""
import json
import os
import subprocess
import time

import pytest

from gantry import BUILD, NQN, Daemon, RpcError, cpus, free_port, wait_until
from load import wakeups
from scrape import scrape

FAKE = BUILD / "bench" / "fake_verbs"
ADDRESS = {"trtype": "RDMA", "adrfam": "IPv4", "traddr": "10.0.0.1", "trsvcid": "4420"}
OPTIONS = {"max_queue_depth": 64, "max_io_size": 65536, "in_capsule_data_size": 8192, "max_srq_depth": 512,
           "no_srq": False, "num_cqe": 2048, "acceptor_backlog": 7, "no_wr_batching": True, "data_wr_pool_size": 99,
           "io_unit_size": 8192, "num_shared_buffers": 4095}
PER_DEVICE = ["name", "polls", "idle_polls", "completions", "requests", "request_latency", "pending_free_request",
              "pending_rdma_read", "pending_rdma_write", "pending_rdma_send", "total_send_wrs",
              "send_doorbell_updates", "total_recv_wrs", "recv_doorbell_updates"]     # SPDK's


@pytest.fixture
def fake(monkeypatch):
    """An adapter; with fake(...) a host that connects when something listens."""
    if not (FAKE / "libibverbs.so.1").exists():
        pytest.skip("built without rdma-core")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(FAKE))

    def host(**settings):
        monkeypatch.setenv("FAKE_VERBS_HOST", NQN)
        for name, value in settings.items():
            monkeypatch.setenv(f"FAKE_VERBS_{name}", str(value))
    return host


def serve(daemon, **options):
    daemon.tell("nvmf_create_transport", trtype="RDMA", **options)
    daemon.tell("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
    daemon.tell("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": daemon.malloc("disk", mib=16)})
    daemon.tell("nvmf_subsystem_add_listener", nqn=NQN, listen_address=ADDRESS)


def stats(daemon):
    """Summed over cores."""
    total = {}
    for group in daemon.rpc("nvmf_get_stats")["poll_groups"]:
        for key, value in group["transports"][0].items():
            if isinstance(value, int):
                total[key] = total.get(key, 0) + value
    return total


def test_a_machine_without_adapters_says_so_in_one_sentence(tmp_path):
    """No error at start, none until it is asked for."""
    if os.path.isdir("/sys/class/infiniband") and os.listdir("/sys/class/infiniband"):
        pytest.skip("this machine has an adapter")
    with Daemon(tmp_path) as daemon:
        with pytest.raises(RpcError) as said:
            daemon.rpc("nvmf_create_transport", trtype="RDMA")
        assert "RDMA" in said.value.message and "\n" not in said.value.message
        with pytest.raises(RpcError) as said:
            daemon.rpc("nvmf_create_transport", trtype="FC")
        assert "TCP and RDMA" in said.value.message
        daemon.transport()


def test_an_adapter_that_cannot_be_opened_hides_no_other(tmp_path, fake, monkeypatch):
    """The log names it; the one that can be opened serves."""
    monkeypatch.setenv("FAKE_VERBS_SHUT", "1")
    fake(WORKLOAD="read", QD=8, PAUSE_US=200)
    with Daemon(tmp_path) as daemon:
        serve(daemon)
        wait_until(lambda: stats(daemon)["requests"] > 10, "requests", 60)
        said = "adapter fake1 cannot be opened: Permission denied"
        wait_until(lambda: said in daemon.log(), "the log to name it", 60)


def test_options_are_shown_and_saved(tmp_path, fake):
    with Daemon(tmp_path) as daemon:
        serve(daemon, **OPTIONS)
        shown, = daemon.rpc("nvmf_get_transports", trtype="rdma")
        assert {k: shown[k] for k in OPTIONS} == OPTIONS
        assert "c2h_success" not in shown and "sock_priority" not in shown
        there = next(s for s in daemon.rpc("nvmf_get_subsystems") if s["nqn"] == NQN)
        assert there["listen_addresses"] == [ADDRESS]
        saved = daemon.rpc("framework_get_config", name="nvmf")
    with Daemon(tmp_path) as daemon:
        daemon.malloc("disk", mib=16)
        for call in saved:
            daemon.rpc(call["method"], **call["params"])
        assert daemon.rpc("framework_get_config", name="nvmf") == saved


@pytest.mark.parametrize("buffers, told", [(4096, True), (256, False)])
def test_who_counted_on_more_buffers_than_there_are_is_told(tmp_path, fake, buffers, told):
    """num_shared_buffers of io_unit_size, 128 KiB, and 40 MiB that --memory has for data."""
    with Daemon(tmp_path, "--memory", "64M") as daemon:
        serve(daemon, num_shared_buffers=buffers)
        said = "num_shared_buffers: 4096 of 131072 bytes are 512 MiB, and all transports share 40 MiB"
        assert (said in daemon.log()) == told


@pytest.mark.parametrize("options", [{"max_io_size": 1000}, {"max_io_size": 4 << 20}, {"in_capsule_data_size": 4097},
                                     {"max_srq_depth": 1}, {"num_cqe": 1}])
def test_options_that_cannot_be_are_refused(tmp_path, fake, options):
    with Daemon(tmp_path) as daemon:
        with pytest.raises(RpcError) as said:
            daemon.rpc("nvmf_create_transport", trtype="RDMA", **options)
        assert next(iter(options)) in said.value.message
        assert daemon.rpc("nvmf_get_transports") == []


@pytest.mark.parametrize("options", [{"max_queue_depth": 16, "max_io_size": 16384}, {"in_capsule_data_size": 0}])
def test_a_host_reads_what_it_wrote(tmp_path, fake, options):
    fake(WORKLOAD="verify", COMMANDS=5000, QPAIRS=2, QD=options.get("max_queue_depth", 128) - 1, BYTES=16384,
         REPORT=tmp_path / "report")
    with Daemon(tmp_path) as daemon:
        serve(daemon, **options)
        wait_until((tmp_path / "report").exists, "the host to have done it", 120)
        report = wait_until(lambda: (tmp_path / "report").read_text(), "its report")
        assert json.loads(report)["errors"] == 0
        total = stats(daemon)
        assert total["requests"] >= 5000 and total["remembered"] == 0 and total["failed"] == 0


def test_statistics_are_told_as_spdk_does(tmp_path, fake):
    fake(WORKLOAD="read", QD=8, PAUSE_US=200)
    with Daemon(tmp_path) as daemon:
        serve(daemon)
        wait_until(lambda: stats(daemon)["requests"] > 100, "requests", 60)
        used = [g["transports"][0] for g in daemon.rpc("nvmf_get_stats")["poll_groups"]]
        assert all(t["trtype"] == "RDMA" for t in used)
        devices = [d for t in used for d in t["devices"]]
        assert devices and all(set(PER_DEVICE) <= set(d) for d in devices)
        assert sum(d["completions"] for d in devices) and sum(d["total_send_wrs"] for d in devices)
        queues = daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN)
        assert {q["qid"] for q in queues} == {0, 1}
        assert all(q["listen_address"]["trtype"] == "RDMA" for q in queues)


def test_a_wait_that_goes_on_is_counted_named_and_an_alarm(tmp_path, fake):
    """Work requests for one command, for a host that has 127: by nvmf_get_stats, by Prometheus, in the log."""
    wait = {"wait": "the RDMA send queue"}
    fake(WORKLOAD="read", QD=127, PAUSE_US=1000)
    with Daemon(tmp_path) as daemon:
        port = free_port()
        daemon.rpc("metrics_start_server", port=port)
        serve(daemon, data_wr_pool_size=1)
        wait_until(lambda: stats(daemon).get("pending_rdma_write", 0) > 1000, "answers that wait", 60)
        seen = scrape(port)
        assert seen.get("gantry_waits_total", **wait) > 1000
        assert seen.get("gantry_wait_seconds_total", **wait) > 0
        wait_until(lambda: scrape(port).get("gantry_wait_alarm", **wait) == 1, "the alarm", 120)
        wait_until(lambda: "requests keep waiting for the RDMA send queue" in daemon.log(), "the log to say it", 60)
        assert stats(daemon)["remembered"] == 0


def test_a_queue_pair_that_cannot_move_says_why(tmp_path, fake):
    fake(WORKLOAD="read", QD=4, PAUSE_US=1000)
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("needs two CPUs")
    with Daemon(tmp_path, "-m", cpus(2)) as daemon:
        serve(daemon)
        queues = wait_until(lambda: [q for q in daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN) if q["qid"]],
                            "a queue", 60)
        here = int(queues[0]["thread"].split("_")[1])
        with pytest.raises(RpcError) as said:
            daemon.rpc("nvmf_move_qpair", nqn=NQN, cntlid=queues[0]["cntlid"], qid=1, lcore=cores[1 - here])
        assert "cannot move" in said.value.message


def test_a_quiet_connection_costs_nothing(tmp_path, fake):
    """Its completion queue wakes its core, and nothing else does."""
    fake(WORKLOAD="read", QD=1, PAUSE_US=1000000)
    with Daemon(tmp_path) as daemon:
        serve(daemon)
        wait_until(lambda: stats(daemon)["requests"] > 5, "the host to have connected", 60)

        def asleep():
            before = wakeups(daemon)["reactor_0"]
            time.sleep(2)
            return wakeups(daemon)["reactor_0"]["sleeps"] - before["sleeps"] <= 30  # a command a second
        wait_until(asleep, "two seconds of sleep", 60)


def test_the_cli_serves_over_rdma(tmp_path, fake):
    with Daemon(tmp_path) as daemon:
        daemon.malloc("disk0", mib=16)

        def gantry(*words):
            return subprocess.run([BUILD / "gantry", "-s", daemon.socket, *words], capture_output=True, text=True,
                                  timeout=60)
        missing = gantry("export", "disk", "disk0", "--rdma")
        assert missing.returncode == 2 and "--listen" in missing.stderr
        done = gantry("export", "disk", "disk0", "--rdma", "--listen", "10.0.0.1")
        assert done.returncode == 0, done.stderr
        assert "modprobe nvme-rdma" in done.stdout
        assert "nvme connect -t rdma -a 10.0.0.1 -s 4420 -n nqn.2016-06.io.gantry:disk0" in done.stdout
        assert "RDMA" in gantry("status").stdout
