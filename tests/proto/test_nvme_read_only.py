# SPDX-License-Identifier: BSD-3-Clause
"""A disk that can be written, shown to some hosts as one that cannot: what is written through the one is read through
the other, and nothing is ever written through that."""
import os

from nvme_tcp import Host

NS_WRITE_PROTECTED = 0x20
DNR = 0x4000
WRITE_PROTECTED_ATTR = 99        # byte of Identify Namespace


def test_read_only_namespace(daemon):
    daemon.malloc("disk0", mib=8)
    readers = daemon.serve(nqn="nqn.2016-06.io.gantry:readers")
    daemon.tell("nvmf_subsystem_add_ns", nqn=readers.nqn, namespace={"bdev_name": "disk0", "read_only": True})
    writers = daemon.serve("disk0", nqn="nqn.2016-06.io.gantry:writers")
    with Host(readers.port, readers.nqn) as reader, Host(writers.port, writers.nqn) as writer:
        data = os.urandom(4096)
        assert writer.io.write(8, data).status == 0
        assert reader.io.read(8, 8) == data
        assert reader.io.write(8, bytes(4096)).status & 0x3ff == NS_WRITE_PROTECTED
        assert reader.io.read(8, 8) == data
        assert reader.admin.identify(0, nsid=1)[WRITE_PROTECTED_ATTR] == 1
        assert writer.admin.identify(0, nsid=1)[WRITE_PROTECTED_ATTR] == 0


def test_read_only_is_saved(daemon):
    daemon.malloc("disk0", mib=8)
    readers = daemon.serve(nqn="nqn.2016-06.io.gantry:readers")
    daemon.tell("nvmf_subsystem_add_ns", nqn=readers.nqn, namespace={"bdev_name": "disk0", "read_only": True})
    nvmf = next(s for s in daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "nvmf")["config"]
    added = next(c for c in nvmf if c["method"] == "nvmf_subsystem_add_ns")
    assert added["params"]["namespace"]["read_only"] is True
