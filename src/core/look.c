/* SPDX-License-Identifier: BSD-3-Clause */
/* look.c: lookers: which are looked at, and when they are armed.
 *
 * A looker is in one of three lists: it is looked at; or it dozes, armed because its adaptive reactor sleeps, and is
 * looked at again when that is awake, whoever woke it; or it is armed until its bell rings, because it has been quiet
 * for long, or because its reactor sleeps whenever it can.
 */
#include "core/look.h"
#include "core/reactor.h"

static void move(struct looker *l, struct list *to);
static void unarm(struct reactor *r, struct looker *l);
static bool arm(struct reactor *r, struct looker *l, struct list *to);

void looker_start(struct looker *l, const char *name)
{
	struct reactor *r = reactor_current;

	assert(!l->reactor);
	assert(l->look);
	assert(l->arm);
	assert(l->disarm);
	l->name = name;
	l->looks = l->busy_looks = l->arms = l->arms_in_vain = l->rings = 0;
	l->busy_ns = r->now_ns;
	l->reactor = r;
	l->armed = false;
	list_add_tail(&r->lookers, &l->link);
	r->looker_count++;
}

void looker_stop(struct looker *l)
{
	struct reactor *r = l->reactor;

	if (!r)
		return;
	assert(r == reactor_current);
	list_del(&l->link);
	if (!l->armed)
		r->looker_count--;
	if (r->looker_running == l)
		r->looker_running = NULL;
	l->reactor = NULL;
	l->armed = false;
}

void looker_rang(struct looker *l)
{
	struct reactor *r = l->reactor;

	assert(r);
	assert(r == reactor_current);
	l->rings++;
	l->busy_ns = r->now_ns;
	if (l->armed)
		unarm(r, l);
}

static void move(struct looker *l, struct list *to)
{
	list_del(&l->link);
	list_add_tail(to, &l->link);
}

static void unarm(struct reactor *r, struct looker *l)
{
	l->armed = false;
	r->looker_count++;
	move(l, &r->lookers);
	l->disarm(l);
}

/* False: something is there after all, and it is looked at as before. */
static bool arm(struct reactor *r, struct looker *l, struct list *to)
{
	bool found;

	l->arms++;
	stat_add(&r->stats.arms, 1);
	l->armed = true;
	r->looker_count--;
	move(l, to);
	r->looker_running = l;
	found = l->arm(l);
	if (r->looker_running != l)
		return true; /* it stopped itself */
	r->looker_running = NULL;
	if (!found)
		return true;
	l->arms_in_vain++;
	stat_add(&r->stats.arms_in_vain, 1);
	unarm(r, l);
	return false;
}

/* --- parts of the pass --------------------------------------------------------------------------- */

static bool is_quiet(const struct reactor *r, const struct looker *l)
{
	return r->now_ns - l->busy_ns > r->looker_quiet_ns;
}

static uint32_t look(struct reactor *r, struct looker *l)
{
	void *fn = (void *)l->look;
	const char *name = l->name;
	uint32_t found;

	l->looks++;
	r->looker_running = l;
	call_runs(r, fn, name);
	found = l->look(l);
	call_ran(r, fn, name);
	if (r->looker_running != l)
		return found; /* it stopped itself */
	r->looker_running = NULL;
	if (found) {
		l->busy_looks++;
		l->busy_ns = r->now_ns;
	} else if (unlikely(is_quiet(r, l)) && r->mode != CORE_POLL) {
		found = !arm(r, l, &r->armed);
	}
	return found;
}

static void unarm_all(struct reactor *r, struct list *armed)
{
	while (!list_empty(armed))
		unarm(r, list_entry(armed->next, struct looker, link));
}

/* Each that is not armed, once: the list turns round, so that any may stop itself or another one meanwhile. */
uint32_t look_run(struct reactor *r)
{
	uint32_t work = 0;

	if (r->lookers_doze)
		unarm_all(r, &r->dozing);
	r->lookers_doze = false;
	calls_begin(r);
	for (uint32_t i = r->looker_count; i && !list_empty(&r->lookers); i--) {
		struct looker *l = list_entry(r->lookers.next, struct looker, link);

		move(l, &r->lookers);
		work += look(r, l);
	}
	stat_add(&r->stats.looks_busy, work != 0);
	return work;
}

bool look_may_sleep(struct reactor *r)
{
	while (!list_empty(&r->lookers)) {
		struct looker *l = list_entry(r->lookers.next, struct looker, link);
		bool doze = r->mode == CORE_ADAPTIVE && !is_quiet(r, l);

		r->lookers_doze |= doze;
		if (!arm(r, l, doze ? &r->dozing : &r->armed))
			return false;
	}
	return true;
}

void look_mode_changed(struct reactor *r)
{
	if (r->mode != CORE_POLL)
		return;
	unarm_all(r, &r->dozing);
	unarm_all(r, &r->armed);
}

static void visit_list(struct list *of, void (*visit)(const struct looker *l, void *arg), void *arg)
{
	list_each(l, of)
		visit(list_entry(l, struct looker, link), arg);
}

void reactor_visit_lookers(void (*visit)(const struct looker *l, void *arg), void *arg)
{
	struct reactor *r = reactor_current;

	visit_list(&r->lookers, visit, arg);
	visit_list(&r->dozing, visit, arg);
	visit_list(&r->armed, visit, arg);
}
