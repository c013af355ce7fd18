# SPDX-License-Identifier: BSD-3-Clause
"""Linux's iSCSI initiator (open-iscsi) in the guest."""
import pytest

from client import FIO, fio_result
from gantry import wait_until
from proxy import Proxy

SLOW_S = 120    # the guest is emulated, and the machine has other things to do
VERIFY = "--verify=crc32c --verify_fatal=1"
LOAD = f"--rw=randrw --bs=4k --iodepth=8 --size=8m {VERIFY} --do_verify=1"
CHAP = ("node.session.auth.authmethod CHAP node.session.auth.username user "
        "node.session.auth.password initiator-secret")
MUTUAL = "node.session.auth.username_in target node.session.auth.password_in target-secret-2"


class Initiator:
    """The guest's iscsid, and what it is logged in to."""

    def __init__(self, guest):
        self.guest = guest
        guest.run("iscsi_up")

    def login(self, exported, options="", port=None, lun=0):
        """The block device."""
        port = port or exported.port
        return self.guest.run(f"iscsi_login {exported.name} {port} {options} >&2; iscsi_disk {port} {lun}",
                              timeout_s=SLOW_S).split()[-1]

    def logout(self, exported, port=None):
        self.guest.run(f"iscsiadm -m node -T {exported.name} -p $HOST:{port or exported.port} --logout",
                       timeout_s=SLOW_S)

    def load(self, disk):
        """Verified I/O until end()."""
        job = self.guest.start(f"until [ -e /tmp/enough ]; do {FIO} --name=load --filename={disk} {LOAD} "
                               "> /tmp/fio.out 2>&1 || { cat /tmp/fio.out; exit 1; }; done; rm /tmp/enough")
        self.goes_on(disk, job)
        return job

    def done(self, disk):
        return int(self.guest.run(f"awk '{{ print $1 + $5 }}' /sys/block/{disk[5:]}/stat"))

    def goes_on(self, disk, job, ios=200):
        before = self.done(disk)

        def more():
            assert job.running, job.describe("fio ended")
            return self.done(disk) > before + ios
        wait_until(more, f"I/O on {disk} to go on", SLOW_S, 0.2)

    def end(self, job):
        self.guest.run("touch /tmp/enough")
        job.wait(SLOW_S)


@pytest.fixture
def initiator(guest):
    return Initiator(guest)


@pytest.fixture
def exported(daemon):
    return daemon.export(daemon.malloc("disk0", mib=64), daemon.malloc("disk1", mib=64, block_size=4096))


def test_discovery(initiator, exported):
    """A host would not find its disk."""
    out = initiator.guest.run(f"iscsiadm -m discovery -t sendtargets -p $HOST:{exported.port}; "
                              "iscsiadm -m node -o delete")
    assert f"127.0.0.1:{exported.port},1 {exported.name}" in out


@pytest.mark.parametrize("options, found", [
    ("", ["header_digest:0", "data_digest:0", "initial_r2t:0", "immediate_data:1", "first_burst_len:262144",
          "max_burst_len:16776192", "max_xmit_dlength:262144"]),
    ("node.conn[0].iscsi.HeaderDigest CRC32C node.conn[0].iscsi.DataDigest CRC32C",
     ["header_digest:1", "data_digest:1"]),
    ("node.session.iscsi.InitialR2T Yes node.session.iscsi.ImmediateData No node.session.iscsi.MaxBurstLength 4096 "
     "node.conn[0].iscsi.MaxRecvDataSegmentLength 2048",
     ["initial_r2t:1", "immediate_data:0", "max_burst_len:4096", "max_recv_dlength:2048"]),
], ids=["defaults", "digests", "small"])
def test_what_is_written_is_read_back(initiator, exported, options, found):
    """Data would be lost or torn, whatever was negotiated."""
    disk = initiator.login(exported, options)
    out = initiator.guest.run(f"iscsi_parameters {exported.port}")
    assert all(line in out.split() for line in found), out
    for more in ("--bs=4k --iodepth=16 --size=4m", "--bsrange=4k-512k --blockalign=4k --iodepth=4 --size=24m"):
        result = fio_result(initiator.guest.fio(disk, f"--rw=randrw {more} {VERIFY} --do_verify=1").wait(SLOW_S))
        assert result["error"] == 0 and result["write"]["total_ios"] > 20, result


