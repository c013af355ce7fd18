# SPDX-License-Identifier: BSD-3-Clause
"""libiscsi's conformance suite (iscsi-test-cu, package libiscsi-bin), all of it, with data loss allowed.

Nothing may fail but what is in FAULTS, and nothing may be skipped but what is in SKIPPED: both say why, and a row that
does not hold any more fails the test too.
"""
import re
import shutil
import subprocess
from fnmatch import fnmatch

import pytest

TESTS = 230          # of family ALL, in libiscsi 1.19; families SCSI, iSCSI and LINUX are subsets of it
TIMEOUT_S = 600

# Faults of the suite itself: test, at which block sizes, the clause that the test breaks and how it was found out.
FAULTS = {
}

# What is skipped: test (a pattern), and why.
SKIPPED = {
}


def parse(output):
    """{"Suite.Test": (passed, [what it said])} of CUnit's output."""
    found = {}
    _, *suites = re.split(r"^Suite: (.*)$", output.partition("Run Summary:")[0], flags=re.M)
    for suite, tests in zip(suites[::2], suites[1::2]):
        _, *tests = re.split(r"^  Test: (\S+) \.\.\.", tests, flags=re.M)
        for test, said in zip(tests[::2], tests[1::2]):
            found[f"{suite}.{test}"] = (not re.search(r"^ *FAILED$", said, re.M), said.strip())
    return found


def run(*arguments):
    program = shutil.which("iscsi-test-cu")
    assert program, "iscsi-test-cu is not installed (package libiscsi-bin)"
    done = subprocess.run([program, "--dataloss", "--verbose", *arguments], capture_output=True, text=True,
                          errors="replace", timeout=TIMEOUT_S)
    found = parse(done.stdout)
    assert found and f"tests {len(found):6}" in done.stdout, f"status {done.returncode}: {done.stdout}{done.stderr}"
    return found


def row_of(table, test):
    return next((pattern for pattern in table if fnmatch(test, pattern)), None)


@pytest.mark.parametrize("block_size", [512, 4096])
def test_conformance_suite(daemon, block_size):
    """A host would find that a command does not do what the standards say. The second URL is the same LUN by another
    portal group: reservations, resets and unit attentions are tried with two initiators, and one disk by two paths."""
    exported = daemon.export(daemon.malloc("disk0", mib=64, block_size=block_size), portals=2)
    found = run("--test=ALL", exported.url(), exported.url(portal=1))
    failed = {test: said for test, (passed, said) in found.items() if not passed}
    skipped = {test: said for test, (passed, said) in found.items() if passed and "SKIPPED" in said}
    print(f"{len(found)} run, {len(failed)} failed, {len(skipped)} skipped")
    assert len(found) == TESTS
    new = {test: said for test, said in failed.items() if not row_of(FAULTS, test)}
    assert not new, f"{len(new)} failed:\n" + "\n".join(f"{test}: {said[-1500:]}" for test, said in new.items())
    new = {test: said for test, said in skipped.items() if not row_of(SKIPPED, test)}
    assert not new, f"{len(new)} skipped:\n" + "\n".join(f"{test}: {said}" for test, said in new.items())
    for table, tests in ((FAULTS, failed), (SKIPPED, skipped)):
        stale = [pattern for pattern in table if not any(fnmatch(test, pattern) for test in tests)]
        assert not stale, f"not so any more: {stale}"
