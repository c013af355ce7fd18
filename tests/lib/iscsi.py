# SPDX-License-Identifier: BSD-3-Clause
"""iSCSI by hand: enough of an initiator to hold any conversation with a target, right ones and wrong ones.

    s = Session(port, TARGET)                         logged in, keys as by default
    s = Session(port, TARGET, keys={"HeaderDigest": "CRC32C"}, chap=Chap("user", "secret"))
    s.write(0, b"..."), s.read(0, 8)                  whole commands, R2Ts answered
    itt = s.submit(cdb, data); s.wait(itt)            many at once
    c = Conn(port); c.login_request(...)              step by step
    c.send_pdu(NOP_OUT, data_length=7)                any field wrong that one likes
    s.expect_reject(PROTOCOL_ERROR)                   how it must end

Numbers are RFC 7143's (iSCSI), RFC 1994's (CHAP), SPC-5's and SBC-4's. Everything that arrives is checked against what
was negotiated. Independent of the project's C code on purpose: a mistake made there is not made here too.
"""
import hashlib
import os
import socket
import struct
from dataclasses import dataclass, field

from nvme_tcp import crc32c
from tcp import Ended, TcpConn  # noqa: F401 (Ended is for tests)

# Opcodes of initiators, and of targets
NOP_OUT, SCSI_COMMAND, TASK_MANAGEMENT, LOGIN, TEXT, DATA_OUT, LOGOUT, SNACK = 0, 1, 2, 3, 4, 5, 6, 0x10
NOP_IN, SCSI_RESPONSE, TASK_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE = 0x20, 0x21, 0x22, 0x23, 0x24
DATA_IN, LOGOUT_RESPONSE, R2T, ASYNC, REJECT = 0x25, 0x26, 0x31, 0x32, 0x3f
IMMEDIATE = 0x40            # of the opcode byte
# Bits of byte 1
FINAL, CONTINUE, READ, WRITE, STATUS, ACKNOWLEDGE = 0x80, 0x40, 0x40, 0x20, 0x01, 0x40
OVERFLOW, UNDERFLOW = 0x04, 0x02
UNTAGGED, SIMPLE, ORDERED, HEAD_OF_QUEUE, ACA = range(5)
# Stages of the login
SECURITY, OPERATIONAL, FULL_FEATURE = 0, 1, 3
# Reasons of a Reject
DATA_DIGEST_ERROR, SNACK_REJECT, PROTOCOL_ERROR, NOT_SUPPORTED, TOO_MANY_IMMEDIATE, IN_PROGRESS = 2, 3, 4, 5, 6, 7
INVALID_FIELD, OUT_OF_RESOURCES, NEGOTIATION_RESET, WAITING_FOR_LOGOUT = 9, 0x0a, 0x0b, 0x0c
# Status of a login: class and detail
SUCCESS, MOVED_TEMPORARILY, MOVED_PERMANENTLY, INITIATOR_ERROR, AUTHENTICATION_FAILURE = 0, 0x101, 0x102, 0x200, 0x201
AUTHORIZATION_FAILURE, NOT_FOUND, TARGET_REMOVED, UNSUPPORTED_VERSION, TOO_MANY_CONNECTIONS = \
    0x202, 0x203, 0x204, 0x205, 0x206
MISSING_PARAMETER, CANNOT_INCLUDE, SESSION_TYPE, NO_SESSION, INVALID_DURING_LOGIN = 0x207, 0x208, 0x209, 0x20a, 0x20b
# Task management
ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET, LUN_RESET, WARM_RESET, COLD_RESET, REASSIGN = range(1, 9)
TASK_COMPLETE, NO_TASK, NO_LUN, STILL_ALLEGIANT, NO_REASSIGN, TASK_UNSUPPORTED, NOT_AUTHORIZED, TASK_REJECTED = \
    0, 1, 2, 3, 4, 5, 6, 255
