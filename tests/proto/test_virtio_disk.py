# SPDX-License-Identifier: BSD-3-Clause
"""A disk of a vhost-user server (bdev_virtio): attached, used, detached; its server dies, comes back, says nonsense."""
import json
import os
import socket
import struct
import subprocess
import time

import pytest

import vhost_user as vu
from gantry import BUILD, Daemon, RpcError, cpus, wait_until
from nvme_tcp import IO_DSM, IO_FLUSH, IO_WRITE_ZEROES, Host, must, rw, sqe
from vhost_back import GARBAGE, HANG_UP, PROTOCOL, SILENT, BackEnd, disk
from vhost_servers import Gantryd, servers

MIB = 32


@pytest.fixture(params=servers(), ids=lambda s: s.name)
def kind(request):
    return request.param


@pytest.fixture
def server(kind, tmp_path):
    directory = tmp_path / "server"
    directory.mkdir()
    with kind(directory, MIB, queues=2) as running:
        yield running


@pytest.fixture
def daemon(tmp_path):
    directory = tmp_path / "initiator"
    directory.mkdir()
    with Daemon(directory, "-m", cpus(2)) as running:
        yield running
        print(f"--- the initiator's log\n{running.log_tail()}")


def attach(daemon, path, name="v0", **more):
    return daemon.rpc("bdev_virtio_attach_controller", name=name, trtype="user", traddr=str(path), dev_type="blk",
                      **more)


def facts(daemon, name="v0"):
    return daemon.rpc("bdev_get_bdevs", name=name)[0]["driver_specific"]["virtio"]


def reads(daemon):
    return daemon.rpc("bdev_get_iostat", names=["v0"])["bdevs"][0]["num_read_ops"]


