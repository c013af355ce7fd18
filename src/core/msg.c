/* SPDX-License-Identifier: BSD-3-Clause */
/* msg.c: messages between reactors, and from other threads.
 *
 * Each pair of reactors has a ring with one producer and one consumer. A sender whose ring is full keeps
 * his messages, linked through themselves, and moves them when there is room; so sending cannot fail and
 * order is kept. What was sent becomes visible in batches, at the end of a phase of the sender's pass or
 * every few messages: with a store for each message the two cores would fight over the line of the tail.
 * Foreign threads share one intrusive queue per receiver. A receiver that sleeps is woken once per batch:
 * when the sender's pass ends, or at once by a foreign thread.
 */
#include "core/reactor.h"
#include "core/trace.h"

#define PUBLISH_EVERY 32u      /* messages of one sender to one receiver */
#define BATCH 32u              /* messages taken from a ring at once, and timed together */
#define RING_BUDGET 512u       /* of one ring in one pass */
#define FOREIGN_BUDGET 1024u   /* of the foreign queue in one pass */
#define AGE_SAMPLE 16u         /* the age of a message is noted in one pass of so many */

static void send_on_ring(struct reactor *from, struct reactor *to, struct msg *m);
static void send_foreign(struct reactor *to, struct mpsc_link *newest, struct mpsc_link *oldest);
static void wake(struct reactor *r);

void msg_send(struct reactor *to, struct msg *m, msg_fn *fn)
{
	struct reactor *from = reactor_current;

	m->fn = fn;
	if (likely(from && from != to && from->core == to->core))
		send_on_ring(from, to, m);
	else if (from == to)
		msg_queue_push(&to->own, m);
	else
		send_foreign(to, &m->link, &m->link);
}

/* The age of one message of each pass is enough: the line is that of the queue, and a clock is dear. */
static void send_foreign(struct reactor *to, struct mpsc_link *newest, struct mpsc_link *oldest)
{
	if (!atomic_load_explicit(&to->foreign_since_ns, memory_order_relaxed))
		atomic_store_explicit(&to->foreign_since_ns, platform_now_ns(), memory_order_relaxed);
	if (mpsc_push_chain(&to->foreign, newest, oldest))
		wake(to);
}

/* What it touches may be interrupted anywhere: a stack without locks, and a write to a descriptor. */
void msg_send_from_signal(struct reactor *to, struct msg *m, msg_fn *fn)
{
	m->fn = fn;
	send_foreign(to, &m->link, &m->link);
}

/* Reactors send in batches anyway. */
static void send_chain_here(struct reactor *to, struct mpsc_link *newest)
{
	struct mpsc_link *l, *next, *in_order = NULL;

	for (l = newest; l; l = next) {
		next = l->next;
		l->next = in_order;
		in_order = l;
	}
	for (l = in_order; l; l = next) {
		struct msg *m = container_of(l, struct msg, link);

		next = l->next;
		msg_send(to, m, m->fn);
	}
}

void msg_send_chain(struct reactor *to, struct msg_chain *c)
{
	struct reactor *from = reactor_current;
	struct msg_chain all = *c;

	*c = (struct msg_chain){ 0 };
	if (!all.count)
		return;
	if (from && from->core == to->core)
		send_chain_here(to, all.newest);
	else
		send_foreign(to, all.newest, all.oldest);
}

static bool ring_put(struct outbox *out, struct spsc *ring, struct msg *m)
{
	if (!spsc_put(ring, &out->tail, m))
		return false;
	out->unpublished++;
	return true;
}

/* Sequentially consistent: then `sleeping` is read, see reactor.c. The line is mostly the sender's own, so
 * that this costs less than a read-modify-write of the receiver's flag. */
static void ring_publish(struct outbox *out, struct spsc *ring)
{
	spsc_publish(ring, out->tail);
	out->unpublished = 0;
}

static void send_on_ring(struct reactor *from, struct reactor *to, struct msg *m)
{
	struct outbox *out = &from->out[to->index];
	struct inbox *in = &to->in[from->index];
	uint32_t word = to->index / 64;
	uint64_t bit = 1ull << to->index % 64;

	if (!(from->out_dirty[word] & bit)) {
		from->out_dirty[word] |= bit;
		if (from->stats.passes % AGE_SAMPLE == 0 &&
		    !atomic_load_explicit(&in->sampled_ns, memory_order_relaxed))
			atomic_store_explicit(&in->sampled_ns, from->now_ns, memory_order_relaxed);
	}
	if (likely(!out->overflow.first && ring_put(out, &in->ring, m))) {
		from->out_new[word] |= bit;
		if (out->unpublished >= PUBLISH_EVERY)
			ring_publish(out, &in->ring);
		return;
	}
	from->overflows += !out->overflow.first;
	msg_queue_push(&out->overflow, m);
}

