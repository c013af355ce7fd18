# SPDX-License-Identifier: BSD-3-Clause
"""gantry-perf --disk: the load is the daemon's, on its own disks."""
import json
import subprocess

import pytest

from gantry import BUILD, Daemon, RpcError, cpus, wait_until


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path, "-m", cpus(2)) as running:
        yield running


def perf_command(daemon, *options):
    return [BUILD / "gantry-perf", "--socket", daemon.socket, *options]


def perf(daemon, *options, status=0):
    ran = subprocess.run(perf_command(daemon, *options), capture_output=True, text=True, timeout=120)
    assert ran.returncode == status, f"status {ran.returncode}: {ran.stdout}{ran.stderr}"
    return ran.stdout if status == 0 else ran.stdout + ran.stderr


def reads(daemon):
    return daemon.rpc("bdev_get_iostat", names=["disk0"])["bdevs"][0]["num_read_ops"]


def test_every_reactor_takes_part(daemon):
    """The figures would be of one core, or of other disks."""
    daemon.null("disk0")
    result = json.loads(perf(daemon, "--disk", "disk0", "-w", "randread", "-q", "8", "-o", "4k", "-d", "5000",
                             "--json"))
    assert result["workers"] == len(result["reactors"]) == len(json.loads(cpus(2)))
    assert [r["ios"] for r in result["reactors"]] == [5000] * result["workers"]
    assert result["ios"] == 5000 * result["workers"] and result["errors"] == 0 and result["pattern"] == "randread"
    us = result["latency_us"]
    assert 0 < us["min"] <= us["p50"] <= us["p99"] <= us["p99.99"] <= us["max"]
    assert 0 <= reads(daemon) - result["ios"] < 10, "besides, its partition table was looked for"

    one = json.loads(perf(daemon, "--disk", "disk0", "-w", "randread", "-q", "8", "-o", "4k", "-d", "100", "--json",
                          "-c", cpus(1)))
    assert one["workers"] == 1 and one["ios"] == 100
    text = perf(daemon, "--disk", "disk0", "-w", "write", "-q", "2", "-o", "64k", "-t", "1", "-L")
    assert "disk0 from core" in text and "Total" in text and "p99.9:" in text


def test_verify_reads_back_what_it_wrote(daemon):
    daemon.malloc("disk0", mib=32, block_size=4096)
    for pattern in ("randrw", "rw"):
        result = json.loads(perf(daemon, "--disk", "disk0", "-w", pattern, "-M", "40", "-q", "8", "-o", "16k",
                                 "-d", "600", "--verify", "--json"))
        assert result["errors"] == result["miscompares"] == 0 and result["ios"] >= 600, result


def test_verify_finds_a_disk_that_forgets(daemon):
    """A check that cannot fail proves nothing: a null disk reads zeroes."""
    daemon.null("disk0")
    said = perf(daemon, "--disk", "disk0", "-w", "randrw", "-M", "0", "-q", "4", "-o", "4k", "-d", "50", "--verify",
                status=1)
    assert "is not what was written last" in said


@pytest.mark.parametrize("interleaved", [True, False])
def test_protection_is_made_and_checked(daemon, interleaved):
    """Metadata are not the load's: blocks are as hosts see them who know of none."""
    daemon.rpc("bdev_malloc_create", name="base", num_blocks=4096, block_size=4096, md_size=8,
               md_interleave=interleaved, dif_type=1)
    daemon.rpc("bdev_error_create", base_name="base")
    load = {"name": "EE_base", "rw": "randrw", "rwmixread": 50, "qd": 4, "io_size": 16384, "time": 0,
            "number_ios": 200, "verify": True}
    for more in {}, {"rw": "write", "qd": 1, "number_ios": 8, "verify": False}:
        result = daemon.rpc("bdev_perf_start", **{**load, **more})
        assert result["errors"] == result["miscompares"] == 0, result
    daemon.rpc("bdev_error_inject_error", name="EE_base", io_type="read", error_type="corrupt_data", num=1,
               corrupt_offset=100, corrupt_value=1)
    result = daemon.rpc("bdev_perf_start", name="EE_base", rw="read", qd=1, io_size=16384, time=0, number_ios=8)
    assert result["errors"] == 1 and "guard" in result["first_error"].lower(), result


def test_errors_are_counted_and_the_first_is_told(daemon):
    daemon.null("disk0")
    daemon.rpc("bdev_error_create", base_name="disk0")
    daemon.rpc("bdev_error_inject_error", name="EE_disk0", io_type="read", error_type="failure", num=3)
    result = daemon.rpc("bdev_perf_start", name="EE_disk0", rw="read", qd=4, time=0, number_ios=100)
    assert result["errors"] == 3 and result["first_error"].startswith("LBA ") and result["miscompares"] == 0


def test_a_disk_that_is_served_is_not_written(daemon):
    """Somebody's data would be overwritten by a measurement."""
    daemon.serve(daemon.malloc("disk0"))
    said = perf(daemon, "--disk", "disk0", "-w", "randwrite", "-q", "1", "-o", "4k", "-d", "1", status=1)
    assert "disk0" in said and "NVMe-oF target" in said, said
    said = perf(daemon, "--disk", "disk0", "-w", "read", "-q", "1", "-o", "4k", "-d", "1", "--verify", status=1)
    assert "NVMe-oF target" in said
    perf(daemon, "--disk", "disk0", "-w", "randread", "-q", "1", "-o", "4k", "-d", "10")


def endless(daemon):
    process = subprocess.Popen(perf_command(daemon, "--disk", "disk0", "-w", "randread", "-q", "4", "-o", "4k", "-t",
                                            "3600"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: reads(daemon) > 100, "the load to begin")
    return process


def test_the_load_ends_with_its_caller(daemon):
    """A measurement that somebody gave up would go on for its hour."""
    daemon.null("disk0")
    process = endless(daemon)
    process.kill()
    process.communicate()

    def is_quiet():
        before = reads(daemon)
        return reads(daemon) == before

    wait_until(is_quiet, "the load to end")


@pytest.mark.parametrize("how", ["delete", "stop"])
def test_the_load_ends_with_the_disk_or_the_daemon(daemon, how):
    daemon.null("disk0")
    process = endless(daemon)
    if how == "delete":
        daemon.rpc("bdev_null_delete", name="disk0")
    else:
        daemon.stop()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and ("removed" if how == "delete" else "stopping") in said, said


def test_what_does_not_suit_is_refused(daemon):
    daemon.null("disk0", mib=1, block_size=4096)
    for params, words in (({"name": "nobody"}, "nobody"), ({"io_size": 512}, "blocks of 4096 bytes"),
                          ({"time": 0, "number_ios": 0}, "never end"), ({"cores": "[63]"}, "no reactor"),
                          ({"io_size": 2 << 20}, "too small"), ({"qd": 4096, "io_size": 1 << 20}, "MiB of memory")):
        with pytest.raises(RpcError, match=words):
            daemon.rpc("bdev_perf_start", **{"name": "disk0", "rw": "read", "number_ios": 1, **params})
    said = perf(daemon, "--disk", "disk0", "-w", "read", "-q", "1", "-o", "4k", "-t", "1", "-P", "2", status=64)
    assert "-P: not with --disk" in said
