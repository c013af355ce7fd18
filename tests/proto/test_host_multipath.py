# SPDX-License-Identifier: BSD-3-Clause
"""Several paths to one remote disk: which is used, what happens when one goes, what the target says of them (ANA), and
namespaces that come, grow and go."""
import os

import pytest

from gantry import RpcError, wait_until
from load import Load
from nvme_tcp import IO_READ, Host, must, rw
from remote import address, attach, detach, disks, paths, states, wait_state

BLOCK = 512


def attach_all(daemon, served, **options):
    for port in served.ports:
        attach(daemon, served, port=port, **options)


def io_paths(daemon, name="Nvme0n1"):
    """{port: path} of the one core that uses the disk."""
    groups = daemon.rpc("bdev_nvme_get_io_paths", name=name)["poll_groups"]
    used = [g["io_paths"] for g in groups if g["io_paths"]]
    return {int(p["transport"]["trsvcid"]): p for p in used[0]} if used else {}


def current(daemon):
    return sorted(port for port, p in io_paths(daemon).items() if p["current"])


def ops(daemon, name="Nvme0n1"):
    """{port: reads and writes} so far."""
    stats = daemon.rpc("bdev_nvme_get_path_iostat", name=name)["stats"]
    return {int(s["trid"]["trsvcid"]): s["stat"]["num_read_ops"] + s["stat"]["num_write_ops"] for s in stats}


def set_ana(target, served, port, state):
    target.rpc("nvmf_subsystem_listener_set_ana_state", nqn=served.nqn, listen_address=target.address(port),
               ana_state=state)


@pytest.fixture
def two(daemon, target):
    served = target.export(ports=2)
    attach_all(daemon, served)
    return served


def test_one_disk_over_two_paths(daemon, two):
    assert disks(daemon) == ["Nvme0n1"] and states(daemon) == ["enabled", "enabled"]
    disk, = daemon.rpc("bdev_get_bdevs", name="Nvme0n1")
    assert [n["trid"]["trsvcid"] for n in disk["driver_specific"]["nvme"]] == [str(p) for p in two.ports]
    assert disk["driver_specific"]["mp_policy"] == "active_passive"
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        before = ops(daemon)
        for n in range(20):
            must(host.io.write(n, bytes(4096)))
        after = ops(daemon)
        assert sorted(after[p] - before[p] for p in two.ports) == [0, 20] and len(current(daemon)) == 1
        assert all(p["connected"] and p["accessible"] for p in io_paths(daemon).values())


def test_detach_of_the_path_in_use(daemon, two):
    gateway = daemon.serve("Nvme0n1")
    with Load(daemon, gateway) as load:
        load.more_ios(500)
        for _ in range(3):
            port, = current(daemon)
            assert detach(daemon, **address(port, two.nqn)) is True
            load.more_ios(500)
            attach(daemon, two, port=port)
            load.more_ios(500)
    assert disks(daemon) == ["Nvme0n1"]
    with pytest.raises(RpcError, match="no path like that"):
        detach(daemon, **address(1, two.nqn))


def test_resets_under_load(daemon, two):
    gateway = daemon.serve("Nvme0n1")
    with Load(daemon, gateway) as load:
        for _ in range(5):
            load.more_ios(300)
            daemon.rpc("bdev_nvme_reset_controller", name="Nvme0")
    assert all(p["io"]["errors"] == 0 for p in paths(daemon))


def test_cut_path_is_left_and_taken_again(daemon, target, two):
    """A listener goes with its connections; reads go on over the other."""
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
        port, = current(daemon)
        other = next(p for p in two.ports if p != port)
        daemon.rpc("bdev_nvme_set_preferred_path", name="Nvme0n1", traddr="127.0.0.1", trsvcid=str(port))
        target.rpc("nvmf_subsystem_remove_listener", nqn=two.nqn, listen_address=target.address(port))
        wait_until(lambda: sorted(states(daemon)) != ["enabled", "enabled"], "the path to be lost")
        for n in range(20):
            host.io.read(n, 8)
        assert current(daemon) == [other]
        target.listen(two.nqn, port)
        wait_state(daemon, "enabled", "enabled")
        wait_until(lambda: host.io.read(0, 8) and current(daemon) == [port], "the preferred path to be used again")


def test_preferred_path(daemon, two):
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        for port in (*two.ports, two.ports[0]):
            cntlid = next(p["cntlid"] for p in paths(daemon) if p["trid"]["trsvcid"] == str(port))
            daemon.rpc("bdev_nvme_set_preferred_path", name="Nvme0n1", cntlid=cntlid)
            before = ops(daemon)
            for n in range(10):
                host.io.read(n, 8)
            assert ops(daemon)[port] == before[port] + 10
    with pytest.raises(RpcError, match="no path like that"):
        daemon.rpc("bdev_nvme_set_preferred_path", name="Nvme0n1", cntlid=999)


@pytest.mark.parametrize("selector", ["round_robin", "queue_depth", "latency"])
def test_active_active_uses_both(daemon, two, selector):
    daemon.rpc("bdev_nvme_set_multipath_policy", name="Nvme0n1", policy="active_active", selector=selector)
    gateway = daemon.serve("Nvme0n1")
    with Load(daemon, gateway) as load:
        load.more_ios(2000)
        assert current(daemon) == sorted(two.ports)
    assert min(ops(daemon).values()) > 0
    entries = [e["params"] for s in daemon.rpc("save_config")["subsystems"] for e in s["config"]
               if e["method"] == "bdev_nvme_set_multipath_policy"]
    assert entries[0]["selector"] == selector


