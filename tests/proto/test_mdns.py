# SPDX-License-Identifier: BSD-3-Clause
"""Discovery services by multicast DNS, over an avahi-daemon of the test's own."""
import json
import time

import pytest

from gantry import Daemon, RpcError, free_port, wait_until
from load import differences, wakeups
from mdns import Avahi, why_not
from nvme_tcp import DISCOVERY_NQN

SERVICE = "_nvme-disc._tcp"
CONTROL_WAKES_MAX = 16      # for the two RPCs that look


@pytest.fixture(autouse=True)
def built_with_avahi(tmp_path, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nowhere")
    (tmp_path / "look").mkdir()
    with Daemon(tmp_path / "look") as daemon:
        with pytest.raises(RpcError) as said:
            daemon.rpc("bdev_nvme_start_mdns_discovery", name="m", svcname=SERVICE)
    if "built without" in said.value.message:
        pytest.skip(said.value.message)
    assert "avahi-daemon cannot be reached" in said.value.message


@pytest.fixture
def avahi(tmp_path, monkeypatch, built_with_avahi):
    if why_not():
        pytest.skip(why_not())
    with Avahi(tmp_path / "avahi") as running:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", running.bus)
        yield running


@pytest.fixture
def target(tmp_path, avahi):
    (tmp_path / "target").mkdir()
    with Daemon(tmp_path / "target") as daemon:
        yield daemon


@pytest.fixture
def host(tmp_path, avahi):
    (tmp_path / "host").mkdir()
    with Daemon(tmp_path / "host") as daemon:
        yield daemon


def named(port):
    return f"gantry-gantrytest-{port}"


def resolves(avahi, port):
    said = avahi.resolve(named(port))
    return said and f"uint16 {port}" in said


def searches(daemon):
    return daemon.rpc("bdev_nvme_get_mdns_discovery_info")


def disks(daemon):
    return [b["name"] for b in daemon.rpc("bdev_get_bdevs")]


def test_published_found_and_attached(avahi, target, host):
    """Somebody would have to write addresses into every host."""
    served = target.serve(target.malloc("disk0", mib=1))
    host.rpc("bdev_nvme_start_mdns_discovery", name="m", svcname=SERVICE)
    assert searches(host) == [{"name": "m", "svcname": SERVICE, "referrals": []}]
    target.rpc("nvmf_publish_mdns_prr")
    wait_until(lambda: resolves(avahi, served.port), "avahi-daemon to know the service")
    wait_until(lambda: "m00n1" in disks(host), "the disk", 60)
    found = searches(host)[0]["referrals"]
    assert [(f["name"], f["trid"]["traddr"], f["trid"]["trsvcid"], f["trid"]["subnqn"]) for f in found] == \
        [("m0", "127.0.0.1", str(served.port), DISCOVERY_NQN)]
    saved = json.dumps(host.rpc("save_config"))
    assert "bdev_nvme_start_mdns_discovery" in saved and "bdev_nvme_start_discovery" not in saved

    target.rpc("nvmf_stop_mdns_prr")
    wait_until(lambda: not resolves(avahi, served.port), "the service to be gone")
    assert "m00n1" in disks(host)                       # it stays
    host.rpc("bdev_nvme_stop_mdns_discovery", name="m")
    assert not searches(host)
    wait_until(lambda: not disks(host), "the disk to go")
    for daemon, method, params in ((target, "nvmf_stop_mdns_prr", {}),
                                   (host, "bdev_nvme_stop_mdns_discovery", {"name": "m"})):
        with pytest.raises(RpcError):
            daemon.rpc(method, **params)


def test_listeners_come_and_go(avahi, target):
    """What was published once would not be true for long."""
    with pytest.raises(RpcError, match="no listener over TCP"):
        target.rpc("nvmf_publish_mdns_prr")
    served = target.serve(target.malloc("disk0", mib=1))
    target.rpc("nvmf_publish_mdns_prr")
    with pytest.raises(RpcError, match="already"):
        target.rpc("nvmf_publish_mdns_prr")
    port = free_port()
    target.listen(DISCOVERY_NQN, port)
    wait_until(lambda: resolves(avahi, served.port) and resolves(avahi, port), "both listeners")
    target.rpc("nvmf_subsystem_remove_listener", nqn="discovery", listen_address=target.address(served.port))
    wait_until(lambda: resolves(avahi, port) and not resolves(avahi, served.port), "one listener")


def test_a_discovery_of_the_same_name_is_left_alone(avahi, target, host):
    """Stopping a search would take away the disks of a discovery that somebody else has started."""
    served = target.serve(target.malloc("disk0", mib=1))
    host.rpc("bdev_nvme_start_discovery", name="m0", trtype="TCP", adrfam="IPv4", traddr="localhost",
             trsvcid=str(served.port))
    wait_until(lambda: disks(host), "the disk", 60)
    host.rpc("bdev_nvme_start_mdns_discovery", name="m", svcname=SERVICE)
    target.rpc("nvmf_publish_mdns_prr")
    wait_until(lambda: searches(host)[0]["referrals"], "the search to find it", 60)
    host.rpc("bdev_nvme_stop_mdns_discovery", name="m")
    assert [d["name"] for d in host.rpc("bdev_nvme_get_discovery_info")] == ["m0"]


def test_avahi_goes_and_comes_again(avahi, target, host):
    """A restart of one daemon of the machine would make disks impossible to find until ours is restarted, too."""
    served = target.serve(target.malloc("disk0", mib=1))
    target.rpc("nvmf_publish_mdns_prr")
    wait_until(lambda: resolves(avahi, served.port), "the service")
    avahi.stop()
    host.check_alive()
    avahi.start()
    wait_until(lambda: resolves(avahi, served.port), "the service, again", 60)
    host.rpc("bdev_nvme_start_mdns_discovery", name="m", svcname=SERVICE)
    wait_until(lambda: "m00n1" in disks(host), "the disk", 60)
    avahi.stop()
    time.sleep(0.1)
    assert "m00n1" in disks(host)


def test_idle(avahi, target):
    """Who is only heard and hears would wake a core for nothing: Avahi's clients are often polled."""
    target.serve(target.malloc("disk0", mib=1))
    target.rpc("nvmf_publish_mdns_prr")
    target.rpc("bdev_nvme_start_mdns_discovery", name="m", svcname="_nvme-nobody._tcp")
    # What Avahi has to say at first comes for a while.
    def rests():
        before = wakeups(target)
        time.sleep(2)
        woke = differences(before, wakeups(target))
        return woke["control"]["sleeps"] <= CONTROL_WAKES_MAX and woke["control"]["work.timers"] == 0 and \
            woke["reactor_0"]["work.timers"] <= 2
    wait_until(rests, "two seconds of rest", 60)
    assert [t["active_pollers_count"] for t in target.rpc("thread_get_stats")["threads"]] == [0, 0]


def test_a_saved_configuration_is_patient(tmp_path, avahi, target):
    """A machine whose avahi-daemon starts after ours would start without disks."""
    served = target.serve(target.malloc("disk0", mib=1))
    target.rpc("nvmf_publish_mdns_prr")
    avahi.stop()
    config = {"subsystems": [{"subsystem": "mdns", "config": [
        {"method": "bdev_nvme_start_mdns_discovery", "params": {"name": "m", "svcname": SERVICE}}]}]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "late").mkdir()
    with Daemon(tmp_path / "late", "-c", tmp_path / "config.json") as daemon:
        assert searches(daemon)[0]["name"] == "m"
        avahi.start()
        wait_until(lambda: resolves(avahi, served.port), "the service", 60)
        wait_until(lambda: "m00n1" in disks(daemon), "the disk", 60)
