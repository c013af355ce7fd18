# SPDX-License-Identifier: BSD-3-Clause
"""The guest's kernel as NVMe/RDMA host of our target, in the same guest, over soft RoCE.

What a guest says to itself does not pass its network card; what needs a wire is in test_rdma_wire.py.
"""
import json

import pytest

from client import fio_result
from gantry import BUILD, NQN, wait_until
from guest import GuestError
from rdma_guest import PORT
from test_changes import goes_on

SLOW_S = 120
VERIFY = "--verify=crc32c --verify_fatal=1 --do_verify=1"
LOAD = "--rw=randrw --bs=4k --iodepth=8 --time_based --runtime=300 --size=16m"
UUID = "0b1f6f0c-7a2e-4a38-9d39-5d2b3a1c0f01"


def start_load(guest, disk):
    """I/O on a disk until end_load()."""
    job = guest.fio(disk, LOAD, name="load")
    before = guest.ios_done(disk)
    wait_until(lambda: guest.ios_done(disk) > before + 50, "I/O to begin", SLOW_S)
    return job


def end_load(guest, job):
    """Stop it; it must not have seen an error."""
    guest.run("pkill -INT -x fio")
    result = fio_result(job.wait(SLOW_S, check=False))
    assert result["error"] == 0, result


def verified(job):
    result = fio_result(job.wait(SLOW_S))
    assert result["error"] == 0 and result["write"]["total_ios"] > 0, result
    assert result["read"]["total_ios"] >= result["write"]["total_ios"], "nothing was verified"


def test_an_adapter_keeps_what_verbs_promises(rdma):
    """What simulated adapters do in unit tests would be another thing than what real ones do."""
    rdma.run(f"{BUILD}/src/verbs/os/verbs_conform {rdma.address} 2>&1", timeout_s=300)


def test_the_kernel_reads_back_what_it_wrote(rdma, inside):
    """Data would be lost, torn, or land elsewhere: in capsules, by one descriptor, and by several."""
    disk = rdma.connect_rdma(inside.serve(inside.malloc("disk0")))
    for options in ("--rw=randrw --bsrange=4k-64k --blockalign=4k --size=2m --iodepth=16",
                    "--rw=randrw --bs=1m --size=4m --iodepth=4",
                    "--rw=randrw --bs=512 --size=128k --iodepth=16"):
        verified(rdma.fio(disk, f"{options} {VERIFY}"))


def test_zeroes_leave_from_where_they_lie(rdma, inside):
    """Memory that nobody can write to would not be registered, or told wrongly: no read, or no zeroes."""
    inside.tell("bdev_null_create", name="nothing", num_blocks=1024, block_size=4096)
    disk = rdma.connect_rdma(inside.serve("nothing"))
    for size in "4k", "128k", "1M":
        rdma.run(f"dd if={disk} bs={size} iflag=direct status=none | cmp -n {4 << 20} - /dev/zero")


def test_the_kernel_discovers_it(rdma, inside):
    """Hosts that ask for what is there would not find it."""
    nqn = inside.serve(inside.malloc("disk0"))
    inside.tell("nvmf_subsystem_add_listener", nqn="nqn.2014-08.org.nvmexpress.discovery",
                listen_address=inside.address())
    found = rdma.run(f"modprobe nvme-rdma; nvme discover -t rdma -a {rdma.address} -s {PORT}")
    for line in f"subnqn:  {nqn}", "trtype:  rdma", "rdma_cms:    rdma-cm", f"traddr:  {rdma.address}":
        assert line in found, found


def test_the_doctor_sees_the_adapter(rdma, inside):
    """Who cannot be connected to would be told that all is well."""
    found = {f["check"]: f for f in json.loads(rdma.run(f"{inside.cli} doctor --json"))}
    assert found["rdma"]["level"] == "ok" and "1 adapter, rxe_eth0" == found["rdma"]["text"], found


