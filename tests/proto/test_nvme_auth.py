# SPDX-License-Identifier: BSD-3-Clause
"""DH-HMAC-CHAP: hosts that prove who they are, and those that cannot. The host's side is tests/lib/dhchap.py."""
import struct
import uuid

import pytest

from dhchap import (ATR, AUTH_REQUIRED, COMMON, DHCHAP, DHGROUP_UNUSABLE, FABRICS_AUTH_RECEIVE, FABRICS_AUTH_SEND,
                    FAILED, HASH_UNUSABLE, HASHES, INCORRECT_MESSAGE, INCORRECT_PAYLOAD, PROTOCOL_UNUSABLE,
                    SCC_MISMATCH, Auth, AuthHost, Refused, Secret, prime, security)
from gantry import NQN, Daemon, RpcError, cpus, gantryd_path, wait_until
from jsonrpc import Waiting
from nvme_tcp import (ADMIN_IDENTIFY, ADMIN_KEEP_ALIVE, CAP, CC, FABRICS, FABRICS_PROPERTY_GET, FABRICS_PROPERTY_SET,
                      INVALID_FIELD, IO_READ, SEQUENCE_ERROR, Conn, Host, must, rw, sqe)

KEYED = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=1)}"
OPEN = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=2)}"


class World:
    """A daemon with one subsystem and two hosts: KEYED has to prove who it is, OPEN need not."""

    def __init__(self, directory, daemon):
        self.directory, self.daemon = directory, daemon
        self.secret, self.ctrlr_secret = Secret.make(1), Secret.make(2)
        self.served = daemon.serve(daemon.malloc("disk0"))
        daemon.rpc("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=False)
        self.key("host", self.secret)
        self.key("ctrlr", self.ctrlr_secret)
        daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=KEYED, dhchap_key="host", dhchap_ctrlr_key="ctrlr")
        daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=OPEN)

    port = property(lambda self: self.served.port)

    def key(self, name, secret):
        self.daemon.rpc("keyring_file_add_key", name=name, path=secret.file(self.directory / name))

    def host(self, **how):
        return AuthHost(self.port, NQN, self.secret, hostnqn=KEYED, **how)

    def conn(self):
        """Connected, not authenticated."""
        conn = Conn(self.port)
        answer = must(conn.connect(NQN, hostnqn=KEYED))
        assert answer.value & ATR
        return conn

    def auth(self, conn, **how):
        return Auth(conn, KEYED, NQN, how.pop("secret", self.secret), **how)

    def refused(self, explanation, step, says=None, **how):
        """A conversation in which `step` sends what is wrong: the reason, the end of the connection, the log's line.
        The log has a line a second of such things: held again until it has this one."""
        before = len(self.daemon.log())

        def held():
            with self.conn() as conn:
                auth = self.auth(conn, **how)
                with pytest.raises(Refused) as refused:
                    step(auth)
                    auth.fetch(None)
                assert (refused.value.reason, refused.value.explanation) == (1, explanation)
                conn.expect_closed()
            return not says or says in self.daemon.log()[before:]
        wait_until(held, f"'{says}' in the log", timeout_s=60, interval_s=0.3)
        for secret in (self.secret, self.ctrlr_secret):
            assert str(secret)[10:30] not in self.daemon.log()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    if not gantryd_path().exists():
        pytest.fail(f"{gantryd_path()} is not there: ninja -C build, or name another build with GANTRY_BUILD")
    directory = tmp_path_factory.mktemp("auth")
    with Daemon(directory, "-m", cpus(2)) as daemon:
        yield World(directory, daemon)


# --- who may ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("group", [0, 1, 2])
@pytest.mark.parametrize("hash_id", HASHES)
def test_a_host_with_the_right_key(world, hash_id, group):
    """Nobody could use a subsystem that wants a proof."""
    with world.host(hashes=(hash_id,), groups=(group,)) as host:
        assert host.io.read(0, 8) == bytes(4096)
        shown = world.daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN)
        digest, dhgroup = ("sha256", "sha384", "sha512")[hash_id - 1], ("null", "ffdhe2048", "ffdhe3072")[group]
        assert [q["auth"] for q in shown] == [{"state": "completed", "digest": digest, "dhgroup": dhgroup}] * 2


