# SPDX-License-Identifier: BSD-3-Clause
"""A disk that does not answer: who stops its queues, or comes after another front-end, is answered all the same, and
what was under way is done later, or told as an error, never forgotten and never done behind something newer."""
import os
import struct
from dataclasses import replace

import pytest

from gantry import Daemon, RpcError, wait_until
from vhost_back import BackEnd
from vhost_user import (Ended, F_LOG_ALL, P_CONFIG, P_LOG_SHMFD, P_MQ, P_REPLY_ACK, REM_MEM_REG, Refused,
                        SET_DEVICE_STATE_FD)
from virtio_blk import IN, IOERR, OK, OUT, SECTOR, Blk
from virtio_scsi import LOGICAL_UNIT_RESET, S_FUNCTION_REJECTED, S_OK, S_RESET, Scsi, lun_bytes

DISK = "EE_ram"
P_DEVICE_STATE = 19
READ = struct.pack(">BBIBHB", 0x28, 0, 0, 0, 8, 0)


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path, "-S", tmp_path) as daemon:
        daemon.tell("bdev_malloc_create", name="ram", num_blocks=2048, block_size=SECTOR)
        daemon.tell("bdev_error_create", base_name="ram")
        daemon.tell("vhost_create_blk_controller", ctrlr="vm", dev_name=DISK, patience_ms=300)
        yield daemon
        daemon.check_alive()


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def packed(request):
    return request.param


def answers(daemon, does):
    """Whether the disk does, from now on."""
    kind = {"io_type": "clear", "error_type": "failure"} if does else \
        {"io_type": "all", "error_type": "pending", "num": 1 << 20}
    daemon.tell("bdev_error_inject_error", name=DISK, **kind)


def taken(daemon, count):
    wait_until(lambda: sum(s["inflight_task_cnt"] for c in daemon.rpc("vhost_get_controllers") for s in c["sessions"])
               == count, f"{count} requests to be taken")


def dead_disk(daemon, disk, count=6):
    """Requests that it will not answer."""
    answers(daemon, False)
    writes = [disk.submit(OUT, 8 * n, out=bytes([n + 1]) * 4096, queue=n % 2) for n in range(count)]
    taken(daemon, count)
    return writes


def test_what_a_region_tells_of_is_done_later(daemon, packed):
    """GET_VRING_BASE is answered; the guest, whose queues go on some day, hears of no error."""
    with Blk(daemon.directory / "vm", queues=2, size=32, packed=packed, inflight=True) as disk:
        for n in range(40):
            disk.write(n, bytes(SECTOR), queue=n % 2)
        writes = dead_disk(daemon, disk)
        for _ in range(2):                             # and once more, while they are still out
            disk.stop()
            assert [len(disk.inflight.slots(n, packed)) for n in (0, 1)] == [3, 3]
            for queue in disk.queues:
                assert not queue.collect()
                queue.start(disk.front)
            taken(daemon, 6)
        answers(daemon, True)
        disk.stop()
        for queue in disk.queues:
            queue.start(disk.front)
        assert disk.wait(*writes) == OK
        assert disk.inflight.slots(0, packed) == disk.inflight.slots(1, packed) == []
        for n in range(6):
            assert disk.read(8 * n, 4096, queue=n % 2) == bytes([n + 1]) * 4096
    assert "GET_VRING_BASE waits for requests of 1 queue, which its disk has had for more than 300 ms" in daemon.log()


def test_without_a_region_they_fail(daemon, packed):
    """There is nobody who would do them."""
    with Blk(daemon.directory / "vm", queues=2, packed=packed) as disk:
        writes = dead_disk(daemon, disk)
        disk.stop()
        for write in writes:
            assert disk.wait(write) == IOERR
        answers(daemon, True)
        for queue in disk.queues:
            queue.start(disk.front)
        disk.write(0, b"x" * 4096)
        assert disk.read(0, 4096, queue=1) == b"x" * 4096


