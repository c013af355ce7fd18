# SPDX-License-Identifier: BSD-3-Clause
"""--state-dir: what was acknowledged is there after kill -9, whatever was going on; damage is said and nothing is lost
silently. GANTRY_KILL_S is how long the random kills go on: a few seconds here, as long as you like by hand."""
import json
import os
import random
import subprocess
import threading
import time

import pytest

from gantry import NQN, Daemon, RpcError, free_port, gantryd_path

KILL_S = float(os.environ.get("GANTRY_KILL_S", "12"))


@pytest.fixture
def kept(tmp_path):
    daemon = Daemon(tmp_path, "--state-dir", tmp_path / "state")
    yield daemon
    daemon.kill()


def configure(daemon):
    daemon.malloc("disk0")
    daemon.rpc("bdev_malloc_create", num_blocks=64, block_size=4096)
    return daemon.serve("disk0")


def ends_at_once(tmp_path, *args):
    done = subprocess.run([gantryd_path(), "-r", tmp_path / "other.sock", *args], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1
    return done.stderr


def test_what_was_made_is_there_after_a_kill(kept):
    kept.start()
    configure(kept)
    saved = kept.rpc("save_config")
    for _ in range(2):
        kept.kill()
        kept.start()
        assert kept.rpc("save_config") == saved
    kept.stop()


CHANGES = [
    ("bdev_malloc_resize", {"name": "disk0", "new_size": 32}),
    ("bdev_null_resize", {"name": "null0", "new_size": 48}),
    ("bdev_set_qos_limit", {"name": "disk0", "rw_ios_per_sec": 5000}),
    ("bdev_set_qos_limit", {"name": "disk0", "rw_ios_per_sec": 7000}),
    ("bdev_set_qos_limit", {"name": "null0", "rw_ios_per_sec": 8000}),
    ("bdev_qos_group_create", {"name": "group0", "rw_mbytes_per_sec": 10}),
    ("bdev_qos_group_set_limit", {"name": "group0", "rw_mbytes_per_sec": 20}),
    ("bdev_qos_group_add_bdev", {"name": "group0", "bdev_name": "disk0"}),
    ("bdev_qos_group_remove_bdev", {"name": "group0", "bdev_name": "disk0"}),
    ("bdev_delay_update_latency", {"delay_bdev_name": "delay0", "latency_type": "p99_read", "latency_us": 77}),
    ("nvmf_subsystem_allow_any_host", {"nqn": NQN, "allow_any_host": False}),
    ("nvmf_subsystem_add_host", {"nqn": NQN, "host": "nqn.2016-06.io.example:host"}),
    ("nvmf_subsystem_remove_host", {"nqn": NQN, "host": "nqn.2016-06.io.example:host"}),
    ("nvmf_subsystem_remove_ns", {"nqn": NQN, "nsid": 1}),
    ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"nsid": 3, "bdev_name": "disk0"}}),
    ("bdev_delay_delete", {"name": "delay0"}),
    ("bdev_null_delete", {"name": "null0"}),
]


def test_each_change_of_what_is_there_is_kept(kept):
    """Only what changed is looked at when a change is written: it must be all that did."""
    kept.start()
    configure(kept)
    kept.rpc("bdev_null_create", name="null0", num_blocks=8192, block_size=4096)
    kept.rpc("bdev_delay_create", base_bdev_name="null0", name="delay0", avg_read_latency=1, p99_read_latency=2,
             avg_write_latency=3, p99_write_latency=4)
    before = kept.rpc("save_config")
    for method, params in CHANGES:
        kept.rpc(method, **params)
        saved = kept.rpc("save_config")
        assert saved != before, f"{method} changed nothing: what does this test?"
        assert kept.rpc("config_get", version=kept.rpc("config_get_state")["version"]) == saved, method
        before = saved
    kept.kill()
    kept.start()
    assert kept.rpc("save_config") == before
    kept.stop()


