# SPDX-License-Identifier: BSD-3-Clause
import os
import select

import pytest

from gantry import Daemon, cpus
from nvme_tcp import IO_FLUSH, IO_READ, IO_WRITE, OK, TIMEOUT_S, Host, must, rw, sqe

ENTRIES = 32


def test_queue_full_of_writes_that_wait_for_data(served):
    """A host that fills its queue before it sends any data would wait for ever: there is a slot for each."""
    with Host(served.port, served.nqn, entries=ENTRIES) as host:
        io = host.io
        data = [os.urandom(16384) for _ in range(ENTRIES - 1)]
        cids = [io.submit(rw(IO_WRITE, n * 32, 32), d, in_capsule=False) for n, d in enumerate(data)]
        for cid in reversed(cids):
            must(io.wait(cid))
        assert b"".join(io.read(n * 32, 32) for n in range(len(data))) == b"".join(data)


@pytest.mark.parametrize("digests", [{}, {"hdgst": True, "ddgst": True}], ids=["plain", "digests"])
def test_queue_kept_full(served, digests):
    """A command sent the moment another is answered would find no slot."""
    with Host(served.port, served.nqn, entries=ENTRIES, **digests) as host:
        io = host.io
        outstanding = []
        for n in range(1500 if not digests else 300):
            if len(outstanding) == ENTRIES - 1:
                must(io.wait(outstanding.pop(0)))
            command = (rw(IO_READ, n % 64, 4), rw(IO_WRITE, n % 64, 1), sqe(IO_FLUSH, nsid=1))[n % 3]
            outstanding.append(io.submit(command, bytes(512) if n % 3 == 1 else b"", expect=2048 if n % 3 == 0 else 0))
        for cid in outstanding:
            must(io.wait(cid))


def test_host_that_reads_nothing(served, serves):
    """Answers that nobody takes would fill memory, or hold up other hosts."""
    with Host(served.port, served.nqn, entries=128) as deaf:
        for n in range(127):
            deaf.io.submit(rw(IO_READ, 0, 256), expect=131072)
        for _ in range(5):
            serves()
        while deaf.io.pending:
            deaf.io.step()


@pytest.mark.parametrize("cores", [1, 2])
def test_more_memory_asked_for_than_there_is(tmp_path, cores):
    """Requests beyond the memory budget would fail, or wait although memory has come back."""
    with Daemon(tmp_path, "-s", "64", "-m", cpus(cores)) as daemon:
        served = daemon.serve(daemon.null("disk0"))
        hosts = [Host(served.port, served.nqn, entries=128) for _ in range(8)]
        for host in hosts:                                   # 8 x 127 x 128 KiB = 127 MiB of data in flight
            for n in range(127):
                host.io.submit(rw(IO_WRITE, n * 256, 256), bytes(131072), in_capsule=False)
        by_socket = {host.io.sock: host.io for host in hosts}
        while any(io.pending for io in by_socket.values()):  # whoever is asked for data gives it
            ready, _, _ = select.select(list(by_socket), [], [], TIMEOUT_S)
            assert ready, "nobody is asked for data any more: " + str([len(io.pending) for io in by_socket.values()])
            for sock in ready:
                by_socket[sock].step()
                while by_socket[sock].received:
                    by_socket[sock].step()
        for host in hosts:
            assert {done.status for done in host.io.done.values()} == {OK}
            host.close()
