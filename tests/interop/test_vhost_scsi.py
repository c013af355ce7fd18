# SPDX-License-Identifier: BSD-3-Clause
"""Linux's virtio-scsi driver in a QEMU guest, its controller served over vhost-user with two queues. Disks are files,
so that what is discarded can be seen, and what was written outlives the daemon. (QEMU 7.2 does not tell a
vhost-user-scsi device of packed rings, though it offers them to the guest.)"""
import re
import subprocess

import pytest

import guest as guests
from client import FIO, fio_result
from gantry import Daemon, cpus, wait_until
from vhost_guest import VhostGuest, scsi, standing

MIB = 64
SLOW_S = 180    # the guest is emulated, and the machine has other things to do
VERIFY = "--verify=crc32c --verify_fatal=1 --do_verify=1"
NAMES = ("hba",)


def reconnects():
    """Only newer machines connect a SCSI controller again."""
    version = re.search(r"version (\d+)", subprocess.run([guests.QEMU, "--version"], capture_output=True, text=True,
                                                         check=True).stdout)
    return int(version[1]) >= 9


class Server:
    """The daemon, its controllers, and their disks: <controller>-<target>."""

    def __init__(self, directory):
        self.sockets = directory / "s"
        self.sockets.mkdir()
        self.directory = directory
        self.daemon = Daemon(directory, "-m", cpus(2), "-S", self.sockets)

    def image(self, name, target):
        return self.directory / f"{name}-{target}"

    def add(self, name, target, mib=MIB):
        disk, image = f"{name}-{target}", self.image(name, target)
        if not image.exists():
            with open(image, "wb") as f:
                f.truncate(mib << 20)
        self.daemon.rpc("bdev_aio_create", name=disk, filename=str(image), block_size=512)
        return self.daemon.rpc("vhost_scsi_controller_add_target", ctrlr=name, scsi_target_num=target, bdev_name=disk)

    def remove(self, name, target):
        self.daemon.rpc("vhost_scsi_controller_remove_target", ctrlr=name, scsi_target_num=target)
        self.daemon.rpc("bdev_aio_delete", name=f"{name}-{target}")

    def start(self):
        if self.daemon.process is None:
            self.daemon.start()
        for name in NAMES:
            self.daemon.rpc("vhost_create_scsi_controller", ctrlr=name, delay=True)
            self.add(name, 0)
            self.daemon.rpc("vhost_start_scsi_controller", ctrlr=name)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    try:
        with VhostGuest(tmp_path_factory.mktemp("guest"), [
                scsi("hba", server.sockets / "hba", queues=2, reconnect=reconnects())]) as guest:
            guest.server = server
            guest.run("modprobe virtio_scsi; modprobe sg")
            yield guest
        server.daemon.stop()
    finally:
        server.daemon.kill()


@pytest.fixture(params=NAMES)
def hba(request, machine):
    machine.mark_console()
    yield request.param
    print(f"--- the guest's console\n{machine.console_tail(60)}\n--- the log\n{machine.server.daemon.log_tail()}\n"
          f"--- where they stand\n{standing(machine, machine.server.daemon)}")
    machine.server.daemon.check_alive()


def places(machine, name, target):
    """Where the guest's kernel has a unit, as a pattern."""
    return f"/sys/bus/pci/devices/{machine.address_of(name)}/virtio*/host*/target*:0:{target}/*:0:{target}:0/block/sd*"


def disk_of(machine, name, target=0):
    """The guest's name of a disk, when it is there."""
    there = f"ls -d {places(machine, name, target)}"
    return machine.run(f"disk_there() {{ {there}; }}; until_true 60 disk_there; "
                       "echo /dev/$(basename $(disk_there))").split()[-1]


def wait_gone(machine, name, target):
    machine.run(f"gone() {{ ! ls -d {places(machine, name, target)}; }}; until_true 60 gone")


def test_what_is_written_is_read_back(machine, hba):
    """Data would be lost or torn: small and large, from both of the guest's processors."""
    disk = disk_of(machine, hba)
    for more in ("--bs=4k --iodepth=16 --size=1m --numjobs=2 --offset_increment=16m",
                 "--bsrange=4k-512k --blockalign=4k --iodepth=4 --size=12m"):
        result = fio_result(machine.fio(disk, f"--rw=randrw {more} {VERIFY}").wait(SLOW_S))
        assert result["error"] == 0 and result["write"]["total_ios"] > 20, result


