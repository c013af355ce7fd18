/* SPDX-License-Identifier: BSD-3-Clause */
/* ring.c: setting rings up, and the two ends of the queue with many producers. */
#include "base/ring.h"

void spsc_init(struct spsc *r, uint32_t capacity_pow2)
{
	must(is_pow2(capacity_pow2));
	atomic_init(&r->tail, 0);
	atomic_init(&r->head, 0);
	r->head_seen = r->tail_seen = 0;
	r->mask = capacity_pow2 - 1;
	r->slots = base_zalloc_aligned(CACHE_LINE, capacity_pow2 * sizeof(r->slots[0]));
}

void spsc_fini(struct spsc *r)
{
	free(r->slots);
	r->slots = NULL;
}

bool mpsc_push(struct mpsc *q, struct mpsc_link *l) { return mpsc_push_chain(q, l, l); }

bool mpsc_push_chain(struct mpsc *q, struct mpsc_link *newest, struct mpsc_link *oldest)
{
	struct mpsc_link *top = atomic_load_explicit(&q->top, memory_order_relaxed);

	/* Sequentially consistent, because the caller goes on to read the consumer's sleeping flag, and
	 * the consumer, having set it, reads `top` again: one of the two must see the other's write. */
	do
		oldest->next = top;
	while (!atomic_compare_exchange_weak_explicit(&q->top, &top, newest, memory_order_seq_cst,
	                                              memory_order_relaxed));
	/* From here on they are the consumer's. */
	return top == NULL;
}

struct mpsc_link *mpsc_take_all(struct mpsc *q)
{
	struct mpsc_link *l, *next, *in_order = NULL;

	if (mpsc_empty(q))
		return NULL; /* a read does not take the line away from the producers */
	l = atomic_exchange_explicit(&q->top, NULL, memory_order_acquire);
	for (; l; l = next) {
		next = l->next;
		l->next = in_order;
		in_order = l;
	}
	return in_order;
}
