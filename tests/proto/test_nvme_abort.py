# SPDX-License-Identifier: BSD-3-Clause
import os

from nvme_tcp import ABORTED, ADMIN_ABORT, ADMIN_ASYNC_EVENT, IO_WRITE, OK, must, rw, sqe


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
    """A write that was told to be aborted may be done or not, but must be answered once, and nothing else may break."""
    data = os.urandom(8192)
    cid = host.io.submit(rw(IO_WRITE, 0, 16), data, in_capsule=False)
    r2t = host.io.recv_r2t()
    not_aborted = abort(host, cid, sqid=1)
    if not_aborted:
        host.io.answer_r2t(r2t)
        assert host.io.wait(cid).status in (OK, ABORTED)
    assert host.io.read(100, 1) == bytes(512)


def test_more_aborts_than_announced(host):
    """A host that sends too many at once would get no answer to some of them."""
    limit = host.admin.identify(1)[258] + 1
    cids = [host.admin.submit(sqe(ADMIN_ABORT, cdw10=1 | n << 16)) for n in range(min(limit + 8, 30))]
    statuses = [host.admin.wait(cid).status for cid in cids]
    assert set(statuses) <= {OK, 0x103}, statuses
    assert statuses.count(OK) >= min(limit, len(cids)), statuses
