# SPDX-License-Identifier: BSD-3-Clause
"""What a target may do to a host: scripts for BadTarget, one misbehaviour each, and what the host should say.

    for script in ATTACH_SCRIPTS:
        with script.target() as target:
            ... connect; it must fail, and say(target.port), and script.words ...
"""
import re
from dataclasses import dataclass, field

import bad_ways as ways
from bad_target import BadTarget, Disks, Namespace
from nvme_tcp import ABORTED, C2HDATA, CONNECT_INVALID_HOST, INVALID_FIELD, R2T, RSP

BY_STEP = {                     # what a host was doing when the target did this to it
    "accept": "connect", "icresp": "connect", "connect": "connect", "cap": "CAP", "enable": "CC.EN", "csts": "CSTS",
    "identify_ctrl": "Identify controller", "set_queues": "number of queues", "ns_list": "active namespaces",
    "identify_ns": "[Nn]amespace", "accept_io": "queue 1", "icresp_io": "queue 1", "connect_io": "queue 1",
}
MALFORMED = "malformed|not outstanding|has none under way|does not fit|closed the connection"
GONE = "closed the connection|[Cc]onnection reset|reset by peer|Broken pipe"
LATE = r"within \d+ ms|time-?out|timed out"
#       way        how                           what the host says of it
WAYS = {
    "fin":        (ways.fin,                     GONE),
    "rst":        (ways.rst,                     GONE),
    "silence":    (ways.silence,                 LATE),
    "garbage":    (ways.garbage,                 MALFORMED),
    "drip":       (ways.drip(0.3),               LATE),
    "cut":        (ways.cut(13),                 GONE),
    "term":       (ways.term(),                  "ended the connection"),
}
WITH_COMMAND = {"status": (ways.status(INVALID_FIELD, dnr=True), "Invalid Field"),
                "unknown_cid": (ways.unknown_cid, "not outstanding"),
                "twice": (ways.twice, "not outstanding|none under way")}


@dataclass
class Script:
    name: str
    rules: tuple = ()                           # (step, action, skip)
    words: str = ""
    at: str = ""
    made: dict = field(default_factory=dict)    # of BadTarget
    disks: dict = None                          # of Disks

    def target(self):
        target = BadTarget(Disks(**self.disks) if self.disks else None, **self.made)
        for step, action, skip in self.rules:
            target.on(step, action, skip=skip)
        return target

    def check(self, said, target):
        """The sentence names address, step and reason."""
        assert str(target.port) in said and target.address in said, f"no address: {said}"
        assert re.search(self.words, said), f"no '{self.words}': {said}"
        assert re.search(self.at, said), f"does not say that it was at '{self.at}': {said}"


def at_every_step():
    for step, at in BY_STEP.items():
        place = (step.removesuffix("_io"), 1) if step in ("accept_io", "icresp_io") else (step, 0)
        is_command = step.removesuffix("_io") not in ("accept", "icresp")
        for name, (action, words) in {**WAYS, **(WITH_COMMAND if is_command else {})}.items():
            if place[0] == "accept" and name in ("drip", "cut"):
                continue                        # there is nothing to send yet
            if name == "twice":
                at = ""                         # the next step may have begun
                if step == "identify_ns":
                    continue                    # and all may be well before
            yield Script(f"{name} at {step}", ((place[0], action, place[1]),), words, at)


def one(name, step, action, words, **more):
    return Script(name, ((step, action, 0),), words, BY_STEP.get(step, ""), **more)


PARTICULAR = [
    one("never ready", "csts", ways.value(0), LATE),
    one("fatal status", "csts", ways.value(3 - 1), "fatal"),
    one("no queue entries", "cap", ways.value(0), "MQES"),
    one("refused host", "connect", ways.status(CONNECT_INVALID_HOST, dnr=True), "refused"),
    one("refused I/O queue", "connect_io", ways.status(CONNECT_INVALID_HOST, dnr=True), "refused"),
    one("abort requested", "identify_ctrl", ways.status(ABORTED), "[Aa]bort"),
    one("another version", "icresp", ways.icresp(pfv=1), MALFORMED),
    one("alignment of 33", "icresp", ways.icresp(cpda=33), MALFORMED),
    one("digests nobody asked for", "icresp", ways.icresp(dgst=3), MALFORMED),
    one("ICResp of 64 bytes", "icresp", ways.icresp(hlen=64, plen=64), MALFORMED),
    one("no data may be sent", "icresp", ways.icresp(maxh2cdata=0), MALFORMED),
    one("ICResp twice", "icresp", ways.twice, MALFORMED),
    one("a PDU of 4 GiB", "cap", ways.wrong_pdu(RSP, plen=0xffffffff), MALFORMED),
    one("a PDU of nothing", "cap", ways.wrong_pdu(RSP, plen=0), MALFORMED),
    one("data for Property Get", "cap", ways.wrong_pdu(C2HDATA, bytes(16), bytes(16)), MALFORMED),
    one("an R2T for Identify", "identify_ctrl", ways.r2t(length=4096), MALFORMED),
    one("Identify with nothing", "identify_ctrl", ways.no_data, "0 of 4096 bytes"),
    one("Identify too short", "identify_ctrl", ways.c2h(more=-512), "of 4096 bytes"),
    one("Identify too long", "identify_ctrl", ways.c2h(more=512), MALFORMED),
    one("Identify twice", "identify_ctrl", ways.c2h(times=2), MALFORMED),
    one("Identify with a gap", "identify_ctrl", ways.c2h(offset=4, more=-4), MALFORMED),
    one("Identify for another", "identify_ctrl", ways.c2h(cid=0x5555), MALFORMED),
    one("an R2T for nobody", "connect", ways.wrong_pdu(R2T, bytes.fromhex("5555") + bytes(14)), MALFORMED),
]
ATTACH_SCRIPTS = list(at_every_step()) + PARTICULAR


