#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a target costs by existing: time to be there, memory at rest and per connection, CPU when idle.

    bench/cost.py                                  this build alone
    bench/cost.py --peer spdk=/path/to/spdk        beside SPDK's nvmf_tgt built there
    bench/cost.py --peer gantry=/other/build       beside another build of Gantry
    bench/cost.py vhost                            beside 8 guests' devices: idle, and one of them woken
    bench/cost.py idle start                       figures whose name contains one of these

Repetitions alternate between the two sides; medians are printed, and with a peer the ratio of the medians. Means of
QD1 tell of what else the machine does: go by p50 on one that is not quiet.
Each target has the first CPU this process may use, the initiator another one: taskset chooses. SPDK wants
hugepages (echo 600 > /proc/sys/vm/nr_hugepages), and --peer-args such as '-u --huge-dir /mnt/huge'.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import namedtuple
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "lib")]
from cases import case                                            # noqa: E402
from crowd import Crowd                                           # noqa: E402
from nvme_tcp import ADMIN_KEEP_ALIVE, Host, must, sqe            # noqa: E402
from targets import NQN, TARGETS, Initiator, cpus_of_this_machine  # noqa: E402
from virtio_blk import Blk                                        # noqa: E402

QUIET_S = 0.5               # for a target to come to rest
FIRST_RPC_EVERY_S = 0.001
GUESTS = 8
WAKES_A_SECOND = 200         # seldom enough for all to sleep in between

Served = namedtuple("Served", "port nqn")


def measured(kind):
    """The target of that kind, with an eye on how long it takes to be there."""
    class Measured(TARGETS[kind]):
        def command(self):
            self.began = time.monotonic()
            return super().command()

        def wait_until_it_answers(self):
            while True:
                try:
                    self.rpc.call("framework_wait_init")
                    break
                except (OSError, RuntimeError):
                    if self.process.poll() is not None or time.monotonic() > self.began + 20:
                        raise
                    time.sleep(FIRST_RPC_EVERY_S)
            self.start_ms = (time.monotonic() - self.began) * 1000

        @property
        def served(self):
            return Served(self.port, NQN)

        def status_kib(self, key):
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith(key + ":"):
                    return int(line.split()[1])
            return 0

        def cpu_ns(self):
            tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    return Measured


# --- the figures: each takes a started target, and gives {name: value} ---------------------------------------------

def figures_start(target, args):
    time.sleep(QUIET_S)
    return {"start to first RPC, ms": target.start_ms,
            "RSS at rest, MiB": target.status_kib("VmRSS") / 1024,
            "hugepages at rest, MiB": target.status_kib("HugetlbPages") / 1024}


def figures_connections(target, args):
    initiator = Initiator(f"gantry={args.build}")
    alone = qd1(initiator, target, args)
    before = target.status_kib("VmRSS") + target.status_kib("HugetlbPages")
    began = time.monotonic()
    with Crowd(target.served, args.connections, entries=128):
        connect_us = (time.monotonic() - began) * 1e6 / args.connections
        time.sleep(QUIET_S)
        grown = target.status_kib("VmRSS") + target.status_kib("HugetlbPages") - before
        beside = qd1(initiator, target, args)
    n = args.connections
    return {f"memory per idle connection over {n}, KiB": grown / n, f"time to connect, of {n}, us": connect_us,
            "QD1, mean us": alone["latency_us"], f"QD1 beside {n} idle, mean us": beside["latency_us"],
            "QD1, p50 us": alone["p50_us"], f"QD1 beside {n} idle, p50 us": beside["p50_us"],
            f"QD1 beside {n} idle / alone, p50": beside["p50_us"] / alone["p50_us"]}


def qd1(initiator, target, args):
    return initiator.run(target, case("QD1", initiators=1, depth=1), args.t)


def figures_idle(target, args):
    with Host(target.port, NQN, io_queues=4, kato_ms=10000) as host:
        for io in host.ios:
            must(io.write(0, bytes(4096), block_size=4096))
        keep_alive(host)
        time.sleep(QUIET_S)
        cpu, began = target.cpu_ns(), time.monotonic()
        for _ in range(2):
            time.sleep(args.t / 2)
            keep_alive(host)
        busy = (target.cpu_ns() - cpu) / 1e7 / (time.monotonic() - began)
    return {f"idle CPU, {target.case.mode}, malloc, 5 queues, %": busy}


def keep_alive(host):
    must(host.admin.command(sqe(ADMIN_KEEP_ALIVE)))


