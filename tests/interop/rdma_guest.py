# SPDX-License-Identifier: BSD-3-Clause
"""A guest with soft RoCE, in which our own programs run too: this machine's kernel may have no RDMA.

    with RdmaGuest(directory) as guest:
        with GuestDaemon(guest) as daemon:
            nqn = daemon.serve(daemon.malloc("disk0"))           over RDMA, at guest.address
            disk = guest.connect_rdma(nqn)                       the guest's kernel as host
            guest.perf(guest.path(nqn), "-q", "8", ...)          or ours

    with rdma_pair(directory) as (left, right):                  two of them, with a wire from one to the other
"""
import itertools
import json
import shlex
from contextlib import contextmanager

from client import Client
from gantry import BUILD, NQN, RpcError, SANITIZER_SIGNS, DaemonDied, Told, free_port, gantryd_path
from guest import GuestError

ADDRESS = "10.0.2.15"       # of the first network card
PORT = 4420
WIRE = "eth1"
MEMORY = "64M"              # all of it is pinned for an adapter
CONNECT_TRIES = 3           # on a slow machine pinning memory takes longer than connecting may
CONNECTING = "while: connecting the admin queue"


class RdmaGuest(Client):
    """Its RDMA device is over `netdev`, which has `address`."""

    def __init__(self, directory, kernel=None, cards=(), netdev="eth0", address=ADDRESS):
        """`cards`: options of QEMU's for more network cards."""
        self.cards, self.netdev, self.address = list(cards), netdev, address
        super().__init__(directory, kernel)

    def command_line(self, initramfs):
        return super().command_line(initramfs) + self.cards

    def boot(self):
        super().boot()
        if self.netdev != "eth0":
            self.run(f"ip addr add {self.address}/24 dev {self.netdev}; ip link set {self.netdev} up")
        self.run(f"rdma_over {self.netdev}")

    # --- the guest's kernel as host ---

    def connect_rdma(self, nqn, options="-i 2", address=None, port=PORT):
        """Connect, and tell the block device of namespace 1."""
        return self.run(f"rdma_connect {nqn} {address or self.address} {port} {options}; disk_of {nqn} 1 > /tmp/disk; "
                        "cat /tmp/disk").split()[-1]

    def disk_of(self, nqn, nsid):
        return self.run(f"disk_of {nqn} {nsid}").strip()

    # --- our host ---

    def path(self, nqn, address=None, port=PORT):
        return f"trtype:RDMA adrfam:IPv4 traddr:{address or self.address} trsvcid:{port} subnqn:{nqn}"

    def start_perf(self, path, *options):
        """A running gantry-perf."""
        command = [str(BUILD / "gantry-perf"), "--json", "--quiet", "--mode", "interrupt", "-c", "[0]", "-r", path,
                   *options]
        return self.start(shlex.join(command) + " 2>&1")

    def perf(self, path, *options, timeout_s=180):
        """What gantry-perf measured."""
        for _ in range(CONNECT_TRIES):
            job = self.start_perf(path, *options)
            output = job.wait(timeout_s, check=False)
            if CONNECTING not in output:
                break
        assert job.status == 0, job.describe(f"status {job.status}")
        return perf_result(output)

    def verified(self, path, *options):
        result = self.perf(path, "-w", "randrw", "-M", "50", "--verify", *options)
        assert result["errors"] == result["miscompares"] == 0 and result["ios"] > 0, result
        return result


def perf_result(output):
    return json.loads(output[output.index("{"):])


# --- our target, in the guest ------------------------------------------------------------------------------------

