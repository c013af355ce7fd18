# SPDX-License-Identifier: BSD-3-Clause
"""LUNs that come, go and grow while hosts work."""
import os
import threading

import pytest

from gantry import wait_until
from iscsi import (CAPACITY_CHANGED, CHECK_CONDITION, ILLEGAL_REQUEST, LUNS_CHANGED, NO_SUCH_LUN, UNIT_ATTENTION, good,
                   read_cdb, write_cdb)


class Busy:
    """Writes and reads back on LUN 1, in a thread of its own."""

    def __init__(self, iscsi):
        self.session = iscsi.session(initiator="iqn.2026-11.test.initiator:busy")
        self.rounds, self.problem, self.enough = 0, None, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def run(self):
        try:
            s = self.session
            s.clear_attentions(1)
            while not self.enough.is_set():
                data = os.urandom(32768)
                self.repeat(write_cdb(100, 8), data=data)
                assert self.repeat(read_cdb(100, 8), expect=len(data)).data == data, "other data was read"
                self.rounds += 1
        except BaseException as problem:
            self.problem = problem

    def repeat(self, cdb, **how):
        """Unit attentions are no errors: the command is sent again."""
        while True:
            result = self.session.command(cdb, lun=1, **how)
            if result.status != CHECK_CONDITION or result.key != UNIT_ATTENTION:
                return good(result)

    def more(self, rounds=20):
        enough = self.rounds + rounds
        wait_until(lambda: self.problem or self.rounds >= enough, "I/O to go on", 60)
        assert not self.problem, repr(self.problem)

    def __exit__(self, kind, value, traceback):
        self.enough.set()
        self.thread.join()
        self.session.close()
        if not kind:
            assert not self.problem, repr(self.problem)


@pytest.fixture(scope="module")
def busy(iscsi):
    with Busy(iscsi) as running:
        yield running


def attention(s, lun, *asc):
    result = wait_until(lambda: (r := s.test_unit_ready(lun)).status == CHECK_CONDITION and r, "a unit attention")
    assert result.key == UNIT_ATTENTION and result.asc in asc, str(result)


def absent(s, lun):
    result = s.test_unit_ready(lun)
    return result.status == CHECK_CONDITION and result.key == ILLEGAL_REQUEST and result.asc == NO_SUCH_LUN


def test_a_lun_comes_and_goes(iscsi, busy):
    """Hosts would have to log in again to see a new disk, or their I/O would stop while there is a change."""
    rpc = iscsi.daemon.rpc
    with iscsi.session() as s:
        rpc("bdev_malloc_create", name="guest", num_blocks=16384, block_size=512)
        for _ in range(5):
            assert s.luns() == [0, 1] and absent(s, 7)
            rpc("iscsi_target_node_add_lun", name=iscsi.name, bdev_name="guest", lun_id=7)
            attention(s, 0, LUNS_CHANGED)
            assert s.luns() == [0, 1, 7]
            s.clear_attentions(7)
            good(s.write(0, b"g" * 512, lun=7))
            busy.more()
            rpc("iscsi_target_node_remove_lun", name=iscsi.name, lun_id=7)
            attention(s, 0, LUNS_CHANGED)
            busy.more()
        rpc("bdev_malloc_delete", name="guest")


def test_a_device_goes_away(iscsi, busy):
    """Its LUN goes with it, while commands are under way; others do not feel it."""
    rpc = iscsi.daemon.rpc
    with iscsi.session() as s:
        for _ in range(3):
            rpc("bdev_malloc_create", name="guest", num_blocks=16384, block_size=512)
            rpc("iscsi_target_node_add_lun", name=iscsi.name, bdev_name="guest", lun_id=7)
            s.clear_attentions(0)
            s.clear_attentions(7)
            itts = [s.submit(write_cdb(n, 8), b"g" * 4096, lun=7) for n in range(16)]
            rpc("bdev_malloc_delete", name="guest")
            for itt in itts:
                s.wait(itt)         # any status, but an answer
            wait_until(lambda: absent(s, 7), "the LUN to be gone")
            s.clear_attentions(0)
            assert s.luns() == [0, 1]
            busy.more()


def test_a_disk_grows(iscsi, busy):
    """A host would go on with the old size."""
    rpc = iscsi.daemon.rpc
    with iscsi.session() as s:
        s.clear_attentions(0)
        blocks, size = s.capacity()
        rpc("bdev_malloc_resize", name="disk512", new_size=96)
        attention(s, 0, CAPACITY_CHANGED)
        assert s.capacity() == (96 << 11, size) and blocks < 96 << 11
        good(s.write((96 << 11) - 1, b"e" * 512))
        busy.more()


def test_logical_unit_ids_are_stable(iscsi):
    """A host that sees a disk by two ways would not know that it is one (VPD 83h); two disks would be taken for one."""
    with iscsi.session() as one, iscsi.session(portal=1) as two:
        def designators(s, lun):
            data, at, found = s.inquiry(0x83, 1024, lun), 4, []
            while at < len(data):
                if data[at + 1] >> 4 & 3 == 0:      # of the logical unit
                    found.append(bytes(data[at:at + 4 + data[at + 3]]))
                at += 4 + data[at + 3]
            return found
        for lun in (0, 1):
            assert designators(one, lun) == designators(two, lun) != []
        assert not set(designators(one, 0)) & set(designators(one, 1))
        assert one.inquiry(0x80) == two.inquiry(0x80)
