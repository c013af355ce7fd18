# SPDX-License-Identifier: BSD-3-Clause
"""Targets to measure and initiators to load them with. All targets are driven by the same JSON-RPC calls."""
import base64
import contextlib
import json
import os
import re
import resource
import shlex
import signal
import socket
import struct
import subprocess
import tempfile
import time
import zlib
from pathlib import Path

NQN = "nqn.2026-01.io.gantry:bench"
HOST_NQN = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-0000000000be"
IQN = "iqn.2026-01.io.gantry:bench"
START_DEADLINE_S = 20
FILL_S = 2     # seconds; several times what 256 MiB take
FILE_MIB = 512
CPUCLOCK_SCHED = 2  # Linux: a process's clock is its number's complement, shifted, and this


def cpus_of_this_machine():
    return sorted(os.sched_getaffinity(0))


def initiator_cpus(case):
    """For each initiator its own (over vhost-user one for each queue, otherwise one), of those the target leaves."""
    cpus = cpus_of_this_machine()
    own = cpus[case.target_cores:] or cpus
    return [own[i % len(own):][:case.qpairs if case.protocol == "vhost" else 1] for i in range(case.initiators)]


def cpus_between(case):
    """The target's CPUs with the initiators', two by two: those whose distance a result depends on."""
    if case.protocol == "rdma":               # the host is within the target
        return []
    theirs = sorted({cpu for cpus in initiator_cpus(case) for cpu in cpus})
    return [(ours, other) for ours in cpus_of_this_machine()[:case.target_cores] for other in theirs if other != ours]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Rpc:
    def __init__(self, path):
        self.path = str(path)

    def call(self, method, **params):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.path)
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
            data = b""
            while True:
                data += s.recv(65536)
                try:
                    answer = json.loads(data)
                    break
                except json.JSONDecodeError:
                    continue
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]