# SCSI
GOOD, CHECK_CONDITION, BUSY, RESERVATION_CONFLICT, TASK_SET_FULL, TASK_ABORTED = 0, 2, 8, 0x18, 0x28, 0x40
NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, UNIT_ATTENTION, DATA_PROTECT, ABORTED_COMMAND = 2, 3, 5, 6, 7, 0xb
INVALID_OPCODE, INVALID_FIELD_IN_CDB, NO_SUCH_LUN, LBA_OUT_OF_RANGE = 0x2000, 0x2400, 0x2500, 0x2100
CAPACITY_CHANGED, LUNS_CHANGED, POWER_ON_OR_RESET, RESET_BY_MESSAGE = 0x2a09, 0x3f0e, 0x2900, 0x2903
CRC_ERROR, COMMANDS_CLEARED = 0x4705, 0x2f00

INITIATOR = "iqn.2026-11.test.initiator:one"
ISID = b"\x80\0\0\0\0\1"
NONE = 0xffffffff
TIMEOUT_S = 60
CHAP_HASHES = {5: hashlib.md5, 6: hashlib.sha1, 7: hashlib.sha256, 8: hashlib.sha3_256}
# What holds when nothing was said, RFC 7143 chapter 13
DEFAULTS = {"HeaderDigest": "None", "DataDigest": "None", "MaxConnections": "1", "InitialR2T": "Yes",
            "ImmediateData": "Yes", "MaxRecvDataSegmentLength": "8192", "MaxBurstLength": "262144",
            "FirstBurstLength": "65536", "DefaultTime2Wait": "2", "DefaultTime2Retain": "20", "MaxOutstandingR2T": "1",
            "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes", "ErrorRecoveryLevel": "0"}


class Rejected(Exception):
    """The target sent a Reject."""

    def __init__(self, pdu):
        self.reason, self.quoted = pdu.bhs[2], pdu.data
        super().__init__(f"Reject, reason {self.reason:#x}, of {pdu.data[:48].hex(' ', 4)}")


class LoginFailed(Exception):
    def __init__(self, answer):
        self.status, self.answer = answer.status, answer
        super().__init__(f"login refused with status {answer.status:#06x}, {answer.keys}")


# --- PDUs ----------------------------------------------------------------------------------------------------------

def pad(data):
    return data + bytes(-len(data) % 4)


