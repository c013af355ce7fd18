# SPDX-License-Identifier: BSD-3-Clause
"""Who may reach what, as Linux lives with it: two hosts that fence each other, ways that open and close under I/O, and
a namespace that is taken from a host that stays."""
import json

from client import FIO
from gantry import NQN, wait_until
from test_changes import end_load, goes_on, start_load

SLOW_S = 120
KEYS = {"a": 0xa, "b": 0xb}
WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 3
PREEMPT_AND_ABORT = 2
REGISTER = 0
CONFLICT = "Reservation Conflict"
ABORTED = "Command Aborted due to Preempt and Abort"


class Peer:
    """One of several hosts in one guest: it speaks by its controller, because the kernel's disk is common to all of
    them. A controller takes I/O commands as long as it has one namespace."""

    def __init__(self, guest, nqn, port, name):
        self.guest, self.key = guest, KEYS[name]
        uuid = f"{name * 8}-0000-4000-8000-000000000001"
        said = guest.run(f"nvme_connect {nqn} {port} -i 1 --hostid={uuid} "
                         f"--hostnqn=nqn.2014-08.org.nvmexpress:uuid:{uuid} -o json", timeout_s=SLOW_S)
        self.path = "/dev/" + json.loads(said)["device"]

    def start(self, command):
        return self.guest.start(f"nvme {command} 2>&1")

    def run(self, command, refused=None):
        job = self.start(command)
        said = job.wait(SLOW_S, check=False)
        assert (job.status == 0) == (refused is None) and (refused or "").lower() in said.lower(), job.describe(refused)
        return said

    def register(self):
        self.run(f"resv-register {self.path} -n 1 --nrkey={self.key} --rrega={REGISTER}")

    def acquire(self, kind, action=0, victim=0, refused=None):
        self.run(f"resv-acquire {self.path} -n 1 --crkey={self.key} --prkey={victim} --rtype={kind} --racqa={action}",
                 refused)

    def io(self, opcode):
        return f"io-passthru {self.path} -o {opcode} -n 1 --cdw10=0 --cdw12=0 -l 512 {'-w' if opcode == 1 else '-r'}"

    def write(self, refused=None):
        self.run(f"{self.io(1)} -i /tmp/block", refused)

    def read(self, refused=None):
        self.run(self.io(2), refused)

    def report(self):
        """Type, and key -> holds."""
        said = self.run(f"resv-report {self.path} -n 1 --eds -o json")
        told = json.loads(said[said.index("{"):])
        return told["rtype"], {who["rkey"]: bool(who["rcsts"] & 1) for who in told["regctlext"]}


def test_two_hosts_fence_each_other(guest, daemon):
    """A cluster's node that was fenced could still write, or one that fences would wait for it."""
    daemon.malloc("disk0", mib=16)
    daemon.rpc("bdev_error_create", base_name="disk0")
    served = daemon.serve("EE_disk0", ports=2)   # nvme-cli takes a second connection to a port for the same host's
    guest.run("head -c 512 /dev/zero > /tmp/block")
    a, b = (Peer(guest, NQN, port, name) for port, name in zip(served.ports, "ab"))
    a.register()
    a.acquire(WRITE_EXCLUSIVE_REGISTRANTS_ONLY)
    b.read()
    b.write(refused=CONFLICT)
    b.register()
    b.write()
    assert a.report() == b.report() == (WRITE_EXCLUSIVE_REGISTRANTS_ONLY, {KEYS["a"]: True, KEYS["b"]: False})

    daemon.rpc("bdev_error_inject_error", name="EE_disk0", io_type="write", error_type="pending", num=1)
    daemon.rpc("bdev_set_qd_sampling_period", name="EE_disk0", period=10_000)
    begun = a.start(f"{a.io(1)} -i /tmp/block")
    wait_until(lambda: daemon.rpc("bdev_get_iostat", names=["EE_disk0"])["bdevs"][0].get("queue_depth"),
               "the write to reach the disk", 30, 0.1)
    b.acquire(WRITE_EXCLUSIVE_REGISTRANTS_ONLY, PREEMPT_AND_ABORT, victim=KEYS["a"])
    said = begun.wait(SLOW_S, check=False)
    assert begun.status != 0 and ABORTED.lower() in said.lower(), said
    assert b.report() == (WRITE_EXCLUSIVE_REGISTRANTS_ONLY, {KEYS["b"]: True})
    a.write(refused=CONFLICT)
    a.read()
    a.acquire(WRITE_EXCLUSIVE_REGISTRANTS_ONLY, refused=CONFLICT)


