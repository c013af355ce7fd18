# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of tests that talk iSCSI: a daemon for a whole file, because starting one costs more than most tests."""
import os

import pytest

from gantry import Daemon, cpus, gantryd_path
from iscsi import Conn, Session, good

MIB = 64


class Iscsi:
    """A target node with a RAM disk of 512-byte blocks as LUN 0 and one of 4096-byte blocks as LUN 1, over two portal
    groups."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.node = daemon.export(daemon.malloc("disk512", mib=MIB, block_size=512),
                                  daemon.malloc("disk4k", mib=MIB, block_size=4096), portals=2)

    name = property(lambda self: self.node.name)
    port = property(lambda self: self.node.port)

    def conn(self, **how):
        """Connected, and nothing said."""
        return Conn(self.port, **how)

    def session(self, keys=None, *, portal=0, **how):
        return Session(self.node.ports[portal], self.name, keys, **how)

    def discovery(self, **how):
        return Session(self.port, None, **how)

    def check_serves(self):
        """An initiator that behaves is served."""
        self.daemon.check_alive()
        data = os.urandom(16384)
        with self.session(initiator="iqn.2026-11.test.initiator:witness") as s:
            good(s.write(9, data))
            assert s.read(9, 32) == data
            assert s.logout() == 0


@pytest.fixture(scope="module")
def iscsi(tmp_path_factory):
    """The test fails if the daemon does not live through the file and end cleanly."""
    if not gantryd_path().exists():
        pytest.fail(f"{gantryd_path()} is not there: ninja -C build, or name another build with GANTRY_BUILD")
    with Daemon(tmp_path_factory.mktemp("iscsi"), "-m", cpus(2)) as running:
        yield Iscsi(running)


@pytest.fixture(autouse=True)
def show_iscsi_log(request):
    """The daemon's log, when a test of such a file fails."""
    yield
    if "iscsi" in request.fixturenames:
        print(f"--- the daemon's log\n{request.getfixturevalue('iscsi').daemon.log_tail()}")
