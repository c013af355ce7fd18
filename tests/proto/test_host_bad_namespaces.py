# SPDX-License-Identifier: BSD-3-Clause
"""Namespaces of a remote subsystem that come, go and grow: the daemon's disks do so, too, and I/O to others goes on."""
import os

import pytest

import bad_ways as ways
from attached import PATIENCE_S, attach, controllers, detach, disk_of, disks_of, gateway, refused, where, works
from bad_target import BadTarget, Disks, Namespace
from gantry import RpcError, wait_until
from nvme_tcp import INVALID_FIELD, IO_READ, Ended, must, rw


@pytest.fixture
def target():
    with BadTarget() as running:
        yield running


def test_all_are_disks(daemon):
    disks = Disks({1: Namespace(), 7: Namespace(mib=2, lbads=12), 300: Namespace(mib=3)})
    with BadTarget(disks) as target:
        names = daemon.rpc("bdev_nvme_attach_controller", name="r", **where(target))
        assert names == ["rn1", "rn7", "rn300"]
        sizes = {n: (disk_of(daemon, n)["block_size"], disk_of(daemon, n)["num_blocks"]) for n in names}
        assert sizes == {"rn1": (512, 2048), "rn7": (4096, 512), "rn300": (512, 6144)}
        detach(daemon)
        assert not disks_of(daemon) and not controllers(daemon)


def test_uuid_is_the_namespace_s(daemon, target):
    """Whoever finds disks by their UUID would not find them through the daemon."""
    disk = attach(daemon, target)
    assert disk_of(daemon, disk)["uuid"].replace("-", "") == target.disks.namespaces[1].uuid.hex()


def test_comes(daemon, target):
    attach(daemon, target)
    target.disks.namespaces[2] = Namespace()
    target.namespaces_changed(2)
    wait_until(lambda: disks_of(daemon) == ["rn1", "rn2"], "the second disk", PATIENCE_S)
    with gateway(daemon, "rn2") as host:
        works(host)


def test_goes(daemon, target):
    """A disk that is not there any more would be offered for ever."""
    target.disks.namespaces[2] = Namespace()
    attach(daemon, target)
    with gateway(daemon, "rn1") as host, gateway(daemon, "rn2") as loser:
        works(loser)
        del target.disks.namespaces[2]
        target.namespaces_changed(2)
        wait_until(lambda: disks_of(daemon) == ["rn1"], "the disk to go", PATIENCE_S)
        works(host)
    assert target.seen["connect"] == 1


def test_goes_under_io(daemon, target):
    """I/O that is out when its disk goes must end when its time is over, not hang."""
    daemon.rpc("bdev_nvme_set_options", timeout_us=1000000, action_on_timeout="reset")
    target.disks.namespaces[2] = Namespace()
    attach(daemon, target)
    with gateway(daemon, "rn2") as host:
        works(host)
        target.on("io", ways.ignore)
        cid = host.io.submit(rw(IO_READ, 0, 8), expect=4096)
        wait_until(lambda: target.seen["ignored"], "the read to be out", PATIENCE_S)
        del target.disks.namespaces[2]
        target.good()
        target.namespaces_changed(2)
        wait_until(lambda: disks_of(daemon) == ["rn1"], "the disk to go", PATIENCE_S)
        try:
            assert host.io.wait(cid).status
        except (OSError, Ended):
            pass                        # its subsystem may have lost it first


def test_grows(daemon, target):
    disk = attach(daemon, target)
    with gateway(daemon, disk) as host:
        target.disks.namespaces[1].resize(4)
        target.namespaces_changed(1)
        wait_until(lambda: disk_of(daemon, disk)["num_blocks"] == 8192, "the disk to grow", PATIENCE_S)
        data = os.urandom(512)
        must(host.io.write(8191, data))
        assert host.io.read(8191, 1) == data
    assert target.seen["connect"] == 1


def test_event_while_nobody_listens(daemon, target):
    """What changed while the connection was away is found when it is back."""
    attach(daemon, target, reconnect_delay_sec=1, ctrlr_loss_timeout_sec=-1)
    target.stop()
    target.disks.namespaces[2] = Namespace()
    target.disks.namespaces[1].resize(4)
    target.start()
    wait_until(lambda: disks_of(daemon) == ["rn1", "rn2"], "the second disk", PATIENCE_S)
    wait_until(lambda: disk_of(daemon, "rn1")["num_blocks"] == 8192, "the disk to grow", PATIENCE_S)


