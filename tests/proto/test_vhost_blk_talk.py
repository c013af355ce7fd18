# SPDX-License-Identifier: BSD-3-Clause
"""A virtio-blk disk over vhost-user, as a driver that behaves uses it: rings of both formats, memory that comes and
goes, sessions that end and begin again. The same conversations with every server that is installed."""
import os
import struct
import tempfile
from pathlib import Path

import pytest

from gantry import wait_until
from vhost_servers import servers
from vhost_user import (ACKNOWLEDGE, DRIVER, DRIVER_OK, F_EVENT_IDX, F_INDIRECT, F_LOG_ALL, F_PROTOCOL_FEATURES,
                        FEATURES_OK, P_CONFIG, P_CONFIGURE_MEM_SLOTS, P_LOG_SHMFD, P_MQ, P_REPLY_ACK, drain)
from virtio_blk import DISCARD, F_RO, IN, IOERR, OK, OUT, SECTOR, UNSUPP, WRITE_ZEROES, Blk
from virtio_ring import PAGE, Memory

MIB = 16
SECTORS = MIB << 11


@pytest.fixture(params=servers(), ids=lambda s: s.name)
def kind(request):
    return request.param


@pytest.fixture
def server(kind, tmp_path):
    with kind(tmp_path, MIB, queues=2) as running:
        yield running
        print(f"--- the server's log\n{running.log_tail()}")
        running.check_alive()


def needs(server, *words):
    for word in words:
        if word in server.lacks:
            pytest.skip(f"{server.name} lacks this: {word}")


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def talk(request, server):
    """Opens a session with rings of one of the formats."""
    if request.param:
        needs(server, "packed")
    opened = []

    def talk(**how):
        opened.append(Blk(server.path, packed=request.param, **how))
        return opened[-1]
    yield talk
    for disk in opened:
        disk.close()


@pytest.mark.parametrize("without", [(), (F_EVENT_IDX,), (F_INDIRECT,), (F_EVENT_IDX, F_INDIRECT)],
                         ids=["all", "flags", "direct", "plain"])
def test_what_is_written_is_read_back(talk, without):
    """Over both queues, in one piece and in many, in two regions of memory."""
    disk = talk(queues=2, without=without)
    for n, (parts, indirect) in enumerate([(1, False), (7, False), (1, True), (32, True)]):
        if indirect and F_INDIRECT in without:
            continue
        data = os.urandom(64 << 10)
        disk.write(n * 128, data, queue=n % 2, parts=parts, indirect=indirect)
        assert disk.read(n * 128, len(data), queue=1 - n % 2, parts=33 - parts, indirect=indirect) == data


def test_many_at_once_across_the_wrap(talk):
    """Indices and rings wrap with the queue full; every request is answered once, and in the right buffer."""
    disk = talk(size=16, start=False)
    disk.connect()
    disk.make_queues()
    if not disk.packed:
        disk.queues[0].ring.begin_at(65500)
    disk.start()
    data = [os.urandom(SECTOR) for _ in range(64)]
    for n, sector in enumerate(data):
        disk.write(n, sector)
    ring, waiting = disk.queues[0].ring, []
    for n in range(600):
        while not ring.room(3):
            first, sector = waiting.pop(0)
            assert disk.wait(first) == OK and first.data == data[sector]
        waiting.append((disk.submit(IN, n % 64, want=SECTOR, publish=n % 3 == 0), n % 64))
    disk.queues[0].publish()
    for request, sector in waiting:
        assert disk.wait(request) == OK and request.data == data[sector]


def test_a_descriptor_across_two_regions(server):
    """Guest memory that goes on in the next region: what is there is one buffer to the driver."""
    memory = Memory(((0x100000, 4 << 20), (0x500000, 4 << 20), (0x900000, 4 << 20)))
    with Blk(server.path, memory=memory, ring_region=0) as disk:
        disk.write(0, os.urandom(8192))
        head, status = memory.alloc(16), memory.alloc(1)
        memory.next[0x500000] = at = 0x900000 - 4096
        memory.write(head, struct.pack("<IIQ", IN, 0, 0))
        queue = disk.queues[0]
        token = queue.ring.add([(head, 16, False), (at, 8192, True), (status, 1, True)])
        queue.publish()
        assert queue.wait([token])[token] == 8193
        assert memory.read(at, 4096) + memory.read(0x900000, 4096) == disk.read(0, 8192)


