# SPDX-License-Identifier: BSD-3-Clause
"""gantry nvme: what remote targets have, asked by the daemon; here of itself."""
import json
import socket

import pytest

from bad_target import BadTarget, Disks
from bad_ways import rst, silence
from gantry import RpcError, free_port, wait_until
from jsonrpc import gantry

DISCOVERY = "nqn.2014-08.org.nvmexpress.discovery"
UUID = "5c2f6b0e-62a7-4c6e-a3f8-0d5d5a6f1e11"


def test_discover_shows_every_place(daemon):
    """A subsystem that is served would not be seen, or be seen elsewhere."""
    served = daemon.serve(daemon.malloc("disk0"), ports=2)
    text = gantry("nvme", "discover", f"127.0.0.1:{served.port}", socket=daemon.socket)
    lines = [line.split() for line in text.splitlines()]
    assert lines[0][:2] == ["SUBSYSTEM", "KIND"]
    assert {line[3] for line in lines if line[:1] == [served.nqn]} == {str(p) for p in served.ports}
    assert all(line[1:3] == ["disks", "127.0.0.1"] for line in lines if line[:1] == [served.nqn])
    assert max(len(line) for line in text.splitlines() if "nvme attach" not in line) <= 80

    log = json.loads(gantry("nvme", "discover", f"127.0.0.1:{served.ports[1]}", "--json", socket=daemon.socket))
    mine = [r for r in log["records"] if r["subnqn"] == served.nqn]
    assert {r["trsvcid"] for r in mine} == {str(p) for p in served.ports} and log["unreadable_records"] == 0
    assert {(r["trtype"], r["adrfam"], r["subtype"], r["traddr"]) for r in mine} == \
        {("tcp", "ipv4", "nvme subsystem", "127.0.0.1")}


def test_a_long_log_is_whole(daemon):
    """Of many subsystems only those of the first piece would be seen."""
    served = daemon.serve(daemon.malloc("disk0"))
    for i in range(60):
        daemon.rpc("nvmf_create_subsystem", nqn=f"nqn.2026-01.io.gantry:many{i}", allow_any_host=True)
        daemon.rpc("nvmf_subsystem_add_listener", nqn=f"nqn.2026-01.io.gantry:many{i}",
                   listen_address=daemon.address(served.port))
    log = daemon.rpc("nvme_discover", traddr="127.0.0.1", trsvcid=str(served.port), adrfam="ipv4", hdgst=True,
                     ddgst=True)
    names = [r["subnqn"] for r in log["records"] if r["subtype"] == "nvme subsystem"]
    assert len(names) == len(set(names)) == 61


def test_identify_tells_what_is_there(daemon):
    """What attaching would bring would be known only after attaching."""
    served = daemon.serve(daemon.malloc("disk0", mib=64, block_size=4096, uuid=UUID), daemon.null("disk1", mib=32),
                          serial_number="SER0001", model_number="A model")
    text = gantry("nvme", "identify", f"127.0.0.1:{served.port}", served.nqn, socket=daemon.socket)
    assert text.startswith(served.nqn + "\n") and "A model" in text and "SER0001" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    found = json.loads(gantry("nvme", "identify", f"127.0.0.1:{served.port}", served.nqn, "--json",
                              socket=daemon.socket))
    assert found["ctrlr_data"]["serial_number"] == "SER0001" and found["ctrlr_data"]["type"] == "io"
    assert [(n["id"], n["block_size"], n["num_blocks"]) for n in found["namespaces"]] == \
        [(1, 4096, 64 * 256), (2, 512, 32 * 2048)]
    wait_until(lambda: daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn) == [], "its controller to be gone")


def test_a_discovery_service_can_be_identified(daemon):
    served = daemon.serve(daemon.malloc("disk0"))
    found = daemon.rpc("nvme_identify", traddr="127.0.0.1", trsvcid=str(served.port), subnqn=DISCOVERY)
    assert found["ctrlr_data"]["type"] == "discovery" and found["namespaces"] == []


def test_list_shows_every_path(daemon):
    """Which controllers are attached, and which of them are lost and why, could only be read from JSON."""
    assert "No remote controllers" in gantry("nvme", "list", socket=daemon.socket)
    served = daemon.serve(daemon.malloc("disk0"), ports=2)
    for port in served.ports:
        daemon.rpc("bdev_nvme_attach_controller", name="far", trtype="TCP", adrfam="IPv4", traddr="127.0.0.1",
                   trsvcid=str(port), subnqn=served.nqn)
    lines = [line.split() for line in gantry("nvme", socket=daemon.socket).splitlines()]
    assert [line[:5] for line in lines[1:]] == [["far", "enabled", "127.0.0.1", str(port), served.nqn]
                                                for port in served.ports]
    daemon.rpc("nvmf_subsystem_remove_listener", nqn=served.nqn, listen_address=daemon.address(served.ports[1]))
    wait_until(lambda: "far:" in gantry("nvme", socket=daemon.socket).splitlines(), "a reason")
    text = gantry("nvme", socket=daemon.socket).splitlines()
    assert f"port {served.ports[1]}" in " ".join(text[4:]) and max(len(line) for line in text) <= 100
    assert [p["state"] for p in json.loads(gantry("nvme", "--json", socket=daemon.socket))[0]["ctrlrs"]][0] == "enabled"
    daemon.rpc("bdev_nvme_detach_controller", name="far")


