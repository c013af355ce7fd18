/* SPDX-License-Identifier: BSD-3-Clause */
/* core_sim_test.c: the simulator itself: it replays, it moves time, and it lets nobody wake up by luck. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/reactor.h"
#include "core/sim/sim.h"

#define REACTORS 3u
#define ROUNDS 200u

static struct core *make_core(const char *cpus, enum core_mode mode)
{
	struct core_opts opts = { .cpus = cpus, .mode = mode, .memory_bytes = 16 * MIB };
	struct err e = { 0 };
	struct core *core = core_make(&opts, &e);

	if (!core)
		fail_msg("%s", e.text);
	return core;
}

/* --- messages run round between reactors --- */

struct ball {
	struct msg msg;
	struct core *core;
	uint32_t left;
	uint64_t course; /* which reactors, in which order, by all balls */
	struct ball *first;
};

static void ball_arrives(struct msg *m)
{
	struct ball *b = container_of(m, struct ball, msg);

	b->first->course = b->first->course * 31 + reactor_index(reactor_self()) + (uint64_t)(b - b->first) * 7;
	if (b->left-- == 0)
		return;
	msg_send(core_reactor(b->core, (uint32_t)sim_draw(REACTORS)), &b->msg, ball_arrives);
}

static bool balls_rest(void *arg)
{
	struct ball *b = arg;

	for (int i = 0; i < 4; i++)
		if (b[i].left != UINT32_MAX)
			return false;
	return true;
}

static void balls_start(void *arg)
{
	struct ball *b = arg;

	for (int i = 0; i < 4; i++)
		msg_send(core_reactor(b->core, 0), &b[i].msg, ball_arrives);
}

static uint64_t run_balls(uint64_t seed, enum core_mode mode, uint64_t *ret_course)
{
	struct ball b[4];
	struct core *core;
	bool rested;

	sim_start(seed);
	core = make_core("[0-2]", mode);
	for (int i = 0; i < 4; i++)
		b[i] = (struct ball){ .core = core, .left = ROUNDS, .first = b };
	sim_as(core_control(core), balls_start, b);
	rested = sim_run(balls_rest, b, NS_PER_S);
	core_free(core);
	*ret_course = b[0].course;
	assert_true(rested);
	return sim_end();
}

/* One seed, one course: a failure found once can be looked at again. */
static void same_seed_same_course(void **state)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		uint64_t course, again;
		uint64_t hash = run_balls(seed, CORE_ADAPTIVE, &course);

		assert_int_equal(hash, run_balls(seed, CORE_ADAPTIVE, &again));
		assert_int_equal(course, again);
	}
}

/* If seeds did not differ, a thousand of them would test one schedule a thousand times. */
static void other_seed_other_course(void **state)
{
	uint64_t course[2], hash[2];

	hash[0] = run_balls(1, CORE_ADAPTIVE, &course[0]);
	hash[1] = run_balls(2, CORE_ADAPTIVE, &course[1]);
	assert_int_not_equal(hash[0], hash[1]);
	assert_int_not_equal(course[0], course[1]);
}

static void messages_arrive_in_every_mode(void **state)
{
	uint64_t course;

	for (int mode = 0; mode < CORE_MODE_COUNT; mode++)
		for (uint64_t seed = 100; seed < 120; seed++)
			run_balls(seed, (enum core_mode)mode, &course);
}

/* --- order --- */

#define EACH 16u

struct numbered {
	struct msg msg;
	struct ordered *ordered;
	uint32_t from, n;
};

struct ordered {
	struct core *core;
	struct numbered msgs[2][EACH]; /* [sender]; all to reactor 2 */
	uint32_t next[2], count;
	uint64_t senders;              /* bit n: who sent the n-th that arrived */
	bool kept;
};

static void numbered_arrives(struct msg *m)
{
	struct numbered *n = container_of(m, struct numbered, msg);
	struct ordered *o = n->ordered;

	o->kept &= n->n == o->next[n->from]++;
	o->senders |= (uint64_t)n->from << o->count++;
}

