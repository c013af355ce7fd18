# SPDX-License-Identifier: BSD-3-Clause
"""Partitions of GUID partition tables: found on what comes, shown as SPDK shows them, served like disks."""
import os

import pytest

from gantry import RpcError, wait_until
from gpt_image import DISK_ID, LINUX, SPDK, make_table, part_id
from nvme_tcp import Host, must

PARTS = {1: (SPDK, 100, 199, "déjà vu"), 2: (LINUX, 200, 299, "root"), 7: (SPDK, 400, 409, "")}


def names(daemon):
    return sorted(disk["name"] for disk in daemon.rpc("bdev_get_bdevs"))


def attach(daemon, path, block=512):
    daemon.rpc("bdev_aio_create", name="disk", filename=str(path), block_size=block)
    daemon.rpc("bdev_gpt_rescan", name="disk")    # what was begun when it came has ended before


@pytest.mark.parametrize("block", [512, 4096])
def test_partitions_are_found_and_served(daemon, tmp_path, block):
    make_table(tmp_path / "image", block, 1024, PARTS)
    attach(daemon, tmp_path / "image", block)
    assert names(daemon) == ["disk", "diskp1", "diskp7"]
    part, = daemon.rpc("bdev_get_bdevs", name="diskp1")
    assert part["num_blocks"] == 100 and part["block_size"] == block and part["product_name"] == "GPT Disk"
    assert part["uuid"] == str(part_id(1))
    assert part["driver_specific"]["gpt"] == {
        "base_bdev": "disk", "offset_blocks": 100, "partition_table_guid": str(DISK_ID),
        "partition_type_guid": str(SPDK), "unique_partition_guid": str(part_id(1)), "partition_name": "déjà vu"}
    assert daemon.rpc("bdev_get_bdevs", name="disk")[0]["claimed"] is True
    with pytest.raises(RpcError, match="claimed by gpt disk"):
        daemon.serve("disk", nqn="nqn.2016-06.io.gantry:whole")
    served = daemon.serve("diskp7")
    data = os.urandom(10 * block)
    with Host(served.port, served.nqn) as host:
        must(host.io.write(0, data, block_size=block, in_capsule=False))
        assert host.io.read(0, 10, block_size=block) == data
    daemon.rpc("nvmf_delete_subsystem", nqn=served.nqn)
    assert (tmp_path / "image").read_bytes()[400 * block:410 * block] == data


def test_other_types_by_request_and_saved(daemon, tmp_path):
    make_table(tmp_path / "image", 512, 1024, PARTS)
    attach(daemon, tmp_path / "image")
    daemon.rpc("bdev_gpt_set_options", types=["all"])
    assert names(daemon) == ["disk", "diskp1", "diskp2", "diskp7"]
    saved = [e for s in daemon.rpc("save_config")["subsystems"] for e in s["config"]]
    assert {"method": "bdev_gpt_set_options", "params": {"types": ["all"]}} in saved
    assert not any(e["params"].get("name") == "diskp1" for e in saved), "partitions come from the disk"
    daemon.rpc("bdev_gpt_set_options", types=["none"])
    wait_until(lambda: names(daemon) == ["disk"], "the partitions to go")
    wait_until(lambda: daemon.rpc("bdev_get_bdevs", name="disk")[0]["claimed"] is False, "the disk to be let go")
    with pytest.raises(RpcError, match="types: 'ntfs' is none of"):
        daemon.rpc("bdev_gpt_set_options", types=["ntfs"])


def test_a_disk_that_is_served_whole_stays_so(daemon, tmp_path):
    """A host that partitions its disk would lose it with the next look."""
    make_table(tmp_path / "image", 512, 1024, PARTS)
    (tmp_path / "disk").write_bytes(bytes(512 * 1024))
    attach(daemon, tmp_path / "disk")
    served = daemon.serve("disk")
    with Host(served.port, served.nqn) as host:
        image = (tmp_path / "image").read_bytes()
        for lba in range(0, 1024, 64):
            must(host.io.write(lba, image[lba * 512:(lba + 64) * 512], in_capsule=False))
        assert daemon.rpc("bdev_gpt_rescan") is True
        assert names(daemon) == ["disk"]
        assert "the partitions of 'disk' are not used" in daemon.log()
        must(host.io.write(0, bytes(512)))


def test_a_damaged_table_is_read_from_its_backup(daemon, tmp_path):
    make_table(tmp_path / "image", 512, 1024, PARTS)
    with open(tmp_path / "image", "r+b") as f:
        f.seek(512 + 40)
        f.write(b"\xff")
    attach(daemon, tmp_path / "image")
    assert names(daemon) == ["disk", "diskp1", "diskp7"]
    assert "backup partition table" in daemon.log()


def test_partitions_go_with_their_disk(daemon, tmp_path):
    make_table(tmp_path / "image", 512, 1024, PARTS)
    attach(daemon, tmp_path / "image")
    assert daemon.rpc("bdev_aio_delete", name="disk") is True
    wait_until(lambda: names(daemon) == [], "the partitions to go")
    with pytest.raises(RpcError, match="no block device 'disk'"):
        daemon.rpc("bdev_gpt_rescan", name="disk")
