# SPDX-License-Identifier: BSD-3-Clause
"""Connect commands that must fail, and what the answer points at (attribute, offset)."""
import uuid

import pytest

from nvme_tcp import CONNECT_INVALID_HOST, CONNECT_INVALID_PARAMETERS, Conn, Host, must

DATA, COMMAND = 1, 0


def refused(port, nqn, status=CONNECT_INVALID_PARAMETERS, **how):
    with Conn(port) as conn:
        answer = conn.connect(nqn, **how)
    assert answer.status == status, f"status {answer.status:#x}"
    assert answer.dnr, "the host would try again for ever"
    return answer.value >> 16 & 0xff, answer.value & 0xffff


def test_unknown_subsystem(served, serves):
    """A host would be connected to another subsystem than it named."""
    assert refused(served.port, "nqn.2016-06.io.gantry:other") == (DATA, 256)
    assert refused(served.port, "") == (DATA, 256)
    assert refused(served.port, "x" * 255) == (DATA, 256)
    serves()


def test_queue_size_of_one(served):
    """SQSIZE is 0's based and 0 is no queue: a division by it, or an endless one, would follow."""
    assert refused(served.port, served.nqn, entries=1) == (COMMAND, 44)


def test_queue_larger_than_the_controller_has(host, served):
    """A queue would be promised that has no slots."""
    entries = (host.admin.property_get(0, 8) & 0xffff) + 2
    assert refused(served.port, served.nqn, qid=2, entries=min(entries, 0xffff), cntlid=host.cntlid) == (COMMAND, 44)


def test_controller_that_does_not_exist(host, served):
    """An I/O queue would join a stranger's controller."""
    assert refused(served.port, served.nqn, qid=1, cntlid=host.cntlid + 77) == (DATA, 16)


def test_controller_of_another_host(host, served):
    """A host could use the controller of another, with its rights."""
    stranger = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.uuid4()}"
    with Conn(served.port) as conn:
        answer = conn.connect(served.nqn, qid=2, cntlid=host.cntlid, hostnqn=stranger)
    assert answer.status == CONNECT_INVALID_PARAMETERS


def test_queue_id_in_use(host, served):
    """Two connections would share a queue."""
    with Conn(served.port) as conn:
        assert conn.connect(served.nqn, qid=1, cntlid=host.cntlid).status != 0
    assert host.io.read(0, 1) == bytes(512)


def test_queue_id_beyond_all(host, served):
    """A queue number would index beyond a table."""
    for qid in (1000, 0xffff):
        with Conn(served.port) as conn:
            assert conn.connect(served.nqn, qid=qid, cntlid=host.cntlid).status != 0


def test_host_that_is_not_allowed(daemon):
    """The list of allowed hosts would mean nothing."""
    served = daemon.serve(daemon.malloc("disk0"))
    allowed, stranger = (f"nqn.2014-08.org.nvmexpress:uuid:{uuid.uuid4()}" for _ in range(2))
    daemon.rpc("nvmf_subsystem_allow_any_host", nqn=served.nqn, allow_any_host=False)
    daemon.rpc("nvmf_subsystem_add_host", nqn=served.nqn, host=allowed)
    refused(served.port, served.nqn, CONNECT_INVALID_HOST, hostnqn=stranger)
    with Host(served.port, served.nqn, hostnqn=allowed) as host:
        assert host.io.read(0, 1) == bytes(512)
        daemon.rpc("nvmf_subsystem_remove_host", nqn=served.nqn, host=allowed)
        host.io.expect_closed()


@pytest.mark.parametrize("recfmt", [1, 0xffff])
def test_unknown_record_format(served, recfmt):
    """Connect data of another layout would be believed."""
    with Conn(served.port) as conn:
        assert conn.connect(served.nqn, recfmt=recfmt).status == 0x180


def test_connect_again_after_a_refusal(served):
    """A host that corrects its mistake on the same connection would be refused for ever."""
    with Conn(served.port) as conn:
        assert conn.connect("nqn.2016-06.io.gantry:other").status == CONNECT_INVALID_PARAMETERS
        must(conn.connect(served.nqn))


@pytest.mark.parametrize("cntlid", [0, 1, 77, 0xffef, 0xfff0, 0xfffe])
def test_controllers_are_dynamic(served, cntlid):
    """A host that wants a certain controller would be given another one."""
    assert refused(served.port, served.nqn, cntlid=cntlid) == (DATA, 16)


def test_names_without_an_end(served):
    """What follows a name would be read as part of it."""
    assert refused(served.port, "x" * 256) == (DATA, 256)
    hostid = uuid.uuid4().bytes
    assert refused(served.port, served.nqn, hostnqn="y" * 256, hostid=hostid) == (DATA, 512)


def test_host_identifier_of_another(host, served):
    """A queue would join a controller of another machine with the same name."""
    assert refused(served.port, served.nqn, qid=2, cntlid=host.cntlid, hostid=uuid.uuid4().bytes) == (DATA, 0)
