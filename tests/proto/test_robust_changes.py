# SPDX-License-Identifier: BSD-3-Clause
"""Whoever administers a daemon changes it while it serves; what is not concerned must not notice."""
import os
import statistics
import time

import pytest

from gantry import Daemon, RpcError, free_port, wait_until
from load import Load, connections
from nvme_tcp import CAP, DISCOVERY_NQN, IO_READ, IO_WRITE, Conn, Ended, Host, must, rw

ROUNDS = 20
NQN2 = "nqn.2016-06.io.gantry:changing"
ASKED = ["framework_get_reactors", "thread_get_stats", "gantry_get_wakeups", "framework_get_memory", "nvmf_get_stats",
         "nvmf_get_subsystems", "bdev_get_bdevs", "bdev_get_iostat", "save_config", "rpc_describe"]
RPC_S_MAX = 2               # a hang, not a figure


@pytest.fixture(params=[1, 2], ids=["one core", "two cores"])
def daemon(tmp_path, request):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < request.param:
        pytest.skip("needs two CPUs")
    with Daemon(tmp_path, "-m", f"[{','.join(map(str, cpus[:request.param]))}]") as running:
        yield running


def test_namespaces(daemon, served):
    with Load(daemon, served, rate=10000) as load:
        for n in range(ROUNDS):
            daemon.malloc(f"more{n}")
            nsid = daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": f"more{n}"})
            load.more_ios(50)
            daemon.rpc("nvmf_subsystem_remove_ns", nqn=served.nqn, nsid=nsid)
            daemon.rpc("bdev_malloc_delete", name=f"more{n}")
            load.more_ios(50)


def test_subsystems_with_hosts_on_them(daemon, served):
    """A subsystem that is deleted takes its hosts' connections with it, and nobody else's."""
    daemon.malloc("other")
    with Load(daemon, served, rate=10000) as load:
        for _ in range(ROUNDS):
            daemon.rpc("nvmf_create_subsystem", nqn=NQN2, allow_any_host=True, serial_number="CHANGING")
            daemon.rpc("nvmf_subsystem_add_ns", nqn=NQN2, namespace={"bdev_name": "other"})
            daemon.rpc("nvmf_subsystem_add_listener", nqn=NQN2, listen_address=daemon.address(served.port))
            hosts = [Host(served.port, NQN2, io_queues=2) for _ in range(3)]
            for host in hosts:
                must(host.io.write(0, bytes(4096)))
            load.more_ios(50)
            daemon.rpc("nvmf_delete_subsystem", nqn=NQN2)
            for host in hosts:
                for conn in [*host.ios, host.admin]:
                    gone(conn)
                host.close()
            load.more_ios(50)


def gone(conn):
    """It may get an answer or an event first."""
    try:
        while True:
            conn.recv_pdu()
    except Ended:
        pass


def test_listeners(daemon, served):
    with Load(daemon, served, rate=10000) as load:
        for _ in range(ROUNDS):
            port = free_port()
            where = {"nqn": served.nqn, "listen_address": daemon.address(port)}
            daemon.rpc("nvmf_subsystem_add_listener", **where)
            with Host(port, served.nqn) as host:
                host.io.read(0, 8)
                daemon.rpc("nvmf_subsystem_remove_listener", **where)
            with pytest.raises(OSError):
                Conn(port)
            load.more_ios(50)


def test_a_device_that_is_in_use_goes(daemon, served):
    """Deleting a device under another subsystem's I/O ends that I/O with an error, not the daemon."""
    other = daemon.serve(daemon.malloc("goes"), nqn=NQN2, discovery=False)
    with Load(daemon, served, rate=10000) as load, Host(other.port, other.nqn) as host:
        for _ in range(ROUNDS):
            cids = [host.io.submit(rw(IO_READ, n * 8, 8), expect=4096) for n in range(32)]
            daemon.rpc("bdev_malloc_delete", name="goes")
            for cid in cids:
                host.io.wait(cid)
            load.more_ios(50)
            daemon.rpc("bdev_malloc_create", name="goes", num_blocks=131072, block_size=512)
            try:
                daemon.rpc("nvmf_subsystem_add_ns", nqn=other.nqn, namespace={"bdev_name": "goes", "nsid": 1})
            except RpcError as e:
                raise AssertionError(f"its namespace is still there: {e}") from None


def test_rpcs_under_load(daemon, served):
    """The control thread does no I/O: whatever the reactors do, it answers."""
    times = {}
    with Load(daemon, served, io_bytes=131072, depth=256, qpairs=8, rate=None):
        for method in ASKED * 5:
            began = time.monotonic()
            daemon.rpc(method)
            times.setdefault(method, []).append(time.monotonic() - began)
    for method, took in times.items():
        print(f"{method}: median {statistics.median(took) * 1000:.1f} ms, longest {max(took) * 1000:.1f} ms")
        assert statistics.median(took) < RPC_S_MAX
    wait_until(lambda: connections(daemon) == 0, "the load to go")


