#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measure gantryd against peers, alternating, and print medians and ratios.

    make bench                                    gantryd alone: its own modes against each other
    bench/bench.py --peer spdk=/path/to/spdk      against SPDK's nvmf_tgt built there
    bench/bench.py --peer gantry=/other/build     against another build of Gantry
    bench/bench.py --peer tgt=/usr iscsi          against tgtd, or istgt=/usr: over iSCSI
    bench/bench.py --peer qsd=/usr vhost          against qemu-storage-daemon: over vhost-user
    bench/bench.py --peer spdk=DIR rdma           both on the fake rdma-core of bench/fake_verbs (SPDK --with-rdma)
    bench/bench.py --list                         the cases
    bench/bench.py --peer ... -n 5 -t 5 rand      cases whose name contains "rand"

The target has one core of its own, each initiator another; the initiator is gantry-perf, or spdk_nvme_perf (over
vhost-user bdevperf) with --initiator spdk=/path. The cases called "host: ..." turn that round: one target, and
gantry-perf against the one that --initiator names.

Both targets are started (and their RAM disks filled) once for a case and measured in turn, -t seconds each; the other
one stands still. Hosts of virtual machines move CPUs: right before and after each sample build/bench/micro_line tells
how far the target's CPU is from the initiators', near (below 150 ns) or far. Two samples make a pair when all of that
agrees, and neither target had to wait for its CPU for a fifth of the time; -n such pairs are wanted, and for each at
most three samples of either side are taken. A ratio is the median of the pairs' ratios; behind it are the smallest and
the largest, below it how many pairs there were, near and far (mixed: one initiator is near, one far) with their own
medians, and how many samples were left out. Machines differ and drift: quote ratios.

