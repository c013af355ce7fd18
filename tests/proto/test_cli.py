# SPDX-License-Identifier: BSD-3-Clause
"""The command line tool: types and help from the daemon's description, errors as sentences, exit status."""
import json

from jsonrpc import gantry


def test_no_daemon(tmp_path):
    said = gantry("status", socket=tmp_path / "nobody", status=3)
    assert f"no daemon answers at {tmp_path}/nobody" in said and f"gantryd -r {tmp_path}/nobody" in said


def test_status(daemon):
    text = gantry("status", socket=daemon.socket)
    assert text.startswith("Gantry v") and f"pid {daemon.pid}" in text
    assert "REACTOR" in text and "Memory:" in text
    assert max(len(line) for line in text.splitlines()) <= 120
    assert set(json.loads(gantry("status", "--json", socket=daemon.socket))) >= {"version", "reactors", "memory"}


def test_the_socket_from_the_environment(daemon):
    assert "Gantry" in gantry("status", GANTRY_SOCKET=str(daemon.socket))


def test_values_get_their_types(daemon):
    assert gantry("rpc", "framework_set_mode", "mode=POLL", "reactor=0", socket=daemon.socket) == ""
    reactors = json.loads(gantry("rpc", "framework_get_reactors", socket=daemon.socket))
    assert reactors["reactors"][0]["mode"] == "poll"
    names = json.loads(gantry("rpc", "rpc_get_methods", "include_aliases", socket=daemon.socket))
    assert "get_rpc_methods" in names
    assert gantry("rpc", "iobuf_set_options", "small_pool_count=8192", "x.y=text", "list=[1,2]",
                  socket=daemon.socket) == ""
    saved = json.loads(gantry("rpc", "framework_get_config", "name=iobuf", socket=daemon.socket))
    assert saved[0]["params"] == {"small_pool_count": 8192, "x": {"y": "text"}, "list": [1, 2]}


def test_a_configuration_from_a_file(daemon, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(gantry("rpc", "save_config", socket=daemon.socket))
    assert gantry("rpc", "load_config", f"@{path}", socket=daemon.socket) == ""
    assert gantry("rpc", "--json", "log_get_level", socket=daemon.socket) == '"NOTICE"\n'


def test_errors(daemon):
    assert "did you mean mode?" in gantry("rpc", "framework_set_mode", "moed=poll", socket=daemon.socket, status=1)
    assert "did you mean log_get_level?" in gantry("rpc", "log_get_levl", socket=daemon.socket, status=1)
    assert 'reactor: "x" is not' in gantry("rpc", "framework_set_mode", "reactor=x", socket=daemon.socket, status=2)
    assert "did you mean status?" in gantry("statsu", status=2)
    assert "a method is wanted" in gantry("rpc", status=2)


def test_help(daemon):
    text = gantry("rpc", "framework_set_mode", "--help", socket=daemon.socket)
    assert "text, required" in text and "One of: adaptive, poll, interrupt" in text
    assert text == gantry("help", "framework_set_mode", socket=daemon.socket)
    listed = gantry("rpc", "--list", socket=daemon.socket)
    assert "framework_set_mode" in listed and "iobuf_set_options" not in listed
    assert "rpc METHOD" in gantry("--help")
