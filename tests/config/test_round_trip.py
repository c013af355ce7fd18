# SPDX-License-Identifier: BSD-3-Clause
"""Save, restart, save: what every method configures comes back, the same. A method that configures something and is not
in EXAMPLES fails the last test, so that a new one cannot be forgotten."""
import copy
import json
import os
import tempfile

import pytest

from gantry import NQN, Daemon, free_port, wait_until
from jsonrpc import Waiting
from nvme_tcp import DISCOVERY_NQN

HOST = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"
IQN = "iqn.2016-06.io.gantry"
UUID = "0d3c9c8e-7d2b-4c46-9a54-0a8c7f2b9f01"
PORT = free_port()
FILE = tempfile.NamedTemporaryFile(prefix="gantry-round-trip-")  # as long as the tests run
FILE.truncate(1 << 20)
KEY = tempfile.NamedTemporaryFile(prefix="gantry-round-trip-key-")   # made with mode 0600
KEY.write(b"DHHC-1:00:ICcuNTxDSlFYX2ZtdHuCiZCXnqWss7rByM/W3eTr8vmMpzdS:\n")
KEY.flush()
TLS_KEY = tempfile.NamedTemporaryFile(prefix="gantry-round-trip-key-")
TLS_KEY.write(b"NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:\n")
TLS_KEY.flush()
ADDRESS = {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(PORT)}

