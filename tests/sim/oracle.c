/* SPDX-License-Identifier: BSD-3-Clause */
/* oracle.c: see oracle.h. Time is a count of begins and ends. */
#include "oracle.h"

#include <stdio.h>

#define NEVER UINT64_MAX

struct write {
	uint32_t generation;
	bool zeroes;
	bool sure;             /* it happened, before `ended` */
	bool durable;
	uint64_t began, ended; /* NEVER: still going on, or failed */
};

struct block {
	struct write *writes;
	uint32_t count, room;
};

struct oracle {
	uint64_t blocks, clock, last_cut;
	uint32_t block_size, last_generation;
	struct block *at;
};

struct oracle *oracle_make(uint64_t blocks, uint32_t block_size)
{
	struct oracle *o = base_zalloc(sizeof(*o));

	o->blocks = blocks;
	o->block_size = block_size;
	o->at = base_zalloc(blocks * sizeof(*o->at));
	return o;
}

void oracle_free(struct oracle *o)
{
	for (uint64_t i = 0; i < o->blocks; i++)
		free(o->at[i].writes);
	free(o->at);
	free(o);
}

static uint64_t word_of(uint32_t generation, uint64_t lba)
{
	return (uint64_t)generation << 32 | (uint32_t)(lba * 2654435761u);
}

uint32_t oracle_generation(const void *block)
{
	uint64_t word;

	memcpy(&word, block, sizeof(word));
	return (uint32_t)(word >> 32);
}

static uint32_t write_begin(struct oracle *o, uint64_t lba, uint32_t count, bool zeroes)
{
	uint32_t generation = ++o->last_generation;

	o->clock++;
	for (uint32_t i = 0; i < count; i++) {
		struct block *b = &o->at[lba + i];

		if (b->count == b->room) {
			b->room = b->room ? b->room * 2 : 8;
			b->writes = realloc(b->writes, b->room * sizeof(*b->writes));
		}
		b->writes[b->count++] = (struct write){ .generation = generation, .zeroes = zeroes,
		                                         .began = o->clock, .ended = NEVER };
	}
	return generation;
}

uint32_t oracle_write_begin(struct oracle *o, uint64_t lba, uint32_t count, void *buf)
{
	uint32_t generation = write_begin(o, lba, count, false);
	uint8_t *at = buf;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t word = word_of(generation, lba + i);

		for (uint32_t k = 0; k < o->block_size; k += 8, at += 8)
			memcpy(at, &word, 8);
	}
	return generation;
}

uint32_t oracle_zeroes_begin(struct oracle *o, uint64_t lba, uint32_t count)
{
	return write_begin(o, lba, count, true);
}

void oracle_write_end(struct oracle *o, uint64_t lba, uint32_t count, uint32_t generation, bool ok)
{
	o->clock++;
	if (!ok)
		return;
	for (uint32_t i = 0; i < count; i++)
		for (struct write *w = o->at[lba + i].writes; w < o->at[lba + i].writes + o->at[lba + i].count; w++)
			if (w->generation == generation) {
				w->ended = o->clock;
				w->sure = w->began > o->last_cut; /* or it was lost, and its answer was on its way */
			}
}

void oracle_fence(struct oracle *o, uint64_t lba, uint32_t count, uint32_t generation)
{
	o->clock++;
	for (uint32_t i = 0; i < count; i++)
		for (struct write *w = o->at[lba + i].writes; w < o->at[lba + i].writes + o->at[lba + i].count; w++)
			if (w->generation == generation && w->ended == NEVER)
				w->ended = o->clock; /* not sure: it may never have happened */
}

/* --- media that lose what is not flushed --- */

void oracle_durable(struct oracle *o, uint64_t lba, uint32_t count, uint32_t generation)
{
	for (uint32_t i = 0; i < count; i++)
		for (struct write *w = o->at[lba + i].writes; w < o->at[lba + i].writes + o->at[lba + i].count; w++)
			if (w->generation == generation)
				w->durable = w->sure;
}

void oracle_flush_end(struct oracle *o, uint64_t began)
{
	if (began <= o->last_cut)
		return; /* what it flushed may be what was left */
	for (uint64_t lba = 0; lba < o->blocks; lba++)
		for (struct write *w = o->at[lba].writes; w < o->at[lba].writes + o->at[lba].count; w++)
			w->durable |= w->sure && w->ended <= began;
}

void oracle_power_cut(struct oracle *o)
{
	o->last_cut = ++o->clock;
	for (uint64_t lba = 0; lba < o->blocks; lba++)
		for (struct write *w = o->at[lba].writes; w < o->at[lba].writes + o->at[lba].count; w++)
			w->sure &= w->durable;
}

uint64_t oracle_read_begin(struct oracle *o)
{
	return ++o->clock;
}

/* Did another write begin after `ended` and end before `read_began`? */
static bool superseded(const struct block *b, uint64_t ended, uint64_t read_began)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->writes[i].sure && b->writes[i].began > ended && b->writes[i].ended < read_began)
			return true;
	return false;
}

static bool zeroes_allowed(const struct block *b, uint64_t read_began)
{
	if (!superseded(b, 0, read_began))
		return true; /* as it was in the beginning */
	for (uint32_t i = 0; i < b->count; i++)
		if (b->writes[i].zeroes && !superseded(b, b->writes[i].ended, read_began))
			return true;
	return false;
}

static bool generation_allowed(const struct block *b, uint32_t generation, uint64_t read_began)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->writes[i].generation == generation && !b->writes[i].zeroes)
			return !superseded(b, b->writes[i].ended, read_began);
	return false;
}

static bool block_ok(const struct oracle *o, uint64_t lba, uint64_t began, const uint8_t *buf, char *why, size_t size)
{
	const struct block *b = &o->at[lba];
	uint64_t first, word;

	memcpy(&first, buf, 8);
	for (uint32_t k = 8; k < o->block_size; k += 8) {
		memcpy(&word, buf + k, 8);
		if (word == first)
			continue;
		snprintf(why, size, "block %llu is torn at byte %u: generations %u and %u", (unsigned long long)lba, k,
		         (uint32_t)(first >> 32), (uint32_t)(word >> 32));
		return false;
	}
	if (first ? generation_allowed(b, (uint32_t)(first >> 32), began) && first == word_of((uint32_t)(first >> 32), lba)
	          : zeroes_allowed(b, began))
		return true;
	snprintf(why, size, "block %llu has generation %u: overwritten before this read began, or another block's",
	         (unsigned long long)lba, (uint32_t)(first >> 32));
	return false;
}

bool oracle_read_end(struct oracle *o, uint64_t lba, uint32_t count, uint64_t began, const void *buf, char *ret_why,
                     size_t why_size)
{
	o->clock++;
	for (uint32_t i = 0; i < count; i++)
		if (!block_ok(o, lba + i, began, (const uint8_t *)buf + (size_t)i * o->block_size, ret_why, why_size))
			return false;
	return true;
}
