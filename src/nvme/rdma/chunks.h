/* SPDX-License-Identifier: BSD-3-Clause */
/* chunks.h: contiguous pieces of one piece of registered memory, for data that lies in several pieces or in memory that
 * is not registered: a target that takes one descriptor a command can be told of one place only.
 *
 * Of one core. Who finds none waits in line; the largest fits as soon as everything is given back, and nobody passes
 * the head of the line, so that it always moves.
 */
#ifndef NVME_RDMA_CHUNKS_H
#define NVME_RDMA_CHUNKS_H

#include "core/mem.h"

#define CHUNK_UNIT 4096u
#define CHUNKS_BYTES (4u << 20)         /* as much memory as that at most ... */
#define CHUNKS_BYTES_MIN CHUNKS_BYTES_MAX /* ... or, when the budget is short */
#define CHUNKS_BYTES_MAX (2u << 20)     /* of one command, or of two that go together */
#define CHUNKS_UNITS (CHUNKS_BYTES / CHUNK_UNIT)

struct chunks {
	uint8_t *base;
	uint64_t used[CHUNKS_UNITS / 64];
	uint32_t units;
	uint32_t hint;                  /* units below it are in use */
	struct waitq line;
};

/* `base` stays the caller's. */
void chunks_init(struct chunks *c, void *base, uint32_t bytes);
/* 1 to CHUNKS_BYTES_MAX bytes. NULL: wait (waitq_add() with the bytes), then take again, first thing. Who has not
 * waited gets none while others wait. */
void *chunks_take(struct chunks *c, uint32_t len);
void chunks_give(struct chunks *c, void *at, uint32_t len);
bool chunks_all_given(const struct chunks *c);

#endif
