# SPDX-License-Identifier: BSD-3-Clause
"""Configured keys are nowhere but in their files: in no core dump, log, answer, saved configuration, trace or flight
recorder; after all that is done with them was done."""
import base64
import json
import os
import re
import resource
import signal
import uuid

import pytest

from dhchap import Secret
from gantry import Daemon, RpcError, cpus, free_port, wait_until
from nvme_tcp import Host
from remote import address
from tls import Psk, aes_round_keys, record_keys

US = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=7)}"
NQN = "nqn.2016-06.io.gantry:secret"


SHADOW_BYTES = 1 << 36                         # a sanitizer's, of terabytes, which it keeps from dumps


def dump(pid, kept=False):
    """What a core dump has of the process: all that can be read but for what is excluded from dumps (dd); or that."""
    mapping, where = None, []
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+\s*(.*)", line):
                mapping = (int(match[1], 16), int(match[2], 16), match[3])
            elif re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                mapping = None
            elif line.startswith("VmFlags:") and mapping and kept == ("dd" in line.split()) and \
                    "io" not in line.split():
                where.append(mapping)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end, name in where:
            if name in ("[vvar]", "[vsyscall]") or end - begin >= SHADOW_BYTES:
                continue
            for at in range(begin, end, 1 << 24):
                try:
                    memory.seek(at)
                    yield name, at, memory.read(min(1 << 24, end - at))
                except OSError:
                    pass


def core_of(daemon):
    """The core dump of the process, which ends it: pieces that have bytes. None: this machine has them elsewhere."""
    pattern = open("/proc/sys/kernel/core_pattern").read().strip()
    if "/" in pattern or pattern.startswith("|") or resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        return None
    pid, process = daemon.pid, daemon.process
    resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
    os.kill(pid, signal.SIGABRT)
    assert process.wait(60) == -signal.SIGABRT
    daemon.kill()
    return next((path for path in daemon.directory.iterdir() if path.name.startswith(pattern.split("%")[0])), None)


def pieces(path):
    """The memory in a core, which has holes; without the threads' registers, which lie in front of it: the ones that
    memcpy() uses have what they had last, a key too, until something as long is copied."""
    with open(path, "rb", buffering=0) as f:
        header = f.read(64)
        f.seek(int.from_bytes(header[32:40], "little"))
        rows = [f.read(56) for _ in range(int.from_bytes(header[56:58], "little"))]
        at = min(int.from_bytes(row[8:16], "little") for row in rows if row[:4] == b"\1\0\0\0")
        end = os.fstat(f.fileno()).st_size
        while at < end:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            hole = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            while at < hole:
                f.seek(at)
                data = f.read(min(1 << 24, hole - at))
                yield at, data
                at += len(data)


class Everything:
    """A daemon that is host and target of itself, by keys of every kind."""

    def __init__(self, directory, daemon):
        self.daemon, self.directory, self.port = daemon, directory, free_port()
        self.secrets = {"chap": Secret.make(1), "ctrlr": Secret.make(2), "next": Secret.make(1)}
        self.psk = Psk.make(1)
        for name, secret in self.secrets.items():
            self.key(name, secret)
        self.key("psk", self.psk)
        daemon.malloc("disk0")
        daemon.transport()
        daemon.rpc("nvmf_create_subsystem", nqn=NQN, allow_any_host=False)
        daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk0"})
        daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=US, psk="psk", dhchap_key="chap", dhchap_ctrlr_key="ctrlr")
        where = {k: v for k, v in address(self.port, NQN).items() if k != "subnqn"}
        daemon.rpc("nvmf_subsystem_add_listener", nqn=NQN, listen_address=where, secure_channel=True)

    def key(self, name, secret):
        self.daemon.rpc("keyring_file_add_key", name=name, path=secret.file(self.directory / name))

    def attach(self, **keys):
        return self.daemon.rpc("bdev_nvme_attach_controller", name="Nvme0", hostnqn=US, **address(self.port, NQN),
                               fabrics_connect_timeout_us=60_000_000,
                               **{"psk": "psk", "dhchap_key": "chap", "dhchap_ctrlr_key": "ctrlr", **keys})

    def live(self):
        """Everything that keys are used for, right and wrong."""
        d = self.daemon
        with pytest.raises(RpcError):
            self.attach(dhchap_key="next")
        assert self.attach() == ["Nvme0n1"]
        gateway = d.serve("Nvme0n1", nqn="nqn.2016-06.io.gantry:gateway")
        with Host(gateway.port, gateway.nqn) as host:
            assert host.io.read(0, 8) == bytes(4096)
            d.rpc("nvmf_subsystem_set_keys", nqn=NQN, host=US, dhchap_key="next")
            d.rpc("bdev_nvme_set_keys", name="Nvme0", dhchap_key="next", dhchap_ctrlr_key="ctrlr")
            assert host.io.read(0, 8) == bytes(4096)
        made = [d.rpc("keyring_make_key", name=f"made-{kind}", kind=kind) for kind in ("dhchap", "tls")]
        return [open(m["path"]).read().strip() for m in made]

    def patterns(self, made):
        texts = [str(s) for s in self.secrets.values()] + [str(self.psk)] + made
        raw = [base64.b64decode(t.split(":")[2])[:-4] for t in texts]
        offers = [self.psk.offer(US, NQN, version).key for version in (0, 1)]
        return [t.split(":")[2][:40].encode() for t in texts] + raw + offers


