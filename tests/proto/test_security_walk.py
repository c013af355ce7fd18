# SPDX-License-Identifier: BSD-3-Clause
"""What a stranger does who has README.md and docs/SECURITY.md only: a RAM disk with authentication both ways and TLS,
looked at by gantry-perf, a daemon that dies and comes back, keys that are lost and made anew, and all of it taken away
again. What is to be typed next is read from what was said before."""
import ctypes
import os
import re
import signal
import stat
import struct
import subprocess

import pytest

from dhchap import Secret
from gantry import BUILD, Daemon, RpcError, cpus, free_port
from jsonrpc import gantry

HOST = "nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc"
OTHER = HOST[:-1] + "d"
MODIFIED, DELETED = 2, 0x200       # inotify's
NQN = "nqn.2016-06.io.gantry:disk0"


class Watch:
    """What happens in directories, in its order (inotify)."""

    def __init__(self, *directories):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_CLOEXEC)
        for d in directories:
            assert self.libc.inotify_add_watch(self.fd, os.fsencode(d), MODIFIED | DELETED) >= 0

    def names(self):
        data, at, found = os.read(self.fd, 65536), 0, []
        while at < len(data):
            mask, length = struct.unpack_from("<4xI4xI", data, at)
            found.append((data[at + 16:at + 16 + length].rstrip(b"\0").decode(), mask))
            at += 16 + length
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)


class Walk:
    def __init__(self, daemon, directory):
        self.daemon, self.directory, self.keys = daemon, directory, directory / "state" / "keys"

    def type(self, line, **how):
        assert line.startswith("gantry ")
        return gantry(*line.split()[1:], socket=self.daemon.socket, **how)

    def files(self):
        return sorted(p.name for p in self.keys.iterdir()) if self.keys.exists() else []

    def carry(self, said):
        """The keys that are named, and that `nvme connect` is told of, by a way on which nobody listens."""
        return {match[1]: match[0] for match in re.findall(r"(/\S+\.(host|ctrlr|tls)(?:\.\d+)?) +\(", said)}

    def look(self, said, files=None, *more):
        """gantry-perf instead of the kernel: as the printed line says, with its options for nvme connect's."""
        lines = [x.strip() for x in said.splitlines() if x.strip().startswith("nvme connect")]
        where = dict(re.findall(r"-([asn]) (\S+)", lines[-1]))
        host = re.search(r"--hostnqn=(\S+)", lines[-1])[1]
        files = self.carry(said) if files is None else files
        options = {"tls": "--psk-path", "host": "--dhchap-key", "ctrlr": "--dhchap-ctrlr-key"}
        words = [w for end, path in files.items() for w in (options[end], path)]
        command = [BUILD / "gantry-perf", "-r", f"trtype:TCP adrfam:IPv4 traddr:{where['a']} trsvcid:{where['s']} "
                   f"subnqn:{where['n']} hostnqn:{host}", "-q", "4", "-o", "4k", "-w", "randwrite", "-t", "60",
                   "-d", "50", "--verify", "--quiet", *words, *more]
        for _ in range(20):        # it gives up after 5 s, which a machine that does much else may need
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if "within 5000 ms" not in done.stderr:
                break
        return done

    def good(self, said):
        done = self.look(said)
        assert done.returncode == 0 and "errors: 0, miscompares: 0" in done.stdout, done.stderr

    def bad(self, said, files, why):
        done = self.look(said, files)
        assert done.returncode != 0 and why in done.stderr, done.stderr

    def die(self):
        self.daemon.process.send_signal(signal.SIGKILL)
        self.daemon.process.wait()
        self.daemon.process = None
        self.daemon.start()


@pytest.fixture
def walk(tmp_path):
    (tmp_path / "kept").mkdir()
    with Daemon(tmp_path / "kept", "-m", cpus(2), "--state-dir", str(tmp_path / "state")) as daemon:
        walk = Walk(daemon, tmp_path)
        walk.type("gantry disk create ram 64M --name disk0")
        yield walk