def perf(daemon, *more, name="v0", seconds=1):
    return subprocess.Popen([BUILD / "gantry-perf", "-s", daemon.socket, "--disk", name, "-t", str(seconds), "--json",
                             *map(str, more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def flawless(running):
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, out[-1000:] + err[-1000:]
    result = json.loads(out.strip().splitlines()[-1])
    assert not result["errors"] and not result["miscompares"] and result["ios"], result
    return result


def test_it_is_what_the_server_has(daemon, server):
    """Its size, its blocks, what it can."""
    assert attach(daemon, server.path) == ["v0"]
    (shown,) = daemon.rpc("bdev_get_bdevs", name="v0")
    assert (shown["product_name"], shown["block_size"], shown["num_blocks"]) == ("VirtioBlk Disk", 512, MIB << 11)
    can = shown["supported_io_types"]
    assert can["flush"] and can["unmap"] and can["write_zeroes"]
    assert facts(daemon)["vq_count"] == 2 and facts(daemon)["state"] == "up"
    assert daemon.rpc("bdev_virtio_scsi_get_devices") == []
    daemon.rpc("bdev_virtio_detach_controller", name="v0")
    assert daemon.rpc("bdev_get_bdevs") == []
    assert attach(daemon, server.path) == ["v0"]       # the server takes the next


@pytest.mark.parametrize("more", [{}, {"vq_count": 1}, {"vq_size": 8}, {"packed_ring": True},
                                  {"packed_ring": True, "vq_size": 32}],
                         ids=["two queues", "one queue", "tiny", "packed", "small packed"])
def test_verified_load(daemon, server, more):
    """Small I/O and large, more than a queue holds, from both cores, over fewer queues than cores."""
    attach(daemon, server.path, **more)
    for io in (["-q", 64, "-o", "4k"], ["-q", 48, "-o", "64k"], ["-q", 4, "-o", "1M"]):
        flawless(perf(daemon, "-w", "randrw", "-M", 50, "--verify", "-d", 600, *io, seconds=60))
    if "packed" not in server.lacks:
        assert facts(daemon)["packed"] == bool(more.get("packed_ring"))


def test_other_operations(daemon, server):
    """Discard of many ranges, write zeroes, flush, compare: through a host."""
    attach(daemon, server.path)
    served = daemon.serve("v0")
    with Host(served.port, served.nqn) as host:
        data = os.urandom(65536)
        for n in range(16):
            must(host.io.write(8 * n, data[4096 * n:4096 * (n + 1)]))
        must(host.io.command(sqe(IO_FLUSH, nsid=1)))
        must(host.io.command(rw(IO_WRITE_ZEROES, 8, 8)))
        ranges = b"".join(struct.pack("<IIQ", 0, 8, lba) for lba in (16, 32, 48))
        must(host.io.command(sqe(IO_DSM, nsid=1, cdw10=2, cdw11=4), ranges))
        expected = bytearray(data)
        for lba in (8, 16, 32, 48):
            expected[lba * 512:lba * 512 + 4096] = bytes(4096)
        assert b"".join(host.io.read(8 * n, 8) for n in range(16)) == expected
    assert server.image.read_bytes()[:65536] == expected


@pytest.mark.parametrize("mode", ["interrupt", "adaptive", "poll"])
def test_every_mode(daemon, server, mode):
    """Lost wake-ups would show as I/O that takes for ever."""
    attach(daemon, server.path)
    daemon.rpc("framework_set_mode", mode=mode)
    flawless(perf(daemon, "-q", 1, "-o", "4k", "-w", "randread", "-d", 2000, seconds=60))
    flawless(perf(daemon, "-q", 16, "-o", "4k", "-w", "randrw", "-M", 50, "--verify", "-d", 2000, seconds=60))


def test_server_dies_under_load(daemon, server):
    """I/O waits, and is sent again to the next server: no error, no lost write."""
    attach(daemon, server.path, fast_io_fail_timeout_sec=0)
    load = perf(daemon, "-w", "randrw", "-M", 50, "--verify", "-q", 16, "-o", "4k", seconds=6)
    for n in range(2):
        wait_until(lambda: reads(daemon) > 100 * n, "I/O")
        server.kill()
        wait_until(lambda: facts(daemon)["state"] != "up", "the loss to be seen")
        server.start()
        wait_until(lambda: facts(daemon)["state"] == "up", "the next connection")
    flawless(load)
    assert facts(daemon)["reconnects"] == 2


def test_server_stays_away(daemon, server):
    """I/O fails when it has waited long enough, at once from then on, and works again when the server is back."""
    attach(daemon, server.path, fast_io_fail_timeout_sec=1)
    load = perf(daemon, "-w", "randread", "-q", 4, "-o", "4k", seconds=5)
    wait_until(lambda: reads(daemon), "I/O")
    server.kill()
    out, _ = load.communicate(timeout=60)
    assert load.returncode != 0, out
    assert "has been away for 1 s" in daemon.log()
    server.start()
    wait_until(lambda: facts(daemon)["state"] == "up", "the next connection")
    flawless(perf(daemon, "-w", "randread", "-q", 4, "-o", "4k", "-d", 100, seconds=60))


def test_detached_while_the_server_is_away(daemon, server):
    """What waits ends, the disk goes; and the daemon ends without waiting for a server."""
    attach(daemon, server.path, fast_io_fail_timeout_sec=0)
    load = perf(daemon, "-w", "randread", "-q", 4, "-o", "4k", seconds=60)
    wait_until(lambda: reads(daemon), "I/O")
    server.kill()
    wait_until(lambda: facts(daemon)["state"] != "up", "the loss to be seen")
    assert daemon.rpc("bdev_virtio_detach_controller", name="v0") is True
    load.communicate(timeout=60)
    server.start()
    attach(daemon, server.path)
    server.kill()
    wait_until(lambda: facts(daemon)["state"] != "up", "the loss to be seen")
    daemon.stop()
    daemon.start()
    server.start()


def test_detached_and_attached_under_load(daemon, server):
    """I/O ends with GONE, and nothing stays behind."""
    for _ in range(5):
        attach(daemon, server.path)
        load = perf(daemon, "-w", "randrw", "-M", 50, "-q", 16, "-o", "4k", seconds=60)
        wait_until(lambda: reads(daemon), "I/O")
        daemon.rpc("bdev_virtio_detach_controller", name="v0")
        load.communicate(timeout=60)
    assert daemon.rpc("bdev_get_bdevs") == []


def test_another_size_after_the_restart(daemon, server):
    """The disk's users hear of it."""
    attach(daemon, server.path)
    server.kill()
    os.truncate(server.image, 2 * MIB << 20)
    server.start()
    wait_until(lambda: daemon.rpc("bdev_get_bdevs", name="v0")[0]["num_blocks"] == 2 * MIB << 11, "the new size")


def size_is(daemon, blocks):
    return lambda: daemon.rpc("bdev_get_bdevs", name="v0")[0]["num_blocks"] == blocks


def test_another_size_while_it_is_used(daemon, server):
    """The server says so, and the disk's users hear of it: no connection is lost, no I/O fails."""
    if not isinstance(server, Gantryd):
        pytest.skip("nothing tells this server of a new size")
    attach(daemon, server.path)
    load = perf(daemon, "-w", "randrw", "-M", 50, "--verify", "-q", 16, "-o", "4k", "-d", 3000, seconds=60)
    for mib in (2 * MIB, 3 * MIB, 4 * MIB):
        os.truncate(server.image, mib << 20)
        server.daemon.rpc("bdev_aio_rescan", name="image")
        wait_until(size_is(daemon, mib << 11), "the new size")
    flawless(load)
    assert facts(daemon)["reconnects"] == 0


def news(back):
    """The socket for the server's own messages."""
    wait_until(lambda: vu.SET_BACKEND_REQ_FD in back.fds, "the socket for the server's own messages")
    return socket.socket(fileno=back.fds[vu.SET_BACKEND_REQ_FD].pop())


TALKATIVE = {vu.GET_PROTOCOL_FEATURES: PROTOCOL | vu.bits(vu.P_BACKEND_REQ)}


def test_a_server_that_says_what_is_new(daemon, tmp_path):
    """It is answered where it asks for that; what we do not know is refused; of many changes the last one is seen."""
    with BackEnd(tmp_path / "sock", dict(TALKATIVE)) as back:
        attach(daemon, tmp_path / "sock")
        with news(back) as said:
            back.answers[vu.GET_CONFIG] = disk(capacity=32768)
            for request, refused in ((vu.BACKEND_CONFIG_CHANGE, 0), (vu.BACKEND_VRING_CALL, 1)):
                payload = struct.pack("<II", 0, 0) if refused else b""
                vu.transmit(said, request, payload, flags=vu.VERSION | vu.NEED_REPLY)
                answer = vu.receive(said, 20)
                assert (answer.request, answer.payload) == (request, struct.pack("<Q", refused))
            wait_until(size_is(daemon, 32768), "the new size")
            for _ in range(1000):
                vu.transmit(said, vu.BACKEND_CONFIG_CHANGE, b"", flags=vu.VERSION)
            back.answers[vu.GET_CONFIG] = disk(capacity=65536)
            vu.transmit(said, vu.BACKEND_CONFIG_CHANGE, b"", flags=vu.VERSION)
            wait_until(size_is(daemon, 65536), "the newest size")
            assert back.connections == 1
        assert daemon.rpc("bdev_virtio_detach_controller", name="v0") is True


@pytest.mark.parametrize("bytes_said", [b"", b"\xff" * 12, struct.pack("<III", 2, 1, 1 << 20)],
                         ids=["nothing", "garbage", "too long"])
def test_a_server_that_says_nonsense_by_itself(daemon, tmp_path, bytes_said):
    """It is not heard any more, its socket is closed, and its disk is still there."""
    with BackEnd(tmp_path / "sock", dict(TALKATIVE)) as back:
        attach(daemon, tmp_path / "sock")
        with news(back) as said:
            said.settimeout(60)
            if bytes_said:
                said.sendall(bytes_said)
            else:
                said.shutdown(socket.SHUT_WR)
            assert said.recv(100) == b""
        assert facts(daemon)["state"] == "up" and back.connections == 1
        assert daemon.rpc("bdev_virtio_detach_controller", name="v0") is True


def test_a_server_that_does_not_say_what_has_changed(daemon, tmp_path):
    """It is asked once, whatever it says meanwhile, and is lost: after ten seconds its connection is made anew."""
    with BackEnd(tmp_path / "sock", dict(TALKATIVE)) as back:
        attach(daemon, tmp_path / "sock")
        back.answers[vu.GET_CONFIG] = SILENT
        with news(back) as said:
            before = back.heard.count(vu.GET_CONFIG)
            vu.transmit(said, vu.BACKEND_CONFIG_CHANGE, b"", flags=vu.VERSION)
            wait_until(lambda: back.heard.count(vu.GET_CONFIG) == before + 1, "the question")
            for _ in range(100):
                vu.transmit(said, vu.BACKEND_CONFIG_CHANGE, b"", flags=vu.VERSION)
            time.sleep(0.2)
            assert back.heard.count(vu.GET_CONFIG) == before + 1
            wait_until(lambda: facts(daemon)["state"] != "up", "the loss to be seen")
        back.answers[vu.GET_CONFIG] = disk(capacity=32768)
        wait_until(size_is(daemon, 32768), "the next connection", 60)


def test_saved_and_loaded(daemon, server, tmp_path):
    """A restart finds its disk again, also when the server comes later."""
    attach(daemon, server.path, vq_count=1, vq_size=64, reconnect_delay_sec=2, fast_io_fail_timeout_sec=7)
    uuid = daemon.rpc("bdev_get_bdevs", name="v0")[0]["uuid"]
    config = daemon.rpc("save_config")
    (bdevs,) = (s for s in config["subsystems"] if s["subsystem"] == "bdev")
    (entry,) = (e for e in bdevs["config"] if e["method"] == "bdev_virtio_attach_controller")
    assert entry["params"] == {"name": "v0", "trtype": "user", "traddr": str(server.path), "dev_type": "blk",
                               "vq_count": 1, "vq_size": 64, "packed_ring": False, "reconnect_delay_sec": 2,
                               "fast_io_fail_timeout_sec": 7, "uuid": uuid}
    daemon.stop()
    server.kill()
    (tmp_path / "again").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(config))
    with Daemon(tmp_path / "again", "-m", cpus(1), "-c", tmp_path / "config.json") as again:
        assert again.rpc("bdev_get_bdevs") == []
        assert again.rpc("save_config") == config
        server.start()
        wait_until(lambda: again.rpc("bdev_get_bdevs"), "the disk")
        assert again.rpc("bdev_get_bdevs", name="v0")[0]["uuid"] == uuid
    daemon.start()


# --- attaching that fails ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("wrong, sentence", [
    ({"traddr": "/nowhere/at.all"}, "/nowhere/at.all"),
    ({"traddr": "x" * 200}, "traddr"),
    ({"vq_size": 100}, "vq_size: 100 is not a power of two"),
    ({"vq_size": 2}, "vq_size: 2 is not"),
    ({"trtype": "pci"}, "trtype"),
    ({"dev_type": "net"}, "dev_type"),
])
def test_wrong_parameters(daemon, tmp_path, wrong, sentence):
    """What is wrong is named."""
    params = {"name": "v0", "trtype": "user", "traddr": str(tmp_path / "sock"), "dev_type": "blk", **wrong}
    with pytest.raises(RpcError) as refused:
        daemon.rpc("bdev_virtio_attach_controller", **params)
    assert sentence in refused.value.message
    with pytest.raises(RpcError, match="there is no virtio controller 'v0'"):
        daemon.rpc("bdev_virtio_detach_controller", name="v0")


