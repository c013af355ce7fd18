# SPDX-License-Identifier: BSD-3-Clause
"""A list of requests is answered by one list; notifications are not answered."""
import json

from jsonrpc import Raw


def test_a_batch_with_errors_and_notifications(daemon):
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "log_get_level"},
        {"jsonrpc": "2.0", "method": "log_get_level"},
        {"jsonrpc": "2.0", "id": 2, "method": "no_such_method"},
        42,
    ]
    with Raw(daemon.socket) as raw:
        raw.send(json.dumps(batch))
        answers = raw.answer()
    assert [a["id"] for a in answers] == [1, 2, None]
    assert answers[0]["result"] == "NOTICE"
    assert [a["error"]["code"] for a in answers[1:]] == [-32601, -32600]


def test_notifications_only(daemon):
    with Raw(daemon.socket) as raw:
        raw.send(json.dumps([{"jsonrpc": "2.0", "method": "log_get_level"}] * 3))
        assert raw.call("log_get_level", 9)["id"] == 9      # the next thing said is this


def test_a_large_batch(daemon):
    batch = [{"jsonrpc": "2.0", "id": i, "method": "rpc_get_methods"} for i in range(2000)]
    with Raw(daemon.socket) as raw:
        raw.send(json.dumps(batch))
        assert [a["id"] for a in raw.answer()] == list(range(2000))
