# SPDX-License-Identifier: BSD-3-Clause
"""Somebody's SCSI command was slow an hour ago, and nobody knows which, whose, and where the time went; the same of
iSCSI sessions as of NVMe hosts (test_flight_recorder.py), and of a virtual machine's controller."""
import os
import time

import pytest

from gantry import Daemon, cpus, wait_until
from iscsi import ABORT_TASK, CHECK_CONDITION, TASK_COMPLETE, good, read_cdb, write_cdb
from scrape import Metrics
from test_trace import read_trace
from virtio_scsi import Scsi

SLOW_S = 0.4
SLOW = 2        # LUN of a device that takes a while
INITIATOR = "iqn.2026-11.test.initiator:slow"


@pytest.fixture(scope="module", autouse=True)
def slow_disk(iscsi):
    rpc = iscsi.daemon.rpc
    rpc("bdev_malloc_create", name="base", num_blocks=65536, block_size=512)
    rpc("bdev_delay_create", name="slow", base_bdev_name="base", avg_read_latency=100_000, p99_read_latency=100_000,
        avg_write_latency=100_000, p99_write_latency=100_000)
    rpc("iscsi_target_node_add_lun", name=iscsi.name, bdev_name="slow", lun_id=SLOW)


@pytest.fixture
def s(iscsi):
    with iscsi.session(initiator=INITIATOR) as session:
        session.clear_attentions(SLOW)
        iscsi.daemon.rpc("scsi_clear_slow_ios")     # the next one is its second's slowest
        yield session


def slow_ios(iscsi, **wanted):
    found = iscsi.daemon.rpc("scsi_get_slow_ios")["ios"]
    return [f for f in found if all(f.get(key) == value for key, value in wanted.items())]


def metrics(iscsi):
    time.sleep(0.6)     # METRICS_FRESH_MS
    return Metrics(iscsi.daemon.rpc("metrics_get"))


def blamed(doing, stage, why="slowest_of_second"):
    """What is kept of it, once this stage has nine tenths of its time: a busy machine is slow anywhere."""
    for _ in range(50):
        slow = doing()
        if slow["stages_ns"][stage] > 0.9 * slow["total_ns"] and why in slow["why"]:
            return slow
    raise AssertionError(f"never was {stage} to blame: {slow}")


