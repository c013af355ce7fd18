# SPDX-License-Identifier: BSD-3-Clause
"""One guest for the whole run, booted again only when a test left it unwell; and a daemon of its own for each test."""
import json
from pathlib import Path

import pytest

import guest as guests
from gantry import Daemon, gantryd_path

LIBRARY = Path(__file__).with_name("guest_lib.sh")
FIO = ("fio --ioengine=libaio --direct=1 --group_reporting --output-format=json --verify_state_save=0 "
       "--allow_file_create=0")


class Client(guests.Guest):
    """The guest as an NVMe host."""

    def start(self, script):
        return super().start(f". /tmp/share/lib.sh\n{script}\n")

    def boot(self):
        (self.share / "lib.sh").write_text(LIBRARY.read_text())
        super().boot()
        self.run("mkdir -p /etc/nvme; nvme gen-hostnqn > /etc/nvme/hostnqn; cat /proc/sys/kernel/random/uuid > "
                 "/etc/nvme/hostid; modprobe nvme-tcp")

    def connect(self, served, options="-i 2", port=None):
        """Connect, and tell the block device of namespace 1."""
        return self.run(f"nvme_connect {served.nqn} {port or served.port} {options}; disk_of {served.nqn} 1 > "
                        f"/tmp/disk; cat /tmp/disk").split()[-1]

    def disk(self, served, nsid):
        return self.run(f"disk_of {served.nqn} {nsid}").strip()

    def fio(self, device, options, name="job"):
        """A running fio; with fio_result() comes what it did."""
        return self.start(f"{FIO} --name={name} --filename={device} {options}")

    def ios_done(self, device):
        """I/Os the kernel has completed on a block device, or on the paths to it: proves that I/O goes on."""
        return int(self.run(f"ios_done {device}"))

    def live_controllers(self, served):
        return int(self.run(f"live_count {served.nqn}"))

    def tidy(self):
        """As after boot."""
        self.run("umount -A /mnt 2> /dev/null || true; nvme disconnect-all; ! ls -d /sys/class/nvme/nvme* 2> /dev/null",
                 timeout_s=30)


def fio_result(output):
    """What fio says in JSON, of the only job."""
    return json.loads(output[output.index("{"):])["jobs"][0]


class Clients:
    """Has the guest, if it is well."""

    def __init__(self, release, tmp_path_factory):
        self.release, self.tmp_path_factory, self.client = release, tmp_path_factory, None

    def take(self):
        if self.client is None:
            self.client = Client(self.tmp_path_factory.mktemp("guest"), self.release)
        self.client.mark_console()
        return self.client

    def give(self):
        try:
            self.client.tidy()
        except guests.GuestError as problem:
            print(f"the guest is not well and will be booted again: {problem}")
            self.close()

    def close(self):
        if self.client:
            self.client.close()
        self.client = None


def newest_of_each_series():
    return list({tuple(guests.version_key(r)[:2]): r for r in guests.kernels()}.values()) or [None]


@pytest.fixture(scope="session", params=newest_of_each_series(), ids=lambda release: f"linux-{release}")
def clients(request, tmp_path_factory):
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    clients = Clients(request.param, tmp_path_factory)
    yield clients
    clients.close()


@pytest.fixture
def guest(clients, daemon):
    """The guest, with nothing connected. What its kernel said is shown when the test fails."""
    client = clients.take()
    yield client
    print(f"--- the guest's console\n{client.console_tail(60)}\n--- the daemon's log\n{daemon.log_tail(40)}")
    clients.give()


@pytest.fixture
def daemon(tmp_path):
    """A gantryd on two cores, so that queues of one host live on both."""
    if not gantryd_path().exists():
        pytest.fail(f"{gantryd_path()} is not there: ninja -C build, or name another build with GANTRY_BUILD")
    with Daemon(tmp_path, "-m", "0x3") as running:
        yield running