@pytest.fixture
def everything(tmp_path):
    (tmp_path / "daemon").mkdir()
    with Daemon(tmp_path / "daemon", "-m", cpus(2), "--state-dir", str(tmp_path / "state")) as daemon:
        daemon.rpc("log_set_print_level", level="DEBUG")
        yield Everything(tmp_path, daemon)


def test_no_dump_has_a_key(everything):
    """Who gets a core dump would have the keys of all hosts."""
    patterns = everything.patterns(everything.live())
    wait_until(lambda: len(everything.daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN)) >= 2, "queues that stay")
    found = [(name, hex(at + data.find(p)), patterns.index(p)) for name, at, data in dump(everything.daemon.pid)
             for p in patterns if p in data]
    assert not found
    marker = b"nqn.2016-06.io.gantry:secret"        # and the search is one that finds
    assert any(marker in data for _, _, data in dump(everything.daemon.pid))


def test_round_keys_are_those_of_the_standard():
    """The test below would look for what is nowhere anyway (FIPS 197, A.1 and A.3)."""
    short = aes_round_keys(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
    long = aes_round_keys(bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"))
    assert (len(short), short[10].hex()) == (11, "d014f9a8c9ee2589e13f0cc8b6630ca6")
    assert (len(long), long[14].hex()) == (15, "fe4890d1e6188d0b046df344706c631e")


@pytest.mark.parametrize("hash_id", [1, 2])
def test_no_core_has_the_keys_of_a_connection(tmp_path, hash_id):
    """Who gets a core dump, and has recorded what went over the wire, could read it all."""
    psk, port = Psk.make(hash_id), free_port()
    offer = psk.offer(US, NQN, 1)
    with Daemon(tmp_path) as daemon:
        daemon.rpc("keyring_file_add_key", name="psk", path=psk.file(tmp_path / "psk"))
        daemon.malloc("disk0", mib=8)
        daemon.transport()
        daemon.rpc("nvmf_create_subsystem", nqn=NQN, allow_any_host=False)
        daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk0"})
        daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=US, psk="psk")
        daemon.rpc("nvmf_subsystem_add_listener", nqn=NQN, listen_address=daemon.address(port), secure_channel=True)
        with Host(port, NQN, hostnqn=US, secure=offer.client) as host:
            assert host.io.write(0, b"x" * 4096).status == 0
            assert host.io.read(0, 8) == b"x" * 4096
            keys = {"the file": psk.secret, "the key of TLS": offer.key}
            for conn in (host.admin, host.io):
                for name, secret in conn.sock.secrets.items():
                    keys[name] = secret
                    rounds, iv = record_keys(secret)
                    for n, key in enumerate(rounds):
                        keys[f"{name}, round key {n}"] = key
                    keys[f"{name}, IV"] = iv
            assert sum("TRAFFIC_SECRET_0, round" in name for name in keys) == 2 * (11 if hash_id == 1 else 15)
            # What a connection has of each direction lies somewhere, or the search is not one that finds.
            lives = {name for name, key in keys.items() if "TRAFFIC_SECRET_0, round" in name
                     for _, _, data in dump(daemon.pid, kept=True) if key in data}
            assert len(lives) == sum("TRAFFIC_SECRET_0, round" in name for name in keys)
            found = {(name, where) for where, _, data in dump(daemon.pid) for name, key in keys.items() if key in data}
            assert not found
            core = core_of(daemon)
        if core:
            found = {(name, hex(at)) for at, data in pieces(core) for name, key in keys.items() if key in data}
            assert not found
            assert any(NQN.encode() in data for _, data in pieces(core))
            core.unlink()


READS = ("keyring_get_keys", "save_config", "framework_get_config", "nvmf_get_subsystems", "bdev_nvme_get_controllers",
         "config_get_state", "bdev_get_bdevs", "trace_get_info", "notify_get_notifications", "nvmf_get_stats")


def test_no_word_of_ours_has_a_key(everything, tmp_path):
    """Logs are sent to others, and answers shown; the state of the daemon is backed up."""
    d = everything.daemon
    made = everything.live()
    texts = [p for p in everything.patterns(made)]
    methods = {m["name"] for m in d.rpc("rpc_describe")["methods"]}
    said = [d.log().encode()]
    for method in READS:
        if method in methods:
            params = {"name": "keyring"} if method == "framework_get_config" else {}
            said.append(json.dumps(d.rpc(method, **params)).encode())
    for method in sorted(m for m in methods if "flight" in m and "get" in m or m == "nvmf_get_slow_ios"):
        try:
            said.append(json.dumps(d.rpc(method)).encode())
        except RpcError:
            pass
    said += [path.read_bytes() for path in (tmp_path / "state").iterdir() if path.is_file()]
    said += [path.read_bytes() for path in (tmp_path / "daemon").iterdir() if path.is_file()]
    for text in texts:
        assert not [i for i, s in enumerate(said) if text in s or text.hex().encode() in s]
    assert any(b"made-tls" in s for s in said)
