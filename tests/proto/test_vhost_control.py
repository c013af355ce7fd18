# SPDX-License-Identifier: BSD-3-Clause
"""vhost's controllers by their methods, and what a front-end is told: configuration that changes, a cache that is
switched, disks and controllers that go under it; and a controller that connects by itself."""
import copy
import dataclasses
import os
import socket
import struct

import pytest

import vhost_user as vu
from gantry import Daemon, RpcError, cpus, wait_until
from jsonrpc import gantry
from virtio_blk import GET_LIFETIME, IN, IOERR, OK, OUT, SECTOR, SECURE_ERASE, UNSUPP, Blk
from virtio_ring import Memory
from virtio_scsi import Scsi

WCE = 32                       # offset of the cache's switch in the configuration
NEEDS_RESET = 0x40


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path, "-S", tmp_path) as daemon:
        daemon.tell("bdev_malloc_create", name="disk", num_blocks=2048, block_size=SECTOR)
        yield daemon
        daemon.check_alive()


def serve(daemon, **params):
    daemon.tell("vhost_create_blk_controller", ctrlr="vm", dev_name="disk", **params)
    return daemon.directory / "vm"


def test_what_there_is(daemon):
    """SPDK's shape, and who is connected."""
    path = serve(daemon, readonly=True)
    (ctrlr,) = daemon.rpc("vhost_get_controllers")
    assert ctrlr["ctrlr"] == "vm" and ctrlr["socket"] == str(path) and ctrlr["sessions"] == []
    assert ctrlr["backend_specific"] == {"block": {"readonly": True, "bdev": "disk", "transport": "vhost_user_blk"}}
    assert (ctrlr["delay_base_us"], ctrlr["iops_threshold"]) == (0, 0) and int(ctrlr["cpumask"], 16)
    with Blk(path, queues=2) as disk:
        disk.read(0, SECTOR)
        (session,) = daemon.rpc("vhost_get_controllers", name="vm")[0]["sessions"]
        assert session["started"] and session["max_queues"] == 2 and session["inflight_task_cnt"] == 0
        text = daemon.rpc("metrics_get")
        assert 'gantry_vhost_queues{ctrlr="vm"} 2' in text and 'gantry_vhost_commands_total{ctrlr="vm"} 1' in text
    wait_until(lambda: not daemon.rpc("vhost_get_controllers")[0]["sessions"], "the session's end")
    assert 'gantry_vhost_commands_total{ctrlr="vm"} 1' in daemon.rpc("metrics_get")
    assert daemon.rpc("virtio_blk_get_transports") == [{"name": "vhost_user_blk"}]


def test_nothing_is_offered_that_is_not_there(daemon):
    """Of virtio, of disks, and of the protocol: another bit here wants a test of what it promises."""
    with Blk(serve(daemon)) as disk:
        ring = vu.bits(26, 28, 29, 30, 32, 34, 35)
        assert disk.features == ring | vu.bits(2, 6, 9, 10, 11, 12, 13, 14), "no IOMMU, no reset of one ring"
        assert disk.offered_protocol == vu.bits(0, 1, 3, 5, 9, 10, 12, 13, 14, 15, 16, 19), "no postcopy"
        for kind in GET_LIFETIME, SECURE_ERASE:            # no disk of ours knows
            assert disk.wait(disk.submit(kind, out=b"" if kind == GET_LIFETIME else Blk.ranges((0, 8)),
                                         want=512 if kind == GET_LIFETIME else 0)) == UNSUPP
        disk.read(0, SECTOR)


def test_a_group_may_connect(tmp_path, daemon):
    """Nobody else but the daemon's user, and members of the group that was named."""
    path = serve(daemon)
    assert path.stat().st_mode & 0o777 == 0o600
    shared = tmp_path / "shared"
    shared.mkdir()
    with Daemon(shared, "-S", shared, "--vhost-group", str(os.getgid())) as other:
        other.tell("bdev_malloc_create", name="disk", num_blocks=2048, block_size=SECTOR)
        path = serve(other)
        assert path.stat().st_mode & 0o777 == 0o660 and path.stat().st_gid == os.getgid()
        with Blk(path) as disk:
            disk.read(0, SECTOR)


