/* SPDX-License-Identifier: BSD-3-Clause */
/* chunks.c: first fit by a bit a unit. Chunks live for one command, so that holes close by themselves. */
#include "nvme/rdma/chunks.h"

static bool line_ready(struct waitq *q, uint32_t need);

void chunks_init(struct chunks *c, void *base, uint32_t bytes)
{
	assert(bytes >= CHUNKS_BYTES_MIN && bytes <= CHUNKS_BYTES);
	*c = (struct chunks){ .base = base, .units = bytes / CHUNK_UNIT };
	waitq_init(&c->line, "RDMA copy buffers", line_ready);
}

static uint32_t units_of(uint32_t len)
{
	return (len + CHUNK_UNIT - 1) / CHUNK_UNIT;
}

static bool is_used(const struct chunks *c, uint32_t unit)
{
	return c->used[unit / 64] >> (unit % 64) & 1;
}

/* The first unit of the first hole of `units`; c->units: none. */
static uint32_t find(const struct chunks *c, uint32_t units)
{
	uint32_t run = 0;

	for (uint32_t i = c->hint; i < c->units; i++) {
		if (i % 64 == 0 && c->used[i / 64] == UINT64_MAX) {
			run = 0;
			i += 63;
			continue;
		}
		run = is_used(c, i) ? 0 : run + 1;
		if (run == units)
			return i + 1 - units;
	}
	return c->units;
}

static bool line_ready(struct waitq *q, uint32_t need)
{
	const struct chunks *c = container_of(q, struct chunks, line);

	return find(c, units_of(need)) < c->units;
}

void *chunks_take(struct chunks *c, uint32_t len)
{
	uint32_t units = units_of(len), first;

	assert(len && len <= CHUNKS_BYTES_MAX);
	if (!c->line.granting && !list_empty(&c->line.waiters))
		return NULL;
	c->line.granting = false; /* one take per grant */
	first = find(c, units);
	if (first == c->units)
		return NULL;
	for (uint32_t i = first; i < first + units; i++)
		c->used[i / 64] |= 1ull << (i % 64);
	if (first == c->hint)
		c->hint = first + units;
	return c->base + (size_t)first * CHUNK_UNIT;
}

void chunks_give(struct chunks *c, void *at, uint32_t len)
{
	uint32_t first = (uint32_t)((size_t)((uint8_t *)at - c->base) / CHUNK_UNIT), units = units_of(len);

	assert(first + units <= c->units);
	for (uint32_t i = first; i < first + units; i++) {
		assert(is_used(c, i));
		c->used[i / 64] &= ~(1ull << (i % 64));
	}
	c->hint = min_u32(c->hint, first);
	waitq_wake(&c->line);
}

bool chunks_all_given(const struct chunks *c)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(c->used); i++)
		if (c->used[i])
			return false;
	return true;
}