# --- once it is connected: what ends the connection of an I/O queue ------------------------------------------------

def at_io(name, step, action, words, **more):
    return Script(name, ((step, action, 3),), words, **more)


def at_reads_and_writes():
    for step in ("read", "write"):
        for name, (action, words) in {**WAYS, **WITH_COMMAND}.items():
            if name not in ("silence", "drip", "status"):   # time-outs and statuses are their own matter
                yield at_io(f"{name} at {step}", step, action, words)


IO_SCRIPTS = list(at_reads_and_writes()) + [
    at_io("half of a read", "read", ways.cut(1000), GONE),
    at_io("a read without data", "read", ways.no_data, "0 of 4096 bytes"),
    at_io("a read too short", "read", ways.c2h(more=-512), "3584 of 4096 bytes"),
    at_io("a read too long", "read", ways.c2h(more=512), MALFORMED),
    at_io("a read of 4 GiB", "read", ways.c2h(length=0xffffffff), MALFORMED),
    at_io("a read with a gap", "read", ways.c2h(offset=512, more=-512), MALFORMED),
    at_io("a read's data twice", "read", ways.c2h(times=2), MALFORMED),
    at_io("data for another command", "read", ways.c2h(cid=0x5555), MALFORMED),
    at_io("an R2T for a read", "read", ways.r2t(), MALFORMED),
    at_io("data for a write", "write", ways.wrong_pdu(C2HDATA, bytes(8) + b"\x10\0\0\0" + bytes(4), bytes(16)),
          MALFORMED),
    at_io("an R2T beyond a write", "write", ways.r2t(beyond=512), MALFORMED),
    at_io("an R2T that begins beyond a write", "write", ways.r2t(offset=1 << 20, length=512), MALFORMED),
    at_io("an R2T that wraps", "write", ways.r2t(offset=0xfffffffc, length=512), MALFORMED),
    at_io("an R2T for nothing", "write", ways.r2t(length=0), MALFORMED),
    at_io("an R2T for another command", "write", ways.r2t(cid=0x5555), MALFORMED),
    at_io("two R2Ts at once", "write", ways.r2t_twice, "not answered yet"),
    at_io("a command capsule", "read", ways.wrong_pdu(4, bytes(64)), MALFORMED),
    at_io("an ICResp", "read", ways.icresp(), MALFORMED),
    at_io("a long TermReq", "read", ways.term(quoted=bytes(4096)), MALFORMED),
    at_io("a header digest nobody asked for", "read", ways.wrong_pdu(RSP, hdgst=True), MALFORMED),
]
# With header and data digests on.
DIGEST_SCRIPTS = [
    at_io("a wrong header digest", "read", ways.bad_header_digest, "[Dd]igest"),
    at_io("a PDU without its header digest", "read", ways.wrong_pdu(RSP, exact_flags=0), MALFORMED),
]
# Nothing is wrong with these: they have to work.
HARMLESS = [
    Script("data in pieces", (("read", ways.pieces(4, 8, 0.5), 0),)),
    Script("data that stands for the completion", made={"success": True}),
    Script("all data in capsules", made={"ioccsz": 0xffffffff}),
    Script("no data in capsules", made={"ioccsz": 4}),
    Script("capsules smaller than a command", made={"ioccsz": 0}),
    Script("R2Ts answered in small pieces", made={"ioccsz": 4, "maxh2cdata": 4096}),
    Script("R2Ts answered in odd pieces", made={"ioccsz": 4, "maxh2cdata": 4 * 1025}),
    Script("no limit of a transfer", made={"mdts": 0}),
    Script("a limit of a transfer that no number holds", made={"mdts": 255}),
    Script("one queue", made={"queues": 1}),
    Script("more queues than there can be", made={"queues": 65536}),
    Script("a queue of two entries", made={"mqes": 1}),
    Script("slow to be ready", made={"ready_after_s": 0.5}),
    Script("blocks of 4096", disks={"namespaces": {1: Namespace(lbads=12)}}),
    Script("a namespace that is gone when it is looked at",
           (("ns_list", ways.data(b"".join(n.to_bytes(4, "little") for n in (1, 7)).ljust(4096, b"\0")), 0),)),
]


def namespace_field(name, fmt, offset, number, words):
    return Script(name, (("identify_ns", ways.patch((fmt, offset, number)), 0),), words)


# No I/O is possible; the host may say so however it likes, but it ends.
USELESS = [
    Script("no namespace", disks={"namespaces": {}}, words="no namespace"),
    namespace_field("no blocks", "<Q", 0, 0, "no namespace|too small"),
    namespace_field("blocks of 1 byte", "<B", 130, 0, "no namespace|blocks of"),
    namespace_field("blocks of 256 bytes", "<B", 130, 8, "no namespace|blocks of"),
    namespace_field("blocks of 4 GiB", "<B", 130, 32, "no namespace|blocks of"),
    namespace_field("blocks that no number holds", "<B", 130, 255, "no namespace|blocks of"),
    namespace_field("more bytes than numbers", "<Q", 0, (1 << 64) - 1, "no namespace|LBA Out of Range|failed"),
    namespace_field("a format that is not there", "<B", 26, 0x0f, "no namespace|blocks of"),
]
