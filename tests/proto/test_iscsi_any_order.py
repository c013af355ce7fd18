# SPDX-License-Identifier: BSD-3-Clause
"""Hosts that say anything that is well formed, in any order: gaps, aborts of what is there and what is not, held data,
texts, resets, logins that take each other's place; beside them sessions are moved and the configuration changes. Each
answer is checked for its numbers and its place; nothing hangs, and nothing is left in the memory budget."""
import os
import random
import select
import threading
import time

from gantry import Daemon, RpcError, cpus, wait_until
from iscsi import (ABORT_TASK, ABORT_TASK_SET, CLEAR_TASK_SET, LUN_RESET, NONE, NOP_OUT, TEXT, WARM_RESET, Ended,
                   LoginFailed, Rejected, Session, make_text, read_cdb, write_cdb)
from pr import RELEASE_6, RESERVE_6

SECONDS = 8
HANG_S = 60             # a hang, not a figure
LUNS = 3
KEYS = [{}, {"InitialR2T": "Yes", "MaxBurstLength": "1024", "FirstBurstLength": "512"}, {"ImmediateData": "No"},
        {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}, {"MaxRecvDataSegmentLength": "512"}]


def near(s, dice, low, high):
    return s.cmdsn + dice.randrange(low, high) & NONE


def manage(s, dice):
    s.manage_async(dice.choice([ABORT_TASK, ABORT_TASK_SET, CLEAR_TASK_SET, LUN_RESET, WARM_RESET]),
                   dice.choice([*s.outstanding, 5]), dice.randrange(LUNS), refcmdsn=near(s, dice, -4, 4),
                   immediate=dice.random() < 0.7)


def hear(s, dice):
    while s.outstanding and dice.random() < 0.8 and (s.received or select.select([s.sock], [], [], 0.1)[0]):
        s.step()


def hold(s, dice):
    s.hold_r2t = not s.hold_r2t


def place(dice):
    return dice.randrange(20000), dice.choice([1, 8, 64, 512, 2049])


def read(s, dice):
    lba, blocks = place(dice)
    s.submit(read_cdb(lba, blocks), expect=blocks * 512, lun=dice.randrange(LUNS))


def write(s, dice):
    lba, blocks = place(dice)
    s.submit(write_cdb(lba, blocks), os.urandom(blocks * 512), lun=dice.randrange(LUNS))


def ahead(s, dice):
    s.submit(read_cdb(0, 1), expect=512, cmdsn=near(s, dice, 1, 5))


def anything(s, dice):
    s.submit(os.urandom(16), os.urandom(512) if dice.random() < 0.5 else b"", dice.choice([0, 512]),
             lun=dice.randrange(LUNS), attr=dice.randrange(5))


ACTS = [read, read, read, write, write, hear, hold, manage, ahead, anything,
        lambda s, dice: s.take_cmdsn(),         # a gap
        lambda s, dice: s.submit(dice.choice([RESERVE_6, RELEASE_6]), lun=dice.randrange(LUNS)),
        lambda s, dice: s.request(TEXT, data=make_text({"SendTargets": ""}), immediate=dice.random() < 0.5),
        lambda s, dice: s.request(NOP_OUT, data=os.urandom(dice.randrange(512)), immediate=dice.random() < 0.5)]


class World:
    def __init__(self, daemon):
        self.rpc = daemon.rpc
        self.rpc("iscsi_set_options", nop_in_interval=1, nop_timeout=5, data_timeout_ms=2000)
        daemon.malloc("disk0", mib=16)
        daemon.malloc("base", mib=16)
        daemon.malloc("guest", mib=16)
        self.rpc("bdev_delay_create", name="slow", base_bdev_name="base", avg_read_latency=2000, p99_read_latency=20000,
                 avg_write_latency=5000, p99_write_latency=30000)
        self.node = daemon.export("disk0", "slow", daemon.null("null", mib=64), portals=2)
        self.tsihs, self.problems, self.ends = {}, [], {}
        self.enough = threading.Event()

    def repeat(self, fn, seed):
        dice = random.Random(seed)
        while not self.enough.is_set():
            try:
                fn(dice)
            except (Ended, Rejected, LoginFailed, ConnectionError, RpcError) as e:
                self.ends[type(e).__name__] = self.ends.get(type(e).__name__, 0) + 1
            except BaseException as e:          # a wrong number or place, or nothing at all
                self.problems.append(f"{fn.__name__}: {e!r}")
                self.enough.set()

    def host(self, dice):
        name = f"iqn.2026-11.test:{dice.randrange(6)}"
        with Session(dice.choice(self.node.ports), self.node.name, dice.choice(KEYS), initiator=name, attentions=False,
                     tsih=self.tsihs.get(name, 0) if dice.random() < 0.3 else 0) as s:
            self.tsihs[name] = s.tsih
            s.sock.settimeout(HANG_S)
            for _ in range(dice.randrange(60)):
                dice.choice(ACTS)(s, dice)
            if dice.random() < 0.3:
                s.reset()

    def move(self, dice):
        for c in self.rpc("iscsi_get_connections"):
            self.rpc("iscsi_move_session", id=c["id"], reactor=dice.randrange(2), pinned=False)

    def change(self, dice):
        name, maps = self.node.name, [{"pg_tag": 2, "ig_tag": 1}]
        for method, more in dice.choice([
                [("add_lun", {"bdev_name": "guest", "lun_id": 7})], [("remove_lun", {"lun_id": 7})],
                [("remove_lun", {"lun_id": 1}), ("add_lun", {"bdev_name": "slow", "lun_id": 1})],
                [("remove_pg_ig_maps", {"pg_ig_maps": maps}), ("add_pg_ig_maps", {"pg_ig_maps": maps})],
                [("set_alua_state", {"pg_tag": 2, "alua_state": dice.choice(["optimized", "standby"])})],
                [("request_logout", {})]]):
            self.rpc(f"iscsi_target_node_{method}", timeout_s=HANG_S, name=name, **more)
        for method in "bdev_get_reservations", "iscsi_get_target_nodes", "iscsi_get_stats":
            self.rpc(method)
        self.enough.wait(0.05)


def test_any_order(tmp_path):
    with Daemon(tmp_path, "-m", cpus(2), "--memory", "16M") as daemon:
        world = World(daemon)
        threads = [threading.Thread(target=world.repeat, args=(fn, seed))
                   for seed, fn in enumerate([world.host] * 4 + [world.move, world.change])]
        for t in threads:
            t.start()
        time.sleep(SECONDS)
        world.enough.set()
        for t in threads:
            t.join()
        assert not world.problems, world.problems
        wait_until(lambda: not daemon.rpc("iscsi_get_connections"), "the hosts to be gone", HANG_S)
        wait_until(lambda: not any(daemon.rpc("framework_get_memory")[what] for what in
                                   ("in_use_bytes", "charged_bytes", "waiting")), "the budget to be free", HANG_S)
        with Session(world.node.ports[0], world.node.name, initiator="iqn.2026-11.test:after") as s:
            assert s.read(0, 8)
        print(f"--- {world.ends}")
