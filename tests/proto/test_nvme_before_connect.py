# SPDX-License-Identifier: BSD-3-Clause
"""Commands that come too early."""
import pytest

from nvme_tcp import (ADMIN_IDENTIFY, CAP, FABRICS, FABRICS_PROPERTY_GET, IO_READ, SEQUENCE_ERROR, Conn, must, rw, sqe)


@pytest.mark.parametrize("command", [sqe(ADMIN_IDENTIFY, cdw10=1), rw(IO_READ, 0, 8), sqe(0xff),
                                     sqe(FABRICS, FABRICS_PROPERTY_GET, cdw11=CAP)],
                         ids=["identify", "read", "unknown", "property"])
def test_before_connect(served, serves, command):
    """Somebody who has not said who he is would be served."""
    with Conn(served.port) as conn:
        assert conn.command(command, expect=4096).status == SEQUENCE_ERROR
        must(conn.connect(served.nqn))
    serves()


def test_connect_twice(served, serves):
    """A queue would belong to two controllers."""
    with Conn(served.port) as conn:
        must(conn.connect(served.nqn))
        assert conn.connect(served.nqn).status == SEQUENCE_ERROR
        assert conn.property_get(CAP, 8)
    serves()


def test_admin_command_before_enable(served):
    """A controller that is not enabled would execute commands."""
    with Conn(served.port) as conn:
        must(conn.connect(served.nqn))
        assert conn.command(sqe(ADMIN_IDENTIFY, cdw10=1), expect=4096).status == SEQUENCE_ERROR
        conn.property_set(0x14, 4 << 20 | 6 << 16 | 1)
        assert conn.identify(1)


def test_io_queue_before_enable(served):
    """An I/O queue would join a controller that is not there yet."""
    with Conn(served.port) as admin, Conn(served.port) as io:
        cntlid = must(admin.connect(served.nqn)).value & 0xffff
        assert io.connect(served.nqn, qid=1, cntlid=cntlid).status != 0
