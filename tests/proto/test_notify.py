# SPDX-License-Identifier: BSD-3-Clause
"""Who wants to know that a disk went or a host came should not have to ask for all of them every second."""
import threading
import time

import pytest

from gantry import RpcError, wait_until
from jsonrpc import Raw, request
from nvme_tcp import HOST_NQN, Host


def events(daemon, **params):
    return [(e["type"], e["ctx"]) for e in daemon.rpc("notify_get_notifications", **params)]


def test_types(daemon):
    types = daemon.rpc("notify_get_types")
    assert types[:2] == ["bdev_register", "bdev_unregister"] and "host_connected" in types


def test_disks_and_hosts_that_come_and_go(daemon):
    served = daemon.serve(daemon.malloc("disk"))
    with Host(served.port, served.nqn):
        pass
    daemon.rpc("nvmf_delete_subsystem", nqn=served.nqn)
    daemon.rpc("bdev_malloc_delete", name="disk")
    host = f"{HOST_NQN} {served.nqn}"
    assert events(daemon) == [("bdev_register", "disk"), ("host_connected", host), ("host_disconnected", host),
                              ("bdev_unregister", "disk")]
    assert events(daemon, id=1, max=1) == [("host_connected", host)]
    assert events(daemon, id=4) == [] and events(daemon, max=0) == []
    assert [e["id"] for e in daemon.rpc("notify_get_notifications", id=2)] == [2, 3]


def test_followers_wait_and_are_told(daemon):
    got = []

    def follow():
        at = 0
        while len(got) < 3:
            for e in daemon.rpc("notify_get_notifications", id=at, wait_ms=20000):
                got.append((e["type"], e["ctx"]))
                at = e["id"] + 1
    thread = threading.Thread(target=follow)
    thread.start()
    for i in range(3):
        daemon.malloc(f"disk{i}", mib=1)
    thread.join(60)
    assert got == [("bdev_register", f"disk{i}") for i in range(3)]


def test_waiting_in_vain_ends(daemon):
    began = time.monotonic()
    assert daemon.rpc("notify_get_notifications", id=1000, wait_ms=200) == []
    assert time.monotonic() - began >= 0.19
    with pytest.raises(RpcError, match="wait_ms"):
        daemon.rpc("notify_get_notifications", wait_ms=10**9)


def test_the_deaf_make_room(daemon):
    """As many followers as there may be, who will never ask again: one that comes later is told all the same."""
    with Raw(daemon.socket) as deaf:
        for i in range(64):
            deaf.send(request("notify_get_notifications", id=i, wait_ms=60000))
        wait_until(lambda: busy(daemon), "the deaf to be all there")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(follow(daemon)))
        thread.start()
        assert deaf.answer() == {"jsonrpc": "2.0", "id": 0, "result": []}
        daemon.malloc("disk", mib=1)
        thread.join(60)
        assert [e["ctx"] for e in answers[0]] == ["disk"]


def busy(daemon):
    """A follower finds no place: it did not wait long enough to make room, or others just did."""
    try:
        daemon.rpc("notify_get_notifications", wait_ms=1)
        return False
    except RpcError:
        return True


def follow(daemon):
    while True:
        try:
            found = daemon.rpc("notify_get_notifications", wait_ms=30000)
            if found:
                return found
        except RpcError:
            time.sleep(0.1)


def test_the_daemon_stops_while_somebody_follows(daemon):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(daemon.rpc("notify_get_notifications", wait_ms=60000)))
    thread.start()
    time.sleep(0.3)
    daemon.stop()
    thread.join(30)
    assert answers == [[]]


def test_the_list_is_bounded(daemon):
    for _ in range(520):
        daemon.rpc("bdev_malloc_create", name="d", num_blocks=8, block_size=512)
        daemon.rpc("bdev_malloc_delete", name="d")
    kept = daemon.rpc("notify_get_notifications")
    assert len(kept) == 1024 and kept[0]["id"] == 1040 - 1024 and kept[-1]["id"] == 1039
