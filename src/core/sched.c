/* SPDX-License-Identifier: BSD-3-Clause */
/* sched.c: the rounds of the dynamic scheduler: measure, ask what could move, plan, let move.
 *
 * A round is: the timer, a message to every I/O reactor and back with what could move, the plan (sched_plan.c), a
 * message to each reactor with orders, which answers when all of them have ended. The next timer runs a period after
 * the last one, but not before the round is over.
 */
#include "core/sched.h"

#include "core/log.h"
#include "core/reactor.h"
#include "core/sched_plan.h"

#define PERIOD_NS_DEFAULT NS_PER_S
#define PERIOD_NS_MIN (10 * NS_PER_US)
#define IDLE_LOAD (SCHED_LOAD_ALL / 100)  /* every core below it: nothing to look after */

struct sched_offers {
	struct sched_core *core;
	struct sched_mover *mover;
};

/* The orders of one reactor in a round: control's, while they are under way its. */
struct sched_orders {
	struct msg msg;
	struct sched *sched;
	uint32_t count, left, moved;
	struct sched_order of[SCHED_MOVES_MAX];
};

struct sched {
	struct core *core;
	struct sched_opts opts;
	struct list movers, coming;           /* coming: from the end of this round on */
	bool leaving;                         /* some of them want to go, at the end of this round */
	uint64_t isolated;
	uint32_t first, round;
	struct timer timer;
	struct each each;
	bool in_round;
	uint32_t idle_rounds;                 /* in a row */
	uint32_t orders_out;
	uint64_t began_ns;
	struct sched_stats stats;
	struct {
		uint64_t busy_ns;             /* when the last round began */
		bool parked;
	} seen[CORE_REACTORS_MAX];
	struct sched_core *cores;
	struct sched_orders *orders;
	struct sched_order plan[SCHED_MOVES_MAX];
};

static void round_begin(struct timer *t);
static void offer_on_core(struct each *e);
static void offered(struct each *e);
static void give_orders(struct sched *s, uint32_t count);
static void orders_on_core(struct msg *m);
static void order_done(void *arg, int rc);
static void orders_back(struct msg *m);
static void round_end(struct sched *s);
static void nap(struct sched *s);
static void wake_on_control(struct msg *m);

static struct sched *sched_of(struct core *core)
{
	struct sched *s = core->sched;

	if (s)
		return s;
	s = core->sched = base_zalloc(sizeof(*s));
	s->core = core;
	list_init(&s->movers);
	list_init(&s->coming);
	s->opts = (struct sched_opts){ .period_ns = PERIOD_NS_DEFAULT, .load_limit = 20, .core_limit = 80,
	                               .core_busy = 95 };
	return s;
}

void sched_fini(struct core *core)
{
	if (!core->sched)
		return;
	free(core->sched->cores);
	free(core->sched->orders);
	free(core->sched);
}

/* --- from outside ------------------------------------------------------------------------------------------------ */

static void measure(struct sched *s)
{
	s->began_ns = platform_now_ns();
	for (uint32_t i = 0; i < s->core->count; i++)
		s->seen[i].busy_ns = stat_get(&s->core->reactors[i]->stats.busy_ns);
}

static void unpark_all(struct sched *s)
{
	for (uint32_t i = 0; i < s->core->count; i++) {
		if (s->seen[i].parked)
			reactor_park(s->core->reactors[i], false);
		s->seen[i].parked = false;
	}
}

/* Begin to look, or cease. */
static void update(struct sched *s)
{
	bool looks = s->opts.dynamic && !list_empty(&s->movers) && !s->leaving && s->core->count > 1;

	if (!looks) {
		timer_stop(&s->timer);
		atomic_store(&s->core->sched_watch, 0);
		unpark_all(s);
		return;
	}
	if (!s->cores) {
		s->cores = base_zalloc(s->core->count * sizeof(*s->cores));
		s->orders = base_zalloc(s->core->count * sizeof(*s->orders));
	}
	if (s->in_round)
		return;
	atomic_store(&s->core->sched_watch, 0);
	measure(s);
	timer_start(&s->timer, s->opts.period_ns, round_begin);
}

void sched_add_mover(struct core *core, struct sched_mover *m)
{
	struct sched *s = sched_of(core);

	m->removed = NULL;
	list_add_tail(s->in_round ? &s->coming : &s->movers, &m->link);
	update(s);
}

