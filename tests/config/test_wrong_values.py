# SPDX-License-Identifier: BSD-3-Clause
"""Every method, called wrongly in every way that its rows allow: it answers, in a sentence, and the daemon lives. A
handler that looks at its arguments after it has answered is found here by the sanitizers."""
import copy

from gantry import RpcError
from jsonrpc import Waiting
from test_round_trip import EXAMPLES, configure

# They end the daemon, wait for what never comes, or take the socket away from it.
LEFT_OUT = {"spdk_kill_instance", "framework_wait_init", "framework_start_init"}
WORDS = ["nosuch", "", "disk0", "x" * 300]
NUMBERS = [0, 1, 255, 65535, 4294967295]
# Whatever else is wrong: no long waits, and nothing that asks a name server.
KEPT = {"timeout": 1, "wait_ms": 1, "ctrlr_loss_timeout_sec": 0, "traddr": "127.0.0.1", "trsvcid": "1"}


def value(row, word, number):
    if row["name"] in KEPT:
        return KEPT[row["name"]]
    kind = row["type"]
    if kind in ("object", "objects"):
        members = {r["name"]: value(r, word, number) for r in row.get("params", [])}
        return members if kind == "object" else [members]
    if kind == "texts":
        return [word]
    if kind == "bool":
        return bool(number)
    if kind in ("text", "uuid", "json"):
        return word
    return number


def calls(method):
    """Nothing; what is required; everything; everything but one."""
    rows = method["params"]
    yield {}
    for word, number in [(w, 1) for w in WORDS] + [("nosuch", n) for n in NUMBERS]:
        everything = {r["name"]: value(r, word, number) for r in rows}
        yield {r["name"]: everything[r["name"]] for r in rows if r["required"]}
        yield everything
        yield {"unknown_to_all": word, **everything}
    for left_out in rows:
        yield {r["name"]: value(r, "disk0", 1) for r in rows if r is not left_out}


def ask(daemon, method, params):
    try:
        daemon.rpc(method, **params)
    except RpcError as e:
        assert len(e.message.split()) >= 4 and "nvalid param" not in e.message, f"{method} {params}: {e.message}"


def test_any_method_wrongly(daemon):
    daemon.malloc("disk0", mib=16)
    for method in daemon.rpc("rpc_describe")["methods"]:
        if method["name"] in LEFT_OUT:
            continue
        for params in calls(method):
            ask(daemon, method["name"], params)
    assert daemon.rpc("rpc_get_methods")


def leaves(params, path=()):
    for key, v in params.items() if isinstance(params, dict) else enumerate(params):
        if isinstance(v, (dict, list)):
            yield from leaves(v, path + (key,))
        yield path + (key,)


def wrong_for(v):
    if isinstance(v, bool):
        return [not v, "nosuch"]
    if isinstance(v, int):
        return [0, v + 1, 4294967295, -1]
    if isinstance(v, str):
        return ["nosuch", "", "x" * 300]
    return [[], {}, "nosuch"]


def changed(params, path, v):
    params = copy.deepcopy(params)
    at = params
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = v
    return params


# They are not saved, and so no examples of what is.
MORE = [
    ("vhost_get_controllers", {"name": "vm0"}),
    ("virtio_blk_get_transports", {"name": "vhost_user_blk"}),
    ("vhost_move_queue", {"ctrlr": "vm0", "id": 1, "queue": 0, "reactor": 0, "pinned": True}),
    ("vhost_scsi_controller_remove_target", {"ctrlr": "vm2", "scsi_target_num": 200}),
    ("vhost_start_scsi_controller", {"ctrlr": "vm3"}),
    ("bdev_virtio_detach_controller", {"name": "virtio0"}),
    ("vhost_delete_controller", {"ctrlr": "vm0"}),
]


def test_what_is_right_but_for_one_value(tmp_path):
    """In a daemon that has everything: far enough to meet what is there."""
    with Waiting(tmp_path) as daemon:
        configure(daemon)
        for method, params in EXAMPLES + MORE:
            for path in leaves(params):
                at = params
                for key in path:
                    at = at[key]
                for v in wrong_for(at):
                    ask(daemon, method, changed(params, path, v))
        daemon.rpc("save_config")
