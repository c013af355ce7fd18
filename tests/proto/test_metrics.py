# SPDX-License-Identifier: BSD-3-Clause
"""A graph that says something else than what happened is worse than none; and a port that anybody may talk to must not
become the way to hurt the daemon."""
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gantry import Daemon, RpcError, free_port, wait_until
from nvme_tcp import HOST_NQN, Host, must, sqe
from scrape import Metrics, http, scrape, scrape_text

WRITES, READS = 37, 23
READ_BEYOND_END = 2          # opcode Read


@pytest.fixture
def watched(tmp_path):
    """A daemon that serves metrics, or a skip where it was built without."""
    port = free_port()
    with Daemon(tmp_path) as daemon:
        try:
            daemon.rpc("metrics_start_server", port=port)
        except RpcError as e:
            pytest.skip(str(e))
        daemon.metrics_port = port
        yield daemon


def settled(port, condition):
    """A text is half a second old at most: wait for one that knows."""
    def look():
        metrics = scrape(port)
        return metrics if condition(metrics) else None
    return wait_until(look, "the metrics to catch up", 30, 0.1)


def test_a_scrape_says_what_was_sent(watched):
    served = watched.serve(watched.malloc("disk"))
    port = watched.metrics_port
    before = watched.rpc("bdev_get_iostat", names=["disk"])["bdevs"][0]  # the daemon has looked for partitions
    with Host(served.port, served.nqn) as host:
        for i in range(WRITES):
            must(host.io.write(i * 8, bytes([i]) * 4096))
        for i in range(READS):
            assert host.io.read(i * 8, 8) == bytes([i]) * 4096
        assert host.io.command(sqe(READ_BEYOND_END, 1, cdw10=0xffffffff, cdw11=0xff), expect=512).status
        m = settled(port, lambda m: m.get("gantry_host_errors_total", host=HOST_NQN) == 1)
        device = watched.rpc("bdev_get_iostat", names=["disk"])["bdevs"][0]
        assert m.get("gantry_bdev_ios_total", bdev="disk", op="write") == device["num_write_ops"] == WRITES
        assert m.get("gantry_bdev_ios_total", bdev="disk", op="read") == device["num_read_ops"]
        assert device["num_read_ops"] - before["num_read_ops"] == READS
        assert m.get("gantry_bdev_bytes_total", bdev="disk", op="write") == device["bytes_written"] == WRITES * 4096
        for name, who in (("host", {"host": HOST_NQN}), ("namespace", {"subsystem": served.nqn, "nsid": 1,
                                                                       "bdev": "disk"})):
            assert m.get(f"gantry_{name}_ios_total", op="write", **who) == WRITES
            assert m.get(f"gantry_{name}_ios_total", op="read", **who) == READS
            assert m.get(f"gantry_{name}_bytes_total", op="read", **who) == READS * 4096
            for stage in ("receive", "wait", "backend", "send"):
                assert m.get(f"gantry_{name}_stage_seconds_count", stage=stage, **who) == WRITES + READS + 1
        assert m.get("gantry_queue_ios_total", host=HOST_NQN, qid=1) == WRITES + READS
        assert m.get("gantry_nvmf_errors_total", sct=0, sc=0x80) == 1
        assert m.get("gantry_nvmf_queues", kind="io") == 1
        assert m.get("gantry_bdev_size_bytes", bdev="disk") == 64 << 20
        assert m.get("gantry_build_info") == 1
    # The host goes; what it did is still counted, its queue is not.
    m = settled(port, lambda m: not m.get("gantry_nvmf_queues", kind="io"))
    assert m.get("gantry_host_ios_total", host=HOST_NQN) == WRITES + READS
    assert m.get("gantry_queue_ios_total", host=HOST_NQN) is None
    assert m.get("gantry_nvmf_queues_total", kind="io") == 1


def test_time_is_put_down_to_its_stage(watched):
    served = watched.serve(watched.malloc("disk"))
    with Host(served.port, served.nqn) as host:
        cid = host.io.submit(sqe(1, 1, cdw12=31), bytes(16384), in_capsule=False)
        r2t = host.io.recv_r2t()
        time.sleep(0.3)
        host.io.answer_r2t(r2t)
        must(host.io.wait(cid))
        m = settled(watched.metrics_port, lambda m: m.get("gantry_host_stage_seconds_count", stage="send"))
    assert m.get("gantry_host_stage_seconds_sum", stage="receive") >= 0.25
    assert m.get("gantry_host_stage_seconds_bucket", stage="receive", le="0.067108864") == 0
    assert m.get("gantry_nvmf_slow_ios_total") == 1


def test_rpc_gives_the_same_text(watched):
    names = set(Metrics(watched.rpc("metrics_get")).types)
    assert names == set(scrape(watched.metrics_port).types)


