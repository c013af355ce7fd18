# SPDX-License-Identifier: BSD-3-Clause
"""Help that is enough: every text ends with an example, every example works as typed, every mistype gets a suggestion,
and the steps of `gantry --help` take a person from nothing to a disk that is served and back."""
import json
import os
import re
import shlex
import subprocess

import pytest

from gantry import BUILD, NQN, Daemon, RpcError, free_port, wait_until
from jsonrpc import gantry

EXPORT = "nqn.2016-06.io.gantry:disk0"
HOST = "nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc"
ENDLESS = ("gantry top", "gantry log follow")


@pytest.fixture(scope="module")
def about():
    return json.loads(gantry("help", "--json"))


def verbs(about):
    return [(noun["name"], verb) for noun in about["nouns"] for verb in noun["verbs"]]


def typed(line, daemon, port):
    """A line of an example, with our daemon and a port that is free."""
    words = shlex.split(line.replace("127.0.0.1:4420", f"127.0.0.1:{port}"))
    assert words[0] == "gantry", line
    if "--vhost" in words:
        words += ["--name", str(daemon.directory / "vm")]    # its socket lies there
    elif words[1:3] == ["export", "disk"] and "--listen" not in words:
        words += ["--listen", f"127.0.0.1:{free_port() if '--iscsi' in words else port}"]
    return [BUILD / "gantry", "-s", daemon.socket, *words[1:]]


