/* SPDX-License-Identifier: BSD-3-Clause */
/* sched_plan_test.c: what leaves which core; and that a plan carried out does not ask for its undoing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/sched_plan.h"

#define CORES 4u

static struct sched_core cores[CORES];
static const struct sched_opts opts = { .dynamic = true, .load_limit = 20, .core_limit = 80, .core_busy = 95 };
static struct sched_view view = { .opts = &opts, .count = CORES, .cores = cores };
static struct sched_order orders[SCHED_MOVES_MAX];
static uint64_t last_id;

static int begin(void **state)
{
	memset(cores, 0, sizeof(cores));
	view.isolated = 0;
	view.first = 0;
	return 0;
}

static void add(uint32_t core, uint64_t work, uint64_t allowed, bool fixed)
{
	const struct sched_item item = { .id = ++last_id, .work = work, .allowed = allowed, .fixed = fixed };

	sched_core_add(&cores[core], &item);
}

static void load(uint32_t core, uint32_t percent, uint32_t over)
{
	cores[core].load = percent * 100;
	cores[core].over = over;
}

static void a_saturated_core_is_relieved_evenly(void **state)
{
	uint32_t to[CORES] = { 0 };

	for (int i = 0; i < 8; i++)
		add(0, 100, UINT64_MAX, false);
	load(0, 100, 2);
	assert_int_equal(sched_plan(&view, orders), 6);
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(orders[i].from, 0);
		to[orders[i].to]++;
	}
	for (uint32_t i = 1; i < CORES; i++)
		assert_int_equal(to[i], 2);
}

static void a_moment_of_saturation_moves_nothing(void **state)
{
	add(0, 100, UINT64_MAX, false);
	add(0, 100, UINT64_MAX, false);
	load(0, 100, 1);
	assert_int_equal(sched_plan(&view, orders), 0);
}

/* It would saturate any core. */
static void one_that_works_alone_stays(void **state)
{
	add(0, 1000000, UINT64_MAX, false);
	for (int i = 0; i < 5; i++)
		add(0, 1, UINT64_MAX, false);
	load(0, 100, 9);
	assert_int_equal(sched_plan(&view, orders), 0);
}

static void what_does_not_gain_is_left(void **state)
{
	for (uint32_t i = 0; i < CORES; i++) {
		add(i, 100, UINT64_MAX, false);
		add(i, 100, UINT64_MAX, false);
		load(i, 100, 9);
	}
	assert_int_equal(sched_plan(&view, orders), 0);
	load(3, 60, 0); /* 60 + 50 is more than the limit */
	assert_int_equal(sched_plan(&view, orders), 0);
}

static void fixed_and_forbidden_stay(void **state)
{
	add(0, 100, UINT64_MAX, true);
	add(0, 100, 1, false);
	add(0, 100, 1 | 4, false);
	load(0, 99, 3);
	assert_int_equal(sched_plan(&view, orders), 1);
	assert_int_equal(orders[0].to, 2);
	assert_int_equal(orders[0].id, last_id);
}

static void isolated_cores_are_left_alone(void **state)
{
	for (int i = 0; i < 4; i++) {
		add(0, 100, UINT64_MAX, false);
		add(3, 100, UINT64_MAX, false);
	}
	load(0, 100, 2);
	load(3, 100, 2);
	view.isolated = 1u << 3 | 1u << 2;
	assert_in_range(sched_plan(&view, orders), 1, 2);
	assert_int_equal(orders[0].from, 0);
	assert_int_equal(orders[0].to, 1);
	memset(cores, 0, sizeof(cores));
	add(3, 1, UINT64_MAX, false);
	load(3, 1, 0);
	assert_int_equal(sched_plan(&view, orders), 0);
}

static void idle_ones_are_packed_onto_the_first(void **state)
{
	view.first = 1;
	for (uint32_t i = 0; i < CORES; i++) {
		add(i, 10, UINT64_MAX, false);
		load(i, 2, 0);
	}
	assert_int_equal(sched_plan(&view, orders), 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(orders[i].to, 1);
	assert_int_equal(sched_plan(&view, orders), 0);
}

/* 15 % each: two fit into half of 80 %, the others go together on the next core. */
static void packing_fills_half(void **state)
{
	for (uint32_t i = 0; i < CORES; i++) {
		add(i, 10, UINT64_MAX, false);
		load(i, 15, 0);
	}
	assert_int_equal(sched_plan(&view, orders), 2);
	for (uint32_t i = 0; i < CORES; i++)
		assert_true(cores[i].load <= 4000);
}

static void nobody_is_packed_while_a_core_is_saturated(void **state)
{
	add(0, 10, UINT64_MAX, false);
	load(0, 100, 1);
	add(2, 10, UINT64_MAX, false);
	load(2, 1, 0);
	assert_int_equal(sched_plan(&view, orders), 0);
}

/* Nothing goes there and back; and what one plan cannot finish, because its orders are as many as it may give, another
 * does. */
static void no_plan_asks_for_its_undoing(void **state)
{
	uint64_t dice = 1;

	for (uint32_t round = 0; round < 2000; round++) {
		uint32_t count, plans = 0;

		begin(NULL);
		for (uint32_t c = 0; c < CORES; c++) {
			dice = dice * 6364136223846793005ull + 1442695040888963407ull;
			load(c, (uint32_t)(dice >> 33) % 101, 2);
			for (uint32_t i = (uint32_t)(dice >> 50) % 40; i > 0; i--)
				add(c, (dice >> (i % 32)) % 1000, UINT64_MAX, false);
		}
		do {
			count = sched_plan(&view, orders);
			for (uint32_t i = 0; i < count; i++) { /* nothing goes there and back within a plan */
				assert_int_not_equal(orders[i].from, orders[i].to);
				for (uint32_t k = i + 1; k < count; k++)
					assert_int_not_equal(orders[i].id, orders[k].id);
			}
		} while (count == SCHED_MOVES_MAX && ++plans < 10);
		assert_true(plans < 10);
		for (uint32_t c = 0; c < CORES; c++)
			assert_in_range(cores[c].load, 0, SCHED_LOAD_ALL + 100);
	}
}

static void those_that_work_most_are_kept(void **state)
{
	for (uint32_t i = 0; i < 2 * SCHED_ITEMS_MAX; i++)
		add(0, i + 1, UINT64_MAX, false);
	assert_int_equal(cores[0].count, SCHED_ITEMS_MAX);
	assert_int_equal(cores[0].all, 2 * SCHED_ITEMS_MAX);
	for (uint32_t i = 0; i < SCHED_ITEMS_MAX; i++)
		assert_true(cores[0].items[i].work > SCHED_ITEMS_MAX);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, begin)
	const struct CMUnitTest tests[] = {
		T(a_saturated_core_is_relieved_evenly), T(a_moment_of_saturation_moves_nothing),
		T(one_that_works_alone_stays), T(what_does_not_gain_is_left), T(fixed_and_forbidden_stay),
		T(isolated_cores_are_left_alone), T(idle_ones_are_packed_onto_the_first), T(packing_fills_half),
		T(nobody_is_packed_while_a_core_is_saturated), T(no_plan_asks_for_its_undoing),
		T(those_that_work_most_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
