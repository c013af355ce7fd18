# SPDX-License-Identifier: BSD-3-Clause
"""What is saved can be loaded, and saved again it is the same; so is what SPDK has and we do not."""
import json

import pytest

from gantry import Daemon, RpcError

IGNORED = [
    ("iobuf_set_options", {"small_pool_count": 8192, "large_pool_count": 1024}),
    ("sock_set_default_impl", {"impl_name": "posix"}),
    ("sock_impl_set_options", {"impl_name": "posix", "enable_ktls": False}),
    ("sock_impl_set_options", {"impl_name": "ssl", "enable_ktls": False}),
    ("accel_set_options", {"small_cache_size": 128}),
    ("framework_set_scheduler", {"name": "static"}),
]


def subsystem(config, name):
    return next(s["config"] for s in config["subsystems"] if s["subsystem"] == name)


def test_round_trip(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with Daemon(tmp_path / "a") as daemon:
        for method, params in IGNORED:
            assert daemon.rpc(method, **params) is True
        daemon.rpc("sock_impl_set_options", impl_name="ssl", enable_ktls=True)      # the latest counts
        daemon.rpc("framework_set_mode", mode="interrupt", reactor=0)
        saved = daemon.rpc("save_config")
        assert daemon.log().count("sock_impl_set_options is accepted") == 1
    assert [e["params"]["impl_name"] for e in subsystem(saved, "sock")] == ["posix", "posix", "ssl"]
    assert subsystem(saved, "sock")[2]["params"]["enable_ktls"] is True
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(saved))
    with Daemon(tmp_path / "b", "-c", path) as daemon:
        assert daemon.rpc("save_config") == saved
        assert daemon.rpc("framework_get_reactors")["reactors"][0]["mode"] == "interrupt"


def test_socket_options_are_told_as_they_were_given(tmp_path):
    """SPDK's scripts set the options of sockets, and end when what they read is something else."""
    with Daemon(tmp_path) as daemon:
        assert daemon.rpc("sock_get_default_impl") == {"impl_name": "posix"}
        before = daemon.rpc("sock_impl_get_options", impl_name="ssl")
        assert before["enable_ktls"] is False and before["tls_version"] == 0
        daemon.rpc("sock_set_default_impl", impl_name="ssl")
        daemon.rpc("sock_impl_set_options", impl_name="ssl", tls_version=13)
        assert daemon.rpc("sock_get_default_impl") == {"impl_name": "ssl"}
        assert daemon.rpc("sock_impl_get_options", impl_name="ssl") == {**before, "tls_version": 13}
        assert daemon.rpc("sock_impl_get_options", impl_name="posix") == before
        with pytest.raises(RpcError, match="impl_name.*posix, ssl"):
            daemon.rpc("sock_impl_get_options", impl_name="vpp")


def test_what_has_no_parameters_is_saved_without(tmp_path):
    # SPDK's target refuses a file with "params": {} for a method that takes none.
    bare = [{"subsystem": "bdev", "config": [{"method": "bdev_wait_for_examine", "params": {}}]}]
    path = tmp_path / "bare.json"
    path.write_text(json.dumps({"subsystems": bare}))
    with Daemon(tmp_path, "-c", path) as daemon:
        assert {"method": "bdev_wait_for_examine"} in subsystem(daemon.rpc("save_config"), "bdev")


def test_what_has_no_effect_is_named_and_only_if_asked_for(daemon):
    daemon.malloc("ram")
    daemon.serve()
    daemon.rpc("nvmf_create_subsystem", nqn="nqn.2026-01.io.gantry:quiet")
    daemon.rpc("nvmf_subsystem_add_ns", nqn="nqn.2026-01.io.gantry:quiet",
               namespace={"bdev_name": "ram", "hide_metadata": False, "ptpl_file": "x"})
    assert "namespace.ptpl_file is accepted" in daemon.log()
    assert "hide_metadata" not in daemon.log()      # off is what it is


def test_load_over_rpc_and_as_spdk_puts_it_together(daemon):
    config = {"subsystems": [{"subsystem": "scheduler", "config": [
        {"method": "framework_set_mode", "params": {"mode": "poll", "reactor": 0}}]}]}
    assert daemon.rpc("load_config", **config) is True
    assert daemon.rpc("framework_get_reactors")["reactors"][0]["mode"] == "poll"
    names = [s["subsystem"] for s in daemon.rpc("framework_get_subsystems")]
    parts = [{"subsystem": n, "config": daemon.rpc("framework_get_config", name=n)} for n in names]
    assert {"subsystems": parts} == daemon.rpc("save_config")
    assert daemon.rpc("save_subsystem_config", name="scheduler") == \
        {"subsystem": "scheduler", "config": config["subsystems"][0]["config"]}


def test_dependencies_come_before_who_needs_them(daemon):
    seen = set()
    for s in daemon.rpc("framework_get_subsystems"):
        assert set(s["depends_on"]) <= seen
        seen.add(s["subsystem"])
