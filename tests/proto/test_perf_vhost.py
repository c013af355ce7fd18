# SPDX-License-Identifier: BSD-3-Clause
"""gantry-perf over vhost-user: loads, verifies, and ends with a reason when there is no server."""
import json
import subprocess

import pytest

from gantry import BUILD, cpus
from vhost_servers import servers

QUICK = ("-d", "400", "--json")


def command(*sockets, more=QUICK, q=8, o="4k"):
    return [str(BUILD / "gantry-perf"), *(word for s in sockets for word in ("--vhost", str(s))), "-q", str(q), "-o", o,
            "-w", "randrw", "-M", "50", *more]


def run(*sockets, **options):
    return subprocess.run(command(*sockets, **options), capture_output=True, text=True, timeout=120)


@pytest.fixture(params=servers(), ids=lambda s: s.name)
def server(request, tmp_path):
    with request.param(tmp_path, 64, queues=2) as running:
        yield running


@pytest.mark.parametrize("options", [{}, {"o": "64k"}, {"q": 300}, {"more": ("-c", cpus(2))}, {"more": ("--packed",)},
                                     {"more": ("--mode", "interrupt")}], ids=str)
def test_what_was_written_is_read(server, options):
    """Data lost or torn on the way; more in flight than a queue takes; two queues; wake-ups lost."""
    if "packed" in server.lacks and "--packed" in options.get("more", ()):
        pytest.skip("it has no packed rings")
    done = run(server.path, **{**options, "more": ("--verify", *QUICK, *options.get("more", ()))})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ios"] and not result["errors"] and not result["miscompares"], done.stderr


@pytest.mark.parametrize("more, words", [(("-P", "2"), "one queue"),
                                         (("--iscsi", "iscsi://127.0.0.1/a/0"), "one of them"),
                                         ((), "vhost.nobody")], ids=["queues", "two kinds", "no server"])
def test_says_what_is_wrong(tmp_path, more, words):
    """A run that cannot be, ended without a reason, or never."""
    done = run(tmp_path / "vhost.nobody", more=(*QUICK, *more))
    assert done.returncode and words in done.stderr, done.stderr
