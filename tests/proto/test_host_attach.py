# SPDX-License-Identifier: BSD-3-Clause
"""A remote disk through the daemon: attached, used, lost, found again, detached."""
import ctypes
import os
import socket
import time

import pytest

from gantry import RpcError, free_port, wait_until
from load import Load
from nvme_tcp import IO_READ, Host, must, rw, sqe
from remote import attach, detach, disks, paths, states, wait_state
from scrape import scrape

PIDFD_GETFD = 438       # pidfd_getfd(), which no libc of the time has
TCP_USER_TIMEOUT = 18


def test_disk_passes_through(daemon, target):
    served = target.export(disks=2)
    assert attach(daemon, served) == ["Nvme0n1", "Nvme0n2"]
    disk, = daemon.rpc("bdev_get_bdevs", name="Nvme0n1")
    there, = target.rpc("bdev_get_bdevs", name="m0")
    assert (disk["product_name"], disk["uuid"]) == ("NVMe disk", there["uuid"])
    assert (disk["num_blocks"], disk["block_size"]) == (there["num_blocks"], there["block_size"])
    assert disk["driver_specific"]["nvme"][0]["ns_data"]["id"] == 1
    gateway = daemon.serve("Nvme0n1")
    data = os.urandom(64 << 10)
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(5, data, in_capsule=False))
        assert host.io.read(5, 128) == data
        must(host.io.command(sqe(0, 1)))                          # flush
    with Host(served.port, served.nqn) as host:                   # it lies there
        assert host.io.read(5, 128) == data
    path, = paths(daemon)
    assert path["state"] == "enabled" and path["io"]["completed"] and path["io"]["errors"] == 0
    assert path["trid"]["trsvcid"] == str(served.port) and "why" not in path


def test_load_verifies_through_the_gateway(daemon, target):
    attach(daemon, target.export(), hdgst=True, ddgst=True)
    with Load(daemon, daemon.serve("Nvme0n1")) as load:
        load.more_ios(2000)


def test_load_survives_a_target_that_restarts(daemon, target):
    """Reads and writes wait while it is away. Its RAM disk comes back empty, so nobody verifies."""
    attach(daemon, target.export())
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        for n in range(3):
            must(host.io.write(0, bytes(4096)))
            target.kill()
            wait_until(lambda: states(daemon) != ["enabled"], "the path to be lost")
            target.again()
            wait_state(daemon, "enabled")
            assert len(host.io.read(0, 8)) == 4096
    path, = paths(daemon)
    assert path["connected"] == 4 and sum(path["ended_by"].values()) >= 3     # more where an attempt came too soon
    assert disks(daemon) == ["Nvme0n1"]


def test_read_waits_for_its_target(daemon, target):
    """It is asked for while nobody is there to answer, and ends well when somebody is."""
    attach(daemon, target.export(), ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1, fast_io_fail_timeout_sec=0)
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
        target.kill()
        wait_until(lambda: states(daemon) != ["enabled"], "the path to be lost")
        waits = host.io.submit(rw(IO_READ, 0, 8), expect=4096)
        target.again()
        must(host.io.wait(waits))


def test_nothing_remains_of_an_attempt_that_failed(daemon):
    for _ in range(3):
        with pytest.raises(RpcError, match="Connection refused; does a target listen at that address and port"):
            attach(daemon, type("Nobody", (), {"port": free_port(), "nqn": "nqn.2016-06.io.gantry:nobody"}))
        assert daemon.rpc("bdev_nvme_get_controllers") == []


def test_unknown_subsystem_is_a_sentence(daemon, target):
    served = target.export()
    with pytest.raises(RpcError, match="nobody"):
        attach(daemon, type("Nobody", (), {"port": served.port, "nqn": "nqn.2016-06.io.gantry:nobody"}))
    assert daemon.rpc("bdev_nvme_get_controllers") == []


def test_name_or_path_twice(daemon, target):
    served = target.export(ports=2)
    attach(daemon, served)
    with pytest.raises(RpcError, match="already exists with the specified"):
        attach(daemon, served)
    with pytest.raises(RpcError, match="multipath is disabled"):
        attach(daemon, served, port=served.ports[1], multipath="disable")
    with pytest.raises(RpcError, match="different subnqn"):
        attach(daemon, type("Other", (), {"port": served.port, "nqn": "nqn.2016-06.io.gantry:other"}))
    assert states(daemon) == ["enabled"]


def test_detach_while_it_connects_and_while_it_is_lost(daemon, target):
    attach(daemon, target.export())
    target.kill()
    wait_state(daemon, "reconnect_is_delayed")
    began = time.monotonic()
    detach(daemon)
    assert time.monotonic() - began < 10 and disks(daemon) == [] and daemon.rpc("bdev_nvme_get_controllers") == []
    with pytest.raises(RpcError, match="there is no NVMe controller"):
        detach(daemon)


def test_detach_under_load_is_an_end(daemon, target):
    attach(daemon, target.export())
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
        detach(daemon)
        assert disks(daemon) == []
    attach(daemon, target.served)
    assert disks(daemon) == ["Nvme0n1"]


