# SPDX-License-Identifier: BSD-3-Clause
"""Block devices through SPDK's methods: made, listed, waited for, counted, resized, saved, removed."""
import json
import threading

import pytest

from gantry import Daemon, RpcError
from nvme_tcp import must


def only(daemon, name):
    found, = daemon.rpc("bdev_get_bdevs", name=name)
    return found


def test_a_disk_is_what_it_was_asked_to_be(daemon):
    uuid = "6a2c0e0e-6f3f-4a0c-8a52-0c5c1f5e8b11"
    assert daemon.rpc("bdev_malloc_create", num_blocks=1000, block_size=512, md_size=8, md_interleave=True,
                      uuid=uuid, physical_block_size=4096) == "Malloc0"
    disk = only(daemon, uuid)
    assert disk["name"] == "Malloc0" and disk["aliases"] == [uuid] and disk["uuid"] == uuid
    assert disk["product_name"] == "Malloc disk"
    assert disk["num_blocks"] == 1000
    assert disk["block_size"] == 520           # SPDK counts interleaved metadata
    assert disk["md_size"] == 8 and disk["md_interleave"] is True
    assert disk["claimed"] is False and disk["zoned"] is False
    assert disk["supported_io_types"]["compare_and_write"] is True
    assert disk["supported_io_types"]["nvme_admin"] is False
    assert disk["supported_io_types"]["nvme_nssr"] is False
    assert disk["preferred_write_granularity"] == disk["preferred_unmap_alignment"] == 8  # blocks
    assert disk["optimal_write_size"] == 0
    assert disk["assigned_rate_limits"]["rw_ios_per_sec"] == 0
    assert disk["driver_specific"]["bytes_in_use"] == "0"


@pytest.mark.parametrize("method,params,code,sentence", [
    ("bdev_malloc_create", {"num_blocks": 8, "block_size": 513}, -32602, "block_size: 513 is not a multiple of 512"),
    ("bdev_malloc_create", {"num_blocks": 8, "block_size": 512, "md_size": 12}, -22, "md_size: 12 is none of 0, 8"),
    ("bdev_malloc_create", {"num_blocks": 8, "block_size": 512, "dif_type": 1}, -22, "dif_type: "),
    ("bdev_malloc_create", {"num_blocks": 8, "block_size": 512, "md_size": 8, "dif_type": 1, "dif_pi_format": 1}, -22,
     "dif_pi_format: only 0"),
    ("bdev_null_create", {"name": "n", "num_blocks": 8, "block_size": 512, "dif_type": 4, "md_size": 8}, -32602,
     "dif_type: "),
    ("bdev_malloc_create", {"num_blocks": 8, "block_size": 512, "name": "there"}, -17, "'there' is taken by"),
    ("bdev_null_create", {"num_blocks": 8, "block_size": 512, "name": "there"}, -17, "'there' is taken by"),
    ("bdev_null_delete", {"name": "there"}, -22, "is a Malloc disk, not a null device"),
    ("bdev_malloc_delete", {"name": "nowhere"}, -19, "no block device 'nowhere'"),
    ("bdev_get_bdevs", {"name": "nowhere"}, -19, "no block device 'nowhere'"),
    ("bdev_get_iostat", {"names": ["there", "nowhere"]}, -19, "no block device 'nowhere'"),
    ("bdev_get_iostat", {"per_channel": True}, -22, "exactly one device"),
])
def test_what_is_wrong_is_said(daemon, method, params, code, sentence):
    daemon.rpc("bdev_malloc_create", num_blocks=8, block_size=512, name="there")
    with pytest.raises(RpcError) as error:
        daemon.rpc(method, **params)
    assert error.value.code == code
    assert sentence in error.value.message


def test_a_caller_can_wait_for_a_disk(daemon):
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(daemon.rpc("bdev_get_bdevs", name="late", timeout=20000)))
    waiter.start()
    daemon.rpc("bdev_null_create", num_blocks=8, block_size=512, name="late")
    waiter.join(20)
    assert [disk["name"] for disk in answers[0]] == ["late"]
    with pytest.raises(RpcError):
        daemon.rpc("bdev_get_bdevs", name="never", timeout=20)


def test_what_disks_did_is_counted(daemon, host):
    data = bytes(range(256)) * 16
    must(host.io.write(0, data))
    assert host.io.read(0, 8) == data
    stats = daemon.rpc("bdev_get_iostat")
    disk, = stats["bdevs"]
    assert stats["tick_rate"] == 1000000000
    assert disk["bytes_written"] == 4096 and disk["num_write_ops"] == 1
    assert disk["bytes_read"] >= 4096 and disk["read_latency_ticks"] >= disk["max_read_latency_ticks"]
    channels = daemon.rpc("bdev_get_iostat", names=[disk["name"]], per_channel=True, reset_mode="all")["channels"]
    assert sum(channel["bytes_written"] for channel in channels) == 4096
    assert daemon.rpc("bdev_get_iostat", names=[disk["name"]])["bdevs"][0]["bytes_written"] == 0


def test_sizes_change(daemon):
    daemon.rpc("bdev_null_create", num_blocks=2048, block_size=512, name="n")
    daemon.rpc("bdev_malloc_create", num_blocks=2048, block_size=512, name="m")
    assert daemon.rpc("bdev_null_resize", name="n", new_size=3) is True
    assert daemon.rpc("bdev_malloc_resize", name="m", new_size=3) is True
    assert [only(daemon, name)["num_blocks"] for name in "nm"] == [6144, 6144]


def test_disks_are_saved_as_they_are(daemon, tmp_path):
    daemon.rpc("bdev_malloc_create", num_blocks=64, block_size=4096, md_size=64, md_interleave=True)
    daemon.rpc("bdev_null_create", num_blocks=64, block_size=512, name="n", md_size=8)
    before = daemon.rpc("bdev_get_bdevs")
    saved = daemon.rpc("save_config")
    (tmp_path / "saved.json").write_text(json.dumps(saved))
    again = tmp_path / "again"
    again.mkdir()
    with Daemon(again, "-c", str(tmp_path / "saved.json")) as other:
        assert other.rpc("bdev_get_bdevs") == before
        assert other.rpc("save_config") == saved


def test_disks_go(daemon):
    daemon.rpc("bdev_null_create", num_blocks=8, block_size=512, name="n")
    daemon.rpc("bdev_malloc_create", num_blocks=8, block_size=512, name="m")
    assert daemon.rpc("bdev_null_delete", name="n") is True
    assert daemon.rpc("bdev_malloc_delete", name="m") is True
    assert daemon.rpc("bdev_get_bdevs") == []
