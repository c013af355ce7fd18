# SPDX-License-Identifier: BSD-3-Clause
"""Asynchronous events: namespaces come, change and go."""
import struct

import pytest

from nvme_tcp import ADMIN_ASYNC_EVENT, ADMIN_SET_FEATURES, AER_LIMIT_EXCEEDED, Host, must, sqe

NS_CHANGED = 0x040002          # log page 4, information 0, type 2 (notice)
CHANGED_NAMESPACES = 4


def listen(host):
    must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0b, cdw11=0x100)))
    return host.admin.submit(sqe(ADMIN_ASYNC_EVENT))


def changed(host):
    log = host.admin.get_log_page(CHANGED_NAMESPACES, 4096)
    return [nsid for nsid in struct.unpack("<1024I", log) if nsid]


def active(host):
    return [nsid for nsid in struct.unpack("<1024I", host.admin.identify(2)) if nsid]


def test_namespace_added_and_removed(daemon, host):
    """A host would not see new disks, or use one that is gone."""
    aer = listen(host)
    daemon.null("disk1")
    daemon.rpc("nvmf_subsystem_add_ns", nqn=host.nqn, namespace={"bdev_name": "disk1", "nsid": 5})
    assert must(host.admin.wait(aer)).value & 0xffffffff == NS_CHANGED
    assert changed(host) == [5] and active(host) == [1, 5]
    assert host.io.read(0, 8, nsid=5) == bytes(4096)

    aer = host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
    daemon.rpc("nvmf_subsystem_remove_ns", nqn=host.nqn, nsid=5)
    assert must(host.admin.wait(aer)).value & 0xffffffff == NS_CHANGED
    assert changed(host) == [5] and active(host) == [1]


def test_event_before_the_request(daemon, host):
    """What happens while no request is outstanding would be lost."""
    aer = listen(host)
    daemon.null("disk1")
    daemon.rpc("nvmf_subsystem_add_ns", nqn=host.nqn, namespace={"bdev_name": "disk1", "nsid": 5})
    must(host.admin.wait(aer))
    assert changed(host) == [5]
    daemon.rpc("nvmf_subsystem_remove_ns", nqn=host.nqn, nsid=5)
    aer = host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
    assert must(host.admin.wait(aer)).value & 0xffffffff == NS_CHANGED
    assert changed(host) == [5]


@pytest.mark.parametrize("kind", ["malloc", "null"])
def test_namespace_resized(daemon, kind):
    """A host would use a disk in its old size."""
    served = daemon.serve(getattr(daemon, kind)("disk0", mib=32))
    with Host(served.port, served.nqn) as host:
        aer = listen(host)
        daemon.rpc(f"bdev_{kind}_resize", name="disk0", new_size=48)
        assert must(host.admin.wait(aer)).value & 0xffffffff == NS_CHANGED
        assert changed(host) == [1]
        assert struct.unpack_from("<Q", host.admin.identify(0, nsid=1))[0] == 48 << 11
        assert host.io.read(47 << 11, 8) == bytes(4096)


def test_no_event_unless_asked_for(daemon, host):
    """A host that masked the event would be told anyway."""
    must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0b, cdw11=0)))
    aer = host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
    daemon.null("disk1")
    daemon.rpc("nvmf_subsystem_add_ns", nqn=host.nqn, namespace={"bdev_name": "disk1", "nsid": 5})
    assert active(host) == [1, 5]
    assert aer not in host.admin.done


def test_too_many_requests(host):
    """A host could use up the admin queue with requests that are never answered."""
    limit = host.admin.identify(1)[259] + 1
    cids = [host.admin.submit(sqe(ADMIN_ASYNC_EVENT)) for _ in range(limit + 1)]
    assert host.admin.wait(cids[-1]).status == AER_LIMIT_EXCEEDED
    assert not host.admin.done
