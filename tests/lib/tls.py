# SPDX-License-Identifier: BSD-3-Clause
"""TLS 1.3 with pre-shared keys: OpenSSL's own client and server, by ctypes, behind what looks like a socket; and the
keys of NVMe/TCP, computed anew from the formulas of their specification.

    offer = Psk.make(1).offer(HOST_NQN, NQN)          identity, key, hash
    host = Host(port, NQN, secure=offer.client)       all of its connections shake hands first
    plain = offer.server(accepted_socket)             the other side
"""
import base64
import ctypes
import hashlib
import hmac
import os
import select
import socket
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

HASHES = {1: ("sha256", 32, b"TLS_AES_128_GCM_SHA256"), 2: ("sha384", 48, b"TLS_AES_256_GCM_SHA384")}
TLS13 = 0x0304
SET_MIN_PROTO, SET_MAX_PROTO = 123, 124
WRONG, WANT_READ, WANT_WRITE, SYSCALL, ZERO_RETURN = 1, 2, 3, 5, 6

ssl = ctypes.CDLL("libssl.so.3", use_errno=True)
crypto = ctypes.CDLL("libcrypto.so.3")
POINTER, SIZE, INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
OUT = ctypes.POINTER(POINTER)
USE_PSK = ctypes.CFUNCTYPE(INT, POINTER, POINTER, OUT, ctypes.POINTER(SIZE), OUT)
FIND_PSK = ctypes.CFUNCTYPE(INT, POINTER, POINTER, SIZE, OUT)
KEYLOG = ctypes.CFUNCTYPE(None, POINTER, ctypes.c_char_p)


