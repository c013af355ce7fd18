# SPDX-License-Identifier: BSD-3-Clause
"""A virtio-scsi controller over vhost-user, as a driver that behaves uses it: commands, their answers and residuals,
targets that come and go, task management, events."""
import os
import struct
import threading

import pytest

from gantry import Daemon, RpcError, cpus, wait_until
from vhost_user import F_EVENT_IDX, F_INDIRECT, F_LOG_ALL, PAGE, Memory
from virtio_scsi import (ABORT_TASK, ABORT_TASK_SET, CDB_SIZE, CLEAR_ACA, CLEAR_TASK_SET, CONTROL_AN_SUBSCRIBE,
                         EVENTS_MISSED, F_CHANGE, F_HOTPLUG, FIRST, I_T_NEXUS_RESET, LOGICAL_UNIT_RESET, PARAM_CHANGE,
                         QUERY_TASK, QUERY_TASK_SET, RESET_REMOVED, RESET_RESCAN, RESP_SIZE, S_ABORTED, S_BAD_TARGET,
                         S_FAILURE, S_FUNCTION_REJECTED, S_FUNCTION_SUCCEEDED, S_INCORRECT_LUN, S_OK, S_OVERRUN,
                         S_RESET, TRANSPORT_RESET, Scsi, lun_bytes)

MIB = 16
BLOCKS = MIB << 11
TEST_UNIT_READY = bytes(6)
INQUIRY = bytes([0x12, 0, 0, 0, 96, 0])
CHECK_CONDITION, CONFLICT, TASK_ABORTED = 2, 0x18, 0x40
ILLEGAL_REQUEST, UNIT_ATTENTION = 5, 6


def read10(lba, blocks):
    return struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0)


def write10(lba, blocks):
    return struct.pack(">BBIBHB", 0x2a, 0, lba, 0, blocks, 0)


def sense(done):
    """Key, ASC and ASCQ."""
    assert done.response == S_OK and done.status == CHECK_CONDITION and len(done.sense) >= 14, done
    return done.sense[2] & 0xf, done.sense[12], done.sense[13]


def is_reset(done):
    """Ended so that a driver sends it again."""
    return done.response == S_RESET or (done.response == S_OK and done.status == TASK_ABORTED)


class Host:
    """A daemon, and its controllers."""

    def __init__(self, daemon, sockets):
        self.daemon, self.sockets, self.count = daemon, sockets, 0
        self.rpc = daemon.rpc

    def controller(self, *disks, **how):
        self.count += 1
        name = f"hba{self.count}"
        self.rpc("vhost_create_scsi_controller", ctrlr=name, **how)
        for disk in disks:
            self.add(name, disk)
        return name

    def add(self, name, disk, number=-1):
        return self.rpc("vhost_scsi_controller_add_target", ctrlr=name, scsi_target_num=number, bdev_name=disk)

    def remove(self, name, number):
        return self.rpc("vhost_scsi_controller_remove_target", ctrlr=name, scsi_target_num=number)

    def path(self, name):
        return self.sockets / name

    def open(self, name, **how):
        return Scsi(self.path(name), **how)

    def shown(self, name):
        return self.rpc("vhost_get_controllers", name=name)[0]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    directory = tmp_path_factory.mktemp("vhost_scsi")
    sockets = directory / "s"
    sockets.mkdir()
    with Daemon(directory, "-m", cpus(2), "-S", sockets) as daemon:
        for n in range(3):
            daemon.malloc(f"disk{n}", mib=MIB, block_size=512)
        yield Host(daemon, sockets)


@pytest.fixture(autouse=True)
def show_log(host):
    yield
    print(f"--- the daemon's log\n{host.daemon.log_tail()}")
    host.daemon.check_alive()


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def packed(request):
    return request.param


