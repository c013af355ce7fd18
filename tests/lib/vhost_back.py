# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user server that answers what a test wants, to try initiators with.

    with BackEnd(path, {GET_QUEUE_NUM: 0, GET_CONFIG: SILENT}) as back:
        ... attach to path; back.heard tells what was said, in order ...

Without anything else said it is a disk of 8 MiB that takes part in the conversation, and never serves a request.

    with ScsiBack(path, {0: 8 << 20, 5: 4 << 20}) as back:
        a virtio-scsi controller with disks of so many bytes as targets 0 and 5, which does serve;
        back.disks[5] are the bytes; back.attention(5, 0x2a09); back.event(TRANSPORT_RESET, 6, RESET_RESCAN)
"""
import mmap
import os
import select
import socket
import struct
import threading

import vhost_user as vu
import virtio_scsi as vs
from virtio_blk import CONFIG

SILENT, HANG_UP, GARBAGE = "silent", "hang up", "garbage"
FEATURES = vu.bits(vu.F_VERSION_1, vu.F_PROTOCOL_FEATURES, vu.F_EVENT_IDX, 6, 9, 12)
PROTOCOL = vu.bits(vu.P_MQ, vu.P_CONFIG, vu.P_REPLY_ACK, vu.P_CONFIGURE_MEM_SLOTS)


def disk(capacity=16384, blk_size=512):
    return CONFIG.pack(capacity, 0, 126, 0, 0, 0, blk_size, 0, 0, 1, 1, 0, 0, 4, 0, 0, 0, 0, 0, 0)


class BackEnd:
    def __init__(self, path, answers=None):
        """`answers`: by request a number, bytes for GET_CONFIG, or one of the words above. What only is
        acknowledged: the number it is acknowledged with."""
        self.answers = {vu.GET_FEATURES: FEATURES, vu.GET_PROTOCOL_FEATURES: PROTOCOL, vu.GET_QUEUE_NUM: 4,
                        vu.GET_CONFIG: disk(), vu.GET_MAX_MEM_SLOTS: 8, **(answers or {})}
        self.heard, self.fds = [], {}
        self.connections = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.sock = None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        self.thread.join()
        self.listener.close()

    def hang_up(self):
        if self.sock:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve(self):
        while True:
            try:
                self.sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with self.sock:
                try:
                    while self.answer(vu.receive(self.sock, None)):
                        pass
                except (vu.Ended, OSError):
                    pass

    def answer(self, message):
        self.heard.append(message.request)
        for fd in message.fds:
            self.fds.setdefault(message.request, []).append(os.dup(fd))
            os.close(fd)
        answer = self.answers.get(message.request, 0)
        if answer == SILENT:
            return True
        if answer == HANG_UP:
            return False
        if answer == GARBAGE:
            self.sock.sendall(os.urandom(64))
            return True
        if isinstance(answer, bytes):
            want = struct.unpack("<I", message.payload[4:8])[0]
            payload = message.payload[:12] + answer[:want].ljust(want, b"\0")
        else:
            payload = struct.pack("<Q", answer)
        if message.request in vu.ANSWERED or message.flags & vu.NEED_REPLY:
            vu.transmit(self.sock, message.request, payload, flags=vu.VERSION | vu.REPLY)
        return True


# --- SCSI --------------------------------------------------------------------------------------------------------

NEXT, WRITE = 1, 2
BLOCK = 512


class Ring:
    """The device's side of a split ring without event index, for its own thread."""

    def __init__(self, back, index):
        self.back, self.index = back, index
        self.seen = self.used = 0

    def start(self):
        self.memory = self.back.memory
        threading.Thread(target=self.run, daemon=True).start()

    def get(self, kind, at):
        return struct.unpack_from(kind, self.memory, at)[0]

    def pop(self):
        """The next chain: its head, [(at, length)] to be read and to be written; None: there is none."""
        if self.seen == self.get("H", self.avail + 2):
            return None
        head = index = self.get("H", self.avail + 4 + 2 * (self.seen % self.size))
        self.seen = (self.seen + 1) & 0xffff
        out, into = [], []
        while True:
            addr, length, flags, following = struct.unpack_from("<QIHH", self.memory, self.desc + 16 * index)
            (into if flags & WRITE else out).append((addr - self.back.guest, length))
            if not flags & NEXT:
                return head, out, into
            index = following

    def push(self, head, written):
        struct.pack_into("<II", self.memory, self.used_at + 4 + 8 * (self.used % self.size), head, written)
        self.used = (self.used + 1) & 0xffff
        memoryview(self.memory).cast("H")[(self.used_at + 2) // 2] = self.used  # in one store
        os.eventfd_write(self.call, 1)

    def run(self):
        while self.is_on():
            if select.select([self.kick], [], [], 0.1)[0]:
                vu.drain(self.kick)
            while self.index >= vs.FIRST and self.is_on() and (chain := self.pop()):
                with self.back.lock:               # a connection that ended meanwhile has other memory
                    if self.is_on():
                        self.push(chain[0], self.back.execute(*chain[1:]))

    def is_on(self):
        return not self.back.ended and self.back.rings.get(self.index) is self


class ScsiBack(BackEnd):
    def __init__(self, path, disks, answers=None):
        self.ended, self.rings, self.memory, self.guest, self.user = False, {}, None, 0, 0
        self.lock = threading.RLock()
        self.disks = {target: bytearray(size) for target, size in disks.items()}
        self.attentions, self.commands = {}, []
        config = vs.CONFIG.pack(4, 126, 65535, 128, 16, 96, 32, 0, 7, 0)
        super().__init__(path, {vu.GET_FEATURES: vu.bits(vu.F_VERSION_1, vu.F_PROTOCOL_FEATURES, vs.F_HOTPLUG),
                                vu.GET_QUEUE_NUM: 6, vu.GET_CONFIG: config, **(answers or {})})

    def answer(self, message):
        if message.request == vu.ADD_MEM_REG:
            with self.lock:
                self.guest, size, self.user, offset = struct.unpack("<QQQQ", message.payload[8:])
                self.memory = mmap.mmap(message.fds[0], size, offset=offset)
                self.rings = {}
        elif message.request in (vu.SET_VRING_NUM, vu.SET_VRING_ENABLE):
            index, value = struct.unpack("<II", message.payload)
            ring = self.rings.setdefault(index, Ring(self, index))
            if message.request == vu.SET_VRING_NUM:
                ring.size = value
            elif value:
                ring.start()
        elif message.request == vu.SET_VRING_ADDR:
            index, _, desc, used, avail, _ = struct.unpack("<IIQQQQ", message.payload)
            ring = self.rings[index]
            ring.desc, ring.used_at, ring.avail = (at - self.user for at in (desc, used, avail))
        elif message.request in (vu.SET_VRING_KICK, vu.SET_VRING_CALL):
            ring = self.rings[message.u64 & 0xff]
            setattr(ring, "kick" if message.request == vu.SET_VRING_KICK else "call", os.dup(message.fds[0]))
        return super().answer(message)

    # --- what it is told to say ---

    def attention(self, target, asc):
        """The next command to that target, but INQUIRY, is told."""
        self.attentions.setdefault(target, []).append(asc)

    def event(self, event, target, reason):
        """Through the oldest buffer that the initiator gave for events."""
        ring = self.rings[vs.EVENT]
        head, _, ((at, length), *_) = ring.pop()
        assert length >= 16
        struct.pack_into("<I8sI", self.memory, at, event, vs.lun_bytes(target), reason)
        ring.push(head, 16)

    # --- commands ---

    def execute(self, out, into):
        request = bytes(self.memory[out[0][0]:out[0][0] + 51])
        data = b"".join(self.memory[at:at + n] for at, n in out[1:])
        target, cdb = request[1], request[19:]
        self.commands.append((target, cdb[0]))
        room = sum(n for _, n in into[1:])
        response, status, sense, answer = vs.S_OK, 0, b"", b""
        if target not in self.disks:
            response = vs.S_BAD_TARGET
        elif self.attentions.get(target) and cdb[0] != 0x12:
            status, sense = 2, self.sense(6, self.attentions[target].pop(0))
        else:
            answer = self.command(self.disks[target], cdb, data)
            if isinstance(answer, int):
                status, sense, answer = 2, self.sense(5, answer), b""
        answer = answer[:room]
        struct.pack_into("<IIHBB", self.memory, into[0][0], len(sense), room - len(answer), 0, status, response)
        self.memory[into[0][0] + 12:into[0][0] + 12 + len(sense)] = sense
        rest = answer
        for at, n in into[1:]:
            self.memory[at:at + len(rest[:n])], rest = rest[:n], rest[n:]
        return vs.RESP_SIZE + len(answer)

    @staticmethod
    def sense(key, asc):
        return struct.pack(">BBBIBIH4x", 0x70, 0, key, 0, 10, 0, asc)

    def command(self, disk, cdb, data):
        """The data it answers with, or an additional sense code."""
        lba, count = struct.unpack(">QI", cdb[2:14])
        at = slice(lba * BLOCK, (lba + count) * BLOCK)
        if cdb[0] == 0x12 and not cdb[1]:
            return bytes([0, 0, 6, 2, 31, 0, 0, 2]) + b"GANTRY  " + b"fake".ljust(16) + b"0001"
        if cdb[0] == 0x12 and cdb[2] == 0xb0:
            return bytes([0, 0xb0, 0, 60]) + bytes(16) + struct.pack(">II", 1024, 3) + bytes(36)
        if cdb[0] == 0x12 and cdb[2] == 0xb2:
            return bytes([0, 0xb2, 0, 4, 0, 0x80, 2, 0])
        if cdb[0] == 0x9e:
            return struct.pack(">QIBB18x", len(disk) // BLOCK - 1, BLOCK, 0, 3)
        if cdb[0] == 0x1a:
            return bytes([23, 0, 0x10, 0, 8, 18, 4]) + bytes(17)
        if cdb[0] == 0x88 and at.stop <= len(disk):
            return bytes(disk[at])
        if cdb[0] == 0x8a and at.stop <= len(disk):
            disk[at] = data
            return b""
        if cdb[0] == 0x91:
            return b""
        if cdb[0] == 0x42:
            rows = [struct.unpack_from(">QI", data, 8 + 16 * n) for n in range((len(data) - 8) // 16)]
            assert len(rows) <= 3 and all(n <= 1024 for _, n in rows), rows
            for start, blocks in rows:
                disk[start * BLOCK:(start + blocks) * BLOCK] = bytes(blocks * BLOCK)
            return b""
        return 0x2100 if cdb[0] in (0x88, 0x8a) else 0x2000
