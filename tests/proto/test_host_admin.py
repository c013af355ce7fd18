# SPDX-License-Identifier: BSD-3-Clause
"""Single commands to a remote controller, and faults on request."""
import base64
import struct
import uuid

import pytest

from gantry import RpcError
from nvme_tcp import IO_READ, IO_WRITE, Host, must, rw, sqe
from remote import attach, paths


def send(daemon, command, kind="admin", direction="c2h", **more):
    answer = daemon.rpc("bdev_nvme_send_cmd", name="Nvme0", cmd_type=kind, data_direction=direction,
                        cmdbuf=base64.urlsafe_b64encode(command).decode(), **more)
    cpl = base64.urlsafe_b64decode(answer["cpl"])
    return struct.unpack_from("<H", cpl, 14)[0] >> 1 & 0x7ff, base64.urlsafe_b64decode(answer.get("data", ""))


def test_any_command(daemon, target):
    attach(daemon, target.export())
    status, data = send(daemon, sqe(6, cdw10=1), data_len=4096)            # Identify controller
    assert status == 0 and data[24:64].strip() == b"Gantry bdev Controller"
    status, _ = send(daemon, sqe(6, 99, cdw10=0), data_len=4096)           # ... a namespace that is not there
    assert status != 0 or not any(_)
    text = base64.urlsafe_b64encode(b"q" * 512).decode()
    assert send(daemon, rw(IO_WRITE, 3, 1), "io", "h2c", data=text)[0] == 0
    assert send(daemon, rw(IO_READ, 3, 1), "io", data_len=512) == (0, b"q" * 512)
    with pytest.raises(RpcError, match="no command"):
        send(daemon, b"short")
    with pytest.raises(RpcError, match="there is no NVMe controller"):
        daemon.rpc("bdev_nvme_send_cmd", name="Nobody", cmd_type="io", data_direction="c2h", cmdbuf="AAAA")


def test_health(daemon, target):
    attach(daemon, target.export())
    health = daemon.rpc("bdev_nvme_get_controller_health_info", name="Nvme0")
    assert health["model_number"] == "Gantry bdev Controller" and health["critical_warning"] == 0
    target.kill()
    assert paths(daemon)


def test_faults_on_request(daemon, target):
    attach(daemon, target.export())
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
        daemon.rpc("bdev_nvme_add_error_injection", name="Nvme0", cmd_type="io", opc=IO_READ, err_count=100,
                   sct=2, sc=0x81)                                              # unrecovered read error
        assert host.io.command(rw(IO_READ, 0, 8), expect=4096).status != 0      # after it was tried several times
        daemon.rpc("bdev_nvme_remove_error_injection", name="Nvme0", cmd_type="io", opc=IO_READ)
        host.io.read(0, 8)
        daemon.rpc("bdev_nvme_add_error_injection", name="Nvme0", cmd_type="io", opc=IO_READ, err_count=100,
                   sct=2, sc=0x81, do_not_submit=True)
        assert host.io.command(rw(IO_READ, 0, 8), expect=4096).status != 0
        daemon.rpc("bdev_nvme_remove_error_injection", name="Nvme0", cmd_type="io", opc=IO_READ)
        host.io.read(0, 8)
    daemon.rpc("bdev_nvme_add_error_injection", name="Nvme0", cmd_type="admin", opc=6, sct=0, sc=6)
    assert send(daemon, sqe(6, cdw10=1), data_len=4096)[0] == 6
    assert send(daemon, sqe(6, cdw10=1), data_len=4096)[0] == 0


def test_counters_by_core(daemon, target):
    attach(daemon, target.export())
    gateway = daemon.serve("Nvme0n1")
    with Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
    groups = daemon.rpc("bdev_nvme_get_transport_statistics")["poll_groups"]
    assert sum(g["transports"][0]["nvme_completions"] for g in groups) >= 1
    stat = daemon.rpc("bdev_nvme_get_path_iostat", name="Nvme0n1")["stats"][0]["stat"]
    assert stat["num_write_ops"] == 1 and stat["bytes_written"] == 4096
    assert 0 < stat["min_write_latency_ticks"] == stat["max_write_latency_ticks"] == stat["write_latency_ticks"]
    assert stat["min_copy_latency_ticks"] == stat["num_copy_ops"] == stat["bytes_copied"] == 0


def reserve(conn, opcode, action, key=0, new=0, kind=0):
    """Reservation Register (0Dh), Acquire (11h) or Release (15h)."""
    return conn.command(sqe(opcode, 1, cdw10=action | kind << 8), data=struct.pack("<QQ", key, new)).status


def test_reserved_at_the_target(daemon, target):
    """What another host of the target has reserved is answered as such, and the daemon can register there itself."""
    served = target.export()
    attach(daemon, served)
    gateway = daemon.serve("Nvme0n1")
    with Host(served.port, served.nqn, hostnqn=f"nqn.2014-08.org.nvmexpress:uuid:{uuid.uuid4()}") as other, \
            Host(gateway.port, gateway.nqn) as host:
        must(host.io.write(0, bytes(4096)))
        assert reserve(other.io, 0x0d, 0, new=1) == 0
        assert reserve(other.io, 0x11, 0, key=1, kind=4) == 0                  # exclusive access, registrants only
        assert host.io.write(0, bytes(4096)).status == 0x83                    # Reservation Conflict
        assert host.io.command(rw(IO_READ, 0, 8), expect=4096).status == 0x83
        key = base64.urlsafe_b64encode(struct.pack("<QQ", 0, 2)).decode()
        assert send(daemon, sqe(0x0d, 1), "io", "h2c", data=key)[0] == 0       # now it is a registrant
        must(host.io.write(0, bytes(4096)))
        assert reserve(other.io, 0x15, 0, key=1, kind=4) == 0
        must(host.io.write(0, bytes(4096)))
