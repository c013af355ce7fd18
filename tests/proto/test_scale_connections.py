# SPDX-License-Identifier: BSD-3-Clause
"""A thousand connected hosts that do little must cost little; memory or descriptors that stay behind end a daemon
that has run for a year."""
import os

from crowd import Crowd
from gantry import wait_until
from load import connections, is_sanitized, poll_groups, tcp_counter, wakeups
from nvme_tcp import Host, must

CONNECTIONS = int(os.environ.get("GANTRY_CONNECTIONS", "1000"))    # 4096 is what is promised; by hand, it takes longer
BYTES_OF_A_CONNECTION = 64 * 1024
SLACK_KIB = 4096


def counters_at_rest(daemon):
    """What must be as before when all hosts have gone."""
    memory = daemon.rpc("framework_get_memory")
    queues = {k: v for k, v in poll_groups(daemon)[0].items() if k.startswith("current_") or k == "pending_bdev_io"}
    return {"fds": daemon.fd_count(), "in use": memory["in_use_bytes"], "charged": memory["charged_bytes"],
            "waiting": memory["waiting"], **queues}


def wait_for_rest(daemon, before):
    wait_until(lambda: counters_at_rest(daemon) == before, f"{before}", timeout_s=60)


def test_an_idle_connection_is_small(daemon, served):
    with Host(served.port, served.nqn) as warm:
        must(warm.io.write(0, bytes(65536), in_capsule=False))
        at_rest = daemon.rss_kib()
        with Crowd(served, CONNECTIONS) as crowd:
            assert connections(daemon) == CONNECTIONS + 2 and "memory budget" not in daemon.log()
            idle = (daemon.rss_kib() - at_rest) * 1024 / CONNECTIONS
            crowd.use(os.urandom(4096))
            used = (daemon.rss_kib() - at_rest - CONNECTIONS * 4) * 1024 / CONNECTIONS      # less the disk's own pages
            print(f"{idle:.0f} bytes a connection, {used:.0f} after one write and read on each")
            if not is_sanitized(daemon):
                assert idle < BYTES_OF_A_CONNECTION and used < BYTES_OF_A_CONNECTION


def test_it_works_beside_a_thousand_idle_ones(daemon, served):
    """One busy connection must not pay for those that are silent: one event an I/O, whoever else is connected."""
    data = os.urandom(4096)
    with Host(served.port, served.nqn) as host, Crowd(served, CONNECTIONS):
        before, recvs = wakeups(daemon)["reactor_0"], tcp_counter(daemon, "recvs")
        for n in range(100):
            must(host.io.write(n * 8, data))
            assert host.io.read(n * 8, 8) == data
        events = wakeups(daemon)["reactor_0"]["work.fd_events"] - before["work.fd_events"]
        assert tcp_counter(daemon, "recvs") - recvs <= 250 and events <= 250     # 200 commands, some in two pieces


def test_a_thousand_come_and_go(daemon, served):
    data = os.urandom(4096)
    with Crowd(served, 50) as crowd:          # the pools and the disk's pages come with first use
        crowd.use(data)
    with Crowd(served, CONNECTIONS) as crowd:
        crowd.use(data)
    wait_until(lambda: connections(daemon) == 0, "all connections to go")
    before, rss = counters_at_rest(daemon), daemon.rss_kib()
    for _ in range(2):
        with Crowd(served, CONNECTIONS) as crowd:
            crowd.use(data)
        wait_for_rest(daemon, before)
    print(f"RSS {rss} KiB after a thousand, {daemon.rss_kib()} KiB after three thousand")
    if not is_sanitized(daemon):
        assert daemon.rss_kib() <= rss + SLACK_KIB


def test_a_thousand_vanish(daemon, served):
    """Hosts that lose power leave nothing behind either."""
    with Crowd(served, 20) as crowd:
        crowd.use(bytes(4096))
    wait_until(lambda: connections(daemon) == 0, "all connections to go")
    before = counters_at_rest(daemon)
    with Crowd(served, CONNECTIONS) as crowd:
        crowd.use(bytes(4096))
        for host in crowd.hosts:
            for conn in [*host.ios, host.admin]:
                conn.reset()
    wait_for_rest(daemon, before)
    with Host(served.port, served.nqn) as host:
        must(host.io.write(0, bytes(4096)))
