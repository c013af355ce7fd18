# SPDX-License-Identifier: BSD-3-Clause
"""Remote disks in a configuration: saved, loaded with and without their targets, kept in a state."""
import json

import pytest

from gantry import Daemon, wait_until
from remote import Target, address, attach, detach, disks, states, wait_state

HOST = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"


def bdev_config(daemon):
    return next(s["config"] for s in daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "bdev")


def saved_attaches(daemon):
    return [e["params"] for e in bdev_config(daemon) if e["method"] == "bdev_nvme_attach_controller"]


@pytest.fixture
def folders(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    return tmp_path


def test_save_restart_save(folders):
    with Target(folders / "a") as target:
        served = target.export(ports=3)
        with Daemon(folders / "b") as daemon:
            attach(daemon, served, hdgst=True, ddgst=True, hostnqn=HOST, num_io_queues=3, priority="2",
                   fabrics_connect_timeout_us=4000000, ctrlr_loss_timeout_sec=30, reconnect_delay_sec=3,
                   multipath_opts={"policy": "active_active", "selector": "round_robin", "min_io": 4})
            attach(daemon, served, port=served.ports[1], hostaddr="127.0.0.1")
            attach(daemon, served, port=served.ports[2], name="Spare", multipath="failover")
            daemon.rpc("bdev_nvme_set_multipath_policy", name="Sparen1", policy="active_active", selector="latency")
            daemon.rpc("bdev_nvme_set_preferred_path", name="Nvme0n1", traddr="127.0.0.1",
                       trsvcid=str(served.ports[1]))
            daemon.serve("Nvme0n1")
            saved = daemon.rpc("save_config")
        path = folders / "saved.json"
        path.write_text(json.dumps(saved))
        with Daemon(folders / "c", "-c", path) as daemon:
            wait_state(daemon, "enabled", "enabled")
            wait_until(lambda: daemon.rpc("save_config") == saved, "everything to be as before")
            assert disks(daemon) == ["Nvme0n1", "Sparen1"]


def test_start_before_the_target(folders):
    """It does not wait, does not fail, and everything comes when the target does: the disk, the namespace over it."""
    with Target(folders / "a") as target:
        served = target.export()
        with Daemon(folders / "b") as daemon:
            attach(daemon, served, reconnect_delay_sec=1)
            daemon.serve("Nvme0n1")
            saved = daemon.rpc("save_config")
        target.kill()
        path = folders / "saved.json"
        path.write_text(json.dumps(saved))
        with Daemon(folders / "c", "-c", path) as daemon:
            assert disks(daemon) == [] and saved_attaches(daemon)[0]["trsvcid"] == str(served.port)
            assert [m["method"] for m in daemon.rpc("config_get_missing")] == ["nvmf_subsystem_add_ns"]
            target.again()
            wait_state(daemon, "enabled")
            wait_until(lambda: not daemon.rpc("config_get_missing"), "the namespace to be there")
            assert daemon.rpc("save_config") == saved


def test_state_keeps_it(folders):
    with Target(folders / "a") as target:
        served = target.export(ports=2)
        daemon = Daemon(folders / "b", "--state-dir", folders / "c").start()
        attach(daemon, served)
        attach(daemon, served, port=served.ports[1])
        daemon.kill()
        daemon.start()
        wait_state(daemon, "enabled", "enabled")
        detach(daemon, **address(served.ports[0], served.nqn))
        daemon.kill()
        daemon.start()
        wait_state(daemon, "enabled")
        assert saved_attaches(daemon)[0]["trsvcid"] == str(served.ports[1])
        detach(daemon)
        daemon.kill()
        daemon.start()
        assert daemon.rpc("bdev_nvme_get_controllers") == []
        daemon.stop()


def test_roll_back_and_forth(folders):
    with Target(folders / "a") as target:
        served = target.export(ports=2)
        daemon = Daemon(folders / "b", "--state-dir", folders / "c").start()
        attach(daemon, served)
        attach(daemon, served, port=served.ports[1])
        config = daemon.rpc("save_config")
        version = daemon.rpc("config_get_state")["version"]
        daemon.rpc("config_rollback", version=version - 1)
        wait_state(daemon, "enabled")
        daemon.rpc("config_apply", config=config)
        wait_state(daemon, "enabled", "enabled")
        assert states(daemon) == ["enabled", "enabled"]
        daemon.stop()


def test_discovery_comes_back(folders):
    with Target(folders / "a") as target:
        served = target.export()
        daemon = Daemon(folders / "b", "--state-dir", folders / "c").start()
        daemon.rpc("bdev_nvme_start_discovery", name="Disc", trtype="TCP", traddr="127.0.0.1", trsvcid=str(served.port),
                   hostnqn=HOST, wait_for_attach=True, reconnect_delay_sec=1)
        daemon.serve("Disc0n1")
        saved = daemon.rpc("save_config")
        assert saved_attaches(daemon) == []
        daemon.kill()
        daemon.start()
        wait_until(lambda: daemon.rpc("save_config") == saved and disks(daemon) == ["Disc0n1"], "all as before", 60)
        daemon.rpc("bdev_nvme_stop_discovery", name="Disc")
        daemon.kill()
        daemon.start()
        assert daemon.rpc("bdev_nvme_get_discovery_info") == [] and disks(daemon) == []
        daemon.stop()
