# SPDX-License-Identifier: BSD-3-Clause
"""A TCP connection to the target, as the hosts of all protocols have one."""
import socket
import struct

GONE = (ConnectionResetError, BrokenPipeError)


class Ended(Exception):
    """The target closed the connection."""


class TcpConn:
    """Bytes in order, and the ends a connection may have. `received`: what has come and was not looked at."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """End as a machine that lost power: an RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def recv_exactly(self, count):
        while len(self.received) < count:
            try:
                more = self.sock.recv(max(65536, count - len(self.received)))
            except GONE:
                more = b""
            if not more:
                raise Ended(f"the target closed the connection{' within a PDU' if self.received else ''}")
            self.received += more
        out, self.received = self.received[:count], self.received[count:]
        return out

    def expect_closed(self, timeout_s=60):
        """Nothing more comes but the end."""
        self.sock.settimeout(timeout_s)
        try:
            more = self.received or self.sock.recv(65536)
        except GONE:
            more = b""
        except socket.timeout:
            raise AssertionError(f"the connection is still open after {timeout_s} s") from None
        assert not more, f"{len(more)} bytes instead of the end of the connection: {more[:48].hex(' ', 4)}"
