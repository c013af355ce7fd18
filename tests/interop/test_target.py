# SPDX-License-Identifier: BSD-3-Clause
"""Our NVMe host against a target that is not ours: the kernel's."""
import json
import subprocess

from gantry import BUILD, cpus, wait_until


def perf_command(path, *options):
    return [BUILD / "gantry-perf", "--json", "--quiet", "--mode", "interrupt", "-c", cpus(1), "-r", path, *options]


def run_perf(path, *options, timeout_s=120):
    return subprocess.run(perf_command(path, *options), capture_output=True, text=True, timeout=timeout_s)


def perf(path, *options, status=0, timeout_s=120):
    """What gantry-perf measured; or what it said, when it is to fail."""
    ran = run_perf(path, *options, timeout_s=timeout_s)
    assert ran.returncode == status, f"status {ran.returncode}: {ran.stderr}\n{ran.stdout}"
    return json.loads(ran.stdout) if status == 0 else ran.stderr


def verified(path, *options):
    result = perf(path, "-w", "randrw", "-M", "50", "--verify", *options)
    assert result["errors"] == result["miscompares"] == 0 and result["ios"] > 0, result


def test_what_is_written_is_read_back(target):
    """Our host would lose or tear data, or take a foreign target's digests for wrong."""
    kernel = target.export()
    for digests in [], ["-H"], ["-I"], ["-H", "-I"]:
        verified(kernel.path(), *digests, "-q", "8", "-o", "4k", "-d", "300")
        verified(kernel.path(1) + " ns:1", *digests, "-q", "16", "-o", "512", "-P", "2", "-d", "300")


def test_large_ios_and_small_queues(target):
    """Long transfers would not match the target's R2Ts and PDUs, or a short queue would be overrun."""
    kernel = target.export()
    path = kernel.path() + " ns:2"
    verified(path, "-q", "2", "-o", "1M", "-d", "6")
    verified(path, "-q", "2", "-o", "1M", "-d", "6", "-H", "-I")
    verified(path, "-q", "1", "-o", "4M", "-d", "3")
    verified(path, "-q", "8", "-o", "16k", "--io-queue-size", "2", "-d", "50")
    verified(path, "-q", "300", "-o", "4k", "--io-queue-size", "128", "-d", "600")


def test_a_target_that_takes_little_data_in_capsules(target):
    """Writes would go out unasked to a target that wants to ask for them."""
    target.run("echo 1024 > $NVMET/ports/1/param_inline_data_size")      # what Connect needs
    kernel = target.export()
    verified(kernel.path() + " ns:1", "-q", "8", "-o", "1k", "-d", "200")
    verified(kernel.path() + " ns:2", "-q", "8", "-o", "8k", "-d", "200", "-H", "-I")


def test_what_the_target_refuses_fails_alone(target):
    """One command that the target does not like would end the connection, and all that is on it."""
    kernel = target.export()
    # The kernel states no limit on a transfer, and mostly has one: its memory decides.
    ran = run_perf(kernel.path() + " ns:2", "-q", "2", "-o", "8M", "-w", "read", "-d", "4")
    assert "closed" not in ran.stderr, ran.stderr
    assert ran.returncode == 0 or "Data SGL Length Invalid" in ran.stderr, ran.stderr


def test_an_unknown_subsystem_is_refused_with_a_reason(target):
    """A mistyped NQN would be a time-out."""
    kernel = target.export()
    said = perf(kernel.path() + "-not", "-q", "1", "-o", "4k", "-w", "read", "-d", "1", status=1)
    assert "refused Connect" in said, said


def test_a_host_that_was_not_added_is_refused_with_a_reason(target):
    kernel = target.export()
    host = "nqn.2026-01.io.gantry:host"
    target.run(f"echo 0 > $NVMET/subsystems/{kernel.nqn}/attr_allow_any_host; mkdir $NVMET/hosts/{host}; "
               f"ln -s $NVMET/hosts/{host} $NVMET/subsystems/{kernel.nqn}/allowed_hosts/")
    try:
        said = perf(kernel.path(), "-q", "1", "-o", "4k", "-w", "read", "-d", "1", status=1)
        assert "refused Connect" in said, said
        verified(f"{kernel.path()} hostnqn:{host}", "-q", "1", "-o", "4k", "-d", "10")
    finally:
        target.run(f"rm $NVMET/subsystems/{kernel.nqn}/allowed_hosts/*; rmdir $NVMET/hosts/*")


def test_a_port_that_is_closed_ends_the_run_with_a_reason(target):
    """A host would hang, or not say why, when its port goes."""
    kernel = target.export()
    run = subprocess.Popen(perf_command(kernel.path(), "-q", "4", "-o", "4k", "-w", "randread", "-t", "600"),
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: "creating nvm controller" in target.guest.console_since_mark(), "a connection", 60)
        kernel.unlink(0)
        said = run.communicate(timeout=60)[1]
    finally:
        run.kill()
    assert run.returncode == 1 and "closed" in said, said


def test_idle_controllers_are_kept(target):
    """The kernel would find our Keep Alives late or wrong and end the controller."""
    kernel = target.export()
    target.guest.mark_console()
    result = perf(kernel.path(), "-q", "1", "-o", "4k", "-w", "randread", "--rate", "1", "-t", "6", "-k", "2000")
    assert result["errors"] == 0, result
    assert "timer" not in target.guest.console_since_mark(), target.guest.console_since_mark()
