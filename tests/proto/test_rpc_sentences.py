# SPDX-License-Identifier: BSD-3-Clause
"""Errors name what is wrong and what would be right."""
import pytest

from gantry import RpcError


@pytest.mark.parametrize("method,params,code,sentence", [
    ("framework_set_mode", {"mode": "pol"}, -32602, 'mode: "pol" is not one of: adaptive, poll, interrupt'),
    ("framework_set_mode", {"moed": "poll"}, -32602, "moed: no such parameter; did you mean mode?"),
    ("framework_set_mode", {}, -32602, "mode: missing, and required: "),
    ("framework_set_mode", {"mode": "poll", "reactor": "0"}, -32602,
     'reactor: "0" does not fit; a whole number is wanted, without quotes'),
    ("framework_set_mode", {"mode": "poll", "reactor": 40}, -32602, "reactor: there is no reactor 40; they are 0 to 0"),
    ("framework_get_reactor", {}, -32601,
     "Method not found: framework_get_reactor; did you mean framework_get_reactors?"),
    ("log_get_level", {"x": 1}, -32602, "x: no such parameter; there are none"),
    ("framework_start_init", {}, -1, "may only be called before the framework is initialized"),
])
def test_the_sentence_says_it(daemon, method, params, code, sentence):
    with pytest.raises(RpcError) as error:
        daemon.rpc(method, **params)
    assert error.value.code == code
    assert sentence in error.value.message


def test_an_older_name_works_and_is_said_once(daemon):
    assert daemon.rpc("get_spdk_version") == daemon.rpc("spdk_get_version")
    daemon.rpc("get_spdk_version")
    assert daemon.log().count("get_spdk_version is an older name") == 1
    assert "get_spdk_version" not in daemon.rpc("rpc_get_methods")
    assert "get_spdk_version" in daemon.rpc("rpc_get_methods", include_aliases=True)
