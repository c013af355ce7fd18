# SPDX-License-Identifier: BSD-3-Clause
"""What a controller tells of itself: lists, log pages and features, and that it does as it says."""
import os
import struct

from nvme_manual import check_table
from nvme_tcp import (ADMIN_ASYNC_EVENT, ADMIN_GET_FEATURES, ADMIN_GET_LOG_PAGE, ADMIN_IDENTIFY,
                      ADMIN_SET_FEATURES, CAP, DISCOVERY_NQN, FABRICS, FABRICS_PROPERTY_GET, FABRICS_PROPERTY_SET,
                      INVALID_FIELD, INVALID_NAMESPACE, INVALID_OPCODE, IO_READ, LBA_OUT_OF_RANGE, OK, VS, Conn, Host,
                      must, rw, sqe)

INVALID_LOG_PAGE, NOT_SAVEABLE, READ_ERROR = 0x109, 0x10d, 0x281
IO_WRITE_UNCOR = 0x04
INVALID_QUEUE_TYPE, HOST_ID_FORMAT = 0x185, 0x18
SUPPORTED_PAGES, ERRORS, SMART, EFFECTS, FEATURES, MI_EFFECTS = 0x00, 0x01, 0x02, 0x05, 0x12, 0x13
CRTO = 0x68
DEGRADED = 4
SMART_EVENT = 0x020001        # log page 2, information 0: reliability, type 1


def dwords(data):
    return struct.unpack(f"<{len(data) // 4}I", data)


def words(data):
    return struct.unpack(f"<{len(data) // 2}H", data)


def smart(host, nsid=0xffffffff):
    page = host.admin.get_log_page(SMART, 512, nsid=nsid)
    low = [int.from_bytes(page[at:at + 16], "little") for at in range(32, 192, 16)]
    names = ["read_units", "written_units", "reads", "writes", "busy", "cycles", "hours", "unsafe", "media_errors",
             "errors"]
    return {"warning": page[0], "spare": page[3], **dict(zip(names, low))}


# --- Identify ---

def test_controllers_of_the_subsystem(host, served):
    """A host that counts on its peers being listed would not see them, or see them twice."""
    with Host(served.port, served.nqn, io_queues=0) as second, Host(served.port, served.nqn, io_queues=0) as third:
        ids = sorted([host.cntlid, second.cntlid, third.cntlid])
        for cns, nsid in ((0x13, 0), (0x12, 1)):
            listed = words(second.admin.identify(cns, nsid=nsid))
            assert listed[0] == 3 and list(listed[1:4]) == ids and not any(listed[4:])
            listed = words(second.admin.identify(cns | ids[1] << 16, nsid=nsid))
            assert listed[0] == 2 and list(listed[1:3]) == ids[1:]
    assert words(host.admin.identify(0x12, nsid=7))[0] == 0


def test_hidden_namespace(daemon):
    """What is hidden from a host would be found by its number, or its controllers be listed for it."""
    served = daemon.serve(daemon.malloc("disk0", mib=8))
    friend = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00000000000f"
    daemon.malloc("disk1", mib=8)
    daemon.tell("nvmf_subsystem_add_ns", nqn=served.nqn,
                namespace={"bdev_name": "disk1", "nsid": 5, "no_auto_visible": True, "hosts": [friend]})
    with Host(served.port, served.nqn) as host, Host(served.port, served.nqn, hostnqn=friend) as seer:
        assert [n for n in dwords(host.admin.identify(0x10)) if n] == [1]
        assert [n for n in dwords(seer.admin.identify(0x10)) if n] == [1, 5]
        assert host.admin.identify(0x11, nsid=5) == bytes(4096)
        listed = words(seer.admin.identify(0x12, nsid=5))
        assert listed[:2] == (1, seer.cntlid)
        assert words(host.admin.identify(0x12, nsid=5))[0] == 0


def test_every_page_is_whole_or_refused(host):
    """Garbage, or the page of another number, would be taken for an answer."""
    there = {0, 1, 2, 3, 5, 6, 7, 8, 0x10, 0x11, 0x12, 0x13, 0x1a, 0x1b, 0x1c}
    for cns in range(256):
        answer = host.admin.command(sqe(ADMIN_IDENTIFY, 1, cdw10=0xffff << 16 | cns), expect=4096)
        assert answer.status == (OK if cns in there else INVALID_FIELD), hex(cns)
        assert len(answer.data) == (4096 if cns in there else 0)
    for cns in (5, 6, 7, 0x1a, 0x1b):
        assert host.admin.command(sqe(ADMIN_IDENTIFY, 1, cdw10=cns, cdw11=2 << 24), expect=4096).status == INVALID_FIELD