class Target:
    """A target process with one RAM (or null) disk on one core; starts on entering, ends on leaving."""

    calls = ()  # methods and parameters, once the disk is there
    fake_verbs = None  # where the fake rdma-core lies, ...
    seconds = 1  # ... and how long the host within it loads its target

    def __init__(self, path, arguments, case):
        self.path, self.arguments, self.case = Path(path), shlex.split(arguments), case
        self.process = self.files = None
        self.filled = False

    def __enter__(self):
        self.filled = False
        self.directory = tempfile.TemporaryDirectory(prefix="gantry-bench-")
        self.socket = Path(self.directory.name) / "rpc.sock"
        self.log = open(Path(self.directory.name) / "log", "wb+")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
                                        env=self.environment())
        self.rpc = Rpc(self.socket)
        try:
            self.wait_until_it_answers()
            self.configure()
        except BaseException:
            self.log.seek(0)
            print(self.log.read().decode(errors="replace")[-2000:])
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.go_on()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        if self.files:
            self.files.cleanup()
        self.directory.cleanup()

    def stand_still(self):
        """While the other one is measured: one that polls would take half of the CPU."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def wait_until_it_answers(self):
        end = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                self.rpc.call("framework_wait_init")
                return
            except (OSError, RuntimeError):
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def configure(self):
        call = self.rpc.call
        if ":" in self.case.disk:
            backend, where = self.case.disk.split(":")
            call(f"bdev_{backend}_create", name="disk", filename=self.make_file(where), block_size=4096)
        elif self.case.disk == "null":
            call("bdev_null_create", name="disk", num_blocks=262144, block_size=4096)
        else:
            shape = {"md_size": 8, "md_interleave": True, "dif_type": 1} if self.case.metadata else {}
            call("bdev_malloc_create", name="disk", num_blocks=65536, block_size=4096, **shape)
        for method, params in self.calls:
            call(method, **params)
        {"iscsi": self.export_iscsi, "vhost": self.export_vhost, "nvme": self.export_nvme,
         "rdma": self.export_nvme}[self.case.protocol](call)

    def export_vhost(self, call):
        call("vhost_create_blk_controller", ctrlr="vhost.0", dev_name="disk", packed_ring=self.case.packed)

    def export_iscsi(self, call):
        self.port = free_port()
        call("iscsi_create_portal_group", tag=1, portals=[{"host": "127.0.0.1", "port": str(self.port)}])
        call("iscsi_create_initiator_group", tag=1, initiators=["ANY"], netmasks=["ANY"])
        call("iscsi_create_target_node", name=IQN, alias_name="bench", pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}],
             luns=[{"bdev_name": "disk", "lun_id": 0}], queue_depth=128, disable_chap=True)

    def export_nvme(self, call):
        trtype = "RDMA" if self.case.protocol == "rdma" else "TCP"
        call("nvmf_create_transport", trtype=trtype)
        call("nvmf_create_subsystem", nqn=NQN, allow_any_host=not self.case.tls, serial_number="BENCH")
        call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk"})
        self.port = free_port()
        if self.case.tls:
            call("keyring_file_add_key", name="psk", path=self.make_psk())
            call("nvmf_subsystem_add_host", nqn=NQN, host=HOST_NQN, psk="psk")
        call("nvmf_subsystem_add_listener", nqn=NQN, secure_channel=self.case.tls, listen_address={
            "trtype": trtype, "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(self.port)})

    def psk_path(self):
        return str(Path(self.directory.name) / "psk")

    def make_psk(self):
        """For SHA-256 and AES-128-GCM; without an end of line, which SPDK does not read over."""
        secret = os.urandom(32)
        text = base64.b64encode(secret + struct.pack("<I", zlib.crc32(secret))).decode()
        with open(os.open(self.psk_path(), os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(f"NVMeTLSkey-1:01:{text}:")
        return self.psk_path()

    def environment(self):
        """Over RDMA there is no adapter: the one of bench/fake_verbs, and the host within it."""
        if self.case.protocol != "rdma":
            return None
        settings = {"HOST": NQN, "REPORT": self.fake_report(), "SECONDS": self.seconds, "QD": self.case.depth,
                    "QPAIRS": self.case.qpairs, "BYTES": self.case.io_bytes, "FILL": int(self.case.disk == "malloc"),
                    "WORKLOAD": self.case.pattern.removeprefix("rand"), "ICD": int(self.case.in_capsule),
                    "COPY": int(self.case.copies)}
        return {**os.environ, "LD_LIBRARY_PATH": str(self.fake_verbs),
                **{f"FAKE_VERBS_{name}": str(value) for name, value in settings.items()}}

    def fake_report(self):
        return Path(self.directory.name) / "fake.json"

    def make_file(self, where):
        """A file that has all its blocks: reading holes would be no measure."""
        above = "/dev/shm" if where == "shm" else "."
        self.files = tempfile.TemporaryDirectory(prefix="gantry-bench-", dir=above)
        path = Path(self.files.name).resolve() / "disk"
        piece = os.urandom(1 << 20)
        with open(path, "wb") as f:
            for _ in range(FILE_MIB):
                f.write(piece)
            os.fsync(f.fileno())
        return str(path)

    def path_arguments(self):
        if self.case.protocol == "iscsi":
            return ["--iscsi", f"iscsi://127.0.0.1:{self.port}/{IQN}/0"]
        if self.case.protocol == "vhost":
            return ["--vhost", str(self.vhost_socket()), *(["--packed"] if self.case.packed else [])]
        return ["-r", self.path_text()]

    def vhost_socket(self):
        return Path(self.directory.name) / "vhost.0"

    def path_text(self):
        host = f" hostnqn:{HOST_NQN}" if self.case.tls else ""
        return f"trtype:TCP adrfam:IPv4 traddr:127.0.0.1 trsvcid:{self.port} subnqn:{NQN}{host}"

    def cpu_seconds(self):
        """Used, those of threads that have ended included."""
        return time.clock_gettime(~self.process.pid << 3 | CPUCLOCK_SCHED)

    def waited_ns(self):
        """For a CPU, because somebody else had it: of every thread."""
        waited = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):         # it has just ended
                waited[task.name] = int((task / "schedstat").read_text().split()[1])
        return waited


class GantryTarget(Target):
    def command(self):
        cores = ",".join(map(str, cpus_of_this_machine()[:self.case.target_cores]))
        return [str(self.path / "gantryd"), "-m", f"[{cores}]", "-r", str(self.socket), "--mode", self.case.mode,
                "-S", self.directory.name, *self.arguments]


class SpdkTarget(Target):
    def command(self):
        core = cpus_of_this_machine()[0]
        mode = ["--interrupt-mode"] if self.case.mode == "interrupt" else []
        program = {"iscsi": "iscsi_tgt", "vhost": "vhost"}.get(self.case.protocol, "nvmf_tgt")
        sockets = ["-S", self.directory.name] if self.case.protocol == "vhost" else []
        return [str(self.path / "build/bin" / program), "-m", f"[{core}]", "-r", str(self.socket), *mode, *sockets,
                *self.arguments]


class OtherTarget(Target):
    """One without our RPC: a file in memory, all its threads on one core. Over iSCSI, or vhost-user, only."""

    def pinned(self, *command):
        return ["taskset", "-c", str(cpus_of_this_machine()[0]), *map(str, command), *self.arguments]

    def answers(self):
        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def wait_until_it_answers(self):
        end = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                return self.answers()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def configure(self):
        pass


class TgtTarget(OtherTarget):
    def command(self):
        self.port, self.control = free_port(), free_port() % 30000 + 1
        return self.pinned(self.path / "sbin/tgtd", "-f", "-C", self.control, "--iscsi",
                           f"portal=127.0.0.1:{self.port}")

    def configure(self):
        def admin(*words):
            subprocess.run([str(self.path / "sbin/tgtadm"), "-C", str(self.control), "--lld", "iscsi", *words],
                           check=True)
        admin("--op", "new", "--mode", "target", "--tid", "1", "-T", IQN)
        # LUN 0 is tgtd's own
        admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", self.make_file("shm"),
              "--blocksize", "4096")
        admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")

    def path_arguments(self):
        return ["--iscsi", f"iscsi://127.0.0.1:{self.port}/{IQN}/1"]


class IstgtTarget(OtherTarget):
    CONFIGURATION = """[Global]
  NodeBase "iqn.2026-01.io.gantry"
  PidFile {directory}/pid
  AuthFile {directory}/auth
  MaxSessions 16
  MaxConnections 4
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
[UnitControl]
  AuthMethod None
  Portal UC1 127.0.0.1:{control}
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 127.0.0.1:{port}
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit1]
  TargetName bench
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  UnitType Disk
  BlockLength 4096
  QueueDepth 128
  LUN0 Storage {file} Auto
