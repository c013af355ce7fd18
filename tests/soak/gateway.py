#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""gateway.py: NVMe/TCP in, NVMe/TCP out, while the targets behind are killed, stopped and started again at random.

    tests/soak/gateway.py                          ten minutes
    tests/soak/gateway.py --seconds 36000 --seed 7 the seed chooses the events and their order
    GANTRY_SOAK_SECONDS=60 tests/soak/gateway.py   the same by environment
    tests/soak/gateway.py --list                   the events

Every target is a daemon with a file on a disk, so that what was written survives its end; the one that nothing happens
to has RAM, so that a slow disk is not taken for the gateway's fault. The gateway attaches each of them over two ports
and serves it on; gantry-perf writes, reads and checks through it. What the policies allow:

    steady    nothing happens to its target: no error, and no I/O takes longer than a limit
    waits     reconnected for ever: I/O waits, no error
    hurries   fast_io_fail_timeout_sec: errors only around the time in which its target is away, never wrong data

The first thing that is wrong ends the run with the seed, the event and the gateway's log. Where the time of a slow I/O
of the steady one went is said at once: by the flight recorders of the gateway and of the target, and by a process on
each CPU that only sleeps: how long that was kept from running is the machine's own doing. (The last CPU is that of
gantry-perf, whose measure the first line is.)
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from black_hole import BlackHole                                    # noqa: E402
from events import Events, Wrong, main                              # noqa: E402
from gantry import NQN, Daemon, RpcError, Served, cpus, free_port, wait_until  # noqa: E402
from load import perf_command                                       # noqa: E402
from nvme_tcp import Ended, Host                                    # noqa: E402
from attached import attach, controllers, detach, refused, serve  # noqa: E402
from soak import BLOCK, BLOCKS, Verifier                            # noqa: E402

