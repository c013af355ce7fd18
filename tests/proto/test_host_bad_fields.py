# SPDX-License-Identifier: BSD-3-Clause
"""Targets that say unusual things of themselves, true and false: what is allowed works, what is not leads nowhere."""
import os

import pytest

import bad_ways as ways
from attached import attach, controllers, detach, disk_of, disks_of, gateway, in_parallel
from bad_scripts import HARMLESS
from bad_target import BadTarget
from gantry import Daemon, cpus
from nvme_tcp import must

SIZES = (512, 4096, 65536, 131072)


def uses(daemon, disk, sizes=SIZES, **host):
    """Writes and reads of all sizes, in a row and beside each other."""
    block = disk_of(daemon, disk)["block_size"]
    with gateway(daemon, disk, **host) as connected:
        for n, io in enumerate(connected.ios):
            for size in [s for s in sizes if s >= block]:
                data = os.urandom(size)
                must(io.write(n * 8, data, block, in_capsule=size <= 4096))
                assert io.read(n * 8, size // block, block) == data, f"{size} bytes"


def run(daemon, script, name, **options):
    with script.target() as target:
        uses(daemon, attach(daemon, target, name, **options))
        detach(daemon, name)
        assert not target.failures, target.failures


@pytest.mark.parametrize("digests", [{}, {"hdgst": True, "ddgst": True}], ids=["plain", "digests"])
def test_what_is_allowed_works(daemon, digests):
    daemon.transport()
    results = in_parallel(lambda n: run(daemon, HARMLESS[n], f"r{n}", **digests), len(HARMLESS))
    failures = {s.name: r for s, r in zip(HARMLESS, results) if r is not None}
    assert not failures, failures


def test_fewer_queues_than_cores(tmp_path):
    """Cores without a queue of their own must not go without the disk."""
    with Daemon(tmp_path, "-m", cpus(2)) as daemon, BadTarget(queues=1) as target:
        uses(daemon, attach(daemon, target), io_queues=4)
        assert target.seen["connect_io"] == 1


def test_wrong_data_digest_is_read_again(daemon):
    """Wrong data would be taken for right."""
    with BadTarget() as target:
        disk = attach(daemon, target, hdgst=True, ddgst=True)
        target.on("read", ways.bad_data_digest, times=2)
        uses(daemon, disk)


@pytest.mark.parametrize("fmt, offset, value", [
    ("<B", 77, 20), ("<B", 77, 255),                                 # MDTS
    ("<I", 1792, 0), ("<I", 1792, 3), ("<I", 1792, 0xffffffff),      # IOCCSZ
    ("<H", 1800, 0xffff), ("<B", 1803, 0),                           # ICDOFF, MSDBD
    ("<B", 259, 255), ("<B", 259, 0),                                # AERL
    ("<H", 320, 0xffff), ("<H", 320, 0),                             # KAS
    ("<I", 516, 0), ("<I", 516, 0xffffffff), ("<I", 540, 0xffffffff),  # NN, MNAN
    ("<I", 344, 0xffffffff), ("<I", 348, 0xffffffff), ("<I", 348, 0),  # ANAGRPMAX, NANAGRPID
    ("<B", 342, 0), ("<B", 342, 255), ("<B", 343, 0xff),             # ANATT, ANACAP
    ("<H", 128, 0xffff), ("<I", 536, 0), ("<B", 525, 0xff), ("<H", 520, 0xffff), ("<B", 111, 0xff),
], ids=str)
def test_identify_controller_that_lies(daemon, fmt, offset, value):
    """It is attached, and works, or it is not; the daemon stays well, and the next one is served."""
    with BadTarget() as target:
        target.on("identify_ctrl", ways.patch((fmt, offset, value)))
        try:
            disk = attach(daemon, target)
        except Exception as refused:     # pylint: disable=broad-except
            assert len(str(refused)) > 40, refused
        else:
            if disk:
                uses(daemon, disk, (4096,))
            detach(daemon)
        target.good()
        uses(daemon, attach(daemon, target, "good"), (4096,))
        detach(daemon, "good")
    assert not controllers(daemon) and not disks_of(daemon)


@pytest.mark.parametrize("log", [b"", b"\xff" * 4096, bytes(16) + b"\xff" * 4080,
                                 bytes(8) + b"\xff\xff" + bytes(4086), bytes(8) + b"\1" + bytes(7) + b"\xff" * 32],
                         ids=["nothing", "ones", "groups of ones", "65535 groups", "a group of 4 G namespaces"])
def test_ana_log_that_lies(daemon, log):
    """Counts in it would lead beyond its end."""
    with BadTarget() as target:
        target.on("log_page", lambda conn, request: conn.reply(request, answer_with(log, request)))
        try:
            disk = attach(daemon, target)
        except Exception as refused:     # pylint: disable=broad-except
            assert len(str(refused)) > 40, refused
        else:
            assert disk in disks_of(daemon)
            detach(daemon)
    daemon.check_alive()


def answer_with(log, request):
    length = ((request.words[0] >> 16 | (request.words[1] & 0xffff) << 16) + 1) * 4
    offset = request.words[2]
    return ways.Answer(data=log[offset:offset + length].ljust(length, b"\0"))