@pytest.mark.parametrize("params, says", [
    ({"ctrlr": "vm", "dev_name": "none"}, "dev_name: there is no device 'none'"),
    ({"ctrlr": "x" * 256, "dev_name": "disk"}, "ctrlr"),
    ({"ctrlr": "vm", "dev_name": "disk", "cpumask": "0"}, 'cpumask: "0" names no CPU'),
    ({"ctrlr": "vm", "dev_name": "disk", "transport": "vfio_user_blk"}, "transport"),
    ({"ctrlr": "vm", "dev_name": "disk", "socket": "/none/vm"}, "/none/vm"),
], ids=lambda v: "" if isinstance(v, str) else next(iter(list(v)[2:]), "name or disk"))
def test_what_cannot_be(daemon, params, says):
    with pytest.raises(RpcError, match=says):
        daemon.rpc("vhost_create_blk_controller", **params)
    assert daemon.rpc("vhost_get_controllers") == []
    serve(daemon)
    with pytest.raises(RpcError, match="there is a controller 'vm' already"):
        daemon.rpc("vhost_create_blk_controller", ctrlr="vm", dev_name="disk")


def test_metadata_stays_behind(daemon):
    """A guest sees the blocks; what protects them is made and checked below."""
    daemon.tell("bdev_malloc_create", name="safe", num_blocks=2048, block_size=SECTOR, md_size=8, md_interleave=True,
                dif_type=1)
    daemon.tell("vhost_create_blk_controller", ctrlr="vm", dev_name="safe")
    data = os.urandom(3 * SECTOR)
    with Blk(daemon.directory / "vm") as disk:
        assert disk.config()["capacity"] == 2048
        disk.write(5, data)
        assert disk.read(5, len(data)) == data


def test_deleted_under_a_front_end(daemon):
    """It hangs up; the disk is free then, and the socket gone."""
    path = serve(daemon)
    with Blk(path) as disk:
        disk.write(0, b"a" * SECTOR)
        daemon.tell("vhost_delete_controller", ctrlr="vm")
        disk.front.expect_end()
    assert not path.exists()
    daemon.tell("bdev_malloc_delete", name="disk")
    with pytest.raises(RpcError, match="there is no controller 'vm'"):
        daemon.rpc("vhost_delete_controller", ctrlr="vm")
    with pytest.raises(RpcError, match="name: there is no controller 'vm'"):
        daemon.rpc("vhost_get_controllers", name="vm")


def test_disk_that_goes_and_comes_back(daemon):
    """Requests end with errors meanwhile; the driver need not do anything when it is back."""
    with Blk(serve(daemon), queues=2) as disk:
        disk.write(0, b"a" * SECTOR)
        daemon.tell("bdev_malloc_delete", name="disk")
        assert daemon.rpc("vhost_get_controllers")[0]["backend_specific"]["block"]["bdev"] is None
        for kind in IN, OUT:
            how = {"want": SECTOR} if kind == IN else {"out": bytes(SECTOR)}
            assert disk.wait(disk.submit(kind, queue=1, **how)) == IOERR
        daemon.tell("bdev_malloc_create", name="disk", num_blocks=4096, block_size=SECTOR)
        wait_until(lambda: disk.wait(disk.submit(IN, want=SECTOR)) == OK, "the disk to be back")
        assert disk.read(4095, SECTOR, queue=1) == bytes(SECTOR)


def test_larger_disk_is_told(daemon):
    """The front-end hears of it over the channel that it gave, and reads the new size."""
    with Blk(serve(daemon)) as disk:
        assert disk.config()["capacity"] == 2048
        daemon.tell("bdev_malloc_resize", name="disk", new_size=2)
        assert disk.front.backend_says().request == vu.BACKEND_CONFIG_CHANGE
        assert disk.config()["capacity"] == 4096
        disk.read(4095, SECTOR)


