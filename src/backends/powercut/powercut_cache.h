/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut_cache.h: the volatile cache of a disk that will lose power: blocks, no I/O. Private to the back-end.
 *
 * Each block that was written and is not on the media has a slot with its newest contents, as in a disk's cache. A slot
 * knows the number of the write it holds, for a power cut that spares whole writes, and the number of the
 * oldest write that is not on the media, for who asks whether a flush is complete.
 *
 *     (none) --put--> DIRTY --begin--> BUSY --end--> (none), or KEPT while a reader may need it --release--> (none)
 *                       ^                |
 *                       +-----failed-----+       a put meanwhile makes a new slot; the BUSY one is then STALE
 */
#ifndef BACKENDS_POWERCUT_POWERCUT_CACHE_H
#define BACKENDS_POWERCUT_POWERCUT_CACHE_H

#include "base/base.h"

#define CACHE_NONE UINT32_MAX

enum powercut_state { CACHE_FREE, CACHE_DIRTY, CACHE_BUSY, CACHE_STALE, CACHE_KEPT };

struct powercut_slot {
	uint64_t lba;
	uint64_t seq, oldest;    /* the write it holds; the first that is not on the media */
	uint32_t hash_next;      /* of its bucket; of the free slots */
	uint32_t prev, next;     /* in order of `oldest`; of DIRTY, or of the others in use */
	uint32_t at;             /* place in dirty[] */
	uint32_t after;          /* STALE slot of the same block that has to be written first */
	uint8_t state;
};

struct powercut_cache {
	uint32_t slot_count, free_count, dirty_count, busy_count, block_bytes;
	uint32_t free;
	uint32_t dirty_first, dirty_last;  /* oldest first */
	uint32_t other_first, other_last;  /* BUSY, STALE, KEPT */
	uint32_t bucket_mask;
	uint32_t *buckets, *dirty;         /* dirty: all of them, in no order, for drawing one */
	struct powercut_slot *slots;
	uint8_t *data;
};

void powercut_cache_init(struct powercut_cache *c, uint32_t slots, uint32_t block_bytes);
void powercut_cache_fini(struct powercut_cache *c);

/* The slot with a block's newest contents, or CACHE_NONE. */
uint32_t powercut_cache_find(const struct powercut_cache *c, uint64_t lba);
static inline void *powercut_cache_data(const struct powercut_cache *c, uint32_t slot)
{
	return c->data + (size_t)slot * c->block_bytes;
}

/* How many free slots a write of these blocks takes. */
uint32_t powercut_cache_slots_needed(const struct powercut_cache *c, uint64_t lba, uint64_t count);
/* Where to put a block's new contents, of write `seq`; there must be a free slot when it needs one. */
void *powercut_cache_put(struct powercut_cache *c, uint64_t lba, uint64_t seq);

/* May it be written to the media now? */
static inline bool powercut_cache_writable(const struct powercut_cache *c, uint32_t slot)
{
	return c->slots[slot].state == CACHE_DIRTY && c->slots[slot].after == CACHE_NONE;
}
void powercut_cache_write_begin(struct powercut_cache *c, uint32_t slot);
/* It is on the media. `keep`: somebody reads the block and will look here when the media has answered. */
void powercut_cache_write_end(struct powercut_cache *c, uint32_t slot, bool keep);
void powercut_cache_write_failed(struct powercut_cache *c, uint32_t slot);
/* A kept slot is needed no more. */
void powercut_cache_release(struct powercut_cache *c, uint32_t slot);
/* Forget a block that was not written to since write `seq` ended: DIRTY or KEPT. */
void powercut_cache_drop(struct powercut_cache *c, uint32_t slot);
static inline uint32_t powercut_cache_draw(const struct powercut_cache *c, uint64_t random)
{
	return c->dirty[random % c->dirty_count];
}

/* Is anything of [lba, lba + count) that was written by write `seq` or before not on the media? */
bool powercut_cache_owes(const struct powercut_cache *c, uint64_t lba, uint64_t count, uint64_t seq);

/* --- power ------------------------------------------------------------------------------------------------ */

enum powercut_mode {
	POWERCUT_DROP,    /* nothing that was not flushed survives */
	POWERCUT_TEAR,    /* the writes before some moment survive, the one of that moment in part */
	POWERCUT_REORDER, /* each write survives or not, whatever came before it */
};

/* Drop the blocks that do not survive; those that are left were written in the last moment. Nothing is BUSY or
 * KEPT. The same contents and seed give the same result. Returns how many were dropped. */
uint32_t powercut_cache_cut(struct powercut_cache *c, enum powercut_mode mode, uint64_t seed);

#endif
