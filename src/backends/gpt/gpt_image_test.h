/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_image_test.h: tables for tests, made from the layout's byte offsets and not from the parser's structs. */
#ifndef BACKENDS_GPT_GPT_IMAGE_TEST_H
#define BACKENDS_GPT_GPT_IMAGE_TEST_H

#include <isa-l/crc.h>

#include "base/base.h"

struct gpt_image {
	uint8_t *disk;
	uint32_t block_size;
	uint64_t blocks;
	uint32_t entry_bytes, entry_count;
};

static inline void image_u32(uint8_t *at, uint32_t v) { memcpy(at, &v, 4); }
static inline void image_u64(uint8_t *at, uint64_t v) { memcpy(at, &v, 8); }

static inline uint8_t *image_block(const struct gpt_image *g, uint64_t lba)
{
	return g->disk + lba * g->block_size;
}

static inline uint64_t image_entries_blocks(const struct gpt_image *g)
{
	return div_up((uint64_t)g->entry_bytes * g->entry_count, g->block_size);
}

/* Partition `number` from 1; `type` is sixteen bytes as they lie on a disk. Seal it afterwards. */
static inline void image_part(struct gpt_image *g, uint32_t number, const uint8_t type[16], uint64_t first,
                              uint64_t last, const char *name)
{
	uint8_t *at = image_block(g, 2) + (number - 1) * g->entry_bytes;

	memcpy(at, type, 16);
	memset(at + 16, 0xa0 + (int)number, 16);
	image_u64(at + 32, first);
	image_u64(at + 40, last);
	for (uint32_t i = 0; name[i]; i++)
		at[56 + 2 * i] = (uint8_t)name[i];
}

static inline void image_header(struct gpt_image *g, uint64_t lba, uint64_t other, uint64_t entries_lba)
{
	uint8_t *h = image_block(g, lba);
	uint64_t reserved = 2 + image_entries_blocks(g);

	memset(h, 0, g->block_size);
	memcpy(h, "EFI PART\0\0\1\0\x5c\0\0\0", 16);
	image_u64(h + 24, lba);
	image_u64(h + 32, other);
	image_u64(h + 40, reserved);
	image_u64(h + 48, g->blocks - reserved);
	memset(h + 56, 0xd1, 16);
	image_u64(h + 72, entries_lba);
	image_u32(h + 80, g->entry_count);
	image_u32(h + 84, g->entry_bytes);
	image_u32(h + 88, crc32_gzip_refl(0, image_block(g, entries_lba), (uint64_t)g->entry_bytes * g->entry_count));
	image_u32(h + 16, crc32_gzip_refl(0, h, 92));
}

/* Both headers and the backup's entries, from the primary entries. */
static inline void image_seal(struct gpt_image *g)
{
	uint64_t n = image_entries_blocks(g), last = g->blocks - 1;

	memcpy(image_block(g, last - n), image_block(g, 2), n * g->block_size);
	image_header(g, 1, last, 2);
	image_header(g, last, 1, last - n);
}

static inline void image_init(struct gpt_image *g, uint32_t block_size, uint64_t blocks)
{
	*g = (struct gpt_image){ .block_size = block_size, .blocks = blocks, .entry_bytes = 128, .entry_count = 128 };
	g->disk = base_zalloc(block_size * blocks);
	g->disk[450] = 0xee;
	image_u32(g->disk + 454, 1);
	image_u32(g->disk + 458, (uint32_t)blocks - 1);
	g->disk[510] = 0x55;
	g->disk[511] = 0xaa;
}

#endif