def test_a_host_may_call_itself_what_it_likes(watched):
    """A label with quotes, backslashes, line ends and bytes that are no UTF-8 must not break the text."""
    name = 'nqn.2014-08.org.x:a"b\\c\nd'
    served = watched.serve(watched.malloc("disk"))
    with Host(served.port, served.nqn, hostnqn=name + "-11111111-2222-4333-8444-555555555555") as host:
        must(host.io.write(0, bytes(4096)))
        m = settled(watched.metrics_port, lambda m: m.get("gantry_host_ios_total"))
        assert any(h and h.startswith(name) for h in m.values("gantry_host_ios_total", "host"))


def test_on_and_off(watched):
    port = watched.metrics_port
    with pytest.raises(RpcError, match="already"):
        watched.rpc("metrics_start_server", port=port)
    watched.rpc("metrics_stop_server")
    wait_until(lambda: not listens(port), "the port to be closed")
    with pytest.raises(RpcError, match="not served"):
        watched.rpc("metrics_stop_server")
    with pytest.raises(RpcError, match="address"):
        watched.rpc("metrics_start_server", address="localhost!", port=port)
    watched.rpc("metrics_start_server", port=port)
    assert scrape(port).get("gantry_build_info") == 1


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    except (ConnectionRefusedError, ConnectionResetError):  # closed, or just being closed
        return False


def test_the_option_serves_on_loopback(tmp_path, watched):
    port = free_port()
    (tmp_path / "other").mkdir()
    with Daemon(tmp_path / "other", "--metrics", port) as daemon:
        assert scrape(port).get("gantry_build_info") == 1
        addresses = {line.split()[1] for line in Path(f"/proc/{daemon.pid}/net/tcp").read_text().splitlines()
                     if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"}
        assert addresses == {f"0100007F:{port:04X}"}


HOSTILE = [
    b"",
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /metrics\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /metrics?" + b"x=%00&" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
    bytes(range(256)) * 64,
]


@pytest.mark.parametrize("request_bytes", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_requests_end_and_hurt_nobody(watched, request_bytes):
    port = watched.metrics_port
    with socket.create_connection(("127.0.0.1", port), 30) as s:
        try:
            s.sendall(request_bytes)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        except OSError:      # it may have been refused by then
            pass
    watched.check_alive()
    assert scrape(port).get("gantry_build_info") == 1


def test_what_there_is_not(watched):
    assert http(watched.metrics_port, b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 404")
    assert http(watched.metrics_port, b"PUT /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 405")


def test_many_scrapes_are_one_gathering(watched):
    """Half a second is the least between two: whoever scrapes more often gets what there is."""
    port = watched.metrics_port
    scrape(port)
    began = time.monotonic()
    before = scrape(port).get("gantry_metrics_gathered_total")
    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda _: scrape_text(port), range(100)))
    assert len(texts) == 100
    gathered = scrape(port).get("gantry_metrics_gathered_total") - before
    assert gathered <= (time.monotonic() - began) / 0.5 + 1


def test_idle_connections_do_not_stop_the_daemon(watched):
    """As many silent peers as may be there: the daemon serves disks all the same, and stops."""
    served = watched.serve(watched.malloc("disk"))
    silent = [socket.create_connection(("127.0.0.1", watched.metrics_port), 30) for _ in range(12)]
    try:
        for s in silent[:6]:
            s.sendall(b"GET /metr")
        with Host(served.port, served.nqn) as host:
            must(host.io.write(0, bytes(4096)))
        watched.stop()
    finally:
        for s in silent:
            s.close()


def test_tricklers_do_not_keep_their_places(watched):
    """A byte now and then is no silence; but a request has to come to its end."""
    port, ended = watched.metrics_port, threading.Event()
    peers = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(8)]

    def trickle():
        for byte in (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 1000):
            for s in peers:
                try:
                    s.send(bytes([byte]))
                except OSError:
                    pass
            if ended.wait(0.5):
                return
    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        assert scrape(port).get("gantry_build_info") == 1
        assert all(ends(s) for s in peers)
    finally:
        ended.set()
        thread.join()
        for s in peers:
            s.close()


def ends(s):
    try:
        while s.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


def test_stopping_while_scraped(tmp_path, watched):
    port = watched.metrics_port
    ended = threading.Event()

    def scrape_on():
        while not ended.is_set():
            try:
                http(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            except OSError:
                pass
    threads = [threading.Thread(target=scrape_on) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for _ in range(5):
            watched.rpc("metrics_stop_server")
            wait_until(lambda: not listens(port), "the port to be closed")
            watched.rpc("metrics_start_server", port=port)
        watched.stop()
    finally:
        ended.set()
        for t in threads:
            t.join()


def switches(pid):
    """How often each thread of the daemon gave the CPU up of itself, by name."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found[name + task.name] = int(line.split()[1])
    return found


def test_without_scrapes_it_sleeps(watched):
    """The endpoint is there and nobody asks: no thread wakes, the HTTP server's own neither."""
    served = watched.serve(watched.malloc("disk"))
    Host(served.port, served.nqn).close()
    scrape(watched.metrics_port)
    time.sleep(0.5)
    before = switches(watched.pid)
    time.sleep(2)
    woke = {name: n - before.get(name, 0) for name, n in switches(watched.pid).items()}
    print(woke)
    assert sum(woke.values()) <= 8, woke
