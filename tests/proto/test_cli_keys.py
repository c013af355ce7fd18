# SPDX-License-Identifier: BSD-3-Clause
"""gantry host add --auth: a person gets keys for a host, and lines to type there, without ever handling a secret. That
connections with these keys are secured is test_cli_tls's."""
import base64
import json
import os
import re
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from dhchap import AuthHost, Refused, Secret
from gantry import BUILD, Daemon, RpcError, cpus, free_port, has_ipv6
from jsonrpc import gantry
from tls import Psk

HOST = "nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc"
NQN = "nqn.2016-06.io.gantry:disk0"


@pytest.fixture
def kept(tmp_path):
    (tmp_path / "kept").mkdir()
    with Daemon(tmp_path / "kept", "-m", cpus(2), "--state-dir", str(tmp_path / "state")) as daemon:
        daemon.malloc("disk0")
        yield daemon


@pytest.fixture
def port():
    return free_port()


def cli(daemon, *words, **how):
    return gantry(*words, socket=daemon.socket, **how)


def secret_of(text):
    kind, hash_id, data, _ = text.strip().split(":")
    assert kind == "DHHC-1"
    return Secret(int(hash_id), base64.b64decode(data)[:-4])


def export(daemon, port, *more):
    return cli(daemon, "export", "disk", "disk0", "--listen", f"127.0.0.1:{port}", *more)


def paths(daemon):
    return {k["name"].rsplit(".", 1)[1]: k["path"] for k in daemon.rpc("keyring_get_keys")}


def test_keys_for_a_host(kept, tmp_path, port):
    """The keys would lie open, be no keys, or not be those that the daemon asks for; or be gone after a restart."""
    export(kept, port)
    said = cli(kept, "host", "add", HOST, "disk0", "--auth", "--only")
    files = paths(kept)
    assert set(files) == {"host", "ctrlr"}
    texts = {end: open(path).read() for end, path in files.items()}
    for end, path in files.items():
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and path in said
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
        assert texts[end].strip() not in said and texts[end][10:40] not in said
    line = next(x for x in said.splitlines() if "nvme connect" in x)
    assert f"-n {NQN} --hostnqn={HOST}" in line and f"-s {port}" in line
    assert re.search(r'--dhchap-secret="\$\(cat /etc/nvme/keys/\S+\.host\)"', line)
    assert re.search(r'--dhchap-ctrl-secret="\$\(cat /etc/nvme/keys/\S+\.ctrlr\)"', line)
    keys = {end: secret_of(text) for end, text in texts.items()}

    def proves():
        with AuthHost(port, NQN, keys["host"], hostnqn=HOST, mutual=keys["ctrlr"]) as host:
            assert host.io.read(0, 8) == bytes(4096)
    proves()
    with pytest.raises(Refused):
        AuthHost(port, NQN, keys["ctrlr"], hostnqn=HOST)
    kept.stop()
    kept.start()
    proves()


def test_the_keys_themselves_on_request(kept, port):
    """Who has nothing but a terminal could not hand them over."""
    export(kept, port)
    said = cli(kept, "host", "add", HOST, "disk0", "--auth", "--show-keys", "--hash", "sha384")
    files = paths(kept)
    for end, option in (("host", "--dhchap-secret"), ("ctrlr", "--dhchap-ctrl-secret")):
        text = open(files[end]).read().strip()
        assert text.startswith("DHHC-1:02:") and f"{option}='{text}'" in said
    assert "Any host may still connect, without a proof" in said


def test_where_there_is_no_listener_for_it(kept, port):
    """A person would be told that something is missing, and not what to type against it."""
    export(kept, port, "--host", HOST[:-1] + "d", "--tls")
    said = cli(kept, "host", "add", HOST, "disk0", "--auth")
    assert "nvme connect" not in said and "On the host" not in said
    line = next(x for x in said.splitlines() if "gantry rpc" in x)
    show = re.search(r"`gantry ([^']*)'", said)[1]
    other = free_port()
    cli(kept, *line.replace("PORT", str(other)).split()[1:])
    assert f"-s {other} -n {NQN} --hostnqn={HOST} --dhchap-secret" in cli(kept, *show.split())
    keys = {end: secret_of(open(path).read()) for end, path in paths(kept).items() if end != "tls"}
    with AuthHost(other, NQN, keys["host"], hostnqn=HOST, mutual=keys["ctrlr"]) as host:
        assert host.io.read(0, 8) == bytes(4096)


