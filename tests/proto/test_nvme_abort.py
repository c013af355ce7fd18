# SPDX-License-Identifier: BSD-3-Clause
import os

from nvme_tcp import ABORTED, ADMIN_ABORT, ADMIN_ASYNC_EVENT, IO_COMPARE, IO_WRITE, OK, Host, must, rw, sqe

FUSED_FAILED = 0x09


def abort(host, cid, sqid=0):
    """Bit 0 of the answer: 1 when it was not aborted."""
    return must(host.admin.command(sqe(ADMIN_ABORT, cdw10=sqid | cid << 16))).value & 1


def test_outstanding_event_request_is_aborted(host):
    """A host could not take back what it waits for."""
    aer = host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
    assert abort(host, aer) == 0
    assert host.admin.wait(aer).status == ABORTED


def test_command_that_does_not_exist(host, serves):
    """A late abort would hit somebody else's command, or kill the daemon."""
    assert abort(host, 0x1234) == 1
    assert abort(host, 0x1234, sqid=1) == 1
    assert abort(host, 0x1234, sqid=99) == 1
    serves()


def test_command_that_waits_for_its_data(host):
    """Aborted is aborted: what was asked for is taken in, the media stays as it was, and the answer says so."""
    data = os.urandom(8192)
    must(host.io.write(0, bytes(8192), in_capsule=False))
    cid = host.io.submit(rw(IO_WRITE, 0, 16), data, in_capsule=False)
    r2t = host.io.recv_r2t()
    assert abort(host, cid, sqid=1) == 0
    assert abort(host, cid, sqid=1) == 0      # once more: it still is
    host.io.answer_r2t(r2t)
    assert host.io.wait(cid).status == ABORTED
    assert host.io.read(0, 16) == bytes(8192)


def test_command_that_waits_for_its_turn(host):
    """A command in line behind data that is owed would not be found, or be asked for its data when it is gone."""
    size = 128 * 1024
    cids = [host.io.submit(rw(IO_WRITE, n * 256, 256), bytes([n]) * size, in_capsule=False) for n in range(24)]
    r2ts = [host.io.recv_r2t() for _ in range(16)]   # 2 MiB: what a connection may be asked for at once
    assert abort(host, cids[-1], sqid=1) == 0
    assert host.io.wait(cids[-1]).status == ABORTED
    assert abort(host, cids[-3], sqid=1) == 0
    for r2t in r2ts:
        host.io.answer_r2t(r2t)
    statuses = [host.io.wait(cid).status for cid in cids[:-1]]
    assert statuses.pop(-2) == ABORTED and set(statuses) == {OK}
    assert host.io.read(23 * 256, 8) == bytes(4096) and host.io.read(22 * 256, 8) == b"\x16" * 4096


def test_half_of_a_pair(host):
    """A compare that waits for its write would be there for ever."""
    first = host.io.submit(rw(IO_COMPARE, 0, 1, flags=0x41), bytes(512))
    assert abort(host, first, sqid=1) == 0
    assert host.io.wait(first).status == ABORTED
    assert host.io.command(rw(IO_WRITE, 0, 1, flags=0x42), bytes(512)).status == FUSED_FAILED


def test_command_of_a_slow_device(daemon):
    """A host would be told "aborted" of a write that is done a second later."""
    daemon.malloc("disk0", mib=8)
    daemon.rpc("bdev_error_create", base_name="disk0")
    served = daemon.serve("EE_disk0")
    with Host(served.port, served.nqn) as host:
        daemon.rpc("bdev_error_inject_error", name="EE_disk0", io_type="write", error_type="pending", num=1)
        cid = host.io.submit(rw(IO_WRITE, 0, 1), b"x" * 512)
        not_aborted = abort(host, cid, sqid=1)
        if not_aborted:
            daemon.rpc("bdev_error_resume_pending", name="EE_disk0")
        status = host.io.wait(cid).status
        assert (status == ABORTED) == (not not_aborted)
        assert host.io.read(0, 1) == (b"x" * 512 if status == OK else bytes(512))


def test_more_aborts_than_announced(host):
    """A host that sends too many at once would get no answer to some of them."""
    limit = host.admin.identify(1)[258] + 1
    cids = [host.admin.submit(sqe(ADMIN_ABORT, cdw10=1 | n << 16)) for n in range(min(limit + 8, 30))]
    statuses = [host.admin.wait(cid).status for cid in cids]
    assert set(statuses) <= {OK, 0x103}, statuses
    assert statuses.count(OK) >= min(limit, len(cids)), statuses
