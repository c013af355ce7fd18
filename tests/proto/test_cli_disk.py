# SPDX-License-Identifier: BSD-3-Clause
"""gantry disk, export and host: what they make is what was asked, and half of it is undone when a part fails."""
import ipaddress
import json
import socket
from pathlib import Path

import pytest

from gantry import RpcError, free_port, has_ipv6, wait_until
from jsonrpc import gantry
from nvme_tcp import Host, must


@pytest.fixture
def g(daemon):
    return lambda *args, **more: gantry(*args, socket=daemon.socket, **more)


def kinds(daemon):
    return {m["name"][len("bdev_"):-len("_create")]: m for m in daemon.rpc("rpc_describe")["methods"]
            if m["name"].startswith("bdev_") and m["name"].endswith("_create") and not m["ignored"]
            and not m["name"].endswith("_group_create")}


def test_kinds_are_the_daemons(daemon, g):
    listed = g("disk", "create", "--help")
    for kind in kinds(daemon):
        assert kind in listed
        text = g("disk", "create", kind, "--help")
        assert text.rstrip().splitlines()[-1].startswith(f"    gantry disk create {kind}")


def test_options_are_the_rows_of_the_kind(daemon, g):
    g("disk", "create", "ram", "64M", "--name", "a", "--block-size", "512", "--md-size", "8", "--md-interleave")
    g("disk", "create", "null", "--size=1G", "--block_size=4096", "name=b")
    assert json.loads(g("disk", "create", "null", "1G", "--json")) == "null0"
    a, b, _ = daemon.rpc("bdev_get_bdevs")
    assert (a["name"], a["num_blocks"], a["block_size"], a["md_interleave"]) == ("a", 131072, 520, True)
    assert (b["name"], b["num_blocks"], b["block_size"]) == ("b", 262144, 4096)
    assert "not a number of blocks" in g("disk", "create", "ram", "1000", status=2)
    assert "SIZE is missing" in g("disk", "create", "ram", status=2)


def test_a_disk_lives(daemon, g):
    assert "gantry export disk ram0" in g("disk", "create", "ram", "64M")
    assert "64 MiB" in g("disk", "show", "ram0") and "64 MiB" in g("disk", "list")
    g("disk", "resize", "ram0", "128M")
    assert daemon.rpc("bdev_get_bdevs")[0]["num_blocks"] == 32768
    assert "cannot rescan; its size is changed by gantry disk resize" in g("disk", "rescan", "ram0", status=1)
    g("disk", "delete", "ram0")
    assert "Make one: gantry disk create" in g("disk")


def test_a_file_is_made_found_and_kept(daemon, g, tmp_path):
    if not kinds(daemon).keys() & {"uring", "aio"}:
        pytest.skip("this daemon has no files")
    path = tmp_path / "image"
    assert "add a size to make it" in g("disk", "create", "file", path, status=1)
    g("disk", "create", "file", path, "16M", "--name", "f")
    assert path.stat().st_size == 16 << 20 and path.stat().st_blocks == 0
    with open(path, "r+b") as f:
        f.truncate(32 << 20)
    assert "32 MiB" in g("disk", "rescan", "f")
    assert "truncate -s) or device, then: gantry disk rescan" in g("disk", "resize", "f", "64M", status=1)
    g("disk", "delete", "f")
    assert path.exists()
    assert "is there already" in g("disk", "create", "file", path, "16M", status=2)
    g("disk", "create", "file", path)


def test_disks_on_disks_end_by_their_own_kind(daemon, g):
    """The method that ends a disk follows from what made it, also where its name was made up by the daemon."""
    there = kinds(daemon)
    g("disk", "create", "ram", "64M", "--name", "base")
    for kind, words in (("passthru", ["base"]), ("delay", ["base", "1", "1", "1", "1"]), ("error", ["base"])):
        if kind not in there:
            continue
        made = json.loads(g("disk", "create", kind, *words, "--json"))
        assert made != "base"
        assert "another disk stands on base" in g("disk", "delete", "base", status=1)
        g("disk", "delete", made)
        assert [d["name"] for d in daemon.rpc("bdev_get_bdevs")] == ["base"]
    if "delay" in there:
        assert "when what it stands on is" in g("disk", "create", "delay", "later", "1", "1", "1", "1", "--name", "d")
        g("disk", "delete", "d")
        assert "there is no disk" in g("disk", "delete", "d", status=1)
    if "split" in there:
        assert json.loads(g("disk", "create", "split", "base", "2", "--json")) == ["basep0", "basep1"]
        assert g("disk", "delete", "basep1").splitlines() == ["basep0 is gone", "basep1 is gone"]


