# SPDX-License-Identifier: BSD-3-Clause
"""The Debian package, built, installed in a guest and started there by systemd as its unit says.

A mistake in the unit's sandbox or in the maintainer scripts shows on the machine of whoever installs it and nowhere
else: a system call missing from the filter, a folder that cannot be written, a state that is not found again.
"""
import shutil
import subprocess
from pathlib import Path

import pytest

import guest as guests

ROOT = Path(__file__).resolve().parents[2]

# systemd needs to be process 1 of its own name space, and the control groups.
START_SYSTEMD = """
mkdir -p /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo ext > /etc/machine-id && systemd-machine-id-setup > /dev/null 2>&1 || true
rm -rf /etc/systemd/system/*.wants /usr/sbin/policy-rc.d
container=gantry-test unshare --fork --pid --mount --mount-proc --kill-child \
	/lib/systemd/systemd --unit=basic.target --log-target=console --show-status=no
"""
WORDS = """
manager=$(pgrep -o -x systemd)
inside() { nsenter -t "$manager" --mount --pid --root -- "$@"; }
state() { inside systemctl show -P "$2" "$1"; }
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    missing = guests.what_is_missing() or next((f"{p} is not there" for p in ("dpkg-buildpackage", "dh", "unshare")
                                                if not shutil.which(p)), None)
    if missing:
        pytest.fail(missing)
    where = tmp_path_factory.mktemp("deb")
    built = subprocess.run([ROOT / "tools/deb", where], capture_output=True, text=True, timeout=900, check=False)
    assert built.returncode == 0, built.stderr
    return Path(built.stdout.split()[-1])


@pytest.fixture(scope="module")
def machine(package, tmp_path_factory):
    """A guest in which systemd runs and the package is installed."""
    with guests.Guest(tmp_path_factory.mktemp("guest")) as guest:
        shutil.copy(package, guest.share / "gantry.deb")
        guest.systemd = guest.start(START_SYSTEMD)
        guest.run("for i in $(seq 300); do [ -S /run/systemd/private ] && exit 0; "
                  "p=$(pgrep -o -x systemd) && nsenter -t $p -m -p -r -- test -S /run/systemd/private && exit 0; "
                  "sleep 0.2; done; exit 1", timeout_s=90)
        # Triggers are those of others, such as an index of all manuals.
        inside(guest, "inside systemctl is-system-running --wait || true\n"
                      "inside dpkg --no-triggers -i /tmp/share/gantry.deb", timeout_s=180)
        yield guest


def inside(guest, script, timeout_s=60):
    """Run a script beside systemd; its output."""
    return guest.run(WORDS + script, timeout_s)


def test_starts_serves_and_keeps_its_state(machine):
    """Installing starts it. When it was stopped, the socket alone is there: the first command starts the daemon. A
    restart finds the disk again."""
    inside(machine, """
        [ "$(state gantryd ActiveState)" = active ]
        inside systemctl stop gantryd.service
        inside systemctl start gantryd.socket
        [ "$(inside stat -c '%a %U' /run/gantry/rpc.sock)" = "600 root" ]
        inside gantry rpc bdev_malloc_create name=ram num_blocks=2048 block_size=4096
        [ "$(state gantryd ActiveState)" = active ]
        inside gantry rpc nvmf_create_transport trtype=TCP
    """, 90)
    before = inside(machine, "inside gantry rpc bdev_get_bdevs name=ram")
    inside(machine, "inside systemctl restart gantryd", 60)
    assert inside(machine, "inside gantry rpc bdev_get_bdevs name=ram") == before


def test_a_killed_daemon_comes_back(machine):
    inside(machine, """
        inside systemctl start gantryd
        pid=$(state gantryd MainPID)
        inside systemctl kill -s KILL gantryd
        for i in $(seq 200); do
            [ "$(state gantryd ActiveState)" = active ] && [ "$(state gantryd MainPID)" != "$pid" ] && break
            sleep 0.2
        done
        [ "$(state gantryd ActiveState)" = active ] && [ "$(state gantryd MainPID)" != "$pid" ]
        inside gantry rpc bdev_get_bdevs name=ram
    """, 90)


def test_disks_of_machines_are_where_the_manual_says(machine):
    """Whatever the unit lets it write: the socket of a disk is made in /run/gantry/vhost, again after a restart."""
    inside(machine, """
        inside systemctl start gantryd
        inside gantry rpc vhost_create_blk_controller ctrlr=vm dev_name=ram
        inside test -S /run/gantry/vhost/vm
        inside systemctl restart gantryd
        inside gantry rpc vhost_get_controllers name=vm
        inside test -S /run/gantry/vhost/vm
        inside gantry rpc vhost_delete_controller ctrlr=vm
    """, 90)


def test_machines_of_a_group_reach_their_disks(machine):
    """As libvirt's do, which run as another user: with the drop-in that the unit speaks of, and members only."""
    inside(machine, """
        reach() { inside setpriv --reuid 65534 --regid "$1" --clear-groups test -w /run/gantry/vhost/vm; }
        inside groupadd -f -r kvm
        inside mkdir -p /etc/systemd/system/gantryd.service.d
        printf '[Service]\nSupplementaryGroups=kvm\nEnvironment=GANTRYD_OPTIONS=--vhost-group=kvm\n' |
            inside tee /etc/systemd/system/gantryd.service.d/machines.conf
        inside systemctl daemon-reload
        inside systemctl restart gantryd
        inside gantry disk create ram 8M --name machine
        inside gantry export disk machine --vhost --name vm
        reach kvm
        ! reach 65534 || exit 1
        inside gantry export remove vm
        inside gantry disk delete machine
        inside rm /etc/systemd/system/gantryd.service.d/machines.conf
        inside systemctl daemon-reload
        inside systemctl restart gantryd
    """, 120)


