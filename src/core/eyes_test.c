/* SPDX-License-Identifier: BSD-3-Clause */
/* eyes_test.c: waits that grow are an alarm, one that happened once is none; events keep their numbers, also those of
 * other cores; a trace ring that others read gets what is switched on, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/notify.h"
#include "core/sim/sim.h"
#include "core/trace.h"
#include "core/waits.h"

static struct core *core;
static struct timer timer;
static uint64_t rounds, period_ms;
static struct wait_account found[WAITS_NAMES_MAX];
static uint32_t found_count;
static bool alarm_now;

static int start(void **state)
{
	struct core_opts opts = { .cpus = "[0,1]", .mode = CORE_INTERRUPT };
	struct err e = { 0 };

	log_set_level(LOG_ERROR);
	sim_start(1);
	core = core_make(&opts, &e);
	assert_non_null(core);
	return 0;
}

static int stop(void **state)
{
	core_free(core);
	sim_end();
	return 0;
}

static void look(void)
{
	found_count = waits_get(found);
	alarm_now = found_count && wait_alarms(&found[0], reactor_now_ns());
}

/* --- waits --- */

static void a_wait(struct timer *t)
{
	wait_began("something");
	wait_ended("something", reactor_now_ns() - 5);
	look();
	if (--rounds)
		timer_start(&timer, period_ms * NS_PER_MS, a_wait);
}

static void begin_waits(void *arg) { timer_start(&timer, 1, a_wait); }
static void look_again(struct timer *t) { look(); rounds = 0; }
static void look_later(void *arg) { rounds = 1; timer_start(&timer, 60 * NS_PER_S, look_again); }
static bool no_rounds(void *arg) { return !rounds; }

static void run_waits(uint64_t count, uint64_t every_ms)
{
	rounds = count;
	period_ms = every_ms;
	sim_as(core_reactor(core, 0), begin_waits, NULL);
	assert_true(sim_run(no_rounds, NULL, 3600 * NS_PER_S));
}

static void rare_waits_are_no_alarm(void **state)
{
	run_waits(20, 4 * WAITS_PERIOD_MS);
	assert_int_equal(found_count, 1);
	assert_int_equal(found[0].waits, 20);
	assert_int_equal(found[0].waiting, 0);
	assert_int_equal(found[0].longest_ns, 5);
	assert_int_equal(found[0].total_ns, 100);
	assert_int_equal(found[0].alarms, 0);
	assert_false(alarm_now);
}

static void growing_waits_are_an_alarm_until_they_stop(void **state)
{
	run_waits(50, WAITS_PERIOD_MS / 5);
	assert_true(alarm_now);
	assert_true(found[0].alarms >= 5);
	sim_as(core_reactor(core, 0), look_later, NULL);
	assert_true(sim_run(no_rounds, NULL, 3600 * NS_PER_S));
	assert_false(alarm_now);
}

static void many_names(void *arg)
{
	static char names[2 * WAITS_NAMES_MAX][8];

	for (uint32_t i = 0; i < 2 * WAITS_NAMES_MAX; i++) {
		names[i][0] = (char)('A' + i % 26);
		names[i][1] = (char)('a' + i / 26);
		wait_began(names[i]);
		wait_ended(names[i], reactor_now_ns());
	}
	look();
}

static void names_beyond_the_table_are_one(void **state)
{
	uint64_t waits = 0;

	sim_as(core_reactor(core, 0), many_names, NULL);
	assert_int_equal(found_count, WAITS_NAMES_MAX);
	assert_string_equal(found[WAITS_NAMES_MAX - 1].name, "others");
	for (uint32_t i = 0; i < found_count; i++)
		waits += found[i].waits;
	assert_int_equal(waits, 2 * WAITS_NAMES_MAX);
}

/* --- events --- */

static void from_afar(void *arg)
{
	for (uint32_t i = 0; i < 2 * NOTIFY_ON_THE_WAY_MAX; i++)
		notify(core, NOTIFY_IO_STUCK, "far %u", i);
}

static bool came(void *arg) { return notify_next_id(core) == NOTIFY_ON_THE_WAY_MAX; }

static void events_of_other_cores_come_in_order_and_are_bounded(void **state)
{
	sim_as(core_reactor(core, 1), from_afar, NULL);
	assert_true(sim_run(came, NULL, NS_PER_S));
	assert_int_equal(notify_dropped(core), NOTIFY_ON_THE_WAY_MAX);
	assert_string_equal(notify_get(core, 0)->context, "far 0");
	assert_string_equal(notify_get(core, 5)->context, "far 5");
	assert_null(notify_get(core, NOTIFY_ON_THE_WAY_MAX));
}

static void from_control(void *arg)
{
	for (uint32_t i = 0; i < NOTIFY_EVENTS_MAX + 10; i++)
		notify(core, NOTIFY_BDEV_REGISTER, "%u", i);
}

static void old_events_make_room(void **state)
{
	sim_as(core_control(core), from_control, NULL);
	assert_int_equal(notify_next_id(core), NOTIFY_EVENTS_MAX + 10);
	assert_null(notify_get(core, 9));
	assert_string_equal(notify_get(core, 10)->context, "10");
	assert_int_equal(notify_get(core, 10)->id, 10);
}

/* --- trace --- */

static struct trace_ring rings[3];

static struct trace_ring *share(struct trace_sharer *s, uint32_t count, struct err *e)
{
	assert_int_equal(count, 3);
	return rings;
}

static void trace_two(void *arg)
{
	trace(IO_SUBMIT, 7, 8);
	trace(SOCK_RECV, 1, 2);
}

static void shared_rings_hold_what_is_on(void **state)
{
	struct trace_sharer s = { .share = share };
	struct err e = { 0 };

	trace_set_sharer(core, &s);
	sim_as(core_reactor(core, 1), trace_two, NULL);
	assert_int_equal(trace_enable(core, trace_group_points(TRACE_GROUP_BDEV), 0, &e), 0);
	sim_as(core_reactor(core, 1), trace_two, NULL);
	assert_int_equal(trace_enable(core, 0, UINT64_MAX, &e), 0);
	sim_as(core_reactor(core, 1), trace_two, NULL);
	assert_int_equal(rings[0].count, 0);
	assert_int_equal(rings[1].count, 1);
	assert_int_equal(rings[1].records[0].point, TRACE_IO_SUBMIT);
	assert_int_equal(rings[1].records[0].a, 7);
}

static void points_are_counted_within_their_group(void **state)
{
	for (enum trace_group g = 0; g < TRACE_GROUP_COUNT; g++) {
		uint32_t bit = 0;

		for (uint32_t i = 0; i < TRACE_POINT_COUNT; i++)
			if (trace_point_info(i).group == g)
				assert_int_equal(trace_point_info(i).bit, bit++);
		assert_int_equal(__builtin_popcountll(trace_group_points(g)), bit);
	}
	assert_null(trace_point_info(TRACE_POINT_COUNT).name);
}

#define IN_A_CORE(test) cmocka_unit_test_setup_teardown(test, start, stop)
int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_CORE(rare_waits_are_no_alarm),
		IN_A_CORE(growing_waits_are_an_alarm_until_they_stop),
		IN_A_CORE(names_beyond_the_table_are_one),
		IN_A_CORE(events_of_other_cores_come_in_order_and_are_bounded),
		IN_A_CORE(old_events_make_room),
		IN_A_CORE(shared_rings_hold_what_is_on),
		cmocka_unit_test(points_are_counted_within_their_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
