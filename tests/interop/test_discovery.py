# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's discovery service as a peer of ours. The daemon runs in the guest: what the service lists is reachable
only there."""
import json

import pytest

from gantry import BUILD, wait_until

SLOW_S = 120


class Inside:
    """A daemon in the guest."""

    def __init__(self, guest):
        self.guest = guest
        self.job = guest.start(f"echo $$ > /tmp/gantryd.pid; exec {BUILD}/gantryd -m '[0]' -r /tmp/gantryd.sock")
        guest.run(f"until_true {SLOW_S} {BUILD}/gantry -s /tmp/gantryd.sock rpc framework_wait_init",
                  timeout_s=2 * SLOW_S)

    def rpc(self, method, **params):
        words = " ".join(f"{key}={value}" for key, value in params.items())
        said = self.guest.run(f"{BUILD}/gantry -s /tmp/gantryd.sock rpc {method} {words}", timeout_s=SLOW_S)
        return json.loads(said) if said.strip() else True

    def disks(self):
        return sorted(b["name"] for b in self.rpc("bdev_get_bdevs"))

    def end(self):
        self.guest.run("kill $(cat /tmp/gantryd.pid)")
        said = self.job.wait(SLOW_S, check=False)
        assert self.job.status == 0 and "ERROR" not in said, said


@pytest.fixture
def inside(target):
    daemon = Inside(target.guest)
    yield daemon
    daemon.end()


def test_what_the_kernel_lists_is_attached_and_followed(inside, target):
    """Subsystems that come to a port would not be seen, those that go would be kept, or only at the next restart."""
    first = target.export(ports=(0,))
    assert inside.rpc("bdev_nvme_start_discovery", name="found", trtype="TCP", traddr="10.0.2.15", trsvcid=4420,
                      wait_for_attach="true") is True
    assert inside.disks() == ["found0n1", "found0n2"]
    second = target.export(f"{first.nqn}-second", ports=(0,))
    wait_until(lambda: inside.disks() == ["found0n1", "found0n2", "found1n1", "found1n2"], "the second", SLOW_S, 0.2)
    first.unlink(0)
    wait_until(lambda: inside.disks() == ["found1n1", "found1n2"], "the first to be gone", SLOW_S, 0.2)
    result = inside.rpc("bdev_perf_start", name="found1n2", rw="randrw", qd=4, time=0, number_ios=50, verify="true")
    assert result["errors"] == result["miscompares"] == 0, result
    inside.rpc("bdev_nvme_stop_discovery", name="found")
    assert inside.disks() == []
    second.remove()
