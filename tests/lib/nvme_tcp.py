# SPDX-License-Identifier: BSD-3-Clause
"""NVMe/TCP by hand: enough of a host to hold any conversation with a target, right ones and wrong ones.

    host = Host(port, nqn, io_queues=1)               connected, enabled
    host.io.write(0, b"..."), host.io.read(0, 8)      whole commands, R2Ts answered
    host.io.submit(sqe, data); host.io.wait(cid)      many at once
    conn.send_pdu(CMD, header, data, plen=7)          any field wrong that one likes
    conn.expect_term(INVALID_HEADER, fei=4)           how it must end

Numbers are the NVMe base, command set, fabrics and TCP transport specifications'. Independent of the project's C code
on purpose: a mistake made there is not made here too.
"""
import socket
import struct
import uuid
from dataclasses import dataclass

from tcp import Ended, TcpConn

# PDU types
ICREQ, ICRESP, H2CTERM, C2HTERM, CMD, RSP, H2CDATA, C2HDATA, R2T = 0, 1, 2, 3, 4, 5, 6, 7, 9
HEADER_LENGTH = {ICREQ: 128, ICRESP: 128, H2CTERM: 24, C2HTERM: 24, CMD: 72, RSP: 24, H2CDATA: 24, C2HDATA: 24, R2T: 24}
# Flags of a PDU
HDGSTF, DDGSTF, LAST, SUCCESS = 1, 2, 4, 8
# Fatal error status
INVALID_HEADER, SEQUENCE, HEADER_DIGEST, OUT_OF_RANGE, LIMIT_EXCEEDED, UNSUPPORTED = 1, 2, 3, 4, 5, 6
# Where fields are: what FEI says of them
AT_TYPE, AT_FLAGS, AT_HLEN, AT_PDO, AT_PLEN = 0, 1, 2, 3, 4
AT_PFV, AT_HPDA, AT_DGST = 8, 10, 11
AT_CCCID, AT_TTAG, AT_DATAO, AT_DATAL = 8, 10, 12, 16
# Opcodes
ADMIN_GET_LOG_PAGE, ADMIN_IDENTIFY, ADMIN_ABORT, ADMIN_SET_FEATURES, ADMIN_GET_FEATURES = 0x02, 0x06, 0x08, 0x09, 0x0a
ADMIN_ASYNC_EVENT, ADMIN_KEEP_ALIVE, FABRICS = 0x0c, 0x18, 0x7f
IO_FLUSH, IO_WRITE, IO_READ, IO_COMPARE, IO_WRITE_ZEROES, IO_DSM = 0x00, 0x01, 0x02, 0x05, 0x08, 0x09
FABRICS_PROPERTY_SET, FABRICS_CONNECT, FABRICS_PROPERTY_GET = 0x00, 0x01, 0x04
# Status: code type in bits 8-10, code in 0-7
OK, INVALID_OPCODE, INVALID_FIELD, DATA_TRANSFER_ERROR, ABORTED, INVALID_NAMESPACE = 0x00, 0x01, 0x02, 0x04, 0x07, 0x0b
SEQUENCE_ERROR, SGL_LENGTH_INVALID, SGL_TYPE_INVALID, SGL_OFFSET_INVALID = 0x0c, 0x0f, 0x11, 0x16
TRANSIENT_TRANSPORT_ERROR, LBA_OUT_OF_RANGE = 0x22, 0x80
AER_LIMIT_EXCEEDED, CONNECT_INVALID_PARAMETERS, CONNECT_INVALID_HOST = 0x105, 0x182, 0x184
CONNECT_CONTROLLER_BUSY = 0x181
# Properties
CAP, VS, CC, CSTS = 0x00, 0x08, 0x14, 0x1c

DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"
HOST_NQN = "nqn.2014-08.org.nvmexpress:uuid:6b8b4567-327b-43c6-8b8b-456766334873"
TIMEOUT_S = 60


