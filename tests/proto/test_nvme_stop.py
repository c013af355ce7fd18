# SPDX-License-Identifier: BSD-3-Clause
"""The daemon is told to end (the fixture's stop() checks status, time and log)."""
from nvme_tcp import ADMIN_ASYNC_EVENT, IO_READ, IO_WRITE, Conn, Host, make_icreq, rw, sqe


def test_with_several_subsystems_and_ports(daemon):
    """Ending would trip over the second listener, or leave a port open."""
    for n in range(3):
        daemon.serve(daemon.null(f"disk{n}"), nqn=f"nqn.2016-06.io.gantry:stop{n}", ports=3)
    daemon.stop()
    daemon.start()
    daemon.replay()      # the same ports again, at once


def test_with_everything_outstanding(daemon):
    """Ending would wait for hosts that never answer, or answer to connections that are gone."""
    served = daemon.serve(daemon.malloc("disk0"), ports=2)
    hosts = [Host(port, served.nqn, io_queues=3, kato_ms=1000) for port in served.ports]
    idle = [Conn(served.port, handshake=False) for _ in range(3)]
    idle[1].send(make_icreq()[:50])
    for host in hosts:
        host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
        for n in range(30):
            host.ios[0].submit(rw(IO_READ, n, 256), expect=131072)
            host.ios[1].submit(rw(IO_WRITE, n, 256), bytes(131072), in_capsule=False)
            host.ios[2].submit(rw(IO_WRITE, n, 8), bytes(4096))
    daemon.stop()
    for host in hosts:
        host.close()
    for conn in idle:
        conn.close()
