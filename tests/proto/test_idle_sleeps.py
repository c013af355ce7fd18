# SPDX-License-Identifier: BSD-3-Clause
"""An idle daemon that wakes up for nothing costs a part of a core on every machine it runs on, for ever."""
import contextlib
import os
import select
import socket
import threading
import time
import uuid

import pytest

import pr
import vhost_user as vu
from gantry import Daemon, free_port, wait_until
from iscsi import Session, good
from load import cpu_ns, differences, is_sanitized, tcp_counter, wakeups
from nvme_tcp import ADMIN_ASYNC_EVENT, ADMIN_KEEP_ALIVE, Host, must, sqe
from remote import attach
from tls import Psk
from vhost_back import BackEnd
from vhost_servers import servers
from virtio_blk import IN, SECTOR, Blk
from virtio_scsi import Scsi

BACKENDS = ["aio", "malloc", "null", "skeleton", "uring"]
STACKED = {"passthru", "split", "error", "delay", "powercut", "raid"}   # one on the other: a "tower"
IO_QUEUES = 4
KEEP_ALIVES = 4
KEEP_ALIVE_EVERY_S = 0.5
KATO_MS = 2000
WATCHDOG_LOOKS_MAX = 2      # one timer after the last command, and the one it was armed for before that
SPIN_PASSES_MAX = 2000      # an adaptive reactor spins at most 50 us before a sleep
REMOTE = 16                 # attached controllers
REMOTE_KATO_MS = 2000       # what they tell their targets
KATO_DEFAULT_MS = 10000
GUESTS = 8
SESSIONS = 16               # of iSCSI
NOP_INTERVAL_S = 2
NOP_DEFAULT_S = 30
WAIT_MS = 8000              # of a follower of notifications
RECONNECT_EVERY_S = 1       # of controllers that connect, and of attached servers that went
LOST = 4                    # of each
CONTROL_WAKES_MAX = 16      # for the two RPCs that look


def must_read(daemon, name):
    """Its queues are connected: I/O has gone over them."""
    wait_until(lambda: daemon.rpc("bdev_get_iostat", names=[name])["bdevs"][0]["num_read_ops"], "a look for partitions")


def tower(daemon):
    daemon.malloc("base")
    daemon.tell("bdev_passthru_create", base_bdev_name="base", name="p")
    daemon.tell("bdev_split_create", base_bdev="p", split_count=1)
    daemon.tell("bdev_error_create", base_name="pp0")
    daemon.tell("bdev_delay_create", base_bdev_name="EE_pp0", name="slow", avg_read_latency=1, p99_read_latency=1,
                avg_write_latency=1, p99_write_latency=1)
    daemon.tell("bdev_powercut_create", base_bdev_name="slow", name="cut")
    daemon.tell("bdev_raid_create", base_bdevs=["cut"], raid_level="concat", name="disk")
    return "disk"


def device(daemon, backend):
    if backend == "tower":
        return tower(daemon)
    methods = daemon.rpc("rpc_get_methods")
    if f"bdev_{backend}_create" not in methods:
        pytest.skip(f"this daemon cannot make a {backend} device")
    if backend in ("aio", "uring"):
        file = daemon.directory / "disk"
        with open(file, "wb") as f:
            f.truncate(64 << 20)
        return daemon.tell(f"bdev_{backend}_create", name="disk", filename=str(file), block_size=512)
    return daemon.tell(f"bdev_{backend}_create", name="disk", num_blocks=131072, block_size=512)


def connected_host(served):
    """As a Linux host sits there: queues, keep-alive, four event requests outstanding; it has done some I/O."""
    host = Host(served.port, served.nqn, io_queues=IO_QUEUES, kato_ms=KATO_MS)
    for _ in range(4):
        host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
    for io in host.ios:
        must(io.write(0, bytes(4096)))
        io.read(0, 8)
        must(io.write(0, bytes(65536), in_capsule=False))
    keep_alive(host)
    return host


def keep_alive(host):
    must(host.admin.command(sqe(ADMIN_KEEP_ALIVE)))


def watch_idling(daemon, host):
    """What woke whom while the host only keeps itself alive."""
    before, cpu_before, began = wakeups(daemon), cpu_ns(daemon.pid), time.monotonic()
    for _ in range(KEEP_ALIVES):
        time.sleep(KEEP_ALIVE_EVERY_S)
        keep_alive(host)
    cpu = cpu_ns(daemon.pid) - cpu_before
    elapsed_s = time.monotonic() - began
    print(f"CPU: {cpu / elapsed_s / 1e7:.4f} % of a core")
    return differences(before, wakeups(daemon)), elapsed_s


