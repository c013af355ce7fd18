# SPDX-License-Identifier: BSD-3-Clause
"""One guest for the whole run, booted again only when a test left it unwell; and a daemon of its own for each test."""
import os

import pytest

import guest as guests
from client import Client
from gantry import Daemon, cpus, gantryd_path
from newer_kernel import newer_kernel
from nvmet import FORWARDS, Target
from rdma_guest import GuestDaemon, RdmaGuest


def pytest_configure(config):
    config.addinivalue_line("markers", "long: is left out unless GANTRY_LONG is set: slow, and mostly said elsewhere")


def pytest_collection_modifyitems(config, items):
    if os.environ.get("GANTRY_LONG"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


class Clients:
    """Has the guest, if it is well."""

    def __init__(self, kernel, tmp_path_factory):
        self.kernel, self.tmp_path_factory, self.client = kernel, tmp_path_factory, None

    def boot(self):
        return Client(self.tmp_path_factory.mktemp("guest"), self.kernel, forwards=FORWARDS)

    def take(self):
        if self.client is None:
            self.client = self.boot()
        self.client.mark_console()
        return self.client

    def give(self):
        try:
            self.client.tidy()
        except guests.GuestError as problem:
            print(f"the guest is not well and will be booted again: {problem}")
            self.close()

    def close(self):
        if self.client:
            self.client.close()
        self.client = None


class RdmaClients(Clients):
    def boot(self):
        return RdmaGuest(self.tmp_path_factory.mktemp("rdma"))


def newest_of_each_series():
    return list({tuple(k.version[:2]): k for k in guests.kernels()}.values()) or [None]


@pytest.fixture(scope="session", params=newest_of_each_series(), ids=lambda k: f"linux-{k.release if k else None}")
def clients(request, tmp_path_factory):
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    clients = Clients(request.param, tmp_path_factory)
    yield clients
    clients.close()


@pytest.fixture(scope="session")
def newer_clients(tmp_path_factory):
    """The same with a kernel that is not this machine's own; a file of tests that wants it makes it its `clients`."""
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    kernel, why_not = newer_kernel()
    if why_not:
        pytest.skip(why_not)
    clients = Clients(kernel, tmp_path_factory)
    yield clients
    clients.close()


@pytest.fixture
def guest(clients, daemon):
    """The guest, with nothing connected. What its kernel said is shown when the test fails."""
    client = clients.take()
    yield client
    print(f"--- the guest's console\n{client.console_tail(60)}\n--- the daemon's log\n{daemon.log_tail(40)}")
    clients.give()


@pytest.fixture
def target(clients):
    """The guest's kernel as an NVMe target, with nothing exported."""
    guest = clients.take()
    try:
        yield Target(guest)
    finally:
        print(f"--- the guest's console\n{guest.console_tail(60)}")
        clients.give()


@pytest.fixture(scope="session")
def rdma_clients(tmp_path_factory):
    missing = guests.what_is_missing()
    if missing:
        pytest.fail(missing)
    clients = RdmaClients(None, tmp_path_factory)
    yield clients
    clients.close()


@pytest.fixture
def rdma(rdma_clients):
    """A guest with soft RoCE, with nothing connected."""
    client = rdma_clients.take()
    yield client
    print(f"--- the guest's console\n{client.console_tail(60)}")
    rdma_clients.give()


@pytest.fixture
def inside(rdma):
    """A gantryd in that guest."""
    with GuestDaemon(rdma) as running:
        yield running
        print(f"--- the daemon's log\n{running.log_tail(40)}")
        rdma.run("nvme disconnect-all")


@pytest.fixture
def daemon(tmp_path):
    """A gantryd on two cores, so that queues of one host live on both."""
    if not gantryd_path().exists():
        pytest.fail(f"{gantryd_path()} is not there: ninja -C build, or name another build with GANTRY_BUILD")
    with Daemon(tmp_path, "-m", cpus(2)) as running:
        yield running
