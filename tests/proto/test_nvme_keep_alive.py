# SPDX-License-Identifier: BSD-3-Clause
import time

import pytest

from gantry import wait_until
from nvme_tcp import ADMIN_GET_FEATURES, ADMIN_KEEP_ALIVE, ADMIN_SET_FEATURES, Host, must, sqe

KATO_MS = 1000
KEEP_ALIVE_INVALID = 0x1a


def controllers(daemon, served):
    return len(daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn))


def test_silent_host_is_let_go(daemon, served, serves):
    """The controller of a host that is gone would stay, and with it what it has reserved or not finished."""
    with Host(served.port, served.nqn, kato_ms=KATO_MS) as host:
        assert controllers(daemon, served) == 1
        began = time.monotonic()
        host.io.expect_closed(10)
        host.admin.expect_closed(10)
        assert time.monotonic() - began > KATO_MS / 1000 * 0.9, "let go too early"
        wait_until(lambda: controllers(daemon, served) == 0, "the controller to be gone")
    serves()


def test_keep_alive_keeps_it(daemon, served):
    """A host that has nothing to say but keep-alives would lose its controller."""
    with Host(served.port, served.nqn, kato_ms=KATO_MS) as host:
        for _ in range(12):
            time.sleep(KATO_MS / 4000)
            must(host.admin.command(sqe(ADMIN_KEEP_ALIVE)))
        assert host.io.read(0, 1) == bytes(512)


def test_io_keeps_it(daemon, served):
    """Traffic based keep-alive is announced: a host that trusts in it sends none while it does I/O."""
    with Host(served.port, served.nqn, kato_ms=KATO_MS) as host:
        ctratt = int.from_bytes(host.admin.identify(1)[96:100], "little")
        if not ctratt & 1 << 6:
            pytest.skip("no traffic based keep-alive")
        for _ in range(12):
            time.sleep(KATO_MS / 4000)
            host.io.read(0, 1)
        assert host.admin.identify(1)


def test_kato_can_be_changed(daemon, served):
    """Set Features 0Fh would have no effect on the timer that runs."""
    with Host(served.port, served.nqn, kato_ms=60000) as host:
        must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0f, cdw11=KATO_MS)))
        host.admin.expect_closed(10)


def test_no_kato_no_timer(daemon, served):
    """A host that asked for no keep-alive would be let go all the same."""
    with Host(served.port, served.nqn, kato_ms=0) as host:
        time.sleep(3)
        assert host.io.read(0, 1) == bytes(512)


def test_kato_is_rounded_up(served):
    """A host that asks for one and a half seconds would be let go after one."""
    with Host(served.port, served.nqn, kato_ms=60001) as host:
        def kato(sel=0):
            return must(host.admin.command(sqe(ADMIN_GET_FEATURES, cdw10=0x0f | sel << 8))).value & 0xffffffff

        assert int.from_bytes(host.admin.identify(1)[320:322], "little") == 10   # KAS: seconds
        assert kato() == kato(sel=1) == 61000
        must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0f, cdw11=30500)))
        assert kato() == 31000 and kato(sel=1) == kato(sel=2) == 61000
        assert host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0f, cdw11=0)).status == KEEP_ALIVE_INVALID
        assert kato() == 31000
