# SPDX-License-Identifier: BSD-3-Clause
"""Limits through SPDK's method and ours: kept, changed while I/O waits, shared, shown and saved. How precise they are
is proven in virtual time (src/bdev/qos_sim_test.c): here nothing depends on the machine's speed."""
import time

import pytest

from gantry import RpcError, wait_until
from nvme_tcp import IO_READ, IO_WRITE, Host, must, rw

DATA = bytes(4096)


def limits(daemon, name="disk0"):
    return daemon.rpc("bdev_get_bdevs", name=name)[0]["assigned_rate_limits"]


def waits(daemon, name="disk0"):
    return {w["name"]: w for w in daemon.rpc("bdev_get_iostat", names=[name])["bdevs"][0].get("waits", [])}


def reads(io, count, blocks=8):
    return [io.submit(rw(IO_READ, 8 * n % 4096, blocks), expect=blocks * 512) for n in range(count)]


def waiting(daemon, host, count=20):
    """Commands that a limit of one I/O in a second holds; the first may have gone through."""
    daemon.rpc("bdev_set_qos_limit", name="disk0", rw_ios_per_sec=1)
    cids = reads(host.io, count)
    wait_until(lambda: waits(daemon).get("rate limit of reads", {}).get("waiting", 0) >= count - 2, "reads to wait")
    return cids


