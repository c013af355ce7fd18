/* SPDX-License-Identifier: BSD-3-Clause */
/* mem_test.c: all or none, first come first served, a line that always moves, and buffers that come home. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/rig_test.h"

static struct msg begin;
static void (*body)(void *arg);

static void body_on_core(struct msg *m) { body(NULL); }

/* Control has no more than the reserve. */
static void start_on_core(void *arg) { msg_send(core_reactor(rig.core, 0), &begin, body_on_core); }

static void small_budget(void (*start)(void *arg))
{
	struct core_opts opts = {
		.cpus = rig_cpus(2), .mode = CORE_INTERRUPT, .memory_bytes = 24 * MIB, .stall_ms = 60000,
	};

	body = start;
	rig_make(&opts);
	rig_end(start_on_core);
}

static uint64_t in_use(void)
{
	struct mem_stats s;

	mem_get_stats(rig.core, &s);
	return s.in_use_bytes;
}

/* --- shapes ------------------------------------------------------------------------------------------------- */

static void shapes_start(void *arg)
{
	struct mem_bufs b = { 0 };

	for (uint32_t len = 1; len <= MEM_IO_BYTES_MAX; len += len < 70000 ? 509 : 4093) {
		uint64_t sum = 0;

		check(mem_take(&b, len));
		check(mem_held(&b) && b.count <= MEM_IOV_MAX && b.len == len);
		for (uint32_t i = 0; i < b.count; i++) {
			memset(mem_iov(&b)[i].iov_base, 0xa5, mem_iov(&b)[i].iov_len);
			sum += mem_iov(&b)[i].iov_len;
		}
		check(sum == len);
		mem_give(&b);
		check(!mem_held(&b));
	}
	check(in_use() == 0);
	rig_stop();
}

static void iovecs_add_up_to_what_was_asked(void **state) { small_budget(shapes_start); }

static void warm_start(void *arg)
{
	struct mem_bufs x, y;
	void *was;

	check(mem_take(&x, 4096) && mem_take(&y, 4096));
	was = x.near[0].iov_base;
	check(was != y.near[0].iov_base);
	mem_give(&x);
	check(mem_take(&x, 100) && x.near[0].iov_base == was);
	mem_give(&x);
	mem_give(&y);
	rig_stop();
}

static void last_given_is_next_taken(void **state) { small_budget(warm_start); }

/* --- the line ------------------------------------------------------------------------------------------------ */

#define HELD_MAX 2000

static struct mem_bufs held[HELD_MAX], got[4];
static uint32_t held_count;
static struct wait waits[4];
static char order[8];
static struct timer timer;

static void served(struct wait *w)
{
	uint32_t i = (uint32_t)(w - waits);

	check(mem_take(&got[i], w->need));
	strncat(order, (char[]){ (char)('0' + i), 0 }, 2);
}

static void line_end(struct timer *t)
{
	check(strcmp(order, "012") == 0);
	for (uint32_t i = 0; i < 3; i++)
		mem_give(&got[i]);
	check(in_use() == 0);
	rig_stop();
}

/* Give back little by little: nobody overtakes the one who needs most. */
static void give_some(struct timer *t)
{
	if (!held_count) {
		timer_start(t, 0, line_end);
		return;
	}
	mem_give(&held[--held_count]);
	timer_start(t, 0, give_some);
}

static void line_start(void *arg)
{
	struct mem_bufs b;

	order[0] = 0;
	for (held_count = 0; mem_take(&held[held_count], MEM_LARGE_BYTES); held_count++)
		check(held_count < HELD_MAX - 1);
	mem_wait(&waits[0], MEM_IO_BYTES_MAX, served); /* the reserve is for it */
	mem_wait(&waits[1], MEM_IO_BYTES_MAX, served); /* and now it is out */
	mem_wait(&waits[2], 1, served);
	mem_wait(&waits[3], 1, served);
	check(!mem_take(&b, 1)); /* others wait */
	mem_wait_cancel(&waits[3]);
	timer_start(&timer, 0, give_some);
}

static void line_moves_in_order_of_arrival(void **state) { small_budget(line_start); }

static void reserve_served(struct wait *w)
{
	check(mem_take(&got[0], w->need));
	mem_give(&got[0]);
	while (held_count)
		mem_give(&held[--held_count]);
	rig_stop();
}

/* What is held never comes back, and yet one I/O of maximum size can start. */
static void reserve_start(void *arg)
{
	for (held_count = 0; mem_take(&held[held_count], 4096); held_count++)
		check(held_count < HELD_MAX - 1);
	while (mem_take(&held[held_count], MEM_LARGE_BYTES))
		held_count++;
	mem_wait(&waits[0], MEM_IO_BYTES_MAX, reserve_served);
}