def test_transports_come_and_go(daemon):
    """One that is listened on stays; else it goes with whoever is still connected, and comes again otherwise."""
    for depth in (16, 32, 64):
        daemon.tell("nvmf_create_transport", trtype="TCP", max_queue_depth=depth)
        served = daemon.serve(daemon.malloc(f"disk{depth}"))
        with pytest.raises(RpcError, match=f"subsystems listen on it, at 127.0.0.1:{served.port}"):
            daemon.rpc("nvmf_delete_transport", trtype="tcp")
        with Host(served.port, served.nqn, entries=depth) as host, Conn(served.port) as discovery:
            must(discovery.connect(DISCOVERY_NQN))
            must(host.io.write(0, bytes(4096)))
            assert (host.admin.property_get(CAP, 8) & 0xffff) + 1 == depth
            daemon.rpc("nvmf_delete_subsystem", nqn=served.nqn)
            daemon.rpc("nvmf_subsystem_remove_listener", nqn=DISCOVERY_NQN, listen_address=daemon.address(served.port))
            discovery.property_get(CAP, 8)      # still there
            assert daemon.rpc("nvmf_delete_transport", trtype="TCP") is True
            with pytest.raises((Ended, OSError)):
                discovery.property_get(CAP, 8)
        assert daemon.rpc("nvmf_get_transports") == [] and connections(daemon) == 0
    with pytest.raises(RpcError, match="there is no transport 'TCP'"):
        daemon.rpc("nvmf_delete_transport", trtype="TCP")


def changes_of_access(daemon, served, port):
    """Each of them, and back."""
    nqn, where = served.nqn, daemon.address(served.port)
    host = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000007"
    ana = {"nqn": nqn, "listen_address": where}
    new = {"nqn": nqn, "listen_address": daemon.address(port)}
    yield "nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": {"bdev_name": "other", "nsid": 2, "no_auto_visible": True}}
    yield "nvmf_ns_add_host", {"nqn": nqn, "nsid": 2, "host": host}
    yield "nvmf_subsystem_listener_set_ana_state", {**ana, "ana_state": "inaccessible", "anagrpid": 2}
    yield "nvmf_subsystem_set_ns_ana_group", {"nqn": nqn, "nsid": 2, "anagrpid": 5}
    yield "nvmf_subsystem_listener_set_ana_state", {**ana, "ana_state": "optimized", "anagrpid": 5, "transition_sec": 1}
    yield "nvmf_subsystem_listener_set_ana_state", {**ana, "ana_state": "non_optimized", "anagrpid": 1}
    yield "nvmf_subsystem_add_listener", new
    yield "nvmf_subsystem_add_host", {"nqn": nqn, "host": host}
    yield "nvmf_discovery_add_referral", {"address": daemon.address(port)}
    yield "nvmf_ns_remove_host", {"nqn": nqn, "nsid": 2, "host": host}
    yield "nvmf_subsystem_remove_host", {"nqn": nqn, "host": host}
    yield "nvmf_discovery_remove_referral", {"address": daemon.address(port)}
    yield "nvmf_subsystem_remove_listener", new
    yield "nvmf_subsystem_listener_set_ana_state", {**ana, "ana_state": "optimized"}
    yield "nvmf_subsystem_remove_ns", {"nqn": nqn, "nsid": 2}


def test_who_may_use_what_by_which_way(daemon):
    """All changes of access, while a host that is not concerned writes and reads back: no error, and no standstill.
    Another namespace's device holds its I/O meanwhile: no change may wait for what it does not remove."""
    served = daemon.serve(daemon.malloc("disk0"), daemon.malloc("held"), ana_reporting=True, max_namespaces=8)
    daemon.malloc("other")
    daemon.rpc("nvmf_subsystem_remove_ns", nqn=served.nqn, nsid=2)
    daemon.rpc("bdev_error_create", base_name="held")
    daemon.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": "EE_held", "nsid": 3})
    daemon.rpc("bdev_error_inject_error", name="EE_held", io_type="write", error_type="pending", num=1)
    with Load(daemon, served, rate=10000) as load, Host(served.port, served.nqn) as host:
        waits = host.io.submit(rw(IO_WRITE, 0, 8, nsid=3), bytes(4096))
        for _ in range(ROUNDS // 4):
            port = free_port()
            for method, params in changes_of_access(daemon, served, port):
                daemon.rpc(method, **params)
                load.more_ios(20)
        assert host.io.read(0, 8) is not None and waits not in host.io.done
        daemon.rpc("bdev_error_resume_pending", name="EE_held")
        must(host.io.wait(waits))