/* Only one of those who find it sleeping makes the system call. */
static void wake(struct reactor *r)
{
	if (atomic_load(&r->sleeping) && atomic_exchange(&r->sleeping, 0))
		platform_wake(r->pr);
}

/* --- the sender's end of a phase, and of the pass ------------------------------------------------- */

void msg_publish(struct reactor *r)
{
	for (uint32_t word = 0; word < ARRAY_SIZE(r->out_new); word++) {
		uint64_t bits = r->out_new[word];

		r->out_new[word] = 0;
		for (; bits; bits &= bits - 1) {
			uint32_t to = word * 64 + (uint32_t)__builtin_ctzll(bits);

			if (r->out[to].unpublished)
				ring_publish(&r->out[to], &r->core->reactors[to]->in[r->index].ring);
		}
	}
}

static void drain_overflow(struct reactor *r)
{
	for (uint32_t to = 0; to <= r->core->count; to++) {
		struct outbox *out = &r->out[to];
		struct spsc *ring = &r->core->reactors[to]->in[r->index].ring;
		struct mpsc_link *l;

		if (!out->overflow.first)
			continue;
		while ((l = out->overflow.first)) {
			struct mpsc_link *next = l->next;

			if (!ring_put(out, ring, container_of(l, struct msg, link)))
				break;
			out->overflow.first = next;
			r->out_new[to / 64] |= 1ull << to % 64;
			r->out_dirty[to / 64] |= 1ull << to % 64;
		}
		if (!out->overflow.first) {
			msg_queue_init(&out->overflow);
			r->overflows--;
		}
	}
}

void msg_flush(struct reactor *r)
{
	if (unlikely(r->overflows))
		drain_overflow(r);
	msg_publish(r);
	for (uint32_t word = 0; word < ARRAY_SIZE(r->out_dirty); word++) {
		uint64_t bits = r->out_dirty[word];

		r->out_dirty[word] = 0;
		for (; bits; bits &= bits - 1)
			wake(r->core->reactors[word * 64 + (uint32_t)__builtin_ctzll(bits)]);
	}
}

/* --- the receiver -------------------------------------------------------------------------------- */

static uint32_t run_own(struct reactor *r);
static uint32_t run_foreign(struct reactor *r);
static uint32_t run_ring(struct reactor *r, struct inbox *in);

uint32_t msg_run(struct reactor *r)
{
	uint32_t count = 0;

	if (unlikely(r->own.first))
		count += run_own(r);
	if (unlikely(r->foreign_left || !mpsc_empty(&r->foreign)))
		count += run_foreign(r);
	for (uint32_t from = 0; from <= r->core->count; from++) {
		if (unlikely(r->core->msg_gate && !r->core->msg_gate(r, from)))
			continue;
		count += run_ring(r, &r->in[from]);
	}
	if (count)
		stat_add(&r->stats.messages, count);
	return count;
}

static inline void run_one(struct reactor *r, struct msg *m)
{
	msg_fn *fn = m->fn;

	call_runs(r, (void *)fn, NULL);
	trace(MSG_RUN, (uintptr_t)fn, 0);
	fn(m);
}

/* What is sent meanwhile is for the next pass. */
static uint32_t run_own(struct reactor *r)
{
	struct mpsc_link *l = r->own.first, *next;
	uint32_t count = 0;

	msg_queue_init(&r->own);
	calls_begin(r);
	for (; l; l = next, count++) {
		struct msg *m = container_of(l, struct msg, link);
		msg_fn *fn = m->fn;

		next = l->next;
		run_one(r, m);
		call_ran(r, (void *)fn, NULL);
	}
	return count;
}

static void note_age(struct reactor *r, _Atomic uint64_t *since_ns)
{
	uint64_t sent = atomic_load_explicit(since_ns, memory_order_relaxed), now;

	if (sent) {
		atomic_store_explicit(since_ns, 0, memory_order_relaxed);
		now = platform_now_ns(); /* the pass may have begun long ago */
		if (now > sent)
			stat_max(&r->stats.message_age_max_ns, now - sent);
	}
}

static uint32_t run_foreign(struct reactor *r)
{
	struct mpsc_link *l = r->foreign_left, *next;
	uint32_t count = 0;
	msg_fn *fn = NULL;

	if (!l) {
		note_age(r, &r->foreign_since_ns);
		l = mpsc_take_all(&r->foreign);
	}
	calls_begin(r);
	for (; l && count < FOREIGN_BUDGET; l = next, count++) {
		struct msg *m = container_of(l, struct msg, link);

		next = l->next;
		__builtin_prefetch(next);
		fn = m->fn;
		run_one(r, m);
		if (count % BATCH == 0)
			call_ran(r, (void *)fn, NULL);
	}
	call_ran(r, (void *)fn, NULL);
	r->foreign_left = l;
	stat_max(&r->stats.message_depth_max, count);
	return count;
}

