/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut_cache_test.c: the cache alone: what it owes, what may be written when, what a power cut leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/powercut/powercut_cache.h"

#define ALL UINT64_MAX

static struct powercut_cache cache;

static void put(uint64_t lba, uint64_t seq)
{
	*(uint64_t *)powercut_cache_put(&cache, lba, seq) = seq;
}

static uint64_t get(uint64_t lba)
{
	uint32_t slot = powercut_cache_find(&cache, lba);

	return slot == CACHE_NONE ? 0 : *(uint64_t *)powercut_cache_data(&cache, slot);
}

static uint32_t begin_write(uint64_t lba)
{
	uint32_t slot = powercut_cache_find(&cache, lba);

	powercut_cache_write_begin(&cache, slot);
	return slot;
}

/* A block that is written again and again must still become durable: a flush waits for it once, not for ever, and
 * not too short. */
static void a_flush_is_owed_until_the_media_has_it(void **state)
{
	uint32_t slot;

	powercut_cache_init(&cache, 8, 512);
	put(5, 1);
	put(5, 2);
	assert_true(powercut_cache_owes(&cache, 0, ALL, 1));
	assert_false(powercut_cache_owes(&cache, 6, ALL, 2));
	assert_int_equal(powercut_cache_slots_needed(&cache, 4, 3), 2);
	slot = begin_write(5);
	assert_true(powercut_cache_owes(&cache, 0, ALL, 1));
	assert_int_equal(powercut_cache_slots_needed(&cache, 5, 1), 1);
	put(5, 3);
	assert_int_equal(get(5), 3);
	assert_int_equal(*(uint64_t *)powercut_cache_data(&cache, slot), 2); /* what is under way does not change */
	assert_false(powercut_cache_writable(&cache, powercut_cache_find(&cache, 5)));
	powercut_cache_write_end(&cache, slot, false);
	assert_false(powercut_cache_owes(&cache, 0, ALL, 2));
	assert_true(powercut_cache_owes(&cache, 0, ALL, 3));
	assert_true(powercut_cache_writable(&cache, powercut_cache_find(&cache, 5)));
	powercut_cache_write_end(&cache, begin_write(5), false);
	assert_false(powercut_cache_owes(&cache, 0, ALL, 3));
	assert_int_equal(cache.free_count, 8);
	powercut_cache_fini(&cache);
}

/* A write the media refused is still owed, also by what replaced it meanwhile. */
static void what_failed_is_still_owed(void **state)
{
	uint32_t slot;

	powercut_cache_init(&cache, 8, 512);
	put(1, 1);
	put(2, 2);
	powercut_cache_write_failed(&cache, begin_write(1));
	assert_true(powercut_cache_owes(&cache, 0, ALL, 1));
	slot = begin_write(1);
	put(1, 3);
	powercut_cache_write_failed(&cache, slot);
	assert_true(powercut_cache_owes(&cache, 1, 1, 1));
	assert_int_equal(get(1), 3);
	assert_int_equal(cache.dirty_first, powercut_cache_find(&cache, 1));
	powercut_cache_write_end(&cache, begin_write(1), false);
	assert_false(powercut_cache_owes(&cache, 1, 1, 3));
	powercut_cache_fini(&cache);
}

/* A reader that asked the media before must find the block here when the media has answered. */
static void kept_blocks_stay_until_released(void **state)
{
	uint32_t slot;

	powercut_cache_init(&cache, 8, 512);
	put(1, 1);
	slot = begin_write(1);
	powercut_cache_write_end(&cache, slot, true);
	assert_int_equal(get(1), 1);
	assert_false(powercut_cache_owes(&cache, 0, ALL, 9));
	put(1, 2);
	assert_int_equal(powercut_cache_find(&cache, 1), slot);
	assert_true(powercut_cache_owes(&cache, 0, ALL, 2));
	powercut_cache_write_end(&cache, begin_write(1), true);
	powercut_cache_release(&cache, slot);
	assert_int_equal(get(1), 0);
	assert_int_equal(cache.free_count, 8);
	powercut_cache_fini(&cache);
}

#define BLOCKS 64u
#define WRITES 12u

