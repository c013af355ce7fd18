# SPDX-License-Identifier: BSD-3-Clause
import os
import time

from nvme_tcp import IO_WRITE, Host, must, rw

TIMEOUT_MS = 1000


def ask(io, lba=0, blocks=64):
    io.submit(rw(IO_WRITE, lba, blocks), os.urandom(blocks * 512), in_capsule=False)
    return io.recv_r2t()


def test_silent_host_loses_its_connection(daemon):
    """A host that never sends what it announced would hold buffers for ever."""
    served = daemon.serve(daemon.malloc("disk0"), transport={"data_timeout_ms": TIMEOUT_MS})
    with Host(served.port, served.nqn, io_queues=2) as host:
        began = time.monotonic()
        ask(host.io)
        host.io.expect_closed(TIMEOUT_MS / 1000 + 5)
        assert time.monotonic() - began > TIMEOUT_MS / 1000 * 0.9
        assert host.ios[1].read(0, 8) == bytes(4096), "the other queue goes on, and nothing was written"


def test_slow_host_keeps_it(daemon):
    """A host that sends slowly but sends would lose its connection: each piece moves the deadline."""
    served = daemon.serve(daemon.malloc("disk0"), transport={"data_timeout_ms": TIMEOUT_MS})
    with Host(served.port, served.nqn) as host:
        r2t = ask(host.io)
        data = host.io.pending[r2t.cid]
        for n in range(8):
            time.sleep(TIMEOUT_MS / 1000 * 0.3)
            host.io.send_h2c(r2t, n * 4096, data[n * 4096:(n + 1) * 4096], last=n == 7)
        must(host.io.wait(r2t.cid))
        assert host.io.read(0, 64) == data


def test_host_that_sends_something_else(daemon):
    """Other commands would keep a transfer alive that gets no further."""
    served = daemon.serve(daemon.malloc("disk0"), transport={"data_timeout_ms": TIMEOUT_MS})
    with Host(served.port, served.nqn) as host:
        ask(host.io)
        began = time.monotonic()
        try:
            while time.monotonic() < began + TIMEOUT_MS / 1000 + 5:
                host.io.read(0, 1)
                time.sleep(0.05)
        except Exception:                      # closed, or reset while we sent
            return
        raise AssertionError("a host that owes data is served on")