def test_a_machine_that_moves_hears_of_them(daemon):
    """Its region stays behind."""
    protocol = (P_MQ, P_REPLY_ACK, P_CONFIG, P_LOG_SHMFD, 12)
    with Blk(daemon.directory / "vm", queues=2, inflight=True, protocol=protocol, more=(F_LOG_ALL,)) as disk:
        disk.start_logging()
        writes = dead_disk(daemon, disk)
        disk.stop()
        for write in writes:
            assert disk.wait(write) == IOERR
        assert disk.inflight.slots(0, False) == disk.inflight.slots(1, False) == []


def moves(disk, path):
    """Without the region, as a machine that stood still when its move began: the bases go along, and its memory."""
    for queue, base in zip(disk.queues, disk.stop()):
        queue.ring.base = lambda base=base: base
    disk.inflight.close()
    disk.inflight, disk.path = None, path
    disk.reconnect()


def test_what_a_standing_machine_takes_along(daemon, packed):
    """All that was left, when nothing behind it was done: the other end has it from the ring."""
    daemon.tell("vhost_create_blk_controller", ctrlr="there", dev_name=DISK)
    with Blk(daemon.directory / "vm", queues=2, size=32, packed=packed, inflight=True) as disk:
        for n in range(45):
            disk.write(n, bytes(SECTOR), queue=n % 2)
        writes = dead_disk(daemon, disk)
        disk.stop()                                    # and once more: one that was left is left again
        for queue in disk.queues:
            queue.start(disk.front)
        taken(daemon, 6)
        disk.stop()
        answers(daemon, True)
        moves(disk, daemon.directory / "there")
        assert disk.wait(*writes) == OK
        for n in range(6):
            assert disk.read(8 * n, 4096, queue=n % 2) == bytes([n + 1]) * 4096


def test_what_a_standing_machine_cannot_take_along(daemon, packed):
    """One that was left among others that were done: the other end would do one of those again instead of it. It is
    refused there, and the device's state here; where the region is it is done."""
    daemon.tell("vhost_create_blk_controller", ctrlr="there", dev_name=DISK)
    disk = Blk(daemon.directory / "vm", size=32, packed=packed, inflight=True,
               protocol=(*Blk.PROTOCOL, P_DEVICE_STATE))
    daemon.tell("bdev_error_inject_error", name=DISK, io_type="write", error_type="pending", num=1)
    left = disk.submit(OUT, 0, out=b"l" * 4096)
    taken(daemon, 1)
    for n in range(3):
        disk.write(64 + n, bytes(SECTOR))
    disk.stop()
    theirs, ours = os.pipe()
    state = disk.front.ask(SET_DEVICE_STATE_FD, struct.pack("<II", 0, 0), [ours]).u64
    assert state & 0xff, "its state was saved"
    os.close(theirs)
    os.close(ours)
    disk.queues[0].start(disk.front)
    assert disk.wait(left) == OK and disk.read(0, 4096) == b"l" * 4096

    daemon.tell("bdev_error_inject_error", name=DISK, io_type="write", error_type="pending", num=1)
    disk.submit(OUT, 0, out=b"l" * 4096)
    taken(daemon, 1)
    for n in range(3):
        disk.write(64 + n, bytes(SECTOR))
    with pytest.raises((Refused, Ended)):
        moves(disk, daemon.directory / "there")
        disk.front.status()
    disk.close()
    assert "requests were under way where it comes from" in daemon.log()


def test_the_next_front_end_is_served(daemon, packed):
    """QEMU was killed, or has lost its connection: the next one waits no longer than this, and does what is left."""
    disk = Blk(daemon.directory / "vm", queues=2, size=32, packed=packed, inflight=True)
    writes = dead_disk(daemon, disk)
    answers(daemon, True)
    disk.reconnect()
    assert disk.wait(*writes) == OK
    assert disk.read(8, 4096) == b"\2" * 4096
    disk.close()
    assert "the front-end's end waits for requests of 2 queues" in daemon.log()


def test_a_reset_is_answered(daemon):
    """A driver that is unbound, a machine that boots again."""
    with Blk(daemon.directory / "vm", queues=2, inflight=True) as disk:
        dead_disk(daemon, disk)
        disk.front.set_status(0)
        disk.stop()
    with Blk(daemon.directory / "vm") as disk:
        answers(daemon, True)
        disk.write(0, b"y" * 4096)


