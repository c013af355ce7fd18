# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of every suite that talks to a daemon."""
import pytest

from gantry import Daemon, gantryd_path


@pytest.fixture
def daemon(tmp_path):
    """A running gantryd with nothing configured; the test fails if it does not live through it and end cleanly."""
    if not gantryd_path().exists():
        pytest.fail(f"{gantryd_path()} is not there: ninja -C build, or name another build with GANTRY_BUILD")
    with Daemon(tmp_path) as running:
        yield running