def test_the_kernel_sees_what_it_is(machine, hba):
    """Names, size, the one LUN, discard that gives back."""
    disk = disk_of(machine, hba)
    out = machine.run(f"blockdev --getsize64 {disk}; sg_inq {disk}; sg_luns {disk}; sg_vpd -p di {disk}; "
                      f"cat /sys/block/{disk[5:]}/queue/discard_max_bytes; sg_turs -v {disk}")
    assert out.split()[0] == str(MIB << 20)
    assert "LUN list length = 8 which imples 1 lun" in out or "1 lun" in out, out
    assert "naa.3" in out and "UUID" in out.upper(), out
    image = machine.server.image(hba, 0)
    machine.run(f"dd if=/dev/urandom of={disk} bs=1M count=8 oflag=direct status=none")
    full = image.stat().st_blocks
    machine.run(f"blkdiscard -l 8M {disk}; cmp -n 8388608 {disk} /dev/zero")
    assert image.stat().st_blocks * 512 <= full * 512 - (7 << 20), "what was discarded still takes room"


def test_hot_plug_unplug_and_resize(machine, hba):
    """A disk comes, grows, and goes, and the guest sees each by itself."""
    server = machine.server
    server.add(hba, 200, mib=16)
    disk = disk_of(machine, hba, 200)
    machine.run(f"echo hello | dd of={disk} bs=512 conv=sync oflag=direct status=none")
    assert server.image(hba, 200).read_bytes()[:5] == b"hello"
    with open(server.image(hba, 200), "r+b") as f:
        f.truncate(48 << 20)
    server.daemon.rpc("bdev_aio_rescan", name=f"{hba}-200")
    machine.run(f"grown() {{ [ $(blockdev --getsize64 {disk}) = {48 << 20} ]; }}; until_true 60 grown")
    server.remove(hba, 200)
    wait_gone(machine, hba, 200)
    server.image(hba, 200).unlink()


def test_a_disk_is_pulled_under_io(machine, hba):
    """I/O to it ends with errors, and no other disk's."""
    server = machine.server
    server.add(hba, 3, mib=16)
    gone, stays = disk_of(machine, hba, 3), disk_of(machine, hba)
    jobs = [machine.start(f"{FIO} --name=load --filename={disk} --rw=randrw --bs=4k --iodepth=8 --size=8m --loops=1000 "
                          f"--runtime={seconds} --time_based > /tmp/fio{n}.out 2>&1")
            for n, (disk, seconds) in enumerate([(gone, 60), (stays, 3)])]
    machine.goes_on(gone, jobs[0], ios=100)
    server.remove(hba, 3)
    assert jobs[0].wait(SLOW_S, check=False) is not None
    jobs[1].wait(SLOW_S)
    wait_gone(machine, hba, 3)
    server.image(hba, 3).unlink()


def test_resets_under_io(machine, hba):
    """Of the unit and of the target: I/O goes on behind them."""
    disk = disk_of(machine, hba)
    job = machine.start(f"{FIO} --name=load --filename={disk} --rw=randrw --bs=4k --iodepth=8 --size=8m --time_based "
                        f"--runtime=4 {VERIFY}")
    machine.goes_on(disk, job, ios=50)
    for _ in range(3):
        machine.run(f"sg_reset -N -d {disk}")
    assert fio_result(job.wait(SLOW_S))["error"] == 0


def test_driver_is_unbound_under_io(machine, hba):
    """The driver resets the device with requests in flight, and takes it up again."""
    disk = disk_of(machine, hba)
    job = machine.start(f"{FIO} --name=load --filename={disk} --rw=randrw --bs=4k --iodepth=8 --size=8m --time_based "
                        "--runtime=60 > /tmp/fio.out 2>&1")
    machine.goes_on(disk, job, ios=50)
    machine.run(f"""
        device=$(basename $(ls -d /sys/bus/pci/devices/{machine.address_of(hba)}/virtio*))
        cd /sys/bus/virtio/drivers/virtio_scsi; echo $device > unbind; echo $device > bind""", timeout_s=SLOW_S)
    job.wait(SLOW_S, check=False)
    disk = disk_of(machine, hba)
    machine.run(f"dd if={disk} of=/dev/null bs=64k count=16 iflag=direct status=none")


@pytest.mark.skipif(not reconnects(), reason="this QEMU does not connect vhost-user-scsi again")
def test_server_is_killed_and_comes_back(machine, hba):
    """To the guest a restart is a pause: no error, no lost write."""
    server, disk = machine.server, disk_of(machine, hba)
    job = machine.start(f"{FIO} --name=load --filename={disk} --rw=randrw --bs=4k --iodepth=8 --size=8m --loops=20 "
                        f"{VERIFY}")
    machine.goes_on(disk, job)
    server.daemon.kill()
    server.start()
    machine.goes_on(disk, job)
    job.wait(SLOW_S)
    wait_until(lambda: server.daemon.rpc("vhost_get_controllers"), "the daemon")
