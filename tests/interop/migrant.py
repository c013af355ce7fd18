# SPDX-License-Identifier: BSD-3-Clause
"""A guest that moves from one QEMU to another while it writes, reads back and compares its disks, for ever.

    with Migrant(directory) as guest:
        guest.start(devices)                    rows of vhost_guest's blk() and scsi()
        guest.gets_on()                         every disk has done some rounds, without an error
        guest.move(devices)                     the same devices, as they are served at the other end
        guest.plugs(path)                       one more disk comes, is written and compared, and goes

It shares no directory with the host, for that would keep it where it is: see migrant_init.sh.
"""
import itertools
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from gantry import Daemon, cpus, wait_until
from guest import BOOT_ARGS, CPUS, QEMU, GuestError, kernels, make_cpio, make_cpio_modules
from vhost_guest import PORT, Qmp, blk, plug, unplug

INIT = Path(__file__).with_name("migrant_init.sh")
READER = Path(__file__).with_name("migrant_reader.c")
MODULES = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod")
MEMORY_MIB = 768
DISK_MIB = 64
LATE_MIB = 16                               # as migrant_init.sh knows it
SLOW_S = 240
# What fits into the pause is sent during it: it has to be little, or nothing that is written meanwhile is missed when
# nobody tells of it.
BANDWIDTH, DOWNTIME_MS = 96 << 20, 200
# Older ones (7.2) lose what emulated processors write while memory is sent, whatever their disks are: they move a guest
# that stands still.
QEMU_MOVES_LIVE = 10


def moves_live():
    if not shutil.which(QEMU):
        return False
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"version (\d+)", said)[1]) >= QEMU_MOVES_LIVE


