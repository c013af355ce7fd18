# SPDX-License-Identifier: BSD-3-Clause
"""Detaching, whatever a controller is at: at once or soon, never never."""
import threading
import time

import pytest

import bad_ways as ways
from attached import PATIENCE_S, attach, controllers, detach, disks_of, gateway, in_parallel
from bad_scripts import BY_STEP
from bad_target import BadTarget
from gantry import Daemon, RpcError, wait_until
from nvme_tcp import IO_READ, Ended, rw

STEPS = [s for s in BY_STEP if not s.endswith("_io")]
SOON_S = 30


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


def is_gone(daemon, name):
    return not controllers(daemon, name) and not disks_of(daemon, name)


def while_attaching(daemon, step, name):
    """Detached before the attach has come to an end: both calls are answered."""
    with BadTarget() as target:
        target.on(step, ways.silence)
        answers = []
        attaching = threading.Thread(target=lambda: answers.append(caught(attach, daemon, target, name)), daemon=True)
        attaching.start()
        wait_until(lambda: target.seen[step], step, PATIENCE_S)
        began = time.monotonic()
        caught(detach, daemon, name)            # "there is none yet" is an answer, too
        took_s = time.monotonic() - began
        attaching.join(PATIENCE_S)
        assert answers and isinstance(answers[0], RpcError), f"the attach: {answers}"
        wait_until(lambda: is_gone(daemon, name), "nothing to be left", PATIENCE_S)
        assert took_s < SOON_S


def while_reconnecting(daemon, step, name):
    with BadTarget() as target:
        attach(daemon, target, name, ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
        before = target.seen[step]
        target.on(step, ways.silence)
        target.drop_all()
        wait_until(lambda: target.seen[step] > before, step, PATIENCE_S)
        began = time.monotonic()
        detach(daemon, name)
        assert time.monotonic() - began < SOON_S
        assert is_gone(daemon, name)
        wait_until(lambda: not target.connections, "the connections to end", PATIENCE_S)


def caught(call, *args, **kwargs):
    try:
        return call(*args, **kwargs)
    except RpcError as error:
        return error


@pytest.mark.parametrize("when", [while_attaching, while_reconnecting])
def test_at_every_step(shared, when):
    results = in_parallel(lambda i: when(shared, STEPS[i], f"{when.__name__[6:7]}{i}"), len(STEPS))
    failures = {step: result for step, result in zip(STEPS, results) if result is not None}
    assert not failures, failures


def test_while_nobody_is_there(daemon):
    with BadTarget() as target:
        attach(daemon, target, ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
        target.stop()
        detach(daemon)
        assert is_gone(daemon, "r")
        target.start()
        attach(daemon, target)


def test_after_it_was_given_up(daemon):
    """What is left of it, for writes that may still land, must not keep the name's next owner."""
    with BadTarget() as target:
        attach(daemon, target, ctrlr_loss_timeout_sec=2, reconnect_delay_sec=1)
        target.stop()
        wait_until(lambda: not disks_of(daemon), "it to be given up", PATIENCE_S)
        target.start()
        attach(daemon, target)
        began = time.monotonic()
        detach(daemon)
        assert time.monotonic() - began < 10 and is_gone(daemon, "r")


def test_its_name_is_wanted_at_once(daemon):
    """An attach that comes while the name is being detached waits for that."""
    with BadTarget() as target:
        attach(daemon, target)
        before = target.seen["property_set"]
        target.on("property_set", ways.late(1), times=1)
        detaching = threading.Thread(target=detach, args=(daemon,))
        detaching.start()
        wait_until(lambda: target.seen["property_set"] > before, "the detach", PATIENCE_S)
        disk = attach(daemon, target)
        detaching.join(PATIENCE_S)
        assert disks_of(daemon) == [disk]


def test_what_was_given_up_does_not_come_back(tmp_path):
    """It is taken out of the state that lasts when it goes, not with the next call that changes something."""
    state = tmp_path / "state"
    with BadTarget() as target, Daemon(tmp_path, "--state-dir", state) as daemon:
        daemon.serve(attach(daemon, target, ctrlr_loss_timeout_sec=1, reconnect_delay_sec=1))
        journal = next(path for path in state.iterdir() if b"attach_controller" in path.read_bytes())
        before = journal.stat().st_size
        target.stop()
        wait_until(lambda: is_gone(daemon, "r"), "it to be given up", PATIENCE_S)
        wait_until(lambda: journal.stat().st_size != before, "the record of that", PATIENCE_S)
        time.sleep(1)                           # what follows from it, the export, is a record of its own
        daemon.kill()
        daemon.start()
        assert is_gone(daemon, "r") and not daemon.rpc("bdev_get_bdevs")


def test_while_shutting_down_is_not_answered(daemon):
    """A target that is stuck would keep its disk for ever."""
    with BadTarget() as target:
        attach(daemon, target)
        target.on("admin", ways.ignore)
        began = time.monotonic()
        detach(daemon)
        assert time.monotonic() - began < SOON_S and is_gone(daemon, "r")


@pytest.mark.parametrize("action", [ways.ignore, ways.silence, ways.deaf])
def test_under_io(daemon, action):
    """I/O that is out comes back, once, and then the disk is gone."""
    with BadTarget() as target:
        disk = attach(daemon, target)
        with gateway(daemon, disk) as host:
            target.on("read", action)
            cids = [host.io.submit(rw(IO_READ, n, 8), expect=4096) for n in range(16)]
            wait_until(lambda: target.seen["read"] >= 1, "reads", PATIENCE_S)
            began = time.monotonic()
            detach(daemon)
            assert time.monotonic() - began < SOON_S and is_gone(daemon, "r")
            try:
                assert all(host.io.wait(cid).status for cid in cids)
            except (OSError, Ended):
                pass                            # its subsystem may have lost it first


def test_twice_at_once(daemon):
    with BadTarget() as target:
        attach(daemon, target)
        target.on("shutdown", ways.late(1))
        answers = in_parallel(lambda _: caught(detach, daemon), 4)
        assert any(not isinstance(a, Exception) for a in answers), answers
        assert all(a is None or isinstance(a, RpcError) for a in answers), answers
        assert is_gone(daemon, "r")


def test_unknown(daemon):
    said = caught(detach, daemon, "nobody")
    assert isinstance(said, RpcError) and "nobody" in said.message, said


def test_daemon_stops_meanwhile(tmp_path):
    """SIGTERM with controllers in every state ends the daemon, soon."""
    targets = [BadTarget() for _ in range(6)]
    try:
        for target in targets:
            target.start()
        with Daemon(tmp_path) as daemon:
            for n, target in enumerate(targets):
                attach(daemon, target, f"r{n}", ctrlr_loss_timeout_sec=-1, reconnect_delay_sec=1)
            targets[0].stop()
            targets[1].on("icresp", ways.silence).drop_all()
            targets[2].on("admin", ways.ignore)
            targets[3].on("identify_ctrl", ways.silence).drop_all()
            targets[4].on("connect", ways.rst).drop_all()
            for target, step in ((targets[1], "icresp"), (targets[3], "identify_ctrl"), (targets[4], "connect")):
                wait_until(lambda: target.seen[step] > 1, step, PATIENCE_S)     # pylint: disable=cell-var-from-loop
    finally:
        for target in targets:
            target.stop()
