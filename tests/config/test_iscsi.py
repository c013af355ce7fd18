# SPDX-License-Identifier: BSD-3-Clause
"""iSCSI's part of configurations: devices that are not there yet, or go and return; whole configurations exchanged;
SPDK's files; what happens to secrets; and sentences about what is wrong."""
import json

import pytest

from gantry import Daemon, RpcError, free_port, wait_until
from iscsi import Session
from jsonrpc import gantry

NODE = "iqn.2016-06.io.spdk:disk"
UUID = "0d3c9c8e-7d2b-4c46-9a54-0a8c7f2b9f01"
SECRET = "0123456789ab"


def entries(daemon):
    return next(s["config"] for s in daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "iscsi")


def luns(daemon):
    return [(lun["lun_id"], lun["bdev_name"]) for lun in daemon.rpc("iscsi_get_target_nodes")[0]["luns"]]


def missing(daemon):
    return [(m["method"], m["params"].get("bdev_name")) for m in daemon.rpc("config_get_missing")]


def serve(daemon, *bdevs):
    daemon.portal = free_port()
    daemon.rpc("iscsi_create_portal_group", tag=1, portals=[{"host": "127.0.0.1", "port": str(daemon.portal)}])
    daemon.rpc("iscsi_create_initiator_group", tag=2, initiators=["ANY"], netmasks=["127.0.0.0/8"])
    daemon.rpc("iscsi_create_auth_group", tag=3, secrets=[{"user": "joe", "secret": SECRET}])
    daemon.rpc("iscsi_create_target_node", name="disk", pg_ig_maps=[{"pg_tag": 1, "ig_tag": 2}], queue_depth=64,
               luns=[{"bdev_name": bdev, "lun_id": lun} for lun, bdev in enumerate(bdevs)])


def spdk_config(port):
    """As SPDK's iscsi_tgt saves it: authentication groups last, LUNs and maps within the node."""
    return {"subsystems": [{"subsystem": "iscsi", "config": [
        {"method": "iscsi_set_options", "params": {
            "node_base": "iqn.2016-06.io.spdk", "max_sessions": 128, "max_connections_per_session": 2,
            "max_queue_depth": 64, "default_time2wait": 2, "default_time2retain": 20, "first_burst_length": 8192,
            "immediate_data": True, "allow_duplicated_isid": False, "error_recovery_level": 0, "nop_timeout": 60,
            "nop_in_interval": 30, "disable_chap": False, "require_chap": False, "mutual_chap": False, "chap_group": 0,
            "max_large_datain_per_connection": 64, "max_r2t_per_connection": 4, "pdu_pool_size": 36864,
            "immediate_data_pool_size": 16384, "data_out_pool_size": 2048}},
        {"method": "iscsi_create_portal_group", "params": {
            "tag": 1, "portals": [{"host": "127.0.0.1", "port": str(port)}], "private": False}},
        {"method": "iscsi_create_initiator_group", "params": {
            "tag": 2, "initiators": ["ANY"], "netmasks": ["127.0.0.0/8"]}},
        {"method": "iscsi_create_target_node", "params": {
            "name": NODE, "alias_name": "disk_alias", "pg_ig_maps": [{"pg_tag": 1, "ig_tag": 2}],
            "luns": [{"bdev_name": "disk0", "lun_id": 0}, {"bdev_name": "late", "lun_id": 4}], "queue_depth": 64,
            "disable_chap": False, "require_chap": False, "mutual_chap": False, "chap_group": 1, "header_digest": False,
            "data_digest": False}},
        {"method": "iscsi_enable_histogram", "params": {"name": NODE, "enable": True}},
        {"method": "iscsi_create_auth_group", "params": {"tag": 1, "secrets": [{"user": "joe", "secret": SECRET}]}},
    ]}, {"subsystem": "bdev", "config": [
        {"method": "bdev_malloc_create", "params": {"name": "disk0", "num_blocks": 2048, "block_size": 512}}]}]}


