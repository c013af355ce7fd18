/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_turns_test.c: no more attempts to log in run at once than there are turns, nobody waits for ever, and peers
 * that say nothing hold up nobody else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/remote/remote_ctl.h"
#include "core/sim/sim.h"

#define MAX 4u
#define HOSTS 40u
#define LOGIN_NS (5 * NS_PER_MS)

static struct host {
	struct remote_turn turn;
	struct timer login;
	bool mute, granted, in;
} hosts[HOSTS];
static struct remote_turns turns;
static struct core *core;
static uint32_t in_now, in_most, mute_most;

static void is_in(struct timer *t)
{
	struct host *h = container_of(t, struct host, login);

	h->in = true;
	in_now--;
	remote_turn_give(&turns, &h->turn);
}

/* A mute one keeps its turn until that is over. */
static void granted(struct remote_turn *t)
{
	struct host *h = container_of(t, struct host, turn);

	h->granted = true;
	if (h->mute) {
		mute_most = max_u32(mute_most, turns.has_slow);
		return;
	}
	in_most = max_u32(in_most, ++in_now);
	timer_start(&h->login, LOGIN_NS, is_in);
}

static void all_come(void *arg)
{
	remote_turns_init(&turns, MAX);
	for (uint32_t i = 0; i < HOSTS; i++)
		remote_turn_take(&turns, &hosts[i].turn, hosts[i].mute, granted);
}

static void begin(uint32_t mute)
{
	memset(hosts, 0, sizeof(hosts));
	in_now = in_most = mute_most = 0;
	for (uint32_t i = 0; i < mute; i++)
		hosts[i].mute = true;
	sim_start(1);
	core = core_make(&(struct core_opts){ .cpus = "[0]", .mode = CORE_INTERRUPT }, NULL);
	must(core);
	sim_as(core_control(core), all_come, NULL);
}

static void end(void)
{
	core_free(core);
	sim_end();
}

static uint32_t count_in(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < HOSTS; i++)
		count += hosts[i].in;
	return count;
}

/* A target that comes back, with all its hosts at the door. */
static void so_many_log_in_at_once_and_no_more(void **state)
{
	begin(0);
	sim_run(NULL, NULL, HOSTS / MAX * LOGIN_NS + NS_PER_MS);
	assert_int_equal(count_in(), HOSTS);
	assert_int_equal(in_most, MAX);
	assert_int_equal(turns.has, 0);
	end();
}

/* Those that ended in silence the last time have half of the turns at most, though they came first. */
static void mute_ones_hold_up_nobody(void **state)
{
	begin(HOSTS / 2);
	sim_run(NULL, NULL, HOSTS / 2 / (MAX / 2) * LOGIN_NS + NS_PER_MS);
	assert_int_equal(count_in(), HOSTS / 2);
	assert_true(in_most <= MAX);
	assert_true(mute_most <= MAX / 2);
	sim_run(NULL, NULL, 2 * NS_PER_S);
	for (uint32_t i = 0; i < HOSTS; i++)
		assert_true(hosts[i].granted); /* a turn is over some time */
	assert_int_equal(turns.has + turns.has_slow, 0);
	end();
}

static void all_go(void *arg)
{
	for (uint32_t i = 0; i < HOSTS; i++) {
		timer_stop(&hosts[i].login);
		remote_turn_give(&turns, &hosts[i].turn);
	}
}

static void who_goes_gives_it_back_or_leaves_the_line(void **state)
{
	begin(HOSTS / 2);
	sim_run(NULL, NULL, LOGIN_NS / 2);
	assert_int_equal(turns.has, MAX);
	sim_as(core_control(core), all_go, NULL);
	sim_run(NULL, NULL, NS_PER_S);
	assert_int_equal(turns.has + turns.has_slow, 0);
	assert_true(list_empty(&turns.waiting) && list_empty(&turns.waiting_slow));
	assert_int_equal(count_in(), 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(so_many_log_in_at_once_and_no_more),
		cmocka_unit_test(mute_ones_hold_up_nobody),
		cmocka_unit_test(who_goes_gives_it_back_or_leaves_the_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
