# SPDX-License-Identifier: BSD-3-Clause
"""A virtio-scsi controller by hand, over vhost_user.py. Queue 0 is for control, 1 for events, the others for requests.

    with Scsi(path, queues=1) as hba:
        done = hba.command(bytes([0x12, 0, 0, 0, 96, 0]), want=96, target=0); done.status, done.data, done.sense
        hba.tmf(LOGICAL_UNIT_RESET, target=0)
        hba.expect_events(4); hba.event()
"""
import itertools
import struct
from dataclasses import dataclass

from vhost_user import Device, bits

# Features, by bit
F_INOUT, F_HOTPLUG, F_CHANGE, F_T10_PI = 0, 1, 2, 3
# What becomes of a request
S_OK, S_OVERRUN, S_ABORTED, S_BAD_TARGET, S_RESET, S_BUSY, S_TRANSPORT_FAILURE, S_TARGET_FAILURE, S_NEXUS_FAILURE, \
    S_FAILURE, S_FUNCTION_SUCCEEDED, S_FUNCTION_REJECTED, S_INCORRECT_LUN = *range(10), 10, 11, 12
# Task management
ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET, I_T_NEXUS_RESET, LOGICAL_UNIT_RESET, QUERY_TASK, \
    QUERY_TASK_SET = range(8)
CONTROL_TMF, CONTROL_AN_QUERY, CONTROL_AN_SUBSCRIBE = 0, 1, 2
# Events
EVENTS_MISSED, NO_EVENT, TRANSPORT_RESET, ASYNC_NOTIFY, PARAM_CHANGE = 1 << 31, 0, 1, 2, 3
RESET_HARD, RESET_RESCAN, RESET_REMOVED = 0, 1, 2
CONTROL, EVENT, FIRST = 0, 1, 2                    # queues

CONFIG = struct.Struct("<IIIIIIIHHI")
CONFIG_FIELDS = ("num_queues", "seg_max", "max_sectors", "cmd_per_lun", "event_info_size", "sense_size", "cdb_size",
                 "max_channel", "max_target", "max_lun")
SENSE_SIZE, CDB_SIZE = 96, 32
RESP_SIZE = 12 + SENSE_SIZE


def lun_bytes(target, lun=0):
    return bytes([1, target, lun >> 8 | 0x40, lun & 0xff, 0, 0, 0, 0])


@dataclass
class Done:
    response: int
    status: int
    residual: int
    sense: bytes
    data: bytes
    written: int

    @property
    def good(self):
        return self.response == S_OK and self.status == 0


class Scsi(Device):
    """`queues` is the number of request queues."""

    def __init__(self, path, *, queues=1, **how):
        self.tags = itertools.count(1)
        self.events = {}
        super().__init__(path, queues=FIRST + queues, **how)

    def device_features(self):
        return bits(F_INOUT, F_HOTPLUG, F_CHANGE)

    def config(self):
        return dict(zip(CONFIG_FIELDS, CONFIG.unpack(self.front.get_config(0, CONFIG.size))))

    # --- requests ---

    def submit(self, cdb, out=b"", want=0, *, target=0, lun=0, queue=0, tag=None, indirect=False, publish=True,
               attr=0, where=None):
        """Its queue, its token there, its tag, and what it takes to understand the answer."""
        q, memory = self.queues[FIRST + queue], self.memory
        tag = next(self.tags) if tag is None else tag
        request = (where or lun_bytes(target, lun)) + struct.pack("<QBBB", tag, attr, 0, 0) + cdb.ljust(CDB_SIZE, b"\0")
        blocks = []

        def alloc(length, region):
            gpa = memory.alloc(length, 16, region)
            blocks.append((gpa, length, 16, region))
            return gpa
        at = alloc(len(request), 1)
        memory.write(at, request)
        descs = [(at, len(request), False)]
        if out:
            gpa = alloc(len(out), 2)
            memory.write(gpa, out)
            descs.append((gpa, len(out), False))
        answer = alloc(RESP_SIZE, 1)
        memory.write(answer, b"\xee" * RESP_SIZE)
        descs.append((answer, RESP_SIZE, True))
        data = alloc(want, 2) if want else 0
        if want:
            memory.write(data, b"\xa5" * want)
            descs.append((data, want, True))
        token = q.ring.add(descs, indirect)
        if publish:
            q.publish()
        return q, token, tag, (answer, data, want, blocks)

    def wait(self, submitted, timeout_s=60):
        q, token, _, (answer, data, want, blocks) = submitted
        written = q.wait([token], timeout_s)[token]
        sense_len, residual, _, status, response = struct.unpack("<IIHBB", self.memory.read(answer, 12))
        sense = self.memory.read(answer + 12, min(sense_len, SENSE_SIZE))
        done = Done(response, status, residual, sense, self.memory.read(data, want) if want else b"", written)
        for block in blocks:
            self.memory.give(*block)
        return done

    def command(self, cdb, *args, **how):
        return self.wait(self.submit(cdb, *args, **how))

    def read(self, lba, blocks, block_size=512, **how):
        done = self.command(struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0), want=blocks * block_size, **how)
        assert done.good, done
        return done.data

    def write(self, lba, data, block_size=512, **how):
        done = self.command(struct.pack(">BBIBHB", 0x2a, 0, lba, 0, len(data) // block_size, 0), out=data, **how)
        assert done.good, done

    # --- control ---

    def control(self, request, answer_length, timeout_s=60):
        q, memory = self.queues[CONTROL], self.memory
        at, answer = memory.alloc(len(request)), memory.alloc(answer_length)
        memory.write(at, request)
        memory.write(answer, b"\xee" * answer_length)
        token = q.ring.add([(at, len(request), False), (answer, answer_length, True)])
        q.publish()
        q.wait([token], timeout_s)
        data = memory.read(answer, answer_length)
        memory.give(at, len(request))
        memory.give(answer, answer_length)
        return data

    def tmf(self, function, target=0, lun=0, tag=0):
        """Its response."""
        return self.control(struct.pack("<II", CONTROL_TMF, function) + lun_bytes(target, lun) + struct.pack("<Q", tag),
                            1)[0]

    def async_query(self, events, target=0, kind=CONTROL_AN_QUERY):
        """Events that are reported, and the response."""
        request = struct.pack("<I", kind) + lun_bytes(target) + struct.pack("<I", events)
        return struct.unpack("<IB", self.control(request, 5))

    # --- events ---

    def expect_events(self, count):
        """Give the device that many buffers for events."""
        q = self.queues[EVENT]
        for _ in range(count):
            gpa = self.memory.alloc(16)
            self.events[q.ring.add([(gpa, 16, True)])] = gpa
        q.publish()

    def event(self, timeout_s=60):
        """The next one: (event, lun bytes, reason). Its buffer is not given again."""
        q = self.queues[EVENT]
        while not q.done:
            if not q.collect() and not q.ring.want_calls():
                q.wait_call(timeout_s, "an event")
        token = next(iter(q.done))
        del q.done[token]
        gpa = self.events.pop(token)
        event, lun, reason = struct.unpack("<I8sI", self.memory.read(gpa, 16))
        self.memory.give(gpa, 16)
        return event, lun, reason
