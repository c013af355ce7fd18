/* SPDX-License-Identifier: BSD-3-Clause */
/* sched_test.c: the scheduler on real cores: things that work leave a saturated core, idle ones are packed, and it
 * sleeps until there is work again. Things are messages that send themselves; a test waits for states, never for
 * time. */
#include "core/rig_test.h"
#include "core/sched.h"

#define THINGS 6u
#define BURN_NS (100 * NS_PER_US)
#define LOOK_NS (5 * NS_PER_MS)

static struct thing {
	struct msg msg;
	uint64_t id, work;
	struct reactor *to;             /* where it shall go */
	void (*done)(void *arg, int rc);
	void *arg;
	struct msg done_msg;
	struct reactor *from;
	_Atomic(struct reactor *) home;
	bool asleep;                    /* its message is not under way */
} things[THINGS];
static _Atomic bool burning;
static struct timer look;
static struct sched_mover mover;
static uint32_t stage, looks;

static void burn(struct msg *m);

static bool is_here(const struct thing *t) { return atomic_load(&t->home) == reactor_self(); }

static void offer(struct sched_mover *m, struct sched_offers *o)
{
	for (uint32_t i = 0; i < THINGS; i++) {
		if (!is_here(&things[i]))
			continue;
		sched_offer(o, &(struct sched_item){ .id = things[i].id, .work = things[i].work, .allowed = UINT64_MAX });
		things[i].work = 0;
	}
}

static void told(struct msg *m)
{
	struct thing *t = container_of(m, struct thing, done_msg);

	t->done(t->arg, 0);
}

static void arrive(struct thing *t)
{
	t->to = NULL;
	atomic_store(&t->home, reactor_self());
	msg_send(t->from, &t->done_msg, told);
	burn(&t->msg);
}

static void arrived(struct msg *m) { arrive(container_of(m, struct thing, msg)); }

/* While it burns it leaves by itself; while it sleeps now. */
static void move(struct sched_mover *m, uint64_t id, struct reactor *to, void (*done)(void *arg, int rc), void *arg)
{
	struct thing *t = &things[id - 1];

	check(is_here(t));
	t->to = to;
	t->done = done;
	t->arg = arg;
	t->from = reactor_self();
	if (t->asleep) {
		t->asleep = false;
		atomic_store(&t->home, NULL);
		msg_send(to, &t->msg, arrived);
	}
}

static void burn(struct msg *m)
{
	struct thing *t = container_of(m, struct thing, msg);
	uint64_t until = core_clock_ns() + BURN_NS;

	if (t->to) {
		atomic_store(&t->home, NULL);
		msg_send(t->to, m, arrived);
		return;
	}
	if (!atomic_load(&burning)) {
		t->asleep = true;
		return;
	}
	while (core_clock_ns() < until)
		;
	t->work++;
	msg_send(reactor_self(), m, burn);
}

static uint32_t homes_on(uint32_t index)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < THINGS; i++)
		count += atomic_load(&things[i].home) == core_reactor(rig.core, index);
	return count;
}

static void wake_here(struct msg *m)
{
	struct thing *t = container_of(m, struct thing, msg);

	t->asleep = false;
	burn(m);
}

static void mover_gone(void *arg) { rig_stop(); }

/* Work, until they are spread; rest, until they are packed and nobody looks any more; work again, until it does. */
static void looking(struct timer *t)
{
	struct sched_stats s;

	sched_get_stats(rig.core, &s);
	if (stage == 0 && homes_on(0) <= THINGS / 2 && homes_on(1) >= THINGS / 2) {
		atomic_store(&burning, false);
		stage++;
	} else if (stage == 1 && s.naps && homes_on(0) == THINGS) {
		check(reactor_is_parked(core_reactor(rig.core, 1)));
		atomic_store(&burning, true);
		for (uint32_t i = 0; i < THINGS; i++)
			msg_send(core_reactor(rig.core, 0), &things[i].msg, wake_here);
		stage++;
	} else if (stage == 2 && homes_on(1) >= 2) {
		atomic_store(&burning, false);
		stage++;
		sched_remove_mover(rig.core, &mover, mover_gone, NULL);
		return;
	}
	if (++looks == 60 * NS_PER_S / LOOK_NS) {
		check(!"spread, packed and spread again in time");
		rig_stop();
		return;
	}
	timer_start(t, LOOK_NS, looking);
}

static void start(void *arg)
{
	mover.offer = offer;
	mover.move = move;
	atomic_store(&burning, true);
	sched_add_mover(rig.core, &mover);
	sched_set(rig.core, &(struct sched_opts){ .dynamic = true, .period_ns = 20 * NS_PER_MS, .core_busy = 85 });
	for (uint32_t i = 0; i < THINGS; i++) {
		things[i].id = i + 1;
		atomic_store(&things[i].home, core_reactor(rig.core, 0));
		msg_send(core_reactor(rig.core, 0), &things[i].msg, wake_here);
	}
	timer_start(&look, LOOK_NS, looking);
}

static void things_are_spread_packed_and_spread_again(void **state)
{
	rig_make(&(struct core_opts){ .cpus = rig_cpus(2), .stall_ms = 60000 });
	if (core_reactor_count(rig.core) < 2) {
		core_free(rig.core);
		skip();
	}
	rig_end(start);
	assert_int_equal(stage, 3);
}

static void new_ones_go_where_the_fewest_are(void **state)
{
	struct core_opts opts = { .cpus = rig_cpus(3), .mode = CORE_INTERRUPT };
	struct sched_place p = { 0 };
	uint32_t cores;

	rig_make(&opts);
	cores = core_reactor_count(rig.core);
	sched_place_init(&p, rig.core);
	for (uint32_t i = 0; i < 2 * cores; i++)
		(void)sched_place(&p, -1);
	for (uint32_t i = 0; i < cores; i++)
		assert_int_equal(p.count[i], 2);
	assert_ptr_equal(sched_place(&p, (int)reactor_cpu(rig_last())), rig_last()); /* of equal ones the nearest */
	sched_place_left(&p, core_reactor(rig.core, 0));
	assert_ptr_equal(sched_place(&p, (int)reactor_cpu(rig_last())), core_reactor(rig.core, 0));
	atomic_store(&p.allowed, 1ull << (cores - 1));
	assert_ptr_equal(sched_place(&p, -1), rig_last());
	core_free(rig.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_ones_go_where_the_fewest_are),
		cmocka_unit_test(things_are_spread_packed_and_spread_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
