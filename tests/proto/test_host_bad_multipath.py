# SPDX-License-Identifier: BSD-3-Clause
"""Two ways to one disk: when one goes, or says that it should not be used, the other is taken, and nothing is lost."""
import os
import time

import pytest

import bad_ways as ways
from attached import PATIENCE_S, attach, controllers, detach, disks_of, gateway, refused, where, works
from bad_target import (ANA_CHANGING, ANA_INACCESSIBLE, ANA_LOST, ANA_NON_OPTIMIZED, ANA_OPTIMIZED, BadTarget, Disks,
                        Namespace)
from gantry import RpcError, wait_until
from nvme_tcp import IO_READ, OK, must, rw

BOTH = {"multipath": "multipath", "ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1}


@pytest.fixture
def pair():
    """Two ports of one subsystem."""
    with BadTarget() as a, BadTarget(a.disks) as b:
        yield a, b


def attach_both(daemon, pair, **more):
    # A write whose fate is unknown waits for two keep-alive times before it goes out again.
    daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=1000)
    disk = attach(daemon, pair[0], **{**BOTH, **more})
    attach(daemon, pair[1], **{**BOTH, **more})
    assert disks_of(daemon) == [disk] and len(controllers(daemon)) == 2
    return disk


def read(host, lba=0):
    return host.io.command(rw(IO_READ, lba, 8), expect=4096).status


def moved(target, host):
    """Where reads go now."""
    before = target.seen["io"]
    works(host)
    return target.seen["io"] - before


def test_reads_move_at_once(daemon, pair):
    """A read that was out when its path was reset would be an error, or wait for a time-out."""
    a, b = pair
    with gateway(daemon, attach_both(daemon, pair)) as host:
        first, second = (a, b) if moved(a, host) else (b, a)
        first.on("read", ways.ignore)
        cids = [host.io.submit(rw(IO_READ, n * 8, 8), expect=4096) for n in range(8)]
        wait_until(lambda: first.seen["ignored"] == 8, "reads to be out", PATIENCE_S)
        first.stop()
        assert all(host.io.wait(cid).status == OK for cid in cids)
        assert second.seen["read"] >= 8
        works(host)


def test_writes_are_not_lost(daemon, pair):
    """What was acknowledged is there, whichever way it went."""
    with gateway(daemon, attach_both(daemon, pair)) as host:
        for n in range(6):
            data = os.urandom(4096)
            must(host.io.write(n * 8, data))
            pair[n % 2].drop_all()
            assert host.io.read(n * 8, 8) == data


def test_comes_back(daemon, pair):
    a, b = pair
    with gateway(daemon, attach_both(daemon, pair)) as host:
        for target, other in ((a, b), (b, a), (a, b)):
            target.stop()
            works(host)
            target.start()
            wait_until(lambda: all(c["state"] == "enabled" for c in controllers(daemon)), "both paths", PATIENCE_S)
            works(host)
            assert other.connections


def test_both_go(daemon, pair):
    with gateway(daemon, attach_both(daemon, pair)) as host:
        works(host)
        for target in pair:
            target.stop()
        cid = host.io.submit(rw(IO_READ, 0, 8), expect=4096)
        time.sleep(1)
        pair[1].start()
        assert host.io.wait(cid).status == OK


@pytest.mark.parametrize("state", [ANA_INACCESSIBLE, ANA_LOST, ANA_NON_OPTIMIZED])
@pytest.mark.parametrize("told", [True, False], ids=["event", "status"])
def test_ana(daemon, pair, state, told):
    """A path that must not be used, or is slow, would be."""
    if state == ANA_NON_OPTIMIZED and not told:
        pytest.skip("no status says so")
    a, b = pair
    with gateway(daemon, attach_both(daemon, pair)) as host:
        works(host)
        a.set_ana(state, quietly=not told)
        wait_until(lambda: moved(a, host) == 0 and moved(b, host) > 0, "I/O over the second path", PATIENCE_S)
        a.set_ana(ANA_OPTIMIZED)
        b.set_ana(ANA_INACCESSIBLE)
        wait_until(lambda: moved(b, host) == 0 and moved(a, host) > 0, "I/O over the first path", PATIENCE_S)


def test_ana_nowhere(daemon, pair):
    """Groups that change are waited for."""
    with gateway(daemon, attach_both(daemon, pair)) as host:
        works(host)
        for target in pair:
            target.set_ana(ANA_CHANGING)
        cid = host.io.submit(rw(IO_READ, 0, 8), expect=4096)
        time.sleep(1)
        pair[1].set_ana(ANA_OPTIMIZED)
        assert host.io.wait(cid).status == OK


def test_round_robin_uses_both(daemon, pair):
    disk = attach_both(daemon, pair)
    daemon.rpc("bdev_nvme_set_multipath_policy", name=disk, policy="active_active", selector="round_robin")
    with gateway(daemon, disk) as host:
        def shared():
            before = [t.seen["read"] for t in pair]
            for n in range(32):
                assert read(host, n * 8) == OK
            return all(t.seen["read"] - b >= 8 for t, b in zip(pair, before))
        wait_until(shared, "reads over both paths", PATIENCE_S)     # a core's connection may come a moment after attach


