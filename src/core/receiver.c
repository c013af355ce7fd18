/* SPDX-License-Identifier: BSD-3-Clause */
/* receiver.c: where messages of foreign threads arrive: on a reactor, or on a thread of their own.
 *
 * The thread's sleep is a reactor's: it says `sleeping` and looks once more; who sends says what and then looks at
 * `sleeping`. So a batch costs at most one wake-up, and a busy receiver none.
 */
#include <errno.h>

#include "core/receiver.h"

struct receiver *receiver_make(struct core *core, struct reactor *on, const char *name, struct err *e)
{
	struct receiver *r = base_zalloc_aligned(CACHE_LINE, sizeof(*r));

	r->core = core;
	r->on = on;
	r->name = name;
	if (on)
		return r;
	mpsc_init(&r->queue);
	r->thread = platform_thread_start(core->platform, r);
	if (!r->thread) {
		err_set(e, -EAGAIN, "cannot start the thread \"%s\" (see ulimit -u)", name);
		free(r);
		return NULL;
	}
	return r;
}

void receiver_free(struct receiver *r)
{
	if (!r)
		return;
	if (r->thread) {
		atomic_store(&r->stop, true);
		platform_thread_stop(r->thread);
	}
	free(r);
}

/* --- senders --- */

static void send(struct receiver *r, struct mpsc_link *newest, struct mpsc_link *oldest)
{
	if (!atomic_load_explicit(&r->since_ns, memory_order_relaxed))
		atomic_store_explicit(&r->since_ns, platform_now_ns(), memory_order_relaxed);
	if (mpsc_push_chain(&r->queue, newest, oldest) && atomic_load(&r->sleeping) && atomic_exchange(&r->sleeping, 0))
		platform_thread_wake(r->thread);
}

void receiver_send(struct receiver *r, struct msg *m, msg_fn *fn)
{
	if (r->on) {
		msg_send(r->on, m, fn);
		return;
	}
	m->fn = fn;
	send(r, &m->link, &m->link);
}

void receiver_send_chain(struct receiver *r, struct msg_chain *c)
{
	struct msg_chain all = *c;

	if (r->on) {
		msg_send_chain(r->on, c);
		return;
	}
	*c = (struct msg_chain){ 0 };
	if (all.count)
		send(r, all.newest, all.oldest);
}

/* --- the thread --- */

static void note_age(struct receiver *r)
{
	uint64_t sent = atomic_load_explicit(&r->since_ns, memory_order_relaxed), now;

	if (!sent)
		return;
	atomic_store_explicit(&r->since_ns, 0, memory_order_relaxed);
	now = platform_now_ns();
	if (now > sent)
		stat_max(&r->stats.age_max_ns, now - sent);
}

bool receiver_run(struct receiver *r)
{
	struct mpsc_link *l, *next;
	uint64_t count = 0;

	if (mpsc_empty(&r->queue))
		return false;
	note_age(r);
	for (l = mpsc_take_all(&r->queue); l; l = next, count++) {
		struct msg *m = container_of(l, struct msg, link);

		next = l->next;
		__builtin_prefetch(next);
		m->fn(m);
	}
	stat_add(&r->stats.messages, count);
	stat_max(&r->stats.depth_max, count);
	return true;
}

bool receiver_may_sleep(struct receiver *r)
{
	atomic_store(&r->sleeping, 1);
	if (!mpsc_empty(&r->queue) || atomic_load(&r->stop)) {
		atomic_store(&r->sleeping, 0);
		return false;
	}
	stat_add(&r->stats.wakes, 1);
	return true;
}

void receiver_get_stats(struct receiver *r, struct receiver_stats *ret_stats)
{
	struct reactor_stats s;

	if (!r->on) {
		*ret_stats = (struct receiver_stats){
			.messages = stat_get(&r->stats.messages), .wakes = stat_get(&r->stats.wakes),
			.depth_max = stat_get(&r->stats.depth_max), .age_max_ns = stat_get(&r->stats.age_max_ns),
		};
		return;
	}
	reactor_get_stats(r->on, &s);
	*ret_stats = (struct receiver_stats){ .messages = s.messages, .wakes = s.wakes_message,
		.depth_max = s.message_depth_max, .age_max_ns = s.message_age_max_ns };
}