@pytest.mark.parametrize("status", ["before", "after"])
def test_a_status_of_0_beside_a_stop_says_where_to_go_on(daemon, packed, status):
    """As QEMU (7.2, and newer ones) stops a machine, lets it go on, or sends it elsewhere with its bases: what is told
    is where the queue was, and holds, though the status was 0."""
    with Blk(daemon.directory / "vm", size=32, packed=packed) as disk:
        for n in range(45):
            disk.write(n, bytes(SECTOR))
        if status == "before":
            disk.front.set_status(0)
        assert disk.stop() == [disk.queues[0].ring.base()]
        if status == "after":
            disk.front.set_status(0)
        disk.front.set_features(disk.agreed)
        disk.front.set_vring_base = lambda index, base: None
        disk.start()
        disk.write(0, b"y" * 4096)
        assert disk.read(0, 4096) == b"y" * 4096


def test_an_ordinary_disk_is_waited_for(daemon):
    """What takes less long than that is answered."""
    latency = {f"{p}_{kind}_latency": 500_000 for p in ("avg", "p99") for kind in ("read", "write")}
    daemon.malloc("slow-ram", mib=1)
    daemon.tell("bdev_delay_create", base_bdev_name="slow-ram", name="slow", **latency)
    daemon.tell("vhost_create_blk_controller", ctrlr="patient", dev_name="slow")
    with Blk(daemon.directory / "patient", inflight=True) as disk:
        write = disk.submit(OUT, 0, out=b"z" * 4096)
        taken(daemon, 1)
        disk.stop()
        assert disk.wait(write) == OK
    assert "are aborted" not in daemon.log()


def test_long_requests(daemon):
    """Between two pieces there is something to give up, too."""
    with Blk(daemon.directory / "vm", inflight=True) as disk:
        answers(daemon, False)
        read = disk.submit(IN, 0, want=512 << 10, parts=8)
        taken(daemon, 1)
        disk.stop()
        answers(daemon, True)
        disk.queues[0].start(disk.front)
        assert disk.wait(read) == OK


@pytest.mark.parametrize("inflight", [True, False], ids=["region", "none"])
def test_scsi(daemon, packed, inflight):
    """The same of commands; what fails is one that drivers send again."""
    daemon.tell("vhost_delete_controller", ctrlr="vm")
    daemon.tell("vhost_create_scsi_controller", ctrlr="hba", patience_ms=300)
    daemon.tell("vhost_scsi_controller_add_target", ctrlr="hba", scsi_target_num=0, bdev_name=DISK)
    with Scsi(daemon.directory / "hba", queues=2, packed=packed, inflight=inflight) as hba:
        hba.write(0, b"a" * 4096)
        answers(daemon, False)
        reads = [hba.submit(READ, want=4096, queue=n % 2) for n in range(4)]
        taken(daemon, 4)
        hba.stop()
        answers(daemon, True)
        if not inflight:
            assert all(hba.wait(read).response == S_RESET for read in reads)
        for queue in hba.queues:
            queue.start(hba.front)
        if inflight:
            assert all(hba.wait(read).data == b"a" * 4096 for read in reads)
        assert hba.read(0, 8, queue=1) == b"a" * 4096


def test_a_server_behind_it_is_dead(daemon, tmp_path):
    """A disk of another vhost-user server: what waits for that is given up, and done when it is back."""
    (tmp_path / "behind").mkdir()
    with Daemon(tmp_path / "behind", "-S", tmp_path / "behind") as behind:
        def begin():
            behind.malloc("far", mib=1)
            behind.tell("vhost_create_blk_controller", ctrlr="far", dev_name="far")
        begin()
        daemon.tell("bdev_virtio_attach_controller", name="v0", trtype="user", dev_type="blk",
                    traddr=str(tmp_path / "behind" / "far"), fast_io_fail_timeout_sec=0)
        daemon.tell("vhost_create_blk_controller", ctrlr="gateway", dev_name="v0", patience_ms=300)
        with Blk(daemon.directory / "gateway", queues=2, inflight=True) as disk:
            disk.write(0, b"a" * 4096)
            behind.kill()
            write = disk.submit(OUT, 0, out=b"b" * 4096, queue=1)
            taken(daemon, 1)
            disk.stop()
            assert len(disk.inflight.slots(1)) == 1
            behind.start()
            begin()
            for queue in disk.queues:
                queue.start(disk.front)
            assert disk.wait(write) == OK and disk.read(0, 4096) == b"b" * 4096


