# SPDX-License-Identifier: BSD-3-Clause
"""Injected errors arrive at the host as what they are; what is kept back ends, whoever ends it."""
import pytest

from gantry import RpcError, wait_until
from nvme_tcp import ABORTED, ADMIN_ABORT, IO_READ, IO_WRITE, OK, Host, must, rw, sqe

INTERNAL, READ_ERROR, WRITE_ERROR, CAP_EXCEEDED, INTERRUPTED, INVALID_NS = 0x006, 0x281, 0x280, 0x081, 0x021, 0x00b


@pytest.fixture
def faulty(daemon):
    daemon.malloc("m", mib=4)
    assert daemon.rpc("bdev_error_create", base_name="m") is True
    return daemon.serve("EE_m")


@pytest.fixture
def host(faulty):
    with Host(faulty.port, faulty.nqn, io_queues=2) as connected:
        yield connected


def inject(daemon, io_type, error_type, **more):
    assert daemon.rpc("bdev_error_inject_error", name="EE_m", io_type=io_type, error_type=error_type, **more) is True


def read_status(host, lba=0, blocks=8):
    return host.io.command(rw(IO_READ, lba, blocks), expect=blocks * 512).status


def test_errors_are_what_they_were_asked_to_be(daemon, host):
    for params, read, write in (
            (dict(error_type="failure"), INTERNAL, INTERNAL),
            (dict(error_type="failure", status="MEDIA_ERROR"), READ_ERROR, WRITE_ERROR),
            (dict(error_type="failure", status="NO_SPACE"), CAP_EXCEEDED, CAP_EXCEEDED),
            (dict(error_type="nvme_failure", nvme_sct=2, nvme_sc=0x81), READ_ERROR, WRITE_ERROR),
            (dict(error_type="nomem"), INTERRUPTED, INTERRUPTED)):
        inject(daemon, "all", num=2, **params)
        assert read_status(host) == read
        assert host.io.write(0, bytes(512)).status == write
        assert read_status(host) == OK
    inject(daemon, "read", "failure", num=1000)
    assert read_status(host) == INTERNAL
    inject(daemon, "clear", "failure")
    assert read_status(host) == OK


def test_bad_blocks(daemon, host):
    inject(daemon, "read", "failure", status="MEDIA_ERROR", offset_blocks=100, num_blocks=2, num=1000)
    inject(daemon, "read", "failure", status="MEDIA_ERROR", offset_blocks=300, num_blocks=1, num=1000)
    for lba, blocks, status in ((92, 8, OK), (93, 8, READ_ERROR), (101, 8, READ_ERROR), (102, 8, OK),
                                (299, 3, READ_ERROR)):
        assert read_status(host, lba, blocks) == status
        assert host.io.write(lba, bytes(blocks * 512)).status == OK


def test_a_wrong_byte(daemon, host):
    data = bytes(range(256)) * 16
    inject(daemon, "write", "corrupt_data", corrupt_offset=1000, corrupt_value=255)
    must(host.io.write(0, data))
    wrong = bytearray(data)
    wrong[1000] ^= 255
    assert host.io.read(0, 8) == bytes(wrong)
    inject(daemon, "read", "corrupt_data", corrupt_offset=1000, corrupt_value=255)
    assert host.io.read(0, 8) == data
    assert host.io.read(0, 8) == bytes(wrong)


def kept(daemon, host, queue=0):
    """A read that gets no answer, behind which the queue goes on."""
    inject(daemon, "read", "pending")
    cid = host.ios[queue].submit(rw(IO_READ, 0, 8), expect=4096)
    must(host.ios[queue].write(0, bytes(512)))
    return cid


def test_what_is_kept_goes_on(daemon, host):
    cids = [kept(daemon, host, queue) for queue in (0, 1)]
    assert daemon.rpc("bdev_error_resume_pending", name="EE_m") is True
    for queue, cid in enumerate(cids):
        assert host.ios[queue].wait(cid).status == OK


def test_what_is_kept_is_aborted_by_its_host(daemon, host):
    cid = kept(daemon, host)
    answer = must(host.admin.command(sqe(ADMIN_ABORT, cdw10=1 | cid << 16)))
    assert answer.value & 1 == 0
    assert host.io.wait(cid).status == ABORTED


