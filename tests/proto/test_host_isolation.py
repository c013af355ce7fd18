# SPDX-License-Identifier: BSD-3-Clause
"""Dead targets cost the living nothing: attached by the dozen, retried and detached beside a disk that is in use."""
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gantry import RpcError, free_port, wait_until
from load import Load
from nvme_tcp import Host, must
from remote import address, attach, detach, disks, states

DEAD = 24
TIMEOUT_S = 3


@pytest.fixture
def dead_ports():
    """Nobody listens; somebody accepts and says nothing; somebody's queue is full, so that SYNs are dropped; somebody
    hangs up at once."""
    mute, hole, rude = socket.socket(), socket.socket(), socket.socket()
    for s, backlog in ((mute, 4096), (hole, 0), (rude, 64)):
        s.bind(("127.0.0.1", 0))
        s.listen(backlog)
    fillers = [socket.socket() for _ in range(8)]
    for s in fillers:
        s.setblocking(False)
        s.connect_ex(hole.getsockname())

    def hang_up():
        while True:
            try:
                rude.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=hang_up, daemon=True).start()
    yield [free_port(), *(s.getsockname()[1] for s in (mute, hole, rude))]
    for s in (mute, hole, rude, *fillers):
        s.close()


def try_to_attach(daemon, name, port):
    began = time.monotonic()
    with pytest.raises(RpcError) as e:
        daemon.rpc("bdev_nvme_attach_controller", name=name, **address(port), timeout_s=60,
                   fabrics_connect_timeout_us=TIMEOUT_S * 1000000)
    return time.monotonic() - began, e.value.message


def test_attaching_beside_dead_ones(daemon, target, dead_ports):
    served = target.export()
    with ThreadPoolExecutor(DEAD) as pool:
        tries = [pool.submit(try_to_attach, daemon, f"dead{i}", dead_ports[i % len(dead_ports)]) for i in range(DEAD)]
        wait_until(lambda: len(daemon.rpc("bdev_nvme_get_controllers")) >= DEAD // 3, "attempts to be under way")
        assert attach(daemon, served) == ["Nvme0n1"]
        assert not all(t.done() for t in tries), "it waited for the dead ones"
        gateway = daemon.serve("Nvme0n1")
        with Load(daemon, gateway) as load:
            load.more_ios(500)
            results = [t.result() for t in tries]
    for took, words in results:
        assert "127.0.0.1" in words and took < TIMEOUT_S + 30, words
    assert [c["name"] for c in daemon.rpc("bdev_nvme_get_controllers")] == ["Nvme0"]


def tried_again(daemon, *ports):
    tries = [p["attempts"] for c in daemon.rpc("bdev_nvme_get_controllers") for p in c["ctrlrs"]
             if int(p["trid"]["trsvcid"]) in ports]
    return tries and min(tries) > 1


def test_retrying_and_detaching_beside_dead_ones(daemon, target, dead_ports):
    attach(daemon, target.export())
    gateway = daemon.serve("Nvme0n1")
    config = [{"method": "bdev_nvme_attach_controller",
               "params": {"name": f"dead{i}", **address(dead_ports[i % len(dead_ports)]), "reconnect_delay_sec": 1}}
              for i in range(DEAD)]
    daemon.rpc("load_config", subsystems=[{"subsystem": "bdev", "config": config}])
    with Load(daemon, gateway) as load:
        wait_until(lambda: tried_again(daemon, dead_ports[0], dead_ports[3]), "second attempts", 60)
        load.more_ios(500)
        began = time.monotonic()
        with ThreadPoolExecutor(DEAD) as pool:
            list(pool.map(lambda i: detach(daemon, f"dead{i}"), range(DEAD)))
        assert time.monotonic() - began < 20
    assert states(daemon) == ["enabled"] and len(daemon.rpc("bdev_nvme_get_controllers")) == 1


def test_100_rounds_leave_memory_as_before(daemon, target, dead_ports):
    served = target.export(ports=2)

    def use(n):
        attach(daemon, served)
        if n % 2:
            attach(daemon, served, port=served.ports[1])
        if n % 5 == 0:
            try_to_attach(daemon, "dead", dead_ports[n % 2 * 3])
        gateway = daemon.serve("Nvme0n1", discovery=False)
        with Host(gateway.port, gateway.nqn) as host:
            must(host.io.write(n, bytes(4096)))
        daemon.rpc("nvmf_delete_subsystem", nqn=gateway.nqn)
        if n % 3 == 0:
            daemon.rpc("bdev_nvme_reset_controller", name="Nvme0")
        detach(daemon)

    for n in range(20):                      # what is touched once and kept
        use(n)
    memory, descriptors = daemon.rss_kib(), daemon.fd_count()
    for n in range(100):
        use(n)
    assert disks(daemon) == []
    wait_until(lambda: daemon.fd_count() <= descriptors, f"descriptors to be {descriptors} again")
    grown = daemon.rss_kib() - memory
    assert grown < 2048 or daemon.is_sanitized, f"{grown} KiB more after 100 rounds"
