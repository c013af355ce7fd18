# SPDX-License-Identifier: BSD-3-Clause
"""--wait-for-rpc: methods are allowed in their state; framework_start_init ends the waiting, for all who wait."""
import json
import subprocess
import threading

import pytest

from gantry import Daemon, RpcError, gantryd_path
from jsonrpc import Raw, Waiting, request


def test_from_waiting_to_running(tmp_path):
    with Waiting(tmp_path) as daemon:
        with pytest.raises(RpcError) as error:
            daemon.rpc("framework_get_reactors")
        assert error.value.code == -1
        now = daemon.rpc("rpc_get_methods", current=True)
        assert "framework_start_init" in now and "framework_get_reactors" not in now
        said = []
        waiter = threading.Thread(target=lambda: said.append(daemon.rpc("framework_wait_init")))
        waiter.start()
        assert daemon.rpc("framework_start_init") is True
        waiter.join(10)
        assert said == [True]
        assert daemon.rpc("framework_get_reactors")["reactors"]
        assert "framework_start_init" not in daemon.rpc("rpc_get_methods", current=True)


def test_who_still_waits_at_the_end_is_told(tmp_path):
    with Waiting(tmp_path) as daemon:
        raw = Raw(daemon.socket)
        raw.send(request("framework_wait_init", 1))
        assert raw.call("log_get_level", 2)["id"] == 2      # the one before it has been taken
    assert "stopping" in raw.answer()["error"]["message"]
    assert raw.at_end()


def test_both_rounds_of_a_configuration(tmp_path):
    config = {"subsystems": [
        {"subsystem": "sock", "config": [{"method": "sock_set_default_impl", "params": {"impl_name": "uring"}}]},
        {"subsystem": "scheduler", "config": [{"method": "framework_set_mode", "params": {"mode": "interrupt"}}]},
        {"subsystem": "unheard_of", "config": [{"method": "unheard_of_create", "params": {"a": 1}}]},
        {"subsystem": "accel", "config": None},
    ]}
    path = tmp_path / "config.json"
    path.write_text("// comments are\n" + json.dumps(config, indent=1) + "/* allowed */\n")
    with Daemon(tmp_path, "-c", path) as daemon:
        assert daemon.rpc("framework_get_reactors")["reactors"][0]["mode"] == "interrupt"
        assert daemon.log().count("sock_set_default_impl is accepted") == 1
        assert daemon.log().count("unheard_of does not exist here") == 1


@pytest.mark.parametrize("text,sentence", [
    ('{"subsystems": [\n  {"subsystem": "scheduler", }]}', "line 2, column "),
    ('{"subsystems": 3}', '"subsystems" must be a list'),
    ('{"subsystems": [{"subsystem": "scheduler", "config": [{"method": "framework_set_mode", "params": {"mode": "x"}}]}'
     ']}',
     'subsystem scheduler: framework_set_mode: mode: "x" is not one of'),
    ('{"subsystems": [{"subsystem": "scheduler", "config": [{"method": "framework_set_mood"}]}]}',
     "did you mean framework_set_mode?"),
    ('{"subsystems": [', "ends too early"),
])
def test_a_wrong_configuration_ends_the_start(tmp_path, text, sentence):
    path = tmp_path / "config.json"
    path.write_text(text)
    done = subprocess.run([gantryd_path(), "-r", tmp_path / "s", "-c", path], capture_output=True, text=True,
                          timeout=20)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert not (tmp_path / "s").exists()


def test_a_file_without_subsystems(tmp_path):
    """It is read in two rounds; who sees two warnings would look for the second mistake."""
    path = tmp_path / "empty.json"
    path.write_text("{}")
    with Daemon(tmp_path, "-c", path) as daemon:
        assert daemon.log().count("nothing is configured") == 1
