/* SPDX-License-Identifier: BSD-3-Clause */
/* timer.c: timers in a pairing heap: start is constant time, stop and expiry logarithmic on average.
 *
 * Each node has a first child and a list of siblings; `prev` is the elder sibling, or the parent for a
 * first child. Ordered by deadline and then by the sequence in which they were started.
 */
#include "core/reactor.h"
#include "core/trace.h"

static bool before(const struct timer *a, const struct timer *b)
{
	return a->deadline_ns != b->deadline_ns ? a->deadline_ns < b->deadline_ns : a->sequence < b->sequence;
}

/* Two roots become one; either may be NULL. */
static struct timer *meld(struct timer *a, struct timer *b)
{
	if (!a)
		return b;
	if (!b)
		return a;
	if (before(b, a)) {
		struct timer *t = a;

		a = b;
		b = t;
	}
	b->prev = a;
	b->next = a->child;
	if (a->child)
		a->child->prev = b;
	a->child = b;
	a->next = a->prev = NULL;
	return a;
}

/* A list of siblings becomes one heap: in pairs from the left, then together from the right. */
static struct timer *meld_siblings(struct timer *first)
{
	struct timer *pairs = NULL, *root = NULL;

	while (first) {
		struct timer *a = first, *b = a->next, *pair;

		first = b ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b)
			b->next = b->prev = NULL;
		pair = meld(a, b);
		pair->next = pairs;
		pairs = pair;
	}
	while (pairs) {
		struct timer *next = pairs->next;

		pairs->next = NULL;
		root = meld(root, pairs);
		pairs = next;
	}
	return root;
}

static void heap_remove(struct reactor *r, struct timer *t)
{
	struct timer *children = meld_siblings(t->child);

	t->child = NULL;
	if (t == r->timers) {
		r->timers = children;
	} else {
		if (t->prev->child == t)
			t->prev->child = t->next;
		else
			t->prev->next = t->next;
		if (t->next)
			t->next->prev = t->prev;
		r->timers = meld(r->timers, children);
	}
	t->next = t->prev = NULL;
}

void timer_start(struct timer *t, uint64_t delay_ns, timer_fn *fn)
{
	struct reactor *r = reactor_current;

	if (t->running)
		heap_remove(r, t);
	t->deadline_ns = delay_ns > UINT64_MAX - r->now_ns ? UINT64_MAX : r->now_ns + delay_ns;
	t->sequence = r->timer_sequence++;
	t->fn = fn;
	t->child = t->next = t->prev = NULL;
	t->running = true;
	r->timers = meld(r->timers, t);
}

void timer_stop(struct timer *t)
{
	if (!t->running)
		return;
	t->running = false;
	heap_remove(reactor_current, t);
}

/* A timer that is started while they run waits for the next pass, even if it is due at once. */
uint32_t timer_run_due(struct reactor *r)
{
	uint64_t sequence_end = r->timer_sequence;
	struct timer *t;
	uint32_t count = 0;

	if (r->timers->deadline_ns > r->now_ns)
		return 0;
	calls_begin(r);
	while ((t = r->timers) && t->deadline_ns <= r->now_ns && t->sequence < sequence_end) {
		timer_fn *fn = t->fn;

		t->running = false;
		heap_remove(r, t);
		call_runs(r, (void *)fn, NULL);
		trace(TIMER_RUN, (uintptr_t)fn, 0);
		fn(t);
		call_ran(r, (void *)fn, NULL);
		count++;
	}
	stat_add(&r->stats.timers, count);
	return count;
}
