# SPDX-License-Identifier: BSD-3-Clause
"""DH-HMAC-CHAP as a host speaks it, by hashlib, hmac and pow(): independent of the project's C code on purpose.

    secret = Secret.make(1)                          DHHC-1:01:...
    auth = Auth(conn, hostnqn, nqn, secret)          one transaction on one queue; `mutual` with the controller's secret
    auth.run()                                       all of it; Refused says why it was not to be
    auth.negotiate(); auth.challenge(); auth.reply(); auth.success1(); auth.success2()    or step by step

Each step builds its message by a function of its own, so that a test can send another.
"""
import base64
import hashlib
import hmac
import os
import secrets
import struct
import zlib
from dataclasses import dataclass

from nvme_tcp import FABRICS, Conn, Host, must, sqe

FABRICS_AUTH_SEND, FABRICS_AUTH_RECEIVE = 0x05, 0x06
COMMON, DHCHAP = 0, 1
NEGOTIATE, CHALLENGE, REPLY, SUCCESS1, SUCCESS2, FAILURE2, FAILURE1 = 0, 1, 2, 3, 4, 0xf0, 0xf1
# What a failure's explanation says
(FAILED, PROTOCOL_UNUSABLE, SCC_MISMATCH, HASH_UNUSABLE, DHGROUP_UNUSABLE, INCORRECT_PAYLOAD,
 INCORRECT_MESSAGE) = range(1, 8)
HASHES = {1: hashlib.sha256, 2: hashlib.sha384, 3: hashlib.sha512}
NULL = 0
# RFC 7919: 2^b - 2^(b-64) + (floor(2^(b-130) * e) + X) * 2^64 - 1, generator 2
GROUPS = {1: (2048, 560316), 2: (3072, 2625351), 3: (4096, 5736041), 4: (6144, 15705020), 5: (8192, 10965728)}
AUTH_REQUIRED, ATR = 0x191, 1 << 17   # of Connect's answer, its dword 0


def floor_of_e(bits):
    """2^bits * e, rounded down."""
    guard = 64
    total = term = 1 << (bits + guard)
    n = 1
    while term:
        term //= n
        total += term
        n += 1
    return total >> guard


def prime(group):
    bits, x = GROUPS[group]
    return (1 << bits) - (1 << bits - 64) + (floor_of_e(bits - 130) + x) * (1 << 64) - 1


class Refused(AssertionError):
    """The controller sent failure1."""

    def __init__(self, reason, explanation):
        self.reason, self.explanation = reason, explanation
        super().__init__(f"failure1: reason {reason}, explanation {explanation}")


@dataclass
class Secret:
    transform: int
    secret: bytes

    @classmethod
    def make(cls, transform=1):
        return cls(transform, os.urandom({0: 32, 1: 32, 2: 48, 3: 64}[transform]))

    def __str__(self):
        crc = struct.pack("<I", zlib.crc32(self.secret))
        return f"DHHC-1:{self.transform:02x}:{base64.b64encode(self.secret + crc).decode()}:"

    def key(self, nqn):
        if not self.transform:
            return self.secret
        return hmac.new(self.secret, nqn.encode() + b"NVMe-over-Fabrics", HASHES[self.transform]).digest()

    def file(self, path):
        path.touch(0o600)
        path.write_text(f"{self}\n")
        return str(path)


def security(kind, length):
    return sqe(FABRICS, kind, cdw10=0xe9 << 24 | 1 << 16 | 1 << 8, cdw11=length)