@pytest.mark.parametrize("limit, commands, rate", [
    ({"rw_ios_per_sec": 400}, 200, 400), ({"r_ios_per_sec": 400}, 200, 400), ({"rw_mbytes_per_sec": 2}, 256, 512),
    ({"r_mbytes_per_sec": 2, "rw_ios_per_sec": 100000}, 256, 512),
], ids=str)
def test_no_more_than_the_limit(daemon, served, limit, commands, rate):
    daemon.rpc("bdev_set_qos_limit", name="disk0", **limit)
    with Host(served.port, served.nqn, io_queues=2) as host:
        began = time.monotonic()
        cids = [reads(io, commands // 2) for io in host.ios]
        for io, mine in zip(host.ios, cids):
            for cid in mine:
                must(io.wait(cid))
        took = time.monotonic() - began
    assert took >= (commands - 2) / rate - 0.03        # what is saved up: 20 ms
    assert waits(daemon)["rate limit of reads"]["waiting"] == 0
    assert waits(daemon)["rate limit of reads"]["count"] > 0


def test_writes_pass_reads_that_wait(daemon, host):
    """One line for both would make a host wait for what is not limited."""
    daemon.rpc("bdev_set_qos_limit", name="disk0", r_ios_per_sec=1)
    held = reads(host.io, 20)
    for n in range(50):
        must(host.io.write(8 * n, DATA))
    assert waits(daemon)["rate limit of reads"]["waiting"] >= 1
    daemon.rpc("bdev_set_qos_limit", name="disk0", r_ios_per_sec=0)
    for cid in held:
        must(host.io.wait(cid))


@pytest.mark.parametrize("rate", [0, 1000000])
def test_a_change_holds_for_what_waits(daemon, host, rate):
    cids = waiting(daemon, host)
    daemon.rpc("bdev_set_qos_limit", name="disk0", rw_ios_per_sec=rate)
    for cid in cids:                                   # at one a second the connection would time out
        must(host.io.wait(cid))
    assert limits(daemon)["rw_ios_per_sec"] == rate


def test_a_disk_that_goes_lets_go(daemon, host):
    cids = waiting(daemon, host)
    assert daemon.rpc("bdev_malloc_delete", name="disk0") is True
    for cid in cids:
        host.io.wait(cid)


def test_a_host_that_goes_is_forgotten_at_once(daemon, served):
    """Its commands wait for a limit: the controller would stay until the last has had its turn."""
    with Host(served.port, served.nqn) as host:
        waiting(daemon, host, count=60)
    wait_until(lambda: not daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn), "the controller to go")
    assert waits(daemon)["rate limit of reads"]["waiting"] == 0


def test_a_daemon_with_waiting_commands_stops(daemon, served):
    with Host(served.port, served.nqn) as host:
        waiting(daemon, host)
        daemon.stop()


def test_devices_share_a_group(daemon):
    served = daemon.serve(daemon.malloc("disk0"), daemon.malloc("disk1"))
    daemon.rpc("bdev_qos_group_create", name="gold", rw_ios_per_sec=400)
    for name in ["disk0", "disk1"]:
        daemon.rpc("bdev_qos_group_add_bdev", name="gold", bdev_name=name)
    with Host(served.port, served.nqn) as host:
        began = time.monotonic()
        cids = [host.io.submit(rw(IO_WRITE, 8 * n, 8, nsid=1 + n % 2), DATA) for n in range(100)]
        for cid in cids:
            must(host.io.wait(cid))
        assert time.monotonic() - began >= 98 / 400 - 0.03
    group, = daemon.rpc("bdev_qos_get_groups")
    assert group["name"] == "gold" and group["bdevs"] == ["disk0", "disk1"]
    assert group["rate_limits"]["rw_ios_per_sec"] == 400
    assert limits(daemon, "disk1")["qos_group"] == "gold"
    with pytest.raises(RpcError, match="has block devices in it, such as 'disk0'"):
        daemon.rpc("bdev_qos_group_delete", name="gold")
    daemon.rpc("bdev_qos_group_set_limit", name="gold", w_mbytes_per_sec=7)
    assert daemon.rpc("bdev_qos_get_groups")[0]["rate_limits"]["w_mbytes_per_sec"] == 7
    daemon.rpc("bdev_qos_group_remove_bdev", name="gold", bdev_name="disk0")
    daemon.rpc("bdev_qos_group_remove_bdev", name="gold", bdev_name="disk1")
    assert daemon.rpc("bdev_qos_group_delete", name="gold") is True
    assert daemon.rpc("bdev_qos_get_groups") == []


def test_limits_that_are_not_named_stay(daemon):
    daemon.malloc("disk0")
    daemon.rpc("bdev_set_qos_limit", name="disk0", rw_ios_per_sec=20000, r_mbytes_per_sec=100)
    daemon.rpc("bdev_set_qos_limit", name="disk0", w_mbytes_per_sec=50, burst_ms=1000)
    assert limits(daemon) == {"rw_ios_per_sec": 20000, "rw_mbytes_per_sec": 0, "r_mbytes_per_sec": 100,
                              "w_mbytes_per_sec": 50, "burst_ms": 1000}
    daemon.rpc("bdev_set_qos_limit", name="disk0", rw_ios_per_sec=0)
    assert limits(daemon)["rw_ios_per_sec"] == 0 and limits(daemon)["r_mbytes_per_sec"] == 100


@pytest.mark.parametrize("method, params, sentence", [
    ("bdev_set_qos_limit", {"name": "disk0"}, "no limit is named"),
    ("bdev_set_qos_limit", {"name": "none", "rw_ios_per_sec": 1}, "no block device 'none'"),
    ("bdev_set_qos_limit", {"name": "disk0", "rw_mbytes_per_sec": 1 << 60}, "rw_mbytes_per_sec"),
    ("bdev_qos_group_add_bdev", {"name": "none", "bdev_name": "disk0"}, "no QoS group 'none'"),
    ("bdev_qos_group_add_bdev", {"name": "there", "bdev_name": "none"}, "no block device 'none'"),
    ("bdev_qos_group_add_bdev", {"name": "there", "bdev_name": "disk0"}, "is in QoS group 'there'"),
    ("bdev_qos_group_remove_bdev", {"name": "other", "bdev_name": "disk0"}, "is not in QoS group 'other'"),
    ("bdev_qos_group_create", {"name": "there"}, "there is a QoS group 'there' already"),
    ("bdev_qos_group_create", {"name": ""}, "1 to 255 characters"),
])
def test_what_is_wrong_is_said(daemon, method, params, sentence):
    daemon.malloc("disk0")
    daemon.rpc("bdev_qos_group_create", name="there")
    daemon.rpc("bdev_qos_group_create", name="other")
    daemon.rpc("bdev_qos_group_add_bdev", name="there", bdev_name="disk0")
    with pytest.raises(RpcError) as error:
        daemon.rpc(method, **params)
    assert sentence in error.value.message
