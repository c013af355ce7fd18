# SPDX-License-Identifier: BSD-3-Clause
"""Remote disks of a daemon under trouble: attach them, serve them again, look at how they are.

    disk = attach(daemon, target, "r")              what it is attached to: a BadTarget, a Served; its first disk: "rn1"
    with gateway(daemon, disk) as host: ...         a Host that reads and writes the remote disk through the daemon
    refused(daemon, target)                         the sentence with which an attach ends
"""
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from gantry import NQN, RpcError
from nvme_tcp import Host

PATIENCE_S = 60             # for what has to come, on any machine
AT_ONCE = 48
serials = itertools.count(1)


def where(target, **more):
    return {"trtype": "TCP", "adrfam": "IPv4", "traddr": getattr(target, "address", "127.0.0.1"),
            "trsvcid": str(target.port), "subnqn": target.nqn, **more}


def attach(daemon, target, name="r", **more):
    """The name of its first disk."""
    disks = daemon.rpc("bdev_nvme_attach_controller", PATIENCE_S, name=name, **where(target, **more))
    return disks[0] if disks else None


def refused(daemon, target, name="r", **more):
    """The sentence, and how long it took to come."""
    began = time.monotonic()
    try:
        disks = daemon.rpc("bdev_nvme_attach_controller", PATIENCE_S * 2, name=name, **where(target, **more))
    except RpcError as error:
        return error.message, time.monotonic() - began
    raise AssertionError(f"{name} was attached: {disks}")


def detach(daemon, name="r", **more):
    daemon.rpc("bdev_nvme_detach_controller", PATIENCE_S, name=name, **more)


def disks_of(daemon, name="r"):
    return sorted(b["name"] for b in daemon.rpc("bdev_get_bdevs") if b["name"].startswith(name + "n"))


def disk_of(daemon, name):
    return daemon.rpc("bdev_get_bdevs", name=name)[0]


def controllers(daemon, name="r"):
    """The paths, as bdev_nvme_get_controllers has them."""
    try:
        return daemon.rpc("bdev_nvme_get_controllers", name=name)[0]["ctrlrs"]
    except RpcError:
        return []


def serve(daemon, disk):
    """A subsystem of its own with this disk."""
    return daemon.serve(disk, nqn=f"{NQN}-{next(serials)}-{disk}".lower(), discovery=False)


@contextmanager
def gateway(daemon, disk, **host):
    """A host of the disk; it waits for as long as anything may take here."""
    served = serve(daemon, disk)
    with Host(served.port, served.nqn, **host) as connected:
        for conn in (connected.admin, *connected.ios):
            conn.sock.settimeout(PATIENCE_S)
        yield connected


def works(host, blocks=8):
    """Does the disk behind this host take and give data?"""
    data = f"{time.monotonic()} ".encode().ljust(512, b".") * blocks
    status = host.io.write(0, data).status
    assert status == 0, f"write: status {status:#x}"
    assert host.io.read(0, blocks) == data


class Beside(threading.Thread):
    """RPCs, one after the other, while something else is done: how long each took, and what went wrong."""

    def __init__(self, daemon, method="bdev_get_bdevs", every_s=0.01, **params):
        super().__init__(daemon=True)
        self.daemon_, self.method, self.params, self.every_s = daemon, method, params, every_s
        self.ended, self.times, self.failure = threading.Event(), [], None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.ended.set()
        self.join()
        if not kind:
            assert not self.failure and self.times, f"the RPCs beside this test: {self.failure}"

    def run(self):
        while not self.ended.wait(self.every_s):
            began = time.monotonic()
            try:
                self.daemon_.rpc(self.method, PATIENCE_S, **self.params)
            except Exception as failure:    # pylint: disable=broad-except
                self.failure = repr(failure)
                return
            self.times.append(time.monotonic() - began)


def longest_callbacks(daemon):
    """{reactor: (ms, what)}, since the daemon began."""
    return longest(daemon, "longest")


def longest_cpu(daemon):
    """The same by CPU time of the reactor's thread: up to 0.25 ms too much, never too little."""
    return longest(daemon, "longest_cpu")


def longest(daemon, field):
    return {r["name"]: (r[f"{field}_ns"] / 1e6, r[f"{field}_name"])
            for r in daemon.rpc("gantry_get_wakeups")["reactors"]}


def in_parallel(call, count):
    """call(0), call(1), ... at once; their results, or what they raised. The daemon takes 64 clients at a time."""
    def run(i):
        try:
            return call(i)
        except Exception as failure:        # pylint: disable=broad-except
            return failure
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, range(count)))