@pytest.mark.skipif(not has_ipv6(), reason="no ::1 here")
def test_where_the_others_are_of_ipv6(kept, port):
    """Left out it would be IPv4's, which no such address is."""
    cli(kept, "export", "disk", "disk0", "--listen", f"[::1]:{port}", "--host", HOST[:-1] + "d", "--tls")
    said = cli(kept, "host", "add", HOST, "disk0", "--auth")
    line = next(x for x in said.splitlines() if "gantry rpc" in x)
    cli(kept, *line.replace("PORT", str(other := free_port())).split()[1:])
    assert listeners(kept) == {port: True, other: False}


def test_as_json(kept, port):
    export(kept, port)
    said = json.loads(cli(kept, "--json", "host", "add", HOST, "disk0", "--auth"))
    assert [k["kind"] for k in said["keys"]] == ["dhchap_key", "dhchap_ctrlr_key"]
    assert said["host"] == HOST and said["export"] == NQN and any("nvme connect" in x for x in said["connect"])
    for key in said["keys"]:
        assert open(key["path"]).read().strip() not in json.dumps(said)


def test_removed_with_the_host(kept, port):
    """Keys of hosts that have gone would lie about for ever; or one that somebody still needs would be deleted."""
    export(kept, port)
    cli(kept, "host", "add", HOST, "disk0", "--auth")
    files = paths(kept)
    assert "may connect to" in cli(kept, "host", "add", HOST, "disk0", "--auth", status=1)
    assert os.listdir(os.path.dirname(files["host"])) and paths(kept) == files
    name = next(k["name"] for k in kept.rpc("keyring_get_keys") if k["name"].endswith(".host"))
    with pytest.raises(RpcError, match="is in use; take it from its hosts"):
        kept.rpc("keyring_delete_key", name=name)
    cli(kept, "host", "remove", HOST, "disk0")
    assert not kept.rpc("keyring_get_keys") and not any(os.path.exists(p) for p in files.values())
    cli(kept, "host", "add", HOST, "disk0", "--auth")
    assert paths(kept) == files


@pytest.mark.parametrize("words", [("export", "remove", "disk0"), ("host", "remove", HOST, "disk0")],
                         ids=["export", "host"])