class GuestDaemon(Told):
    """A gantryd that runs in the guest; its log is in the guest's share. One at a time under a name."""

    def __init__(self, guest, *args, name="gantryd", cpus="[0,1]"):
        self.guest, self.name = guest, name
        self.args = ["-m", cpus, "--memory", MEMORY, *args]
        self.socket = f"/tmp/{name}.sock"
        self.log_path = guest.share / f"{name}.log"
        self.numbers = itertools.count(1)
        self.job = None
        self.told = []

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, traceback):
        if kind:
            print(f"--- {self.name}'s log, in the guest\n{self.log_tail()}")
            self.kill()
        else:
            self.stop()

    # --- life ---

    def start(self):
        assert self.job is None, "started already"
        command = shlex.join([str(gantryd_path()), "-r", self.socket, *self.args])
        self.job = self.guest.start(f"echo $$ > /tmp/{self.name}.pid; "
                                    f"exec {command} >> /tmp/share/{self.log_path.name} 2>&1")
        try:
            self.guest.run(f"until_true 60 {self.cli} rpc framework_wait_init", timeout_s=90)
        except GuestError as problem:
            raise DaemonDied(f"{self.name} does not answer: {problem}\n{self.log_tail()}") from None
        return self

    def signal(self, name):
        self.guest.run(f"kill -{name} $(cat /tmp/{self.name}.pid)")

    def kill(self):
        """The way a crash ends it."""
        if self.job and self.job.running:
            self.guest.run(f"kill -KILL $(cat /tmp/{self.name}.pid) || true")
            self.job.wait(60, check=False)
        self.job = None
        self.guest.run(f"rm -f {self.socket}")

    def stop(self):
        """Politely; it must be alive, obey, and have nothing bad in its log."""
        if self.job is None:
            return
        self.check_alive()
        self.signal("TERM")
        job, self.job = self.job, None
        try:
            job.wait(60)
        except GuestError:
            self.guest.run(f"kill -KILL $(cat /tmp/{self.name}.pid) || true")
            raise DaemonDied(f"{self.name} did not end well, status {job.status}:\n{self.log_tail()}") from None
        bad = [sign for sign in SANITIZER_SIGNS if sign in self.log()]
        assert not bad, self.log_tail(200)

    def check_alive(self):
        if not self.job.running:
            status, self.job = self.job.status, None
            raise DaemonDied(f"{self.name} died during the test, status {status}:\n{self.log_tail()}")

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines=60):
        return "\n".join(self.log().splitlines()[-lines:])

    # --- telling it what to be ---

    @property
    def cli(self):
        return f"{BUILD / 'gantry'} -s {self.socket}"

    def rpc(self, method, timeout_s=60, **params):
        """A method's result. Its parameters go by a file."""
        name = f"{self.name}-{next(self.numbers)}.json"
        (self.guest.share / name).write_text(json.dumps(params))
        job = self.guest.start(f"{self.cli} rpc {method} {'@/tmp/share/' + name if params else ''} 2>&1")
        output = job.wait(timeout_s, check=False)
        if job.status:
            self.check_alive()
            raise RpcError(method, {"message": output.strip(), "code": job.status})
        return json.loads(output or "null")

    def serve(self, *bdevs, nqn=NQN, address=None, port=PORT, transport=None, **subsystem):
        """A subsystem with these devices as namespaces 1.. over RDMA, any host allowed. Makes the transport, with these
        options, unless there is one."""
        if not any(method == "nvmf_create_transport" for method, _ in self.told):
            self.tell("nvmf_create_transport", trtype="RDMA", **(transport or {}))
        subsystem.setdefault("serial_number", "GANTRY0000000001")
        self.tell("nvmf_create_subsystem", nqn=nqn, allow_any_host=True, **subsystem)
        for bdev in bdevs:
            self.tell("nvmf_subsystem_add_ns", nqn=nqn, namespace={"bdev_name": bdev})
        self.tell("nvmf_subsystem_add_listener", nqn=nqn, listen_address=self.address(address, port))
        return nqn

    def address(self, address=None, port=PORT):
        return {"trtype": "RDMA", "adrfam": "IPv4", "traddr": address or self.guest.address, "trsvcid": str(port)}

    def attach(self, name, nqn, address=None, port=PORT, **more):
        """Our host: the disks of a subsystem, anybody's."""
        told = {"name": name, "subnqn": nqn, **self.address(address, port), **more}
        for _ in range(CONNECT_TRIES - 1):
            try:
                return self.tell("bdev_nvme_attach_controller", **told)
            except RpcError as problem:
                if CONNECTING not in problem.message:
                    raise
        return self.tell("bdev_nvme_attach_controller", **told)


# --- two guests on a wire ----------------------------------------------------------------------------------------

def wire_end(end, mac):
    return ["-netdev", f"socket,id=wire,{end}", "-device", f"virtio-net-pci,netdev=wire,mac=52:54:00:77:00:{mac:02x}"]


@contextmanager
def rdma_pair(directory, kernel=None):
    """Two guests, 10.77.0.1 and 10.77.0.2, whose RDMA devices are over a wire between them: what is lost on it (words
    lossy and lossless, of WIRE) is lost for RDMA too. Within one guest nothing passes a network card."""
    end = f"127.0.0.1:{free_port()}"
    with RdmaGuest(directory / "left", kernel, wire_end(f"listen={end}", 1), WIRE, "10.77.0.1") as left, \
            RdmaGuest(directory / "right", kernel, wire_end(f"connect={end}", 2), WIRE, "10.77.0.2") as right:
        yield left, right
