# SPDX-License-Identifier: BSD-3-Clause
"""An NVMe/TCP target that does what it is told to, right or wrong: for tests of a host.

    with BadTarget() as target:                       good: a RAM namespace of 1 MiB on a free port of loopback
        target.on("identify_ctrl", rst)               every Identify Controller ends the connection with an RST
        target.on("read", status(ABORTED), times=3)   the first three reads fail
        target.on("accept", silence, skip=1)          the second connection, an I/O queue, hears nothing
        ... a host connects to target.port, target.nqn ...
        wait_until(lambda: target.seen["read"] > 2, "reads")

Steps, in the order in which a host takes them; every request has its own name and those of its kinds:

    accept  icresp  connect  cap  vs  enable  csts  identify_ctrl  identify_ns  ns_list  ns_ids  set_queues
    set_features  get_features  log_page  aer  keep_alive  connect_io  read  write  flush  other_io
    ccr (a reset of another controller)  h2c (data arrives)  shutdown  property_get  property_set  identify
    fw_download  fw_commit
    admin (all on an admin queue)  io (all on an I/O queue, but connect_io)

What it can do at one is in bad_ways.py. Two targets that are given the same Disks are two paths to one subsystem. A
thread a connection: for dozens of them, not for thousands.
"""
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

from gantry import free_port
from nvme_tcp import (ADMIN_ABORT, ADMIN_ASYNC_EVENT, ADMIN_GET_FEATURES, ADMIN_GET_LOG_PAGE, ADMIN_IDENTIFY,
                      ADMIN_KEEP_ALIVE, ADMIN_SET_FEATURES, C2HDATA, CAP, CC, CMD, CONNECT_INVALID_PARAMETERS, CSTS,
                      DDGSTF, DISCOVERY_NQN, FABRICS, FABRICS_CONNECT, FABRICS_PROPERTY_GET, FABRICS_PROPERTY_SET,
                      H2CDATA, H2CTERM, HDGSTF, HEADER_LENGTH, ICREQ, ICRESP, INVALID_FIELD, INVALID_NAMESPACE,
                      INVALID_OPCODE, IO_DSM, IO_FLUSH, IO_READ, IO_WRITE, IO_WRITE_ZEROES, LAST, LBA_OUT_OF_RANGE, OK,
                      R2T, RSP, VS, Pdu, crc32c, make_pdu)

NQN = "nqn.2016-06.io.gantry:bad"
SERIAL = "BAD0000000000001"
MIB = 1 << 20
QUEUES_MAX = 16
IN_CAPSULE_BYTES = 4096
MAXH2CDATA = 131072
ANA_CHANGE = 0x03                       # status: code type 3, path related
ANA_OPTIMIZED, ANA_NON_OPTIMIZED, ANA_INACCESSIBLE, ANA_LOST, ANA_CHANGING = 1, 2, 3, 4, 15
# Dword 0 of an event: log page, information, type 2 (notice)
NS_CHANGED, FW_ACTIVATION, ANA_CHANGED, DISCOVERY_CHANGED = 0x040002, 0x030102, 0x0c0302, 0x70f002
LOG_ERRORS, LOG_HEALTH, LOG_FIRMWARE, LOG_CHANGED_NS, LOG_ANA, LOG_DISCOVERY = 1, 2, 3, 4, 12, 0x70
FEATURE_QUEUES = 7
ADMIN_CCR = 0x38
ADMIN_FW_COMMIT, ADMIN_FW_DOWNLOAD = 0x10, 0x11
FW_REPLACE, FW_REPLACE_AND_ENABLE, FW_ENABLE, FW_REPLACE_AND_RUN = range(4)


def instance(cntlid):
    """CIU and CIRN of a controller."""
    return cntlid % 255 + 1, cntlid * 0x123456789abcdef & 0xffffffffffffffff


class Gone(Exception):
    """The connection is over, by us or by the host."""


@dataclass
class Namespace:
    mib: int = 1
    lbads: int = 9
    uuid: bytes = None
    ana_group: int = 1

    def __post_init__(self):
        self.data = bytearray(self.mib * MIB)
        self.uuid = self.uuid or uuid.uuid4().bytes

    @property
    def blocks(self):
        return len(self.data) >> self.lbads

    def resize(self, mib):
        new = bytearray(mib * MIB)
        new[:len(self.data)] = self.data[:len(new)]
        self.data = new


