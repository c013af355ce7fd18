# SPDX-License-Identifier: BSD-3-Clause
"""The I/O queues of a remote controller, one a core: made while the admin queue logs in, and none that is refused takes
down those that work."""
import pytest

import bad_ways as ways
from attached import PATIENCE_S, attach, controllers, gateway, works
from bad_target import BadTarget
from gantry import Daemon, cpus, wait_until
from nvme_tcp import INVALID_FIELD

TWO_CORES = pytest.mark.skipif("," not in cpus(2), reason="one CPU")


@pytest.fixture
def two(tmp_path):
    with Daemon(tmp_path, "-m", cpus(2)) as daemon:
        yield daemon


def counter(daemon, name):
    return controllers(daemon)[0]["io"][name]


def writes_on_every_connection(host):
    for n, io in enumerate(host.ios):
        data = bytes([n + 1]) * 4096
        assert io.write(n * 8, data).status == 0
        assert io.read(n * 8, 8) == data


@TWO_CORES
def test_a_refused_queue_takes_nothing_down(two):
    """The target refuses queues of cores; they go by the one that it took (control's, which looked for partitions),
    until theirs are taken, too."""
    with BadTarget() as target:
        disk = attach(two, target)
        wait_until(lambda: controllers(two)[0]["queues"] == 1, "a queue", PATIENCE_S)
        target.on("connect_io", ways.status(INVALID_FIELD), times=3)
        with gateway(two, disk, io_queues=4) as host:
            writes_on_every_connection(host)
            wait_until(lambda: controllers(two)[0]["queues"] == 3, "the queues to be taken after all", PATIENCE_S)
            writes_on_every_connection(host)
        path = controllers(two)[0]
        assert path["io"]["refused"] == 3 and path["io"]["forwarded"] > 0 and path["io"]["ended"] == 0, path
        assert path["connected"] == 1 and set(path["ended_by"]) == {"login_refused"}, path
        assert target.seen["connect_io"] == 6
        assert "goes by another one's queue" in two.log()


def test_all_queues_refused_is_a_lost_path(daemon):
    """From the first on, which looks for partitions: no core has another one's to go by."""
    with BadTarget() as target:
        target.on("connect_io", ways.status(INVALID_FIELD), times=4)
        disk = attach(daemon, target, reconnect_delay_sec=1, ctrlr_loss_timeout_sec=-1)
        with gateway(daemon, disk) as host:
            works(host)
        path = controllers(daemon)[0]
        assert path["connected"] >= 2 and path["ended_by"]["login_refused"] >= 1, path


def test_connections_are_made_while_it_logs_in(daemon):
    """When the controller is ready again its I/O queues only have to log in."""
    with BadTarget() as target:
        disk = attach(daemon, target)
        with gateway(daemon, disk) as host:
            works(host)
            assert counter(daemon, "early") == 0        # nobody used it when it was attached
            before = target.seen["icresp"]

            def when_the_other_is_there(conn, request):
                wait_until(lambda: target.seen["icresp"] >= before + 2, "the I/O connection", PATIENCE_S)
                conn.do_right(request)

            target.on("cap", when_the_other_is_there)
            target.drop_all()
            works(host)
        assert counter(daemon, "early") >= 1 and controllers(daemon)[0]["connected"] == 2


def test_an_attempt_that_fails_leaves_no_connection(daemon):
    with BadTarget() as target:
        disk = attach(daemon, target, reconnect_delay_sec=1, ctrlr_loss_timeout_sec=-1)
        with gateway(daemon, disk) as host:
            works(host)
            target.on("identify_ctrl", ways.status(INVALID_FIELD), times=2)
            target.drop_all()
            works(host)
            wait_until(lambda: len(target.connections) == 1 + controllers(daemon)[0]["queues"], "no other connection",
                       PATIENCE_S)


@TWO_CORES
def test_warm_connections(two):
    two.rpc("bdev_nvme_set_options", warm_connections=True)
    with BadTarget() as target:
        disk = attach(two, target)
        wait_until(lambda: target.seen["icresp"] >= 4, "a connection of each core", PATIENCE_S)
        # control's: it looks for partitions
        wait_until(lambda: target.seen["connect_io"] == 1, "a queue that is used", PATIENCE_S)
        accepted = target.seen["accept"]
        with gateway(two, disk, io_queues=4) as host:
            writes_on_every_connection(host)
        wait_until(lambda: counter(two, "opened") == 3, "all", PATIENCE_S)
        assert target.seen["connect_io"] == 3 and target.seen["accept"] == accepted