# In an order in which they can be called.
AT_STARTUP = [
    ("keyring_linux_set_options", {"enable": False}),
    ("scheduler_set_options", {"isolated_core_mask": "0", "scheduling_core": min(os.sched_getaffinity(0))}),
    ("nvmf_set_config", {"discovery_filters": ["transport", "svcid"], "dup_host_policy": "replace",
                         "admin_cmd_passthru": {"identify_ctrlr": False}, "dhchap_digests": ["sha256", "sha512"],
                         "dhchap_dhgroups": ["null", "ffdhe8192"],
                         "poll_groups_mask": f"{1 << min(os.sched_getaffinity(0)):x}"}),
    ("nvmf_set_max_subsystems", {"max_subsystems": 512}),
    ("nvmf_set_crdt", {"crdt1": 1, "crdt2": 2, "crdt3": 3}),
    ("nvmf_set_failover", {"ccr_limit": 3, "cqt_ms": 700}),
]
EXAMPLES = [
    ("keyring_file_add_key", {"name": "key0", "path": KEY.name}),
    ("keyring_file_add_key", {"name": "key1", "path": KEY.name}),
    ("keyring_file_add_key", {"name": "tls0", "path": TLS_KEY.name}),
    ("framework_set_mode", {"mode": "interrupt", "reactor": 0}),
    ("framework_set_scheduler", {"name": "dynamic", "period": 2000000, "load_limit": 10, "core_limit": 70,
                                 "core_busy": 90, "mappings": "1:2"}),
    ("gantry_set_watchdog", {"limit_ms": 5000}),
    ("bdev_malloc_create", {"name": "disk0", "num_blocks": 4096, "block_size": 4096, "uuid": UUID, "dif_type": 0}),
    ("bdev_malloc_create", {"name": "protected", "num_blocks": 64, "block_size": 512, "md_size": 16,
                            "md_interleave": True, "dif_type": 2, "dif_is_head_of_md": True}),
    ("bdev_null_create", {"name": "nullpi", "num_blocks": 64, "block_size": 512, "md_size": 8, "dif_type": 1}),
    ("bdev_malloc_create", {"num_blocks": 8192, "block_size": 512}),
    ("bdev_null_create", {"name": "null0", "num_blocks": 1 << 40, "block_size": 512}),
    ("bdev_aio_create", {"name": "aio0", "filename": FILE.name, "block_size": 512, "readonly": True, "fallocate": False,
                         "nowait": False}),
    ("bdev_aio_create", {"name": "aio1", "filename": FILE.name}),
    ("bdev_uring_create", {"name": "uring0", "filename": FILE.name, "block_size": 1024, "uuid": UUID[:-1] + "2"}),
    ("bdev_malloc_resize", {"name": "disk0", "new_size": 32}),
    ("bdev_null_resize", {"name": "null0", "new_size": 1 << 20}),
    ("bdev_null_create", {"name": "null1", "num_blocks": 1 << 20, "block_size": 512}),
    ("bdev_split_create", {"base_bdev": "null1", "split_count": 2, "split_size_mb": 64}),
    ("bdev_passthru_create", {"base_bdev_name": "null1p1", "name": "pass0"}),
    ("bdev_error_create", {"base_name": "pass0", "uuid": UUID[:-1] + "7"}),
    ("bdev_error_inject_error", {"name": "EE_pass0", "io_type": "all", "error_type": "failure", "num": 5,
                                 "status": "MEDIA_ERROR", "offset_blocks": 8, "num_blocks": 2}),
    ("bdev_error_inject_error", {"name": "EE_pass0", "io_type": "read", "error_type": "corrupt_data", "num": 7,
                                 "offset_blocks": 8, "num_blocks": 2, "corrupt_offset": 3, "corrupt_value": 4}),
    ("bdev_error_inject_error", {"name": "EE_pass0", "io_type": "write", "error_type": "pending", "num": 1,
                                 "offset_blocks": 99, "num_blocks": 1, "queue_depth": 2}),
    ("bdev_delay_create", {"base_bdev_name": "late", "name": "delay0", "avg_read_latency": 1, "p99_read_latency": 2,
                           "avg_write_latency": 3, "p99_write_latency": 4}),
    ("bdev_delay_update_latency", {"delay_bdev_name": "delay0", "latency_type": "p99_read", "latency_us": 5}),
    ("bdev_powercut_create", {"base_bdev_name": "delay0", "name": "power0", "cache_blocks": 99}),
    ("bdev_raid_create", {"name": "raid0", "raid_level": "raid0", "strip_size_kb": 16,
                          "base_bdevs": ["null1p0", "later"]}),
    ("bdev_gpt_set_options", {"types": ["linux", "spdk"]}),
    ("bdev_nvme_set_options", {"action_on_timeout": "reset", "timeout_us": 7000000, "bdev_retry_count": 5,
                               "ctrlr_loss_timeout_sec": 60, "transport_ack_timeout": 12, "delay_cmd_submit": True,
                               "multipath_opts": {"policy": "active_active", "selector": "latency"}}),
    ("bdev_qos_group_create", {"name": "gold", "rw_ios_per_sec": 1000, "burst_ms": 100}),
    ("bdev_qos_group_set_limit", {"name": "gold", "w_mbytes_per_sec": 9}),
    ("bdev_qos_group_add_bdev", {"name": "gold", "bdev_name": "disk0"}),
    ("bdev_set_qos_limit", {"name": "disk0", "r_ios_per_sec": 30000, "rw_mbytes_per_sec": 200}),
    ("nvmf_create_transport", {"trtype": "TCP", "max_queue_depth": 64, "zcopy": True, "kas": 5, "min_kato": 3000,
                               "masked_oncs": ["nvmcmps", "reservs"], "masked_fuses": ["fcws"]}),
    ("nvmf_set_slow_io_limit", {"limit_us": 20000}),
    ("nvmf_set_limits", {"max_connections": 1000, "max_controllers": 100}),
    ("scsi_set_slow_io_limit", {"limit_us": 30000}),
    ("vhost_set_slow_io_limit", {"limit_us": 40000}),
    ("iscsi_set_options", {"max_sessions": 100, "max_queue_depth": 64, "nop_in_interval": 20, "immediate_data": False,
                           "auth_file": "/tmp/none"}),
    ("iscsi_create_auth_group", {"tag": 4, "secrets": [{"user": "a", "secret": "0123456789ab", "muser": "m",
                                                        "msecret": "ab9876543210"}]}),
    ("iscsi_auth_group_add_secret", {"tag": 4, "user": "b", "secret": "abcdefghijkl"}),
    ("iscsi_set_discovery_auth", {"require_chap": True, "chap_group": 4}),
    ("iscsi_create_portal_group", {"tag": 1, "portals": [{"host": "127.0.0.1", "port": str(free_port())},
                                                         {"host": "[::1]", "port": str(free_port())}]}),
    ("iscsi_create_portal_group", {"tag": 2, "private": True, "wait": True,
                                   "portals": [{"host": "127.0.0.1", "port": str(free_port())}]}),
    ("iscsi_create_portal_group", {"tag": 3, "wait": True, "portals": [{"host": "127.0.0.1",
                                                                         "port": str(free_port())}]}),
    ("iscsi_start_portal_group", {"tag": 3}),
    ("iscsi_portal_group_set_auth", {"tag": 3, "disable_chap": True}),
    ("iscsi_create_initiator_group", {"tag": 7, "initiators": ["!" + IQN + ":bad", "ANY"],
                                      "netmasks": ["127.0.0.0/8"]}),
    ("iscsi_initiator_group_add_initiators", {"tag": 7, "initiators": [IQN + ":late"], "netmasks": ["[::1]/128"]}),
    ("iscsi_create_target_node", {"name": IQN + ":disk", "alias_name": "the disk", "queue_depth": 32,
                                  "pg_ig_maps": [{"pg_tag": 1, "ig_tag": 7}], "header_digest": True,
                                  "luns": [{"bdev_name": "uring0", "lun_id": 5}], "require_chap": True,
                                  "chap_group": 4}),
    ("iscsi_create_target_node", {"name": "plain", "queue_depth": 0}),
    ("iscsi_target_node_add_lun", {"name": "plain", "bdev_name": "aio1", "read_only": True}),
    ("iscsi_target_node_add_pg_ig_maps", {"name": "plain", "pg_ig_maps": [{"pg_tag": 1, "ig_tag": 7},
                                                                          {"pg_tag": 3, "ig_tag": 7}]}),
    ("iscsi_target_node_set_auth", {"name": "plain", "disable_chap": True}),
    ("iscsi_target_node_set_redirect", {"name": "plain", "pg_tag": 1, "redirect_host": "127.0.0.1",
                                        "redirect_port": "3262"}),
    ("iscsi_target_node_set_alua_state", {"name": "plain", "pg_tag": 3, "alua_state": "standby"}),
    ("metrics_start_server", {"address": "127.0.0.1", "port": free_port()}),
    ("nvmf_create_subsystem", {"nqn": NQN, "serial_number": "S0001", "max_namespaces": 8, "admin_label": "rack 7",
                               "dmrsl": 4096, "wzsl": 8}),
    ("nvmf_create_subsystem", {"nqn": NQN + "-static", "controller_model": "static", "min_cntlid": 3, "max_cntlid": 6}),
    ("nvmf_subsystem_set_controller_host", {"nqn": NQN + "-static", "cntlid": 5, "host": HOST}),
    ("nvmf_subsystem_set_controller_feature", {"nqn": NQN + "-static", "cntlid": 4, "feature": "temperature_over",
                                               "value": "0x150"}),
    ("nvmf_create_subsystem", {"nqn": NQN + "-discovery", "subtype": "Discovery"}),
    ("nvmf_subsystem_add_host", {"nqn": DISCOVERY_NQN, "host": HOST}),
    ("nvmf_subsystem_allow_any_host", {"nqn": DISCOVERY_NQN, "allow_any_host": False}),
    ("nvmf_discovery_add_referral", {"address": {**ADDRESS, "traddr": "192.0.2.7"}, "secure_channel": True}),
    ("nvmf_discovery_add_referral", {"address": {**ADDRESS, "traddr": "192.0.2.7"}, "subnqn": NQN,
                                     "allow_any_host": False, "hosts": [HOST]}),
    ("nvmf_subsystem_add_host", {"nqn": NQN, "host": HOST, "dhchap_key": "key0"}),
    ("nvmf_subsystem_set_keys", {"nqn": NQN, "host": HOST, "dhchap_ctrlr_key": "key1"}),
    ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "disk0", "nsid": 3, "ptpl_file": "/tmp/p"}}),
    ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "null0"}}),
    ("nvmf_subsystem_add_listener", {"nqn": NQN, "listen_address": ADDRESS}),
    ("nvmf_create_subsystem", {"nqn": NQN + "2", "serial_number": "S0002", "allow_any_host": True}),
    ("nvmf_subsystem_allow_any_host", {"nqn": NQN + "2", "allow_any_host": False}),
    ("nvmf_subsystem_add_host", {"nqn": NQN + "2", "host": HOST, "psk": "tls0"}),
    ("nvmf_subsystem_add_listener", {"nqn": NQN + "2", "listen_address": {**ADDRESS, "trsvcid": str(free_port())},
                                     "secure_channel": True}),
    ("nvmf_subsystem_add_listener", {"nqn": NQN + "2", "listen_address": {**ADDRESS, "trsvcid": str(free_port())},
                                     "sock_impl": "ssl", "concatenation": True}),
    ("nvmf_create_subsystem", {"nqn": NQN + "3", "ana_reporting": True, "max_namespaces": 2}),
    ("nvmf_subsystem_add_listener", {"nqn": NQN + "3", "listen_address": ADDRESS, "ana_state": "non_optimized"}),
    ("nvmf_subsystem_listener_set_ana_state", {"nqn": NQN + "3", "listen_address": ADDRESS, "anagrpid": 2,
                                               "ana_state": "inaccessible"}),
    ("nvmf_subsystem_listener_set_ana_state", {"nqn": NQN + "3", "listen_address": ADDRESS, "anagrpid": 1,
                                               "ana_state": "persistent_loss", "transition_sec": 10}),
    ("nvmf_subsystem_add_ns", {"nqn": NQN + "3", "namespace": {"bdev_name": "uring0", "nsid": 1, "anagrpid": 1,
                                                               "no_auto_visible": True, "hosts": [HOST]}}),
    ("nvmf_ns_add_host", {"nqn": NQN + "3", "nsid": 1, "host": HOST[:-1] + "6"}),
    ("nvmf_subsystem_set_ns_ana_group", {"nqn": NQN + "3", "nsid": 1, "anagrpid": 2}),
    ("vhost_create_blk_controller", {"ctrlr": "vm0", "dev_name": "null0", "readonly": True, "packed_ring": False,
                                     "cpumask": f"{1 << min(os.sched_getaffinity(0)):#x}", "num_queues": 4,
                                     "transport": "vhost_user_blk", "socket": f"{FILE.name}.vhost"}),
    ("vhost_create_blk_controller", {"ctrlr": "vm1", "dev_name": "disk0", "client": True, "socket": "/tmp/none",
                                     "packed_ring_recovery": True, "write_cache": False, "patience_ms": 2000}),
    ("bdev_virtio_attach_controller", {"name": "virtio0", "trtype": "user", "traddr": f"{FILE.name}.vhost",
                                       "dev_type": "blk", "vq_count": 1, "vq_size": 64, "packed_ring": True,
                                       "reconnect_delay_sec": 2, "fast_io_fail_timeout_sec": 3,
                                       "uuid": "2b0a1d62-3b67-4d3e-9c3f-0c1f0c3a5a77"}),
    ("vhost_controller_set_coalescing", {"ctrlr": "vm0", "delay_base_us": 30, "iops_threshold": 60000}),
    ("vhost_create_scsi_controller", {"ctrlr": "vm2", "delay": True, "packed_ring": False,
                                      "cpumask": f"{1 << min(os.sched_getaffinity(0)):#x}",
                                      "socket": f"{FILE.name}.vscsi", "patience_ms": 60000}),
    ("vhost_scsi_controller_add_target", {"ctrlr": "vm2", "scsi_target_num": 200, "bdev_name": "disk0"}),
    ("vhost_scsi_controller_add_target", {"ctrlr": "vm2", "scsi_target_num": -1, "bdev_name": "null0"}),
    ("vhost_start_scsi_controller", {"ctrlr": "vm2"}),
    ("vhost_create_scsi_controller", {"ctrlr": "vm3", "client": True, "socket": "/tmp/none"}),
    ("bdev_virtio_attach_controller", {"name": "virtio1", "trtype": "user", "traddr": f"{FILE.name}.vscsi",
                                       "dev_type": "scsi"}),
]
LATE = {"virtio0", "virtio1t0", "virtio1t200"}     # disks
# They take away, act or only look: there is nothing to save.
NOT_SAVED = {
    "bdev_delay_delete", "bdev_error_delete", "bdev_error_resume_pending",
    "bdev_passthru_delete", "bdev_split_delete", "bdev_gpt_rescan", "bdev_powercut_delete", "bdev_powercut_power_on",
    "bdev_powercut_trigger", "bdev_raid_delete",
    "bdev_aio_delete", "bdev_aio_rescan", "bdev_examine", "config_apply", "config_forget", "config_rollback",
    "bdev_malloc_delete", "bdev_null_delete", "bdev_reset_iostat",
    "bdev_enable_histogram", "bdev_set_qd_sampling_period", "bdev_qos_group_remove_bdev", "bdev_qos_group_delete",
    "bdev_nvme_stop_discovery", "bdev_nvme_stop_mdns_discovery", "nvmf_stop_mdns_prr",
    "bdev_nvme_send_cmd", "bdev_nvme_add_error_injection", "bdev_nvme_apply_firmware",
    "bdev_nvme_remove_error_injection",
    "bdev_nvme_detach_controller", "bdev_nvme_disable_controller", "bdev_nvme_enable_controller",
    "bdev_nvme_reset_controller", "bdev_uring_delete", "bdev_uring_rescan", "framework_start_init",
    "framework_wait_init", "iscsi_auth_group_remove_secret", "iscsi_delete_auth_group",
    "vhost_delete_controller", "vhost_move_queue", "vhost_scsi_controller_remove_target",
    "bdev_virtio_detach_controller",
    "iscsi_delete_initiator_group", "iscsi_delete_portal_group", "iscsi_delete_target_node",
    "iscsi_initiator_group_remove_initiators", "iscsi_move_session", "iscsi_target_node_remove_lun",
    "iscsi_target_node_remove_pg_ig_maps", "iscsi_target_node_request_logout",
    "load_config", "log_clear_flag", "log_enable_timestamps",
    "log_set_flag", "log_set_level", "log_set_print_level",
    "nvmf_clear_slow_ios", "scsi_clear_slow_ios", "vhost_clear_slow_ios",
    "nvmf_delete_subsystem", "nvmf_delete_transport",
    "nvmf_create_target", "nvmf_delete_target", "nvmf_discovery_remove_referral", "nvmf_ns_remove_host",
    "nvmf_subsystem_remove_host", "nvmf_subsystem_remove_listener",
    "nvmf_subsystem_remove_ns", "spdk_kill_instance", "metrics_stop_server",
    "keyring_delete_key", "keyring_file_remove_key", "keyring_make_key",
    "trace_enable_tpoint_group", "trace_disable_tpoint_group", "trace_set_tpoint_mask", "trace_clear_tpoint_mask",
    "nvmf_move_qpair", "thread_set_cpumask",
}
# They need a target: test_remote.py; or an avahi-daemon: test_mdns.py.
ELSEWHERE = {"bdev_nvme_start_mdns_discovery", "nvmf_publish_mdns_prr", "bdev_nvme_attach_controller",
             "bdev_nvme_set_keys", "bdev_nvme_set_multipath_policy", "bdev_nvme_set_preferred_path",
             "bdev_nvme_start_discovery"}