def test_ana_states_are_followed(daemon, target):
    served = target.export(ports=2, ana_reporting=True)
    set_ana(target, served, served.ports[0], "non_optimized")
    attach_all(daemon, served)
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        host.io.read(0, 8)
        assert current(daemon) == [served.ports[1]]
        set_ana(target, served, served.ports[1], "inaccessible")
        wait_until(lambda: not io_paths(daemon)[served.ports[1]]["accessible"], "the change to be seen")
        host.io.read(0, 8)
        assert current(daemon) == [served.ports[0]]
        set_ana(target, served, served.ports[0], "inaccessible")
        wait_until(lambda: not io_paths(daemon)[served.ports[0]]["accessible"], "the change to be seen")
        waits = host.io.submit(rw(IO_READ, 0, 8), expect=4096)
        set_ana(target, served, served.ports[1], "optimized")
        must(host.io.wait(waits))
    disk, = daemon.rpc("bdev_get_bdevs", name="Nvme0n1")
    assert [n["ns_data"]["ana_state"] for n in disk["driver_specific"]["nvme"]] == ["inaccessible", "optimized"]


def test_namespaces_come_grow_and_go(daemon, target):
    served = target.export(ports=2)
    attach_all(daemon, served)
    target.malloc("more", mib=8)
    target.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": "more", "nsid": 7})
    wait_until(lambda: disks(daemon) == ["Nvme0n1", "Nvme0n7"], "the new namespace")
    target.rpc("bdev_malloc_resize", name="more", new_size=12)
    wait_until(lambda: daemon.rpc("bdev_get_bdevs", name="Nvme0n7")[0]["num_blocks"] == (12 << 20) // BLOCK, "growth")
    target.rpc("nvmf_subsystem_remove_ns", nqn=served.nqn, nsid=7)
    wait_until(lambda: disks(daemon) == ["Nvme0n1"], "the namespace to be gone")
    assert states(daemon) == ["enabled", "enabled"]


def test_a_namespace_that_returns_is_served_again(daemon, target):
    """Who takes a namespace away for a moment on the target would have to add it again on the gateway."""
    served = target.export()
    attach(daemon, served)
    gateway = daemon.serve("Nvme0n1")

    def served_now():
        subsystem, = [s for s in daemon.rpc("nvmf_get_subsystems") if s["nqn"] == gateway.nqn]
        return [n["nsid"] for n in subsystem["namespaces"] if n["bdev_name"] == "Nvme0n1"]

    target.rpc("nvmf_subsystem_remove_ns", nqn=served.nqn, nsid=1)
    wait_until(lambda: not disks(daemon), "the namespace to be gone")
    target.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": "m0", "nsid": 1})
    wait_until(lambda: disks(daemon) and served_now() == [1], "the namespace to be served again")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, b"y" * 4096))


def test_another_namespace_is_not_the_same_disk(daemon, target):
    """The second path leads to something with the same number and another UUID: data would be mixed up."""
    served = target.export()
    target.malloc("other", mib=16)
    other = target.serve("other", nqn=served.nqn + "2")
    attach(daemon, served)
    with pytest.raises(RpcError, match="different subnqn"):
        attach(daemon, other)
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, b"x" * 4096))
        target.kill()
        target.start()
        target.malloc("swapped", mib=16)                      # the same address and name, another disk
        target.transport()
        target.rpc("nvmf_create_subsystem", nqn=served.nqn, allow_any_host=True)
        target.rpc("nvmf_subsystem_add_ns", nqn=served.nqn, namespace={"bdev_name": "swapped"})
        target.rpc("nvmf_subsystem_add_listener", nqn=served.nqn, listen_address=target.address(served.port))
        wait_until(lambda: daemon.rpc("bdev_get_bdevs") and daemon.rpc("nvmf_get_subsystems")[-1]["namespaces"] == [],
                   "the old disk to be taken away", 60)
    assert "differs" in daemon.log()


def test_failover_takes_the_next_address(daemon, target):
    served = target.export(ports=2)
    attach_all(daemon, served, multipath="failover", reconnect_delay_sec=1)
    path, = paths(daemon)
    assert path["trid"]["trsvcid"] == str(served.ports[0])
    assert path["alternate_trids"][0]["trsvcid"] == str(served.ports[1])
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        data = os.urandom(4096)
        must(host.io.write(0, data))
        target.rpc("nvmf_subsystem_remove_listener", nqn=served.nqn, listen_address=target.address(served.port))
        wait_until(lambda: paths(daemon)[0]["trid"]["trsvcid"] == str(served.ports[1]), "the other address", 60)
        wait_state(daemon, "enabled")
        assert host.io.read(0, 8) == data
    detach(daemon, **address(served.ports[1], served.nqn))
    path, = paths(daemon)
    assert path["trid"]["trsvcid"] == str(served.ports[0]) and "alternate_trids" not in path
    detach(daemon)


def test_io_fails_when_it_need_not_wait(daemon, target):
    """fast_io_fail_timeout_sec, then ctrlr_loss_timeout_sec: an error, then no disk; never a hang."""
    attach(daemon, target.export(), ctrlr_loss_timeout_sec=4, reconnect_delay_sec=1, fast_io_fail_timeout_sec=1)
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
        target.kill()
        assert host.io.command(rw(IO_READ, 0, 8), expect=4096).status != 0
        wait_until(lambda: daemon.rpc("bdev_nvme_get_controllers") == [], "it to be removed", 60)
    assert disks(daemon) == []
