#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""machine.py: a virtual machine that writes, reads back and compares its disks, while the daemon is killed, its queues
are moved, disks come and go, and the machine moves to another QEMU.

    tests/soak/machine.py                          ten minutes
    tests/soak/machine.py --seconds 36000 --seed 7 the seed chooses the events and their order
    GANTRY_SOAK_SECONDS=60 tests/soak/machine.py   the same by environment
    GANTRY_QEMU=/path/to/qemu tests/soak/machine.py  moves while the guest runs need one from 10.0 on
    tests/soak/machine.py --list                   the events

Disks are files, each served by two controllers, one for either end of a move. Whatever happens is a pause to the guest:
an error, a wrong byte, a missing write, or no progress ends the run with the seed, the event, the guest's console and
the daemon's log.
"""
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "lib"), str(TESTS / "interop")]

from events import Events, main                                 # noqa: E402
from gantry import RpcError                                     # noqa: E402
from migrant import LATE_MIB, SLOW_S, Migrant, TwoEnds, moves_live # noqa: E402
from vhost_guest import blk, plug, scsi, unplug                 # noqa: E402

DISKS = {"split": (blk, {"queues": 1}), "queues": (blk, {"queues": 2}), "packed": (blk, {"queues": 2, "packed": True}),
         "small": (blk, {"queues": 2, "packed": True, "size": 16})}
SCSI = {"scsi": (scsi, {"queues": 2, "reconnect": True})}  # with a QEMU that can connect it again
RSS_GROWTH_KIB = 8 * 1024      # its own: tasks of queues as they fill; the guest's memory, once touched, is RssShmem
FD_GROWTH = 32


class House(Events):
    """The daemon, and the machine that lives on its disks."""

    def __init__(self, directory, seed):
        super().__init__(directory, seed)
        self.served = TwoEnds(self.directory, {**DISKS, **(SCSI if moves_live() else {})})
        self.daemon = self.served.daemon
        (self.directory / "guest").mkdir()
        self.guest = Migrant(self.directory / "guest")
        self.base = None

    def start(self):
        self.served.start()
        self.guest.__enter__()
        self.guest.start(self.served.devices())
        self.guest.gets_on()

    # --- what happens ---

    def kill(self):
        """the daemon is killed and started again"""
        self.daemon.kill()
        time.sleep(self.dice.choice([0, 0, self.dice.random() * 5]))
        self.served.start()
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
        self.guest.move(self.served.other_end())

    def stop(self):
        """the machine stands still for a while, then goes on"""
        self.guest.machine.qmp("stop")
        time.sleep(self.dice.random())
        self.guest.machine.qmp("cont")

    def late_disk(self):
        image = self.directory / "late.img"
        with open(image, "wb") as f:
            f.truncate(LATE_MIB << 20)
        self.daemon.rpc("bdev_aio_create", name="late", filename=str(image), block_size=512)

    def plug(self):
        """a disk is plugged in, used, and pulled out"""
        self.late_disk()
        self.daemon.rpc("vhost_create_blk_controller", ctrlr="late", dev_name="late")
        self.guest.plugs(self.served.sockets / "late")
        self.daemon.rpc("vhost_delete_controller", ctrlr="late")
        self.daemon.rpc("bdev_aio_delete", name="late")

    def add_target(self):
        """a SCSI controller gets another disk, and loses it"""
        if "scsi" not in self.served.rows:
            return
        self.late_disk()
        where = {"ctrlr": f"scsi.{self.served.end}", "scsi_target_num": 9}
        self.guest.checks_late(
            lambda: self.daemon.rpc("vhost_scsi_controller_add_target", bdev_name="late", **where),
            lambda: self.daemon.rpc("vhost_scsi_controller_remove_target", **where))
        self.daemon.rpc("bdev_aio_delete", name="late")

    def plug_and_kill(self):
        """a disk is plugged in, the daemon is killed and started again, and the disk is pulled out"""
        def serve():
            self.late_disk()
            self.daemon.rpc("vhost_create_blk_controller", ctrlr="late", dev_name="late")

        def kill_and_unplug():
            self.kill()
            serve()
            unplug(self.guest.machine.qmp, "late", SLOW_S)
        serve()
        self.guest.checks_late(
            lambda: plug(self.guest.machine.qmp, "late", self.served.sockets / "late"), kill_and_unplug)
        self.daemon.rpc("vhost_delete_controller", ctrlr="late")
        self.daemon.rpc("bdev_aio_delete", name="late")

    EVENTS = ((kill, 6), (kill_twice, 2), (move_queues, 4), (coalesce, 2), (migrate, 3), (stop, 2), (plug, 3),
              (add_target, 3), (plug_and_kill, 2))

    # --- and what must hold ---

    def check(self):
        self.daemon.check_alive()
        self.daemon.check_log()
        self.guest.gets_on(self.dice.choice([1, 1, 3]))
        now = self.daemon.rss_kib("RssAnon"), self.daemon.fd_count()
        self.base = self.base or now
        assert self.daemon.is_sanitized or now[0] < self.base[0] + RSS_GROWTH_KIB, f"{self.base[0]} KiB became {now[0]}"
        assert now[1] < self.base[1] + FD_GROWTH, f"{self.base[1]} descriptors became {now[1]}"

    def run(self, seconds):
        self.start()
        for _ in self.happens(seconds):
            self.check()
        self.guest.__exit__()
        self.daemon.stop()

    def close(self):
        self.guest.__exit__()
        self.daemon.kill()

    def summary(self):
        return self.happened()


if __name__ == "__main__":
    sys.exit(main(House, "A virtual machine whose disks' daemon is killed, and that moves."))