@pytest.mark.parametrize("mode", ["interrupt", "adaptive"])
@pytest.mark.parametrize("backend", BACKENDS + ["tower"])
def test_only_keep_alive_wakes(tmp_path, mode, backend):
    with Daemon(tmp_path, "--mode", mode) as daemon:
        served = daemon.serve(device(daemon, backend))
        with connected_host(served) as host:
            woke, elapsed_s = watch_idling(daemon, host)
            print(woke)
            reactor = woke["reactor_0"]
            assert reactor["work.fd_events"] == KEEP_ALIVES
            assert reactor["work.messages"] <= 2                # the RPCs that ask
            assert reactor["work.polls_busy"] == 0
            timers = elapsed_s * 1000 / KATO_MS + 1 + WATCHDOG_LOOKS_MAX
            assert reactor["work.timers"] <= timers
            assert 1 <= reactor["sleeps"] <= KEEP_ALIVES + 2 + timers
            assert reactor["passes"] <= (SPIN_PASSES_MAX if mode == "adaptive" else 4) * (reactor["sleeps"] + 1)
            assert woke["control"]["sleeps"] <= CONTROL_WAKES_MAX
            assert [t["active_pollers_count"] for t in daemon.rpc("thread_get_stats")["threads"]] == [0, 0]


def test_keep_alive_wakes_only_its_own_core(tmp_path):
    """Queues lie on both cores; the one without the admin queue has nothing to do with keep-alive."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    with Daemon(tmp_path, "-m", f"[{cpus[0]},{cpus[1]}]") as daemon:
        served = daemon.serve(daemon.malloc("disk"))
        with connected_host(served) as host:
            woke, elapsed_s = watch_idling(daemon, host)
            print(woke)
            admin, other = sorted((woke["reactor_0"], woke["reactor_1"]), key=lambda r: -r["work.fd_events"])
            assert admin["work.fd_events"] == KEEP_ALIVES and other["work.fd_events"] == 0
            assert other["work.messages"] <= 2 and other["work.timers"] <= WATCHDOG_LOOKS_MAX


@pytest.mark.parametrize("mode", ["interrupt", "adaptive"])
def test_nothing_wakes_when_nobody_is_there(tmp_path, mode):
    with Daemon(tmp_path, "--mode", mode) as daemon:
        served = daemon.serve(daemon.malloc("disk"))
        Host(served.port, served.nqn).close()
        wakeups(daemon)
        before, cpu_before = wakeups(daemon), cpu_ns(daemon.pid)
        time.sleep(2)
        cpu = cpu_ns(daemon.pid) - cpu_before
        woke = differences(before, wakeups(daemon))
        print(f"CPU: {cpu / 2e7:.4f} % of a core", woke)
        assert woke["reactor_0"]["sleeps"] <= 2 + WATCHDOG_LOOKS_MAX
        assert woke["reactor_0"]["work.timers"] <= WATCHDOG_LOOKS_MAX
        assert woke["control"]["sleeps"] <= CONTROL_WAKES_MAX


def secure(daemon, target, served, tmp_path):
    """A listener with TLS, and the key for it at both ends; what to attach by."""
    port, us = free_port(), f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(int=7)}"
    path = Psk.make(1).file(tmp_path / "psk")
    for rpc in (daemon.rpc, target.rpc):
        rpc("keyring_file_add_key", name="psk", path=path)
    target.rpc("nvmf_subsystem_allow_any_host", nqn=served.nqn, allow_any_host=False)
    target.rpc("nvmf_subsystem_add_host", nqn=served.nqn, host=us, psk="psk")
    target.rpc("nvmf_subsystem_add_listener", nqn=served.nqn, secure_channel=True, listen_address=target.address(port))
    return {"port": port, "hostnqn": us, "psk": "psk"}


@pytest.mark.parametrize("mode, secured", [("interrupt", False), ("adaptive", False), ("interrupt", True)])
def test_attached_controllers_cost_only_their_keep_alive(tmp_path, target, mode, secured):
    """Control says that we are alive, twice in a keep-alive time; cores that carry no I/O are not woken at all."""
    (tmp_path / "host").mkdir()
    served = target.export()
    with Daemon(tmp_path / "host", "--mode", mode) as daemon:
        daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=REMOTE_KATO_MS)
        how = secure(daemon, target, served, tmp_path) if secured else {}
        for i in range(REMOTE):
            attach(daemon, served, name=f"N{i}", **how)
            must_read(daemon, f"N{i}n1")
        wakeups(daemon)
        before, cpu_before, began = wakeups(daemon), cpu_ns(daemon.pid), time.monotonic()
        time.sleep(4)
        cpu = cpu_ns(daemon.pid) - cpu_before
        elapsed_s = time.monotonic() - began
        woke = differences(before, wakeups(daemon))
        print(f"CPU: {cpu / elapsed_s / 1e7:.4f} % of a core", woke)
        assert woke["reactor_0"]["work.fd_events"] == 0 and woke["reactor_0"]["work.polls_busy"] == 0
        assert woke["reactor_0"]["work.timers"] <= WATCHDOG_LOOKS_MAX + REMOTE      # of what was done before
        keep_alives = REMOTE * (elapsed_s * 1000 / (REMOTE_KATO_MS / 2) + 1)
        assert woke["control"]["work.timers"] <= 2 * keep_alives + CONTROL_WAKES_MAX
        assert woke["control"]["work.fd_events"] <= keep_alives + CONTROL_WAKES_MAX
        at_default = cpu / elapsed_s * REMOTE_KATO_MS / KATO_DEFAULT_MS
        assert is_sanitized(daemon) or at_default < 0.003e9, f"{at_default / 1e7:.3f} % of a core"
        assert [t["active_pollers_count"] for t in daemon.rpc("thread_get_stats")["threads"]] == [0, 0]


def answer_nops(sessions, seconds):
    """As initiators do that are otherwise idle: a NOP-In of the target's is answered. Returns how many came."""
    by_socket = {s.sock: s for s in sessions}
    deadline, nops = time.monotonic() + seconds, 0
    while (left := deadline - time.monotonic()) > 0:
        for sock in select.select(list(by_socket), [], [], left)[0]:
            by_socket[sock].step()
            nops += 1
    return nops


