# SPDX-License-Identifier: BSD-3-Clause
"""Guests and front-ends that say nonsense. A ring with nonsense in it stops and its error eventfd rings; a message that
is none ends its connection, or is refused where acknowledgement was negotiated. The other queue, the next front-end and
the daemon never notice."""
import os
import socket
import struct

import pytest

import vhost_user as vu
from gantry import wait_until
from vhost_servers import Gantryd
from virtio_blk import IN, OUT, SECTOR, Blk
from virtio_ring import AVAIL_BIT, INDIRECT, NEXT, USED_BIT, WRITE

if not Gantryd.is_there():
    pytest.skip("this daemon has no vhost-user", allow_module_level=True)

SIZE = 16
NOWHERE = 0x7000_0000                              # no region is there


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Gantryd(tmp_path_factory.mktemp("vhost"), mib=4, queues=2) as running:
        yield running


@pytest.fixture(autouse=True)
def show_log(server):
    yield
    print(f"--- the daemon's log\n{server.log_tail()}")
    server.check_alive()


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def disk(request, server):
    with Blk(server.path, queues=2, size=SIZE, packed=request.param) as disk:
        disk.write(0, b"w" * SECTOR)
        yield disk


@pytest.fixture
def serves(server):
    """Call it to prove that a front-end that behaves is served."""
    def check():
        with Blk(server.path) as disk:
            data = os.urandom(4096)
            disk.write(0, data)
            assert disk.read(0, 4096) == data
    return check


def header(disk, kind=IN, sector=0):
    at = disk.memory.alloc(16)
    disk.memory.write(at, struct.pack("<IIQ", kind, 0, sector))
    return at


def chain(disk, rows):
    """Descriptors (address, length, flags without NEXT) put by hand into queue 0 from where its driver is, and given to
    the device."""
    ring = disk.queues[0].ring
    if disk.packed:
        first = ring.next_slot
        for n, (addr, length, flags) in reversed(list(enumerate(rows))):
            mark = 1 << (AVAIL_BIT if (ring.wrap if first + n < SIZE else not ring.wrap) else USED_BIT)
            ring.put_desc((first + n) % SIZE, addr, length, 0, flags | mark | (NEXT if n + 1 < len(rows) else 0))
    else:
        for n, (addr, length, flags) in enumerate(rows):
            ring.put_desc(n, addr, length, flags | (NEXT if n + 1 < len(rows) else 0), n + 1)
        ring.offer(0)
        ring.publish()
    disk.queues[0].kick()


def table(disk, *rows):
    """An indirect table of (address, length, flags, next)."""
    at = disk.memory.alloc(16 * len(rows))
    disk.memory.write(at, b"".join(struct.pack("<QIHH", *row) for row in rows))
    return at


def stops(disk, serves):
    """Queue 0 does, queue 1 does not, and the next front-end finds all in order."""
    assert disk.queues[0].has_error(), "the error eventfd does not ring"
    assert disk.read(0, SECTOR, queue=1) == b"w" * SECTOR
    disk.front.close()
    serves()


# --- rings -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("addr, length", [(NOWHERE, SECTOR), ((1 << 64) - 256, SECTOR), (0x9ff00, SECTOR),
                                          ((1 << 32) + (16 << 20) - 256, SECTOR), (0x100000, 0xffffffff)],
                         ids=["nowhere", "wraps", "leaves a region", "leaves the last", "4 GiB long"])
def test_buffers_outside_memory(disk, serves, addr, length):
    """What is there is not the guest's: not a byte of it may be read or written."""
    chain(disk, [(header(disk), 16, 0), (addr, length, WRITE), (disk.memory.alloc(1), 1, WRITE)])
    stops(disk, serves)


def test_header_outside_memory(disk, serves):
    chain(disk, [(NOWHERE, 16, 0), (disk.memory.alloc(SECTOR), SECTOR, WRITE), (disk.memory.alloc(1), 1, WRITE)])
    stops(disk, serves)


def test_readable_after_writable(disk, serves):
    """The order is the driver's duty (virtio 1.2, 2.7.4.2)."""
    chain(disk, [(disk.memory.alloc(SECTOR), SECTOR, WRITE), (header(disk), 16, 0)])
    stops(disk, serves)


@pytest.mark.parametrize("rows", [[(16, 0)], [(16, 0), (SECTOR, 0)], [(15, 0), (1, WRITE)], [(1, WRITE)], [(0, 0)]],
                         ids=["header alone", "no status", "short header", "status alone", "nothing"])
def test_requests_that_are_too_short(disk, serves, rows):
    """Without a header there is no request, without a status byte no answer."""
    chain(disk, [(header(disk, OUT) if n == 0 and not flags else disk.memory.alloc(SECTOR), length, flags)
                 for n, (length, flags) in enumerate(rows)])
    stops(disk, serves)


def test_chain_that_is_a_loop(disk, serves):
    """Following it would never end."""
    if disk.packed:
        pytest.skip("packed chains have no links")
    ring, at = disk.queues[0].ring, header(disk)
    ring.put_desc(0, at, 16, NEXT, 1)
    ring.put_desc(1, at, 16, NEXT, 0)
    ring.offer(0)
    ring.publish()
    disk.queues[0].kick()
    stops(disk, serves)