static void ordered_send(void *arg)
{
	struct ordered *o = arg;
	uint32_t from = reactor_index(reactor_self());

	for (uint32_t n = 0; n < EACH; n++) {
		o->msgs[from][n] = (struct numbered){ .ordered = o, .from = from, .n = n };
		msg_send(core_reactor(o->core, 2), &o->msgs[from][n].msg, numbered_arrives);
	}
}

static bool ordered_arrived(void *arg)
{
	return ((struct ordered *)arg)->count == 2 * EACH;
}

/* Order holds between one pair, and must not be relied on between two. */
static void order_holds_per_pair_only(void **state)
{
	bool first_won[2] = { false, false };

	for (uint64_t seed = 0; seed < 40; seed++) {
		struct ordered o = { .kept = true };
		bool arrived;

		sim_start(seed);
		o.core = make_core("0-2", CORE_INTERRUPT);
		sim_as(core_reactor(o.core, 0), ordered_send, &o);
		sim_as(core_reactor(o.core, 1), ordered_send, &o);
		arrived = sim_run(ordered_arrived, &o, NS_PER_S);
		core_free(o.core);
		sim_end();
		assert_true(arrived && o.kept);
		first_won[o.senders & 1] = true;
	}
	assert_true(first_won[0] && first_won[1]);
}

/* --- sleeping --- */

struct sleepy {
	struct core *core;
	struct msg msg;
	bool arrived;
};

static void sleepy_arrives(struct msg *m)
{
	container_of(m, struct sleepy, msg)->arrived = true;
}

static void sleepy_send(void *arg)
{
	struct sleepy *s = arg;

	msg_send(core_reactor(s->core, 1), &s->msg, sleepy_arrives);
}

static bool sleepy_arrived(void *arg)
{
	return ((struct sleepy *)arg)->arrived;
}

static bool run_sleepy(uint64_t seed, bool forget)
{
	struct sleepy s = { 0 };
	bool woke;

	sim_start(seed);
	s.core = make_core("[0-1]", CORE_INTERRUPT);
	sim_run(NULL, NULL, NS_PER_S); /* until all sleep */
	if (forget)
		atomic_store(&core_reactor(s.core, 1)->sleeping, 0); /* the sender will think it is awake */
	sim_as(core_reactor(s.core, 0), sleepy_send, &s);
	woke = sim_run(sleepy_arrived, &s, NS_PER_S);
	core_free(s.core);
	sim_end();
	return woke;
}

/* A wake-up that is forgotten must leave the simulation stuck; a simulator that runs everybody all the time
 * would hide it. */
static void lost_wakeup_is_seen(void **state)
{
	for (uint64_t seed = 0; seed < 10; seed++) {
		assert_true(run_sleepy(seed, false));
		assert_false(run_sleepy(seed, true));
	}
}

/* --- timers --- */

struct clocks;
struct alarm {
	struct timer timer;
	struct clocks *clocks;
	uint64_t delay_ns, rang_ns;
};

struct clocks {
	struct core *core;
	struct alarm alarms[4];
	uint64_t began_ns;
	uint32_t order[4], count;
};

static void alarm_rings(struct timer *t)
{
	struct alarm *a = container_of(t, struct alarm, timer);
	struct clocks *c = a->clocks;

	a->rang_ns = reactor_now_ns();
	c->order[c->count++] = (uint32_t)(a - c->alarms);
}

static void clocks_start(void *arg)
{
	struct clocks *c = arg;

	c->began_ns = reactor_now_ns();
	for (int i = 0; i < 4; i++) {
		c->alarms[i].clocks = c;
		timer_start(&c->alarms[i].timer, c->alarms[i].delay_ns, alarm_rings);
	}
}

static bool clocks_rang(void *arg)
{
	return ((struct clocks *)arg)->count == 4;
}