def run(line, daemon, port=None):
    done = subprocess.run(typed(line, daemon, port or free_port()), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{line}: status {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def watch(line, daemon):
    """One that goes on until it is stopped: it says something."""
    with subprocess.Popen(typed(line, daemon, 0), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline()
        finally:
            process.kill()


def test_every_help_ends_with_an_example_and_fits(about):
    for noun, verb in [(n, "") for n in {n for n, _ in verbs(about)}] + [(n, v["name"]) for n, v in verbs(about)]:
        if noun == "rpc":
            continue
        text = gantry("help", noun, *([verb] if verb else []))
        last = text.rstrip().splitlines()[-1]
        assert last.startswith("    gantry "), f"{noun} {verb}: {last}"
        wide = [line for line in text.splitlines() if len(line) > 80 and not line.startswith("    gantry")]
        assert not wide, f"{noun} {verb}: {wide}"
    assert gantry("--help").rstrip().splitlines()[-1] == "    gantry disk delete disk0"
    assert gantry("rpc", "--help").rstrip().splitlines()[-1].startswith("    gantry rpc ")


def test_the_steps_of_the_help_work_as_typed(daemon):
    steps = [line.strip() for line in gantry("--help").splitlines() if line.startswith("    gantry ")]
    port = free_port()
    said = {step: run(step, daemon, port) for step in steps}
    exported = next(text for step, text in said.items() if step.startswith("gantry export disk"))
    assert f"nvme connect -t tcp -a 127.0.0.1 -s {port} -n {EXPORT}" in exported
    assert "disk0" in said["gantry status"]
    assert daemon.rpc("bdev_get_bdevs") == []


def prepare(daemon, name):
    """What an example takes for granted: disk0, and what stands on it. The port it is to use."""
    for disk in daemon.rpc("bdev_get_bdevs"):
        if disk["name"] == "disk1":
            gantry("disk", "delete", "disk1", socket=daemon.socket)
    if not any(d["name"] == "disk0" for d in daemon.rpc("bdev_get_bdevs")):
        daemon.rpc("bdev_malloc_create", name="disk0", num_blocks=262144, block_size=4096)
    try:
        daemon.rpc("nvmf_delete_subsystem", nqn=EXPORT)
    except RpcError:
        pass
    if name in ("export show", "export remove", "host add", "host remove", "host show"):
        gantry("export", "disk", "disk0", "--listen", f"127.0.0.1:{free_port()}", socket=daemon.socket)
    if name in ("host remove", "host show"):
        gantry("host", "add", HOST, "disk0", socket=daemon.socket)
    port = free_port()
    of_attached = ("nvme detach", "nvme reset", "nvme disable", "nvme enable", "nvme policy")
    if name in ("nvme discover", "nvme identify", "nvme attach", "nvme discovery", *of_attached):
        gantry("export", "disk", "disk0", "--listen", f"127.0.0.1:{port}", socket=daemon.socket)
        daemon.listen("nqn.2014-08.org.nvmexpress.discovery", port)
    if name in ("nvme attach", "nvme discovery", *of_attached):
        for controller in daemon.rpc("bdev_nvme_get_controllers"):
            gantry("nvme", "detach", controller["name"], socket=daemon.socket)
    if name in of_attached:
        gantry("nvme", "attach", f"127.0.0.1:{port}", EXPORT, socket=daemon.socket)
    return port


@pytest.fixture
def kept(tmp_path):
    """One that keeps its state: keys that are made lie beside it."""
    (tmp_path / "kept").mkdir()
    with Daemon(tmp_path / "kept", "--state-dir", str(tmp_path / "state")) as running:
        yield running


def test_every_example_works_as_typed(kept, about, tmp_path):
    daemon = kept
    methods = daemon.rpc("rpc_get_methods")
    for noun, verb in verbs(about):
        name = f"{noun} {verb['name']}".strip()
        if name == "disk rescan":
            if not any(re.fullmatch("bdev_(uring|aio)_create", m) for m in methods):
                continue
            gantry("disk", "create", "file", tmp_path / "image", "--size", "16M", "--name", "file0",
                   socket=daemon.socket)
        if noun == "config":
            continue    # another test's
        port = prepare(daemon, name)
        for line in verb["example"].splitlines():
            if line in ENDLESS:
                watch(line, daemon)
            elif noun == "doctor":
                gantry("doctor", "--json", socket=daemon.socket, status=None)
            else:
                if "--auth" in line:
                    port = prepare(daemon, name)    # the host is new
                run(line, daemon, port)


def test_methods_have_examples_that_are_accepted(daemon):
    """No example of a method is refused as wrong use; what it names need not be there."""
    for method in daemon.rpc("rpc_describe")["methods"]:
        if method["ignored"] or method["name"] in ("spdk_kill_instance", "framework_start_init", "load_config"):
            continue
        line = gantry("rpc", method["name"], "--help", socket=daemon.socket).rstrip().splitlines()[-1]
        assert line.startswith(f"    gantry rpc {method['name']}")
        for row in method["params"]:
            assert not row["required"] or f" {row['name']}" in line


def test_mistyped_words_get_a_suggestion(daemon):
    daemon.malloc("disk0")
    daemon.serve("disk0")
    for words, status, suggestion in (
            (["dsk"], 2, "did you mean disk?"),
            (["disk", "lst"], 2, "did you mean list?"),
            (["disk", "remove", "disk0"], 2, "did you mean delete?"),
            (["export", "delete", "disk0"], 2, "did you mean remove?"),
            (["export", "create", "disk0"], 2, "did you mean disk?"),
            (["disk", "create", "nul", "1G"], 2, "did you mean null?"),
            (["disk", "create", "null", "1G", "--blok-size", "512"], 2, "did you mean block_size?"),
            (["disk", "show", "dsk0"], 1, "did you mean disk0?"),
            (["export", "disk", "disk0", "--lissten", "x"], 2, "did you mean listen?"),
            (["export", "remove", "disk1"], 1, "did you mean disk0?"),
            (["host", "add", HOST, "disk9"], 1, "did you mean disk0?"),
            (["host", "add", "desk", "disk0"], 1, "is no host's name: write its NQN"),
            (["top", "--onec"], 2, "did you mean once?"),
            (["rpc", "bdev_get_bdev"], 1, "did you mean bdev_get_bdevs?"),
            (["help", "dsik"], 2, "did you mean disk?")):
        assert suggestion in gantry(*words, socket=daemon.socket, status=status), words


def test_errors_say_what_to_do(daemon):
    daemon.malloc("disk0")
    daemon.serve("disk0")
    assert f"served as {NQN}; first: gantry export remove disk0" in \
        gantry("disk", "delete", "disk0", socket=daemon.socket, status=1)
    assert "DISK is missing" in gantry("disk", "show", socket=daemon.socket, status=2)
    assert "one word too many" in gantry("status", "now", socket=daemon.socket, status=2)
    assert "a value is wanted" in gantry("export", "disk", "disk0", "--nqn", socket=daemon.socket, status=2)
    assert "gantry --help" in gantry(status=2)


def test_without_a_daemon_every_command_says_how_to_start_one(about, tmp_path):
    for words in (["disk", "list"], ["disk", "create", "ram", "1G"], ["export"], ["host"], ["log"], ["top", "--once"],
                  ["status"], ["rpc", "bdev_get_bdevs"], ["export", "disk", "x"]):
        said = gantry(*words, socket=tmp_path / "nobody", status=3)
        assert f"gantryd -r {tmp_path}/nobody" in said, words
    for noun, verb in verbs(about):     # help needs none
        if noun != "rpc":
            assert "Usage:" in gantry(noun, *([verb["name"]] if verb["name"] else []), "--help",
                                      socket=tmp_path / "nobody")
    assert os.listdir(tmp_path) == []
