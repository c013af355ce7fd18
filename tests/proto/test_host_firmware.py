# SPDX-License-Identifier: BSD-3-Clause
"""An image of firmware for a remote controller: in pieces that it takes, committed, reset as it asks for, while I/O
goes on; and whatever it, or the file, will not do is said in a sentence."""
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import bad_ways as ways
from attached import attach, controllers, gateway
from bad_target import (FW_ACTIVATION, FW_ENABLE, FW_REPLACE, FW_REPLACE_AND_ENABLE, FW_REPLACE_AND_RUN, BadTarget,
                        Disks)
from gantry import RpcError, wait_until
from nvme_tcp import INVALID_FIELD, INVALID_OPCODE, must

KIB = 1024
SLOT, IMAGE, CONVENTIONAL, OVERLAP = 0x106, 0x107, 0x10b, 0x114
SUBSYSTEM, RESET, MAX_TIME, PROHIBITED = 0x110, 0x111, 0x112, 0x113
LINKS = {"multipath": "multipath", "ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1}


@pytest.fixture
def image(tmp_path):
    """Makes one of so many bytes; its path."""
    def make(size=20 * KIB, revision=b"2.0"):
        path = tmp_path / f"image{size}"
        path.write_bytes((revision.ljust(8) + os.urandom(size))[:size])
        return path
    return make


def apply(daemon, path=None, disk="r0n1", **more):
    if path:
        more["filename"] = str(path)
    return daemon.rpc("bdev_nvme_apply_firmware", 120, bdev_name=disk, **more)


def revisions(daemon, disk="r0n1"):
    bdev, = daemon.rpc("bdev_get_bdevs", name=disk)
    return [path["ctrlr_data"]["firmware_revision"] for path in bdev["driver_specific"]["nvme"]]


def pieces(target):
    """Of the image that came: kept before each commit."""
    kept = []

    def keep(conn, request):
        kept.extend(conn.image)
        conn.do_right(request)
    target.on("fw_commit", keep)
    return kept


@pytest.mark.parametrize("fwug, mdts, most", [(0, 5, 4 * KIB), (1, 5, 64 * KIB), (3, 5, 60 * KIB), (32, 5, 128 * KIB),
                                              (0xff, 3, 32 * KIB), (0xff, 0, 64 * KIB)])
def test_pieces_are_what_the_controller_takes(daemon, image, fwug, mdts, most):
    path = image(200 * KIB + 4)
    with BadTarget(fwug=fwug, mdts=mdts) as target:
        came = pieces(target)
        attach(daemon, target, "r0")
        assert revisions(daemon) == ["1"]
        said = apply(daemon, path)
        assert "'2.0' (before: '1')" in said and revisions(daemon) == ["2.0"], said
        assert [len(data) for _, data in came[:-1]] == [most] * (len(came) - 1) and 0 < len(came[-1][1]) <= most
        assert target.disks.slots[2] == path.read_bytes()
        assert "firmware_update" not in daemon.rpc("bdev_nvme_get_controllers", name="r0")[0]


def test_slots_and_actions(daemon, image):
    """Stored without being run, enabled later; run at once."""
    path = image()
    with BadTarget(frmw=1 << 4 | 3 << 1 | 1) as target:
        attach(daemon, target, "r0")
        assert "nothing runs it" in apply(daemon, path, action="replace", slot=3)
        assert target.disks.slots[3] == path.read_bytes() and revisions(daemon) == ["1"]
        connects = target.seen["connect"]
        assert "'2.0'" in apply(daemon, action="enable", slot=3)
        assert revisions(daemon) == ["2.0"] and target.seen["connect"] == connects + 1
        said = apply(daemon, image(revision=b"3"), action="replace_and_run", slot=2)
        assert "runs revision '3', without a reset (before: '2.0')" in said and revisions(daemon) == ["3"]
        assert target.disks.runs == 2 and target.seen["connect"] == connects + 1
        assert "'1'" in apply(daemon, action="enable", slot=1)           # can be read, and so be run
        assert target.disks.runs == 1


def test_what_runs_without_a_reset_is_shown_of_every_path(daemon, image):
    """The revision was the old one until the next reset."""
    fields = {"frmw": 1 << 4 | 3 << 1}
    with BadTarget(**fields) as a, BadTarget(a.disks, **fields) as b:
        attach(daemon, a, "r0", **LINKS)
        attach(daemon, b, "r0", **LINKS)
        connects = a.seen["connect"] + b.seen["connect"]
        apply(daemon, image(), action="replace_and_run")
        wait_until(lambda: revisions(daemon) == ["2.0", "2.0"], "both paths to tell", 60)
        assert a.seen["connect"] + b.seen["connect"] == connects


def test_an_activation_by_somebody_else_is_noticed(daemon):
    """The controller tells when it begins. Reading the log lets it tell of the next; what runs is read after that."""
    with BadTarget() as target:
        masks, logs = [], []

        def keep(kept):
            def run(conn, request):
                kept.append(request.words)
                conn.do_right(request)
            return run
        target.on("set_feature", keep(masks))
        attach(daemon, target, "r0")
        assert any(words[0] & 0xff == 0x0b and words[1] >> 9 & 1 for words in masks), "it is told that we want to know"
        target.on("log_page", keep(logs))
        for slot, revision in ((3, b"7.7"), (2, b"8.8")):
            target.disks.slots[slot], target.disks.runs = revision, slot
            logs.clear()
            target.tell(FW_ACTIVATION)
            wait_until(lambda now=revision: revisions(daemon) == [now.decode()], "the new revision", 60)
            assert [words[0] >> 15 & 1 for words in logs if words[0] & 0xff == 3] == [0], "read, and not retained"
        assert target.seen["connect"] == 1


def test_what_cannot_be_read_stays_as_it_was(daemon):
    """Neither the log nor Identify: the path is as good as before."""
    with BadTarget() as target:
        attach(daemon, target, "r0")
        target.on("log_page", ways.status(INVALID_FIELD), times=1)
        target.on("identify_ctrl", ways.status(INVALID_FIELD), times=1)
        target.disks.slots[2], target.disks.runs = b"7.7", 2
        target.tell(FW_ACTIVATION)
        wait_until(lambda: "runs firmware '1'" in daemon.log(), "it to have been tried", 60)
        target.tell(FW_ACTIVATION)
        wait_until(lambda: revisions(daemon) == ["7.7"], "the new revision", 60)
        assert target.seen["connect"] == 1


def test_a_controller_that_does_not_tell_what_it_runs(daemon, image):
    """It stays alive, so nothing else would end the wait, which has a deadline and a sentence, whoever asked for it."""
    with BadTarget(frmw=1 << 4 | 3 << 1) as a, BadTarget() as b:
        attach(daemon, a, "r0", **LINKS)
        attach(daemon, b, "r1", **LINKS)
        a.on("identify_ctrl", ways.ignore, times=1)
        b.on("log_page", ways.ignore, times=1)
        b.tell(FW_ACTIVATION)
        said = apply(daemon, image(), action="replace_and_run")
        assert "asked what it runs, and did not answer within 10 s: its connection was ended (before: '1')" in said
        wait_until(lambda: "was asked which firmware it runs, and did not answer within 10 s" in daemon.log() and
                   "what it has (namespaces, log pages, firmware) did not come within 10 s" in daemon.log(), "both", 60)
        wait_until(lambda: revisions(daemon) == ["2.0"], "the first one to be back, and to tell", 60)
        wait_until(lambda: b.seen["connect"] == 2, "the second one to be connected again", 60)


def test_a_reset_that_the_commit_asks_for(daemon, image):
    with BadTarget(frmw=1 << 4 | 3 << 1) as target:
        target.on("fw_commit", ways.status(RESET))
        attach(daemon, target, "r0")
        connects = target.seen["connect"]
        assert "were reset (1)" in apply(daemon, image(), action="replace_and_run")
        assert target.seen["connect"] == connects + 1


@pytest.mark.parametrize("code, words", [
    (SLOT, "Invalid Firmware Slot' to Firmware Commit: the slot can only be read"),
    (IMAGE, "Invalid Firmware Image' to Firmware Commit: this is no image for it"),
    (CONVENTIONAL, "is committed, and runs only after a conventional reset"),
    (SUBSYSTEM, "is committed, and runs only after a reset of the whole subsystem"),
    (MAX_TIME, "longer than the controller allows"), (PROHIBITED, "may not take the place"),
    (OVERLAP, "somebody else is sending"), (INVALID_OPCODE, "Invalid Command Opcode' to Firmware Commit: nothing is"),
])
def test_a_commit_that_is_refused(daemon, image, code, words):
    with BadTarget() as target:
        target.on("fw_commit", ways.status(code), times=1)
        attach(daemon, target, "r0")
        connects = target.seen["connect"]
        with pytest.raises(RpcError, match=words):
            apply(daemon, image())
        assert target.seen["connect"] == connects, "nothing is reset"
        wait_until(lambda: words in daemon.log(), "the log to say so", 60)
        apply(daemon, image())                                           # and the next one is taken


@pytest.mark.parametrize("way, fields, words", [
    (ways.status(INVALID_FIELD), {"fwug": 3}, "at 0 of the image's 20480; the image is not a multiple"),
    (ways.status(INVALID_FIELD), {}, "Invalid Field in Command' to 4096 bytes at 0 of the image's 20480; nothing is"),
    (ways.status(OVERLAP), {}, "or it has parts of one that broke off, which a reset discards; nothing is committed"),
    (ways.rst, {}, "the connection ended when 0 of 20480 bytes were sent; nothing is committed"),
])
def test_a_piece_that_is_refused(daemon, image, way, fields, words):
    with BadTarget(**fields) as target:
        target.on("fw_download", way, times=1)
        attach(daemon, target, "r0", **LINKS)
        with pytest.raises(RpcError, match=words):
            apply(daemon, image())
        assert not target.seen["fw_commit"]


def test_a_commit_whose_answer_is_lost(daemon, image):
    with BadTarget() as target:
        target.on("fw_commit", ways.rst, times=1)
        attach(daemon, target, "r0", **LINKS)
        with pytest.raises(RpcError, match="whether the image is committed nobody knows"):
            apply(daemon, image())


def test_a_controller_that_does_not_come_back(daemon, image):
    with BadTarget() as target:
        attach(daemon, target, "r0", **LINKS)

        def close(conn, request):
            conn.do_right(request)
            target.on("connect", ways.rst)
        target.on("fw_commit", close)
        with pytest.raises(RpcError, match="the firmware is committed, but after the reset"):
            apply(daemon, image())


@pytest.mark.parametrize("fields, asked, words", [
    ({"oacs": 0}, {}, "takes no firmware: it does not support Firmware Commit"),
    ({"frmw": 2 << 1}, {"slot": 3}, "slot: 3 is none; the controller has 2"),
    ({}, {"slot": 1}, "slot 1 can only be read"),
    ({}, {"action": "replace_and_run"}, "cannot run firmware without a reset"),
    ({"fwug": 64, "mdts": 5}, {}, "wants pieces of 262144 bytes"),
    ({}, {"action": "enable"}, "takes no image"),
    ({}, {"action": "burn"}, "burn"),
    ({}, {"slot": 8}, "slot"),
])
def test_what_a_controller_cannot_do(daemon, image, fields, asked, words):
    with BadTarget(**fields) as target:
        attach(daemon, target, "r0")
        with pytest.raises(RpcError, match=words):
            apply(daemon, image(), **asked)
        assert not target.seen["fw_download"] and not target.seen["fw_commit"]


def test_files_that_are_no_images(daemon, image, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with open(tmp_path / "huge", "wb") as huge:
        huge.truncate(1 << 40)
    with BadTarget() as target:
        attach(daemon, target, "r0")
        for path, words in ((tmp_path / "none", "none cannot be opened: No such file"), (image(4097), "4097 bytes"),
                            (image(0), "has 0 bytes"), (tmp_path / "fifo", "not a regular file"),
                            (tmp_path / "huge", "at most 67108864"), (tmp_path, "not a regular file"),
                            (None, "filename: is missing")):
            with pytest.raises(RpcError, match=words):
                apply(daemon, path)
        with pytest.raises(RpcError, match="slot: which one"):
            apply(daemon, action="enable")
        daemon.malloc("m0", mib=1)
        for disk, words in (("nosuch", "bdev_name: there is no block device"), ("m0", "not a disk of an NVMe")):
            with pytest.raises(RpcError, match=words):
                apply(daemon, image(), disk)
        assert not target.seen["fw_download"]


def test_io_goes_on_and_another_waits_its_turn(daemon, image):
    """Two paths: while pieces are sent, and one path after the other is reset, every write and read is done."""
    daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=60000)
    daemon.transport()
    disks, gate = Disks(), threading.Event()
    with BadTarget(disks) as one, BadTarget(disks) as other:
        one.on("fw_download", ways.held(gate), skip=2, times=1)
        attach(daemon, one, "r0", **LINKS)
        attach(daemon, other, "r0", **LINKS)
        before = one.seen["connect"] + other.seen["connect"]
        said, stop = [], threading.Event()
        with gateway(daemon, "r0n1") as connected:
            def some_io(rounds):
                for n in range(rounds):
                    data = os.urandom(4096)
                    must(connected.io.write(n % 8 * 8, data, 512))
                    assert connected.io.read(n % 8 * 8, 8, 512) == data

            thread = threading.Thread(target=lambda: (said.append(apply(daemon, image())), stop.set()))
            thread.start()
            wait_until(lambda: "8192 of 20480 bytes are sent" in
                       str(daemon.rpc("bdev_nvme_get_controllers", name="r0")), "two pieces to be sent", 60)
            some_io(50)                                                  # a piece is on its way all the time
            with pytest.raises(RpcError, match="is being given firmware already"):
                apply(daemon, image())
            gate.set()
            while not stop.is_set():
                some_io(5)
            thread.join()
            some_io(20)
        assert "were reset (2)" in said[0] and revisions(daemon) == ["2.0", "2.0"], said
        assert one.seen["connect"] + other.seen["connect"] == before + 2
        assert all(c["state"] == "enabled" for c in controllers(daemon, "r0"))


def test_detached_in_the_middle(daemon, image):
    daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=60000)
    gate = threading.Event()
    with BadTarget() as target:
        target.on("fw_download", ways.held(gate), skip=1, times=1)
        attach(daemon, target, "r0")
        said = []

        def update():
            try:
                apply(daemon, image())
            except RpcError as problem:
                said.append(problem.message)
        thread = threading.Thread(target=update)
        thread.start()
        wait_until(lambda: target.seen["fw_download"] == 2, "the second piece", 60)
        daemon.rpc("bdev_nvme_detach_controller", 120, name="r0")
        thread.join()
        gate.set()
        assert "when 4096 of 20480 bytes were sent" in said[0], said


