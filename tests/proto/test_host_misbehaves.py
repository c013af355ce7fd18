# SPDX-License-Identifier: BSD-3-Clause
"""A controller that is attached and then misbehaves, once: it is connected anew, and the I/O that met it goes on as if
nothing had been. Otherwise one bad PDU of a target takes down what was built on its disk."""
import os

import pytest

from attached import PATIENCE_S, attach, controllers, gateway, in_parallel, serve
from bad_scripts import ATTACH_SCRIPTS, IO_SCRIPTS
from gantry import Daemon, wait_until
from load import Load

ROUNDS = 8
BLOCKS = 8
AT_CONNECTING = [s for s in ATTACH_SCRIPTS if s.name.endswith("_io") or s.name == "refused I/O queue"]
SCRIPTS = IO_SCRIPTS + AT_CONNECTING


def run(daemon, script, name):
    """Writes and reads through the daemon while the script takes place, once."""
    with script.target() as target:
        for rule in target.rules:
            rule.times = 1
        disk = attach(daemon, target, name, reconnect_delay_sec=1, ctrlr_loss_timeout_sec=-1)
        with gateway(daemon, disk) as host:
            for n in range(ROUNDS):
                data = os.urandom(BLOCKS * 512)
                written = host.io.write(n * BLOCKS, data)
                assert written.status == 0, f"write {n}: status {written.status:#x}"
                assert host.io.read(n * BLOCKS, BLOCKS) == data, f"read {n}: other data"
        assert not target.rules[0].times, "the script did not take place"
        assert target.seen["connect_io"] > 1 or script in AT_CONNECTING, dict(target.seen)
        wait_until(lambda: controllers(daemon, name)[0]["state"] == "enabled", "the controller", PATIENCE_S)
    return None


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("far")) as far, Daemon(tmp_path_factory.mktemp("near")) as daemon:
        daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=2000, bdev_retry_count=-1)
        disk = attach(daemon, far.serve(far.malloc("disk")), "healthy")
        with Load(daemon, serve(daemon, disk), rate=1000, depth=4, qpairs=1) as load:
            results = in_parallel(lambda i: run(daemon, SCRIPTS[i], f"bad{i}"), len(SCRIPTS))
            load.check()
        yield dict(zip([s.name for s in SCRIPTS], results))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_goes_on(runs, script):
    if runs[script.name] is not None:
        raise runs[script.name]