def make_pdu(opcode, flags=FINAL, *, immediate=False, bytes23=0, lun=0, itt=NONE, words=(), ahs=b"", data=b"",
             hdgst=False, ddgst=False, data_length=None, ahs_length=None, header_digest=None, data_digest=None,
             cdb=None):
    """A PDU with its lengths and digests right, but for those that are given. `words`: what is in bytes 20.. of the
    header; `cdb`: its last 16 bytes."""
    words = tuple(words) + (0,) * (7 - len(words))
    bhs = struct.pack(">BBHI8sI7I", opcode | (IMMEDIATE if immediate else 0), flags, bytes23,
                      (len(ahs) // 4 if ahs_length is None else ahs_length) << 24
                      | (len(data) if data_length is None else data_length),
                      lun if isinstance(lun, bytes) else lun_bytes(lun), itt, *words)
    if cdb is not None:
        bhs = bhs[:32] + cdb.ljust(16, b"\0")
    header = bhs + ahs
    out = header
    if hdgst:
        out += struct.pack("<I", crc32c(header) if header_digest is None else header_digest)
    if data:
        out += pad(data)
        if ddgst:
            out += struct.pack("<I", crc32c(pad(data)) if data_digest is None else data_digest)
    return out


def lun_bytes(lun):
    """Peripheral device addressing for the first 256, flat space for more."""
    return struct.pack(">H6x", lun if lun < 256 else 0x4000 | lun)


@dataclass
class Pdu:
    bhs: bytes
    ahs: bytes = b""
    data: bytes = b""

    def u32(self, at):
        return struct.unpack_from(">I", self.bhs, at)[0]

    opcode = property(lambda self: self.bhs[0] & 0x3f)
    flags = property(lambda self: self.bhs[1])
    itt = property(lambda self: self.u32(16))
    ttt = property(lambda self: self.u32(20))
    statsn = property(lambda self: self.u32(24))
    expcmdsn = property(lambda self: self.u32(28))
    maxcmdsn = property(lambda self: self.u32(32))

    def __str__(self):
        return f"PDU {self.opcode:#x} flags {self.flags:#x} itt {self.itt:#x} {self.bhs[20:].hex(' ', 4)}"


def make_text(keys):
    """From a dictionary, or pairs when a key is there twice, or bytes as they are."""
    if isinstance(keys, bytes):
        return keys
    pairs = keys.items() if isinstance(keys, dict) else keys
    return b"".join(f"{key}={value}".encode() + b"\0" for key, value in pairs)


def parse_text(data):
    """Pairs."""
    if not data:
        return []
    assert data.endswith(b"\0"), f"text that is not ended by a zero: {data[-40:]!r}"
    pairs = [part.decode().split("=", 1) for part in data[:-1].split(b"\0")]
    assert all(len(pair) == 2 for pair in pairs), f"text without '=': {data!r}"
    return [tuple(pair) for pair in pairs]


@dataclass
class Text:
    """Text answered: keys in order; those of a login with its state."""
    pairs: list
    status: int = 0
    transit: bool = False
    csg: int = 0
    nsg: int = 0
    tsih: int = 0
    pdu: Pdu = None

    @property
    def keys(self):
        keys = dict(self.pairs)
        assert len(keys) == len(self.pairs), f"a key twice: {self.pairs}"
        return keys


# --- CHAP --------------------------------------------------------------------------------------------------------

def number(text):
    """A hexadecimal, base64 or decimal constant of a key, as bytes."""
    if text[:2].lower() == "0x":
        return bytes.fromhex(text[2:].zfill(len(text[2:]) + len(text[2:]) % 2))
    if text[:2].lower() == "0b":
        import base64
        return base64.b64decode(text[2:])
    return bytes([int(text)])


@dataclass
class Chap:
    """Who we are, and who the target has to be (`target_user` and `target_secret`: mutual)."""
    user: str
    secret: str
    target_user: str = None
    target_secret: str = None
    algorithms: tuple = (5,)
    identifier: int = 77
    challenge: bytes = field(default_factory=lambda: os.urandom(16))

    def answer(self, offered):
        """The keys for CHAP_A, CHAP_I, CHAP_C of the target."""
        algorithm = int(offered["CHAP_A"])
        assert algorithm in self.algorithms, f"CHAP_A={algorithm} was not offered"
        self.hash = CHAP_HASHES[algorithm]
        challenge = number(offered["CHAP_C"])
        assert 16 <= len(challenge) <= 1024, f"a challenge of {len(challenge)} bytes"
        response = self.response(int(offered["CHAP_I"]), self.secret, challenge)
        keys = {"CHAP_N": self.user, "CHAP_R": "0x" + response.hex()}
        if self.target_secret:
            keys |= {"CHAP_I": str(self.identifier), "CHAP_C": "0x" + self.challenge.hex()}
        return keys

    def response(self, identifier, secret, challenge):
        return self.hash(bytes([identifier]) + secret.encode() + challenge).digest()

    def check(self, answered):
        if self.target_secret:
            assert answered["CHAP_N"] == self.target_user
            assert number(answered["CHAP_R"]) == self.response(self.identifier, self.target_secret, self.challenge)


# --- a connection: PDUs and logins --------------------------------------------------------------------------------

class Conn(TcpConn):
    """One with the numbers that every PDU carries."""

    def __init__(self, port, host="127.0.0.1", timeout_s=TIMEOUT_S, receive_buffer=None):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout_s)
        sock.connect((host, port))
        super().__init__(sock)
        self.hdgst = self.ddgst = False
        self.max_receive = 8192             # what we said we take in a PDU
        self.cmdsn, self.expstatsn = 1, None
        self.expcmdsn = self.maxcmdsn = None
        self.next_itt = 1

    # --- PDUs ---

    def send_pdu(self, opcode, flags=FINAL, **fields):
        """See make_pdu()."""
        self.send(make_pdu(opcode, flags, **{"hdgst": self.hdgst, "ddgst": self.ddgst, **fields}))

    def recv_pdu(self):
        """The next PDU, whatever it is; its lengths, digests and sequence numbers have been checked."""
        bhs = self.recv_exactly(48)
        length = int.from_bytes(bhs[5:8], "big")
        assert 0x20 <= bhs[0] <= 0x3f, f"not an opcode of targets: {bhs[0]:#x}"
        assert length <= self.max_receive, f"{length} bytes of data, {self.max_receive} were agreed"
        ahs = self.recv_exactly(4 * bhs[4])
        if self.hdgst:
            assert struct.unpack("<I", self.recv_exactly(4))[0] == crc32c(bhs + ahs), "header digest"
        padded = self.recv_exactly(length + -length % 4)
        if self.ddgst and length:
            assert struct.unpack("<I", self.recv_exactly(4))[0] == crc32c(padded), "data digest"
        pdu = Pdu(bhs, ahs, padded[:length])
        self.number(pdu)
        return pdu

    def number(self, pdu):
        """StatSN without a gap, and a command window that does not shrink."""
        if pdu.opcode == R2T or (pdu.opcode == DATA_IN and not pdu.flags & STATUS):
            pass                                            # no status
        elif pdu.opcode == NOP_IN and pdu.itt == NONE:      # the next StatSN, not used up
            assert pdu.statsn == self.expstatsn, f"StatSN {pdu.statsn}, expected {self.expstatsn} of {pdu}"
        else:
            assert self.expstatsn in (None, pdu.statsn), f"StatSN {pdu.statsn}, expected {self.expstatsn} of {pdu}"
            self.expstatsn = pdu.statsn + 1 & NONE
        if self.expcmdsn is not None:
            assert 0 <= serial(pdu.expcmdsn - self.expcmdsn), f"ExpCmdSN went back to {pdu.expcmdsn}"
            assert 0 <= serial(pdu.maxcmdsn - self.maxcmdsn), f"MaxCmdSN went back to {pdu.maxcmdsn}"
        self.expcmdsn, self.maxcmdsn = pdu.expcmdsn, pdu.maxcmdsn

    def new_itt(self):
        self.next_itt += 1
        return self.next_itt - 1

    # --- login, one request at a time ---

    def login_request(self, csg, nsg, keys=b"", *, transit=True, cont=False, isid=ISID, tsih=0, itt=0, cid=1,
                      version_max=0, version_min=0, cmdsn=None, expstatsn=None, **fields):
        flags = (FINAL if transit else 0) | (CONTINUE if cont else 0) | csg << 2 | (nsg if transit else 0)
        self.send_pdu(LOGIN, fields.pop("flags", flags), immediate=fields.pop("immediate", True),
                      bytes23=version_max << 8 | version_min, lun=isid + struct.pack(">H", tsih), itt=itt,
                      words=(cid << 16, self.cmdsn if cmdsn is None else cmdsn,
                             (self.expstatsn or 0) if expstatsn is None else expstatsn),
                      data=make_text(keys), **fields)

    def login_response(self):
        """The next answer, its parts (C bit) put together."""
        text = b""
        while True:
            pdu = self.recv_pdu()
            if pdu.opcode == REJECT:
                raise Rejected(pdu)
            assert pdu.opcode == LOGIN_RESPONSE, f"{pdu} instead of a login response"
            assert pdu.bhs[2] == 0 and pdu.bhs[3] == 0, f"version {pdu.bhs[2]}, {pdu.bhs[3]}"
            text += pdu.data
            if not pdu.flags & CONTINUE:
                break
            csg = pdu.flags >> 2 & 3
            self.login_request(csg, 0, transit=False, isid=pdu.bhs[8:14], itt=pdu.itt)
        return Text(parse_text(text), struct.unpack_from(">H", pdu.bhs, 36)[0], bool(pdu.flags & FINAL),
                    pdu.flags >> 2 & 3, pdu.flags & 3, struct.unpack_from(">H", pdu.bhs, 14)[0], pdu)

    def login_step(self, csg, nsg, keys=b"", **how):
        self.login_request(csg, nsg, keys, **how)
        return self.login_response()

    # --- how it ends ---

    def expect_reject(self, *reasons, quoting=None):
        """The next PDU is a Reject with one of these reasons, and says of what."""
        pdu = self.recv_pdu()
        assert pdu.opcode == REJECT, f"{pdu} instead of a Reject"
        rejected = Rejected(pdu)
        assert not reasons or rejected.reason in reasons, f"{rejected}; expected reason {reasons}"
        assert pdu.itt == NONE and len(rejected.quoted) >= 48, f"{pdu}"
        assert quoting is None or rejected.quoted[:48] == quoting[:48], f"{rejected}, not {quoting[:48].hex(' ', 4)}"
        return rejected


