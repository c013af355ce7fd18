/* SPDX-License-Identifier: BSD-3-Clause */
/* receiver_test.c: messages of plain threads arrive, all and in order, one by one and in chains, on a reactor and on a
 * thread of their own; and how many wait, and how long, can be asked while their receiver is stuck. */
#include <pthread.h>

#include "core/rig_test.h"

#define SENDERS 3u
#define MESSAGES 30000u
#define CHAIN 7u
#define ENDS 3000u

static struct receiver *receiver;
static struct sender {
	pthread_t thread;
	bool chains;
	uint32_t next, out_of_order;
	struct numbered {
		struct msg msg;
		struct sender *sender;
		uint32_t number;
	} m[MESSAGES];
} senders[SENDERS];
static _Atomic uint32_t arrived;
static struct reactor *expected;
static _Atomic uint32_t strangers;
static struct timer wait;
static uint32_t waits;

static void on_receiver(struct msg *m)
{
	struct numbered *n = container_of(m, struct numbered, msg);

	if (n->number != n->sender->next++)
		n->sender->out_of_order++;
	if (reactor_self() != expected)
		atomic_fetch_add(&strangers, 1);
	atomic_fetch_add(&arrived, 1);
}

static void *send_all(void *arg)
{
	struct sender *s = arg;
	struct msg_chain chain = { 0 };

	for (uint32_t i = 0; i < MESSAGES; i++) {
		s->m[i].sender = s;
		s->m[i].number = i;
		if (!s->chains) {
			receiver_send(receiver, &s->m[i].msg, on_receiver);
			continue;
		}
		msg_chain_add(&chain, &s->m[i].msg, on_receiver);
		if (chain.count == CHAIN)
			receiver_send_chain(receiver, &chain);
	}
	receiver_send_chain(receiver, &chain); /* maybe an empty one */
	return NULL;
}

static void wait_for_all(struct timer *t)
{
	if (atomic_load(&arrived) < SENDERS * MESSAGES && ++waits < 60000) {
		timer_start(t, NS_PER_MS, wait_for_all);
		return;
	}
	for (uint32_t i = 0; i < SENDERS; i++)
		pthread_join(senders[i].thread, NULL);
	rig_stop();
}

static void begin(struct reactor *on)
{
	struct err e = { 0 };

	receiver = receiver_make(rig.core, on, "receiver", &e);
	check(receiver);
	expected = on;
	for (uint32_t i = 0; i < SENDERS; i++) {
		senders[i].chains = i % 2;
		check(!pthread_create(&senders[i].thread, NULL, send_all, &senders[i]));
	}
	timer_start(&wait, 0, wait_for_all);
}

static void start_on_reactor(void *arg) { begin(core_reactor(rig.core, 0)); }
static void start_on_thread(void *arg) { begin(NULL); }

static void run(void (*start)(void *arg), enum core_mode mode)
{
	struct receiver_stats stats;

	memset(senders, 0, sizeof(senders));
	atomic_store(&arrived, 0);
	waits = 0;
	rig_make(&(struct core_opts){ .cpus = rig_cpus(1), .mode = mode, .stall_ms = 60000 });
	must(core_run(rig.core, start, NULL) == 0);
	receiver_get_stats(receiver, &stats);
	receiver_free(receiver);
	core_free(rig.core);
	assert_int_equal(atomic_load(&rig.trouble), 0);
	assert_int_equal(atomic_load(&arrived), SENDERS * MESSAGES);
	assert_int_equal(atomic_load(&strangers), 0);
	assert_true(stats.messages >= SENDERS * MESSAGES && stats.depth_max > 0);
	for (uint32_t i = 0; i < SENDERS; i++)
		assert_int_equal(senders[i].out_of_order, 0);
}

static void on_a_reactor(void **state)
{
	run(start_on_reactor, CORE_INTERRUPT);
	run(start_on_reactor, CORE_ADAPTIVE);
}

static void on_a_thread_of_its_own(void **state) { run(start_on_thread, CORE_INTERRUPT); }

/* Sent at any moment of the thread's round, and then it ends. */
static void what_was_sent_is_run_before_the_end(void **state)
{
	static struct numbered last;
	struct err e = { 0 };

	rig_make(&(struct core_opts){ .cpus = rig_cpus(1), .stall_ms = 60000 });
	expected = NULL;
	atomic_store(&arrived, 0);
	last.sender = &senders[0];
	for (uint32_t i = 0; i < ENDS; i++) {
		struct receiver *r = receiver_make(rig.core, NULL, "receiver", &e);

		assert_non_null(r);
		last.number = senders[0].next;
		for (volatile uint32_t spin = 0; spin < i * 37 % 20000; spin++)
			;
		receiver_send(r, &last.msg, on_receiver);
		receiver_free(r);
		assert_int_equal(atomic_load(&arrived), i + 1);
	}
	core_free(rig.core);
}

/* --- what waits for a reactor that is stuck ---------------------------------------------------------- */

static struct msg stick, waiting[5], foreign[3];
static _Atomic bool stuck, unstick;

static void nothing(struct msg *m) { }

static void stick_on_core(struct msg *m)
{
	atomic_store(&stuck, true);
	while (!atomic_load(&unstick))
		sched_yield();
}

static void *send_foreign(void *arg)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(foreign); i++)
		msg_send(core_reactor(rig.core, 0), &foreign[i], nothing);
	return NULL;
}

static void look(struct timer *t)
{
	struct reactor_stats s;
	pthread_t thread;

	reactor_get_stats(core_reactor(rig.core, 0), &s);
	if (!waits) {
		for (uint32_t i = 0; i < ARRAY_SIZE(waiting); i++)
			msg_send(core_reactor(rig.core, 0), &waiting[i], nothing);
		check(!pthread_create(&thread, NULL, send_foreign, NULL));
		pthread_join(thread, NULL);
	}
	if (waits && s.message_depth == ARRAY_SIZE(waiting) + 1 && s.message_age_ns > 5 * NS_PER_MS) {
		atomic_store(&unstick, true);
	} else if (atomic_load(&unstick) && !s.message_depth && s.message_age_max_ns > 5 * NS_PER_MS &&
	           s.message_depth_max >= ARRAY_SIZE(waiting)) {
		check(s.message_age_ns == 0);
		rig_stop();
		return;
	}
	check(++waits < 30000);
	if (waits < 30000)
		timer_start(t, NS_PER_MS, look);
	else
		rig_stop();
}

static void wait_until_stuck(struct timer *t)
{
	timer_start(t, NS_PER_MS, atomic_load(&stuck) ? look : wait_until_stuck);
}

static void stuck_start(void *arg)
{
	msg_send(core_reactor(rig.core, 0), &stick, stick_on_core);
	timer_start(&wait, NS_PER_MS, wait_until_stuck);
}

static void what_waits_can_be_asked_for(void **state)
{
	waits = 0;
	rig_run(1, CORE_INTERRUPT, stuck_start);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_a_reactor),
		cmocka_unit_test(on_a_thread_of_its_own),
		cmocka_unit_test(what_was_sent_is_run_before_the_end),
		cmocka_unit_test(what_waits_can_be_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