def test_header_and_status_in_pieces(talk):
    """Drivers may cut a request wherever they like (virtio 1.2, 2.7.4.1)."""
    disk = talk()
    data = os.urandom(1024)
    disk.write(4, data)
    memory, queue = disk.memory, disk.queues[0]
    head, out = memory.alloc(16), memory.alloc(1025, region=2)
    memory.write(head, struct.pack("<IIQ", IN, 0, 4))
    token = queue.ring.add([(head, 3, False), (head + 3, 13, False), (out, 511, True), (out + 511, 514, True)])
    queue.publish()
    assert queue.wait([token])[token] == 1025
    assert memory.read(out, 1025) == data + bytes([OK])


def test_calls_only_when_wanted(talk):
    """A driver that polls is not interrupted; and one that asks in time is, once is enough for many."""
    disk = talk()
    queue = disk.queues[0]
    disk.read(0, SECTOR)
    queue.ring.want_calls(False)
    drain(queue.call_fd)
    requests = [disk.submit(IN, n, want=SECTOR) for n in range(8)]

    def all_done():
        queue.collect()
        return all(r.token in queue.done for r in requests)
    wait_until(all_done, "answers that nobody was called for")
    assert drain(queue.call_fd) == 0
    assert disk.wait(*requests) == OK
    request = disk.submit(IN, 0, want=SECTOR)
    assert disk.wait(request) == OK                # sleeps, unless it was quicker


def test_kicks_only_when_asked_for(talk):
    """A batch of requests costs a kick, not one each."""
    disk = talk(size=128)
    disk.read(0, SECTOR)
    queue = disk.queues[0]
    before = queue.kicks
    requests = [disk.submit(IN, n, want=SECTOR, publish=False) for n in range(32)]
    queue.publish()
    disk.wait(*requests)
    assert queue.kicks - before <= 1


@pytest.mark.parametrize("kind_of_request, how, status", [
    (99, {}, UNSUPP),
    (IN, {"sector": SECTORS, "want": SECTOR}, IOERR),
    (IN, {"sector": SECTORS - 1, "want": 2 * SECTOR}, IOERR),
    (IN, {"sector": (1 << 64) - 1, "want": 2 * SECTOR}, IOERR),
    (OUT, {"sector": SECTORS, "out": bytes(SECTOR)}, IOERR),
    (DISCARD, {"out": Blk.ranges((SECTORS, 8))}, IOERR),
    (WRITE_ZEROES, {"out": Blk.ranges(((1 << 64) - 4, 8))}, IOERR),
], ids=["unknown", "behind the end", "across the end", "wraps", "write behind", "discard behind", "zeroes wrap"])
def test_refused(talk, kind_of_request, how, status):
    """What the disk cannot do has its status, and the ring goes on."""
    disk = talk()
    assert disk.wait(disk.submit(kind_of_request, **how)) == status
    disk.read(0, SECTOR)


def test_other_requests(talk, server):
    """Flush, identity, discard, write zeroes."""
    disk = talk()
    data = os.urandom(8192)
    disk.write(0, data)
    disk.flush()
    assert disk.get_id()
    disk.write_zeroes(2, 4)
    assert disk.read(0, 8192) == data[:1024] + bytes(2048) + data[3072:]
    disk.discard(8, 8)
    assert disk.read(0, 4096) == data[:1024] + bytes(2048) + data[3072:4096]
    image = server.image.read_bytes()[:4096]
    assert image == disk.read(0, 4096)


def test_what_the_disk_is(server):
    """Its configuration space, whole and in pieces."""
    with Blk(server.path, queues=2) as disk:
        config = disk.config()
        assert (config["capacity"], config["blk_size"], config["num_queues"]) == (SECTORS, SECTOR, 2)
        assert disk.queues_offered >= 2
        assert config["seg_max"] >= 1 and config["max_discard_sectors"] and config["max_write_zeroes_sectors"]
        if "config" not in server.lacks:
            assert struct.unpack("<I", disk.front.get_config(20, 4))[0] == SECTOR


def test_read_only(kind, tmp_path):
    """A disk that is not to be written says so, and is not."""
    with kind(tmp_path, MIB, queues=1, readonly=True) as server, Blk(server.path) as disk:
        assert disk.has(F_RO)
        assert disk.wait(disk.submit(OUT, out=b"x" * SECTOR)) == IOERR
        assert disk.read(0, SECTOR) == bytes(SECTOR)


@pytest.mark.parametrize("protocol", [(), (P_MQ,), (P_MQ, P_REPLY_ACK), (P_CONFIG, P_CONFIGURE_MEM_SLOTS),
                                      (P_CONFIG, P_CONFIGURE_MEM_SLOTS, P_REPLY_ACK)],
                         ids=["none", "mq", "mq ack", "slots", "slots ack"])
