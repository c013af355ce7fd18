/* SPDX-License-Identifier: BSD-3-Clause */
/* pages_test.c: pages under readers and writers on reactors and on plain threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "core/pages.h"

#define SLOTS 8u
#define WRITES 30000u
#define THREADS 2u          /* plain ones, beside two reactors */

static struct core *core;
static struct pages *pages;
static struct page_table table;
static uint32_t page_bytes;

/* Whichever two CPUs this process may use; NULL: it has one. */
static const char *two_cpus(void)
{
	static char list[32];
	struct text t = text_over(list, sizeof(list));
	uint32_t count = 0;
	cpu_set_t allowed;

	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			text_add(&t, count++ ? "%u]" : "[%u,", cpu);
	return count == 2 ? list : NULL;
}

static void make(uint32_t bytes, uint64_t max)
{
	struct core_opts opts = { .cpus = two_cpus(), .mode = CORE_INTERRUPT, .stall_ms = 60000 };
	struct err e = { 0 };

	core = core_make(&opts, &e);
	assert_non_null(core);
	page_bytes = bytes;
	pages = pages_make(core, bytes, max, &e);
	assert_non_null(pages);
	assert_int_equal(page_table_init(&table, SLOTS, 1u << 20, &e), 0);
}

static void unmake(void)
{
	page_table_fini(&table);
	pages_free(pages);
	core_free(core);
}

static uint64_t in_use(void)
{
	struct pages_stats s;

	pages_get_stats(pages, &s);
	return s.in_use;
}

/* --- stress: who writes what is a parameter, who runs it is everybody ------------------------------------- */

static void (*work)(uint32_t who);
static _Atomic uint32_t trouble, running;
static struct msg msgs[2], end_msg;

static void stop_on_control(struct msg *m) { core_stop(core, 0); }

static void worked(void)
{
	if (atomic_fetch_sub(&running, 1) == 1)
		msg_send(core_control(core), &end_msg, stop_on_control);
}

static void work_on_core(struct msg *m)
{
	work((uint32_t)(m - msgs));
	worked();
}

static void *work_on_thread(void *arg)
{
	work((uint32_t)(uintptr_t)arg);
	worked();
	return NULL;
}

static pthread_t threads[THREADS];
static void start(void *arg)
{
	for (uint32_t i = 0; i < 2; i++)
		msg_send(core_reactor(core, i), &msgs[i], work_on_core);
	for (uint32_t i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, work_on_thread, (void *)(uintptr_t)(2 + i)) == 0);
}

static void run(void (*fn)(uint32_t who))
{
	work = fn;
	atomic_store(&trouble, 0);
	atomic_store(&running, 2 + THREADS);
	core_run(core, start, NULL);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&trouble), 0);
}

static void empty_slots(void)
{
	for (uint32_t i = 0; i < SLOTS; i++)
		page_unpin(pages, page_exchange(pages, &table.slots[i], NULL));
}

static void check_uniform(const uint64_t *page)
{
	for (uint32_t i = 1; i < page_bytes / 8; i++)
		if (page[i] != page[0]) {
			atomic_fetch_add(&trouble, 1);
			return;
		}
}

static void write_and_read(uint32_t who)
{
	uint64_t random = who + 1;

	for (uint32_t n = 0; n < WRITES; n++) {
		uint64_t *page;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		if (random >> 60 < 6) {
			page = page_take(pages);
			must(page);
			for (uint32_t i = 0; i < page_bytes / 8; i++)
				page[i] = random;
			page_unpin(pages, page_exchange(pages, &table.slots[(random >> 40) % SLOTS], page));
		} else if (random >> 60 == 6) { /* a hole */
			page_unpin(pages, page_exchange(pages, &table.slots[(random >> 40) % SLOTS], NULL));
		} else if (random >> 60 == 7) { /* the same page in two slots */
			page = page_pin_slot(pages, &table.slots[(random >> 40) % SLOTS]);
			page_unpin(pages, page_exchange(pages, &table.slots[(random >> 50) % SLOTS], page));
		} else {
			page = page_pin_slot(pages, &table.slots[(random >> 40) % SLOTS]);
			if (page)
				check_uniform(page);
			page_unpin(pages, page);
		}
	}
}

/* A reader that saw two writers' bytes in one page would send a torn block. */
static void a_page_is_one_writers_as_a_whole(void **state)
{
	make(PAGE_BYTES, 4096);
	run(write_and_read);
	empty_slots();
	assert_int_equal(in_use(), 0);
	unmake();
	make(65536, 256);
	run(write_and_read);
	empty_slots();
	assert_int_equal(in_use(), 0);
	unmake();
}

static void add_one(uint32_t who)
{
	uint64_t *fresh, *old;

	for (uint32_t n = 0; n < WRITES / 4; n++) {
		bool done;

		fresh = page_take(pages);
		must(fresh);
		do {
			old = page_pin_slot(pages, &table.slots[0]);
			memcpy(fresh, old, page_bytes);
			fresh[who]++;
			done = page_replace(pages, &table.slots[0], old, fresh);
			page_unpin(pages, old);
		} while (!done);
		page_unpin(pages, old); /* the slot's */
	}
}