def test_an_export_in_one_go(daemon, g):
    port = free_port()
    daemon.malloc("disk0")
    said = json.loads(g("export", "disk", "disk0", "--listen", f"127.0.0.1:{port}", "--nsid", "3", "--json"))
    assert said["connect"] == [f"nvme connect -t tcp -a 127.0.0.1 -s {port} -n nqn.2016-06.io.gantry:disk0"]
    assert said["namespaces"][0]["nsid"] == 3 and said["allow_any_host"]
    with Host(port, said["nqn"]) as host:
        must(host.io.write(0, b"x" * 4096, nsid=3))
        wait_until(lambda: " 1\n" in g("export", "list"), "the host in the list of exports")
        assert host.hostnqn in g("host", "show", host.hostnqn)
    assert daemon.rpc("nvmf_get_subsystems")[1]["serial_number"].startswith("GTY")
    g("export", "disk", "disk0")     # once more changes nothing
    g("export", "remove", "disk0")
    assert len(daemon.rpc("nvmf_get_subsystems")) == 1


def test_a_second_disk_in_an_export(daemon, g):
    daemon.malloc("disk0")
    daemon.malloc("disk1")
    g("export", "disk", "disk0", "--nqn", "nqn.2026-01.io.example:both", "--listen", f"127.0.0.1:{free_port()}")
    g("export", "disk", "disk1", "--nqn", "nqn.2026-01.io.example:both")
    both = daemon.rpc("nvmf_get_subsystems")[1]
    assert [n["bdev_name"] for n in both["namespaces"]] == ["disk0", "disk1"] and len(both["listen_addresses"]) == 1
    g("export", "remove", "disk1")
    assert [n["bdev_name"] for n in daemon.rpc("nvmf_get_subsystems")[1]["namespaces"]] == ["disk0"]
    g("export", "remove", "both")
    assert len(daemon.rpc("nvmf_get_subsystems")) == 1


def test_an_export_that_fails_leaves_nothing(daemon, g):
    daemon.malloc("disk0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        g("export", "disk", "disk0", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", status=1)
    assert len(daemon.rpc("nvmf_get_subsystems")) == 1
    assert not daemon.rpc("bdev_get_bdevs")[0]["claimed"]
    assert "is not an address" in g("export", "disk", "disk0", "--listen", "here:1", status=2)
    assert "is not a port" in g("export", "disk", "disk0", "--listen", "127.0.0.1:http", status=2)
    assert "write [::1]:4421 for port 4421, or [::1:4421] for that address" in g("export", "disk", "disk0", "--listen",
                                                                                 "::1:4421", status=2)
    assert "write [fe80::1%lo]:44210 for port 44210" in g("nvme", "discover", "fe80::1%lo:44210", status=2)
    if has_ipv6():
        assert "a link-local address needs its interface" in g("export", "disk", "disk0", "--listen", "[fe80::1]:4421",
                                                               status=1)


def test_only_hosts_that_were_added(daemon, g):
    host = "nqn.2014-08.org.nvmexpress:uuid:12345678-1234-1234-1234-123456789abc"
    daemon.malloc("disk0")
    g("export", "disk", "disk0", "--host", host, "--listen", f"127.0.0.1:{free_port()}")
    made = daemon.rpc("nvmf_get_subsystems")[1]
    assert not made["allow_any_host"] and made["hosts"] == [{"nqn": host}]
    assert host in g("host", "list")
    g("host", "remove", host, "disk0")
    g("host", "add", "any", "disk0")
    assert "Any host may still connect" in g("host", "add", host, "disk0")
    g("host", "add", host, "disk0", "--only")
    assert not daemon.rpc("nvmf_get_subsystems")[1]["allow_any_host"]