@pytest.mark.parametrize("answers, sentence", [
    ({vu.GET_FEATURES: vu.bits(vu.F_PROTOCOL_FEATURES)}, "virtio 1.0"),
    ({vu.GET_FEATURES: vu.bits(vu.F_VERSION_1)}, "protocol features"),
    ({vu.GET_PROTOCOL_FEATURES: 0}, "CONFIG"),
    ({vu.GET_QUEUE_NUM: 0}, "no queues"),
    ({vu.GET_CONFIG: disk(blk_size=1000)}, "1000"),
    ({vu.GET_CONFIG: disk(capacity=0)}, "0 sectors"),
    ({vu.GET_CONFIG: disk(capacity=(1 << 64) - 1)}, "sectors"),
    ({vu.ADD_MEM_REG: 1}, "refuses ADD_MEM_REG"),
    ({vu.SET_VRING_ADDR: 22}, "refuses SET_VRING_ADDR"),
    ({vu.SET_FEATURES: HANG_UP}, "ended the connection at SET_FEATURES"),
    ({vu.GET_FEATURES: GARBAGE}, ""),
    ({vu.GET_CONFIG: GARBAGE}, ""),
    ({vu.SET_VRING_KICK: HANG_UP}, "SET_VRING_KICK"),
], ids=lambda p: p if isinstance(p, str) else None)
def test_servers_that_will_not_do(daemon, tmp_path, answers, sentence):
    """Attaching fails with what was wrong, and nothing remains."""
    descriptors = daemon.fd_count()
    with BackEnd(tmp_path / "sock", answers):
        with pytest.raises(RpcError) as refused:
            attach(daemon, tmp_path / "sock")
        assert sentence in refused.value.message
    assert daemon.rpc("bdev_get_bdevs") == []
    wait_until(lambda: daemon.fd_count() <= descriptors, "descriptors to be closed")
    (tmp_path / "sock").unlink()
    with BackEnd(tmp_path / "sock"):
        assert attach(daemon, tmp_path / "sock") == ["v0"]


