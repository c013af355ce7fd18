# SPDX-License-Identifier: BSD-3-Clause
"""DH-HMAC-CHAP between a Linux kernel and us, either being the host. Debian 12's own kernel has none of it: a newer one
has."""
import json

import pytest

from client import FIO
from dhchap import Secret
from gantry import NQN, RpcError, cpus, wait_until
from jsonrpc import Waiting
from test_changes import end_load, goes_on, start_load
from test_target import perf, verified

SLOW_S = 120    # the guest is emulated, and the machine has other things to do
VERIFY = (f"{FIO} --name=verify --rw=randrw --bsrange=4k-64k --blockalign=4k --size=8m --iodepth=8 --verify=crc32c "
          "--verify_fatal=1 --do_verify=1")


@pytest.fixture(scope="session")
def clients(newer_clients):
    return newer_clients


@pytest.fixture
def permitted():
    """A hash, and a group of Diffie and Hellman: the largest, which Linux takes when it may, costs an emulated guest
    seconds."""
    return "sha512", "ffdhe2048"


@pytest.fixture
def daemon(permitted, tmp_path):
    with Waiting(tmp_path, "-m", cpus(2)) as running:
        running.rpc("nvmf_set_config", dhchap_digests=[permitted[0]], dhchap_dhgroups=[permitted[1]])
        running.rpc("framework_start_init")
        yield running


# --- the kernel is the host ------------------------------------------------------------------------------------

class World:
    """A subsystem for the guest only, and keys by name: files of the daemon, and what nvme-cli is told."""

    def __init__(self, guest, daemon, directory):
        self.guest, self.daemon, self.directory = guest, daemon, directory
        # Its tests of itself may take an emulated guest longer than a host has to prove who it is.
        self.nqn = guest.run("modprobe dh_generic; cat /etc/nvme/hostnqn", SLOW_S).strip()
        self.served = daemon.serve(daemon.malloc("disk0", mib=32))
        daemon.rpc("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=False)

    def key(self, name, transform=1):
        secret = Secret.make(transform)
        secret.file(self.directory / name)
        if not any(key["name"] == name for key in self.daemon.rpc("keyring_get_keys")):
            self.daemon.rpc("keyring_file_add_key", name=name, path=str(self.directory / name))
        return secret

    def allow(self, **keys):
        self.daemon.rpc("nvmf_subsystem_add_host", nqn=NQN, host=self.nqn, **keys)

    def options(self, host=None, ctrlr=None):
        return (f"-i 2 {f'--dhchap-secret={host}' if host else ''} "
                f"{f'--dhchap-ctrl-secret={ctrlr}' if ctrlr else ''}")

    def connect(self, *secrets):
        return self.guest.connect(self.served, self.options(*secrets))

    def refused(self, said_by_us, said_by_linux, *secrets):
        self.guest.mark_console()
        job = self.guest.start(f"nvme_connect {NQN} {self.served.port} {self.options(*secrets)}")
        job.wait(SLOW_S, check=False)
        assert job.status != 0, job.describe("it connects")
        if said_by_us:
            wait_until(lambda: said_by_us in self.daemon.log(), said_by_us, SLOW_S)
        wait_until(lambda: said_by_linux in self.guest.console_since_mark(), said_by_linux, SLOW_S)

    def proved(self):
        """How each queue has proved who its host is; what is here has queue 0 and two more."""
        qpairs = self.daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN)
        assert len(qpairs) == 3, qpairs
        return {(q["auth"]["state"], q["auth"]["digest"], q["auth"]["dhgroup"]) for q in qpairs}


@pytest.fixture
def world(guest, daemon, tmp_path):
    return World(guest, daemon, tmp_path)


@pytest.mark.parametrize("permitted", [("sha256", "null"), ("sha384", "ffdhe4096")],
                         ids=" ".join)
def test_a_host_proves_who_it_is(world, permitted):
    """Linux would not get in with the right key, by one of the hashes and groups, or do I/O afterwards."""
    secret = world.key("host", {"null": 0, "ffdhe4096": 3}[permitted[1]])
    world.allow(dhchap_key="host")
    disk = world.connect(secret)
    assert world.proved() == {("completed", *permitted)}
    world.guest.run(f"{VERIFY} --filename={disk}", timeout_s=SLOW_S)


def test_both_prove_who_they_are(world):
    """Linux would take us for an impostor, or an impostor for us."""
    host, ctrlr = world.key("host"), world.key("ctrlr", 3)
    world.allow(dhchap_key="host", dhchap_ctrlr_key="ctrlr")
    disk = world.connect(host, ctrlr)
    says = "controller authenticated"
    wait_until(lambda: says in world.guest.console_since_mark(), says, SLOW_S)
    assert world.proved() == {("completed", "sha512", "ffdhe2048")}
    world.guest.run(f"{VERIFY} --filename={disk}; nvme disconnect -n {NQN}", timeout_s=SLOW_S)
    world.refused("its controller key differs from the one here", "controller authentication failed",
                  host, Secret.make())


def test_wrong_keys(world):
    """A host without the key would get in, or not be told at once that it may not."""
    host = world.key("host")
    world.allow(dhchap_key="host")
    world.refused("its key differs from the one here", "authentication failed", Secret.make())
    world.refused(None, "no key")
    wait_until(lambda: not world.daemon.rpc("nvmf_subsystem_get_controllers", nqn=NQN), "nobody to be there", SLOW_S)
    world.connect(host)