def test_a_host_that_goes_leaves_nothing_behind(daemon, faulty):
    with Host(faulty.port, faulty.nqn) as host:
        kept(daemon, host)
    wait_until(lambda: not daemon.rpc("nvmf_subsystem_get_controllers", nqn=faulty.nqn), "the controller is gone")
    with Host(faulty.port, faulty.nqn) as host:
        must(host.io.write(0, bytes(512)))


@pytest.mark.parametrize("method,name", [("bdev_malloc_delete", "m"), ("bdev_error_delete", "EE_m")])
def test_the_end_of_a_device_ends_what_it_keeps(daemon, host, method, name):
    cids = [kept(daemon, host, queue) for queue in (0, 1)]
    assert daemon.rpc(method, name=name) is True
    for queue, cid in enumerate(cids):
        assert host.ios[queue].wait(cid).status == INVALID_NS


def test_a_tower_over_it_is_let_go_too(daemon):
    """The device on top is removed while the one in the middle keeps an I/O: it must be fetched back from there."""
    daemon.malloc("m", mib=4)
    daemon.rpc("bdev_error_create", base_name="m")
    daemon.rpc("bdev_passthru_create", base_bdev_name="EE_m", name="p")
    served = daemon.serve("p")
    with Host(served.port, served.nqn) as host:
        cid = kept(daemon, host)
        assert daemon.rpc("bdev_passthru_delete", name="p") is True
        assert host.io.wait(cid).status == INVALID_NS
    assert {b["name"] for b in daemon.rpc("bdev_get_bdevs")} == {"m", "EE_m"}


def test_it_stops_with_io_kept(daemon, host):
    kept(daemon, host)
    daemon.stop()
    daemon.start()


@pytest.mark.parametrize("params,code,sentence", [
    (dict(name="m", error_type="failure"), -22, "not an error device"),
    (dict(name="EE_x", error_type="failure"), -19, "no error device 'EE_x'"),
    (dict(name="EE_late", error_type="failure"), -19, "waits for its base"),
    (dict(error_type="corrupt_data"), -22, "corrupt_value: XOR with 0 changes nothing"),
    (dict(error_type="corrupt_data", io_type="flush", corrupt_value=1), -22, "only the data of read and write"),
    (dict(error_type="nvme_failure"), -22, "nvme_sct, nvme_sc: "),
    (dict(error_type="failure", nvme_sc=1), -22, "belong to error_type nvme_failure"),
    (dict(error_type="nvme_failure", nvme_sct=3, nvme_sc=1), -22, "no device here ends an I/O with 3/0x01"),
    (dict(error_type="failure", status="OK"), -22, "OK is no failure"),
    (dict(error_type="failure", status="MAYBE"), -32602, "status"),
    (dict(error_type="pending", status="FAILED"), -22, "with error_type failure only"),
    (dict(error_type="failure", offset_blocks=7), -22, "num_blocks"),
    (dict(error_type="failure", offset_blocks=1 << 40, num_blocks=1), -22, "has 8192 blocks"),
    (dict(error_type="failure", io_type="sometimes"), -32602, "io_type"),
])
def test_what_is_wrong_is_said(daemon, params, code, sentence):
    daemon.malloc("m", mib=4)
    daemon.rpc("bdev_error_create", base_name="m")
    daemon.rpc("bdev_error_create", base_name="late")
    with pytest.raises(RpcError) as error:
        daemon.rpc("bdev_error_inject_error", **{"name": "EE_m", "io_type": "read", **params})
    assert error.value.code == code
    assert sentence in error.value.message


def test_rules_stay_when_the_base_goes_and_comes(daemon):
    daemon.malloc("m", mib=4)
    daemon.rpc("bdev_error_create", base_name="m")
    inject(daemon, "all", "failure", status="MEDIA_ERROR", num=1000)
    inject(daemon, "write", "failure", num=0)
    inject(daemon, "read", "failure", status="MEDIA_ERROR", offset_blocks=100, num_blocks=1, num=1)
    saved = [e for e in daemon.rpc("save_subsystem_config", name="bdev")["config"] if "inject" in e["method"]]
    assert [(e["params"]["io_type"], e["params"]["num"]) for e in saved] == [("all", 1000), ("write", 0), ("read", 1)]
    daemon.rpc("bdev_malloc_delete", name="m")
    daemon.malloc("m", mib=4)
    served = daemon.serve("EE_m")
    with Host(served.port, served.nqn) as host:
        assert read_status(host) == READ_ERROR
        must(host.io.write(0, bytes(512)))
    assert [e for e in daemon.rpc("save_subsystem_config", name="bdev")["config"] if "inject" in e["method"]] == saved