@pytest.mark.parametrize("group", [3, 4, 5])
def test_large_groups(world, group):
    """What takes tens of milliseconds would be wrong, or would have been left out."""
    with world.host(io_queues=0, hashes=(3,), groups=(group,)):
        pass


@pytest.mark.parametrize("group", [0, 1])
def test_both_prove_who_they_are(world, group):
    """A host could not tell the target from one that has taken its place."""
    with world.host(mutual=world.ctrlr_secret, groups=(group,)) as host:
        assert host.io.read(0, 8) == bytes(4096)


def test_the_strongest_is_chosen(world):
    """Hosts would be content with less than both sides have."""
    with world.host(io_queues=0, groups=(0, 1)) as host:
        assert (host.auth.hash_id, host.auth.group) == (3, 1)


def test_a_host_that_need_not(world):
    """A host without a key would be asked for one."""
    with Host(world.port, NQN, hostnqn=OPEN) as host:
        assert host.io.read(0, 8) == bytes(4096)


# --- what others may before ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("command", [sqe(ADMIN_IDENTIFY, cdw10=1), sqe(ADMIN_KEEP_ALIVE), sqe(0xff), rw(IO_READ, 0, 8),
                                     sqe(FABRICS, FABRICS_PROPERTY_GET, cdw11=CAP),
                                     sqe(FABRICS, FABRICS_PROPERTY_SET, cdw11=CC, cdw12=0x460001), sqe(FABRICS, 0x44)],
                         ids=["identify", "keep-alive", "unknown", "read", "property get", "property set", "fabrics"])
def test_nothing_else_before(world, command):
    """Who has not proved who he is would be served."""
    with world.conn() as conn:
        answer = conn.command(command, expect=4096)
        assert answer.status == AUTH_REQUIRED and answer.dnr
        auth = world.auth(conn)
        auth.negotiate()
        assert conn.command(command, expect=4096).status == AUTH_REQUIRED
        auth.challenge()
        auth.reply()
        assert conn.command(command, expect=4096).status == AUTH_REQUIRED, "before the verdict was fetched"
        auth.success1()
        assert conn.property_get(CAP, 8)


def test_nothing_else_before_the_host_is_content(world):
    """A host that refuses the controller would be served all the same."""
    with world.conn() as conn:
        auth = world.auth(conn, mutual=world.ctrlr_secret)
        auth.negotiate(), auth.challenge(), auth.reply(), auth.success1()
        assert conn.command(sqe(ADMIN_IDENTIFY, cdw10=1), expect=4096).status == AUTH_REQUIRED
        auth.success2()
        assert conn.property_get(CAP, 8)


def test_each_queue_proves_it(world):
    """An I/O queue of a stranger would ride on the admin queue of the host."""
    with world.host() as host, Conn(world.port) as io:
        answer = must(io.connect(NQN, 2, cntlid=host.cntlid, hostnqn=KEYED))
        assert answer.value & ATR
        assert io.command(rw(IO_READ, 0, 8), expect=4096).status == AUTH_REQUIRED
        host.authenticate(io, mutual=world.ctrlr_secret, groups=(1,))
        assert io.read(0, 8) == bytes(4096)
        assert host.io.read(0, 8) == bytes(4096)


# --- who may not -----------------------------------------------------------------------------------------------------

def whole(auth):
    auth.negotiate(), auth.challenge(), auth.reply()


@pytest.mark.parametrize("group", [0, 1])
def test_a_wrong_key(world, group):
    """Anybody who knows a host's name could be that host."""
    world.refused(FAILED, whole, "its key differs from the one here", secret=Secret.make(1), groups=(group,))


def test_a_key_that_is_transformed_otherwise(world):
    """A person would look for the mistake in the secret, which is the same."""
    world.refused(FAILED, whole, "the transformation differs", secret=Secret(0, world.secret.secret))


def test_keys_that_were_exchanged(world):
    world.refused(FAILED, whole, "its two keys are exchanged", secret=world.ctrlr_secret)


