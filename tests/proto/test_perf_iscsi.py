# SPDX-License-Identifier: BSD-3-Clause
"""gantry-perf over iSCSI: loads, verifies, and ends with a reason whatever becomes of the target."""
import json
import subprocess

import pytest

from gantry import BUILD, wait_until
from iscsi import Chap, Session
from load import perf_begin, perf_ends, perf_ends_in_silence
from scrape import Metrics

QUICK = ("-d", "400", "--json")


@pytest.fixture
def exported(daemon):
    return daemon.export(daemon.malloc("disk0", mib=64), daemon.malloc("disk1", mib=64, block_size=4096))


def command(url, *more, q=8, o="4k", w="randrw"):
    mix = ("-M", "50") if w == "randrw" else ()
    return [str(BUILD / "gantry-perf"), "--iscsi", url, "-q", str(q), "-o", o, "-w", w, *mix, *(more or QUICK)]


def run(*arguments, **options):
    return subprocess.run(command(*arguments, **options), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("io_size, lun, digests", [("4k", 1, ("-H",)), ("512", 0, ("-H", "-I")), ("64k", 0, ("-I",)),
                                                   ("4k", 0, ()), ("1M", 0, ()), ("1M", 0, ("-H", "-I"))])
def test_what_was_written_is_read(exported, io_size, lun, digests):
    """The client or the target would lose or tear data, and the measurement be worth nothing."""
    done = run(exported.url(lun), "--verify", "-P", "2", *QUICK, *digests, o=io_size, q=4)
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["ios"] and not result["errors"] and not result["miscompares"], done.stderr


@pytest.mark.parametrize("options", [{"immediate_data": False}, {"initial_r2t": True, "first_burst_length": 512},
                                     {"max_burst_length": 4096, "first_burst_length": 4096,
                                      "max_recv_data_segment_length": 1024}],
                         ids=lambda options: next(iter(options)))
def test_as_the_target_wants_it(daemon, exported, options):
    """Data that has to be asked for, in small pieces."""
    daemon.rpc("iscsi_set_options", **options)
    done = run(exported.url(), "--verify", *QUICK, o="16k")
    result = json.loads(done.stdout)
    assert done.returncode == 0 and result["ios"] and not result["errors"] and not result["miscompares"], done.stderr


@pytest.mark.parametrize("first_burst, asked", [(262144, False), (65536, True)])
def test_what_was_agreed_on_goes_unasked(daemon, exported, first_burst, asked):
    """Writes would be asked for that Linux sends at once: the figures were another initiator's."""
    daemon.rpc("iscsi_set_options", first_burst_length=first_burst)
    done = run(exported.url(), *QUICK, o="256k", w="write", q=4)
    assert done.returncode == 0 and json.loads(done.stdout)["ios"], done.stderr
    events = Metrics(daemon.rpc("metrics_get"))
    assert bool(events.get("gantry_iscsi_transport_total", event="r2ts")) is asked


def test_more_than_the_window(daemon, exported):
    """Commands beyond the command window would be lost."""
    done = run(exported.url(), "-d", "4000", "--json", q=400, w="randread")
    assert done.returncode == 0 and not json.loads(done.stdout)["errors"], done.stderr


@pytest.mark.parametrize("change, words", [
    (lambda u: u.replace("test", "nobody"), "target not found"),
    (lambda u: u[:-1] + "9", "LUN 9"),
    (lambda u: u.replace("iscsi:", "http:"), "iscsi://[USER@]HOST"),
    (lambda u: u.split("/iqn")[0], "name is missing"),
    (lambda u: u.replace(u.split(":")[2].split("/")[0], "1"), "cannot connect"),
    (lambda u: u + "x", "LUN 0x"),
], ids=["target", "lun", "scheme", "no target", "port", "lun text"])
def test_what_is_wrong_is_said(exported, change, words):
    done = run(change(exported.url()))
    assert done.returncode != 0 and words in done.stderr, done.stderr


def test_wrong_size_is_a_sentence(exported):
    done = run(exported.url(1), o="512")
    assert done.returncode == 1 and "has blocks of" in done.stderr, done.stderr


def test_target_that_wants_chap(daemon, monkeypatch):
    daemon.rpc("iscsi_create_auth_group", tag=1, secrets=[{"user": "u", "secret": "secret-secret-1"}])
    exported = daemon.export(daemon.malloc("disk0", mib=16), disable_chap=False, require_chap=True, chap_group=1)
    Session(exported.port, exported.name, chap=Chap("u", "secret-secret-1")).close()
    done = run(exported.url())
    assert done.returncode == 1 and "authentication failure" in done.stderr, done.stderr
    assert "GANTRY_CHAP_SECRET" in done.stderr
    url = exported.url().replace("//", "//u@")
    done = run(url)
    assert done.returncode != 0 and "where is the secret of 'u'" in done.stderr, done.stderr
    monkeypatch.setenv("GANTRY_CHAP_SECRET", "secret-secret-2")
    done = run(url)
    assert done.returncode == 1 and "look at the user" in done.stderr, done.stderr
    monkeypatch.setenv("GANTRY_CHAP_SECRET", "secret-secret-1")
    done = run(url)
    assert done.returncode == 0, done.stderr
    daemon.rpc("iscsi_target_node_set_auth", name=exported.name, disable_chap=True)
    done = run(url)
    assert done.returncode == 1 and "leave it out" in done.stderr, done.stderr


def start(exported, *more):
    return perf_begin(command(exported.url(), "-t", "600", "--json", *more))


def wait_for_io(daemon):
    def ios():
        return daemon.rpc("bdev_get_iostat", names=["disk0"])["bdevs"][0]["num_read_ops"]
    wait_until(lambda: ios() > 100, "I/O")


def test_target_dies(daemon, exported):
    perf = start(exported)
    wait_for_io(daemon)
    daemon.kill()
    perf_ends(perf)


def test_target_falls_silent(daemon, exported):
    perf = start(exported, "--io-timeout", "1000")
    wait_for_io(daemon)
    perf_ends_in_silence(perf, daemon, "nothing was heard")


def test_session_that_is_taken_away(daemon, exported):
    """The target node is deleted under it."""
    perf = start(exported)
    wait_for_io(daemon)
    daemon.rpc("iscsi_delete_target_node", name=exported.name)
    perf_ends(perf)
