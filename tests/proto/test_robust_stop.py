# SPDX-License-Identifier: BSD-3-Clause
"""A daemon that does not end when it is told to, because of what a host does, is killed by whoever waits for it."""
import base64
import socket
import subprocess
import threading
import time

import pytest

import bad_ways as ways
from attached import attach
from bad_target import BadTarget
from crowd import Crowd
from gantry import Daemon, RpcError, free_port, wait_until
from load import connections, ios_done, perf_command, tcp_counter
from nvme_tcp import ADMIN_ASYNC_EVENT, CMD, IO_READ, IO_WRITE, Conn, Host, make_icreq, rw, sgl_in_capsule, sqe

STOP_S_MAX = 10             # what a service manager waits for, and more; a hang, not a figure


def stop(daemon):
    began = time.monotonic()
    daemon.stop()            # also: status 0, nothing bad in the log
    took = time.monotonic() - began
    print(f"ended {took * 1000:.0f} ms after SIGTERM")
    assert took < STOP_S_MAX


def deaf(served):
    """Reads none of what it asked for."""
    host = Host(served.port, served.nqn)
    for n in range(100):
        host.io.submit(rw(IO_READ, n, 256), expect=131072)
    return host


def silent_after_r2t(served):
    host = Host(served.port, served.nqn)
    for n in range(100):
        host.io.submit(rw(IO_WRITE, n, 256), bytes(131072), in_capsule=False)
    return host


def waiting_for_events(served):
    host = Host(served.port, served.nqn, kato_ms=5000)
    for _ in range(4):
        host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
    return host


def within_a_pdu(served):
    host = Host(served.port, served.nqn)
    host.io.send(host.io.pdu(CMD, rw(IO_WRITE, 0, 8, sgl=sgl_in_capsule(4096)), bytes(4096))[:1000])
    return host


def within_icreq(served):
    conn = Conn(served.port, handshake=False)
    conn.send(make_icreq()[:50])
    return conn


def terminated(served):
    """Was told to close, and does not."""
    conn = Conn(served.port)
    conn.send(b"\xff" * 128)
    return conn


@pytest.mark.parametrize("kind", [deaf, silent_after_r2t, waiting_for_events, within_a_pdu, within_icreq, terminated])
def test_whatever_hosts_do(tmp_path, kind):
    with Daemon(tmp_path) as daemon:
        served = daemon.serve(daemon.malloc("disk"))
        hosts = [kind(served) for _ in range(3)]
        wait_until(lambda: connections(daemon) + tcp_counter(daemon, "terminated") >= 3, "them to be there")
        stop(daemon)
        for host in hosts:
            host.close()


@pytest.mark.parametrize("memory", ["8M", "256M"])
def test_under_load(tmp_path, memory):
    """With I/O in every stage, and, with little memory, requests in line for it."""
    for n in range(5):
        directory = tmp_path / str(n)
        directory.mkdir()
        with Daemon(directory, "--memory", memory) as daemon:
            served = daemon.serve(daemon.malloc("disk", mib=256))
            hosts = [subprocess.Popen(perf_command(served, pattern=pattern, io_bytes=131072, depth=128, qpairs=8,
                                                   rate=None, seconds=600), stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL) for pattern in ("randrw", "write")]
            wait_until(lambda: connections(daemon) == 18, "all queues", 60)
            before = ios_done(daemon)
            wait_until(lambda: ios_done(daemon) > before + 100, "I/O", 60)
            stop(daemon)
            for host in hosts:
                assert host.wait(60) == 1, "a host that lost its target says so"


def test_with_a_thousand_connections(tmp_path):
    with Daemon(tmp_path) as daemon, Crowd(daemon.serve(daemon.malloc("disk")), 1000):
        stop(daemon)


@pytest.mark.parametrize("step, method, more", [
    ("log_page", "bdev_nvme_get_controller_health_info", {}),
    ("other_admin", "bdev_nvme_send_cmd", {"cmd_type": "admin", "data_direction": "c2h",
                                           "cmdbuf": base64.urlsafe_b64encode(sqe(0xc5)).decode()}),
])
def test_a_controller_that_owes_a_person_an_answer(daemon, step, method, more):
    """It is alive, and may owe it for ever."""
    said = []

    def ask():
        with pytest.raises(RpcError) as e:
            daemon.rpc(method, 120, name="r", **more)
        said.append(e.value.message)
    with BadTarget() as target:
        attach(daemon, target)
        target.on(step, ways.ignore)
        thread = threading.Thread(target=ask)
        thread.start()
        wait_until(lambda: target.seen["ignored"], "the command", 60)
        stop(daemon)
        thread.join()
    assert said == ["the daemon stops; the controller has not answered yet"]


def test_a_port_in_use_is_said(daemon, served):
    """An error without the address sends people to look for it."""
    with socket.socket() as other:
        port = free_port()
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(RpcError) as e:
            daemon.listen(served.nqn, port)
        assert f"127.0.0.1:{port}" in e.value.message and "taken by another" in e.value.message
    daemon.listen(served.nqn, port)
    with Host(port, served.nqn):
        pass