def test_a_file_of_spdks_with_a_disk_that_comes_late(tmp_path):
    """The node would wait for the last of its disks; or the LUN would not come with its disk."""
    port = free_port()
    (tmp_path / "c.json").write_text(json.dumps(spdk_config(port)))
    with Daemon(tmp_path, "-c", tmp_path / "c.json") as daemon:
        wait_until(lambda: luns(daemon) == [(0, "disk0")], "the LUN whose disk is there")
        assert missing(daemon) == [("iscsi_target_node_add_lun", "late")]
        with Session(port, NODE) as s:
            assert s.luns() == [0]
            daemon.malloc("late")
            wait_until(lambda: missing(daemon) == [], "the LUN to come")
            s.clear_attentions()
            assert s.luns() == [0, 4]
        assert luns(daemon) == [(0, "disk0"), (4, "late")]
        node = daemon.rpc("iscsi_get_target_nodes")[0]
        assert (node["alias_name"], node["chap_group"], node["queue_depth"]) == ("disk_alias", 1, 64)
        assert daemon.rpc("iscsi_get_options")["first_burst_length"] == 8192


def test_a_lun_returns_with_its_device(tmp_path):
    """A stacked device goes with its base, and is there again with it: hosts would have lost the disk for good."""
    with Daemon(tmp_path, "--state-dir", tmp_path / "state") as daemon:
        daemon.null("base", uuid=UUID)
        daemon.rpc("bdev_passthru_create", base_bdev_name="base", name="pass0")
        serve(daemon, "pass0")
        before = entries(daemon)
        with Session(daemon.portal, NODE) as s:
            daemon.rpc("bdev_null_delete", name="base")
            s.clear_attentions()
            assert s.luns() == [] and luns(daemon) == []
            assert missing(daemon) == [("iscsi_target_node_add_lun", "pass0")]
            daemon.null("base", uuid=UUID)
            wait_until(lambda: missing(daemon) == [], "the LUN to return")
            s.clear_attentions()
            assert s.luns() == [0] and luns(daemon) == [(0, "pass0")]
        assert entries(daemon) == before
        daemon.rpc("bdev_null_delete", name="base")
        daemon.malloc("other")
        daemon.rpc("iscsi_target_node_add_lun", name="disk", bdev_name="other")      # takes its number
        assert missing(daemon) == []
        daemon.rpc("iscsi_target_node_remove_lun", name="disk", lun_id=0)


def test_a_missing_lun_can_be_taken_away(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(spdk_config(free_port())))
    with Daemon(tmp_path, "-c", tmp_path / "c.json") as daemon:
        wait_until(lambda: luns(daemon) == [(0, "disk0")], "the LUN whose disk is there")
        daemon.rpc("iscsi_target_node_remove_lun", name=NODE[-4:], lun_id=4)     # node_base is understood
        assert missing(daemon) == []
        daemon.malloc("late")
        assert luns(daemon) == [(0, "disk0")]
        with pytest.raises(RpcError, match="does not exist"):
            daemon.rpc("iscsi_target_node_remove_lun", name=NODE, lun_id=4)


@pytest.mark.parametrize("name", [NODE, NODE[-4:]])
def test_a_node_takes_what_it_waits_for_along(tmp_path, name):
    (tmp_path / "c.json").write_text(json.dumps(spdk_config(free_port())))
    with Daemon(tmp_path, "-c", tmp_path / "c.json") as daemon:
        wait_until(lambda: luns(daemon) == [(0, "disk0")], "the LUN whose disk is there")
        daemon.rpc("iscsi_delete_target_node", name=name)
        assert missing(daemon) == [] and daemon.rpc("iscsi_get_target_nodes") == []