class Disks:
    """What all ports of a subsystem share."""

    def __init__(self, namespaces=None, nqn=NQN, serial=SERIAL):
        self.namespaces = {1: Namespace()} if namespaces is None else namespaces
        self.nqn, self.serial = nqn, serial
        self.next_cntlid = 1
        self.reset = []                                          # controllers that were, by way of others
        self.slots, self.runs, self.after_reset = {1: b"1"}, 1, None    # firmware: images; which runs, and will
        self.lock = threading.Lock()

    def start_firmware(self):
        self.runs, self.after_reset = self.after_reset or self.runs, None

    def cntlid(self):
        with self.lock:
            self.next_cntlid += 1
            return self.next_cntlid - 1


@dataclass
class Answer:
    """What a command gets: `status` is code type and code; data only when it is 0."""
    status: int = OK
    value: int = 0
    data: bytes = b""
    dnr: bool = False
    crd: int = 0


@dataclass
class Request:
    """A command, parsed as far as everybody needs it."""
    sqe: bytes
    data: bytes = b""
    names: tuple = ()
    words: tuple = field(init=False)

    def __post_init__(self):
        self.opcode, _, self.cid, self.nsid = struct.unpack_from("<BBHI", self.sqe)
        self.words = struct.unpack_from("<6I", self.sqe, 40)     # cdw10 to cdw15
        self.sgl_length, self.sgl_type = struct.unpack_from("<8xI3xB", self.sqe, 24)

    @property
    def lba(self):
        return self.words[0] | self.words[1] << 32

    @property
    def blocks(self):
        return (self.words[2] & 0xffff) + 1


@dataclass
class Rule:
    step: str
    action: object
    skip: int
    times: int

    def takes(self, names):
        """Is it this rule's turn? Counts."""
        if self.step not in names or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1                  # from None-like -1: for ever
        return True