def test_nothing_in_common(world):
    """It would fail for a reason that is not the reason."""
    world.refused(HASH_UNUSABLE, Auth.negotiate, "the host offers id 9", hashes=(9,))
    world.refused(HASH_UNUSABLE, Auth.negotiate, hashes=())
    world.refused(DHGROUP_UNUSABLE, Auth.negotiate, "the host offers id 30", groups=(30,))
    world.refused(DHGROUP_UNUSABLE, Auth.negotiate, groups=())


def test_only_what_is_permitted(tmp_path):
    """A configuration that forbids weak groups would be ignored."""
    with Waiting(tmp_path, "-m", cpus(1)) as daemon:
        for wrong in ({"dhchap_digests": ["md5"]}, {"dhchap_dhgroups": ["ffdhe1024"]}, {"dhchap_dhgroups": []}):
            with pytest.raises(RpcError, match=next(iter(wrong))):
                daemon.rpc("nvmf_set_config", **wrong)
        daemon.rpc("nvmf_set_config", dhchap_digests=["sha384", "sha512"], dhchap_dhgroups=["ffdhe2048"])
        daemon.rpc("framework_start_init")
        world = World(tmp_path, daemon)
        world.refused(HASH_UNUSABLE, Auth.negotiate, "no hash in common: the host offers sha256; permitted here are "
                      "sha384, sha512", hashes=(1,))
        world.refused(DHGROUP_UNUSABLE, Auth.negotiate, "the host offers null, ffdhe3072; permitted here are ffdhe2048",
                      groups=(0, 2))
        with world.host(groups=(0, 1)) as host:
            assert (host.auth.hash_id, host.auth.group) == (3, 1)


def test_a_replay(world):
    """What somebody overheard would open the door again."""
    with world.conn() as conn:
        heard = world.auth(conn)
        whole(heard)
        message = heard.reply_message()
        heard.success1()

    def replay(auth):
        auth.negotiate(), auth.challenge()
        must(auth.send(message))
    world.refused(FAILED, replay, "its key differs")


def test_messages_that_are_wrong(world):
    """Bytes that mean nothing would be believed, or leave a conversation without an end."""
    def reply(change):
        def step(auth):
            auth.negotiate(), auth.challenge()
            must(auth.send(change(bytearray(auth.reply_message()))))
        return step

    def negotiate(change):
        return lambda auth: must(auth.send(change(bytearray(auth.negotiate_message()))))

    def put(at, value):
        return lambda m: m[:at] + value + m[at + len(value):]

    for change, explanation in ((lambda m: m[:-1], INCORRECT_PAYLOAD), (lambda m: m + b"\0", INCORRECT_PAYLOAD),
                                (lambda m: m[:5], INCORRECT_PAYLOAD), (put(7, b"\x02"), INCORRECT_PAYLOAD),
                                (put(6, b"\x01"), SCC_MISMATCH), (put(8, b"\x03"), PROTOCOL_UNUSABLE),
                                (put(10, b"\xff"), INCORRECT_PAYLOAD), (put(0, b"\x05"), INCORRECT_MESSAGE),
                                (put(1, b"\x77"), INCORRECT_MESSAGE), (lambda m: bytes(4096), INCORRECT_PAYLOAD)):
        world.refused(explanation, negotiate(change))
    for change, explanation in ((lambda m: m[:-1], INCORRECT_PAYLOAD), (lambda m: m[:15], INCORRECT_PAYLOAD),
                                (lambda m: m + bytes(4), INCORRECT_PAYLOAD), (put(4, b"\x99"), INCORRECT_PAYLOAD),
                                (put(6, b"\x10"), INCORRECT_PAYLOAD), (put(8, b"\x02"), INCORRECT_PAYLOAD),
                                (put(8, b"\x01"), INCORRECT_PAYLOAD), (put(10, b"\x08"), INCORRECT_PAYLOAD),
                                (put(0, b"\x00"), INCORRECT_MESSAGE), (put(1, b"\x01"), INCORRECT_MESSAGE)):
        world.refused(explanation, reply(change))
    p = prime(1)
    for value in (0, 1, p - 2, p - 1, p, p + 1, (1 << 2048) - 1):  # p - 2: of twice the order
        world.refused(INCORRECT_PAYLOAD, reply(lambda m, v=value: m[:-256] + v.to_bytes(256, "big")),
                      "is none of group", groups=(1,))