def test_the_doctor_says_what_keeps_an_adapter_from_use(rdma, inside):
    """Memory that may not be locked; and the kernel's connection manager, which is a module of its own."""
    def told(before, after=":"):
        return next(f for f in json.loads(rdma.run(f"{before} {inside.cli} -s /nobody doctor --json; {after}"))
                    if f["check"] == "rdma")
    limited = told("ulimit -l 1024; setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock")
    assert limited["level"] == "warning" and "only 1 MiB may be locked" in limited["text"], limited
    assert "ulimit -l unlimited" in limited["fix"]
    missing = told("mv /dev/infiniband/rdma_cm /dev/infiniband/aside;",
                   "mv /dev/infiniband/aside /dev/infiniband/rdma_cm")
    assert missing["level"] == "warning" and "rdma_ucm" in missing["fix"], missing


@pytest.mark.long
def test_many_queues_of_many_disks(rdma, inside):
    """Queue pairs that share a core's queues would starve or mix up each other."""
    disks = []
    for i in range(2):
        nqn = inside.serve(*[inside.malloc(f"disk{i}{n}", mib=16) for n in range(2)], nqn=f"{NQN}{i}")
        rdma.connect_rdma(nqn, "-i 2")
        disks += [rdma.disk_of(nqn, nsid) for nsid in (1, 2)]
    for job in [rdma.fio(disk, f"--rw=randrw --bs=8k --size=1m --iodepth=16 {VERIFY}") for disk in disks]:
        verified(job)


def test_a_daemon_killed_under_io_and_started_again(rdma, inside):
    """A host would need a hand to come back after a crash, or its I/O fail."""
    disk = rdma.connect_rdma(inside.serve(inside.malloc("disk0", uuid=UUID)))
    job = start_load(rdma, disk)
    inside.kill()
    rdma.run(f"until_true 60 has_live {NQN} 0", timeout_s=SLOW_S)
    inside.start()
    inside.replay()
    rdma.run(f"until_true 90 has_live {NQN} 1", timeout_s=SLOW_S)
    goes_on(rdma, disk)
    end_load(rdma, job)


def test_namespaces_change_under_io(rdma, inside):
    """A disk that is added, grown or removed would disturb its neighbours, or not be seen."""
    nqn = inside.serve(inside.malloc("disk0", mib=16), inside.malloc("disk1", mib=16))
    disk = rdma.connect_rdma(nqn)
    job = start_load(rdma, disk)
    inside.malloc("disk2", mib=16)
    inside.rpc("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": "disk2", "nsid": 7})
    added = rdma.disk_of(nqn, 7)
    rdma.run(f"dd if={added} of=/dev/null bs=64k count=16 iflag=direct")
    inside.rpc("bdev_malloc_resize", name="disk2", new_size=32)
    rdma.run(f"is_size() {{ [ $(blockdev --getsize64 {added}) = {32 << 20} ]; }}; until_true 20 is_size")
    inside.rpc("nvmf_subsystem_remove_ns", nqn=nqn, nsid=2)
    rdma.run(f"is_gone() {{ ! find_disk {nqn} 2; }}; until_true 20 is_gone")
    goes_on(rdma, disk)
    end_load(rdma, job)


def test_an_adapter_goes_under_io_and_comes_back(rdma, inside):
    """Who unplugs it would wait for the daemon for ever, or nobody could connect when it is there again."""
    nqn = inside.serve(inside.malloc("disk0"))
    job = start_load(rdma, rdma.connect_rdma(nqn))
    rdma.run("timeout 60 rdma link delete rxe_eth0", timeout_s=SLOW_S)
    job.wait(SLOW_S, check=False)    # the kernel's host gives up its controller with the adapter
    inside.check_alive()
    rdma.run("rdma_over eth0")
    disk = wait_until(lambda: connects(rdma, nqn), "the daemon to listen again", SLOW_S, 0.5)
    verified(rdma.fio(disk, f"--rw=randrw --bs=4k --size=256k --iodepth=4 {VERIFY}"))


def connects(guest, nqn):
    try:
        return guest.connect_rdma(nqn)
    except GuestError:
        return None
