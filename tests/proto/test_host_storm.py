# SPDX-License-Identifier: BSD-3-Clause
"""A hundred controllers whose target is killed and started again: all come back, nobody else notices."""
import json
import subprocess

from attached import PATIENCE_S, Beside, attach, controllers, detach, in_parallel, longest_callbacks, serve
from gantry import NQN, Daemon, Served, wait_until
from jsonrpc import Waiting
from load import Load, perf_command

CONTROLLERS = 100
RESTARTS = 2


def make_far(directory):
    """A target with as many subsystems, all on one port."""
    far = Waiting(directory)
    far.start()
    far.tell("nvmf_set_max_subsystems", max_subsystems=CONTROLLERS + 2)
    far.tell("framework_start_init")
    served = far.serve(far.null("disk0", mib=16), nqn=f"{NQN}0", discovery=False)
    for n in range(1, CONTROLLERS):
        far.null(f"disk{n}", mib=16)
        far.tell("nvmf_create_subsystem", nqn=f"{NQN}{n}", allow_any_host=True, serial_number=f"G{n}")
        far.tell("nvmf_subsystem_add_ns", nqn=f"{NQN}{n}", namespace={"bdev_name": f"disk{n}"})
        far.listen(f"{NQN}{n}", served.port)
    return far, [Served(f"{NQN}{n}", served.ports) for n in range(CONTROLLERS)]


def all_are(daemon, state):
    return all(c["state"] == state for n in range(CONTROLLERS) for c in controllers(daemon, f"r{n}"))


def test_restart_storm(tmp_path):
    for name in ("far", "healthy", "near"):
        (tmp_path / name).mkdir()
    with Daemon(tmp_path / "healthy") as healthy, Daemon(tmp_path / "near") as daemon:
        far, targets = make_far(tmp_path / "far")
        try:
            daemon.rpc("bdev_nvme_set_options", keep_alive_timeout_ms=4000)
            made = in_parallel(lambda n: attach(daemon, targets[n], f"r{n}", ctrlr_loss_timeout_sec=-1,
                                                reconnect_delay_sec=1), CONTROLLERS)
            assert made == [f"r{n}n1" for n in range(CONTROLLERS)], [m for m in made if isinstance(m, Exception)][:3]
            disk = attach(daemon, healthy.serve(healthy.malloc("disk")), "healthy")
            with Load(daemon, serve(daemon, disk), rate=2000, depth=4, qpairs=1) as load, Beside(daemon) as rpcs:
                for _ in range(RESTARTS):
                    far.kill()
                    wait_until(lambda: not any(c["state"] == "enabled" for n in (0, CONTROLLERS - 1)
                                               for c in controllers(daemon, f"r{n}")), "their loss", PATIENCE_S)
                    load.more_ios(1000)
                    far.start()
                    far.replay()
                    wait_until(lambda: all_are(daemon, "enabled"), "all to be back", 2 * PATIENCE_S, 0.2)
                load.check()
            print(f"RPCs: {len(rpcs.times)}, the longest {max(rpcs.times) * 1000:.1f} ms; "
                  f"longest callbacks, ms: {longest_callbacks(daemon)}")
            usable(daemon, "r0n1")
            usable(daemon, f"r{CONTROLLERS - 1}n1")
            gone = in_parallel(lambda n: detach(daemon, f"r{n}"), CONTROLLERS)
            assert all(a is None for a in gone), [a for a in gone if a is not None][:3]
            assert [c["name"] for c in daemon.rpc("bdev_nvme_get_controllers")] == ["healthy"]
        finally:
            far.kill()


def usable(daemon, disk):
    done = subprocess.run(perf_command(serve(daemon, disk), rate=1000, qpairs=1), capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0 and result["ios"] and not result["errors"], done.stderr
