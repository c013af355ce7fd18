# SPDX-License-Identifier: BSD-3-Clause
"""A newer kernel than the one that is installed, for guests: from Debian's archive, unpacked below the build directory.
It is not installed, so that this machine boots what it did.

    kernel, why_not = newer_kernel()
"""
import fcntl
import re
import shutil
import subprocess

from gantry import BUILD
from guest import kernels

SERIES = 6, 12                              # the newest that Debian 12 offers
PACKAGE = "linux-image-6.12-amd64"          # a name for whatever package it is today
ARCHIVE = "http://deb.debian.org/debian-security bookworm-security main"
WHERE = BUILD / "guest-kernel"
TIMEOUT_S = 300


class Refused(Exception):
    """A program that is needed could not do its part."""


def newer_kernel():
    """(kernel, None), or (None, a sentence about why there is none)."""
    found = [k for k in kernels() if tuple(k.version) >= SERIES]
    if found:
        return found[-1], None
    WHERE.mkdir(parents=True, exist_ok=True)
    with open(WHERE / "lock", "w") as lock:         # files of tests run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return found_or_fetched(), None
        except (Refused, OSError, subprocess.TimeoutExpired) as problem:
            return None, f"no kernel of {PACKAGE}: {problem}"


def found_or_fetched():
    """Only what is complete has the name `root`."""
    root, new = WHERE / "root", WHERE / "new"
    if not kernels(root):
        for old in root, new:
            shutil.rmtree(old, ignore_errors=True)
        new.mkdir()
        try:
            download(new)
        except Refused:
            download(new, *archive(new / "apt"))
        package = next(new.glob("*.deb"))
        run("dpkg-deb", "-x", package, new)
        package.unlink()
        for modules in (new / "lib/modules").iterdir():
            run("depmod", "-b", new, modules.name)
        new.rename(root)
    return kernels(root)[-1]


def download(directory, *options):
    name = re.search(r"^ *Depends: (linux-image-\S+)$", run("apt-cache", *options, "depends", PACKAGE), re.M)
    if not name:
        raise Refused(f"apt-cache does not know what {PACKAGE} is")
    run("apt-get", *options, "-qq", "download", name[1], cwd=directory)


def archive(directory):
    """apt's options for Debian's security archive alone, which not every machine has among its sources: lists of our
    own, nothing of the machine's changes."""
    for name in "lists/partial", "archives/partial":
        (directory / name).mkdir(parents=True)
    (directory / "sources.list").write_text(f"deb {ARCHIVE}\n")
    options = [f"-o=Dir::State::lists={directory}/lists", f"-o=Dir::Cache={directory}",
               f"-o=Dir::Etc::SourceList={directory}/sources.list", "-o=Dir::Etc::SourceParts=/dev/null"]
    run("apt-get", *options, "-qq", "update")
    return options


def run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise Refused(f"{command[0]} ended with {done.returncode}: {done.stdout.strip()[-300:]}")
    return done.stdout
