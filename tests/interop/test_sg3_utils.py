# SPDX-License-Identifier: BSD-3-Clause
"""sg3_utils and Linux's SCSI disk driver in the guest: what they read of a logical unit, and what they set there."""
import re

import pytest

SLOW_S = 120    # the guest is emulated, and the machine has other things to do
UUID = "5c2f6b0e-62a7-4c6e-a3f8-0d5d5a6f1e11"


class Host:
    """The guest, logged in to a target node by two portal groups."""

    def __init__(self, guest, daemon):
        self.guest = guest
        guest.run("iscsi_up; modprobe -a sg scsi_dh_alua")
        daemon.malloc("media", mib=16)
        exported = daemon.export(daemon.malloc("disk0", mib=64, uuid=UUID), daemon.malloc("disk1", mib=64),
                                 daemon.tell("bdev_powercut_create", name="cached", base_bdev_name="media"), portals=2)
        for port in exported.ports:
            guest.run(f"iscsi_login {exported.name} {port}", timeout_s=SLOW_S)
        self.daemon = daemon
        self.disk, self.other, self.cached = [self.of(exported.ports[0], lun) for lun in range(3)]
        self.disk_by_2 = self.of(exported.ports[1], 0)

    def of(self, port, lun):
        return self.run(f"iscsi_disk {port} {lun}").split()[-1]

    def run(self, command, **how):
        return self.guest.run(command, timeout_s=SLOW_S, **how)

    def generic(self, disk):
        return "/dev/" + self.run(f"ls /sys/block/{disk[5:]}/device/scsi_generic").strip()

    def sysfs(self, disk, name):
        return self.run(f"cat /sys/block/{disk[5:]}/{name}").strip()


@pytest.fixture
def host(guest, daemon):
    return Host(guest, daemon)


def names(host):
    wwid = host.sysfs(host.disk, "device/wwid")
    assert wwid.endswith(UUID) and wwid == host.sysfs(host.disk_by_2, "device/wwid")
    assert wwid != host.sysfs(host.other, "device/wwid")
    assert "Target port group: 0x2" in host.run(f"sg_vpd -p di {host.disk_by_2}")


def pages(host):
    said = host.run(f"for p in 0x00 0x80 0x83 0x86 0x87 0x88 0x8f 0xb0 0xb1 0xb2; do sg_vpd -p $p {host.disk}; done")
    assert UUID in said and "Maximum compare and write length" in said
    assert "Unmap command supported (LBPU): 1" in said and "copy src or dst is copy manager LU" in said
    inquiry = host.run(f"sg_inq -d {host.disk}")
    assert "[SPC-4]" in inquiry and "iSCSI" in inquiry and "SBC-3" in inquiry, inquiry
    said = host.run(f"sg_luns {host.disk}; sg_opcodes -m {host.disk}; sg_opcodes -R {host.disk}; "
                    f"sg_opcodes -q -t {host.disk}; sg_logs -a {host.disk}; sg_modes -a {host.disk}; "
                    f"sg_requests {host.disk}; sg_turs {host.disk}; sg_readcap -l {host.disk}; "
                    f"sg_timestamp {host.disk}; sg_senddiag -t {host.disk}; sg_rtpg -dd -e {host.disk}; "
                    f"sg_copy_results -p {host.disk}")
    assert "Caching" in said and "Abort task" in said and "active/optimized" in said, said


def driver(host):
    for name, value in (("device/vendor", "GANTRY"), ("queue/rotational", "0"), ("queue/logical_block_size", "512"),
                        ("device/access_state", "active/optimized"), ("device/dh_state", "alua"), ("ro", "0")):
        assert host.sysfs(host.disk, name) == value, name
    assert int(host.sysfs(host.disk, "queue/discard_max_bytes")) > 0
    assert int(host.sysfs(host.disk, "queue/write_zeroes_max_bytes")) > 0
    assert host.run(f"cat /sys/block/{host.disk[5:]}/device/scsi_disk/*/thin_provisioning").strip() == "1"
    complaints = [line for line in host.guest.console_since_mark().splitlines()
                  if re.search(r"\bsd \d|scsi \d", line) and
                  re.search(r"fail|invalid|unsupported|illegal|bug", line, re.I)]
    assert not complaints, "\n".join(complaints)


def test_what_the_target_says_is_understood(host):
    """Tools would show nonsense, udev would give disks unstable names, and the driver would set up queue limits, caches
    and discards otherwise than the disk has them."""
    names(host)
    pages(host)
    driver(host)


def copies(host):
    host.run(f"dd if=/dev/urandom of=/tmp/data bs=1M count=4; dd if=/tmp/data of={host.disk} bs=1M oflag=direct; "
             f"sg_xcopy if={host.generic(host.disk)} of={host.generic(host.other)} bs=512 count=8192 seek=2048; "
             f"dd if={host.other} of=/tmp/copy bs=1M skip=1 count=4 iflag=direct; cmp /tmp/data /tmp/copy")


def protection(host):
    rescan = f"echo 1 > /sys/block/{host.disk_by_2[5:]}/device/rescan"
    write = f"dd if=/dev/zero of={host.disk_by_2} bs=4k count=1 oflag=direct"
    host.run(f"sg_wr_mode -p 0xa -c 0,0,0,0,8 -m 0,0,0,0,8 {host.disk}; ! {write}; {rescan}")
    assert host.sysfs(host.disk_by_2, "ro") == "1"
    host.run(f"sg_wr_mode -p 0xa -c 0,0,0,0,0 -m 0,0,0,0,8 {host.disk}; {rescan}; {write}")


def cache(host):
    def unflushed():
        facts = host.daemon.rpc("bdev_get_bdevs", name="cached")[0]["driver_specific"]["powercut"]
        return facts["unflushed_blocks"]

    assert host.sysfs(host.cached, "queue/write_cache") == "write back"
    host.run(f"dd if=/dev/zero of={host.cached} bs=4k count=1 oflag=direct")
    assert unflushed() > 0
    host.run(f"echo 'write through' > $(echo /sys/block/{host.cached[5:]}/device/scsi_disk/*/cache_type)")
    assert unflushed() == 0 and host.sysfs(host.cached, "queue/write_cache") == "write through"
    host.run(f"dd if=/dev/zero of={host.cached} bs=4k count=1 oflag=direct")
    assert unflushed() == 0


def ways(host):
    host.run(f"sg_stpg --standby {host.disk} --tp=2")
    said = host.run(f"sg_rtpg -d {host.disk}; ! sg_turs -vv {host.disk_by_2} 2>&1")
    assert "standby" in said, said
    size = f"cat /sys/block/{host.disk_by_2[5:]}/size"
    assert host.run(f"echo 1 > /sys/block/{host.disk_by_2[5:]}/device/rescan; {size}").strip() == str(64 << 11)
    host.run(f"sg_stpg --tp=2 --state=0 {host.disk}; sg_turs {host.disk_by_2} || sg_turs {host.disk_by_2}")


def test_what_a_host_sets_is_so(host):
    """Offloaded copies would copy something else, what one host protects would be written to by another one, what is
    written through would stay in a cache, and a way that was closed would be taken."""
    copies(host)
    protection(host)
    cache(host)
    ways(host)
