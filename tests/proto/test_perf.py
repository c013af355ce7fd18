# SPDX-License-Identifier: BSD-3-Clause
"""gantry-perf ends, and says why, whatever becomes of the target."""
import json
import subprocess

from gantry import wait_until
from load import ios_done, perf_begin, perf_command, perf_ends, perf_ends_in_silence


def run(served, *more, **options):
    return subprocess.run(perf_command(served, *more, **options), capture_output=True, text=True, timeout=60)


def start(daemon, served, *more, **options):
    perf = perf_begin(perf_command(served, *more, seconds=600, **options))
    before = ios_done(daemon)
    wait_until(lambda: ios_done(daemon) > before + 100, "I/O")
    return perf


def test_verifies_with_digests(daemon, served):
    done = run(served, "--verify", "-H", "-I", io_bytes=65536)
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["ios"] and not result["errors"] and not result["miscompares"], done.stderr


def test_protection_information(daemon):
    """Made and checked at both ends, or by the target alone; what is wrong is said."""
    for n, block in enumerate((512, 4096)):
        daemon.tell("bdev_malloc_create", name=f"m{n}", num_blocks=1 << 14, block_size=block, md_size=8,
                    md_interleave=True, dif_type=n + 1)
    served = daemon.serve("m0", "m1")
    for how, more in (("PRACT=0,PRCHK=GUARD|REFTAG", ()), ("PRACT=1,PRCHK=GUARD|REFTAG", ("--verify",)),
                      ("PRACT=0,PRCHK=GUARD,HOST=0", ())):
        done = run(served, "-e", how, *more, io_bytes=8192)
        assert done.returncode == 0 and json.loads(done.stdout)["ios"], done.stderr
        assert not json.loads(done.stdout)["errors"]
    assert "is not like PRACT=0" in run(served, "-e", "PRCHK=GARD").stderr
    assert "--verify" in run(served, "--verify").stderr


def test_target_falls_silent(daemon, served):
    """Only Keep Alive tells."""
    perf = start(daemon, served, "--verify", "-k", "1000")
    perf_ends_in_silence(perf, daemon, "does not answer Keep Alive")


def test_target_dies(daemon, served):
    perf = start(daemon, served)
    daemon.kill()
    perf_ends(perf)


def test_wrong_size_is_a_sentence(daemon, served):
    done = run(served, io_bytes=1000)
    assert done.returncode == 1 and "has blocks of" in done.stderr, done.stderr
