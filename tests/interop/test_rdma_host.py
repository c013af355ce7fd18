# SPDX-License-Identifier: BSD-3-Clause
"""Our NVMe/RDMA host in a guest with soft RoCE, against the kernel's target and ours."""
import pytest

from gantry import NQN
from rdma_guest import GuestDaemon
from test_changes import goes_on
from test_rdma import SLOW_S, UUID, VERIFY, end_load, start_load, verified

KERNEL = "nqn.2026-01.io.gantry:kernel"
KERNEL_PORT = 4421
MIDDLE = "nqn.2026-01.io.gantry:middle"
MIDDLE_PORT = 4422


@pytest.fixture
def kernel(rdma):
    """A subsystem of the kernel's."""
    rdma.run(f"rdma_export {KERNEL} {rdma.address} {KERNEL_PORT}")
    return KERNEL


def test_the_kernels_target(rdma, kernel):
    """Our host would lose or tear data with a foreign target, or want what it does not offer."""
    path = rdma.path(kernel, port=KERNEL_PORT)
    rdma.verified(path, "-q", "8", "-o", "4k", "-d", "100")
    rdma.verified(path, "-q", "4", "-o", "64k", "-d", "20")
    rdma.verified(path, "-q", "16", "-o", "512", "-P", "2", "-d", "100")


@pytest.mark.parametrize("no_srq", [False, True], ids=["shared", "own"])
def test_our_target(rdma, inside, no_srq):
    """Both our ends would agree on what is wrong, or receives that are not shared be short."""
    nqn = inside.serve(inside.malloc("disk0"), transport={"max_io_size": 2 << 20, "no_srq": no_srq,
                                                          "ack_timeout": 4000})
    rdma.verified(rdma.path(nqn), "-q", "8", "-o", "4k", "-d", "100")
    rdma.verified(rdma.path(nqn), "-q", "2", "-o", "2M", "-d", "4")
    rdma.verified(rdma.path(nqn), "-q", "32", "-o", "512", "-P", "4", "-d", "200")
    assert "acknowledgement timeout" not in inside.log(), "the kernel took it"


def test_every_pool_is_the_smallest(rdma, inside):
    """Who waits for work requests, for a receive that all share or for a slot would wait for ever."""
    nqn = inside.serve(inside.malloc("disk0"), transport={
        "data_wr_pool_size": 1, "max_srq_depth": 16, "max_queue_depth": 2, "in_capsule_data_size": 0,
        "max_io_size": 8192, "num_shared_buffers": 1})
    rdma.verified(rdma.path(nqn), "-q", "8", "-o", "8k", "-P", "4", "-d", "30")
    disk = rdma.connect_rdma(nqn)
    verified(rdma.fio(disk, f"--rw=randrw --bs=32k --size=512k --iodepth=8 {VERIFY}"))


@pytest.mark.long
def test_a_gateway_between_two_kernels(rdma, inside, kernel):
    """A remote disk of the kernel's, served on to the kernel: data would be lost on the way through both ends."""
    assert inside.attach("K", kernel, port=KERNEL_PORT) == ["Kn1"]
    disk = rdma.connect_rdma(inside.serve("Kn1"))
    verified(rdma.fio(disk, f"--rw=randrw --bs=16k --size=2m --iodepth=8 {VERIFY}"))


def test_nobody_listens(rdma):
    """A mistyped port would be a time-out, or a crash."""
    job = rdma.start_perf(rdma.path(NQN, port=4999), "-q", "1", "-o", "4k", "-w", "read", "-d", "1")
    output = job.wait(SLOW_S, check=False)
    assert job.status == 1 and "nobody listens" in output, output


@pytest.mark.long
def test_our_target_is_killed_under_the_io_of_our_host(rdma, inside):
    """Our host would not come back to a target that does, or lose I/O of those who use its disk meanwhile."""
    nqn = inside.serve(inside.malloc("disk0", uuid=UUID))
    with GuestDaemon(rdma, name="middle") as middle:
        middle.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=2000, reconnect_delay_sec=1,
                   ctrlr_loss_timeout_sec=-1)
        assert middle.attach("R", nqn) == ["Rn1"]
        disk = rdma.connect_rdma(middle.serve("Rn1", nqn=MIDDLE, port=MIDDLE_PORT), port=MIDDLE_PORT)
        job = start_load(rdma, disk)
        inside.kill()
        inside.start()
        inside.replay()
        goes_on(rdma, disk)
        end_load(rdma, job)
        rdma.run("nvme disconnect-all")