def declare(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


for _name, _result, _arguments in (
        ("TLS_client_method", POINTER, ()), ("TLS_server_method", POINTER, ()), ("SSL_CTX_new", POINTER, (POINTER,)),
        ("SSL_CTX_free", None, (POINTER,)), ("SSL_CTX_ctrl", ctypes.c_long, (POINTER, INT, ctypes.c_long, POINTER)),
        ("SSL_CTX_set_ciphersuites", INT, (POINTER, ctypes.c_char_p)), ("SSL_new", POINTER, (POINTER,)),
        ("SSL_CTX_set_psk_use_session_callback", None, (POINTER, USE_PSK)),
        ("SSL_CTX_set_psk_find_session_callback", None, (POINTER, FIND_PSK)), ("SSL_free", None, (POINTER,)),
        ("SSL_CTX_set_keylog_callback", None, (POINTER, KEYLOG)),
        ("SSL_set_fd", INT, (POINTER, INT)), ("SSL_connect", INT, (POINTER,)), ("SSL_accept", INT, (POINTER,)),
        ("SSL_read", INT, (POINTER, POINTER, INT)), ("SSL_write", INT, (POINTER, ctypes.c_char_p, INT)),
        ("SSL_shutdown", INT, (POINTER,)), ("SSL_get_error", INT, (POINTER, INT)), ("SSL_pending", INT, (POINTER,)),
        ("SSL_SESSION_new", POINTER, ()), ("SSL_SESSION_set1_master_key", INT, (POINTER, ctypes.c_char_p, SIZE)),
        ("SSL_SESSION_set_cipher", INT, (POINTER, POINTER)), ("SSL_SESSION_set_protocol_version", INT, (POINTER, INT)),
        ("SSL_CIPHER_find", POINTER, (POINTER, ctypes.c_char_p)), ("SSL_key_update", INT, (POINTER, INT))):
    declare(ssl, _name, _result, *_arguments)
declare(crypto, "ERR_get_error", ctypes.c_ulong)
declare(crypto, "ERR_reason_error_string", ctypes.c_char_p, ctypes.c_ulong)
declare(crypto, "ERR_clear_error", None)


class TlsError(Exception):
    """OpenSSL gave up; its reason, such as 'tlsv1 alert decrypt error'."""


# --- a secured socket ------------------------------------------------------------------------------------------------

class TlsSocket:
    """As a socket; `sock` has shaken hands when this was made, and is closed with it."""

    def __init__(self, sock, identity, key, hash_id, *, server=False, ciphers=None, timeout_s=60):
        self.sock, self.handle, self.context = sock, None, None
        self.identity, self.key, self.hash_id = identity.encode(), key, hash_id
        self.timeout_s = timeout_s
        self.secrets = {}               # by their name in a key log
        self.sock.setblocking(False)
        self.context = ssl.SSL_CTX_new(ssl.TLS_server_method() if server else ssl.TLS_client_method())
        for what in (SET_MIN_PROTO, SET_MAX_PROTO):
            ssl.SSL_CTX_ctrl(self.context, what, TLS13, None)
        ssl.SSL_CTX_set_ciphersuites(self.context, ciphers or HASHES[hash_id][2])
        self.use, self.find = USE_PSK(self.use_psk), FIND_PSK(self.find_psk)
        if server:
            ssl.SSL_CTX_set_psk_find_session_callback(self.context, self.find)
        else:
            ssl.SSL_CTX_set_psk_use_session_callback(self.context, self.use)
        self.log = KEYLOG(self.note_secret)
        ssl.SSL_CTX_set_keylog_callback(self.context, self.log)
        self.handle = ssl.SSL_new(self.context)
        ssl.SSL_set_fd(self.handle, sock.fileno())
        try:
            self.loop(lambda: (ssl.SSL_accept if server else ssl.SSL_connect)(self.handle))
        except BaseException:
            self.close()
            raise

    def note_secret(self, handle, line):
        name, _, secret = line.decode().split()
        self.secrets[name] = bytes.fromhex(secret)

    def session(self, handle):
        session = ssl.SSL_SESSION_new()
        ssl.SSL_SESSION_set1_master_key(session, self.key, len(self.key))
        ssl.SSL_SESSION_set_cipher(session, ssl.SSL_CIPHER_find(handle, bytes([0x13, self.hash_id])))
        ssl.SSL_SESSION_set_protocol_version(session, TLS13)
        return session

    def use_psk(self, handle, digest, ret_identity, ret_length, ret_session):
        ret_identity[0] = ctypes.cast(ctypes.c_char_p(self.identity), POINTER)
        ret_length[0] = len(self.identity)
        ret_session[0] = self.session(handle)
        return 1

    def find_psk(self, handle, identity, length, ret_session):
        ret_session[0] = self.session(handle) if ctypes.string_at(identity, length) == self.identity else None
        return 1

    def loop(self, step):
        """Until it gives more than 0: that. 0: the peer ended it properly."""
        deadline = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        while True:
            crypto.ERR_clear_error()
            done = step()
            if done > 0:
                return done
            what = ssl.SSL_get_error(self.handle, done)
            if what == ZERO_RETURN:
                return 0
            if what not in (WANT_READ, WANT_WRITE):
                raise self.error(what)
            left = None if deadline is None else max(0, deadline - time.monotonic())
            reads, writes = ([self.sock], []) if what == WANT_READ else ([], [self.sock])
            if not any(select.select(reads, writes, [], left)):
                raise socket.timeout("TLS")

    @staticmethod
    def error(what):
        reason = (crypto.ERR_reason_error_string(crypto.ERR_get_error()) or b"").decode()
        if what == SYSCALL or "unexpected eof" in reason:
            return ConnectionResetError(f"the peer closed the connection without a word of TLS {reason}")
        return TlsError(reason)

    # --- as a socket ---

    def recv(self, count):
        buffer = ctypes.create_string_buffer(count)
        got = self.loop(lambda: ssl.SSL_read(self.handle, buffer, count))
        return ctypes.string_at(buffer, got)

    def sendall(self, data):
        data = bytes(data)
        for at in range(0, len(data), 1 << 20):
            piece = data[at:at + (1 << 20)]
            self.loop(lambda: ssl.SSL_write(self.handle, piece, len(piece)))

    def update_key(self, ask=True):
        assert ssl.SSL_key_update(self.handle, int(ask)) == 1   # goes out with the next bytes

    def settimeout(self, timeout_s):
        self.timeout_s = timeout_s

    def setsockopt(self, *what):
        self.sock.setsockopt(*what)

    def fileno(self):
        return self.sock.fileno()

    def getsockname(self):
        return self.sock.getsockname()

    def shutdown(self, how):
        ssl.SSL_shutdown(self.handle)

    def close(self):
        if self.handle:
            if self.sock.fileno() >= 0:
                ssl.SSL_shutdown(self.handle)
            ssl.SSL_free(self.handle)
        if self.context:
            ssl.SSL_CTX_free(self.context)
        self.handle = self.context = None
        self.sock.close()


# --- what a connection has in its memory ------------------------------------------------------------------------------

def hkdf_expand(secret, label, length):
    """HKDF-Expand-Label with an empty context (RFC 8446, 7.1), of one block."""
    info = struct.pack(">H", length) + bytes([6 + len(label)]) + b"tls13 " + label + bytes(1)
    return hmac.new(secret, info + b"\1", {32: "sha256", 48: "sha384"}[len(secret)]).digest()[:length]


def aes_sbox():
    """FIPS 197, 5.1.1: the inverse in GF(2^8), and an affine map."""
    box, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= (p << 1 & 0xff) ^ (0x1b if p & 0x80 else 0)
        q ^= q << 1
        q ^= q << 2
        q = (q ^ q << 4) & 0xff
        q ^= 0x09 if q & 0x80 else 0
        box[p] = q ^ 0x63 ^ ((q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^ (q << 4 | q >> 4)) & 0xff
        if p == 1:
            return box


def aes_round_keys(key):
    """FIPS 197, 5.2: 11 or 15 of 16 bytes, the key itself among them."""
    box, nk, rcon = aes_sbox(), len(key) // 4, 1
    words = [key[4 * i:4 * i + 4] for i in range(nk)]
    while len(words) < 4 * (nk + 7):
        word = words[-1]
        if len(words) % nk == 0:
            word = bytes(box[b] for b in word[1:] + word[:1])
            word = bytes([word[0] ^ rcon]) + word[1:]
            rcon = rcon << 1 ^ (0x11b if rcon & 0x80 else 0)
        elif nk > 6 and len(words) % nk == 4:
            word = bytes(box[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(words[-nk], word)))
    return [b"".join(words[at:at + 4]) for at in range(0, len(words), 4)]


def record_keys(traffic_secret):
    """What opens the records of a direction: AES's round keys, and its IV."""
    key = hkdf_expand(traffic_secret, b"key", 16 if len(traffic_secret) == 32 else 32)
    return aes_round_keys(key), hkdf_expand(traffic_secret, b"iv", 12)


# --- keys ------------------------------------------------------------------------------------------------------------

def expand_label(key, label, context, compat):
    """HKDF-Expand-Label(HKDF-Extract(0, key), ...), as long as the key; compat: as libnvme before 1.16."""
    name, length, _ = HASHES[1 if len(key) == 32 else 2]
    label, context = b"tls13 " + label, context.encode()
    if compat:
        info = struct.pack("<H", length) + label + context
    else:
        info = struct.pack(">H", length) + bytes([len(label)]) + label + bytes([len(context)]) + context
    prk = hmac.new(bytes(length), key, name).digest()
    return hmac.new(prk, info + b"\1", name).digest()


@dataclass(frozen=True)
class Offer:
    """What goes into a handshake."""
    identity: str
    key: bytes
    hash_id: int

    def client(self, sock, **how):
        return TlsSocket(sock, self.identity, self.key, self.hash_id, **how)

    def server(self, sock, **how):
        return TlsSocket(sock, self.identity, self.key, self.hash_id, server=True, **how)


@dataclass(frozen=True)
class Psk:
    """A configured key: as it is (hash_id 0), or to be transformed."""
    hash_id: int
    secret: bytes

    @classmethod
    def make(cls, hash_id, length=None):
        return cls(hash_id, os.urandom(length or HASHES[hash_id or 1][1]))

    def __str__(self):
        text = base64.b64encode(self.secret + struct.pack("<I", zlib.crc32(self.secret))).decode()
        return f"NVMeTLSkey-1:{self.hash_id:02x}:{text}:"

    def file(self, path):
        """As keyring_file_add_key wants it: nobody else may read it."""
        path = Path(path)
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(f"{self}\n")
        return str(path)

    def offer(self, hostnqn, subnqn, version=0, *, generated=False, compat=False):
        cipher = 1 if len(self.secret) == 32 else 2
        kind = "G" if generated else "R"
        psk = expand_label(self.secret, b"HostNQN", hostnqn, compat) if self.hash_id else self.secret
        identity = context = f"NVMe{version}{kind}{cipher:02} {hostnqn} {subnqn}"
        if version:
            digest = hmac.new(psk, f"{hostnqn} {subnqn} NVMe-over-Fabrics".encode(), HASHES[cipher][0]).digest()
            digest = base64.b64encode(digest).decode()
            identity, context = f"{identity} {digest}", f"{cipher:02} {digest}"
        return Offer(identity, expand_label(psk, b"nvme-tls-psk", context, compat), cipher)
