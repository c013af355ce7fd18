# SPDX-License-Identifier: BSD-3-Clause
"""Ways in which a BadTarget can behave at a step: each is called with the connection and the request (None where there
is no command: accept, icresp), instead of what would be right.

    rst, silence, ...                   as they are
    status(ABORTED, dnr=True), ...      made for the occasion
"""
import os
import socket
import struct
import time

from bad_target import Answer, Gone
from nvme_tcp import C2HTERM, ICRESP, R2T, RSP, make_pdu


# --- the connection's end, or its silence ------------------------------------------------------------------------

def fin(conn, _):
    """Closed in peace."""
    conn.sock.shutdown(socket.SHUT_RDWR)
    raise Gone


def rst(conn, _):
    conn.reset()
    raise Gone


def silence(conn, _):
    """Takes everything from now on, answers nothing any more."""
    conn.mute = True


def ignore(conn, _):
    """Says nothing to this one."""
    conn.target.seen["ignored"] += 1


def deaf(conn, _):
    """Reads nothing any more: what the host sends piles up."""
    while not conn.over:
        time.sleep(0.02)
    raise Gone


def garbage(conn, _):
    conn.send(b"\xff" + os.urandom(255))         # no PDU begins so


def term(fes=1, fei=0, quoted=bytes(24)):
    """A C2HTermReq."""
    def act(conn, _):
        conn.send(make_pdu(C2HTERM, struct.pack("<HI10x", fes, fei), quoted, pdo=0))
    return act


# --- answers that are late, or not whole -------------------------------------------------------------------------

def bytes_of(conn, request):
    """What would be right here, as bytes."""
    if request is not None:
        return conn.capture(request)
    conn.captured = []
    conn.do_icresp(0, 0)
    out, conn.captured = b"".join(conn.captured), None
    return out


def late(seconds):
    """Right, but later; what comes behind it on this connection waits, too."""
    def act(conn, request):
        time.sleep(seconds)
        conn.send(bytes_of(conn, request))
    return act


def drip(seconds):
    """A byte at a time."""
    def act(conn, request):
        for byte in bytes_of(conn, request):
            conn.send(bytes([byte]))
            time.sleep(seconds)
            if conn.over:
                raise Gone
    return act


def cut(count, end=rst):
    """The first `count` bytes of what is right, then the end."""
    def act(conn, request):
        conn.send(bytes_of(conn, request)[:count])
        end(conn, request)
    return act


def held(gate):
    """Right, once the threading.Event is set; what comes behind it waits, too."""
    def act(conn, request):
        while not gate.wait(0.05):
            if conn.over:
                raise Gone
        conn.send(bytes_of(conn, request))
    return act


def twice(conn, request):
    out = bytes_of(conn, request)
    conn.send(out + out)


# --- answers that are wrong --------------------------------------------------------------------------------------

def status(code, dnr=False, crd=0):
    def act(conn, request):
        conn.send_completion(request.cid, Answer(code, dnr=dnr, crd=crd))
    return act


def value(number):
    """Succeeds with this in dwords 0 and 1."""
    def act(conn, request):
        conn.send_completion(request.cid, Answer(value=number))
    return act


def patch(*fields):
    """Right but for fields of its data: (format, offset, value) each."""
    def act(conn, request):
        answer = conn.answer_to(request)
        page = bytearray(answer.data)
        for fmt, offset, number in fields:
            struct.pack_into(fmt, page, offset, number)
        answer.data = bytes(page)
        conn.reply(request, answer)
    return act


def data(content):
    """This, whatever was asked for."""
    def act(conn, request):
        conn.reply(request, Answer(data=content))
    return act


def unknown_cid(conn, request):
    conn.send_completion(request.cid ^ 0x5555, Answer())


def no_data(conn, request):
    """A read that succeeds with nothing."""
    conn.send_completion(request.cid, Answer())


# --- wrong PDUs --------------------------------------------------------------------------------------------------

def icresp(pfv=0, cpda=0, dgst=0, maxh2cdata=131072, **wrong):
    def act(conn, _):
        conn.send(make_pdu(ICRESP, struct.pack("<HBBI112x", pfv, cpda, dgst, maxh2cdata), **wrong))
    return act


def r2t(offset=0, length=None, beyond=0, ttag=0x77, cid=None):
    """Asks for data: by default for all of it and `beyond` bytes more."""
    def act(conn, request):
        conn.send_r2t(request.cid if cid is None else cid, ttag, offset,
                      request.sgl_length + beyond if length is None else length)
    return act


def r2t_twice(conn, request):
    """Before the first is answered."""
    conn.send(b"".join(make_pdu(R2T, struct.pack("<HHII4x", request.cid, tag, 0, request.sgl_length), hdgst=conn.hdgst)
                       for tag in (1, 2)))


def c2h(offset=0, more=0, times=1, cid=None, **wrong):
    """A read's data, too long or at the wrong place, and the completion."""
    def act(conn, request):
        answer = conn.answer_to(request)
        content = (answer.data + bytes(max(more, 0)))[:len(answer.data) + more]
        for _ in range(times):
            conn.send_data(request.cid if cid is None else cid, content, offset, **wrong)
        conn.send_completion(request.cid, answer)
    return act


def pieces(*bounds):
    """A read's data in pieces that end at these bytes, or at these parts of it, and the rest: right."""
    def act(conn, request):
        answer, begin = conn.answer_to(request), 0
        for end in [int(b if b >= 1 else b * len(answer.data)) for b in bounds] + [len(answer.data)]:
            conn.send_data(request.cid, answer.data[begin:end], begin, last=end == len(answer.data))
            begin = end
        conn.send_completion(request.cid, answer)
    return act


def bad_header_digest(conn, request):
    conn.send_pdu(RSP, struct.pack("<QHHHH", 0, 0, conn.qid, request.cid, 0), header_digest=0x12345678)


def bad_data_digest(conn, request):
    answer = conn.answer_to(request)
    conn.send_data(request.cid, answer.data, data_digest=0x12345678)
    conn.send_completion(request.cid, answer)


def wrong_pdu(kind, rest=bytes(16), content=b"", **wrong):
    """Any PDU at all."""
    def act(conn, _):
        conn.send_pdu(kind, rest, content, **wrong)
    return act