def test_is_confined(machine):
    """No root, no capability, no device, nothing to write but its state; and files there are disks through io_uring,
    or what takes its place."""
    shown = inside(machine, """
        inside systemctl start gantryd
        pid=$(state gantryd MainPID)
        inside grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/$pid/status
        inside truncate -s 16M /var/lib/private/gantry/disk.img
        inside chown --reference=/var/lib/private/gantry /var/lib/private/gantry/disk.img
        inside gantry rpc bdev_uring_create name=file filename=/var/lib/gantry/disk.img block_size=4096
        ! inside gantry rpc bdev_uring_create name=outside filename=/etc/hostname block_size=512 || exit 1
    """, 90)
    fields = dict(line.split(":", 1) for line in shown.splitlines() if ":" in line)
    assert fields["Uid"].split()[0] != "0"
    assert int(fields["CapEff"], 16) == 0 and int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1" and fields["Seccomp"].strip() == "2"


def test_unit_is_as_hard_as_it_says(machine):
    """systemd's own judgement, so that a line that goes missing is noticed."""
    inside(machine, "inside systemd-analyze security --threshold=20 gantryd.service", 60)


def test_goes_away(machine):
    """Removing stops it and leaves the state; purging leaves nothing of ours in /etc."""
    inside(machine, """
        inside dpkg --no-triggers --remove gantry
        [ "$(state gantryd ActiveState)" != active ]
        inside test -d /var/lib/private/gantry
        inside dpkg --no-triggers --purge gantry
        ! inside test -e /etc/default/gantryd
        ! inside test -e /run/gantry/rpc.sock
    """, 120)


def test_build_depends_on_what_the_tests_install():
    """tools/packages is what was tried on a bare machine; the package must not want more or less to be built."""
    wanted = [word for line in (ROOT / "tools/packages").read_text().splitlines() if line.startswith("build ")
              for word in line.split()[1:]]
    control = (ROOT / "debian/control").read_text().split("Build-Depends:")[1].split("Standards-Version")[0]
    named = {entry.split()[0] for entry in control.replace("\n", " ").split(",")}
    assert named - {"debhelper-compat"} == set(wanted) - {"gcc", "libc6-dev"}
