# SPDX-License-Identifier: BSD-3-Clause
"""A reactor whose mode is changed under I/O could go to sleep on a wake-up it has missed, and leave I/O lying."""
import os

import pytest

from gantry import Daemon, wait_until
from load import Load, differences, wakeups

MODES = ["poll", "interrupt", "adaptive", "interrupt", "poll", "adaptive"]


def test_no_io_is_lost(daemon, served):
    with Load(daemon, served, rate=None) as load:
        for mode in MODES * 3:
            daemon.rpc("framework_set_mode", mode=mode)
            load.more_ios(200)


def test_no_io_is_lost_when_it_is_mostly_asleep(daemon, served):
    """With an I/O now and then every single one has to wake a sleeper."""
    with Load(daemon, served, depth=1, qpairs=1, rate=2000) as load:
        for mode in MODES * 3:
            daemon.rpc("framework_set_mode", mode=mode)
            load.more_ios(20)


def test_each_reactor_for_itself(tmp_path):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    with Daemon(tmp_path, "-m", f"[{cpus[0]},{cpus[1]}]") as daemon:
        served = daemon.serve(daemon.malloc("disk"))
        with Load(daemon, served, qpairs=4) as load:
            for i, mode in enumerate(MODES * 2):
                daemon.rpc("framework_set_mode", mode=mode, reactor=i % 2)
                load.more_ios(200)


def test_it_sleeps_again_afterwards(daemon, served):
    """Ten switches and a load later, interrupt mode is what it was."""
    with Load(daemon, served) as load:
        for mode in MODES:
            daemon.rpc("framework_set_mode", mode=mode)
            load.more_ios(100)
    daemon.rpc("framework_set_mode", mode="interrupt")

    def sleeps():
        before = wakeups(daemon)
        woke = differences(before, wakeups(daemon))["reactor_0"]
        return woke["sleeps"] >= 1 and woke["passes"] <= 4 * (woke["sleeps"] + 1)
    wait_until(sleeps, "the reactor to sleep when there is nothing to do")
