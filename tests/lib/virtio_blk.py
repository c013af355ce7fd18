# SPDX-License-Identifier: BSD-3-Clause
"""A virtio-blk disk by hand, over vhost_user.py.

    with Blk(path, queues=2, packed=True) as disk:
        disk.write(0, data); disk.read(0, 4096)
        request = disk.submit(IN, sector=8, want=512, queue=1); status = disk.wait(request); request.data
"""
import struct
from dataclasses import dataclass, field

from vhost_user import Device, bits

# Requests
IN, OUT, FLUSH, GET_ID, GET_LIFETIME, DISCARD, WRITE_ZEROES, SECURE_ERASE = 0, 1, 4, 8, 10, 11, 13, 14
# Status
OK, IOERR, UNSUPP = 0, 1, 2
# Features, by bit
F_SIZE_MAX, F_SEG_MAX, F_GEOMETRY, F_RO, F_BLK_SIZE, F_FLUSH, F_TOPOLOGY, F_CONFIG_WCE, F_MQ = \
    1, 2, 4, 5, 6, 9, 10, 11, 12
F_DISCARD, F_WRITE_ZEROES, F_LIFETIME, F_SECURE_ERASE = 13, 14, 15, 16
F_ALL = bits(F_SIZE_MAX, F_SEG_MAX, F_GEOMETRY, F_RO, F_BLK_SIZE, F_FLUSH, F_TOPOLOGY, F_CONFIG_WCE, F_MQ, F_DISCARD,
             F_WRITE_ZEROES, F_LIFETIME, F_SECURE_ERASE)
UNMAP = 1                                          # flag of a WRITE_ZEROES range
SECTOR = 512
PENDING = 0xee                                     # what status bytes are before the device writes them

CONFIG = struct.Struct("<QIIHBBIBBHIBBHIIIIIB3x")
CONFIG_FIELDS = ("capacity", "size_max", "seg_max", "cylinders", "heads", "sectors", "blk_size", "physical_block_exp",
                 "alignment_offset", "min_io_size", "opt_io_size", "writeback", "unused", "num_queues",
                 "max_discard_sectors", "max_discard_seg", "discard_sector_alignment", "max_write_zeroes_sectors",
                 "max_write_zeroes_seg", "write_zeroes_may_unmap")
assert CONFIG.size == 60


@dataclass
class Request:
    queue: object
    token: int
    status_at: int
    parts: list                                    # (gpa, length, region) of the data
    give: list = field(repr=False)
    written: int = 0
    status: int = PENDING
    data: bytes = b""


class Blk(Device):
    def device_features(self):
        return F_ALL

    def config(self):
        return dict(zip(CONFIG_FIELDS, CONFIG.unpack(self.front.get_config(0, CONFIG.size))))

    # --- one request ---

    def submit(self, kind, sector=0, out=b"", want=0, *, queue=0, parts=1, indirect=False, publish=True, region=2,
               head=None, status_bytes=1):
        """Give the device a request with `out` to be written or `want` bytes to be read, cut into that many parts
        (which alternate between two regions of memory)."""
        q, memory = self.queues[queue], self.memory
        give = []

        def alloc(length, align, where):
            gpa = memory.alloc(length, align, where)
            give.append((gpa, length, align, where))
            return gpa
        header = struct.pack("<IIQ", kind, 0, sector) if head is None else head
        at = alloc(len(header), 16, 1)
        memory.write(at, header)
        descs, data = [(at, len(header), False)], []
        length = len(out) or want
        for n in range(parts if length else 0):
            start, end = (length * i // parts & ~(SECTOR - 1) if i < parts else length for i in (n, n + 1))
            if start == end:
                continue
            where = region if n % 2 == 0 else 1
            gpa = alloc(end - start, 64, where)
            memory.write(gpa, out[start:end] if out else bytes([0xa5]) * (end - start))
            descs.append((gpa, end - start, not out))
            data.append((gpa, end - start, where))
        status_at = alloc(max(status_bytes, 1), 1, 1)
        memory.put("B", status_at, PENDING)
        if status_bytes:
            descs.append((status_at, status_bytes, True))
        request = Request(q, q.ring.add(descs, indirect), status_at, [] if out else data, give)
        if publish:
            q.publish()
        return request

    def wait(self, *requests, timeout_s=60):
        """Until they are done; the status of the last."""
        for request in requests:
            request.written = request.queue.wait([request.token], timeout_s)[request.token]
            self.finish(request)
        return requests[-1].status

    def finish(self, request):
        request.status = self.memory.get("B", request.status_at)
        request.data = b"".join(self.memory.read(gpa, length) for gpa, length, _ in request.parts)
        for row in request.give:
            self.memory.give(*row)

    def do(self, kind, *args, **how):
        """A request, waited for, that must succeed."""
        request = self.submit(kind, *args, **how)
        status = self.wait(request)
        assert status == OK, f"request {kind} has status {status}"
        return request

    # --- by name ---

    def read(self, sector, length, **how):
        request = self.do(IN, sector, want=length, **how)
        assert request.written == length + 1, f"{request.written} bytes are said to be written, of {length + 1}"
        return request.data

    def write(self, sector, data, **how):
        self.do(OUT, sector, out=data, **how)

    def flush(self, **how):
        self.do(FLUSH, **how)

    def get_id(self):
        return self.do(GET_ID, want=20).data.split(b"\0")[0].decode()

    @staticmethod
    def ranges(*rows):
        """(sector, sectors[, flags]), ... as DISCARD, WRITE_ZEROES and SECURE_ERASE take them."""
        return b"".join(struct.pack("<QII", *row, *((0,) if len(row) == 2 else ())) for row in rows)

    def discard(self, sector, sectors, **how):
        self.do(DISCARD, out=self.ranges((sector, sectors)), **how)

    def write_zeroes(self, sector, sectors, unmap=False, **how):
        self.do(WRITE_ZEROES, out=self.ranges((sector, sectors, UNMAP if unmap else 0)), **how)
