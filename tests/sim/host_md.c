/* SPDX-License-Identifier: BSD-3-Clause */
/* host_md.c: see host_md.h. */
#include "host_md.h"

static struct bdev_tags tags_of(const struct pi_shape *s, uint64_t lba)
{
	return (struct bdev_tags){ .ref = host_md_ref(s, lba), .app = HOST_MD_APP, .mask = 0xffff };
}

static struct iovec all_of(const struct pi_shape *s, uint32_t count, const uint8_t *blocks)
{
	return (struct iovec){ (uint8_t *)(uintptr_t)blocks, (size_t)count * (s->block_size + s->md_size) };
}

void host_md_make(const struct pi_shape *s, uint64_t lba, uint32_t count, const uint8_t *plain, uint8_t *blocks)
{
	const struct iovec v = all_of(s, count, blocks);

	for (uint32_t i = 0; i < count; i++) {
		uint8_t *at = blocks + (size_t)i * (s->block_size + s->md_size);

		memcpy(at, plain + (size_t)i * s->block_size, s->block_size);
		memset(at + s->block_size, (int)(lba + i), s->md_size);
	}
	pi_generate(s, iov_cursor_over(&v, 1), NULL, count, tags_of(s, lba));
}

bool host_md_take(const struct pi_shape *s, uint64_t lba, uint32_t count, const uint8_t *blocks, uint8_t *plain)
{
	const struct iovec v = all_of(s, count, blocks);

	for (uint32_t i = 0; i < count; i++)
		memcpy(plain + (size_t)i * s->block_size, blocks + (size_t)i * (s->block_size + s->md_size), s->block_size);
	return pi_verify(s, iov_cursor_over(&v, 1), NULL, count, tags_of(s, lba), PI_CHECKS, NULL) == BDEV_ST_OK;
}