def test_what_it_likes_best_is_told(daemon, target):
    """Granularity and optimal size of writes reach whoever looks at the disk."""
    target.on("identify_ns", ways.patch(("<B", 24, 0x10), ("<H", 64, 7), ("<H", 66, 7), ("<H", 72, 15)))
    disk = disk_of(daemon, attach(daemon, target))
    of_target = disk["driver_specific"]["nvme"][0]["ns_data"]
    assert (of_target["preferred_write_granularity"], of_target["optimal_write_size"]) == (8, 16)
    assert (disk["preferred_write_granularity"], disk["optimal_write_size"]) == (8, 16)


def test_none(daemon):
    """A subsystem may be attached before it has anything to offer."""
    with BadTarget(Disks({})) as target:
        attach(daemon, target)
        assert not disks_of(daemon) and len(controllers(daemon)) == 1
        assert "no namespace" in controllers(daemon)[0]["note"]
        for _ in range(3):
            seen = target.seen["ns_list"]
            target.namespaces_changed(1)
            wait_until(lambda: target.seen["ns_list"] > seen, "a look", PATIENCE_S)      # pylint: disable=W0640
        assert daemon.log().count("no namespace for this host") == 1    # said when it changes, not at each look
        target.disks.namespaces[1] = Namespace()
        target.namespaces_changed(1)
        wait_until(lambda: disks_of(daemon) == ["rn1"], "the first disk", PATIENCE_S)
        assert "note" not in controllers(daemon)[0]


def test_list_with_a_namespace_twice(daemon, target):
    nsids = b"".join(n.to_bytes(4, "little") for n in (1, 1, 1)).ljust(4096, b"\0")
    target.on("ns_list", ways.data(nsids))
    try:
        attach(daemon, target)
    except RpcError:                    # a refusal is as good
        assert not disks_of(daemon)
    else:
        assert disks_of(daemon) == ["rn1"]


@pytest.mark.parametrize("offset, fmt, value", [(0, "<Q", 0), (0, "<Q", (1 << 64) - 1), (130, "<B", 0), (130, "<B", 8),
                                                (130, "<B", 32), (130, "<B", 255), (26, "<B", 0x0f)])
def test_namespace_that_lies(daemon, target, offset, fmt, value):
    """Sizes no disk can have: no disk comes of it, the others do."""
    target.disks.namespaces[2] = Namespace()
    target.on("identify_ns", ways.patch((fmt, offset, value)), times=1)
    attach(daemon, target)
    wait_until(lambda: "rn2" in disks_of(daemon), "the good namespace", PATIENCE_S)
    with gateway(daemon, "rn2") as host:
        works(host)


def test_namespace_that_is_not_told(daemon, target):
    """One that cannot be identified is left out, the others are there; and it comes when it can."""
    target.disks.namespaces[2] = Namespace()
    target.on("identify_ns", ways.status(INVALID_FIELD, dnr=True), times=1)
    attach(daemon, target)
    wait_until(lambda: disks_of(daemon) == ["rn2"], "the good namespace", PATIENCE_S)
    target.namespaces_changed(1)
    wait_until(lambda: disks_of(daemon) == ["rn1", "rn2"], "the other one", PATIENCE_S)


def test_another_block_size_is_another_disk(daemon, target):
    """Blocks that change under a disk would be read at wrong places."""
    disk = attach(daemon, target)
    with gateway(daemon, disk) as host:
        works(host)
        target.disks.namespaces[1].lbads = 12
        target.namespaces_changed(1)
        wait_until(lambda: disk_of_or_none(daemon, disk) in (None, 4096), "the disk to go or to change", PATIENCE_S)


def disk_of_or_none(daemon, disk):
    return disk_of(daemon, disk)["block_size"] if disk in disks_of(daemon) else None


def test_same_name_twice(daemon, target):
    """One name for two subsystems would mix up their disks."""
    attach(daemon, target)
    with BadTarget(Disks(nqn="nqn.2016-06.io.gantry:other")) as other:
        said, _ = refused(daemon, other)
        assert "r" in said and len(said) > 20, said
    assert disks_of(daemon) == ["rn1"]
