# SPDX-License-Identifier: BSD-3-Clause
"""What is promised to be atomic: what Identify says of it, compare-and-write against everybody else who writes, and
power cuts."""
import os
import struct
import threading

import pytest

from attached import attach
from gantry import Daemon, RpcError, cpus
from iscsi import GOOD, Session
from nvme_tcp import IO_COMPARE, IO_READ, IO_WRITE, OK, Host, must, rw

BLOCK = 512
COMPARE_FAILED, FUSED_FAIL, AWU_EXCEEDED = 0x285, 0x09, 0x14


def atomics(host, nsid=1):
    """NSFEAT bit 1; NAWUN, NAWUPF, NACWU, NABSN, NABO, NABSPF as they are."""
    page = host.admin.identify(0, nsid)
    return bool(page[24] & 2), struct.unpack_from("<6H", page, 34)


def fused(conn, lba, old, new):
    """Both halves' statuses."""
    blocks = len(old) // BLOCK
    first = conn.submit(rw(IO_COMPARE, lba, blocks, flags=0x41), old)
    second = conn.submit(rw(IO_WRITE, lba, blocks, flags=0x42), new)
    return conn.wait(first).status, conn.wait(second).status


def test_a_ram_disk_promises_a_page(daemon, served, host):
    """Of what lies in one of its pages nobody sees half. More is refused, not torn."""
    assert atomics(host) == (True, (7, 7, 7, 7, 0, 7))
    old, new = os.urandom(8 * BLOCK), os.urandom(8 * BLOCK)
    must(host.io.write(8, old))
    assert fused(host.io, 8, old, new) == (OK, OK)
    assert fused(host.io, 8, old, new) == (COMPARE_FAILED, FUSED_FAIL)
    assert host.io.read(8, 8) == new
    assert fused(host.io, 9, new[:8 * BLOCK], old) == (AWU_EXCEEDED, FUSED_FAIL)
    assert fused(host.io, 8, new + old, old + new) == (AWU_EXCEEDED, FUSED_FAIL)
    assert host.io.read(8, 8) == new


def test_other_disks_promise_what_they_keep(daemon):
    """A power cut would tear a write that a host believes to be whole."""
    daemon.malloc("media", mib=4)
    daemon.malloc("whole", mib=4)
    daemon.malloc("big", mib=4, block_size=4096)
    daemon.tell("bdev_powercut_create", name="power", base_bdev_name="media", cache_blocks=64)
    daemon.tell("bdev_split_create", base_bdev="whole", split_count=3, split_size_mb=1)
    served = daemon.serve("power", "wholep1", "big")
    with Host(served.port, served.nqn) as host:
        assert atomics(host, 1) == (False, (0,) * 6)
        assert atomics(host, 2) == (True, (7, 7, 7, 7, 0, 7))
        assert atomics(host, 3) == (False, (0,) * 6)
        assert struct.unpack_from("<2H", host.admin.identify(1), 526) == (0, 0)  # AWUN, AWUPF
        assert struct.unpack_from("<H", host.admin.identify(1), 532) == (0,)     # ACWU


def test_a_remote_disk_promises_what_its_target_does(daemon, served):
    """Through a gateway a pair would be refused that the target takes, or sent that it refuses."""
    gateway = daemon.serve(attach(daemon, served), nqn=served.nqn + ":gateway")
    with Host(gateway.port, gateway.nqn) as host:
        assert atomics(host) == (True, (7, 7, 7, 7, 0, 7))
        assert fused(host.io, 16, bytes(8 * BLOCK), b"x" * 8 * BLOCK) == (OK, OK)
        assert fused(host.io, 17, bytes(8 * BLOCK), b"x" * 8 * BLOCK) == (AWU_EXCEEDED, FUSED_FAIL)


def test_a_cut_tears_nothing_that_was_promised(daemon):
    """One block, however it was written: all of it or nothing, whatever the cut."""
    daemon.malloc("media", mib=4)
    daemon.tell("bdev_powercut_create", name="power", base_bdev_name="media", cache_blocks=64)
    served = daemon.serve("power")
    with Host(served.port, served.nqn) as host:
        for seed in range(20):
            old, new = bytes([seed * 2]) * BLOCK, bytes([seed * 2 + 1]) * BLOCK
            for lba in range(8):
                must(host.io.write(lba, old))
                assert fused(host.io, lba, old, new) == (OK, OK)
            daemon.rpc("bdev_powercut_trigger", name="power", mode="tear", seed=seed)
            data = host.io.read(0, 8)
            for at in range(0, len(data), BLOCK):
                assert len(set(data[at:at + BLOCK])) == 1, f"block {at // BLOCK} is torn"


# --- counters that many count up ---

ROUNDS = 60


