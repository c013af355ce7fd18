/* SPDX-License-Identifier: BSD-3-Clause */
/* msg_test.c: no message is lost, none overtakes another of its pair, and a sleeper is always woken. */
#include <pthread.h>

#include "core/rig_test.h"

static struct msg go, end;

static void stop_on_control(struct msg *m) { rig_stop(); }

/* --- a burst beyond the ring keeps its order ----------------------------------------------------------- */

#define BURST 10000u

static struct numbered {
	struct msg msg;
	uint32_t number;
} burst[BURST];
static uint32_t burst_next;

static void burst_on_core(struct msg *m)
{
	check(container_of(m, struct numbered, msg)->number == burst_next);
	if (++burst_next == BURST)
		msg_send(core_control(rig.core), &end, stop_on_control);
}

/* More than the ring holds, in one pass: the rest waits at the sender. */
static void send_burst(struct msg *m)
{
	for (uint32_t i = 0; i < BURST; i++) {
		burst[i].number = i;
		msg_send(core_reactor(rig.core, 0), &burst[i].msg, burst_on_core);
	}
}

static void burst_start(void *arg) { msg_send(rig_last(), &go, send_burst); }

static void burst_beyond_the_ring_keeps_its_order(void **state)
{
	for (int mode = 0; mode < CORE_MODE_COUNT; mode++) {
		burst_next = 0;
		rig_run(2, mode, burst_start);
		assert_int_equal(burst_next, BURST);
	}
}

/* The control reactor sends as others do. */
static void control_start(void *arg) { send_burst(NULL); }

static void control_is_a_sender_too(void **state)
{
	burst_next = 0;
	rig_run(1, CORE_INTERRUPT, control_start);
	assert_int_equal(burst_next, BURST);
}

/* --- to itself: later ---------------------------------------------------------------------------------- */

static bool sending;
static uint32_t self_count;

static void self_on_core(struct msg *m)
{
	check(!sending);
	if (++self_count == 100) {
		rig_stop();
		return;
	}
	sending = true;
	msg_send(reactor_self(), m, self_on_core);
	sending = false;
}

static void self_start(void *arg) { self_on_core(&go); }

static void message_to_itself_runs_later(void **state)
{
	self_count = 0;
	rig_run(1, CORE_INTERRUPT, self_start);
	assert_int_equal(self_count, 100);
}

/* --- to and fro between sleepers ------------------------------------------------------------------------ */

#define TRIPS 3000u

static uint32_t trips;

static void ping_on_core(struct msg *m)
{
	struct reactor *other = reactor_self() == rig_last() ? core_reactor(rig.core, 0) : rig_last();

	if (++trips == TRIPS)
		msg_send(core_control(rig.core), &end, stop_on_control);
	else
		msg_send(other, m, ping_on_core);
}

static void ping_start(void *arg) { msg_send(rig_last(), &go, ping_on_core); }

static void sleeper_is_always_woken(void **state)
{
	for (int mode = 0; mode < CORE_MODE_COUNT; mode++) {
		trips = 0;
		rig_run(2, mode, ping_start);
		assert_int_equal(trips, TRIPS);
	}
}

/* --- foreign threads ------------------------------------------------------------------------------------ */

#define THREADS 3u
#define EACH 2000u

static struct foreign {
	struct msg msg;
	uint32_t thread, number;
} foreign[THREADS][EACH];
static uint32_t foreign_next[THREADS], foreign_all;
static pthread_t threads[THREADS];

/* A thread that sends may still be about to wake the receiver: it must end before the core does. */
static void join_on_control(struct msg *m)
{
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	rig_stop();
}

static void foreign_on_core(struct msg *m)
{
	struct foreign *f = container_of(m, struct foreign, msg);

	check(f->number == foreign_next[f->thread]++);
	if (++foreign_all == THREADS * EACH)
		msg_send(core_control(rig.core), &end, join_on_control);
}

static void *foreign_thread(void *arg)
{
	struct foreign *f = arg;

	check(reactor_self() == NULL);
	for (uint32_t i = 0; i < EACH; i++) {
		f[i].number = i;
		msg_send(core_reactor(rig.core, 0), &f[i].msg, foreign_on_core);
	}
	return NULL;
}

static void foreign_start(void *arg)
{
	for (uint32_t i = 0; i < THREADS; i++) {
		for (uint32_t k = 0; k < EACH; k++)
			foreign[i][k].thread = i;
		check(pthread_create(&threads[i], NULL, foreign_thread, foreign[i]) == 0);
	}
}

static void messages_of_plain_threads_keep_their_order(void **state)
{
	for (int mode = 0; mode < CORE_MODE_COUNT; mode++) {
		foreign_all = 0;
		memset(foreign_next, 0, sizeof(foreign_next));
		rig_run(1, mode, foreign_start);
		assert_int_equal(foreign_all, THREADS * EACH);
	}
}

/* --- every reactor -------------------------------------------------------------------------------------- */

static struct each each;
static _Atomic uint32_t each_ran[CORE_REACTORS_MAX];

static void each_here(struct each *e)
{
	check(!reactor_is_control(reactor_self()));
	atomic_fetch_add(&each_ran[reactor_index(reactor_self())], 1);
}

static void each_done(struct each *e)
{
	check(reactor_is_control(reactor_self()));
	for (uint32_t i = 0; i < core_reactor_count(rig.core); i++)
		check(each_ran[i] == 1);
	rig_stop();
}

static void each_start(void *arg) { each_core(&each, rig.core, each_here, each_done); }

static void each_core_runs_everywhere_then_done(void **state)
{
	rig_run(3, CORE_INTERRUPT, each_start);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_beyond_the_ring_keeps_its_order),
		cmocka_unit_test(control_is_a_sender_too),
		cmocka_unit_test(message_to_itself_runs_later),
		cmocka_unit_test(sleeper_is_always_woken),
		cmocka_unit_test(messages_of_plain_threads_keep_their_order),
		cmocka_unit_test(each_core_runs_everywhere_then_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
