# SPDX-License-Identifier: BSD-3-Clause
"""Modes change while reactors run, each for itself; "why awake" tells what happened."""
import os
import time

import pytest

from gantry import Daemon, wait_until


def cpu_s(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("mode", ["adaptive", "poll", "interrupt"])
def test_mode_at_start(tmp_path, mode):
    with Daemon(tmp_path, "--mode", mode) as daemon:
        reactor, = daemon.rpc("framework_get_reactors")["reactors"]
        assert reactor["mode"] == mode
        assert reactor["in_interrupt"] == (mode == "interrupt")


def test_switch_to_poll_and_back(daemon):
    daemon.rpc("framework_set_mode", mode="poll")

    def spins():
        a = daemon.rpc("gantry_get_wakeups")["reactors"][0]
        time.sleep(0.05)
        b = daemon.rpc("gantry_get_wakeups")["reactors"][0]
        return b["sleeps"] == a["sleeps"] and b["passes"] > a["passes"] + 100
    wait_until(spins, "the reactor to spin")
    daemon.rpc("framework_set_mode", mode="interrupt", reactor=0)
    wait_until(lambda: not spins(), "the reactor to sleep")
    before = cpu_s(daemon.pid)
    time.sleep(1)
    assert cpu_s(daemon.pid) - before <= 0.02       # a tick of the kernel's accounting is 0.01 s


def test_each_reactor_for_itself(tmp_path):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    with Daemon(tmp_path, "-m", f"[{cpus[0]},{cpus[1]}]") as daemon:
        daemon.rpc("framework_set_mode", mode="interrupt", reactor=1)
        modes = [r["mode"] for r in daemon.rpc("framework_get_reactors")["reactors"]]
        assert modes == ["adaptive", "interrupt"]
        names = [t["name"] for t in daemon.rpc("thread_get_stats")["threads"]]
        assert names == ["reactor_0", "reactor_1", "control"]
        assert [t["active_pollers"] for t in daemon.rpc("thread_get_pollers")["threads"]] == [[], [], []]