def test_server_that_never_answers(daemon, tmp_path):
    """Attaching ends after ten seconds; other calls are answered meanwhile."""
    with BackEnd(tmp_path / "sock", {vu.SET_OWNER: SILENT}):
        with pytest.raises(RpcError, match="does not answer SET_OWNER within 10 s"):
            attach(daemon, tmp_path / "sock")


def test_server_that_serves_nothing(daemon, tmp_path):
    """Its I/O hangs, but not its disk: detaching waits five seconds for it."""
    with BackEnd(tmp_path / "sock"):
        attach(daemon, tmp_path / "sock")
        load = perf(daemon, "-w", "randread", "-q", 4, "-o", "4k", seconds=60)
        assert daemon.rpc("bdev_virtio_detach_controller", name="v0", timeout_s=60) is True
        load.communicate(timeout=60)
        assert load.returncode != 0


def test_a_device_of_the_other_kind(daemon, tmp_path):
    """A disk that is a SCSI host's configuration read as a disk's; or a host without targets."""
    with Daemon(tmp_path, "-S", tmp_path) as server:
        server.malloc("disk", mib=1)
        server.rpc("vhost_create_scsi_controller", ctrlr="host")
        server.rpc("vhost_create_blk_controller", ctrlr="disk", dev_name="disk")
        for name, kind, other in (("host", "blk", "scsi"), ("disk", "scsi", "blk")):
            where = {"name": name, "trtype": "user", "traddr": str(tmp_path / name)}
            with pytest.raises(RpcError, match=f"dev_type: {kind}, but .* dev_type {other}"):
                daemon.rpc("bdev_virtio_attach_controller", dev_type=kind, **where)
            assert daemon.rpc("bdev_get_bdevs") == []
            daemon.rpc("bdev_virtio_attach_controller", dev_type=other, **where)
            daemon.rpc("bdev_virtio_detach_controller", name=name)
