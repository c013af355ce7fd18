# SPDX-License-Identifier: BSD-3-Clause
"""A virtual machine's disk was slow, and nobody knows which request, and where its time went: the same of virtio-blk
as of NVMe hosts (test_flight_recorder.py) and SCSI commands (test_iscsi_flight_recorder.py)."""
import time

import pytest

from gantry import Daemon, cpus, wait_until
from scrape import Metrics
from test_trace import read_trace
from vhost_user import Memory
from virtio_blk import FLUSH, IN, IOERR, OUT, SECTOR, UNSUPP, Blk

LATENCY_US = 200_000
STAGES = ("receive", "wait", "backend", "send")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    directory = tmp_path_factory.mktemp("vhost_slow")
    latency = {f"{p}_{kind}_latency": LATENCY_US for p in ("avg", "p99") for kind in ("read", "write")}
    with Daemon(directory, "-m", cpus(2), "-S", directory) as daemon:
        for name in ("ram", "under", "dead"):
            daemon.malloc(name, mib=16, block_size=SECTOR)
        daemon.tell("bdev_delay_create", base_bdev_name="under", name="slow", **latency)
        daemon.tell("bdev_error_create", base_name="dead")
        for ctrlr, disk in (("vm", "ram"), ("slow-vm", "slow")):
            daemon.tell("vhost_create_blk_controller", ctrlr=ctrlr, dev_name=disk)
        yield daemon
        daemon.check_alive()


@pytest.fixture(autouse=True)
def empty(daemon):
    daemon.rpc("vhost_clear_slow_ios")


def slow_ios(daemon, **wanted):
    found = daemon.rpc("vhost_get_slow_ios")["ios"]
    return [f for f in found if all(f.get(key) == value for key, value in wanted.items())]


def metrics(daemon):
    time.sleep(0.6)     # METRICS_FRESH_MS
    return Metrics(daemon.rpc("metrics_get"))


def test_a_slow_disk_is_blamed(daemon):
    """By name, with the request that it was."""
    with Blk(daemon.directory / "slow-vm", queues=2) as disk:
        disk.write(24, bytes(4096), queue=1)
        slow = wait_until(lambda: slow_ios(daemon, sector=24), "the slow write")
        assert len(slow) == 1
        (slow,) = slow
        assert (slow["opcode"], slow["type"], slow["bytes"]) == ("write", OUT, 4096)
        assert (slow["ctrlr"], slow["bdev_name"], slow["queue"], slow["status"]) == ("slow-vm", "slow", 1, 0)
        stages = slow["stages_ns"]
        assert stages["backend"] >= LATENCY_US * 900 and "slowest_of_second" in slow["why"]
        assert sum(stages.values()) == slow["total_ns"]
        assert abs(slow["at_us"] / 1e6 - time.time()) < 60


def test_a_long_request_is_one(daemon):
    """Of three pieces, whose device is blamed for all three, and not for the time between them."""
    layout = [(gpa, size if gpa == 0 else 32 << 20) for gpa, size in Memory.DEFAULT]
    with Blk(daemon.directory / "slow-vm", memory=Memory(layout)) as disk:
        disk.write(0, bytes(12 << 20))
        (slow,) = wait_until(lambda: slow_ios(daemon, bytes=12 << 20), "the long write")
        assert slow["stages_ns"]["backend"] >= 3 * LATENCY_US * 900 and slow["stages_ns"]["send"] == 0


