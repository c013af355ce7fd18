# SPDX-License-Identifier: BSD-3-Clause
"""Controllers that take smaller commands (MDTS) than the others of their subsystem, or than they did before: what is
larger goes there in parts, several at a time, and nobody notices. Such a path was not used, and a disk whose target had
come back with less was taken away and made anew."""
import os

import pytest

import bad_ways as ways
from attached import PATIENCE_S, attach, controllers, disks_of, gateway, works
from bad_target import ANA_NON_OPTIMIZED, BadTarget, Disks, Namespace
from gantry import wait_until
from nvme_tcp import IO_READ, must, rw

KIB = 1024
WHOLE = 128 * KIB
BLOCKS = WHOLE // 512
LINKS = {"multipath": "multipath", "ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1}


@pytest.fixture
def pair():
    """The second one takes 8 KiB, and is the worse way."""
    with BadTarget(mdts=5) as a, BadTarget(a.disks, mdts=1, ana={1: ANA_NON_OPTIMIZED}) as b:
        yield a, b


def sizes(target, name):
    """In bytes, of commands of that name from now on."""
    kept = []

    def keep(conn, request):
        kept.append(request.blocks * 512)
        conn.do_right(request)
    target.on(name, keep)
    return kept


def write(host, lba, data):
    must(host.io.write(lba, data, in_capsule=False))


def is_used(host, writes):
    """The better path: until its queue is there I/O goes by the other one."""
    wait_until(lambda: write(host, 0, bytes(512)) or writes, "a write by it", 60)
    writes.clear()


def attach_both(daemon, pair):
    # A write whose fate is unknown waits for two keep-alive times before it goes out again.
    daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=1000)
    disk = attach(daemon, pair[0], **LINKS)
    attach(daemon, pair[1], **LINKS)
    assert disks_of(daemon) == [disk] and len(controllers(daemon)) == 2
    wait_until(lambda: f"{disk}: one of its controllers takes commands of 8 KiB" in daemon.log(), "it to be said", 60)
    return disk


def test_each_path_gets_what_it_takes(daemon, pair):
    data, (a, b) = os.urandom(WHOLE), pair
    with gateway(daemon, attach(daemon, a, **LINKS)) as host:
        write(host, 0, bytes(WHOLE))
        a_writes, b_writes, b_reads = sizes(a, "write"), sizes(b, "write"), sizes(b, "read")
        attach(daemon, b, **LINKS)                               # the disk is in use already
        write(host, 0, data)
        assert a_writes == [WHOLE] and not b.seen["io"]
        a.stop()
        assert host.io.read(0, BLOCKS) == data
        write(host, 256, data[::-1])
        assert b_writes == b_reads == [8 * KIB] * 16
        a.start()
        wait_until(lambda: all(c["state"] == "enabled" for c in controllers(daemon)), "the first one to be back", 60)
        assert host.io.read(256, BLOCKS) == data[::-1]


def test_what_is_out_whole_moves_in_parts(daemon, pair):
    a, b = pair
    with gateway(daemon, attach(daemon, a, **LINKS)) as host:
        write(host, 0, data := os.urandom(4 * WHOLE)[:WHOLE])
        attach(daemon, b, **LINKS)
        reads = sizes(b, "read")
        a.on("read", ways.ignore)
        cids = [host.io.submit(rw(IO_READ, 0, BLOCKS), expect=WHOLE) for _ in range(4)]
        wait_until(lambda: a.seen["ignored"] == 4, "reads to be out", PATIENCE_S)
        a.stop()
        assert all(must(host.io.wait(cid)).data == data for cid in cids)
        assert reads == [8 * KIB] * 64


def test_parts_go_side_by_side(daemon, pair):
    """They went one after the other where the disk had been opened before that path came."""
    a, b = pair
    with gateway(daemon, attach(daemon, a, **LINKS)) as host:
        write(host, 0, data := os.urandom(WHOLE))
        attach(daemon, b, **LINKS)
        a.stop()
        assert host.io.read(0, BLOCKS) == data
        b.on("read", ways.ignore, times=4)
        cid = host.io.submit(rw(IO_READ, 0, BLOCKS), expect=WHOLE)
        wait_until(lambda: b.seen["ignored"] == 4, "four parts to be out", PATIENCE_S)
        b.stop()
        b.start()
        assert must(host.io.wait(cid)).data == data


def test_a_path_that_takes_less_is_no_loss_to_the_others(daemon, pair):
    """Who opened the disk after such a path came had I/O cut for all of them, for good."""
    disk = attach_both(daemon, pair)
    writes = sizes(pair[0], "write")
    with gateway(daemon, disk) as host:
        is_used(host, writes)
        write(host, 0, data := os.urandom(WHOLE))
        assert host.io.read(0, BLOCKS) == data
    assert writes == [WHOLE]


def test_a_path_that_takes_more_is_used_so(daemon, pair):
    a, b = pair
    disk = attach(daemon, b, **LINKS)
    attach(daemon, a, **LINKS)
    writes = sizes(a, "write")
    wait_until(lambda: len(controllers(daemon)) == 2, "both", 60)
    with gateway(daemon, disk) as host:
        is_used(host, writes)
        write(host, 0, data := os.urandom(WHOLE))
        assert host.io.read(0, BLOCKS) == data
    assert writes == [WHOLE]


def test_a_target_that_comes_back_with_less_keeps_its_disk(daemon):
    with BadTarget(mdts=5) as target:
        disk = attach(daemon, target, **LINKS)
        uuid = daemon.rpc("bdev_get_bdevs", name=disk)[0]["uuid"]
        with gateway(daemon, disk) as host:
            write(host, 0, data := os.urandom(WHOLE))
            target.stop()
            cid = host.io.submit(rw(IO_READ, 0, BLOCKS), expect=WHOLE)      # waits for it
            target.mdts = 2
            reads = sizes(target, "read")
            target.start()
            assert must(host.io.wait(cid)).data == data
            assert reads == [16 * KIB] * 8
            works(host)
        assert daemon.rpc("bdev_get_bdevs", name=disk)[0]["uuid"] == uuid


def test_a_path_that_takes_less_than_a_block_is_not_used(daemon):
    with BadTarget(Disks({1: Namespace(lbads=15)}), mdts=5) as a, BadTarget(a.disks, mdts=1) as b:
        attach(daemon, a, **LINKS)
        attach(daemon, b, **LINKS)
        wait_until(lambda: "whose commands (MDTS) are too small" in daemon.log(), "it to be said", 60)
