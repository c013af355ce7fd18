# SPDX-License-Identifier: BSD-3-Clause
"""--state-dir: a disk that is deleted takes its namespaces, LUNs and targets along in one record.

What shows a disk goes some turns after it. A record of another call written in between would have them and not the
disk; after a kill they would wait for whatever disk has that name next, and show it to hosts that were never given it.
"""
import json
import socket

import pytest

from gantry import IQN, NQN, Daemon

@pytest.fixture
def kept(tmp_path):
    daemon = Daemon(tmp_path, "--state-dir", tmp_path / "state")
    yield daemon
    daemon.kill()


def begin(daemon, method, **params):
    """A call that is not waited for."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(str(daemon.socket))
    s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
    return s


def entries_that_name(daemon, disk):
    return [e["method"] for s in daemon.rpc("save_config")["subsystems"] for e in s["config"] or []
            if f'"{disk}"' in json.dumps(e)]


def test_nothing_without_its_disk(kept):
    """Whenever one looks: the disk is there, or nothing of it is."""
    kept.start()
    kept.rpc("nvmf_create_subsystem", nqn=NQN)
    kept.rpc("vhost_create_scsi_controller", ctrlr="vs")
    kept.null("first")
    kept.export("first")
    for _ in range(20):
        kept.null("disk")
        kept.rpc("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "disk"})
        kept.rpc("iscsi_target_node_add_lun", name=IQN, bdev_name="disk", lun_id=1)
        kept.rpc("vhost_scsi_controller_add_target", ctrlr="vs", scsi_target_num=0, bdev_name="disk")
        assert len(entries_that_name(kept, "disk")) == 4
        deletion = begin(kept, "bdev_null_delete", name="disk")
        while named := entries_that_name(kept, "disk"):
            assert len(named) == 4
        assert deletion.recv(1000)
        deletion.close()
    kept.kill()
    kept.start()
    assert entries_that_name(kept, "disk") == []
    kept.stop()
