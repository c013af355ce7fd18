#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What dead remote controllers cost those that live, and how soon a remote disk is there, or there again.

    bench/isolation.py                                  this build alone
    bench/isolation.py --peer spdk=/path/to/spdk        beside SPDK's nvmf_tgt built there, as the same gateway
    bench/isolation.py failover attach                  figures whose name contains one of these

A gateway with remote disks on the first CPU this process may use, their target on the second, the load on the last.
Each repetition measures quiet and disturbed one after the other; medians are printed, with the smallest and largest.
Dead are, in turn, an address that drops SYNs, a closed port, a peer that says nothing, and one that ends the connection
at a step of its own.
Fails when a callback of the gateway used more than 1 ms of CPU time while there were dead ones.
SPDK: --peer-args '--no-huge -s 512 -u' where there are no hugepages.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEAD, DEAD_ATTACHES = 64, 8
CALLBACK_CPU_MS = 1         # what no callback may use more of, whatever the dead do
SENDS = "tcp_send"          # of the load itself: on loopback it works off whatever packets the kernel has
TOO_LONG = []
PAUSE_S = 0.5               # between two attempts of one dead controller
LINKS = {"multipath": "multipath", "ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="*", help="healthy, rpc, attach, failover: only these")
    parser.add_argument("--build", default="build", help="Gantry's build tree (default: build)")
    parser.add_argument("--peer", help="spdk=DIR: another gateway")
    parser.add_argument("--peer-args", default="--no-huge -s 512 -u", help="more arguments for it")
    parser.add_argument("-n", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument("-t", type=int, default=4, help="seconds of each measurement (default 4)")
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    return parser.parse_args()


ARGS = arguments()
os.environ["GANTRY_BUILD"] = str(Path(ARGS.build).resolve())
sys.path[:0] = [str(HERE.parent / "tests" / "lib")]
import bad_ways as ways                                                     # noqa: E402
from bad_scripts import BY_STEP                                             # noqa: E402
from bad_target import BadTarget                                            # noqa: E402
from black_hole import BlackHole                                            # noqa: E402
from gantry import NQN, Daemon, RpcError, free_port, wait_until             # noqa: E402
from load import perf_command                                               # noqa: E402
from nvme_tcp import IO_READ, Host, rw                                      # noqa: E402
from attached import Beside, attach, controllers, detach, longest_callbacks, longest_cpu, serve, where  # noqa: E402

CPUS = sorted(os.sched_getaffinity(0))


# --- who takes part ----------------------------------------------------------------------------------------------

@contextmanager
def running(name, cpu, peer=None):
    """A daemon of ours, or the peer's."""
    with tempfile.TemporaryDirectory(prefix=f"gantry-bench-{name}-") as directory:
        core = ["-m", f"[{CPUS[cpu % len(CPUS)]}]"]
        if peer:
            os.environ["GANTRYD"] = str(Path(peer) / "build/bin/nvmf_tgt")
            core += [*ARGS.peer_args.split(), "--disable-cpumask-locks"]
        try:
            with Daemon(directory, *core) as daemon:
                os.environ.pop("GANTRYD", None)
                yield daemon
        finally:
            os.environ.pop("GANTRYD", None)


class Nowhere:
    address, nqn = "127.0.0.1", NQN

    def __init__(self):
        self.port = free_port()


class Dead:
    """So many that are attached again and again, and never are; `kinds` 1: only to the address that drops SYNs."""

    def __init__(self, daemon, count, kinds=4):
        self.daemon, self.count, self.kinds = daemon, count, kinds
        self.ended, self.tries, self.stack = threading.Event(), 0, ExitStack()

    def __enter__(self):
        os.sched_setaffinity(0, CPUS[1:-1] or CPUS)         # threads and targets of ours: not where it is measured
        try:
            return self.start()
        finally:
            os.sched_setaffinity(0, CPUS)

    def start(self):
        steps = [s for s in BY_STEP if not s.endswith("_io")]
        kinds = [self.stack.enter_context(BlackHole()), Nowhere(),
                 self.stack.enter_context(BadTarget().on("accept", ways.silence))]
        dying = [self.stack.enter_context(BadTarget().on(step, ways.rst)) for step in steps]
        self.threads = []
        for n in range(self.count):
            target = [*kinds, dying[n // 4 % len(dying)]][n % self.kinds]
            self.threads.append(threading.Thread(target=self.run, args=(target, f"dead{n}"), daemon=True))
            self.threads[-1].start()
        return self

    def run(self, target, name):
        while not self.ended.is_set():
            try:
                attach(self.daemon, target, name, ctrlr_loss_timeout_sec=0)
            except (RpcError, OSError):
                pass
            self.tries += 1
            self.ended.wait(PAUSE_S)

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        self.stack.close()


def load(served, **options):
    """One round of gantry-perf; its result."""
    import subprocess
    done = subprocess.run(perf_command(served, rate=0, seconds=ARGS.t, **options), capture_output=True, text=True,
                          timeout=ARGS.t + 60, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


# --- the figures: {name: [values]} of one gateway ----------------------------------------------------------------

def figures_healthy(peer, out):
    """A healthy controller's latency, alone and beside the dead."""
    with running("far", 1) as far, running("near", 0, peer) as daemon:
        served = serve(daemon, attach(daemon, far.serve(far.malloc("disk")), "healthy"))
        before = {} if peer else longest_cpu(daemon)        # starting has its own
        for _ in range(ARGS.n):
            quiet = load(served, depth=8, pattern="randread", qpairs=1)["latency_us"]
            with Dead(daemon, DEAD) as dead:
                time.sleep(1)
                disturbed = load(served, depth=8, pattern="randread", qpairs=1)["latency_us"]
            for p in ("p50", "p99", "p99.9"):
                out(f"healthy, {p} alone, us", quiet[p])
                out(f"healthy, {p} beside {DEAD} dead / alone", disturbed[p] / quiet[p])
            out("attempts of the dead, a second", dead.tries / (ARGS.t + 1))
        if not peer:
            for name, (ms, what) in longest_callbacks(daemon).items():
                out(f"longest callback of {name} ({what}), ms by the clock", ms)
            for name, (ms, what) in longest_cpu(daemon).items():
                out(f"longest callback of {name} ({what}), ms of CPU time", ms)
                if not what.startswith(SENDS) and ms > max(CALLBACK_CPU_MS, before[name][0]):
                    TOO_LONG.append(f"{what} of {name} used {ms:.2f} ms of CPU time; {CALLBACK_CPU_MS} is the most")


def figures_rpc(peer, out):
    """Another RPC's time, alone and beside attaches to an address that drops SYNs."""
    with running("near", 0, peer) as daemon:
        daemon.malloc("disk")
        for _ in range(ARGS.n):
            with Beside(daemon, every_s=0.0005) as quiet:
                time.sleep(ARGS.t)
            with Dead(daemon, DEAD_ATTACHES, kinds=1), Beside(daemon, every_s=0.0005) as disturbed:
                time.sleep(ARGS.t)
            for p in (0.5, 0.99, 0.999):
                out(f"rpc, p{p * 100:g} alone, ms", percentile(quiet.times, p) * 1000)
                out(f"rpc, p{p * 100:g} beside {DEAD_ATTACHES} dead attaches, ms",
                    percentile(disturbed.times, p) * 1000)
            out(f"rpc, longest beside {DEAD_ATTACHES} dead attaches, ms", max(disturbed.times) * 1000)


def figures_attach(peer, out):
    """From the call of attach to the end of the first read."""
    with running("far", 1) as far, running("near", 0, peer) as daemon:
        remote = far.serve(far.malloc("disk"), discovery=False)
        front = serve(daemon, daemon.malloc("first", mib=1))
        with Host(front.port, front.nqn) as host:
            for _ in range(ARGS.n * 4):
                began = time.monotonic()
                disk = attach(daemon, remote, "r")
                attached = time.monotonic()
                daemon.rpc("nvmf_subsystem_add_ns", nqn=front.nqn, namespace={"bdev_name": disk, "nsid": 2})
                while host.io.command(rw(IO_READ, 0, 8, nsid=2), expect=4096).status:
                    pass
                ended = time.monotonic()
                daemon.rpc("nvmf_subsystem_remove_ns", nqn=front.nqn, nsid=2)
                detach(daemon, "r")
                out("attach, ms", (attached - began) * 1000)
                out("attach to first I/O (with the namespace's export), ms", (ended - began) * 1000)


def figures_failover(peer, out):
    """Reads in flight on a path that is reset, until they have come over the other."""
    with running("near", 0, peer) as daemon, BadTarget() as a, BadTarget(a.disks) as b:
        disk = attach(daemon, a, "r", **LINKS)
        daemon.rpc("bdev_nvme_attach_controller", name="r", **where(b, **LINKS))
        front = serve(daemon, disk)
        with Host(front.port, front.nqn) as host:
            host.io.sock.settimeout(60)
            for n in range(ARGS.n * 4):
                before = [t.seen["read"] for t in (a, b)]
                assert host.io.command(rw(IO_READ, 0, 8), expect=4096).status == 0
                first = a if a.seen["read"] > before[0] else b
                ignored = first.seen["ignored"]
                first.on("read", ways.ignore)
                cids = [host.io.submit(rw(IO_READ, n * 8, 8), expect=4096) for n in range(8)]
                wait_until(lambda: first.seen["ignored"] == ignored + 8, "reads to be out")     # pylint: disable=W0640
                began = time.monotonic()
                first.stop()
                assert all(host.io.wait(cid).status == 0 for cid in cids)
                out("failover of 8 reads after RST, ms", (time.monotonic() - began) * 1000)
                first.good()
                first.start()
                wait_until(lambda: all(c["state"] == "enabled" for c in controllers(daemon, "r")), "both paths", 60)


MEASURES = {"healthy": figures_healthy, "rpc": figures_rpc, "attach": figures_attach, "failover": figures_failover}


def main():
    sides = [("gantry", None)] + ([tuple(ARGS.peer.split("=", 1))] if ARGS.peer else [])
    if not ARGS.json:
        print(f"{ARGS.n} repetitions of {ARGS.t} s; CPUs {CPUS}; load {os.getloadavg()[0]:.1f}")
    for name, figures in MEASURES.items():
        if ARGS.pattern and not any(p in name for p in ARGS.pattern):
            continue
        for side, path in sides:
            values = {}
            figures(path, lambda figure, value: values.setdefault(figure, []).append(value))    # pylint: disable=W0640
            for figure, v in values.items():
                if ARGS.json:
                    print(json.dumps({"side": side, "figure": figure, "value": statistics.median(v)}), flush=True)
                else:
                    print(f"{side:<8}{figure:<66}{statistics.median(v):>10.3f}  {min(v):.3f} to {max(v):.3f}",
                          flush=True)
    for line in TOO_LONG:
        print(line, file=sys.stderr)
    return 1 if TOO_LONG else 0


if __name__ == "__main__":
    sys.exit(main())