@contextmanager
def slow_helpers(daemon):
    """What reads files gets next to nothing of a CPU that somebody else keeps busy."""
    task, cpu = Path(f"/proc/{daemon.process.pid}/task"), max(os.sched_getaffinity(0))
    helpers = [int(thread.name) for thread in task.iterdir() if (thread / "comm").read_text() == "helper\n"]
    busy = f"import os\nos.sched_setaffinity(0, {{{cpu}}})\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as hog:
        try:
            assert hog.stdout.readline()
            for helper in helpers:
                os.sched_setaffinity(helper, {cpu})
                os.sched_setscheduler(helper, os.SCHED_IDLE, os.sched_param(0))
            yield
        finally:
            hog.kill()


def test_another_target_of_its_name(daemon, image, tmp_path):
    """One is detached while its image is read, and another one attached under its name: it is not that one's image."""
    with open(tmp_path / "large", "wb") as large:
        large.truncate(64 << 20)
    with BadTarget() as target, BadTarget() as other, ThreadPoolExecutor(1) as pool:
        attach(daemon, target, "r0")
        with pytest.raises(RpcError, match="multiple of 4"):
            apply(daemon, image(4097))                                   # there is a helper now
        with slow_helpers(daemon):
            update = pool.submit(apply, daemon, tmp_path / "large")
            wait_until(lambda: update.done() or "firmware_update" in
                       daemon.rpc("bdev_nvme_get_controllers", name="r0")[0], "the call to come", 60)
            daemon.rpc("bdev_nvme_detach_controller", 120, name="r0")
            attach(daemon, other, "r0")
            assert "firmware_update" not in daemon.rpc("bdev_nvme_get_controllers", name="r0")[0]
        update.exception(120)                                            # whatever became of it
        assert not other.seen["fw_download"]