def test_memory_is_taken_away(daemon, packed):
    """Requests that use it are waited for, no longer than that; the queue goes on, so they end with an error."""
    with Blk(daemon.directory / "vm", queues=2, packed=packed, inflight=True) as disk:
        writes = dead_disk(daemon, disk)
        unused = disk.memory.regions[0]                # a version between theirs and the one without it
        disk.front.send(REM_MEM_REG, bytes(8) + disk.front.region_row(unused), [unused.fd])
        disk.front.rem_mem_reg(disk.memory.regions[2])
        for queue in disk.queues:
            queue.collect()
        assert all(write.token in write.queue.done for write in writes), "it is answered while they are out"
        for write in writes:
            assert disk.wait(write) == IOERR
        answers(daemon, True)
        disk.front.add_mem_reg(disk.memory.regions[2])
        disk.write(0, b"x" * 4096)
        assert disk.read(0, 4096, queue=1) == b"x" * 4096
    assert "REM_MEM_REG waits for requests of 2 queues" in daemon.log()


def test_memory_that_stays(daemon, packed):
    """The same table again, from descriptors of its own, or without what no request uses: nobody waits, and requests
    that their disk has had for long go on, and end well."""
    with Blk(daemon.directory / "vm", queues=2, packed=packed, inflight=True) as disk:
        writes = dead_disk(daemon, disk)
        long = disk.submit(OUT, 64, out=b"l" * (512 << 10), parts=8)
        taken(daemon, 7)
        again = [replace(region, fd=os.dup(region.fd)) for region in disk.memory.regions]
        disk.front.set_mem_table(again)
        disk.front.set_mem_table(again[1:])            # without the one that nobody uses
        disk.front.add_mem_reg(again[0])
        disk.front.add_mem_reg(again[2])               # which is there
        disk.front.rem_mem_reg(again[0])
        for region in again:
            os.close(region.fd)
        for queue in disk.queues:
            assert not queue.collect()
        answers(daemon, True)
        daemon.tell("bdev_error_resume_pending", name=DISK)
        assert disk.wait(*writes, long) == OK
        for n in range(6):
            assert disk.read(8 * n, 4096, queue=n % 2) == bytes([n + 1]) * 4096
        assert disk.read(64, 512 << 10) == b"l" * (512 << 10)
    assert "MEM_TABLE waits for" not in daemon.log() and "MEM_REG waits for" not in daemon.log()


def test_memory_of_some_stays(daemon, packed):
    """Who uses what is gone ends with an error, who does not goes on; another file at the same addresses is another
    memory."""
    with Blk(daemon.directory / "vm", packed=packed, inflight=True) as disk:
        answers(daemon, False)
        goes = [disk.submit(OUT, 8 * n, out=bytes([n + 1]) * 4096, region=2) for n in range(3)]
        stays = [disk.submit(OUT, 64 + 8 * n, out=bytes([n + 1]) * 4096, region=1) for n in range(3)]
        taken(daemon, 6)
        other = os.memfd_create("another")
        os.ftruncate(other, os.fstat(disk.memory.regions[2].fd).st_size)
        disk.front.set_mem_table([*disk.memory.regions[:2], replace(disk.memory.regions[2], fd=other)])
        assert disk.wait(*goes) == IOERR
        taken(daemon, 3)
        assert not disk.queues[0].collect()
        disk.front.set_mem_table(disk.memory.regions)
        os.close(other)
        answers(daemon, True)
        daemon.tell("bdev_error_resume_pending", name=DISK)
        assert disk.wait(*stays) == OK
        assert disk.read(64, 4096) == b"\1" * 4096
    assert "SET_MEM_TABLE waits for requests of 1 queue" in daemon.log()


