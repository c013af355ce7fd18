# SPDX-License-Identifier: BSD-3-Clause
"""Wrong parameters of the methods of remote disks: a sentence that names the parameter, and nothing is left behind."""
import pytest

from attached import attach, controllers, where
from bad_target import BadTarget
from gantry import RpcError


@pytest.fixture
def target():
    with BadTarget() as running:
        yield running


def sentence(daemon, method, **params):
    with pytest.raises(RpcError) as caught:
        daemon.rpc(method, **params)
    assert len(caught.value.message) > 15, caught.value.message
    return caught.value.message


@pytest.mark.parametrize("changed, word", [
    ({"name": None}, "name"),
    ({"name": ""}, "name"),
    ({"trtype": None}, "trtype"),
    ({"trtype": "carrier pigeon"}, "trtype"),
    ({"traddr": None}, "traddr"),
    ({"traddr": "::1"}, "::1"),
    ({"trsvcid": "99999"}, "99999"),
    ({"trsvcid": "nine"}, "nine"),
    ({"adrfam": "IPv5"}, "adrfam"),
    ({"subnqn": "x" * 300}, "subnqn"),
    ({"hostnqn": "x" * 300}, "hostnqn"),
    ({"hostaddr": "not an address"}, "hostaddr: "),
    ({"num_io_queues": 0}, "num_io_queues"),
    ({"num_io_queues": 1 << 20}, "num_io_queues"),
    ({"multipath": "sometimes"}, "multipath"),
    ({"ctrlr_loss_timeout_sec": -2}, "ctrlr_loss_timeout_sec"),
    ({"ctrlr_loss_timeout_sec": 2, "reconnect_delay_sec": 5}, "reconnect_delay_sec"),
    ({"ctrlr_loss_timeout_sec": 5, "reconnect_delay_sec": 1, "fast_io_fail_timeout_sec": 9}, "fast_io_fail_timeout"),
    ({"no_such_parameter": 1}, "no_such_parameter"),
], ids=lambda v: str(v)[:40])
def test_attach(daemon, target, changed, word):
    params = {"name": "r", **where(target), **changed}
    said = sentence(daemon, "bdev_nvme_attach_controller", **{k: v for k, v in params.items() if v is not None})
    assert word in said, said
    assert not controllers(daemon) and not target.seen["connect"]


@pytest.mark.parametrize("method, more", [
    ("bdev_nvme_detach_controller", {}), ("bdev_nvme_reset_controller", {}), ("bdev_nvme_enable_controller", {}),
    ("bdev_nvme_disable_controller", {}), ("bdev_nvme_get_controllers", {}), ("bdev_nvme_get_io_paths", {}),
    ("bdev_nvme_set_preferred_path", {"cntlid": 1}), ("bdev_nvme_set_multipath_policy", {"policy": "active_active"}),
    ("bdev_nvme_get_controller_health_info", {}), ("bdev_nvme_stop_discovery", {})])
def test_nobody_of_that_name(daemon, method, more):
    assert "nobody" in sentence(daemon, method, name="nobody", **more)


def test_preferred_path_that_is_none(daemon, target):
    disk = attach(daemon, target)
    assert "no path" in sentence(daemon, "bdev_nvme_set_preferred_path", name=disk, cntlid=4711)


@pytest.mark.parametrize("params, word", [
    ({"action_on_timeout": "panic"}, "action_on_timeout"),
    ({"policy": "active_active"}, "policy"),
    ({"bdev_retry_count": -2}, "bdev_retry_count"),
    ({"ctrlr_loss_timeout_sec": 2, "reconnect_delay_sec": 5}, "reconnect_delay_sec"),
], ids=lambda v: str(v)[:40])
def test_options(daemon, params, word):
    assert word in sentence(daemon, "bdev_nvme_set_options", **params)
