# SPDX-License-Identifier: BSD-3-Clause
"""Servers of vhost-user-blk for tests to talk to: gantryd, and QEMU's storage daemon for a second opinion on a test.

    @pytest.fixture(params=servers(), ids=...)
    with request.param(tmp_path, mib=16, queues=2) as server:
        Blk(server.path); server.kill(); server.start()

The disk is a file, server.image, so that it outlives its server.
"""
import os
import shutil
import signal
import subprocess

from gantry import Daemon, gantryd_path, wait_until


class Server:
    name = ""
    lacks = frozenset()                            # what tests have to do without, by word

    def __init__(self, directory, mib=16, queues=1, **options):
        self.directory, self.mib, self.queues, self.options = directory, mib, queues, options
        self.image = directory / "image"
        with open(self.image, "wb") as f:
            f.truncate(mib << 20)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.kill()
        else:
            self.stop()

    @classmethod
    def is_there(cls):
        return True


class StorageDaemon(Server):
    """qemu-storage-daemon (package qemu-system-common)."""
    name = "qemu-storage-daemon"
    # "disable": it serves rings that are not enabled. "config": it answers any piece with the beginning.
    lacks = frozenset({"packed", "inflight", "status", "in-band", "disable", "config", "old front-ends"})
    process = None

    @classmethod
    def is_there(cls):
        return bool(shutil.which(cls.name))

    @property
    def path(self):
        return self.directory / "vhost.sock"

    def start(self):
        for path in (self.path, self.directory / "ready"):
            path.unlink(missing_ok=True)
        writable, only_read = ("off", "on") if self.options.get("readonly") else ("on", "off")
        with open(self.directory / "qsd.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.name, "--pidfile", self.directory / "ready", "--blockdev",
                 f"driver=file,node-name=disk,filename={self.image},discard=unmap,read-only={only_read}",
                 "--export", f"vhost-user-blk,id=disk,node-name=disk,addr.type=unix,addr.path={self.path},"
                 f"writable={writable},num-queues={self.queues}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        wait_until((self.directory / "ready").exists, f"{self.name} to listen")

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def stop(self):
        self.check_alive()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.process = None

    def check_alive(self):
        assert self.process.poll() is None, f"it died: {self.log_tail()}"

    def log_tail(self):
        return (self.directory / "qsd.log").read_text(errors="replace")[-2000:]


class Gantryd(Server):
    """The project's daemon; its controller is called disk."""
    name = "gantryd"

    def __init__(self, directory, mib=16, queues=1, **options):
        super().__init__(directory, mib, queues, **options)
        self.sockets = directory / "vhost"
        self.sockets.mkdir()
        self.daemon = Daemon(directory, "-S", self.sockets, *options.pop("args", ()))

    @property
    def path(self):
        return self.sockets / "disk"

    def start(self):
        if self.daemon.process is None:
            self.daemon.start()
        self.daemon.rpc("bdev_aio_create", name="image", filename=str(self.image), block_size=512)
        self.daemon.rpc("vhost_create_blk_controller", ctrlr="disk", dev_name="image", num_queues=self.queues,
                        **self.options)

    def kill(self):
        self.daemon.kill()

    def stop(self):
        self.daemon.stop()

    def check_alive(self):
        self.daemon.check_alive()

    def log_tail(self):
        return self.daemon.log_tail()

    @classmethod
    def is_there(cls):
        return gantryd_path().exists()


def servers():
    """Those to be tried: gantryd; another one by its name in VHOST_SERVER, or "all" that are installed."""
    there = [s for s in (Gantryd, StorageDaemon) if s.is_there()]
    only = os.environ.get("VHOST_SERVER")
    return there if only == "all" else [s for s in there if s.name == only] if only else there[:1]