class BadTarget:
    """A port of a subsystem. Begins to listen at once; leaving the block ends it and its connections."""

    def __init__(self, disks=None, *, port=None, address="127.0.0.1", success=False, **fields):
        self.disks = disks or Disks()
        self.address, self.port, self.success = address, port or free_port(), success
        self.queues = fields.pop("queues", QUEUES_MAX)
        self.mqes = fields.pop("mqes", 127)
        self.maxh2cdata = fields.pop("maxh2cdata", MAXH2CDATA)
        self.serial = fields.pop("serial", None)                 # others than the subsystem's: a wrong second path
        self.subnqn = fields.pop("subnqn", None)
        self.discovered = fields.pop("discovered", [])           # (nqn, port) pairs of the discovery log
        self.ana = fields.pop("ana", {1: ANA_OPTIMIZED})         # state by group
        self.mdts = fields.pop("mdts", 5)
        self.ioccsz = fields.pop("ioccsz", 4 + IN_CAPSULE_BYTES // 16)
        self.crdt = fields.pop("crdt", (0, 0, 0))                # in 100 ms
        self.vwc = fields.pop("vwc", 1)
        self.ccrl = fields.pop("ccrl", 0)                        # resets of other controllers; 0: it does none
        self.cqt_ms = fields.pop("cqt_ms", 0)
        self.oncs = fields.pop("oncs", 0x0c)                     # Dataset Management, Write Zeroes
        self.oacs = fields.pop("oacs", 4)                        # firmware
        self.frmw = fields.pop("frmw", 3 << 1 | 1)               # three slots; the first can only be read
        self.fwug = fields.pop("fwug", 0)
        self.oaes = fields.pop("oaes", 1 << 8 | 1 << 9 | 1 << 11)   # namespaces, firmware activation, ANA
        self.ready_after_s = fields.pop("ready_after_s", 0)
        assert not fields, f"unknown: {', '.join(fields)}"
        self.rules, self.seen, self.history = [], Counter(), []
        self.changed_namespaces, self.ana_changes, self.generation = set(), 0, 0
        self.connections, self.lock, self.listener = [], threading.Lock(), None
        self.failures = []                                       # of ours, not of the host: a test's mistake

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if not kind:
            assert not self.failures, self.failures

    @property
    def nqn(self):
        return self.disks.nqn

    # --- life ---

    def start(self):
        assert self.listener is None
        self.listener = socket.create_server((self.address, self.port), backlog=256)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        """As a process that is killed: nobody listens, all connections end with an RST."""
        listener, self.listener = self.listener, None
        if listener:
            try:
                listener.shutdown(socket.SHUT_RDWR)              # wakes accept()
            except OSError:
                pass
            listener.close()
        self.drop_all()

    def drop_all(self):
        """Cut all connections; new ones are welcome."""
        with self.lock:
            connections, self.connections = self.connections, []
        for connection in connections:
            connection.reset()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            connection = Connection(self, sock)
            with self.lock:
                if self.listener is not listener:
                    connection.reset()
                    return
                self.connections.append(connection)
            threading.Thread(target=connection.run, daemon=True).start()

    def forget(self, connection):
        with self.lock:
            if connection in self.connections:
                self.connections.remove(connection)

    # --- being bad ---

    def on(self, step, action, *, skip=0, times=-1):
        """From now on, when a host gets to `step`: `action`, after `skip` times of doing it right, `times` times."""
        with self.lock:
            self.rules.append(Rule(step, action, skip, times))
        return self

    def good(self):
        """No rule any more."""
        with self.lock:
            self.rules.clear()

    def action_at(self, names):
        with self.lock:
            self.seen.update(names)
            self.history.append((time.monotonic(), names[0]))
            for rule in self.rules:
                if rule.takes(names):
                    return rule.action
        return None

    def times_of(self, step):
        """When `step` was taken: seconds of the monotonic clock."""
        with self.lock:
            return [when for when, name in self.history if name == step]

    # --- changes of which hosts are told ---

    def admin_queues(self):
        with self.lock:
            return [c for c in self.connections if c.qid == 0 and c.cntlid]

    def io_queues(self):
        with self.lock:
            return [c for c in self.connections if c.qid]

    def tell(self, event):
        for connection in self.admin_queues():
            connection.event(event)

    def namespaces_changed(self, *nsids):
        self.changed_namespaces.update(nsids)
        self.tell(NS_CHANGED)

    def set_ana(self, state, group=1, quietly=False):
        self.ana[group] = state
        self.ana_changes += 1
        if not quietly:
            self.tell(ANA_CHANGED)

    def set_discovered(self, entries):
        self.discovered = entries
        self.generation += 1
        self.tell(DISCOVERY_CHANGED)


class Connection:
    """One queue of one host."""

    def __init__(self, target, sock):
        self.target, self.sock = target, sock
        self.qid, self.cntlid, self.is_discovery = 0, 0, False
        self.hdgst = self.ddgst = False
        self.align = 4
        self.received = b""
        self.cc, self.enabled_at = 0, 0.0
        self.aers, self.events = [], []
        self.image = []                                          # firmware that came: (offset, bytes)
        self.writes, self.next_ttag = {}, 1                      # by transfer tag: what is still to come
        self.captured = None                                     # bytes are collected, not sent, while it is a list
        self.mute = self.over = False
        self.sending = threading.RLock()

    def run(self):
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.take(("accept",), None, lambda *_: None)
            while True:
                self.on_pdu(self.recv_pdu())
        except (Gone, OSError):
            pass
        except Exception as problem:     # pylint: disable=broad-except
            self.target.failures.append(f"{problem!r} at {time.monotonic():.3f}")
        finally:
            self.close()

    def close(self):
        self.over = True
        self.target.forget(self)
        self.sock.close()

    def reset(self):
        """End as a machine that lost power. Whoever reads from it wakes up."""
        self.over = True
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.shutdown(socket.SHUT_RD)
            self.sock.close()
        except OSError:
            pass

    def take(self, names, request, good):
        """A step: what the rules want, or what is right."""
        action = self.target.action_at(names)
        (action or good)(self, request)

    # --- bytes and PDUs ---

    def recv_exactly(self, count):
        while len(self.received) < count:
            more = self.sock.recv(max(65536, count - len(self.received)))
            if not more or self.over:
                raise Gone
            self.received += more
        out, self.received = self.received[:count], self.received[count:]
        return out

    def recv_pdu(self):
        common = self.recv_exactly(8)
        kind, flags, hlen, pdo, plen = struct.unpack("<BBBBI", common)
        assert kind in (ICREQ, H2CTERM, CMD, H2CDATA), f"not a PDU of a host: {common.hex()}"
        assert hlen == HEADER_LENGTH[kind], f"HLEN {hlen} of PDU type {kind}"
        header, at = common + self.recv_exactly(hlen - 8), hlen
        if flags & HDGSTF and kind in (CMD, H2CDATA):
            assert self.hdgst and struct.unpack("<I", self.recv_exactly(4))[0] == crc32c(header), "header digest"
            at += 4
        data = b""
        if plen > at:
            data = self.recv_exactly(plen - at)[(pdo - at if pdo else 0):]
            if flags & DDGSTF:
                data, digest = data[:-4], data[-4:]
                assert self.ddgst and struct.unpack("<I", digest)[0] == crc32c(data), "data digest"
        return Pdu(kind, flags, header, data)

    def send(self, data):
        if self.captured is not None:
            self.captured.append(data)
        elif not self.mute:
            with self.sending:
                self.sock.sendall(data)

    def send_pdu(self, kind, rest, data=b"", **wrong):
        self.send(make_pdu(kind, rest, data, **{"hdgst": self.hdgst and kind != ICRESP, "ddgst": self.ddgst,
                                                "align": self.align, **wrong}))

    def send_completion(self, cid, answer, **wrong):
        word = answer.status << 1 | answer.crd << 12 | answer.dnr << 15
        self.send_pdu(RSP, struct.pack("<QHHHH", answer.value, 0, self.qid, cid, word), **wrong)

    def send_data(self, cid, data, offset=0, last=True, success=False, length=None, **wrong):
        flags = (4 if last else 0) | (8 if success else 0)
        self.send_pdu(C2HDATA, struct.pack("<HHII4x", cid, 0, offset, len(data) if length is None else length), data,
                      flags=flags, **wrong)

    def send_r2t(self, cid, ttag, offset, length, **wrong):
        self.send_pdu(R2T, struct.pack("<HHII4x", cid, ttag, offset, length), **wrong)

    def capture(self, request):
        """The bytes of the right answer, not sent."""
        self.captured = []
        try:
            self.do_right(request)
            return b"".join(self.captured)
        finally:
            self.captured = None

    # --- what comes ---

    def on_pdu(self, pdu):
        if pdu.type == ICREQ:
            _, hpda, dgst, _ = struct.unpack_from("<HBBI", pdu.header, 8)
            self.take(("icresp",), None, lambda *_: self.do_icresp(hpda, dgst))
            self.hdgst, self.ddgst = bool(dgst & 1), bool(dgst & 2)
            self.align = 4 * (hpda + 1)
        elif pdu.type == CMD:
            request = Request(pdu.header[8:72], pdu.data)
            request.names = self.names_of(request)
            if request.names[0] == "connect":                    # its queue is known from here on
                self.qid = request.words[0] >> 16
                if self.qid:
                    request.names = ("connect_io",)
            self.take(request.names, request, Connection.do_right)
        elif pdu.type == H2CDATA:
            self.take(("h2c",), pdu, Connection.do_h2c)
        else:
            self.target.seen["h2c_term"] += 1
            raise Gone

    def names_of(self, request):
        cdw10 = request.words[0]
        if request.opcode == FABRICS:
            kind, offset = request.sqe[4], request.words[1]
            if kind == FABRICS_CONNECT:
                return ("connect", "admin")
            if kind == FABRICS_PROPERTY_GET:
                return ({CAP: "cap", VS: "vs", CC: "cc", CSTS: "csts"}.get(offset, "property"), "property_get", "admin")
            if kind == FABRICS_PROPERTY_SET and offset == CC:
                return ("shutdown" if request.words[2] & 0xc000 else "enable", "property_set", "admin")
            return ("fabrics", "admin")
        if self.qid:
            return ({IO_READ: "read", IO_WRITE: "write", IO_FLUSH: "flush"}.get(request.opcode, "other_io"), "io")
        if request.opcode == ADMIN_IDENTIFY:
            names = {0: "identify_ns", 1: "identify_ctrl", 2: "ns_list", 3: "ns_ids"}
            return (names.get(cdw10 & 0xff, "identify_other"), "identify", "admin")
        if request.opcode == ADMIN_SET_FEATURES:
            return ("set_queues" if cdw10 & 0xff == FEATURE_QUEUES else "set_feature", "set_features", "admin")
        return ({ADMIN_GET_FEATURES: "get_features", ADMIN_GET_LOG_PAGE: "log_page", ADMIN_ASYNC_EVENT: "aer",
                 ADMIN_KEEP_ALIVE: "keep_alive", ADMIN_ABORT: "abort",
                 ADMIN_CCR: "ccr", ADMIN_FW_COMMIT: "fw_commit",
                 ADMIN_FW_DOWNLOAD: "fw_download"}.get(request.opcode, "other_admin"), "admin")

    # --- doing it right ---

    def do_icresp(self, hpda, dgst, pfv=0, cpda=0, **wrong):
        self.send_pdu(ICRESP, struct.pack("<HBBI112x", pfv, cpda, dgst, self.target.maxh2cdata), hdgst=False, **wrong)

    def do_right(self, request):
        if request.opcode == ADMIN_ASYNC_EVENT and not self.qid:
            self.aers.append(request.cid)
            self.send_events()
        elif request.sgl_type == 0x5a and self.wants_data(request) and not request.data:
            self.ask_for_data(request)
        else:
            self.reply(request, self.answer_to(request))

    @staticmethod
    def wants_data(request):
        direction = request.sqe[4] if request.opcode == FABRICS else request.opcode
        return direction & 3 == 1 and request.sgl_length

    def ask_for_data(self, request):
        ttag, self.next_ttag = self.next_ttag, self.next_ttag % 0xfffe + 1
        self.writes[ttag] = [request, bytearray(request.sgl_length), 0]
        self.send_r2t(request.cid, ttag, 0, request.sgl_length)

    def do_h2c(self, pdu):
        cid, ttag, offset, length = struct.unpack_from("<HHII", pdu.header, 8)
        assert ttag in self.writes, f"H2CData for transfer tag {ttag}, which nobody asked for"
        write = self.writes[ttag]
        request, buffer, have = write
        assert cid == request.cid and offset == have and length == len(pdu.data) <= self.target.maxh2cdata, "H2CData"
        assert have + length <= len(buffer), f"H2CData {offset}+{length} beyond {len(buffer)} bytes"
        buffer[have:have + length] = pdu.data
        write[2] += length
        if write[2] == len(buffer):
            assert pdu.flags & LAST, "the last H2CData without LAST"
            del self.writes[ttag]
            request.data = bytes(buffer)
            self.reply(request, self.answer_to(request))

    def reply(self, request, answer):
        """Data, if there is any, and the completion, unless the data stands for it."""
        success = self.target.success and not answer.value
        if answer.data and answer.status == OK:
            self.send_data(request.cid, answer.data, success=success)
            if success:
                return
        self.send_completion(request.cid, answer)

    def answer_to(self, request):
        name = request.names[0]
        if name in ("connect", "connect_io"):
            return self.on_connect(request)
        if self.qid:
            return self.on_io(request)
        on = getattr(self, f"on_{name}", None)
        if on:
            return on(request)
        if name in ("enable", "shutdown"):
            self.cc, self.enabled_at = request.words[2], time.monotonic()
            return Answer()
        if name in ("keep_alive", "set_feature", "get_features"):
            return Answer()
        return Answer(INVALID_FIELD if "identify" in request.names else INVALID_OPCODE, dnr=True)

    # --- events ---

    def event(self, value):
        self.events.append(value)
        self.send_events()

    def send_events(self):
        with self.sending:
            while self.events and self.aers:
                try:
                    self.send_completion(self.aers.pop(0), Answer(value=self.events.pop(0)))
                except OSError:
                    return

    # --- fabrics ---

    def on_connect(self, request):
        hostid, cntlid, subnqn, _ = struct.unpack_from("<16sH238x256s256s", request.data)
        subnqn = subnqn.rstrip(b"\0").decode()
        if subnqn not in (self.target.nqn, DISCOVERY_NQN):
            return Answer(CONNECT_INVALID_PARAMETERS, dnr=True)
        if self.qid == 0:
            assert cntlid == 0xffff and any(hostid)
            self.cntlid, self.is_discovery = self.target.disks.cntlid(), subnqn == DISCOVERY_NQN
            self.target.disks.start_firmware()
        else:
            self.cntlid = cntlid
            if not any(c.cntlid == cntlid for c in self.target.admin_queues()):
                return Answer(CONNECT_INVALID_PARAMETERS, dnr=True)
        return Answer(value=self.cntlid)

    def on_cap(self, _):
        return Answer(value=self.target.mqes | 1 << 16 | 20 << 24 | 1 << 37)

    def on_vs(self, _):
        return Answer(value=0x10400)

    def on_cc(self, _):
        return Answer(value=self.cc)

    def on_csts(self, _):
        if self.cc & 0xc000:
            return Answer(value=1 | 2 << 2)                      # ready, shutdown complete
        return Answer(value=int(self.cc & 1 and time.monotonic() - self.enabled_at >= self.target.ready_after_s))

    # --- admin ---

    def on_identify_ctrl(self, _):
        t, page = self.target, bytearray(4096)
        page[4:24] = (t.serial or t.disks.serial).encode().ljust(20)
        page[24:64] = b"Bad Target".ljust(40)
        page[64:72] = t.disks.slots[t.disks.runs][:8].ljust(8)
        has_ana = not self.is_discovery
        struct.pack_into("<BBHI", page, 76, 0x0b if has_ana else 0, t.mdts, self.cntlid, 0x10400)
        struct.pack_into("<I", page, 92, 0x80000000 if self.is_discovery else t.oaes)
        page[111] = 2 if self.is_discovery else 1
        struct.pack_into("<HHH", page, 128, *t.crdt)
        struct.pack_into("<BQ", page, 135, *instance(self.cntlid) if t.ccrl else (0, 0))
        struct.pack_into("<H", page, 256, t.oacs)
        page[258], page[259], page[260], page[319] = 3, 3, t.frmw, t.fwug   # ACL, AERL
        page[261] = 4                                            # LPA: extended data
        struct.pack_into("<H", page, 320, 1)                     # KAS
        struct.pack_into("<BBII", page, 342, 10, 0x1f if has_ana else 0, max(t.ana), len(t.ana))
        struct.pack_into("<BBHI", page, 512, 0x66, 0x44, 128, 1024)
        struct.pack_into("<H", page, 520, t.oncs)
        page[525] = t.vwc
        struct.pack_into("<II", page, 536, 0x00200001, 1024)     # SGLS: offsets, transport; MNAN
        subnqn = (DISCOVERY_NQN if self.is_discovery else t.subnqn or t.nqn).encode()
        page[768:768 + len(subnqn)] = subnqn
        struct.pack_into("<IIHBB", page, 1792, t.ioccsz, 1, 0, 0, 1)
        struct.pack_into("<H", page, 386, t.cqt_ms)
        page[1807] = t.ccrl
        return Answer(data=bytes(page))

    def on_identify_ns(self, request):
        ns = self.target.disks.namespaces.get(request.nsid)
        page = bytearray(4096)
        if ns:
            struct.pack_into("<QQQ", page, 0, ns.blocks, ns.blocks, ns.blocks)
            page[30] = 1                                         # NMIC: may be shared
            struct.pack_into("<I", page, 92, ns.ana_group)
            page[104:120] = ns.uuid
            struct.pack_into("<HBB", page, 128, 0, ns.lbads, 0)
        return Answer(data=bytes(page))

    def on_ns_list(self, request):
        nsids = [nsid for nsid in sorted(self.target.disks.namespaces) if nsid > request.nsid][:1024]
        return Answer(data=struct.pack("<1024I", *nsids, *[0] * (1024 - len(nsids))))

    def on_ns_ids(self, request):
        ns = self.target.disks.namespaces.get(request.nsid)
        if not ns:
            return Answer(INVALID_NAMESPACE, dnr=True)
        ids = struct.pack("<BBxx", 3, 16) + ns.uuid + struct.pack("<BBxxB", 4, 1, 0)       # UUID, command set
        return Answer(data=ids.ljust(4096, b"\0"))

    def on_set_queues(self, _):
        count = self.target.queues - 1
        return Answer(value=count & 0xffff | (count & 0xffff) << 16)

    def on_get_features(self, request):
        return self.on_set_queues(request) if request.words[0] & 0xff == FEATURE_QUEUES else Answer()

    def on_abort(self, _):
        return Answer(value=1)                                   # was not aborted

    def on_ccr(self, request):
        icid, ciu = request.words[0] & 0xffff, request.words[0] >> 16 & 0xff
        assert icid != self.cntlid and (ciu, request.words[2] | request.words[3] << 32) == instance(icid), "which one?"
        self.target.disks.reset.append(icid)
        return Answer(value=1)                                   # Immediate Reset Successful

    def on_fw_download(self, request):
        offset, length = request.words[1] * 4, (request.words[0] + 1) * 4
        assert len(request.data) == length, f"{len(request.data)} bytes of {length}"
        self.image = [*(self.image if offset else ()), (offset, request.data)]
        return Answer()

    def on_fw_commit(self, request):
        """The first eight bytes of an image are its revision."""
        slot, action = request.words[0] & 7 or 2, request.words[0] >> 3 & 7
        disks = self.target.disks
        if action != FW_ENABLE:
            assert [at for at, _ in self.image] == [sum(len(d) for _, d in self.image[:n])
                                                    for n in range(len(self.image))], "in order, without holes"
            disks.slots[slot], self.image = b"".join(data for _, data in self.image), []
        if action in (FW_REPLACE_AND_ENABLE, FW_ENABLE):
            disks.after_reset = slot
        if action == FW_REPLACE_AND_RUN:
            disks.runs = slot
        return Answer()

    def on_log_page(self, request):
        page = request.words[0] & 0xff
        length = ((request.words[0] >> 16 | (request.words[1] & 0xffff) << 16) + 1) * 4
        offset = request.words[2] | request.words[3] << 32
        make = {LOG_CHANGED_NS: self.changed_log, LOG_ANA: self.ana_log, LOG_DISCOVERY: self.discovery_log,
                LOG_HEALTH: lambda: bytes(512), LOG_ERRORS: lambda: bytes(64),
                LOG_FIRMWARE: self.firmware_log}.get(page)
        if not make:
            return Answer(INVALID_FIELD, dnr=True)
        return Answer(data=make()[offset:offset + length].ljust(length, b"\0"))

    def changed_log(self):
        nsids, self.target.changed_namespaces = sorted(self.target.changed_namespaces), set()
        return struct.pack(f"<{len(nsids)}I", *nsids).ljust(4096, b"\0")

    def firmware_log(self):
        disks = self.target.disks
        return bytes([disks.runs] + [0] * 7) + b"".join(disks.slots.get(n, b"")[:8].ljust(8) for n in range(1, 8))

    def ana_log(self):
        t = self.target
        out = struct.pack("<QH6x", t.ana_changes, len(t.ana))
        for group, state in t.ana.items():
            nsids = [nsid for nsid, ns in sorted(t.disks.namespaces.items()) if ns.ana_group == group]
            out += struct.pack(f"<IIQB15x{len(nsids)}I", group, len(nsids), t.ana_changes, state, *nsids)
        return out

    def discovery_log(self):
        t = self.target
        out = struct.pack("<QQH1006x", t.generation, len(t.discovered), 0)
        for nqn, port in t.discovered:
            # TRTYPE 3 (TCP), ADRFAM 1 (IPv4), SUBTYPE 2 (NVM), TREQ, PORTID, CNTLID, ASQSZ
            out += struct.pack("<BBBBHHH22x32s192x256s256s256s", 3, 1, 2, 0, 1, 0xffff, 32, str(port).encode(),
                               nqn.encode(), self.target.address.encode(), b"")
        return out

    # --- I/O ---

    def on_io(self, request):
        ns = self.target.disks.namespaces.get(request.nsid)
        if not ns:
            return Answer(INVALID_NAMESPACE, dnr=True)
        state = self.target.ana.get(ns.ana_group, ANA_OPTIMIZED)
        if state > ANA_NON_OPTIMIZED:
            return Answer(0x300 | {ANA_LOST: 1, ANA_INACCESSIBLE: 2, ANA_CHANGING: ANA_CHANGE}[state])
        if request.opcode in (IO_FLUSH, IO_DSM):
            return Answer()
        if request.opcode not in (IO_READ, IO_WRITE, IO_WRITE_ZEROES):
            return Answer(INVALID_OPCODE, dnr=True)
        at, length = request.lba << ns.lbads, request.blocks << ns.lbads
        if request.opcode != IO_WRITE_ZEROES and 0 < self.target.mdts < 20 and length > 4096 << self.target.mdts:
            return Answer(INVALID_FIELD, dnr=True)
        if at + length > len(ns.data):
            return Answer(LBA_OUT_OF_RANGE, dnr=True)
        if request.opcode == IO_READ:
            return Answer(data=bytes(ns.data[at:at + length]))
        ns.data[at:at + length] = request.data if request.opcode == IO_WRITE else bytes(length)
        return Answer()
