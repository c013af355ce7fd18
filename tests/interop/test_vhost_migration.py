# SPDX-License-Identifier: BSD-3-Clause
"""A guest moves to another QEMU while it writes, reads back and compares its disks: what it wrote before has to be on
them, and what the disks wrote into its memory has to be in the memory that arrives (the log of dirty pages; with a
QEMU that moves emulated guests while they run, see migrant.py)."""
import pytest

import guest as guests
from gantry import Daemon, cpus
from migrant import Migrant, moves_live
from vhost_guest import blk, scsi

MIB = 64
DISKS = {"split": (blk, {"queues": 2}), "packed": (blk, {"queues": 2, "packed": True}),
         "scsi": (scsi, {"reconnect": moves_live()})}


class Shared:
    """Three disks, each served by two controllers, for the two ends."""

    def __init__(self, directory):
        self.sockets = directory / "vhost"
        self.sockets.mkdir()
        self.directory, self.daemon = directory, Daemon(directory, "-S", self.sockets, "-m", cpus(2))
        self.end = 0

    def start(self):
        self.daemon.start()
        for name, (kind, _) in DISKS.items():
            image = self.directory / f"{name}.img"
            with open(image, "ab") as f:
                f.truncate(MIB << 20)
            self.daemon.rpc("bdev_aio_create", name=name, filename=str(image), block_size=512)
            for end in (0, 1):
                self.serve(kind, name, f"{name}.{end}")

    def serve(self, kind, name, ctrlr):
        if kind is blk:
            self.daemon.rpc("vhost_create_blk_controller", ctrlr=ctrlr, dev_name=name)
            return
        self.daemon.rpc("vhost_create_scsi_controller", ctrlr=ctrlr)
        self.daemon.rpc("vhost_scsi_controller_add_target", ctrlr=ctrlr, scsi_target_num=0, bdev_name=name)

    def devices(self):
        """As they are served at this end."""
        return [kind(name, self.sockets / f"{name}.{self.end}", **row) for name, (kind, row) in DISKS.items()]

    def other_end(self):
        self.end = 1 - self.end
        return self.devices()


@pytest.fixture
def shared(tmp_path):
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    shared = Shared(tmp_path)
    try:
        shared.start()
        yield shared
        shared.daemon.stop()
    finally:
        print(f"--- the daemon's log\n{shared.daemon.log_tail(80)}")
        shared.daemon.kill()


def test_guest_moves_there_and_back_under_verify(shared, tmp_path):
    """It would find other data than it wrote, stale memory, or a queue that does not go on where it was."""
    directory = tmp_path / "guest"
    directory.mkdir()
    with Migrant(directory) as guest:
        guest.start(shared.devices())
        guest.gets_on()
        for _ in range(2):
            guest.move(shared.other_end())
            guest.gets_on()
        if moves_live():                           # then it can connect SCSI controllers again, too
            shared.daemon.kill()
            shared.start()
            guest.gets_on()
