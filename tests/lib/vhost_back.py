# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user server that answers what a test wants, to try initiators with.

    with BackEnd(path, {GET_QUEUE_NUM: 0, GET_CONFIG: SILENT}) as back:
        ... attach to path; back.heard tells what was said, in order ...

Without anything else said it is a disk of 8 MiB that takes part in the conversation, and never serves a request.
"""
import os
import socket
import struct
import threading

import vhost_user as vu
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
