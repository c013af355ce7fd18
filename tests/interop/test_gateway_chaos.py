# SPDX-License-Identifier: BSD-3-Clause
"""Everything that may happen to a target, at any time, in any order, while the daemon serves its disks on: no error, no
wrong byte. GANTRY_CHAOS_S=600 GANTRY_CHAOS_SEED=7 for longer, and for other events."""
import os
import random
import time

from gantry import RpcError, wait_until
from load import Load
from remote import states, wait_state
from test_gateway import NAME, SLOW_S, attached, kernel     # noqa: F401  a fixture

SECONDS = float(os.environ.get("GANTRY_CHAOS_S", 15))
SEED = int(os.environ.get("GANTRY_CHAOS_SEED", 1))


class Chaos:
    """The target's state, and what may be done to it. At times no path is left: I/O waits then."""

    def __init__(self, daemon, kernel, dice):
        self.daemon, self.kernel, self.target, self.dice = daemon, kernel, kernel.target, dice
        self.linked = [True, True]
        self.mute = False
        self.mib = 64

    def link(self, port):
        if not self.linked[port]:
            if port == 1:
                self.speak()
            self.kernel.link(port)
        self.linked[port] = True

    def unlink(self, port):
        if self.linked[port]:
            self.kernel.unlink(port)
        self.linked[port] = False

    def silence(self, _):
        if not self.mute:
            self.target.mute(1)
        self.mute = True

    def speak(self, _=None):
        if self.mute:
            self.target.speak(1)
        self.mute = False

    def ana(self, port):
        self.target.ana(port, self.dice.choice(["optimized", "optimized", "non-optimized", "inaccessible", "change"]))

    def grow(self, _):
        self.mib += self.dice.randrange(8)
        self.kernel.resize(2, self.mib)

    def reset(self, _):
        try:
            self.daemon.rpc("bdev_nvme_reset_controller", name=NAME, timeout_s=SLOW_S)
        except RpcError as answer:      # no path is left, or the target did not answer
            print(f"reset: {answer}")

    def wait(self, _):
        time.sleep(self.dice.random() * 3)

    def step(self):
        if not any(self.linked) and self.dice.random() < 0.5:
            act = self.link
        else:
            act = self.dice.choice([self.link, self.unlink, self.silence, self.speak, self.ana, self.grow, self.reset,
                                    self.wait])
        port = self.dice.randrange(2)
        print(f"{act.__name__} {port}; paths {states(self.daemon, NAME)}")
        act(port)

    def mend(self):
        self.speak()
        for port in (0, 1):
            self.target.ana(port, "optimized")
            self.link(port)


def test_anything_may_happen(kernel, daemon):               # noqa: F811
    """I/O would fail, be lost or land twice in some order of events that nobody thought of."""
    print(f"GANTRY_CHAOS_SEED={SEED}")
    dice = random.Random(SEED)
    served = attached(daemon, kernel, hdgst=dice.random() < 0.5, ddgst=dice.random() < 0.5)
    for nsid in (1, 2):
        daemon.rpc("bdev_nvme_set_multipath_policy", name=f"{NAME}n{nsid}",
                   policy=dice.choice(["active_active", "active_passive"]))
    chaos = Chaos(daemon, kernel, dice)
    with Load(daemon, served, depth=16, rate=600, qpairs=1) as running:
        fds, rss = daemon.fd_count(), daemon.rss_kib()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            chaos.step()
            running.check()
        chaos.mend()
        wait_state(daemon, "enabled", "enabled", name=NAME, timeout_s=SLOW_S)
        running.more_ios(100, SLOW_S)
        wait_until(lambda: daemon.fd_count() <= fds + 8, "connections of lost paths to be gone", SLOW_S)
        assert daemon.is_sanitized or daemon.rss_kib() < rss + 32 * 1024, f"{rss} KiB became {daemon.rss_kib()}"
        print(f"{fds} descriptors became {daemon.fd_count()}, {rss} KiB {daemon.rss_kib()}")