class Terminated(Ended):
    """The target sent a C2HTermReq."""

    def __init__(self, pdu):
        self.fes, self.fei = struct.unpack_from("<HI", pdu.header, 8)
        self.quoted = pdu.data
        super().__init__(f"C2HTermReq: FES {self.fes}, FEI {self.fei:#x}")


# --- CRC-32C ---------------------------------------------------------------------------------------------------

def make_crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = make_crc_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ crc >> 8
    return crc ^ 0xffffffff


assert crc32c(b"123456789") == 0xe3069283


# --- making commands and PDUs ----------------------------------------------------------------------------------

def sgl_in_capsule(length, offset=0):
    return struct.pack("<QI3xB", offset, length, 0x01)


def sgl_transport(length):
    return struct.pack("<QI3xB", 0, length, 0x5a)


def sqe(opcode, nsid=0, sgl=bytes(16), cdw10=0, cdw11=0, cdw12=0, cdw13=0, cdw14=0, cdw15=0, flags=0x40, cid=0):
    """A submission queue entry; submit() fills in CID, and the SGL unless one is given."""
    return struct.pack("<BBHI8xQ16s6I", opcode, flags, cid, nsid, 0, sgl, cdw10, cdw11, cdw12, cdw13, cdw14, cdw15)


def rw(opcode, lba, blocks, nsid=1, **more):
    return sqe(opcode, nsid, cdw10=lba & 0xffffffff, cdw11=lba >> 32, cdw12=blocks - 1, **more)


def with_cid(command, cid):
    return command[:2] + struct.pack("<H", cid) + command[4:]


def with_sgl(command, sgl):
    return command[:24] + sgl + command[40:]


def make_pdu(kind, rest, data=b"", *, hdgst=False, ddgst=False, align=4, flags=0, hlen=None, pdo=None, plen=None,
             exact_flags=None, header_digest=None, data_digest=None):
    """A PDU with all its lengths and digests right, but for those that are given. `rest` is the header after its first
    eight bytes; `flags` are added to the digests' flags, `exact_flags` replaces all."""
    length = 8 + len(rest)
    flags |= (HDGSTF if hdgst else 0) | (DDGSTF if ddgst and data else 0)
    at = length + (4 if hdgst else 0)
    pad = -at % align if data else 0
    whole = at + pad + len(data) + (4 if flags & DDGSTF else 0)
    header = struct.pack("<BBBBI", kind, flags if exact_flags is None else exact_flags,
                         length if hlen is None else hlen, (at + pad if data else 0) if pdo is None else pdo,
                         whole if plen is None else plen) + rest
    out = header
    if hdgst:
        out += struct.pack("<I", crc32c(header) if header_digest is None else header_digest)
    out += bytes(pad) + data
    if flags & DDGSTF:
        out += struct.pack("<I", crc32c(data) if data_digest is None else data_digest)
    return out


def make_icreq(pfv=0, hpda=0, dgst=0, maxr2t=0, **wrong):
    return make_pdu(ICREQ, struct.pack("<HBBI112x", pfv, hpda, dgst, maxr2t), **wrong)


@dataclass
class Pdu:
    type: int
    flags: int
    header: bytes
    data: bytes


@dataclass
class Completion:
    cid: int
    status: int   # code type and code, without the flags
    dnr: bool
    value: int    # dwords 0 and 1
    sqhd: int
    sqid: int
    data: bytes = b""


@dataclass
class R2t:
    cid: int
    ttag: int
    offset: int
    length: int


# --- one connection --------------------------------------------------------------------------------------------

