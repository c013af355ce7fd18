# SPDX-License-Identifier: BSD-3-Clause
"""A host that asks and never reads the answers would keep what they lie in from all others, or grow the daemon."""
import pytest

from gantry import wait_until
from load import Load, connections, is_sanitized, tcp_counter
from nvme_tcp import IO_READ, Host, rw

READS = 100
READ_BLOCKS = 256            # 128 KiB of 512 bytes
CONNECTIONS = 16
BLOCKED_RSS_KIB_MAX = 32 << 10


def deaf_host(served):
    host = Host(served.port, served.nqn, io_queues=4)
    for io in host.ios:
        for n in range(READS):
            io.submit(rw(IO_READ, n * READ_BLOCKS, READ_BLOCKS), expect=READ_BLOCKS * 512)
    return host


def deafen(daemon, served):
    """Hosts with reads outstanding that the daemon has come to be unable to send."""
    hosts = [deaf_host(served) for _ in range(CONNECTIONS // 4)]
    wait_until(lambda: tcp_counter(daemon, "short_sends") >= CONNECTIONS, "all of them to be blocked")
    return hosts


def close(hosts):
    for host in hosts:
        host.close()


@pytest.mark.parametrize("io_bytes", [4096, 32768, 131072])
@pytest.mark.parametrize("kind", ["malloc", "null"])
def test_others_go_on(daemon, kind, io_bytes):
    served = daemon.serve(daemon.malloc("disk", mib=256) if kind == "malloc" else daemon.null("disk"))
    before = daemon.rss_kib()
    hosts = deafen(daemon, served)
    if kind == "malloc":
        with Load(daemon, served, io_bytes=io_bytes, rate=2000) as load:
            load.more_ios(500)
    else:
        with Host(served.port, served.nqn) as host:
            for n in range(200):
                host.io.read(n, io_bytes // 512)
        grown = daemon.rss_kib() - before
        print(f"{grown} KiB for {CONNECTIONS * READS} unread answers of {READ_BLOCKS // 2} KiB")
        assert is_sanitized(daemon) or grown < BLOCKED_RSS_KIB_MAX
    close(hosts)
    wait_until(lambda: connections(daemon) == 0, "all to go")
    memory = daemon.rpc("framework_get_memory")
    assert memory["in_use_bytes"] == 0 and memory["waiting"] == 0


def test_it_is_let_go_at_a_deadline(daemon):
    """Alive is who reads: neither keep-alive nor a full window may keep such a connection for ever."""
    served = daemon.serve(daemon.malloc("disk"), transport={"data_timeout_ms": 500})
    hosts = deafen(daemon, served)
    wait_until(lambda: tcp_counter(daemon, "timed_out") == CONNECTIONS, "their I/O connections to be closed", 60)
    assert connections(daemon) == len(hosts), "the admin queues had nothing unread"
    close(hosts)


def test_who_reads_now_and_then_is_kept(daemon):
    """A host that reads slowly but reads would lose its connection: each piece moves the deadline."""
    served = daemon.serve(daemon.malloc("disk"), transport={"data_timeout_ms": 2000})
    host, = [deaf_host(served)]
    io = host.ios[0]
    wait_until(lambda: tcp_counter(daemon, "timed_out") == 3 or not eat(io, 512 << 10),
               "the other three to be closed", 60, 0.1)
    assert tcp_counter(daemon, "timed_out") == 3
    while io.pending:
        io.step()
    close([host])


def eat(io, count):
    """Take some bytes in, for later."""
    io.sock.settimeout(0.01)
    try:
        while count > 0:
            more = io.sock.recv(min(count, 65536))
            io.received += more
            count -= len(more)
    except TimeoutError:
        pass
    io.sock.settimeout(60)
    return True
