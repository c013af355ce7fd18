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

from iscsi import Session, good

TESTS = 230          # of family ALL, in libiscsi 1.19; families SCSI, iSCSI and LINUX are subsets of it
TIMEOUT_S = 600
DISKS = {"512": {"block_size": 512}, "4096": {"block_size": 4096},
         "512e": {"block_size": 512, "physical_block_size": 4096}}
ALL = tuple(DISKS)

# Faults of the suite itself: test, on which disks, the clause that the test breaks and how it was found out.
FAULTS = {
    ("WriteSame10.UnmapUntilEnd", ALL):
        "SBC-4 4.7.3.4: WRITE SAME with UNMAP of a block that is not all zeroes writes it. The test sends FFh and "
        "expects zeroes; its twin for WRITE SAME (16) clears the block first, and passes.",
    ("GetLBAStatus.UnmapSingle", ("512e",)):
        "SBC-4 5.6.2: the first descriptor begins with the block that was asked for. The second part of the test asks "
        "for i + 1 and expects i + LBPPB, which is the same with one logical block in a physical one only.",
}

# What is skipped: test (a pattern), on which disks, and why. Not seen here: iSCSITMF.LUNResetSimpleAsync passes without
# doing anything, because the test before it has ended the session; test_iscsi_task_management.py has resets of its own.
SKIPPED = {
    ("PreventAllow.*", ALL): "for removable media",
    ("StartStopUnit.Simple", ALL): "for removable media",
    ("ReadDefectData1[02].Simple", ALL): "optional; there is no list of defects",
    ("Sanitize.*", ALL): "optional, and not there",
    ("WriteAtomic16.*", ALL): "optional, and not there",
    ("ReadOnly.ReadOnlySBC", ALL): "for disks that cannot be written: the test of one is below",
    ("*.UnmapUnaligned", ("512", "4096")): "for disks with larger physical blocks: they are run on such a disk",
    ("*.InvalidDataOutSize", ("512", "4096")): "for disks with larger physical blocks: they are run on such a disk",
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
    done = subprocess.run([program, "--dataloss", "--allow-sanitize", "--verbose", *arguments], capture_output=True,
                          text=True, errors="replace", timeout=TIMEOUT_S)
    found = parse(done.stdout)
    assert found and f"tests {len(found):6}" in done.stdout, f"status {done.returncode}: {done.stdout}{done.stderr}"
    return found


def expected(table, disk):
    """The rows for a disk."""
    return [pattern for pattern, disks in table if disk in disks]


def without(tests, patterns):
    """What no row explains; and the rows that explain nothing."""
    unexplained = {test: said for test, said in tests.items() if not any(fnmatch(test, p) for p in patterns)}
    return unexplained, [p for p in patterns if not any(fnmatch(test, p) for test in tests)]


@pytest.mark.parametrize("disk", DISKS)
def test_conformance_suite(daemon, disk):
    """A host would find that a command does not do what the standards say. The second URL is the same LUN by another
    portal group: reservations, resets and unit attentions are tried with two initiators, and one disk by two paths."""
    exported = daemon.export(daemon.malloc("disk0", mib=64, **DISKS[disk]), portals=2)
    found = run("--test=ALL", exported.url(), exported.url(portal=1))
    failed = {test: said for test, (passed, said) in found.items() if not passed}
    skipped = {test: said for test, (passed, said) in found.items() if passed and "SKIPPED" in said}
    print(f"{len(found)} run, {len(failed)} failed, {len(skipped)} skipped")
    assert len(found) == TESTS
    new, stale = without(failed, expected(FAULTS, disk))
    assert not new, f"{len(new)} failed:\n" + "\n".join(f"{test}: {said[-1500:]}" for test, said in new.items())
    assert not stale, f"does not fail any more: {stale}"
    new, stale = without(skipped, expected(SKIPPED, disk))
    assert not new, f"{len(new)} skipped:\n" + "\n".join(f"{test}: {said}" for test, said in new.items())
    assert not stale, f"is not skipped any more: {stale}"


def test_disk_that_cannot_be_written(daemon):
    """A host would write to it, or not be told that it cannot. It is protected as a host does it: SWP of the control
    mode page."""
    exported = daemon.export(daemon.malloc("disk0", mib=16))
    with Session(exported.port, exported.name) as s:
        page = bytearray(good(s.command(bytes([0x1a, 8, 0x0a, 0, 64, 0]), expect=64)).data)
        page[0] = 0
        page[4] &= 0x3f         # PS is reserved then
        page[4 + 4] |= 8        # SWP
        good(s.command(bytes([0x15, 0x10, 0, 0, len(page), 0]), bytes(page)))
        found = run("--test=ALL.ReadOnly", exported.url())
        (said,) = (said for _, said in found.values())
        assert not re.search(r"\[FAILED\]|CU_ASSERT", said), said
        assert "SKIPPED" not in said, said
        assert s.read(0, 256) == bytes(256 * 512)


def test_with_one_initiator(daemon):
    """Tests of two initiators make the second one of the first's URL then: two sessions through one portal."""
    exported = daemon.export(daemon.malloc("disk0", mib=64))
    for tests in ("ALL.Prout*", "ALL.Prin*", "ALL.Reserve6"):
        failed = {test: said for test, (passed, said) in run(f"--test={tests}", exported.url()).items() if not passed}
        assert not failed, failed
