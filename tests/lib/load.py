# SPDX-License-Identifier: BSD-3-Clause
"""Load for tests that want something else to happen meanwhile, and the daemon's own accounts of what it did.

    with Load(daemon, served, depth=32) as load:      gantry-perf in rounds of a second, each of which must be flawless
        ... change this and that ...
        load.more_ios(1000)                    wait until the daemon has done as many more

Rounds follow each other until the block ends, however long it takes: no test depends on how fast the machine is.
"""
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

from gantry import BUILD, wait_until


def path_of(served):
    return f"trtype:TCP adrfam:IPv4 traddr:127.0.0.1 trsvcid:{served.port} subnqn:{served.nqn}"


def last_cpu():
    """Where load goes: the daemon takes the first CPU unless told otherwise."""
    return sorted(os.sched_getaffinity(0))[-1]


def perf_command(served, *more, depth=16, io_bytes=4096, pattern="randrw", qpairs=2, seconds=1, rate=20000,
                 nsid=None):
    mix = ["-M", "50"] if pattern in ("rw", "randrw") else []
    pace = ["--rate", rate] if rate else []
    path = path_of(served) + (f" ns:{nsid}" if nsid else "")
    return [str(a) for a in (BUILD / "gantry-perf", "-r", path, "-q", depth, "-o", io_bytes, "-w", pattern,
                             *mix, "-P", qpairs, "-t", seconds, "-c", f"[{last_cpu()}]", "--mode", "interrupt",
                             "--json", *pace, *more)]


def perf_begin(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def perf_ends(perf, words="gantry-perf: "):
    """By itself, and says why."""
    _, said = perf.communicate(timeout=120)
    assert perf.returncode == 1 and words in said, said


def perf_ends_in_silence(perf, daemon, words):
    """The daemon stands still; its kernel acknowledges whatever is sent. What is outstanding never comes back."""
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        perf_ends(perf, words)
    finally:
        perf.kill()
        daemon.process.send_signal(signal.SIGCONT)


class Load:
    """Rounds of gantry-perf --verify beside a test; any error, miscompare or lost connection fails it."""

    def __init__(self, daemon, served, **options):
        self.daemon = daemon
        # One that stays: others may come and go while this runs, and a round takes all it finds.
        self.command = perf_command(served, "--verify", nsid=1, **options)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.rounds, self.ios, self.failure = 0, 0, None

    def __enter__(self):
        self.thread.start()
        try:
            self.more_ios(1)
        except BaseException:
            self.finish()
            raise
        return self

    def __exit__(self, kind, value, traceback):
        self.finish()
        if not kind:
            self.check()
            assert self.rounds and self.ios, "the load did nothing"

    def run(self):
        while not self.ended.is_set() and not self.failure:
            for _ in range(5):     # it gives up after 5 s, which a machine that does much else may need
                done = subprocess.run(self.command, capture_output=True, text=True, timeout=120)
                if "within 5000 ms" not in done.stderr:
                    break
            try:
                result = json.loads(done.stdout.strip().splitlines()[-1])
                flawless = done.returncode == 0 and not result["errors"] and not result["miscompares"]
            except (IndexError, ValueError):
                flawless = False
            if not flawless:
                self.failure = f"status {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
                return
            self.rounds += 1
            self.ios += result["ios"]

    def finish(self):
        self.ended.set()
        self.thread.join()

    def check(self):
        assert not self.failure, f"the load beside this test was hurt: {self.failure}"

    def more_ios(self, count, timeout_s=60):
        """Wait until the daemon has completed `count` more commands than now."""
        before = ios_done(self.daemon)

        def progress():
            self.check()
            return ios_done(self.daemon) >= before + count
        wait_until(progress, f"{count} more I/Os", timeout_s)


# --- accounts ----------------------------------------------------------------------------------------------------

def poll_groups(daemon):
    return daemon.rpc("nvmf_get_stats")["poll_groups"]


def ios_done(daemon):
    return sum(g["completed_nvme_io"] for g in poll_groups(daemon))


def connections(daemon):
    return sum(g["current_connections"] for g in poll_groups(daemon))


def tcp_counter(daemon, name):
    return sum(t[name] for g in poll_groups(daemon) for t in g["transports"])


def wakeups(daemon):
    """What every reactor was awake for, counters only, flat: {"reactor_0": {"sleeps": 3, "wakes.fd": 1, ...}, ...}."""
    return {r["name"]: flat(r) for r in daemon.rpc("gantry_get_wakeups")["reactors"]}


def flat(counters, prefix=""):
    out = {}
    for key, value in counters.items():
        if isinstance(value, dict):
            out.update(flat(value, f"{prefix}{key}."))
        elif isinstance(value, int):
            out[prefix + key] = value
    return out


def differences(before, after):
    return {name: {key: after[name][key] - before[name][key] for key in before[name]} for name in before}


def cpu_ns(pid):
    """CPU time of all threads, exact where the kernel has schedstat."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            total += sum(map(int, (task / "stat").read_text().rsplit(")", 1)[1].split()[11:13])) * 10_000_000
    return total


def is_sanitized(daemon):
    maps = Path(f"/proc/{daemon.pid}/maps").read_text()
    return any(name in maps for name in ("libasan", "libtsan", "libclang_rt"))
