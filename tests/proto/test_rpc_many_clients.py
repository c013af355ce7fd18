# SPDX-License-Identifier: BSD-3-Clause
"""64 clients at once are served; one more is told why not, and has its turn when another leaves."""
import signal

from gantry import wait_until
from jsonrpc import Raw


def test_the_limit_is_said(daemon):
    clients = [Raw(daemon.socket) for _ in range(64)]
    for i, client in enumerate(clients):
        assert client.call("log_get_level", i)["id"] == i
    with Raw(daemon.socket) as late:
        error = late.answer()["error"]
        assert "64 clients" in error["message"]
        assert late.at_end()
    clients.pop().__exit__()

    def served():
        with Raw(daemon.socket) as raw:
            return "result" in raw.call("log_get_level")
    wait_until(served, "a free place")
    for client in clients:
        assert client.call("log_get_level", 1)["result"] == "NOTICE"
        client.__exit__()
    wait_until(lambda: daemon.fd_count() < 40, "descriptors to be closed")


def test_who_hung_up_is_in_nobodys_way(daemon):
    """All at the limit leave while the daemon looks elsewhere, and as many come: it finds both at once."""
    clients = [Raw(daemon.socket) for _ in range(64)]
    for client in clients:
        client.call("log_get_level")
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        for client in clients:
            client.__exit__()
        clients = [Raw(daemon.socket) for _ in range(64)]
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    for client in clients:
        assert client.call("log_get_level")["result"] == "NOTICE"
        client.__exit__()


def test_thousands_come_and_go(daemon):
    fds = daemon.fd_count()
    for _ in range(2000):
        Raw(daemon.socket).__exit__()
    with Raw(daemon.socket) as raw:
        assert raw.call("log_get_level")["id"] == 1
    wait_until(lambda: daemon.fd_count() <= fds, "descriptors to be closed")