class Auth:
    def __init__(self, conn, hostnqn, nqn, secret, mutual=None, hashes=(1, 2, 3), groups=(0,), t_id=7,
                 sc_c=0, signed_sc_c=None):
        self.sc_c, self.signed_sc_c = sc_c, sc_c if signed_sc_c is None else signed_sc_c
        self.conn, self.hostnqn, self.nqn, self.secret, self.mutual = conn, hostnqn, nqn, secret, mutual
        self.hashes, self.groups, self.t_id = hashes, groups, t_id
        self.session = None

    # --- commands ---

    def send(self, message):
        return self.conn.command(security(FABRICS_AUTH_SEND, len(message)), message)

    def receive(self, length=4096):
        return self.conn.command(security(FABRICS_AUTH_RECEIVE, length), expect=length)

    def fetch(self, wanted):
        """The message that has to come now."""
        message = must(self.receive()).data
        kind, number, t_id = struct.unpack_from("<BBxxH", message)
        if (kind, number) == (COMMON, FAILURE1):
            raise Refused(*message[6:8])
        assert (kind, number, t_id) == (DHCHAP, wanted, self.t_id), message[:16].hex()
        return message

    # --- messages ---

    def header(self, kind, number):
        return struct.pack("<BBxxH", kind, number, self.t_id)

    def descriptor(self, protocol=1):
        return (struct.pack("<BxBB", protocol, len(self.hashes), len(self.groups)) +
                bytes(self.hashes).ljust(30, b"\0") + bytes(self.groups).ljust(30, b"\0"))

    def negotiate_message(self, sc_c=None):
        return self.header(COMMON, NEGOTIATE) + bytes([self.sc_c if sc_c is None else sc_c, 1]) + self.descriptor()

    def response(self, secret, role, first, second, challenge, seqnum, sc_c=0):
        if self.session is not None:
            challenge = hmac.new(self.session, challenge, self.hash).digest()
        names = first.encode() + b"\0" + second.encode()
        text = challenge + struct.pack("<IHB", seqnum, self.t_id, sc_c) + role + names
        return hmac.new(secret.key(first), text, self.hash).digest()

    def reply_message(self):
        own = b""
        if self.group != NULL:
            p = prime(self.group)
            x = secrets.randbits(512) | 1   # short, as Python is slow: enough for any of the groups
            own = pow(2, x, p).to_bytes(len(self.dhv), "big")
            self.session = self.hash(pow(int.from_bytes(self.dhv, "big"), x, p).to_bytes(len(self.dhv), "big")).digest()
        self.own_challenge = os.urandom(self.hl) if self.mutual or self.sc_c else bytes(self.hl)
        self.own_seqnum = secrets.randbelow(1 << 31) + 1 if self.mutual else 0
        proof = self.response(self.secret, b"HostHost", self.hostnqn, self.nqn, self.cval, self.seqnum,
                              self.signed_sc_c)
        return (self.header(DHCHAP, REPLY) +
                struct.pack("<BxBxHI", self.hl, bool(self.mutual or self.sc_c), len(own), self.own_seqnum) +
                proof + self.own_challenge + own)

    # --- steps ---

    def negotiate(self):
        must(self.send(self.negotiate_message()))

    def challenge(self):
        message = self.fetch(CHALLENGE)
        self.hl, hash_id, self.group, dhvlen, self.seqnum = struct.unpack_from("<BxBBHI", message, 6)
        assert hash_id in self.hashes and self.group in self.groups and self.seqnum
        self.hash_id, self.hash = hash_id, HASHES[hash_id]
        assert self.hl == self.hash().digest_size and dhvlen == (GROUPS[self.group][0] // 8 if self.group else 0)
        self.cval, self.dhv = message[16:16 + self.hl], message[16 + self.hl:16 + self.hl + dhvlen]
        assert not any(message[16 + self.hl + dhvlen:])

    def reply(self):
        must(self.send(self.reply_message()))

    def success1(self):
        message = self.fetch(SUCCESS1)
        assert message[6] == self.hl and message[8] == bool(self.mutual)
        if self.mutual:
            right = self.response(self.mutual, b"Controller", self.nqn, self.hostnqn, self.own_challenge,
                                  self.own_seqnum)
            assert message[16:16 + self.hl] == right, "the controller's response"

    def psk(self):
        """What secure concatenation generates."""
        return hmac.new(self.session, self.cval + self.own_challenge, self.hash).digest()

    def success2(self):
        must(self.send(self.header(DHCHAP, SUCCESS2) + bytes(10)))

    def run(self):
        self.negotiate()
        self.challenge()
        self.reply()
        self.success1()
        if self.mutual:
            self.success2()
        return self


class AuthHost(Host):
    """A host of a subsystem that wants a proof, on every queue."""

    def __init__(self, port, nqn, secret, io_queues=1, entries=128, kato_ms=0, hostnqn=None, secure=None, **how):
        self.port, self.nqn, self.entries, self.hostnqn, self.conn = port, nqn, entries, hostnqn, {"secure": secure}
        self.secret, self.how, self.ios = secret, how, []
        self.admin = Conn(port, **self.conn)
        answer = must(self.admin.connect(nqn, kato_ms=kato_ms, hostnqn=hostnqn)).value
        assert answer & ATR, f"Connect's answer {answer:#x} asks for no authentication"
        self.cntlid = answer & 0xffff
        self.auth = self.authenticate(self.admin)
        self.enable()
        for _ in range(io_queues):
            self.add_io()

    def authenticate(self, conn, **other):
        return Auth(conn, self.hostnqn, self.nqn, self.secret, **{**self.how, **other}).run()

    def add_io(self, entries=None, **conn):
        io = Conn(self.port, **self.conn)
        answer = must(io.connect(self.nqn, len(self.ios) + 1, entries or self.entries, cntlid=self.cntlid,
                                 hostnqn=self.hostnqn)).value
        assert answer & ATR
        self.authenticate(io)
        self.ios.append(io)
        return io
