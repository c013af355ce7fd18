#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""soak.py: hosts that write and check for hours, while everything is done to the daemon that may happen to one.

    make soak                                      an hour
    tests/soak/soak.py --seconds 36000 --seed 7    ten; the seed chooses the events and their order
    tests/soak/soak.py --list                      the events

A verifier is a host with a memory: it stamps each block it writes with who, where and how often, and knows for each
what it may read: the last stamp that was acknowledged, or one whose write was in the air when its connection ended.
Nothing else may ever come back. The daemon is killed and must find its state again; it may not grow, leak descriptors,
or log what a sanitizer says. The first thing that is wrong ends the run with the seed, the event and the daemon's log.
"""
import os
import random
import socket
import struct
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from crowd import Crowd                                         # noqa: E402
from events import Events, Wrong, main                          # noqa: E402
from gantry import Daemon, RpcError, cpus, free_port, wait_until  # noqa: E402
from nvme_tcp import Conn, Ended, Host, must, sqe               # noqa: E402

BLOCK = 4096
BLOCKS = 4096
RSS_GROWTH_KIB = 96 * 1024
FD_GROWTH = 64
FLUSH = 0x00


class Verifier(threading.Thread):
    """Writes and reads one disk through one host, again and again, until told to stop."""

    def __init__(self, name, port, nqn, survives, seed):
        super().__init__(name=name, daemon=True)
        self.port, self.nqn, self.survives = port, nqn, survives
        self.dice = random.Random(f"{seed} {name}")
        self.may_be = {}                    # block: set of stamps it may have; absent: never written
        self.count = self.ios = self.checked = self.reconnects = 0
        self.lost = threading.Event()       # the daemon was killed: what does not survive is gone
        self.stopping = threading.Event()
        self.failure = None

    def stamp(self, lba):
        self.count += 1
        return struct.pack("<QQ16s", lba, self.count, self.name.encode()[:16]) * (BLOCK // 32)

    def run(self):
        try:
            while not self.stopping.is_set():
                self.one_connection()
        except Wrong as wrong:
            self.failure = str(wrong)
        except Exception as problem:        # pylint: disable=broad-except
            self.failure = f"{self.name}: {problem!r}"

    def one_connection(self):
        try:
            with Host(self.port, self.nqn) as host:
                if self.lost.is_set():
                    self.lost.clear()
                    if not self.survives:
                        self.may_be.clear()
                while not self.stopping.is_set() and not self.lost.is_set():
                    self.one_io(host)
        except (OSError, Ended, AssertionError) as problem:
            if isinstance(problem, Wrong):
                raise
            self.reconnects += 1
            time.sleep(0.05)

    def one_io(self, host):
        lba = self.dice.randrange(BLOCKS)
        kind = self.dice.random()
        if kind < 0.5:
            self.write(host, lba)
        elif kind < 0.98:
            self.read(host, lba)
        else:
            must(host.io.command(sqe(FLUSH, nsid=1)))
        self.ios += 1

    def write(self, host, lba):
        data = self.stamp(lba)
        self.may_be.setdefault(lba, {bytes(BLOCK)}).add(data)   # from now on, whether an answer comes or not
        completion = host.io.write(lba, data, block_size=BLOCK)
        if completion.status == 0:
            self.may_be[lba] = {data}

    def read(self, host, lba):
        data = host.io.read(lba, 1, block_size=BLOCK)
        if data not in self.may_be.get(lba, {bytes(BLOCK)}):
            raise Wrong(f"{self.name}: block {lba} reads {data[:32].hex()}..., which is none of "
                        f"{[s[:32].hex() for s in self.may_be.get(lba, {bytes(BLOCK)})]}")
        self.may_be[lba] = {data}                               # what was read once stays
        self.checked += 1


class Changer(threading.Thread):
    """Disks that are served, and no more, until the daemon is killed in between. What was acknowledged must be there
    then; the one change that was not may be."""

    def __init__(self, rpc, seed):
        super().__init__(daemon=True)
        self.rpc, self.dice = rpc, random.Random(seed)
        self.have, self.unsure, self.refused = set(), None, None
        self.ending = threading.Event()

    def run(self):
        try:
            for n in range(1000000):
                disk, nqn = ("disk", f"kill{n}"), ("subsystem", f"nqn.2016-06.io.gantry:kill{n}")
                self.change(disk, True, "bdev_null_create", name=disk[1], num_blocks=1024, block_size=512)
                self.change(nqn, True, "nvmf_create_subsystem", nqn=nqn[1], allow_any_host=True)
                self.change(("namespace", nqn[1]), True, "nvmf_subsystem_add_ns", nqn=nqn[1],
                            namespace={"bdev_name": disk[1]})
                if self.dice.random() < 0.5:
                    continue
                if self.dice.random() < 0.5:
                    self.change(("namespace", nqn[1]), False, "nvmf_subsystem_remove_ns", nqn=nqn[1], nsid=1)
                    self.change(nqn, False, "nvmf_delete_subsystem", nqn=nqn[1])
                    self.change(disk, False, "bdev_null_delete", name=disk[1])
        except RpcError as error:
            self.refused = error
        except Exception as error:          # pylint: disable=broad-except
            self.refused = None if self.ending.is_set() else error

    def change(self, what, there, method, **params):
        self.unsure = what
        self.rpc(method, **params)
        (self.have.add if there else self.have.discard)(what)
        self.unsure = None

    def check(self):
        """What there is, as the thread says it, after the restart."""
        subsystems = [s for s in self.rpc("nvmf_get_subsystems") if ":kill" in s["nqn"]]
        there = {("disk", b["name"]) for b in self.rpc("bdev_get_bdevs") if b["name"].startswith("kill")}
        there |= {("subsystem", s["nqn"]) for s in subsystems}
        there |= {("namespace", s["nqn"]) for s in subsystems if s["namespaces"]}
        if self.refused or (there ^ self.have) - {self.unsure}:
            raise Wrong(f"before a kill: {self.refused or sorted(there ^ self.have)}, in the air: {self.unsure}")
        for _, nqn in sorted(w for w in there if w[0] == "subsystem"):
            self.rpc("nvmf_delete_subsystem", nqn=nqn)
        for _, name in sorted(w for w in there if w[0] == "disk"):
            self.rpc("bdev_null_delete", name=name)
        return len(self.have)


class Soak(Events):
    """The daemon, what it serves, and what happens to it."""

    def __init__(self, directory, seed):
        super().__init__(directory, seed)
        self.daemon = Daemon(directory, "-m", cpus(2), "--state-dir", self.directory / "state")
        self.extra = self.kept = 0
        self.verifiers = []

    def start(self):
        self.daemon.start()
        image = self.directory / "file.img"
        image.write_bytes(b"")
        os.truncate(image, BLOCK * BLOCKS)
        rpc = self.daemon.rpc
        rpc("nvmf_create_transport", trtype="TCP")
        rpc("bdev_uring_create", name="file", filename=str(image), block_size=BLOCK)
        rpc("bdev_malloc_create", name="ram", num_blocks=BLOCKS, block_size=BLOCK)
        for name, survives in (("file", True), ("ram", False)):
            nqn, port = f"nqn.2016-06.io.gantry:{name}", free_port()
            rpc("nvmf_create_subsystem", nqn=nqn, allow_any_host=True)
            rpc("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": name})
            rpc("nvmf_subsystem_add_listener", nqn=nqn, listen_address=Daemon.address(port))
            self.verifiers.append(Verifier(name, port, nqn, survives, self.seed))
        self.base_rss_kib, self.base_fds = self.daemon.rss_kib(), self.daemon.fd_count()
        for verifier in self.verifiers:
            verifier.start()

    # --- what happens ---

    def mode(self):
        """the mode of a reactor changes"""
        self.daemon.rpc("framework_set_mode", mode=self.dice.choice(["poll", "interrupt", "adaptive"]))

    def limit(self):
        """a device gets a limit, or loses it"""
        self.daemon.rpc("bdev_set_qos_limit", name=self.dice.choice(["file", "ram"]),
                        rw_ios_per_sec=self.dice.choice([0, 1000, 5000]))

    def disk(self):
        """a disk and a subsystem come and go beside the others"""
        rpc, name = self.daemon.rpc, f"extra{self.extra}"
        self.extra += 1
        nqn = f"nqn.2016-06.io.gantry:{name}"
        rpc("bdev_malloc_create", name=name, num_blocks=1024, block_size=BLOCK)
        rpc("nvmf_create_subsystem", nqn=nqn, allow_any_host=True)
        rpc("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": name})
        if self.dice.random() < 0.5:
            rpc("nvmf_delete_subsystem", nqn=nqn)
            rpc("bdev_malloc_delete", name=name)
        else:
            rpc("bdev_malloc_delete", name=name)                # its namespace goes with it
            rpc("nvmf_delete_subsystem", nqn=nqn)

    def histogram(self):
        """histograms on, off"""
        self.daemon.rpc("bdev_enable_histogram", name="ram", enable=self.dice.random() < 0.5)

    def crowd(self):
        """twenty connections come and go"""
        verifier = self.dice.choice(self.verifiers)
        served = type("Served", (), {"port": verifier.port, "nqn": verifier.nqn})
        with Crowd(served, 20, entries=16):
            pass

    def garbage(self):
        """bytes that mean nothing, at every port and at the RPC socket"""
        for verifier in self.verifiers:
            with socket.create_connection(("127.0.0.1", verifier.port), 5) as s:
                s.sendall(self.dice.randbytes(self.dice.randrange(1, 4096)))
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(str(self.daemon.socket))
            s.sendall(b'{"jsonrpc": "2.0", "method": ' + self.dice.randbytes(20))

    def half_open(self):
        """a host that shakes hands and leaves without a word"""
        Conn(self.dice.choice(self.verifiers).port).reset()

    def kill(self):
        """the daemon is killed and started again"""
        self.daemon.kill()
        for verifier in self.verifiers:
            verifier.lost.set()
        self.daemon.start()
        self.base_fds = self.daemon.fd_count()

    def kill_in_change(self):
        """the daemon is killed while it is changed, and started again"""
        changer = Changer(self.daemon.rpc, self.dice.random())
        changer.start()
        time.sleep(self.dice.random() * 0.5)
        changer.ending.set()
        self.kill()
        changer.join(60)
        self.kept += changer.check()

    EVENTS = ((mode, 10), (limit, 10), (disk, 10), (histogram, 5), (crowd, 5), (garbage, 10), (half_open, 10),
              (kill, 2), (kill_in_change, 5))

    # --- and what must hold ---

    def check(self):
        self.daemon.check_alive()
        self.daemon.check_log()
        for verifier in self.verifiers:
            if verifier.failure:
                raise Wrong(verifier.failure)
        if not self.daemon.is_sanitized and self.daemon.rss_kib() > self.base_rss_kib + RSS_GROWTH_KIB:
            raise Wrong(f"the daemon has grown from {self.base_rss_kib} to {self.daemon.rss_kib()} KiB")

    def settle(self):
        """Let it be quiet: descriptors that were opened for events are closed, all verifiers make progress."""
        wait_until(lambda: self.daemon.fd_count() <= self.base_fds + FD_GROWTH, "descriptors to be closed again", 60)
        before = [v.checked for v in self.verifiers]
        wait_until(lambda: all(v.failure or v.checked > b for v, b in zip(self.verifiers, before)),
                   "every host to get on", 60)
        self.check()

    def run(self, seconds):
        self.start()
        for _ in self.happens(seconds):
            time.sleep(self.dice.random() * 0.2)
            self.check()
            if self.events % 50 == 0:
                self.settle()
        self.settle()
        for verifier in self.verifiers:
            verifier.stopping.set()
            verifier.join(30)
        self.check()
        self.daemon.stop()

    def close(self):
        self.daemon.kill()

    def summary(self):
        hosts = ", ".join(f"{v.name}: {v.ios} I/Os, {v.checked} blocks checked, {v.reconnects} reconnects"
                          for v in self.verifiers)
        return f"{self.happened()}; {hosts}; {self.kept} changes kept over kills"


if __name__ == "__main__":
    sys.exit(main(Soak, "Hosts that check, and a daemon to which things happen.", 3600))
