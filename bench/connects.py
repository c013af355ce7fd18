#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What hosts that come and go cost those that are served: latency of running I/O, alone and beside so many Connects a
second.

    bench/connects.py                    this build: one core, 100 admin and I/O queues a second come, and go
    bench/connects.py --rate 400 -n 9
    bench/connects.py --limit 1.5        fails when the median of the ratios of p99 is above that

The target on the first CPU this process may use, the connecting host on the second, the load on the last. Each
repetition measures quiet and disturbed one after the other; medians are printed, with the smallest and largest.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUEUES = 2                  # of a host that comes: its admin queue, and one for I/O


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="Gantry's build tree (default: build)")
    parser.add_argument("--rate", type=int, default=100, help="Connects a second (default 100)")
    parser.add_argument("--depth", type=int, default=8, help="reads outstanding (default 8)")
    parser.add_argument("--pace", type=int, default=20000, help="reads a second; 0: as many as there can be "
                                                                "(default 20000)")
    parser.add_argument("-n", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument("-t", type=int, default=4, help="seconds of each measurement (default 4)")
    parser.add_argument("--limit", type=float, help="most that p99 may become, as a ratio")
    return parser.parse_args()


ARGS = arguments()
os.environ["GANTRY_BUILD"] = str(Path(ARGS.build).resolve())
sys.path[:0] = [str(HERE.parent / "tests" / "lib")]
from gantry import Daemon               # noqa: E402
from load import perf_command           # noqa: E402
from nvme_tcp import Host, must         # noqa: E402

CPUS = sorted(os.sched_getaffinity(0))


class Comers:
    """A thread that has a host come and go, at the rate that was asked for; a late one is not made up for."""

    def __init__(self, served):
        self.served, self.ends, self.connects = served, threading.Event(), 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        os.sched_setaffinity(0, [CPUS[1 % len(CPUS)]])
        every = QUEUES / ARGS.rate
        while not self.ends.is_set():
            began = time.monotonic()
            with Host(self.served.port, self.served.nqn, io_queues=QUEUES - 1) as host:
                must(host.io.write(0, bytes(512)))
                self.connects += QUEUES
            self.ends.wait(max(0, began + every - time.monotonic()))

    def __enter__(self):
        self.began = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()
        self.rate = self.connects / (time.monotonic() - self.began)


def load(served):
    done = subprocess.run(perf_command(served, depth=ARGS.depth, pattern="randread", qpairs=1, seconds=ARGS.t,
                                       rate=ARGS.pace, nsid=2), capture_output=True, text=True, timeout=ARGS.t + 60,
                          check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])["latency_us"]


def main():
    seen = {}

    def out(name, value):
        seen.setdefault(name, []).append(value)

    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as directory, \
            Daemon(directory, "-m", f"[{CPUS[0]}]") as daemon:
        served = daemon.serve(daemon.malloc("theirs", mib=1), daemon.malloc("ours", mib=64))
        load(served)
        for _ in range(ARGS.n):
            alone = load(served)
            with Comers(served) as comers:
                beside = load(served)
            out("Connects a second", comers.rate)
            for p in ("p50", "p99", "p99.9"):
                out(f"{p} alone, us", alone[p])
                out(f"{p} beside Connects / alone", beside[p] / alone[p])
    print(f"one core, {len(CPUS)} CPUs, load {os.getloadavg()[0]:.1f}")
    for name, values in seen.items():
        print(f"{name:32} {statistics.median(values):8.2f}   ({min(values):.2f} to {max(values):.2f})")
    ratio = statistics.median(seen["p99 beside Connects / alone"])
    if ARGS.limit and ratio > ARGS.limit:
        sys.exit(f"p99 is {ratio:.2f} x, {ARGS.limit} is the most")


main()
