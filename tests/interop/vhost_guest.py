# SPDX-License-Identifier: BSD-3-Clause
"""A guest whose disks are vhost-user devices, and QEMU's monitor to plug and unplug them.

    with VhostGuest(directory, [blk("a", path), blk("b", path, queues=2, packed=True)]) as guest:
        disk = guest.disk_of("a")                     /dev/vd?
        guest.qmp("device_del", id="a")
"""
import json
import socket
from contextlib import suppress
from pathlib import Path

from client import Client
from gantry import wait_until
from guest import BOOT_TIMEOUT_S, Job

PORT = ["-device", "pcie-root-port,id=plug,chassis=1,slot=1"]   # what is plugged in while the guest runs goes there


class QmpError(AssertionError):
    """The monitor refused a command."""


def chardev(name, path, reconnect=True):
    """A connection to a vhost-user server that is made again whenever it ends."""
    return ["-chardev", f"socket,id=chardev-{name},path={path}{',reconnect=1' if reconnect else ''}"]


def blk(name, path, queues=1, packed=False, size=128, **more):
    """QEMU's options for a virtio-blk disk that is served at `path`."""
    more = "".join(f",{key.replace('_', '-')}={value}" for key, value in more.items())
    return [*chardev(name, path), "-device",
            f"vhost-user-blk-pci,id={name},chardev=chardev-{name},num-queues={queues},queue-size={size},"
            f"packed={'on' if packed else 'off'}{more}"]


def scsi(name, path, queues=1, packed=False, reconnect=False, **more):
    """And for a virtio-scsi controller, which only newer QEMUs connect again."""
    more = "".join(f",{key.replace('_', '-')}={value}" for key, value in more.items())
    return [*chardev(name, path, reconnect), "-device",
            f"vhost-user-scsi-pci,id={name},chardev=chardev-{name},num_queues={queues},"
            f"packed={'on' if packed else 'off'}{more}"]


def cpu_time(pid):
    """Seconds that its threads ran, and that they could have run and had no CPU; but for threads that end meanwhile."""
    ran = waited = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            times = task.read_text().split()
            ran, waited = ran + int(times[0]), waited + int(times[1])
    return f"ran {ran / 1e9:.1f} s, waited {waited / 1e9:.1f} s for a CPU"


def standing(guest, daemon):
    """For who reads of a disk that stood still: requests that the daemon has, kicks and interrupts of each queue; and
    whether either side was given a CPU."""
    lines = [f"the guest: {cpu_time(guest.process.pid)}"] if guest.process.poll() is None else []
    if daemon and daemon.process and daemon.process.poll() is None:
        lines.append(f"the daemon: {cpu_time(daemon.process.pid)}")
        lines += [f"{ctrlr['ctrlr']}, session {session['id']}, queue {queue}" for ctrlr in
                  daemon.rpc("vhost_get_controllers") for session in ctrlr["sessions"] for queue in session["queues"]]
    return "\n".join(lines)


class Qmp:
    """QEMU's monitor."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(path))
        self.lines = self.sock.makefile("r")
        self.lines.readline()
        self.events = []
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self.lines.readline())
            if "error" in answer:
                raise QmpError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            self.events.append(answer)

    def close(self):
        self.lines.close()
        self.sock.close()


def plug(qmp, name, path, queues=1):
    """A virtio-blk disk that was not there when the guest booted; it goes to PORT."""
    qmp("chardev-add", id=f"chardev-{name}", backend={"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": str(path)}}, "server": False, "reconnect": 1}})
    qmp("device_add", driver="vhost-user-blk-pci", id=name, bus="plug", chardev=f"chardev-{name}",
        **{"num-queues": queues})


def unplug(qmp, name, timeout_s=120):
    qmp("device_del", id=name)

    def is_gone():
        qmp("query-status")                        # takes in what QEMU has to tell
        return any(e["event"] == "DEVICE_DELETED" and e["data"].get("device") == name for e in qmp.events)
    wait_until(is_gone, f"the guest to let go of {name}", timeout_s, 0.2)
    qmp.events.clear()

    def is_free():
        try:
            return qmp("chardev-remove", id=f"chardev-{name}") is not None
        except QmpError:
            return False                           # the device is gone, and not yet all of it
    wait_until(is_free, f"QEMU to let go of {name}'s socket", 30, 0.2)


class VhostGuest(Client):
    """`devices` are rows of blk() and scsi()."""

    def __init__(self, directory, devices, kernel=None):
        self.names = {}
        self.qmp = None
        super().__init__(directory, kernel, devices=PORT + [option for row in devices for option in row])

    def boot(self):
        super().boot()
        self.qmp = Qmp(self.directory / "qmp")
        self.load()

    def load(self):
        self.run("modprobe virtio_blk; modprobe sd_mod")

    def reboot(self):
        """As by a reset button: whatever runs in it is gone, and what its disks do ends in the middle."""
        ready = self.jobs["ready"] = Job(self, "ready", "(reboot)")
        self.qmp("set-action", reboot="reset")
        self.qmp("system_reset")
        ready.wait(BOOT_TIMEOUT_S)
        self.load()

    def close(self):
        if self.qmp:
            self.qmp.close()
        super().close()

    def plug(self, name, path, queues=1):
        plug(self.qmp, name, path, queues)

    def unplug(self, name):
        unplug(self.qmp, name)

    def address_of(self, name):
        """PCI address of a device, as the guest's kernel writes it."""
        buses = self.qmp("query-pci")
        while buses:
            bus = buses.pop()
            for device in bus["devices"]:
                if device["qdev_id"] == name:
                    return f"0000:{bus['bus']:02x}:{device['slot']:02x}.{device['function']}"
                bridge = device.get("pci_bridge", {})
                if "devices" in bridge:
                    buses.append({"bus": bridge["bus"]["secondary"], "devices": bridge["devices"]})
        raise KeyError(f"QEMU has no device {name}")

    def disk_of(self, name, timeout_s=60):
        """The block device that a virtio-blk device has become."""
        address = self.address_of(name)
        return self.run(f"disk_there() {{ ls -d /sys/bus/pci/devices/{address}/virtio*/block/vd*; }}; "
                        f"until_true {timeout_s} disk_there; echo /dev/$(basename $(disk_there))").split()[-1]

    def ios_of(self, disk):
        return int(self.run(f"awk '{{ print $1 + $5 }}' /sys/block/{disk[5:]}/stat"))

    def goes_on(self, disk, job, ios=200, timeout_s=120):
        """`job` makes I/O on the disk, and so many more are done."""
        before = self.ios_of(disk)

        def more():
            assert job.running, job.describe("the load ended")
            return self.ios_of(disk) > before + ios
        wait_until(more, f"I/O on {disk} to go on", timeout_s, 0.2)