def serial(difference):
    """Of two sequence numbers, as a signed number."""
    return (difference & NONE ^ 0x80000000) - 0x80000000


# --- a session in the full feature phase --------------------------------------------------------------------------

@dataclass
class Result:
    """How a SCSI command went."""
    status: int
    response: int = 0
    flags: int = 0
    residual: int = 0
    data: bytes = b""
    sense: bytes = b""
    pdu: Pdu = None

    @property
    def key(self):
        return self.sense[2] & 0xf if self.sense[0] & 0x7f in (0x70, 0x71) else self.sense[1] & 0xf

    @property
    def asc(self):
        """ASC and ASCQ in one number."""
        at = 12 if self.sense[0] & 0x7f in (0x70, 0x71) else 2
        return struct.unpack_from(">H", self.sense, at)[0]

    def __str__(self):
        sense = f", sense {self.key:#x}/{self.asc:#06x}" if self.sense else ""
        return (f"status {self.status:#x}{sense}, response {self.response}, flags {self.flags:#x}, residual "
                f"{self.residual}, {len(self.data)} bytes")


@dataclass
class Outstanding:
    """A command that is not answered yet."""
    data: bytes                 # to be written
    expect: int
    lun: int = 0
    got: dict = field(default_factory=dict)     # offset: what was read
    datasn: int = 0             # of the next Data-In
    r2tsn: int = 0
    burst: int = 0              # bytes of the sequence of Data-In that is under way


