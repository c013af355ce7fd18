# SPDX-License-Identifier: BSD-3-Clause
"""Requests have no framing: cut after any byte or run together, each is answered once, in order."""
from jsonrpc import Raw, request


def test_a_byte_at_a_time(daemon):
    with Raw(daemon.socket) as raw:
        for byte in request("spdk_get_version", 7):
            raw.send(byte)
        answer = raw.answer()
    assert answer["id"] == 7
    assert set(answer["result"]) == {"version", "fields"}
    assert set(answer["result"]["fields"]) >= {"major", "minor", "patch", "suffix"}


def test_many_at_once(daemon):
    with Raw(daemon.socket) as raw:
        raw.send("\n".join(request("spdk_get_version", i) for i in range(500)))
        assert [raw.answer()["id"] for _ in range(500)] == list(range(500))


def test_without_anything_between(daemon):
    with Raw(daemon.socket) as raw:
        raw.send(request("log_get_level", "a") + request("log_get_level", "b"))
        assert [raw.answer()["id"], raw.answer()["id"]] == ["a", "b"]