@pytest.mark.parametrize("mode", ["interrupt", "adaptive"])
def test_iscsi_sessions_cost_only_their_nops(tmp_path, mode):
    """One ping for an interval in which nothing was heard, and nothing else."""
    with Daemon(tmp_path, "--mode", mode) as daemon:
        daemon.rpc("iscsi_set_options", nop_in_interval=NOP_INTERVAL_S, nop_timeout=10)
        node = daemon.export(daemon.malloc("disk"))
        sessions = [Session(node.port, node.name, initiator=f"iqn.2026-11.test:{n}") for n in range(SESSIONS)]
        for s in sessions:
            good(s.write(0, bytes(65536)))
            s.read(0, 8)
        wakeups(daemon)
        before, cpu_before, began = wakeups(daemon), cpu_ns(daemon.pid), time.monotonic()
        nops = answer_nops(sessions, 3 * NOP_INTERVAL_S)
        cpu = cpu_ns(daemon.pid) - cpu_before
        elapsed_s = time.monotonic() - began
        woke = differences(before, wakeups(daemon))
        print(f"CPU: {cpu / elapsed_s / 1e7:.4f} % of a core", nops, woke)
        pings = SESSIONS * (elapsed_s / NOP_INTERVAL_S + 1)
        assert 2 * SESSIONS <= nops <= pings
        assert woke["reactor_0"]["work.fd_events"] <= nops
        assert woke["reactor_0"]["work.timers"] <= 2 * pings + WATCHDOG_LOOKS_MAX
        assert woke["reactor_0"]["work.polls_busy"] == 0
        assert woke["control"]["sleeps"] <= CONTROL_WAKES_MAX
        at_default = cpu / elapsed_s * NOP_INTERVAL_S / NOP_DEFAULT_S
        assert is_sanitized(daemon) or at_default < 0.003e9, f"{at_default / 1e7:.3f} % of a core"
        for s in sessions:
            s.close()


def expect_rest(daemon):
    """Once the reactor has come to rest nothing wakes it."""
    come_to_rest(daemon)
    cpu_before = cpu_ns(daemon.pid)
    woke = wakes_in(daemon, 3)
    cpu = cpu_ns(daemon.pid) - cpu_before
    print(woke, f"CPU: {cpu / 3e7:.4f} % of a core")
    assert woke["reactor_0"]["work.timers"] == woke["reactor_0"]["work.fd_events"] == 0
    assert woke["reactor_0"]["work.messages"] <= 2 and woke["reactor_0"]["sleeps"] <= 2
    assert woke["control"]["sleeps"] <= CONTROL_WAKES_MAX
    assert is_sanitized(daemon) or cpu / 3 < 0.003e9