def test_who_may_not_connect_is_told_so(daemon):
    """A host that was not added would see a time-out."""
    served = daemon.serve(daemon.malloc("disk0"))
    daemon.rpc("nvmf_subsystem_allow_any_host", nqn=served.nqn, allow_any_host=False)
    daemon.rpc("nvmf_subsystem_add_host", nqn=served.nqn, host="nqn.2026-01.io.gantry:me")
    where = f"127.0.0.1:{served.port}"
    said = gantry("nvme", "identify", where, served.nqn, socket=daemon.socket, status=1)
    assert "refused Connect" in said and served.nqn in said
    gantry("nvme", "identify", where, served.nqn, "--hostnqn", "nqn.2026-01.io.gantry:me", socket=daemon.socket)


@pytest.mark.parametrize("method", ["nvme_discover", "nvme_identify"])
def test_a_target_that_is_not_there_has_a_sentence_in_time(daemon, method):
    """A wrong address would be a hang, or an error number."""
    where = {"traddr": "127.0.0.1", "subnqn": "nqn.2026-01.io.gantry:none", "timeout_ms": 300}
    with pytest.raises(RpcError, match=rf"nqn.2026-01.io.gantry:none.*127.0.0.1"):
        daemon.rpc(method, trsvcid=str(free_port()), **where)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(RpcError, match="300 ms"):
            daemon.rpc(method, trsvcid=str(silent.getsockname()[1]), **where)


@pytest.mark.parametrize("step", ["accept", "icresp", "connect", "cap", "identify_ctrl", "log_page", "shutdown"])
def test_a_target_that_fails_half_way_has_a_sentence_in_time(daemon, step):
    """A target in trouble would be a hang of the command, or of the daemon."""
    for way in (silence, rst):
        with BadTarget() as bad:
            bad.on(step, way)
            where = {"traddr": "127.0.0.1", "trsvcid": str(bad.port), "timeout_ms": 300}
            try:
                assert daemon.rpc("nvme_discover", **where)["genctr"] >= 0 and step == "shutdown"
            except RpcError as answer:
                assert step != "shutdown" and f"port {bad.port}" in str(answer), answer
    with BadTarget() as bad:
        assert daemon.rpc("nvme_identify", traddr="127.0.0.1", trsvcid=str(bad.port), subnqn=bad.nqn)["namespaces"]