ROUND_S = 5                 # of gantry-perf
STALL_MS = 5000             # of the steady one: a stall is what time-outs cause, not what a busy machine does
SLOW_MS = 500               # from there on it is said where its time went
AWAY_MAX_S = 12             # a target that is killed or stopped; keep-alive is shorter
KEEP_ALIVE_MS = 4000
BACK_S = 90                 # until a controller is well again
RSS_GROWTH_KIB = 64 * 1024
FD_GROWTH = 32
LINKS = {"multipath": "multipath", "ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1}


class Far:
    """A target: a daemon with a state directory and a file, or with RAM."""

    def __init__(self, directory, name, ram=False):
        (directory / name).mkdir()
        self.name, self.nqn = name, f"{NQN}-{name}"
        self.daemon = Daemon(directory / name, "--state-dir", directory / name / "state")
        self.away_since = self.back_at = None
        self.daemon.start()
        if ram:
            self.daemon.rpc("bdev_malloc_create", name="disk", num_blocks=BLOCKS, block_size=BLOCK)
        else:
            image = directory / name / "disk.img"
            image.touch()
            os.truncate(image, BLOCK * BLOCKS)
            self.daemon.rpc("bdev_uring_create", name="disk", filename=str(image), block_size=BLOCK)
        self.served = self.daemon.serve("disk", nqn=self.nqn, ports=2, discovery=False)

    def paths(self):
        return [Served(self.nqn, (port,)) for port in self.served.ports]

    def was_away_within(self, seconds):
        return self.away_since or (self.back_at and time.monotonic() - self.back_at < seconds)


SLEEPER = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
while True:
    began = time.time()
    time.sleep(0.005)
    if time.time() - began > 0.02:
        print(began, time.time(), flush=True)
"""


class Machine:
    """When its CPUs kept somebody from running who only sleeps."""

    def __init__(self, directory):
        self.pauses, self.sleepers = {}, []
        for cpu in sorted(os.sched_getaffinity(0)):
            self.pauses[cpu] = directory / f"pauses{cpu}"
            with open(self.pauses[cpu], "w", encoding="ascii") as out:
                self.sleepers.append(subprocess.Popen([sys.executable, "-c", SLEEPER, str(cpu)], stdout=out))

    def rows(self, cpu):
        lines = self.pauses[cpu].read_text().splitlines(keepends=True)
        return [[float(word) for word in line.split()] for line in lines if line.endswith("\n")]

    def paused_ms(self, began, ended):
        """Of that time, by CPU."""
        return {cpu: round(1000 * sum(max(0, min(b, ended) - max(a, began)) for a, b in self.rows(cpu)))
                for cpu in self.pauses}

    def longest_ms(self, began=0, ended=float("inf")):
        """Of those that began in that time, by CPU."""
        return {cpu: round(1000 * max((b - a for a, b in self.rows(cpu) if began <= a <= ended), default=0))
                for cpu in self.pauses}

    def close(self):
        for sleeper in self.sleepers:
            sleeper.kill()
            sleeper.wait()


class Checked(threading.Thread):
    """Rounds of gantry-perf that must be flawless."""

    def __init__(self, name, served, stall_ms=None, slow=None):
        super().__init__(name=name, daemon=True)
        self.command = perf_command(served, "--verify", io_bytes=BLOCK, depth=8, qpairs=2, rate=2000, seconds=ROUND_S)
        self.stall_ms, self.slow, self.rounds, self.ios, self.longest_ms = stall_ms, slow, 0, 0, 0
        self.stopping, self.failure = threading.Event(), None

    def run(self):
        while not self.stopping.is_set() and not self.failure:
            try:
                done = subprocess.run(self.command, capture_output=True, text=True, timeout=ROUND_S + 2 * BACK_S,
                                      check=False)
                result = json.loads(done.stdout.strip().splitlines()[-1])
            except subprocess.TimeoutExpired:
                self.failure = f"{self.name}: a round does not end: I/O hangs"
                return
            except (IndexError, ValueError):
                self.failure = f"{self.name}: status {done.returncode}: {done.stderr[-500:]}"
                return
            self.rounds += 1
            self.ios += result["ios"]
            slowest_ms = result["latency_us"]["max"] / 1000
            self.longest_ms = max(self.longest_ms, slowest_ms)
            if self.slow and slowest_ms > SLOW_MS:
                self.slow(slowest_ms)
            if done.returncode or result["errors"] or result["miscompares"]:
                self.failure = f"{self.name}: {result['errors']} errors, {result['miscompares']} miscompares: " \
                               f"{done.stderr[-500:]}"
            elif self.stall_ms and self.longest_ms > self.stall_ms:
                self.failure = f"{self.name}: an I/O took {self.longest_ms:.0f} ms"

    @property
    def checked(self):
        return self.rounds

    def summary(self):
        return f"{self.name}: {self.ios} I/Os in {self.rounds} rounds, the longest {self.longest_ms:.0f} ms"


class Hurried(Verifier):
    """A verifier whose I/O may fail while its target is away, and only then."""

    def __init__(self, name, served, far, seed):
        super().__init__(name, served.port, served.nqn, True, seed)
        self.far, self.errors = far, 0

    def one_connection(self):
        try:
            with Host(self.port, self.nqn) as host:
                host.io.sock.settimeout(2 * BACK_S)
                while not self.stopping.is_set():
                    try:
                        self.one_io(host)
                    except AssertionError as problem:
                        if isinstance(problem, Wrong) or "status" not in str(problem):
                            raise
                        self.errors += 1
                        if not self.far.was_away_within(BACK_S):
                            raise Wrong(f"{self.name}: {problem}, while its target was well") from None
                        time.sleep(0.05)
        except (OSError, Ended) as problem:
            raise Wrong(f"{self.name}: the gateway ended the connection: {problem!r}") from problem

    def summary(self):
        return f"{self.name}: {self.ios} I/Os, {self.checked} blocks checked, {self.errors} errors"


class Gateway(Events):
    def __init__(self, directory, seed):
        super().__init__(directory, seed)
        self.fars = {name: Far(self.directory, name, ram=name == "steady") for name in ("steady", "waits", "hurries")}
        self.shaken = [self.fars["waits"], self.fars["hurries"]]
        (self.directory / "gateway").mkdir()
        self.daemon = Daemon(self.directory / "gateway", "-m", cpus(2))
        self.hole, self.hosts, self.machine = BlackHole(), [], Machine(self.directory)
        self.base_rss_kib = self.last_rss_kib = 0

    def start(self):
        self.daemon.start()
        self.daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=KEEP_ALIVE_MS, bdev_retry_count=-1)
        served = {}
        for name, far in self.fars.items():
            more = {**LINKS, **({"fast_io_fail_timeout_sec": 2} if name == "hurries" else {})}
            disk, _ = [attach(self.daemon, path, name, **more) for path in far.paths()]
            served[name] = serve(self.daemon, disk)
        self.hosts = [Checked("steady", served["steady"], STALL_MS, self.slow), Checked("waits", served["waits"]),
                      Hurried("hurries", served["hurries"], self.fars["hurries"], self.seed)]
        for host in self.hosts:
            host.start()
        self.settle()
        self.base_rss_kib, self.base_fds = self.daemon.rss_kib(), self.daemon.fd_count()

    def slow(self, took_ms):
        """An I/O of the steady one took long: where did its time go?"""
        now = time.time()
        print(f"slow: {took_ms:.0f} ms, in a round that ended after event {self.events}; the CPUs' longest pauses in "
              f"it: {self.machine.longest_ms(now - 2 * ROUND_S, now)}", flush=True)
        for who, daemon in (("gateway", self.daemon), ("target", self.fars["steady"].daemon)):
            ios = [io for io in daemon.rpc("nvmf_get_slow_ios")["ios"] if io["bdev_name"] in ("steadyn1", "disk")]
            for io in sorted(ios, key=lambda io: -io["total_ns"])[:1]:
                ended, took = io["at_us"] / 1e6, io["total_ns"] / 1e9
                print(f"slow: {who}: {took * 1000:.0f} ms, core {io['core']}, {json.dumps(io['stages_ns'])}; "
                      f"CPUs paused for ms of it: {self.machine.paused_ms(ended - took, ended)}", flush=True)

    # --- what happens ---

    def away(self):
        time.sleep(self.dice.choice([0, 0.1, 1, self.dice.random() * AWAY_MAX_S]))

    def kill(self):
        """a target is killed and started again"""
        far = self.dice.choice(self.shaken)
        far.away_since = time.monotonic()
        far.daemon.kill()
        self.away()
        far.daemon.start()
        far.away_since, far.back_at = None, time.monotonic()

    def stop(self):
        """a target is stopped (SIGSTOP) for a while: what it got before, it may still do when it goes on"""
        far = self.dice.choice(self.shaken)
        far.away_since = time.monotonic()
        far.daemon.process.send_signal(signal.SIGSTOP)
        try:
            self.away()
        finally:
            far.daemon.process.send_signal(signal.SIGCONT)
        far.away_since, far.back_at = None, time.monotonic()

    def listener(self):
        """one of a target's two ports goes and comes"""
        far = self.dice.choice(self.shaken)
        port = self.dice.choice(far.served.ports)
        far.daemon.rpc("nvmf_subsystem_remove_listener", nqn=far.nqn, listen_address=Daemon.address(port))
        time.sleep(self.dice.random())
        far.daemon.rpc("nvmf_subsystem_add_listener", nqn=far.nqn, listen_address=Daemon.address(port))

    def reset(self):
        """a person resets a controller"""
        try:
            self.daemon.rpc("bdev_nvme_reset_controller", BACK_S, name=self.dice.choice(["waits", "hurries"]))
        except RpcError:
            pass                            # it was away already

    def extra(self):
        """a target is attached again under another name, and detached"""
        try:
            attach(self.daemon, self.fars["waits"].served, "extra", ctrlr_loss_timeout_sec=0)
            detach(self.daemon, "extra")
        except RpcError:
            pass                            # its namespace is one we have, or its target is away

    def dead(self):
        """something dead is attached, or tried"""
        target = self.hole if self.dice.random() < 0.2 else Served(NQN, (free_port(),))
        refused(self.daemon, target, "dead", ctrlr_loss_timeout_sec=0)

    EVENTS = ((kill, 6), (stop, 6), (listener, 4), (reset, 4), (extra, 2), (dead, 2))

    # --- and what must hold ---

    def check(self):
        self.daemon.check_alive()
        self.daemon.check_log()
        for far in self.fars.values():
            far.daemon.check_alive()
            far.daemon.check_log()
        for host in self.hosts:
            if host.failure:
                raise Wrong(host.failure)

    def settle(self):
        """All well again, everybody gets on."""
        wait_until(lambda: all(c["state"] == "enabled" for name in self.fars for c in controllers(self.daemon, name)),
                   "all controllers to be enabled", BACK_S, 0.2)
        before = [h.checked for h in self.hosts]
        wait_until(lambda: any(h.failure for h in self.hosts) or
                   all(h.checked > b for h, b in zip(self.hosts, before)), "every host to get on", 2 * BACK_S, 0.2)
        self.check()

    def check_growth(self):
        wait_until(lambda: self.daemon.fd_count() <= self.base_fds + FD_GROWTH, "descriptors to be closed", BACK_S)
        self.last_rss_kib = self.daemon.rss_kib()
        if not self.daemon.is_sanitized and self.last_rss_kib > self.base_rss_kib + RSS_GROWTH_KIB:
            raise Wrong(f"the gateway has grown from {self.base_rss_kib} to {self.last_rss_kib} KiB")

    def run(self, seconds):
        self.start()
        for _ in self.happens(seconds):
            time.sleep(self.dice.random())
            self.check()
            if self.events % 20 == 0:
                self.settle()
                self.check_growth()
        self.settle()
        for host in self.hosts:
            host.stopping.set()
        for host in self.hosts:
            host.join(2 * BACK_S)
        self.check()
        self.check_growth()
        self.daemon.stop()

    def close(self):
        self.daemon.kill()
        for far in self.fars.values():
            far.daemon.kill()
        self.machine.close()
        self.hole.__exit__()

    def summary(self):
        return f"{self.happened()}; {'; '.join(h.summary() for h in self.hosts)}; " \
               f"the CPUs' longest pauses: {self.machine.longest_ms()}; " \
               f"{self.base_rss_kib} KiB at first, {self.last_rss_kib} now"


if __name__ == "__main__":
    sys.exit(main(Gateway, "A gateway whose targets are killed, stopped and started again."))
