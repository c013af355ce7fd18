# SPDX-License-Identifier: BSD-3-Clause
"""A state that cannot be written: what was asked for is undone, or said not to last, and goes on when there is room.
The limit on the size of files stands for a full disk: it needs no privileges, and can be set while the daemon runs."""
import resource

import pytest

from gantry import NQN, Daemon, RpcError


@pytest.fixture
def daemon(tmp_path):
    running = Daemon(tmp_path, "--state-dir", tmp_path / "state")
    running.start()
    for n in range(12):     # so that the state is larger than the log: that one is not to be full
        running.null(f"null{n}")
    running.malloc("ram0")
    yield running
    running.kill()


def no_room(daemon):
    full = (daemon.directory / "state" / "state").stat().st_size + 40
    assert daemon.log_path.stat().st_size + 1500 < full
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (full, hard))


def room(daemon):
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (hard, hard))


def is_as(daemon, saved, bdevs):
    return daemon.rpc("save_config") == saved and daemon.rpc("bdev_get_bdevs") == bdevs


def restart(daemon):
    daemon.kill()
    daemon.start()


def test_what_cannot_be_written_is_undone(daemon):
    served = daemon.serve("null0")
    saved, bdevs, state = daemon.rpc("save_config"), daemon.rpc("bdev_get_bdevs"), daemon.rpc("config_get_state")
    no_room(daemon)
    for method, params in [
        ("bdev_null_create", {"name": "more", "num_blocks": 64, "block_size": 512}),
        ("bdev_null_delete", {"name": "null11"}),
        ("nvmf_create_subsystem", {"nqn": NQN + "2"}),
        ("nvmf_subsystem_remove_ns", {"nqn": NQN, "nsid": 1}),
        ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "null1"}}),
        ("nvmf_subsystem_remove_listener", {"nqn": NQN, "listen_address": daemon.address(served.port)}),
        ("bdev_null_resize", {"name": "null1", "new_size": 4096}),
    ]:
        with pytest.raises(RpcError, match="not done: it could not be made to last, and was undone"):
            daemon.rpc(method, **params)
        assert daemon.rpc("save_config")["subsystems"] is not None
        assert sorted(b["name"] for b in daemon.rpc("bdev_get_bdevs")) == sorted(b["name"] for b in bdevs), method
    now = daemon.rpc("config_get_state")
    assert now["version"] == state["version"] and now["failures"] >= 7 and "File too large" in now["error"]
    assert not now["behind"]
    room(daemon)
    daemon.null("more")
    assert daemon.rpc("config_get_state")["error"] == "" and "can be written again" in daemon.log()
    after = daemon.rpc("save_config")
    restart(daemon)
    assert daemon.rpc("save_config") == after
    daemon.rpc("bdev_null_delete", name="more")
    assert {str(e) for s in daemon.rpc("save_config")["subsystems"] for e in s["config"]} == \
           {str(e) for s in saved["subsystems"] for e in s["config"]}
    daemon.stop()


def test_an_exchange_is_undone_as_a_whole(daemon):
    saved = daemon.rpc("save_config")
    first = daemon.rpc("config_get_state")["oldest_version"]
    no_room(daemon)
    wanted = {"subsystems": [{"subsystem": "bdev", "config": [
        e for e in next(s["config"] for s in saved["subsystems"] if s["subsystem"] == "bdev")
        if e["params"]["name"] not in ("null3", "null5")]}]}
    with pytest.raises(RpcError, match="was undone"):
        daemon.rpc("config_apply", config=wanted)
    assert {b["name"] for b in daemon.rpc("bdev_get_bdevs")} == {f"null{n}" for n in range(12)} | {"ram0"}
    with pytest.raises(RpcError, match="will be gone after a restart|was undone"):
        daemon.rpc("config_rollback", version=first)       # deletes the RAM disk: there is no way back
    room(daemon)
    daemon.stop()


def test_what_cannot_be_undone_is_said_and_nothing_more_is_done(daemon):
    no_room(daemon)
    with pytest.raises(RpcError, match="done, but it does not last"):
        daemon.rpc("bdev_malloc_delete", name="ram0")
    assert "ram0" not in [b["name"] for b in daemon.rpc("bdev_get_bdevs")]
    assert daemon.rpc("config_get_state")["behind"]
    for _ in range(2):
        with pytest.raises(RpcError, match="not done, for it could not be made to last"):
            daemon.null("more")
    assert "more" not in [b["name"] for b in daemon.rpc("bdev_get_bdevs")]
    room(daemon)
    daemon.null("more")
    saved = daemon.rpc("save_config")
    assert not daemon.rpc("config_get_state")["behind"]
    restart(daemon)
    assert daemon.rpc("save_config") == saved
    assert {b["name"] for b in daemon.rpc("bdev_get_bdevs")} == {f"null{n}" for n in range(12)} | {"more"}
    daemon.stop()


def test_killed_while_full_what_was_acknowledged_is_there(daemon):
    saved = daemon.rpc("save_config")
    no_room(daemon)
    for n in range(3):
        with pytest.raises(RpcError):
            daemon.null(f"more{n}")
    restart(daemon)
    assert daemon.rpc("save_config") == saved
    daemon.stop()
