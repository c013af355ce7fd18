# SPDX-License-Identifier: BSD-3-Clause
"""An avahi-daemon of a test's own: on a D-Bus and in a network of its own, where nobody else hears it.

    with Avahi(directory) as avahi:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", avahi.bus)
        ... start daemons ...
        avahi.stop(); avahi.start()
"""
import os
import shutil
import signal
import subprocess
from pathlib import Path

from gantry import wait_until

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow receive_type="*"/><allow send_type="signal"/></policy></busconfig>
"""
# Their own loopback, and a /run of their own for the daemon's lock and socket.
INSIDE = "ip link set lo up && mount -t tmpfs none /run && exec avahi-daemon --no-drop-root --no-chroot --no-rlimits " \
         "--no-proc-title -f {config}"


def why_not():
    """None: it can be."""
    for program in ("dbus-daemon", "avahi-daemon", "unshare", "ip"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return f"there is no {program}"
    if subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True).returncode:
        return "networks of one's own are not allowed here"
    return None


class Avahi:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.bus = f"unix:path={self.directory}/bus"
        self.env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.bus, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        self.dbus = self.avahi = None

    def __enter__(self):
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "bus.conf"
        config.write_text(BUS_CONFIG.format(path=self.directory / "bus"))
        (self.directory / "avahi.conf").write_text("[server]\nhost-name=gantrytest\nuse-ipv6=no\nenable-dbus=yes\n"
                                                   "[publish]\npublish-workstation=no\n")
        self.dbus = subprocess.Popen(["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"],
                                     env=self.env)
        wait_until((self.directory / "bus").exists, "the bus")
        return self.start()

    def __exit__(self, *_):
        self.stop()
        self.dbus.send_signal(signal.SIGTERM)
        self.dbus.wait(20)

    def start(self):
        self.avahi = subprocess.Popen(["unshare", "-n", "-m", "sh", "-c",
                                       INSIDE.format(config=self.directory / "avahi.conf")], env=self.env)
        wait_until(self.runs, "avahi-daemon")
        return self

    def stop(self):
        if self.avahi:
            self.avahi.send_signal(signal.SIGTERM)
            self.avahi.wait(20)
        self.avahi = None

    def call(self, path, method, *args):
        done = subprocess.run(["dbus-send", f"--bus={self.bus}", "--print-reply=literal",
                               "--dest=org.freedesktop.Avahi", path, f"org.freedesktop.Avahi.{method}", *args],
                              capture_output=True, text=True, env=self.env, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else None

    def runs(self):
        return self.call("/", "Server.GetState") == "int32 2"

    def resolve(self, name, service="_nvme-disc._tcp"):
        """What avahi-daemon itself says of a service; None: there is none of that name."""
        return self.call("/", "Server.ResolveService", "int32:-1", "int32:-1", f"string:{name}", f"string:{service}",
                         "string:local", "int32:-1", "uint32:0")
