# SPDX-License-Identifier: BSD-3-Clause
"""Secured sockets (src/net/tls) against OpenSSL's own client and server, and GnuTLS's, which shakes hands for
Linux: what neither of our ends could tell, because both would be wrong in the same way."""
import hashlib
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from gantry import BUILD, free_port

PEER = BUILD / "tests/tls/tls_peer"
OPENSSL = shutil.which("openssl", path="/usr/bin:" + os.environ.get("PATH", ""))
IDENTITY = "NVMe1R01 nqn.2014-08.org.nvmexpress:host nqn.2016-06.io.spdk:cnode1 digest"
SUITES = {1: "TLS_AES_128_GCM_SHA256", 2: "TLS_AES_256_GCM_SHA384"}
KEYS = {1: bytes(range(1, 33)).hex(), 2: bytes(range(101, 149)).hex()}
WAIT_S = 60

pytestmark = pytest.mark.skipif(not OPENSSL, reason="openssl's program is not there")


class Peer:
    """Our end."""

    def __init__(self, role, port, hash_id=1, *, key=None, what="echo", identity=IDENTITY):
        self.process = subprocess.Popen([PEER, role, str(port), str(hash_id), key or KEYS[hash_id], identity, what],
                                        stdout=subprocess.PIPE, text=True)

    def line(self, begin):
        line = self.process.stdout.readline().rstrip("\n")
        assert line.startswith(begin + " "), line
        return line[len(begin) + 1:]

    def ended(self):
        """How it ended (0: by the peer's end), how many bytes came, their digest, and why."""
        words = self.line("ended").split(" ", 6)
        assert self.process.wait(WAIT_S) == 0
        return int(words[0]), int(words[2]), words[4], words[6]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Openssl:
    """Theirs: standard input is what it sends; what it receives is collected."""

    def __init__(self, command, address, hash_id=1, *options, key=None, identity=IDENTITY, tmp=None, quiet=True):
        arguments = [OPENSSL, command, *address, "-tls1_3", "-ciphersuites", SUITES[hash_id], "-psk_identity", identity]
        if hash_id == 2:  # its option -psk is for SHA-256 only
            session = tmp / f"session{random.random()}"
            made = subprocess.run([PEER, "session", "2", key or KEYS[2]], capture_output=True, check=True)
            session.write_bytes(made.stdout)
            arguments += ["-psk_session", str(session)]
        else:
            arguments += ["-psk", key or KEYS[1]]
        self.process = subprocess.Popen([*arguments, *(["-quiet"] if quiet else []), *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.got, self.errors = bytearray(), bytearray()
        self.reader = threading.Thread(target=self.read, args=(self.process.stdout, self.got))
        self.error_reader = threading.Thread(target=self.read, args=(self.process.stderr, self.errors))
        self.reader.start()
        self.error_reader.start()

    @staticmethod
    def read(pipe, into):
        while data := pipe.read1(1 << 20):
            into += data

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait_for(self, done):
        deadline = time.monotonic() + WAIT_S
        while not done(self.got):
            assert time.monotonic() < deadline, bytes(self.got[-300:])
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.error_reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


def client_of(server, hash_id=1, *options, **more):
    return Openssl("s_client", ["-connect", f"127.0.0.1:{server.line('listens')}"], hash_id, *options, **more)


def server_at(port, hash_id=1, *options, **more):
    server = Openssl("s_server", ["-accept", f"127.0.0.1:{port}", "-nocert"], hash_id, *options, **more)
    wait_until_it_listens(server.process, port)
    return server


def wait_until_it_listens(process, port):
    """Read, not tried: it would take a connection for its one client, and a port can be bound long before listen()."""
    deadline = time.monotonic() + WAIT_S
    while not any(f":{port:04X} " in line and line.split()[3] == "0A" for table in ("/proc/net/tcp", "/proc/net/tcp6")
                  for line in Path(table).read_text().splitlines()):
        assert time.monotonic() < deadline and process.poll() is None, f"no listener at port {port}"
        time.sleep(0.05)


def pattern(count):
    period = bytes((at * 31 >> 3) & 0xff for at in range(2048))
    return (period * (count // len(period) + 1))[:count]


# --- data -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("hash_id", [1, 2])
def test_its_client_has_much_sent_back(hash_id, tmp_path):
    data = random.Random(hash_id).randbytes(12 << 20)
    with Peer("server", 0, hash_id) as peer, client_of(peer, hash_id, tmp=tmp_path) as client:
        assert peer.line("secured") == f"{hash_id} {IDENTITY}"
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        client.wait_for(lambda got: len(got) >= len(data))
        sender.join()
        assert bytes(client.got) == data


@pytest.mark.parametrize("hash_id", [1, 2])
def test_its_server_has_much_sent_back(hash_id, tmp_path):
    data = random.Random(hash_id).randbytes(12 << 20)
    port = free_port()
    with server_at(port, hash_id, tmp=tmp_path) as server, Peer("client", port, hash_id) as peer:
        assert peer.line("secured") == f"{hash_id} {IDENTITY}"
        sender = threading.Thread(target=server.send, args=(data,))
        sender.start()
        server.wait_for(lambda got: len(got) >= len(data))
        sender.join()
        assert bytes(server.got) == data


@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384", "ffdhe2048", "ffdhe3072"])
def test_groups(group, tmp_path):
    with Peer("server", 0, 2) as peer, client_of(peer, 2, "-groups", group, tmp=tmp_path) as client:
        assert peer.line("secured") == f"2 {IDENTITY}"
        client.send(b"over " + group.encode())
        client.wait_for(lambda got: bytes(got) == b"over " + group.encode())


def test_a_group_that_is_not_the_first_guess():
    """HelloRetryRequest, from either side."""
    port = free_port()
    with server_at(port, 1, "-groups", "P-384") as server, Peer("client", port) as peer:
        assert peer.line("secured")
        server.send(b"again")
        server.wait_for(lambda got: bytes(got) == b"again")
    with Peer("server", 0) as peer, client_of(peer, 1, "-groups", "X448:P-256") as client:
        assert peer.line("secured")
        client.send(b"again")
        client.wait_for(lambda got: bytes(got) == b"again")


def test_ends_and_digests():
    """We send what it takes to the last byte, and our end is an end to it."""
    with Peer("server", 0, what="send 3000001") as peer, client_of(peer) as client:
        assert peer.line("secured")
        client.wait_for(lambda got: len(got) >= 3000001)
        client.process.wait(WAIT_S)
        client.reader.join()
        assert hashlib.sha256(client.got).hexdigest() == hashlib.sha256(pattern(3000001)).hexdigest()
        assert peer.ended()[0] == 0


def test_small_receives_of_large_records():
    data = random.Random(5).randbytes(300000)
    with Peer("server", 0, what="echo, slow") as peer, client_of(peer) as client:
        assert peer.line("secured")
        client.send(data)
        client.wait_for(lambda got: len(got) >= len(data))
        assert bytes(client.got) == data


# --- key updates -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("letter", [b"K", b"k"])
def test_its_key_updates_are_followed(letter):
    """K asks for ours, too; k only tells."""
    with Peer("server", 0) as peer, client_of(peer, quiet=False) as client:
        assert peer.line("secured")
        for turn in range(3):
            client.send(letter + b"\n")
            client.wait_for(lambda _: client.errors.count(b"KEYUPDATE") > turn)
            client.send(b"turn %d\n" % turn)
            client.wait_for(lambda got: b"turn %d\n" % turn in got)
        client.send(b"Q\n")
        how, count, _, why = peer.ended()
        assert (how, count, why) == (0, 3 * len(b"turn 0\n"), "-")


def test_its_servers_key_updates_are_followed():
    port = free_port()
    with server_at(port, quiet=False) as server, Peer("client", port) as peer:
        assert peer.line("secured")
        for turn in range(3):
            server.send(b"K\n" if turn % 2 else b"k\n")
            time.sleep(0.2)  # it reads commands, and data, by the piece
            server.send(b"turn %d\n" % turn)
            server.wait_for(lambda got: b"turn %d\n" % turn in got)


@pytest.mark.parametrize("hash_id", [1, 2])
def test_it_follows_our_key_updates(hash_id, tmp_path):
    with Peer("server", 0, hash_id, what="send 20000000, update 7") as peer, \
            client_of(peer, hash_id, tmp=tmp_path) as client:
        assert peer.line("secured")
        client.wait_for(lambda got: len(got) >= 20000000)
        assert hashlib.sha256(client.got).hexdigest() == hashlib.sha256(pattern(20000000)).hexdigest()


# --- refusals and ends -----------------------------------------------------------------------------------------------

def test_wrong_key():
    with Peer("server", 0) as peer, client_of(peer, key="77" * 32):
        assert "key of identity" in (why := peer.line("refused")) and "differs" in why
    port = free_port()
    with server_at(port, key="77" * 32), Peer("client", port) as peer:
        assert "differs from ours" in peer.line("refused")


def test_unknown_identity():
    with Peer("server", 0) as peer, client_of(peer, identity="someone"):
        assert "unknown that the peer offers: 'someone'" in peer.line("refused")
    port = free_port()
    with server_at(port, identity="someone"), Peer("client", port) as peer:
        assert "does not know the identity" in peer.line("refused")


def test_other_hash(tmp_path):
    with Peer("server", 0, 2) as peer, client_of(peer, 1):
        assert f"does not offer the cipher suite {SUITES[2]}" in peer.line("refused")


def test_only_older_versions():
    with Peer("server", 0) as peer:
        address = f"127.0.0.1:{peer.line('listens')}"
        with subprocess.Popen([OPENSSL, "s_client", "-connect", address, "-tls1_2", "-psk", KEYS[1],
                               "-psk_identity", IDENTITY], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as client:
            assert "TLS 1.3" in peer.line("refused")
            assert b"alert protocol version" in client.communicate(timeout=WAIT_S)[1]


def test_without_a_key():
    with Peer("server", 0) as peer:
        address = f"127.0.0.1:{peer.line('listens')}"
        with subprocess.Popen([OPENSSL, "s_client", "-connect", address, "-tls1_3"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            assert "no pre-shared key" in peer.line("refused")
            assert b"alert handshake failure" in client.communicate(timeout=WAIT_S)[1]


def test_a_certificate_is_no_key(tmp_path):
    """A server that does not know the key must not get away with a certificate."""
    key, cert = str(tmp_path / "key"), str(tmp_path / "cert")
    subprocess.run([OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                    "/CN=x", "-keyout", key, "-out", cert], check=True, capture_output=True)
    port = free_port()
    address = ["-accept", f"127.0.0.1:{port}"]
    with Openssl("s_server", [*address, "-cert", cert, "-key", key], identity="someone") as server:
        wait_until_it_listens(server.process, port)
        with Peer("client", port) as peer:
            assert "certificate" in peer.line("refused")


def test_plain_bytes():
    with Peer("server", 0) as peer, socket.create_connection(("127.0.0.1", int(peer.line("listens")))) as plain:
        plain.sendall(bytes(128))
        assert "no TLS (it begins with 00)" in peer.line("refused")


def test_cut_without_close_notify():
    with Peer("server", 0) as peer, client_of(peer) as client:
        assert peer.line("secured")
        client.send(b"half a mess")
        client.wait_for(lambda got: bytes(got) == b"half a mess")
        client.process.kill()
        how, count, _, why = peer.ended()
        assert (how, count) == (-104, 11)
        assert "without close_notify" in why


def test_its_end_is_an_end():
    with Peer("server", 0) as peer, client_of(peer, 1, "-no_ign_eof") as client:
        assert peer.line("secured")
        client.send(b"all of it")
        client.process.stdin.close()
        assert peer.ended()[:2] == (0, 9)


# --- GnuTLS ----------------------------------------------------------------------------------------------------------

GNUTLS_ONLY_PSK = ["--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+PSK:+ECDHE-PSK:+DHE-PSK"]


def gnutls(name):
    path = shutil.which(name, path="/usr/bin:" + os.environ.get("PATH", ""))
    return path or pytest.skip(f"{name} is not there")


def test_gnutls_client_has_something_sent_back():
    with Peer("server", 0) as peer:
        arguments = ["--pskusername", IDENTITY, "--pskkey", KEYS[1], "-p", peer.line("listens"), "127.0.0.1"]
        with subprocess.Popen([gnutls("gnutls-cli"), *GNUTLS_ONLY_PSK, *arguments], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as client:
            assert peer.line("secured") == f"1 {IDENTITY}"
            client.stdin.write(b"by another library\n")
            client.stdin.flush()
            while b"by another library" not in (line := client.stdout.readline()):
                assert line
            client.stdin.close()
            assert peer.ended()[:2] == (0, 19)


def test_gnutls_server_shakes_hands_and_ends(tmp_path):
    port, keys = free_port(), tmp_path / "keys"
    keys.write_text(f"someone:{KEYS[1]}\n")
    arguments = [*GNUTLS_ONLY_PSK, "--pskpasswd", str(keys), "-p", str(port)]
    with subprocess.Popen([gnutls("gnutls-serv"), *arguments], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as server:
        try:
            wait_until_it_listens(server, port)
            with Peer("client", port, what="send 1000", identity="someone") as peer:
                assert peer.line("secured") == "1 someone"
                assert peer.ended()[0] == 0
        finally:
            server.kill()