def test_the_kernel_sees_what_it_is(initiator, exported):
    """Sizes, identity, thin provisioning, caches: as the disk is."""
    for lun, size in ((0, 512), (1, 4096)):
        disk = initiator.login(exported, lun=lun) if lun == 0 else \
            initiator.guest.run(f"iscsi_disk {exported.port} 1").strip()
        name = disk[5:]
        out = initiator.guest.run(f"blockdev --getsize64 --getss {disk}; cd /sys/block/{name}; "
                                  "cat queue/discard_max_bytes queue/write_zeroes_max_bytes device/wwid")
        lines = out.split("\n")
        assert lines[:2] == [str(64 << 20), str(size)], out
        assert int(lines[2]) > 0 and int(lines[3]) > 0, f"no discard, or no write zeroes: {out}"
        assert lines[4].strip(), "no identity"


def test_ext4_with_discard(initiator, exported):
    """A file system would be damaged by reconnecting, or its free blocks not be given back."""
    disk = initiator.login(exported)
    initiator.guest.run(f"""
        mkfs.ext4 -q -F {disk}; mount -o discard {disk} /mnt
        dd if=/dev/urandom of=/mnt/random bs=1M count=8 conv=fsync status=none
        (cd /mnt; sha256sum random > /tmp/sums); umount /mnt; fsck.ext4 -fn {disk}
        iscsiadm -m node -T {exported.name} -p $HOST:{exported.port} --logout
        iscsiadm -m node -T {exported.name} -p $HOST:{exported.port} --login
        disk=$(iscsi_disk {exported.port} 0)
        mount $disk /mnt; (cd /mnt; sha256sum --quiet -c /tmp/sums)
        rm /mnt/random; fstrim -v /mnt; umount /mnt; fsck.ext4 -fn $disk""", timeout_s=SLOW_S)


@pytest.mark.parametrize("mutual", [False, True], ids=["one way", "both ways"])
def test_chap(initiator, daemon, mutual):
    """A host with the right secrets would not get in; or one with wrong ones would."""
    secret = {"user": "user", "secret": "initiator-secret"}
    if mutual:
        secret |= {"muser": "target", "msecret": "target-secret-2"}
    daemon.rpc("iscsi_create_auth_group", tag=1, secrets=[secret])
    exported = daemon.export(daemon.malloc("disk0", mib=16), disable_chap=False, require_chap=True, mutual_chap=mutual,
                             chap_group=1)
    options = f"{CHAP} {MUTUAL if mutual else ''}"
    for wrong in (options.replace("initiator-secret", "nitiator-secret"), "",
                  *([options.replace("target-secret-2", "target-secret-3")] if mutual else [])):
        initiator.guest.run(f"! iscsi_login {exported.name} {exported.port} {wrong} "
                            "node.session.initial_login_retry_max 1; iscsiadm -m node -o delete", timeout_s=SLOW_S)
    disk = initiator.login(exported, options)
    initiator.guest.run(f"dd if=/dev/zero of={disk} bs=4k count=8 oflag=direct status=none")


