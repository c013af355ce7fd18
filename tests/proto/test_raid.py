# SPDX-License-Identifier: BSD-3-Clause
"""Raids (concat, raid0) by SPDK's methods and through NVMe/TCP."""
import os

import pytest

from gantry import RpcError
from nvme_tcp import Host, must

BLOCK = 512
BLOCKS = 2048              # of each member


@pytest.fixture
def members(daemon):
    for name in ("a", "b", "c"):
        daemon.rpc("bdev_malloc_create", name=name, num_blocks=BLOCKS, block_size=BLOCK)
    return ["a", "b", "c"]


def raids(daemon, category="all"):
    return daemon.rpc("bdev_raid_get_bdevs", category=category)


def test_concat_is_one_disk(daemon, members):
    """Blocks around the borders would be somewhere else."""
    assert daemon.rpc("bdev_raid_create", name="r", raid_level="concat", base_bdevs=members) is True
    served = daemon.serve("r")
    data = os.urandom(3 * BLOCKS * BLOCK)
    with Host(served.port, served.nqn) as host:
        for lba in range(0, 3 * BLOCKS, 192):           # over both borders
            piece = data[lba * BLOCK:(lba + 192) * BLOCK]
            must(host.io.write(lba, piece, in_capsule=False))
        assert b"".join(host.io.read(lba, 128) for lba in range(0, 3 * BLOCKS, 128)) == data
    daemon.rpc("nvmf_delete_subsystem", nqn=served.nqn)
    assert daemon.rpc("bdev_raid_delete", name="r") is True
    served = daemon.serve("b", nqn="nqn.2016-06.io.gantry:member")
    with Host(served.port, served.nqn) as host:
        assert host.io.read(0, 8) == data[BLOCKS * BLOCK:(BLOCKS + 8) * BLOCK]


def test_raid0_deals_out_strips(daemon, members):
    daemon.rpc("bdev_raid_create", name="r", raid_level="0", strip_size_kb=4, base_bdevs=members)
    served = daemon.serve("r")
    data = os.urandom(48 * BLOCK)
    with Host(served.port, served.nqn) as host:
        must(host.io.write(0, data, in_capsule=False))
        assert host.io.read(0, 48) == data
    disk, = daemon.rpc("bdev_get_bdevs", name="r")
    assert disk["num_blocks"] == 3 * BLOCKS and disk["optimal_io_boundary"] == 8
    assert disk["driver_specific"]["raid"]["raid_level"] == "raid0"
    assert disk["product_name"] == "Raid Volume"


def test_members_may_come_late_and_go(daemon):
    daemon.rpc("bdev_raid_create", name="r", raid_level="concat", base_bdevs=["a", "b"])
    assert [r["state"] for r in raids(daemon)] == ["configuring"] and raids(daemon, "online") == []
    with pytest.raises(RpcError, match="no block device 'r'"):
        daemon.rpc("bdev_get_bdevs", name="r")
    for name in ("b", "a"):
        daemon.rpc("bdev_malloc_create", name=name, num_blocks=BLOCKS, block_size=BLOCK)
    raid, = raids(daemon, "online")
    assert (raid["num_base_bdevs"], raid["num_base_bdevs_operational"], raid["superblock"]) == (2, 2, False)
    assert [(m["name"], m["is_configured"], m["data_size"]) for m in raid["base_bdevs_list"]] == \
           [("a", True, BLOCKS), ("b", True, BLOCKS)]
    assert daemon.rpc("bdev_get_bdevs", name="a")[0]["claimed"] is True
    daemon.rpc("bdev_malloc_delete", name="b")
    raid, = raids(daemon, "configuring")
    assert (raid["num_base_bdevs_discovered"], raid["uuid"] != "") == (1, True)
    daemon.rpc("bdev_malloc_create", name="b", num_blocks=BLOCKS, block_size=BLOCK)
    assert raids(daemon)[0]["state"] == "online" and raids(daemon)[0]["uuid"] == raid["uuid"]


@pytest.mark.parametrize("params,sentence", [
    ({"raid_level": "raid1"}, "keeps copies"),
    ({"raid_level": "raid6"}, "raid_level: 'raid6' is none"),
    ({"raid_level": "raid0"}, "strip_size_kb: raid0 needs one"),
    ({"raid_level": "raid0", "strip_size_kb": 3}, "strip_size_kb: 3 is not a power of two"),
    ({"raid_level": "concat", "superblock": True}, "superblock: not supported"),
    ({"raid_level": "concat", "base_bdevs": ["a", "large"]}, "all must have the same"),
    ({"raid_level": "concat", "base_bdevs": ["a", "a"]}, "named twice"),
    ({"raid_level": "concat", "base_bdevs": []}, "base_bdevs: 0 devices"),
    ({"raid_level": "concat", "name": "a"}, "name: 'a' is taken"),
])
def test_mistakes_get_a_sentence(daemon, members, params, sentence):
    daemon.malloc("large", mib=1, block_size=4096)
    with pytest.raises(RpcError, match=sentence):
        daemon.rpc("bdev_raid_create", **{"name": "r", "base_bdevs": members, **params})
    assert raids(daemon) == []
