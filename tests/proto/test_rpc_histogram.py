# SPDX-License-Identifier: BSD-3-Clause
"""Latency histograms and the queue depth: off until asked for, in the shape that SPDK's scripts read."""
import base64
import struct

import pytest

from gantry import RpcError
from nvme_tcp import must

GRANULARITY = 6


def buckets(answer):
    raw = base64.b64decode(answer["histogram"])
    return struct.unpack(f"<{len(raw) // 8}Q", raw)


def upper_edge_ns(bucket):
    """As spdk_histogram_data_iterate() computes it."""
    span, index = divmod(bucket, 1 << GRANULARITY)
    if span == 0:
        return index + 1
    return (1 << (span + GRANULARITY - 1)) + ((index + 1) << (span - 1))


def some_io(host, writes=20, reads=30):
    for n in range(writes):
        must(host.io.write(8 * n, bytes(4096)))
    for n in range(reads):
        host.io.read(8 * n, 8)


def operations(daemon):
    return {op["operation"]: op for op in daemon.rpc("bdev_get_latencies", name="disk0")["latencies"]}


def test_latencies_are_counted_once_asked_for(daemon, host):
    some_io(host)
    daemon.rpc("bdev_enable_histogram", name="disk0", enable=True)
    assert sum(buckets(daemon.rpc("bdev_get_histogram", name="disk0"))) == 0
    some_io(host)
    answer = daemon.rpc("bdev_get_histogram", name="disk0")
    assert answer["bucket_shift"] == answer["granularity"] == GRANULARITY
    assert answer["tsc_rate"] == 1000000000 and answer["min_range"] == 0
    counts = buckets(answer)
    assert len(counts) == (answer["max_range"] + 1) << GRANULARITY
    assert sum(counts) == 50
    seen = operations(daemon)
    assert seen["write"]["count"] == 20 and seen["read"]["count"] == 30
    for op in seen.values():
        assert 0 < op["min_ns"] <= op["p50_ns"] <= op["p90_ns"] <= op["p99_9_ns"] <= op["max_ns"] < 60 * 10**9
    highest = max(n for n, count in enumerate(counts) if count)
    assert upper_edge_ns(highest) >= max(op["p99_ns"] for op in seen.values())
    borders = [0, 1, 100, 10**7]
    between = daemon.rpc("bdev_get_histogram_borders", name="disk0", borders=borders)["borders_count"]
    assert len(between) == len(borders) + 1 and sum(between) == 50 and between[0] == 0


def test_one_operation_alone(daemon, host):
    daemon.rpc("bdev_enable_histogram", name="disk0", enable=True, opc="write")
    some_io(host)
    assert list(operations(daemon)) == ["write"]
    daemon.rpc("bdev_enable_histogram", name="disk0", enable=True, granularity=7, min_nsec=1000)
    assert operations(daemon) == {}                     # begins anew
    daemon.rpc("bdev_enable_histogram", name="disk0", enable=False)
    some_io(host)
    with pytest.raises(RpcError, match="bdev_enable_histogram begins with it"):
        daemon.rpc("bdev_get_histogram", name="disk0")


@pytest.mark.parametrize("method, params, sentence", [
    ("bdev_enable_histogram", {"name": "none", "enable": True}, "no block device 'none'"),
    ("bdev_enable_histogram", {"name": "disk0", "enable": True, "opc": "sing"}, "'sing' is no operation"),
    ("bdev_get_histogram_borders", {"name": "disk0", "borders": [2, 1]}, "ascending"),
    ("bdev_get_histogram_borders", {"name": "disk0", "borders": []}, "ascending"),
    ("bdev_get_histogram_borders", {"name": "disk0", "borders": ["x"]}, "ascending"),
    ("bdev_set_qd_sampling_period", {"name": "none", "period": 1}, "no block device 'none'"),
])
def test_what_is_wrong_is_said(daemon, method, params, sentence):
    daemon.malloc("disk0")
    daemon.rpc("bdev_enable_histogram", name="disk0", enable=True)
    with pytest.raises(RpcError) as error:
        daemon.rpc(method, **params)
    assert sentence in error.value.message


def test_the_queue_depth_is_metered(daemon, host):
    def stat():
        return daemon.rpc("bdev_get_iostat", names=["disk0"])["bdevs"][0]

    assert "queue_depth" not in stat()
    daemon.rpc("bdev_set_qd_sampling_period", name="disk0", period=500)
    daemon.rpc("bdev_set_qos_limit", name="disk0", rw_ios_per_sec=100)
    some_io(host)
    now = stat()
    assert now["queue_depth_polling_period"] == 500 and now["queue_depth"] == 0
    # One after the other, each held for about 10 ms but those that were saved up: never two at a time.
    assert now["io_time"] >= 100000
    assert now["weighted_io_time"] <= now["io_time"] * 1.05
    daemon.rpc("bdev_set_qd_sampling_period", name="disk0", period=0)
    assert "io_time" not in stat()
