# SPDX-License-Identifier: BSD-3-Clause
"""Bytes that are no NVMe/TCP, or nearly."""
import random
import socket

import pytest

from nvme_tcp import (CMD, IO_READ, IO_WRITE, Conn, Ended, Host, rw, sgl_in_capsule, sgl_transport, sqe)

ROUNDS = 400


def throw(conn, data):
    """Send it, say that no more will come, and wait for the end; the target may close at any time."""
    try:
        conn.send(data)
        conn.sock.shutdown(socket.SHUT_WR)
        while conn.sock.recv(1 << 16):
            pass
    except (ConnectionError, Ended):
        pass
    except socket.timeout:
        raise AssertionError("the connection is still open although its host has closed it") from None
    conn.close()


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\nHost: disk\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n",
                                  b"\x16\x03\x01\x02\x00" * 9, bytes(65536), b"\xff" * 65536],
                         ids=["http", "ssh", "tls", "zeroes", "ones"])
def test_other_protocols(served, serves, text):
    """Whoever knocks at the wrong door would take the house down."""
    throw(Conn(served.port, handshake=False), text)
    serves()


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes(daemon, served, serves, seed):
    """Random bytes, from the start or after a good beginning, would take the daemon down or leave something behind."""
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        conn = Conn(served.port, handshake=dice.random() < 0.5)
        throw(conn, dice.randbytes(dice.choice([1, 8, 72, 128, 1000, 70000])))
    serves()


def conversation(dice):
    """What a host might say to an I/O queue."""
    out = []
    for _ in range(dice.randint(1, 8)):
        blocks = dice.choice([1, 8, 256])
        out.append(dice.choice([
            lambda: Conn.pdu(PLAIN, CMD, rw(IO_WRITE, dice.randrange(1000), 8, sgl=sgl_in_capsule(4096)), bytes(4096)),
            lambda: Conn.pdu(PLAIN, CMD, rw(IO_WRITE, dice.randrange(1000), blocks, sgl=sgl_transport(blocks * 512))),
            lambda: Conn.pdu(PLAIN, CMD, rw(IO_READ, dice.randrange(1000), blocks, sgl=sgl_transport(blocks * 512))),
            lambda: Conn.pdu(PLAIN, CMD, sqe(dice.randrange(256), 1, sgl_transport(4096),
                                             cdw10=dice.randrange(1 << 32))),
        ])())
    return b"".join(out)


class Plain:
    hdgst = ddgst = False
    align = 4


PLAIN = Plain()


def mutate(dice, data):
    data = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 5])):
        at = dice.randrange(min(len(data), dice.choice([8, 80, len(data)])))
        data[at] = dice.choice([data[at] ^ 1 << dice.randrange(8), dice.randrange(256), 0, 0xff])
    return bytes(data[:dice.choice([len(data), len(data), dice.randrange(len(data)) + 1])])


@pytest.mark.parametrize("seed", range(6))
def test_mutated_conversations(daemon, served, serves, seed):
    """A conversation with a few wrong bits, on a queue that is connected, would take the daemon down."""
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        with Host(served.port, served.nqn) as host:
            throw(host.io, mutate(dice, conversation(dice)))
            host.admin.send(mutate(dice, host.admin.pdu(CMD, sqe(dice.randrange(256), dice.choice([0, 1]),
                                                                 sgl_transport(4096), cdw10=dice.randrange(1 << 32)))))
    serves()
    daemon.check_log()
