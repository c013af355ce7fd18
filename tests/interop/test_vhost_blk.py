# SPDX-License-Identifier: BSD-3-Clause
"""Linux's virtio-blk driver in a QEMU guest, its disks served over vhost-user by gantryd; or, for a second opinion on
the test, by QEMU's storage daemon: VHOST_SERVER=qemu-storage-daemon."""
import time

import pytest

import guest as guests
from client import FIO, fio_result
from scrape import Metrics
from vhost_guest import VhostGuest, blk, standing
from vhost_servers import Gantryd, servers

MIB = 64
SLOW_S = 180    # the guest is emulated, and the machine has other things to do
METRICS_FRESH_S = 0.6
VERIFY = "--verify=crc32c --verify_fatal=1 --do_verify=1"


@pytest.fixture(scope="module", params=servers(), ids=lambda s: s.name)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def machine(kind, tmp_path_factory):
    """A guest with a disk of one queue, one of two, one that cannot be written, and where the server has them one with
    packed rings. Each has a server of its own: to be killed."""
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    rows = {"one": {"queues": 1}, "two": {"queues": 2}, "read-only": {"queues": 1}}
    if "packed" not in kind.lacks:
        rows["packed"] = {"queues": 2, "packed": True}
    running = {}
    try:
        for name, row in rows.items():
            directory = tmp_path_factory.mktemp(name)
            options = {"readonly": True} if name == "read-only" else {}
            running[name] = kind(directory, MIB, queues=row["queues"], **options)
            running[name].start()
        with VhostGuest(tmp_path_factory.mktemp("guest"),
                        [blk(name, running[name].path, **row) for name, row in rows.items()]) as guest:
            guest.servers = running
            yield guest
        for server in running.values():
            server.stop()
    finally:
        for server in running.values():
            server.kill()


@pytest.fixture(params=["one", "two", "packed"])
def disk(request, machine):
    """The guest's name of it."""
    if request.param not in machine.servers:
        pytest.skip("the server has no packed rings")
    machine.mark_console()
    name = machine.disk_of(request.param)
    machine.name = request.param
    yield name
    server = machine.servers[request.param]
    print(f"--- the guest's console\n{machine.console_tail(60)}\n"
          f"--- the server's log\n{server.log_tail()}\n"
          f"--- where they stand\n{standing(machine, getattr(server, 'daemon', None))}")
    server.check_alive()


@pytest.fixture
def gantryd(kind, machine):
    """The server of disk "two", for what others do not have."""
    if kind is not Gantryd:
        pytest.skip("it is gantryd's to have")
    server = machine.servers["two"]
    yield server
    print(f"--- the guest's console\n{machine.console_tail(60)}\n--- the server's log\n{server.log_tail()}")
    server.check_alive()


def ios(server, op):
    """How many of them the disk has done until now: what the metrics say is up to half a second old."""
    time.sleep(METRICS_FRESH_S)
    return Metrics(server.daemon.rpc("metrics_get")).get("gantry_bdev_ios_total", bdev="image", op=op) or 0


def endless(machine, disk, options="--bs=4k --iodepth=8 --size=8m"):
    """Verified I/O until there is a file /tmp/enough."""
    job = machine.start(f"until [ -e /tmp/enough ]; do {FIO} --name=load --filename={disk} --rw=randrw {options} "
                        f"{VERIFY} > /tmp/fio.out 2>&1 || {{ cat /tmp/fio.out; exit 1; }}; done; rm /tmp/enough")
    machine.goes_on(disk, job)
    return job


def end(machine, job):
    machine.run("touch /tmp/enough")
    job.wait(SLOW_S)