def test_reset_disable_enable(daemon, target):
    attach(daemon, target.export())
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
        daemon.rpc("bdev_nvme_reset_controller", name="Nvme0")
        assert len(host.io.read(0, 8)) == 4096
        daemon.rpc("bdev_nvme_disable_controller", name="Nvme0")
        assert states(daemon) == ["disabled"]
        with pytest.raises(RpcError, match="is disabled"):
            daemon.rpc("bdev_nvme_reset_controller", name="Nvme0")
        daemon.rpc("bdev_nvme_enable_controller", name="Nvme0")
        assert states(daemon) == ["enabled"]
        assert len(host.io.read(0, 8)) == 4096
    path, = paths(daemon)
    assert path["connected"] == 3 and path["ended_by"] == {"asked": 2}
    with pytest.raises(RpcError, match="no path with controller 999"):
        daemon.rpc("bdev_nvme_reset_controller", name="Nvme0", cntlid=999)


@pytest.mark.parametrize("options,words", [
    ({"psk": "k"}, "there is no key"), ({"dhchap_key": "k"}, "there is no key"),
    ({"trtype": "RDMA"}, "RDMA"), ({"adrfam": "fc"}, "ipv4 and ipv6"), ({"subnqn": ""}, "subnqn"),
    ({"ctrlr_loss_timeout_sec": 0, "reconnect_delay_sec": 1}, "no second attempt"),
    ({"ctrlr_loss_timeout_sec": 5, "reconnect_delay_sec": 6}, "more than ctrlr_loss_timeout_sec"),
    ({"reconnect_delay_sec": 3, "fast_io_fail_timeout_sec": 2}, "less than reconnect_delay"),
    ({"ctrlr_loss_timeout_sec": -2}, "less than -1"), ({"priority": "9"}, "priority"),
    ({"multipath_opts": {"policy": "active_passive", "selector": "queue_depth"}}, "selector"),
])
def test_what_cannot_be_is_said(daemon, options, words):
    params = {"name": "N", "trtype": "TCP", "traddr": "127.0.0.1", "trsvcid": "1", "subnqn": "nqn.2016-06.io.gantry:x"}
    with pytest.raises(RpcError, match=words):
        daemon.rpc("bdev_nvme_attach_controller", **{**params, **options})


def test_options_before_the_first_controller(daemon, target):
    assert daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=20000, arbitration_burst=3, bdev_retry_count=-1)
    attach(daemon, target.export())
    with pytest.raises(RpcError, match="controllers attached"):
        daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=10000)


def option_of_connections(daemon, port, level, name):
    """What the kernel has of each of the daemon's connections to a port: by another descriptor of the same socket."""
    libc, values = ctypes.CDLL(None, use_errno=True), []
    pid_fd = os.pidfd_open(daemon.pid)
    try:
        for fd in os.listdir(f"/proc/{daemon.pid}/fd"):
            if not os.readlink(f"/proc/{daemon.pid}/fd/{fd}").startswith("socket:"):
                continue
            own = libc.syscall(PIDFD_GETFD, pid_fd, int(fd), 0)
            if own < 0:
                pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
            with socket.socket(fileno=own) as s:
                try:
                    peer = s.getpeername()
                except OSError:
                    continue                                    # a listener
                if s.family == socket.AF_INET and peer[1] == port:
                    values.append(s.getsockopt(level, name))
    finally:
        os.close(pid_fd)
    return values


@pytest.mark.parametrize("options, expected", [({}, 5000), ({"tcp_connect_timeout_ms": 3000}, 3000),
                                               ({"transport_ack_timeout": 12}, 4096)])
def test_silence_of_a_target_is_not_waited_for_as_long_as_the_kernel_would(daemon, target, options, expected):
    """TCP_USER_TIMEOUT, of the admin connection and the others: two to the power of what is given, in ms."""
    if options:
        assert daemon.rpc("bdev_nvme_set_options", **options)
    served = target.export()
    attach(daemon, served)
    with Host((gateway := daemon.serve("Nvme0n1")).port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
        values = option_of_connections(daemon, served.port, socket.IPPROTO_TCP, TCP_USER_TIMEOUT)
    assert len(values) >= 2 and set(values) == {expected}


def test_counters_and_events(daemon, target):
    """What becomes of a path is in the metrics and among the notifications."""
    port = free_port()
    try:
        daemon.rpc("metrics_start_server", port=port)
    except RpcError as e:
        pytest.skip(str(e))
    served = target.export()
    attach(daemon, served, reconnect_delay_sec=1)
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
    target.kill()
    wait_until(lambda: paths(daemon)[0]["ended_by"].get("refused"), "an attempt in vain")
    who = {"controller": "Nvme0", "traddr": "127.0.0.1", "trsvcid": served.port}
    m = wait_until(lambda: (lambda m: m if m.get("gantry_remote_ended_total", reason="refused", **who) else None)
                   (scrape(port)), "the metrics to catch up", 30, 0.1)
    assert m.get("gantry_remote_path_up", **who) == 0
    assert m.get("gantry_remote_connects_total", result="ready", **who) == 1
    assert m.get("gantry_remote_connects_total", result="tried", **who) >= 2
    assert m.get("gantry_remote_io_total", event="completed", **who) >= 1
    events = [e["type"] for e in daemon.rpc("notify_get_notifications", id=0, max=100)]
    assert events.index("remote_path_up") < events.index("remote_path_lost")
