# SPDX-License-Identifier: BSD-3-Clause
"""Sessions that are carried to another core: at any byte of a PDU, with data owed by either side, under I/O."""
import os
import random
import threading

import pytest

from gantry import RpcError, wait_until
from iscsi import COLD_RESET, Ended, good, read_cdb, write_cdb

KEYS = [{}, {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C", "InitialR2T": "No"},
        {"MaxRecvDataSegmentLength": "512", "MaxBurstLength": "4096", "MaxOutstandingR2T": "4"}]


def own(iscsi, s):
    """The register's entry of a session."""
    return next(c for c in iscsi.daemon.rpc("iscsi_get_connections") if c["tsih"] == s.tsih)


def move(iscsi, s, pinned=True):
    """To the other core. Slow I/O may hold it: then it is asked again."""
    def moved():
        entry = own(iscsi, s)
        try:
            here = int(entry["thread_name"].removeprefix("reactor_"))
            iscsi.daemon.rpc("iscsi_move_session", id=entry["id"], reactor=1 - here, pinned=pinned)
            return True
        except RpcError as e:
            assert "try again" in e.message, e.message
            return False
    wait_until(moved, "a session to move")


@pytest.fixture(autouse=True)
def two_cores(iscsi):
    if len(iscsi.daemon.rpc("framework_get_reactors")["reactors"]) < 2:
        pytest.skip("needs two cores")


@pytest.mark.parametrize("keys", KEYS, ids=["plain", "digests", "small"])
def test_while_data_is_owed(iscsi, keys):
    """R2Ts are out, some of the data came: the rest goes to the other core, and is put to what came before."""
    data = os.urandom(65536)
    with iscsi.session(keys) as s:
        s.hold_r2t = True
        itt = s.submit(write_cdb(0, 128), data, immediate_data=0, unsolicited=0)
        sent = 0
        while sent < len(data):
            _, ttt, offset, length = s.wait_r2t()
            half = length // 2
            s.send_data(itt, ttt, offset, data[offset:offset + half], 0, final=False)
            move(iscsi, s)
            s.send_data(itt, ttt, offset + half, data[offset + half:offset + length], 1, final=True)
            sent += length
        good(s.wait(itt))
        s.hold_r2t = False
        move(iscsi, s)
        assert s.read(0, 128) == data


class Cut:
    """The session goes to the other core when so many bytes of the next PDU are there."""

    def __init__(self, iscsi, s, at):
        self.iscsi, self.s, self.at, self.send = iscsi, s, at, s.send
        s.send = self

    def __call__(self, data):
        self.s.send = self.send
        self.send(data[:self.at])
        move(self.iscsi, self.s)
        self.send(data[self.at:])


@pytest.mark.parametrize("digests", [False, True], ids=["plain", "digests"])
def test_at_any_byte(iscsi, digests):
    """A PDU of which a part came: header, data, padding, digests."""
    keys = {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"} if digests else {}
    with iscsi.session(keys) as s:
        for n, cut in enumerate((1, 20, 47, 48, 49, 52, 53, 300, 48 + 511, 48 + 512, 52 + 512, 52 + 514)):
            data = os.urandom(512)
            Cut(iscsi, s, cut)
            good(s.write(5, data))
            Cut(iscsi, s, min(cut, 51))
            assert s.read(5, 1) == data
            Cut(iscsi, s, cut)
            assert s.nop(data[:509]).data == data[:509]


def test_who_waits_for_the_rest_of_a_pdu(iscsi):
    """A command came ahead of its turn; of the one before it a part is there, so that it is its turn when the rest has
    come: until then the session stays."""
    first, second = os.urandom(512), os.urandom(512)
    with iscsi.session() as s:
        before = own(iscsi, s)["commands"]
        missing = s.take_cmdsn()
        ahead = s.submit(write_cdb(6, 1), second)
        cut, rest = s.send, []
        s.send = lambda pdu: (cut(pdu[:100]), rest.append(pdu[100:]))
        itt = s.submit(write_cdb(5, 1), first, cmdsn=missing)
        s.send = cut
        wait_until(lambda: own(iscsi, s)["commands"] == before + 2, "both headers to be read")
        with pytest.raises(RpcError, match="stays"):
            iscsi.daemon.rpc("iscsi_move_session", id=own(iscsi, s)["id"], pinned=True,
                             reactor=1 - int(own(iscsi, s)["thread_name"].removeprefix("reactor_")))
        s.send(rest[0])
        good(s.wait(itt))
        good(s.wait(ahead))
        move(iscsi, s)
        assert s.read(5, 2) == first + second


def test_answers_not_yet_taken(iscsi):
    """More than the socket holds is on its way to the initiator: no byte is lost or said twice."""
    data = os.urandom(1 << 20)
    with iscsi.session(receive_buffer=4096) as s:
        good(s.write(0, data))
        itts = [s.submit(read_cdb(0, 2048), expect=1 << 20) for _ in range(4)]
        for itt in itts:
            move(iscsi, s)
            assert good(s.wait(itt)).data == data
        move(iscsi, s)
        assert s.read(0, 2048) == data


def test_under_load(iscsi):
    """Writes of all kinds, each read back, while the session goes to and fro."""
    stop, moves = threading.Event(), []
    rng = random.Random(1)
    with iscsi.session({"InitialR2T": "No", "FirstBurstLength": "8192", "MaxOutstandingR2T": "2",
                        "MaxBurstLength": "16384"}) as s:
        def carry():
            while not stop.is_set():
                move(iscsi, s)
                moves.append(1)
        mover = threading.Thread(target=carry)
        mover.start()
        try:
            for _ in range(150):
                blocks = [rng.choice((1, 8, 16, 64, 200)) for _ in range(6)]
                data = [os.urandom(n * 512) for n in blocks]
                itts = [s.submit(write_cdb(i * 256, blocks[i]), data[i]) for i in range(6)]
                for itt in itts:
                    good(s.wait(itt))
                for i in range(6):
                    assert s.read(i * 256, blocks[i]) == data[i]
        finally:
            stop.set()
            mover.join()
        assert moves
        assert s.logout() == 0


def test_who_is_gone_does_not_move(iscsi):
    with iscsi.session() as s:
        entry = own(iscsi, s)
    wait_until(lambda: all(c["id"] != entry["id"] for c in iscsi.daemon.rpc("iscsi_get_connections")), "it to go")
    with pytest.raises(RpcError, match="no session"):
        iscsi.daemon.rpc("iscsi_move_session", id=entry["id"], reactor=0)


def cores(iscsi):
    return [c["thread_name"] for c in iscsi.daemon.rpc("iscsi_get_connections") if c["session"] == "normal"]


def test_the_scheduler_spreads_sessions(iscsi):
    """Four busy sessions of one core leave it, while their data is compared; thresholds are low, since what saturates a
    core here depends on the machine."""
    stop, trouble = threading.Event(), []

    def work(n):
        try:
            with iscsi.session(initiator=f"iqn.2026-11.test:busy{n}") as s:
                while not stop.is_set():
                    data = os.urandom(65536)
                    good(s.write(n * 1000, data))
                    assert s.read(n * 1000, 128) == data
        except Exception as e:      # of a thread: said by the test
            trouble.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    try:
        wait_until(lambda: len(cores(iscsi)) == 4 or trouble, "four sessions")
        iscsi.daemon.rpc("framework_set_scheduler", name="dynamic", period=50_000, load_limit=1, core_limit=100,
                         core_busy=5)
        moves = iscsi.daemon.rpc("framework_get_scheduler")["did"]["moves"]

        def moved():
            if trouble or iscsi.daemon.rpc("framework_get_scheduler")["did"]["moves"] > moves:
                return True
            for c in iscsi.daemon.rpc("iscsi_get_connections"):
                try:
                    iscsi.daemon.rpc("iscsi_move_session", id=c["id"], reactor=0, pinned=False)
                except RpcError as e:
                    assert "try again" in e.message or "went away" in e.message, e.message
            return False
        wait_until(moved, "a session to leave the saturated core", 60)
    finally:
        stop.set()
        for t in threads:
            t.join()
        iscsi.daemon.rpc("framework_set_scheduler", name="static")
    assert not trouble


def test_last_words(iscsi):
    """After a cold reset the target closes: also when the answer, and what lies before it, went out on another core."""
    with iscsi.session(receive_buffer=4096) as s:
        for _ in range(32):
            s.submit(read_cdb(0, 2048), expect=1 << 20)
        s.manage_async(COLD_RESET)
        wait_until(lambda: own(iscsi, s)["pdus_in"] >= 35, "all of it to be received")
        move(iscsi, s)
        s.sock.settimeout(60)
        with pytest.raises((Ended, ConnectionError)):
            while True:
                s.recv_pdu()
    iscsi.check_serves()
