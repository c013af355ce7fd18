# SPDX-License-Identifier: BSD-3-Clause
"""A newer kernel than the other files have, as our host, as the target of our host, and with disks of ours: some of
what the other files say, said again."""
import pytest

import test_access as access
import test_changes as changes
import test_connect as connect
import test_gateway as gateway
import test_open_iscsi as open_iscsi
import test_target
import test_trouble as trouble
import test_verify as verify
from client import FIO, fio_result
from gantry import Daemon, cpus
from newer_kernel import SERIES, newer_kernel
from vhost_guest import VhostGuest, blk, scsi

MIB = 64
SLOW_S = 180    # the guest is emulated, and the machine has other things to do
HOSTS = [(connect.test_identify_makes_sense,), (connect.test_host_finds_nothing_to_complain_of,),
         (verify.test_random_writes_are_read_back, "-g -G"),
         (trouble.test_one_path_of_two_is_cut, "round-robin"), (trouble.test_daemon_killed_and_started_again,),
         (access.test_two_hosts_fence_each_other,), (access.test_ways_open_and_close_under_io,),
         (changes.test_resize_reaches_the_host, "malloc"), (changes.test_namespace_added_appears,),
         (changes.test_namespace_removed_disappears,)]
TARGETS = [(test_target.test_what_is_written_is_read_back,), (test_target.test_large_ios_and_small_queues,)]


def called(test):
    return test[0].__name__.removeprefix("test_")


@pytest.fixture(scope="session")
def clients(newer_clients):
    return newer_clients


def test_it_is_the_newer_one(guest):
    """The rest would say nothing that was not known."""
    release = guest.run("uname -r").strip()
    assert release == guest.kernel.release and tuple(guest.kernel.version) >= SERIES


@pytest.mark.parametrize("test", HOSTS, ids=called)
def test_as_a_host(guest, daemon, test):
    """What its older ones live with, it would not."""
    test[0](guest, daemon, *test[1:])


@pytest.mark.parametrize("test", TARGETS, ids=called)
def test_as_a_target(target, test):
    """Our host would not live with it as with its older ones."""
    test[0](target, *test[1:])


def test_as_the_target_of_a_gateway(target, daemon):
    """Its namespaces would be other disks than an older one's, or not be seen to change."""
    daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=2000, reconnect_delay_sec=1)
    gateway.test_namespaces_grow_go_and_come(target.export(), daemon)


def test_iscsi(guest, daemon):
    """Its initiator would not log in, or lose data."""
    initiator = open_iscsi.Initiator(guest)
    exported = daemon.export(daemon.malloc("disk0", mib=MIB))
    open_iscsi.test_what_is_written_is_read_back(
        initiator, exported, "node.conn[0].iscsi.HeaderDigest CRC32C node.conn[0].iscsi.DataDigest CRC32C",
        ["header_digest:1", "data_digest:1"])


# --- disks of a virtual machine --------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A guest with a disk of two packed queues, one of a split queue, and a unit of a SCSI controller."""
    kernel, why_not = newer_kernel()
    if why_not:
        pytest.skip(why_not)
    directory = tmp_path_factory.mktemp("vhost")
    with Daemon(directory, "-S", directory, "-m", cpus(2)) as daemon:
        for name in "split", "packed", "unit":
            daemon.malloc(name, mib=MIB)
        daemon.rpc("vhost_create_blk_controller", ctrlr="a", dev_name="split")
        daemon.rpc("vhost_create_blk_controller", ctrlr="b", dev_name="packed")
        daemon.rpc("vhost_create_scsi_controller", ctrlr="c")
        daemon.rpc("vhost_scsi_controller_add_target", ctrlr="c", scsi_target_num=0, bdev_name="unit")
        with VhostGuest(tmp_path_factory.mktemp("guest"),
                        [blk("split", directory / "a"), blk("packed", directory / "b", queues=2, packed=True),
                         scsi("hba", directory / "c", queues=2)], kernel) as guest:
            yield guest
            print(f"--- the guest's console\n{guest.console_tail(60)}\n--- the daemon's log\n{daemon.log_tail()}")


@pytest.mark.parametrize("disk", ["split", "packed", "scsi"])
def test_vhost(machine, disk):
    """Its drivers would lose or tear data, or not find their disks."""
    if disk == "scsi":
        path = machine.run("modprobe virtio_scsi; modprobe sd_mod; there() { ls -d /sys/block/sd?; }; "
                           f"until_true {SLOW_S} there; echo /dev/$(basename $(there))", timeout_s=SLOW_S).split()[-1]
    else:
        path = machine.disk_of(disk)
    job = machine.start(f"{FIO} --name=verify --filename={path} --rw=randrw --bsrange=4k-512k --blockalign=4k "
                        "--iodepth=8 --size=16m --verify=crc32c --verify_fatal=1 --do_verify=1; "
                        f"blkdiscard -l 1m {path}; [ $(blockdev --getsize64 {path}) = {MIB << 20} ]")
    result = fio_result(job.wait(SLOW_S))
    assert result["error"] == 0 and result["write"]["total_ios"] > 20, result