@pytest.mark.parametrize("mode", ["interrupt", "adaptive"])
def test_disks_of_idle_guests_wake_nobody(tmp_path, mode):
    """Their queues are armed, and nobody looks at them."""
    with Daemon(tmp_path, "--mode", mode, "-S", tmp_path) as daemon, contextlib.ExitStack() as guests:
        for n in range(GUESTS):
            daemon.malloc(f"disk{n}")
            daemon.tell("vhost_create_blk_controller", ctrlr=f"vm{n}", dev_name=f"disk{n}")
            disk = guests.enter_context(Blk(tmp_path / f"vm{n}", queues=2))
            disk.write(0, bytes(4096))
            disk.read(0, 4096, queue=1)
        expect_rest(daemon)


def hosts_and_bells(daemon, guests):
    """Front-ends of what test_disks_of_idle_guests has not: a SCSI host, one that is told in band, one whose interrupts
    are put off. All did I/O."""
    daemon.malloc("scsi"), daemon.malloc("blk")
    daemon.tell("vhost_create_scsi_controller", ctrlr="host")
    daemon.rpc("vhost_scsi_controller_add_target", ctrlr="host", scsi_target_num=0, bdev_name="scsi")
    hba = guests.enter_context(Scsi(daemon.directory / "host", queues=2))
    hba.expect_events(4)
    hba.command(bytes(6))                        # the unit attention of its beginning
    hba.write(0, bytes(4096))
    hba.read(0, 8, queue=1)
    daemon.tell("vhost_create_blk_controller", ctrlr="band", dev_name="blk")
    band = guests.enter_context(Blk(daemon.directory / "band", inband=True))
    band.front.set_vring_fd(vu.SET_VRING_CALL, 0, None)
    band.queues[0].ring.want_calls()
    request = band.submit(IN, want=SECTOR)
    band.front.backend_says()
    wait_until(lambda: request.queue.collect() or request.token in request.queue.done, "the request to be used")
    daemon.tell("vhost_create_blk_controller", ctrlr="late", dev_name="blk", readonly=True)
    daemon.tell("vhost_controller_set_coalescing", ctrlr="late", delay_base_us=1000000, iops_threshold=1)
    late = guests.enter_context(Blk(daemon.directory / "late"))
    for _ in range(32):
        late.read(0, 4096)


@pytest.mark.parametrize("mode", ["interrupt", "adaptive"])
def test_hosts_calls_in_band_and_coalescing_wake_nobody(tmp_path, mode):
    with Daemon(tmp_path, "--mode", mode, "-S", tmp_path) as daemon, contextlib.ExitStack() as guests:
        hosts_and_bells(daemon, guests)
        expect_rest(daemon)


@pytest.mark.parametrize("mode", ["interrupt", "adaptive"])
def test_who_looks_for_lost_peers_wakes_for_that_only(tmp_path, mode):
    """Controllers that connect to front-ends that are not there, and disks whose servers went: control tries each once
    a second. A core that carries I/O only hears that another try was in vain."""
    with Daemon(tmp_path, "--mode", mode, "-S", tmp_path) as daemon:
        daemon.malloc("disk")
        for n in range(LOST):
            daemon.tell("vhost_create_blk_controller", ctrlr=f"vm{n}", dev_name="disk", client=True, readonly=True)
            with BackEnd(tmp_path / f"server{n}"):
                daemon.tell("bdev_virtio_attach_controller", name=f"v{n}", trtype="user", dev_type="blk",
                            traddr=str(tmp_path / f"server{n}"), reconnect_delay_sec=RECONNECT_EVERY_S)
        come_to_rest(daemon)
        cpu_before, began = cpu_ns(daemon.pid), time.monotonic()
        woke = wakes_in(daemon, 4)
        elapsed_s, cpu = time.monotonic() - began, cpu_ns(daemon.pid) - cpu_before
        print(woke, f"CPU: {cpu / elapsed_s / 1e7:.4f} % of a core")
        assert woke["reactor_0"]["work.timers"] == woke["reactor_0"]["work.fd_events"] == 0
        tries = LOST * (elapsed_s / RECONNECT_EVERY_S + 1)
        assert woke["reactor_0"]["work.messages"] <= tries + 2
        assert 2 * LOST <= woke["control"]["work.timers"] <= 2 * tries + CONTROL_WAKES_MAX
        assert woke["control"]["sleeps"] <= 6 * tries + CONTROL_WAKES_MAX
        assert is_sanitized(daemon) or cpu / elapsed_s < 0.003e9 * 2 * LOST


def wakes_in(daemon, seconds):
    before = wakeups(daemon)
    time.sleep(seconds)
    return differences(before, wakeups(daemon))


def come_to_rest(daemon):
    """Whether waits grow is looked at once more 5 s after one (core/waits.h); nothing takes longer."""
    wait_until(lambda: not wakes_in(daemon, 6)["reactor_0"]["work.timers"], "the reactor to come to rest", 60)