static uint32_t run_ring(struct reactor *r, struct inbox *in)
{
	void *items[BATCH];
	uint32_t count = spsc_pop(&in->ring, items, BATCH), all = 0;
	msg_fn *fn = NULL;

	if (likely(!count))
		return 0;
	calls_begin(r);
	do {
		/* what this look at the tail found, and the batch just taken */
		stat_max(&r->stats.message_depth_max, count + in->ring.tail_seen -
		         atomic_load_explicit(&in->ring.head, memory_order_relaxed));
		note_age(r, &in->sampled_ns);
		for (uint32_t i = 0; i < count; i++)
			__builtin_prefetch(items[i]);
		for (uint32_t i = 0; i < count; i++) {
			struct msg *m = items[i];

			fn = m->fn;
			run_one(r, m);
		}
		/* timed as a batch, so the longest's name is a guess unless it came alone */
		call_ran(r, (void *)fn, NULL);
		all += count;
	} while (all < RING_BUDGET && (count = spsc_pop(&in->ring, items, BATCH)));
	return all;
}

static inline bool pending(const struct reactor *r, memory_order order)
{
	if (r->own.first || r->foreign_left || atomic_load_explicit(&r->foreign.top, order))
		return true;
	for (uint32_t from = 0; from <= r->core->count; from++) {
		const struct spsc *ring = &r->in[from].ring;
		uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

		/* the slot's line comes beside the tail's, not after it */
		__builtin_prefetch(&ring->slots[head & ring->mask]);
		if (atomic_load_explicit(&ring->tail, order) != head)
			return true;
	}
	return false;
}

bool msg_pending(const struct reactor *r) { return pending(r, memory_order_relaxed); }
bool msg_pending_sc(struct reactor *r) { return pending(r, memory_order_seq_cst); }

void msg_waiting(const struct reactor *r, uint64_t now_ns, uint64_t *ret_depth, uint64_t *ret_age_ns)
{
	uint64_t oldest = now_ns, sent = atomic_load_explicit(&r->foreign_since_ns, memory_order_relaxed);
	bool foreign = !mpsc_empty((struct mpsc *)&r->foreign);

	*ret_depth = foreign;
	if (foreign && sent)
		oldest = min_u64(oldest, sent);
	for (uint32_t from = 0; from <= r->core->count; from++) {
		uint32_t depth = spsc_depth(&r->in[from].ring);

		sent = atomic_load_explicit(&r->in[from].sampled_ns, memory_order_relaxed);
		*ret_depth += depth <= REACTOR_RING_SLOTS ? depth : 0; /* the two ends are not read at once */
		if (depth && sent)
			oldest = min_u64(oldest, sent);
	}
	*ret_age_ns = now_ns - oldest;
}

void msg_init(struct reactor *r)
{
	uint32_t count = r->core->count + 1;

	r->in = base_zalloc_aligned(CACHE_LINE, count * sizeof(r->in[0]));
	r->out = base_zalloc(count * sizeof(r->out[0]));
	for (uint32_t i = 0; i < count; i++) {
		spsc_init(&r->in[i].ring, i == r->index ? 2 : REACTOR_RING_SLOTS);
		msg_queue_init(&r->out[i].overflow);
	}
	msg_queue_init(&r->own);
}

void msg_fini(struct reactor *r)
{
	for (uint32_t i = 0; r->in && i <= r->core->count; i++)
		spsc_fini(&r->in[i].ring);
	free(r->in);
	free(r->out);
}

/* --- every reactor ------------------------------------------------------------------------------- */

static void each_done_on_core(struct msg *m)
{
	struct each *e = container_of(m, struct each, done_msg);

	if (e->done)
		e->done(e);
}

static void each_on_core(struct msg *m)
{
	struct each *e = container_of(m - reactor_current->index, struct each, msgs[0]);

	e->on_core(e);
	if (atomic_fetch_sub(&e->left, 1) == 1)
		msg_send(e->from, &e->done_msg, each_done_on_core);
}

void each_core(struct each *e, struct core *core, each_fn *on_core, each_fn *done)
{
	assert(reactor_current);
	e->from = reactor_current;
	e->on_core = on_core;
	e->done = done;
	atomic_store(&e->left, core->count);
	for (uint32_t i = 0; i < core->count; i++)
		msg_send(core->reactors[i], &e->msgs[i], each_on_core);
}
