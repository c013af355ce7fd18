# SPDX-License-Identifier: BSD-3-Clause
"""How much of everything there can be: told by nvmf_get_limits, set, and enforced with a status."""
import threading

import pytest

from gantry import Daemon, RpcError, free_port, wait_until
from nvme_tcp import IO_READ, OK, Conn, Host, must, rw

CTRL_BUSY = 0x181
SUBSYSTEMS, NAMESPACES = 1024, 1024


def limits(daemon):
    return {row["name"]: row for row in daemon.rpc("nvmf_get_limits")}


def connect(served, **how):
    return Conn(served.port).connect(served.nqn, **how)


def test_connections(daemon, served):
    """A host that is refused must know that it may try again, and one that is served must stay."""
    assert limits(daemon)["connections"] | {"limit": 0, "used": 0, "refused": 0} == limits(daemon)["connections"]
    with Host(served.port, served.nqn, io_queues=2) as host:
        assert limits(daemon)["connections"]["used"] == 3
        daemon.rpc("nvmf_set_limits", max_connections=2)      # fewer than there are: those stay
        must(host.io.write(0, bytes(512)))
        daemon.rpc("nvmf_set_limits", max_connections=4)
        with Host(served.port, served.nqn, io_queues=0) as other:
            io = Conn(served.port).connect(served.nqn, 1, cntlid=other.cntlid)
            assert io.status == CTRL_BUSY and not io.dnr
            assert connect(served).status == CTRL_BUSY
            must(other.admin.command(b"\x18" + bytes([0x40]) + bytes(62)))
        wait_until(lambda: limits(daemon)["connections"]["used"] == 3, "the other host to leave")
        must(connect(served))
    assert limits(daemon)["connections"]["refused"] == 2 and "nvmf_set_limits" in daemon.log()


def test_controllers(daemon, served):
    daemon.rpc("nvmf_set_limits", max_controllers=1)
    with Host(served.port, served.nqn) as host:
        assert connect(served).status == CTRL_BUSY
        must(host.add_io().write(0, bytes(512)))              # its own queues are no controllers
        row = limits(daemon)["controllers"]
        assert (row["limit"], row["used"], row["refused"]) == (1, 1, 1)


def test_they_are_saved(tmp_path):
    with Daemon(tmp_path) as daemon:
        daemon.rpc("nvmf_set_limits", max_connections=100)
        saved = [s for s in daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "nvmf"][0]["config"]
        assert {"method": "nvmf_set_limits", "params": {"max_connections": 100, "max_controllers": 0}} in saved


def test_1024_subsystems(daemon):
    """Beside the discovery subsystem. Each of them serves."""
    disk = daemon.malloc("disk0", mib=1)
    daemon.serve(disk)
    for n in range(SUBSYSTEMS - 1):
        daemon.rpc("nvmf_create_subsystem", nqn=f"nqn.2026-11.io.gantry:many{n}", allow_any_host=True)
    assert (lambda row: (row["limit"], row["used"]))(limits(daemon)["subsystems"]) == (SUBSYSTEMS + 1, SUBSYSTEMS + 1)
    with pytest.raises(RpcError) as refused:
        daemon.rpc("nvmf_create_subsystem", nqn="nqn.2026-11.io.gantry:toomuch")
    assert refused.value.code == -28
    last = f"nqn.2026-11.io.gantry:many{SUBSYSTEMS - 2}"
    daemon.malloc("disk1", mib=1)
    daemon.rpc("nvmf_subsystem_add_ns", nqn=last, namespace={"bdev_name": "disk1"})
    port = free_port()
    daemon.listen(last, port)
    with Host(port, last) as host:
        must(host.io.write(0, bytes(512)))
    daemon.rpc("nvmf_delete_subsystem", nqn="nqn.2026-11.io.gantry:many5")
    daemon.rpc("nvmf_create_subsystem", nqn="nqn.2026-11.io.gantry:again")


class Reader:
    """Reads of one namespace, one after the other, until the end of the block; the longest pause is no figure."""

    def __init__(self, host, nsid):
        self.host, self.nsid, self.reads, self.failed, self.ends = host, nsid, 0, [], False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ends and not self.failed:
            status = self.host.io.command(rw(IO_READ, 0, 8, self.nsid), expect=4096).status
            self.reads += 1
            if status != OK:
                self.failed.append(status)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends = True
        self.thread.join()

    def goes_on(self):
        before = self.reads
        wait_until(lambda: self.reads > before + 20 or self.failed, "reads to go on")
        assert not self.failed, f"{self.failed[0]:#x}"


def test_1024_namespaces_and_changes_under_io(daemon):
    """Among so many each change must concern those that it is about only."""
    for n in range(NAMESPACES):
        daemon.rpc("bdev_null_create", name=f"null{n}", num_blocks=2048, block_size=512)
    served = daemon.serve(max_namespaces=NAMESPACES)
    for n in range(NAMESPACES):
        daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": f"null{n}"})
    with pytest.raises(RpcError) as refused:
        daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": "null0"})
    assert refused.value.code
    row = limits(daemon)["namespaces of the subsystem that has most"]
    assert (row["limit"], row["used"]) == (NAMESPACES, NAMESPACES)
    with Host(served.port, served.nqn) as first, Host(served.port, served.nqn) as last:
        listed = first.admin.identify(2)
        assert [int.from_bytes(listed[at:at + 4], "little") for at in range(0, 4096, 4)] == list(range(1, 1025))
        with Reader(first, 1) as a, Reader(last, NAMESPACES) as b:
            for n in range(500, 520):
                daemon.rpc("nvmf_subsystem_remove_ns", nqn=served.nqn, nsid=n)
                daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": f"null{n - 1}", "nsid": n})
            a.goes_on()
            b.goes_on()
        changed = first.admin.get_log_page(4, 4096)
        assert int.from_bytes(changed[:4], "little") == 500
        must(first.io.command(rw(IO_READ, 0, 8, 510), expect=4096))
