# SPDX-License-Identifier: BSD-3-Clause
"""The daemon dies, the host hangs, a cable is cut."""
import pytest

from client import fio_result
from gantry import wait_until
from proxy import Proxy
from test_changes import end_load, goes_on, start_load

UUID = "0b1f6f0c-7a2e-4a38-9d39-5d2b3a1c0f01"
VERIFY = "--rw=randrw --bs=4k --size=16m --iodepth=16 --verify=crc32c --verify_fatal=1 --do_verify=1"


def test_daemon_killed_and_started_again(guest, daemon):
    """After a crash of the daemon a host would need a hand, or its I/O fail, where the disk is there again."""
    served = daemon.serve(daemon.null("disk0", uuid=UUID))
    disk = guest.connect(served)
    job = start_load(guest, disk)
    for _ in range(2):
        daemon.kill()
        guest.run(f"until_true 10 has_live {served.nqn} 0")
        daemon.start()
        daemon.replay()
        guest.run(f"until_true 20 has_live {served.nqn} 1", timeout_s=30)
        goes_on(guest, disk)
    end_load(guest, job)


def test_silent_host_is_let_go_and_may_come_back(guest, daemon):
    """A host that hangs would keep its controller for ever, or could not come back when it lives again."""
    served = daemon.serve(daemon.null("disk0", uuid=UUID))
    disk = guest.connect(served, "-i 2 --keep-alive-tmo=2")
    job = start_load(guest, disk)
    assert len(daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn)) == 1
    guest.pause()
    try:
        wait_until(lambda: not daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn),
                   "the silent host's controller to be gone", 10)
    finally:
        guest.resume()
    guest.run(f"until_true 20 has_live {served.nqn} 1", timeout_s=40)
    goes_on(guest, disk)
    end_load(guest, job)


def test_idle_host_is_kept(guest, daemon):
    """A host that has nothing to do but sends keep-alives would lose its connection."""
    served = daemon.serve(daemon.null("disk0"))
    guest.connect(served, "-i 2 --keep-alive-tmo=1")
    guest.mark_console()
    first = daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn)
    guest.run("sleep 4")
    assert daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn) == first
    assert "keep-alive" not in guest.console_since_mark() and "reconnect" not in guest.console_since_mark()


@pytest.mark.parametrize("policy", ["numa", "round-robin"])
def test_one_path_of_two_is_cut(guest, daemon, policy):
    """Losing one of two ports would lose or corrupt I/O that the other could carry."""
    served = daemon.serve(daemon.malloc("disk0", mib=64), ports=2)
    with Proxy(served.ports[0]) as cable:
        disk = guest.connect(served, "-i 2 --keep-alive-tmo=2", port=cable.port)
        guest.connect(served, "-i 2 --keep-alive-tmo=2", port=served.ports[1])
        guest.run(f"echo {policy} > /sys/class/nvme-subsystem/nvme-subsys*/iopolicy; has_live {served.nqn} 2")
        # Repeated until the cut and the repair have been seen.
        job = guest.start(f"until [ -e /tmp/enough ]; do fio --ioengine=libaio --direct=1 --name=verify "
                          f"--filename={disk} --verify_state_save=0 {VERIFY}; done; rm /tmp/enough")
        before = guest.ios_done(disk)
        wait_until(lambda: guest.ios_done(disk) > before + 500, "I/O to begin", 20)
        cable.cut()
        guest.run(f"until_true 20 has_live {served.nqn} 1", timeout_s=30)
        goes_on(guest, disk)
        cable.mend()
        guest.run(f"until_true 20 has_live {served.nqn} 2", timeout_s=30)
        goes_on(guest, disk)
        guest.run("touch /tmp/enough")
        job.wait(60)
        guest.run(f"nvme disconnect -n {served.nqn}")