def test_what_was_given_up_is_kept(daemon):
    """It is aborted, and left for who starts the queue next."""
    daemon.tell("vhost_create_blk_controller", ctrlr="dead-vm", dev_name="EE_dead", patience_ms=300)
    daemon.tell("bdev_error_inject_error", name="EE_dead", io_type="all", error_type="pending", num=1000)
    with Blk(daemon.directory / "dead-vm", inflight=True) as disk:
        write = disk.submit(OUT, 48, out=bytes(4096))
        wait_until(lambda: any(s["inflight_task_cnt"] for c in daemon.rpc("vhost_get_controllers", name="dead-vm")
                               for s in c["sessions"]), "the write to be taken")
        disk.stop()
        (slow,) = wait_until(lambda: slow_ios(daemon, sector=48), "the aborted write")
        assert "aborted" in slow["why"]
        assert metrics(daemon).get("gantry_vhost_errors_total", status="left for later") == 1
        daemon.tell("bdev_error_inject_error", name="EE_dead", io_type="clear", error_type="failure")
        disk.queues[0].start(disk.front)
        disk.wait(write)
    daemon.tell("vhost_delete_controller", ctrlr="dead-vm")


def test_the_limit_is_set(daemon):
    assert daemon.rpc("vhost_get_slow_ios")["adaptive"]
    daemon.tell("vhost_set_slow_io_limit", limit_us=LATENCY_US // 2)
    with Blk(daemon.directory / "slow-vm") as disk:
        for sector in (8, 16, 32):                  # the first is compared with the old limit
            disk.read(sector, SECTOR)
    wait_until(lambda: any("limit" in f["why"] for f in slow_ios(daemon, opcode="read")), "what is above the limit")
    assert not daemon.rpc("vhost_get_slow_ios")["adaptive"]
    daemon.rpc("vhost_clear_slow_ios")
    assert not slow_ios(daemon)
    daemon.tell("vhost_set_slow_io_limit", limit_us=0)


def test_requests_are_counted_by_controller_and_queue(daemon):
    """A queue's counts go with it, those of its controller stay, over moves too."""
    host = {"host": "vm"}
    with Blk(daemon.directory / "vm", queues=2) as disk:
        (session,) = daemon.rpc("vhost_get_controllers", name="vm")[0]["sessions"]
        cores = len(cpus(2).strip("[]").split(","))
        for n in range(12):
            disk.write(n, bytes(SECTOR), queue=n % 2)
            if n == 6:
                to = (session["queues"][0]["reactor"] + 1) % cores
                daemon.rpc("vhost_move_queue", ctrlr="vm", id=session["id"], queue=0, reactor=to)
        for n in range(5):
            disk.read(n, 8 * SECTOR, queue=0)
        disk.do(FLUSH)
        assert disk.wait(disk.submit(IN, 1 << 40, want=SECTOR)) == IOERR
        assert disk.wait(disk.submit(99, 0, want=SECTOR)) == UNSUPP
        m = metrics(daemon)
        assert [m.get("gantry_host_ios_total", op=op, **host) for op in ("read", "write", "other")] == [5, 12, 1]
        assert m.get("gantry_host_bytes_total", op="read", **host) == 5 * 8 * SECTOR
        assert m.get("gantry_host_bytes_total", op="write", **host) == 12 * SECTOR
        assert m.get("gantry_host_errors_total", **host) == 2
        assert m.get("gantry_vhost_queue_ios_total", queue=1, bdev="ram", op="write", **host) == 6
        assert {m.get("gantry_host_stage_seconds_count", stage=stage, **host) for stage in STAGES} == {20}
        assert m.get("gantry_vhost_queue_stage_seconds_count", queue=1, stage="backend", **host) == 6
        assert m.get("gantry_vhost_errors_total", status="io error") >= 1
        assert m.get("gantry_vhost_errors_total", status="unsupported") >= 1
    wait_until(lambda: metrics(daemon).get("gantry_vhost_queue_ios_total", queue=1, **host) is None, "its end")
    assert metrics(daemon).get("gantry_host_ios_total", op="write", **host) == 12


def test_a_request_is_traced(daemon):
    daemon.rpc("trace_enable_tpoint_group", name="vhost_blk")
    with Blk(daemon.directory / "vm") as disk:
        disk.read(0, SECTOR)
    lines = read_trace(daemon.rpc("trace_get_info")["tpoint_shm_path"])
    daemon.rpc("trace_disable_tpoint_group", name="vhost_blk")
    for point in ("VHOST_START", "VHOST_DONE"):
        assert any(point in line for line in lines), point