def test_cache_is_switched(daemon):
    """The one field a driver can write; and it survives a migration, which writes all of them."""
    with Blk(serve(daemon)) as disk:
        assert disk.front.get_config(WCE, 1) == b"\1"
        disk.front.set_config(WCE, b"\0")
        assert disk.front.get_config(WCE, 1) == b"\0"
        disk.write(0, b"a" * SECTOR)
        config = disk.front.get_config(0, 60)
        disk.front.set_config(0, config[:WCE] + b"\1" + config[WCE + 1:], flags=1)
        assert disk.front.get_config(WCE, 1) == b"\1"
        for offset, data in (0, bytes(8)), (WCE, b"\2"), (WCE, b"\0\0"), (59, b"\0"):
            with pytest.raises(vu.Refused):
                disk.front.set_config(offset, data)
        assert disk.front.get_config(0, 60)[:WCE] == config[:WCE]


def test_cache_that_is_off_stays_off(tmp_path):
    """The driver flushes no more: it would lose what it believes to be written, because the daemon was restarted."""
    state = tmp_path / "state"

    def is_kept(word):
        return any(word in path.read_bytes() for path in state.rglob("*") if path.is_file())
    with Daemon(tmp_path, "-S", tmp_path, "--state-dir", state) as daemon:
        daemon.tell("bdev_malloc_create", name="disk", num_blocks=2048, block_size=SECTOR)
        with Blk(serve(daemon)) as disk:
            disk.front.set_config(WCE, b"\0")
            wait_until(lambda: is_kept(b"write_cache"), "what the driver chose to be kept")
        daemon.kill()
        daemon.start()
        with Blk(tmp_path / "vm") as disk:
            assert disk.front.get_config(WCE, 1) == b"\0"
            disk.front.set_config(WCE, b"\1")
            wait_until(lambda: "write_cache" not in str(daemon.rpc("save_config")), "the cache to be on again")
            assert disk.front.get_config(WCE, 1) == b"\1"


def transfer(disk, direction, fd, phase=0):
    return disk.front.ask(42, struct.pack("<II", direction, phase), [fd]).u64


def saved(disk):
    """Its state, or the refusal."""
    ours, theirs = os.pipe()
    result = transfer(disk, 0, theirs)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        state = pipe.read()
    return (result, state, disk.front.ask(43).u64)


def loaded(disk, state):
    theirs, ours = os.pipe()
    result = transfer(disk, 1, theirs)
    os.close(theirs)
    with open(ours, "wb") as pipe:
        pipe.write(state)
    return result, disk.front.ask(43).u64


def test_device_state_is_moved(daemon):
    """A machine's disk at the other end is as its driver set it up; what is no state of such a disk is refused, and
    what is there stays."""
    path = serve(daemon)
    daemon.tell("vhost_create_scsi_controller", ctrlr="hba")
    with Blk(path) as disk:
        assert disk.front.ask(43).u64 == 1, "nothing was moved yet"
        assert saved(disk)[0] == 0x101, "its queues run"
        disk.front.set_config(WCE, b"\0")
        disk.stop()
        result, state, check = saved(disk)
        assert (result, check) == (0x100, 0) and len(state) == 272
        disk.front.set_config(WCE, b"\1")
        for wrong in (b"", state[:-1], state + b"x", b"x" + state[1:], state[:4] + b"\2" + state[5:]):
            assert loaded(disk, wrong) == (0x100, 1)
        theirs, ours = os.pipe()
        assert transfer(disk, 2, theirs) == transfer(disk, 0, ours, phase=1) == 0x101
        os.close(ours)
        assert transfer(disk, 1, theirs) == 0x100 and disk.front.ask(43).u64 == 1, "a pipe that ends without a state"
        assert transfer(disk, 0, theirs) == 0x101, "the end that cannot be written"
        os.close(theirs)
        assert disk.config()["writeback"] == 1
        assert loaded(disk, state) == (0x100, 0)
        assert disk.config()["writeback"] == 0 and disk.front.ask(43).u64 == 0
    with Scsi(daemon.directory / "hba") as hba:
        hba.front.set_config(20, struct.pack("<II", 18, 16))
        hba.stop()
        result, other, check = saved(hba)
        assert (result, check) == (0x100, 0)
        hba.front.set_config(20, struct.pack("<II", 96, 32))
        assert loaded(hba, state) == (0x100, 1)
        assert loaded(hba, other) == (0x100, 0)
        assert (hba.config()["sense_size"], hba.config()["cdb_size"]) == (18, 16)