def test_from_nothing_and_back(walk):
    port = free_port()
    said = walk.type(f"gantry export disk disk0 --listen 127.0.0.1:{port} --host {HOST} --auth --tls")
    files = walk.carry(said)
    assert set(files) == {"host", "ctrlr", "tls"}
    assert all(stat.S_IMODE(os.stat(path).st_mode) == 0o600 for path in files.values())
    walk.good(said)
    walk.bad(said, {}, "it may want TLS, and there is no key for that here")
    walk.bad(said, {"tls": files["tls"]}, "it wants authentication, and there is no key for it here")
    walk.bad(said, {end: files[end] for end in ("host", "ctrlr")}, "it may want TLS")
    wrong = Secret.make(1).file(walk.directory / "wrong")
    walk.bad(said, {**files, "host": wrong}, "authentication failed")
    walk.bad(said, {**files, "ctrlr": wrong}, "authentication as")
    os.chmod(files["tls"], 0o644)
    walk.bad(said, files, "chmod 0600 or 0400")
    assert "is open to others" in " ".join(walk.type("gantry doctor", status=None).split())
    os.chmod(files["tls"], 0o600)

    walk.die()
    walk.good(said)
    again = walk.type("gantry export show disk0")       # the lines, for who did not keep them
    assert walk.carry(again) == files and all(x in said for x in again.splitlines() if "nvme c" in x)
    assert f"nvme connect -t tcp -a 127.0.0.1 -s {port} -n {NQN}\n" not in again

    second = walk.type(f"gantry host add {OTHER} disk0 --auth --tls --only")
    walk.good(second)
    walk.good(said)
    walk.type(f"gantry host remove {OTHER} disk0")
    assert walk.files() == sorted(os.path.basename(path) for path in files.values())
    done = walk.look(second, files)
    assert done.returncode != 0
    walk.type("gantry export remove disk0")
    assert walk.files() == [] and walk.daemon.rpc("keyring_get_keys") == []     # no secrets are left behind
    walk.type("gantry disk delete disk0")
    walk.die()
    assert walk.daemon.rpc("keyring_get_keys") == [] and walk.daemon.rpc("config_get_missing") == []


def test_tls_for_an_export_that_is_there(walk):
    """The host would get a key, and no listener to use it at."""
    port = free_port()
    walk.type(f"gantry export disk disk0 --listen 127.0.0.1:{port}")
    assert "--tls --only" in walk.type(f"gantry export disk disk0 --host {HOST} --tls", status=1)
    assert walk.files() == []
    walk.type(f"gantry host add {OTHER} disk0 --only")
    walk.good(walk.type(f"gantry export disk disk0 --host {HOST} --tls"))


def test_keys_of_an_export_that_failed(walk):
    """Its second try would find the host there, without the keys that were printed nowhere."""
    port = free_port()
    walk.type(f"gantry export disk disk0 --listen 127.0.0.1:{port} --host {OTHER}")
    walk.type(f"gantry export disk disk0 --host {HOST} --auth --listen 203.0.113.1:{port}", status=1)
    assert walk.files() == []
    walk.good(walk.type(f"gantry export disk disk0 --host {HOST} --auth"))


def test_a_key_that_was_made_and_not_kept(walk):
    """kill -9 between the key's file and the configuration: nobody could make keys for that host any more."""
    port = free_port()
    said = walk.type(f"gantry export disk disk0 --listen 127.0.0.1:{port} --host {HOST} --auth --tls")
    left = {path: open(path, "rb").read() for path in walk.carry(said).values()}
    walk.type("gantry export remove disk0")
    for path, text in left.items():
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
            f.write(text)
    said = walk.type(f"gantry export disk disk0 --listen 127.0.0.1:{port} --host {HOST} --auth --tls")
    assert not set(walk.carry(said).values()) & set(left)
    walk.good(said)
    for path, text in left.items():
        assert open(path, "rb").read() == text


def test_a_key_file_that_is_lost(walk):
    """The host would come in without its key; or the daemon would not start."""
    port = free_port()
    said = walk.type(f"gantry export disk disk0 --listen 127.0.0.1:{port} --host {HOST} --auth --tls")
    files = walk.carry(said)
    os.rename(files["host"], str(walk.directory / "lost"))
    walk.die()
    done = walk.look(said, {**files, "host": str(walk.directory / "lost")})
    assert done.returncode != 0
    assert any(x["method"] == "keyring_file_add_key" and "No such file" in x["why"]
               for x in walk.daemon.rpc("config_get_missing"))
    said_now = " ".join(walk.type("gantry doctor", status=None).split())
    assert "keyring_file_add_key is not in force" in said_now and "nvmf_subsystem_add_host is not in force" in said_now
    os.rename(str(walk.directory / "lost"), files["host"])
    walk.die()
    walk.good(said)


def test_doctor_takes_away_what_nobody_uses(walk):
    walk.daemon.rpc("keyring_make_key", name="alone", kind="tls")
    said = walk.type("gantry doctor", status=None)
    fix = next(x for x in said.splitlines() if "name=alone" in x)
    assert "keyring_delete_key" in fix
    walk.type("gantry rpc keyring_delete_key name=alone")
    assert walk.files() == []
    with pytest.raises(RpcError, match="no key 'alone'"):
        walk.daemon.rpc("keyring_delete_key", name="alone")


