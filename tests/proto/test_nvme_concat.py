# SPDX-License-Identifier: BSD-3-Clause
"""Secure concatenation: a host proves who it is on a connection without TLS, which generates a key, and comes back with
TLS by that key. The host's side is tests/lib/dhchap.py and OpenSSL's (tests/lib/tls.py)."""
import uuid

import pytest

from dhchap import (ATR, AUTH_REQUIRED, DHGROUP_UNUSABLE, HASH_UNUSABLE, INCORRECT_PAYLOAD, SCC_MISMATCH, Auth,
                    Refused, Secret)
from gantry import NQN, Daemon, RpcError, cpus, free_port, gantryd_path
from nvme_tcp import (ADMIN_KEEP_ALIVE, CAP, CC, CONNECT_INVALID_HOST, DISCOVERY_NQN, Conn, Host, must, sqe)
from tls import Offer, Psk, TlsError

ASCR = 1 << 18          # of Connect's answer
NEW, REPLACE = 2, 3     # SC_C
PROVES = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=1)}"
BARE = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=2)}"
KEYED = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=3)}"


class World:
    def __init__(self, directory, daemon):
        self.directory, self.daemon, self.secret, self.ctrlr = directory, daemon, Secret.make(1), Secret.make(1)
        daemon.serve(daemon.malloc("disk0"))
        self.port, self.strict, self.keyed = free_port(), free_port(), Psk.make(1)
        call = daemon.rpc
        call("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=False)
        for name, secret in (("proof", self.secret), ("ctrlr", self.ctrlr), ("psk", self.keyed)):
            call("keyring_file_add_key", name=name, path=secret.file(directory / name))
        call("nvmf_subsystem_add_host", nqn=NQN, host=PROVES, dhchap_key="proof", dhchap_ctrlr_key="ctrlr")
        call("nvmf_subsystem_add_host", nqn=NQN, host=BARE)
        call("nvmf_subsystem_add_host", nqn=NQN, host=KEYED, psk="psk")
        call("nvmf_subsystem_add_listener", nqn=NQN, listen_address=daemon.address(self.port), secure_channel=True,
             concatenation=True)
        call("nvmf_subsystem_add_listener", nqn=NQN, listen_address=daemon.address(self.strict), secure_channel=True)

    def conn(self):
        """Without TLS, and not proved."""
        conn = Conn(self.port)
        answer = must(conn.connect(NQN, hostnqn=PROVES))
        assert answer.value & ATR and answer.value & ASCR
        return conn

    def auth(self, conn, sc_c=NEW, groups=(1,), hashes=(1,), **how):
        return Auth(conn, PROVES, NQN, self.secret, groups=groups, hashes=hashes, sc_c=sc_c, **how)

    def offer(self, auth):
        return Psk(0, auth.psk()).offer(PROVES, NQN, 1, generated=True)

    def prove(self, **how):
        """What the key is that a proof makes."""
        with self.conn() as conn:
            return self.offer(self.auth(conn, **how).run())

    def host(self, offer, port=None, **how):
        return Host(port or self.port, NQN, hostnqn=PROVES, secure=offer.client, **how)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    if not gantryd_path().exists():
        pytest.fail(f"{gantryd_path()} is not there: ninja -C build, or name another build with GANTRY_BUILD")
    directory = tmp_path_factory.mktemp("concat")
    with Daemon(directory, "-m", cpus(2)) as daemon:
        yield World(directory, daemon)


@pytest.mark.parametrize("mutual", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("hash_id", [1, 2], ids=["SHA-256", "SHA-384"])
def test_a_proof_makes_a_key(world, hash_id, mutual):
    """A host that has no key of TLS could not come."""
    offer = world.prove(hashes=(hash_id,), mutual=world.ctrlr if mutual else None)
    with world.host(offer, io_queues=2) as host:
        must(host.ios[0].write(0, b"x" * 4096))
        assert host.ios[1].read(0, 8) == b"x" * 4096
        shown = world.daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN)
        assert [q["tls"]["identity"] for q in shown] == [offer.identity] * 3
        shown = world.daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN)
        assert [c["tls"]["identity"] for c in shown] == [offer.identity]
    with world.host(offer, world.strict) as host:
        assert host.io.read(0, 8) == b"x" * 4096


def test_hosts_that_sign_no_channel(world):
    """Linux 6.15 to 6.17 would be refused."""
    with world.host(world.prove(signed_sc_c=0)) as host:
        assert len(host.io.read(0, 8)) == 4096
    with world.conn() as conn, pytest.raises(Refused):
        world.auth(conn, signed_sc_c=1).run()


def test_without_tls_there_is_no_io(world):
    """What a host proved would be used by whoever writes into its connection."""
    with world.conn() as conn:
        assert conn.command(sqe(ADMIN_KEEP_ALIVE)).status == AUTH_REQUIRED
        world.auth(conn).run()
        assert conn.property_get(CAP, 8)                # Linux looks at its controller before it comes back
        conn.property_set(CC, 0x460001)
        cntlid = next(c["cntlid"] for c in world.daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN))
        with Conn(world.port) as io:
            assert io.connect(NQN, qid=1, cntlid=cntlid, hostnqn=PROVES).status == CONNECT_INVALID_HOST


