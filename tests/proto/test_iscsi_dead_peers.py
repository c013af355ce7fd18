# SPDX-License-Identifier: BSD-3-Clause
"""Hosts that are deaf, half dead or slow, beside one that is well: it is served as if they were not there."""
import os
import time

import pytest

from gantry import wait_until
from iscsi import SCSI_COMMAND, Ended, good, make_pdu, read_cdb, write_cdb


@pytest.fixture(autouse=True)
def options(iscsi):
    patience(iscsi, 60)


def patience(iscsi, with_silence_s):
    """Our own host is silent while a test does other things: only tests of silence are to have little."""
    iscsi.daemon.rpc("iscsi_set_options", nop_in_interval=1, nop_timeout=with_silence_s, data_timeout_ms=5000)


def connections(iscsi):
    return len(iscsi.daemon.rpc("iscsi_get_connections"))


def check(s, rounds=50):
    for n in range(rounds):
        data = os.urandom(4096)
        good(s.write(n * 8, data))
        assert s.read(n * 8, 8) == data


def wait_until_gone(iscsi, well, others, expect_closed=False):
    """The target closes their connections, while the one that is well is served."""
    wait_until(lambda: check(well, 5) or connections(iscsi) == 1, "the others to be closed", 60)
    for s in others:
        if expect_closed:
            s.expect_closed()
        s.close()


def test_deaf(iscsi):
    """They ask for much and take nothing: their answers would fill the daemon's memory, or stop its core."""
    rss = iscsi.daemon.rss_kib()
    with iscsi.session(initiator="iqn.2026-11.test:well") as well:
        deaf = []
        for n in range(8):
            s = iscsi.session(initiator=f"iqn.2026-11.test:deaf{n}", receive_buffer=4096)
            for _ in range(32):
                s.submit(read_cdb(0, 2048), expect=1 << 20)
            deaf.append(s)
        check(well)
        if not iscsi.daemon.is_sanitized:
            assert iscsi.daemon.rss_kib() < rss + 8 * 32 * 1024, "answers nobody takes are kept in memory"
        wait_until_gone(iscsi, well, deaf)


def test_data_that_was_promised_and_does_not_come(iscsi):
    """Its buffers would be kept for ever."""
    with iscsi.session(initiator="iqn.2026-11.test:well") as well:
        late = []
        for n in range(4):
            s = iscsi.session(initiator=f"iqn.2026-11.test:late{n}")
            s.hold_r2t = True
            s.submit(write_cdb(0, 512), bytes(512 * 512), immediate_data=0)
            s.wait_r2t()
            late.append(s)
        check(well)
        wait_until_gone(iscsi, well, late)


def test_a_number_that_is_left_out(iscsi):
    """What comes behind it would be kept for ever, from a host that lives and answers; a LUN would not come off."""
    rpc = iscsi.daemon.rpc
    rpc("bdev_malloc_create", name="guest", num_blocks=16384, block_size=512)
    rpc("iscsi_target_node_add_lun", name=iscsi.name, bdev_name="guest", lun_id=9)
    with iscsi.session(initiator="iqn.2026-11.test:well") as well:
        s = iscsi.session(initiator="iqn.2026-11.test:gap")
        s.clear_attentions(9)
        s.take_cmdsn()
        for n in range(4):
            s.submit(write_cdb(n, 1), bytes(512), lun=9)
        s.nop()
        rpc("iscsi_target_node_remove_lun", name=iscsi.name, lun_id=9)
        rpc("bdev_malloc_delete", name="guest")
        try:
            while True:
                s.step()            # pings are answered
        except Ended:
            pass
        s.close()
        well.clear_attentions(0)
        check(well, 5)


def test_silent_discovery(iscsi):
    """Anybody may ask which targets there are; who then says nothing more would keep a socket for ever."""
    patience(iscsi, 10)
    with iscsi.session(initiator="iqn.2026-11.test:well") as well:
        silent = [iscsi.discovery() for _ in range(4)]
        wait_until_gone(iscsi, well, silent, expect_closed=True)


def test_one_that_reads_slowly(iscsi):
    """It gets all of its data, in its own time, and is not taken for dead."""
    with iscsi.session(initiator="iqn.2026-11.test:well") as well, \
            iscsi.session(initiator="iqn.2026-11.test:slow", receive_buffer=8192) as slow:
        itts = [slow.submit(read_cdb(0, 512), expect=512 * 512) for _ in range(4)]
        until = time.monotonic() + 3
        while time.monotonic() < until:
            slow.received += slow.sock.recv(2048)
            check(well, 1)
            time.sleep(0.02)
        for itt in itts:
            assert len(good(slow.wait(itt)).data) == 512 * 512


def test_half_a_pdu(iscsi):
    """The rest of a header or of data never comes."""
    patience(iscsi, 10)
    with iscsi.session(initiator="iqn.2026-11.test:well") as well:
        halves = []
        for n, cut in enumerate((1, 47, 48, 100)):
            s = iscsi.session(initiator=f"iqn.2026-11.test:half{n}")
            whole = make_pdu(SCSI_COMMAND, 0xa1, itt=5, cdb=write_cdb(0, 8), words=(4096, s.cmdsn, s.expstatsn),
                             data=bytes(4096))
            s.send(whole[:cut])
            halves.append(s)
            check(well, 1)
        check(well)
        wait_until_gone(iscsi, well, halves)


def test_many_that_come_and_go(iscsi):
    """Hosts whose network fails at any moment; nothing of them may be left."""
    files = iscsi.daemon.fd_count()
    with iscsi.session(initiator="iqn.2026-11.test:well") as well:
        for n in range(60):
            try:
                s = iscsi.session(initiator=f"iqn.2026-11.test:crowd{n % 7}", attentions=False)
                s.submit(read_cdb(0, 256), expect=256 * 512)
            except Ended:
                continue
            (s.reset if n % 2 else s.close)()
            if n % 10 == 0:
                check(well, 2)
        wait_until(lambda: connections(iscsi) == 1, "the crowd to be gone", 60)
        check(well)
    wait_until(lambda: iscsi.daemon.fd_count() <= files + 2, "their sockets to be closed")
