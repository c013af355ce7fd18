# SPDX-License-Identifier: BSD-3-Clause
"""Partitions as a Linux kernel sees them, and as the daemon does."""
from gantry import wait_until
from gpt_image import LINUX, SPDK, make_table

PARTS = {1: (LINUX, 100, 199, "one"), 2: (SPDK, 300, 1023, "two"), 5: (LINUX, 2000, 2000, "")}


def places(daemon):
    """Number, first block and size of each partition."""
    return sorted((int(disk["name"].removeprefix("diskp")), disk["driver_specific"]["gpt"]["offset_blocks"],
                   disk["num_blocks"]) for disk in daemon.rpc("bdev_get_bdevs") if disk["name"] != "disk")


def test_the_kernel_sees_the_same_partitions(guest, daemon, tmp_path):
    """A table would be cut up otherwise here than by the host that made it."""
    make_table(tmp_path / "image", 512, 4096, PARTS)
    daemon.rpc("bdev_gpt_set_options", types=["none"])      # whole first
    daemon.rpc("bdev_aio_create", name="disk", filename=str(tmp_path / "image"), block_size=512)
    served = daemon.serve("disk")
    disk = guest.connect(served)
    seen = guest.run(f"""
        until_true 15 test -e /sys/block/{disk[5:]}/{disk[5:]}p5
        for p in /sys/block/{disk[5:]}/{disk[5:]}p*; do echo $(cat $p/partition $p/start $p/size); done""")
    seen = sorted(tuple(map(int, line.split())) for line in seen.splitlines())
    guest.run(f"nvme disconnect -n {served.nqn}")
    daemon.rpc("nvmf_delete_subsystem", nqn=served.nqn)
    daemon.rpc("bdev_gpt_set_options", types=["all"])
    assert seen == [(number, first, last - first + 1) for number, (_, first, last, _) in PARTS.items()]
    wait_until(lambda: daemon.rpc("bdev_gpt_rescan") and places(daemon) == seen, "the daemon to see them too")