def configure(daemon):
    for method, params in AT_STARTUP:
        daemon.rpc(method, **copy.deepcopy(params))
    daemon.rpc("framework_start_init")
    for method, params in EXAMPLES:
        daemon.rpc(method, **copy.deepcopy(params))


def all_disks_are_there(daemon):
    """Those that stand on the daemon's own vhost-user servers come when these are there."""
    wait_until(lambda: LATE <= {b["name"] for b in daemon.rpc("bdev_get_bdevs")}, "all disks", 60)


def disks(bdevs):
    """As what they are known to hosts. UUIDs of a SCSI server's targets are made up at each start."""
    return sorted((b["name"], b["uuid"] if not b["name"].startswith("virtio1t") else "", b["num_blocks"],
                   b["block_size"]) for b in bdevs)


def vhost_controllers(daemon):
    """Without who is connected to them."""
    return [{**c, "sessions": None} for c in daemon.rpc("vhost_get_controllers")]


@pytest.fixture
def directories(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    return tmp_path


def test_save_restart_save(directories):
    with Waiting(directories / "a") as daemon:
        configure(daemon)
        saved = daemon.rpc("save_config")
        subsystems = daemon.rpc("nvmf_get_subsystems")
        nodes = daemon.rpc("iscsi_get_target_nodes")
        all_disks_are_there(daemon)
        bdevs = daemon.rpc("bdev_get_bdevs")
        hosts = vhost_controllers(daemon)
    path = directories / "saved.json"
    path.write_text(json.dumps(saved, indent=2))
    with Daemon(directories / "b", "-c", path) as daemon:
        assert daemon.rpc("save_config") == saved
        assert daemon.rpc("nvmf_get_subsystems") == subsystems
        assert daemon.rpc("iscsi_get_target_nodes") == nodes
        all_disks_are_there(daemon)
        assert vhost_controllers(daemon) == hosts
        assert disks(daemon.rpc("bdev_get_bdevs")) == disks(bdevs)
        assert daemon.rpc("framework_get_reactors")["reactors"][0]["mode"] == "interrupt"


def test_what_has_no_effect_is_saved_with_its_object(tmp_path):
    with Waiting(tmp_path) as daemon:
        configure(daemon)
        entries = [e for s in daemon.rpc("save_config")["subsystems"] for e in s["config"]]
    transport = next(e for e in entries if e["method"] == "nvmf_create_transport")
    namespace = next(e for e in entries if e["method"] == "nvmf_subsystem_add_ns" and
                     e["params"]["namespace"]["bdev_name"] == "disk0")
    assert transport["params"]["zcopy"] is True
    assert namespace["params"]["namespace"]["ptpl_file"] == "/tmp/p"


OF_VIRTIO = [(method, params) for method, params in EXAMPLES if method.startswith(("vhost_", "bdev_virtio_"))]


def test_each_parameter_of_virtio_is_saved_as_given(tmp_path):
    """Saved twice alike is not enough: what is forgotten at once is forgotten alike."""
    with Waiting(tmp_path) as daemon:
        configure(daemon)
        entries = [e for s in daemon.rpc("save_config")["subsystems"] for e in s["config"]]
    for method, params in OF_VIRTIO:
        wanted = {name: 0 if name == "scsi_target_num" and v == -1 else v for name, v in params.items()}
        assert any(e["method"] == method and wanted.items() <= e["params"].items() for e in entries), (method, wanted)


def test_each_parameter_of_virtio_is_in_an_example(daemon):
    for method in daemon.rpc("rpc_describe")["methods"]:
        given = [params for name, params in OF_VIRTIO if name == method["name"]]
        for row in method["params"] if given else ():
            assert any(json.dumps(params.get(row["name"])) not in ("null", row.get("default")) for params in given), \
                f"{method['name']}: no example has another {row['name']} than the one of when it is left out"


def test_every_method_is_here(daemon):
    known = {method for method, _ in AT_STARTUP + EXAMPLES} | NOT_SAVED | ELSEWHERE
    for method in daemon.rpc("rpc_describe")["methods"]:
        if not method["reads"] and not method["ignored"]:
            assert method["name"] in known, "is it saved? Then it belongs to EXAMPLES, else to NOT_SAVED"
