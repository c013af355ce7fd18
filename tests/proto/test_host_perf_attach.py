# SPDX-License-Identifier: BSD-3-Clause
"""Whatever a target does while a host connects: the attempt ends by its deadline, with a sentence that tells what was
tried. Otherwise a host waits for ever, or nobody finds out for what. gantry-perf is the host: src/nvme, little else."""
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import bad_ways as ways
from bad_scripts import ATTACH_SCRIPTS
from bad_target import BadTarget
from gantry import BUILD, SANITIZER_SIGNS
from load import perf_command

AT_ONCE = 24                # most of them wait
DEADLINE_S = 5
SLACK_S = 40                # for a machine that does other things


class Ran:
    def __init__(self, script):
        self.script, began = script, time.monotonic()
        with script.target() as self.target:
            self.done = subprocess.run(perf_command(self.target, rate=0, qpairs=1, depth=4), capture_output=True,
                                       text=True, timeout=DEADLINE_S + SLACK_S + 20)
        self.took_s = time.monotonic() - began


@pytest.fixture(scope="module")
def runs():
    """All at once: what they have in common is that they wait."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {ran.script.name: ran for ran in pool.map(Ran, ATTACH_SCRIPTS)}


@pytest.mark.parametrize("name", [s.name for s in ATTACH_SCRIPTS])
def test_ends_with_a_sentence(runs, name):
    ran = runs[name]
    said = ran.done.stderr
    assert not any(sign in said for sign in SANITIZER_SIGNS), said
    assert ran.done.returncode == 1, f"status {ran.done.returncode}: {said}{ran.done.stdout}"
    assert not ran.target.failures, ran.target.failures
    assert ran.took_s < DEADLINE_S + SLACK_S, f"{ran.took_s:.1f} s: {said}"
    ran.script.check(said, ran.target)


def connects(action, *more):
    """gantry-perf, and a target that does `action` at Identify Controller: the only one of those that waits."""
    with BadTarget() as target:
        target.on("identify_ctrl", action, times=1)
        return subprocess.run(perf_command(target, *more, rate=0, qpairs=1, depth=4), capture_output=True, text=True,
                              timeout=120)


def test_connect_timeout_is_the_callers():
    """A target that takes longer than the usual 5 s is waited for; one that may not take long is not."""
    done = connects(ways.late(DEADLINE_S + 1), "--connect-timeout", 60000)
    assert done.returncode == 0, done.stderr
    done = connects(ways.silence, "--connect-timeout", 300)
    assert done.returncode == 1 and "within 300 ms" in done.stderr, done.stderr


def test_connect_timeout_is_of_nvme():
    url = "iscsi://127.0.0.1/iqn.2016-06.io:disk/0"
    done = subprocess.run([BUILD / "gantry-perf", "--iscsi", url, "-q", "1", "-o", "4k", "-w", "read", "-t", "1",
                           "--connect-timeout", "300"], capture_output=True, text=True, timeout=60)
    assert done.returncode and "--connect-timeout: only with -r" in done.stderr, done.stderr
