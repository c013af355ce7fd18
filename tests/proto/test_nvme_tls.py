# SPDX-License-Identifier: BSD-3-Clause
"""Hosts that come with TLS, and those that should have, or cannot. The host's side is OpenSSL's: tests/lib/tls.py."""
import base64
import contextlib
import os
import resource
import shutil
import socket
import struct
import subprocess
import threading
import uuid
from dataclasses import replace

import pytest

from crowd import allow_descriptors
from dhchap import AuthHost, Secret
from gantry import NQN, Daemon, RpcError, cpus, free_port, gantryd_path, wait_until
from load import differences, wakeups
from nvme_tcp import (ADMIN_ASYNC_EVENT, ADMIN_KEEP_ALIVE, CONNECT_INVALID_HOST, DISCOVERY_NQN, IO_READ, Conn, Host,
                      must, rw, sqe)
from scrape import Metrics
from tcp import Ended
from tls import Offer, Psk, TlsError

CPUS = sorted(os.sched_getaffinity(0))
OTHER_NQN = "nqn.2016-06.io.gantry:other"
ABSENT_NQN = "nqn.2016-06.io.gantry:absent"
HELLO_S = 10


def nqn_of(number):
    return f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=number)}"


KEYED, STRONG, AS_IS, BARE, BOTH, CHANGES = (nqn_of(n) for n in range(1, 7))


