/* SPDX-License-Identifier: BSD-3-Clause */
/* waitq.c: lines of those who wait for a resource, served in order of arrival by whoever gives back. */
#include "core/mem.h"
#include "core/reactor.h"
#include "core/waits.h"

static void serve(struct defer *d);

void waitq_init(struct waitq *q, const char *name, bool (*ready)(struct waitq *q, uint32_t need))
{
	*q = (struct waitq){ .name = name, .ready = ready };
	list_init(&q->waiters);
}

void waitq_add(struct waitq *q, struct wait *w, uint32_t need, wait_fn *fn)
{
	assert(!list_linked(&w->link));
	w->fn = fn;
	w->need = need;
	w->since_ns = reactor_now_ns();
	list_add_tail(&q->waiters, &w->link);
	q->waits++;
	wait_began(q->name);
	stat_add(&q->depth, 1); /* mem_get_stats() reads it from elsewhere */
	q->depth_max = max_u64(q->depth_max, q->depth);
}

void waitq_remove(struct waitq *q, struct wait *w)
{
	if (!list_linked(&w->link))
		return;
	list_del(&w->link);
	wait_ended(q->name, w->since_ns);
	stat_add(&q->depth, -1ull);
	waitq_wake(q); /* who was behind it may need less */
}

void waitq_wake(struct waitq *q)
{
	if (!list_empty(&q->waiters))
		defer_run(&q->wake, serve);
}

/* One round serves at most those who wait now: who lines up again is for the next. */
static void serve(struct defer *d)
{
	struct waitq *q = container_of(d, struct waitq, wake);
	uint64_t round = q->depth;

	for (; round && !list_empty(&q->waiters); round--) {
		struct wait *w = list_first(&q->waiters, struct wait, link);

		if (!q->ready(q, w->need))
			return;
		list_del(&w->link);
		wait_ended(q->name, w->since_ns);
		stat_add(&q->depth, -1ull);
		q->wakes++;
		q->granting = true;
		w->fn(w);
		q->granting = false;
	}
	if (!list_empty(&q->waiters))
		waitq_wake(q);
}
