# SPDX-License-Identifier: BSD-3-Clause
"""A file system on a disk that loses power while it is written to."""
from gantry import wait_until

FILES = 5                   # with their fsync, before each cut
MODES = ("reorder", "tear", "drop")

# Files with random contents, each in "sums" (which is not on the disk) when its fsync has ended; beside that, direct
# writes that nobody flushes. Ends when the disk does.
WORK = """
    ( i=0; while dd if=/dev/zero of=/mnt/scratch bs=16k count=1 seek=$((i++ % 64)) conv=notrunc oflag=direct status=none
      do :; done ) 2> /dev/null &
    for i in $(seq 100000); do
        dd if=/dev/urandom of=/mnt/{0}-$i bs=3k count=$((i % 9 + 1)) conv=fsync status=none || break
        sha256sum /mnt/{0}-$i >> /tmp/sums || break
        echo synced
    done 2> /dev/null
    wait"""


def test_ext4_survives_power_cuts(guest, daemon):
    """What a program was told is on the disk would be gone after a power cut, or the file system be damaged."""
    daemon.malloc("media", mib=64, block_size=4096)
    served = daemon.serve(daemon.tell("bdev_powercut_create", name="disk0", base_bdev_name="media"))
    disk = guest.connect(served)
    assert guest.run(f"cat /sys/block/{disk[5:]}/queue/write_cache").strip() == "write back"
    guest.run(f"rm -f /tmp/sums; mkfs.ext4 -q -F {disk}; mount {disk} /mnt; "
              f"dd if=/dev/zero of=/mnt/scratch bs=1M count=1 conv=fsync status=none")
    for n, mode in enumerate(MODES):
        job = guest.start(WORK.format(mode))
        wait_until(lambda job=job: job.output.count("synced") >= FILES, f"{FILES} files to be synced", 120)
        cut = daemon.rpc("bdev_powercut_trigger", name="disk0", mode=mode, seed=n + 1, stay_off=True)
        print(mode, cut)
        job.wait(120, check=False)
        guest.run(f"umount /mnt || umount -l /mnt; nvme disconnect -n {served.nqn}")
        daemon.rpc("bdev_powercut_power_on", name="disk0")
        disk = guest.connect(served)
        guest.run(f"""
            mount {disk} /mnt                   # replays the journal, as after any power cut
            umount /mnt
            fsck.ext4 -fn {disk}
            mount {disk} /mnt
            sha256sum --quiet -c /tmp/sums""", timeout_s=120)
    guest.run("umount /mnt")
    facts = daemon.rpc("bdev_get_bdevs", name="disk0")[0]["driver_specific"]["powercut"]
    assert facts["power_cuts"] == len(MODES) and facts["power"] == "on"
