# SPDX-License-Identifier: BSD-3-Clause
"""Configurations that SPDK's nvmf_tgt saved (v26.09-pre; data/spdk-*.json) load as they are, with -c, load_config and
call by call, make what they describe, and are saved again with all that was in them. @PORT@ and @FILE@ stand for a
port and a file."""
import copy
import json
from pathlib import Path

import pytest

from gantry import Daemon, free_port
from jsonrpc import Waiting

DATA = Path(__file__).with_name("data")
CONFIGS = sorted(p.stem for p in DATA.glob("spdk-*.json"))


@pytest.fixture
def read(tmp_path):
    """{name of a configuration: it, for this test}."""
    image = tmp_path / "image"
    image.touch()
    with open(image, "r+b") as f:
        f.truncate(8 << 20)
    port = str(free_port())

    def of_name(name):
        text = (DATA / f"{name}.json").read_text()
        return json.loads(text.replace("@PORT@", port).replace("@FILE@", str(image)))
    return of_name


def calls(config):
    return [(s["subsystem"], e["method"], e.get("params", {})) for s in config["subsystems"] for e in s["config"] or []]


def plain(value):
    """As it is compared: case and the dashes of identifiers do not count."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.lower().replace("-", "") if isinstance(value, str) else value


def within(small, large):
    """Is everything that both say the same?"""
    if isinstance(small, dict) and isinstance(large, dict):
        return all(within(v, large[k]) for k, v in small.items() if k in large)
    return plain(small) == plain(large)


def names_of(params):
    space = params.get("namespace", {})
    return [params.get(k) for k in ("name", "nqn", "base_bdev", "base_name", "impl_name", "opname", "host")] + \
           [space.get("nsid"), params.get("listen_address", {}).get("trsvcid")]


def check_saved(given, saved):
    left = copy.deepcopy(calls(saved))
    for subsystem, method, params in calls(given):
        if method == "nvmf_set_crdt" and not any(params.values()):
            continue        # as it is without
        same = [c for c in left if c[1] == method and plain(names_of(c[2])) == plain(names_of(params))]
        assert same, f"{subsystem}: {method} {params} is not saved"
        assert within(params, same[0][2]), f"{method}:\ngiven {params}\nsaved {same[0][2]}"


@pytest.mark.parametrize("name", CONFIGS)
def test_it_loads_and_is_saved(name, read, tmp_path):
    given = read(name)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(given))
    with Daemon(tmp_path, "-c", path) as daemon:
        saved = daemon.rpc("save_config")
        check_saved(given, saved)
        known = {b["name"] for b in daemon.rpc("bdev_get_bdevs")}
        waits = {str(m["params"]) for m in daemon.rpc("config_get_missing")}
        made = [p["name"] for _, m, p in calls(given) if m.startswith("bdev_") and m.endswith("_create") and
                "name" in p]
        assert set(made) <= known and not waits
    path.write_text(json.dumps(saved))
    with Daemon(tmp_path, "-c", path) as daemon:
        assert daemon.rpc("save_config") == saved


@pytest.mark.parametrize("name", CONFIGS)
def test_it_loads_by_rpc(name, read, tmp_path):
    given = read(name)
    with Waiting(tmp_path) as daemon:
        assert daemon.rpc("load_config", **given) is True      # what may be called before ...
        assert "load it again after framework_start_init" in daemon.log()
        daemon.rpc("framework_start_init")
        assert daemon.rpc("load_config", **given) is True      # ... and after
        check_saved(given, daemon.rpc("save_config"))


@pytest.mark.parametrize("name", CONFIGS)
def test_it_loads_as_spdks_client_does_it(name, read, tmp_path):
    """Whatever may be called, again and again, with framework_start_init in between."""
    left = calls(read(name))
    with Waiting(tmp_path) as daemon:
        for state in "startup", "runtime":
            known = set(daemon.rpc("rpc_get_methods"))
            allowed = set(daemon.rpc("rpc_get_methods", current=True))
            for subsystem, method, params in left:
                assert method in known
                if method in allowed:
                    daemon.rpc(method, **copy.deepcopy(params))
            left = [c for c in left if c[1] not in allowed]
            if state == "startup":
                daemon.rpc("framework_start_init")
        assert not left
        check_saved(read(name), daemon.rpc("save_config"))


def test_what_they_describe_is_there(read, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(read("spdk-target")))
    with Daemon(tmp_path, "-c", path) as daemon:
        one, two, three = [s for s in daemon.rpc("nvmf_get_subsystems") if "cnode" in s["nqn"]]
        assert [(n["nsid"], n["bdev_name"]) for n in one["namespaces"]] == [(1, "Null0"), (3, "Malloc0")]
        assert one["namespaces"][0]["uuid"] == "0d3c9c8e-7d2b-4c46-9a54-0a8c7f2b9f05"
        assert one["allow_any_host"] and not two["allow_any_host"] and len(two["hosts"]) == 1
        assert (two["min_cntlid"], two["max_cntlid"]) == (10, 100)
        assert three["listen_addresses"] == [] and len(one["listen_addresses"]) == 1


def test_a_queue_may_be_asked_to_be_larger_than_ours_are(tmp_path):
    """SPDK's own example; refused, it would keep a daemon with -c from starting."""
    with Daemon(tmp_path) as daemon:
        assert daemon.rpc("bdev_nvme_set_options", io_queue_requests=2048) is True
        saved = {method: params for _, method, params in calls(daemon.rpc("save_config"))}
        assert saved["bdev_nvme_set_options"]["io_queue_requests"] == 2048