/* Two writers of different blocks of one page: neither may lose the other's. */
static void a_replaced_page_loses_nothing(void **state)
{
	uint64_t *page;

	make(PAGE_BYTES, 4096);
	page = page_take(pages);
	memset(page, 0, page_bytes);
	page_exchange(pages, &table.slots[0], page);
	run(add_one);
	page = page_pin_slot(pages, &table.slots[0]);
	for (uint32_t who = 0; who < 2 + THREADS; who++)
		assert_int_equal(page[who], WRITES / 4);
	page_unpin(pages, page);
	empty_slots();
	assert_int_equal(in_use(), 0);
	unmake();
}

/* --- one at a time ---------------------------------------------------------------------------------------- */

/* A reader that is still sending old bytes must keep them while the slot moves on. */
static void a_pin_keeps_the_old_page(void **state)
{
	char *old, *new, *pinned;

	make(PAGE_BYTES, 16);
	old = page_take(pages);
	memset(old, 1, page_bytes);
	assert_null(page_exchange(pages, &table.slots[0], old));
	pinned = page_pin_slot(pages, &table.slots[0]);
	assert_ptr_equal(pinned, old);
	new = page_take(pages);
	memset(new, 2, page_bytes);
	page_unpin(pages, page_exchange(pages, &table.slots[0], new));
	assert_int_equal(pinned[0], 1);
	assert_int_equal(in_use(), 2);
	page_unpin(pages, pinned);
	assert_int_equal(in_use(), 1);
	page_unpin(pages, NULL);
	page_unpin(pages, (void *)(uintptr_t)pages_zero(pages));
	page_unpin(pages, page_take(pages)); /* never published */
	assert_int_equal(in_use(), 1);
	empty_slots();
	unmake();
}

/* Unmapping a large disk must give its memory back, and what comes again must be usable. */
static void memory_goes_back_beyond_what_is_kept(void **state)
{
	enum { COUNT = 8192 };
	static void *taken[COUNT];
	struct pages_stats s;

	make(PAGE_BYTES, COUNT);
	for (uint32_t turn = 0; turn < 2; turn++) {
		for (uint32_t i = 0; i < COUNT; i++) {
			taken[i] = page_take(pages);
			assert_non_null(taken[i]);
			memset(taken[i], 0xaa, PAGE_BYTES);
		}
		assert_int_equal(in_use(), COUNT);
		for (uint32_t i = 0; i < COUNT; i++)
			page_unpin(pages, taken[i]);
		pages_get_stats(pages, &s);
		assert_int_equal(s.in_use, 0);
		assert_true(s.kept <= (8u << 20) / PAGE_BYTES + 1);
		assert_true(s.returned >= COUNT - s.kept);
	}
	unmake();
}

static void the_limit_is_an_answer(void **state)
{
	static void *taken[40 + 3 * 128 + 64];
	uint64_t count = 0;
	struct err e = { 0 };

	make(65536, 40);
	while (count < ARRAY_SIZE(taken) && (taken[count] = page_take(pages)))
		count++;
	assert_true(count >= 40 && count < 40 + 3 * 128 + 64);
	assert_int_equal(page_table_grow(&table, 1u << 20, &e), 0);
	assert_int_not_equal(page_table_grow(&table, (1u << 20) + 1, &e), 0);
	while (count)
		page_unpin(pages, taken[--count]);
	unmake();
}

/* --- ahead of use ---------------------------------------------------------------------------------------------- */

#define ARENA 512u          /* pages */

static void *taken[2 * ARENA];
static bool small_stays_small, comes_ahead, ends_there;

static bool is_resident(uint32_t page)
{
	unsigned char there = 0;

	must(!mincore((char *)taken[0] + (size_t)page * PAGE_BYTES, PAGE_BYTES, &there));
	return there & 1;
}

static void take_much(uint32_t who)
{
	uint32_t have = 0;

	if (who)
		return;
	for (; have < 400; have++)
		taken[have] = page_take(pages); /* one behind the other */
	usleep(20000);
	small_stays_small = !is_resident(ARENA);
	for (; have < ARENA + 10; have++)
		taken[have] = page_take(pages);
	for (uint32_t ms = 0; ms < 60000 && !comes_ahead; ms++) {
		usleep(1000);
		comes_ahead = is_resident(2 * ARENA) && is_resident(3 * ARENA - 1);
	}
	ends_there = !is_resident(3 * ARENA) && !is_resident(ARENA + 100);
	while (have)
		page_unpin(pages, taken[--have]);
}

/* A reactor that writes new memory shall find it there; but who uses little gets no more than that, and nobody more
 * than the disk can have. */
static void memory_is_ready_ahead_of_use(void **state)
{
	make(PAGE_BYTES, 8 * ARENA);
	pages_expect(pages, 2 * ARENA + 100);
	run(take_much);
	assert_true(small_stays_small);
	assert_true(comes_ahead);
	assert_true(ends_there);
	unmake();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pin_keeps_the_old_page),
		cmocka_unit_test(a_page_is_one_writers_as_a_whole),
		cmocka_unit_test(a_replaced_page_loses_nothing),
		cmocka_unit_test(memory_goes_back_beyond_what_is_kept),
		cmocka_unit_test(the_limit_is_an_answer),
		cmocka_unit_test(memory_is_ready_ahead_of_use),
	};

	if (!two_cpus())
		return 77; /* meson: skipped */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
