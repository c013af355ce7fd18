# SPDX-License-Identifier: BSD-3-Clause
"""vhost-user by hand: enough of a front-end to hold any conversation with a device, right ones and wrong ones.

    front = FrontEnd(path)                            connected, nothing said
    front.ask(GET_FEATURES)                           any message, its answer
    front.send(SET_VRING_NUM, struct.pack(...), fds)  any message, its flags, size and descriptors as one likes
    with Device(path, queues=2, packed=True) as dev:  a whole session: negotiated, memory given, rings started
        dev.queues[0].ring, .kick(), .wait_call()

Requests of block and SCSI devices are virtio_blk.py's and virtio_scsi.py's. Messages are those of QEMU's
docs/interop/vhost-user.rst. Independent of the project's C code on purpose: a mistake made there is not made here too.
"""
import mmap
import os
import select
import socket
import struct
import time
from dataclasses import dataclass

from virtio_ring import PAGE, Memory, PackedRing, SplitRing

# Messages of the front-end
GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE = 1, 2, 3, 4, 5
SET_LOG_BASE, SET_LOG_FD, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 6, 7, 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SET_BACKEND_REQ_FD, IOTLB_MSG, SET_VRING_ENDIAN, GET_CONFIG, SET_CONFIG = 21, 22, 23, 24, 25
POSTCOPY_ADVISE, GET_INFLIGHT_FD, SET_INFLIGHT_FD = 28, 31, 32
RESET_DEVICE, VRING_KICK, GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG = 34, 35, 36, 37, 38
SET_STATUS, GET_STATUS, SET_DEVICE_STATE_FD, CHECK_DEVICE_STATE = 39, 40, 42, 43
# Messages of the back-end, on a channel of its own
BACKEND_CONFIG_CHANGE, BACKEND_VRING_CALL, BACKEND_VRING_ERR = 2, 4, 5
# Flags of a message
VERSION, REPLY, NEED_REPLY = 1, 4, 8
# Protocol features, by bit
P_MQ, P_LOG_SHMFD, P_REPLY_ACK, P_BACKEND_REQ, P_CONFIG, P_BACKEND_SEND_FD = 0, 1, 3, 5, 9, 10
P_INFLIGHT_SHMFD, P_RESET_DEVICE, P_INBAND_NOTIFICATIONS, P_CONFIGURE_MEM_SLOTS, P_STATUS = 12, 13, 14, 15, 16
# Features of any device, by bit
F_LOG_ALL, F_ANY_LAYOUT, F_INDIRECT, F_EVENT_IDX, F_PROTOCOL_FEATURES, F_VERSION_1, F_RING_PACKED, F_IN_ORDER = \
    26, 27, 28, 29, 30, 32, 34, 35
# Device status
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128

ANSWERED = {GET_FEATURES, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_VRING_BASE, GET_CONFIG, GET_INFLIGHT_FD,
            GET_MAX_MEM_SLOTS, GET_STATUS}
NO_FD = 0x100                                      # in the number of a SET_VRING_KICK, _CALL, _ERR: none comes along
LOG_USED = 1                                       # flag of SET_VRING_ADDR
TIMEOUT_S = 60


def bits(*numbers):
    return sum(1 << n for n in numbers)


class Ended(Exception):
    """The device closed the connection."""


class Refused(AssertionError):
    """The device acknowledged a message with something else than 0."""


@dataclass
class Message:
    request: int
    flags: int
    payload: bytes
    fds: list

    @property
    def u64(self):
        return struct.unpack("<Q", self.payload)[0]


def receive(sock, timeout_s=TIMEOUT_S):
    """One message; Ended when there is none to come."""
    sock.settimeout(timeout_s)
    head, fds = b"", []
    try:
        while len(head) < 12:
            more, new, _, _ = socket.recv_fds(sock, 12 - len(head), 16)
            fds += new
            if not more:
                raise Ended
            head += more
        request, flags, size = struct.unpack("<III", head)
        payload = b""
        while len(payload) < size:
            more = sock.recv(size - len(payload))
            if not more:
                raise Ended
            payload += more
    except ConnectionError:
        raise Ended from None
    return Message(request, flags, payload, fds)


