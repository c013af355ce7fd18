# SPDX-License-Identifier: BSD-3-Clause
"""The configuration changes while a host does I/O."""
import pytest

from client import fio_result
from gantry import NQN, wait_until

LOAD = "--rw=randrw --bs=4k --iodepth=16 --time_based --runtime=120 --size=16m"


def start_load(guest, disk):
    """I/O on a disk until end_load()."""
    job = guest.fio(disk, LOAD, name="load")
    before = guest.ios_done(disk)
    wait_until(lambda: guest.ios_done(disk) > before + 100, "I/O to begin", 60)
    return job


def goes_on(guest, disk):
    before = guest.ios_done(disk)
    try:
        wait_until(lambda: guest.ios_done(disk) > before + 100, f"I/O on {disk} to go on", 60)
    except AssertionError:
        print(guest.run("head /sys/block/nvme*/inflight /sys/block/nvme*/stat; grep -h . /sys/class/nvme/nvme*/state; "
                        "ps -eo pid,stat,wchan:30,args | grep fio", check=False))
        for job in guest.jobs.values():
            if "fio" in job.script:
                print(f"{job.name}: status {job.status}\n{job.output[-3000:]}")
        raise


def end_load(guest, job):
    """Stop it; it must not have seen an error."""
    guest.run("pkill -INT -x fio")
    result = fio_result(job.wait(20, check=False))
    assert result["error"] == 0, result


@pytest.mark.parametrize("kind", ["malloc", "null"])
def test_resize_reaches_the_host(guest, daemon, kind):
    """A grown disk would keep its old size on the host until it connects anew, or I/O fail meanwhile."""
    served = daemon.serve(getattr(daemon, kind)("disk0", mib=64))
    disk = guest.connect(served)
    job = start_load(guest, disk)
    for mib in (96, 32):
        daemon.rpc(f"bdev_{kind}_resize", name="disk0", new_size=mib)
        guest.run(f"is_size() {{ [ $(blockdev --getsize64 {disk}) = {mib << 20} ]; }}; until_true 10 is_size")
        goes_on(guest, disk)
    end_load(guest, job)


def test_namespace_added_appears(guest, daemon):
    """A disk added to a subsystem would need a new connection, or disturb the disks that are there."""
    served = daemon.serve(daemon.null("disk0"))
    disk = guest.connect(served)
    job = start_load(guest, disk)
    daemon.null("disk1", mib=32)
    assert daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk1", "nsid": 7}) == 7
    added = guest.disk(served, 7)
    guest.run(f"[ $(blockdev --getsize64 {added}) = {32 << 20} ]; "
              f"dd if={added} of=/dev/null bs=64k count=16 iflag=direct")
    goes_on(guest, disk)
    end_load(guest, job)


def test_namespace_removed_disappears(guest, daemon):
    """I/O on a removed disk would hang for ever, or take that of its neighbours along."""
    served = daemon.serve(daemon.null("disk0"), daemon.null("disk1"))
    stays = guest.connect(served)
    goes = guest.disk(served, 2)
    load = start_load(guest, stays)
    doomed = guest.fio(goes, LOAD, name="doomed")
    goes_on(guest, goes)
    daemon.rpc("nvmf_subsystem_remove_ns", nqn=NQN, nsid=2)
    doomed.wait(30, check=False)
    assert doomed.status != 0, "I/O on a removed namespace succeeds"
    guest.run(f"is_gone() {{ ! find_disk {served.nqn} 2; }}; until_true 10 is_gone")
    goes_on(guest, stays)
    end_load(guest, load)
    # The device itself is nobody's any more.
    daemon.rpc("bdev_null_delete", name="disk1")


def test_subsystem_removed_ends_its_io_only(guest, daemon):
    """Deleting a subsystem would leave its host hanging, or hurt another subsystem."""
    other = daemon.serve(daemon.null("disk1"), nqn=NQN + "-other", serial_number="OTHER")
    served = daemon.serve(daemon.null("disk0"))
    stays, goes = guest.connect(other), guest.connect(served, "-i 2 --ctrl-loss-tmo=3")
    load = start_load(guest, stays)
    doomed = guest.fio(goes, LOAD, name="doomed")
    goes_on(guest, goes)
    daemon.rpc("nvmf_delete_subsystem", nqn=served.nqn)
    doomed.wait(40, check=False)
    assert doomed.status != 0, "I/O on a removed subsystem succeeds"
    goes_on(guest, stays)
    end_load(guest, load)
    assert other.nqn in {s["nqn"] for s in daemon.rpc("nvmf_get_subsystems")}
    assert served.nqn not in {s["nqn"] for s in daemon.rpc("nvmf_get_subsystems")}
