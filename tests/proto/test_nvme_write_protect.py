# SPDX-License-Identifier: BSD-3-Clause
"""A host write protects a namespace for all, and takes it back; kill -9 does not."""
import os

import pytest

from gantry import Daemon
from nvme_tcp import (ADMIN_ASYNC_EVENT, ADMIN_GET_FEATURES, ADMIN_SET_FEATURES, INVALID_FIELD, INVALID_NAMESPACE,
                      IO_COMPARE, IO_WRITE, Host, must, rw, sqe)

WRITE_PROTECT = 0x84
NS_WRITE_PROTECTED, NOT_CHANGEABLE, FUSED_FAIL = 0x20, 0x10e, 0x09
NWPC, NSATTR = 531, 99


def protect(host, state, nsid=1):
    return host.admin.command(sqe(ADMIN_SET_FEATURES, nsid, cdw10=WRITE_PROTECT, cdw11=state)).status


def state_of(host, sel=0, nsid=1):
    return must(host.admin.command(sqe(ADMIN_GET_FEATURES, nsid, cdw10=WRITE_PROTECT | sel << 8))).value & 0xffffffff


@pytest.fixture
def lasting(tmp_path):
    (tmp_path / "state").mkdir()
    with Daemon(tmp_path, "--state-dir", str(tmp_path / "state")) as running:
        yield running


def test_protected_for_all_and_lasting(lasting):
    """What one host protects, another one would write; or everybody, after a restart."""
    served = lasting.serve(lasting.malloc("disk0", mib=8))
    with Host(served.port, served.nqn) as host, Host(served.port, served.nqn) as other:
        assert host.admin.identify(1)[NWPC] == 1
        assert state_of(host) == 0 and state_of(host, sel=3) == 4 | 2
        must(other.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0b, cdw11=0x100)))
        aer = other.admin.submit(sqe(ADMIN_ASYNC_EVENT))
        must(other.io.write(0, bytes(512)))
        assert protect(host, 1) == 0
        assert state_of(host) == state_of(other) == 1
        assert other.io.write(0, os.urandom(512)).status == NS_WRITE_PROTECTED
        assert other.io.read(0, 1) == bytes(512)
        must(other.admin.wait(aer))
        assert other.admin.get_log_page(4, 4) == bytes([1, 0, 0, 0])
        assert other.admin.identify(0, nsid=1)[NSATTR] == 1
    saved = [c for s in lasting.rpc("save_config")["subsystems"] if s["subsystem"] == "nvmf" for c in s["config"]]
    added = [c["params"]["namespace"] for c in saved if c["method"] == "nvmf_subsystem_add_ns"]
    assert [ns["write_protected"] for ns in added] == [True]
    lasting.rpc("bdev_null_create", name="after", num_blocks=8, block_size=512)   # answered: all before it is written
    lasting.kill()
    lasting.start()
    with Host(served.port, served.nqn) as host:
        assert state_of(host) == 1
        assert host.io.write(0, bytes(512)).status == NS_WRITE_PROTECTED
        assert protect(host, 0) == 0
        must(host.io.write(0, bytes(512)))
        assert state_of(host) == 0


def test_what_is_refused(lasting):
    lasting.malloc("disk0", mib=8)
    served = lasting.serve(lasting.malloc("disk1", mib=8))
    lasting.tell("nvmf_subsystem_add_ns", nqn=served.nqn,
                 namespace={"bdev_name": "disk0", "nsid": 2, "read_only": True})
    with Host(served.port, served.nqn) as host:
        assert protect(host, 2) == INVALID_FIELD              # until a power cycle
        assert protect(host, 3) == INVALID_FIELD              # for ever
        assert protect(host, 1, nsid=9) == INVALID_NAMESPACE
        assert protect(host, 1, nsid=0) == INVALID_NAMESPACE
        assert protect(host, 1, nsid=0xffffffff) == INVALID_NAMESPACE
        assert state_of(host, nsid=2) == 1
        assert protect(host, 0, nsid=2) == NOT_CHANGEABLE     # it was made so
        must(host.io.write(0, bytes(512)))


def test_not_offered_where_it_would_not_last(host):
    """A host would rely on a protection that a restart forgets."""
    assert host.admin.identify(1)[NWPC] == 0
    assert protect(host, 1) == INVALID_FIELD
    assert host.admin.command(sqe(ADMIN_GET_FEATURES, 1, cdw10=WRITE_PROTECT)).status == INVALID_FIELD
    assert host.admin.get_log_page(0x12, 1024)[WRITE_PROTECT * 4] == 0


def test_what_waits_for_its_data_is_refused(lasting):
    """A host that sent commands before, and their data after, would write what is protected."""
    served = lasting.serve(lasting.malloc("disk0", mib=8))
    with Host(served.port, served.nqn) as host, Host(served.port, served.nqn) as other:
        write = other.io.submit(rw(IO_WRITE, 0, 1), b"x" * 512, in_capsule=False)
        pair = [other.io.submit(rw(IO_COMPARE, 8, 1, flags=0x41), bytes(512), in_capsule=False),
                other.io.submit(rw(IO_WRITE, 8, 1, flags=0x42), b"x" * 512, in_capsule=False)]
        r2ts = [other.io.recv_r2t() for _ in range(3)]
        assert protect(host, 1) == 0
        for r2t in r2ts:
            other.io.answer_r2t(r2t)
        assert other.io.wait(write).status == NS_WRITE_PROTECTED
        assert [other.io.wait(half).status for half in pair] == [NS_WRITE_PROTECTED, FUSED_FAIL]
        assert other.io.read(0, 16) == bytes(16 * 512)
        assert protect(host, 0) == 0
        must(other.io.write(0, b"x" * 512))