@pytest.mark.parametrize("without", [(), (F_EVENT_IDX, F_INDIRECT)], ids=["all", "plain"])
def test_what_is_written_is_read_back(host, packed, without):
    """Over both request queues, in one piece and in many, on two targets that must not be mixed up."""
    name = host.controller("disk0", "disk1")
    with host.open(name, queues=2, packed=packed, without=without) as hba:
        wrote = {}
        for n, (target, queue, blocks) in enumerate([(0, 0, 1), (1, 1, 8), (0, 1, 256), (1, 0, 2000)]):
            wrote[target, n * 3000] = data = os.urandom(blocks * 512)
            hba.write(n * 3000, data, target=target, queue=queue)
        for (target, lba), data in wrote.items():
            assert hba.read(lba, len(data) // 512, target=target, queue=target) == data
    host.rpc("vhost_delete_controller", ctrlr=name)


@pytest.fixture
def hba(host, packed):
    """Two targets: a RAM disk, and a slow one as target 7. The controller goes with the test."""
    slow = f"slow{host.count}"
    host.daemon.malloc(f"under-{slow}", mib=MIB, block_size=512)
    host.rpc("bdev_delay_create", name=slow, base_bdev_name=f"under-{slow}", avg_read_latency=20_000_000,
             p99_read_latency=20_000_000, avg_write_latency=0, p99_write_latency=0)
    name = host.controller("disk0")
    host.add(name, slow, 7)
    with host.open(name, queues=2, packed=packed) as hba:
        hba.name, hba.slow = name, slow
        yield hba
    if any(c["ctrlr"] == name for c in host.rpc("vhost_get_controllers")):
        host.rpc("vhost_delete_controller", ctrlr=name)
    host.rpc("bdev_delay_delete", name=slow)
    host.rpc("bdev_malloc_delete", name=f"under-{slow}")


def quicken(host, hba, latency_us=300_000):
    """What is sent to the slow disk from now on takes less long."""
    for latency in ("avg_read", "p99_read"):
        host.rpc("bdev_delay_update_latency", delay_bdev_name=hba.slow, latency_type=latency, latency_us=latency_us)


def in_flight(host, hba, count):
    """Requests of its sessions that the device has."""
    wait_until(lambda: sum(s["inflight_task_cnt"] for s in host.shown(hba.name)["sessions"]) == count,
               f"{count} requests in flight")


# --- requests ---

def test_who_is_there(hba):
    """A target that is there answers; others do not, and their LUNs are those of the one that is there."""
    done = hba.command(INQUIRY, want=96)
    assert done.good and done.residual == 0 and done.data[0] == 0 and done.written == 108 + 96
    assert hba.command(INQUIRY, want=96, target=7).good
    assert hba.command(TEST_UNIT_READY).good
    for target in (1, 6, 8, 255):
        assert hba.command(INQUIRY, want=96, target=target).response == S_BAD_TARGET
    for where in (bytes(8), b"\xc1\x01" + bytes(6), lun_bytes(0)[1:] + b"\0"):
        assert hba.command(INQUIRY, want=96, where=where).response == S_BAD_TARGET
    assert hba.command(INQUIRY, want=96, lun=1).data[0] == 0x7f, "there is a LUN 1"
    assert sense(hba.command(TEST_UNIT_READY, lun=1)) == (ILLEGAL_REQUEST, 0x25, 0)
    plain = b"\1\0\0\0\0\0\0\0"                    # the peripheral device format is as good as the flat one
    assert hba.command(INQUIRY, want=96, where=plain).data[0] == 0
    report = hba.command(struct.pack(">BBBBBBIBB", 0xa0, 0, 0, 0, 0, 0, 16, 0, 0), want=16)
    assert report.good and report.data == struct.pack(">IIQ", 8, 0, 0)


def test_more_and_less_data_than_the_command_moves(hba):
    """Too much room is the residual; too little is an overrun, and nothing is written."""
    assert hba.command(INQUIRY, want=200).residual == 200 - 96
    done = hba.command(read10(0, 2), want=4096)
    assert done.good and done.residual == 3072 and done.written == 108 + 1024 and done.data[1024:] == b"\xa5" * 3072
    assert hba.command(write10(0, 1), out=b"x" * 1024).residual == 512
    hba.write(50, b"y" * 1024)
    assert hba.command(write10(50, 2), out=b"z" * 1023).response == S_OVERRUN
    assert hba.command(read10(0, 2), want=512).response == S_OVERRUN
    assert hba.command(read10(0, 2), out=b"x" * 1024).response == S_OVERRUN
    assert hba.command(write10(50, 2), want=1024).response == S_OVERRUN
    assert hba.read(50, 2) == b"y" * 1024
    assert hba.command(TEST_UNIT_READY, want=512).residual == 512
    assert hba.command(read10(0, 1), out=b"x" * 512, want=512).response == S_FAILURE, "both ways at once"


def test_long_commands_go_in_pieces(host, packed):
    """A command may move 32 MiB: copied at once it would hold its core, and everybody else's queues there."""
    name = host.controller("disk2")
    blocks = (5 << 11) // 2 + 1                     # two pieces and a half, and a block

    def counts():
        (stat,) = host.rpc("bdev_get_iostat", names=["disk2"])["bdevs"]
        return [stat[key] for key in ("num_read_ops", "bytes_read", "num_write_ops", "bytes_written")]
    layout = [(gpa, size if gpa == 0 else 32 << 20) for gpa, size in Memory.DEFAULT]
    with host.open(name, queues=2, packed=packed, memory=Memory(layout)) as hba:
        data, before = os.urandom(blocks * 512), counts()
        hba.write(7, data)
        assert hba.read(7, blocks) == data
        assert [now - was for now, was in zip(counts(), before)] == [3, len(data), 3, len(data)]
        done = hba.command(read10(7, blocks), want=len(data) + 4096)
        assert done.good and done.residual == 4096 and done.written == 108 + len(data)
        assert done.data[:len(data)] == data and done.data[len(data):] == b"\xa5" * 4096
        assert hba.command(write10(7, blocks), out=bytes(len(data) + 512)).residual == 512
        beyond = hba.command(write10(BLOCKS - blocks + 1, blocks), out=data)
        assert sense(beyond) == (ILLEGAL_REQUEST, 0x21, 0)
        assert hba.read(BLOCKS - blocks + 1, blocks - 1) == bytes(len(data) - 512), "and nothing of it is there"
        hba.write(7, data)
        verify = struct.pack(">BBIBHB", 0x2f, 2, 7, 0, blocks, 0)
        assert hba.command(verify, out=data).good
        wrong = bytearray(data)
        wrong[-1] ^= 1
        assert sense(hba.command(verify, out=bytes(wrong)))[0] == 0xe
    host.rpc("vhost_delete_controller", ctrlr=name)


def test_a_long_command_is_aborted_between_two_pieces(host, hba):
    """What was moved was moved, and the rest is not."""
    quicken(host, hba, 3_000_000)                # time enough to make the third piece slower than the first
    long = hba.submit(read10(0, 6144), want=6144 * 512, target=7)
    in_flight(host, hba, 1)
    quicken(host, hba, 200_000_000)
    wait_until(lambda: host.rpc("bdev_get_iostat", names=[hba.slow])["bdevs"][0]["num_read_ops"], "the first piece")
    assert hba.tmf(ABORT_TASK, target=7, tag=long[2]) == S_OK
    done = hba.wait(long)
    assert done.response == S_ABORTED and done.data[:1 << 20] == bytes(1 << 20) and set(done.data[-512:]) == {0xa5}


def long_reads(hba, count=9):
    """In pieces of a MiB, on both queues, which are on different cores."""
    return [hba.submit(read10(0, 6144), want=6144 * 512, queue=n % 2, publish=n >= count - 2) for n in range(count)]


@pytest.fixture
def long_hba(host, packed):
    """With room for many long commands."""
    name = host.controller("disk2")
    layout = [(gpa, size if gpa == 0 else 32 << 20) for gpa, size in Memory.DEFAULT]
    with host.open(name, queues=2, packed=packed, memory=Memory(layout)) as hba:
        hba.name = name
        (session,) = host.shown(name)["sessions"]
        for queue, reactor in ((0, 0), (2, 0), (3, 1)):
            host.rpc("vhost_move_queue", ctrlr=name, id=session["id"], queue=queue, reactor=reactor)
        hba.write(0, bytes(512))
        yield hba
    host.rpc("vhost_delete_controller", ctrlr=name)


@pytest.mark.parametrize("function", [ABORT_TASK, ABORT_TASK_SET, LOGICAL_UNIT_RESET, I_T_NEXUS_RESET])
def test_task_management_finds_what_waits_for_its_next_piece(long_hba, function):
    """Once it is answered, nothing more reaches the guest's memory for that command: it was answered before, also by a
    queue of another core."""
    for n in range(20):
        longs = long_reads(long_hba, 8 + n % 2)
        queue, token, tag, _ = longs[-1]
        firsts = [data for _, _, _, (_, data, *_) in longs[-2:]]
        wait_until(lambda: all(long_hba.memory.read(data, 1) == b"\0" for data in firsts), "their first pieces", 60, 0)
        assert long_hba.tmf(function, tag=tag) == S_OK
        for q in long_hba.queues[2:]:
            q.collect()
        assert token in queue.done
        assert function == ABORT_TASK or all(token in q.done for q, token, *_ in longs)
        assert {long_hba.wait(long).response for long in longs} <= {S_OK, S_ABORTED, S_RESET}
        while not long_hba.command(TEST_UNIT_READY).good:
            pass                                       # a unit attention for each core's lane
        while not long_hba.command(TEST_UNIT_READY, queue=1).good:
            pass


def test_a_target_goes_while_commands_wait_for_their_next_piece(host, long_hba):
    """They end before it is gone."""
    longs = long_reads(long_hba)
    host.remove(long_hba.name, 0)
    for q in long_hba.queues[2:]:
        q.collect()
    assert {long_hba.wait(long).response for long in longs} <= {S_OK, S_ABORTED, S_BAD_TARGET}
    host.add(long_hba.name, "disk2", 0)


def test_sense_and_attributes(hba):
    """What a command comes to is told, and nothing is done that a bad attribute asks for."""
    assert sense(hba.command(read10(BLOCKS, 1), want=512)) == (ILLEGAL_REQUEST, 0x21, 0)
    assert sense(hba.command(bytes([0xff] + [0] * 9))) == (ILLEGAL_REQUEST, 0x20, 0)
    assert sense(hba.command(read10(BLOCKS - 1, 2), want=1024)) == (ILLEGAL_REQUEST, 0x21, 0)
    for attr in (0, 1, 2):
        assert hba.command(TEST_UNIT_READY, attr=attr).good
    for attr in (3, 4, 255):
        assert sense(hba.command(TEST_UNIT_READY, attr=attr))[0] == ILLEGAL_REQUEST
    key = hba.command(bytes([3, 0, 0, 0, 18, 0]), want=18).data[2] & 0xf
    assert key == 0, "REQUEST SENSE finds what was told already"


def test_ordered_commands_wait_for_older_ones(hba):
    """An ORDERED command would overtake, or be overtaken."""
    slow = hba.submit(read10(0, 1), want=512, target=7)
    ordered = hba.submit(TEST_UNIT_READY, target=7, attr=1)
    assert hba.command(TEST_UNIT_READY, target=7, attr=2).good, "HEAD OF QUEUE waits for nobody"
    assert hba.command(TEST_UNIT_READY).good, "another target has nothing to do with it"
    queue = hba.queues[2]
    queue.collect()
    assert ordered[1] not in queue.done
    assert hba.tmf(LOGICAL_UNIT_RESET, target=7) == S_OK
    assert is_reset(hba.wait(slow)) and is_reset(hba.wait(ordered))


def test_unmap_reads_its_list_once(hba):
    """And write zeroes, and write same: what is gone reads as zeroes."""
    hba.write(0, b"x" * 8192)
    ranges = struct.pack(">HHIQII", 22, 16, 0, 4, 4, 0)
    assert hba.command(struct.pack(">BBIBHB", 0x42, 0, 0, 0, len(ranges), 0), out=ranges).good
    assert hba.read(0, 16) == b"x" * 2048 + bytes(2048) + b"x" * 4096
    assert hba.command(struct.pack(">BBQIBB", 0x93, 0, 8, 2, 0, 0), out=b"ab" * 256).good
    assert hba.read(8, 3) == b"ab" * 512 + b"x" * 512


def test_sizes_that_a_driver_may_choose(hba):
    """Sense and CDB have other lengths then, until the next reset; the rest of the configuration cannot be written."""
    before = hba.config()
    assert before["sense_size"] == 96 and before["cdb_size"] == 32 and before["max_target"] == 255
    assert before["num_queues"] == 126 and before["seg_max"] == 126 and before["event_info_size"] == 16
    assert before["max_channel"] == 0 and before["max_lun"] == 255
    for offset, data in ((0, bytes(4)), (28, bytes(2)), (16, bytes(8)), (24, struct.pack("<I", 256)),
                         (24, struct.pack("<I", 0)), (20, struct.pack("<I", 65536))):
        with pytest.raises(AssertionError):
            hba.front.set_config(offset, data)
    hba.front.set_config(20, struct.pack("<II", 18, 16))
    assert {**before, "sense_size": 18, "cdb_size": 16} == hba.config()
    memory, q = hba.memory, hba.queues[2]
    request = lun_bytes(0) + struct.pack("<QBBB", 77, 0, 0, 0) + read10(BLOCKS, 1).ljust(16, b"\0")
    at, answer = memory.alloc(len(request)), memory.alloc(30 + 512)
    memory.write(at, request)
    token = q.ring.add([(at, len(request), False), (answer, 30 + 512, True)])
    q.publish()
    q.wait([token])
    sense_len, residual, _, status, response = struct.unpack("<IIHBB", memory.read(answer, 12))
    assert (sense_len, residual, status, response) == (18, 512, CHECK_CONDITION, S_OK)
    hba.front.set_config(20, struct.pack("<II", 96, 32))
    assert hba.command(INQUIRY, want=96).good


def test_dirty_pages_are_logged(host, packed):
    """While a machine migrates: data and answers, those of task management, events, and the rings' used parts."""
    name = host.controller("disk0")
    with host.open(name, packed=packed, more=(F_LOG_ALL,)) as hba:
        hba.start_logging()
        memory, queue = hba.memory, hba.queues[FIRST]
        head, answer, data = memory.alloc(PAGE, PAGE), memory.alloc(PAGE, PAGE), memory.alloc(3 * PAGE, PAGE, 2)

        def pages_of(cdb, *descs):
            hba.log.take()
            memory.write(head, lun_bytes(0) + struct.pack("<QBBB", 1, 0, 0, 0) + cdb.ljust(CDB_SIZE, b"\0"))
            token = queue.ring.add([(head, 19 + CDB_SIZE, False), *descs])
            queue.publish()
            queue.wait([token])
            return set(hba.log.take())
        read = pages_of(read10(0, 16), (answer, RESP_SIZE, True), (data, 2 * PAGE, True))
        used = queue.ring.desc if packed else queue.ring.device
        assert {at // PAGE for at in (answer, data, data + PAGE, used)} <= read
        assert not {head // PAGE, data // PAGE + 2} & read
        wrote = pages_of(write10(0, 16), (data, 2 * PAGE, False), (answer, RESP_SIZE, True))
        assert answer // PAGE in wrote and not {data // PAGE, data // PAGE + 1} & wrote
        hba.expect_events(1)
        event = next(iter(hba.events.values()))
        host.add(name, "disk1", 5)
        assert hba.event()[0] == TRANSPORT_RESET and event // PAGE in hba.log.take()
        answer = memory.alloc(1)
        memory.give(answer, 1)                     # the next one's
        assert hba.tmf(LOGICAL_UNIT_RESET) == S_OK
        assert answer // PAGE in hba.log.take()
    host.rpc("vhost_delete_controller", ctrlr=name)


# --- task management ---

def test_abort_task(host, hba):
    """On whichever core it is, it ends, and ends before the function does; others go on."""
    tasks = [hba.submit(read10(n, 1), want=512, target=7, queue=n % 2) for n in range(4)]
    in_flight(host, hba, 4)
    assert hba.tmf(QUERY_TASK, target=7, tag=tasks[2][2]) == S_FUNCTION_SUCCEEDED
    assert hba.tmf(QUERY_TASK, target=7, tag=999) == S_OK
    assert hba.tmf(QUERY_TASK, target=0, tag=tasks[2][2]) == S_OK
    for n in (1, 2):
        assert hba.tmf(ABORT_TASK, target=7, tag=tasks[n][2]) == S_OK
        tasks[n][0].collect()
        assert tasks[n][1] in tasks[n][0].done, "the function is answered, and the task is not"
        assert hba.wait(tasks[n]).response == S_ABORTED
    assert hba.tmf(ABORT_TASK, target=7, tag=tasks[1][2]) == S_OK, "it is not there: that is as good"
    assert hba.tmf(QUERY_TASK_SET, target=7) == S_FUNCTION_SUCCEEDED
    assert hba.tmf(ABORT_TASK_SET, target=7) == S_OK
    assert hba.tmf(QUERY_TASK_SET, target=7) == S_OK
    assert [hba.wait(tasks[n]).response for n in (0, 3)] == [S_ABORTED] * 2


@pytest.mark.parametrize("function", [ABORT_TASK_SET, CLEAR_TASK_SET, LOGICAL_UNIT_RESET, I_T_NEXUS_RESET])
def test_all_tasks_of_a_unit_end(host, hba, function):
    """Of all queues; and the answer to the function comes behind theirs."""
    tasks = [hba.submit(read10(n, 1), want=512, target=7, queue=n % 2) for n in range(10)]
    in_flight(host, hba, 10)
    assert hba.tmf(function, target=7) == S_OK
    for queue in hba.queues[2:]:
        queue.collect()
    assert all(q.done.get(token) is not None for q, token, _, _ in tasks), "the function is answered before its tasks"
    done = [hba.wait(task) for task in tasks]
    if function in (ABORT_TASK_SET, CLEAR_TASK_SET):
        assert {d.response for d in done} == {S_ABORTED}
    else:
        assert all(map(is_reset, done)), done
        assert sense(hba.command(TEST_UNIT_READY, target=7))[:2] == (UNIT_ATTENTION, 0x29)
    assert hba.command(TEST_UNIT_READY).good, "another target heard of it"


def test_functions_that_there_are_not(hba):
    """Each is answered, and harms nobody."""
    assert hba.tmf(CLEAR_ACA) == S_FUNCTION_REJECTED
    assert hba.tmf(8) == hba.tmf(0xffffffff) == S_FUNCTION_REJECTED
    assert hba.tmf(LOGICAL_UNIT_RESET, target=3) == hba.tmf(ABORT_TASK, target=3) == S_BAD_TARGET
    assert hba.tmf(LOGICAL_UNIT_RESET, lun=1) == hba.tmf(ABORT_TASK, lun=1) == S_INCORRECT_LUN
    assert hba.async_query(0xffffffff) == (0, S_OK)
    assert hba.async_query(2, kind=CONTROL_AN_SUBSCRIBE) == (0, S_OK)
    assert hba.async_query(2, target=9) == (0, S_BAD_TARGET)
    assert hba.control(struct.pack("<I", 3) + bytes(20), 1)[0] == S_FUNCTION_REJECTED
    assert hba.command(TEST_UNIT_READY).good


# --- one nexus, whatever core its queues are on ---

def test_queues_are_one_initiator(host, hba):
    """A reservation would keep its own holder out, or let another guest in."""
    hold = struct.pack(">BBBBBBBHB", 0x5f, 0, 0, 0, 0, 0, 0, 24, 0)
    with host.open(hba.name, queues=2) as other:
        assert hba.command(hold, out=struct.pack(">QQ8x", 0, 0xabc)).good
        reserve = bytes([0x5f, 1, 1]) + hold[3:]
        assert hba.command(reserve, out=struct.pack(">QQ8x", 0xabc, 0), queue=1).good
        for queue in (0, 1):
            hba.write(queue, b"h" * 512, queue=queue)
            assert other.command(write10(0, 1), out=b"o" * 512, queue=queue).status == CONFLICT
            assert other.read(queue, 1, queue=queue) == b"h" * 512
        assert hba.command(hold, out=struct.pack(">QQ8x", 0xabc, 0), queue=1).good
        # It hears that the reservation was released, maybe; then it can write.
        wait_until(lambda: other.command(write10(0, 1), out=b"o" * 512).good, "the other guest to write")


def test_who_changes_a_mode_page_hears_nothing_of_it(hba):
    """On none of its queues."""
    data = bytes([0, 0, 0, 0]) + bytes([0x0a, 10, 2, 0x10, 0x08, 0x40, 0, 0, 0xff, 0xff, 0, 0])
    now = hba.command(bytes([0x1a, 8, 0x0a, 0, 64, 0]), want=64).data
    page = bytearray(now[4:16])
    page[4] ^= 8                                   # SWP
    done = hba.command(bytes([0x15, 0x10, 0, 0, len(data), 0]), out=bytes(4) + bytes(page))
    assert done.good, done
    assert all(hba.command(TEST_UNIT_READY, queue=queue).good for queue in (0, 1))
    assert sense(hba.command(write10(0, 1), out=bytes(512), queue=1))[0] == 7
    page[4] ^= 8
    assert hba.command(bytes([0x15, 0x10, 0, 0, len(data), 0]), out=bytes(4) + bytes(page), queue=1).good
    assert hba.command(write10(0, 1), out=bytes(512)).good


# --- targets come and go ---

def test_hot_plug(host, hba):
    """A target that is added can be used at once, and the driver is told; one that goes is no more."""
    hba.expect_events(4)
    assert host.add(hba.name, "disk1") == 1
    assert hba.event() == (TRANSPORT_RESET, b"\1\1" + bytes(6), RESET_RESCAN)
    hba.write(0, b"p" * 512, target=1, queue=1)
    assert hba.read(0, 1, target=1) == b"p" * 512
    host.remove(hba.name, 1)
    assert hba.event() == (TRANSPORT_RESET, b"\1\1" + bytes(6), RESET_REMOVED)
    assert hba.command(TEST_UNIT_READY, target=1).response == S_BAD_TARGET
    host.add(hba.name, "disk2", 1)
    assert hba.event()[2] == RESET_RESCAN
    assert hba.read(0, 1, target=1) == bytes(512)


def test_removed_with_requests_in_flight(host, hba):
    """They end, the target goes, and a task management function for it is answered."""
    tasks = [hba.submit(read10(n, 1), want=512, target=7, queue=n % 2) for n in range(8)]
    in_flight(host, hba, 8)
    host.remove(hba.name, 7)
    assert {hba.wait(task).response for task in tasks} == {S_ABORTED}
    assert hba.tmf(LOGICAL_UNIT_RESET, target=7) == S_BAD_TARGET
    hba.write(0, b"w" * 512)


def test_a_disk_that_is_deleted_takes_its_target_along(host, hba):
    """The guest would keep a disk that answers nothing."""
    host.daemon.malloc("mortal", mib=1, block_size=512)
    hba.expect_events(4)
    number = host.add(hba.name, "mortal")
    hba.write(0, b"m" * 512, target=number)
    host.rpc("bdev_malloc_delete", name="mortal")
    assert [hba.event()[2] for _ in range(2)] == [RESET_RESCAN, RESET_REMOVED]
    wait_until(lambda: [t["scsi_dev_num"] for t in host.shown(hba.name)["backend_specific"]["scsi"]] == [0, 7],
               "the target to go")
    assert hba.command(TEST_UNIT_READY, target=number).response == S_BAD_TARGET


def test_events_that_are_missed(host, hba):
    """Without buffers some are kept; when they are too many the driver is told that it has to look itself."""
    for _ in range(20):                            # two each
        host.remove(hba.name, host.add(hba.name, "disk1"))
    hba.expect_events(64)
    events = [hba.event() for _ in range(32)]
    assert events[0][0] == TRANSPORT_RESET | EVENTS_MISSED
    assert {event for event, _, _ in events[1:]} == {TRANSPORT_RESET}
    host.add(hba.name, "disk1")
    assert hba.event()[0] == TRANSPORT_RESET


def test_a_new_size_is_told(host, hba):
    """By event, once however many queues there are, and by unit attention."""
    host.daemon.null("rubber", mib=16)
    hba.expect_events(8)
    number = host.add(hba.name, "rubber")
    assert hba.event()[2] == RESET_RESCAN
    assert all(hba.command(TEST_UNIT_READY, target=number, queue=queue).good for queue in (0, 1))
    for size in (32, 64):
        host.rpc("bdev_null_resize", name="rubber", new_size=size)
        assert hba.event() == (PARAM_CHANGE, bytes([1, number, 0, 0, 0, 0, 0, 0]), 0x092a)
        assert sense(hba.command(TEST_UNIT_READY, target=number)) == (UNIT_ATTENTION, 0x2a, 9)
        capacity = hba.command(bytes([0x25] + [0] * 9), want=8, target=number)
        assert capacity.data == struct.pack(">II", (size << 11) - 1, 512)
    host.rpc("bdev_null_delete", name="rubber")
    assert hba.event()[2] == RESET_REMOVED


def test_a_driver_that_wants_no_events_gets_none(host):
    """Buffers would be used that it does not look at."""
    name = host.controller("disk0")
    with host.open(name, without=()) as hba:
        hba.stop()
        hba.front.set_features(hba.agreed & ~(1 << F_HOTPLUG | 1 << F_CHANGE))
        hba.start()
        hba.expect_events(2)
        host.add(name, "disk1")
        assert hba.command(TEST_UNIT_READY, target=1).good
        hba.queues[1].collect()
        assert not hba.queues[1].done
    host.rpc("vhost_delete_controller", ctrlr=name)


# --- the end of things, with requests in flight ---

def test_deleted_with_requests_in_flight(host, hba):
    """The method would hang, or memory be used that is gone."""
    quicken(host, hba)
    for n in range(8):
        hba.submit(read10(n, 1), want=512, target=7, queue=n % 2)
    in_flight(host, hba, 8)
    host.rpc("vhost_delete_controller", ctrlr=hba.name)


def test_front_end_goes_and_comes_with_requests_in_flight(host, hba):
    """The next one would find what was left by the last, or wait for ever."""
    quicken(host, hba)
    for _ in range(3):
        for n in range(8):
            hba.submit(read10(n, 1), want=512, target=7, queue=n % 2)
        in_flight(host, hba, 8)
        hba.front.close()
        with host.open(hba.name, queues=2) as next_one:
            next_one.write(3, b"n" * 512)
            assert next_one.command(TEST_UNIT_READY, target=7).good
        hba.connect()
        hba.make_queues()
        hba.start()


def test_reset_with_requests_in_flight(host, hba):
    """Queues stop when their requests have ended; what was reserved and attended to before is forgotten."""
    quicken(host, hba)
    tasks = [hba.submit(read10(n, 1), want=512, target=7, queue=n % 2) for n in range(8)]
    in_flight(host, hba, 8)
    hba.front.set_status(0)
    wait_until(lambda: not any(s["started"] for s in host.shown(hba.name)["sessions"]), "all queues to stop")
    for queue in hba.queues:
        queue.collect()
    assert all(hba.wait(task).good for task in tasks)
    hba.front.close()
    hba.connect()
    hba.make_queues()
    hba.start()
    assert all(hba.command(TEST_UNIT_READY, target=target).good for target in (0, 7))


# --- wrong ones ---

def raw(hba, queue, descs):
    q = hba.queues[queue]
    q.ring.add([(hba.memory.alloc(length), length, write) for length, write in descs])
    q.publish()
    return q


@pytest.mark.parametrize("queue, descs", [
    (2, [(50, False), (108, True)]), (2, [(51, False)]), (2, [(51, False), (107, True)]), (2, [(108, True)]),
    (2, [(4096, False), (4, True)]), (0, [(3, False), (1, True)]), (0, [(24, False)]), (0, [(20, False), (5, True)]),
    (1, [(15, True)]), (1, [(64, False)]),
], ids=str)
def test_a_request_that_is_none_stops_its_queue(host, hba, queue, descs):
    """And nothing else: the other queues go on, the daemon too."""
    q = raw(hba, queue, descs)
    if queue == 1:
        host.add(hba.name, "disk1")
    assert q.has_error()
    assert hba.command(TEST_UNIT_READY, queue=1).good


# --- methods ---

def test_what_is_shown_and_refused(host):
    """Shapes are SPDK's; what is wrong is said in a sentence."""
    name = host.controller(delay=True)
    assert host.add(name, "disk0", 5) == 5
    assert host.shown(name)["backend_specific"] == {"scsi": [
        {"scsi_dev_num": 5, "id": 5, "target_name": "Target 5", "luns": [{"id": 0, "bdev_name": "disk0"}]}]}
    assert not host.path(name).exists()
    host.rpc("vhost_start_scsi_controller", ctrlr=name)
    host.rpc("vhost_start_scsi_controller", ctrlr=name)
    assert host.path(name).exists()
    for number, disk, code in ((5, "disk1", -17), (-1, "nosuch", -19), (0, "x" * 300, -19)):
        with pytest.raises(RpcError) as e:
            host.add(name, disk, number)
        assert e.value.code == code, e.value
    with pytest.raises(RpcError, match="has no target 6"):
        host.remove(name, 6)
    with pytest.raises(RpcError, match="hba"):
        host.rpc("vhost_create_scsi_controller", ctrlr=name)
    host.rpc("vhost_create_blk_controller", ctrlr="notscsi", dev_name="disk2")
    for call in (lambda: host.add("notscsi", "disk1"), lambda: host.remove("notscsi", 0),
                 lambda: host.rpc("vhost_start_scsi_controller", ctrlr="notscsi")):
        with pytest.raises(RpcError, match="block controller"):
            call()
    host.rpc("vhost_delete_controller", ctrlr="notscsi")
    assert host.remove(name, 5) is True
    host.rpc("vhost_delete_controller", ctrlr=name)


def test_many_targets(host):
    """All 256, each with its own disk behind it; and all go together."""
    for n in range(256):
        host.daemon.null(f"many{n}", mib=n + 1)
    name = host.controller(*(f"many{n}" for n in range(256)))
    with pytest.raises(RpcError, match="as many as 256"):
        host.add(name, "disk0")
    with host.open(name, queues=2) as hba:
        for n in range(256):
            capacity = hba.command(bytes([0x25] + [0] * 9), want=8, target=n, queue=n % 2)
            assert capacity.data == struct.pack(">II", (n + 1 << 11) - 1, 512)
        host.rpc("vhost_delete_controller", ctrlr=name)
    for n in range(256):
        host.rpc("bdev_null_delete", name=f"many{n}")


def test_targets_come_and_go_under_load(host, hba):
    """Commands would meet a target half made, or half gone."""
    stop = threading.Event()

    def change():
        while not stop.is_set():
            host.remove(hba.name, host.add(hba.name, "disk1", 3))
    changer = threading.Thread(target=change)
    changer.start()
    try:
        responses = set()
        for n in range(400):
            tasks = [hba.submit(read10(lba, 8), want=4096, target=3, queue=n % 2, publish=lba == 7)
                     for lba in range(8)]
            responses |= {hba.wait(task).response for task in tasks}
        assert responses <= {S_OK, S_ABORTED, S_BAD_TARGET}
    finally:
        stop.set()
        changer.join()


def test_queues_move_under_everything(host, hba):
    """Commands, functions and events would get lost, or be answered where the queue is no more."""
    hba.expect_events(120)
    cores = host.rpc("framework_get_reactors")["reactors"]
    (session,) = host.shown(hba.name)["sessions"]
    added, moved = 0, 0
    for n in range(60):
        queue = n % 4
        tasks = [hba.submit(read10(lba, 8), want=4096, queue=n % 2, publish=lba == 7) for lba in range(8)]
        try:
            host.rpc("vhost_move_queue", ctrlr=hba.name, id=session["id"], queue=queue, reactor=n // 4 % len(cores))
            moved += 1
        except RpcError as e:
            assert "already" in e.message or "is there" in e.message or e.code in (-16, -114), e
        assert all(hba.wait(task).good for task in tasks)
        assert hba.tmf(QUERY_TASK_SET) == S_OK
        host.remove(hba.name, host.add(hba.name, "disk1", 3))
        added += 1
    assert moved >= 20
    assert [hba.event()[2] for _ in range(2 * added)] == [RESET_RESCAN, RESET_REMOVED] * added
