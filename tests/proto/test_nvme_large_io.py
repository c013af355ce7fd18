# SPDX-License-Identifier: BSD-3-Clause
"""The largest commands: 2 MiB with what MDTS says, and as much data as a capsule is said to hold."""
import os
import struct

import pytest

from attached import attach, gateway
from gantry import RpcError
from nvme_tcp import IO_COMPARE, IO_WRITE, OK, Host, must, rw

LARGEST = 2 << 20
COMPARE_FAILED, INVALID_FIELD = 0x285, 0x02


@pytest.mark.parametrize("kind", ["lends", "takes"])
def test_2_mib(daemon, kind):
    """A host that is told 2 MiB sends them."""
    disk = daemon.malloc("ram", mib=16)
    if kind == "takes":
        disk = daemon.tell("bdev_passthru_create", base_bdev_name=disk, name="over")
    served = daemon.serve(disk, transport={"max_io_size": LARGEST})
    with Host(served.port, served.nqn, io_queues=2) as host:
        assert 4096 << host.admin.identify(1)[77] == LARGEST
        data = os.urandom(LARGEST)
        must(host.io.write(8, data, in_capsule=False))
        assert host.ios[1].read(8, LARGEST // 512) == data
        compare = rw(IO_COMPARE, 8, LARGEST // 512)
        must(host.io.command(compare, data, in_capsule=False))
        other = data[:-1] + bytes([data[-1] ^ 1])
        assert host.io.command(compare, other, in_capsule=False).status == COMPARE_FAILED
        at_once = [host.io.submit(rw(IO_WRITE, 4096 * n, 4096), data, in_capsule=False) for n in range(6)]
        assert {host.io.wait(cid).status for cid in at_once} == {OK}
        assert host.io.write(8, data + bytes(512), in_capsule=False).status == INVALID_FIELD
        assert host.io.read(4096 * 5, 4096) == data


def test_2_mib_through_a_gateway(daemon):
    """A remote disk's commands are as long as its target says that they may be: not cut into halves."""
    ram = daemon.malloc("ram", mib=16)
    disk = attach(daemon, daemon.serve(ram, transport={"max_io_size": LARGEST}))
    with gateway(daemon, disk) as host:
        before = daemon.rpc("bdev_get_iostat", names=[ram])["bdevs"][0]
        data = os.urandom(LARGEST)
        must(host.io.write(8, data, in_capsule=False))
        assert host.io.read(8, LARGEST // 512) == data
        after = daemon.rpc("bdev_get_iostat", names=[ram])["bdevs"][0]
        assert [after[ops] - before[ops] for ops in ("num_write_ops", "num_read_ops")] == [1, 1]


def test_in_capsule(daemon):
    served = daemon.serve(daemon.malloc("ram", mib=16),
                          transport={"max_io_size": LARGEST, "in_capsule_data_size": 65536})
    with Host(served.port, served.nqn) as host:
        assert struct.unpack_from("<I", host.admin.identify(1), 1792)[0] * 16 == 64 + 65536     # IOCCSZ
        data = os.urandom(65536)
        cids = [host.io.submit(rw(IO_WRITE, 128 * n, 128), data) for n in range(32)]
        assert {host.io.wait(cid).status for cid in cids} == {OK}
        assert host.io.read(128 * 31, 128) == data


@pytest.mark.parametrize("options", [{"max_io_size": LARGEST + 4096}, {"max_io_size": 1 << 22}, {"max_io_size": 2048},
                                     {"max_io_size": 4096},    # MDTS would be 0: no limit
                                     {"max_io_size": 131072, "in_capsule_data_size": 131088}], ids=str)
def test_more_is_refused(daemon, options):
    with pytest.raises(RpcError, match="max_io_size|in_capsule_data_size"):
        daemon.rpc("nvmf_create_transport", trtype="TCP", **options)
