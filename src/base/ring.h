/* SPDX-License-Identifier: BSD-3-Clause */
/* ring.h: bounded single-producer single-consumer ring, and an unbounded intrusive queue with many
 * producers and one consumer.
 *
 * The producer and the consumer keep each other's index cached, so that a burst costs one shared
 * cache line a batch. No fences: everything is an atomic access that TSan can follow.
 */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdatomic.h>

#include "base/base.h"

struct spsc {
	/* producer's line */
	CACHE_ALIGNED _Atomic uint32_t tail;
	uint32_t head_seen;
	/* consumer's line */
	CACHE_ALIGNED _Atomic uint32_t head;
	uint32_t tail_seen;
	/* read only */
	CACHE_ALIGNED uint32_t mask;
	void **slots;
};

void spsc_init(struct spsc *r, uint32_t capacity_pow2);
void spsc_fini(struct spsc *r);

/* Producer, which keeps the next free place in a number of its own. False when full. */
static inline bool spsc_put(struct spsc *r, uint32_t *tail, void *item)
{
	if (*tail - r->head_seen > r->mask) {
		r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
		if (*tail - r->head_seen > r->mask)
			return false;
	}
	r->slots[(*tail)++ & r->mask] = item;
	return true;
}

/* The consumer may see what was put, a batch at a time. Sequentially consistent, for producers that read then whether
 * the consumer sleeps. */
static inline void spsc_publish(struct spsc *r, uint32_t tail) { atomic_store(&r->tail, tail); }

/* Consumer. Takes up to `max` items; returns how many. */
static inline uint32_t spsc_pop(struct spsc *r, void **items, uint32_t max)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed), count;

	if (head == r->tail_seen) {
		r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
		if (head == r->tail_seen)
			return 0;
	}
	count = min_u32(r->tail_seen - head, max);
	for (uint32_t i = 0; i < count; i++)
		items[i] = r->slots[(head + i) & r->mask];
	atomic_store_explicit(&r->head, head + count, memory_order_release);
	return count;
}

/* Any side; a snapshot. */
static inline uint32_t spsc_depth(const struct spsc *r)
{
	return atomic_load_explicit(&r->tail, memory_order_relaxed) -
	       atomic_load_explicit(&r->head, memory_order_relaxed);
}

/* Many producers, one consumer. Producers push onto a stack; the consumer takes all of it at once and
 * turns it round, so that order of arrival is kept and no producer ever waits for another. */
struct mpsc_link {
	struct mpsc_link *next;
};

struct mpsc {
	CACHE_ALIGNED _Atomic(struct mpsc_link *) top;
};

/* Zeroed memory is an empty queue too; clang 14 does not take `= { 0 }` for an atomic pointer. */
static inline void mpsc_init(struct mpsc *q) { atomic_init(&q->top, NULL); }

/* True when the queue was empty before, so that the caller is the one who may have to wake. */
bool mpsc_push(struct mpsc *q, struct mpsc_link *l);
/* The same with a chain that was linked from its newest link to its oldest. */
bool mpsc_push_chain(struct mpsc *q, struct mpsc_link *newest, struct mpsc_link *oldest);
/* All links in order of arrival, as a chain ending in NULL. */
struct mpsc_link *mpsc_take_all(struct mpsc *q);
static inline bool mpsc_empty(struct mpsc *q) { return !atomic_load(&q->top); }

#endif
