# SPDX-License-Identifier: BSD-3-Clause
"""Power-cut disks through NVMe/TCP: what was flushed stays, what was not is old or new, mistakes get a sentence."""
import os

import pytest

from gantry import Daemon, RpcError
from nvme_tcp import IO_FLUSH, IO_READ, IO_WRITE, Host, must, rw, sqe

FUA = 1 << 30
INTERNAL, INVALID_NS = 0x06, 0x0b
BLOCK = 512


@pytest.fixture
def powered(daemon):
    """A host of a power-cut disk over a RAM disk."""
    daemon.malloc("media", mib=4)
    served = daemon.serve(daemon.tell("bdev_powercut_create", name="power", base_bdev_name="media", cache_blocks=64))
    with Host(served.port, served.nqn) as host:
        yield host


def flush(host):
    must(host.io.command(sqe(IO_FLUSH, 1)))


def facts(daemon):
    return daemon.rpc("bdev_get_bdevs", name="power")[0]["driver_specific"]["powercut"]


def test_the_host_is_told_of_the_cache(powered):
    """A host that does not know of it never flushes."""
    assert powered.admin.identify(1)[525] & 1


def test_what_was_flushed_stays(daemon, powered):
    old, new, forced = os.urandom(8 * BLOCK), os.urandom(8 * BLOCK), os.urandom(BLOCK)
    must(powered.io.write(0, old))
    flush(powered)
    must(powered.io.write(0, new))
    must(powered.io.command(rw(IO_WRITE, 20, 1) [:48] + (FUA).to_bytes(4, "little") + bytes(12), forced))
    must(powered.io.write(30, new))
    assert powered.io.read(0, 8) == new
    assert facts(daemon)["unflushed_blocks"] == 16
    cut = daemon.rpc("bdev_powercut_trigger", name="power")
    assert (cut["blocks_unflushed"], cut["blocks_lost"], cut["blocks_kept"]) == (16, 16, 0)
    assert powered.io.read(0, 8) == old
    assert powered.io.read(20, 1) == forced
    assert powered.io.read(30, 8) == bytes(8 * BLOCK)
    assert facts(daemon) == {"base_bdev_name": "media", "power": "on", "cache_blocks": 64, "unflushed_blocks": 0,
                             "power_cuts": 1}


@pytest.mark.parametrize("mode", ["tear", "reorder"])
def test_the_rest_is_old_or_new(daemon, powered, mode):
    """And the same seed cuts the same way."""
    seen = []
    for _ in range(2):
        for lba in range(0, 48, 4):
            must(powered.io.write(lba, b"\x11" * 4 * BLOCK))
        flush(powered)
        for lba in range(0, 48, 4):
            must(powered.io.write(lba, b"\x22" * 4 * BLOCK))
        cut = daemon.rpc("bdev_powercut_trigger", name="power", mode=mode, seed=4711)
        data = powered.io.read(0, 48)
        blocks = [data[at:at + BLOCK] for at in range(0, len(data), BLOCK)]
        assert all(block in (b"\x11" * BLOCK, b"\x22" * BLOCK) for block in blocks)
        assert sum(block[0] == 0x22 for block in blocks) == cut["blocks_kept"]
        assert 0 < cut["blocks_kept"] < 48
        assert cut["seed"] == 4711
        seen.append(blocks)
    assert seen[0] == seen[1]


def test_without_power_commands_fail(daemon, powered):
    daemon.rpc("bdev_powercut_trigger", name="power", stay_off=True)
    assert powered.io.write(0, bytes(BLOCK)).status == INTERNAL
    assert powered.io.command(sqe(IO_FLUSH, 1)).status == INTERNAL
    with pytest.raises(RpcError, match="bdev_powercut_power_on"):
        daemon.rpc("bdev_powercut_trigger", name="power")
    assert daemon.rpc("bdev_powercut_power_on", name="power") is True
    must(powered.io.write(0, bytes(BLOCK)))
    with pytest.raises(RpcError, match="has power"):
        daemon.rpc("bdev_powercut_power_on", name="power")


def test_it_waits_for_its_base_and_goes_with_it(daemon):
    daemon.rpc("bdev_powercut_create", name="power", base_bdev_name="late")
    with pytest.raises(RpcError, match="waits for its base 'late'"):
        daemon.rpc("bdev_powercut_trigger", name="power")
    daemon.malloc("late", mib=1)
    assert facts(daemon)["power"] == "on"
    daemon.rpc("bdev_malloc_delete", name="late")
    with pytest.raises(RpcError):
        daemon.rpc("bdev_get_bdevs", name="power")
    assert daemon.rpc("bdev_powercut_delete", name="power") is True
    assert daemon.rpc("bdev_get_bdevs") == []


@pytest.mark.parametrize("method,params,sentence", [
    ("create", {"name": "p", "base_bdev_name": "media", "cache_blocks": 7}, "cache_blocks: 7"),
    ("create", {"name": "media", "base_bdev_name": "media"}, "'media' is taken"),
    ("create", {"name": "p", "base_bdev_name": "media", "cache_blocks": 4000000}, "more than 1 GiB"),
    ("create", {"name": "p", "base_bdev_name": "apart"}, "metadata that travel apart"),
    ("trigger", {"name": "media"}, "not a powercut"),
    ("trigger", {"name": "nowhere"}, "there is no powercut 'nowhere'"),
    ("trigger", {"name": "media", "mode": "melt"}, 'mode: "melt"'),
    ("delete", {"name": "media"}, "there is no powercut 'media'"),
])
def test_mistakes_get_a_sentence(daemon, method, params, sentence):
    daemon.malloc("media", mib=1)
    daemon.malloc("apart", mib=1, md_size=8)
    with pytest.raises(RpcError, match=sentence.replace("(", r"\(")):
        daemon.rpc(f"bdev_powercut_{method}", **params)


def test_stopping_in_good_order_loses_nothing(tmp_path):
    """A daemon that ends is not a power cut: what its disks hold goes to their bases."""
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    data = os.urandom(8 * BLOCK)
    with Daemon(tmp_path) as daemon:
        daemon.tell("bdev_aio_create", name="media", filename=str(file), block_size=512)
        served = daemon.serve(daemon.tell("bdev_powercut_create", name="power", base_bdev_name="media"))
        with Host(served.port, served.nqn) as host:
            must(host.io.write(100, data))
        assert daemon.rpc("bdev_powercut_delete", name="power") is True
    assert file.read_bytes()[100 * BLOCK:108 * BLOCK] == data


def test_it_does_not_wait_for_ever_for_its_base(daemon):
    """The base keeps a read of a host, and later what the cache held: deleting the disk ends all the same."""
    daemon.malloc("media", mib=4)
    daemon.rpc("bdev_error_create", base_name="media")
    served = daemon.serve(daemon.tell("bdev_powercut_create", name="power", base_bdev_name="EE_media"))
    with Host(served.port, served.nqn) as host:
        must(host.io.write(100, os.urandom(8 * BLOCK)))
        for what in ("read", "write"):
            daemon.rpc("bdev_error_inject_error", name="EE_media", io_type=what, error_type="pending", num=1000)
        stuck = host.io.submit(rw(IO_READ, 0, 8), expect=8 * BLOCK)
        must(host.io.write(0, bytes(BLOCK)))
        assert daemon.rpc("bdev_powercut_delete", name="power") is True
        assert host.io.wait(stuck).status == INVALID_NS
    assert "its base does not answer" in daemon.log_tail()
    assert [b["name"] for b in daemon.rpc("bdev_get_bdevs")] == ["media", "EE_media"]
