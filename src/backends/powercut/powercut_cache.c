/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut_cache.c: see powercut_cache.h. */
#include "backends/powercut/powercut_cache.h"

#include "base/random.h"

static uint32_t *bucket_of(const struct powercut_cache *c, uint64_t lba);
static void hash_remove(struct powercut_cache *c, uint32_t slot);
static void dirty_add(struct powercut_cache *c, uint32_t slot);
static void dirty_remove(struct powercut_cache *c, uint32_t slot);
static void other_add(struct powercut_cache *c, uint32_t slot);
static void other_remove(struct powercut_cache *c, uint32_t slot);
static void slot_free(struct powercut_cache *c, uint32_t slot);
static uint64_t mix(uint64_t seed, uint64_t v);

void powercut_cache_init(struct powercut_cache *c, uint32_t slots, uint32_t block_bytes)
{
	uint32_t buckets = 1;

	while (buckets < slots)
		buckets *= 2;
	*c = (struct powercut_cache){ .slot_count = slots, .free_count = slots, .block_bytes = block_bytes,
	                     .bucket_mask = buckets - 1, .dirty_first = CACHE_NONE, .dirty_last = CACHE_NONE,
	                     .other_first = CACHE_NONE, .other_last = CACHE_NONE };
	c->buckets = base_zalloc(buckets * sizeof(*c->buckets));
	c->dirty = base_zalloc(slots * sizeof(*c->dirty));
	c->slots = base_zalloc(slots * sizeof(*c->slots));
	c->data = base_zalloc((size_t)slots * block_bytes); /* touched as it is used */
	for (uint32_t i = 0; i < buckets; i++)
		c->buckets[i] = CACHE_NONE;
	for (uint32_t i = 0; i < slots; i++)
		c->slots[i].hash_next = i + 1 < slots ? i + 1 : CACHE_NONE;
}

void powercut_cache_fini(struct powercut_cache *c)
{
	free(c->buckets);
	free(c->dirty);
	free(c->slots);
	free(c->data);
}

uint32_t powercut_cache_find(const struct powercut_cache *c, uint64_t lba)
{
	uint32_t slot = *bucket_of(c, lba);

	while (slot != CACHE_NONE && c->slots[slot].lba != lba)
		slot = c->slots[slot].hash_next;
	return slot;
}

/* --- writes of users -------------------------------------------------------------------------------------- */

uint32_t powercut_cache_slots_needed(const struct powercut_cache *c, uint64_t lba, uint64_t count)
{
	uint32_t needed = 0;

	for (uint64_t i = 0; i < count; i++) {
		uint32_t slot = powercut_cache_find(c, lba + i);

		needed += slot == CACHE_NONE || c->slots[slot].state == CACHE_BUSY;
	}
	return needed;
}

static uint32_t put_new(struct powercut_cache *c, uint64_t lba, uint64_t seq, uint32_t after)
{
	uint32_t slot = c->free, *bucket = bucket_of(c, lba);
	struct powercut_slot *s = &c->slots[slot];

	must(slot != CACHE_NONE);
	c->free = s->hash_next;
	c->free_count--;
	*s = (struct powercut_slot){ .lba = lba, .seq = seq, .oldest = seq, .after = after, .hash_next = *bucket };
	*bucket = slot;
	dirty_add(c, slot);
	return slot;
}

void *powercut_cache_put(struct powercut_cache *c, uint64_t lba, uint64_t seq)
{
	uint32_t slot = powercut_cache_find(c, lba);
	struct powercut_slot *s = slot == CACHE_NONE ? NULL : &c->slots[slot];

	if (!s) {
		slot = put_new(c, lba, seq, CACHE_NONE);
	} else if (s->state == CACHE_BUSY) { /* the media's part of it must not change meanwhile */
		hash_remove(c, slot);
		s->state = CACHE_STALE;
		slot = put_new(c, lba, seq, slot);
	} else if (s->state == CACHE_KEPT) {
		other_remove(c, slot);
		s->seq = s->oldest = seq;
		dirty_add(c, slot);
	} else {
		s->seq = seq; /* a flush that waits for what was here before now waits for this */
	}
	return powercut_cache_data(c, slot);
}

