# SPDX-License-Identifier: BSD-3-Clause
"""TLS between a Linux kernel and us, either being the host. The kernel has its handshakes made by tlshd (ktls-utils),
which Debian 12 does not have: these tests run where it is installed. Keys have 32 bytes, because GnuTLS before 3.8.11
binds longer ones by the wrong hash."""
import shutil

import pytest

from client import FIO
from dhchap import Secret
from gantry import NQN, cpus, free_port, wait_until
from jsonrpc import Waiting
from test_changes import end_load, goes_on, start_load
from test_target import perf, verified
from tls import Psk

SLOW_S = 120    # the guest is emulated, and the machine has other things to do
PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
VERIFY = (f"{FIO} --name=verify --rw=randrw --bsrange=4k-128k --blockalign=4k --size=8m --iodepth=8 --verify=crc32c "
          "--verify_fatal=1 --do_verify=1")
START = r"""
if ! pidof tlshd > /dev/null; then
	modprobe -a tls gcm ccm; mkdir -p /etc/tlshd
	echo 60 > /sys/module/nvme_tcp/parameters/tls_handshake_timeout
	printf '[debug]\nloglevel=1\n[authenticate]\nkeyrings=.nvme\n' > /etc/tlshd/config
	(setsid tlshd -s > /tmp/tlshd.log 2>&1 &)
	until_true 60 grep -q 'linked into our session keyring' /tmp/tlshd.log
fi
"""


@pytest.fixture(scope="session")
def clients(newer_clients):
    for program, package in ("tlshd", "ktls-utils"), ("keyctl", "keyutils"):
        if not shutil.which(program, path=PATH):
            pytest.skip(f"{program} is not installed (package {package}, where there is one)")
    return newer_clients


def keyring(guest, *offers):
    """What the guest's kernel offers or takes: these keys and no others."""
    guest.run(START + "keyctl clear %:.nvme")
    for offer in offers:
        (guest.share / "key").write_bytes(offer.key)
        guest.run(f"keyctl padd psk '{offer.identity}' %:.nvme < /tmp/share/key")
    (guest.share / "key").unlink(missing_ok=True)


# --- the kernel is the host ------------------------------------------------------------------------------------

class World:
    """A subsystem for the guest only, behind a listener with TLS."""

    def __init__(self, guest, daemon, directory):
        self.guest, self.daemon, self.directory = guest, daemon, directory
        self.nqn = guest.run("modprobe dh_generic; cat /etc/nvme/hostnqn", SLOW_S).strip()
        self.psk, self.nqns, self.port = Psk.make(1), (self.nqn, NQN), free_port()
        daemon.transport()
        daemon.malloc("disk0", mib=32, uuid="0b1f6f0c-7a2e-4a38-9d39-5d2b3a1c0f02")
        daemon.tell("nvmf_create_subsystem", nqn=NQN, serial_number="SER1")
        daemon.tell("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk0"})
        self.key("psk", self.psk)

    def key(self, name, secret):
        self.daemon.tell("keyring_file_add_key", name=name, path=secret.file(self.directory / name))

    def allow(self, **keys):
        self.daemon.tell("nvmf_subsystem_add_host", nqn=NQN, host=self.nqn, **keys)
        self.daemon.tell("nvmf_subsystem_add_listener", nqn=NQN, listen_address=self.daemon.address(self.port),
                         secure_channel=True)

    def start(self, options=""):
        """nvme-cli of Debian 12 has no --tls."""
        return self.guest.start(
            f"id=$(cat /etc/nvme/hostid); echo -n transport=tcp,traddr=$HOST,trsvcid={self.port},nqn={NQN},"
            f"hostnqn={self.nqn},hostid=$id,nr_io_queues=2,reconnect_delay=1,keep_alive_tmo=5,tls{options} > "
            f"/dev/nvme-fabrics; disk_of {NQN} 1")

    def connect(self, options=""):
        return self.start(options).wait(SLOW_S).split()[-1]

    def refused(self, said, start=None):
        """The log has a line a second of such things."""
        def told():
            job = start() if start else self.start()
            job.wait(SLOW_S, check=False)
            assert job.status != 0, job.describe("it connects")
            return said in self.daemon.log()
        wait_until(told, said, SLOW_S, 1)

    def queues(self):
        qpairs = self.daemon.rpc("nvmf_subsystem_get_qpairs", nqn=NQN)
        assert len(qpairs) == 3, qpairs
        return qpairs


@pytest.fixture
def world(guest, daemon, tmp_path):
    yield World(guest, daemon, tmp_path)
    print(guest.run("grep -v gnutls /tmp/tlshd.log | tail -20", check=False))


@pytest.mark.parametrize("version, options", [(0, ""), (1, ""), (1, ",hdr_digest,data_digest")],
                         ids=["version 0", "version 1", "digests"])
