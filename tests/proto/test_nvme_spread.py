# SPDX-License-Identifier: BSD-3-Clause
import os

import pytest

from gantry import Daemon, cpus, wait_until
from nvme_tcp import Host


@pytest.mark.parametrize("cores", [2, 3])
@pytest.mark.parametrize("queues", [1, 2, 3, 4])
def test_io_queues_are_spread_over_cores(tmp_path, cores, queues):
    """Hosts that each bring an admin queue and some I/O queues would find all I/O queues on one core, and the admin
    queues, which do next to nothing, on the others."""
    def counts():
        return [g["current_io_qpairs"] for g in daemon.rpc("nvmf_get_stats")["poll_groups"]]

    if len(os.sched_getaffinity(0)) < cores:
        pytest.skip(f"needs {cores} CPUs")
    with Daemon(tmp_path, "-m", cpus(cores)) as daemon:
        served = daemon.serve(daemon.null("disk0"))
        hosts = [Host(served.port, served.nqn, io_queues=queues) for _ in range(6)]
        wait_until(lambda: sum(counts()) == 6 * queues, "all queues to be counted")
        wait_until(lambda: max(counts()) - min(counts()) <= 2, f"I/O queues to be spread: {counts()}")
        for host in hosts:
            host.close()
