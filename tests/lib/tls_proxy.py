# SPDX-License-Identifier: BSD-3-Clause
"""TLS in front of a target that speaks in the clear: OpenSSL shakes hands with the host, so that nothing of ours judges
what ours sends.

    with TlsProxy(target.port, Psk(...).offer(HOST, NQN, 1)) as proxy:      the identities that it knows
        ... a host connects to proxy.port ...
        proxy.taken, proxy.refused                                          identities, in the order of the connections
        proxy.way = proxy.stall                                             the next connections hear nothing
"""
import ctypes
import select
import socket
import threading

import tls
from proxy import Proxy
from tls import TlsSocket

PIECE = 1 << 16


class KnowingSocket(TlsSocket):
    """A server that knows several identities."""

    def __init__(self, sock, proxy):
        self.proxy, self.offered, self.found = proxy, [], None
        first = next(iter(proxy.known.values()))
        super().__init__(sock, first.identity, first.key, first.hash_id, server=True,
                         ciphers=b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384")

    def find_psk(self, handle, identity, length, ret_session):
        name = ctypes.string_at(identity, length).decode()
        offer = self.proxy.known.get(name)
        self.offered.append(name)
        if offer:
            self.identity, self.key, self.hash_id, self.found = name.encode(), offer.key, offer.hash_id, name
        ret_session[0] = self.session(handle) if offer else None
        return 1


class TlsProxy(Proxy):
    """drop_all(): every connection ends, without a word of TLS."""

    def __init__(self, target_port, *offers):
        self.known = {o.identity: o for o in offers}
        self.taken, self.refused, self.why = [], [], []
        self.way = self.serve
        self.spoil = 0          # so many pieces to the host are spoiled on the wire
        super().__init__(target_port)

    def take(self, conn):
        threading.Thread(target=self.run, args=(conn, self.way), daemon=True).start()

    def run(self, conn, way):
        try:
            way(conn)
        except (OSError, tls.TlsError, ValueError):
            pass
        self.sockets.discard(conn)
        conn.close()

    # --- ways ---

    def stall(self, conn):
        """Takes what comes and says nothing."""
        while conn.recv(PIECE):
            pass

    def in_the_clear(self, conn):
        """As a target without TLS: what comes is no PDU for it."""
        with socket.create_connection(("127.0.0.1", self.target_port)) as plain:
            self.pump(conn, plain)

    def serve(self, conn):
        secured = KnowingSocket.__new__(KnowingSocket)
        try:
            secured.__init__(conn, self)
        except (tls.TlsError, OSError) as e:
            self.refused += secured.offered or [None]
            self.why.append(str(e))
            raise
        self.taken.append(secured.found)
        with socket.create_connection(("127.0.0.1", self.target_port)) as plain:
            self.pump(secured, plain)
        secured.close()

    def pump(self, a, b):
        while True:
            pending = isinstance(a, TlsSocket) and tls.ssl.SSL_pending(a.handle)
            ready = [a] if pending else select.select([a, b], [], [])[0]
            if a in ready:
                data = a.recv(PIECE)
                if not data:
                    return
                b.sendall(data)
            if b in ready:
                data = b.recv(PIECE)
                if not data:
                    return
                if self.spoil and isinstance(a, TlsSocket):
                    self.spoil -= 1
                    a.sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))    # a record that nobody has sealed
                a.sendall(data)