def test_device_needs_reset(daemon):
    """A ring that was stopped shows in the status until the reset."""
    with Blk(serve(daemon)) as disk:
        queue = disk.queues[0]
        queue.ring.add([(0x7000_0000, 16, False)])
        queue.publish()
        queue.kick()
        assert queue.has_error()
        wait_until(lambda: disk.front.status() & NEEDS_RESET, "the status to say so")
        assert disk.front.backend_says().request == vu.BACKEND_CONFIG_CHANGE
        disk.front.set_status(0)
        assert disk.front.status() == 0


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("how", ["message", "status"])
def test_a_device_that_was_reset_begins_at_the_beginning(daemon, packed, how):
    """Its rings too, unless the front-end says another base: new rings with a new in-flight region would be refused.
    A status of 0 does it to rings whose base the front-end cannot know."""
    with Blk(serve(daemon), size=32, packed=packed, inflight=True) as disk:
        for n in range(5):
            disk.write(n, b"a" * SECTOR)
        if how == "message":
            disk.stop()
            disk.front.tell(vu.RESET_DEVICE)
        else:
            disk.front.set_status(0)
        for queue in disk.queues:
            queue.close()
        disk.inflight.close()
        disk.inflight = None
        disk.make_queues()
        disk.front.set_features(disk.agreed)
        disk.front.set_vring_base = lambda index, base: None
        disk.start()
        assert disk.read(4, SECTOR) == b"a" * SECTOR


def test_interrupts_are_put_off(daemon):
    """Whatever the rate, each is answered."""
    path = serve(daemon)
    daemon.tell("vhost_controller_set_coalescing", ctrlr="vm", delay_base_us=2000, iops_threshold=10)
    ctrlr = daemon.rpc("vhost_get_controllers")[0]
    assert (ctrlr["delay_base_us"], ctrlr["iops_threshold"]) == (2000, 10)
    with Blk(path) as disk:
        for _ in range(20):
            disk.wait(*(disk.submit(IN, n, want=SECTOR) for n in range(8)))
        daemon.tell("vhost_controller_set_coalescing", ctrlr="vm", delay_base_us=0, iops_threshold=0)
        disk.read(0, SECTOR)