def test_messages_out_of_order(world):
    """A step left out would be a step less to fail in."""
    def steps(*order):
        def step(auth):
            for one in order:
                one(auth)
        return step

    success2 = Auth.success2
    world.refused(INCORRECT_MESSAGE, lambda auth: None, "when one of its own is awaited")
    world.refused(INCORRECT_MESSAGE, success2)
    world.refused(INCORRECT_MESSAGE, lambda auth: must(auth.send(auth.header(DHCHAP, 2) + bytes(74))))
    world.refused(INCORRECT_MESSAGE, steps(Auth.negotiate, Auth.negotiate))
    world.refused(INCORRECT_MESSAGE, steps(Auth.negotiate, Auth.challenge, lambda auth: auth.fetch(None)))
    world.refused(INCORRECT_MESSAGE, steps(Auth.negotiate, Auth.challenge, Auth.negotiate))
    world.refused(INCORRECT_MESSAGE, steps(whole, Auth.negotiate))
    world.refused(INCORRECT_MESSAGE, steps(whole, success2))


def test_commands_that_are_wrong(world):
    """Fields of the command itself would not be looked at."""
    with world.conn() as conn:
        for kind in (FABRICS_AUTH_SEND, FABRICS_AUTH_RECEIVE):
            for secp, sp0, sp1, length in ((0xe8, 1, 1, 72), (0xe9, 0, 1, 72), (0xe9, 1, 0, 72), (0xe9, 1, 1, 0),
                                           (0xe9, 1, 1, 4100)):
                command = sqe(FABRICS, kind, cdw10=secp << 24 | sp0 << 16 | sp1 << 8, cdw11=length)
                data = bytes(length) if kind == FABRICS_AUTH_SEND else b""
                answer = conn.command(command, data, expect=0 if data else length)
                assert answer.status == INVALID_FIELD and answer.dnr
        auth = world.auth(conn)
        auth.negotiate()
        assert auth.receive(4).status == INVALID_FIELD, "no message fits"
        auth.challenge()
        auth.reply()
        auth.success1()
    with world.conn() as conn:
        auth = world.auth(conn)
        auth.negotiate()
        assert must(auth.receive(20)).data[:8] == struct.pack("<BBxxHBB", COMMON, 0xf1, auth.t_id, 1, INCORRECT_PAYLOAD)
        conn.expect_closed()


def test_two_at_a_time(world):
    """Work of one message would be done on the fields of another."""
    with world.conn() as conn:
        auth = world.auth(conn, groups=(5,))
        message = auth.negotiate_message()
        first = conn.submit(security(FABRICS_AUTH_SEND, len(message)), message)
        second = conn.submit(security(FABRICS_AUTH_SEND, len(message)), message)
        third = conn.submit(security(FABRICS_AUTH_RECEIVE, 4096), expect=4096)
        assert conn.wait(second).status == SEQUENCE_ERROR
        assert conn.wait(third).status == SEQUENCE_ERROR
        must(conn.wait(first))
        auth.challenge()
        auth.reply()
        auth.success1()
        assert conn.property_get(CAP, 8)


def test_gone_in_the_middle(world):
    """A connection that ends while its proof is being checked would be used after its end."""
    for group in (0, 1, 5):
        for steps in range(4):
            with world.conn() as conn:
                auth = world.auth(conn, groups=(group,))
                for step in (auth.negotiate, auth.challenge)[:steps]:
                    step()
                message = auth.reply_message() if steps > 1 else auth.negotiate_message()
                conn.submit(security(FABRICS_AUTH_SEND, len(message)), message)
    wait_until(lambda: not world.daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN), "all queues to go")
    with world.host() as host:
        assert host.io.read(0, 8) == bytes(4096)


# --- again, and by other keys ----------------------------------------------------------------------------------------