void sched_remove_mover(struct core *core, struct sched_mover *m, void (*done)(void *arg), void *arg)
{
	struct sched *s = sched_of(core);

	assert(!m->removed);
	m->removed = done;
	m->removed_arg = arg;
	s->leaving = true;
	update(s);
	if (!s->in_round)
		round_end(s);
}

void sched_set(struct core *core, const struct sched_opts *opts)
{
	struct sched *s = sched_of(core);

	s->opts.dynamic = opts->dynamic;
	if (opts->period_ns)
		s->opts.period_ns = max_u64(opts->period_ns, PERIOD_NS_MIN);
	atomic_store(&core->sched_period_ns, s->opts.period_ns);
	if (opts->load_limit)
		s->opts.load_limit = opts->load_limit;
	if (opts->core_limit)
		s->opts.core_limit = opts->core_limit;
	if (opts->core_busy)
		s->opts.core_busy = opts->core_busy;
	update(s);
}

void sched_get(struct core *core, struct sched_opts *ret_opts) { *ret_opts = sched_of(core)->opts; }
void sched_get_stats(struct core *core, struct sched_stats *ret_stats) { *ret_stats = sched_of(core)->stats; }
uint64_t sched_isolated(struct core *core) { return sched_of(core)->isolated; }
uint32_t sched_first_core(struct core *core) { return sched_of(core)->first; }

void sched_set_cores(struct core *core, uint64_t isolated, uint32_t first)
{
	struct sched *s = sched_of(core);

	assert(first < core->count && !(isolated >> first & 1));
	s->isolated = isolated;
	s->first = first;
}

/* --- a round: loads, and what could move ------------------------------------------------------------------------- */

/* A load that was measured late is no higher for it. */
static void take_loads(struct sched *s)
{
	uint64_t now = platform_now_ns(), elapsed = max_u64(now - s->began_ns, 1);

	for (uint32_t i = 0; i < s->core->count; i++) {
		struct sched_core *c = &s->cores[i];
		uint64_t busy = stat_get(&s->core->reactors[i]->stats.busy_ns) - s->seen[i].busy_ns;

		c->load = (uint32_t)(min_u64(busy, elapsed) * SCHED_LOAD_ALL / elapsed);
		c->over = c->load >= s->opts.core_busy * 100 ? c->over + 1 : 0;
		c->count = c->all = 0;
		c->work = 0;
	}
	measure(s);
}

static void round_begin(struct timer *t)
{
	struct sched *s = container_of(t, struct sched, timer);

	s->in_round = true;
	s->round++;
	list_each(l, &s->movers)
		list_entry(l, struct sched_mover, link)->round = s->round;
	s->stats.rounds++;
	take_loads(s);
	each_core(&s->each, s->core, offer_on_core, offered);
}

static void offer_on_core(struct each *e)
{
	struct sched *s = container_of(e, struct sched, each);
	struct sched_offers o = { .core = &s->cores[reactor_current->index] };

	list_each(l, &s->movers) {
		o.mover = list_entry(l, struct sched_mover, link);
		o.mover->offer(o.mover, &o);
	}
}

void sched_offer(struct sched_offers *o, const struct sched_item *item)
{
	struct sched_item i = *item;

	i.mover = o->mover;
	sched_core_add(o->core, &i);
}

/* A polling reactor on which nothing lives may as well sleep: whatever comes wakes it. */
static void park(struct sched *s)
{
	for (uint32_t i = 0; i < s->core->count; i++) {
		bool idle = i != s->first && !s->cores[i].all && s->cores[i].load < IDLE_LOAD && !(s->isolated >> i & 1);

		if (idle == s->seen[i].parked)
			continue;
		s->seen[i].parked = idle;
		s->stats.parks += idle && reactor_mode(s->core->reactors[i]) == CORE_POLL;
		reactor_park(s->core->reactors[i], idle);
	}
}

static void offered(struct each *e)
{
	struct sched *s = container_of(e, struct sched, each);
	const struct sched_view view = { .opts = &s->opts, .isolated = s->isolated, .first = s->first,
	                                 .count = s->core->count, .cores = s->cores };
	bool idle = true;
	uint32_t count;

	if (!s->opts.dynamic || s->leaving) {
		round_end(s);
		return;
	}
	for (uint32_t i = 0; i < s->core->count; i++)
		idle &= s->cores[i].load < IDLE_LOAD;
	park(s);
	count = sched_plan(&view, s->plan);
	s->idle_rounds = idle && !count ? s->idle_rounds + 1 : 0;
	if (count)
		give_orders(s, count);
	else if (s->idle_rounds > SCHED_REST_ROUNDS && list_empty(&s->coming)) /* what rests may still be packed */
		nap(s);
	else
		round_end(s);
}

