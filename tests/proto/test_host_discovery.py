# SPDX-License-Identifier: BSD-3-Clause
"""Discovery services: what a target lists is attached, changes are followed, and what is not listed any more goes."""
import time

import pytest

from gantry import NQN, RpcError, free_port, wait_until
from nvme_tcp import Host, must
from remote import attach, disks, paths, states

DISCOVERY = "nqn.2014-08.org.nvmexpress.discovery"


def start(daemon, port, name="Disc", **options):
    return daemon.rpc("bdev_nvme_start_discovery", name=name, trtype="TCP", traddr="127.0.0.1", adrfam="ipv4",
                      trsvcid=str(port), **options)


def info(daemon):
    return daemon.rpc("bdev_nvme_get_discovery_info")[0]


def test_what_is_listed_is_attached_and_followed(daemon, target):
    served = target.export(ports=2)
    start(daemon, served.port, wait_for_attach=True)
    assert disks(daemon) == ["Disc0n1"] and states(daemon, "Disc0") == ["enabled", "enabled"]
    assert sorted(int(a["trid"]["trsvcid"]) for a in info(daemon)["attached"]) == sorted(served.ports)
    target.malloc("more", mib=8)
    target.serve("more", nqn=NQN + "2", discovery=False)
    wait_until(lambda: disks(daemon) == ["Disc0n1", "Disc1n1"], "the new subsystem")
    target.rpc("nvmf_delete_subsystem", nqn=NQN + "2")
    wait_until(lambda: disks(daemon) == ["Disc0n1"], "it to be gone")
    target.rpc("nvmf_subsystem_remove_listener", nqn=served.nqn, listen_address=target.address(served.ports[1]))
    wait_until(lambda: states(daemon, "Disc0").count("enabled") == 1 and len(info(daemon)["attached"]) == 1,
               "the second path to be gone", 30)
    gateway = daemon.serve("Disc0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
    assert daemon.rpc("bdev_nvme_stop_discovery", name="Disc") is True
    assert disks(daemon) == [] and daemon.rpc("bdev_nvme_get_controllers") == []
    assert daemon.rpc("bdev_nvme_get_discovery_info") == []


def test_target_that_restarts_is_found_again(daemon, target):
    served = target.export()
    start(daemon, served.port, wait_for_attach=True, reconnect_delay_sec=1)
    target.kill()
    wait_until(lambda: info(daemon)["doing"] != "WATCHING" and states(daemon, "Disc0") != ["enabled"], "the loss")
    assert disks(daemon) == ["Disc0n1"]
    target.again()
    wait_until(lambda: info(daemon)["doing"] == "WATCHING" and states(daemon, "Disc0") == ["enabled"], "the return", 60)
    assert disks(daemon) == ["Disc0n1"] and "why" not in info(daemon)


def test_start_before_the_target(daemon, target):
    served = target.export()
    target.kill()
    start(daemon, served.port)
    assert disks(daemon) == []
    target.again()
    wait_until(lambda: disks(daemon) == ["Disc0n1"], "the disk", 60)


def test_waiting_in_vain_is_a_sentence(daemon):
    port = free_port()
    with pytest.raises(RpcError, match="Connection refused"):
        start(daemon, port, wait_for_attach=True)
    began = time.monotonic()
    with pytest.raises(RpcError, match="in time"):
        start(daemon, port, attach_timeout_ms=1500)
    assert time.monotonic() - began >= 1.5
    assert daemon.rpc("bdev_nvme_get_discovery_info") == []
    with pytest.raises(RpcError, match="no discovery service"):
        daemon.rpc("bdev_nvme_stop_discovery", name="Disc")


def test_what_cannot_be_is_said(daemon, target):
    served = target.export()
    start(daemon, served.port)
    with pytest.raises(RpcError, match="already"):
        start(daemon, served.port)
    with pytest.raises(RpcError, match="follows"):
        start(daemon, served.port, name="Other")
    with pytest.raises(RpcError, match="no second attempt"):
        start(daemon, free_port(), name="Other", ctrlr_loss_timeout_sec=0, reconnect_delay_sec=3)


def test_stop_while_it_connects(daemon):
    for _ in range(5):
        start(daemon, free_port())
        daemon.rpc("bdev_nvme_stop_discovery", name="Disc")
    assert daemon.rpc("bdev_nvme_get_discovery_info") == []


def test_a_persons_own_controller_stays(daemon, target):
    served = target.export()
    attach(daemon, served)
    start(daemon, served.port, wait_for_attach=True)
    assert disks(daemon) == ["Disc0n1", "Nvme0n1"]
    daemon.rpc("bdev_nvme_stop_discovery", name="Disc")
    assert disks(daemon) == ["Nvme0n1"] and len(paths(daemon)) == 1
