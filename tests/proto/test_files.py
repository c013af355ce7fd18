# SPDX-License-Identifier: BSD-3-Clause
"""Files as disks, through bdev_uring_* and bdev_aio_*, as a host and an operator see them."""
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import threading

import pytest

from gantry import Daemon, RpcError, cpus, gantryd_path, wait_until
from jsonrpc import gantry
from nvme_tcp import (HOST_NQN, IO_DSM, IO_FLUSH, IO_READ, IO_WRITE, IO_WRITE_ZEROES, Ended, Host, must, rw,
                      sqe)

MIB = 1 << 20
KINDS = ["uring", "aio"]
PLACES = ["disk", "memory"]
UUID = "7b1f5d0a-24c1-4b83-9d0e-3c6a5d6f0b01"
DEALLOCATE_ATTRIBUTE = 4
DEALLOCATE_BIT = 1 << 25
FUA = 1 << 30
LBA_OUT_OF_RANGE = 0x80
UNRECOVERED_READ = 0x281
CALLS = {"x86_64": {"io_uring_setup": 425, "io_setup": 206}, "aarch64": {"io_uring_setup": 425, "io_setup": 0}}


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    """A directory on the disk, or in memory."""
    if request.param == "disk":
        yield tmp_path
        return
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm")
    path = tmp_path.__class__(f"/dev/shm/gantry-test-{os.getpid()}-{id(request)}")
    path.mkdir()
    yield path
    for left in path.iterdir():
        left.unlink()
    path.rmdir()


def make_file(path, size=16 * MIB):
    with open(path, "wb") as f:
        f.truncate(size)
    return str(path)


def disk(daemon, kind, path, **more):
    return daemon.tell(f"bdev_{kind}_create", name="f", filename=make_file(path), block_size=512, **more)


def contents(path, offset, length):
    with open(path, "rb") as f:
        f.seek(offset)
        return f.read(length)


def with_flags(opcode, lba, blocks, flags):
    return sqe(opcode, nsid=1, cdw10=lba, cdw12=blocks - 1 | flags)


def taken(path):
    return os.stat(path).st_blocks * 512


# --- data ---

@pytest.mark.parametrize("kind", KINDS)
def test_what_a_host_writes_is_in_the_file(daemon, place, kind):
    path = place / "f"
    served = daemon.serve(disk(daemon, kind, path))
    data = os.urandom(MIB)
    with Host(served.port, served.nqn, io_queues=2) as host:
        must(host.ios[0].write(3, data[:512]))
        must(host.ios[0].write(4, data[512:4608]))
        must(host.ios[1].write(100, data[:131072], in_capsule=False))
        must(host.io.command(with_flags(IO_WRITE, 1000, 8, FUA), data[:4096]))
        must(host.io.command(sqe(IO_FLUSH, nsid=1)))
        assert host.ios[1].read(3, 9) == data[:4608]
        assert host.ios[0].read(100, 256) == data[:131072]
    assert contents(path, 3 * 512, 4608) == data[:4608]
    assert contents(path, 1000 * 512, 4096) == data[:4096]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_there_after_a_crash(daemon, place, kind):
    served = daemon.serve(disk(daemon, kind, place / "f"))
    data = os.urandom(65536)
    with Host(served.port, served.nqn) as host:
        must(host.io.write(8, data, in_capsule=False))
    daemon.kill()
    daemon.start()
    daemon.replay()
    with Host(served.port, served.nqn) as host:
        assert host.io.read(8, 128) == data


