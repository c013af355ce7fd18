# SPDX-License-Identifier: BSD-3-Clause
"""./run: however it ends, its daemon and its files go with it.

A daemon that is left behind holds its port and its memory, and nobody knows that it is there.
"""
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from gantry import BUILD, ROOT, free_port, wait_until

STOP_S = 40     # with a daemon that has to be killed


def as_from_a_terminal():
    """What ignores signals hands that down, and a shell cannot take it back: nohup does, and whoever is in the
    background of a script."""
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGPIPE"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


class Run:
    """./run in a tree of its own: the programs are those under test, nothing is installed or built."""

    def __init__(self, directory):
        self.tree, self.temp = directory / "tree", directory / "temp"
        (self.tree / "tools").mkdir(parents=True)
        self.temp.mkdir()
        shutil.copy(ROOT / "run", self.tree)
        (self.tree / "build").symlink_to(BUILD)
        self.tool("install", "")
        self.tool("build", "")
        self.process = None

    def tool(self, name, script):
        path = self.tree / "tools" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def start(self, stdout=subprocess.DEVNULL, **environment):
        self.process = subprocess.Popen(
            [self.tree / "run"], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT,
            preexec_fn=as_from_a_terminal, start_new_session=True,
            env={**os.environ, "TMPDIR": str(self.temp), "PORT": str(free_port()), **environment})
        return self

    def daemons(self):
        """Processes that serve at a socket in our own directory."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"gantryd") and any(w.startswith(os.fsencode(self.temp)) for w in words):
                found.append(int(path.parent.name))
        return found

    def wait_shown(self):
        wait_until(lambda: list(self.temp.glob("*/shown")), "the status to be shown", STOP_S)

    def wait_gone(self):
        self.process.wait(STOP_S)
        wait_until(lambda: not self.daemons(), "the daemon to end", STOP_S)

    def clean_up(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        for pid in self.daemons():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    yield run
    run.clean_up()


@pytest.mark.parametrize("whom", ["script", "group"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGKILL"])
def test_a_signal_ends_both(run, name, whom):
    """While it starts its daemon, and while it shows the status."""
    for ready in (lambda: wait_until(run.daemons, "a daemon", STOP_S, 0.001), run.wait_shown):
        run.start()
        ready()
        (os.kill if whom == "script" else os.killpg)(run.process.pid, getattr(signal, name))
        run.wait_gone()
        if name != "SIGKILL":
            assert run.process.returncode == 0 and not list(run.temp.iterdir())


def test_a_signal_while_it_builds_starts_nothing(run):
    """tools/build as it is, with a ninja that takes its time."""
    shutil.copy(ROOT / "tools/build", run.tree / "tools")
    (run.tree / "build").unlink()
    (run.tree / "build").mkdir()
    (run.tree / "build/build.ninja").touch()
    run.tool("ninja", f"echo > {run.tree}/building; sleep 0.5")
    for how in (os.kill, os.killpg):
        run.start(PATH=f"{run.tree / 'tools'}:{os.environ['PATH']}")
        wait_until((run.tree / "building").exists, "the build to begin", STOP_S)
        how(run.process.pid, signal.SIGTERM)
        run.wait_gone()
        wait_until(lambda: not list(run.temp.iterdir()), "the build's log to go", STOP_S)
        (run.tree / "building").unlink()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_its_tree_may_vanish(run, name):
    run.start()
    run.wait_shown()
    shutil.rmtree(run.tree)
    run.process.send_signal(getattr(signal, name))
    run.wait_gone()


def test_its_temporary_files_may_vanish(run):
    run.start()
    run.wait_shown()
    shutil.rmtree(run.temp)
    run.process.terminate()
    run.wait_gone()


def test_a_reader_may_go(run):
    """./run | head, or a terminal that was closed."""
    run.start(subprocess.PIPE)
    wait_until(run.daemons, "a daemon", STOP_S)
    run.process.stdout.close()
    run.wait_gone()
    assert not list(run.temp.iterdir())


@pytest.mark.parametrize("port", ["abc", "0", "08080", "70000", "-1", "123456789012345678901"])
def test_a_port_that_is_none_is_said_before_anything_is_done(run, port):
    run.tool("install", "exit 7")
    run.start(subprocess.PIPE, PORT=port)
    said = run.process.communicate(timeout=STOP_S)[0].decode()
    assert run.process.returncode == 1 and said == f"PORT={port}: a number from 1 to 65535 is wanted\n"


def test_what_cannot_be_a_disk_is_said_before_anything_is_done(run, tmp_path):
    run.tool("install", "exit 7")
    for disk, why in ((tmp_path, "this is neither a file nor a block device"),
                      (tmp_path / "none", "there is no such file or block device; make a file first: truncate -s 10G "
                                          f"{tmp_path}/none")):
        run.start(subprocess.PIPE, DISK=str(disk))
        said = run.process.communicate(timeout=STOP_S)[0].decode()
        assert run.process.returncode == 1 and said == f"DISK={disk}: {why}\n"


def test_an_image_of_small_blocks_is_served(run, tmp_path):
    """A disk image of 512-byte sectors, or a CD's, is rarely a number of blocks of 4096 bytes."""
    image = tmp_path / "image"
    image.write_bytes(b"x" * 512 * 2001)
    run.start(DISK=str(image))
    run.wait_shown()
    run.process.terminate()
    run.wait_gone()
    assert run.process.returncode == 0 and image.read_bytes() == b"x" * 512 * 2001
