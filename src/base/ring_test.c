/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_test.c: nothing is lost, doubled or reordered between threads. Run it under TSan as well.
 *
 * cmocka's asserts longjmp, so threads only count what is wrong; the main thread asserts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "base/ring.h"

#define SPSC_ITEMS 200000u
#define MPSC_PRODUCERS 3u
#define MPSC_ITEMS 50000u /* of each producer */

static bool push(struct spsc *r, void *item)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (!spsc_put(r, &tail, item))
		return false;
	spsc_publish(r, tail);
	return true;
}

static void spsc_refuses_when_full_and_wraps(void **state)
{
	struct spsc r;
	void *items[8];
	char cells[4];

	spsc_init(&r, 4);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 4; i++)
			assert_true(push(&r, &cells[i]));
		assert_false(push(&r, &cells[0]));
		assert_int_equal(spsc_depth(&r), 4);
		assert_int_equal(spsc_pop(&r, items, 3), 3);
		assert_int_equal(spsc_pop(&r, items + 3, 8), 1);
		for (int i = 0; i < 4; i++)
			assert_ptr_equal(items[i], &cells[i]);
		assert_int_equal(spsc_pop(&r, items, 8), 0);
	}
	spsc_fini(&r);
}

/* Nothing is seen before it is published, and then all of it. */
static void spsc_publishes_batches(void **state)
{
	struct spsc r;
	uint32_t tail = 0;
	void *items[4];

	spsc_init(&r, 4);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 3; i++)
			assert_true(spsc_put(&r, &tail, &r));
		assert_int_equal(spsc_pop(&r, items, 4), 0);
		spsc_publish(&r, tail);
		assert_int_equal(spsc_pop(&r, items, 4), 3);
	}
	spsc_fini(&r);
}

static void spsc_indexes_may_wrap_32_bits(void **state)
{
	struct spsc r;
	void *item;

	spsc_init(&r, 4);
	atomic_store(&r.tail, UINT32_MAX - 1);
	atomic_store(&r.head, UINT32_MAX - 1);
	r.head_seen = r.tail_seen = UINT32_MAX - 1;
	for (int i = 0; i < 4; i++)
		assert_true(push(&r, &r));
	assert_false(push(&r, &r));
	for (int i = 0; i < 4; i++)
		assert_int_equal(spsc_pop(&r, &item, 1), 1);
	assert_int_equal(spsc_pop(&r, &item, 1), 0);
	spsc_fini(&r);
}

static void *spsc_producer(void *arg)
{
	struct spsc *r = arg;

	for (uintptr_t i = 1; i <= SPSC_ITEMS; i++)
		while (!push(r, (void *)i))
			sched_yield();
	return NULL;
}

static void spsc_keeps_order_between_threads(void **state)
{
	struct spsc r;
	pthread_t producer;
	uintptr_t expected = 1, wrong = 0;

	spsc_init(&r, 64);
	assert_int_equal(pthread_create(&producer, NULL, spsc_producer, &r), 0);
	while (expected <= SPSC_ITEMS) {
		void *items[16];
		uint32_t count = spsc_pop(&r, items, ARRAY_SIZE(items));

		if (count == 0)
			sched_yield();
		for (uint32_t i = 0; i < count; i++)
			wrong += (uintptr_t)items[i] != expected++;
	}
	pthread_join(producer, NULL);
	assert_int_equal(wrong, 0);
	assert_int_equal(spsc_depth(&r), 0);
	spsc_fini(&r);
}

static void mpsc_first_push_is_told_to_wake(void **state)
{
	struct mpsc q;
	struct mpsc_link a, b;

	mpsc_init(&q);
	assert_true(mpsc_empty(&q));
	assert_null(mpsc_take_all(&q));
	assert_true(mpsc_push(&q, &a));
	assert_false(mpsc_push(&q, &b));
	assert_false(mpsc_empty(&q));
	assert_ptr_equal(mpsc_take_all(&q), &a);
	assert_ptr_equal(a.next, &b);
	assert_null(b.next);
	assert_true(mpsc_push(&q, &b));
}

struct mpsc_item {
	struct mpsc_link link;
	uint32_t producer, number;
};

struct mpsc_producer {
	struct mpsc *q;
	_Atomic uint32_t *wakes; /* what the consumer would be woken by */
	struct mpsc_item *items;
	pthread_t thread;
};

static void *mpsc_producer(void *arg)
{
	struct mpsc_producer *p = arg;

	for (uint32_t i = 0; i < MPSC_ITEMS; i++)
		if (mpsc_push(p->q, &p->items[i].link))
			atomic_fetch_add(p->wakes, 1);
	return NULL;
}

/* Each producer's items arrive once, in its order, and every batch taken had one push that was told to wake. */
static void mpsc_keeps_each_producers_order(void **state)
{
	struct mpsc q;
	_Atomic uint32_t wakes = 0;
	struct mpsc_producer producers[MPSC_PRODUCERS];
	uint32_t expected[MPSC_PRODUCERS] = { 0 }, wrong = 0, taken = 0, batches = 0;

	mpsc_init(&q);
	for (uint32_t p = 0; p < MPSC_PRODUCERS; p++) {
		producers[p] = (struct mpsc_producer){ .q = &q, .wakes = &wakes };
		producers[p].items = base_zalloc(MPSC_ITEMS * sizeof(struct mpsc_item));
		for (uint32_t i = 0; i < MPSC_ITEMS; i++) {
			producers[p].items[i].producer = p;
			producers[p].items[i].number = i;
		}
	}
	for (uint32_t p = 0; p < MPSC_PRODUCERS; p++)
		assert_int_equal(pthread_create(&producers[p].thread, NULL, mpsc_producer, &producers[p]), 0);
	while (taken < MPSC_PRODUCERS * MPSC_ITEMS) {
		struct mpsc_link *l = mpsc_take_all(&q);

		batches += l != NULL;
		if (!l)
			sched_yield();
		for (; l; l = l->next, taken++) {
			struct mpsc_item *item = container_of(l, struct mpsc_item, link);

			wrong += item->number != expected[item->producer]++;
		}
	}
	for (uint32_t p = 0; p < MPSC_PRODUCERS; p++) {
		pthread_join(producers[p].thread, NULL);
		free(producers[p].items);
	}
	assert_int_equal(wrong, 0);
	assert_int_equal(atomic_load(&wakes), batches);
	assert_true(mpsc_empty(&q));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spsc_refuses_when_full_and_wraps),
		cmocka_unit_test(spsc_publishes_batches),
		cmocka_unit_test(spsc_indexes_may_wrap_32_bits),
		cmocka_unit_test(spsc_keeps_order_between_threads),
		cmocka_unit_test(mpsc_first_push_is_told_to_wake),
		cmocka_unit_test(mpsc_keeps_each_producers_order),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
