# SPDX-License-Identifier: BSD-3-Clause
"""Commands beside reads and writes: discard, write zeroes, flush."""
from client import FIO, fio_result
from gantry import wait_until

MIB = 128
ALL_ZERO = "cmp -n $(blockdev --getsize64 {0}) {0} /dev/zero"


def test_discarded_blocks_read_as_zeroes_and_free_memory(guest, daemon):
    """A discarded disk would keep its memory, or show what was on it."""
    served = daemon.serve(daemon.malloc("disk0", mib=MIB))
    disk = guest.connect(served)
    before = daemon.rss_kib()
    guest.run(f"dd if=/dev/urandom of={disk} bs=1M count={MIB} oflag=direct status=none", timeout_s=90)
    full = daemon.rss_kib()
    assert full - before > MIB * 1024 * 0.9, f"{before} KiB before, {full} KiB after writing {MIB} MiB"
    guest.run(f"blkdiscard {disk}; {ALL_ZERO.format(disk)}", timeout_s=90)
    kept = 16 * 1024        # pages at hand for the next writes, and buffers that were touched on the way
    wait_until(lambda: daemon.is_sanitized or daemon.rss_kib() < before + kept,
               f"memory to come back: {before} KiB before, {full} KiB full, {daemon.rss_kib()} KiB now")


def test_discard_leaves_the_rest_alone(guest, daemon):
    """A discard would take more, or fewer, blocks than it names."""
    served = daemon.serve(daemon.malloc("disk0", mib=16))
    disk = guest.connect(served)
    guest.run(f"""
        dd if=/dev/urandom of=/tmp/image bs=1M count=16 status=none
        dd if=/tmp/image of={disk} bs=1M oflag=direct status=none
        for piece in 512:512 8192:65536 1049088:3072 8388608:4194304; do
            blkdiscard -o ${{piece%:*}} -l ${{piece#*:}} {disk}
            dd if=/dev/zero of=/tmp/image bs=512 seek=$((${{piece%:*}} / 512)) count=$((${{piece#*:}} / 512)) \
                conv=notrunc status=none
        done
        cmp /tmp/image {disk}""")


def test_write_zeroes(guest, daemon):
    """`blkdiscard -z` and file systems that zero ranges would find old data."""
    served = daemon.serve(daemon.malloc("disk0", mib=16))
    disk = guest.connect(served)
    offered = guest.run(f"cat /sys/block/{disk[5:]}/queue/write_zeroes_max_bytes")
    assert int(offered) > 0, "the host is not offered write zeroes"
    guest.run(f"""
        dd if=/dev/urandom of=/tmp/image bs=1M count=16 status=none
        dd if=/tmp/image of={disk} bs=1M oflag=direct status=none
        blkdiscard -z -o 4096 -l 2097152 {disk}
        dd if=/dev/zero of=/tmp/image bs=4096 seek=1 count=512 conv=notrunc status=none
        cmp /tmp/image {disk}
        nvme write-zeroes {disk} -s 8000 -c 7
        dd if=/dev/zero of=/tmp/image bs=512 seek=8000 count=8 conv=notrunc status=none
        echo 1 > /proc/sys/vm/drop_caches
        cmp /tmp/image {disk}""")


def test_flush_and_fua(guest, daemon):
    """fsync would fail or hang, and databases with it."""
    served = daemon.serve(daemon.malloc("disk0", mib=16))
    disk = guest.connect(served)
    result = fio_result(guest.run(f"{FIO} --name=sync --filename={disk} --rw=randwrite --bs=4k --size=2m --fsync=4"))
    assert result["error"] == 0 and result["sync"]["total_ios"] > 50, result["sync"]
    guest.run(f"nvme flush {disk} -n 1; dd if=/dev/zero of={disk} bs=4k count=8 oflag=direct,dsync status=none")
