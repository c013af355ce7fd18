# SPDX-License-Identifier: BSD-3-Clause
"""Namespaces that only some hosts see."""
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from gantry import NQN, RpcError, wait_until
from nvme_tcp import ADMIN_ASYNC_EVENT, ADMIN_IDENTIFY, INVALID_NAMESPACE, IO_READ, IO_WRITE, OK, Host, must, rw, sqe
from test_nvme_aer import NS_CHANGED, active, changed, listen

HOST_A = "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-0000-4000-8000-000000000001"
HOST_B = "nqn.2014-08.org.nvmexpress:uuid:bbbbbbbb-0000-4000-8000-000000000002"


@pytest.fixture
def hidden(daemon):
    """Namespace 1 is everybody's, namespace 2 nobody's yet."""
    served = daemon.serve(daemon.malloc("disk0", mib=16))
    daemon.malloc("disk1", mib=16)
    daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk1", "no_auto_visible": True})
    return served


def show(daemon, host, nsid=2):
    daemon.rpc("nvmf_ns_add_host", nqn=NQN, nsid=nsid, host=host)


def hide(daemon, host, nsid=2):
    daemon.rpc("nvmf_ns_remove_host", nqn=NQN, nsid=nsid, host=host)


def read_status(host, nsid):
    return host.io.command(rw(IO_READ, 0, 8, nsid), expect=4096).status


def is_told(host, aer):
    return must(host.admin.wait(aer)).value & 0xffffffff == NS_CHANGED


def test_hidden_from_all_but_its_hosts(daemon, hidden):
    """One tenant would find, and read, another one's disk."""
    with Host(hidden.port, NQN, hostnqn=HOST_A) as a, Host(hidden.port, NQN, hostnqn=HOST_B) as b:
        for host in (a, b):
            assert active(host) == [1]
            assert read_status(host, 1) == OK and read_status(host, 2) == INVALID_NAMESPACE
            assert host.admin.identify(0, nsid=2) == bytes(4096)
            assert host.admin.command(sqe(ADMIN_IDENTIFY, 2, cdw10=3), expect=4096).status == INVALID_NAMESPACE
        show(daemon, HOST_A)
        assert active(a) == [1, 2] and active(b) == [1]
        assert read_status(a, 2) == OK and read_status(b, 2) == INVALID_NAMESPACE
        assert struct.unpack_from("<Q", a.admin.identify(0, nsid=2))[0] == 32768
    with Host(hidden.port, NQN, hostnqn=HOST_A) as a, Host(hidden.port, NQN, hostnqn=HOST_B) as b:
        assert active(a) == [1, 2] and active(b) == [1], "who comes later sees the same"


def test_only_who_is_meant_is_told(daemon, hidden):
    """A host would not see its new disk, or be told of one that is hidden from it."""
    with Host(hidden.port, NQN, hostnqn=HOST_A) as a, Host(hidden.port, NQN, hostnqn=HOST_B) as b:
        waits, not_told = listen(a), listen(b)
        show(daemon, HOST_A)
        assert is_told(a, waits) and changed(a) == [2]

        waits = a.admin.submit(sqe(ADMIN_ASYNC_EVENT))
        hide(daemon, HOST_A)
        assert is_told(a, waits) and changed(a) == [2]
        assert active(a) == [1] and read_status(a, 2) == INVALID_NAMESPACE

        daemon.rpc("bdev_malloc_resize", name="disk1", new_size=32)
        daemon.rpc("nvmf_subsystem_remove_ns", nqn=NQN, nsid=2)
        assert active(b) == [1] and changed(b) == []     # answers come in order: an event would have come before
        assert not_told not in b.admin.done
        daemon.rpc("nvmf_subsystem_remove_ns", nqn=NQN, nsid=1)
        assert is_told(b, not_told) and changed(b) == [1]


