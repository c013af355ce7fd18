# SPDX-License-Identifier: BSD-3-Clause
"""Devices that stand on others: they come when their bases do, whatever the order of the lines, go with them, come
back, and are saved all the while."""
import json
import os
import time

import pytest

from gantry import Daemon, RpcError, wait_until
from nvme_tcp import IO_READ, IO_WRITE, Host, must, rw

DELAYS = dict(avg_read_latency=0, p99_read_latency=0, avg_write_latency=0, p99_write_latency=0)
UUID = "00000000-1111-4111-8111-111111111111"
OVER = {
    "passthru": (("bdev_passthru_create", dict(base_bdev_name="base", name="top")), "top",
                 ("bdev_passthru_delete", dict(name="top"))),
    "delay": (("bdev_delay_create", dict(base_bdev_name="base", name="top", **DELAYS)), "top",
              ("bdev_delay_delete", dict(name="top"))),
    "error": (("bdev_error_create", dict(base_name="base")), "EE_base", ("bdev_error_delete", dict(name="EE_base"))),
    "split": (("bdev_split_create", dict(base_bdev="base", split_count=1)), "basep0",
              ("bdev_split_delete", dict(base_bdev="base"))),
}


def names(daemon):
    return {b["name"] for b in daemon.rpc("bdev_get_bdevs")}


def saved_bdevs(daemon):
    return next(s["config"] for s in daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "bdev")


@pytest.fixture(params=OVER)
def over(request):
    return OVER[request.param]


def test_a_host_reaches_the_base(daemon, over):
    (method, params), top, (delete, named) = over
    daemon.malloc("base")
    daemon.rpc(method, **params)
    base, device = (daemon.rpc("bdev_get_bdevs", name=n)[0] for n in ("base", top))
    assert base["claimed"] and not device["claimed"]
    assert device["num_blocks"] == base["num_blocks"] and device["uuid"] != base["uuid"]
    served = daemon.serve(top)
    data = os.urandom(65536)
    with Host(served.port, served.nqn) as host:
        must(host.io.write(8, data, in_capsule=False))
        must(host.io.write(200, data[:4096]))
        assert host.io.read(8, 128) == data
        assert host.io.read(200, 8) == data[:4096]
    daemon.rpc("nvmf_subsystem_remove_ns", nqn=served.nqn, nsid=1)
    assert daemon.rpc(delete, **named) is True
    assert names(daemon) == {"base"}
    daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": "base"})
    with Host(served.port, served.nqn) as host:
        assert host.io.read(8, 128) == data      # it was passed on, not kept
    with pytest.raises(RpcError) as error:
        daemon.rpc(delete, **named)
    assert error.value.code == -19


def test_the_base_may_come_later_and_go_and_come_back(daemon, over):
    (method, params), top, (delete, named) = over
    assert daemon.rpc(method, **params) in (True, [], "top")
    assert names(daemon) == set()
    entries = saved_bdevs(daemon)
    assert any(e["method"] == method for e in entries)
    for _ in range(2):
        daemon.rpc("bdev_malloc_create", name="base", num_blocks=4096, block_size=512, uuid=UUID)
        uuid = daemon.rpc("bdev_get_bdevs", name=top)[0]["uuid"]
        with pytest.raises(RpcError) as error:
            daemon.rpc(method, **params)
        assert error.value.code == -17
        daemon.rpc("bdev_malloc_delete", name="base")
        assert names(daemon) == set()
        assert any(e["method"] == method for e in saved_bdevs(daemon))
    daemon.rpc("bdev_malloc_create", name="base", num_blocks=4096, block_size=512, uuid=UUID)
    assert daemon.rpc("bdev_get_bdevs", name=top)[0]["uuid"] == uuid    # hosts know it by that
    daemon.rpc("bdev_malloc_delete", name="base")
    assert daemon.rpc(delete, **named) is True
    assert saved_bdevs(daemon) == []