def update_until_it_stops(daemon, path, when, **more):
    """What the method says to a daemon that is stopped then."""
    said = []

    def update():
        try:
            apply(daemon, path, **more)
        except RpcError as problem:
            said.append(problem.message)
    thread = threading.Thread(target=update)
    thread.start()
    wait_until(when, "what is not answered to be sent", 60)
    daemon.stop()
    thread.join()
    return said[0]


@pytest.mark.parametrize("step, answered, words", [
    ("fw_download", 1, "the daemon stops; nothing is committed"),
    ("fw_commit", 0, "the daemon stops; whether the image is committed nobody knows"),
])
def test_a_daemon_that_stops_in_the_middle(daemon, image, step, answered, words):
    """A controller that is alive, and never answers, would keep it from its end."""
    with BadTarget() as target:
        target.on(step, ways.ignore, skip=answered)
        attach(daemon, target, "r0")
        said = update_until_it_stops(daemon, image(), lambda: target.seen["ignored"])
    assert said == words


def test_a_daemon_that_stops_while_it_asks_what_runs(daemon, image):
    with BadTarget(frmw=1 << 4 | 3 << 1) as target:
        attach(daemon, target, "r0")
        target.on("identify_ctrl", ways.ignore)
        said = update_until_it_stops(daemon, image(), lambda: target.seen["ignored"], action="replace_and_run")
    assert said == "the daemon stops; the firmware is committed, and runs"


def test_a_daemon_that_stops_while_a_path_is_reset(daemon, image):
    """Its end does not take as long as the connection may."""
    daemon.rpc("bdev_nvme_set_options", tcp_connect_timeout_ms=600000)
    with BadTarget() as target:
        attach(daemon, target, "r0", **LINKS)
        target.on("connect", ways.ignore)
        said = update_until_it_stops(daemon, image(), lambda: target.seen["ignored"])
    assert said == "the daemon stops; the firmware is committed, but its controllers are not all reset"
