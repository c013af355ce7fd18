# SPDX-License-Identifier: BSD-3-Clause
"""An address at which connection requests vanish: no answer, no RST, no ICMP, as of a machine that lost power.

For root it is a neighbour on a network of its own that is not there, but whose address is known for ever, so that the
kernel sends to it without asking. For others it is a port of loopback whose line of accepted connections is full: the
kernel drops what more comes.
"""
import ipaddress
import os
import shutil
import socket
import subprocess
import time

from bad_target import NQN

NETWORK = ipaddress.ip_network("198.18.0.0/15")     # for tests of networks; nobody routes it
PORT = 4420


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False).returncode == 0


class BlackHole:
    """`address`, `port`; `nqn`, so that it can be attached like a target."""

    nqn = NQN

    def __init__(self):
        self.device, self.sockets = None, []
        if not self.dig_network():
            self.fill_port()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.device:
            ip("link", "del", self.device)
        for s in self.sockets:
            s.close()

    def dig_network(self):
        if os.geteuid() or not shutil.which("ip"):
            return False
        n = os.getpid() % (NETWORK.num_addresses // 4)
        here, there = NETWORK[4 * n + 1], NETWORK[4 * n + 2]
        self.device, other = f"gbh{os.getpid() % 100000}a", f"gbh{os.getpid() % 100000}b"
        if ip("link", "add", self.device, "type", "veth", "peer", "name", other) and \
           ip("link", "set", other, "up") and ip("link", "set", self.device, "up") and \
           ip("addr", "add", f"{here}/30", "dev", self.device) and \
           ip("neigh", "add", str(there), "lladdr", "02:00:00:00:00:01", "nud", "permanent", "dev", self.device):
            self.address, self.port = str(there), PORT
            return True
        ip("link", "del", self.device)
        self.device = None
        return False

    def fill_port(self):
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.address, self.port = listener.getsockname()
        self.sockets = [listener]
        for _ in range(2):                          # one is accepted beyond the line
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((self.address, self.port))
            self.sockets.append(filler)
        time.sleep(0.1)