def test_any_order_of_lines_loads(daemon, tmp_path):
    daemon.malloc("m", mib=8)
    daemon.rpc("bdev_split_create", base_bdev="m", split_count=2)
    daemon.rpc("bdev_passthru_create", base_bdev_name="mp0", name="a")
    daemon.rpc("bdev_error_create", base_name="a")
    daemon.rpc("bdev_delay_create", base_bdev_name="EE_a", name="d", **DELAYS)
    daemon.rpc("bdev_passthru_create", base_bdev_name="absent", name="never")
    config, there = daemon.rpc("save_config"), daemon.rpc("bdev_get_bdevs")
    bdevs = next(s for s in config["subsystems"] if s["subsystem"] == "bdev")
    bdevs["config"].reverse()
    (tmp_path / "reversed.json").write_text(json.dumps(config))
    (tmp_path / "second").mkdir()
    with Daemon(tmp_path / "second", "-c", tmp_path / "reversed.json") as other:
        assert {b["name"]: b["uuid"] for b in other.rpc("bdev_get_bdevs")} == {b["name"]: b["uuid"] for b in there}
        assert sorted(map(json.dumps, saved_bdevs(other))) == sorted(map(json.dumps, bdevs["config"]))


def test_removing_the_base_of_a_tower_takes_all_of_it_from_its_host(daemon):
    daemon.malloc("m", mib=8)
    daemon.rpc("bdev_passthru_create", base_bdev_name="m", name="a")
    daemon.rpc("bdev_split_create", base_bdev="a", split_count=2, split_size_mb=1)
    daemon.rpc("bdev_passthru_create", base_bdev_name="ap1", name="b")
    served = daemon.serve("b")
    with Host(served.port, served.nqn) as host:
        must(host.io.write(0, bytes(4096)))
        assert daemon.rpc("bdev_malloc_delete", name="m") is True
        assert names(daemon) == set()
        assert host.io.write(0, bytes(4096)).status == 0x00b
    daemon.malloc("m", mib=8)
    assert names(daemon) == {"m", "a", "ap0", "ap1", "b"}


def test_sizes_follow(daemon):
    daemon.malloc("m", mib=8)
    daemon.rpc("bdev_passthru_create", base_bdev_name="m", name="a")
    assert daemon.rpc("bdev_split_create", base_bdev="a", split_count=9, split_size_mb=4) == ["ap0", "ap1"]
    daemon.rpc("bdev_malloc_resize", name="m", new_size=6)
    sizes = {b["name"]: b["num_blocks"] for b in daemon.rpc("bdev_get_bdevs")}
    assert sizes == {"m": 12288, "a": 12288, "ap0": 8192, "ap1": 4096}
    assert daemon.rpc("bdev_get_bdevs", name="ap1")[0]["driver_specific"]["split"] == \
        {"base_bdev": "a", "offset_blocks": "8192"}


@pytest.mark.parametrize("method,params,code,sentence", [
    ("bdev_passthru_create", dict(base_bdev_name="m", name="m"), -22, "cannot stand on itself"),
    ("bdev_passthru_create", dict(base_bdev_name="m", name="n"), -17, "'n' is taken by"),
    ("bdev_passthru_create", dict(base_bdev_name="taken", name="x"), -1, "claimed by passthru top"),
    ("bdev_passthru_create", dict(name="x"), -32602, "base_bdev_name"),
    ("bdev_passthru_delete", dict(name="m"), -22, "is a Malloc disk, not one of kind passthru"),
    ("bdev_passthru_delete", dict(name="nowhere"), -19, "there is no passthru 'nowhere'"),
    ("bdev_split_create", dict(base_bdev="m", split_count=0), -32602, "split_count"),
    ("bdev_split_create", dict(base_bdev="m", split_count=2, split_size_mb=9999), -22, "too few for one part"),
    ("bdev_split_create", dict(base_bdev="m", split_count=65536), -22, "too few for 65536 parts"),
    ("bdev_split_delete", dict(base_bdev="m"), -19, "'m' is not split"),
    ("bdev_delay_update_latency", dict(delay_bdev_name="m", latency_type="avg_read", latency_us=1), -22,
     "not a delay"),
    ("bdev_delay_update_latency", dict(delay_bdev_name="x", latency_type="avg_read", latency_us=1), -19,
     "no delay 'x'"),
    ("bdev_delay_update_latency", dict(delay_bdev_name="x", latency_type="never", latency_us=1),
     -32602, "latency_type"),
    ("bdev_get_fitness", dict(name="nowhere"), -19, "no block device 'nowhere'"),
])
def test_what_is_wrong_is_said(daemon, method, params, code, sentence):
    daemon.malloc("m", mib=1)
    daemon.null("n", mib=1)
    daemon.malloc("taken", mib=1)
    daemon.rpc("bdev_passthru_create", base_bdev_name="taken", name="top")
    with pytest.raises(RpcError) as error:
        daemon.rpc(method, **params)
    assert error.value.code == code
    assert sentence in error.value.message
    assert names(daemon) == {"m", "n", "taken", "top"}