def test_without_it_nothing_is_kept(daemon):
    configure(daemon)
    assert daemon.rpc("config_get_state")["state_dir"] == ""
    with pytest.raises(RpcError, match="--state-dir"):
        daemon.rpc("config_get_versions")


def test_a_state_wins_over_the_file_that_seeds_it(kept, tmp_path):
    path = tmp_path / "seed.json"
    path.write_text(json.dumps({"subsystems": [{"subsystem": "bdev", "config": [
        {"method": "bdev_null_create", "params": {"name": "seed", "num_blocks": 64, "block_size": 512}}]}]}))
    kept.args += ["-c", str(path)]
    kept.start()
    assert f"is empty: it begins with {path}" in kept.log()
    kept.rpc("bdev_null_delete", name="seed")
    kept.kill()
    kept.start()
    assert kept.rpc("bdev_get_bdevs") == []
    assert "is not used, for the state is not empty" in kept.log()
    kept.stop()


def test_two_daemons_cannot_share_it(kept, tmp_path):
    kept.start()
    assert f"in use by process {kept.pid}" in ends_at_once(tmp_path, "--state-dir", tmp_path / "state")
    kept.stop()


def test_a_torn_tail_is_cut_and_damage_is_refused(kept, tmp_path):
    kept.start()
    configure(kept)
    saved = kept.rpc("save_config")
    kept.kill()
    state = tmp_path / "state" / "state"
    good = state.read_bytes()
    state.write_bytes(good + b"change 99 100 0000")
    kept.start()
    assert kept.rpc("save_config") == saved
    assert "18 bytes of a change that was never acknowledged" in kept.log()
    kept.stop()
    at = good.index(b"disk0")
    state.write_bytes(good[:at] + b"D" + good[at + 1:])
    sentence = ends_at_once(tmp_path, "--state-dir", tmp_path / "state")
    assert f"{state} is damaged at byte" in sentence and "truncate -s" in sentence
    assert state.read_bytes() != good and len(state.read_bytes()) == len(good)
    state.write_bytes(good.replace(b"gantry-state 1", b"gantry-state 7"))
    assert "newer version" in ends_at_once(tmp_path, "--state-dir", tmp_path / "state")


def test_a_namespace_waits_for_its_disk_and_order_does_not_matter(tmp_path):
    path = tmp_path / "config.json"
    disk = {"method": "bdev_null_create", "params": {"name": "n0", "num_blocks": 4096, "block_size": 512}}
    nvmf = [
        {"method": "nvmf_subsystem_add_ns", "params": {"nqn": NQN, "namespace": {"bdev_name": "late", "nsid": 2}}},
        {"method": "nvmf_subsystem_add_ns", "params": {"nqn": NQN, "namespace": {"bdev_name": "n0", "nsid": 1}}},
        {"method": "nvmf_create_subsystem", "params": {"nqn": NQN, "allow_any_host": True}},
    ]
    path.write_text(json.dumps({"subsystems": [{"subsystem": "nvmf", "config": nvmf},
                                               {"subsystem": "bdev", "config": [disk]}]}))
    with Daemon(tmp_path, "-c", path, "--state-dir", tmp_path / "state") as daemon:
        assert "wait for what they need: nvmf_subsystem_add_ns" in daemon.log()
        missing = daemon.rpc("config_get_missing")
        assert len(missing) == 1 and "late" in missing[0]["why"]
        daemon.kill()
        daemon.start()
        assert len(daemon.rpc("config_get_missing")) == 1
        daemon.null("late")
        assert daemon.rpc("config_get_missing") == []
        spaces = daemon.rpc("nvmf_get_subsystems", nqn=NQN)[0]["namespaces"]
        assert [(n["nsid"], n["bdev_name"]) for n in spaces] == [(1, "n0"), (2, "late")]