def test_what_is_written_is_read_back(machine, disk):
    """Data would be lost or torn: small and large, from both of the guest's processors."""
    for more in ("--bs=4k --iodepth=16 --size=2m --numjobs=2 --offset_increment=16m",
                 "--bsrange=4k-512k --blockalign=4k --iodepth=4 --size=24m"):
        result = fio_result(machine.fio(disk, f"--rw=randrw {more} {VERIFY}").wait(SLOW_S))
        assert result["error"] == 0 and result["write"]["total_ios"] > 20, result


def test_the_kernel_sees_what_it_is(machine, disk):
    """Size, block size, discard, write zeroes, cache, queues."""
    out = machine.run(f"cd /sys/block/{disk[5:]}; blockdev --getsize64 --getss {disk}; cat queue/discard_max_bytes "
                      "queue/write_zeroes_max_bytes; ls mq | wc -l; cat ro").split()
    assert out[:2] == [str(MIB << 20), "512"]
    assert int(out[2]) > 0 and int(out[3]) > 0
    assert out[4:] == ["1" if machine.name == "one" else "2", "0"]


def test_ext4_with_discard(machine, disk):
    """A file system would be damaged, or its free blocks not be given back."""
    image = machine.servers[machine.name].image
    machine.run(f"""
        mkfs.ext4 -q -F {disk}; mount -o discard {disk} /mnt
        dd if=/dev/urandom of=/mnt/random bs=1M count=16 conv=fsync status=none
        (cd /mnt; sha256sum random > /tmp/sums); umount /mnt; fsck.ext4 -fn {disk}
        mount {disk} /mnt; (cd /mnt; sha256sum --quiet -c /tmp/sums)""", timeout_s=SLOW_S)
    full = image.stat().st_blocks
    machine.run(f"rm /mnt/random; fstrim /mnt; umount /mnt; fsck.ext4 -fn {disk}; blkdiscard {disk}", timeout_s=SLOW_S)
    assert image.stat().st_blocks * 512 < full * 512 - (16 << 20), "what was discarded still takes room"


def test_driver_is_unbound_under_io(machine, disk):
    """The driver resets the device with requests in flight, and takes it up again."""
    for _ in range(2):
        job = endless(machine, disk)
        machine.run(f"""
            device=$(basename $(readlink -f /sys/block/{disk[5:]}/device)); cd /sys/bus/virtio/drivers/virtio_blk
            echo $device > unbind; echo $device > bind""", timeout_s=SLOW_S)
        disk = machine.disk_of(machine.name)
        machine.run("touch /tmp/enough")           # fio may take the end of the disk for the end of its work
        job.wait(SLOW_S, check=False)
        machine.run(f"rm -f /tmp/enough; dd if={disk} of=/dev/null bs=64k count=16 iflag=direct status=none")


def test_server_is_killed_and_comes_back(machine, disk):
    """To the guest a restart is a pause: no error, no lost write."""
    server = machine.servers[machine.name]
    job = endless(machine, disk)
    for _ in range(2):
        server.kill()
        server.start()
        machine.goes_on(disk, job)
    end(machine, job)


def test_serial_number(machine, gantryd):
    assert machine.run(f"cat /sys/block/{machine.disk_of('two')[5:]}/serial").split() == ["image"]


def test_zeroes_are_written_and_flushes_arrive(machine, gantryd):
    """The disk would not hear of either, or zeroes would land beside what they are for."""
    disk = machine.disk_of("two")
    before = [ios(gantryd, op) for op in ("flush", "write_zeroes")]
    machine.run(f"""
        dd if=/dev/urandom of=/tmp/data bs=1M count=4 status=none
        dd if=/tmp/data of={disk} bs=1M oflag=direct conv=fsync status=none
        blkdiscard -z -o $((64 << 10)) -l $((2 << 20)) {disk}
        dd if=/dev/zero of=/tmp/data bs=64k seek=1 count=32 conv=notrunc status=none
        dd if={disk} bs=1M count=4 iflag=direct status=none | cmp - /tmp/data""", timeout_s=SLOW_S)
    assert all(ios(gantryd, op) > then for op, then in zip(("flush", "write_zeroes"), before))


