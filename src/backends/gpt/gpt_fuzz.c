/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_fuzz.c: any bytes as the beginning and the end of a disk.
 *
 * The first byte chooses the block size and whether the checksums are made right, without which hardly any input
 * would get past the header. What is accepted has to be in order: within the device, without overlaps, names that end.
 */
#include <isa-l/crc.h>

#include "backends/gpt/gpt_table.h"

#define DISK_MAX (256u * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, 4);
	return v;
}

static void put32(uint8_t *at, uint32_t v)
{
	memcpy(at, &v, 4);
}

static void make_checksums_right(uint8_t *disk, size_t len, uint32_t block, uint64_t lba)
{
	uint8_t *h = disk + lba * block;
	uint64_t entries_lba, bytes = (uint64_t)get32(h + 80) * get32(h + 84);

	memcpy(&entries_lba, h + 72, 8);
	memcpy(h, "EFI PART", 8);
	if (entries_lba < len / block && bytes <= len - entries_lba * block)
		put32(h + 88, crc32_gzip_refl(0, disk + entries_lba * block, bytes));
	put32(h + 16, 0);
	if (get32(h + 12) <= block)
		put32(h + 16, crc32_gzip_refl(0, h, get32(h + 12)));
}

static void check(const struct gpt_header *h, const struct gpt_table *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		const struct gpt_part *p = &t->parts[i];

		must(p->number >= 1 && p->number <= h->entry_count && p->count);
		must(p->first >= h->first_usable && p->count - 1 <= h->last_usable - p->first);
		must(memchr(p->name, 0, sizeof(p->name)));
		for (uint32_t k = 0; k < i; k++)
			must(p->first >= t->parts[k].first + t->parts[k].count || t->parts[k].first >= p->first + p->count);
	}
}

static void look(const uint8_t *disk, uint32_t block, uint64_t blocks, uint64_t lba)
{
	struct gpt_header h;
	struct gpt_table t;

	if (gpt_parse_header(disk + lba * block, block, lba, blocks, &h, NULL) != 0)
		return;
	must(h.entries_lba + h.entries_blocks <= blocks);
	if (gpt_parse_entries(&h, disk + h.entries_lba * block, h.entries_blocks * block, &t, NULL) == 0)
		check(&h, &t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t block = size && data[0] & 1 ? 4096 : 512;
	uint64_t blocks;
	uint8_t *disk;

	if (size < 1 + 3 * block || size > DISK_MAX)
		return 0;
	blocks = (size - 1) / block;
	disk = malloc(blocks * block);
	if (!disk)
		return 0;
	memcpy(disk, data + 1, blocks * block);
	gpt_is_protective_mbr(disk, block);
	if (data[0] & 2) {
		make_checksums_right(disk, blocks * block, block, 1);
		make_checksums_right(disk, blocks * block, block, blocks - 1);
	}
	look(disk, block, blocks, 1);
	look(disk, block, blocks, blocks - 1);
	free(disk);
	return 0;
}
