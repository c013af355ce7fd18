# SPDX-License-Identifier: BSD-3-Clause
"""Everything at once: two loads verify their data while their sessions move between cores, a LUN comes and goes, and
other hosts log in, abort, and vanish."""
import json
import random
import subprocess
import threading

from gantry import BUILD, Daemon, RpcError, cpus
from iscsi import ABORT_TASK_SET, LUN_RESET, Ended, LoginFailed, Session, read_cdb

IOS = 20000


class Storm:
    def __init__(self, daemon):
        self.daemon = daemon
        self.node = daemon.export(daemon.malloc("disk0", mib=64), daemon.malloc("disk1", mib=64, block_size=4096),
                                  daemon.malloc("victim", mib=16), portals=2)
        daemon.malloc("guest", mib=16)
        self.enough = threading.Event()
        self.problems, self.done = [], {}

    def repeat(self, fn, seed):
        dice = random.Random(seed)
        try:
            while not self.enough.is_set():
                fn(dice)
                self.done[fn.__name__] = self.done.get(fn.__name__, 0) + 1
        except BaseException as problem:
            self.problems.append(f"{fn.__name__}: {problem!r}")

    def move(self, dice):
        for connection in self.daemon.rpc("iscsi_get_connections"):
            try:
                self.daemon.rpc("iscsi_move_session", id=connection["id"], reactor=dice.randrange(2), pinned=False)
            except RpcError:
                pass        # it has ended meanwhile
        self.enough.wait(0.01)

    def come_and_go(self, dice):
        """Logins of the same initiator port take each other's place: their ends are no problems."""
        try:
            with Session(self.node.ports[dice.randrange(2)], self.node.name, attentions=False,
                         initiator=f"iqn.2026-11.test:guest{dice.randrange(5)}") as s:
                for _ in range(dice.randrange(10)):
                    s.submit(read_cdb(dice.randrange(1000), 8), expect=4096, lun=2)
                if dice.random() < 0.3:
                    s.manage(dice.choice([ABORT_TASK_SET, LUN_RESET]), lun=2)
                if dice.random() < 0.3:
                    s.reset()
        except (Ended, LoginFailed, ConnectionError):
            pass

    def change(self, dice):
        self.daemon.rpc("iscsi_target_node_add_lun", name=self.node.name, bdev_name="guest", lun_id=7)
        self.daemon.rpc("iscsi_target_node_remove_lun", name=self.node.name, lun_id=7)
        self.enough.wait(dice.random() / 20)

    def load(self, lun, *more):
        return subprocess.Popen([str(BUILD / "gantry-perf"), "--iscsi", self.node.url(lun, lun), "-q", "8", "-o", "16k",
                                 "-w", "randrw", "-M", "50", "-d", str(IOS), "--verify", "--json", *more],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_storm(tmp_path):
    """Data would be lost or doubled, an answer never come, or the daemon not survive."""
    with Daemon(tmp_path, "-m", cpus(2)) as daemon:
        storm = Storm(daemon)
        threads = [threading.Thread(target=storm.repeat, args=(fn, seed)) for seed, fn in
                   enumerate((storm.move, storm.come_and_go, storm.come_and_go, storm.change))]
        for thread in threads:
            thread.start()
        try:
            loads = [storm.load(0), storm.load(1, "-H", "-I")]
            outputs = [load.communicate(timeout=300) for load in loads]
        finally:
            storm.enough.set()
            for thread in threads:
                thread.join()
        assert not storm.problems, storm.problems
        for load, (out, words) in zip(loads, outputs):
            result = json.loads(out)
            assert load.returncode == 0 and not result["errors"] and not result["miscompares"], words
        assert all(storm.done.get(fn) for fn in ("move", "come_and_go", "change")), storm.done
        print(f"--- {storm.done}\n{daemon.log_tail()}")
