# SPDX-License-Identifier: BSD-3-Clause
"""Configured keys are nowhere but in their files: in no core dump, log, answer, saved configuration, trace or flight
recorder; after all that is done with them was done."""
import base64
import json
import re
import uuid

import pytest

from dhchap import Secret
from gantry import Daemon, RpcError, cpus, free_port, wait_until
from nvme_tcp import Host
from remote import address
from tls import Psk

US = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=7)}"
NQN = "nqn.2016-06.io.gantry:secret"


def dump(pid):
    """What a core dump has of the process: all that can be read but for what is excluded from dumps (dd)."""
    mapping, where = None, []
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+\s*(.*)", line):
                mapping = (int(match[1], 16), int(match[2], 16), match[3])
            elif re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                mapping = None
            elif line.startswith("VmFlags:") and mapping and "dd" not in line.split() and "io" not in line.split():
                where.append(mapping)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end, name in where:
            if name in ("[vvar]", "[vsyscall]"):
                continue
            for at in range(begin, end, 1 << 24):
                try:
                    memory.seek(at)
                    yield name, at, memory.read(min(1 << 24, end - at))
                except OSError:
                    pass


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