SPDK wants hugepages: reserve them first (echo 900 > /proc/sys/vm/nr_hugepages), or give
--peer-args '--no-huge -s 1024'.
"""
import argparse
import atexit
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cases import CASES                       # noqa: E402
from pairs import Line, Pairs, Sample, sentence  # noqa: E402
from targets import TARGETS, Initiator, Target, cpus_between, cpus_of_this_machine  # noqa: E402

REAL_TIME = 20  # of 1 to 99


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="*", help="only cases whose name contains one of these")
    parser.add_argument("--build", default="build", help="Gantry's build tree (default: build)")
    parser.add_argument("--peer", help="KIND=PATH: spdk=DIR, gantry=BUILD, tgt=PREFIX, istgt=PREFIX or qsd=PREFIX")
    parser.add_argument("--peer-args", default="", help="more arguments for the peer's target")
    parser.add_argument("--initiator", default=None,
                        help="spdk=DIR: use its spdk_nvme_perf or bdevperf for both sides (\"host\" cases: for B)")
    parser.add_argument("--call", action="append", default=[], metavar="METHOD[=JSON]",
                        help="call this on A only, when its disk (\"disk\") is there: what does it cost?")
    parser.add_argument("-n", type=int, default=5, help="pairs of samples that agree (default 5)")
    parser.add_argument("-t", type=int, default=2, help="seconds of each sample (default 2)")
    parser.add_argument("--priority", metavar="NICE|rt",
                        help="of all that is started, on a machine that does other things: a nice value such as -10, "
                             "or real time")
    parser.add_argument("--json", action="store_true", help="one JSON object a case")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    return parser.parse_args()


def sides_of(args, case):
    """The two targets a case compares: A is always this build, and so is the fake rdma-core of both."""
    ours = TARGETS["gantry"](args.build, "", case)
    ours.calls = [(method, json.loads(params or "{}")) for method, _, params in (c.partition("=") for c in args.call)]
    if case.against == "initiator":
        return ours, TARGETS["gantry"](args.build, "", case)
    if case.against == "one core":
        return ours, TARGETS["gantry"](args.build, "", case._replace(target_cores=1))
    if case.against == "plain":
        return ours, TARGETS["gantry"](args.build, "", case._replace(tls=False))
    if case.against == "split":
        return ours, TARGETS["gantry"](args.build, "", case._replace(packed=False))
    if case.against == "unchecked":
        return ours, TARGETS["gantry"](args.build, "", case._replace(metadata="PRACT=0"))
    if case.against:                          # our own other mode
        return ours, TARGETS["gantry"](args.build, "", case._replace(mode=case.against))
    if not args.peer:
        return ours, None
    kind, path = args.peer.split("=", 1)
    return ours, TARGETS[kind](path, args.peer_args, case._replace(disk=case.peer_disk))


class Side:
    """One of the two that a case compares. Its target is started once, and stands still except for its samples; over
    RDMA, where the host is within the target, once for each of them."""

    def __init__(self, target, initiator, case, seconds):
        self.target, self.initiator, self.case, self.seconds = target, initiator, case, seconds
        self.target.seconds = seconds
        self.once = case.protocol != "rdma"

    def __enter__(self):
        if self.once:
            again(self.target.__enter__)
            try:
                self.initiator.fill(self.target, self.case)
            except BaseException:
                self.target.__exit__()
                raise
            self.target.stand_still()
        return self

    def __exit__(self, *_):
        if self.once:
            self.target.__exit__()

    def result(self):
        return again(self.run if self.once else self.run_anew)

    def run(self):
        self.target.go_on()
        try:
            return self.initiator.run(self.target, self.case, self.seconds)
        finally:
            self.target.stand_still()

    def run_anew(self):
        with self.target:
            return self.initiator.run(self.target, self.case, self.seconds)


def again(what):
    """On a machine that does other things an initiator may give up connecting: then again."""
    for tries_left in (2, 1, 0):
        try:
            return what()
        except RuntimeError:
            if not tries_left:
                raise


def figure(result, metric):
    return {"iops": result["iops"], "latency": result["latency_us"], "p50": result["p50_us"],
            "cpu_per_io": result["target_cpu_us_per_io"], "host_cpu_per_io": result["host_cpu_us_per_io"],
            "own_ns": result.get("target_own_ns_per_io")}[metric]


def goal_of(args, case):
    if isinstance(case.goal, dict):
        return case.goal.get((args.peer or "").split("=")[0])
    return case.goal


def initiators_of(args, case):
    """Those of A and B: the same, but where they are what is compared."""
    ours, named = Initiator(f"gantry={args.build}"), Initiator(args.initiator or f"gantry={args.build}")
    return (ours, named) if case.against == "initiator" else (named, named)


def run_case(args, case):
    targets, initiators = sides_of(args, case), initiators_of(args, case)
    line = Line(Path(args.build) / "bench/micro_line", cpus_between(case))
    with ExitStack() as started:
        sides = {name: started.enter_context(Side(target, initiator, case, args.t))
                 for name, target, initiator in zip("ab", targets, initiators) if target}
        pairs = Pairs(args.n, "".join(sides))
        while not pairs.complete():
            name = pairs.next_side()
            before = line.settle(pairs.states_wanted(name))
            result = sides[name].result()
            pairs.add(Sample(name, figure(result, case.metric), before, line.state(), result.get("target_waited", 0)))
    return {"case": case.name, "metric": case.metric, "goal": goal_of(args, case) if "b" in sides else None,
            **pairs.row()}


def print_row(row):
    goal = row.get("goal")
    text = f"{row['case']:<44} {row['a']:>12.1f}"
    if "b" in row:
        text += f" {row['b']:>12.1f} {row['ratio']:>7.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
        if goal:
            sign, value = goal
            met = row["ratio"] >= value if sign == ">=" else row["ratio"] <= value
            text += f"  goal {sign} {value:.2f}: {'met' if met else 'MISSED'}"
    print(f"{text}\n{'':<6}{sentence(row)}", flush=True)


def set_priority(text):
    """Of this process and all it starts; where the kernel shares CPUs out by sessions, of the session."""
    if text == "rt":
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REAL_TIME))
        return
    os.setpriority(os.PRIO_PROCESS, 0, int(text))
    group = Path("/proc/self/autogroup")
    if group.exists():
        before = group.read_text().split()[-1]
        group.write_text(text)
        atexit.register(group.write_text, before)


def main():
    args = parse_arguments()
    Target.fake_verbs = (Path(args.build) / "bench/fake_verbs").resolve()
    cases = [c for c in CASES if not args.pattern or any(p in c.name for p in args.pattern)]
    if args.list:
        for case in cases:
            print(f"{case.name:<44} {case.metric}")
        return 0
    cases = [c for c in cases if (c.against and c.against != "initiator") or args.peer or args.pattern]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))   # and with it what was started
    if args.priority:
        set_priority(args.priority)
    cpus = cpus_of_this_machine()
    if not args.json:
        print(f"target on CPU {cpus[0]}, initiators on {cpus[1:] or cpus}; {args.n} pairs of {args.t} s; "
              f"load {os.getloadavg()[0]:.1f}")
        other = (args.peer or args.initiator or "own").split("=")[0]
        print(f"{'case':<44} {'A: gantry':>12} {'B: ' + other:>12}  A/B (min to max)")
    for case in cases:
        row = run_case(args, case)
        if args.json:
            print(json.dumps(row), flush=True)
        else:
            print_row(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