def test_client(daemon, tmp_path):
    """It connects when somebody listens, again when that one has gone, and is gone itself when deleted."""
    path = tmp_path / "front"
    serve(daemon, socket=str(path), client=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(60)
        for _ in range(2):
            sock, _ = listener.accept()
            with sock:
                sock.sendall(struct.pack("<III", vu.GET_FEATURES, 1, 0))
                sock.settimeout(60)
                reply = sock.recv(20, socket.MSG_WAITALL)
                assert struct.unpack("<III", reply[:12]) == (vu.GET_FEATURES, 5, 8)
    os.unlink(path)
    daemon.tell("vhost_delete_controller", ctrlr="vm")


def test_export(daemon):
    """gantry export DISK --vhost: made once, shown, ended; and what QEMU wants to be told."""
    def cli(*words, **how):
        return gantry(*words, socket=daemon.socket, **how)
    path = daemon.directory / "disk"
    said = cli("export", "disk", "disk", "--vhost")
    assert f"Serving disk to virtual machines at {path}." in said
    assert f"-chardev socket,id=disk,path={path},reconnect=1" in said
    assert "-device vhost-user-blk-pci,chardev=disk" in said and "share=on" in said
    assert cli("export", "disk", "disk", "--vhost") == said
    assert "served as   disk, to virtual machines" in cli("disk", "show", "disk") and "disk" in cli("disk", "list")
    assert "is served as disk" in cli("disk", "delete", "disk", status=1)
    with Blk(path) as disk:
        disk.read(0, SECTOR)
        assert str(path) in cli("export", "list") and "connected   1" in cli("export", "show", "disk")
    assert "--listen" in cli("export", "disk", "disk", "--vhost", "--listen", "127.0.0.1", status=2)
    assert cli("export", "remove", "disk") == "disk is gone\n"
    assert daemon.rpc("vhost_get_controllers") == []


def cores_of(daemon):
    (session,) = daemon.rpc("vhost_get_controllers")[0]["sessions"]
    return [q["reactor"] for q in session["queues"]]


def test_queues_lie_on_many_cores_and_move(tmp_path):
    """By turns on those that cpumask allows; and under I/O to another one, with every request answered once."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    with Daemon(tmp_path, "-S", tmp_path, "-m", cpus(2)) as daemon:
        daemon.tell("bdev_malloc_create", name="disk", num_blocks=2048, block_size=SECTOR)
        one = daemon.rpc("framework_get_reactors")["reactors"][1]["lcore"]
        for packed in False, True:
            with Blk(serve(daemon), queues=4, packed=packed) as disk:
                assert sorted(cores_of(daemon)) == [0, 0, 1, 1]
                session = daemon.rpc("vhost_get_controllers")[0]["sessions"][0]["id"]
                data = {}
                for n in range(40):
                    requests = []
                    for queue in range(4):
                        sector = n * 16 + queue * 4
                        data[sector] = os.urandom(SECTOR)
                        requests.append(disk.submit(OUT, sector, out=data[sector], queue=queue))
                    daemon.tell("vhost_move_queue", ctrlr="vm", id=session, queue=n % 4, reactor=n // 4 % 2)
                    assert disk.wait(*requests) == OK
                for sector, was in data.items():
                    assert disk.read(sector, SECTOR, queue=sector // 4 % 4) == was
                daemon.tell("vhost_move_queue", ctrlr="vm", id=session, queue=3, reactor=0)
                assert cores_of(daemon)[3] == 0
                with pytest.raises(RpcError, match="no queue 9"):
                    daemon.rpc("vhost_move_queue", ctrlr="vm", id=session, queue=9, reactor=0)
            daemon.tell("vhost_delete_controller", ctrlr="vm")
        with Blk(serve(daemon, cpumask=f"[{one}]"), queues=4):
            assert cores_of(daemon) == [1, 1, 1, 1]


def test_memory_is_added_while_a_disk_is_slow(tmp_path):
    """A machine whose front-end waits for the answer stands still; nothing was taken away that a request may use."""
    with Daemon(tmp_path, "-S", tmp_path) as daemon:
        daemon.tell("bdev_malloc_create", name="ram", num_blocks=2048, block_size=SECTOR)
        daemon.tell("bdev_delay_create", base_bdev_name="ram", name="disk", avg_read_latency=30_000_000,
                    p99_read_latency=30_000_000, avg_write_latency=1, p99_write_latency=1)
        disk = Blk(serve(daemon))
        disk.submit(IN, want=SECTOR)
        wait_until(lambda: daemon.rpc("vhost_get_controllers")[0]["sessions"][0]["inflight_task_cnt"],
                   "the request to be taken")
        last = disk.memory.regions[-1]
        more = dataclasses.replace(last, gpa=last.gpa + (1 << 36), user=last.user + (1 << 36))
        disk.front.add_mem_reg(more)
        assert disk.queues[0].collect() == 0
        daemon.kill()
        disk.close()


def test_killed_with_requests_in_flight(tmp_path):
    """What the dead daemon had taken and not answered is done by the next, once; what it had answered is not done
    again."""
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))

    def begin(daemon, latency_us):
        daemon.start()
        daemon.tell("bdev_aio_create", name="image", filename=str(image), block_size=SECTOR)
        daemon.tell("bdev_delay_create", base_bdev_name="image", name="disk", avg_read_latency=latency_us,
                    p99_read_latency=latency_us, avg_write_latency=latency_us, p99_write_latency=latency_us)
        serve(daemon)
    daemon = Daemon(tmp_path, "-S", tmp_path)
    for packed in False, True:
        begin(daemon, 1)
        disk = Blk(tmp_path / "vm", queues=2, size=32, packed=packed, inflight=True)
        for n in range(20):
            disk.write(n, b"a" * SECTOR, queue=n % 2)
        daemon.stop()
        begin(daemon, 30_000_000)
        disk.reconnect()
        requests = [disk.submit(OUT, n, out=bytes([n + 1]) * SECTOR, queue=n % 2) for n in range(16)]
        wait_until(lambda: len(disk.inflight.slots(0, packed)) + len(disk.inflight.slots(1, packed)) == 16,
                   "the requests to be taken")
        daemon.kill()
        begin(daemon, 1)
        disk.reconnect()
        assert disk.wait(*requests) == OK
        assert disk.inflight.slots(0, packed) == disk.inflight.slots(1, packed) == []
        for n in range(20):
            assert disk.read(n, SECTOR) == (bytes([n + 1]) if n < 16 else b"a") * SECTOR
        disk.close()
        daemon.stop()


def test_another_configuration(daemon):
    """config_apply makes, changes and deletes controllers, and leaves those alone that are as they should be."""
    before = daemon.rpc("save_config")
    path = serve(daemon)
    daemon.tell("vhost_controller_set_coalescing", ctrlr="vm", delay_base_us=5, iops_threshold=100)
    after = daemon.rpc("save_config")
    with Blk(path) as disk:
        daemon.rpc("config_apply", config=after)
        plain = copy.deepcopy(after)
        (vhost,) = (part for part in plain["subsystems"] if part["subsystem"] == "vhost_blk")
        assert vhost["config"].pop()["method"] == "vhost_controller_set_coalescing"
        daemon.rpc("config_apply", config=plain)
        assert daemon.rpc("save_config") == plain
        disk.read(0, SECTOR)
        daemon.rpc("config_apply", config=before)
        disk.front.expect_end()
    assert daemon.rpc("vhost_get_controllers") == [] and daemon.rpc("save_config") == before
    daemon.rpc("config_apply", config=after)
    assert daemon.rpc("save_config") == after
    with Blk(path) as disk:
        disk.read(0, SECTOR)


def test_long_requests_go_in_pieces(daemon):
    """A request may have 4 GiB: copied at once it would hold its core, and everybody else's queues there."""
    daemon.malloc("big", mib=16, block_size=SECTOR)
    daemon.rpc("vhost_create_blk_controller", ctrlr="big", dev_name="big")

    def counts():
        (stat,) = daemon.rpc("bdev_get_iostat", names=["big"])["bdevs"]
        return [stat[name] for name in ("num_read_ops", "bytes_read", "num_write_ops", "bytes_written")]
    layout = [(gpa, size if gpa == 0 else 64 << 20) for gpa, size in Memory.DEFAULT]
    with Blk(daemon.directory / "big", memory=Memory(layout)) as disk:
        data, before = os.urandom((8 << 20) + SECTOR), counts()
        disk.write(8, data, parts=5)
        assert disk.read(8, len(data), parts=3) == data
        assert [now - was for now, was in zip(counts(), before)] == [3, len(data), 3, len(data)]
        beyond = disk.submit(OUT, 8 << 11, out=bytes(len(data)))
        assert disk.wait(beyond) == IOERR           # and nothing of it is there
        assert disk.read(8, len(data)) == data
        length = len(data) // 2 & ~(SECTOR - 1)
        reads = [disk.submit(IN, 8 + n, want=length) for n in range(2)]         # they take turns
        assert disk.wait(*reads) == OK
        assert [r.data for r in reads] == [data[n * SECTOR:][:length] for n in range(2)]