def test_queues_that_are_not_waited_for_are_not_counted(daemon):
    """An idle one beside it would be looked at for nothing."""
    with Blk(daemon.directory / "vm", queues=2, inflight=True) as disk:
        disk.read(0, 4096, queue=1)
        answers(daemon, False)
        write = disk.submit(OUT, 0, out=bytes(4096))
        taken(daemon, 1)
        disk.front.rem_mem_reg(disk.memory.regions[2])
        assert disk.wait(write) == IOERR
    assert "REM_MEM_REG waits for requests of 1 queue, which" in daemon.log()


def test_memory_that_a_disk_does_not_give_back(daemon, tmp_path):
    """A server that is silent may still write to it: that it was taken away is refused, after as long again, and the
    front-end is heard."""
    path = tmp_path / "silent"
    with BackEnd(path):
        daemon.tell("bdev_virtio_attach_controller", name="v1", trtype="user", dev_type="blk", traddr=str(path),
                    fast_io_fail_timeout_sec=1)
        daemon.tell("vhost_create_blk_controller", ctrlr="gateway", dev_name="v1", patience_ms=300)
        disk = Blk(daemon.directory / "gateway")
        read = disk.submit(IN, 0, want=4096)
        taken(daemon, 1)
        with pytest.raises(Refused):
            disk.front.rem_mem_reg(disk.memory.regions[2])
        assert disk.front.status()
        with pytest.raises(Refused):
            disk.front.rem_mem_reg(disk.memory.regions[2])
    assert disk.wait(read) == IOERR
    disk.front.add_mem_reg(disk.memory.regions[2])
    disk.close()


@pytest.mark.parametrize("inflight", [True, False], ids=["region", "none"])
def test_task_management_that_waits(daemon, tmp_path, inflight):
    """For a command that cannot be aborted: the control queue stops all the same, and the function is not done, or
    done again."""
    path = tmp_path / "silent"
    with BackEnd(path):
        daemon.tell("bdev_virtio_attach_controller", name="v1", trtype="user", dev_type="blk", traddr=str(path),
                    fast_io_fail_timeout_sec=1)
        daemon.tell("vhost_create_scsi_controller", ctrlr="hba", patience_ms=300)
        daemon.tell("vhost_scsi_controller_add_target", ctrlr="hba", scsi_target_num=0, bdev_name="v1")
        hba = Scsi(daemon.directory / "hba", inflight=inflight)
        read = hba.submit(READ, want=4096)
        taken(daemon, 1)
        control, memory = hba.queues[0], hba.memory
        at, answer = memory.alloc(64), memory.alloc(64)
        memory.write(at, struct.pack("<II", 0, LOGICAL_UNIT_RESET) + lun_bytes(0) + bytes(8))
        memory.write(answer, b"\xee")
        token = control.ring.add([(at, 24, False), (answer, 1, True)])
        control.publish()
        taken(daemon, 2)
        control.stop()
        assert bool(control.collect()) != inflight
        assert memory.read(answer, 1)[0] == (0xee if inflight else S_FUNCTION_REJECTED)
        control.start(hba.front)
    assert hba.wait(read).response == S_RESET
    if inflight:
        control.wait([token])
        assert memory.read(answer, 1)[0] == S_OK
    hba.close()


def test_it_is_saved(daemon):
    """And has bounds."""
    daemon.tell("vhost_create_scsi_controller", ctrlr="hba", patience_ms=100)
    said = [e["params"] for s in daemon.rpc("save_config")["subsystems"] for e in s["config"] or ()
            if e["method"].startswith("vhost_create")]
    assert sorted(p["patience_ms"] for p in said) == [100, 300]
    with pytest.raises(RpcError, match="patience_ms"):
        daemon.rpc("vhost_create_scsi_controller", ctrlr="other", patience_ms=99)
