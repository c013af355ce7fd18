# SPDX-License-Identifier: BSD-3-Clause
"""A gantryd of one's own for a test: start it, talk to it, kill it, start it again.

    with Daemon(tmp_path) as daemon:
        disk = daemon.serve(daemon.malloc("disk0", mib=64))
        ... connect to disk.port, disk.nqn ...
        daemon.kill(); daemon.start(); daemon.replay()

GANTRY_BUILD names the build directory (default: build). GANTRYD names another daemon that takes the same options
and RPCs, for a second opinion on a test: SPDK's nvmf_tgt, say, with GANTRYD_ARGS="--no-huge -s 1024 -u".
"""
import itertools
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("GANTRY_BUILD", "build")
NQN = "nqn.2016-06.io.gantry:test"
IQN = "iqn.2016-06.io.gantry:test"
START_TIMEOUT_S = 60       # limits of what has to come: far beyond what a machine that does much else needs
STOP_TIMEOUT_S = 60
PATIENCE_S = 60
SANITIZER_SIGNS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:",
                   "Assertion `", "assertion failed")


class RpcError(Exception):
    """The daemon's answer was an error."""

    def __init__(self, method, error):
        super().__init__(f"{method}: {error.get('message')} (code {error.get('code')})")
        self.code = error.get("code")
        self.message = error.get("message")


class Told:
    """A daemon, wherever it runs, that is told by rpc() what to be; `told` keeps that."""

    def tell(self, method, **params):
        """An RPC that is part of what the daemon is: done again by replay()."""
        result = self.rpc(method, **params)
        self.told.append((method, params))
        return result

    def replay(self):
        for method, params in self.told:
            self.rpc(method, **params)

    def malloc(self, name, mib=64, block_size=512, **more):
        return self.tell("bdev_malloc_create", name=name, num_blocks=mib * 1024 * 1024 // block_size,
                         block_size=block_size, **more)


class DaemonDied(AssertionError):
    """The daemon ended when it should not have, or not as it should have."""


@dataclass(frozen=True)
class Served:
    """A subsystem that listens: what a host has to know."""
    nqn: str
    ports: tuple

    @property
    def port(self):
        return self.ports[0]


@dataclass(frozen=True)
class Exported:
    """An iSCSI target node: what an initiator has to know."""
    name: str
    ports: tuple

    @property
    def port(self):
        return self.ports[0]

    def url(self, lun=0, portal=0):
        """As libiscsi and its tools take it."""
        return f"iscsi://127.0.0.1:{self.ports[portal]}/{self.name}/{lun}"


def gantryd_path():
    return Path(os.environ.get("GANTRYD", BUILD / "gantryd"))


def cpus(count):
    """For option -m: the first CPUs this process may use, as many as there are up to `count`."""
    return "[" + ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:count]) + "]"


# Below those that the kernel gives to clients: they stay free across a restart. A worker of pytest-xdist has its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
PORTS = itertools.cycle(random.sample(range(20000 + WORKER * 1500, 21500 + WORKER * 1500), 1500))
PORTS_LOCK = threading.Lock()


