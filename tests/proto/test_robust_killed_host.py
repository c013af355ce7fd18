# SPDX-License-Identifier: BSD-3-Clause
"""Hosts crash, hang and get stopped at any point; what they held must come back, and others must not notice."""
import signal
import subprocess

from gantry import wait_until
from load import Load, connections, ios_done, perf_command, poll_groups, tcp_counter
from nvme_tcp import CMD, IO_WRITE, Conn, Host, must, rw, sgl_in_capsule

NQN2 = "nqn.2016-06.io.gantry:other"


def held(daemon):
    """What hosts hold of the daemon."""
    memory = daemon.rpc("framework_get_memory")
    group = poll_groups(daemon)[0]
    return {"fds": daemon.fd_count(), "in use": memory["in_use_bytes"], "waiting": memory["waiting"],
            "charged": memory["charged_bytes"], "connections": group["current_connections"],
            "pending": group["pending_bdev_io"]}


def second_disk(daemon):
    return daemon.serve(daemon.malloc("disk2"), nqn=NQN2, discovery=False)


def start_host(served, *more, **options):
    return subprocess.Popen(perf_command(served, *more, seconds=600, **options), stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def busy(daemon, count):
    done = ios_done(daemon)
    wait_until(lambda: ios_done(daemon) >= done + count, "I/O", 60)


def test_killed_within_large_writes(daemon, served):
    other = second_disk(daemon)
    before = held(daemon)
    for _ in range(8):
        host = start_host(served, pattern="write", io_bytes=131072, depth=128, qpairs=4, rate=None)
        busy(daemon, 200)
        host.kill()
        host.wait()
    wait_until(lambda: held(daemon) == before, f"{before}", 60)
    with Load(daemon, other, rate=5000) as load:
        for _ in range(4):
            host = start_host(served, pattern="randrw", io_bytes=131072, depth=128, qpairs=4, rate=2000)
            load.more_ios(1000)
            host.kill()
            host.wait()
            load.more_ios(100)
    wait_until(lambda: held(daemon) == before, f"{before}", 60)


def test_stopped_beyond_its_keep_alive(daemon, served):
    """A stopped machine's connections stay open; only its keep-alive tells that it is gone."""
    other = second_disk(daemon)
    with Load(daemon, other, rate=5000) as load:
        host = start_host(served, "-k", "1000", pattern="randrw", io_bytes=131072, depth=64, qpairs=4, rate=2000)
        try:
            wait_until(lambda: len(daemon.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn)) == 5, "all its queues", 60)
            load.more_ios(500)
            host.send_signal(signal.SIGSTOP)
            load.more_ios(100)
            wait_until(lambda: "nothing heard for 1000 ms" in daemon.log(), "its keep-alive to be missed", 60)
            load.more_ios(100)
            host.send_signal(signal.SIGCONT)
            assert host.wait(60) == 1, "it must notice"
        finally:
            host.kill()
            host.wait()
    wait_until(lambda: connections(daemon) == 0, "all to go", 60)
    with Host(served.port, served.nqn) as again:
        must(again.io.write(0, bytes(4096)))


def test_connected_and_silent(daemon, served):
    """Connections that never say a word would stay until there are no descriptors left."""
    before = held(daemon)
    silent = [Conn(served.port, handshake=False) for _ in range(64)]
    with Load(daemon, served, rate=5000) as load:
        wait_until(lambda: tcp_counter(daemon, "timed_out") == len(silent), "the deadline of ICReq", 60)
        load.more_ios(100)
    for conn in silent:
        conn.expect_closed()
        conn.close()
    wait_until(lambda: held(daemon) == before, f"{before}", 60)


def test_a_byte_now_and_then(daemon, served):
    """A host that sends a byte at a time, with long pauses, would have others wait for its next one."""
    data = bytes(range(256)) * 2
    with Host(served.port, served.nqn, io_queues=1) as slow:
        pdu = slow.io.pdu(CMD, rw(IO_WRITE, 7, 1, sgl=sgl_in_capsule(512)), data)
        slow.io.pending[0] = b""
        with Load(daemon, second_disk(daemon), rate=20000) as load:
            for at in range(len(pdu)):
                slow.io.send(pdu[at:at + 1])
                if at % 16 == 0:
                    load.more_ios(20)
        must(slow.io.wait(0))
        assert slow.io.read(7, 1) == data
