# SPDX-License-Identifier: BSD-3-Clause
import socket

from gantry import wait_until
from nvme_tcp import Conn, Host, make_icreq, must


def test_half_open_connections_do_not_matter(daemon, served, serves):
    """Port scanners, or hosts that lost their power, would use up the daemon."""
    before = daemon.rss_kib()
    conns = []
    for n in range(150):
        conn = Conn(served.port, handshake=False)
        conn.send([b"", b"\0", make_icreq()[:100], make_icreq()][n % 4])
        conns.append(conn)
    serves()
    grown = daemon.rss_kib() - before
    assert daemon.is_sanitized or grown < 150 * 64, f"{grown} KiB of 150 connections that have said nothing"
    for n, conn in enumerate(conns):
        conn.close() if n % 2 else conn.reset()
    serves()


def test_host_that_only_half_closes(daemon, served, serves):
    """A connection that will never say anything again would be kept."""
    descriptors = daemon.fd_count()
    with Conn(served.port) as conn:
        conn.sock.shutdown(socket.SHUT_WR)
        conn.expect_closed()
    wait_until(lambda: daemon.fd_count() <= descriptors, "the socket to be closed")
    serves()


def test_host_that_vanishes_with_commands_outstanding(daemon, served, serves):
    """Commands of a host that is gone would keep their slots, or answer to a freed connection."""
    descriptors = daemon.fd_count()
    for _ in range(20):
        host = Host(served.port, served.nqn, io_queues=2)
        for io in host.ios:
            for n in range(32):
                io.submit(b"\x01" + bytes(3) + b"\x01" + bytes(59) if n % 8 == 7 else must_be_read(n), expect=131072)
        for conn in [*host.ios, host.admin]:
            conn.reset()
    wait_until(lambda: daemon.fd_count() <= descriptors, "all sockets to be closed")
    serves()


def must_be_read(n):
    from nvme_tcp import IO_READ, rw
    return rw(IO_READ, n * 8, 256)