def free_port():
    """A TCP port nobody listens on. No other thread of the tests is given it: between a look and listen() is time."""
    for _ in range(200):
        with PORTS_LOCK:
            port = next(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free TCP port")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def wait_until(condition, what, timeout_s=PATIENCE_S, interval_s=0.02):
    """Ask `condition` until it is true; its value. For counters and states of others, never for time to pass."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        time.sleep(interval_s)


class Rpc:
    """JSON-RPC 2.0 over a UNIX socket, one connection a call."""

    def __init__(self, path):
        self.path = str(path)
        self.ids = itertools.count(1)

    def __call__(self, method, /, timeout_s=2 * PATIENCE_S, **params):
        request = {"jsonrpc": "2.0", "id": next(self.ids), "method": method}
        if params:
            request["params"] = params
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(timeout_s)
            s.connect(self.path)
            s.sendall(json.dumps(request).encode())
            answer = self.receive(s, method)
        if "error" in answer:
            raise RpcError(method, answer["error"])
        return answer["result"]

    @staticmethod
    def receive(s, method):
        text = b""
        while True:
            more = s.recv(65536)
            if not more:
                raise ConnectionError(f"{method}: the connection ended within the answer: {text[:200]!r}")
            text += more
            try:
                return json.loads(text)
            except ValueError:
                pass


class Daemon(Told):
    """One gantryd process at a time, with its socket and log in `directory`. Remembers what it was told to be, so that
    replay() makes it so again after a restart."""

    def __init__(self, directory, *args):
        self.directory = Path(directory)
        self.socket = self.directory / "rpc.sock"
        self.log_path = self.directory / "gantryd.log"
        self.args = [str(a) for a in args] + shlex.split(os.environ.get("GANTRYD_ARGS", ""))
        self.rpc = Rpc(self.socket)
        self.process = None
        self.told = []

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, traceback):
        if kind:
            self.kill()      # the test's own failure is what to report
        else:
            self.stop()

    # --- life ---

    def start(self):
        assert self.process is None, "started already"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([gantryd_path(), "-r", self.socket, *self.args], cwd=self.directory,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(self.answers, "gantryd to answer its first RPC", START_TIMEOUT_S, 0.01)
        except BaseException:
            self.kill()
            raise
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise DaemonDied(f"gantryd ended at once, status {self.process.returncode}:\n{self.log_tail()}")
        try:
            return self.rpc("framework_wait_init") or True
        except OSError:
            return False

    def kill(self):
        """The way a crash or the OOM killer ends it."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
        self.process = None
        self.socket.unlink(missing_ok=True)

    def stop(self):
        """End it politely; it must be alive, obey, and have nothing bad in its log."""
        if self.process is None:
            return
        self.check_alive()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonDied(f"gantryd did not end within {STOP_TIMEOUT_S} s of SIGTERM:\n{self.log_tail()}") from None
        self.process = None
        if status != 0:
            raise DaemonDied(f"gantryd ended with status {status} on SIGTERM:\n{self.log_tail()}")
        self.check_log()

    def check_alive(self):
        assert self.process, "not started"
        if self.process.poll() is not None:
            status = self.process.returncode
            self.process = None
            raise DaemonDied(f"gantryd died during the test, status {status}:\n{self.log_tail()}")

    def check_log(self):
        text = self.log()
        for sign in SANITIZER_SIGNS:
            if sign in text:
                raise DaemonDied(f"gantryd's log has \"{sign}\":\n{text[max(0, text.find(sign) - 500):][:6000]}")

    # --- looking at it ---

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])

    def rss_kib(self, kind="VmRSS"):
        """RssAnon: without what it shares with others, a guest's memory for one."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1])
        raise DaemonDied("gantryd is gone")

    @property
    def is_sanitized(self):
        """Built with a sanitizer: what it uses of memory says nothing, freed memory is kept for a while."""
        maps = Path(f"/proc/{self.pid}/maps").read_text()
        return any(name in maps for name in ("libasan", "libtsan", "libclang_rt"))

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # --- telling it what to be ---

    def null(self, name, mib=1024, block_size=512, **more):
        return self.tell("bdev_null_create", name=name, num_blocks=mib * 1024 * 1024 // block_size,
                         block_size=block_size, **more)

    def transport(self, **options):
        self.tell("nvmf_create_transport", trtype="TCP", **options)

    def serve(self, *bdevs, nqn=NQN, ports=1, transport=None, discovery=True, **subsystem):
        """A subsystem with these devices as namespaces 1.., any host allowed, that listens on `ports` ports of
        loopback. Makes the transport, with these options, unless there is one."""
        if not any(method == "nvmf_create_transport" for method, _ in self.told):
            self.transport(**(transport or {}))
        subsystem.setdefault("serial_number", "GANTRY0000000001")
        self.tell("nvmf_create_subsystem", nqn=nqn, allow_any_host=True, **subsystem)
        for bdev in bdevs:
            self.tell("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": bdev})
        served = Served(nqn, tuple(free_port() for _ in range(ports)))
        for port in served.ports:
            self.listen(nqn, port)
            if discovery:
                self.listen("nqn.2014-08.org.nvmexpress.discovery", port)
        return served

    def listen(self, nqn, port):
        self.tell("nvmf_subsystem_add_listener", nqn=nqn, listen_address=self.address(port))

    @staticmethod
    def address(port, host="127.0.0.1"):
        return {"trtype": "TCP", "adrfam": "IPv4", "traddr": host, "trsvcid": str(port)}

    def export(self, *bdevs, name=IQN, portals=1, **node):
        """An iSCSI target node with these devices as LUNs 0.., any initiator allowed, over `portals` portal groups of
        one portal each, on loopback."""
        have = sum(method == "iscsi_create_portal_group" for method, _ in self.told)
        if not have:
            self.tell("iscsi_create_initiator_group", tag=1, initiators=["ANY"], netmasks=["ANY"])
        exported = Exported(name, tuple(free_port() for _ in range(portals)))
        tags = range(have + 1, have + portals + 1)
        for tag, port in zip(tags, exported.ports):
            self.tell("iscsi_create_portal_group", tag=tag, portals=[{"host": "127.0.0.1", "port": str(port)}])
        self.tell("iscsi_create_target_node", **{
            "name": name, "alias_name": "test", "queue_depth": 64, "disable_chap": True,
            "pg_ig_maps": [{"pg_tag": tag, "ig_tag": 1} for tag in tags],
            "luns": [{"bdev_name": bdev, "lun_id": lun} for lun, bdev in enumerate(bdevs)], **node})
        return exported
