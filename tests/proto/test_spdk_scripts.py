# SPDX-License-Identifier: BSD-3-Clause
"""What scripts written for SPDK, and its rpc.py, need beside the methods that do something: answers to what they ask of
pools and acceleration, sentences for what there is not, configurations that are loaded call by call."""
import json
import subprocess

import pytest

from gantry import Daemon, RpcError, gantryd_path
from iscsi import Chap, LoginFailed, Session
from jsonrpc import Waiting


def methods_of(config):
    """As rpc.py's load_config goes through it: lists are batches."""
    for entry in config:
        yield from entry if isinstance(entry, list) else [entry]


def rpc_py_load(daemon, subsystems):
    """rpc.py's load_config: all methods are known; those that may be called now, in the file's order, one by one."""
    known = daemon.rpc("rpc_get_methods")
    left = [(e["method"], e.get("params", {})) for s in subsystems for e in methods_of(s["config"] or [])]
    assert [m for m, _ in left if m not in known] == []
    while left:
        now = daemon.rpc("rpc_get_methods", current=True)
        for method, params in [e for e in left if e[0] in now]:
            daemon.rpc(method, **params)
        left = [e for e in left if e[0] not in now]
        if "framework_start_init" in now:
            daemon.rpc("framework_start_init")


def test_what_every_spdk_target_saves_is_known(tmp_path):
    """fsdev_set_opts is in each of its configurations, and rpc.py refuses the whole for one unknown method."""
    saved = [{"subsystem": "fsdev", "config": [{"method": "fsdev_set_opts", "params":
             {"fsdev_io_pool_size": 65535, "fsdev_io_cache_size": 256}}]}, {"subsystem": "vmd", "config": []}]
    with Waiting(tmp_path) as daemon:
        rpc_py_load(daemon, saved)
        assert saved[0] in daemon.rpc("save_config")["subsystems"]
        assert "fsdev" in [s["subsystem"] for s in daemon.rpc("framework_get_subsystems")]


def test_target_nodes_before_their_authentication_group(daemon):
    """SPDK saves the groups last."""
    node = {"name": "disk1", "alias_name": "Data", "pg_ig_maps": [{"pg_tag": 1, "ig_tag": 2}], "luns": [],
            "queue_depth": 64, "disable_chap": False, "require_chap": True, "mutual_chap": False, "chap_group": 7}
    auth = {"tag": 1, "disable_chap": False, "require_chap": True, "mutual_chap": False, "chap_group": 7}
    rpc_py_load(daemon, [{"subsystem": "iscsi", "config": [
        {"method": "iscsi_create_portal_group", "params": {"tag": 1, "portals": [{"host": "127.0.0.1", "port": "0"}],
                                                           "private": False}},
        {"method": "iscsi_portal_group_set_auth", "params": auth},
        {"method": "iscsi_create_initiator_group", "params": {"tag": 2, "initiators": ["ANY"], "netmasks": ["ANY"]}},
        {"method": "iscsi_create_target_node", "params": node},
        {"method": "iscsi_create_auth_group", "params": {"tag": 7, "secrets": [{"user": "u", "secret": "s" * 12}]}},
    ]}])
    assert daemon.rpc("iscsi_get_target_nodes")[0]["chap_group"] == 7
    assert "no authentication group 7 yet" in daemon.log()
    with pytest.raises(RpcError, match="there is no authentication group 8; make it"):
        daemon.rpc("iscsi_target_node_set_auth", name="iqn.2016-06.io.gantry:disk1", chap_group=8)


def test_nobody_gets_in_where_the_group_is_not_there(daemon):
    """Before it is made, and after it was deleted, a node that asks for CHAP, or a portal, would be open to all."""
    exported = daemon.export(daemon.malloc("disk0"), disable_chap=False, require_chap=True, chap_group=7)
    daemon.rpc("iscsi_portal_group_set_auth", tag=1, require_chap=True, chap_group=7)
    chap = Chap("u", "s" * 12)

    def log_in(target, **how):
        with Session(exported.port, target, **how):
            pass
    for has_group in (False, True, False):
        if has_group:
            daemon.rpc("iscsi_create_auth_group", tag=7, secrets=[{"user": "u", "secret": "s" * 12}])
            log_in(exported.name, chap=chap)
            log_in(None, chap=chap)
            daemon.rpc("iscsi_delete_auth_group", tag=7)
            continue
        for target in (exported.name, None):                # a session, and discovery
            for how in ({}, {"chap": chap}, {"chap": Chap("", "")}):
                with pytest.raises(LoginFailed):
                    log_in(target, **how)


@pytest.mark.parametrize("method", ["bdev_malloc_create", "bdev_null_create"])
def test_a_block_size_that_counts_metadata(daemon, method):
    """SPDK saves what a block has in all."""
    daemon.rpc(method, name="d", num_blocks=64, block_size=4096 + 8, md_size=8, dif_type=1)
    daemon.rpc("bdev_malloc_create", name="same", num_blocks=64, block_size=4096, md_size=8, dif_type=1,
               md_interleave=True)
    shown, same = (daemon.rpc("bdev_get_bdevs", name=n)[0] for n in ("d", "same"))
    for key in ("block_size", "md_size", "md_interleave", "dif_type"):
        assert shown[key] == same[key], key
    entry = [e for s in daemon.rpc("save_config")["subsystems"] for e in s["config"]
             if e.get("params", {}).get("name") == "d"]
    assert entry[0]["params"]["block_size"] == 4096
    with pytest.raises(RpcError, match="block_size: 4104 is not a multiple of 512"):
        daemon.rpc(method, name="e", num_blocks=64, block_size=4096 + 8, md_size=16)