def test_version_and_properties(host):
    """A host of NVMe 2.0 waits as CRTO says; nvme-cli takes "Invalid Field" for a property that is not there."""
    assert host.admin.property_get(VS) == 0x20000
    assert struct.unpack_from("<I", host.admin.identify(1), 80)[0] == 0x20000
    cap = host.admin.property_get(CAP, 8)
    assert cap >> 59 & 3 == 1 and cap >> 24 & 0xff == host.admin.property_get(CRTO) & 0xffff
    for offset, size in ((0x0c, 0), (0x24, 0), (0x38, 0), (VS, 1), (0x1000, 0), (CAP + 2, 0)):
        command = sqe(FABRICS, FABRICS_PROPERTY_GET, cdw10=size, cdw11=offset)
        answer = host.admin.command(command)
        assert answer.status == INVALID_FIELD and not answer.dnr, hex(offset)
    for offset in (CAP, VS, CRTO, 0x24, 0x20):
        assert host.admin.command(sqe(FABRICS, FABRICS_PROPERTY_SET, cdw11=offset, cdw12=1)).status == INVALID_FIELD
    assert host.io.command(sqe(FABRICS, FABRICS_PROPERTY_GET, cdw11=VS)).status == INVALID_FIELD


# --- log pages ---

def test_commands_are_what_is_said(host):
    """A command that is announced would be refused, or one that is not be done."""
    effects = dwords(host.admin.get_log_page(EFFECTS, 4096))
    for opcode in range(256):
        if opcode in (0x0c, 0x7f):     # is not answered; is not of this kind
            continue
        status = host.admin.command(sqe(opcode, 0)).status
        assert (status == INVALID_OPCODE) == (effects[opcode] & 1 == 0), hex(opcode)
    assert effects[256 + 1] == 3 and effects[256 + 2] == 1, "a scope is an unusual effect to Linux"
    assert host.admin.command(sqe(ADMIN_GET_LOG_PAGE, cdw10=EFFECTS | 255 << 16, cdw14=2 << 24),
                              expect=1024).status == INVALID_LOG_PAGE


def test_pages_are_what_is_said(host, served):
    said = dwords(host.admin.get_log_page(SUPPORTED_PAGES, 1024))
    assert {lid for lid in range(256) if said[lid]} >= {0, 1, 2, 3, 4, 5, 0x12, 0x13, 0x80}
    for lid in range(256):
        answer = host.admin.command(sqe(ADMIN_GET_LOG_PAGE, 0xffffffff, cdw10=lid | 15 << 16), expect=64)
        assert answer.status == (OK if said[lid] else INVALID_LOG_PAGE), hex(lid)
    conn = Conn(served.port)
    must(conn.connect(DISCOVERY_NQN))
    conn.property_set(0x14, 4 << 20 | 6 << 16 | 1)
    said = dwords(conn.get_log_page(SUPPORTED_PAGES, 1024))
    assert {lid for lid in range(256) if said[lid]} >= {0, 1, 5, 0x12, 0x70} and not said[SMART]
    conn.close()


def test_smart_counts(host, served):
    """Monitoring would see no traffic, or that of others."""
    before = smart(host)
    for n in range(4):
        must(host.io.write(n * 2048, os.urandom(65536), in_capsule=False))
    host.io.read(0, 8)
    with Host(served.port, served.nqn) as other:
        other.io.read(0, 8)
        now = smart(host)
        assert now["writes"] - before["writes"] == 4 and now["reads"] - before["reads"] == 1
        assert now["written_units"] == 1 and now["read_units"] == 1      # of 512,000 bytes, begun
        everybody = smart(host, nsid=1)
        assert everybody["reads"] == 2 and everybody["writes"] == 4
        assert smart(other)["writes"] == 0
    assert now["spare"] == 100 and now["warning"] == 0 and now["media_errors"] == 0 and now["cycles"] == 1
    nowhere = sqe(ADMIN_GET_LOG_PAGE, 9, cdw10=SMART | 127 << 16)
    assert host.admin.command(nowhere, expect=512).status == INVALID_NAMESPACE


