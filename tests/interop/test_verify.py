# SPDX-License-Identifier: BSD-3-Clause
"""What was written is what is read, as fio and a file system see it."""
import os

import pytest

from client import fio_result
from nvme_tcp import Host, must

VERIFY = "--verify=crc32c --verify_fatal=1"
FILL = f"--rw=write --bs=64k --size=24m --iodepth=8 {VERIFY} --do_verify=0"
CHECK = f"--rw=read --bs=64k --size=24m --iodepth=8 {VERIFY}"


@pytest.mark.parametrize("digests", ["", "-g", "-G", "-g -G"], ids=["plain", "header", "data", "both"])
def test_random_writes_are_read_back(guest, daemon, digests):
    """Data would be lost, torn, or land elsewhere under mixed reads and writes of many sizes."""
    served = daemon.serve(daemon.malloc("disk0", mib=64))
    disk = guest.connect(served, f"-i 2 {digests}")
    result = fio_result(guest.fio(disk, f"--rw=randrw --bsrange=4k-128k --bs_unaligned=0 --blockalign=4k --size=24m "
                                        f"--iodepth=16 --norandommap=0 {VERIFY} --do_verify=1").wait(90))
    assert result["error"] == 0 and result["write"]["total_ios"] > 100, result
    assert result["read"]["total_ios"] >= result["write"]["total_ios"], "nothing was verified"


def test_verify_fails_when_the_disk_is_corrupted(guest, daemon):
    """A fio that cannot fail proves nothing: change one block behind its back through a second host."""
    served = daemon.serve(daemon.malloc("disk0", mib=64))
    disk = guest.connect(served)
    guest.fio(disk, FILL).wait()
    guest.fio(disk, CHECK).wait()

    with Host(served.port, served.nqn) as other:
        must(other.io.write(8 << 11, os.urandom(512)))

    job = guest.fio(disk, CHECK)
    output = job.wait(check=False)
    assert job.status != 0, f"fio took a corrupted disk for a good one:\n{output}"
    assert "verify" in output, output


def test_ext4_survives_unmounting(guest, daemon):
    """A file system on the disk would be damaged, or a file not be what was written."""
    served = daemon.serve(daemon.malloc("disk0", mib=128, block_size=4096))
    disk = guest.connect(served)
    output = guest.run(f"""
        mkfs.ext4 -q -F {disk}
        mount -o discard {disk} /mnt
        dd if=/dev/urandom of=/mnt/random bs=1M count=16 conv=fsync status=none
        (cd /mnt; mkdir many; for i in $(seq 100); do echo $i > many/$i; done; sha256sum random many/* > /tmp/sums)
        umount /mnt
        fsck.ext4 -fn {disk}
        nvme disconnect -n {served.nqn}
        nvme_connect {served.nqn} {served.port}
        mount $(disk_of {served.nqn} 1) /mnt
        (cd /mnt; sha256sum --quiet -c /tmp/sums)
        rm -r /mnt/many /mnt/random
        fstrim -v /mnt
        umount /mnt
        fsck.ext4 -fn $(disk_of {served.nqn} 1)
        """, timeout_s=90)
    assert "trimmed" in output, output