def test_a_host_comes_by_its_key(world, version, options):
    """Linux would not get in, or lose or tear data on the way through its records and ours."""
    world.allow(psk="psk")
    offer = world.psk.offer(*world.nqns, version)
    keyring(world.guest, offer)
    disk = world.connect(options)
    assert {(q["tls"]["identity"], q["tls"]["cipher"]) for q in world.queues()} == \
        {(offer.identity, "TLS_AES_128_GCM_SHA256")}
    world.guest.run(f"{VERIFY} --filename={disk}", timeout_s=SLOW_S)


def test_wrong_keys(world):
    """A host with another key, or with none, would get in."""
    world.allow(psk="psk")
    keyring(world.guest, Psk.make(1).offer(*world.nqns))
    world.refused("differs from ours")
    keyring(world.guest, Psk.make(1).offer(*world.nqns, 1))
    world.refused("the key differs: the digest in the identity")
    world.refused("what it sent is no TLS", lambda: world.guest.start(f"nvme_connect {NQN} {world.port}"))
    keyring(world.guest, world.psk.offer(*world.nqns))
    world.connect()


def test_with_authentication(guest, tmp_path):
    """A host that has to do both would be kept out, or let in by one of them. The group that Linux prefers has a test
    of itself that takes an emulated guest longer than a host has to prove who it is."""
    directory, secret = tmp_path / "own", Secret.make()
    directory.mkdir()
    with Waiting(directory, "-m", cpus(2)) as daemon:
        daemon.rpc("nvmf_set_config", dhchap_dhgroups=["ffdhe2048"])
        daemon.rpc("framework_start_init")
        world = World(guest, daemon, directory)
        world.key("host", secret)
        world.allow(psk="psk", dhchap_key="host")
        keyring(guest, world.psk.offer(*world.nqns, 1))
        job = world.start()
        job.wait(SLOW_S, check=False)
        assert job.status != 0, job.describe("it connects")
        disk = world.connect(f",dhchap_secret={secret}")
        assert {(bool(q["tls"]), q["auth"]["state"]) for q in world.queues()} == {(True, "completed")}
        guest.run(f"{VERIFY} --filename={disk}; nvme disconnect -n {NQN}", timeout_s=SLOW_S)


def test_under_trouble(world):
    """I/O would fail or stop when a secured connection moves to another core, or the daemon dies and comes back."""
    world.allow(psk="psk")
    keyring(world.guest, world.psk.offer(*world.nqns, 1))
    disk = world.connect()
    job = start_load(world.guest, disk)
    cores = sorted({r["lcore"] for r in world.daemon.rpc("framework_get_reactors")["reactors"]})
    for lcore in cores * 2:
        for q in world.queues():
            if q["qid"]:
                world.daemon.rpc("nvmf_move_qpair", nqn=NQN, cntlid=q["cntlid"], qid=q["qid"], lcore=lcore)
        goes_on(world.guest, disk)
    world.daemon.kill()
    world.guest.run(f"until_true 60 has_live {NQN} 0", timeout_s=SLOW_S)
    world.daemon.start()
    world.daemon.replay()
    world.guest.run(f"until_true 60 has_live {NQN} 1", timeout_s=SLOW_S)
    goes_on(world.guest, disk)
    end_load(world.guest, job)
    world.guest.run(f"{VERIFY} --filename={disk}", timeout_s=SLOW_S)


# --- the kernel is the target ----------------------------------------------------------------------------------

HOST_NQN = "nqn.2026-01.io.gantry:host"


def test_our_host_comes_by_its_key(target, tmp_path):
    """Our host would not get in, or not say why."""
    guest = target.guest
    target.run("echo tls1.3 > $NVMET/ports/1/addr_tsas; echo required > $NVMET/ports/1/addr_treq")
    psk, nqns = Psk.make(1), (HOST_NQN, "nqn.2026-01.io.gantry:kernel")
    keyring(guest, psk.offer(*nqns))
    kernel = target.export()
    path = f"{kernel.path()} hostnqn:{HOST_NQN} ns:1"
    key = "--psk-path", psk.file(tmp_path / "psk")
    for version in 0, 1:
        keyring(guest, psk.offer(*nqns, version))
        verified(path, *key, "-q", "8", "-o", "4k", "-P", "2", "-d", "200")
        verified(path, *key, "-q", "4", "-o", "128k", "-H", "-I", "-d", "20")
    quick = "-q", "1", "-o", "4k", "-w", "read", "-d", "1"
    said = perf(path, *quick, "--psk-path", Psk.make(1).file(tmp_path / "bad"), status=1)
    assert "TLS as" in said, said
    said = perf(path, *quick, status=1)
    assert "it may want TLS, and there is no key" in said, said