def test_a_daemon_that_stops_does_not_wait_for_a_silent_target(daemon):
    """systemctl stop would take as long as the longest time-out somebody gave."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket(socket.AF_UNIX) as s:
        s.connect(str(daemon.socket))
        s.settimeout(60)
        port = silent.getsockname()[1]
        s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "nvme_discover", "params": {
            "traddr": "127.0.0.1", "trsvcid": str(port), "timeout_ms": 600000}}).encode())
        with silent.accept()[0]:
            daemon.stop()
        assert "stopping" in s.recv(65536).decode()


def test_addresses_of_all_shapes(daemon):
    """IPv6 would be cut at its colons."""
    where = {"no port": "127.0.0.1", "v6": "::1", "brackets": "[::1]", "brackets and port": "[::1]:1",
             "a name": "localhost:1", "nothing in brackets": "[::1"}
    for address in where.values():
        said = gantry("nvme", "discover", address, "--timeout-ms", "500", socket=daemon.socket, status=1)
        assert DISCOVERY in said and "127.0.0.1" in said or "::1" in said or "localhost" in said, said


def test_attach_and_detach(daemon, target):
    """From what is discovered to disks, by copying what was said; and back."""
    served = target.export(disks=2, ports=2)
    text = gantry("nvme", "discover", f"127.0.0.1:{served.port}", socket=daemon.socket)
    assert f"gantry nvme attach 127.0.0.1:{served.ports[0]} {served.nqn}" in text or \
        f"gantry nvme attach 127.0.0.1:{served.ports[1]} {served.nqn}" in text

    assert "required" not in gantry("nvme", "attach", "--help", socket=daemon.socket)

    def attach(port, *more):
        return gantry("nvme", "attach", f"127.0.0.1:{port}", served.nqn, *more, socket=daemon.socket).split()

    assert attach(served.ports[0], "--hdgst") == ["Nvme0n1", "Nvme0n2"]
    assert attach(served.ports[1]) == ["Nvme0n1", "Nvme0n2"]             # one more path
    for verb in (["delete"], ["rescan"], ["resize", "1G"]):
        said = gantry("disk", verb[0], "Nvme0n2", *verb[1:], socket=daemon.socket, status=1)
        assert "gantry nvme detach" in said
    assert '"99999" is not a port' in gantry("nvme", "attach", "127.0.0.1:99999", served.nqn, socket=daemon.socket,
                                             status=1)
    shown = gantry("disk", "show", "Nvme0n2", socket=daemon.socket)
    assert all(f"path        127.0.0.1 port {port}, namespace 2 of" in shown for port in served.ports)
    assert attach(served.ports[1], "--name", "Other") == ["Othern1", "Othern2"]
    assert "already exists" in gantry("nvme", "attach", f"127.0.0.1:{served.port}", served.nqn, socket=daemon.socket,
                                      status=1)
    gantry("nvme", "detach", "Nvme0", f"127.0.0.1:{served.ports[0]}", socket=daemon.socket)
    assert [len(c["ctrlrs"]) for c in daemon.rpc("bdev_nvme_get_controllers")] == [1, 1]
    gantry("nvme", "detach", "Nvme0", socket=daemon.socket)
    gantry("nvme", "detach", "Other", socket=daemon.socket)
    assert daemon.rpc("bdev_nvme_get_controllers") == []
    assert "no NVMe controller" in gantry("nvme", "detach", "Nvme0", socket=daemon.socket, status=1)


def test_reset_disable_enable_and_policy(daemon, target):
    """Each would take the method's name and its parameters."""
    served = target.export(ports=2)

    def nvme(*words, **how):
        return gantry("nvme", *words, socket=daemon.socket, **how)

    for port in served.ports:
        nvme("attach", f"127.0.0.1:{port}", served.nqn)
    before = [c["connected"] for c in daemon.rpc("bdev_nvme_get_controllers")[0]["ctrlrs"]]
    nvme("reset", "Nvme0")
    assert [c["connected"] for c in daemon.rpc("bdev_nvme_get_controllers")[0]["ctrlrs"]] == [n + 1 for n in before]
    nvme("policy", "Nvme0n1", "active_active", "--selector", "queue_depth")
    assert daemon.rpc("bdev_get_bdevs", name="Nvme0n1")[0]["driver_specific"]["selector"] == "queue_depth"
    assert "sometimes" in nvme("policy", "Nvme0n1", "sometimes", status=1)
    assert "LOST" not in gantry("status", socket=daemon.socket)
    nvme("disable", "Nvme0")
    assert "disabled" in nvme("list")
    line, = [line for line in gantry("status", socket=daemon.socket).splitlines() if line.startswith("Nvme0n1 ")]
    assert line.endswith("LOST"), line
    nvme("enable", "Nvme0")
    assert "disabled" not in nvme("list") and "LOST" not in gantry("status", socket=daemon.socket)
    daemon.rpc("bdev_nvme_disable_controller", name="Nvme0",
               cntlid=daemon.rpc("bdev_nvme_get_controllers")[0]["ctrlrs"][1]["cntlid"])
    assert "1 of 2 paths lost" in gantry("status", socket=daemon.socket)
    for verb in ("reset", "enable", "disable"):
        assert "no NVMe controller" in nvme(verb, "Nobody", status=1)


def test_discovery_is_followed_and_not(daemon, target):
    """What a service lists would have to be attached one by one, and looked after."""
    served = target.export()

    def discovery(*words, **how):
        return gantry("nvme", "discovery", *words, socket=daemon.socket, **how)

    assert "gantry nvme discovery ADDRESS" in discovery()
    discovery(f"127.0.0.1:{served.port}", "--wait-for-attach")
    name, _, address, port, attached = discovery().splitlines()[1].split()
    assert (name, address, port, attached) == ("Disc0", "127.0.0.1", str(served.port), "1")
    assert [d["name"] for d in daemon.rpc("bdev_get_bdevs")] == ["Disc00n1"]
    assert "Disc0" in discovery(f"127.0.0.1:{served.port}", status=1)        # it is followed already
    assert "which one" in discovery("--stop", status=2)
    discovery("Disc0", "--stop")
    assert daemon.rpc("bdev_get_bdevs") == [] and "gantry nvme discovery ADDRESS" in discovery()


def test_a_controller_without_disks_says_so(daemon):
    """Attached, and nothing to show for it: why?"""
    with BadTarget(Disks({})) as bad:
        said = gantry("nvme", "attach", f"127.0.0.1:{bad.port}", bad.nqn, socket=daemon.socket)
        assert "no namespace" in said
        assert "no namespace for this host" in gantry("nvme", "list", socket=daemon.socket)
