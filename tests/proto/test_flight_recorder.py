# SPDX-License-Identifier: BSD-3-Clause
"""Somebody's I/O was slow an hour ago, and nobody knows which, whose, and where the time went."""
import time

from gantry import wait_until
from nvme_tcp import HOST_NQN, OK, Host, must, sqe

SLOW_S = 0.4
WRITE = 1


def slow_ios(daemon):
    return daemon.rpc("nvmf_get_slow_ios")["ios"]


def late_write(io, lba, data, wait_s=SLOW_S):
    """A write whose host takes its time to answer the R2T."""
    blocks = len(data) // 512
    cid = io.submit(sqe(WRITE, 1, cdw10=lba & 0xffffffff, cdw11=lba >> 32, cdw12=blocks - 1), data, in_capsule=False)
    r2t = io.recv_r2t()
    time.sleep(wait_s)
    io.answer_r2t(r2t)
    return io.wait(cid)


def test_a_slow_write_is_kept_with_its_names_and_stages(daemon):
    served = daemon.serve(daemon.malloc("disk"))
    with Host(served.port, served.nqn) as host:
        assert late_write(host.io, 1 << 4, bytes(65536)).status == OK
        found = [s for s in slow_ios(daemon) if s["lba"] == 16]
    assert len(found) == 1, found
    slow = found[0]
    assert slow["opcode"] == "Write" and slow["num_blocks"] == 128 and slow["bytes"] == 65536
    assert slow["hostnqn"] == HOST_NQN and slow["subnqn"] == served.nqn
    assert (slow["nsid"], slow["bdev_name"], slow["qid"], slow["sct"], slow["sc"]) == (1, "disk", 1, 0, 0)
    stages = slow["stages_ns"]
    assert stages["receive"] >= SLOW_S * 0.9e9, "the host was slow, and is to be blamed"
    assert stages["receive"] > 10 * (stages["wait"] + stages["backend"])
    assert abs(sum(stages.values()) - slow["total_ns"]) < 10_000
    assert "limit" in slow["why"] and "slowest_of_second" in slow["why"]
    assert abs(slow["at_us"] / 1e6 - time.time()) < 60


def test_a_slow_device_is_blamed(daemon):
    """The same slowness as above, of the device: it is all in its stage."""
    base = daemon.malloc("base")
    daemon.tell("bdev_delay_create", name="slow", base_bdev_name=base, avg_read_latency=100_000,
                p99_read_latency=100_000, avg_write_latency=100_000, p99_write_latency=100_000)
    served = daemon.serve("slow")
    with Host(served.port, served.nqn) as host:
        must(host.io.write(32, bytes(4096)))
        slow = [s for s in slow_ios(daemon) if s["lba"] == 32][0]
    assert slow["bdev_name"] == "slow" and slow["stages_ns"]["backend"] >= 90_000_000
    assert slow["stages_ns"]["backend"] > 0.9 * slow["total_ns"]


def test_the_slowest_of_a_second_is_kept_though_it_is_not_slow(daemon):
    daemon.rpc("nvmf_set_slow_io_limit", limit_us=3600 * 1000 * 1000)
    served = daemon.serve(daemon.malloc("disk"))
    with Host(served.port, served.nqn) as host:
        must(late_write(host.io, 8, bytes(16384), 0.05))
        ios = slow_ios(daemon)
    assert [s["why"] for s in ios if s["lba"] == 8] == [["slowest_of_second"]]


def test_what_is_fast_is_not_kept(daemon):
    """Commands that come and go within a pass fill no ring."""
    daemon.rpc("nvmf_set_slow_io_limit", limit_us=3600 * 1000 * 1000)
    served = daemon.serve(daemon.malloc("disk"))
    with Host(served.port, served.nqn) as host:
        for lba in range(0, 1024, 8):
            must(host.io.write(lba, bytes(4096)))
            host.io.read(lba, 8)
    assert len(slow_ios(daemon)) <= 62


def test_a_command_whose_connection_is_lost_is_kept(daemon):
    served = daemon.serve(daemon.malloc("disk"))
    with Host(served.port, served.nqn) as host:
        data = bytes(16384)
        host.io.submit(sqe(WRITE, 1, cdw10=40, cdw12=31), data, in_capsule=False)
        host.io.recv_r2t()
        time.sleep(0.1)
        host.io.sock.close()
        lost = wait_until(lambda: [s for s in slow_ios(daemon) if s["lba"] == 40], "the lost write")[0]
    assert "connection_lost" in lost["why"] and lost["stages_ns"]["receive"] >= 90_000_000


def test_the_limit_is_set_and_the_recorder_emptied(daemon):
    served = daemon.serve(daemon.malloc("disk"))
    assert daemon.rpc("nvmf_get_slow_ios")["adaptive"]
    daemon.rpc("nvmf_set_slow_io_limit", limit_us=5)
    assert not daemon.rpc("nvmf_get_slow_ios")["adaptive"]
    with Host(served.port, served.nqn) as host:
        must(late_write(host.io, 0, bytes(16384), 0.01))
    assert len(daemon.rpc("nvmf_get_slow_ios", max=1)["ios"]) == 1
    daemon.rpc("nvmf_clear_slow_ios")
    assert slow_ios(daemon) == []


def test_names_and_times_survive_their_host(daemon):
    served = daemon.serve(daemon.malloc("disk"))
    with Host(served.port, served.nqn) as host:
        must(late_write(host.io, 24, bytes(16384)))
    daemon.rpc("nvmf_delete_subsystem", nqn=served.nqn)
    slow = [s for s in slow_ios(daemon) if s["lba"] == 24][0]
    assert slow["subnqn"] == served.nqn and slow["hostnqn"] == HOST_NQN