/* --- orders ------------------------------------------------------------------------------------------------------ */

static void give_orders(struct sched *s, uint32_t count)
{
	for (uint32_t i = 0; i < s->core->count; i++)
		s->orders[i].count = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct sched_orders *o = &s->orders[s->plan[i].from];

		o->of[o->count++] = s->plan[i];
		log_debug("scheduler: %llx goes from reactor %u to %u", (unsigned long long)s->plan[i].id, s->plan[i].from,
		          s->plan[i].to);
	}
	for (uint32_t i = 0; i < s->core->count; i++) {
		struct sched_orders *o = &s->orders[i];

		if (!o->count)
			continue;
		o->sched = s;
		o->left = o->count + 1; /* one more until all were given */
		o->moved = 0;
		s->orders_out++;
		msg_send(s->core->reactors[i], &o->msg, orders_on_core);
	}
}

static void orders_on_core(struct msg *m)
{
	struct sched_orders *o = container_of(m, struct sched_orders, msg);
	struct sched *s = o->sched;

	for (uint32_t i = 0; i < o->count; i++) {
		const struct sched_order *order = &o->of[i];

		order->mover->move(order->mover, order->id, s->core->reactors[order->to], order_done, o);
	}
	o->moved--;
	order_done(o, 0);
}

static void order_done(void *arg, int rc)
{
	struct sched_orders *o = arg;

	o->moved += rc == 0;
	if (--o->left == 0)
		msg_send(core_control(o->sched->core), &o->msg, orders_back);
}

static void orders_back(struct msg *m)
{
	struct sched_orders *o = container_of(m, struct sched_orders, msg);
	struct sched *s = o->sched;

	s->stats.moves += o->moved;
	s->stats.failed += o->count - o->moved;
	if (--s->orders_out == 0)
		round_end(s);
}

/* --- the end of a round ------------------------------------------------------------------------------------------ */

static void round_end(struct sched *s)
{
	uint64_t since = platform_now_ns() - s->began_ns;
	struct list gone;

	s->in_round = false;
	list_splice(&s->movers, &s->coming);
	if (!s->leaving) {
		if (s->opts.dynamic)
			timer_start(&s->timer, since < s->opts.period_ns ? s->opts.period_ns - since : 0, round_begin);
		return;
	}
	s->leaving = false;
	list_init(&gone);
	list_each_safe(l, &s->movers) {
		if (!list_entry(l, struct sched_mover, link)->removed)
			continue;
		list_del(l);
		list_add_tail(&gone, l);
	}
	update(s);
	while (!list_empty(&gone)) {
		struct sched_mover *m = container_of(list_pop(&gone), struct sched_mover, link);

		m->removed(m->removed_arg);
	}
}

/* Until a reactor has something to do again. */
static void nap(struct sched *s)
{
	s->in_round = false;
	s->idle_rounds = 0;
	s->stats.naps++;
	atomic_store(&s->core->sched_watch, s->round);
}

/* A busy reactor found that the scheduler sleeps. Busy is who works for more than a part of the last period's length:
 * keep-alives of many hosts are not. */
void sched_notice(struct reactor *r, uint32_t watch)
{
	struct sched_notice *n = &r->notice;
	uint64_t busy = stat_get(&r->stats.busy_ns), period = atomic_load(&r->core->sched_period_ns);
	uint64_t elapsed = r->now_ns - n->since_ns;
	bool works = n->watch == watch &&
	             (busy - n->busy_ns) * (SCHED_LOAD_ALL / IDLE_LOAD) >= 2 * max_u64(period, elapsed);

	if (!works && (n->watch != watch || elapsed > period)) { /* works: a pass may be longer than a period */
		n->watch = watch;
		n->since_ns = r->now_ns;
		n->busy_ns = busy;
	}
	if (!works || atomic_exchange(&n->out, true))
		return;
	msg_send(core_control(r->core), &n->msg, wake_on_control);
}

static void wake_on_control(struct msg *m)
{
	struct sched_notice *n = container_of(m, struct sched_notice, msg);
	struct sched *s = reactor_current->core->sched;

	atomic_store(&n->out, false);
	if (atomic_load(&s->core->sched_watch))
		update(s);
}