def test_what_others_write_to_cannot_be_a_base(daemon):
    served = daemon.serve(daemon.malloc("m", mib=1))
    with pytest.raises(RpcError) as error:
        daemon.rpc("bdev_passthru_create", base_bdev_name="m", name="p")
    assert error.value.code == -1 and "claimed by NVMe-oF target" in error.value.message
    with Host(served.port, served.nqn) as host:
        must(host.io.write(0, bytes(512)))


def test_delays_delay(daemon):
    daemon.malloc("m", mib=1)
    daemon.rpc("bdev_delay_create", base_bdev_name="m", name="d", avg_read_latency=50000, p99_read_latency=50000,
               avg_write_latency=0, p99_write_latency=0)
    served = daemon.serve("d")
    with Host(served.port, served.nqn) as host:
        began = time.monotonic()
        host.io.read(0, 8)
        assert time.monotonic() - began >= 0.05
        for which in ("avg_read", "p99_read"):
            assert daemon.rpc("bdev_delay_update_latency", delay_bdev_name="d", latency_type=which,
                              latency_us=3600000000)
        driver = daemon.rpc("bdev_get_bdevs", name="d")[0]["driver_specific"]["delay"]
        assert driver["avg_read_latency"] == "3600000000" and driver["base_bdev_name"] == "m"
        cid = host.io.submit(rw(IO_READ, 0, 8), expect=4096)
        must(host.io.write(0, bytes(512)))      # nobody else waits for it
        assert daemon.rpc("bdev_delay_delete", name="d") is True
        must(host.io.wait(cid))                 # nor does the end of the device


def test_fitness(daemon):
    daemon.malloc("m", mib=1)
    daemon.rpc("bdev_passthru_create", base_bdev_name="m", name="p")
    daemon.rpc("bdev_delay_create", base_bdev_name="p", name="d", **DELAYS)
    rows = {row["name"]: row for row in daemon.rpc("bdev_get_fitness")}
    assert set(rows) == {"m", "p", "d"}
    assert rows["m"]["sleeps"] == "inline" and rows["d"]["sleeps"] == "timer"
    assert rows["m"]["cache"] == "lost_anyway" and "nothing survives" in rows["m"]["flush_reaches"]
    assert rows["p"]["bases"] == ["m"] and rows["m"]["bases"] == []
    for row in rows.values():
        assert set(row["native_operations"]) & set(row["emulated_operations"]) == set()
        assert {"read", "write", "flush"} <= set(row["native_operations"])
        assert set(row["native_operations"]) | set(row["emulated_operations"]) == \
            set(rows["m"]["native_operations"]) | set(rows["m"]["emulated_operations"])
        assert row["native_operations"] == rows["m"]["native_operations"]    # what is emulated below is said
        assert row["lends"] is True and row["limits"]["block_size"] == 512
    assert daemon.rpc("bdev_get_fitness", name="d") == [rows["d"]]


def test_a_tower_goes_under_load(daemon):
    """Hosts write while the base goes and comes, again and again: each command is answered, nothing hangs."""
    daemon.malloc("m", mib=4)
    daemon.rpc("bdev_passthru_create", base_bdev_name="m", name="a")
    daemon.rpc("bdev_delay_create", base_bdev_name="a", name="d", avg_read_latency=200, p99_read_latency=1000,
               avg_write_latency=200, p99_write_latency=1000)
    served = daemon.serve("d")
    with Host(served.port, served.nqn) as host:
        for _ in range(5):
            cids = [host.io.submit(write(n)[0], write(n)[1]) for n in range(24)]
            daemon.rpc("bdev_malloc_delete", name="m")
            for cid in cids:
                assert host.io.wait(cid).status in (0, 0x00b)
            daemon.malloc("m", mib=4)
            wait_until(lambda: "d" in names(daemon), "the tower stands again")
            daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": "d", "nsid": 1})
        must(host.io.write(0, bytes(512)))


def write(n):

    return rw(IO_WRITE, 8 * n, 8), bytes([n]) * 4096


