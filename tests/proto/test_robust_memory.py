# SPDX-License-Identifier: BSD-3-Clause
"""With too little memory for all that is asked at once, requests have to take turns; one that waits for what nobody
gives back hangs its host."""
import os
import re
import subprocess
import threading

import pytest

from gantry import Daemon, gantryd_path, wait_until
from load import Load, perf_command, tcp_counter
from nvme_tcp import IO_READ, IO_WRITE, Host, must, rw


def smallest_budget(tmp_path, *args):
    """What the daemon itself says that it needs."""
    done = subprocess.run([gantryd_path(), "-r", tmp_path / "none.sock", "--memory", "1M", *args], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    said = re.search(r"give at least ([\d.]+) ([KMG])iB", done.stderr)
    assert said, done.stderr
    return said[1] + said[2]


def disk(daemon, mib=64):
    """A RAM disk lends pages for data to come, and no buffers are needed; what stands on it does not."""
    return daemon.tell("bdev_passthru_create", base_bdev_name=daemon.malloc("ram", mib=mib), name="disk")


@pytest.fixture
def poor(tmp_path):
    with Daemon(tmp_path, "--memory", smallest_budget(tmp_path)) as daemon:
        yield daemon
        memory = daemon.rpc("framework_get_memory")
        print(memory)
        assert memory["waits"] > 0, "this was to be too little memory"
        wait_until(lambda: daemon.rpc("framework_get_memory")["in_use_bytes"] == 0, "all buffers to come back")
        assert daemon.rpc("framework_get_memory")["waiting"] == 0


@pytest.mark.parametrize("pattern", ["write", "randrw"])
@pytest.mark.parametrize("io_bytes", [12288, 131072])
def test_large_writes_from_many_connections(poor, pattern, io_bytes):
    served = poor.serve(disk(poor, mib=256))
    with Load(poor, served, pattern=pattern, io_bytes=io_bytes, depth=512, qpairs=32, rate=None) as load:
        load.more_ios(2000)


def test_the_largest_io_there_is(poor):
    served = poor.serve(disk(poor, mib=256), transport={"max_io_size": 2 << 20})
    with Load(poor, served, pattern="randrw", io_bytes=2 << 20, depth=64, qpairs=8, rate=None) as load:
        load.more_ios(200)


def test_writes_of_4_mib_over_many_queues(poor):
    """Each is two of the largest commands. All queues ask for all of the memory at once, and all are served."""
    served, whole = poor.serve(disk(poor, mib=256), transport={"max_io_size": 2 << 20}), 4 << 20
    data = os.urandom(whole)
    hosts = [Host(served.port, served.nqn, io_queues=4) for _ in range(4)]

    def write(host, at):
        for n, io in enumerate(host.ios):
            io.sock.settimeout(120)
            lba = (at * len(host.ios) + n) * (whole >> 9)
            halves = [io.submit(rw(IO_WRITE, lba + at, 4096), data[at << 9:(at + 4096) << 9], in_capsule=False)
                      for at in (0, 4096)]
            for cid in halves:
                must(io.wait(cid))

    threads = [threading.Thread(target=write, args=(host, at)) for at, host in enumerate(hosts)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for lba in range(0, 16 * (whole >> 9), 4096):
        assert hosts[0].io.read(lba, 4096) == data[lba * 512 % whole:][:2 << 20]
    for host in hosts:
        host.close()


def test_many_sizes_at_once(poor):
    """Small ones must not starve behind large ones, nor large ones behind small ones."""
    served = poor.serve(disk(poor, mib=256))
    others = [perf_command(served, pattern="write", io_bytes=size, depth=64, qpairs=4, rate=None, seconds=2)
              for size in (8192, 65536, 131072)]
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for c in others]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert tcp_counter(poor, "room_waits") > 0


def test_hosts_that_hold_what_there_is(poor):
    """Hosts that were asked for data and keep still hold all buffers that there are, but only until their deadline."""
    served = poor.serve(disk(poor), transport={"data_timeout_ms": 500})
    holders = [Host(served.port, served.nqn) for _ in range(4)]
    for host in holders:
        for n in range(20):
            host.io.submit(rw(IO_WRITE, n * 256, 256), bytes(131072), in_capsule=False)
    wait_until(lambda: poor.rpc("framework_get_memory")["waiting"] > 0, "the memory to be used up")
    data = os.urandom(131072)
    with Host(served.port, served.nqn) as host:
        host.io.sock.settimeout(60)
        must(host.io.write(8192, data, in_capsule=False))
        assert host.io.read(8192, 256) == data
    for host in holders:
        host.close()


def test_reads_beside_writes_that_wait(poor):
    """What lies in a RAM disk goes out from there: reads must not wait in the line of those who need buffers."""
    served = poor.serve(disk(poor))
    holders = [Host(served.port, served.nqn) for _ in range(16)]
    for host in holders:
        for n in range(20):
            host.io.submit(rw(IO_WRITE, n * 256, 256), bytes(131072), in_capsule=False)
    wait_until(lambda: poor.rpc("framework_get_memory")["waiting"] > 0, "the memory to be used up")
    with Host(served.port, served.nqn) as host:
        cids = [host.io.submit(rw(IO_READ, 65536 + n * 256, 256), expect=131072) for n in range(64)]
        for cid in cids:
            assert must(host.io.wait(cid)).data == bytes(131072)
        for n in range(64):       # small writes come with their data, and have no use for a buffer
            must(host.io.write(100000 + n, bytes([n]) * 512))
    threads = [threading.Thread(target=finish, args=(h,)) for h in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [h for h in holders if h.io.pending], "each of them gets its turn"
    for host in holders:
        host.close()


def finish(host):
    host.io.sock.settimeout(60)
    while host.io.pending:
        host.io.step()
