# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU guest with a packaged Linux kernel, in which tests run shell scripts as root.

    with Guest(directory) as guest:
        guest.run("nvme connect ...")              its output; GuestError when it fails
        job = guest.start("fio ...")               runs on while the test does something else
        ... daemon.kill() ...
        job.wait()

The guest sees the host's root read-only under an overlay, so every program of the host is there, and reaches the host's
loopback at HOST. The other way, ports of the host's loopback lead to ports of the guest: `forwards`, ((address, port),
...) in the guest, and guest.ports, what they are on the host. Nothing of it survives close(). It is emulated: slow, no
witness for speed.
"""
import itertools
import lzma
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from gantry import free_port

HOST = "10.0.2.2"
BOOT_TIMEOUT_S = 240
# The kernel counts timer interrupts for a moment of its boot, and panics where a busy machine lets QEMU have too few.
BOOT_ARGS = "console=ttyS0 panic=-1 no_timer_check"
QEMU = os.environ.get("GANTRY_QEMU", "qemu-system-x86_64")
MEMORY_MIB = 2048
CPUS = 2
# What init needs to reach its root and its agent's port; everything else is loaded from the host's root by modprobe.
MODULES = ("virtio_pci", "virtio_net", "virtio_console", "9pnet_virtio", "9p", "overlay")
INIT = Path(__file__).with_name("guest_init.sh")


class GuestError(AssertionError):
    """A script failed in the guest, or the guest did."""


# --- kernels of this machine -----------------------------------------------------------------------------------

def version_key(release):
    return [int(n) for n in re.findall(r"\d+", release)]


@dataclass(frozen=True)
class Kernel:
    """A packaged kernel: installed, or unpacked below `root`."""
    release: str
    root: Path = Path("/")

    @property
    def image(self):
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self):
        return self.root / "lib/modules" / self.release

    @property
    def version(self):
        return version_key(self.release)


def kernels(root=Path("/")):
    """Those that are there with their modules, oldest first."""
    found = [Kernel(p.name.removeprefix("vmlinuz-"), root) for p in (root / "boot").glob("vmlinuz-*")]
    return sorted((k for k in found if (k.modules / "modules.dep").exists()), key=lambda k: k.version)


def what_is_missing():
    """A sentence about why guests cannot run here, or None."""
    for program, package in ((QEMU, "qemu-system-x86"), ("busybox", "busybox-static"),
                             ("nvme", "nvme-cli"), ("fio", "fio"), ("iscsid", "open-iscsi"), ("sg_vpd", "sg3-utils"),
                             ("dmsetup", "dmsetup")):
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            return f"{program} is not installed (package {package})"
    if not kernels():
        return "no kernel with modules is installed (package linux-image-amd64)"
    return None


# --- the initramfs: busybox, init, and a few modules -----------------------------------------------------------

class Cpio:
    """Writes an archive of the format that kernels unpack ("newc")."""

    def __init__(self):
        self.parts = []
        self.dirs = set()

    def add(self, name, mode, data=b""):
        parent = os.path.dirname(name)
        if parent and parent not in self.dirs:
            self.dirs.add(parent)
            self.add(parent, stat.S_IFDIR | 0o755)
        fields = (len(self.parts) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
        self.parts.append(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))

    def file(self, name, data, mode=0o755):
        self.add(name, stat.S_IFREG | mode, data)

    def finish(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


def modules_in_order(kernel, modules):
    """The files of these modules, each after those it depends on."""
    depends = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        depends[path] = needs.split()
    paths = {re.sub(r"\.ko.*", "", os.path.basename(p)).replace("-", "_"): p for p in depends}
    order = []
    for module in modules:
        path = paths.get(module)           # one that is built in has no file
        for p in [*reversed(depends[path]), path] if path else []:
            if p not in order:
                order.append(p)
    return order


def make_cpio(init, dirs):
    """What every guest begins with."""
    cpio = Cpio()
    for name in dirs:
        cpio.add(name, stat.S_IFDIR | 0o755)
        cpio.dirs.add(name)
    cpio.file("bin/busybox", Path(shutil.which("busybox")).read_bytes())
    cpio.file("init", init.read_bytes())
    return cpio


def make_initramfs(kernel):
    cpio = make_cpio(INIT, ("dev", "proc", "sys", "sbin"))
    make_cpio_modules(cpio, kernel, MODULES)
    return cpio.finish()


def make_cpio_modules(cpio, kernel, modules):
    """Put them in, and the order in which they are loaded."""
    names = []
    for path in modules_in_order(kernel, modules):
        data = (kernel.modules / path).read_bytes()
        names.append("/modules/" + re.sub(r"\.ko.*", ".ko", os.path.basename(path)))
        cpio.file(names[-1][1:], lzma.decompress(data) if path.endswith(".xz") else data)
    cpio.file("modules.list", "".join(n + "\n" for n in names).encode())


# --- the guest -------------------------------------------------------------------------------------------------

class Job:
    """A script that runs in the guest."""

    def __init__(self, guest, name, script):
        self.guest, self.name, self.script = guest, name, script
        self.ended = threading.Event()
        self.status = None

    @property
    def output(self):
        """What it has said so far."""
        path = self.guest.share / f"{self.name}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self):
        self.guest.check_alive()
        return not self.ended.is_set()

    def wait(self, timeout_s=60, check=True):
        """Its output, when it has ended with status 0 (or `check` is off; then look at .status)."""
        if not self.ended.wait(timeout_s):
            self.guest.check_alive()
            raise GuestError(self.describe(f"did not end within {timeout_s} s"))
        if self.status is None:
            raise GuestError(self.describe("the guest ended"))
        if check and self.status != 0:
            raise GuestError(self.describe(f"status {self.status}"))
        return self.output

    def describe(self, what):
        return (f"{what}\n--- script\n{self.script.strip()}\n--- its output\n{self.output.strip()}\n"
                f"--- the guest's console\n{self.guest.console_tail()}")


class Guest:
    """One running guest. Its files are in `directory`: console.log, qemu.log, share/."""

    def __init__(self, directory, kernel=None, kernel_args="", forwards=(), devices=()):
        """`devices`, options of QEMU's, are of those whose back-ends see the guest's memory: it is shared then."""
        self.directory = Path(directory)
        self.devices = devices
        self.kernel = kernel or kernels()[-1]
        self.kernel_args = kernel_args
        self.forwards = forwards
        self.ports = [free_port() for _ in forwards]
        self.share = self.directory / "share"
        self.share.mkdir(parents=True)
        self.numbers = itertools.count(1)
        self.jobs = {}
        self.console_mark = 0
        self.process = None
        self.boot()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- life ---

    def boot(self):
        initramfs = self.directory / "initramfs"
        initramfs.write_bytes(make_initramfs(self.kernel))
        ready = self.jobs["ready"] = Job(self, "ready", "(boot)")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.directory / "agent"))
            listener.listen(1)
            listener.settimeout(10)
            with open(self.directory / "qemu.log", "wb") as log:
                self.process = subprocess.Popen(self.command_line(initramfs), stdin=subprocess.DEVNULL, stdout=log,
                                                stderr=subprocess.STDOUT, cwd=self.directory)
            try:
                self.agent, _ = listener.accept()
                threading.Thread(target=self.listen_to_agent, daemon=True).start()
                ready.wait(BOOT_TIMEOUT_S)
            except BaseException as problem:
                self.close()
                if isinstance(problem, socket.timeout):
                    raise GuestError(f"qemu: {(self.directory / 'qemu.log').read_text()}") from None
                raise

    def command_line(self, initramfs):
        d = self.directory
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{port}-{address}:{inside}"
                           for port, (address, inside) in zip(self.ports, self.forwards))
        machine, memory = "q35", []
        if self.devices:
            machine = "q35,memory-backend=memory"
            memory = ["-object", f"memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on",
                      "-qmp", f"unix:{d}/qmp,server=on,wait=off"]
        return [QEMU, "-machine", machine, *memory, "-accel", "tcg,thread=multi", "-cpu", "max",
                "-smp", str(CPUS), "-m", str(MEMORY_MIB),
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", str(self.kernel.image), "-initrd", str(initramfs),
                "-append", f"{BOOT_ARGS} gantry.root={self.kernel.root} {self.kernel_args}",
                "-serial", f"file:{d}/console.log",
                "-device", "virtio-serial", "-chardev", f"socket,id=agent,path={d}/agent",
                "-device", "virtserialport,chardev=agent",
                "-netdev", f"user,id=net{forwards}", "-device", "virtio-net-pci,netdev=net",
                "-virtfs", f"local,path={self.share},mount_tag=share,security_model=none,multidevs=remap",
                "-virtfs", "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap",
                *self.devices]

    def listen_to_agent(self):
        """Takes "NAME STATUS" lines until the guest ends; then nobody waits any longer."""
        try:
            with self.agent.makefile() as lines:
                for line in lines:
                    name, status = line.split()
                    self.jobs[name].status = int(status)
                    self.jobs[name].ended.set()
        except (OSError, ValueError):
            pass
        for job in list(self.jobs.values()):
            job.ended.set()

    def check_alive(self):
        if self.process.poll() is not None:
            raise GuestError(f"the guest ended by itself; its console:\n{self.console_tail()}")

    def pause(self):
        """Stop the whole machine, as a host that hangs."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    # --- scripts ---

    def start(self, script):
        """Run a bash script (with -eu and pipefail) beside whatever else runs."""
        self.check_alive()
        job = Job(self, f"job{next(self.numbers)}", script)
        self.jobs[job.name] = job
        (self.share / f"{job.name}.sh").write_text(script)
        self.agent.sendall(f"{job.name}\n".encode())
        return job

    def run(self, script, timeout_s=120, check=True):
        return self.start(script).wait(timeout_s, check)

    # --- the kernel's messages ---

    def console(self):
        path = self.directory / "console.log"
        return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""

    def mark_console(self):
        """What the kernel said until now is of no interest any more."""
        self.console_mark = len(self.console())

    def console_since_mark(self):
        return self.console()[self.console_mark:]

    def console_tail(self, lines=40):
        return "\n".join((self.console_since_mark() or self.console()).splitlines()[-lines:])
