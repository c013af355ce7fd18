# SPDX-License-Identifier: BSD-3-Clause
"""Images of disks with a GUID partition table, made from the layout's description and not by the project's code."""
import struct
import uuid
import zlib

SPDK = uuid.UUID("6527994e-2c5a-4eec-9613-8f5944074e8b")
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
DISK_ID = uuid.UUID("11111111-2222-4333-8444-555555555555")
PART_ID = uuid.UUID("99999999-aaaa-4bbb-8ccc-0000000000{:02}".format(1))
ENTRIES, ENTRY = 128, 128


def part_id(number):
    return uuid.UUID(int=PART_ID.int + number)


def header(block, my, other, entries_lba, entries, blocks):
    reserved = 2 + len(entries) // block

    def pack(crc):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, my, other, reserved,
                           blocks - reserved, DISK_ID.bytes_le, entries_lba, ENTRIES, ENTRY, zlib.crc32(entries))
    return pack(zlib.crc32(pack(0)))


def make_table(path, block, blocks, parts):
    """An image with these partitions: {number: (type, first, last, name)}."""
    entries = bytearray(ENTRIES * ENTRY)
    for number, (kind, first, last, name) in parts.items():
        struct.pack_into("<16s16sQQQ72s", entries, (number - 1) * ENTRY, kind.bytes_le, part_id(number).bytes_le, first,
                         last, 0, name.encode("utf-16-le"))
    image = bytearray(block * blocks)
    struct.pack_into("<BxxxBxxxII", image, 446, 0, 0xee, 1, blocks - 1)
    image[510:512] = b"\x55\xaa"
    last, backup = blocks - 1, blocks - 1 - len(entries) // block
    for my, other, at in ((1, last, 2), (last, 1, backup)):
        image[my * block:my * block + 92] = header(block, my, other, at, bytes(entries), blocks)
        image[at * block:at * block + len(entries)] = entries
    path.write_bytes(image)