@pytest.mark.parametrize("kind", KINDS)
def test_thin_files_stay_thin(daemon, place, kind):
    path = place / "f"
    served = daemon.serve(disk(daemon, kind, path))
    piece = os.urandom(131072)
    with Host(served.port, served.nqn) as host:
        for lba in range(0, 8192, 256):
            must(host.io.write(lba, piece, in_capsule=False))
        must(host.io.command(sqe(IO_FLUSH, nsid=1)))
        assert taken(path) >= 4 * MIB
        ranges = struct.pack("<IIQIIQ", 0, 4096, 0, 0, 4096, 4096)
        must(host.io.command(sqe(IO_DSM, nsid=1, cdw10=1, cdw11=DEALLOCATE_ATTRIBUTE), ranges))
        assert host.io.read(0, 256) == bytes(131072)
        assert taken(path) < MIB
        for flags in (0, DEALLOCATE_BIT):
            must(host.io.command(with_flags(IO_WRITE_ZEROES, 0, 32768, flags)))
        assert taken(path) < MIB
        assert host.io.read(20000, 8) == bytes(4096)


def test_two_cores_and_many_disks_share_rings(tmp_path):
    """A ring for each disk and core would use up descriptors and locked memory."""
    with Daemon(tmp_path, "-m", cpus(2)) as daemon:
        names = [daemon.tell("bdev_uring_create", name=f"f{n}", filename=make_file(tmp_path / f"f{n}"))
                 for n in range(16)]
        before = daemon.fd_count()
        served = daemon.serve(*names, discovery=False)
        with Host(served.port, served.nqn, io_queues=4) as host:
            for nsid in range(1, 17):
                for n, io in enumerate(host.ios):
                    must(io.command(rw(IO_WRITE, n, 1, nsid=nsid), bytes([nsid]) * 4096))
            assert host.io.command(rw(IO_READ, 0, 1, nsid=16), expect=4096) is not None
            assert daemon.fd_count() - before < 16


# --- what can go wrong ---

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong,code,sentence", [
    ({"filename": "{dir}/none"}, -2, "make the file first (truncate -s SIZE FILE)"),
    ({"filename": "{dir}"}, -21, "Is a directory"),
    ({"filename": "/dev/null"}, -22, "neither a file nor a block device"),
    ({"filename": ""}, -32602, "filename"),
    ({"filename": "{dir}/odd"}, -22, "is not a number of blocks of 512 bytes"),
    ({"filename": "{dir}/empty"}, -22, "has 0 bytes"),
    ({"block_size": 513}, -32602, "block_size: 513 is not a multiple of 512"),
    ({"block_size": 1536}, -22, "block_size: 1536 is not a power of two"),
    ({"block_size": 1 << 20}, -32602, "block_size"),
    ({"block_size": "big"}, -32602, "block_size"),
    ({"name": "there"}, -17, "'there' is taken by"),
    ({"name": ""}, -32602, "name"),
    ({"filename": None}, -32602, "filename"),
    ({"uuid": "x"}, -32602, "uuid"),
    ({"colour": 1}, -32602, "colour"),
])
def test_what_is_wrong_is_said(daemon, tmp_path, kind, wrong, code, sentence):
    make_file(tmp_path / "odd", 1000)
    make_file(tmp_path / "empty", 0)
    daemon.rpc("bdev_null_create", name="there", num_blocks=8, block_size=512)
    params = {"name": "f", "filename": make_file(tmp_path / "f"), "block_size": 512, **wrong}
    params = {k: v.format(dir=tmp_path) if isinstance(v, str) else v for k, v in params.items() if v is not None}
    with pytest.raises(RpcError) as error:
        daemon.rpc(f"bdev_{kind}_create", **params)
    assert error.value.code == code
    assert sentence in error.value.message
    assert [b["name"] for b in daemon.rpc("bdev_get_bdevs")] == ["there"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["delete", "rescan"])
