# SPDX-License-Identifier: BSD-3-Clause
"""A disk that does not answer, under a real front-end: QEMU stops, goes on and resets its machine all the same. What
was under way is done when the machine goes on, and is nobody's after a reset, whose new rings and new in-flight region
begin at their beginning."""
import pytest

import guest as guests
from gantry import Daemon, cpus, wait_until
from vhost_guest import VhostGuest, blk, standing

DISK = "EE_ram"
SLOW_S = 180    # the guest is emulated, and the machine has other things to do
PATIENCE_MS = 1000


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    directory = tmp_path_factory.mktemp("daemon")
    with Daemon(directory, "-m", cpus(1), "-S", directory) as daemon:
        daemon.malloc("ram", mib=16)
        daemon.rpc("bdev_error_create", base_name="ram")
        for name in ("split", "packed"):
            daemon.rpc("vhost_create_blk_controller", ctrlr=name, dev_name=DISK, patience_ms=PATIENCE_MS)
        yield daemon


@pytest.fixture(scope="module")
def machine(daemon, tmp_path_factory):
    with VhostGuest(tmp_path_factory.mktemp("guest"), [
            blk("split", daemon.directory / "split", queues=2),
            blk("packed", daemon.directory / "packed", queues=2, packed=True)]) as guest:
        yield guest


@pytest.fixture(params=["split", "packed"])
def disk(request, daemon, machine):
    """The guest's name of it, with writes that it has and does not answer, while others were done."""
    machine.mark_console()
    name = machine.disk_of(request.param)
    machine.run(f"for n in 1 2 3 4 5; do dd if=/dev/urandom of={name} bs=64k count=8 oflag=direct status=none; done")
    daemon.rpc("bdev_error_inject_error", name=DISK, io_type="write", error_type="pending", num=2)
    machine.hung = machine.start(
        "head -c 8192 /dev/urandom > /tmp/y; "
        f"for n in 8 16; do dd if=/tmp/y of={name} bs=8k seek=$n oflag=direct & done; wait; "
        f"for n in 8 16; do dd if={name} bs=8k skip=$n count=1 iflag=direct status=none | cmp - /tmp/y; done; "
        "echo good")
    wait_until(lambda: sum(session["inflight_task_cnt"] for ctrlr in daemon.rpc("vhost_get_controllers")
                           for session in ctrlr["sessions"]) == 2, "the disk to have both")
    machine.run(f"dd if={name} of=/dev/null bs=4k count=16 iflag=direct status=none")
    yield name
    print(f"--- the guest's console\n{machine.console_tail(60)}\n--- the log\n{daemon.log_tail()}\n"
          f"--- where they stand\n{standing(machine, daemon)}")
    daemon.check_alive()


def aborted(daemon):
    return daemon.log().count("are aborted")


def test_a_machine_that_stood_still_goes_on(daemon, machine, disk):
    """Both writes are done, and the guest hears of no error."""
    before = aborted(daemon)
    machine.qmp("stop")
    daemon.rpc("bdev_error_inject_error", name=DISK, io_type="clear", error_type="failure")
    machine.qmp("cont")
    assert "good" in machine.hung.wait(SLOW_S)
    assert aborted(daemon) > before, "nothing was left to be done later"


def test_a_machine_boots_again(daemon, machine, disk):
    """It is reset although the disk does not answer, and finds its disk then."""
    before = aborted(daemon)
    daemon.rpc("bdev_error_inject_error", name=DISK, io_type="clear", error_type="failure")
    machine.reboot()
    machine.run(f"""
        until_true 60 test -b {disk}
        for n in 1 2 3; do
            dd if=/dev/urandom of=/tmp/r bs=64k count=8 status=none
            dd if=/tmp/r of={disk} bs=64k oflag=direct status=none
            dd if={disk} bs=64k count=8 iflag=direct status=none | cmp - /tmp/r
        done""", timeout_s=SLOW_S)
    assert aborted(daemon) > before and "were under way where" not in daemon.log()
