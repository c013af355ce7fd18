# SPDX-License-Identifier: BSD-3-Clause
"""A cable one can pull: forwards TCP connections of one port of loopback to another until it is cut."""
import socket
import threading

from gantry import free_port

PIECE = 1 << 18


class Proxy:
    """Everything that connects to `self.port` gets to `target_port`. After cut() nothing passes any more, neither way,
    and nobody is told: the connections stay open, new ones are taken and stay silent. mend() closes those that lost
    bytes and lets new ones through."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.port = free_port()
        self.is_cut = False
        self.sockets = set()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.drop_all()

    def cut(self):
        self.is_cut = True

    def mend(self):
        self.drop_all()
        self.is_cut = False

    def drop_all(self):
        for s in list(self.sockets):
            self.drop(s)

    def drop(self, s):
        self.sockets.discard(s)
        try:
            s.shutdown(socket.SHUT_RDWR)    # wakes the thread that reads from it
        except OSError:
            pass

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.add(client)
            self.take(client)

    def take(self, client):
        if self.is_cut:
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port))
        except OSError:
            self.drop(client)
            return
        self.sockets.add(server)
        for a, b in ((client, server), (server, client)):
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.forward, args=(a, b), daemon=True).start()

    def forward(self, source, sink):
        buffer = memoryview(bytearray(PIECE))
        try:
            while True:
                count = source.recv_into(buffer)
                if not count:
                    break
                if not self.is_cut:
                    sink.sendall(buffer[:count])
        except OSError:
            pass
        if not self.is_cut:
            self.drop(source)
            self.drop(sink)
