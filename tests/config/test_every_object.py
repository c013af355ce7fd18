# SPDX-License-Identifier: BSD-3-Clause
"""Everything that every method can make is there after kill -9, and comes in any order: what stands on a device, or
serves it, may be named before it, in a file and while the daemon runs."""
import copy
import json

import pytest

from gantry import NQN, Daemon
from jsonrpc import Waiting
from test_round_trip import EXAMPLES, all_disks_are_there, configure, disks

NULL = {"num_blocks": 1 << 20, "block_size": 512}
# Each stands on those before it.
TOWER = [
    ("bdev_null_create", {"name": "base", **NULL}),
    ("bdev_split_create", {"base_bdev": "base", "split_count": 2, "split_size_mb": 64}),
    ("bdev_passthru_create", {"base_bdev_name": "basep1", "name": "pass0"}),
    ("bdev_delay_create", {"base_bdev_name": "pass0", "name": "delay0", "avg_read_latency": 1, "p99_read_latency": 2,
                           "avg_write_latency": 3, "p99_write_latency": 4}),
    ("bdev_raid_create", {"name": "concat0", "raid_level": "concat", "strip_size_kb": 16,
                          "base_bdevs": ["basep0", "delay0"]}),
    ("bdev_error_create", {"base_name": "concat0"}),
]
SERVED = [
    ("nvmf_create_transport", {"trtype": "TCP"}),
    ("nvmf_create_subsystem", {"nqn": NQN, "serial_number": "S0001", "allow_any_host": True}),
    ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "EE_concat0", "nsid": 5}}),
    ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "late", "nsid": 6}}),
]
NAMES = ["base", "basep0", "basep1", "concat0", "delay0", "EE_concat0", "pass0"]


def of_file(bdevs, nvmf):
    return {"subsystems": [{"subsystem": name, "config": [{"method": m, "params": p} for m, p in calls]}
                           for name, calls in (("nvmf", nvmf), ("bdev", bdevs))]}


def entries(config):
    return sorted(json.dumps([s["subsystem"], e], sort_keys=True) for s in config["subsystems"]
                  for e in s["config"] or [])


def names(daemon):
    return sorted((b["name"] for b in daemon.rpc("bdev_get_bdevs")), key=str.lower)


def served(daemon):
    return [(n["nsid"], n["bdev_name"]) for n in daemon.rpc("nvmf_get_subsystems", nqn=NQN)[0]["namespaces"]]


def missing(daemon):
    return [m["method"] for m in daemon.rpc("config_get_missing")]


@pytest.fixture
def directories(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    return tmp_path


def test_all_that_can_be_made_is_there_after_a_kill(directories):
    keep = ["--state-dir", directories / "state"]
    first = Waiting(directories / "a", *keep)
    first.start()
    try:
        configure(first)
        saved = first.rpc("save_config")
        all_disks_are_there(first)
        subsystems, bdevs = first.rpc("nvmf_get_subsystems"), first.rpc("bdev_get_bdevs")
    finally:
        first.kill()
    second = Daemon(directories / "b", *keep)
    for _ in range(2):
        with second:
            assert second.rpc("save_config") == saved
            assert second.rpc("nvmf_get_subsystems") == subsystems
            all_disks_are_there(second)
            assert disks(second.rpc("bdev_get_bdevs")) == disks(bdevs)


def test_killed_after_each_call(directories):
    """At each step what was answered is all there, and nothing else; what follows stands on it."""
    daemon = Daemon(directories / "a", "--state-dir", directories / "state")
    daemon.start()
    try:
        for count, (method, params) in enumerate(TOWER + SERVED[:-1], 1):
            daemon.rpc(method, **copy.deepcopy(params))
            saved = daemon.rpc("save_config")
            daemon.kill()
            daemon.start()
            assert daemon.rpc("save_config") == saved, f"after {method}"
            assert daemon.rpc("config_get_state")["version"] == count + 1
        assert names(daemon) == sorted(NAMES, key=str.lower)
        daemon.stop()
    finally:
        daemon.kill()


@pytest.mark.parametrize("order", ["as it is called", "reversed"])
def test_a_file_in_any_order(directories, order):
    turn = 1 if order == "as it is called" else -1
    path = directories / "config.json"
    path.write_text(json.dumps(of_file(TOWER[::turn], SERVED[::turn])))
    with Daemon(directories / "a", "-c", path, "--state-dir", directories / "state") as daemon:
        assert names(daemon) == sorted(NAMES, key=str.lower)
        assert served(daemon) == [(5, "EE_concat0")] and missing(daemon) == ["nvmf_subsystem_add_ns"]
        daemon.null("late")
        assert served(daemon) == [(5, "EE_concat0"), (6, "late")] and missing(daemon) == []
        saved = daemon.rpc("save_config")
        daemon.kill()
        daemon.start()
        assert entries(daemon.rpc("save_config")) == entries(saved)
        assert served(daemon) == [(5, "EE_concat0"), (6, "late")]


def test_the_lowest_device_comes_last(directories):
    """Nothing of the tower is there but its description, over a kill too; its base comes, and all of it stands."""
    path = directories / "config.json"
    path.write_text(json.dumps(of_file(TOWER[:0:-1], SERVED[::-1])))
    with Daemon(directories / "a", "-c", path, "--state-dir", directories / "state") as daemon:
        wanted = entries(daemon.rpc("save_config"))
        assert "basep0" not in names(daemon) and served(daemon) == []
        daemon.kill()
        daemon.start()
        assert entries(daemon.rpc("save_config")) == wanted
        daemon.null("base", mib=512)
        daemon.null("late")
        assert names(daemon) == sorted(NAMES + ["late"], key=str.lower) and missing(daemon) == []
        assert served(daemon) == [(5, "EE_concat0"), (6, "late")]
        saved = daemon.rpc("save_config")
        daemon.kill()
        daemon.start()
        assert entries(daemon.rpc("save_config")) == entries(saved)
        assert names(daemon) == sorted(NAMES + ["late"], key=str.lower)


def test_the_tower_goes_with_its_base_and_comes_again(directories):
    with Daemon(directories / "a", "--state-dir", directories / "state") as daemon:
        for method, params in TOWER + SERVED[:-1]:
            daemon.rpc(method, **copy.deepcopy(params))
        before = daemon.rpc("config_get_state")["version"]
        saved = daemon.rpc("save_config")
        empty = copy.deepcopy(saved)
        for s in empty["subsystems"]:
            if s["subsystem"] in ("bdev", "nvmf"):
                s["config"] = [e for e in s["config"] if not any(e["method"] == m for m, _ in TOWER + SERVED[1:])]
        daemon.rpc("config_apply", config=empty)
        assert names(daemon) == []
        daemon.rpc("config_rollback", version=before)
        assert entries(daemon.rpc("save_config")) == entries(saved)
        assert names(daemon) == sorted(NAMES, key=str.lower) and served(daemon) == [(5, "EE_concat0")]


def test_the_tower_is_of_the_examples():
    """What the tower is made of is what the round trip makes."""
    made = {method for method, _ in EXAMPLES}
    assert {method for method, _ in TOWER + SERVED} <= made