def test_again_under_io(world):
    """I/O would stop or fail while a host proves again who it is, also by a new key; or it would stay, that cannot."""
    host, ctrlr = world.key("host"), world.key("ctrlr")
    world.allow(dhchap_key="host", dhchap_ctrlr_key="ctrlr")
    disk = world.connect(host, ctrlr)
    load = start_load(world.guest, disk)

    def again(secret, says):
        world.guest.mark_console()
        world.guest.run(f"echo '{secret}' > $(controllers_of {NQN})/dhchap_secret", timeout_s=SLOW_S)
        wait_until(lambda: says in world.guest.console_since_mark(), says, SLOW_S)
        return world.guest.console_since_mark()

    said = again(host, "qid 0: controller authenticated")
    assert "re-authenticating controller" in said, said
    goes_on(world.guest, disk)
    said = again(world.key("host"), "qid 0: controller authenticated")      # both have the new one
    goes_on(world.guest, disk)
    assert world.guest.live_controllers(world.served) == 1
    end_load(world.guest, load)
    again(Secret.make(), "authentication failed")
    wait_until(lambda: "its key differs from the one here" in world.daemon.log(), "our log to say so", SLOW_S)
    world.guest.run(f"until_true 60 has_live {NQN} 0", timeout_s=SLOW_S)


# --- the kernel is the target ----------------------------------------------------------------------------------

HOST_NQN = "nqn.2026-01.io.gantry:host"


class Kernel:
    """A subsystem of the guest's that lets one host in."""

    def __init__(self, target, directory):
        self.target, self.directory, self.exported = target, directory, target.export()
        target.run(f"echo 0 > $NVMET/subsystems/{self.exported.nqn}/attr_allow_any_host; "
                   f"mkdir $NVMET/hosts/{HOST_NQN}; "
                   f"ln -s $NVMET/hosts/{HOST_NQN} $NVMET/subsystems/{self.exported.nqn}/allowed_hosts/")

    def close(self):
        self.target.run(f"rm $NVMET/subsystems/{self.exported.nqn}/allowed_hosts/*; rmdir $NVMET/hosts/*")

    def wants(self, **attributes):
        for name, value in attributes.items():
            self.target.run(f"echo '{value}' > $NVMET/hosts/{HOST_NQN}/dhchap_{name}")

    def file(self, name, secret):
        return secret.file(self.directory / name)

    @property
    def path(self):
        return f"{self.exported.path()} hostnqn:{HOST_NQN} ns:1"


@pytest.fixture
def kernel(target, tmp_path):
    made = Kernel(target, tmp_path)
    yield made
    made.close()


def test_our_host_proves_who_it_is(kernel):
    """Our host would not get in with the right key, or its user not learn what is wrong with another."""
    secret, ctrlr = Secret.make(), Secret.make(3)
    kernel.wants(key=secret)
    host = "--dhchap-key", kernel.file("host", secret)
    quick = "-q", "1", "-o", "4k", "-w", "read", "-d", "1"
    for digest, group in ("sha256", "null"), ("sha384", "ffdhe2048"), ("sha512", "ffdhe4096"):
        kernel.wants(hash=f"hmac({digest})", dhgroup=group)
        verified(kernel.path, *host, "-q", "8", "-o", "4k", "-d", "100")
    kernel.wants(ctrl_key=ctrlr)
    both = *host, "--dhchap-ctrlr-key", kernel.file("ctrlr", ctrlr)
    verified(kernel.path, *both, "-q", "8", "-o", "4k", "-P", "2", "-d", "100")
    said = perf(kernel.path, *quick, status=1)
    assert "it wants authentication, and there is no key" in said, said
    said = perf(kernel.path, *quick, "--dhchap-key", kernel.file("bad", Secret.make()), status=1)
    assert "the controller refuses us" in said or "the target closed the connection" in said, said   # as below
    said = perf(kernel.path, *quick, *host, "--dhchap-ctrlr-key", kernel.file("bad", Secret.make()), status=1)
    assert "its controller key differs from the one here" in said, said


def test_our_gateway_proves_who_it_is(kernel, daemon):
    """A disk of a kernel's that wants authentication could not be attached and served on."""
    secret = Secret.make()
    kernel.wants(key=secret, dhgroup="ffdhe2048")
    for name, made in ("host", secret), ("bad", Secret.make()):
        daemon.rpc("keyring_file_add_key", name=name, path=kernel.file(name, made))
    where = {"name": "K", **kernel.exported.address(), "hostnqn": HOST_NQN}
    # nvmet ends a controller that it has refused at once: its connection may be closed before the reason is sent
    with pytest.raises(RpcError, match="the controller refuses us|the target closed the connection"):
        daemon.rpc("bdev_nvme_attach_controller", SLOW_S, **where, dhchap_key="bad")
    assert daemon.rpc("bdev_nvme_attach_controller", SLOW_S, **where, dhchap_key="host") == ["Kn1", "Kn2"]
    result = daemon.rpc("bdev_perf_start", SLOW_S, name="Kn1", rw="randrw", qd=4, time=0, number_ios=100, verify=True)
    assert result["errors"] == result["miscompares"] == 0, json.dumps(result)
    daemon.rpc("bdev_nvme_detach_controller", name="K")