def test_the_name_of_a_key_goes_before_its_file(walk):
    """kill -9 between the two: the daemon would miss a file for ever, and say so; or a secret would lie about."""
    path = walk.daemon.rpc("keyring_make_key", name="alone", kind="tls")["path"]
    walk.daemon.rpc("keyring_file_add_key", name="other", path=path)
    with pytest.raises(RpcError, match="that of 'other', too"):
        walk.daemon.rpc("keyring_delete_key", name="alone")                 # a secret that is in use would be lost
    walk.daemon.rpc("keyring_file_remove_key", name="other")
    with Watch(walk.directory / "state", walk.keys) as watch:
        walk.daemon.rpc("keyring_delete_key", name="alone")
        names = watch.names()
        assert names.index(("state", MODIFIED)) < names.index(("alone", DELETED))
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:    # the call was cut off in between
        f.write("NVMeTLSkey-1:...")
    walk.die()
    assert walk.daemon.rpc("config_get_missing") == [] and walk.files() == ["alone"]
    walk.daemon.rpc("keyring_file_add_key", name="other", path=path)
    with pytest.raises(RpcError, match="no key"):
        walk.daemon.rpc("keyring_delete_key", name="alone")                 # it is the other's file
    walk.daemon.rpc("keyring_file_remove_key", name="other")
    walk.daemon.rpc("keyring_delete_key", name="alone")
    assert walk.files() == []
    for name in ("alone", "../state", ".x"):
        with pytest.raises(RpcError, match="no key"):
            walk.daemon.rpc("keyring_delete_key", name=name)


def test_both_concatenated(walk):
    """The host would not be told where; one with a key of TLS would be sent there, where it is of no use."""
    plain, concat = free_port(), free_port()
    walk.type(f"gantry export disk disk0 --listen 127.0.0.1:{plain} --host {HOST} --auth")
    walk.type(f"gantry rpc nvmf_subsystem_add_listener nqn={NQN} secure_channel concatenation "
              f"listen_address.trtype=TCP listen_address.traddr=127.0.0.1 listen_address.trsvcid={concat}")
    said = walk.type("gantry export show disk0")
    lines = [x for x in said.splitlines() if "nvme connect" in x]
    assert [("--concat" in x, f"-s {concat} " in x) for x in lines] == [(False, False), (True, True)]
    walk.good(said)
    assert " tls " not in walk.type("gantry doctor", status=None)
    second = walk.type(f"gantry host add {OTHER} disk0 --tls")
    assert f"-s {concat} " not in second
    walk.good(second)


def test_concatenation_in_one_line(walk):
    """The listener would be missing; or the host be told of ports where its data go in the clear."""
    plain = free_port()
    walk.type(f"gantry export disk disk0 --listen 127.0.0.1:{plain}")
    assert "--only" in walk.type(f"gantry host add {HOST} disk0 --concat", status=1)
    assert walk.files() == []
    said = walk.type(f"gantry host add {HOST} disk0 --concat --only")
    lines = [x.strip() for x in said.splitlines() if "nvme connect" in x]
    assert len(lines) == 1 and lines[0].endswith(" --concat") and f"-s {plain} " not in lines[0]
    assert "--dhchap-secret=" in lines[0] and "--dhchap-ctrl-secret=" in lines[0] and "systemctl start tlshd" in said
    assert set(walk.carry(said)) == {"host", "ctrlr"}
    walk.good(said)
    second = walk.type(f"gantry host add {OTHER} disk0 --concat")      # by the listener that is there
    assert [x for x in second.splitlines() if "nvme connect" in x][0].split(" -s ")[1].split()[0] in lines[0]
    for wrong in ("--concat --tls", "--concat --hash none --listen"):
        walk.type(f"gantry host add {OTHER} disk0 {wrong}", status=2)
    walk.type("gantry export remove disk0")
    there = free_port()
    walk.good(walk.type(f"gantry export disk disk0 --listen 127.0.0.1:{there} --host {HOST} --concat"))
    listeners = walk.daemon.rpc("nvmf_subsystem_get_listeners", nqn=NQN)
    assert [(x["secure_channel"], x.get("concatenation")) for x in listeners] == [(True, True)]
    walk.type(f"gantry export disk disk0 --rdma --host {OTHER} --concat", status=2)
