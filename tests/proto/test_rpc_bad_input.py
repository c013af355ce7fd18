# SPDX-License-Identifier: BSD-3-Clause
"""What is no JSON, too deep or too large is told so and sent away; the daemon and its memory stay as they were."""
import socket

import pytest

from jsonrpc import Raw

BAD = {
    "not_json": b"hello",
    "cut_by_garbage": b'{"method": "log_get_level", "id": }',
    "binary": bytes(range(256)) * 16,
    "deep_lists": b"[" * 100000,
    "deep_objects": b'{"a":' * 100000,
    "not_utf8": b'{"method": "\xff\xfe"}',
    "number_too_large": b'{"id": 1, "method": "log_get_level", "params": {"a": 18446744073709551616}}',
    "long_string": b'{"method": "' + b"x" * (9 << 20),
    "many_values": b"[" + b"0," * 300000,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_and_sent_away(daemon, name):
    with Raw(daemon.socket) as raw:
        raw.send(BAD[name])
        answer = raw.answer()
        assert answer["id"] is None
        assert answer["error"]["code"] == -32700
        assert raw.at_end()
    assert daemon.rpc("log_get_level") == "NOTICE"


def test_noise_leaves_no_memory_behind(daemon):
    def noise(rounds):
        for _ in range(rounds):
            for bad in BAD.values():
                with Raw(daemon.socket) as raw:
                    try:
                        raw.send(bad)
                        raw.answer()
                    except OSError:
                        pass

    noise(2)
    before = daemon.rss_kib()
    noise(4)
    if b"asan" not in open(f"/proc/{daemon.pid}/maps", "rb").read():     # which keeps freed memory for a while
        assert daemon.rss_kib() - before < 4096


@pytest.mark.parametrize("request_text,code", [
    ("{}", -32600), ("[]", -32600), ("3 ", -32600), ('"text"', -32600),
    ('{"jsonrpc": "1.0", "id": 1, "method": "log_get_level"}', -32600),
    ('{"id": 1, "method": 5}', -32600),
    ('{"id": [], "method": "log_get_level"}', -32600),
    ('{"id": 1, "method": "log_get_level", "params": 3}', -32600),
    ('{"id": 1, "method": "log_get_level", "params": [3]}', -32602),
    ('{"id": 1, "method": "log_get_level", "other": 3}', -32600),
])
def test_wrong_requests_keep_the_connection(daemon, request_text, code):
    with Raw(daemon.socket) as raw:
        raw.send(request_text)
        assert raw.answer()["error"]["code"] == code
        assert raw.call("log_get_level", 2)["result"] == "NOTICE"


def test_a_client_that_leaves_within_a_request(daemon):
    for _ in range(20):
        with Raw(daemon.socket) as raw:
            raw.send('{"jsonrpc": "2.0", "id": 1, "method": "rpc_des')
    assert daemon.rpc("log_get_level") == "NOTICE"


def test_a_client_that_ends_its_side_is_answered(daemon):
    with Raw(daemon.socket) as raw:
        raw.send('{"jsonrpc": "2.0", "id": 1, "method": "framework_get_reactors"}')
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.answer()["id"] == 1
        assert raw.at_end()