def test_configurations_are_exchanged_with_what_hangs_together(tmp_path):
    """A portal group that is made again would come back without the maps of its nodes."""
    with Daemon(tmp_path, "--state-dir", tmp_path / "state") as daemon:
        daemon.malloc("disk0")
        daemon.malloc("disk1")
        serve(daemon, "disk0")
        saved, port, version = daemon.rpc("save_config"), free_port(), daemon.rpc("config_get_versions")[-1]["version"]
        want = json.loads(json.dumps(saved).replace(f'"port": "{daemon.portal}"', f'"port": "{port}"'))
        config = next(s["config"] for s in want["subsystems"] if s["subsystem"] == "iscsi")
        config.append({"method": "iscsi_target_node_add_lun", "params": {"name": NODE, "bdev_name": "disk1",
                                                                          "lun_id": 9}})
        plan = daemon.rpc("config_apply", dry_run=True, config=want)
        daemon.rpc("config_apply", config=want)
        assert "initiator_group" not in json.dumps(plan) and "auth_group" not in json.dumps(plan)
        node = daemon.rpc("iscsi_get_target_nodes")[0]
        assert node["pg_ig_maps"] == [{"pg_tag": 1, "ig_tag": 2}] and luns(daemon) == [(0, "disk0"), (9, "disk1")]
        with Session(port, NODE) as s:
            assert s.luns() == [0, 9]
        daemon.rpc("config_rollback", version=version)
        assert [json.dumps(e) for e in entries(daemon)] == \
               [json.dumps(e) for s in saved["subsystems"] if s["subsystem"] == "iscsi" for e in s["config"]]


def test_secrets_are_kept_and_not_shown(tmp_path):
    with Daemon(tmp_path, "--state-dir", tmp_path / "state") as daemon:
        daemon.rpc("log_set_print_level", level="DEBUG")
        daemon.rpc("log_set_flag", flag="all")
        serve(daemon)
        daemon.rpc("iscsi_auth_group_add_secret", tag=3, user="short", secret="tiny")
        shown = [daemon.rpc(method) for method in ("iscsi_get_auth_groups", "iscsi_get_target_nodes",
                                                   "iscsi_get_options", "config_get_versions")]
        changed = json.loads(json.dumps(daemon.rpc("save_config")).replace(SECRET, "changed-secret"))
        shown.append(daemon.rpc("config_diff", config=changed))
        shown.append(daemon.rpc("config_apply", config=changed, dry_run=True))
        shown.append(daemon.rpc("config_apply", config=changed))
        shown.append(daemon.rpc("config_get_versions"))
        assert "joe" in json.dumps(shown)
        for secret in (SECRET, "changed-secret", "tiny"):
            assert secret not in json.dumps(shown)
            assert secret not in daemon.log_path.read_text()
        assert "shorter than" in daemon.log_path.read_text()
        kept = daemon.rpc("save_config")
        assert "changed-secret" in json.dumps(kept)
    with Daemon(tmp_path, "--state-dir", tmp_path / "state") as daemon:
        assert daemon.rpc("save_config") == kept


