# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of every suite that talks to a daemon."""
import os

import pytest

from gantry import Daemon, gantryd_path
from nvme_tcp import Host, must
from remote import Target


@pytest.fixture
def daemon(tmp_path):
    """A running gantryd with nothing configured; the test fails if it does not live through it and end cleanly."""
    if not gantryd_path().exists():
        pytest.fail(f"{gantryd_path()} is not there: ninja -C build, or name another build with GANTRY_BUILD")
    with Daemon(tmp_path) as running:
        yield running
        print(f"--- the daemon's log\n{running.log_tail()}")   # shown when the test fails


@pytest.fixture
def target(tmp_path):
    """Another gantryd, to be attached by the first."""
    (tmp_path / "target").mkdir()
    with Target(tmp_path / "target") as running:
        yield running
        print(f"--- the target's log\n{running.log_tail()}")


@pytest.fixture
def served(daemon):
    """A subsystem with a RAM disk of 64 MiB, in blocks of 512 bytes, as namespace 1."""
    return daemon.serve(daemon.malloc("disk0", mib=64, block_size=512))


@pytest.fixture
def host(served):
    """A host of it, with one I/O queue."""
    with Host(served.port, served.nqn) as connected:
        yield connected


@pytest.fixture
def serves(daemon, served):
    """Call it to prove that a host that behaves is served."""
    def check():
        daemon.check_alive()
        data = os.urandom(4096)
        with Host(served.port, served.nqn) as host:
            must(host.io.write(0, data))
            assert host.io.read(0, 8) == data
    return check
