#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""spdk_vhost.py: SPDK's vhost_fuzz, and its initiator (bdev_virtio in bdevperf, verifying), against the daemon.

    tests/soak/spdk_vhost.py DIR                    DIR: SPDK, built with --with-vhost --with-virtio
    tests/soak/spdk_vhost.py DIR --seconds 600      of each part
    tests/soak/spdk_vhost.py DIR --huge-dir /dev/hugepages --cpus 2-3

They want some 300 hugepages of 2 MiB (echo 300 > /proc/sys/vm/nr_hugepages; mount -t hugetlbfs nodev DIRECTORY).
After each part the daemon has to be there, and to serve who behaves; a sanitizer's word in its log counts as an end.
GANTRY_BUILD names the build, as for all tests.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "lib"))

from gantry import Daemon, wait_until                           # noqa: E402
from virtio_blk import Blk                                      # noqa: E402

MIB = 64
# Controllers, and how vhost_fuzz takes them
FUZZED = {"disk": ["-b", "-v"], "host": ["-l", "-v"], "tasks": ["-v", "-m"]}


class Trial:
    def __init__(self, directory, args):
        self.directory, self.args = directory, args
        self.daemon = Daemon(directory, "-S", directory)
        self.eal = ["-g", "-u", "--disable-cpumask-locks", "--huge-dir", args.huge_dir, "-m", f"[{args.cpus}]"]

    def start(self):
        self.daemon.start()
        for name in ("disk", "host", "tasks"):
            self.daemon.malloc(f"of-{name}", mib=MIB)
        self.daemon.rpc("vhost_create_blk_controller", ctrlr="disk", dev_name="of-disk")
        for name in ("host", "tasks"):
            self.daemon.rpc("vhost_create_scsi_controller", ctrlr=name)
            self.daemon.rpc("vhost_scsi_controller_add_target", ctrlr=name, scsi_target_num=0, bdev_name=f"of-{name}")

    def still_serves(self):
        self.daemon.check_alive()
        self.daemon.check_log()
        data = os.urandom(4096)
        with Blk(self.directory / "disk") as disk:
            disk.write(0, data)
            assert disk.read(0, 4096) == data

    def run(self, name, program, *arguments, before=None):
        """What it said, when it has ended well."""
        log = self.directory / f"{name}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen([self.args.spdk / program, *map(str, arguments), *self.eal], stdout=out,
                                       stderr=subprocess.STDOUT, cwd=self.directory)
        try:
            if before:
                before()
            rc = process.wait(self.args.seconds + 120)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        said = log.read_text(errors="replace")
        assert rc == 0, f"{name} ended with {rc}: {said[-3000:]}"
        self.still_serves()
        return said

    def fuzz(self, name, *arguments):
        socket = self.directory / f"{name}.rpc"

        def devices():
            wait_until(socket.exists, "vhost_fuzz to start", 60)
            python = {**os.environ, "PYTHONPATH": str(self.args.spdk / "python")}
            rpc = [sys.executable, self.args.spdk / "test/app/fuzz/common/fuzz_rpc.py", "-s", socket]
            for ctrlr, how in FUZZED.items():
                subprocess.run([*rpc, "fuzz_vhost_create_dev", "-s", self.directory / ctrlr, *how], env=python,
                               check=True)
            rpc[1] = self.args.spdk / "scripts/rpc.py"
            subprocess.run([*rpc, "framework_start_init"], env=python, check=True)
        said = self.run(name, "test/app/fuzz/vhost_fuzz/vhost_fuzz", "-r", socket, "-s", 256, "--wait-for-rpc",
                        *arguments, before=devices)
        figures = [line for line in said.splitlines() if "Completed I/O" in line]
        print("\n".join(figures))
        assert len(figures) == len(FUZZED), said[-2000:]
        assert all(int(line.split("Completed I/O: ")[1].split(",")[0]) for line in figures), figures

    def verify(self, kind, ctrlr):
        config = self.directory / f"{kind}.json"
        disk = {"name": "Virtio0", "dev_type": kind, "trtype": "user", "traddr": str(self.directory / ctrlr),
                "vq_count": 3 if kind == "scsi" else 1, "vq_size": 128}
        config.write_text(json.dumps({"subsystems": [{"subsystem": "bdev", "config": [
            {"method": "bdev_virtio_attach_controller", "params": disk}, {"method": "bdev_wait_for_examine"}]}]}))
        for size, depth in ((4096, 64), (65536, 16), (1 << 20, 4)):
            said = self.run(f"{kind}-{size}", "build/examples/bdevperf", "-r", self.directory / f"{kind}.rpc",
                            "-s", 512, "--json", config, "-q", depth, "-o", size, "-w", "verify",
                            "-t", self.args.seconds // 3 or 1)
            (total,) = [line for line in said.splitlines() if line.strip().startswith("Total")]
            print(f"{kind}, {size} bytes:{total}")
            iops, fails = float(total.split()[2]), float(total.split()[4])
            assert iops and not fails and "ERROR" not in said, said[-3000:]


def main():
    parser = argparse.ArgumentParser(description="SPDK's vhost_fuzz and initiator against the daemon.")
    parser.add_argument("spdk", type=Path, help="SPDK's directory, built")
    parser.add_argument("--seconds", type=int, default=30, help="of each part")
    parser.add_argument("--huge-dir", default="/dev/hugepages")
    parser.add_argument("--cpus", default="2", help="for SPDK's programs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        trial = Trial(Path(directory), args)
        trial.start()
        try:
            trial.verify("blk", "disk")
            trial.verify("scsi", "host")
            trial.fuzz("fuzz", "-t", args.seconds)
            trial.fuzz("example", "-j", args.spdk / "test/app/fuzz/vhost_fuzz/example.json")
        except BaseException:
            print(trial.daemon.log_tail(), file=sys.stderr)
            trial.daemon.kill()
            raise
        trial.daemon.stop()
    print("the daemon held")


if __name__ == "__main__":
    main()