def test_log_levels_while_it_runs(daemon, g):
    g("log", "level", "info")
    assert g("log", "level").strip() == '"INFO"'
    g("log", "flag", "all", "on")
    assert all(json.loads(g("log", "--json"))["flags"].values())
    g("log", "flag", "all", "off")
    g("log", "flag", "nvmf", "on")
    shown = json.loads(g("log", "--json"))
    assert shown["level"] == "INFO" and [name for name, on in shown["flags"].items() if on] == ["nvmf"]
    g("log", "timestamps", "off")
    assert 'no flag "nvmff", did you mean nvmf?' in g("log", "flag", "nvmff", "on", status=2)
    daemon.rpc("log_set_flag", flag="nothing")   # said in the log: there is none of that name
    assert any(line.startswith("NOTICE: rpc:") for line in daemon.log().splitlines())
    g("log", "timestamps", "on")
    assert "is on or off" in g("log", "flag", "all", "maybe", status=2)
    assert "choose" in g("log", "level", "loud", status=1) or "LOUD" in g("log", "level", "loud", status=1)


def link_local():
    """One of this machine's, with its interface; None: it has none, or no IPv6 at all."""
    there = Path("/proc/net/if_inet6")
    for line in there.read_text().splitlines() if there.exists() else []:
        address, _, _, scope, flags, name = line.split()
        if scope == "20" and not int(flags, 16) & 0x48:             # neither tentative nor failed
            return f"{ipaddress.IPv6Address(int(address, 16))}%{name}"
    return None


@pytest.mark.skipif(link_local() is None, reason="no interface has a link-local address")
def test_an_address_of_a_link(daemon, g, tmp_path):
    """It is known with its interface only: neither side could be told it, or it would be another after a restart."""
    where, port, iscsi = link_local(), free_port(), free_port()
    daemon.malloc("disk0")
    said = g("export", "disk", "disk0", "--listen", f"[{where}]:{port}")
    assert f"-a {where} -s {port} " in said
    g("export", "disk", "disk0", "--iscsi", "--listen", f"[{where}]:{iscsi}")
    daemon.rpc("nvmf_subsystem_add_listener", nqn="discovery",
               listen_address={"trtype": "TCP", "adrfam": "IPv6", "traddr": where, "trsvcid": str(port)})
    saved = g("config", "show")
    assert saved.count(f'"{where}"') == 2 and f'"[{where}]"' in saved
    (tmp_path / "saved").write_text(saved)
    assert g("config", "diff", str(tmp_path / "saved")) == "No difference\n"
    entries = json.loads(g("nvme", "discover", f"[{where}]:{port}", "--json"))["records"]
    assert {e["traddr"] for e in entries} == {where.split("%")[0]}      # to others our interface means nothing
    assert g("nvme", "attach", f"[{where}]:{port}", "nqn.2016-06.io.gantry:disk0", "--name", "far") == "farn1\n"
    daemon.rpc("bdev_nvme_detach_controller", name="far")
    bare = {"name": "far", "trtype": "TCP", "adrfam": "ipv6", "traddr": where.split("%")[0], "trsvcid": str(port),
            "subnqn": "nqn.2016-06.io.gantry:disk0"}
    with pytest.raises(RpcError, match="a link-local address needs its interface"):
        daemon.rpc("bdev_nvme_attach_controller", **bare)
    assert daemon.rpc("bdev_nvme_attach_controller", **bare, hostaddr=where) == ["farn1"]      # that has it
    daemon.rpc("bdev_nvme_detach_controller", name="far")
    daemon.rpc("bdev_nvme_start_discovery", name="found", trtype="TCP", adrfam="ipv6", traddr=where, trsvcid=str(port),
               wait_for_attach=True)
    assert [b["name"] for b in daemon.rpc("bdev_get_bdevs") if b["name"].startswith("found")] == ["found0n1"]
