# SPDX-License-Identifier: BSD-3-Clause
"""Whatever a target does to commands: gantry-perf ends, says why, and never takes wrong data for right."""
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import bad_ways as ways
from bad_scripts import DIGEST_SCRIPTS, HARMLESS, IO_SCRIPTS, USELESS, Script
from gantry import SANITIZER_SIGNS, wait_until
from load import perf_command
from nvme_tcp import LBA_OUT_OF_RANGE

AT_ONCE = 12
DIGESTS = ("-H", "-I")
ENDS_S = 90


class Ran:
    """gantry-perf, until so many I/Os are done, against one script."""

    def __init__(self, script, *more, ios=60, io_bytes=4096, pattern="randrw", depth=4, hears=None):
        self.script = script
        with script.target() as self.target:
            command = perf_command(self.target, "--verify", "-d", ios, *more, rate=0, qpairs=1, depth=depth, seconds=60,
                                   io_bytes=io_bytes, pattern=pattern)
            self.done = subprocess.run(command, capture_output=True, text=True, timeout=ENDS_S)
            if hears:
                wait_until(lambda: self.target.seen[hears], f"the target hears {hears}", timeout_s=60)
        self.said = self.done.stderr
        try:
            self.result = json.loads(self.done.stdout.strip().splitlines()[-1])
        except (IndexError, ValueError):
            self.result = None
        assert not any(sign in self.said for sign in SANITIZER_SIGNS), self.said
        assert self.done.returncode in (0, 1), f"status {self.done.returncode}: {self.said}"
        assert not self.target.failures, self.target.failures


def run_all(scripts, *more):
    def run(script):
        try:
            return Ran(script, *more)
        except (AssertionError, OSError, subprocess.TimeoutExpired) as failure:
            return failure
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip([s.name for s in scripts], pool.map(run, scripts)))


@pytest.fixture(scope="module")
def runs():
    return {**run_all(IO_SCRIPTS + USELESS + HARMLESS), **run_all(DIGEST_SCRIPTS, *DIGESTS)}


def of(runs, name):
    if isinstance(runs[name], Exception):
        raise runs[name]
    return runs[name]


@pytest.mark.parametrize("name", [s.name for s in IO_SCRIPTS + DIGEST_SCRIPTS])
def test_connection_ends_with_a_sentence(runs, name):
    ran = of(runs, name)
    assert ran.done.returncode == 1, f"{ran.said}{ran.done.stdout}"
    ran.script.check(ran.said, ran.target)
    assert not ran.result or not ran.result["miscompares"], ran.said


@pytest.mark.parametrize("name", [s.name for s in HARMLESS])
def test_what_is_allowed_works(runs, name):
    ran = of(runs, name)
    assert ran.done.returncode == 0, ran.said
    assert ran.result["ios"] >= 60 and not ran.result["errors"] and not ran.result["miscompares"]


@pytest.mark.parametrize("script", [s for s in HARMLESS if "R2T" in s.name], ids=lambda s: s.name)
def test_long_writes_in_pieces(script):
    ran = Ran(script, io_bytes=65536)
    assert ran.done.returncode == 0 and not ran.result["errors"] and not ran.result["miscompares"], ran.said
    assert ran.target.seen["h2c"] > 2 * ran.target.seen["write"]


@pytest.mark.parametrize("name", [s.name for s in USELESS])
def test_no_io_is_possible(runs, name):
    ran = of(runs, name)
    assert ran.done.returncode == 1 and ran.said, ran.done.stdout


def test_wrong_data_digest_is_an_error_of_the_command():
    """Wrong data would be taken for right, or one flipped bit end a connection."""
    ran = Ran(Script("", (("read", ways.bad_data_digest, 3),)), *DIGESTS)
    assert ran.done.returncode == 1 and ran.result["errors"] and not ran.result["miscompares"], ran.said


@pytest.mark.parametrize("step, pattern", [("read", "randrw"), ("read", "randwrite"), ("write", "randwrite")])
def test_second_answer_is_not_another_commands(step, pattern):
    """Data of the one would be taken for the other's, a write that is still out for done."""
    ran = Ran(Script("", ((step, ways.twice, 3),)), pattern=pattern)
    assert ran.done.returncode == 1 and not ran.result["miscompares"], ran.said
    assert "not outstanding" in ran.said or "none under way" in ran.said, ran.said
    assert ran.target.seen[step] < 16, "it was noticed late"


def test_target_is_told_what_it_did_wrong():
    """By H2CTermReq, before the connection is reset. With one command at a time it is the next thing that it reads."""
    ran = Ran(Script("", (("write", ways.r2t(cid=0x5555), 3),)), depth=1, pattern="randwrite",
              hears="h2c_term")
    assert ran.done.returncode == 1, ran.said


def test_status_is_an_error_of_the_command():
    ran = Ran(Script("", (("read", ways.status(LBA_OUT_OF_RANGE, dnr=True), 3),)))
    assert ran.done.returncode == 1 and ran.result["errors"] and "LBA Out of Range" in ran.said, ran.said
    assert ran.result["ios"] + ran.result["errors"] >= 60


def test_an_io_is_never_answered():
    """While Keep Alive is: the run would never end."""
    ran = Ran(Script("", (("read", ways.ignore, 3),)), "--io-timeout", 500, "-k", 1000)
    assert ran.done.returncode == 1 and "500 ms" in ran.said, ran.said


def test_keep_alive_is_not_answered():
    """A target that hangs would be taken for one that is slow."""
    ran = Ran(Script("", (("keep_alive", ways.ignore, 0), ("io", ways.ignore, 8))), "-k", "1000")
    assert ran.done.returncode == 1 and "does not answer Keep Alive" in ran.said, ran.said