def test_protocol_features(talk, protocol):
    """Each front-end knows another part of the protocol."""
    disk = talk(protocol=protocol)
    data = os.urandom(4096)
    disk.write(0, data)
    assert disk.read(0, 4096) == data


def test_no_protocol_features(talk, server):
    """The oldest front-ends have none: rings are on as soon as they are kicked."""
    needs(server, "old front-ends")
    disk = talk(without=(F_PROTOCOL_FEATURES,))
    disk.read(0, SECTOR)


def test_stopped_and_started(talk):
    """GET_VRING_BASE says how far the device is; from there it goes on, as after a reboot or at migration."""
    disk = talk(queues=2)
    for n in range(5):
        disk.write(0, bytes([n]) * SECTOR, queue=n % 2)
        for queue in disk.queues:
            assert queue.ring.base_matches(base := queue.stop()), f"{base:#x} in {vars(queue.ring)}"
            queue.start(disk.front)
    assert disk.read(0, SECTOR, queue=1) == bytes([4]) * SECTOR


def test_queues_that_are_disabled_wait(talk, server):
    """A disabled ring is not served, and not forgotten."""
    needs(server, "disable")
    disk = talk(queues=2)
    disk.front.set_vring_enable(1, False)
    disk.read(0, SECTOR, queue=0)
    request = disk.submit(IN, want=SECTOR, queue=1)
    disk.queues[1].kick()
    disk.read(0, SECTOR, queue=0)
    assert not disk.queues[1].collect()
    disk.front.set_vring_enable(1, True)
    disk.queues[1].kick()
    assert disk.wait(request) == OK


def test_memory_added_and_removed(talk):
    """Hot-plugged memory is usable at once; and what stays is usable while others go."""
    disk = talk()
    assert disk.slots >= 8
    disk.write(0, b"a" * 4096)
    for n in range(3):
        (region,) = disk.memory.add_file([((2 + n) << 32, 2 << 20)], 0x6a00_0000_0000)
        disk.front.add_mem_reg(region)
        assert disk.read(0, 4096, region=len(disk.memory.regions) - 1) == b"a" * 4096
        disk.front.rem_mem_reg(region)
        disk.memory.regions.remove(region)
        os.close(region.fd)
        disk.memory.free.clear()
        assert disk.read(0, 4096) == b"a" * 4096


HUGE = 2 << 20


def free_huge_pages():
    pages = Path(f"/sys/kernel/mm/hugepages/hugepages-{HUGE >> 10}kB")
    count = {name: int((pages / name).read_text()) if pages.exists() else 0
             for name in ("free_hugepages", "resv_hugepages", "nr_overcommit_hugepages", "surplus_hugepages")}
    return count["free_hugepages"] - count["resv_hugepages"] + \
        count["nr_overcommit_hugepages"] - count["surplus_hugepages"]


class FileMemory(Memory):
    """In ordinary files."""

    def __init__(self, directory):
        self.directory = directory
        super().__init__()

    def make_file(self, length):
        fd, _ = tempfile.mkstemp(dir=self.directory)
        os.ftruncate(fd, length)
        return fd


