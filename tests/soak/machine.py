#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""machine.py: a virtual machine that writes, reads back and compares its disks, while the daemon is killed, its queues
are moved, and the machine moves to another QEMU.

    tests/soak/machine.py                          ten minutes
    tests/soak/machine.py --seconds 36000 --seed 7 the seed chooses the events and their order
    GANTRY_SOAK_SECONDS=60 tests/soak/machine.py   the same by environment
    GANTRY_QEMU=/path/to/qemu tests/soak/machine.py  moves while the guest runs need one from 10.0 on
    tests/soak/machine.py --list                   the events

Disks are files, each served by two controllers, one for either end of a move. Whatever happens is a pause to the guest:
an error, a wrong byte, a missing write, or no progress ends the run with the seed, the event, the guest's console and
the daemon's log.
"""
import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "interop")]

from gantry import Daemon, RpcError, cpus                       # noqa: E402
from migrant import Migrant, moves_live                         # noqa: E402
from vhost_guest import blk, scsi                               # noqa: E402

MIB = 64
DISKS = {"split": {"queues": 1}, "queues": {"queues": 2}, "packed": {"queues": 2, "packed": True},
         "small": {"queues": 2, "packed": True, "size": 16}}
SCSI = {"scsi": {"queues": 2, "reconnect": True}}  # with a QEMU that can connect it again
RSS_GROWTH_KIB = 96 * 1024
FD_GROWTH = 32


class House:
    """The daemon, and the machine that lives on its disks."""

    def __init__(self, directory, seed):
        self.directory, self.dice = Path(directory), random.Random(seed)
        self.sockets = self.directory / "vhost"
        self.sockets.mkdir()
        self.daemon = Daemon(self.directory, "-S", self.sockets, "-m", cpus(2))
        (self.directory / "guest").mkdir()
        self.guest = Migrant(self.directory / "guest")
        self.end, self.events, self.counts, self.base = 0, 0, {}, None
        self.scsi = SCSI if moves_live() else {}

    def serve(self):
        self.daemon.start()
        for name in [*DISKS, *self.scsi]:
            image = self.directory / f"{name}.img"
            with open(image, "ab") as f:
                f.truncate(MIB << 20)
            self.daemon.rpc("bdev_aio_create", name=name, filename=str(image), block_size=512)
            for end in (0, 1):
                self.serve_disk(name, f"{name}.{end}")

    def serve_disk(self, name, ctrlr):
        if name in DISKS:
            self.daemon.rpc("vhost_create_blk_controller", ctrlr=ctrlr, dev_name=name)
            return
        self.daemon.rpc("vhost_create_scsi_controller", ctrlr=ctrlr)
        self.daemon.rpc("vhost_scsi_controller_add_target", ctrlr=ctrlr, scsi_target_num=0, bdev_name=name)

    def devices(self):
        return [kind(name, self.sockets / f"{name}.{self.end}", **row)
                for kind, rows in ((blk, DISKS), (scsi, self.scsi)) for name, row in rows.items()]

    def start(self):
        self.serve()
        self.guest.__enter__()
        self.guest.start(self.devices())
        self.guest.gets_on()

    # --- what happens ---

    def kill(self):
        """the daemon is killed and started again"""
        self.daemon.kill()
        time.sleep(self.dice.choice([0, 0, self.dice.random() * 5]))
        self.serve()
        self.base = None

    def kill_twice(self):
        """the daemon is killed again while the machine comes back to it"""
        for _ in range(2):
            self.kill()
            time.sleep(self.dice.random() * 1.5)

    def move_queues(self):
        """queues go from core to core"""
        for _ in range(20):
            for ctrlr in self.daemon.rpc("vhost_get_controllers"):
                for session in ctrlr["sessions"]:
                    for queue in session["queues"]:
                        try:
                            self.daemon.rpc("vhost_move_queue", ctrlr=ctrlr["ctrlr"], id=session["id"],
                                            queue=queue["queue"], reactor=self.dice.randrange(2), pinned=False)
                        except RpcError:
                            pass            # its I/O takes long, or it is on its way already

    def coalesce(self):
        """interrupts come later, or at once"""
        for ctrlr in self.daemon.rpc("vhost_get_controllers"):
            self.daemon.rpc("vhost_controller_set_coalescing", ctrlr=ctrlr["ctrlr"],
                            delay_base_us=self.dice.choice([0, 50, 1000]), iops_threshold=self.dice.choice([0, 500]))

    def migrate(self):
        """the machine moves to another QEMU"""
        self.end = 1 - self.end
        self.guest.move(self.devices())

    def stop(self):
        """the machine stands still for a while, then goes on"""
        self.guest.machine.qmp("stop")
        time.sleep(self.dice.random())
        self.guest.machine.qmp("cont")

    EVENTS = ((kill, 6), (kill_twice, 2), (move_queues, 4), (coalesce, 2), (migrate, 3), (stop, 2))

    # --- and what must hold ---

    def check(self):
        self.daemon.check_alive()
        self.daemon.check_log()
        self.guest.gets_on(self.dice.choice([1, 1, 3]))
        now = self.daemon.rss_kib(), self.daemon.fd_count()
        self.base = self.base or now
        assert self.daemon.is_sanitized or now[0] < self.base[0] + RSS_GROWTH_KIB, f"{self.base[0]} KiB became {now[0]}"
        assert now[1] < self.base[1] + FD_GROWTH, f"{self.base[1]} descriptors became {now[1]}"

    def run(self, seconds):
        self.start()
        end, say = time.monotonic() + seconds, time.monotonic() + 60
        functions, weights = zip(*self.EVENTS)
        while time.monotonic() < end:
            event = self.dice.choices(functions, weights)[0]
            self.events += 1
            self.counts[event.__name__] = self.counts.get(event.__name__, 0) + 1
            event(self)
            self.check()
            if time.monotonic() > say:
                say += 60
                print(self.summary(), flush=True)
        self.guest.__exit__()
        self.daemon.stop()

    def close(self):
        self.guest.__exit__()
        self.daemon.kill()

    def summary(self):
        return f"{self.events} events ({', '.join(f'{n} {name}' for name, n in sorted(self.counts.items()))})"


def main():
    parser = argparse.ArgumentParser(description="A virtual machine whose disks' daemon is killed, and that moves.")
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("GANTRY_SOAK_SECONDS", "600")))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--list", action="store_true", help="name the events")
    args = parser.parse_args()
    if args.list:
        for event, weight in House.EVENTS:
            print(f"{event.__name__:<12} {weight:>3}  {event.__doc__}")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        house = House(directory, args.seed)
        print(f"seed {args.seed}, for {args.seconds:g} s", flush=True)
        try:
            house.run(args.seconds)
        except (AssertionError, RpcError, OSError) as wrong:
            print(f"{house.summary()}\n{house.daemon.log_tail(60)}\nWRONG (seed {args.seed}): {wrong}")
            return 1
        finally:
            house.close()
        print(house.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