def test_a_failing_disk_is_an_event(daemon):
    """A disk that fails would be found out by nobody but its reader."""
    daemon.malloc("disk0", mib=8)
    daemon.rpc("bdev_error_create", base_name="disk0")
    served = daemon.serve("EE_disk0")
    with Host(served.port, served.nqn) as host:
        must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0b, cdw11=0x100 | DEGRADED)))
        aer = host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
        daemon.rpc("bdev_error_inject_error", name="EE_disk0", io_type="read", error_type="failure", num=2)
        for _ in range(2):
            assert host.io.command(rw(IO_READ, 0, 1), expect=512).status != OK
        assert must(host.admin.wait(aer)).value & 0xffffffff == SMART_EVENT
        again = host.admin.submit(sqe(ADMIN_ASYNC_EVENT))
        assert smart(host)["warning"] == DEGRADED
        assert again not in host.admin.done


def test_a_block_that_a_host_declared_bad_is_no_failure(host):
    """One host could raise alarms about a disk that is well."""
    must(host.io.command(rw(IO_WRITE_UNCOR, 8, 1)))
    assert host.io.command(rw(IO_READ, 8, 1), expect=512).status == READ_ERROR
    assert smart(host)["warning"] == 0 and smart(host)["media_errors"] == 1


def test_errors_are_told(host):
    """Who looks for a cause would not find which command it was, and what was wrong with it."""
    bad = host.io.submit(rw(IO_READ, 1 << 40, 1), expect=512)
    assert host.io.wait(bad).status == LBA_OUT_OF_RANGE
    cns = host.admin.submit(sqe(ADMIN_IDENTIFY, 3, cdw10=0x19), expect=4096)
    assert host.admin.wait(cns).status == INVALID_FIELD
    log = host.admin.get_log_page(ERRORS, 64 * (host.admin.identify(1)[262] + 1))
    entries = [struct.unpack_from("<QHHHHQI", log, at) + (log[at + 29],) for at in (0, 64)]
    count, sqid, cid, status, at, _, nsid, trtype = entries[0]
    assert (sqid, cid, status >> 1 & 0x7ff, at, nsid, trtype) == (0, cns, INVALID_FIELD, 40, 3, 3)
    older, sqid, cid, status, at, lba, nsid, trtype = entries[1]
    assert older == count - 1
    assert (sqid, cid, status >> 1 & 0x7ff, at, lba, nsid, trtype) == (1, bad, LBA_OUT_OF_RANGE, 40, 1 << 40, 1, 3)
    assert smart(host)["errors"] == count


# --- features ---

def get_feature(host, fid, sel=0, nsid=1, cdw11=0, expect=0):
    return host.admin.command(sqe(ADMIN_GET_FEATURES, nsid, cdw10=fid | sel << 8, cdw11=cdw11), expect=expect)


def test_features_are_what_is_said(host):
    """A feature that is announced would be refused in one of its four forms, or one that is not be answered."""
    said = dwords(host.admin.get_log_page(FEATURES, 1024))
    assert {1, 2, 4, 5, 7, 0x0a, 0x0b, 0x0e, 0x0f, 0x16, 0x81, 0x82, 0x83} <= {n for n in range(256) if said[n]}
    for fid in range(256):
        for sel in range(4):
            status = get_feature(host, fid, sel, cdw11=int(fid == 0x81), expect=512).status
            assert status == (OK if said[fid] else INVALID_FIELD), (hex(fid), sel)
        assert get_feature(host, fid, 5).status == INVALID_FIELD
        save = host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=1 << 31 | fid)).status
        assert save == (NOT_SAVEABLE if said[fid] else INVALID_FIELD), hex(fid)


def test_host_identifier_of_8_bytes(host):
    """Fabrics know 128 bits only; who asks for 64 would hear of a length instead."""
    assert get_feature(host, 0x81, expect=8).status == HOST_ID_FORMAT
    assert len(must(get_feature(host, 0x81, cdw11=1, expect=16)).data) == 16


def test_timestamp(host):
    """A host's clock would not be there when it looks for it."""
    ms = 1_790_000_000_000
    must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0e), struct.pack("<Q", ms)))
    answer = must(get_feature(host, 0x0e, nsid=0, expect=8)).data
    assert 0 <= int.from_bytes(answer[:6], "little") - ms < 60_000 and answer[6] == 2
    host.admin.property_set(0x14, 0)
    while host.admin.property_get(0x1c):
        pass
    host.enable()
    answer = must(get_feature(host, 0x0e, nsid=0, expect=8)).data
    assert int.from_bytes(answer[:6], "little") < 60_000 and answer[6] == 0