def test_a_file_that_stays_is_told(kept, port, words):
    """Somebody would believe that the secret is gone, and it lies there for another name."""
    export(kept, port)
    cli(kept, "host", "add", HOST, "disk0", "--auth")
    files = paths(kept)
    name = next(k["name"] for k in kept.rpc("keyring_get_keys") if k["name"].endswith(".host"))
    kept.rpc("keyring_file_add_key", name="mine", path=files["host"])
    done = subprocess.run([BUILD / "gantry", "-s", kept.socket, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert f"key '{name}' stays, and so does its file" in done.stderr and "is that of 'mine', too" in done.stderr
    assert done.stderr.count("stays") == 1, "of the other one nothing is told: it is gone"
    assert os.path.exists(files["host"]) and not os.path.exists(files["ctrlr"])


def test_an_export_in_one_go(kept, port):
    said = export(kept, port, "--host", HOST, "--auth")
    assert "when it has proved who it is" in said and "--dhchap-ctrl-secret=" in said
    keys = {end: secret_of(open(path).read()) for end, path in paths(kept).items()}
    with AuthHost(port, NQN, keys["host"], hostnqn=HOST, mutual=keys["ctrlr"]):
        pass


def test_what_makes_no_sense(kept, daemon, port):
    export(kept, port)
    for words in (("host", "add", "any", "disk0", "--auth"), ("host", "add", HOST, "disk0", "--hash", "sha256"),
                  ("host", "add", HOST, "disk0", "--auth", "--listen", "127.0.0.1:1"),
                  ("host", "add", HOST, "disk0", "--tls", "--only", "--hash", "sha512"),
                  ("export", "disk", "disk0", "--auth"), ("export", "disk", "disk0", "--iscsi", "--auth")):
        cli(kept, *words, status=2)
    said = cli(kept, "host", "add", HOST, "disk0", "--tls", status=1)
    assert "TLS knows hosts by their keys: give --only" in said
    assert not kept.rpc("keyring_get_keys")
    daemon.malloc("disk0")      # one without a state
    cli(daemon, "export", "disk", "disk0", "--listen", f"127.0.0.1:{free_port()}")
    assert "no directory of its own for keys (--state-dir)" in cli(daemon, "host", "add", HOST, "disk0", "--auth",
                                                                  status=1)


# --- TLS --------------------------------------------------------------------------------------------------------------

def offer_of(path, hostnqn=HOST, version=1):
    kind, hash_id, data, _ = open(path).read().strip().split(":")
    assert kind == "NVMeTLSkey-1"
    return Psk(int(hash_id), base64.b64decode(data)[:-4]).offer(hostnqn, NQN, version)


def secured(port, files, **how):
    keys = {end: secret_of(open(files[end]).read()) for end in files if end != "tls"}
    with AuthHost(port, NQN, keys["host"], hostnqn=HOST, mutual=keys["ctrlr"], secure=offer_of(files["tls"]).client,
                  **how) as host:
        assert host.io.read(0, 8) == bytes(4096)


def listeners(daemon):
    return {int(x["address"]["trsvcid"]): x["secure_channel"]
            for x in daemon.rpc("nvmf_subsystem_get_listeners", nqn=NQN)}


def test_a_host_over_tls(kept, port):
    """The listener or the key would be missing, or the host could come in the clear; or the lines would not fit."""
    export(kept, port)
    said = cli(kept, "host", "add", HOST, "disk0", "--auth", "--tls", "--only")
    files = paths(kept)
    assert set(files) == {"host", "ctrlr", "tls"} and stat.S_IMODE(os.stat(files["tls"]).st_mode) == 0o600
    assert open(files["tls"]).read().strip()[10:40] not in said
    ports = listeners(kept)
    assert ports.pop(port) is False
    (secure_port, secure), = ports.items()
    assert secure is True and secure_port > port
    lines = [x.strip() for x in said.splitlines()]
    at = lines.index("On the host, as root:")
    insert = next(x for x in lines[at:] if x.startswith("nvme check-tls-key"))
    assert re.fullmatch(rf'nvme check-tls-key --insert --identity=1 --subsysnqn={NQN} --hostnqn={HOST} '
                        r'--keydata="\$\(cat /etc/nvme/keys/\S+\.tls\)"', insert)
    connects = [x for x in lines[at:] if x.startswith("nvme connect")]
    assert len(connects) == 1 and f"-s {secure_port} " in connects[0] and connects[0].endswith(" --tls")
    secured(secure_port, files)
    with pytest.raises((Refused, AssertionError, OSError)):
        AuthHost(port, NQN, secret_of(open(files["host"]).read()), hostnqn=HOST)    # not in the clear
    kept.stop()
    kept.start()
    secured(secure_port, files)
    other = HOST[:-1] + "d"
    said = cli(kept, "host", "add", other, "disk0", "--tls")
    assert listeners(kept) == {port: False, secure_port: True} and f"-s {secure_port} " in said
    cli(kept, "host", "remove", other, "disk0")
    cli(kept, "host", "add", other, "disk0", "--tls", "--listen", f"127.0.0.1:{(third := free_port())}")
    assert listeners(kept) == {port: False, secure_port: True, third: True}


def test_an_export_over_tls_in_one_go(kept, port):
    said = export(kept, port, "--host", HOST, "--auth", "--tls")
    assert listeners(kept) == {port: True} and f"-s {port} " in said and "nvme check-tls-key" in said
    secured(port, paths(kept))


def test_where_nobody_says_where(kept):
    """An export over TLS would be refused because others have the port without, or one without because of TLS there."""
    for disk in ("disk1", "disk2", "disk3"):
        kept.malloc(disk)

    def served(disk, *words):
        cli(kept, "export", "disk", disk, *words)
        (at,) = kept.rpc("nvmf_subsystem_get_listeners", nqn=f"nqn.2016-06.io.gantry:{disk}")
        return int(at["address"]["trsvcid"]), at["secure_channel"]
    plain, secure = served("disk0"), served("disk1", "--host", HOST, "--tls")
    assert not plain[1] and secure[1] and plain[0] != secure[0]
    # These two can be shared; a lower one may have been somebody else's until now.
    for first, *words in ((plain, "disk2"), (secure, "disk3", "--host", HOST, "--tls")):
        port, is_secure = served(*words)
        assert port <= first[0] and is_secure == first[1]


# --- the methods ------------------------------------------------------------------------------------------------------

def test_never_over_another_file(kept, tmp_path):
    path = tmp_path / "mine"
    path.write_text("something else")
    with pytest.raises(RpcError, match="is there already, and keys are never written over others"):
        kept.rpc("keyring_make_key", name="k", kind="tls", path=str(path))
    assert path.read_text() == "something else" and not kept.rpc("keyring_get_keys")
    assert os.listdir(tmp_path / "state") and not [f for f in os.listdir(tmp_path) if f.startswith(".new")]
    made = kept.rpc("keyring_make_key", name="k", kind="tls", hash="sha384", path=str(tmp_path / "new" / "k"))
    assert made == {"name": "k", "path": str(tmp_path / "new" / "k")}
    text = (tmp_path / "new" / "k").read_text()
    assert re.fullmatch(r"NVMeTLSkey-1:02:[A-Za-z0-9+/=]{72}:", text)
    with pytest.raises(RpcError, match="there is a key 'k' already"):
        kept.rpc("keyring_make_key", name="k", kind="tls")
    with pytest.raises(RpcError, match="was not made by this daemon for itself"):
        kept.rpc("keyring_delete_key", name="k")


@pytest.mark.parametrize("kind, digest, match", [
    ("dhchap", "none", r"DHHC-1:00:[A-Za-z0-9+/=]{48}:"), ("dhchap", "sha256", r"DHHC-1:01:[A-Za-z0-9+/=]{48}:"),
    ("dhchap", "sha384", r"DHHC-1:02:[A-Za-z0-9+/=]{72}:"), ("dhchap", "sha512", r"DHHC-1:03:[A-Za-z0-9+/=]{92}:"),
    ("tls", "none", r"NVMeTLSkey-1:00:[A-Za-z0-9+/=]{48}:"),
    ("tls", "sha256", r"NVMeTLSkey-1:01:[A-Za-z0-9+/=]{48}:")])
def test_every_kind(kept, kind, digest, match):
    made = [kept.rpc("keyring_make_key", name=f"k{i}", kind=kind, hash=digest) for i in range(2)]
    texts = [open(m["path"]).read() for m in made]
    assert all(re.fullmatch(match, t) for t in texts) and texts[0] != texts[1]
    for m in made:
        kept.rpc("keyring_delete_key", name=m["name"])
        assert not os.path.exists(m["path"])


def test_names_that_are_no_files(kept, tmp_path):
    for name in ("../x", "a/b", ".hidden", ""):
        with pytest.raises(RpcError):
            kept.rpc("keyring_make_key", name=name, kind="tls")
    with pytest.raises(RpcError, match="no 'sha512' for a key of TLS"):
        kept.rpc("keyring_make_key", name="k", kind="tls", hash="sha512")
    with pytest.raises(RpcError, match="no file's path from the root"):
        kept.rpc("keyring_make_key", name="k", kind="tls", path="relative")
    outside = Secret.make(1).file(tmp_path / "outside")
    kept.rpc("keyring_make_key", name="good", kind="tls")      # so that the directory is there
    kept.rpc("keyring_file_add_key", name="k", path=f"{tmp_path}/state/keys/../../outside")
    with pytest.raises(RpcError, match="was not made by this daemon"):
        kept.rpc("keyring_delete_key", name="k")
    assert os.path.exists(outside)


def test_keys_made_and_deleted_at_once(kept):
    """A key that was made while one of its name was deleted would have lost its file: nobody comes in by it."""
    def one(method, **params):
        try:
            return kept.rpc(method, name="k", **params)
        except RpcError:
            return None

    with ThreadPoolExecutor(4) as pool:
        for _ in range(300):
            deleting = [pool.submit(one, "keyring_delete_key") for _ in range(2)]
            making = [pool.submit(one, "keyring_make_key", kind="tls") for _ in range(2)]
            assert all(call.exception(60) is None for call in deleting + making)
            for key in kept.rpc("keyring_get_keys"):
                assert os.path.exists(key["path"])
    one("keyring_delete_key")
    assert one("keyring_make_key", kind="tls") and one("keyring_delete_key") is True