def test_other_peoples_disks_are_left_alone(daemon, kind, what):
    daemon.rpc("bdev_null_create", name="n", num_blocks=8, block_size=512)
    for name, code, sentence in (("n", -22, "is a Null disk, not a"), ("none", -19, "no block device 'none'")):
        with pytest.raises(RpcError) as error:
            daemon.rpc(f"bdev_{kind}_{what}", name=name)
        assert error.value.code == code and sentence in error.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_follow_the_file(daemon, place, kind):
    path = place / "f"
    served = daemon.serve(disk(daemon, kind, path))
    with Host(served.port, served.nqn) as host:
        os.truncate(path, 4 * MIB)
        answer = host.io.command(rw(IO_READ, 16384, 8), expect=4096)
        assert answer.status & 0x7ff == UNRECOVERED_READ
        wait_until(lambda: f"'{path}' ends before byte {8 * MIB}: it shrank" in daemon.log(), "the log to say why")
        assert daemon.rpc(f"bdev_{kind}_rescan", name="f") is True
        assert daemon.rpc("bdev_get_bdevs", name="f")[0]["num_blocks"] == 8192
        wait_until(lambda: host.io.command(rw(IO_READ, 16384, 8), expect=4096).status & 0x7ff == LBA_OUT_OF_RANGE,
                   "the smaller size to be known")
        os.truncate(path, 32 * MIB)
        assert daemon.rpc(f"bdev_{kind}_rescan", name="f") is True
        wait_until(lambda: host.io.command(rw(IO_READ, 65528, 8), expect=4096).status == 0,
                   "the larger size to be known")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_vanished_is_replaced_by_a_rescan(daemon, place, kind):
    path = place / "f"
    served = daemon.serve(disk(daemon, kind, path))
    with Host(served.port, served.nqn) as host:
        must(host.io.write(0, b"x" * 4096))
        os.unlink(path)
        with pytest.raises(RpcError) as error:
            daemon.rpc(f"bdev_{kind}_rescan", name="f")
        assert error.value.code == -2 and "bring it back" in error.value.message
        assert host.io.read(0, 8) == b"x" * 4096
        make_file(path)
        assert daemon.rpc(f"bdev_{kind}_rescan", name="f") is True
        assert host.io.read(0, 8) == bytes(4096)


@pytest.mark.parametrize("kind", KINDS)
def test_disks_go_under_load(daemon, place, kind):
    """A ring closed, or a file, with I/O in the kernel would write to memory that is somebody else's by then."""
    served = daemon.serve(disk(daemon, kind, place / "f"))
    stop = threading.Event()

    def write(n):
        try:
            with Host(served.port, served.nqn, hostnqn=HOST_NQN[:-1] + str(n)) as host:
                while not stop.is_set():
                    host.io.write(n * 1000, bytes(65536), in_capsule=False)
        except (Ended, OSError):
            pass

    writers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for w in writers:
        w.start()
    wait_until(lambda: daemon.rpc("bdev_get_iostat")["bdevs"][0]["num_write_ops"] > 30, "writes")
    assert daemon.rpc(f"bdev_{kind}_delete", name="f") is True
    assert daemon.rpc("bdev_get_bdevs") == []
    stop.set()
    for w in writers:
        w.join()
    daemon.check_alive()


def test_read_only(daemon, place):
    served = daemon.serve(disk(daemon, "aio", place / "f", readonly=True))
    with Host(served.port, served.nqn) as host:
        assert host.io.read(0, 8) == bytes(4096)
        assert host.io.write(0, bytes(4096)).status != 0


# --- where the system refuses ---

REFUSE = '''
import ctypes, os, struct, sys
calls = {calls}
rules = [struct.pack("HBBI", 0x20, 0, 0, 0)]
for n, call in enumerate(calls):
    rules.append(struct.pack("HBBI", 0x15, len(calls) - n, 0, call))
rules += [struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000), struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 1)]
code = ctypes.create_string_buffer(b"".join(rules))
libc = ctypes.CDLL(None, use_errno=True)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code)))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit("no seccomp")
os.execv({daemon!r}, [{daemon!r}] + sys.argv[1:])
'''


