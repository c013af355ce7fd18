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
gantry-perf against the one that --initiator names. Every repetition measures A and B one after the other; a ratio is
the median of the repetitions' ratios. Machines differ and drift: quote ratios. SPDK wants hugepages: reserve them first
(echo 600 > /proc/sys/vm/nr_hugepages), or give --peer-args '--no-huge -s 1024'.
"""
import argparse
import json
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cases import CASES                       # noqa: E402
from targets import TARGETS, Initiator, Target, cpus_of_this_machine  # noqa: E402


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
    parser.add_argument("-n", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument("-t", type=int, default=4, help="seconds of each measurement (default 4)")
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
    if case.against == "unchecked":
        return ours, TARGETS["gantry"](args.build, "", case._replace(metadata="PRACT=0"))
    if case.against:                          # our own other mode
        return ours, TARGETS["gantry"](args.build, "", case._replace(mode=case.against))
    if not args.peer:
        return ours, None
    kind, path = args.peer.split("=", 1)
    return ours, TARGETS[kind](path, args.peer_args, case._replace(disk=case.peer_disk))


def measure(target, initiators, case, seconds):
    """One figure of one side: starts the target, loads it, stops it. On a machine that does other things an initiator
    may give up connecting: then again."""
    target.seconds = seconds
    for tries_left in (2, 1, 0):
        try:
            with target:
                return initiators.run(target, case, seconds)
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
    a_side, b_side = sides_of(args, case)
    a_initiator, b_initiator = initiators_of(args, case)
    a_values, b_values, ratios = [], [], []
    for _ in range(args.n):
        a_values.append(figure(measure(a_side, a_initiator, case, args.t), case.metric))
        if b_side:
            b_values.append(figure(measure(b_side, b_initiator, case, args.t), case.metric))
            ratios.append(a_values[-1] / b_values[-1] if b_values[-1] else float("inf"))
    row = {"case": case.name, "metric": case.metric, "a": statistics.median(a_values), "a_all": a_values}
    if b_side:
        row.update(b=statistics.median(b_values), b_all=b_values, ratio=statistics.median(ratios),
                   ratio_min=min(ratios), ratio_max=max(ratios), goal=goal_of(args, case))
    return row


def print_row(row):
    goal = row.get("goal")
    text = f"{row['case']:<44} {row['a']:>12.1f}"
    if "b" in row:
        text += f" {row['b']:>12.1f} {row['ratio']:>7.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
        if goal:
            sign, value = goal
            met = row["ratio"] >= value if sign == ">=" else row["ratio"] <= value
            text += f"  goal {sign} {value}: {'met' if met else 'MISSED'}"
    print(text, flush=True)


def main():
    args = parse_arguments()
    Target.fake_verbs = (Path(args.build) / "bench/fake_verbs").resolve()
    cases = [c for c in CASES if not args.pattern or any(p in c.name for p in args.pattern)]
    if args.list:
        for case in cases:
            print(f"{case.name:<44} {case.metric}")
        return 0
    cases = [c for c in cases if (c.against and c.against != "initiator") or args.peer or args.pattern]
    cpus = cpus_of_this_machine()
    if not args.json:
        print(f"target on CPU {cpus[0]}, initiators on {cpus[1:] or cpus}; {args.n} repetitions of {args.t} s; "
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