def test_what_waits_can_be_taken_away(tmp_path):
    with Daemon(tmp_path) as daemon:
        entries = [{"method": "nvmf_create_subsystem", "params": {"nqn": NQN}}]
        daemon.rpc("load_config", subsystems=[{"subsystem": "nvmf", "config": entries}])
        saved = daemon.rpc("save_config")
    nvmf = next(s for s in saved["subsystems"] if s["subsystem"] == "nvmf")["config"]
    for nsid in 1, 2:
        nvmf.append({"method": "nvmf_subsystem_add_ns",
                     "params": {"nqn": NQN, "namespace": {"bdev_name": "no", "nsid": nsid}}})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(saved))
    with Daemon(tmp_path, "-c", path) as daemon:
        assert daemon.rpc("nvmf_subsystem_remove_ns", nqn=NQN, nsid=2) is True
        assert len(daemon.rpc("config_get_missing")) == 1
        assert daemon.rpc("nvmf_delete_subsystem", nqn=NQN) is True
        assert daemon.rpc("config_get_missing") == []


def test_apply_changes_the_least_and_all_or_nothing(kept):
    kept.start()
    configure(kept)
    before = kept.rpc("save_config")
    assert kept.rpc("config_apply", config=before) == []
    wanted = json.loads(json.dumps(before))
    disks = next(s for s in wanted["subsystems"] if s["subsystem"] == "bdev")["config"]
    disks.append({"method": "bdev_null_create", "params": {"name": "more", "num_blocks": 64, "block_size": 512}})
    done = kept.rpc("config_apply", config=wanted, dry_run=True)
    assert [(d["action"], d["method"]) for d in done] == [("add", "bdev_null_create")]
    assert kept.rpc("save_config") == before
    kept.rpc("config_apply", config=wanted)
    assert kept.rpc("config_apply", config=wanted) == []
    version = kept.rpc("config_get_state")["version"]
    disks.append({"method": "bdev_null_create", "params": {"name": "wrong", "num_blocks": 64, "block_size": 511}})
    disks.append({"method": "bdev_null_create", "params": {"name": "more2", "num_blocks": 64, "block_size": 512}})
    with pytest.raises(RpcError, match="everything is as it was before"):
        kept.rpc("config_apply", config=wanted)
    assert kept.rpc("config_get_state")["version"] == version
    assert kept.rpc("config_diff", version=version - 1)[0]["text"] == "add bdev_null_create more"
    kept.rpc("config_rollback", version=version - 1)
    assert kept.rpc("save_config") == before
    kept.stop()


def names(daemon):
    return {b["name"] for b in daemon.rpc("bdev_get_bdevs")}


def churn(daemon, number, known, lock):
    """Make and delete disks until the daemon dies; `known` is what was acknowledged, `None` what was asked for."""
    dice = random.Random(number)
    while True:
        name = f"d{number}_{dice.randrange(8)}"
        with lock:
            there = known.get(name, False)
            known[name] = None
        try:
            if there:
                daemon.rpc("bdev_null_delete", name=name)
            else:
                daemon.rpc("bdev_null_create", name=name, num_blocks=64, block_size=512)
        except (OSError, ValueError):
            return
        with lock:
            known[name] = not there


def test_kill_at_random_under_changes(kept):
    end = time.monotonic() + KILL_S
    known, lock, rounds = {}, threading.Lock(), 0
    while time.monotonic() < end or rounds < 3:
        kept.start()
        there = names(kept)
        for name, acknowledged in known.items():
            assert acknowledged is None or (name in there) == acknowledged, f"round {rounds}: {name}"
        known = {name: name in there for name in set(known) | there}
        workers = [threading.Thread(target=churn, args=(kept, n, known, lock)) for n in range(3)]
        for w in workers:
            w.start()
        time.sleep(random.uniform(0.02, 0.6))
        kept.kill()
        for w in workers:
            w.join(60)
        rounds += 1
    assert free_port()
