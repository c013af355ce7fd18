# SPDX-License-Identifier: BSD-3-Clause
"""Linux's virtio-blk driver in a QEMU guest, its disks served over vhost-user by gantryd; or, for a second opinion on
the test, by QEMU's storage daemon: VHOST_SERVER=qemu-storage-daemon."""
import pytest

import guest as guests
from client import FIO, fio_result
from vhost_guest import VhostGuest, blk
from vhost_servers import servers

MIB = 64
SLOW_S = 180    # the guest is emulated, and the machine has other things to do
VERIFY = "--verify=crc32c --verify_fatal=1 --do_verify=1"


@pytest.fixture(scope="module", params=servers(), ids=lambda s: s.name)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def machine(kind, tmp_path_factory):
    """A guest with a disk of one queue, one of two, and where the server has them one with packed rings. Each has a
    server of its own: to be killed."""
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    rows = {"one": {"queues": 1}, "two": {"queues": 2}}
    if "packed" not in kind.lacks:
        rows["packed"] = {"queues": 2, "packed": True}
    running = {}
    try:
        for name, row in rows.items():
            directory = tmp_path_factory.mktemp(name)
            running[name] = kind(directory, MIB, queues=row["queues"])
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
    print(f"--- the guest's console\n{machine.console_tail(60)}\n"
          f"--- the server's log\n{machine.servers[request.param].log_tail()}")
    machine.servers[request.param].check_alive()


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