static void one_largest_io_is_always_possible(void **state) { small_budget(reserve_start); }

/* --- from another reactor ------------------------------------------------------------------------------------- */

static struct msg msg, back;
static struct mem_bufs travels;

static void home_again(struct timer *t)
{
	if (in_use()) {
		timer_start(t, NS_PER_MS, home_again);
		return;
	}
	rig_stop();
}

static void back_on_control(struct msg *m) { timer_start(&timer, 0, home_again); }

static void give_elsewhere(struct msg *m)
{
	mem_give(&travels);
	check(!mem_held(&travels));
	memset(&travels, 0xff, sizeof(travels)); /* ours at once */
	msg_send(core_control(rig.core), &back, back_on_control);
}

static void take_first(struct msg *m)
{
	check(mem_take(&travels, 200000));
	msg_send(core_reactor(rig.core, 0), m, give_elsewhere);
}

static void travel_start(void *arg) { msg_send(rig_last(), &msg, take_first); }

static void buffers_given_elsewhere_come_home(void **state) { small_budget(travel_start); }

/* --- budget ---------------------------------------------------------------------------------------------------- */

static uint32_t starved_count;

static void budget_start(void *arg)
{
	struct mem_stats s;
	struct mem_bufs b = { 0 };

	mem_get_stats(rig.core, &s);
	check(s.budget_bytes == 24 * MIB);
	check(s.buffers_bytes + s.charge_bytes_max + MEM_ZEROES_BYTES == s.budget_bytes);
	check(mem_charge(rig.core, s.charge_bytes_max));
	check(!mem_charge(rig.core, 1));
	check(!mem_charge(rig.core, UINT64_MAX));
	mem_uncharge(rig.core, s.charge_bytes_max);
	mem_starve(rig.core, 3);
	for (int i = 0; i < 30; i++) {
		if (mem_take(&b, 1))
			mem_give(&b);
		else
			starved_count++;
	}
	rig_stop();
}

static void budget_is_kept_and_tests_can_starve(void **state)
{
	starved_count = 0;
	small_budget(budget_start);
	assert_int_equal(starved_count, 10);
}

static void too_small_a_budget_is_said(void **state)
{
	struct core_opts opts = { .memory_bytes = MIB };
	struct err e = { 0 };

	assert_null(core_make(&opts, &e));
	assert_int_equal(e.code, ERR_BAD_PARAM);
	assert_non_null(strstr(e.text, "memory: 1 MiB is too little for 1 reactors; give at least"));
}

/* --- hooks ------------------------------------------------------------------------------------------------------ */

static int regions;
static void region_added(struct mem_hook *h, const struct mem_region *r) { regions += r->base != NULL && r->len > 0; }
static void region_removed(struct mem_hook *h, const struct mem_region *r) { regions--; }

static void hooks_start(void *arg)
{
	static struct mem_hook h = { .added = region_added, .removed = region_removed };
	static char page[4096];
	struct mem_region r = { .base = page, .len = sizeof(page) };
	int ours = (int)core_reactor_count(rig.core) + 1 + 1; /* pools, and the zeroes */

	mem_hook_add(rig.core, &h);
	check(regions == ours);
	mem_region_add(rig.core, &r);
	check(regions == ours + 1 && r.id > 0);
	mem_region_remove(rig.core, &r);
	check(regions == ours);
	mem_hook_remove(rig.core, &h);
	check(regions == 0);
	rig_stop();
}

static void hooks_hear_of_every_region(void **state) { small_budget(hooks_start); }

/* Everybody's reads come from there: a byte written there would be in all of them. */
static void zeroes_start(void *arg)
{
	const struct mem_region *z = mem_zeroes(rig.core);
	const char *at = z->base;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	check(z->len == MEM_ZEROES_BYTES && z->of_buffers && z->id);
	check(!at[0] && !memcmp(at, at + 1, z->len - 1));
	check(read(fd, z->base, 1) == -1 && errno == EFAULT); /* it cannot be written to */
	close(fd);
	rig_stop();
}

static void zeroes_stay_zeroes(void **state) { small_budget(zeroes_start); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(iovecs_add_up_to_what_was_asked),
		cmocka_unit_test(last_given_is_next_taken),
		cmocka_unit_test(line_moves_in_order_of_arrival),
		cmocka_unit_test(one_largest_io_is_always_possible),
		cmocka_unit_test(buffers_given_elsewhere_come_home),
		cmocka_unit_test(budget_is_kept_and_tests_can_starve),
		cmocka_unit_test(too_small_a_budget_is_said),
		cmocka_unit_test(hooks_hear_of_every_region),
		cmocka_unit_test(zeroes_stay_zeroes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