def test_another_key_than_that(world):
    """Who saw the proof could come by it."""
    offer = world.prove()
    wrong = Psk(0, bytes(32)).offer(PROVES, NQN, 1, generated=True)
    older = Psk(0, bytes(32)).offer(PROVES, NQN, 0, generated=True)
    for bad in (wrong, older, Offer(offer.identity, bytes(32), 1)):
        with pytest.raises((TlsError, ConnectionResetError)):
            Conn(world.port, secure=bad.client)
    with Conn(world.port, secure=offer.client) as conn:
        assert conn.connect(NQN, hostnqn=BARE).status == CONNECT_INVALID_HOST
        assert conn.connect(DISCOVERY_NQN, hostnqn=PROVES).status == CONNECT_INVALID_HOST


def test_a_key_is_replaced(world):
    """A connection's key could not be changed before it is too old."""
    with Conn(world.port, secure=world.prove().client) as conn:
        answer = must(conn.connect(NQN, hostnqn=PROVES))
        assert not answer.value & (ATR | ASCR), "it has just proved who it is"
        assert conn.property_get(CAP, 8)
        offer = world.offer(world.auth(conn, sc_c=REPLACE).run())
        with world.host(offer) as host:
            assert len(host.io.read(0, 8)) == 4096


@pytest.mark.parametrize("how, reason", [
    ({"sc_c": 0}, SCC_MISMATCH), ({"sc_c": 1}, SCC_MISMATCH), ({"sc_c": REPLACE}, SCC_MISMATCH),
    ({"groups": (0,)}, DHGROUP_UNUSABLE), ({"hashes": (3,)}, HASH_UNUSABLE),
], ids=["none", "another", "to replace what is not there", "no group", "SHA-512"])
def test_what_makes_no_key(world, how, reason):
    """A host would go on without TLS, or with a key that is none."""
    with world.conn() as conn:
        auth = world.auth(conn, **how)
        auth.negotiate()
        with pytest.raises(Refused) as refused:
            auth.challenge()
        assert refused.value.explanation == reason


def test_a_reply_without_a_challenge(world):
    """The key would have nothing of the host's in it."""
    with world.conn() as conn:
        auth = world.auth(conn)
        auth.negotiate()
        auth.challenge()
        message = bytearray(auth.reply_message())
        message[8] = 0
        must(auth.send(bytes(message)))
        with pytest.raises(Refused) as refused:
            auth.success1()
        assert refused.value.explanation == INCORRECT_PAYLOAD


def test_who_else_may_come_there(world):
    """The listener would be open to those that are not to come without TLS."""
    for host, nqn in ((BARE, NQN), (KEYED, NQN), (PROVES, DISCOVERY_NQN), (BARE, DISCOVERY_NQN)):
        with Conn(world.port) as conn:
            assert conn.connect(nqn, hostnqn=host).status == CONNECT_INVALID_HOST
    with Host(world.port, NQN, hostnqn=KEYED, secure=world.keyed.offer(KEYED, NQN).client) as host:
        assert len(host.io.read(0, 8)) == 4096


def test_a_host_that_is_removed(world):
    """A key would outlive the right to it."""
    offer = world.prove()
    world.daemon.rpc("nvmf_subsystem_remove_host", nqn=NQN, host=PROVES)
    try:
        with pytest.raises((TlsError, ConnectionResetError)):
            Conn(world.port, secure=offer.client)
    finally:
        world.daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=PROVES, dhchap_key="proof", dhchap_ctrlr_key="ctrlr")


def test_a_secret_that_is_replaced(world):
    """Who had the old secret would have a key for good."""
    call, host = world.daemon.rpc, {"nqn": NQN, "host": PROVES}

    def comes(offer):
        try:
            Conn(world.port, secure=offer.client).close()
            return True
        except (TlsError, ConnectionResetError):
            return False
    removed = world.prove()
    assert comes(removed)
    call("nvmf_subsystem_remove_host", **host)
    call("nvmf_subsystem_add_host", **host, dhchap_key="proof", dhchap_ctrlr_key="ctrlr")
    assert not comes(removed)
    older = world.prove()
    with Conn(world.port, secure=older.client) as conn:      # it shook hands, and waits
        call("nvmf_subsystem_set_keys", **host, dhchap_key="proof")
        assert not comes(older)
        assert conn.connect(NQN, hostnqn=PROVES).status == CONNECT_INVALID_HOST
    assert comes(world.prove())


def test_what_is_shown_and_saved(world):
    listeners = world.daemon.rpc("nvmf_subsystem_get_listeners", nqn=NQN)
    assert [l.get("concatenation", False) for l in listeners] == [False, True, False]
    saved = [c["params"] for s in world.daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "nvmf"
             for c in s["config"] if c["method"] == "nvmf_subsystem_add_listener"]
    assert [p["listen_address"]["trsvcid"] for p in saved if p.get("concatenation")] == [str(world.port)]
    with pytest.raises(RpcError, match="give both"):
        world.daemon.rpc("nvmf_subsystem_add_listener", nqn=NQN, listen_address=world.daemon.address(free_port()),
                         concatenation=True)
    with pytest.raises(RpcError, match="concatenation"):
        world.daemon.rpc("nvmf_subsystem_add_listener", nqn=NQN, listen_address=world.daemon.address(world.strict),
                         secure_channel=True, concatenation=True)