/* An hour passes at once, timers ring in order, and of equal ones the first that was started. */
static void time_moves_to_the_next_timer(void **state)
{
	static const uint32_t order[4] = { 3, 1, 2, 0 };

	for (uint64_t seed = 0; seed < 20; seed++) {
		struct clocks c = { .alarms = { { .delay_ns = 3600 * NS_PER_S }, { .delay_ns = 5 * NS_PER_MS },
		                                { .delay_ns = 5 * NS_PER_MS }, { .delay_ns = NS_PER_MS } } };
		bool rang, quiet;

		sim_start(seed);
		c.core = make_core("[0]", CORE_ADAPTIVE);
		sim_as(core_reactor(c.core, 0), clocks_start, &c);
		rang = sim_run(clocks_rang, &c, 2 * 3600 * NS_PER_S);
		quiet = !sim_run(NULL, NULL, UINT64_MAX); /* returns: nothing is left to happen */
		core_free(c.core);
		sim_end();
		assert_true(rang && quiet);
		assert_memory_equal(c.order, order, sizeof(order));
		for (int i = 0; i < 4; i++) {
			assert_true(c.alarms[i].rang_ns >= c.began_ns + c.alarms[i].delay_ns);
			assert_true(c.alarms[i].rang_ns < c.began_ns + c.alarms[i].delay_ns + NS_PER_MS);
		}
	}
}

/* --- jobs and events --- */

struct works {
	struct job job;
	struct sim_event event;
	uint64_t worked_ns, done_ns, event_ns, began_ns;
	bool self_in_work, self_in_event;
};

static void works_work(struct job *j)
{
	struct works *w = container_of(j, struct works, job);

	w->worked_ns = sim_now_ns();
	w->self_in_work = reactor_self() != NULL;
}

static void works_done(struct job *j)
{
	container_of(j, struct works, job)->done_ns = reactor_now_ns();
}

static void works_event(struct sim_event *e)
{
	struct works *w = container_of(e, struct works, event);

	w->event_ns = sim_now_ns();
	w->self_in_event = reactor_self() != NULL;
}

static void works_start(void *arg)
{
	struct works *w = arg;

	w->began_ns = sim_now_ns();
	job_start(&w->job, works_work, works_done);
}

static bool works_ended(void *arg)
{
	struct works *w = arg;

	return w->done_ns && w->event_ns;
}

/* What blocks takes its time and runs outside every reactor, as on a helper thread. */
static void jobs_take_time(void **state)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct works w = { 0 };
		struct core *core;
		bool ended;

		sim_start(seed);
		core = make_core("[0]", CORE_INTERRUPT);
		sim_as(core_reactor(core, 0), works_start, &w);
		sim_event_at(&w.event, w.began_ns + 7 * NS_PER_MS, works_event);
		ended = sim_run(works_ended, &w, NS_PER_S);
		core_free(core);
		sim_end();
		assert_true(ended);
		assert_true(w.worked_ns > w.began_ns && w.done_ns >= w.worked_ns);
		assert_int_equal(w.event_ns / NS_PER_MS, (w.began_ns + 7 * NS_PER_MS) / NS_PER_MS);
		assert_false(w.self_in_work || w.self_in_event);
	}
}

static void run_stops(void *arg)
{
	core_stop(arg, 7);
}

/* A daemon's main() runs unchanged. */
static void core_run_ends_with_its_code(void **state)
{
	struct core *core;
	int rc;

	sim_start(1);
	core = make_core("0-1", CORE_POLL);
	rc = core_run(core, run_stops, core);
	core_free(core);
	sim_end();
	assert_int_equal(rc, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_seed_same_course),
		cmocka_unit_test(other_seed_other_course),
		cmocka_unit_test(messages_arrive_in_every_mode),
		cmocka_unit_test(order_holds_per_pair_only),
		cmocka_unit_test(lost_wakeup_is_seen),
		cmocka_unit_test(time_moves_to_the_next_timer),
		cmocka_unit_test(jobs_take_time),
		cmocka_unit_test(core_run_ends_with_its_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
