# SPDX-License-Identifier: BSD-3-Clause
"""Everything at once: nodes, LUNs, maps, groups and disks come and go from several callers while hosts log in and read
and write. Nobody is left without an answer, and what is saved in the end is what a new daemon has."""
import random
import threading

import pytest

from gantry import Daemon, RpcError, cpus, free_port
from iscsi import Ended, LoginFailed, Session, read_cdb

NODES, DISKS = ["n0", "n1", "n2"], ["b0", "b1", "b2"]
ROUNDS = 600


def change(r, ports):
    """One method with parameters that may fit or not."""
    node, disk, pg, ig = r.choice(NODES), r.choice(DISKS), r.randrange(1, 3), r.randrange(1, 3)
    pair = [{"pg_tag": pg, "ig_tag": ig}]
    return r.choice([
        ("bdev_malloc_create", {"name": disk, "num_blocks": 2048, "block_size": 512}),
        ("bdev_malloc_delete", {"name": disk}),
        ("iscsi_create_portal_group", {"tag": pg, "portals": [{"host": "127.0.0.1", "port": str(ports[pg - 1])}]}),
        ("iscsi_delete_portal_group", {"tag": pg}),
        ("iscsi_create_initiator_group", {"tag": ig, "initiators": ["ANY"], "netmasks": ["ANY"]}),
        ("iscsi_delete_initiator_group", {"tag": ig}),
        ("iscsi_create_target_node", {"name": node, "pg_ig_maps": pair, "luns": [{"bdev_name": disk, "lun_id": 0}]}),
        ("iscsi_create_target_node", {"name": node}),
        ("iscsi_delete_target_node", {"name": node}),
        ("iscsi_target_node_add_lun", {"name": node, "bdev_name": disk, "lun_id": r.randrange(-1, 4)}),
        ("iscsi_target_node_remove_lun", {"name": node, "lun_id": r.randrange(4)}),
        ("iscsi_target_node_add_pg_ig_maps", {"name": node, "pg_ig_maps": pair}),
        ("iscsi_target_node_remove_pg_ig_maps", {"name": node, "pg_ig_maps": pair}),
        ("iscsi_target_node_set_alua_state", {"name": node, "pg_tag": pg, "alua_state": "non_optimized"}),
        ("iscsi_get_target_nodes", {}), ("iscsi_get_connections", {}),
    ])


class Crowd:
    def __init__(self, daemon, seed):
        self.daemon, self.seed, self.ports = daemon, seed, [free_port(), free_port()]
        self.enough, self.problems = threading.Event(), []

    def guarded(self, work, number):
        try:
            work(random.Random(self.seed * 100 + number), number)
        except BaseException as problem:
            self.problems.append(repr(problem))

    def caller(self, r, _):
        for _ in range(ROUNDS):
            method, params = change(r, self.ports)
            try:
                self.daemon.rpc(method, **params)
            except RpcError:
                pass        # a refusal is an answer

    def host(self, r, number):
        while not self.enough.is_set():
            try:
                with Session(r.choice(self.ports), "iqn.2016-06.io.spdk:" + r.choice(NODES),
                             initiator=f"iqn.2026-11.test:{number}") as s:
                    for _ in range(r.randrange(30)):
                        s.write(r.randrange(64), bytes(512 * r.randrange(1, 30)), lun=r.randrange(2))
                        s.command(read_cdb(r.randrange(64), 8), expect=4096, lun=r.randrange(2))
            except (Ended, LoginFailed, OSError):
                self.enough.wait(0.005)
            except AssertionError:
                pass        # an asynchronous message between the answers, before the end

    def run(self):
        callers = [threading.Thread(target=self.guarded, args=(self.caller, n)) for n in range(3)]
        hosts = [threading.Thread(target=self.guarded, args=(self.host, n)) for n in range(3)]
        for t in callers + hosts:
            t.start()
        for t in callers:
            t.join()
        self.enough.set()
        for t in hosts:
            t.join()
        assert not self.problems, self.problems


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_comes_and_goes(tmp_path, seed):
    with Daemon(tmp_path, "-m", cpus(2), "--state-dir", tmp_path / "state") as daemon:
        Crowd(daemon, seed).run()
        saved = daemon.rpc("save_config")
    with Daemon(tmp_path, "--state-dir", tmp_path / "state") as daemon:
        assert daemon.rpc("save_config") == saved