def test_what_waits_wakes_nobody(tmp_path):
    """A daemon with all that can be switched on, and nothing to do: scheduler, limits, histograms, a scraper of metrics
    that keeps its connection, a follower of notifications, a discovery session, a host with a reservation."""
    metrics = free_port()
    keep = ["--state-dir", tmp_path / "state"]
    with Daemon(tmp_path, "--mode", "interrupt", "--metrics", str(metrics), *keep) as daemon:
        daemon.rpc("framework_set_scheduler", name="dynamic")
        daemon.malloc("disk")
        daemon.rpc("bdev_set_qos_limit", name="disk", rw_ios_per_sec=100000)
        daemon.rpc("bdev_enable_histogram", name="disk", enable=True)
        daemon.rpc("iscsi_set_options", nop_in_interval=0)
        node = daemon.export("disk")
        follower = threading.Thread(target=daemon.rpc, args=("notify_get_notifications",),
                                    kwargs={"id": 1 << 40, "wait_ms": WAIT_MS, "timeout_s": 60})
        with Session(node.port, node.name) as s, Session(node.port, None) as discovery, \
                socket.create_connection(("127.0.0.1", metrics)) as scraper:
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert scraper.recv(12) == b"HTTP/1.1 200"
            good(pr.register(s, 1))
            good(pr.reserve(s, 1, 1))
            good(s.write(0, bytes(65536)))
            discovery.text({"SendTargets": "All"})
            follower.start()
            come_to_rest(daemon)
            woke = wakes_in(daemon, 4)
            print(woke)
            assert woke["reactor_0"]["work.timers"] == woke["reactor_0"]["work.fd_events"] == 0
            assert woke["reactor_0"]["work.messages"] <= 2 and woke["reactor_0"]["sleeps"] <= 2
            assert woke["control"]["sleeps"] <= CONTROL_WAKES_MAX
        follower.join()


def test_polling_asks_the_kernel_nothing_but_what_is_ready(tmp_path):
    """A polling reactor never sleeps; were it to try every idle connection, it would make a million calls a second."""
    with Daemon(tmp_path, "--mode", "poll") as daemon:
        served = daemon.serve(daemon.malloc("disk"))
        with connected_host(served) as host:
            wakeups(daemon)                  # by message: the pass in which the last answer went out is over
            calls = {name: tcp_counter(daemon, name) for name in ("recvs", "sends")}
            woke, _ = watch_idling(daemon, host)
            assert woke["reactor_0"]["sleeps"] == 0
            assert woke["reactor_0"]["passes"] > 100
            assert woke["reactor_0"]["work.fd_events"] == KEEP_ALIVES
            assert tcp_counter(daemon, "recvs") - calls["recvs"] == KEEP_ALIVES
            assert tcp_counter(daemon, "sends") - calls["sends"] == KEEP_ALIVES


def test_every_back_end_is_in_this_test(daemon):
    """A new back-end that has to be polled would go unnoticed."""
    made = {m[5:-7] for m in daemon.rpc("rpc_get_methods") if m.startswith("bdev_") and m.endswith("_create")
            and not m.endswith("_group_create")}                          # of devices: no device
    assert made <= set(BACKENDS) | STACKED, f"add to BACKENDS: {made - set(BACKENDS) - STACKED}"


@pytest.mark.parametrize("server", servers(), ids=lambda s: s.name)
def test_a_vhost_user_server_wakes_nobody(tmp_path, server):
    """A disk of one costs nothing while it has no I/O: neither side's rings are looked at."""
    for directory in ("server", "initiator"):
        (tmp_path / directory).mkdir()
    with server(tmp_path / "server") as running, Daemon(tmp_path / "initiator", "--mode", "adaptive") as daemon:
        daemon.tell("bdev_virtio_attach_controller", name="disk", trtype="user", traddr=str(running.path),
                    dev_type="blk")
        served = daemon.serve("disk")
        with Host(served.port, served.nqn) as host:
            must(host.io.write(0, bytes(4096)))
            host.io.read(0, 8)
            watched = [daemon] + ([running.daemon] if hasattr(running, "daemon") else [])
            before = [wakeups(d) for d in watched]
            time.sleep(2)
            for daemon_watched, then in zip(watched, before):
                woke = differences(then, wakeups(daemon_watched))
                print(woke)
                assert woke["reactor_0"]["sleeps"] <= 2 + WATCHDOG_LOOKS_MAX
                assert woke["reactor_0"]["passes"] <= SPIN_PASSES_MAX * (woke["reactor_0"]["sleeps"] + 1)
                assert woke["control"]["sleeps"] <= CONTROL_WAKES_MAX