@pytest.mark.parametrize("selector", ["round_robin", "queue_depth"])
def test_active_active_without_one(daemon, pair, selector):
    disk = attach_both(daemon, pair)
    daemon.rpc("bdev_nvme_set_multipath_policy", name=disk, policy="active_active", selector=selector)
    with gateway(daemon, disk) as host:
        works(host)
        pair[0].stop()
        for n in range(16):
            assert read(host, n * 8) == OK


def test_preferred_path(daemon, pair):
    a, b = pair
    disk = attach_both(daemon, pair)
    with gateway(daemon, disk) as host:
        for target, other in ((b, a), (a, b)):
            cntlid = next(c.cntlid for c in target.admin_queues())
            daemon.rpc("bdev_nvme_set_preferred_path", name=disk, cntlid=cntlid)
            wait_until(lambda: moved(other, host) == 0 and moved(target, host) > 0, "I/O over it", PATIENCE_S)


def test_one_path_is_detached(daemon, pair):
    a, b = pair
    disk = attach_both(daemon, pair)
    with gateway(daemon, disk) as host:
        works(host)
        detach(daemon, **where(a))
        wait_until(lambda: len(controllers(daemon)) == 1, "the path to go", PATIENCE_S)
        assert disks_of(daemon) == [disk]
        works(host)
        wait_until(lambda: not a.connections, "its connections to end", PATIENCE_S)
        assert b.connections


# --- paths that are none -----------------------------------------------------------------------------------------

def test_another_subsystem(daemon):
    """Its disk would be mixed up with ours."""
    with BadTarget() as first, BadTarget(Disks(nqn="nqn.2016-06.io.gantry:other")) as second:
        disk = attach(daemon, first, **BOTH)
        said, _ = refused(daemon, second, **BOTH)
        assert "subnqn" in said, said
        assert len(controllers(daemon)) == 1 and disks_of(daemon) == [disk]
        with gateway(daemon, disk) as host:
            works(host)
        assert not second.seen["io"]


def test_another_serial_number(daemon):
    """The same namespaces and UUIDs, but another subsystem: refused, with both serial numbers."""
    with BadTarget() as first, BadTarget(first.disks, serial="ANOTHER") as second:
        disk = attach(daemon, first, **BOTH)
        with gateway(daemon, disk) as host:
            said, _ = refused(daemon, second, **BOTH)
            assert "another subsystem" in said and "'ANOTHER'" in said and first.disks.serial in said, said
            works(host)
            assert disks_of(daemon) == [disk] and not second.seen["io"]


def test_another_name_in_identify(daemon):
    """Taken or not, nothing breaks."""
    with BadTarget() as first, BadTarget(first.disks, subnqn="nqn.2016-06.io.gantry:other") as second:
        disk = attach(daemon, first, **BOTH)
        with gateway(daemon, disk) as host:
            try:
                attach(daemon, second, **BOTH)
            except RpcError as error:
                assert len(error.message) > 30, error.message
            works(host)
            assert disks_of(daemon) == [disk]


def test_a_path_that_had_nothing_to_do_goes_at_once(daemon):
    """Lost for good, and detached: nothing of it can land any more, so it does not stay for that time."""
    with BadTarget() as first, BadTarget(first.disks) as second:
        disk = attach(daemon, first, **BOTH)
        attach(daemon, second, **BOTH)
        with gateway(daemon, disk) as host:
            works(host)
            second.on("connect", ways.silence)
            second.drop_all()
            wait_until(lambda: controllers(daemon)[1]["state"] != "enabled", "its loss", PATIENCE_S)
            began = time.monotonic()
            detach(daemon, **where(second))
            wait_until(lambda: len(controllers(daemon)) == 1, "it to be gone", PATIENCE_S)
            assert time.monotonic() - began < 15        # two keep-alive times are 20 s
            works(host)


def test_another_uuid(daemon):
    """The same subsystem, NSID 1, and yet another disk: its data must never be used."""
    with BadTarget() as first, BadTarget(Disks({1: Namespace()})) as second:
        disk = attach(daemon, first, **BOTH)
        with gateway(daemon, disk) as host:
            works(host)
            try:
                attach(daemon, second, **BOTH)
            except RpcError:
                pass                            # refused: as good as not used
            first.stop()
            cid = host.io.submit(rw(IO_READ, 0, 8), expect=4096)
            time.sleep(2)
            assert not second.seen["io"]
            first.start()
            assert host.io.wait(cid).status == OK


def test_same_path_twice(daemon):
    with BadTarget() as target:
        attach(daemon, target, **BOTH)
        said, _ = refused(daemon, target, **BOTH)
        assert str(target.port) in said and len(controllers(daemon)) == 1, said


def test_disabled(daemon, pair):
    """multipath: disable. A second path of the same name is a mistake then."""
    attach(daemon, pair[0], multipath="disable")
    said, _ = refused(daemon, pair[1], multipath="disable")
    assert len(said) > 30 and len(controllers(daemon)) == 1, said