"""

    def command(self):
        self.port = free_port()
        directory = Path(self.directory.name)
        (directory / "auth").touch(0o600)
        (directory / "conf").write_text(self.CONFIGURATION.format(directory=directory, port=self.port,
                                                                  control=free_port(),
                                                                  file=self.make_file("shm")))
        return self.pinned(self.path / "sbin/istgt", "-D", "-c", directory / "conf")


class QsdTarget(OtherTarget):
    """qemu-storage-daemon; I/O in a thread of its own, as it is fastest."""

    def command(self):
        return self.pinned(self.path / "bin/qemu-storage-daemon", "--object", "iothread,id=io", "--blockdev",
                           f"driver=file,node-name=disk,aio=io_uring,filename={self.make_file('shm')}", "--export",
                           "vhost-user-blk,id=disk,node-name=disk,writable=on,iothread=io,addr.type=unix,"
                           f"addr.path={self.vhost_socket()},num-queues={self.case.qpairs}")

    def answers(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.vhost_socket()))


TARGETS = {"gantry": GantryTarget, "spdk": SpdkTarget, "tgt": TgtTarget, "istgt": IstgtTarget, "qsd": QsdTarget}


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Initiator:
    """The same load on every target: one process per initiator, each on a core of its own."""

    def __init__(self, kind_and_path):
        self.kind, path = kind_and_path.split("=", 1)
        self.path = Path(path)

    def command(self, target, case, cpus, seconds):
        if case.protocol == "vhost" and self.kind == "spdk":
            return self.bdevperf(target, case, cpus, seconds)
        if case.protocol == "vhost":
            case = case._replace(depth=case.depth // len(cpus), qpairs=1)
        if self.kind == "spdk":
            program, extra = self.path / "build/bin/spdk_nvme_perf", ["-L"]
        else:
            program, extra = self.path / "gantry-perf", ["--json", "--mode", case.host_mode]
        digests = ["-H", "-I"] if case.digests else []
        extra += ["-e", case.metadata] if case.metadata else []
        if target.case.tls:
            extra += ["--psk-path", target.psk_path(), *(["-S", "ssl"] if self.kind == "spdk" else [])]
        return [str(program), *target.path_arguments(), "-q", str(case.depth), "-o", str(case.io_bytes), "-w",
                case.pattern, "-P", str(case.qpairs), "-t", str(seconds), "-c", hex(sum(1 << cpu for cpu in cpus)),
                *digests, *extra]

    def bdevperf(self, target, case, cpus, seconds):
        """SPDK's bdev_virtio; its memory is one file, which is what vhost-user can hand over."""
        if case.packed:
            raise RuntimeError("SPDK's initiator has no packed rings: leave --initiator out")
        disk = {"name": "Virtio0", "dev_type": "blk", "trtype": "user", "traddr": str(target.vhost_socket()),
                "vq_count": len(cpus), "vq_size": 512}
        config = Path(target.directory.name) / "bdevperf.json"
        config.write_text(json.dumps({"subsystems": [{"subsystem": "bdev", "config": [
            {"method": "bdev_virtio_attach_controller", "params": disk}, {"method": "bdev_wait_for_examine"}]}]}))
        cores = ",".join(map(str, cpus))
        return [str(self.path / "build/examples/bdevperf"), "-m", f"[{cores}]", "-g", "-s", "384", "-u",
                "-r", str(config.with_suffix(".sock")), "--json", str(config), "-q", str(case.depth // len(cpus)),
                "-o", str(case.io_bytes), "-w", case.pattern, "-t", str(seconds), *(["-C"] if len(cpus) > 1 else [])]

    def parse(self, output):
        if self.kind == "gantry":
            result = json.loads(output.strip().splitlines()[-1])
            return result["iops"], result["latency_us"]["mean"], result["latency_us"]["p50"]
        total = re.search(r"Total\s*:\s*([\d.]+)(?:\s+[\d.]+){3}\s+([\d.]+)(?:\s+[\d.]+){2}\s*$", output, re.M)
        if total:                              # bdevperf: failures and time-outs besides
            return float(total[1]), float(total[2]), 0
        total = re.search(r"^Total\s*:\s*([\d.]+)\s+[\d.]+\s+([\d.]+)", output, re.M)
        if not total:
            raise RuntimeError(f"spdk_nvme_perf said no total: {output}")
        p50 = re.search(r"^\s*50\.\d+%\s*:\s*([\d.]+)us", output, re.M)
        return float(total[1]), float(total[2]), float(p50[1]) if p50 else 0

    def fill(self, target, case):
        """Write the whole disk, in order, so that what is measured is neither holes nor memory's first touch: on a
        virtual machine that is the host's business and costs fifty times as much as a write. Once is enough."""
        if target.filled or case.protocol == "rdma" or case.disk != "malloc" or isinstance(target, OtherTarget):
            return
        target.filled = True
        fill = case._replace(pattern="write", io_bytes=131072, depth=16, qpairs=1, digests=False,
                             metadata=target.case.metadata and "PRACT=1")
        subprocess.run(self.command(target, fill, cpus_of_this_machine()[-1:], FILL_S), check=True, timeout=FILL_S + 60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run_within(self, target, seconds):
        """The host of the fake rdma-core, in the target's own process: what it tells when it has ended."""
        end = time.monotonic() + seconds + START_DEADLINE_S
        while not target.fake_report().exists():
            if target.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no figures of the fake host: {Path(target.log.name).read_text()[-2000:]}")
            time.sleep(0.05)
        told = json.loads(target.fake_report().read_text())
        if told["errors"]:
            raise RuntimeError(f"the fake host counted {told['errors']} errors")
        return {"iops": told["iops"], "latency_us": 0, "p50_us": 0, "target_cpu_us_per_io": told["cpu_ns"] / 1000,
                "host_cpu_us_per_io": 0, "target_own_ns_per_io": told["own_ns"]}

    def run(self, target, case, seconds):
        if case.protocol == "rdma":
            return self.run_within(target, seconds)
        self.fill(target, case)
        case = case._replace(metadata=target.case.metadata)
        cpu_before, waited_before = target.cpu_seconds(), target.waited_ns()
        own_before, began = cpu_of_children(), time.monotonic()
        running = [subprocess.Popen(self.command(target, case, cpus, seconds), stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True) for cpus in initiator_cpus(case)]
        outputs = [p.communicate(timeout=seconds + 60) for p in running]
        for p, (out, errors) in zip(running, outputs):
            if p.returncode:
                raise RuntimeError(f"{p.args}: {out}{errors}")
        figures = [self.parse(out) for out, _ in outputs]
        iops = sum(f[0] for f in figures)
        took = time.monotonic() - began
        used = target.cpu_seconds() - cpu_before
        waited_ns = sum(ns - waited_before.get(task, 0) for task, ns in target.waited_ns().items())
        own_busy = (cpu_of_children() - own_before) / took
        return {"iops": iops, "latency_us": sum(f[1] for f in figures) / len(figures),
                "p50_us": sum(f[2] for f in figures) / len(figures),
                # of a target that sleeps meanwhile, so that it matters nothing how long its initiators take to begin
                "target_cpu_us_per_io": used * 1e6 / (iops * seconds) if iops else 0,
                "target_waited": waited_ns / 1e9 / took,
                "host_cpu_us_per_io": own_busy * 1e6 / iops if iops else 0}