WRONG = [
    ("iscsi_create_portal_group", {"tag": 0, "portals": []}, "tag"),
    ("iscsi_create_portal_group", {"tag": 65536, "portals": []}, "tag"),
    ("iscsi_create_portal_group", {"tag": 1, "portals": []}, "tag: there is a portal group 1"),
    ("iscsi_create_portal_group", {"tag": 5, "portals": [{"host": "localhost", "port": "1"}]}, "are not looked up"),
    ("iscsi_create_portal_group", {"tag": 5, "portals": [{"host": "127.0.0.1", "port": "70000"}]}, "portals: "),
    ("iscsi_create_portal_group", {"tag": 5, "portals": [{"host": "192.0.2.1", "port": "3260"}]}, "portals: 192.0.2.1"),
    ("iscsi_create_initiator_group", {"tag": 5, "initiators": [], "netmasks": ["ANY"]}, "initiators: none"),
    ("iscsi_create_initiator_group", {"tag": 5, "initiators": ["ANY"], "netmasks": ["10.0.0.0/33"]}, "0 to 32 bits"),
    ("iscsi_create_initiator_group", {"tag": 5, "initiators": ["a b"], "netmasks": ["ANY"]}, "blank"),
    ("iscsi_initiator_group_remove_initiators", {"tag": 2, "initiators": ["iqn.2020-01.x:y"]}, "not in initiator"),
    ("iscsi_create_target_node", {"name": "iqn.x"}, "iqn.YYYY-MM"),
    ("iscsi_create_target_node", {"name": "disk"}, "there is a target node"),
    ("iscsi_create_target_node", {"name": "b", "pg_ig_maps": [{"pg_tag": 9, "ig_tag": 2}]}, "portal group 9"),
    ("iscsi_create_target_node", {"name": "b", "pg_ig_maps": [{"pg_tag": 1, "ig_tag": 9}]}, "initiator group 9"),
    ("iscsi_create_target_node", {"name": "b", "luns": [{"bdev_name": "none", "lun_id": 0}]}, r"luns\[0\].bdev_name"),
    ("iscsi_create_target_node", {"name": "b", "luns": [{"bdev_name": "disk0", "lun_id": 256}]}, "lun_id: 256"),
    ("iscsi_create_target_node", {"name": "b", "queue_depth": 5000}, "queue_depth"),
    ("iscsi_target_node_set_auth", {"name": NODE, "chap_group": 77}, "authentication group 77"),
    ("iscsi_create_target_node", {"name": "b", "require_chap": True, "disable_chap": True}, "both are true"),
    ("iscsi_target_node_set_auth", {"name": "disk", "mutual_chap": True}, "require_chap"),
    ("iscsi_target_node_set_redirect", {"name": "disk", "pg_tag": 1, "redirect_host": "a"}, "redirect_host"),
    ("iscsi_target_node_set_redirect", {"name": "disk", "pg_tag": 1, "redirect_port": "1"}, "redirect_host"),
    ("iscsi_target_node_add_pg_ig_maps", {"name": "disk", "pg_ig_maps": [{"pg_tag": 1, "ig_tag": 2}]}, "already"),
    ("iscsi_target_node_remove_pg_ig_maps", {"name": "disk", "pg_ig_maps": [{"pg_tag": 1, "ig_tag": 3}]}, "has no map"),
    ("iscsi_create_target_node", {"name": ""}, "name: it is empty"),
    ("iscsi_target_node_remove_lun", {"name": "disk", "lun_id": 7}, "does not exist"),
    ("iscsi_target_node_add_lun", {"name": "none", "bdev_name": "disk0"}, "there is no target node 'none'"),
    ("iscsi_auth_group_add_secret", {"tag": 3, "user": "joe", "secret": "x" * 12}, "already"),
    ("iscsi_auth_group_add_secret", {"tag": 3, "user": "a", "secret": "x" * 12, "muser": "b"}, "msecret"),
    ("iscsi_auth_group_add_secret", {"tag": 3, "user": "a", "secret": "xx", "muser": "b", "msecret": "xx"}, "same"),
    ("iscsi_auth_group_remove_secret", {"tag": 3, "user": "nobody"}, "not in authentication group 3"),
    ("iscsi_set_options", {"first_burst_length": 65536, "max_burst_length": 4096}, "first_burst_length: 65536"),
    ("iscsi_set_options", {"node_base": "spdk"}, "node_base"),
    ("iscsi_delete_portal_group", {"tag": 44}, "portal group 44"),
]


def test_what_is_wrong_is_said_and_changes_nothing(daemon):
    daemon.malloc("disk0")
    serve(daemon, "disk0")
    before = entries(daemon)
    for method, params, sentence in WRONG:
        with pytest.raises(RpcError, match=sentence):
            daemon.rpc(method, **params)
    assert entries(daemon) == before
    assert daemon.rpc("scsi_get_devices") == [{"id": 0, "device_name": NODE}]
    assert gantry("rpc", "iscsi_get_target_nodes", "name=disk", socket=daemon.socket)
