# SPDX-License-Identifier: BSD-3-Clause
"""The process: one socket, one owner; signals; files it leaves; how fast it is there and how small it stays."""
import os
import signal
import subprocess

import pytest

from gantry import Daemon, gantryd_path, wait_until
from jsonrpc import Raw, request
from nvme_tcp import Host


def run(*args):
    return subprocess.run([str(a) for a in (gantryd_path(), *args)], capture_output=True, text=True, timeout=60)


def sanitized(daemon):
    return b"libasan" in open(f"/proc/{daemon.pid}/maps", "rb").read()


def test_a_socket_in_use_names_its_owner(daemon):
    done = run("-r", daemon.socket)
    assert done.returncode == 1
    assert str(daemon.pid) in done.stderr and str(daemon.socket) in done.stderr
    assert daemon.rpc("log_get_level") == "NOTICE"


def test_a_socket_left_behind_is_replaced(tmp_path):
    daemon = Daemon(tmp_path).start()
    daemon.process.kill()
    daemon.process.wait()
    daemon.process = None
    assert daemon.socket.exists()
    with daemon:
        assert daemon.rpc("log_get_level") == "NOTICE"
    assert not daemon.socket.exists()


def test_the_socket_is_for_its_owner_only(daemon):
    assert daemon.socket.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_it_cleanly(tmp_path, name):
    daemon = Daemon(tmp_path).start()
    daemon.process.send_signal(getattr(signal, name))
    assert daemon.process.wait(10) == 0
    assert not daemon.socket.exists()
    daemon.check_log()


def test_an_rpc_ends_it_cleanly(tmp_path):
    daemon = Daemon(tmp_path).start()
    assert daemon.rpc("spdk_kill_instance", sig_name="SIGTERM") is True
    assert daemon.process.wait(10) == 0
    daemon.check_log()


def test_it_ends_amid_calls(tmp_path):
    """Calls in progress are answered, waiting ones told, later ones refused; nothing is left behind."""
    for _ in range(5):
        daemon = Daemon(tmp_path).start()
        daemon.transport()
        with Raw(daemon.socket) as raw, Raw(daemon.socket) as waiting:
            waiting.send(request("bdev_get_bdevs", 1, name="never", timeout=60000))
            assert waiting.call("log_get_level", 2)["id"] == 2
            raw.send("".join(request("nvmf_create_subsystem", i, nqn=f"nqn.2016-06.io.gantry:{i}") for i in range(40)) +
                     "".join(request("gantry_get_wakeups", i) for i in range(20)))
            daemon.process.send_signal(signal.SIGTERM)
            assert "error" in waiting.answer()
            assert daemon.process.wait(10) == 0
        daemon.check_log()


def test_the_limit_of_descriptors_is_raised(daemon):
    for line in open(f"/proc/{daemon.pid}/limits"):
        if line.startswith("Max open files"):
            soft, hard = line.split()[3:5]
            assert soft == hard


def test_it_is_small(daemon):
    """How soon it is there is in bench/."""
    assert sanitized(daemon) or daemon.rss_kib() < 32 << 10


@pytest.mark.parametrize("args,status,sentence", [
    (["--mode", "fast"], 2, '"fast" is not one of: adaptive, poll, interrupt'),
    (["--memory", "lots"], 2, '"lots" is not a size'),
    (["-m", "0x0"], 1, ""),
    (["-c", "/no/such/file"], 1, "/no/such/file cannot be opened: No such file"),
    (["--vhost-group", "none such"], 1, "there is no group 'none such'"),
    (["-S", "/no/such"], 1, "--vhost-path: /no/such: No such file or directory; make that directory first"),
    (["-S", "/dev/null"], 1, "/dev/null is not a directory"),
    (["-S", "/proc/sys"], 1, "no socket can be made in /proc/sys: "),
    (["--state-dir", "/dev/null"], 1, "/dev/null cannot be opened"),
    (["disk"], 2, '"disk" is not an option'),
    (["--frobnicate"], 2, "unrecognized option"),
])
def test_wrong_options_are_explained(tmp_path, args, status, sentence):
    done = run("-r", tmp_path / "s", *args)
    assert done.returncode == status, done.stderr
    assert sentence in done.stderr


def test_options_of_spdk_without_a_meaning_are_said(tmp_path):
    with Daemon(tmp_path, "-u", "-g", "--no-huge", "-s", "512", "--iova-mode", "va") as daemon:
        log = daemon.log()
        for name in ("no-pci", "single-file-segments", "no-huge", "iova-mode"):
            assert log.count(f"--{name} is accepted and has no effect") == 1
        assert daemon.rpc("framework_get_memory")["budget_bytes"] == 512 << 20


def test_help_and_version():
    assert "--cpumask" in run("--help").stdout
    assert run("--version").stdout.startswith("gantryd ")
    assert run("-v").stdout == run("--version").stdout
    assert run("-h").stdout == run("--help").stdout


def test_log_level(tmp_path):
    with Daemon(tmp_path, "-L", "debug") as daemon:
        assert daemon.rpc("log_get_level") == "DEBUG"
        assert daemon.rpc("log_set_level", level="warn") is True
        assert daemon.rpc("log_get_print_level") == "WARNING"
        wait_until(lambda: os.path.getsize(daemon.log_path) > 0, "the log")


def debug_lines(daemon, after=0):
    """Of the log, as (part, rest), from a line on; and how many lines there are."""
    lines = daemon.log_tail(100000).splitlines()
    return [line.split("DEBUG: ", 1)[1] for line in lines[after:] if "DEBUG: " in line], len(lines)


def test_flags_choose_whose_debug_lines_are_written(daemon):
    """A person looks for one thing, and must find it."""
    flags = daemon.rpc("log_get_flags")
    assert not any(flags.values()) and {"all", "rpc", "nvmf", "nvmf_tcp", "bdev", "bdev_nvme"} <= set(flags)

    def seen(*on):
        _, at = debug_lines(daemon)
        for flag in on:
            assert daemon.rpc("log_set_flag", flag=flag) is True
        served = daemon.serve(daemon.malloc("disk"))
        Host(served.port, served.nqn).close()
        daemon.rpc("nvmf_delete_subsystem", nqn=served.nqn)
        daemon.rpc("bdev_malloc_delete", name="disk")
        for flag in on:
            daemon.rpc("log_clear_flag", flag=flag)
        return {line.split(":")[0] for line in debug_lines(daemon, at)[0]}
    assert seen() == set()
    assert seen("bdev") == {"bdev"}
    assert seen("NVMF_TCP") == {"NVMe/TCP"}
    assert seen("nvmf", "rpc") == {"nvmf", "rpc"}
    assert {"nvmf", "NVMe/TCP", "rpc", "bdev"} < seen("all")
    assert seen("ftl_core") == set() and "there is no log flag ftl_core" in daemon.log_tail()
    daemon.rpc("log_set_flag", flag="all")
    daemon.rpc("log_clear_flag", flag="rpc")
    flags = daemon.rpc("log_get_flags")
    assert flags["bdev"] and not flags["rpc"] and not flags["all"]


def test_flags_of_the_command_line(tmp_path):
    with Daemon(tmp_path, "-L", "bdev", "-L", "no_such_part") as daemon:
        daemon.malloc("disk", mib=1)
        lines, _ = debug_lines(daemon)
        assert lines and all(line.startswith("bdev: ") for line in lines)
        assert "--logflag is accepted and has no effect" in daemon.log_tail()