def late_write(s, lba, data, wait_s=SLOW_S):
    """A write whose initiator takes its time to answer the R2T."""
    s.hold_r2t = True
    itt = s.submit(write_cdb(lba, len(data) // 512), data, immediate_data=0, unsolicited=0)
    _, ttt, offset, length = s.wait_r2t()
    time.sleep(wait_s)
    s.send_sequence(itt, ttt, offset, length)
    s.hold_r2t = False
    return s.wait(itt)


def test_a_slow_write_is_kept_with_its_names_and_stages(iscsi, s):
    def doing():
        for _ in range(100):                        # of which most are quick: the limit follows the mean
            s.read(0, 8)
        iscsi.daemon.rpc("scsi_clear_slow_ios")
        good(late_write(s, 16, bytes(65536)))
        found = wait_until(lambda: slow_ios(iscsi, lba=16), "the slow write")
        assert len(found) == 1, found
        return found[0]
    slow = blamed(doing, "receive", "limit")
    assert slow["opcode"] == "WRITE_16" and slow["num_blocks"] == 128 and slow["bytes"] == 65536
    assert slow["cdb"] == write_cdb(16, 128).hex()
    assert slow["initiator"] == INITIATOR and slow["target"] == iscsi.name and slow["session"].startswith("0x")
    assert (slow["lun"], slow["port"], slow["status"], slow["sense_key"]) == (0, 1, 0, 0)
    stages = slow["stages_ns"]
    assert stages["receive"] >= SLOW_S * 0.9e9, "the initiator was slow, and is to be blamed"
    assert abs(sum(stages.values()) - slow["total_ns"]) < 10_000
    assert "limit" in slow["why"] and "slowest_of_second" in slow["why"]
    assert abs(slow["at_us"] / 1e6 - time.time()) < 60


def test_a_slow_device_is_blamed(iscsi, s):
    """The same slowness as above, of the device: it is all in its stage."""
    def doing():
        iscsi.daemon.rpc("scsi_clear_slow_ios")
        good(s.write(32, bytes(4096), lun=SLOW))
        return wait_until(lambda: slow_ios(iscsi, lba=32, lun=SLOW), "the slow write")[0]
    slow = blamed(doing, "backend")
    assert slow["bdev_name"] == "slow" and slow["stages_ns"]["backend"] >= 90_000_000


def test_a_long_command_is_one_and_its_device_is_blamed(iscsi, s):
    """A command of several pieces would be counted as many, or the time between them as the device's."""
    data = os.urandom(4 << 20)
    good(s.write(0, data, lun=SLOW))
    slow = wait_until(lambda: slow_ios(iscsi, lba=0, lun=SLOW, bytes=4 << 20), "the long write")
    assert len(slow) == 1 and slow[0]["num_blocks"] == 8192
    assert slow[0]["stages_ns"]["backend"] >= 4 * 90_000_000
    assert abs(sum(slow[0]["stages_ns"].values()) - slow[0]["total_ns"]) < 100_000


def write_latency(iscsi, latency_us):
    for kind in ("avg_write", "p99_write"):
        iscsi.daemon.rpc("bdev_delay_update_latency", delay_bdev_name="slow", latency_type=kind, latency_us=latency_us)


def test_what_is_aborted_is_kept(iscsi, s):
    for latency_s in (1, 4, 16):                # it may be done before the abort comes
        write_latency(iscsi, latency_s * 1_000_000)
        iscsi.daemon.rpc("scsi_clear_slow_ios")
        itt = s.submit(write_cdb(48, 8), bytes(4096), lun=SLOW)
        if s.manage(ABORT_TASK, itt, SLOW) == TASK_COMPLETE:
            break
        good(s.wait(itt))
    write_latency(iscsi, 100_000)
    aborted = wait_until(lambda: slow_ios(iscsi, lba=48), "the aborted write")[0]
    assert "aborted" in aborted["why"]
    del s.outstanding[itt]


def test_a_command_whose_connection_is_lost_is_kept(iscsi):
    with iscsi.session(initiator=INITIATOR) as s:
        s.hold_r2t = True
        iscsi.daemon.rpc("scsi_clear_slow_ios")     # it would not be slow beside what others did in that second
        s.submit(write_cdb(40, 64), bytes(32768), immediate_data=0, unsolicited=0)
        s.wait_r2t()
        time.sleep(0.1)
        s.sock.close()
        lost = wait_until(lambda: slow_ios(iscsi, lba=40), "the lost write")[0]
    assert "connection_lost" in lost["why"] and lost["stages_ns"]["receive"] >= 90_000_000


def test_the_limit_is_set_and_the_recorder_emptied(iscsi, s):
    rpc = iscsi.daemon.rpc
    assert rpc("scsi_get_slow_ios")["adaptive"]
    rpc("scsi_set_slow_io_limit", limit_us=3600 * 1000 * 1000)

    def slowest():                              # unless another one of that second was slower still
        good(late_write(s, 8, bytes(16384), 0.05))
        return slow_ios(iscsi, lba=8)
    wait_until(slowest, "the slowest of its second", interval_s=1)
    assert {tuple(f["why"]) for f in slow_ios(iscsi, lba=8)} == {("slowest_of_second",)}
    assert not rpc("scsi_get_slow_ios")["adaptive"]
    rpc("scsi_clear_slow_ios")
    assert not slow_ios(iscsi)
    rpc("scsi_set_slow_io_limit", limit_us=0)


def test_commands_are_counted_by_host_lun_and_session(iscsi):
    """A graph that blames the wrong initiator, or LUN, is worse than none."""
    name = "iqn.2026-11.test.initiator:counted"
    before = metrics(iscsi).get("gantry_lun_bytes_total", target=iscsi.name, lun=0, op="read") or 0
    with iscsi.session(initiator=name) as s:
        s.clear_attentions(0)
        for _ in range(7):
            good(s.write(0, bytes(4096)))
        for _ in range(5):
            s.read(0, 16)
        assert s.command(read_cdb(1 << 31, 1), expect=512).status == CHECK_CONDITION
        m = wait_until(lambda: (now := metrics(iscsi)).get("gantry_host_errors_total", host=name) and now, "the counts")
        assert m.get("gantry_host_ios_total", host=name, op="write") == 7
        assert m.get("gantry_host_ios_total", host=name, op="read") == 5
        assert m.get("gantry_host_bytes_total", host=name, op="read") == 5 * 8192
        assert m.get("gantry_host_errors_total", host=name) >= 1
        assert m.get("gantry_session_ios_total", host=name, target=iscsi.name, op="write", port=1) == 7
        assert m.get("gantry_lun_bytes_total", target=iscsi.name, lun=0, op="read") == before + 5 * 8192
        assert m.get("gantry_scsi_errors_total", status=2, key=5, asc="21/00") >= 1
        counts = {stage: m.get("gantry_host_stage_seconds_count", host=name, stage=stage)
                  for stage in ("receive", "wait", "backend", "send")}
        assert len(set(counts.values())) == 1 and counts["send"] >= 13, counts
        assert s.logout() == 0
    wait_until(lambda: metrics(iscsi).get("gantry_session_ios_total", host=name) is None, "its session to be gone")
    assert metrics(iscsi).get("gantry_host_ios_total", host=name, op="write") == 7


def test_a_command_is_traced(iscsi, s):
    """Who follows a command step by step would see nothing of it."""
    rpc = iscsi.daemon.rpc
    groups = ("scsi", "iscsi_conn")
    for name in groups:
        rpc("trace_enable_tpoint_group", name=name)
    good(late_write(s, 0, bytes(16384), 0.01))
    lines = read_trace(rpc("trace_get_info")["tpoint_shm_path"])
    for name in groups:
        rpc("trace_disable_tpoint_group", name=name)
    for point in ("SCSI_START", "ISCSI_TASK_STATE", "SCSI_DONE"):
        assert any(point in line for line in lines), point


def test_a_virtual_machines_command_is_kept_too(tmp_path):
    """One layer, one recorder: a guest's slow command would be nobody's."""
    (tmp_path / "s").mkdir()
    with Daemon(tmp_path, "-m", cpus(1), "-S", tmp_path / "s") as daemon:
        daemon.malloc("under", mib=1, block_size=512)
        daemon.rpc("bdev_delay_create", name="slow", base_bdev_name="under", avg_read_latency=100_000,
                   p99_read_latency=100_000, avg_write_latency=0, p99_write_latency=0)
        daemon.rpc("vhost_create_scsi_controller", ctrlr="hba")
        daemon.rpc("vhost_scsi_controller_add_target", ctrlr="hba", scsi_target_num=2, bdev_name="slow")
        with Scsi(tmp_path / "s" / "hba", queues=2) as hba:
            hba.read(64, 8, target=2)
            slow = wait_until(lambda: [f for f in daemon.rpc("scsi_get_slow_ios")["ios"] if f.get("lba") == 64],
                              "the slow read")[0]
            m = Metrics(daemon.rpc("metrics_get"))
        assert slow["bdev_name"] == "slow" and slow["lun"] == 0 and slow["stages_ns"]["backend"] >= 90_000_000
        assert m.get("gantry_lun_ios_total", target=slow["target"], lun=0, op="read") == 1
