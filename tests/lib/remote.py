# SPDX-License-Identifier: BSD-3-Clause
"""Two daemons for tests of the NVMe host: a target, and the one under test that attaches its disks.

    target.export()                       a disk that is the same after the target was killed and started again
    attach(daemon, target.served)         its disks, in the daemon under test
"""
import signal
import threading
import time
from pathlib import Path

from gantry import NQN, Daemon, RpcError, wait_until

UUID = "5a0b6c1e-3f55-4a57-9a63-0c1c9d4be1{:02x}"


class Target(Daemon):
    """A gantryd whose disks keep their UUIDs over replay()."""

    served = None

    def export(self, disks=1, mib=16, **options):
        names = [f"m{i}" for i in range(disks)]
        for i, name in enumerate(names):
            self.malloc(name, mib=mib, uuid=UUID.format(i))
        self.served = self.serve(*names, **options)
        return self.served

    def freeze(self):
        """From when this returns on none of its threads does anything, until thaw()."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        wait_until(lambda: all((t / "stat").read_text().rpartition(")")[2].split()[0] == "T" for t in tasks.iterdir()),
                   "the target to stand still", 60)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def again(self):
        """After kill()."""
        self.start()
        self.replay()


def address(port, nqn=NQN):
    return {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(port), "subnqn": nqn}


def attach(daemon, served, name="Nvme0", port=None, **options):
    return daemon.rpc("bdev_nvme_attach_controller", name=name, **address(port or served.port, served.nqn), **options)


def detach(daemon, name="Nvme0", **path):
    return daemon.rpc("bdev_nvme_detach_controller", name=name, **path)


def paths(daemon, name="Nvme0"):
    return daemon.rpc("bdev_nvme_get_controllers", name=name)[0]["ctrlrs"]


def states(daemon, name="Nvme0"):
    return [p["state"] for p in paths(daemon, name)]


def wait_state(daemon, *wanted, name="Nvme0", timeout_s=60):
    wait_until(lambda: states(daemon, name) == list(wanted), f"paths of {name} to be {wanted}", timeout_s)


def lose_and_find(daemon, target):
    """The one path is lost, and comes back with its target."""
    target.kill()
    wait_until(lambda: states(daemon) != ["enabled"], "the path to be lost")
    target.again()
    wait_state(daemon, "enabled")


def detach_in_the_middle(daemon, attach_it, pause_s):
    """Takes Nvme0 away while `attach_it` is under way; when exactly is as it comes."""
    def attached():
        try:
            attach_it()
        except RpcError:
            pass   # taken away meanwhile

    thread = threading.Thread(target=attached)
    thread.start()
    time.sleep(pause_s)
    if daemon.rpc("bdev_nvme_get_controllers"):
        detach(daemon)
    thread.join()
    if daemon.rpc("bdev_nvme_get_controllers"):
        detach(daemon)


def disks(daemon):
    return sorted(b["name"] for b in daemon.rpc("bdev_get_bdevs") if b["product_name"] == "NVMe disk")
