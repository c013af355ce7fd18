# SPDX-License-Identifier: BSD-3-Clause
"""A guest's memory, and virtio rings in it, driven by hand from the driver's side.

    memory = Memory()                                 several regions, shared by memfd
    ring = SplitRing(memory, 128)                     or PackedRing: the same verbs
    token = ring.add([(gpa, 16, False), (gpa, 512, True)], indirect=False)
    ring.publish()                                    until then the device cannot see it
    if ring.kick_due(): ...
    for token, written in ring.take_used(): ...       each once; no two chains have the same

Whatever one likes can be wrong: descriptors are written with ring.put_desc(), indices with ring.set_avail_idx().
Layouts are the virtio 1.2 specification's, 2.7 (split) and 2.8 (packed). Independent of the project's C code.
"""
import itertools
import mmap
import os
import struct
import threading
from dataclasses import dataclass

NEXT, WRITE, INDIRECT = 1, 2, 4                    # flags of a descriptor
AVAIL_BIT, USED_BIT = 7, 15                        # and of a packed one
NO_NOTIFY = 1                                      # split: used.flags; avail.flags has the same bit for interrupts
EVENTS_ON, EVENTS_OFF, EVENTS_AT = 0, 1, 2         # packed: flags of an event area
PAGE = 4096
USER_BASE = 0x7f5a_0000_0000                       # where the front-end pretends to have mapped the memory
FENCE = threading.Lock()


def fence():
    """Nothing that follows is read before what precedes is seen by others."""
    with FENCE:
        pass


# --- memory ------------------------------------------------------------------------------------------------------

@dataclass
class Region:
    gpa: int
    size: int
    user: int                                      # ring addresses are given in these
    fd: int
    offset: int                                    # of the region in its file
    view: object

    def holds(self, gpa, length):
        return self.gpa <= gpa and gpa + length <= self.gpa + self.size