def test_what_the_host_has_begun_is_waited_for(daemon):
    """A write of the host could land when its disk is somebody else's already; nobody else's I/O may be waited for."""
    served = daemon.serve(daemon.malloc("disk0", mib=16))
    daemon.malloc("disk1", mib=16)
    daemon.rpc("bdev_error_create", base_name="disk1")
    daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "EE_disk1", "no_auto_visible": True,
                                                           "hosts": [HOST_A, HOST_B]})
    with Host(served.port, NQN, hostnqn=HOST_A) as a, Host(served.port, NQN, hostnqn=HOST_B) as b:
        daemon.rpc("bdev_error_inject_error", name="EE_disk1", io_type="write", error_type="pending", num=2)
        held = a.io.submit(rw(IO_WRITE, 0, 8, nsid=2), bytes(4096))
        b.io.submit(rw(IO_WRITE, 0, 8, nsid=2), bytes(4096))
        assert a.io.read(0, 8, nsid=2) and b.io.read(0, 8, nsid=2)           # both writes are with the device
        with ThreadPoolExecutor(1) as pool:
            hiding = pool.submit(hide, daemon, HOST_A)
            wait_until(lambda: read_status(a, 2) == INVALID_NAMESPACE, "the namespace to be hidden")
            hide(daemon, HOST_A[:-1] + "9")                                  # waits for nobody
            assert a.io.read(0, 8) and b.io.read(0, 8, nsid=2) and not hiding.done()
            daemon.rpc("bdev_error_resume_pending", name="EE_disk1")
            hiding.result(30)
        assert a.io.wait(held).status == OK


def test_what_was_hidden_goes_with_its_namespace(daemon, hidden):
    """A namespace that takes a number again would be hidden, or seen, as its predecessor was."""
    show(daemon, HOST_A)
    daemon.rpc("nvmf_subsystem_remove_ns", nqn=NQN, nsid=2)
    daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk1", "nsid": 2, "no_auto_visible": True})
    with Host(hidden.port, NQN, hostnqn=HOST_A) as a:
        assert active(a) == [1]
        daemon.rpc("nvmf_subsystem_remove_ns", nqn=NQN, nsid=2)
        daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk1", "nsid": 2})
        assert active(a) == [1, 2] and read_status(a, 2) == OK


def test_refusals(daemon, hidden):
    with pytest.raises(RpcError, match="every host sees namespace 1"):
        show(daemon, HOST_A, nsid=1)
    for nsid in (3, 33, 0xffffffff):
        with pytest.raises(RpcError, match=f"no namespace {nsid}"):
            show(daemon, HOST_A, nsid=nsid)
    with pytest.raises(RpcError, match="is not an NQN"):
        show(daemon, "nobody")
    show(daemon, HOST_A)
    show(daemon, HOST_A)
    hide(daemon, HOST_B)
    shown = daemon.rpc("nvmf_get_subsystems", nqn=NQN)[0]["namespaces"]
    assert "no_auto_visible" not in shown[0] and shown[1]["no_auto_visible"] and shown[1]["hosts"] == [HOST_A]


def test_many_namespaces_of_many_hosts(daemon):
    """Each host its own disk, in one subsystem."""
    served = daemon.serve(max_namespaces=200)
    hosts = [f"{HOST_B[:-1]}{n}" for n in range(4)]
    for n, host in enumerate(hosts):
        daemon.malloc(f"disk{n}", mib=1)
        nsid = daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={
            "bdev_name": f"disk{n}", "nsid": 60 + 3 * n, "no_auto_visible": True, "hosts": [host]})
        assert nsid == 60 + 3 * n
    for n, nqn in enumerate(hosts):
        with Host(served.port, NQN, hostnqn=HOST_A if not n else nqn) as host:
            mine = [60 + 3 * n] if n else []
            assert active(host) == mine
            for other in range(len(hosts)):
                assert (read_status(host, 60 + 3 * other) == OK) == (60 + 3 * other in mine)


def test_a_hidden_namespace_returns_hidden(daemon):
    """A disk that went and came again would be seen by all, or by none."""
    served = daemon.serve(daemon.malloc("disk0", mib=1))
    base = {"name": "base", "num_blocks": 2048, "block_size": 512, "uuid": "0d3c9c8e-7d2b-4c46-9a54-0a8c7f2b9f01"}
    daemon.rpc("bdev_malloc_create", **base)
    daemon.rpc("bdev_passthru_create", base_bdev_name="base", name="pass0", uuid=base["uuid"][:-1] + "2")
    daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "pass0", "no_auto_visible": True})
    show(daemon, HOST_A)
    with Host(served.port, NQN, hostnqn=HOST_A) as a, Host(served.port, NQN, hostnqn=HOST_B) as b:
        daemon.rpc("bdev_malloc_delete", name="base")
        wait_until(lambda: active(a) == [1], "the namespace to be gone")
        daemon.rpc("bdev_malloc_create", **base)
        wait_until(lambda: active(a) == [1, 2], "the namespace to be back")
        assert read_status(a, 2) == OK and active(b) == [1] and read_status(b, 2) == INVALID_NAMESPACE