def test_write_cache_is_switched(machine, gantryd):
    """Write through would not reach the disk: flushes would be missing, or come for ever."""
    name = machine.disk_of("two")[5:]

    def flushes_of(mode):
        machine.run(f"echo '{mode}' > /sys/block/{name}/cache_type; grep -x '{mode}' /sys/block/{name}/cache_type "
                    f"/sys/block/{name}/queue/write_cache -h | uniq -d | grep .")
        before = ios(gantryd, "flush")
        machine.run(f"dd if=/dev/zero of=/dev/{name} bs=4k count=8 oflag=direct conv=fsync status=none")
        return ios(gantryd, "flush") - before
    assert flushes_of("write through") == 0
    assert flushes_of("write back") > 0


def test_read_only_disk(machine):
    """It would be written, or look as if it could be."""
    disk, image = machine.disk_of("read-only"), machine.servers["read-only"].image
    image.write_bytes(b"some" * (MIB << 18))
    machine.run(f"""
        [ $(blockdev --getro {disk}) = 1 ]
        blockdev --setrw {disk} || true
        ! dd if=/dev/zero of={disk} bs=4k count=1 oflag=direct
        dd if={disk} bs=64k count=16 iflag=direct status=none | tr -d some | cmp - /dev/null""", timeout_s=SLOW_S)
    assert image.read_bytes() == b"some" * (MIB << 18)


def test_resize_is_seen_under_io(machine, gantryd):
    """The guest would not see that its disk has grown, or what is new could not be used."""
    disk = machine.disk_of("two")
    job = endless(machine, disk)
    with open(gantryd.image, "ab") as image:
        image.truncate((MIB + 16) << 20)
    gantryd.daemon.rpc("bdev_aio_rescan", name="image")
    machine.run(f"""
        has_grown() {{ [ $(blockdev --getsize64 {disk}) = {(MIB + 16) << 20} ]; }}
        until_true 60 has_grown
        dd if=/dev/urandom of=/tmp/new bs=1M count=16 status=none
        dd if=/tmp/new of={disk} bs=1M seek={MIB} oflag=direct status=none
        dd if={disk} bs=1M skip={MIB} iflag=direct status=none | cmp - /tmp/new""", timeout_s=SLOW_S)
    machine.goes_on(disk, job)
    end(machine, job)


def test_plugged_and_unplugged(kind, machine, tmp_path):
    """A disk that comes while the machine runs, and is pulled out under I/O."""
    with kind(tmp_path, MIB, queues=2) as server:
        machine.mark_console()
        for _ in range(2):
            machine.plug("late", server.path, queues=2)
            disk = machine.disk_of("late")
            job = endless(machine, disk)
            machine.unplug("late")
            machine.run("touch /tmp/enough")
            job.wait(SLOW_S, check=False)
            machine.run(f"rm -f /tmp/enough; [ ! -e {disk} ]")
        server.check_alive()


def test_reboot_under_io(machine):
    """Firmware and kernel would find disks that do not answer, or not what was written. The last test: all that ran in
    the guest is gone."""
    names = [name for name in machine.servers if name != "read-only"]
    sums = {}
    for name in names:
        disk = machine.disk_of(name)
        sums[name] = machine.run(f"""
            dd if=/dev/urandom of={disk} bs=1M seek=32 count=4 oflag=direct conv=fsync status=none
            dd if={disk} bs=1M skip=32 count=4 iflag=direct status=none | sha256sum""")
        endless(machine, disk)
    machine.reboot()
    for name in names:
        disk = machine.disk_of(name)
        assert machine.run(f"dd if={disk} bs=1M skip=32 count=4 iflag=direct status=none | sha256sum") == sums[name]
        machine.run(f"dd if=/bin/busybox of={disk} bs=64k count=8 oflag=direct conv=fsync status=none")
        machine.servers[name].check_alive()