/* --- to the media ----------------------------------------------------------------------------------------- */

void powercut_cache_write_begin(struct powercut_cache *c, uint32_t slot)
{
	must(powercut_cache_writable(c, slot));
	dirty_remove(c, slot);
	c->slots[slot].state = CACHE_BUSY;
	c->busy_count++;
	other_add(c, slot);
}

/* Who came after a stale slot may go on. */
static void stale_end(struct powercut_cache *c, uint32_t slot)
{
	uint32_t newer = powercut_cache_find(c, c->slots[slot].lba);

	if (newer != CACHE_NONE && c->slots[newer].after == slot)
		c->slots[newer].after = CACHE_NONE;
}

void powercut_cache_write_end(struct powercut_cache *c, uint32_t slot, bool keep)
{
	struct powercut_slot *s = &c->slots[slot];

	c->busy_count--;
	if (s->state == CACHE_STALE) {
		stale_end(c, slot);
		other_remove(c, slot);
		slot_free(c, slot);
	} else if (keep) {
		s->state = CACHE_KEPT;
	} else {
		s->state = CACHE_KEPT;
		powercut_cache_release(c, slot);
	}
}

void powercut_cache_write_failed(struct powercut_cache *c, uint32_t slot)
{
	struct powercut_slot *s = &c->slots[slot];
	uint32_t newer;

	c->busy_count--;
	other_remove(c, slot);
	if (s->state == CACHE_BUSY) {
		dirty_add(c, slot);
		return;
	}
	/* What is newer now stands for both. */
	newer = powercut_cache_find(c, s->lba);
	if (newer != CACHE_NONE && c->slots[newer].after == slot) {
		c->slots[newer].after = CACHE_NONE;
		dirty_remove(c, newer);
		c->slots[newer].oldest = s->oldest;
		dirty_add(c, newer);
	}
	slot_free(c, slot);
}

void powercut_cache_release(struct powercut_cache *c, uint32_t slot)
{
	must(c->slots[slot].state == CACHE_KEPT);
	other_remove(c, slot);
	hash_remove(c, slot);
	slot_free(c, slot);
}

void powercut_cache_drop(struct powercut_cache *c, uint32_t slot)
{
	if (c->slots[slot].state == CACHE_KEPT) {
		powercut_cache_release(c, slot);
		return;
	}
	must(c->slots[slot].state == CACHE_DIRTY);
	dirty_remove(c, slot);
	hash_remove(c, slot);
	slot_free(c, slot);
}

static bool within(const struct powercut_slot *s, uint64_t lba, uint64_t count)
{
	return s->lba >= lba && s->lba - lba < count;
}

bool powercut_cache_owes(const struct powercut_cache *c, uint64_t lba, uint64_t count, uint64_t seq)
{
	for (uint32_t i = c->dirty_first; i != CACHE_NONE && c->slots[i].oldest <= seq; i = c->slots[i].next)
		if (within(&c->slots[i], lba, count))
			return true;
	for (uint32_t i = c->other_first; i != CACHE_NONE; i = c->slots[i].next)
		if (c->slots[i].state != CACHE_KEPT && c->slots[i].oldest <= seq && within(&c->slots[i], lba, count))
			return true;
	return false;
}

/* --- power ------------------------------------------------------------------------------------------------ */

/* TEAR: of the writes before `moment` all is there, of those after it nothing. REORDER: writes are numbered from
 * `first`, so that the same writes meet the same fate whatever was before them. */
static bool survives(const struct powercut_slot *s, enum powercut_mode mode, uint64_t seed, uint64_t first,
                     uint64_t moment)
{
	switch (mode) {
	case POWERCUT_TEAR:
		return s->seq < moment || (s->seq == moment && mix(seed, s->lba) & 1);
	case POWERCUT_REORDER:
		return mix(seed, s->seq - first) % 4 <= seed % 3; /* a quarter, a half or three quarters of them */
	default:
		return false;
	}
}