@pytest.mark.parametrize("number", [SIZE, 0xffff])
def test_heads_and_links_past_the_ring(disk, serves, number):
    """There are no such descriptors."""
    if disk.packed:
        pytest.skip("packed chains have no links")
    ring = disk.queues[0].ring
    if number == SIZE:
        ring.put_desc(0, header(disk), 16, NEXT, number)
        number = 0
    ring.offer(number)
    ring.publish()
    disk.queues[0].kick()
    stops(disk, serves)


def test_log_says_what_was_wrong(tmp_path):
    """The value, and where it was: whoever wrote the driver has to find it."""
    with Gantryd(tmp_path, mib=4, queues=2) as server:
        with Blk(server.path, size=SIZE) as disk:
            ring = disk.queues[0].ring
            ring.offer(0x7f00)
            ring.publish()
            disk.queues[0].kick()
            wait_until(lambda: "beyond the descriptor table (0x7f00 at 0)" in server.log_tail(), "the log to say it")


@pytest.mark.parametrize("ahead", [SIZE + 1, 0x8000, 0xffff])
def test_more_available_than_there_are(disk, serves, ahead):
    """An index that jumps further than the ring is long."""
    if disk.packed:
        pytest.skip("packed rings have no such index")
    ring = disk.queues[0].ring
    ring.set_avail_idx(ring.avail_idx + ahead)
    disk.queues[0].kick()
    stops(disk, serves)


@pytest.mark.parametrize("how", ["empty", "odd", "outside", "inside another", "loop", "link past it"])
def test_indirect_tables(disk, serves, how):
    """Their length, place and links are the guest's word, no more."""
    at, status = header(disk), disk.memory.alloc(1)
    good = (at, 16, NEXT, 1), (status, 1, WRITE, 0)
    if how in ("loop", "link past it"):
        if disk.packed:
            pytest.skip("packed tables have no links")
        inner = table(disk, (at, 16, NEXT, 0 if how == "loop" else 7), good[1])
        rows = [(inner, 32, INDIRECT)]
    elif how == "inside another":
        rows = [(table(disk, (table(disk, *good), 32, INDIRECT, 0)), 16, INDIRECT)]
    else:
        rows = [{"empty": (table(disk, *good), 0, INDIRECT), "odd": (table(disk, *good), 31, INDIRECT),
                 "outside": (NOWHERE, 32, INDIRECT)}[how]]
    chain(disk, rows)
    stops(disk, serves)


def test_packed_chain_without_end(server, serves):
    """More links than the ring has slots."""
    with Blk(server.path, queues=2, size=SIZE, packed=True) as disk:
        disk.write(0, b"w" * SECTOR)
        ring, at = disk.queues[0].ring, header(disk)
        for n in range(SIZE):
            slot = (ring.next_slot + n) % SIZE
            wrap = ring.wrap if ring.next_slot + n < SIZE else not ring.wrap
            ring.put_desc(slot, at, 16, 0, NEXT | 1 << (AVAIL_BIT if wrap else USED_BIT))
        disk.queues[0].kick()
        stops(disk, serves)


# --- messages ----------------------------------------------------------------------------------------------------

PAIR, ROW = struct.Struct("<II"), struct.Struct("<QQQQ")


@pytest.mark.parametrize("raw", [
    struct.pack("<III", vu.SET_OWNER, 2, 0), struct.pack("<III", vu.SET_OWNER, 0, 0),
    struct.pack("<III", vu.SET_FEATURES, 1, 0xffffffff), struct.pack("<III", vu.SET_FEATURES, 1, 4) + bytes(4),
    struct.pack("<III", vu.SET_FEATURES, 1, 1 << 20) + bytes(4096),
    struct.pack("<III", vu.GET_FEATURES, 1 | vu.REPLY, 0),
], ids=["version 2", "version 0", "4 GiB", "short", "1 MiB", "a reply"])
def test_heads_that_are_wrong(server, serves, raw):
    """It hangs up; it must not wait for what will not come, nor make room for it."""
    with vu.FrontEnd(server.path) as front:
        front.features()
        front.sock.sendall(raw)
        front.expect_end()
    serves()


def negotiated(server, ack=True):
    front = vu.FrontEnd(server.path)
    front.set_features(front.features() & vu.bits(vu.F_VERSION_1, vu.F_PROTOCOL_FEATURES))
    protocol = front.protocol_features()
    front.set_protocol_features(protocol & vu.bits(vu.P_MQ, vu.P_CONFIG, vu.P_CONFIGURE_MEM_SLOTS, vu.P_INFLIGHT_SHMFD,
                                                   vu.P_LOG_SHMFD, *((vu.P_REPLY_ACK,) if ack else ())))
    return front