def libraries_of(program):
    """The files that a dynamic program is made of."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return sorted({Path(path) for path in re.findall(r"(/\S+) \(0x", listed)})


def make_initramfs(kernel, directory):
    cpio = make_cpio(INIT, ("dev", "proc", "sys", "tmp"))
    fio = Path(shutil.which("fio"))
    for path in [fio, *libraries_of(fio)]:
        cpio.file(str(path)[1:], path.read_bytes())
    subprocess.run(["cc", "-O2", "-static", "-o", directory / "reader", READER], check=True)
    cpio.file("bin/reader", (directory / "reader").read_bytes())
    make_cpio_modules(cpio, kernel, MODULES)
    return cpio.finish()


class Machine:
    """One QEMU."""

    def __init__(self, directory, devices, kernel, initramfs, incoming=None):
        self.directory = directory
        directory.mkdir()
        command = [QEMU, "-machine", "q35,memory-backend=memory",
                   "-object", f"memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on",
                   "-qmp", f"unix:{directory}/qmp,server=on,wait=off", "-accel", "tcg,thread=multi", "-cpu", "max",
                   "-smp", str(CPUS), "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none",
                   "-no-reboot", *PORT, "-kernel", str(kernel.image), "-initrd", str(initramfs), "-append",
                   f"{BOOT_ARGS} disks={len(devices)}", "-serial", f"file:{directory}/console.log",
                   *[option for row in devices for option in row]]
        if incoming:
            command += ["-incoming", incoming]
        with open(directory / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            cwd=directory)
        try:
            self.qmp = wait_until(self.monitor, "QEMU's monitor", SLOW_S)
        except BaseException:
            self.kill()
            raise

    def monitor(self):
        self.check_alive()
        try:
            return Qmp(self.directory / "qmp")
        except OSError:
            return None

    def console(self):
        path = self.directory / "console.log"
        return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""

    def check_alive(self):
        if self.process.poll() is not None:
            raise GuestError(f"QEMU ended, status {self.process.returncode}: {self.said()}")

    def said(self):
        return (f"{(self.directory / 'qemu.log').read_text(errors='replace')[-2000:]}\n--- the guest's console\n"
                f"{self.console()[-4000:]}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Migrant:
    def __init__(self, directory, kernel=None):
        self.directory, self.kernel = Path(directory), kernel or kernels()[-1]
        self.initramfs = self.directory / "initramfs"
        self.numbers = itertools.count(1)
        self.machine, self.disks = None, 0

    def __enter__(self):
        self.initramfs.write_bytes(make_initramfs(self.kernel, self.directory))
        return self

    def __exit__(self, *_):
        if self.machine:
            self.machine.kill()

    def start(self, devices):
        self.disks = len(devices)
        self.machine = self.boot(devices)
        self.until(lambda: "READY" in self.machine.console(), "the guest to boot")

    def boot(self, devices, incoming=None):
        return Machine(self.directory / f"machine{next(self.numbers)}", devices, self.kernel, self.initramfs, incoming)

    def rounds(self):
        """How many each disk has done since it is where it is."""
        return Counter(re.findall(r"^ROUND (\w+) \d+$", self.machine.console(), re.M))

    def check(self):
        self.machine.check_alive()
        bad = re.search(r".*(FAILED|I/O error|BUG:|Call Trace|Kernel panic|blocked for more than).*",
                        self.machine.console())
        if bad:
            raise GuestError(f"{bad[0]}\n{self.machine.said()}")

    def until(self, condition, what):
        def met():
            self.check()
            return condition()
        try:
            return wait_until(met, what, SLOW_S, 0.1)
        except GuestError:
            raise
        except AssertionError as problem:
            raise GuestError(f"{problem}: {self.machine.said()}") from None

    def gets_on(self, rounds=2):
        before = self.rounds()

        def more():
            now = self.rounds()
            return len(now) == self.disks and all(n >= before[disk] + rounds for disk, n in now.items())
        self.until(more, f"{rounds} more rounds of each disk")

    def checks_late(self, come, go):
        """`come` brings a disk of LATE_MIB; when the guest has found it as it should be `go` takes it away."""
        def said(word):
            return len(re.findall(rf"^{word} \w+$", self.machine.console(), re.M))
        checked, gone = said("CHECKED"), said("GONE")
        come()
        self.until(lambda: said("CHECKED") > checked, "the late disk to be checked")
        go()
        self.until(lambda: said("GONE") > gone, "the late disk to go")

    def plugs(self, path):
        self.checks_late(lambda: plug(self.machine.qmp, "late", path, queues=2),
                         lambda: unplug(self.machine.qmp, "late", SLOW_S))

    def move(self, devices):
        """To a new QEMU, whose devices these are. The old one is gone then."""
        old, meeting, live = self.machine, self.directory / "meeting", moves_live()
        meeting.unlink(missing_ok=True)
        new = self.boot(devices, f"unix:{meeting}")
        try:
            if live:
                old.qmp("migrate-set-parameters", **{"max-bandwidth": BANDWIDTH, "downtime-limit": DOWNTIME_MS})
            else:
                old.qmp("migrate-set-parameters", **{"max-bandwidth": 4 << 30})
                old.qmp("stop")
            old.qmp("migrate", uri=f"unix:{meeting}")
            wait_until(lambda: self.has_moved(old, new), "the guest to have moved", SLOW_S, 0.1)
            if not live:
                new.qmp("cont")
        except BaseException as problem:
            new.kill()
            raise GuestError(f"{problem}\n--- the new QEMU\n{new.said()}\n--- the old\n{old.said()}") from problem
        self.check()
        self.machine = new
        old.kill()

    @staticmethod
    def has_moved(old, new):
        new.check_alive()
        state = old.qmp("query-migrate")
        assert state.get("status") not in ("failed", "cancelled"), f"migration failed: {state}"
        arrived = new.qmp("query-status")["status"]
        return state.get("status") == "completed" and arrived in ("running", "paused")


class TwoEnds:
    """Disks that are files, each served by two controllers, one for either end of a move: rows are {name: (blk or scsi,
    what of it)}."""

    def __init__(self, directory, rows):
        self.directory, self.rows, self.end = Path(directory), rows, 0
        self.sockets = self.directory / "vhost"
        self.sockets.mkdir()
        self.daemon = Daemon(self.directory, "-S", self.sockets, "-m", cpus(2))

    def start(self):
        """Again, too: the disks keep what is on them."""
        self.daemon.start()
        for name, (kind, _) in self.rows.items():
            image = self.directory / f"{name}.img"
            with open(image, "ab") as f:
                f.truncate(DISK_MIB << 20)
            self.daemon.rpc("bdev_aio_create", name=name, filename=str(image), block_size=512)
            for end in (0, 1):
                self.serve(kind, name, f"{name}.{end}")

    def serve(self, kind, name, ctrlr):
        if kind is blk:
            self.daemon.rpc("vhost_create_blk_controller", ctrlr=ctrlr, dev_name=name)
            return
        # A guest that comes back before its target is there would be told that it has none.
        self.daemon.rpc("vhost_create_scsi_controller", ctrlr=ctrlr, delay=True)
        self.daemon.rpc("vhost_scsi_controller_add_target", ctrlr=ctrlr, scsi_target_num=0, bdev_name=name)
        self.daemon.rpc("vhost_start_scsi_controller", ctrlr=ctrlr)

    def devices(self):
        """As they are served at this end."""
        return [kind(name, self.sockets / f"{name}.{self.end}", **row) for name, (kind, row) in self.rows.items()]

    def other_end(self):
        self.end = 1 - self.end
        return self.devices()