def transmit(sock, request, payload=b"", fds=(), flags=VERSION, size=None):
    data = struct.pack("<III", request, flags, len(payload) if size is None else size) + payload
    try:
        if fds:
            sent = socket.send_fds(sock, [data], list(fds))
            data = data[sent:]
        if data:
            sock.sendall(data)
    except ConnectionError:
        raise Ended from None


class FrontEnd:
    """One connection to a device, as its front-end. Knows messages, nothing of what may be said when."""

    def __init__(self, path, timeout_s=TIMEOUT_S):
        deadline = time.monotonic() + timeout_s
        while True:
            self.sock = socket.socket(socket.AF_UNIX)
            try:
                self.sock.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self.sock.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.timeout_s = timeout_s
        self.reply_ack = False
        self.backend = None                        # our end of the channel for the device's own messages

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for sock in (self.sock, self.backend):
            if sock:
                sock.close()

    # --- any message ---

    def send(self, request, payload=b"", fds=(), **wrong):
        transmit(self.sock, request, payload, fds, **wrong)

    def receive(self):
        return receive(self.sock, self.timeout_s)

    def ask(self, request, payload=b"", fds=(), **wrong):
        self.send(request, payload, fds, **wrong)
        reply = self.receive()
        assert reply.request == request and reply.flags & 7 == VERSION | REPLY, f"{request} is answered with {reply}"
        return reply

    def result(self, request, payload=b"", fds=()):
        """What a message with NEED_REPLY is acknowledged with."""
        return self.ask(request, payload, fds, flags=VERSION | NEED_REPLY).u64

    def tell(self, request, payload=b"", fds=()):
        """A message without an answer of its own: acknowledged where that was negotiated."""
        if not self.reply_ack:
            return self.send(request, payload, fds)
        result = self.result(request, payload, fds)
        if result:
            raise Refused(f"message {request} is acknowledged with {result:#x}")

    def expect_end(self):
        """The device must hang up."""
        try:
            message = self.receive()
        except Ended:
            return
        raise AssertionError(f"the device should have hung up and says {message}")

    # --- messages by name ---

    def features(self):
        return self.ask(GET_FEATURES).u64

    def set_features(self, features):
        self.tell(SET_FEATURES, struct.pack("<Q", features))

    def protocol_features(self):
        return self.ask(GET_PROTOCOL_FEATURES).u64

    def set_protocol_features(self, features):
        self.send(SET_PROTOCOL_FEATURES, struct.pack("<Q", features))
        self.reply_ack = bool(features & bits(P_REPLY_ACK))

    def queue_num(self):
        return self.ask(GET_QUEUE_NUM).u64

    def max_mem_slots(self):
        return self.ask(GET_MAX_MEM_SLOTS).u64

    @staticmethod
    def region_row(region):
        return struct.pack("<QQQQ", region.gpa, region.size, region.user, region.offset)

    def set_mem_table(self, regions):
        self.tell(SET_MEM_TABLE, struct.pack("<II", len(regions), 0) + b"".join(map(self.region_row, regions)),
                  [r.fd for r in regions])

    def add_mem_reg(self, region):
        self.tell(ADD_MEM_REG, bytes(8) + self.region_row(region), [region.fd])

    def rem_mem_reg(self, region, with_fd=True):
        self.tell(REM_MEM_REG, bytes(8) + self.region_row(region), [region.fd] if with_fd else [])

    def set_vring_num(self, index, size):
        self.tell(SET_VRING_NUM, struct.pack("<II", index, size))

    def set_vring_addr(self, index, desc, used, avail, log=0, flags=0):
        """In the front-end's own addresses; `log` is a guest address."""
        self.tell(SET_VRING_ADDR, struct.pack("<IIQQQQ", index, flags, desc, used, avail, log))

    def set_vring_base(self, index, base):
        self.tell(SET_VRING_BASE, struct.pack("<II", index, base))

    def get_vring_base(self, index):
        """Stops the ring; answered when nothing of it is in flight any more."""
        reply = struct.unpack("<II", self.ask(GET_VRING_BASE, struct.pack("<II", index, 0)).payload)
        assert reply[0] == index
        return reply[1]

    def set_vring_fd(self, request, index, fd):
        """SET_VRING_KICK, _CALL or _ERR; no fd: none is given."""
        self.tell(request, struct.pack("<Q", index | (NO_FD if fd is None else 0)), [] if fd is None else [fd])

    def set_vring_enable(self, index, enabled=True):
        self.tell(SET_VRING_ENABLE, struct.pack("<II", index, int(enabled)))

    def get_config(self, offset, length):
        head = struct.pack("<III", offset, length, 0)
        reply = self.ask(GET_CONFIG, head + bytes(length)).payload
        assert reply[:8] == head[:8] and len(reply) == 12 + length, f"GET_CONFIG is answered with {reply.hex()}"
        return reply[12:]

    def set_config(self, offset, data, flags=0):
        self.tell(SET_CONFIG, struct.pack("<III", offset, len(data), flags) + data)

    def status(self):
        return self.ask(GET_STATUS).u64

    def set_status(self, status):
        self.tell(SET_STATUS, struct.pack("<Q", status))

    def open_backend_channel(self):
        self.backend, theirs = socket.socketpair(socket.AF_UNIX)
        with theirs:
            self.tell(SET_BACKEND_REQ_FD, b"", [theirs.fileno()])

    def backend_says(self, timeout_s=TIMEOUT_S):
        """The next of the device's own messages; answered, if it wants that."""
        message = receive(self.backend, timeout_s)
        if message.flags & NEED_REPLY:
            transmit(self.backend, message.request, struct.pack("<Q", 0), flags=VERSION | REPLY)
        return message

    def get_inflight(self, queues, size):
        reply = self.ask(GET_INFLIGHT_FD, struct.pack("<QQHH", 0, 0, queues, size))
        length, offset, got_queues, got_size = struct.unpack("<QQHH", reply.payload[:20])
        assert len(reply.fds) == 1 and (got_queues, got_size) == (queues, size)
        return Inflight(reply.fds[0], offset, length, queues, size)

    def set_inflight(self, region):
        self.tell(SET_INFLIGHT_FD, struct.pack("<QQHH", region.length, region.offset, region.queues, region.size),
                  [region.fd])

    def set_log(self, log):
        """Where pages are marked that the device has written; it answers when it has it."""
        self.ask(SET_LOG_BASE, struct.pack("<QQ", log.length, 0), [log.fd])


