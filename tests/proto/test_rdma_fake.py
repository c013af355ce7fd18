# SPDX-License-Identifier: BSD-3-Clause
"""NVMe/RDMA on a machine without an RDMA adapter: gantryd on the fake rdma-core of bench/fake_verbs, whose host writes
blocks, reads them back and compares. It is the daemon's own code from rdma-core's calls upwards."""
import json
import os

import pytest

from gantry import BUILD, NQN, Daemon, RpcError, cpus, free_port, wait_until
from nvme_tcp import Host, must

FAKE = BUILD / "bench" / "fake_verbs"
COMMANDS = 8000           # of a queue
PATIENCE_S = 120
MIB = 64
BLOCK = 4096


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """Makes one whose fake host does what the settings say."""
    if not (FAKE / "librdmacm.so.1").exists():
        pytest.skip("built without rdma-core")
    running = []

    def make(*args, **settings):
        monkeypatch.setenv("LD_LIBRARY_PATH", str(FAKE))
        settings = {"HOST": NQN, "WORKLOAD": "verify", "COMMANDS": COMMANDS, "REPORT": tmp_path / "report", **settings}
        for name, value in settings.items():
            if value is not None:
                monkeypatch.setenv(f"FAKE_VERBS_{name}", str(value))
        running.append(Daemon(tmp_path, *args).start())
        return running[0]

    yield make
    for one in running:
        print(one.log_tail())
        one.stop()


def serve(daemon, mib=MIB, **transport):
    """Over RDMA; the port."""
    daemon.tell("nvmf_create_transport", trtype="RDMA", **transport)
    daemon.tell("nvmf_create_subsystem", nqn=NQN, allow_any_host=True, serial_number="GANTRY0000000001")
    daemon.malloc("disk", mib=mib, block_size=BLOCK)
    daemon.tell("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk"})
    port = free_port()
    daemon.tell("nvmf_subsystem_add_listener", nqn=NQN, listen_address={
        "trtype": "RDMA", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(port)})
    return port


def report(daemon):
    """What the host said when it had ended."""
    path = daemon.directory / "report"

    def there():
        daemon.check_alive()
        return path.exists()
    wait_until(there, "the fake host to end", PATIENCE_S)
    return json.loads(path.read_text())


@pytest.mark.parametrize("mode", ["poll", "adaptive", "interrupt"])
def test_what_is_written_is_read_back(daemon, mode):
    """Commands, data in capsules, READ, WRITE and answers of several queues on two cores, as fast as they go."""
    d = daemon("-m", cpus(2), "--mode", mode, QPAIRS=4, QD=32)
    serve(d)
    said = report(d)
    assert said["errors"] == 0
    assert said["commands"] >= COMMANDS


@pytest.mark.parametrize("mode", ["adaptive", "interrupt"])
def test_a_sleeping_core_is_woken(daemon, mode):
    """The host pauses longer than anybody spins: an event lost between arming and sleeping would be a hang."""
    d = daemon("-m", cpus(1), "--mode", mode, QPAIRS=2, QD=4, PAUSE_US=200, COMMANDS=4000)
    serve(d)
    assert report(d)["errors"] == 0


@pytest.mark.parametrize("settings, transport", [
    ({}, {"no_srq": True}),
    ({"INVALIDATE": 1}, {}),
    ({"ICD": 0, "BYTES": 131072, "COMMANDS": 2000}, {}),
    ({"ICD": 0, "BYTES": 2 << 20, "COMMANDS": 100, "QD": 3}, {"max_io_size": 2 << 20}),
    ({"QD": 1}, {}),
    ({}, {"no_wr_batching": True}),
    ({"QPAIRS": 8, "QD": 127}, {"max_srq_depth": 64}),
], ids=["own receives", "send with invalidate", "128 KiB", "2 MiB", "one by one", "no batches", "few receives"])
def test_other_ways(daemon, settings, transport):
    d = daemon("-m", cpus(2), **{"QPAIRS": 2, **settings})
    serve(d, **transport)
    assert report(d)["errors"] == 0