def test_resize_and_new_luns(initiator, daemon, exported):
    """A grown disk would keep its size, a new one would not be found, one that goes would take others along."""
    disk = initiator.login(exported)
    job = initiator.load(disk)
    guest = initiator.guest
    daemon.rpc("bdev_malloc_resize", name="disk0", new_size=96)
    guest.run(f"is_size() {{ echo 1 > /sys/block/{disk[5:]}/device/rescan; "
              f"[ $(blockdev --getsize64 {disk}) = {96 << 20} ]; }}; until_true 30 is_size")
    daemon.rpc("iscsi_target_node_add_lun", name=exported.name, bdev_name=daemon.malloc("disk2", mib=32), lun_id=5)
    guest.run(f"iscsiadm -m session --rescan > /dev/null; disk=$(iscsi_disk {exported.port} 5); "
              f"[ $(blockdev --getsize64 $disk) = {32 << 20} ]; dd if=$disk of=/dev/null bs=64k count=16 iflag=direct",
              timeout_s=SLOW_S)
    initiator.goes_on(disk, job)
    daemon.rpc("iscsi_target_node_remove_lun", name=exported.name, lun_id=5)
    guest.run(f"! dd if=$(find_iscsi_disk {exported.port} 5) of=/dev/null bs=4k count=1 iflag=direct", timeout_s=SLOW_S)
    initiator.goes_on(disk, job)
    initiator.end(job)


def test_target_is_killed_and_comes_back(initiator, daemon):
    """A restart of the daemon is, to hosts, a pause: no error, no lost write, no double one."""
    path = daemon.directory / "disk"
    with open(path, "wb") as f:
        f.truncate(64 << 20)
    daemon.tell("bdev_aio_create", name="file", filename=str(path), block_size=512)
    exported = daemon.export("file")
    disk = initiator.login(exported)
    job = initiator.load(disk)
    for _ in range(2):
        daemon.kill()
        daemon.start()
        daemon.replay()
        initiator.goes_on(disk, job)
    initiator.end(job)


def test_one_portal_of_two_is_cut(initiator, daemon):
    """Two paths to one disk: I/O goes on over the other one, and all of it is there."""
    exported = daemon.export(daemon.malloc("disk0", mib=64), portals=2)
    quick = "node.session.timeo.replacement_timeout 3"
    guest = initiator.guest
    with Proxy(exported.ports[0]) as one, Proxy(exported.ports[1]) as two:
        disks = [initiator.login(exported, quick, proxy.port) for proxy in (one, two)]
        wwids = guest.run(" ".join(f"cat /sys/block/{d[5:]}/device/wwid;" for d in disks)).split("\n")
        assert wwids[0] == wwids[1] and wwids[0]
        paths = " ".join(f"round-robin 0 1 1 {d} 1" for d in disks)
        disk = "/dev/dm-" + guest.run(f"""
            echo "0 $(blockdev --getsz {disks[0]}) multipath 1 queue_if_no_path 0 2 1 {paths}" | dmsetup create both >&2
            dmsetup info -c --noheadings -o minor both""").split()[-1]
        job = initiator.load(disk)
        for cut, number in ((one, 0), (two, 1)):
            cut.cut()
            initiator.goes_on(disk, job)
            cut.mend()
            name = disks[number][5:]
            guest.run(f"is_running() {{ [ $(cat /sys/block/{name}/device/state) = running ] && "
                      f"dd if={disks[number]} of=/dev/null bs=4k count=1 iflag=direct; }}; until_true 60 is_running; "
                      f"dmsetup message both 0 reinstate_path $(cat /sys/block/{name}/dev)", timeout_s=SLOW_S)
            initiator.goes_on(disk, job)
        initiator.end(job)
        guest.run("dmsetup remove both")
        for proxy in (one, two):
            initiator.logout(exported, proxy.port)


def test_sessions_move_between_cores_under_io(initiator, daemon, exported):
    """A move would lose, double or delay what is under way."""
    disk = initiator.login(exported)
    job = initiator.load(disk)
    reactors = len(daemon.rpc("framework_get_reactors")["reactors"])
    (connection,) = daemon.rpc("iscsi_get_connections")
    for n in range(8):
        daemon.rpc("iscsi_move_session", id=connection["id"], reactor=n % reactors)
        initiator.goes_on(disk, job, 50)
    initiator.end(job)


def test_logout_under_io(initiator, exported):
    """The host would hang, or the daemon keep what is left of its commands."""
    disk = initiator.login(exported)
    job = initiator.load(disk)
    initiator.logout(exported)
    job.wait(SLOW_S, check=False)
    assert job.status != 0
    disk = initiator.login(exported)
    initiator.end(initiator.load(disk))
