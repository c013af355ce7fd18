# SPDX-License-Identifier: BSD-3-Clause
import os

from nvme_tcp import CMD, HEADER_LENGTH, IO_WRITE, Conn, Host, make_icreq, must, rw, sgl_in_capsule


class Dribble(Conn):
    """Sends one byte at a time."""

    def send(self, data):
        for at in range(len(data)):
            self.sock.sendall(data[at:at + 1])


def test_one_byte_at_a_time(served):
    """A header or digest that is cut by segments would be misread; each is here, at every place."""
    with Dribble(served.port, hdgst=True, ddgst=True) as admin:
        cntlid = must(admin.connect(served.nqn)).value & 0xffff
        admin.property_set(0x14, 4 << 20 | 6 << 16 | 1)
        with Dribble(served.port, hdgst=True, ddgst=True) as io:
            must(io.connect(served.nqn, qid=1, cntlid=cntlid))
            data = os.urandom(1536)
            must(io.write(0, data[:512]))
            must(io.write(1, data[512:], in_capsule=False))
            assert io.read(0, 3) == data


def test_others_are_not_held_up(served):
    """A host that stops in the middle of a PDU would stop the others."""
    stuck = []
    with Host(served.port, served.nqn, io_queues=2) as slow, Host(served.port, served.nqn) as quick:
        for count in (1, 7, 8, 71, 72, 100, HEADER_LENGTH[CMD] + 4095):
            conn = Conn(served.port)
            must(conn.connect(served.nqn))
            conn.send(conn.pdu(CMD, rw(IO_WRITE, 0, 8, sgl=sgl_in_capsule(4096)), bytes(4096))[:count])
            stuck.append(conn)
        slow.io.send(make_icreq()[:5])
        for n in range(50):
            must(quick.io.write(n, bytes([n]) * 512))
            assert quick.io.read(n, 1) == bytes([n]) * 512
        assert slow.ios[1].read(49, 1) == bytes([49]) * 512
    for conn in stuck:
        conn.close()