class Memory:
    """Regions like those of a small machine: below 640 KiB, from 1 MiB, from 4 GiB. The first two lie in one file."""

    DEFAULT = ((0, 0xa0000), (0x100000, 16 << 20), (1 << 32, 16 << 20))

    def __init__(self, layout=DEFAULT):
        self.regions, self.free, self.next = [], {}, {}
        files = [layout[:2], *([r] for r in layout[2:])]
        for number, rows in enumerate(files):
            self.add_file(rows, USER_BASE + (number << 36))

    def add_file(self, rows, user):
        """One more file with these (gpa, size) regions in it, one after another, after a page of nothing."""
        fd = self.make_file(PAGE + sum(size for _, size in rows))
        whole = mmap.mmap(fd, 0)
        view, offset, added = memoryview(whole), PAGE, []
        for gpa, size in rows:
            region = Region(gpa, size, user + offset, os.dup(fd), offset, view[offset:offset + size])
            added.append(region)
            self.next[gpa] = gpa + 64              # address 0 is nobody's
            offset += size
        os.close(fd)
        self.regions += added
        return added

    def make_file(self, length):
        fd = os.memfd_create("guest")
        os.ftruncate(fd, length)
        return fd

    def close(self):
        for region in self.regions:
            os.close(region.fd)
        self.regions = []

    def region(self, gpa, length=1):
        for region in self.regions:
            if region.holds(gpa, length):
                return region
        raise IndexError(f"no region has {length} bytes at {gpa:#x}")

    def user(self, gpa):
        region = self.region(gpa)
        return region.user + gpa - region.gpa

    def alloc(self, length, align=16, region=1):
        """Guest address of memory of one's own, in the region of that number."""
        spare = self.free.get((length, align, region))
        if spare:
            return spare.pop()
        where = self.regions[region]
        gpa = -(-self.next[where.gpa] // align) * align
        self.next[where.gpa] = gpa + length
        assert where.holds(gpa, length), "the guest's memory is full"
        return gpa

    def give(self, gpa, length, align=16, region=1):
        self.free.setdefault((length, align, region), []).append(gpa)

    # What the other side looks at meanwhile. An item of a memoryview is one load or store, so that it is seen old or
    # new; struct.pack_into() writes zeros first.
    def get(self, kind, gpa):
        region = self.region(gpa, struct.calcsize(kind))
        return region.view.cast(kind)[(gpa - region.gpa) // struct.calcsize(kind)]

    def put(self, kind, gpa, value):
        region = self.region(gpa, struct.calcsize(kind))
        region.view.cast(kind)[(gpa - region.gpa) // struct.calcsize(kind)] = value

    def read(self, gpa, length):
        region = self.region(gpa, length)
        return bytes(region.view[gpa - region.gpa:gpa - region.gpa + length])

    def write(self, gpa, data):
        region = self.region(gpa, len(data))
        region.view[gpa - region.gpa:gpa - region.gpa + len(data)] = data


# --- what both rings have ----------------------------------------------------------------------------------------

class Ring:
    """Verbs common to both formats. `desc`, `driver` and `device` are the three areas' guest addresses."""

    def __init__(self, memory, size, event_idx=False, region=1):
        self.memory, self.size, self.event_idx, self.mem_region = memory, size, event_idx, region
        self.free_ids = list(range(size))[::-1]
        self.chains = {}                           # by id as in the ring: what it takes, its token
        self.tokens = itertools.count(1)
        self.added = 0                             # entries published since the device was last asked about kicks
        self.lay_out(region)

    def area(self, length, align, region):
        gpa = self.memory.alloc(length, align, region)
        self.memory.write(gpa, bytes(length))
        return gpa

    def table(self, descs):
        """An indirect table in memory: its address and length."""
        length = 16 * len(descs)
        gpa = self.memory.alloc(length, 16, self.mem_region)
        self.memory.write(gpa, b"".join(self.table_row(n, d, len(descs)) for n, d in enumerate(descs)))
        return gpa, length

    def note(self, ident, **chain):
        """A chain is the device's from now on; its token."""
        self.chains[ident] = chain | {"token": next(self.tokens)}
        return self.chains[ident]["token"]

    def forget(self, ident):
        """It is the driver's again."""
        chain = self.chains.pop(ident, None)
        assert chain, f"the device used {ident}, which is not its to use"
        if chain["table"]:
            gpa, length = chain["table"]
            self.memory.give(gpa, length, 16, self.mem_region)
        return chain


class SplitRing(Ring):
    packed = False

    def lay_out(self, region):
        self.desc = self.area(16 * self.size, 16, region)
        self.driver = self.area(6 + 2 * self.size, 2, region)
        self.device = self.area(6 + 8 * self.size, 4, region)
        self.avail_idx = self.published = self.used_idx = 0

    def begin_at(self, index):
        """As if so much had been done already."""
        self.avail_idx = self.published = self.used_idx = index
        for area in (self.driver, self.device):
            self.memory.put("H", area + 2, index)
        self.memory.put("H", self.device + 4 + 8 * self.size, index)

    # --- writing ---

    def put_desc(self, index, addr, length, flags=0, next_index=0):
        self.memory.write(self.desc + 16 * index, struct.pack("<QIHH", addr, length, flags, next_index))

    @staticmethod
    def table_row(n, desc, count):
        addr, length, writable = desc
        last = n == count - 1
        return struct.pack("<QIHH", addr, length, (WRITE if writable else 0) | (0 if last else NEXT),
                           0 if last else n + 1)

    def room(self, count=1, indirect=False):
        return len(self.free_ids) >= (1 if indirect else count)

    def add(self, descs, indirect=False):
        """Make a chain of [(gpa, length, writable), ...]; its token."""
        table = self.table(descs) if indirect else None
        ids = [self.free_ids.pop() for _ in range(1 if indirect else len(descs))]
        if indirect:
            self.put_desc(ids[0], *table, INDIRECT)
        else:
            for n, (addr, length, writable) in enumerate(descs):
                more = n + 1 < len(ids)
                self.put_desc(ids[n], addr, length, (WRITE if writable else 0) | (NEXT if more else 0),
                              ids[n + 1] if more else 0)
        self.offer(ids[0])
        return self.note(ids[0], ids=ids, table=table)

    def offer(self, head):
        """Any number in the next entry of the available ring."""
        self.memory.put("H", self.driver + 4 + 2 * (self.avail_idx % self.size), head)
        self.avail_idx = (self.avail_idx + 1) & 0xffff

    def set_avail_idx(self, value):
        self.memory.put("H", self.driver + 2, value & 0xffff)

    def publish(self):
        self.added += (self.avail_idx - self.published) & 0xffff
        self.published = self.avail_idx
        self.set_avail_idx(self.avail_idx)

    def kick_due(self):
        """Whether the device asked to be kicked for what was published since the last call."""
        fence()
        added, self.added = self.added, 0
        if self.event_idx:
            event = self.memory.get("H", self.device + 4 + 8 * self.size)
            return (self.published - event - 1) & 0xffff < added
        return not self.memory.get("H", self.device) & NO_NOTIFY

    # --- reading ---

    def take_used(self):
        """[(token, bytes written), ...] that are new. Their descriptors are free again."""
        done = []
        end = self.memory.get("H", self.device + 2)
        while self.used_idx != end:
            head, written = struct.unpack("<II", self.memory.read(self.device + 4 + 8 * (self.used_idx % self.size), 8))
            self.used_idx = (self.used_idx + 1) & 0xffff
            chain = self.forget(head)
            self.free_ids += chain["ids"][::-1]
            done.append((chain["token"], written))
        return done

    def want_calls(self, wanted=True, after=0):
        """Whether to be called; with the event index, after that many more are used. True: some are used already."""
        if self.event_idx:
            self.memory.put("H", self.driver + 4 + 2 * self.size,
                            (self.used_idx + after if wanted else self.used_idx - 1) & 0xffff)
        else:
            self.memory.put("H", self.driver, 0 if wanted else NO_NOTIFY)
        fence()
        return self.memory.get("H", self.device + 2) != self.used_idx

    # --- for SET_VRING_BASE, and to make sense of GET_VRING_BASE ---

    def base(self):
        return self.used_idx

    def base_matches(self, number):
        """The device has taken and used all that was published."""
        return number == self.published == self.used_idx


class PackedRing(Ring):
    packed = True

    def lay_out(self, region):
        self.desc = self.area(16 * self.size, 16, region)
        self.driver = self.area(4, 4, region)
        self.device = self.area(4, 4, region)
        self.next_slot, self.wrap = 0, 1
        self.used_slot, self.used_wrap = 0, 1
        self.slots_free = self.size
        self.held = []                             # first slot's flags of chains not yet published

    # --- writing ---

    def put_desc(self, index, addr, length, ident, flags):
        """Flags last, and in one store: they make it the device's."""
        self.memory.write(self.desc + 16 * index, struct.pack("<QIH", addr, length, ident))
        self.memory.put("H", self.desc + 16 * index + 14, flags)

    @staticmethod
    def table_row(n, desc, count):
        addr, length, writable = desc
        return struct.pack("<QIHH", addr, length, 0, WRITE if writable else 0)

    def room(self, count=1, indirect=False):
        return self.slots_free >= (1 if indirect else count)

    def available(self):
        return 1 << AVAIL_BIT if self.wrap else 1 << USED_BIT

    def step(self):
        slot = self.next_slot
        self.next_slot += 1
        if self.next_slot == self.size:
            self.next_slot, self.wrap = 0, self.wrap ^ 1
        self.slots_free -= 1
        return slot

    def add(self, descs, indirect=False):
        ident = self.free_ids.pop()
        table = self.table(descs) if indirect else None
        rows = [(*table, INDIRECT)] if indirect else [(a, n, WRITE if w else 0) for a, n, w in descs]
        for n, (addr, length, flags) in enumerate(rows):
            flags |= self.available() | (NEXT if n + 1 < len(rows) else 0)
            slot = self.step()
            if n == 0:                             # the head's flags come last: publish() writes them
                self.memory.write(self.desc + 16 * slot, struct.pack("<QIH", addr, length, ident))
                self.held.append((slot, flags))
            else:
                self.put_desc(slot, addr, length, ident, flags)
        self.added += len(rows)
        return self.note(ident, slots=len(rows), table=table)

    def publish(self):
        for slot, flags in self.held:
            self.memory.put("H", self.desc + 16 * slot + 14, flags)
        self.held = []

    def kick_due(self):
        fence()
        event, flags = struct.unpack("<HH", self.memory.read(self.device, 4))
        added, self.added = self.added, 0
        if flags != EVENTS_AT:
            return flags == EVENTS_ON
        at, wrap = event & 0x7fff, event >> 15
        if wrap != self.wrap:
            at -= self.size
        return (self.next_slot - at - 1) & 0xffff < added

    # --- reading ---

    def used_there(self):
        flags = self.memory.get("H", self.desc + 16 * self.used_slot + 14)
        return (flags >> AVAIL_BIT & 1) == (flags >> USED_BIT & 1) == self.used_wrap

    def take_used(self):
        done = []
        while self.used_there():
            written, ident = struct.unpack("<IH", self.memory.read(self.desc + 16 * self.used_slot + 8, 6))
            chain = self.forget(ident)
            self.used_slot += chain["slots"]
            if self.used_slot >= self.size:
                self.used_slot, self.used_wrap = self.used_slot - self.size, self.used_wrap ^ 1
            self.slots_free += chain["slots"]
            self.free_ids.append(ident)
            done.append((chain["token"], written))
        return done

    def want_calls(self, wanted=True, after=0):
        if wanted and self.event_idx:
            slot, wrap = self.used_slot + after, self.used_wrap
            if slot >= self.size:
                slot, wrap = slot - self.size, wrap ^ 1
            self.memory.put("H", self.driver, slot | wrap << 15)
            self.memory.put("H", self.driver + 2, EVENTS_AT)
        else:
            self.memory.put("H", self.driver + 2, EVENTS_ON if wanted else EVENTS_OFF)
        fence()
        return self.used_there()

    # --- for the vhost-user messages ---

    def base(self):
        """Next available with its wrap counter in the low half, next used in the high one."""
        used = self.used_slot | self.used_wrap << 15
        return used | used << 16

    def base_matches(self, number):
        at = self.next_slot | self.wrap << 15
        return number in (at, at | at << 16) and (self.next_slot, self.wrap) == (self.used_slot, self.used_wrap)