def test_saved_in_batches(tmp_path):
    with Daemon(tmp_path) as daemon:
        for i in range(3):
            daemon.rpc("bdev_null_create", name=f"n{i}", num_blocks=8, block_size=512)
        daemon.rpc("bdev_passthru_create", name="p0", base_bdev_name="n0")
        daemon.rpc("bdev_passthru_create", name="p1", base_bdev_name="p0")
        flat = daemon.rpc("framework_get_config", name="bdev")
        batched = daemon.rpc("framework_get_config", name="bdev", with_batches=True)
        assert list(methods_of(batched)) == flat and not any(isinstance(e, list) for e in flat)
        lists = [e for e in batched if isinstance(e, list)]
        assert [[c["params"]["name"] for c in one] for one in lists] == [["n0", "n1", "n2"]]    # p1 needs p0
        assert daemon.rpc("save_subsystem_config", name="bdev", with_batches=True)["config"] == batched
    path = tmp_path / "batches.json"
    path.write_text(json.dumps({"subsystems": [{"subsystem": "bdev", "config": batched}]}))
    with Daemon(tmp_path, "-c", path) as daemon:
        assert daemon.rpc("framework_get_config", name="bdev", with_batches=True) == batched


def test_buffers_and_acceleration_are_told(daemon):
    stats = daemon.rpc("iobuf_get_stats")
    assert stats == [{"module": "gantry", **{pool: {"cache": 0, "main": 0, "retry": 0, "cache_size": 0}
                                             for pool in ("small_pool", "large_pool")}}]
    operations = daemon.rpc("accel_get_opc_assignments")
    assert operations["copy"] == operations["crc32c"] == "software"
    assert daemon.rpc("accel_get_module_info") == [{"module": "software", "supported ops": list(operations)}]


@pytest.mark.parametrize("method, remedy", [
    ("bdev_lvol_create_lvstore", "bdev_split_create"), ("bdev_raid_add_base_bdev", "md below bdev_uring_create"),
    ("bdev_rbd_create", "rbd map"), ("bdev_crypto_create", "dm-crypt"), ("nbd_start_disk", "nvme connect"),
    ("ublk_start_disk", "nvme connect"), ("env_dpdk_get_mem_stats", "framework_get_memory"),
    ("bdev_iscsi_create", "iscsiadm"), ("vfu_virtio_create_blk_endpoint", "vhost_create_blk_controller"),
])
def test_what_there_is_not_is_said_with_what_does_it(daemon, method, remedy):
    with pytest.raises(RpcError) as e:
        daemon.rpc(method)
    assert e.value.code == -32601 and f"Method not found: {method}: " in e.value.message and remedy in e.value.message


def test_what_is_named_as_a_remedy_exists(daemon):
    known = set(daemon.rpc("rpc_get_methods"))
    for method in ("bdev_uring_create", "bdev_split_create", "framework_get_memory", "bdev_get_iostat", "nvme_identify",
                   "bdev_nvme_send_cmd", "bdev_enable_histogram", "bdev_get_histogram", "vhost_create_blk_controller",
                   "bdev_virtio_attach_controller"):
        assert method in known


def test_errors_of_a_configuration_may_be_ignored(tmp_path):
    path = tmp_path / "config.json"
    good = {"method": "bdev_malloc_create", "params": {"name": "good", "num_blocks": 8, "block_size": 512}}
    wrong = {"method": "bdev_malloc_create", "params": {"name": "bad", "num_blocks": 8, "block_size": 513}}
    absent = {"method": "bdev_lvol_create_lvstore", "params": {"bdev_name": "good", "lvs_name": "l"}}
    path.write_text(json.dumps({"subsystems": [{"subsystem": "bdev", "config": [wrong, absent, good]}]}))
    done = subprocess.run([gantryd_path(), "-r", tmp_path / "s", "-c", path], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1 and "bdev_lvol_create_lvstore" in done.stderr
    with Daemon(tmp_path, "-c", path, "--json-ignore-init-errors") as daemon:
        assert [b["name"] for b in daemon.rpc("bdev_get_bdevs")] == ["good"]
        assert sorted(m["method"] for m in daemon.rpc("config_get_missing")) == \
            ["bdev_lvol_create_lvstore", "bdev_malloc_create"]
    state = tmp_path / "state"
    with Daemon(tmp_path, "-c", path, "--json-ignore-init-errors", "--state-dir", state) as daemon:
        daemon.rpc("bdev_null_create", name="more", num_blocks=8, block_size=512)
    with Daemon(tmp_path, "--state-dir", state) as daemon:      # what failed was not lost when the state was saved
        assert {b["name"] for b in daemon.rpc("bdev_get_bdevs")} == {"good", "more"}
        saved = [e for s in daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "bdev" for e in s["config"]]
        assert wrong in saved and absent in saved
        assert sorted(m["method"] for m in daemon.rpc("config_get_missing")) == \
            ["bdev_lvol_create_lvstore", "bdev_malloc_create"]
