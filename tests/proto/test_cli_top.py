# SPDX-License-Identifier: BSD-3-Clause
"""gantry top and tables: a screen of 80 columns and 24 lines holds them, another size too, and without a terminal
nothing is cut."""
import json
import re

from gantry import BUILD, RpcError, wait_until
from iscsi import Session, good
from jsonrpc import gantry
from nvme_tcp import Host, must
from terminal import Terminal


def top(daemon, rows=24, columns=80):
    return Terminal([BUILD / "gantry", "-s", daemon.socket, "top"], rows, columns)


def test_once_and_as_json(daemon):
    served = daemon.serve(daemon.malloc("disk0"))
    with Host(served.port, served.nqn) as host:
        must(host.io.write(0, b"x" * 4096))
        text = gantry("top", "--once", "--interval", "0.1", socket=daemon.socket)
        look = json.loads(gantry("top", "--once", "--json", "--interval", "0.1", socket=daemon.socket))
        assert "READS/S" in text and "disk0" in text and host.hostnqn in text
        assert look["hosts"][0]["host"] == host.hostnqn and look["hosts"][0]["queues"] == 1
    assert [d["name"] for d in look["disks"]] == ["disk0"] and look["disks"][0]["reads"] == 0
    assert {c["name"] for c in look["cores"]} == {"reactor_0", "control"}
    assert all(0 <= c["busy"] <= 101 and c["why"] for c in look["cores"])
    two = gantry("top", "--json", "--count", "2", "--interval", "0.1", socket=daemon.socket)
    assert len([json.loads(line) for line in two.splitlines()]) == 2


def test_latencies_on_demand(daemon):
    """Those that the command switched on are off again when it ends."""
    served = daemon.serve(daemon.malloc("disk0"))
    if "bdev_enable_histogram" not in daemon.rpc("rpc_get_methods"):
        return
    with Host(served.port, served.nqn) as host, Terminal([BUILD / "gantry", "-s", daemon.socket, "top", "--latency",
                                                          "--json", "--interval", "0.2"], 24, 4000) as t:
        t.wait_for("disk0")

        def measured(_):
            must(host.io.write(0, b"x" * 4096))
            return "write_us" in t.text
        t.wait_for(measured)
        t.type("\x03")          # Ctrl-C
        assert t.end() == 0
    assert not kept(daemon)
    with top(daemon) as t:
        t.wait_for("READS/S*")
        t.type("l")
        wait_until(lambda: kept(daemon), "a histogram")
        t.type("q")
        assert t.end() == 0
    assert not kept(daemon)


def test_an_iscsi_hosts_io(daemon):
    """Of iSCSI's hosts there would be names only, and who works the disks could not be seen."""
    exported = daemon.export(daemon.malloc("disk0"))
    command = [BUILD / "gantry", "-s", daemon.socket, "top", "--json", "--interval", "0.7"]
    with Session(exported.port, exported.name) as s, Terminal(command, 24, 4000) as t:
        s.clear_attentions()

        def working(_):
            good(s.write(0, b"x" * 4096))
            return re.search(r'"host": ?"iqn[^}]*"ios": ?(?!0(\.0+)?[,}])[0-9]', t.text)
        t.wait_for(working)
        t.type("\x03")
        assert t.end() == 0


def kept(daemon):
    try:
        return daemon.rpc("bdev_get_histogram", name="disk0")
    except RpcError:
        return None


def test_the_screen(daemon):
    daemon.malloc("disk0")
    daemon.null("other")
    with top(daemon) as t:
        t.wait_for("reactor_0")
        lines = t.wait_for("READS/S*").splitlines()
        assert len(lines) == 24 and "q quit" in lines[-1] and max(len(line) for line in lines) <= 80
        assert "no hosts" in t.screen()
        t.type("s")
        t.wait_for("WRITES/S*")
        t.type("\ts")
        t.wait_for("IO/S*")
        t.type(" ")
        t.wait_for("paused")
        t.type("q")
        assert t.end() == 0


def test_it_follows_the_size_of_the_terminal(daemon):
    for i in range(30):
        daemon.null(f"disk{i:02}")
    with top(daemon, 24, 80) as t:
        t.wait_for("more disks")
        t.resize(60, 100)
        t.wait_for(lambda s: "disk29" in s and len(s.splitlines()) == 60 and "q quit" in s.splitlines()[-1])
        t.resize(10, 40)
        t.wait_for(lambda s: "q quit" in s.splitlines()[-1] and len(s.splitlines()) == 10)
        assert max(len(line) for line in t.lines()) <= 40
        t.resize(24, 80)
        t.wait_for("disk00")
        t.type("\x1bOB" * 30)   # down
        t.wait_for("disk29")
        t.type("\x03")          # Ctrl-C
        assert t.end() == 0


def test_a_daemon_that_ends_is_said(daemon):
    with top(daemon) as t:
        t.wait_for("reactor_0")
        daemon.kill()
        t.wait_for("daemon")
        t.wait_for(lambda s: any(w in s for w in ("no daemon answers", "ended before it", "closed the connection")))
        daemon.start()
        t.wait_for(lambda s: "gantryd" not in s and "reactor_0" in s)
        t.type("q")
        assert t.end() == 0


def test_a_terminal_that_cannot(daemon):
    command = [BUILD / "gantry", "-s", daemon.socket, "top", "--interval", "0.1"]
    for kind in "no-such-terminal", "dumb":
        with Terminal(command, TERM=kind) as t:
            t.wait_for(lambda _: t.text.count("reactor_0") > 1)      # text
            assert "quit" not in t.text


def test_tables_fit_the_terminal_and_are_whole_without(daemon):
    long = "nqn.2026-01.io.example:" + "very-long-name-" * 8
    daemon.malloc("disk0")
    daemon.serve("disk0", nqn=long)
    assert long in gantry("export", "list", socket=daemon.socket)
    assert long in gantry("disk", "list", socket=daemon.socket)
    for columns in (80, 40, 20):
        for words in (["export", "list"], ["disk", "list"], ["host", "list"]):
            with Terminal([BUILD / "gantry", "-s", daemon.socket, *words], 24, columns) as t:
                assert t.end() == 0
                shown = t.text.replace("\r", "").splitlines()
                assert len(shown) == 2 and max(len(line) for line in shown) <= columns, shown
                if columns == 80:
                    assert "\u2026" in t.text
                    if words[0] == "disk":
                        assert " 64 MiB " in t.text     # numbers are whole
