# SPDX-License-Identifier: BSD-3-Clause
"""Disks behind a virtio-scsi controller (bdev_virtio, dev_type scsi): found, used, plugged, unplugged, resized. The
server is a test's own, so that it says what is wanted when it is wanted."""
import json
import os
import struct
import subprocess

import pytest

from gantry import BUILD, Daemon, RpcError, cpus, wait_until
from nvme_tcp import IO_DSM, IO_FLUSH, Host, must, sqe
from vhost_back import ScsiBack
from virtio_scsi import RESET_REMOVED, RESET_RESCAN, TRANSPORT_RESET

MIB = 1 << 20
CAPACITY_CHANGED, POWER_ON = 0x2a09, 0x2900


@pytest.fixture
def back(tmp_path):
    with ScsiBack(tmp_path / "sock", {0: 8 * MIB, 5: 4 * MIB}) as back:
        yield back


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path, "-m", cpus(2)) as running:
        yield running
        print(f"--- the daemon's log\n{running.log_tail()}")


def attach(daemon, path, **more):
    return daemon.rpc("bdev_virtio_attach_controller", name="s", trtype="user", traddr=str(path), dev_type="scsi",
                      **more)


def sizes(daemon):
    return {b["name"]: b["num_blocks"] * b["block_size"] for b in daemon.rpc("bdev_get_bdevs")}


@pytest.fixture
def attached(daemon, back, tmp_path):
    back.attention(0, POWER_ON)
    back.attention(0, POWER_ON)
    assert attach(daemon, tmp_path / "sock") == ["st0", "st5"]
    return daemon


def test_what_is_found(attached):
    """A disk for each target, its size, what it can; the controller among the others."""
    assert sizes(attached) == {"st0": 8 * MIB, "st5": 4 * MIB}
    disk = attached.rpc("bdev_get_bdevs", name="st0")[0]
    assert disk["product_name"] == "Virtio SCSI Disk" and disk["physical_block_size"] == 4096
    assert disk["supported_io_types"]["unmap"] and disk["supported_io_types"]["flush"]
    (device,) = attached.rpc("bdev_virtio_scsi_get_devices")
    assert device["name"] == "s" and device["virtio"]["state"] == "up" and device["virtio"]["vq_count"] == 2


def test_io(attached, back):
    """Reads and writes over both cores, unmaps of more rows than a command takes, commands told of a reset."""
    served = attached.serve("st0", "st5")
    with Host(served.port, served.nqn, io_queues=2) as host:
        data = os.urandom(65536)
        for n in range(16):
            if n % 4 == 0:
                back.attention(0, POWER_ON)
            must(host.ios[n % 2].write(8 * n, data[4096 * n:4096 * (n + 1)]))
        must(host.io.command(sqe(IO_FLUSH, nsid=1)))
        assert b"".join(host.ios[1 - n % 2].read(8 * n, 8) for n in range(16)) == data
        ranges = b"".join(struct.pack("<IIQ", 0, 2, lba) for lba in range(0, 64, 8))
        must(host.io.command(sqe(IO_DSM, nsid=1, cdw10=7, cdw11=4), ranges))
        for lba in range(0, 64, 8):
            data = data[:lba * 512] + bytes(1024) + data[lba * 512 + 1024:]
        assert back.disks[0][:65536] == data
        must(host.io.write(0, b"5" * 512, nsid=2))
        assert back.disks[5][:512] == b"5" * 512


def test_verified_load(attached):
    """More than a queue holds, and larger than a command carries."""
    for io in (["-q", 64, "-o", "4k", "-d", 300], ["-q", 4, "-o", "256k", "-d", 100]):
        done = subprocess.run([BUILD / "gantry-perf", "-s", attached.socket, "--disk", "st0", "-w", "randrw", "-M",
                               "50", "--verify", "--json", "-t", "60", *map(str, io)], capture_output=True, text=True)
        result = json.loads(done.stdout.strip().splitlines()[-1])
        assert done.returncode == 0 and not result["errors"] and not result["miscompares"] and result["ios"], done


def test_plugged_and_unplugged(attached, back):
    """Events bring new disks, take old ones away, and leave the others alone."""
    back.disks[3] = bytearray(2 * MIB)
    back.event(TRANSPORT_RESET, 3, RESET_RESCAN)
    wait_until(lambda: sizes(attached) == {"st0": 8 * MIB, "st3": 2 * MIB, "st5": 4 * MIB}, "the new disk")
    del back.disks[0]
    back.event(TRANSPORT_RESET, 0, RESET_REMOVED)
    wait_until(lambda: sizes(attached) == {"st3": 2 * MIB, "st5": 4 * MIB}, "the disk to go")
    for n in range(6):                                 # more events than there are buffers
        back.disks[0] = bytearray((n + 1) * MIB)
        back.event(TRANSPORT_RESET, 0, RESET_RESCAN)
        wait_until(lambda n=n: sizes(attached).get("st0") == (n + 1) * MIB, "the disk with its new size")