def figures_vhost(target, args):
    """Guests' disks beside the one that is woken; they have done something before."""
    directory = Path(target.directory.name)
    with ExitStack() as guests:
        for n in range(GUESTS):
            target.rpc.call("bdev_malloc_create", name=f"guest{n}", num_blocks=2048, block_size=512)
            target.rpc.call("vhost_create_blk_controller", ctrlr=f"guest{n}", dev_name=f"guest{n}")
            guests.enter_context(Blk(directory / f"guest{n}")).read(0, 4096)
        time.sleep(QUIET_S)
        cpu, began = target.cpu_ns(), time.monotonic()
        time.sleep(args.t)
        busy = (target.cpu_ns() - cpu) / 1e7 / (time.monotonic() - began)
        io_us, bare_us = wake(target, args)
    mode = target.case.mode
    return {f"idle CPU, {mode}, {GUESTS} guests' devices, %": busy,
            f"a read that wakes its device, {mode}, p50 us": io_us,
            "bare eventfd round trip, p50 us": bare_us,
            f"a read that wakes / bare round trip, {mode}": io_us / bare_us}


def wake(target, args):
    """A read now and then whose sender sleeps as well; and what the machine takes for that without any I/O."""
    cpus = cpus_of_this_machine()
    ours, other = cpus[0], (cpus[1:] or cpus)[0]
    read = subprocess.run([f"{args.build}/gantry-perf", *target.path_arguments(), "-q", "1", "-o", "4096", "-w",
                           "randread", "-t", str(args.t), "--rate", str(WAKES_A_SECOND), "--mode", "interrupt",
                           "-c", hex(1 << other), "--json"], check=True, capture_output=True, text=True)
    bare = subprocess.run([f"{args.build}/bench/micro_wake", str(ours), str(other)], check=True, capture_output=True)
    return json.loads(read.stdout.strip().splitlines()[-1])["latency_us"]["p50"], float(bare.stdout)


Measure = namedtuple("Measure", "name modes figures protocol")
MEASURES = [
    Measure("start", {"gantry": ["adaptive"], "spdk": ["poll"]}, figures_start, "nvme"),
    Measure("connections", {"gantry": ["adaptive"], "spdk": ["poll"]}, figures_connections, "nvme"),
    Measure("idle", {"gantry": ["interrupt", "adaptive"], "spdk": ["interrupt"]}, figures_idle, "nvme"),
    Measure("vhost", {"gantry": ["interrupt", "adaptive"], "spdk": ["interrupt"]}, figures_vhost, "vhost"),
]


# --- running ---------------------------------------------------------------------------------------------------------

def sides_of(args):
    """[(kind, path, arguments)]: this build first."""
    sides = [("gantry", args.build, "")]
    if args.peer:
        kind, path = args.peer.split("=", 1)
        sides.append((kind, path, args.peer_args))
    return sides


def run(args, measure):
    """{figure: [values of side A, values of side B]}"""
    sides, out = sides_of(args), {}
    for _ in range(args.n):
        for i, (kind, path, arguments) in enumerate(sides):
            for mode in measure.modes[kind]:
                with measured(kind)(path, arguments, case("cost", mode=mode, protocol=measure.protocol)) as target:
                    for figure, value in measure.figures(target, args).items():
                        out.setdefault(figure, [[] for _ in sides])[i].append(value)
    return out


def show(args, figure, values):
    medians = [statistics.median(v) if v else None for v in values]
    if args.json:
        print(json.dumps({"figure": figure, **dict(zip("ab", medians))}), flush=True)
        return
    text = f"{figure:<52}" + "".join(f"{'-' if m is None else format(m, '.3f'):>12}" for m in medians)
    if len(medians) > 1 and None not in medians and medians[1]:
        text += f"{medians[0] / medians[1]:>10.3f}"
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="*", help="start, connections, idle, vhost: only these")
    parser.add_argument("--build", default="build", help="Gantry's build tree (default: build)")
    parser.add_argument("--peer", help="KIND=PATH: spdk=DIR or gantry=BUILD")
    parser.add_argument("--peer-args", default="", help="more arguments for the peer's target")
    parser.add_argument("--connections", type=int, default=1000, help="idle connections (default 1000)")
    parser.add_argument("-n", type=int, default=3, help="repetitions (default 3)")
    parser.add_argument("-t", type=int, default=4, help="seconds of each measurement (default 4)")
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    args = parser.parse_args()
    if not args.json:
        cpus = cpus_of_this_machine()
        print(f"target on CPU {cpus[0]}, initiator on {(cpus[1:] or cpus)[0]}; {args.n} repetitions; "
              f"load {os.getloadavg()[0]:.1f}")
        print(f"{'':<52}{'A: gantry':>12}" + (f"{'B: ' + args.peer.split('=')[0]:>12}{'A/B':>10}" if args.peer else ""))
    for measure in MEASURES:
        if not args.pattern or any(p in measure.name for p in args.pattern):
            for figure, values in run(args, measure).items():
                show(args, figure, values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
