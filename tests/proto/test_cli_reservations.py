# SPDX-License-Identifier: BSD-3-Clause
"""gantry disk show and gantry status tell by whom a disk is reserved: why a host does not get at it."""
import json

import pytest

import pr
import resv
from gantry import BUILD
from iscsi import INITIATOR, Session, good
from jsonrpc import gantry
from nvme_tcp import Host, must
from terminal import Terminal

NQN = resv.nqn("host")


@pytest.fixture
def g(daemon):
    return lambda *args, **more: gantry(*args, socket=daemon.socket, **more)


def on_terminal(daemon, *words, columns=80):
    with Terminal([BUILD / "gantry", "-s", daemon.socket, *words], 24, columns) as t:
        assert t.end() == 0
        return t.text.replace("\r", "")


@pytest.fixture
def both(daemon):
    """An NVMe host and an iSCSI session on the same disk."""
    disk = daemon.malloc("disk0", mib=16)
    daemon.malloc("other", mib=16)
    served, exported = daemon.serve(disk), daemon.export(disk)
    with Host(served.port, served.nqn, hostnqn=NQN) as host, Session(exported.port, exported.name) as session:
        session.clear_attentions()
        yield host, session


def test_who_reserved_a_disk(daemon, g, both):
    """An administrator whose host is refused would not find out by whom."""
    host, session = both
    assert "  reserved" not in g("disk", "show", "disk0") + g("status")
    assert json.loads(g("disk", "show", "disk0", "--json"))["reservation"] is None
    good(pr.register(session, 0xb))
    assert "  reserved    by nobody; 1 host is registered\n" in g("disk", "show", "disk0")
    assert "  reserved" not in g("status")
    must(resv.register(host, 0xa))
    must(resv.acquire(host, 0xa, resv.EARO))
    shown, status = g("disk", "show", "disk0"), g("status")
    assert f"""
  reserved    exclusive access, registrants only
  held by     NVMe host, key 0xa
    {NQN}
  registered  SCSI initiator, key 0xb
    {pr.port_name(INITIATOR)}
""" in shown
    assert f"\n  reserved  exclusive access, registrants only; 2 hosts are registered\n  held by   {NQN}\n" in status
    assert "  reserved" not in g("disk", "show", "other")
    assert json.loads(g("disk", "show", "disk0", "--json"))["reservation"]["registrants"][1]["holds"]
    assert json.loads(g("status", "--json"))["reservations"][0]["name"] == "disk0"
    for words, columns in ((("status",), 80), (("status",), 40), (("disk", "show", "disk0"), 80)):
        text = on_terminal(daemon, *words, columns=columns)
        assert max(len(line) for line in text.splitlines()) <= columns, text
        assert NQN in text or columns < 80, "whole where it fits"
    must(resv.clear(host, 0xa))
    assert "  reserved" not in g("disk", "show", "disk0") + g("status")


def test_all_who_are_registered_hold_it(g, both):
    host, session = both
    good(pr.register(session, 0xb))
    good(pr.reserve(session, 0xb, resv.WEAR))
    must(resv.register(host, 0xa))
    assert g("disk", "show", "disk0").count("held by") == 2
    assert "  held by   all of them\n" in g("status")


def test_the_old_reservation(g, both):
    """RESERVE of SPC-2 registers nobody; it keeps others out all the same."""
    _, session = both
    good(session.command(pr.RESERVE_6))
    port = f"{session.initiator},i,0x{session.isid.hex()}"
    assert f"\n  reserved    SPC-2 RESERVE\n  held by     SCSI initiator\n    {port}\n" in g("disk", "show", "disk0")
    assert f"\n  reserved  SPC-2 RESERVE\n  held by   {port}\n" in g("status")