def returning(daemon, served, top):
    """What is there of it: number and names of the namespace, limits."""
    namespaces = daemon.rpc("nvmf_get_subsystems", nqn=served.nqn)[0]["namespaces"]
    limits = next((b["assigned_rate_limits"]["rw_ios_per_sec"] for b in daemon.rpc("bdev_get_bdevs")
                   if b["name"] == top), None)
    groups = daemon.rpc("bdev_qos_get_groups")[0]["bdevs"]
    return [{k: n[k] for k in ("nsid", "bdev_name", "uuid", "nguid")} for n in namespaces], limits, groups


def test_what_belongs_to_it_returns_with_it(tmp_path, over):
    """Its base goes: so do the namespace and the limits, and they are kept until it is back, over a kill too."""
    (method, params), top, (delete, named) = over
    base = dict(name="base", num_blocks=65536, block_size=512)
    with Daemon(tmp_path, "--state-dir", tmp_path / "state") as daemon:
        daemon.rpc("bdev_malloc_create", **base, uuid=UUID)
        daemon.rpc(method, **params)
        served = daemon.serve(top)
        daemon.rpc("nvmf_subsystem_remove_ns", nqn=served.nqn, nsid=1)
        daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": top, "nsid": 3})
        daemon.rpc("bdev_set_qos_limit", name=top, rw_ios_per_sec=12000)
        daemon.rpc("bdev_qos_group_create", name="group", rw_mbytes_per_sec=100)
        daemon.rpc("bdev_qos_group_add_bdev", name="group", bdev_name=top)
        before, saved = returning(daemon, served, top), daemon.rpc("save_config")
        assert before[0] and before[1] and before[2] == [top]
        daemon.rpc("bdev_malloc_delete", name="base")
        gone = daemon.rpc("save_config")
        waiting = ["bdev_set_qos_limit", "bdev_qos_group_add_bdev", "nvmf_subsystem_add_ns"]
        assert returning(daemon, served, top) == ([], None, [])
        assert [m["method"] for m in daemon.rpc("config_get_missing")] == waiting
        # Another device in its place is not the one that was served.
        daemon.rpc("bdev_malloc_create", **base)
        assert top in names(daemon)
        assert returning(daemon, served, top) == ([], 0, [])
        daemon.rpc("bdev_malloc_delete", name="base")
        assert entries(daemon.rpc("save_config")) == entries(gone)
        daemon.rpc("bdev_malloc_create", **base, uuid=UUID)
        wait_until(lambda: daemon.rpc("config_get_missing") == [], "everything to be back")
        assert returning(daemon, served, top) == before and entries(daemon.rpc("save_config")) == entries(saved)
        with Host(served.port, served.nqn) as host:
            must(host.io.command(rw(IO_WRITE, 0, 1, nsid=3), bytes(512)))
            daemon.rpc("bdev_malloc_delete", name="base")
            daemon.kill()
        daemon.start()
        assert [m["method"] for m in daemon.rpc("config_get_missing")] == waiting
        daemon.rpc("bdev_malloc_create", **base, uuid=UUID)
        wait_until(lambda: daemon.rpc("config_get_missing") == [], "everything to be back after a kill")
        assert returning(daemon, served, top) == before
        # Who takes the number or deletes the subsystem or the device has the last word.
        daemon.rpc("bdev_malloc_delete", name="base")
        daemon.null("other")
        daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": "other", "nsid": 3})
        assert [m["method"] for m in daemon.rpc("config_get_missing")] == waiting[:2]
        daemon.rpc(delete, **named)
        daemon.rpc("bdev_malloc_create", **base, uuid=UUID)
        assert [n["bdev_name"] for n in returning(daemon, served, top)[0]] == ["other"]


def test_what_is_deleted_does_not_return(daemon):
    """As with SPDK: the device that is deleted itself takes its namespace along."""
    daemon.rpc("bdev_malloc_create", name="base", num_blocks=65536, block_size=512, uuid=UUID)
    served = daemon.serve("base")
    daemon.rpc("bdev_malloc_delete", name="base")
    assert daemon.rpc("config_get_missing") == []
    daemon.rpc("bdev_malloc_create", name="base", num_blocks=65536, block_size=512, uuid=UUID)
    assert daemon.rpc("nvmf_get_subsystems", nqn=served.nqn)[0]["namespaces"] == []


def entries(config):
    """In any order: what returns is saved behind what stayed."""
    return sorted(json.dumps([s["subsystem"], e], sort_keys=True) for s in config["subsystems"]
                  for e in s["config"] or [])
