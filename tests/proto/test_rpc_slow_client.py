# SPDX-License-Identifier: BSD-3-Clause
"""A client that asks much and reads nothing is no longer read from, costs bounded memory, and delays nobody."""
import socket
import time

from jsonrpc import Raw, request


def test_a_client_that_does_not_read(daemon):
    question = (request("rpc_describe") * 50).encode()
    with Raw(daemon.socket) as slow:
        slow.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += slow.socket.send(question)
        except socket.timeout:
            pass
        assert sent < 8 << 20                       # it stopped taking
        before = time.monotonic()
        for _ in range(20):
            daemon.rpc("log_get_level")
        assert time.monotonic() - before < 60       # a stall would be the client's timeout
        assert daemon.rss_kib() < 400 << 10
        slow.socket.settimeout(60)
        complete = sent // len(request("rpc_describe"))
        for _ in range(min(complete, 100)):         # and it goes on when it reads
            assert "result" in slow.answer()