# --- memory shared beside the guest's ----------------------------------------------------------------------------

class Inflight:
    """The region in which a device remembers what it has taken and not used yet."""

    SPLIT, PACKED = (16, 16), (32, 32)             # bytes of a queue's head, and of a slot

    def __init__(self, fd, offset, length, queues, size):
        self.fd, self.offset, self.length, self.queues, self.size = fd, offset, length, queues, size
        base = offset & ~(mmap.PAGESIZE - 1)
        self.map = memoryview(mmap.mmap(fd, offset - base + length, offset=base))[offset - base:]

    def close(self):
        os.close(self.fd)

    def slots(self, queue, packed=False):
        """Numbers of the slots that are marked as in flight."""
        head, row = self.PACKED if packed else self.SPLIT
        stride = self.length // self.queues        # devices align queues as they like, all alike
        at = queue * stride
        return [n for n in range(self.size) if self.map[at + head + row * n]]


class DirtyLog:
    """A bit for each page of guest memory."""

    def __init__(self, memory):
        end = max(r.gpa + r.size for r in memory.regions)
        self.length = -(-end // PAGE // 8 // PAGE) * PAGE + PAGE
        self.fd = os.memfd_create("log")
        os.ftruncate(self.fd, self.length)
        self.map = mmap.mmap(self.fd, self.length)

    def close(self):
        os.close(self.fd)

    def take(self):
        """Numbers of the pages that are marked; forgets them."""
        pages = []
        for at in range(0, self.length, PAGE):
            part = self.map[at:at + PAGE]
            if part.count(0) != PAGE:
                pages += [(at + n) * 8 + bit for n, byte in enumerate(part) if byte for bit in range(8)
                          if byte >> bit & 1]
                self.map[at:at + PAGE] = bytes(PAGE)
        return pages


# --- a whole session ---------------------------------------------------------------------------------------------

def eventfd():
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def drain(fd):
    """How often an eventfd was rung."""
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


class Queue:
    """A virtqueue of a device: its ring and its three eventfds."""

    def __init__(self, device, index, size, region):
        self.device, self.index = device, index
        ring_type = PackedRing if device.packed else SplitRing
        self.ring = ring_type(device.memory, size, device.has(F_EVENT_IDX), region)
        self.kick_fd, self.call_fd, self.err_fd = eventfd(), eventfd(), eventfd()
        self.kicks = self.calls = 0
        self.done = {}                             # token: bytes written, of those nobody has asked for yet

    def start(self, front, enable=True, log=False):
        """Tell the device all about it."""
        ring, user = self.ring, self.device.memory.user
        front.set_vring_num(self.index, ring.size)
        front.set_vring_base(self.index, ring.base())
        front.set_vring_addr(self.index, user(ring.desc), user(ring.device), user(ring.driver),
                             ring.device if log else 0, LOG_USED if log else 0)
        front.set_vring_fd(SET_VRING_CALL, self.index, self.call_fd)
        front.set_vring_fd(SET_VRING_ERR, self.index, self.err_fd)
        if not self.device.inband:
            front.set_vring_fd(SET_VRING_KICK, self.index, self.kick_fd)
        if enable and self.device.has(F_PROTOCOL_FEATURES):
            front.set_vring_enable(self.index)
        if self.device.inband:
            self.kick()                            # which starts it; no descriptor would mean that it is to be polled

    def stop(self):
        return self.device.front.get_vring_base(self.index)

    def close(self):
        for fd in (self.kick_fd, self.call_fd, self.err_fd):
            os.close(fd)

    # --- going on ---

    def kick(self):
        """Whether it wants to or not."""
        self.kicks += 1
        if self.device.inband:
            self.device.front.send(VRING_KICK, struct.pack("<II", self.index, 0))
        else:
            os.eventfd_write(self.kick_fd, 1)

    def publish(self):
        """What was added is the device's, which is kicked if it asked for that."""
        self.ring.publish()
        if self.ring.kick_due():
            self.kick()

    def collect(self):
        new = self.ring.take_used()
        self.done.update(new)
        return len(new)

    def wait(self, tokens, timeout_s=TIMEOUT_S):
        """Until all of these are used; bytes written, by token. Sleeps until called in between."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.collect()
            missing = [token for token in tokens if token not in self.done]
            if not missing:
                return {token: self.done.pop(token) for token in tokens}
            if not self.ring.want_calls():
                self.wait_call(deadline - time.monotonic(), missing)

    def wait_call(self, timeout_s=TIMEOUT_S, why="anything"):
        fds = [self.call_fd, self.err_fd, self.device.front.sock]
        ready, _, _ = select.select(fds, [], [], max(timeout_s, 0))
        if self.err_fd in ready:
            raise RingStopped(f"queue {self.index}: the device signals an error")
        if self.call_fd in ready:
            self.calls += drain(self.call_fd)
        elif ready:
            raise Ended
        else:
            raise AssertionError(f"queue {self.index}: no call within the time, waiting for {why}")

    def has_error(self, timeout_s=TIMEOUT_S):
        """Waits until the device signals one."""
        return bool(select.select([self.err_fd], [], [], timeout_s)[0]) and drain(self.err_fd) > 0


class RingStopped(AssertionError):
    """The device stopped a ring and rang its error eventfd."""


class Device:
    """A session, up and running. Features of the device are `features`, those agreed on `agreed`."""

    WANTED = (F_VERSION_1, F_PROTOCOL_FEATURES, F_INDIRECT, F_EVENT_IDX)
    PROTOCOL = (P_MQ, P_REPLY_ACK, P_CONFIG, P_CONFIGURE_MEM_SLOTS, P_BACKEND_REQ, P_STATUS, P_LOG_SHMFD)

    def __init__(self, path, *, queues=1, size=128, packed=False, without=(), more=(), protocol=None, memory=None,
                 inband=False, inflight=False, ring_region=1, start=True):
        self.path, self.packed, self.inband = path, packed, inband
        self.sizes = (queues, size)
        self.want = bits(*(f for f in (*self.WANTED, *more, *((F_RING_PACKED,) if packed else ()))
                           if f not in without))
        wanted = set(self.PROTOCOL if protocol is None else protocol)
        wanted |= {P_INBAND_NOTIFICATIONS} if inband else set()
        wanted |= {P_INFLIGHT_SHMFD} if inflight else set()
        self.want_protocol = bits(*wanted)
        self.memory = memory or Memory()
        self.with_inflight, self.inflight, self.log = inflight, None, None
        self.ring_region = ring_region
        self.queues = []
        self.front = None
        if start:
            self.connect()
            self.make_queues()
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.front:
            self.front.close()
        for part in (*self.queues, self.memory, *filter(None, (self.inflight, self.log))):
            part.close()
        self.queues, self.inflight, self.log = [], None, None

    def has(self, feature):
        return bool(self.agreed >> feature & 1)

    def has_protocol(self, feature):
        return bool(self.protocol >> feature & 1)

    # --- steps of coming up ---

    def connect(self):
        """Connect and negotiate. What the device does not offer is not agreed on, but for the ring's format."""
        front = self.front = FrontEnd(self.path)
        self.features = front.features()
        self.agreed = self.features & (self.want | self.device_features())
        if self.packed:
            assert self.features >> F_RING_PACKED & 1, "the device has no packed rings"
        self.protocol = 0
        if self.has(F_PROTOCOL_FEATURES):
            self.offered_protocol = front.protocol_features()
            self.protocol = self.offered_protocol & self.want_protocol
            front.set_protocol_features(self.protocol)
        if self.inband:
            assert self.has_protocol(P_INBAND_NOTIFICATIONS), "the device takes no kicks in-band"
        front.tell(SET_OWNER)
        self.queues_offered = front.queue_num() if self.has_protocol(P_MQ) else 1
        if self.has_protocol(P_BACKEND_REQ):
            front.open_backend_channel()
        front.set_features(self.agreed)
        if self.has_protocol(P_STATUS):
            front.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK)

    def device_features(self):
        """Bits of the kind of device it is."""
        return 0

    def make_queues(self):
        count, size = self.sizes
        self.queues = [Queue(self, n, size, self.ring_region) for n in range(count)]

    def start(self):
        if self.with_inflight:
            if self.inflight is None:
                self.inflight = self.front.get_inflight(*self.sizes)
            self.front.set_inflight(self.inflight)
        self.give_memory()
        for queue in self.queues:
            queue.start(self.front, log=self.log is not None)
        if self.has_protocol(P_STATUS):
            self.front.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    def give_memory(self):
        """Region by region where the device takes them so, else all at once."""
        if self.has_protocol(P_CONFIGURE_MEM_SLOTS):
            self.slots = self.front.max_mem_slots()
            for region in self.memory.regions:
                self.front.add_mem_reg(region)
        else:
            self.front.set_mem_table(self.memory.regions)

    # --- and later ---

    def stop(self):
        """All rings; where they are."""
        return [queue.stop() for queue in self.queues]

    def reconnect(self):
        """After the device went away: the same memory, rings and in-flight region."""
        self.front.close()
        self.connect()
        self.start()
        for queue in self.queues:
            queue.kick()                           # what was published before is still there

    def start_logging(self):
        """As migration does: the log, then features with LOG_ALL, then rings that log what they use."""
        self.log = DirtyLog(self.memory)
        self.front.set_log(self.log)
        self.agreed |= bits(F_LOG_ALL)
        self.front.set_features(self.agreed)
        for queue in self.queues:
            ring, user = queue.ring, self.memory.user
            self.front.set_vring_addr(queue.index, user(ring.desc), user(ring.device), user(ring.driver), ring.device,
                                      LOG_USED)