class HugeMemory(Memory):
    """In huge pages, neither of whose ends is a region's."""

    def __init__(self, _):
        super().__init__(((0, 0xa0000), (0x100000, 4 << 20), (1 << 32, 4 << 20)))

    def make_file(self, length):
        fd = os.memfd_create("guest", os.MFD_HUGETLB | os.MFD_HUGE_2MB)
        os.ftruncate(fd, -(-length // HUGE) * HUGE)
        return fd


@pytest.mark.parametrize("memory", [FileMemory, HugeMemory], ids=["file", "huge"])
def test_other_kinds_of_memory(talk, tmp_path, memory):
    """Guests have theirs in files, and in huge pages, too."""
    if memory is HugeMemory and free_huge_pages() < 8:
        pytest.skip("this machine has no huge pages of 2 MiB to spare")
    disk = talk(queues=2, memory=memory(tmp_path), inflight=False)
    for n in range(4):
        data = os.urandom(64 << 10)
        disk.write(n * 128, data, queue=n % 2, parts=7)
        assert disk.read(n * 128, len(data), queue=1 - n % 2, parts=5, region=1 + n % 2) == data
    disk.stop()


def test_another_memory_table(talk):
    """The whole table is replaced while rings run, as front-ends without slots do."""
    disk = talk(protocol=(P_CONFIG, P_REPLY_ACK))
    disk.write(0, b"a" * 4096)
    for n in range(4):
        disk.memory.add_file([((2 + n) << 32, 2 << 20)], 0x6a00_0000_0000 + (n << 32))
        disk.front.set_mem_table(disk.memory.regions)
        assert disk.read(0, 4096, region=len(disk.memory.regions) - 1) == b"a" * 4096
        assert disk.read(0, 4096, region=2) == b"a" * 4096


def test_reconnects(talk, server):
    """A front-end that goes and comes again finds the disk; what it left in the ring is done then."""
    disk = talk(queues=2)
    for n in range(4):
        disk.write(n, bytes([n]) * SECTOR)
        disk.front.close()
        request = disk.submit(IN, n, want=SECTOR, queue=1, publish=False)
        disk.queues[1].ring.publish()
        disk.reconnect()
        assert disk.wait(request) == OK and request.data == bytes([n]) * SECTOR
    server.check_alive()


def test_the_server_dies(talk, server):
    """It is started again: the same rings, and nothing written is lost."""
    disk = talk(queues=1)
    disk.write(0, b"a" * 4096)
    server.kill()
    request = disk.submit(IN, want=4096, publish=False)
    disk.queues[0].ring.publish()
    server.start()
    disk.reconnect()
    assert disk.wait(request) == OK and request.data == b"a" * 4096


def test_who_was_not_called_is_called(talk, server):
    """A server that is killed between an answer and its interrupt leaves a driver that waits: the next one calls it."""
    disk = talk(queues=2)
    disk.read(0, SECTOR)
    server.kill()
    for queue in disk.queues:
        drain(queue.call_fd)                       # as if it had never come
    server.start()
    disk.reconnect()
    for queue in disk.queues:
        queue.wait_call()


def test_a_second_front_end(server):
    """One at a time; the second is served at the latest when the first is gone."""
    with Blk(server.path) as disk:
        disk.write(0, b"a" * SECTOR)
    with Blk(server.path) as disk:
        assert disk.read(0, SECTOR) == b"a" * SECTOR


def test_dirty_pages_are_logged(talk):
    """While a machine migrates, every page the device writes is marked: data, status, and the ring's used part."""
    disk = talk(protocol=(P_MQ, P_REPLY_ACK, P_CONFIG, P_LOG_SHMFD), more=(F_LOG_ALL,))
    disk.read(0, 4096)
    disk.start_logging()
    disk.log.take()
    at = disk.memory.alloc(3 * PAGE, PAGE, 2)
    head, status = disk.memory.alloc(16, PAGE), disk.memory.alloc(1, PAGE)
    disk.memory.alloc(PAGE, PAGE)
    disk.memory.write(head, struct.pack("<IIQ", IN, 0, 0))
    queue = disk.queues[0]
    token = queue.ring.add([(head, 16, False), (at, 3 * PAGE, True), (status, 1, True)])
    queue.publish()
    queue.wait([token])
    pages = set(disk.log.take())
    assert {at // PAGE + n for n in range(3)} | {status // PAGE} <= pages, f"{pages} of {at // PAGE}, {status // PAGE}"
    used = queue.ring.desc if disk.packed else queue.ring.device
    assert used // PAGE in pages, f"{pages}: the used ring is in {used // PAGE}"
    assert head // PAGE not in pages
    disk.write(0, b"x" * 4096)
    assert at // PAGE not in disk.log.take()


def test_inflight_region_follows(talk, server):
    """Where a restarted server would look what it had taken: nothing is left in it when all is answered."""
    needs(server, "inflight")
    disk = talk(inflight=True, queues=2, size=32)
    for n in range(40):
        disk.write(n, bytes([n]) * SECTOR, queue=n % 2)
    assert disk.inflight.slots(0, disk.packed) == disk.inflight.slots(1, disk.packed) == []


def test_kicks_in_band(talk, server):
    """Without eventfds for kicks: they are messages."""
    needs(server, "in-band")
    disk = talk(inband=True)
    disk.write(0, b"a" * SECTOR)
    assert disk.read(0, SECTOR) == b"a" * SECTOR


def test_status_and_reset(talk, server):
    """What a driver's reset does: rings stop, status is 0, and it all begins again."""
    needs(server, "status")
    disk = talk()
    assert disk.front.status() == ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
    disk.read(0, SECTOR)
    disk.stop()
    disk.front.set_status(0)
    assert disk.front.status() == 0
    for queue in disk.queues:
        queue.close()
    disk.make_queues()
    disk.front.set_features(disk.agreed)
    disk.start()
    disk.read(0, SECTOR)
