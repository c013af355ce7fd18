# SPDX-License-Identifier: BSD-3-Clause
"""A target that misbehaves while it is attached: the call ends with a sentence, and nobody else notices. A daemon that
does not get over one bad peer is of no use between many."""
import re
import time

import pytest

import bad_ways as ways
from attached import attach, controllers, detach, disks_of, gateway, in_parallel, refused, serve, where, works
from bad_scripts import ATTACH_SCRIPTS
from bad_target import BadTarget
from gantry import Daemon
from jsonrpc import Raw, request
from load import Load

DEADLINE_S = 5
SLACK_S = 60                    # for a machine that does other things, and for waiting in line
# An I/O queue is a matter of the cores that use the disk: test_host_misbehaves.py.
# A namespace that cannot be identified is left out: test_host_bad_namespaces.py.
ELSEWHERE = ("refused I/O queue", "status at identify_ns")
SCRIPTS = [s for s in ATTACH_SCRIPTS if not s.name.endswith("_io") and s.name not in ELSEWHERE]


class Ran:
    def __init__(self, daemon, script, name):
        with script.target() as self.target:
            self.said, self.took_s = refused(daemon, self.target, name, ctrlr_loss_timeout_sec=0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All at once, while a healthy remote disk is read and written."""
    with Daemon(tmp_path_factory.mktemp("far")) as far, Daemon(tmp_path_factory.mktemp("near")) as daemon:
        disk = attach(daemon, far.serve(far.malloc("disk")), "healthy")
        with Load(daemon, serve(daemon, disk), rate=1000, depth=4, qpairs=1) as load:
            runs = in_parallel(lambda i: Ran(daemon, SCRIPTS[i], f"bad{i}"), len(SCRIPTS))
            load.check()
        yield dict(zip([s.name for s in SCRIPTS], runs))
        assert [c["name"] for c in daemon.rpc("bdev_nvme_get_controllers")] == ["healthy"]
        assert disks_of(daemon, "healthy") == [disk]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_ends_with_a_sentence(runs, script):
    ran = runs[script.name]
    assert isinstance(ran, Ran), ran
    script.check(ran.said, ran.target)
    assert ran.took_s < DEADLINE_S + SLACK_S, f"{ran.took_s:.1f} s: {ran.said}"


def test_nobody_listens(daemon):
    with BadTarget() as target:
        target.stop()
        said, _ = refused(daemon, target)
    assert str(target.port) in said and re.search("refused|nobody listens", said, re.I), said
    assert not controllers(daemon)


def test_no_such_name(daemon):
    with BadTarget() as target:
        target.address = "no-such-host.invalid"
        said, took_s = refused(daemon, target)
    assert "no-such-host.invalid" in said and took_s < DEADLINE_S + SLACK_S, said


def test_same_name_after_a_failure(daemon):
    """What a failed attempt left behind would be in the way of the next."""
    with BadTarget() as target:
        with BadTarget(target.disks) as other:
            other.stop()
            refused(daemon, other)
        disk = attach(daemon, target)
        with gateway(daemon, disk) as host:
            works(host)
        detach(daemon)
        assert not disks_of(daemon)


def test_caller_goes_away_meanwhile(daemon):
    """An answer for a client that is gone must not end anything but itself."""
    with BadTarget() as target:
        target.on("icresp", ways.silence)
        with Raw(daemon.socket) as raw:
            raw.send(request("bdev_nvme_attach_controller", name="r", **where(target)))
            while not target.seen["icresp"]:
                time.sleep(0.01)
        target.good()
        daemon.check_alive()
        # The attempt ends by itself; then the name is free, or it stands.
        end = time.monotonic() + DEADLINE_S + SLACK_S
        while time.monotonic() < end:
            if not controllers(daemon):
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"still there: {controllers(daemon)}")
        assert attach(daemon, target) == "rn1"