def test_events_that_there_are_not(host):
    """A host would wait for what never comes."""
    oaes = struct.unpack_from("<I", host.admin.identify(1), 92)[0]
    for bit in range(32):
        status = host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=0x0b, cdw11=1 << bit)).status
        assert (status == OK) == (bit < 6 or bool(oaes >> bit & 1)), bit


def test_write_cache(daemon, tmp_path):
    """A host that switches the cache off would not be heard, or the next one find it off."""
    (tmp_path / "disk").write_bytes(bytes(8 << 20))
    daemon.tell("bdev_aio_create", name="file", filename=str(tmp_path / "disk"), block_size=512)
    served = daemon.serve("file")
    with Host(served.port, served.nqn) as host:
        assert host.admin.identify(1)[525] & 1, "a file has a cache"
        assert get_feature(host, 6).value & 1 == 1
        must(host.io.write(0, b"a" * 512))
        must(host.admin.command(sqe(ADMIN_SET_FEATURES, cdw10=6, cdw11=0)))
        assert get_feature(host, 6).value & 1 == 0 and get_feature(host, 6, sel=1).value & 1 == 1
        must(host.io.write(1, b"b" * 512))       # health_test.c sees it on the disk
        host.admin.property_set(0x14, 0)
        while host.admin.property_get(0x1c):
            pass
        host.enable()
        assert get_feature(host, 6).value & 1 == 1, "a reset takes it back"
        host.ios = []
        assert host.add_io().read(0, 2) == b"a" * 512 + b"b" * 512


# --- the subsystem is reset ---

def test_subsystem_reset(daemon):
    """One host's reset would leave another's commands at work."""
    served = daemon.serve(daemon.malloc("disk0", mib=8), enable_nssr=True)
    with Host(served.port, served.nqn) as host, Host(served.port, served.nqn) as other:
        assert host.admin.property_get(CAP, 8) >> 36 & 1
        host.admin.property_set(0x20, 0x4e564d65)
        host.io.expect_closed()
        other.io.expect_closed()
        for one in (host, other):
            while one.admin.property_get(0x1c) != 1 << 4:    # NSSRO, not ready
                pass
            assert one.admin.property_get(0x14) == 0
            one.admin.property_set(0x1c, 1 << 4)
            assert one.admin.property_get(0x1c) == 0
            one.enable()
            one.ios = []
            one.add_io()
            must(one.io.write(0, bytes(512)))
    create = next(c for s in daemon.rpc("save_config")["subsystems"] if s["subsystem"] == "nvmf" for c in s["config"]
                  if c["method"] == "nvmf_create_subsystem")
    assert create["params"]["enable_nssr"] is True


def test_queue_disconnects(host):
    """A host could give back a queue only with the whole controller."""
    disconnect = sqe(FABRICS, 8)
    assert host.admin.identify(1)[1804] & 1                       # OFCS
    assert host.admin.command(disconnect).status == INVALID_QUEUE_TYPE
    must(host.io.write(0, b"x" * 512))
    must(host.io.command(disconnect))
    host.io.expect_closed()
    host.ios = []
    assert host.add_io().read(0, 1) == b"x" * 512


def test_no_subsystem_reset_unless_configured(host):
    """Any host could end the work of all others."""
    assert not host.admin.property_get(CAP, 8) >> 36 & 1
    command = sqe(FABRICS, FABRICS_PROPERTY_SET, cdw11=0x20, cdw12=0x4e564d65)
    assert host.admin.command(command).status == INVALID_FIELD
    must(host.io.write(0, bytes(512)))


# --- docs/NVME.md ---

def test_the_manual_is_right(host):
    """People would build on what is not there."""
    effects = dwords(host.admin.get_log_page(EFFECTS, 4096))
    check_table("Admin commands", {n for n in range(256) if effects[n]})
    check_table("I/O commands", {n for n in range(256) if effects[256 + n]})
    answers = {n: host.admin.command(sqe(ADMIN_IDENTIFY, 1, cdw10=0xffff << 16 | n), expect=4096).status
               for n in range(256)}
    check_table("Identify", {n for n in range(256) if answers[n] == OK})
    check_table("Features", {n for n, v in enumerate(dwords(host.admin.get_log_page(FEATURES, 1024))) if v})
    check_table("Log pages", {n for n, v in enumerate(dwords(host.admin.get_log_page(SUPPORTED_PAGES, 1024))) if v})