class Session(Conn):
    """A normal session, logged in; or a discovery session, with target=None."""

    def __init__(self, port, target, keys=None, chap=None, initiator=INITIATOR, isid=ISID, tsih=0,
                 attentions=True, cmdsn=1, **conn):
        super().__init__(port, **conn)
        self.cmdsn = cmdsn
        self.target, self.initiator, self.isid = target, initiator, isid
        self.outstanding = {}
        self.done = {}
        self.others = []            # NOP-Ins, asynchronous messages and responses that nobody waited for
        self.hold_r2t = False       # keep R2Ts for the test instead of answering them
        self.r2ts = []
        self.answer_nops = True
        self.keys = {}
        try:
            self.login(keys or {}, chap, tsih)
            if target and attentions:
                self.clear_attentions()
        except BaseException:
            self.close()
            raise

    # --- login ---

    def login(self, keys, chap=None, tsih=0):
        """Security stage when there is something to prove, then operational negotiation with these keys."""
        names = {"InitiatorName": self.initiator, "SessionType": "Normal" if self.target else "Discovery"}
        if self.target:
            names["TargetName"] = self.target
        more = {"isid": self.isid, "tsih": tsih}
        stage = OPERATIONAL
        if chap:
            self.authenticate(names, chap, more)
            names = {}
        wanted = {"MaxRecvDataSegmentLength": "262144", **keys}
        answer = self.must(self.login_step(stage, FULL_FEATURE, {**names, **wanted}, **more))
        answered = answer.keys
        while not answer.transit:       # it has something to propose: that is fine with us
            proposed = {k: v for k, v in answer.keys.items() if k in DEFAULTS and k not in wanted}
            answer = self.must(self.login_step(OPERATIONAL, FULL_FEATURE, proposed, **more))
            answered |= answer.keys
        assert answer.nsg == FULL_FEATURE
        self.tsih = answer.tsih
        self.agree(wanted, answered)

    def authenticate(self, names, chap, more):
        keys = {**names, "AuthMethod": "CHAP"}
        answer = self.must(self.login_step(SECURITY, OPERATIONAL, keys, transit=False, **more))
        assert answer.keys["AuthMethod"] == "CHAP", answer.keys
        offer = {"CHAP_A": ",".join(map(str, chap.algorithms))}
        answer = self.must(self.login_step(SECURITY, OPERATIONAL, offer, transit=False, **more))
        answer = self.must(self.login_step(SECURITY, OPERATIONAL, chap.answer(answer.keys), **more))
        chap.check(answer.keys)
        assert answer.transit and answer.nsg == OPERATIONAL

    @staticmethod
    def must(answer):
        if answer.status != SUCCESS:
            raise LoginFailed(answer)
        return answer

    def agree(self, wanted, answered):
        """What holds now. Our MaxRecvDataSegmentLength is for what we receive, theirs for what we send."""
        self.keys = {**DEFAULTS, **{k: v for k, v in answered.items() if k in DEFAULTS and v != "Irrelevant"}}
        self.answered = answered
        self.max_receive = int(wanted["MaxRecvDataSegmentLength"])
        self.max_send = int(self.keys["MaxRecvDataSegmentLength"])
        self.hdgst, self.ddgst = self.keys["HeaderDigest"] == "CRC32C", self.keys["DataDigest"] == "CRC32C"
        self.max_burst, self.first_burst = int(self.keys["MaxBurstLength"]), int(self.keys["FirstBurstLength"])
        self.immediate_data = self.keys["ImmediateData"] == "Yes"
        self.initial_r2t = self.keys["InitialR2T"] == "Yes"

    def clear_attentions(self, lun=0):
        """A new session is told that there was a reset; take that."""
        for _ in range(8):
            if self.command(bytes(6), lun=lun).status != CHECK_CONDITION:
                return

    # --- SCSI commands ---

    def take_cmdsn(self, immediate=False):
        cmdsn = self.cmdsn
        if not immediate:
            self.cmdsn = self.cmdsn + 1 & NONE
        return cmdsn

    def submit(self, cdb, data=b"", expect=0, *, lun=0, attr=SIMPLE, immediate=False, immediate_data=None,
               unsolicited=None, itt=None, cmdsn=None, expected_length=None, flags=None, **fields):
        """Send a command; its ITT. Of `data`, the first `immediate_data` bytes go with the command and the next
        `unsolicited` bytes after it unasked, as much as was agreed unless told otherwise; the rest is asked for by
        R2Ts."""
        itt = self.new_itt() if itt is None else itt
        if immediate_data is None:
            immediate_data = min(len(data), self.max_send, self.first_burst) if self.immediate_data else 0
        if unsolicited is None:
            unsolicited = 0 if self.initial_r2t else min(len(data), self.first_burst) - immediate_data
        if cmdsn is None:
            cmdsn = self.take_cmdsn(immediate)
        if flags is None:
            flags = (WRITE if data else 0) | (READ if expect else 0) | attr | (0 if unsolicited else FINAL)
        if expected_length is None:
            expected_length = len(data) or expect
        self.outstanding[itt] = Outstanding(data, expect, lun)
        self.send_pdu(SCSI_COMMAND, flags, immediate=immediate, lun=lun, itt=itt, cdb=cdb,
                      words=(expected_length, cmdsn, self.expstatsn), data=data[:immediate_data], **fields)
        if unsolicited:
            self.send_sequence(itt, NONE, immediate_data, unsolicited)
        return itt

    def send_data(self, itt, ttt, offset, data, datasn=0, final=True, **fields):
        self.send_pdu(DATA_OUT, FINAL if final else 0, itt=itt, data=data,
                      **{"lun": self.outstanding[itt].lun if itt in self.outstanding else 0,
                         "words": (ttt, 0, self.expstatsn, 0, datasn, offset, 0), **fields})

    def send_sequence(self, itt, ttt, offset, length):
        """Data-Outs of as much as fits into each."""
        data = self.outstanding[itt].data
        for datasn, at in enumerate(range(offset, offset + length, self.max_send)):
            end = min(at + self.max_send, offset + length)
            self.send_data(itt, ttt, at, data[at:end], datasn, final=end == offset + length)

    def wait(self, itt):
        """The result of one command; what comes for others meanwhile is dealt with."""
        while itt not in self.done:
            self.step()
        return self.done.pop(itt)

    def wait_r2t(self, itt=None):
        """The next R2T, as (itt, ttt, offset, length); for tests that set hold_r2t."""
        while not self.r2ts:
            assert itt not in self.done, f"{self.done[itt]} instead of an R2T"
            self.step()
        return self.r2ts.pop(0)

    def command(self, cdb, data=b"", expect=0, **how):
        return self.wait(self.submit(cdb, data, expect, **how))

    def step(self):
        """Take one PDU and do what it asks for."""
        pdu = self.recv_pdu()
        if pdu.opcode == REJECT:
            raise Rejected(pdu)
        if pdu.opcode == R2T:
            self.on_r2t(pdu)
        elif pdu.opcode == DATA_IN:
            self.on_data_in(pdu)
        elif pdu.opcode == SCSI_RESPONSE:
            self.on_response(pdu)
        elif pdu.opcode == NOP_IN and pdu.ttt != NONE and self.answer_nops:
            self.send_pdu(NOP_OUT, immediate=True, lun=pdu.bhs[8:16], words=(pdu.ttt, self.cmdsn, self.expstatsn))
        elif pdu.itt != NONE:
            assert pdu.itt in self.outstanding, f"{pdu}, which nobody waits for"
            self.outstanding.pop(pdu.itt)
            self.done[pdu.itt] = pdu
        else:
            self.others.append(pdu)

    def on_r2t(self, pdu):
        task = self.of(pdu)
        r2tsn, offset, length = pdu.u32(36), pdu.u32(40), pdu.u32(44)
        assert pdu.flags == FINAL and pdu.ttt != NONE and pdu.statsn == self.expstatsn, f"{pdu}"
        assert r2tsn == task.r2tsn, f"R2TSN {r2tsn}, expected {task.r2tsn}"
        assert 0 < length <= self.max_burst and offset + length <= len(task.data), f"R2T for {offset}+{length}"
        task.r2tsn += 1
        if self.hold_r2t:
            self.r2ts.append((pdu.itt, pdu.ttt, offset, length))
        else:
            self.send_sequence(pdu.itt, pdu.ttt, offset, length)

    def on_data_in(self, pdu):
        task = self.of(pdu)
        datasn, offset = pdu.u32(36), pdu.u32(40)
        assert datasn == task.datasn, f"DataSN {datasn}, expected {task.datasn}"
        assert offset == sum(map(len, task.got.values())), f"data at {offset} out of order"
        assert offset + len(pdu.data) <= task.expect, f"{offset + len(pdu.data)} bytes of {task.expect}"
        task.datasn += 1
        task.got[offset] = pdu.data
        task.burst += len(pdu.data)
        assert task.burst <= self.max_burst, f"a sequence of {task.burst} bytes"
        if pdu.flags & FINAL:
            task.burst = 0
        if pdu.flags & STATUS:
            assert pdu.flags & FINAL, "status in a Data-In that is not the last"
            self.finish(pdu, Result(pdu.bhs[3], 0, pdu.flags & 6, pdu.u32(44)))

    def on_response(self, pdu):
        task = self.of(pdu)
        assert pdu.flags & FINAL, f"{pdu}"
        if pdu.bhs[2] == 0:
            counts = (0, task.r2tsn) if task.data else (task.datasn,)
            assert pdu.u32(36) in counts, f"ExpDataSN {pdu.u32(36)}, there were {counts[-1]}"
        assert task.burst == 0, "status within a sequence of Data-In"
        length = struct.unpack_from(">H", pdu.data)[0] if pdu.data else 0
        self.finish(pdu, Result(pdu.bhs[3], pdu.bhs[2], pdu.flags & 6, pdu.u32(44), sense=pdu.data[2:2 + length]))

    def finish(self, pdu, result):
        result.pdu = pdu
        result.data = b"".join(self.outstanding.pop(pdu.itt).got.values())
        self.done[pdu.itt] = result

    def of(self, pdu):
        assert pdu.itt in self.outstanding, f"{pdu} for a task that is not outstanding"
        return self.outstanding[pdu.itt]

    # --- requests that are answered by one PDU ---

    def request(self, opcode, flags=FINAL, *, lun=0, words=None, immediate=True, ttt=NONE, itt=None, **fields):
        """Send it; its ITT, to be waited for. `words`: bytes 20.. of the header."""
        itt = self.new_itt() if itt is None else itt
        cmdsn = self.take_cmdsn(immediate)
        self.outstanding[itt] = Outstanding(b"", 0)
        self.send_pdu(opcode, flags, lun=lun, itt=itt, immediate=immediate,
                      words=(ttt, cmdsn, self.expstatsn) if words is None else words(cmdsn, self.expstatsn), **fields)
        return itt

    def nop(self, data=b"", **how):
        return self.wait(self.request(NOP_OUT, data=data, **how))

    def manage_async(self, function, tag=NONE, lun=0, refcmdsn=0, **how):
        return self.request(TASK_MANAGEMENT, FINAL | function, lun=lun,
                            words=lambda cmdsn, expstatsn: (tag, cmdsn, expstatsn, refcmdsn), **how)

    def manage(self, function, tag=NONE, lun=0, **how):
        """Task management; its response."""
        pdu = self.wait(self.manage_async(function, tag, lun, **how))
        assert pdu.opcode == TASK_RESPONSE, f"{pdu} instead of a task management response"
        return pdu.bhs[2]

    def text(self, keys=b"", **how):
        """One text request; the answer's parts put together."""
        pdu = self.wait(self.request(TEXT, data=make_text(keys), **{"immediate": False, **how}))
        data = pdu.data
        while pdu.flags & CONTINUE:
            pdu = self.wait(self.request(TEXT, itt=pdu.itt, ttt=pdu.ttt, immediate=False))
            data += pdu.data
        assert pdu.opcode == TEXT_RESPONSE, f"{pdu} instead of a text response"
        return Text(parse_text(data), pdu=pdu)

    def targets(self, which="All"):
        """SendTargets: {name: [addresses]}."""
        found = {}
        for key, value in self.text({"SendTargets": which}).pairs:
            if key == "TargetName":
                name = value
                found[name] = []
            else:
                assert key == "TargetAddress", key
                found[name].append(value)
        return found

    def logout(self, reason=0, **how):
        """The response; the target closes then."""
        words = how.pop("words", lambda cmdsn, expstatsn: (1 << 16, cmdsn, expstatsn))
        pdu = self.wait(self.request(LOGOUT, FINAL | reason, words=words, **how))
        assert pdu.opcode == LOGOUT_RESPONSE, f"{pdu} instead of a logout response"
        return pdu.bhs[2]

    # --- reading and writing ---

    def read(self, lba, blocks, block_size=512, lun=0):
        """The bytes; the command must succeed."""
        data = good(self.command(read_cdb(lba, blocks), expect=blocks * block_size, lun=lun)).data
        assert len(data) == blocks * block_size, f"{len(data)} bytes of {blocks} blocks"
        return data

    def write(self, lba, data, block_size=512, lun=0, **how):
        return self.command(write_cdb(lba, len(data) // block_size), data, lun=lun, **how)

    def inquiry(self, page=None, length=255, lun=0):
        cdb = struct.pack(">BBBHB", 0x12, page is not None, page or 0, length, 0)
        return good(self.command(cdb, expect=length, lun=lun)).data

    def capacity(self, lun=0):
        """Blocks, and their size."""
        data = good(self.command(struct.pack(">BB8xIxx", 0x9e, 0x10, 32), expect=32, lun=lun)).data
        last, size = struct.unpack_from(">QI", data)
        return last + 1, size

    def luns(self):
        data = good(self.command(struct.pack(">BxBxxxIxx", 0xa0, 0, 4096), expect=4096)).data
        return [struct.unpack_from(">H", data, at)[0] & 0x3fff for at in range(8, len(data), 8)]

    def test_unit_ready(self, lun=0):
        return self.command(bytes(6), lun=lun)


def read_cdb(lba, blocks, fua=False):
    return struct.pack(">BBQIxx", 0x88, 8 if fua else 0, lba, blocks)


def write_cdb(lba, blocks, fua=False):
    return struct.pack(">BBQIxx", 0x8a, 8 if fua else 0, lba, blocks)


def good(result):
    assert result.response == 0 and result.status == GOOD, str(result)
    return result
