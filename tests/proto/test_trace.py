# SPDX-License-Identifier: BSD-3-Clause
"""What happened last, read from shared memory: also of a daemon that died."""
import os
import subprocess
from pathlib import Path

import pytest

from gantry import BUILD, Daemon, RpcError
from nvme_tcp import Host, must


def read_trace(path):
    done = subprocess.run([BUILD / "gantry-trace", "-f", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def work(daemon):
    served = daemon.serve(daemon.malloc("disk"))
    with Host(served.port, served.nqn) as host:
        must(host.io.write(4096, bytes(4096)))


def test_groups_are_switched_and_read(daemon):
    info = daemon.rpc("trace_get_info")
    path = Path(info["tpoint_shm_path"])
    assert not path.exists() and info["tpoint_group_mask"] == "0x0"
    daemon.rpc("trace_enable_tpoint_group", name="bdev")
    groups = daemon.rpc("trace_get_tpoint_group_mask")
    assert groups["bdev"]["enabled"] and not groups["sock"]["enabled"]
    assert [p["name"] for p in groups["bdev"]["tpoints"]] == ["IO_SUBMIT", "IO_DONE"]
    assert path.stat().st_mode & 0o777 == 0o600
    work(daemon)
    lines = read_trace(path)
    assert sum("IO_SUBMIT" in line and "lba 4096" in line for line in lines) == 1
    assert not any("SOCK_" in line for line in lines)
    daemon.rpc("trace_disable_tpoint_group", name="bdev")
    daemon.rpc("trace_set_tpoint_mask", name="sock", tpoint_mask=1)
    assert daemon.rpc("trace_get_info")["sock"]["tpoint_mask"] == "0x1"
    daemon.rpc("bdev_get_bdevs")
    assert any("SOCK_RECV" in line for line in read_trace(path))
    daemon.rpc("trace_clear_tpoint_mask", name="sock", tpoint_mask=1)
    assert daemon.rpc("trace_get_info")["tpoint_group_mask"] == "0x0"
    with pytest.raises(RpcError, match="no trace group"):
        daemon.rpc("trace_enable_tpoint_group", name="nonsense")
    daemon.stop()
    assert not path.exists()


def test_a_dead_daemons_trace_is_still_there(tmp_path):
    daemon = Daemon(tmp_path, "-e", "nvmf_tcp").start()
    path = Path(daemon.rpc("trace_get_info")["tpoint_shm_path"])
    try:
        work(daemon)
        daemon.kill()
        lines = read_trace(path)
        assert any("REQ_START" in line for line in lines) and any("REQ_STATE" in line for line in lines)
    finally:
        path.unlink(missing_ok=True)


def test_two_daemons_of_one_id_do_not_share_a_file(tmp_path):
    """The second one is told; a file that a dead one left is taken over, and one that is in use stays what it is."""
    for name in "ab":
        (tmp_path / name).mkdir()
    shm_id = os.getpid() % 30000 + 30000
    path = Path(f"/dev/shm/gantry_trace.{shm_id}")
    first = Daemon(tmp_path / "a", "-i", shm_id, "-e", "nvmf_tcp").start()
    with Daemon(tmp_path / "b", "-i", shm_id) as second:
        with pytest.raises(RpcError, match=f"in use by process {first.pid}; start one .* another -i"):
            second.rpc("trace_enable_tpoint_group", name="sock")
        work(first)
        assert any("REQ_START" in line for line in read_trace(path))
        first.kill()
        second.rpc("trace_enable_tpoint_group", name="sock")
        second.rpc("bdev_get_bdevs")
        assert any("SOCK_RECV" in line for line in read_trace(path))
    assert not list(Path("/dev/shm").glob(f"gantry_trace.{shm_id}*"))


def test_what_is_no_trace_file_is_refused(tmp_path):
    bad = tmp_path / "bad"
    for content in (b"", bytes(100), b"GANTRYTR" + bytes(100), b"GANTRYTR" + b"\xff" * 200000):
        bad.write_bytes(content)
        done = subprocess.run([BUILD / "gantry-trace", "-f", bad], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "is not a trace file" in done.stderr