WRONG = {
    "queue 5000": (vu.SET_VRING_NUM, PAIR.pack(5000, 128), 0),
    "size 0": (vu.SET_VRING_NUM, PAIR.pack(0, 0), 0),
    "size 32769": (vu.SET_VRING_NUM, PAIR.pack(0, 32769), 0),
    "enable of queue 5000": (vu.SET_VRING_ENABLE, PAIR.pack(5000, 1), 0),
    "kick of queue 255": (vu.SET_VRING_KICK, struct.pack("<Q", 255), 1),
    "call without its fd": (vu.SET_VRING_CALL, struct.pack("<Q", 0), 0),
    "addresses nowhere": (vu.SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, NOWHERE, NOWHERE, NOWHERE, 0), 0),
    "a table of 4294967295 regions": (vu.SET_MEM_TABLE, PAIR.pack(0xffffffff, 0) + ROW.pack(0, 4096, 0, 0), 1),
    "a table without fds": (vu.SET_MEM_TABLE, PAIR.pack(1, 0) + ROW.pack(0, 4096, 0, 0), 0),
    "a table that is too short": (vu.SET_MEM_TABLE, PAIR.pack(2, 0) + ROW.pack(0, 4096, 0, 0), 2),
    "a region of nothing": (vu.SET_MEM_TABLE, PAIR.pack(1, 0) + ROW.pack(0, 0, 0, 0), 1),
    "a region that wraps": (vu.SET_MEM_TABLE, PAIR.pack(1, 0) + ROW.pack((1 << 64) - 4096, 8192, 0, 0), 1),
    "a region that ends nowhere": (vu.ADD_MEM_REG, bytes(8) + ROW.pack(0, 1 << 62, 0, 1 << 62), 1),
    "a region without its fd": (vu.ADD_MEM_REG, bytes(8) + ROW.pack(0, 4096, 0, 0), 0),
    "a region that is not there": (vu.REM_MEM_REG, bytes(8) + ROW.pack(4096, 4096, 4096, 0), 0),
    "an in-flight region without its fd": (vu.SET_INFLIGHT_FD, struct.pack("<QQHH", 4096, 0, 1, 128), 0),
    "an in-flight region that is short": (vu.SET_INFLIGHT_FD, struct.pack("<QQHH", 16, 0, 2, 128), 1),
    "a log without its fd": (vu.SET_LOG_BASE, struct.pack("<QQ", 4096, 0), 0),
    "features it does not have": (vu.SET_FEATURES, struct.pack("<Q", (1 << 64) - 1), 0),
    "a message that there is not": (9999, b"", 0),
}


@pytest.mark.parametrize("ack", [True, False], ids=["ack", "no ack"])
@pytest.mark.parametrize("wrong", WRONG)
def test_messages_that_are_wrong(server, serves, wrong, ack):
    """Refused by its acknowledgement, or by hanging up; never believed."""
    request, payload, fd_count = WRONG[wrong]
    before = server.daemon.fd_count()
    with negotiated(server, ack) as front:
        fds = [os.memfd_create("x") for _ in range(fd_count)]
        for fd in fds:
            os.ftruncate(fd, 4096)
        try:
            front.send(request, payload, fds, flags=vu.VERSION | (vu.NEED_REPLY if ack else 0))
            try:
                reply = front.receive() if ack else None
                assert not ack or request == vu.SET_LOG_BASE or reply.u64, f"{wrong}: believed"
                front.features()               # it talks on, or hangs up
            except vu.Ended:
                pass
        finally:
            for fd in fds:
                os.close(fd)
    serves()
    wait_until(lambda: server.daemon.fd_count() <= before, f"descriptors to be closed, {before} before")


def test_more_descriptors_than_a_message_has(server, serves):
    """They are closed; a front-end cannot use up what the daemon may open."""
    before = server.daemon.fd_count()
    for _ in range(20):
        with vu.FrontEnd(server.path) as front:
            fds = [os.memfd_create("x") for _ in range(40)]
            try:
                front.send(vu.SET_OWNER, b"", fds)
                front.features()
            except (vu.Ended, OSError):
                pass
            for fd in fds:
                os.close(fd)
    serves()
    wait_until(lambda: server.daemon.fd_count() <= before, f"descriptors to be closed, {before} before")


def test_half_a_message(server, serves):
    """Somebody who never ends his sentence: the next is served all the same, at the latest when he has gone."""
    with vu.FrontEnd(server.path) as front:
        front.sock.sendall(struct.pack("<II", vu.SET_FEATURES, 1))
        front.sock.shutdown(socket.SHUT_WR)
        front.expect_end()
    serves()


def test_memory_that_is_cut_off(server, serves):
    """A front-end that truncates its memory file fails its own device, and nothing else."""
    with Blk(server.path, queues=2, size=SIZE) as disk:
        disk.write(0, b"w" * SECTOR)
        region = disk.memory.regions[2]
        os.ftruncate(region.fd, 4096)
        where = 1 << 32 | 1 << 20
        chain(disk, [(header(disk), 16, 0), (where, SECTOR, WRITE), (disk.memory.alloc(1), 1, WRITE)])
        assert disk.queues[0].has_error()
    serves()
