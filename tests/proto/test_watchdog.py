# SPDX-License-Identifier: BSD-3-Clause
"""Whoever has a disk that does not answer is told so, and which."""
import pytest

from gantry import wait_until
from iscsi import Session, read_cdb
from jsonrpc import gantry
from nvme_tcp import ADMIN_ABORT, IO_READ, Host, must, rw, sqe

LINUX_GIVES_UP_MS = 30000      # nvme_core.io_timeout and the SCSI layer's, unless they were changed


@pytest.fixture
def silent(daemon):
    """The name of a disk that answers nothing."""
    daemon.malloc("m", mib=4)
    daemon.rpc("bdev_error_create", base_name="m")
    daemon.rpc("bdev_error_inject_error", name="EE_m", io_type="all", error_type="pending", num=1000)
    return "EE_m"


def stuck(daemon):
    def look():
        return daemon.rpc("gantry_get_watchdog")["last"]
    return wait_until(look, "the watchdog to speak")[0]


def test_before_a_host_gives_up(daemon):
    """A host that has given up has disconnected: then there is nothing left that could be named."""
    limit_ms = daemon.rpc("gantry_get_watchdog")["limit_ms"]
    assert limit_ms * 5 // 4 < LINUX_GIVES_UP_MS     # it looks four times in that time


def test_doctor_repeats_it(daemon, silent):
    """He would have to find it in a log that has gone on since."""
    served = daemon.serve(silent)
    assert "no I/O is stuck" in gantry("doctor", socket=daemon.socket, status=None)
    daemon.rpc("gantry_set_watchdog", limit_ms=100)
    with Host(served.port, served.nqn) as host:
        cid = host.io.submit(rw(IO_READ, 40, 8), expect=4096)
        said = stuck(daemon)["what"]
        assert said.startswith(f"Read waits for disk {silent}, LBA 40 and 8 blocks; queue 1, command {cid} of nqn.")
        doctor = " ".join(gantry("doctor", socket=daemon.socket, status=None).split())
        assert said in doctor and "gantry rpc gantry_get_watchdog" in doctor
        must(host.admin.command(sqe(ADMIN_ABORT, cdw10=cid << 16 | 1)))


def test_it_names_the_disk_of_a_lun(daemon, silent):
    daemon.rpc("gantry_set_watchdog", limit_ms=100)
    exported = daemon.export(silent)
    with Session(exported.port, exported.name) as session:
        session.submit(read_cdb(40, 8), expect=4096)
        assert f"waits for the device, disk {silent}; LUN 0 of {exported.name}, from iqn." in stuck(daemon)["what"]


def test_many_are_counted(daemon, silent):
    """A disk that answers nothing has all of its hosts' commands waiting: thousands of lines, again and again."""
    served = daemon.serve(silent)
    with Host(served.port, served.nqn) as host:
        cids = [host.io.submit(rw(IO_READ, 8 * n, 8), expect=4096) for n in range(30)]
        daemon.rpc("gantry_set_watchdog", limit_ms=100)
        wait_until(lambda: " stuck: 14 more on core " in daemon.log(), "the rest to be counted")
        before_it = daemon.log().split(" stuck: 14 more on core ")[0]
        assert before_it.count("Read waits for disk") <= 16 * (1 + before_it.count(" more on core "))
        for cid in cids:
            must(host.admin.command(sqe(ADMIN_ABORT, cdw10=cid << 16 | 1)))