# --- ways ------------------------------------------------------------------------------------------------------

def test_ways_open_and_close_under_io(guest, daemon):
    """I/O would fail, or land twice, where its way closes and another opens: also when for a while none is open."""
    served = daemon.serve(daemon.malloc("disk0", mib=32), ports=2, ana_reporting=True)

    def state(port, name, **more):
        daemon.rpc("nvmf_subsystem_listener_set_ana_state", nqn=NQN, listen_address=daemon.address(served.ports[port]),
                   ana_state=name, **more)

    def is_seen(*names):
        seen = "$(cat /sys/block/nvme*c*n*/ana_state | sort | paste -sd ' ')"
        guest.run(f"are() {{ [ \"{seen}\" = '{' '.join(names)}' ]; }}; until_true 30 are", timeout_s=SLOW_S)

    state(1, "inaccessible")
    disk = guest.connect(served)
    guest.connect(served, port=served.ports[1])
    is_seen("inaccessible", "optimized")
    verify = (f"{FIO} --name=verify --filename={disk} --rw=randrw --bs=4k --size=8m --iodepth=16 --verify=crc32c "
              "--verify_fatal=1 --do_verify=1")
    job = guest.start(f"until [ -e /tmp/enough ]; do {verify}; done; rm /tmp/enough")
    goes_on(guest, disk)
    state(0, "inaccessible", transition_sec=10)
    state(1, "optimized", transition_sec=10)
    is_seen("change", "change")                 # no way is open: I/O waits
    state(0, "inaccessible")
    state(1, "optimized")
    is_seen("inaccessible", "optimized")
    goes_on(guest, disk)
    state(1, "inaccessible", transition_sec=1)  # by itself
    state(0, "optimized", transition_sec=1)
    wait_until(lambda: "change" not in json.dumps(daemon.rpc("nvmf_subsystem_get_listeners", nqn=NQN)),
               "the transitions to end", 30, 0.1)
    is_seen("inaccessible", "optimized")
    goes_on(guest, disk)
    state(0, "non_optimized")
    state(1, "persistent_loss")
    is_seen("non-optimized", "persistent-loss")
    goes_on(guest, disk)
    guest.run("touch /tmp/enough")
    job.wait(SLOW_S)
    assert guest.live_controllers(served) == 2


# --- namespaces ------------------------------------------------------------------------------------------------

def test_a_namespace_is_hidden_from_a_host_that_stays(guest, daemon):
    """A host would keep a disk that is not its own any more, or lose those that are; or need a new connection to have
    it back."""
    served = daemon.serve(daemon.malloc("disk0", mib=16))
    daemon.malloc("disk1", mib=16)
    daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk1", "nsid": 2, "no_auto_visible": True})
    host = guest.run("cat /etc/nvme/hostnqn").strip()
    disk = guest.connect(served)
    load = start_load(guest, disk)
    guest.run(f"! find_disk {NQN} 2")
    for _ in range(2):
        daemon.rpc("nvmf_ns_add_host", nqn=NQN, nsid=2, host=host)
        guest.run(f"dd if={guest.disk(served, 2)} of=/dev/null bs=64k count=4 iflag=direct 2>&1")
        daemon.rpc("nvmf_ns_remove_host", nqn=NQN, nsid=2, host=host)
        guest.run(f"is_gone() {{ ! find_disk {NQN} 2; }}; until_true 30 is_gone", timeout_s=SLOW_S)
        goes_on(guest, disk)
    end_load(guest, load)