def count_by_nvme(served, core, blocks, failures):
    try:
        with Host(served.port, served.nqn) as host:
            done = 0
            while done < ROUNDS:
                old = host.io.read(0, blocks)
                numbers = struct.unpack(f"<{len(old) // 8}Q", old)
                assert len(set(numbers)) == 1, f"half of a write was read: {sorted(set(numbers))}"
                statuses = fused(host.io, 0, old, struct.pack("<Q", numbers[0] + 1) * len(numbers))
                assert statuses in ((OK, OK), (COMPARE_FAILED, FUSED_FAIL)), statuses
                done += statuses == (OK, OK)
    except BaseException as e:  # pylint: disable=broad-except
        failures.append(e)


def count_by_scsi(exported, failures):
    try:
        with Session(exported.port, exported.name, None, initiator="iqn.2026-11.test.initiator:counts") as s:
            s.clear_attentions()
            done = 0
            while done < ROUNDS:
                old = s.read(0, 1)
                new = struct.pack("<Q", struct.unpack_from("<Q", old)[0] + 1) * (BLOCK // 8)
                cdb = struct.pack(">BBQ3xBxx", 0x89, 0, 0, 1)
                done += s.command(cdb, old + new).status == GOOD
    except BaseException as e:  # pylint: disable=broad-except
        failures.append(e)


@pytest.mark.parametrize("who", ["nvme", "both"])
def test_counters_miss_nothing(tmp_path, who):
    """Two writers at once, on whatever queue, core or transport, would both believe that theirs was the one."""
    with Daemon(tmp_path, "-m", cpus(2)) as daemon:
        disk, failures = daemon.malloc("disk0", mib=4), []
        served = daemon.serve(disk)
        blocks = 8 if who == "nvme" else 1
        with Host(served.port, served.nqn) as host:
            must(host.io.write(0, bytes(8 * BLOCK)))
        threads = [threading.Thread(target=count_by_nvme, args=(served, n, blocks, failures)) for n in range(4)]
        if who == "both":
            exported = daemon.export(disk)
            threads.append(threading.Thread(target=count_by_scsi, args=(exported, failures)))
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failures, failures
        with Host(served.port, served.nqn) as host:
            counted = struct.unpack(f"<{blocks * BLOCK // 8}Q", host.io.read(0, blocks))
            assert set(counted) == {len(threads) * ROUNDS}


def test_many_pairs_at_once(host):
    """Those for whom a core has no room would be sent away, and a host that keeps on would starve."""
    pairs = [(host.io.submit(rw(IO_COMPARE, n % 8, 1, flags=0x41), bytes(BLOCK)),
              host.io.submit(rw(IO_WRITE, n % 8, 1, flags=0x42), bytes(BLOCK))) for n in range(60)]
    assert {host.io.wait(cid).status for pair in pairs for cid in pair} == {OK}


@pytest.fixture
def movable(tmp_path):
    """A host, and what asks for its I/O queue to move to the other core."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("there is one CPU")
    with Daemon(tmp_path, "-m", cpus(2)) as daemon:
        served = daemon.serve(daemon.malloc("disk0", mib=4))
        with Host(served.port, served.nqn) as host:
            def move(round_):
                try:
                    daemon.rpc("nvmf_move_qpair", nqn=served.nqn, cntlid=host.cntlid, qid=1, lcore=cores[round_ % 2])
                except RpcError as e:
                    assert "took too long" in e.message, e.message

            yield host, move


def test_halves_stay_together_when_their_connection_moves(movable):
    """A half that waits has its data already: on another core it would be without, and the pair never end."""
    host, move = movable
    old = bytes(BLOCK)
    for round_ in range(6):
        new = bytes([round_ + 1]) * BLOCK
        first = host.io.submit(rw(IO_COMPARE, 0, 1, flags=0x41), old)
        second = host.io.submit(rw(IO_WRITE, 0, 1, flags=0x42), new, in_capsule=False)
        r2t = host.io.recv_r2t()
        move(round_)
        host.io.answer_r2t(r2t)
        assert (host.io.wait(first).status, host.io.wait(second).status) == (OK, OK)
        assert host.io.read(0, 1) == new
        old = new


def test_halves_that_wait_for_data_stay_together(movable):
    """On another core they would meet in the order of their slots, and both be refused."""
    host, move = movable
    old = bytes(BLOCK)
    for round_ in range(6):
        new = bytes([round_ + 1]) * BLOCK
        for cid in [host.io.submit(rw(IO_READ, 0, 1), expect=BLOCK) for _ in range(2)]:
            must(host.io.wait(cid))  # the slot used last is taken first
        first = host.io.submit(rw(IO_COMPARE, 0, 1, flags=0x41), old, in_capsule=False)
        second = host.io.submit(rw(IO_WRITE, 0, 1, flags=0x42), new, in_capsule=False)
        r2ts = [host.io.recv_r2t(), host.io.recv_r2t()]
        move(round_)
        for r2t in r2ts:
            host.io.answer_r2t(r2t)
        assert (host.io.wait(first).status, host.io.wait(second).status) == (OK, OK)
        assert host.io.read(0, 1) == new
        old = new