class Conn(TcpConn):
    """A TCP connection to a controller. With `handshake`, ICReq and ICResp are exchanged. `secure` makes a secured
    socket of one, see tls.py."""

    def __init__(self, port, address="127.0.0.1", *, hdgst=False, ddgst=False, hpda=0, maxr2t=0, handshake=True,
                 secure=None):
        sock = socket.create_connection((address, port), TIMEOUT_S)
        super().__init__(secure(sock) if secure else sock)
        self.hdgst = self.ddgst = False
        self.hpda, self.align = hpda, 4       # alignment of what we get, and of what we send
        self.next_cid = 0
        self.pending = {}                     # cid: what it still has to say
        self.read_data = {}                   # cid: bytes that came
        self.done = {}
        if handshake:
            self.handshake(hdgst, ddgst, hpda, maxr2t)

    # --- PDUs ---

    def send_pdu(self, kind, rest, data=b"", **wrong):
        """A PDU with what was negotiated; see make_pdu()."""
        self.send(self.pdu(kind, rest, data, **wrong))

    def pdu(self, kind, rest, data=b"", **wrong):
        return make_pdu(kind, rest, data, hdgst=self.hdgst, ddgst=self.ddgst, align=self.align, **wrong)

    def recv_pdu(self):
        """The next PDU, whatever it is; its lengths, flags, padding and digests have been checked."""
        common = self.recv_exactly(8)
        kind, flags, hlen, pdo, plen = struct.unpack("<BBBBI", common)
        assert kind in (ICRESP, C2HTERM, RSP, C2HDATA, R2T), f"not a PDU for a host: type {kind}"
        assert hlen == HEADER_LENGTH[kind], f"HLEN {hlen} of PDU type {kind}"
        header = common + self.recv_exactly(hlen - 8)
        digested = self.hdgst and kind not in (ICRESP, C2HTERM)
        assert bool(flags & HDGSTF) == digested, f"header digest flag of PDU type {kind}: {flags:#x}"
        at = hlen
        if digested:
            assert struct.unpack("<I", self.recv_exactly(4))[0] == crc32c(header), "header digest"
            at += 4
        data = b""
        if kind == C2HTERM:
            data = self.recv_exactly(plen - at)
        elif plen > at:
            assert kind == C2HDATA, f"PDU type {kind} with data"
            assert pdo >= at and pdo % (4 * (self.hpda + 1)) == 0, f"PDO {pdo} with HPDA {self.hpda}"
            self.recv_exactly(pdo - at)
            tail = 4 if flags & DDGSTF else 0
            assert bool(tail) == self.ddgst, f"data digest flag: {flags:#x}"
            data = self.recv_exactly(plen - pdo - tail)
            if tail:
                assert struct.unpack("<I", self.recv_exactly(4))[0] == crc32c(data), "data digest"
        return Pdu(kind, flags, header, data)

    def handshake(self, hdgst=False, ddgst=False, hpda=0, maxr2t=0):
        self.send(make_icreq(0, hpda, (1 if hdgst else 0) | (2 if ddgst else 0), maxr2t))
        self.on_icresp(self.recv_pdu(), hdgst, ddgst)

    def on_icresp(self, pdu, hdgst=False, ddgst=False):
        if pdu.type == C2HTERM:
            raise Terminated(pdu)
        assert pdu.type == ICRESP, f"PDU type {pdu.type} instead of ICResp"
        pfv, self.cpda, dgst, self.maxh2cdata = struct.unpack_from("<HBBI", pdu.header, 8)
        assert pfv == 0 and self.cpda <= 31 and self.maxh2cdata >= 4096 and self.maxh2cdata % 4 == 0
        assert dgst == (1 if hdgst else 0) | (2 if ddgst else 0), f"digests asked for and given: {dgst}"
        self.align = 4 * (self.cpda + 1)
        self.hdgst, self.ddgst = hdgst, ddgst

    # --- how it ends ---

    def expect_term(self, fes, fei=0, quoting=b""):
        """The target must say what was wrong, and close. Answers of earlier commands may come first."""
        try:
            while True:
                pdu = self.recv_pdu()
                if pdu.type == C2HTERM:
                    break
        except Ended:
            raise AssertionError(f"closed without a C2HTermReq (FES {fes}, FEI {fei:#x} expected)") from None
        except socket.timeout:
            raise AssertionError(f"no C2HTermReq (FES {fes}, FEI {fei:#x} expected)") from None
        term = Terminated(pdu)
        assert (term.fes, term.fei) == (fes, fei), f"{term}; expected FES {fes}, FEI {fei:#x}"
        assert len(term.quoted) <= 128, f"quotes {len(term.quoted)} bytes of the PDU"
        assert term.quoted.startswith(quoting) or quoting.startswith(term.quoted), "quotes another PDU"
        self.sock.shutdown(socket.SHUT_WR)   # it is the host that has to close then
        self.expect_closed()

    # --- commands ---

    def submit(self, command, data=b"", *, in_capsule=True, expect=0, **wrong):
        """Send a command and return its CID. `data` goes with it, or after it when asked for (R2T); `expect`: bytes
        that are to come back. A command with an SGL of its own keeps it."""
        cid = self.next_cid
        self.next_cid = (self.next_cid + 1) % 0xf000
        command = with_cid(command, cid)
        if command[24:40] == bytes(16):
            if data and in_capsule:
                command = with_sgl(command, sgl_in_capsule(len(data)))
            elif data or expect:
                command = with_sgl(command, sgl_transport(len(data) or expect))
        self.pending[cid] = data
        self.send_pdu(CMD, command, data if in_capsule else b"", **wrong)
        return cid

    def wait(self, cid):
        """The completion of one command; what comes for others meanwhile is dealt with."""
        while cid not in self.done:
            self.step()
        return self.done.pop(cid)

    def step(self):
        """Take one PDU and do what it asks for."""
        pdu = self.recv_pdu()
        if pdu.type == C2HTERM:
            raise Terminated(pdu)
        if pdu.type == R2T:
            self.answer_r2t(self.r2t_of(pdu))
        elif pdu.type == C2HDATA:
            self.on_data(pdu)
        else:
            self.on_response(pdu)

    def command(self, command, data=b"", **how):
        return self.wait(self.submit(command, data, **how))

    @staticmethod
    def r2t_of(pdu):
        assert pdu.type == R2T, f"PDU type {pdu.type} instead of R2T"
        return R2t(*struct.unpack_from("<HHII", pdu.header, 8))

    def recv_r2t(self):
        return self.r2t_of(self.recv_pdu())

    def send_h2c(self, r2t, offset, data, *, last=False, cid=None, ttag=None, length=None, flags=0, **wrong):
        """One H2CData for this R2T. `offset` is the command's."""
        rest = struct.pack("<HHII4x", r2t.cid if cid is None else cid, r2t.ttag if ttag is None else ttag, offset,
                           len(data) if length is None else length)
        self.send_pdu(H2CDATA, rest, data, flags=flags | (LAST if last else 0), **wrong)

    def answer_r2t(self, r2t, piece=None):
        """Send what was asked for in pieces of at most `piece` bytes."""
        data = self.pending[r2t.cid]
        piece = min(piece or self.maxh2cdata, self.maxh2cdata)
        end = r2t.offset + r2t.length
        assert r2t.length > 0 and end <= len(data), f"R2T for {r2t.offset}+{r2t.length} of {len(data)} bytes"
        for at in range(r2t.offset, end, piece):
            part = data[at:min(at + piece, end)]
            self.send_h2c(r2t, at, part, last=at + len(part) == end)

    def on_data(self, pdu):
        cid, _, offset, length = struct.unpack_from("<HHII", pdu.header, 8)
        assert cid in self.pending, f"data for CID {cid}, which is not outstanding"
        assert length == len(pdu.data), f"DATAL {length}, {len(pdu.data)} bytes"
        assert offset == len(self.read_data.get(cid, b"")), f"data at {offset} out of order"
        self.read_data[cid] = self.read_data.get(cid, b"") + pdu.data
        if pdu.flags & SUCCESS:
            assert pdu.flags & LAST, "SUCCESS without LAST"
            self.complete(Completion(cid, OK, False, 0, None, None))

    def on_response(self, pdu):
        assert pdu.type == RSP, f"PDU type {pdu.type} instead of a response"
        value, sqhd, sqid, cid, status = struct.unpack_from("<QHHHH", pdu.header, 8)
        assert cid in self.pending, f"response for CID {cid}, which is not outstanding"
        self.complete(Completion(cid, status >> 1 & 0x7ff, bool(status >> 15), value, sqhd, sqid))

    def complete(self, completion):
        self.pending.pop(completion.cid)
        completion.data = self.read_data.pop(completion.cid, b"")
        self.done[completion.cid] = completion

    # --- fabrics ---

    def connect(self, nqn, qid=0, entries=32, kato_ms=0, cntlid=0xffff, hostnqn=HOST_NQN, hostid=None, recfmt=0):
        hostid = hostid or uuid.UUID(hostnqn[-36:]).bytes
        data = struct.pack("<16sH238x256s256s256x", hostid, cntlid, nqn.encode(), hostnqn.encode())
        # RECFMT, QID; SQSIZE (0's based), CATTR; KATO
        command = sqe(FABRICS, FABRICS_CONNECT, cdw10=recfmt | qid << 16, cdw11=entries - 1, cdw12=kato_ms)
        return self.command(command, data)

    def property_get(self, offset, size=4):
        return must(self.command(sqe(FABRICS, FABRICS_PROPERTY_GET, cdw10=1 if size == 8 else 0, cdw11=offset))).value

    def property_set(self, offset, value):
        must(self.command(sqe(FABRICS, FABRICS_PROPERTY_SET, cdw11=offset, cdw12=value)))

    # --- admin ---

    def identify(self, cns, nsid=0, cdw11=0):
        return must(self.command(sqe(ADMIN_IDENTIFY, nsid, cdw10=cns, cdw11=cdw11), expect=4096)).data

    def get_log_page(self, lid, length, offset=0, nsid=0xffffffff, rae=False):
        dwords = length // 4 - 1
        return must(self.command(sqe(ADMIN_GET_LOG_PAGE, nsid, cdw10=lid | rae << 15 | (dwords & 0xffff) << 16,
                                     cdw11=dwords >> 16, cdw12=offset & 0xffffffff, cdw13=offset >> 32),
                                 expect=length)).data

    # --- reading and writing ---

    def write(self, lba, data, block_size=512, nsid=1, **how):
        return self.command(rw(IO_WRITE, lba, len(data) // block_size, nsid), data, **how)

    def read(self, lba, blocks, block_size=512, nsid=1):
        """The bytes; the command must succeed."""
        data = must(self.command(rw(IO_READ, lba, blocks, nsid), expect=blocks * block_size)).data
        assert len(data) == blocks * block_size, f"{len(data)} bytes of {blocks} blocks"
        return data


def must(completion):
    assert completion.status == OK, f"status {completion.status:#x}"
    return completion


# --- a host: an admin connection and I/O connections -----------------------------------------------------------

class Host:
    """A controller of a subsystem, enabled, with I/O queues. `host.admin`, `host.ios[n]`, `host.io` (the first)."""

    def __init__(self, port, nqn, io_queues=1, entries=128, kato_ms=0, hostnqn=HOST_NQN, asks=0xffff, **conn):
        """`asks` for that controller; FFFFh: a dynamic one, FFFEh: any static one."""
        self.port, self.nqn, self.entries, self.hostnqn, self.conn = port, nqn, entries, hostnqn, conn
        self.ios = []
        self.admin = Conn(port, **conn)
        self.cntlid = must(self.admin.connect(nqn, kato_ms=kato_ms, hostnqn=hostnqn, cntlid=asks)).value & 0xffff
        self.enable()
        for _ in range(io_queues):
            self.add_io()

    def enable(self):
        self.admin.property_set(CC, 4 << 20 | 6 << 16 | 1)   # 16 and 64 byte entries, enabled
        while not self.admin.property_get(CSTS) & 1:
            pass

    def add_io(self, entries=None, **conn):
        io = Conn(self.port, **{**self.conn, **conn})
        must(io.connect(self.nqn, len(self.ios) + 1, entries or self.entries, cntlid=self.cntlid, hostnqn=self.hostnqn))
        self.ios.append(io)
        return io

    @property
    def io(self):
        return self.ios[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for conn in [*self.ios, self.admin]:
            conn.close()
