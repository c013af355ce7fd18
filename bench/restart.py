#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""How long a daemon with much in its state takes to answer after kill -9, and what a change costs there.

    bench/restart.py                        1,000 disks and 1,000 subsystems, each with a namespace and a listener
    bench/restart.py --disks 100 -n 5       fewer, restarted more often
    bench/restart.py --limit 1              status 1 when the median is above one second
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="Gantry's build tree (default: build)")
    parser.add_argument("--disks", type=int, default=1000, help="so many disks, and so many subsystems (default 1000)")
    parser.add_argument("--kind", choices=["null", "malloc"], default="null", help="of the disks (default null)")
    parser.add_argument("-n", type=int, default=3, help="restarts (default 3)")
    parser.add_argument("--limit", type=float, help="fail when the median is above so many seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    return parser.parse_args()


def nqn(n):
    return f"nqn.2026-01.io.gantry:bench{n}"


def fill(daemon, count, kind):
    """By calls, as it comes to be: seconds of each call."""
    from gantry import free_port
    port, times = free_port(), []

    def call(method, **params):
        began = time.monotonic()
        daemon.rpc(method, **params)
        times.append(time.monotonic() - began)
    call("nvmf_set_max_subsystems", max_subsystems=count + 1)
    daemon.rpc("framework_start_init")
    call("nvmf_create_transport", trtype="TCP")
    for n in range(count):
        call(f"bdev_{kind}_create", name=f"disk{n}", num_blocks=2048, block_size=512)
        call("nvmf_create_subsystem", nqn=nqn(n), serial_number=f"B{n}", allow_any_host=True, max_namespaces=2)
        call("nvmf_subsystem_add_ns", nqn=nqn(n), namespace={"bdev_name": f"disk{n}"})
        call("nvmf_subsystem_add_listener", nqn=nqn(n), listen_address=daemon.address(port))
    return times


def main():
    args = arguments()
    os.environ["GANTRY_BUILD"] = str(Path(args.build).resolve())
    sys.path[:0] = [str(HERE.parent / "tests" / "lib")]
    from gantry import Daemon
    from jsonrpc import Waiting
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as directory:
        keep = ["--state-dir", Path(directory) / "state"]
        first = Waiting(directory, *keep).start()
        times = fill(first, args.disks, args.kind)
        saved = first.rpc("save_config")
        first.kill()
        daemon, starts = Daemon(directory, *keep), []
        for _ in range(args.n):
            began = time.monotonic()
            daemon.start()
            starts.append(time.monotonic() - began)
            assert daemon.rpc("save_config") == saved, "what came back is something else"
            daemon.kill()
        size = (Path(directory) / "state" / "state").stat().st_size
    figures = {f"kill -9 to first RPC, {args.disks} disks and subsystems, ms": 1000 * statistics.median(starts),
               "the longest of them, ms": 1000 * max(starts),
               "a change among so many (the last 100), median ms": 1000 * statistics.median(times[-100:]),
               "a change at first (the first 100), median ms": 1000 * statistics.median(times[:100]),
               "state file, KiB": size / 1024}
    for figure, value in figures.items():
        print(json.dumps({"figure": figure, "value": value}) if args.json else f"{figure:<60}{value:>12.3f}")
    return 1 if args.limit and statistics.median(starts) > args.limit else 0


if __name__ == "__main__":
    sys.exit(main())
