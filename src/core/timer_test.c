/* SPDX-License-Identifier: BSD-3-Clause */
/* timer_test.c: timers run in the order of their deadlines, equal ones in the order of their start. */
#include "core/rig_test.h"

#define COUNT 500u

static struct {
	struct timer timer;
	uint32_t number;
	bool stopped;
} timers[COUNT];
static uint32_t ran, expected, rounds;
static uint64_t last_deadline, last_sequence;
static struct timer again;

static void in_order(struct timer *t)
{
	check(!timer_is_running(t));
	check(t->deadline_ns > last_deadline || (t->deadline_ns == last_deadline && t->sequence > last_sequence));
	check(t->deadline_ns <= reactor_now_ns());
	last_deadline = t->deadline_ns;
	last_sequence = t->sequence;
	if (++ran == expected)
		rig_stop();
}

/* Few different deadlines, so that many are equal; a third is stopped, a third started anew. */
static void start_many(void *arg)
{
	uint64_t draw = 7;

	ran = expected = 0;
	last_deadline = last_sequence = 0;
	for (uint32_t i = 0; i < COUNT; i++)
		timer_start(&timers[i].timer, (draw = draw * 25214903917 + 11) >> 20 & 7, in_order);
	for (uint32_t i = 0; i < COUNT; i++) {
		if (i % 3 == 0)
			timer_stop(&timers[i].timer);
		else if (i % 3 == 1)
			timer_start(&timers[i].timer, ((draw = draw * 25214903917 + 11) >> 20 & 7) * NS_PER_MS, in_order);
		expected += i % 3 != 0;
	}
	timer_stop(&timers[0].timer); /* stopped already: no effect */
}

static void deadlines_then_order_of_start(void **state)
{
	rig_run(1, CORE_INTERRUPT, start_many);
	assert_int_equal(ran, expected);
}

/* --- a timer that is due at once waits for the next pass ------------------------------------------------ */

static struct defer last;
static bool pass_ended;

static void end_of_pass(struct defer *d) { pass_ended = true; }

static void at_once(struct timer *t)
{
	check(pass_ended);
	pass_ended = false;
	defer_last(&last, end_of_pass);
	if (++rounds == 50)
		rig_stop();
	else
		timer_start(t, 0, at_once);
}

static void at_once_start(void *arg)
{
	rounds = 0;
	pass_ended = true;
	timer_start(&again, 0, at_once);
}

static void due_at_once_is_the_next_pass(void **state)
{
	rig_run(1, CORE_INTERRUPT, at_once_start);
	assert_int_equal(rounds, 50);
}

/* --- sleep ends when a timer is due, and not before it --------------------------------------------------- */

static uint64_t began_ns;

static void after_delay(struct timer *t)
{
	uint64_t took = core_clock_ns() - began_ns;

	check(took >= 300 * NS_PER_US);
	if (++rounds == 20) {
		rig_stop();
		return;
	}
	began_ns = core_clock_ns();
	timer_start(t, 300 * NS_PER_US + (core_clock_ns() - reactor_now_ns()), after_delay);
}

static void delay_start(void *arg)
{
	rounds = 0;
	began_ns = core_clock_ns();
	timer_start(&again, 300 * NS_PER_US + (core_clock_ns() - reactor_now_ns()), after_delay);
}

static void sleep_ends_with_the_first_timer(void **state)
{
	rig_run(1, CORE_INTERRUPT, delay_start);
	assert_int_equal(rounds, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deadlines_then_order_of_start),
		cmocka_unit_test(due_at_once_is_the_next_pass),
		cmocka_unit_test(sleep_ends_with_the_first_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
