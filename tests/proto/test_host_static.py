# SPDX-License-Identifier: BSD-3-Clause
"""Our host and static controllers: it asks for one, or for any and then for that one again, or as the discovery log
says."""
import pytest

from gantry import RpcError, wait_until
from nvme_tcp import HOST_NQN, Host
from remote import address, attach, disks, paths, wait_state

STATIC = {"controller_model": "static", "min_cntlid": 3, "max_cntlid": 6}


def cntlids(daemon):
    return [p["cntlid"] for p in paths(daemon)]


def test_a_controller_by_its_number_or_any(daemon, target):
    served = target.export(**STATIC)
    with pytest.raises(RpcError, match="its controllers are static"):
        attach(daemon, served)
    with pytest.raises(RpcError, match="no such static controller"):
        attach(daemon, served, cntlid="7")
    for wrong in ("65520", "many", "-1"):
        with pytest.raises(RpcError, match="neither 'any' nor a number"):
            attach(daemon, served, cntlid=wrong)
    with Host(served.port, served.nqn, asks=3):
        with pytest.raises(RpcError, match="Busy"):
            attach(daemon, served, cntlid="3")
        assert attach(daemon, served, cntlid="any") == ["Nvme0n1"]
        assert cntlids(daemon) == [4]
        assert attach(daemon, served, name="Nvme1", cntlid="0x6") == ["Nvme1n1"]
    saved = [c["params"] for s in daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "bdev"
             for c in s["config"] if c["method"] == "bdev_nvme_attach_controller"]
    assert [c["cntlid"] for c in saved] == ["any", "6"]


def test_dynamic_controllers_are_not_asked_for_by_number(daemon, target):
    served = target.export()
    with pytest.raises(RpcError, match="no such static controller"):
        attach(daemon, served, cntlid="any")


def test_it_comes_back_to_the_controller_it_had(daemon, target):
    """Another controller would have another's settings; but rather another one than none for long."""
    served = target.export(**STATIC)
    with Host(served.port, served.nqn, asks=3):
        attach(daemon, served, cntlid="any", reconnect_delay_sec=1)
    assert cntlids(daemon) == [4]
    target.kill()
    wait_until(lambda: paths(daemon)[0]["state"] != "enabled", "the path to be lost")
    target.again()
    wait_state(daemon, "enabled")
    assert cntlids(daemon) == [4]
    target.kill()
    wait_until(lambda: paths(daemon)[0]["state"] != "enabled", "the path to be lost")
    target.start()
    told, target.told = target.told, []
    for method, params in told:                       # before anybody can come: it is another host's now
        if method == "nvmf_subsystem_add_listener":
            target.rpc("nvmf_subsystem_set_controller_host", nqn=served.nqn, cntlid=4, host=HOST_NQN)
        target.rpc(method, **params)
    wait_state(daemon, "enabled")
    assert cntlids(daemon) == [3]


def test_the_discovery_log_says_which(daemon, target):
    served = target.export(**STATIC)
    where = {k: v for k, v in address(served.port).items() if k != "subnqn"}
    daemon.rpc("bdev_nvme_start_discovery", name="found", wait_for_attach=True, **where)
    wait_until(lambda: disks(daemon), "the disk to be found")
    assert [p["cntlid"] for p in daemon.rpc("bdev_nvme_get_controllers")[0]["ctrlrs"]] == [3]