class World:
    """A daemon with two subsystems. Each listens with TLS and without; of the first's hosts BARE has no key."""

    def __init__(self, directory, daemon):
        self.directory, self.daemon = directory, daemon
        self.psks = {KEYED: Psk.make(1), STRONG: Psk.make(2), AS_IS: Psk.make(0, 32), BOTH: Psk.make(1)}
        self.secret = Secret.make(1)
        self.served = daemon.serve(daemon.malloc("disk0"))
        self.plain, self.port = self.served.port, free_port()
        daemon.rpc("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=False)
        daemon.rpc("nvmf_create_subsystem", nqn=OTHER_NQN)
        daemon.rpc("keyring_file_add_key", name="proof", path=self.secret.file(directory / "proof"))
        for host, psk in self.psks.items():
            self.key(f"key-{host[-1]}", psk)
            more = {"dhchap_key": "proof"} if host == BOTH else {}
            daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=host, psk=f"key-{host[-1]}", **more)
        for nqn in (OTHER_NQN, DISCOVERY_NQN):
            daemon.rpc("nvmf_subsystem_add_host", nqn=nqn, host=KEYED, psk="key-1")
        daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=BARE)
        for nqn in (NQN, OTHER_NQN):
            daemon.rpc("nvmf_subsystem_add_listener", nqn=nqn, listen_address=daemon.address(self.port),
                       secure_channel=True)

    def key(self, name, psk):
        self.daemon.rpc("keyring_file_add_key", name=name, path=psk.file(self.directory / name))

    def offer(self, host=KEYED, nqn=NQN, version=0, **how):
        return self.psks[host].offer(host, nqn, version, **how)

    def host(self, host=KEYED, version=0, **how):
        return Host(self.port, NQN, hostnqn=host, secure=self.offer(host, version=version).client, **how)

    def conn(self, offer=None, **how):
        return Conn(self.port, secure=(offer or self.offer()).client, **how)

    def counts(self):
        return self.daemon.rpc("nvmf_get_stats")["tls_handshakes"]

    def refused(self, attempt, says, counter=None):
        """An attempt that fails is told in the log, which has a line a second of such things, and counted."""
        before, log = self.counts(), len(self.daemon.log())

        def told():
            attempt()
            return says in self.daemon.log()[log:]
        wait_until(told, f"'{says}' in the log", timeout_s=60, interval_s=0.3)
        if counter:
            assert self.counts()[counter] > before[counter]
        for psk in self.psks.values():
            assert str(psk)[20:40] not in self.daemon.log()


    def metrics(self):
        samples = Metrics(self.daemon.rpc("metrics_get")).samples["gantry_nvmf_tls_handshakes_total"]
        return {dict(labels)["result"]: value for labels, value in samples.items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    if not gantryd_path().exists():
        pytest.fail(f"{gantryd_path()} is not there: ninja -C build, or name another build with GANTRY_BUILD")
    directory = tmp_path_factory.mktemp("tls")
    with Daemon(directory, "-m", cpus(2)) as daemon:
        yield World(directory, daemon)


@pytest.fixture(autouse=True)
def serves(world):
    """Whatever happened, the host that behaves is served afterwards."""
    yield
    data = os.urandom(4096)
    with world.host() as host:
        must(host.io.write(8, data))
        assert host.io.read(8, 8) == data


# --- who may ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("who", [KEYED, STRONG, AS_IS], ids=["SHA-256", "SHA-384", "as it is"])
def test_a_host_with_the_right_key(world, who, version):
    """Nobody could use a subsystem through TLS."""
    with world.host(who, version, io_queues=2) as host:
        data = os.urandom(1 << 20)
        for at in range(0, len(data), 65536):
            must(host.ios[at >> 16 & 1].write(at // 512, data[at:at + 65536], in_capsule=False))
        assert b"".join(host.ios[at >> 16 & 1].read(at // 512, 128) for at in range(0, len(data), 65536)) == data
        shown = [q for q in world.daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN) if q["hostnqn"] == who]
        cipher = "TLS_AES_256_GCM_SHA384" if who == STRONG else "TLS_AES_128_GCM_SHA256"
        assert [q["tls"] for q in shown] == [{"identity": world.offer(who, version=version).identity,
                                              "cipher": cipher}] * 3


@pytest.mark.parametrize("how", [{"hdgst": True}, {"ddgst": True}, {"hdgst": True, "ddgst": True, "hpda": 15}],
                         ids=["header", "data", "both"])
def test_digests_on_top(world, how):
    """What TLS carries would be taken for something else."""
    with world.host(**how) as host:
        data = os.urandom(65536)
        must(host.io.write(0, data, in_capsule=False))
        must(host.io.write(128, data[:4096]))
        assert host.io.read(0, 128) == data


@pytest.mark.skipif(not shutil.which("nvme"), reason="needs nvme-cli")
@pytest.mark.parametrize("hash_id", [1, 2])
def test_keys_of_nvme_cli(world, hash_id):
    """What its gen-tls-key makes would not be read."""
    made = subprocess.run(["nvme", "gen-tls-key", f"--hmac={hash_id}"], capture_output=True, text=True, check=True)
    text = made.stdout.strip()
    path, name = world.directory / f"cli{hash_id}", nqn_of(60 + hash_id)
    path.touch(0o600)
    path.write_text(f"{text}\n")
    world.daemon.rpc("keyring_file_add_key", name=path.name, path=str(path))
    world.daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=name, psk=path.name)
    psk = Psk(hash_id, base64.b64decode(text.split(":")[2])[:-4])
    assert str(psk) == text
    with Host(world.port, NQN, hostnqn=name, secure=psk.offer(name, NQN, 1).client) as host:
        assert len(host.io.read(0, 8)) == 4096
    world.daemon.rpc("nvmf_subsystem_remove_host", nqn=NQN, host=name)


def test_keys_of_older_tools(world):
    """libnvme before 1.16 made other keys of the same text: hosts that have such could not come."""
    with Host(world.port, NQN, hostnqn=KEYED, secure=world.offer(version=1, compat=True).client) as host:
        assert len(host.io.read(0, 8)) == 4096


def test_a_new_key_of_the_connection(world):
    """A host that changes the keys of its records would be cut off."""
    with world.host() as host:
        for ask in (True, False, True):
            host.io.sock.update_key(ask)
            must(host.io.write(0, bytes(4096)))
            assert host.io.read(0, 8) == bytes(4096)


def test_tls_and_a_proof(world):
    """One would stand for the other, which somebody asked for."""
    with AuthHost(world.port, NQN, world.secret, hostnqn=BOTH, secure=world.offer(BOTH).client) as host:
        assert len(host.io.read(0, 8)) == 4096
    with world.conn(world.offer(BOTH)) as conn:
        must(conn.connect(NQN, hostnqn=BOTH))
        assert conn.command(sqe(ADMIN_KEEP_ALIVE)).status, "not proved"


# --- who may not -----------------------------------------------------------------------------------------------------

def test_another_key(world):
    """Whoever knows the names would be let in."""
    def attempt(offer):
        with pytest.raises((TlsError, ConnectionResetError)):
            world.conn(offer)
    good = world.offer()
    world.refused(lambda: attempt(Offer(good.identity, os.urandom(32), 1)), "key of identity", "key")
    other = Psk.make(1).offer(KEYED, NQN, 1)
    world.refused(lambda: attempt(other), "the digest in the identity of host", "key")
    world.refused(lambda: attempt(world.psks[AS_IS].offer(KEYED, NQN)), "key of identity", "key")


def test_another_identity(world):
    """It would not be said which part of it is wrong."""
    def attempt(offer):
        with pytest.raises((TlsError, ConnectionResetError)):
            world.conn(offer)
    psk = world.psks[KEYED]
    stranger = nqn_of(99)
    for offer, says, counter in (
            (psk.offer(stranger, NQN), f"names host {stranger}, which has no psk", "identity"),
            (psk.offer(BARE, NQN), f"names host {BARE}, which has no psk", "identity"),
            (psk.offer(KEYED, ABSENT_NQN), f"names subsystem {ABSENT_NQN}, which does not exist", "identity"),
            (psk.offer(KEYED, NQN, 1, generated=True), "authentication generated", "identity"),
            (Offer("somebody", psk.secret, 1), "is none of NVMe/TCP's", "identity"),
            (Offer(f"NVMe2R01 {KEYED} {NQN}", psk.secret, 1), "of a version other than 0 and 1", "identity"),
            (Offer("x" * 3000, psk.secret, 1), "no TLS", "peer"),
            (world.psks[STRONG].offer(KEYED, NQN), "the hash differs", "hash"),
            (world.psks[STRONG].offer(KEYED, NQN, 1), "the hash differs", "hash")):
        world.refused(lambda: attempt(offer), says, counter)


@pytest.mark.parametrize("hostnqn, nqn, says", [
    (STRONG, NQN, f"its TLS identity names another host, {KEYED}"),
    (BARE, NQN, f"its TLS identity names another host, {KEYED}"),
    (KEYED, OTHER_NQN, f"its TLS identity names another subsystem, {NQN}"),
    (KEYED, DISCOVERY_NQN, f"its TLS identity names another subsystem, {NQN}"),
], ids=["host", "host without a key", "subsystem", "discovery"])
def test_connect_as_another(world, hostnqn, nqn, says):
    """Any host with a key could be any other, or use any subsystem."""
    def attempt():
        with world.conn() as conn:
            answer = conn.connect(nqn, hostnqn=hostnqn)
            assert (answer.status, answer.dnr) == (CONNECT_INVALID_HOST, True)
    world.refused(attempt, says)


def test_a_queue_of_another_connection(world):
    """An I/O queue could be had by a host that never showed the key."""
    with world.host(io_queues=0) as host:
        cntlid = world.daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN)[0]["cntlid"]
        with Conn(world.plain) as conn:
            assert conn.connect(NQN, qid=1, cntlid=cntlid, hostnqn=KEYED).status == CONNECT_INVALID_HOST
        with world.conn(world.offer(STRONG)) as conn:
            assert conn.connect(NQN, qid=1, cntlid=cntlid, hostnqn=KEYED).status == CONNECT_INVALID_HOST
        host.add_io()


@pytest.mark.parametrize("nqn", [NQN, DISCOVERY_NQN])
def test_a_key_is_not_left_at_home(world, nqn):
    """A stranger who says the name of a host with a key would be that host, on the listener without TLS."""
    def attempt():
        with Conn(world.plain) as conn:
            answer = conn.connect(nqn, hostnqn=KEYED)
            assert (answer.status, answer.dnr) == (CONNECT_INVALID_HOST, True)
    world.refused(attempt, "has a key of TLS (psk) and came without TLS")
    with Host(world.plain, NQN, hostnqn=BARE) as host:
        assert len(host.io.read(0, 8)) == 4096


# --- what is no handshake --------------------------------------------------------------------------------------------

def test_half_a_record_is_in_the_memory_budget(world):
    """Many hosts that send halves would take memory that nobody counts."""
    charged = lambda: world.daemon.rpc("framework_get_memory")["charged_bytes"]
    with world.conn() as conn:
        before = charged()
        conn.sock.sock.setblocking(True)
        conn.sock.sock.sendall(b"\x17\x03\x03\x10\x00" + bytes(100))
        wait_until(lambda: charged() - before > 16384, "what came of it to be counted")
    wait_until(lambda: charged() <= before, "all of the connection to be given back")


def test_plain_bytes_on_a_secure_listener(world):
    """They would be executed, or the connection would stay open for ever."""
    def attempt():
        with pytest.raises((Ended, ConnectionResetError, AssertionError)):
            Conn(world.port)
    world.refused(attempt, "is no TLS", "peer")


def test_tls_on_a_plain_listener(world):
    """A person would look for the mistake in the wrong place."""
    def attempt():
        with pytest.raises((TlsError, ConnectionResetError)):
            Conn(world.plain, secure=world.offer().client)
    world.refused(attempt, "it begins with TLS, which needs a listener with secure_channel")


def test_no_common_suite(world):
    """Another cipher than that of the key's hash would do."""
    def attempt():
        with pytest.raises((TlsError, ConnectionResetError)):
            Conn(world.port, secure=lambda s: world.offer().client(s, ciphers=b"TLS_CHACHA20_POLY1305_SHA256"))
    world.refused(attempt, "does not offer the cipher suite", "key")


def test_a_key_that_is_bound_by_another_hash(world):
    """A person with a Linux host whose GnuTLS has one hash for all keys would be told of a bad extension."""
    offer = replace(world.offer(STRONG), hash_id=1)

    def attempt():
        with pytest.raises((TlsError, ConnectionResetError)):
            Conn(world.port, secure=lambda s: offer.client(s, ciphers=b"TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"))
    world.refused(attempt, "binds its key by another hash than its identity", "key")


def test_a_handshake_that_stalls(world):
    """Who is silent half way would hold others up, or stay for ever."""
    hello = stolen_hello(world.offer())
    before = world.counts()["timeout"]
    with contextlib.ExitStack() as stalled:
        silent = [stalled.enter_context(socket.create_connection(("127.0.0.1", world.port))) for _ in range(96)]
        for i, sock in enumerate(silent):
            sock.sendall(hello[:(0, 3, len(hello) // 2, len(hello) - 1)[i % 4]])
        with world.host() as host:
            assert len(host.io.read(0, 8)) == 4096
        wait_until(lambda: world.counts()["timeout"] >= before + len(silent), "them to be sent away", 60)
        for sock in silent:
            sock.settimeout(60)
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(4096):
                    pass


def test_who_is_silent_keeps_nobody_waiting(world):
    """Hundreds of addresses, or the host's own, from which nothing comes or half of something, would take all turns
    until their time was over."""
    hello = stolen_hello(world.offer())
    allow_descriptors(1000)
    sources = [f"127.0.{1 + i // 100}.{1 + i % 100}" for i in range(300)] + ["127.0.0.1"] * 100
    for _ in range(6):             # or the machine was too slow to tell: some of them were sent away meanwhile
        before = world.counts()["timeout"]
        with contextlib.ExitStack() as silent:
            for i, source in enumerate(sources):
                sock = silent.enter_context(socket.create_connection(("127.0.0.1", world.port), 20, (source, 0)))
                sock.sendall(hello[:(0, 3, len(hello) // 2, len(hello) - 1)[i % 4]])
            with world.host() as host:
                assert len(host.io.read(0, 8)) == 4096
            if world.counts()["timeout"] == before:
                return
    pytest.fail("the host was served only after those that were silent had been sent away")


def test_a_first_message_in_pieces(world):
    """A host whose network cuts what it says would not be heard."""
    hello = stolen_hello(world.offer())
    before = world.counts()["peer"]
    with socket.create_connection(("127.0.0.1", world.port)) as sock:
        for at in range(0, len(hello), 100):
            sock.sendall(hello[at:at + 100])
            wait_until(lambda: len(hello) - at > 100 or sock.recv(1) == b"\x16", "an answer to the last piece")
    wait_until(lambda: world.counts()["peer"] > before, "its end to be noticed")


@pytest.mark.parametrize("addresses, each", [(4, 1025), (4100, 1)])
def test_silent_addresses_do_not_take_all_places(world, addresses, each):
    """Few of them, or many, would keep everybody else out."""
    before = world.counts()["crowd"]
    allow_descriptors(4500)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.prlimit(world.daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
    with contextlib.ExitStack() as stack:
        for address in range(addresses):
            source = f"127.2.{address // 250}.{address % 250 + 1}"
            for _ in range(each):
                stack.enter_context(socket.create_connection(("127.0.0.1", world.port), 20, (source, 0)))
        with contextlib.suppress(AssertionError):      # the first may be too old before the last has come
            wait_until(lambda: world.counts()["crowd"] >= before + 4, "each to have as many as it may", 5)
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", world.port), 20, ("127.0.0.9", 0)))
        sock.settimeout(1)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_hosts_that_leave_in_the_middle(world):
    """Their key would be read for, or told to, somebody who is no more."""
    hello = stolen_hello(world.offer())
    before = world.counts()
    for i in range(128):
        with socket.create_connection(("127.0.0.1", world.port)) as sock:
            sock.sendall(hello)
            if i % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: sum(world.counts().values()) >= sum(before.values()) + 128, "all of them to be over")
    assert world.counts()["ok"] == before["ok"]


def stolen_hello(offer):
    """What a client says first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def talk():
            with contextlib.suppress(TlsError, ConnectionResetError):
                offer.client(socket.create_connection(listener.getsockname()))
        thread = threading.Thread(target=talk)
        thread.start()
        peer, _ = listener.accept()
        with peer:
            head = peer.recv(5, socket.MSG_WAITALL)
            hello = head + peer.recv(struct.unpack(">H", head[3:])[0], socket.MSG_WAITALL)
        thread.join()
    return hello


def test_a_storm_of_handshakes(world):
    """Some of many at once would be lost, or I/O would wait for them."""
    before, failed = world.counts()["ok"], []

    def storm():
        try:
            for _ in range(8):
                world.conn().close()
        except Exception as e:                     # noqa: BLE001: whatever it is, the test has to say it
            failed.append(e)
    with world.host(STRONG) as host:
        threads = [threading.Thread(target=storm) for _ in range(12)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert len(host.io.read(0, 8)) == 4096
        for thread in threads:
            thread.join()
    assert not failed
    assert world.counts()["ok"] >= before + 96
    wait_until(lambda: world.metrics() == world.counts(), "the metrics to say so, too")


# --- life ------------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")
def test_connections_move(world):
    """A secured connection would lose bytes, or its keys, on the way to another core."""
    with world.host(io_queues=2, hdgst=True, ddgst=True) as host:
        cntlid = next(q["cntlid"] for q in world.daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN)
                      if q["hostnqn"] == KEYED)
        stop, failed, rounds = threading.Event(), [], [0, 0]

        def load(n, io):
            try:
                while not stop.is_set():
                    data = os.urandom(131072)
                    must(io.write(n * 1024, data, in_capsule=False))
                    cids = [io.submit(rw(IO_READ, n * 1024, 256), expect=131072) for _ in range(4)]
                    for cid in cids:
                        assert must(io.wait(cid)).data == data
                    rounds[n] += 1
            except Exception as e:                 # noqa: BLE001
                failed.append(e)
        threads = [threading.Thread(target=load, args=(n, io)) for n, io in enumerate(host.ios)]
        for thread in threads:
            thread.start()
        for i in range(12):
            before = list(rounds)
            for qid in (0, 1, 2):
                with contextlib.suppress(RpcError):   # it may be that a device has something in hand for too long
                    world.daemon.rpc("nvmf_move_qpair", nqn=NQN, cntlid=cntlid, qid=qid, lcore=CPUS[(i + qid) % 2])
            wait_until(lambda: failed or all(now > was for now, was in zip(rounds, before)), "I/O to go on")
        stop.set()
        for thread in threads:
            thread.join()
        assert not failed
        must(host.admin.command(sqe(ADMIN_KEEP_ALIVE)))


def test_keys_change_under_connections(world):
    """Connections that stand would end, or the old key would still do."""
    world.psks[CHANGES] = old = Psk.make(1)
    world.key("changes", old)
    world.daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=CHANGES, psk="changes")
    try:
        with world.host(CHANGES) as host:
            world.psks[CHANGES] = Psk.make(1)
            world.psks[CHANGES].file(world.directory / "changes")      # the same name: a new key from now on
            with pytest.raises((TlsError, ConnectionResetError)):
                world.conn(old.offer(CHANGES, NQN))
            with world.host(CHANGES) as another:
                assert len(another.io.read(0, 8)) == 4096
            assert len(host.io.read(0, 8)) == 4096
            world.daemon.rpc("keyring_file_remove_key", name="changes")
            assert len(host.io.read(0, 8)) == 4096
        (world.directory / "changes").unlink()
        world.refused(lambda: pytest.raises((TlsError, ConnectionResetError), world.conn, world.offer(CHANGES)),
                      "changes", "key")
    finally:
        del world.psks[CHANGES]
        world.daemon.rpc("nvmf_subsystem_remove_host", nqn=NQN, host=CHANGES)


def test_a_key_that_is_replaced_before_connect(world):
    """Who had the old key, shook hands and waited would be the host of the new one."""
    host = nqn_of(99)
    old, new = Psk.make(1), Psk.make(1)
    for name, psk in (("old", old), ("new", new)):
        world.key(name, psk)
    world.daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=host, psk="old")
    with Conn(world.port, secure=old.offer(host, NQN).client) as conn:
        world.daemon.rpc("nvmf_subsystem_remove_host", nqn=NQN, host=host)
        world.daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=host, psk="new")
        assert conn.connect(NQN, hostnqn=host).status == CONNECT_INVALID_HOST
    with Host(world.port, NQN, hostnqn=host, secure=new.offer(host, NQN).client) as served:
        assert len(served.io.read(0, 8)) == 4096
    world.daemon.rpc("nvmf_subsystem_remove_host", nqn=NQN, host=host)
    for name in ("old", "new"):
        world.daemon.rpc("keyring_file_remove_key", name=name)


def test_idle_connections_wake_nobody(world):
    """A connection that does nothing would cost something because it is secured."""
    with contextlib.ExitStack() as hosts:
        for _ in range(4):
            host = hosts.enter_context(world.host(io_queues=2, kato_ms=60000))
            for _ in range(4):
                host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
            for io in host.ios:
                must(io.write(0, bytes(4096)))
        quiet = threading.Event()

        def rest():
            before = wakeups(world.daemon)
            quiet.wait(1.0)
            woke = differences(before, wakeups(world.daemon))
            return all(r["work.fd_events"] == 0 for name, r in woke.items() if name.startswith("reactor"))
        wait_until(rest, "the reactors to sleep")


# --- what is told ----------------------------------------------------------------------------------------------------

def entries(log):
    count = struct.unpack_from("<Q", log, 8)[0]
    return [log[1024 * (i + 1):1024 * (i + 2)] for i in range(count)]


def test_discovery_says_where_tls_is(world):
    """Hosts would come without, and be sent away."""
    offer = world.offer(nqn=DISCOVERY_NQN)
    with Conn(world.port, secure=offer.client) as conn:
        must(conn.connect(DISCOVERY_NQN, hostnqn=KEYED))
        conn.property_set(0x14, 0x460001)
        log = conn.get_log_page(0x70, 1024 * 8)
    ways = {(e[256:512].rstrip(b"\0").decode(), int(e[32:64])): (e[3] & 3, e[768]) for e in entries(log)
            if e[2] == 2}
    assert ways == {(NQN, world.plain): (0, 0), (NQN, world.port): (1, 2), (OTHER_NQN, world.port): (1, 2)}


def test_what_is_shown_and_saved(world):
    """After a restart the listener would be without TLS, or nobody would have a key."""
    listeners = world.daemon.rpc("nvmf_subsystem_get_listeners", nqn=NQN)
    assert {l["address"]["trsvcid"]: l["secure_channel"] for l in listeners} == {str(world.plain): False,
                                                                                str(world.port): True}
    hosts = {h["nqn"]: h.get("psk") for h in world.daemon.rpc("nvmf_get_subsystems", nqn=NQN)[0]["hosts"]}
    assert hosts[KEYED] == "key-1" and hosts[BARE] is None
    saved = [c for s in world.daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "nvmf" for c in s["config"]]
    secure = [c["params"] for c in saved if c["method"] == "nvmf_subsystem_add_listener" and
              c["params"]["secure_channel"]]
    assert {p["nqn"] for p in secure} == {NQN, OTHER_NQN}
    assert {"nqn": NQN, "host": KEYED, "psk": "key-1"} in [c["params"] for c in saved
                                                           if c["method"] == "nvmf_subsystem_add_host"]


@pytest.mark.parametrize("method, params, says", [
    ("nvmf_subsystem_add_host", {"host": nqn_of(50), "psk": "absent"}, "psk"),
    ("nvmf_subsystem_add_host", {"host": nqn_of(50), "psk": "/etc/key"}, "is a path"),
    ("nvmf_subsystem_add_host", {"host": nqn_of(50), "psk": "proof"}, "does not begin with NVMeTLSkey-1:"),
    ("nvmf_subsystem_allow_any_host", {"allow_any_host": True}, "secure_channel"),
], ids=["no such key", "a path", "a key of another kind", "any host"])
def test_what_cannot_be(world, method, params, says):
    with pytest.raises(RpcError, match=says):
        world.daemon.rpc(method, nqn=NQN, **params)


def test_listeners_that_cannot_be(world):
    """One port would be both."""
    def add(port, nqn=NQN, **more):
        world.daemon.rpc("nvmf_subsystem_add_listener", nqn=nqn, listen_address=world.daemon.address(port), **more)
    with pytest.raises(RpcError, match="listens there with it"):
        add(world.port)
    with pytest.raises(RpcError, match="listens there without it"):
        add(world.plain, secure_channel=True)
    with pytest.raises(RpcError, match="other subsystems listen on"):
        add(world.plain, OTHER_NQN, secure_channel=True)
    with pytest.raises(RpcError, match="does not go with secure_channel"):
        add(free_port(), secure_channel=True, sock_impl="posix")
    world.daemon.rpc("nvmf_create_subsystem", nqn=ABSENT_NQN + ":any", allow_any_host=True)
    with pytest.raises(RpcError, match="allows any host"):
        add(free_port(), ABSENT_NQN + ":any", secure_channel=True)
    port = free_port()
    add(port, sock_impl="ssl")       # as SPDK has it, too
    with Host(port, NQN, hostnqn=KEYED, secure=world.offer().client) as host:
        assert len(host.io.read(0, 8)) == 4096
    world.daemon.rpc("nvmf_subsystem_remove_listener", nqn=NQN, listen_address=world.daemon.address(port))
