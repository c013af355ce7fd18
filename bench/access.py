#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What host lists, namespaces that only some hosts see, and reservations cost each I/O: instructions in user space of
one read or write of 4 KiB through the target's core to a null device, counted by callgrind (package valgrind), so that
what else the machine does does not matter.

    bench/access.py [--build build] [--limit PERCENT]     with --limit: fails when a row costs more than that
"""
import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FEW, MANY = 1000, 5000
# rows, and what is in force
ROWS = {"plain": "any host may come, and sees all",
        "hosts": "1,001 hosts in the list",
        "visibility": "that, and the namespace is this host's alone",
        "registered": "1,001 hosts, this one has registered a key",
        "exclusive": "that, and holds Exclusive Access",
        "all_registrants": "that, as Exclusive Access - All Registrants"}


def instructions(program, what, count):
    said = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, what, str(count)],
                          capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", said.stderr)
    if said.returncode or not found:
        sys.exit(f"{program} {what} under valgrind: {said.stderr[-500:]}")
    return int(found[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="build directory")
    parser.add_argument("--limit", type=float, help="per cent")
    args = parser.parse_args()
    program = args.build / "src/nvmf/micro_access"
    plain, worst = None, 0.0
    for what, text in ROWS.items():
        each = (instructions(program, what, MANY) - instructions(program, what, FEW)) / (MANY - FEW)
        plain = plain or each
        worst = max(worst, each / plain - 1)
        print(f"{text:50} {each:8.0f} instructions an I/O, {each - plain:+6.0f} ({each / plain - 1:+.1%})", flush=True)
    if args.limit is not None and worst * 100 > args.limit:
        sys.exit(f"the dearest row costs {worst:.1%} more than none of it")


if __name__ == "__main__":
    main()
