# SPDX-License-Identifier: BSD-3-Clause
"""Linux's own tools on one disk over NVMe/TCP and iSCSI: sg_persist and nvme-cli reserve it, see each other, and what
one reserves the kernel refuses to users of the other."""
import json
import re

import pytest

SLOW_S = 120    # the guest is emulated, and the machine has other things to do
NVME_KEY, SCSI_KEY = 0xa, 0xb
# What both call them: NVMe's number, SPC's, and SPC's name as sg_persist says it.
WRITE_EXCLUSIVE = 1, 1, "Write Exclusive"
EXCLUSIVE_ACCESS = 2, 3, "Exclusive Access"
REGISTRANTS_ONLY = 4, 6, "Exclusive Access, registrants only"
CONFLICT = 24                       # what sg3_utils end with when they are refused for that
EBADE = "Invalid exchange"


class Disk:
    """The disk by one protocol."""

    def __init__(self, guest, path):
        self.guest, self.path = guest, path

    def run(self, command, status=0):
        """What it says; the status may be a number, or None for any but 0."""
        job = self.guest.start(command)
        said = job.wait(SLOW_S, check=False)
        assert job.status != 0 if status is None else job.status == status, job.describe(f"status {job.status}")
        return said

    def may(self):
        """(read, write), as dd is let."""
        said = self.run(f"dd if={self.path} of=/dev/null iflag=direct bs=4k count=1 2>&1 && echo LET || true; echo; "
                        f"dd if=/dev/zero of={self.path} oflag=direct bs=4k count=1 2>&1 && echo LET || true")
        both = said.split("\n\n")
        assert len(both) == 2 and all(("LET" in one) != (EBADE in one) for one in both), said
        return tuple("LET" in one for one in both)


class Nvme(Disk):
    def do(self, verb, options="", **how):
        return self.run(f"nvme resv-{verb} {self.path} {options} 2>&1", **how)

    def register(self):
        self.do("register", f"--nrkey={NVME_KEY}")

    def acquire(self, kind, victim=0, **how):
        action = f"--racqa=1 --prkey={victim}" if victim else "--racqa=0"
        return self.do("acquire", f"--crkey={NVME_KEY} --rtype={kind[0]} {action}", **how)

    def release(self, kind):
        self.do("release", f"--crkey={NVME_KEY} --rtype={kind[0]} --rrela=0")

    def clear(self):
        self.do("release", f"--crkey={NVME_KEY} --rrela=1")

    def report(self):
        """Type, and key -> holds."""
        said = self.do("report", "--eds --output-format=json")
        told = json.loads(said[said.index("{"):])
        registrants = next(value for value in told.values() if isinstance(value, list))
        return told["rtype"], {who["rkey"]: bool(who["rcsts"] & 1) for who in registrants}


class Scsi(Disk):
    def do(self, options, **how):
        return self.run(f"sg_persist {options} {self.path} 2>&1", **how)

    def register(self):
        self.do(f"--out --register --param-sark={SCSI_KEY:x}")

    def reserve(self, kind, **how):
        return self.do(f"--out --reserve --param-rk={SCSI_KEY:x} --prout-type={kind[1]}", **how)

    def preempt(self, kind, victim):
        self.do(f"--out --preempt-abort --param-rk={SCSI_KEY:x} --param-sark={victim:x} --prout-type={kind[1]}")

    def release(self, kind):
        self.do(f"--out --release --param-rk={SCSI_KEY:x} --prout-type={kind[1]}")

    def clear(self):
        self.do(f"--out --clear --param-rk={SCSI_KEY:x}")

    def report(self):
        """Type's name, and the holder's key; None: there is no reservation."""
        said = self.do("--in --read-reservation")
        found = re.search(r"Key=0x(\w+)\s+scope: LU_SCOPE,\s+type: (.*)", said)
        return (found[2].strip(), int(found[1], 16)) if found else None

    def keys(self):
        return [int(key, 16) for key in re.findall(r"^\s+0x(\w+)$", self.do("--in --read-keys"), re.M)]

    def attention(self):
        """The unit attention that waits, in words."""
        return self.run(f"sg_turs -vv {self.path} 2>&1 || true")


@pytest.fixture
def both(guest, daemon):
    """The same disk twice."""
    disk = daemon.malloc("disk0", mib=16)
    served, exported = daemon.serve(disk), daemon.export(disk)
    nvme = Nvme(guest, guest.connect(served))
    path = guest.run(f"iscsi_up; modprobe sg; iscsi_login {exported.name} {exported.port} >&2; "
                     f"iscsi_disk {exported.port} 0", timeout_s=SLOW_S).split()[-1]
    return nvme, Scsi(guest, path)


def test_nvme_cli_reserves(both):
    """What Linux asks over NVMe would not bind, or not be understood by, Linux over iSCSI."""
    nvme, scsi = both
    nvme.register()
    nvme.acquire(WRITE_EXCLUSIVE)
    assert nvme.report() == (1, {NVME_KEY: True})
    assert scsi.report() == (WRITE_EXCLUSIVE[2], NVME_KEY) and scsi.keys() == [NVME_KEY]
    assert nvme.may() == (True, True) and scsi.may() == (True, False)
    scsi.register()
    assert "conflict" in scsi.reserve(EXCLUSIVE_ACCESS, status=CONFLICT).lower()
    scsi.preempt(EXCLUSIVE_ACCESS, NVME_KEY)
    assert nvme.report() == (2, {SCSI_KEY: True})
    assert nvme.may() == (False, False) and scsi.may() == (True, True)
    scsi.release(EXCLUSIVE_ACCESS)
    assert nvme.may() == (True, True) and scsi.report() is None and scsi.keys() == [SCSI_KEY]
    scsi.clear()
    assert scsi.keys() == [] and nvme.report() == (0, {})


def test_sg_persist_reserves(both):
    """What Linux asks over iSCSI would not bind, or not be understood by, Linux over NVMe."""
    nvme, scsi = both
    scsi.register()
    scsi.reserve(REGISTRANTS_ONLY)
    assert scsi.report() == (REGISTRANTS_ONLY[2], SCSI_KEY) and nvme.report() == (4, {SCSI_KEY: True})
    assert scsi.may() == (True, True) and nvme.may() == (False, False)
    assert "conflict" in nvme.acquire(WRITE_EXCLUSIVE, status=None).lower()
    nvme.register()
    assert nvme.may() == (True, True), "it is a registrant"
    nvme.acquire(EXCLUSIVE_ACCESS, victim=SCSI_KEY)
    assert "registrations preempted" in scsi.attention().lower()
    assert nvme.report() == (2, {NVME_KEY: True}) and scsi.report() == (EXCLUSIVE_ACCESS[2], NVME_KEY)
    assert nvme.may() == (True, True) and scsi.may() == (False, False)
    nvme.release(EXCLUSIVE_ACCESS)
    assert scsi.may() == (True, True) and nvme.report() == (0, {NVME_KEY: False})
    nvme.clear()
    assert scsi.keys() == [] and scsi.report() is None
