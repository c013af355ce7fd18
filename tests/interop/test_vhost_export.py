# SPDX-License-Identifier: BSD-3-Clause
"""A machine as docs/VIRTUAL-MACHINES.md has it: disks made and exported by `gantry`, and a QEMU that is given the lines
that it prints, as they are. Were one of them wrong, nobody who follows the pages would have a disk."""
import re
import shlex

import pytest

import guest as guests
from gantry import Daemon, cpus
from jsonrpc import gantry
from vhost_guest import VhostGuest

MIB = 64
SLOW_S = 180    # the guest is emulated, and the machine has other things to do
PAGE = guests.INIT.parents[2] / "docs/VIRTUAL-MACHINES.md"


def printed(said):
    """The lines for QEMU, as lists of words."""
    return [shlex.split(line) for line in said.splitlines() if line.startswith("  -")]


class AsPrinted(VhostGuest):
    """Its memory is of the printed lines, too."""

    def __init__(self, directory, lines):
        self.lines = lines
        super().__init__(directory, [])

    def command_line(self, initramfs):
        line = super().command_line(initramfs)
        line[line.index("q35,memory-backend=memory")] = "q35"
        for word in ("-object", "-m"):
            at = line.index(word)
            del line[at:at + 2]
        return line + [word for row in self.lines for word in row]

    def load(self):
        super().load()
        self.run("modprobe virtio_scsi")


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    """gantry, of a daemon that keeps what it is told."""
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    directory = tmp_path_factory.mktemp("daemon")
    daemon = Daemon(directory, "-m", cpus(2), "-S", directory, "--state-dir", directory / "state")

    def run(*words, **how):
        return gantry(*words, socket=daemon.socket, **how)
    run.daemon = daemon
    daemon.start()
    yield run
    daemon.kill()


@pytest.fixture(scope="module")
def machine(cli, tmp_path_factory):
    """With a disk of each of the page's commands; the second one takes more options of the page."""
    said = []
    for name in ("disk0", "disk1"):
        image = cli.daemon.directory / f"{name}.img"
        with open(image, "wb") as f:
            f.truncate(MIB << 20)
        cli("disk", "create", "file", str(image), "--name", name)
        said.append(printed(cli("export", "disk", name, "--vhost")))
        assert printed(cli("export", "show", name)) == said[-1], "shown again they are others"
    cli("disk", "create", "ram", f"{MIB}M", "--name", "disk2")
    cli("rpc", "vhost_create_scsi_controller", "ctrlr=scsi0")
    cli("rpc", "vhost_scsi_controller_add_target", "ctrlr=scsi0", "scsi_target_num=0", "bdev_name=disk2")
    said.append(printed(cli("export", "show", "scsi0")))
    assert all(lines[0] == said[0][0] for lines in said), "memory is said once, and is the same for all"
    more = ",packed=on,queue-size=256,config-wce=off"
    assert all(option in PAGE.read_text() for option in more[1:].split(",")), "the page has other options now"
    said[1][-1][-1] += more
    lines = [said[0][0], *(line for rows in said for line in rows[1:])]
    with AsPrinted(tmp_path_factory.mktemp("guest"), lines) as guest:
        yield guest


def test_the_page_says_what_is_printed(cli, machine):
    """But for the name, and the directory."""
    text, path = PAGE.read_text(), str(cli.daemon.directory)
    for words in printed(cli("export", "show", "disk0")):
        assert f"`{' '.join(words).replace(path, '/run/gantry')}`" in text
    assert f"`{' '.join(printed(cli('export', 'show', 'scsi0'))[-1])}`" in text


def disks(machine):
    """Two of virtio-blk, in the order of their lines, one of virtio-scsi."""
    out = machine.run("until_true 60 test -b /dev/vdb; until_true 60 ls /dev/sda; ls -d /sys/block/vd* /sys/block/sd*")
    return [f"/dev/{name}" for name in sorted(re.findall(r"\b[vs]d[a-z]\b", out), reverse=True)]


def test_its_disks_are_there(machine):
    """With the queues that were written, and of the kinds that were asked for."""
    assert sorted(disks(machine)) == ["/dev/sda", "/dev/vda", "/dev/vdb"]
    machine.run("""
        for d in vda vdb; do test $(ls /sys/block/$d/mq | wc -l) = 2; test $(cat /sys/block/$d/size) = 131072; done
        test $(cat /sys/block/sda/size) = 131072""")
    features = machine.run("cat /sys/block/vda/device/features /sys/block/vdb/device/features").split()[-2:]
    assert [f[34] for f in features] == ["0", "1"], "packed rings are not those of the second"
    assert [f[11] for f in features] == ["1", "0"], "whose cache cannot be switched"


def test_file_systems_outlive_a_boot(machine):
    """On all three."""
    machine.run("""
        for d in vda vdb sda; do
            mkfs.ext4 -q -F /dev/$d; mkdir -p /$d; mount /dev/$d /$d
            for n in 1 2 3; do dd if=/dev/urandom of=/$d/$n bs=1M count=4 conv=fsync status=none; done
            (cd /$d; sha256sum 1 2 3 > sums); umount /$d
        done""", timeout_s=SLOW_S)
    machine.reboot()
    disks(machine)
    machine.run("""
        for d in vda vdb sda; do
            mkdir -p /$d; mount -o ro /dev/$d /$d
            (cd /$d; test $(wc -l < sums) = 3; sha256sum --quiet -c sums); umount /$d
        done""", timeout_s=SLOW_S)


def test_file_systems_outlive_the_daemon(cli, machine):
    """What the page says of one that is killed and comes back with what it kept: the guest waits, and goes on. (QEMU
    7.2 does not connect a SCSI controller again: nobody looks at that disk any more.)"""
    job = machine.start("""
        for d in vda vdb; do
            mkdir -p /$d; mount /dev/$d /$d
            for n in 1 2 3; do dd if=/dev/urandom of=/$d/new$n bs=1M count=4 conv=fsync status=none; done
            (cd /$d; sha256sum new* >> sums; sync); echo 3 > /proc/sys/vm/drop_caches
            (cd /$d; test $(wc -l < sums) = 6; sha256sum --quiet -c sums); umount /$d; fsck.ext4 -fn /dev/$d
        done; echo written""")
    cli.daemon.kill()
    cli.daemon.start()
    assert "written" in job.wait(SLOW_S)