def test_again_at_any_time(world):
    """A host that wants to see the controller's proof once more would be cut off, or stop meanwhile."""
    with world.host() as host:
        for _ in range(3):
            host.authenticate(host.admin, mutual=world.ctrlr_secret)
            reads = [host.io.submit(rw(IO_READ, 0, 8), expect=4096) for _ in range(8)]
            host.authenticate(host.io, groups=(1,))
            for cid in reads:
                must(host.io.wait(cid))
        auth = Auth(host.io, KEYED, NQN, Secret.make(1))
        with pytest.raises(Refused):
            whole(auth), auth.success1()
        host.io.expect_closed()


def test_keys_change(world):
    """The old key would go on opening the door, or those inside would be thrown out."""
    new = Secret.make(3)
    world.key("next", new)
    with world.host() as host:
        world.daemon.rpc("nvmf_subsystem_set_keys", nqn=NQN, host=KEYED, dhchap_key="next")
        assert host.io.read(0, 8) == bytes(4096)
        world.refused(FAILED, whole, "its key differs")
        Auth(host.io, KEYED, NQN, new).run()
        assert host.io.read(0, 8) == bytes(4096)
        with AuthHost(world.port, NQN, new, hostnqn=KEYED, mutual=world.ctrlr_secret):
            pass
        world.daemon.rpc("nvmf_subsystem_set_keys", nqn=NQN, host=KEYED, dhchap_key="host")
    world.daemon.rpc("keyring_file_remove_key", name="next")
    assert "next" not in [k["name"] for k in world.daemon.rpc("keyring_get_keys")]
    with world.host():
        pass


def test_a_key_file_that_others_can_read(world):
    """A secret that is none any more would do, or the log would not say what is the matter."""
    path = world.directory / "host"
    path.chmod(0o644)
    try:
        world.refused(FAILED, whole, "has mode 0644")
    finally:
        path.chmod(0o600)
    with world.host():
        pass


def test_a_host_without_a_key_here(world):
    """Whoever is let in anyway would be told that he has proved something."""
    with Host(world.port, NQN, hostnqn=OPEN) as host:
        with pytest.raises(Refused) as refused:
            Auth(host.admin, OPEN, NQN, world.secret).run()
        assert refused.value.explanation == FAILED


def test_keys_are_shown_by_name(world):
    """A person could not see which key is used; or anybody could see what it is."""
    hosts = world.daemon.rpc("nvmf_get_subsystems", nqn=NQN)[0]["hosts"]
    assert hosts == [{"nqn": KEYED, "dhchap_key": "host", "dhchap_ctrlr_key": "ctrlr"}, {"nqn": OPEN}]
    world.daemon.rpc("keyring_file_remove_key", name="ctrlr")
    try:
        keys = {k["name"]: k for k in world.daemon.rpc("keyring_get_keys")}
        assert keys["ctrlr"]["removed"] and not keys["host"]["removed"]
        with world.host(mutual=world.ctrlr_secret):
            pass
        saved = str(world.daemon.rpc("save_config"))
        assert str(world.directory / "ctrlr") in saved, "what names it could not be made again"
        assert str(world.secret)[10:30] not in saved
    finally:
        world.key("ctrlr", world.ctrlr_secret)


def test_wrong_keys_are_refused_at_once(world, tmp_path):
    """The host would find out, not the one who mistyped."""
    def refused(match, **keys):
        with pytest.raises(RpcError, match=match):
            world.daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=KEYED[:-1] + "9", **keys)
        with pytest.raises(RpcError, match=match):
            world.daemon.rpc("nvmf_subsystem_set_keys", nqn=NQN, host=OPEN, **keys)

    path = tmp_path / "odd"
    path.touch(0o600)
    path.write_text(str(world.secret).replace(":", "!", 1))
    world.daemon.rpc("keyring_file_add_key", name="odd", path=str(path))
    refused("dhchap_key: there is no key 'none'", dhchap_key="none")
    refused("dhchap_ctrlr_key: .*dhchap_key", dhchap_ctrlr_key="ctrlr")
    refused("dhchap_key: key 'odd' does not begin with DHHC-1:", dhchap_key="odd")
    refused("dhchap_ctrlr_key: key 'odd' does not begin with DHHC-1:", dhchap_key="host", dhchap_ctrlr_key="odd")
    world.daemon.rpc("keyring_file_remove_key", name="odd")
