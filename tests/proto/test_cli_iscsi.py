# SPDX-License-Identifier: BSD-3-Clause
"""gantry export DISK --iscsi: what is missing is made, what is there is used, a failure leaves nothing behind; the
lines that are printed say where to find it."""
import json

from gantry import free_port
from iscsi import LoginFailed, Session
from jsonrpc import gantry

IQN = "iqn.2016-06.io.gantry:"


def state(daemon):
    return [daemon.rpc(f"iscsi_get_{what}") for what in ("portal_groups", "initiator_groups", "target_nodes")]


def test_all_it_takes_is_made_once(daemon):
    port = free_port()
    daemon.malloc("disk_0")
    daemon.malloc("disk1")
    said = gantry("export", "disk", "disk_0", "--iscsi", "--listen", f"127.0.0.1:{port}", socket=daemon.socket)
    assert f"Serving disk_0 as {IQN}disk-0, LUN 0." in said
    assert f"iscsiadm -m discovery -t sendtargets -p 127.0.0.1:{port}" in said
    assert f"iscsiadm -m node -T {IQN}disk-0 -p 127.0.0.1:{port} --login" in said
    before = state(daemon)
    gantry("export", "disk", "disk1", "--iscsi", socket=daemon.socket)
    assert state(daemon)[:2] == before[:2]      # the same portal group, the same initiator group
    gantry("export", "disk", "disk1", "--iscsi", "--name", IQN + "disk-0", socket=daemon.socket)
    nodes = {n["name"]: n["luns"] for n in daemon.rpc("iscsi_get_target_nodes")}
    assert nodes[IQN + "disk-0"] == [{"bdev_name": "disk_0", "lun_id": 0}, {"bdev_name": "disk1", "lun_id": 1}]
    listed = gantry("export", "list", socket=daemon.socket)
    assert IQN + "disk-0" in listed and f"127.0.0.1:{port}" in listed
    assert IQN + "disk-0" in gantry("status", socket=daemon.socket)
    assert IQN + "disk-0" in gantry("disk", "list", socket=daemon.socket)
    assert f"served as   {IQN}disk-0, LUN 0" in gantry("disk", "show", "disk_0", socket=daemon.socket)
    assert f"is served as {IQN}disk-0" in gantry("disk", "delete", "disk_0", socket=daemon.socket, status=1)


def test_hosts_and_chap(daemon):
    daemon.malloc("disk0")
    daemon.rpc("iscsi_create_auth_group", tag=3, secrets=[{"user": "joe", "secret": "0123456789ab"}])
    shown = gantry("export", "disk", "disk0", "--iscsi", "--listen", f"[::1]:{free_port()}", "--host",
                   "iqn.2016-06.io:h", "--chap-group", "3", "--json", socket=daemon.socket)
    node = json.loads(shown)
    assert node["require_chap"] and node["chap_group"] == 3
    assert [line for line in node["connect"] if "session.auth.username -v joe" in line]
    assert not [line for line in node["connect"] if "0123456789ab" in line]
    assert daemon.rpc("iscsi_get_initiator_groups") == [{"tag": 1, "initiators": ["iqn.2016-06.io:h"],
                                                         "netmasks": ["ANY"]}]
    assert "by CHAP" in gantry("export", "show", "disk0", socket=daemon.socket)


def test_a_failure_leaves_nothing_behind(daemon):
    daemon.malloc("disk0")
    before = state(daemon)
    said = gantry("export", "disk", "disk0", "--iscsi", "--name", "a_b", "--listen", f"127.0.0.1:{free_port()}",
                  socket=daemon.socket, status=1)
    assert "must not have" in said
    assert state(daemon) == before
    assert "leave it out with --iscsi" in gantry("export", "disk", "disk0", "--iscsi", "--nqn", "x",
                                                 socket=daemon.socket, status=2)


def test_who_is_there(daemon):
    daemon.malloc("disk0")
    port = free_port()
    gantry("export", "disk", "disk0", "--iscsi", "--listen", f"127.0.0.1:{port}", socket=daemon.socket)
    with Session(port, IQN + "disk0", initiator="iqn.2026-11.test:host"):
        listed = json.loads(gantry("host", "list", "--json", socket=daemon.socket))
        assert [(h["host"], h["allowed"], h["controllers"], h["from"]) for h in listed] == \
               [("any", True, 0, ""), ("iqn.2026-11.test:host", False, 1, "127.0.0.1")]
        for verb in (["export", "show", "disk0"], ["status"], ["top", "--once"]):
            assert "iqn.2026-11.test:host" in gantry(*verb, socket=daemon.socket), verb


def test_who_may_be_there(daemon):
    """A name that was taken out would still be let in, or another disk's hosts would be shut out with it."""
    me, friend = "iqn.2026-11.test:me", "iqn.2026-11.test:friend"
    daemon.malloc("disk0")
    daemon.malloc("disk1")
    port = free_port()
    for disk in ("disk0", "disk1"):
        gantry("export", "disk", disk, "--iscsi", "--listen", f"127.0.0.1:{port}", socket=daemon.socket)

    def may(disk, *hosts):
        for host in (me, friend):
            try:
                Session(port, IQN + disk, initiator=host).close()
                assert host in hosts
            except LoginFailed:
                assert host not in hosts

    gantry("host", "add", me, "disk0", "--only", socket=daemon.socket)
    may("disk0", me)
    may("disk1", me, friend)
    gantry("host", "add", friend, "disk0", socket=daemon.socket)
    may("disk0", me, friend)
    assert "was not added" in gantry("host", "remove", me, "disk1", socket=daemon.socket, status=1)
    gantry("host", "remove", me, "disk0", socket=daemon.socket)
    may("disk0", friend)
    gantry("host", "add", "any", "disk0", socket=daemon.socket)
    may("disk0", me, friend)
    gantry("host", "remove", "any", "disk0", socket=daemon.socket)
    gantry("host", "remove", friend, "disk0", socket=daemon.socket)
    may("disk0")
    may("disk1", me, friend)


def test_it_is_served_no_more(daemon):
    daemon.malloc("disk0")
    daemon.malloc("disk1")
    for disk in ("disk0", "disk1"):
        gantry("export", "disk", disk, "--iscsi", "--name", "both", "--listen", f"127.0.0.1:{free_port()}",
               socket=daemon.socket)
    assert "serves disk0 no more" in gantry("export", "remove", "disk0", socket=daemon.socket)
    assert [n["luns"] for n in daemon.rpc("iscsi_get_target_nodes")] == [[{"bdev_name": "disk1", "lun_id": 1}]]
    assert "is gone" in gantry("export", "remove", "both", socket=daemon.socket)
    assert daemon.rpc("iscsi_get_target_nodes") == []
    gantry("export", "remove", "both", socket=daemon.socket, status=1)
