# SPDX-License-Identifier: BSD-3-Clause
"""libiscsi's initiator logs in: with CHAP both ways, with digests, over IPv6, and where it is redirected to.

It was written by others from the same RFC: what we misunderstood in the same way in target and tests, it does not.
"""
import subprocess

import pytest

from gantry import free_port

SECRET, TARGET_SECRET = "secretsecret1", "tercesterces2"
RIGHT = "host%" + SECRET + "@"
BOTH = f"?target_user=disk&target_password={TARGET_SECRET}"
DENIED = "Authentication failure"


def run(program, url):
    """What it says; its exit status says nothing."""
    done = subprocess.run([program, url], capture_output=True, text=True, errors="replace", timeout=60)
    return done.stdout + done.stderr


def url_of(exported, credentials="", query=""):
    return exported.url().replace("iscsi://", "iscsi://" + credentials) + query


def is_served(exported, credentials="", query=""):
    said = run("iscsi-inq", url_of(exported, credentials, query))
    assert "Vendor:GANTRY" in said or "failed" in said.lower(), said
    return "Vendor:GANTRY" in said


@pytest.fixture
def disk(daemon):
    daemon.tell("iscsi_create_auth_group", tag=1, secrets=[
        {"user": "host", "secret": SECRET, "muser": "disk", "msecret": TARGET_SECRET}])
    return daemon.export(daemon.malloc("disk0"))


@pytest.mark.parametrize("credentials, query, one_way, mutual", [
    (RIGHT, "", True, False),
    (RIGHT, BOTH, True, True),
    ("", "", False, False),
    ("host%wrongsecret1@", "", False, False),
    ("guest%" + SECRET + "@", "", False, False),
    ("host%wrongsecret1@", BOTH, False, False),
    (RIGHT, "?target_user=disk&target_password=wrongsecret2", False, False),
    (RIGHT, f"?target_user=tape&target_password={TARGET_SECRET}", False, False),
], ids=["one way", "both ways", "none", "wrong secret", "wrong user", "wrong secret, both ways",
        "another target's secret", "another target's name"])
def test_chap(daemon, disk, credentials, query, one_way, mutual):
    """A host that knows its secret is kept out, or one that does not gets in; or it trusts the wrong target."""
    daemon.tell("iscsi_target_node_set_auth", name=disk.name, require_chap=True, chap_group=1)
    assert is_served(disk, credentials, query) == one_way
    daemon.tell("iscsi_target_node_set_auth", name=disk.name, require_chap=True, mutual_chap=True, chap_group=1)
    assert is_served(disk, credentials, query) == mutual


def test_chap_of_discovery(daemon, disk):
    """Names of targets are told to anybody."""
    where = f"iscsi://127.0.0.1:{disk.port}"
    assert disk.name in run("iscsi-ls", where)
    daemon.tell("iscsi_set_discovery_auth", require_chap=True, chap_group=1)
    said = run("iscsi-ls", where)
    assert DENIED in said and disk.name not in said
    assert disk.name in run("iscsi-ls", where.replace("//", "//" + RIGHT))
    assert disk.name in run("iscsi-ls", where.replace("//", "//" + RIGHT) + BOTH)


def test_digests(daemon):
    """Both ends would compute them differently, or only one of them; or who cannot is let in without."""
    disk = daemon.export(daemon.malloc("disk0"), header_digest=True)
    said = subprocess.run(["iscsi-test-cu", "--dataloss", "--test=ALL.Read10", disk.url()], capture_output=True,
                          text=True, errors="replace", timeout=60).stdout
    assert "FAILED" not in said and "Simple" in said, said
    daemon.rpc("iscsi_delete_target_node", name=disk.name)
    disk = daemon.export("disk0", data_digest=True)
    assert not is_served(disk)     # the tools of 1.19 offer none


def test_redirected(daemon, disk):
    """A host that is sent elsewhere comes, and is served there."""
    port = free_port()
    daemon.tell("iscsi_create_portal_group", tag=9, portals=[{"host": "127.0.0.1", "port": str(port)}], private=True)
    daemon.tell("iscsi_target_node_add_pg_ig_maps", name=disk.name, pg_ig_maps=[{"pg_tag": 9, "ig_tag": 1}])
    daemon.tell("iscsi_target_node_set_redirect", name=disk.name, pg_tag=1, redirect_host="127.0.0.1",
                redirect_port=str(port))
    assert is_served(disk)
    assert str(port) not in run("iscsi-ls", f"iscsi://127.0.0.1:{disk.port}")


def test_ipv6(daemon, disk):
    """Brackets and colons of an address are taken for something else."""
    port = free_port()
    daemon.tell("iscsi_create_portal_group", tag=6, portals=[{"host": "[::1]", "port": str(port)}])
    daemon.tell("iscsi_target_node_add_pg_ig_maps", name=disk.name, pg_ig_maps=[{"pg_tag": 6, "ig_tag": 1}])
    assert "GANTRY" in run("iscsi-inq", f"iscsi://[::1]:{port}/{disk.name}/0")
    assert f"[::1]:{port}" in run("iscsi-ls", f"iscsi://[::1]:{port}")