/* Writes of several blocks each, some over each other; then the cut. Says which block has which write's. */
static void fill_and_cut(enum powercut_mode mode, uint64_t seed, uint64_t before[BLOCKS], uint64_t after[BLOCKS])
{
	powercut_cache_init(&cache, BLOCKS, 512);
	for (uint64_t w = 1; w <= WRITES; w++)
		for (uint64_t i = 0; i < 8; i++)
			put(w * 5 % 56 + i, w);
	for (uint64_t i = 0; i < BLOCKS; i++)
		before[i] = get(i);
	powercut_cache_cut(&cache, mode, seed);
	for (uint64_t i = 0; i < BLOCKS; i++)
		after[i] = get(i);
	powercut_cache_fini(&cache);
}

static void check_no_third_thing(const uint64_t before[BLOCKS], const uint64_t after[BLOCKS])
{
	for (uint32_t i = 0; i < BLOCKS; i++)
		assert_true(after[i] == 0 || after[i] == before[i]);
}

static void nothing_survives_a_drop(void **state)
{
	uint64_t before[BLOCKS], after[BLOCKS];

	fill_and_cut(POWERCUT_DROP, 1, before, after);
	for (uint32_t i = 0; i < BLOCKS; i++)
		assert_int_equal(after[i], 0);
}

/* Exactly the writes before some moment, and of one write a part. */
static void a_tear_splits_one_write(void **state)
{
	uint64_t before[BLOCKS], after[BLOCKS];
	uint32_t torn_runs = 0;

	for (uint64_t seed = 1; seed <= 200; seed++) {
		uint32_t kept[WRITES + 1] = { 0 }, lost[WRITES + 1] = { 0 };
		uint64_t torn = 0;

		fill_and_cut(POWERCUT_TEAR, seed, before, after);
		check_no_third_thing(before, after);
		for (uint32_t i = 0; i < BLOCKS; i++)
			(after[i] ? kept : lost)[before[i]]++;
		for (uint64_t w = 1; w <= WRITES; w++) {
			if (!kept[w] || !lost[w])
				continue;
			assert_int_equal(torn, 0);
			torn = w;
		}
		for (uint64_t w = 1; torn && w <= WRITES; w++)
			assert_true(w == torn || (w < torn ? !lost[w] : !kept[w]));
		torn_runs += torn != 0;
	}
	assert_true(torn_runs > 100);
}

/* Whole writes, and not always the first ones: what relies on order without a flush has to be found out. */
static void a_reorder_keeps_any_whole_writes(void **state)
{
	uint64_t before[BLOCKS], after[BLOCKS];
	uint32_t out_of_order = 0;

	for (uint64_t seed = 1; seed <= 200; seed++) {
		uint32_t kept[WRITES + 1] = { 0 }, lost[WRITES + 1] = { 0 };
		bool gap = false;

		fill_and_cut(POWERCUT_REORDER, seed, before, after);
		check_no_third_thing(before, after);
		for (uint32_t i = 0; i < BLOCKS; i++)
			(after[i] ? kept : lost)[before[i]]++;
		for (uint64_t w = 1; w <= WRITES; w++) {
			assert_false(kept[w] && lost[w]);
			out_of_order += gap && kept[w];
			gap |= lost[w] != 0;
		}
	}
	assert_true(out_of_order > 200);
}

static void the_same_seed_cuts_the_same(void **state)
{
	uint64_t before[BLOCKS], a[BLOCKS], b[BLOCKS];
	uint32_t differ = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		for (enum powercut_mode mode = POWERCUT_TEAR; mode <= POWERCUT_REORDER; mode++) {
			fill_and_cut(mode, seed, before, a);
			fill_and_cut(mode, seed, before, b);
			assert_memory_equal(a, b, sizeof(a));
			fill_and_cut(mode, seed + 100, before, b);
			differ += memcmp(a, b, sizeof(a)) != 0;
		}
	}
	assert_true(differ > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flush_is_owed_until_the_media_has_it),
		cmocka_unit_test(what_failed_is_still_owed),
		cmocka_unit_test(kept_blocks_stay_until_released),
		cmocka_unit_test(nothing_survives_a_drop),
		cmocka_unit_test(a_tear_splits_one_write),
		cmocka_unit_test(a_reorder_keeps_any_whole_writes),
		cmocka_unit_test(the_same_seed_cuts_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
