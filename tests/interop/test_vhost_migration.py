# SPDX-License-Identifier: BSD-3-Clause
"""A guest moves to another QEMU while it writes, reads back and compares its disks: what it wrote before has to be on
them, and what the disks wrote into its memory has to be in the memory that arrives (the log of dirty pages; with a
QEMU that moves emulated guests while they run, see migrant.py)."""
import pytest

import guest as guests
from migrant import Migrant, TwoEnds, moves_live
from vhost_guest import blk, scsi

DISKS = {"split": (blk, {"queues": 2}), "packed": (blk, {"queues": 2, "packed": True}),
         "scsi": (scsi, {"reconnect": moves_live()})}


@pytest.fixture
def shared(tmp_path):
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    shared = TwoEnds(tmp_path, DISKS)
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
