# SPDX-License-Identifier: BSD-3-Clause
"""What a Linux host asks before the first I/O."""
import json
import re

from guest import HOST


def test_discovery_shows_the_subsystem(guest, daemon):
    """`nvme discover` would not find what we serve."""
    served = daemon.serve(daemon.malloc("disk0"), ports=2)
    log = json.loads(guest.run(f"nvme discover -t tcp -a {HOST} -s {served.port} -o json"))
    found = {r["trsvcid"] for r in log["records"] if r["subnqn"] == served.nqn}
    assert found == {str(p) for p in served.ports}, f"ports of {served.nqn}: {log}"
    for record in log["records"]:
        assert record["trtype"] == "tcp" and record["adrfam"] == "ipv4" and record["traddr"] == "127.0.0.1"


def test_every_queue_asked_for_is_there(guest, daemon):
    """A host would get fewer I/O queues than it asked for, or queues that carry nothing."""
    served = daemon.serve(daemon.malloc("disk0"))
    disk = guest.connect(served, "-i 4 -W 1 -P 1")
    queues = guest.run(f"cat $(controllers_of {served.nqn})/queue_count; dmesg | grep 'I/O queues' | tail -1")
    # One CPU, one default queue; but write and poll queues are beside them.
    assert int(queues.split()[0]) >= 1 + 2 + 1 + 1, queues
    guest.run(f"for cpu in 0 1; do taskset -c $cpu dd if={disk} of=/dev/null bs=4k count=16 iflag=direct; "
              f"taskset -c $cpu dd if=/dev/zero of={disk} bs=4k count=16 oflag=direct; done")
    qpairs = daemon.rpc("nvmf_subsystem_get_qpairs", nqn=served.nqn)
    assert len(qpairs) == int(queues.split()[0]), qpairs


def test_identify_makes_sense(guest, daemon):
    """nvme-cli, udev rules and multipath tools would show nonsense or give disks unstable names."""
    served = daemon.serve(daemon.malloc("disk0", mib=64, block_size=4096,
                                        uuid="5c2f6b0e-62a7-4c6e-a3f8-0d5d5a6f1e11"), serial_number="SER0001")
    disk = guest.connect(served)
    ctrl = json.loads(guest.run("nvme id-ctrl /dev/nvme0 -o json"))
    assert ctrl["sn"].strip() == "SER0001" and ctrl["mn"].strip() and ctrl["fr"].strip()
    assert ctrl["subnqn"] == served.nqn and ctrl["cntlid"] != 0xffff
    assert ctrl["ioccsz"] * 16 >= 64 and ctrl["iorcsz"] == 1 and ctrl["sgls"] & 1, "capsule sizes, SGLs"
    assert ctrl["maxcmd"] >= 32 and ctrl["nn"] >= 1 and ctrl["kas"] > 0 and ctrl["oncs"] & 0xc == 0xc

    ns = json.loads(guest.run(f"nvme id-ns {disk} -o json"))
    assert ns["nsze"] == ns["ncap"] == 64 * 256 and ns["lbafs"][ns["flbas"] & 15]["ds"] == 12
    descs = guest.run(f"nvme ns-descs {disk}")
    assert "5c2f6b0e-62a7-4c6e-a3f8-0d5d5a6f1e11" in descs, descs
    name = guest.run(f"cat /sys/block/{disk[5:]}/wwid").strip()
    assert name == "uuid.5c2f6b0e-62a7-4c6e-a3f8-0d5d5a6f1e11"

    listed = json.loads(guest.run("nvme list -o json"))["Devices"]
    assert [(d["DevicePath"], d["PhysicalSize"], d["SectorSize"]) for d in listed] == [(disk, 64 << 20, 4096)]
    guest.run("for log in smart-log error-log fw-log effects-log; do nvme $log /dev/nvme0; done")


def test_host_finds_nothing_to_complain_of(guest, daemon):
    """The kernel would warn of us in its log with every connection: an answer it does not expect."""
    served = daemon.serve(daemon.malloc("disk0"))
    disk = guest.connect(served)
    guest.run(f"nvme io-passthru {disk} -o 2 -n 1 -l 512 -r; nvme flush {disk} -n 1; nvme disconnect -n {served.nqn}")
    wrong = r"fail|error|invalid|unable|warn|timeout|unsupported|bug|unusual"
    complaints = [line for line in guest.console_since_mark().splitlines()
                  if re.search(r"nvme", line) and re.search(wrong, line, re.IGNORECASE)
                  and "Shutdown timeout set to 10 seconds" not in line]   # what we say a shutdown may take
    assert not complaints, "\n".join(complaints)


def test_unknown_subsystem_is_refused_at_once(guest, daemon):
    """A mistyped NQN would make the host wait or try for ever instead of saying what is wrong."""
    served = daemon.serve(daemon.malloc("disk0"))
    job = guest.start(f"nvme_connect nqn.2016-06.io.gantry:mistyped {served.port}")
    output = job.wait(20, check=False)
    assert job.status != 0, output
    assert guest.connect(served)