@pytest.mark.parametrize("no_srq", [False, True])
def test_64_queue_pairs_share_buffers_for_one_command(daemon, no_srq):
    """Each wants 4 MiB all the time: somebody who is forgotten in a line would leave the host waiting for ever."""
    d = daemon("-m", cpus(2), "--memory", "14M", QPAIRS=64, QD=2, BYTES=2 << 20, ICD=0, COMMANDS=20)
    serve(d, mib=256, max_io_size=2 << 20, max_queue_depth=16, no_srq=no_srq, data_wr_pool_size=1)
    assert report(d)["errors"] == 0
    told = [group["transports"][0] for group in d.rpc("nvmf_get_stats")["poll_groups"]]
    assert sum(t["pending_data_buffer"] for t in told) > 100, told
    assert all(t["remembered"] == t["failed"] == t["timed_out"] == 0 for t in told), told


def test_a_subsystem_deleted_under_load(daemon):
    """Its connections end, with whatever they had posted; a daemon that is loaded still ends when it is told to."""
    d = daemon("-m", cpus(2), QPAIRS=4, QD=64, COMMANDS=0)
    serve(d)

    def served():
        return sum(group["completed_nvme_io"] for group in d.rpc("nvmf_get_stats")["poll_groups"]) > COMMANDS
    wait_until(served, "I/O over RDMA", PATIENCE_S)
    d.rpc("nvmf_delete_subsystem", nqn=NQN)
    assert report(d)["errors"] > 0      # the host lost its connections, and says so
    with pytest.raises(RpcError):
        d.rpc("nvmf_delete_subsystem", nqn=NQN)


def test_stopped_under_load(daemon):
    """SIGTERM while hundreds of commands are outstanding."""
    d = daemon("-m", cpus(2), QPAIRS=4, QD=64, COMMANDS=0)
    serve(d)
    wait_until(lambda: sum(g["completed_nvme_io"] for g in d.rpc("nvmf_get_stats")["poll_groups"]) > COMMANDS,
               "I/O over RDMA", PATIENCE_S)
    d.stop()


@pytest.mark.parametrize("no_srq", [False, True])
def test_both_ends_in_one_daemon(daemon, no_srq):
    """Our own host: a disk attached over RDMA from the daemon itself, written and read back over NVMe/TCP."""
    d = daemon("-m", cpus(2), HOST=None)
    port = serve(d, no_srq=no_srq)
    names = d.rpc("bdev_nvme_attach_controller", name="r", trtype="RDMA", adrfam="IPv4", traddr="127.0.0.1",
                  trsvcid=str(port), subnqn=NQN)
    d.transport()
    served = d.serve(*names, nqn=NQN + "-tcp")
    with Host(served.port, served.nqn, io_queues=2) as host:
        for i, io in enumerate(host.ios):
            for blocks in (1, 8, 32):
                data = os.urandom(blocks * BLOCK)
                must(io.write(100 * i, data, block_size=BLOCK, in_capsule=False))
                assert io.read(100 * i, blocks, block_size=BLOCK) == data
    assert d.rpc("bdev_nvme_get_controllers", name="r")[0]["ctrlrs"][0]["trid"]["trtype"] == "RDMA"
    groups = d.rpc("bdev_nvme_get_transport_statistics")["poll_groups"]
    adapters = [a for g in groups for t in g["transports"] if t["trname"] == "RDMA" for a in t["devices"]]
    assert sum(a["total_send_wrs"] for a in adapters) >= 12, adapters
    assert sum(a["copied_requests"] for a in adapters) <= 2, "data is moved where it lies, but for a Connect a queue"
    d.rpc("bdev_nvme_detach_controller", name="r")
    wait_until(lambda: not d.rpc("nvmf_subsystem_get_qpairs", nqn=NQN), "the connections to end")


def test_timeouts_of_acknowledgements_reach_the_adapter(daemon):
    """The target's in ms of all eight tries together, the host's as SPDK has it: 4.096 us times a power of two."""
    d = daemon("-m", cpus(1), HOST=None)
    d.rpc("bdev_nvme_set_options", transport_ack_timeout=14)
    port = serve(d, ack_timeout=1000)
    d.rpc("bdev_nvme_attach_controller", name="r", trtype="RDMA", adrfam="IPv4", traddr="127.0.0.1",
          trsvcid=str(port), subnqn=NQN)
    for exponent in (14, 15):
        wait_until(lambda: f"acknowledgements: exponent {exponent}\n" in d.log(), "the adapter to be told", PATIENCE_S)
    d.rpc("bdev_nvme_detach_controller", name="r")