def test_capacity_changed(attached, back):
    """A command that hears of it is done all the same, and the disk's users are told."""
    served = attached.serve("st0")
    with Host(served.port, served.nqn) as host:
        back.disks[0] += bytes(8 * MIB)
        back.attention(0, CAPACITY_CHANGED)
        must(host.io.write(0, b"x" * 512))
        wait_until(lambda: sizes(attached)["st0"] == 16 * MIB, "the new size")


def test_server_goes_and_comes_back(attached, back, tmp_path):
    """The same disks, as they are then; and I/O that waits."""
    back.disks[1] = bytearray(1 * MIB)
    del back.disks[5]
    back.hang_up()
    wait_until(lambda: sizes(attached) == {"st0": 8 * MIB, "st1": 1 * MIB}, "what is there now")
    assert attached.rpc("bdev_virtio_detach_controller", name="s") is True
    assert sizes(attached) == {} and attached.rpc("bdev_virtio_scsi_get_devices") == []


def test_no_disks_and_no_answers(daemon, tmp_path):
    """A controller without targets stays; one that answers no command is none."""
    with ScsiBack(tmp_path / "none", {}) as back:
        assert attach(daemon, tmp_path / "none") == []
        back.disks[0] = bytearray(MIB)
        back.event(TRANSPORT_RESET, 0, RESET_RESCAN)
        wait_until(lambda: sizes(daemon) == {"st0": MIB}, "the first disk")
        daemon.rpc("bdev_virtio_detach_controller", name="s")
    with ScsiBack(tmp_path / "mute", {0: MIB}) as back:
        back.execute = lambda out, into: threading_wait(back)
        with pytest.raises(RpcError, match="targets do not answer"):
            attach(daemon, tmp_path / "mute")
    assert sizes(daemon) == {} and daemon.rpc("bdev_virtio_scsi_get_devices") == []


def threading_wait(back):
    wait_until(lambda: back.ended, "the end of the test", 60)
    return 0


def test_saved_and_loaded(attached, tmp_path):
    """A controller comes back with its disks."""
    config = attached.rpc("save_config")
    uuids = {b["name"]: b["uuid"] for b in attached.rpc("bdev_get_bdevs")}
    attached.stop()
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "again").mkdir()
    with Daemon(tmp_path / "again", "-m", cpus(1), "-c", tmp_path / "config.json") as again:
        assert again.rpc("save_config") == config
        wait_until(lambda: sizes(again) == {"st0": 8 * MIB, "st5": 4 * MIB}, "the disks")
        assert {b["name"]: b["uuid"] for b in again.rpc("bdev_get_bdevs")} == uuids
    attached.start()


def test_of_another_gantryd(daemon, tmp_path):
    """The daemon's own controllers, from the other side: disks come, are resized and go while they are attached."""
    sockets = tmp_path / "vhost"
    (tmp_path / "server").mkdir()
    sockets.mkdir()
    with Daemon(tmp_path / "server", "-m", cpus(2), "-S", sockets) as server:
        server.malloc("m0", mib=32)
        server.malloc("m3", mib=16, block_size=4096)
        server.rpc("vhost_create_scsi_controller", ctrlr="hba")
        server.rpc("vhost_scsi_controller_add_target", ctrlr="hba", scsi_target_num=0, bdev_name="m0")
        assert attach(daemon, sockets / "hba") == ["st0"]
        assert daemon.rpc("bdev_get_bdevs")[0]["uuid"] == server.rpc("bdev_get_bdevs", name="m0")[0]["uuid"]
        server.rpc("vhost_scsi_controller_add_target", ctrlr="hba", scsi_target_num=3, bdev_name="m3")
        wait_until(lambda: sizes(daemon) == {"st0": 32 * MIB, "st3": 16 * MIB}, "the new disk")
        for name in ("st0", "st3"):
            done = subprocess.run([BUILD / "gantry-perf", "-s", daemon.socket, "--disk", name, "-w", "randrw", "-M",
                                   "50", "--verify", "-q", "32", "-o", "16k", "-d", "1000", "-t", "60", "--json"],
                                  capture_output=True, text=True)
            result = json.loads(done.stdout.strip().splitlines()[-1])
            assert done.returncode == 0 and not result["errors"] and not result["miscompares"] and result["ios"], done
        server.rpc("bdev_malloc_resize", name="m0", new_size=64)
        wait_until(lambda: sizes(daemon)["st0"] == 64 * MIB, "the new size")
        server.rpc("vhost_scsi_controller_remove_target", ctrlr="hba", scsi_target_num=3)
        wait_until(lambda: sizes(daemon) == {"st0": 64 * MIB}, "the disk to go")