def refusing(tmp_path, *names):
    """A program that starts gantryd in a system that has not these calls."""
    calls = CALLS.get(platform.machine())
    if not calls:
        pytest.skip("which number the calls have here is not known")
    text = REFUSE.format(calls=[calls[n] for n in names], daemon=str(gantryd_path()))
    program = tmp_path / "refusing"
    program.write_text(f"#!{sys.executable}\n{text}")
    program.chmod(0o755)
    if subprocess.run([program, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("no seccomp here")
    return program


@pytest.mark.parametrize("kind,names,engine", [
    ("uring", ["io_uring_setup"], "libaio"),
    ("uring", ["io_uring_setup", "io_setup"], "threads"),
    ("aio", ["io_setup"], "threads"),
])
def test_there_is_another_way(tmp_path, monkeypatch, kind, names, engine):
    monkeypatch.setenv("GANTRYD", str(refusing(tmp_path, *names)))
    data = os.urandom(131072)
    with Daemon(tmp_path) as daemon:
        served = daemon.serve(disk(daemon, kind, tmp_path / "f"))
        assert daemon.log().count("the system refuses") == 1 and f"{engine} does its work" in daemon.log()
        with Host(served.port, served.nqn, io_queues=2) as host:
            for lba in range(0, 8192, 256):
                must(host.ios[lba // 256 % 2].write(lba, data, in_capsule=False))
            must(host.io.command(sqe(IO_FLUSH, nsid=1)))
            assert host.ios[1].read(256, 256) == data


# --- configuration ---

def test_saved_as_spdk_saves_them(daemon, tmp_path):
    a, b = make_file(tmp_path / "a"), make_file(tmp_path / "b")
    daemon.rpc("bdev_aio_create", name="a", filename=a, readonly=True, fallocate=False, uuid=UUID)
    daemon.rpc("bdev_uring_create", name="b", filename=b, block_size=1024, uuid=UUID[:-1] + "2")
    saved = daemon.rpc("save_config")
    entries = next(s["config"] for s in saved["subsystems"] if s["subsystem"] == "bdev")
    params = {e["method"]: e["params"] for e in entries}
    assert params["bdev_aio_create"] == {"name": "a", "filename": a, "readonly": True, "fallocate": False, "uuid": UUID}
    assert params["bdev_uring_create"] == {"name": "b", "filename": b, "block_size": 1024, "uuid": UUID[:-1] + "2"}
    listed = {d["name"]: d for d in daemon.rpc("bdev_get_bdevs")}
    assert listed["a"]["product_name"] == "AIO disk" and listed["b"]["product_name"] == "URING bdev"
    assert listed["a"]["driver_specific"]["aio"] == {"filename": a, "block_size_override": False, "readonly": True,
                                                     "fallocate": False, "nowait": True}
    assert listed["b"]["driver_specific"]["uring"] == {"filename": b}
    assert listed["a"]["supported_io_types"]["unmap"] is False
    assert listed["b"]["supported_io_types"]["unmap"] is True
    (tmp_path / "saved.json").write_text(json.dumps(saved))
    again = tmp_path / "again"
    again.mkdir()
    with Daemon(again, "-c", str(tmp_path / "saved.json")) as other:
        assert other.rpc("save_config") == saved


@pytest.fixture
def loop_device(tmp_path):
    """Makes loop devices over files, where that is possible; few containers allow it."""
    made = []

    def make(*options):
        path = make_file(tmp_path / f"loop{len(made)}")
        result = subprocess.run(["losetup", "--find", "--show", *options, path], capture_output=True, text=True,
                                check=False)
        if result.returncode:
            pytest.skip(f"no loop device: {result.stderr.strip()}")
        made.append(result.stdout.strip())
        return made[-1]

    if not shutil.which("losetup"):
        pytest.skip("there is no losetup")
    yield make
    for device in made:
        subprocess.run(["losetup", "-d", device], check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_device(daemon, loop_device, kind):
    device = loop_device()
    served = daemon.serve(daemon.tell(f"bdev_{kind}_create", name="f", filename=device))
    data = os.urandom(65536)
    with Host(served.port, served.nqn) as host:
        must(host.io.write(0, data, in_capsule=False))
        assert host.io.read(0, 128) == data
        ranges = struct.pack("<IIQ", 0, 64, 64)
        must(host.io.command(sqe(IO_DSM, nsid=1, cdw10=0, cdw11=DEALLOCATE_ATTRIBUTE), ranges))
        must(host.io.command(rw(IO_WRITE_ZEROES, 0, 64)))
        must(host.io.command(sqe(IO_FLUSH, nsid=1)))
        assert host.io.read(0, 64) == bytes(32768)
    with pytest.raises(RpcError) as error:
        daemon.rpc("bdev_aio_create", name="again", filename=device)
    assert "is mounted or part of another device" in error.value.message
    assert daemon.rpc(f"bdev_{kind}_rescan", name="f") is True
    assert daemon.rpc(f"bdev_{kind}_delete", name="f") is True


@pytest.mark.parametrize("kind,engine", [("uring", "io_uring"), ("aio", "threads")])
def test_through_the_page_cache(daemon, loop_device, kind, engine):
    """Blocks smaller than O_DIRECT takes: nothing but the page cache can do that, and libaio would block in it."""
    device = loop_device("--sector-size", "4096")
    served = daemon.serve(daemon.tell(f"bdev_{kind}_create", name="f", filename=device, block_size=512))
    assert "goes through the page cache: its blocks are smaller" in daemon.log()
    assert daemon.rpc("bdev_get_bdevs", name="f")[0]["driver_specific"]["engine"] == engine
    data = os.urandom(131072)
    with Host(served.port, served.nqn, io_queues=2) as host:
        for lba in range(0, 16384, 257):
            must(host.ios[lba % 2].write(lba, data, in_capsule=False))
            must(host.ios[lba % 2].command(with_flags(IO_WRITE, lba + 256, 1, FUA), data[:512]))
        must(host.io.command(sqe(IO_FLUSH, nsid=1)))
        for lba in range(0, 16384, 257):
            assert host.ios[1 - lba % 2].read(lba, 256) == data


def test_a_file_that_is_two_disks(daemon, tmp_path):
    """Each would change the other's data, and nobody knew."""
    path = make_file(tmp_path / "f")
    daemon.rpc("bdev_uring_create", name="one", filename=path, block_size=512)
    refused = gantry("disk", "create", "file", str(path), socket=daemon.socket, status=1)
    assert f"{path} is the disk one already" in refused
    link = tmp_path / "link"
    link.symlink_to(path)
    refused = gantry("disk", "create", "aio", str(link), socket=daemon.socket, status=1)
    assert "is the disk one already" in refused
    other_name = tmp_path / "other"
    os.link(path, other_name)
    refused = gantry("disk", "create", "aio", str(other_name), socket=daemon.socket, status=1)
    assert "is the disk one already" in refused
    assert [b["name"] for b in daemon.rpc("bdev_get_bdevs")] == ["one"]
    daemon.rpc("bdev_aio_create", name="two", filename=str(link), block_size=512)   # as SPDK's
    assert "'two': its file" in daemon.log_tail() and "is disk 'one', too" in daemon.log_tail()


def test_a_file_that_nobody_writes_is_two_disks(daemon, tmp_path):
    """An image that is only read changes under nobody."""
    path = make_file(tmp_path / "f")
    daemon.rpc("bdev_aio_create", name="one", filename=str(path), block_size=512, readonly=True)
    gantry("disk", "create", "aio", str(path), "--name", "two", "--readonly", socket=daemon.socket)
    refused = gantry("disk", "create", "aio", str(path), "--name", "three", socket=daemon.socket, status=1)
    assert "is the disk" in refused
    assert "too: what is written" not in daemon.log_tail()
    assert [b["name"] for b in daemon.rpc("bdev_get_bdevs")] == ["one", "two"]