uint32_t powercut_cache_cut(struct powercut_cache *c, enum powercut_mode mode, uint64_t seed)
{
	uint32_t dropped = 0, next;
	uint64_t first, moment;

	must(c->other_first == CACHE_NONE);
	if (!c->dirty_count)
		return 0;
	first = c->slots[c->dirty_first].oldest;
	moment = c->slots[powercut_cache_draw(c, mix(seed, 0))].seq;
	for (uint32_t i = c->dirty_first; i != CACHE_NONE; i = next) {
		next = c->slots[i].next;
		if (!survives(&c->slots[i], mode, seed, first, moment)) {
			powercut_cache_drop(c, i);
			dropped++;
		}
	}
	return dropped;
}

/* Every bit of the result hangs on every bit of both. */
static uint64_t mix(uint64_t seed, uint64_t v)
{
	uint64_t state = seed + v * 0x9e3779b97f4a7c15ull; /* what v calls would have made of it */

	return random_next(&state);
}

/* --- chains ----------------------------------------------------------------------------------------------- */

static uint32_t *bucket_of(const struct powercut_cache *c, uint64_t lba)
{
	return &c->buckets[lba * 0x9e3779b97f4a7c15ull >> 32 & c->bucket_mask];
}

static void hash_remove(struct powercut_cache *c, uint32_t slot)
{
	uint32_t *at = bucket_of(c, c->slots[slot].lba);

	while (*at != slot)
		at = &c->slots[*at].hash_next;
	*at = c->slots[slot].hash_next;
}

/* In order of `oldest`: nearly always the last. */
static void dirty_add(struct powercut_cache *c, uint32_t slot)
{
	struct powercut_slot *s = &c->slots[slot];
	uint32_t before = c->dirty_last;

	while (before != CACHE_NONE && c->slots[before].oldest > s->oldest)
		before = c->slots[before].prev;
	s->state = CACHE_DIRTY;
	s->prev = before;
	s->next = before == CACHE_NONE ? c->dirty_first : c->slots[before].next;
	*(s->prev == CACHE_NONE ? &c->dirty_first : &c->slots[s->prev].next) = slot;
	*(s->next == CACHE_NONE ? &c->dirty_last : &c->slots[s->next].prev) = slot;
	s->at = c->dirty_count;
	c->dirty[c->dirty_count++] = slot;
}

static void unlink_from(struct powercut_cache *c, uint32_t *first, uint32_t *last, uint32_t slot)
{
	struct powercut_slot *s = &c->slots[slot];

	*(s->prev == CACHE_NONE ? first : &c->slots[s->prev].next) = s->next;
	*(s->next == CACHE_NONE ? last : &c->slots[s->next].prev) = s->prev;
}

static void dirty_remove(struct powercut_cache *c, uint32_t slot)
{
	uint32_t moved = c->dirty[--c->dirty_count];

	unlink_from(c, &c->dirty_first, &c->dirty_last, slot);
	c->dirty[c->slots[slot].at] = moved;
	c->slots[moved].at = c->slots[slot].at;
}

static void other_add(struct powercut_cache *c, uint32_t slot)
{
	struct powercut_slot *s = &c->slots[slot];

	s->prev = c->other_last;
	s->next = CACHE_NONE;
	*(s->prev == CACHE_NONE ? &c->other_first : &c->slots[s->prev].next) = slot;
	c->other_last = slot;
}

static void other_remove(struct powercut_cache *c, uint32_t slot)
{
	unlink_from(c, &c->other_first, &c->other_last, slot);
}

static void slot_free(struct powercut_cache *c, uint32_t slot)
{
	c->slots[slot].state = CACHE_FREE;
	c->slots[slot].hash_next = c->free;
	c->free = slot;
	c->free_count++;
}
