# SPDX-License-Identifier: BSD-3-Clause
"""A discovery service that is followed: what it names is attached, what it names no more is detached."""
import pytest

import bad_ways as ways
from attached import PATIENCE_S, gateway, works
from bad_target import BadTarget, Disks
from gantry import wait_until
from nvme_tcp import DISCOVERY_NQN

OTHER = "nqn.2016-06.io.gantry:other"


@pytest.fixture
def targets():
    with BadTarget() as a, BadTarget(Disks(nqn=OTHER)) as b, BadTarget(Disks({}, nqn=DISCOVERY_NQN)) as discovery:
        yield a, b, discovery


def follow(daemon, discovery, name="d", **more):
    daemon.rpc("bdev_nvme_start_discovery", PATIENCE_S, name=name, trtype="TCP", traddr="127.0.0.1", adrfam="IPv4",
               trsvcid=str(discovery.port), **more)


def found(daemon):
    """{subnqn} of what is attached."""
    return {c["trid"]["subnqn"] for group in daemon.rpc("bdev_nvme_get_controllers") for c in group["ctrlrs"]
            if c["state"] == "enabled"}


def entries(*targets):
    return [(t.nqn, t.port) for t in targets]


def test_attaches_what_it_names(daemon, targets):
    a, b, discovery = targets
    discovery.set_discovered(entries(a, b))
    follow(daemon, discovery, wait_for_attach=True)
    assert found(daemon) >= {a.nqn, b.nqn}
    disks = [d["name"] for d in daemon.rpc("bdev_get_bdevs")]
    assert len(disks) == 2 and all(d.startswith("d") for d in disks)
    with gateway(daemon, disks[0]) as host:
        works(host)
    info = daemon.rpc("bdev_nvme_get_discovery_info")
    assert [i["name"] for i in info] == ["d"]
    daemon.rpc("bdev_nvme_stop_discovery", PATIENCE_S, name="d")
    assert not found(daemon) and not daemon.rpc("bdev_get_bdevs")
    assert not daemon.rpc("bdev_nvme_get_discovery_info")


def test_two_services_name_the_same(daemon, targets):
    """What one of them attached stays as long as the other one names it."""
    a, b, discovery = targets
    with BadTarget(Disks({}, nqn=DISCOVERY_NQN)) as other:
        discovery.set_discovered(entries(a, b))
        other.set_discovered(entries(a))
        follow(daemon, discovery, wait_for_attach=True)
        follow(daemon, other, name="e", wait_for_attach=True)
        daemon.rpc("bdev_nvme_stop_discovery", PATIENCE_S, name="d")
        wait_until(lambda: b.nqn not in found(daemon), "the other one's to go", PATIENCE_S)
        assert a.nqn in found(daemon) and a.seen["connect"] == 1
        other.set_discovered([])
        wait_until(lambda: a.nqn not in found(daemon), "it to go", PATIENCE_S)


def test_changes_are_followed(daemon, targets):
    a, b, discovery = targets
    discovery.set_discovered(entries(a))
    follow(daemon, discovery, wait_for_attach=True)
    assert a.nqn in found(daemon) and b.nqn not in found(daemon)
    discovery.set_discovered(entries(a, b))
    wait_until(lambda: b.nqn in found(daemon), "the second subsystem", PATIENCE_S)
    discovery.set_discovered(entries(b))
    wait_until(lambda: a.nqn not in found(daemon), "the first to go", PATIENCE_S)
    assert b.seen["connect"] == 1


def test_the_service_goes_and_comes(daemon, targets):
    """What it named stays meanwhile, and changes of that time are found."""
    a, b, discovery = targets
    discovery.set_discovered(entries(a))
    follow(daemon, discovery, wait_for_attach=True, ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
    discovery.stop()
    discovery.set_discovered(entries(a, b))
    assert a.nqn in found(daemon)
    discovery.start()
    wait_until(lambda: b.nqn in found(daemon), "the second subsystem", PATIENCE_S)
    assert a.seen["connect"] == 1


def test_it_names_nonsense(daemon, targets):
    """One entry that leads nowhere must not keep the others away."""
    a, _, discovery = targets
    with BadTarget() as gone:
        gone.stop()
    discovery.set_discovered([("nqn.2016-06.io.gantry:gone", gone.port), ("", a.port), ("x" * 223, a.port),
                              *entries(a)])
    follow(daemon, discovery)
    wait_until(lambda: a.nqn in found(daemon), "the good one", PATIENCE_S)


@pytest.mark.parametrize("action", [ways.silence, ways.rst, ways.garbage, ways.no_data, ways.c2h(more=-4)],
                         ids=["silence", "rst", "garbage", "nothing", "short"])
def test_its_log_cannot_be_read(daemon, targets, action):
    """It is tried again; meanwhile and after that the daemon is well."""
    a, _, discovery = targets
    discovery.set_discovered(entries(a))
    discovery.on("log_page", action, times=1)
    follow(daemon, discovery, ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
    wait_until(lambda: a.nqn in found(daemon), "the subsystem", PATIENCE_S)


def test_what_is_down_does_not_end_the_service(daemon, targets):
    """Who waits for the first log would be left without a service, and without the disks of all others, too."""
    a, b, discovery = targets
    b.stop()
    discovery.set_discovered(entries(a, b))
    follow(daemon, discovery, wait_for_attach=True, ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
    assert a.nqn in found(daemon) and len(daemon.rpc("bdev_nvme_get_discovery_info")) == 1
    assert f"{b.nqn} at 127.0.0.1 port {b.port} is listed, and tried again until it answers" in daemon.log()
    b.start()
    wait_until(lambda: b.nqn in found(daemon), "it to be tried again", PATIENCE_S)
