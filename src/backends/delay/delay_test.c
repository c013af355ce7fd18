/* SPDX-License-Identifier: BSD-3-Clause */
/* delay_test.c: answers come not before their time, and nobody waits for one longer than the device lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "backends/delay/delay.h"
#include "bdev/stack_rig_test.h"

#define HOUR_US 3600000000ull

static struct stack_rig rig;
static char buf[512], other[512];

static void create_here(void *arg)
{
	struct delay_opts opts = { .name = "d", .base = "base" };

	memcpy(opts.latency_us, arg, sizeof(opts.latency_us));
	must(delay_create(rig.rig.reg, &opts, NULL) == 0);
}

static void create(uint64_t read_us, uint64_t write_us)
{
	uint64_t us[DELAY_LATENCIES] = { read_us, read_us, write_us, write_us };

	stack_rig_start(&rig);
	rig_on(core_control(rig.rig.core), create_here, us);
	stack_rig_use(&rig, "d");
}

static void update_here(void *arg)
{
	for (uint32_t i = 0; i < DELAY_LATENCIES; i++)
		must(delay_update(rig.rig.reg, "d", (enum delay_latency)i, 0, NULL) == 0);
	must(delay_update(rig.rig.reg, "base", DELAY_AVG_READ, 0, NULL) == -EINVAL);
	must(delay_update(rig.rig.reg, "x", DELAY_AVG_READ, 0, NULL) == -ENODEV);
}

static void delete_here(void *arg) { must(delay_delete(rig.rig.reg, "d", stack_rig_gone, &rig, NULL) == 0); }

static uint64_t took_us(enum bdev_op op)
{
	uint64_t began_ns = core_clock_ns();

	assert_int_equal(rig_do(&rig.rig, 0, rig.chs[0], op, 0, 1, buf, sizeof(buf)), BDEV_ST_OK);
	return (core_clock_ns() - began_ns) / NS_PER_US;
}

static void reads_and_writes_take_their_time(void **state)
{
	create(20000, 3000);
	assert_true(took_us(BDEV_READ) >= 20000);
	assert_true(took_us(BDEV_WRITE) >= 3000);
	rig_on(core_control(rig.rig.core), update_here, NULL);
	assert_int_equal(rig_do(&rig.rig, 1, rig.chs[1], BDEV_READ, 0, 1, other, sizeof(other)), BDEV_ST_OK);
	stack_rig_leave(&rig);
	stack_rig_stop(&rig);
}

/* Lent memory that nobody gets would never go back: what the base did counts, the wait does not. */
static void an_abort_ends_the_wait(void **state)
{
	struct iovec lent[2];
	struct rig_io io;

	create(HOUR_US, HOUR_US);
	rig_io_init(&io, rig.chs[0], BDEV_READ, 0, 1, NULL, 0);
	io.io.flags = BDEV_IO_LEND;
	io.io.iovs = lent;
	io.io.iov_max = 2;
	rig_io_start(&rig.rig, 0, &io);
	rig_settle(&rig.rig);
	assert_false(rig_io_ended(&io));
	assert_true(stack_rig_abort(&rig, 0, &io));
	assert_int_equal(rig_io_wait(&io), BDEV_ST_OK);
	assert_true(io.io.lent);
	bdev_io_release(&io.io);
	stack_rig_leave(&rig);
	stack_rig_stop(&rig);
}

static void a_device_that_goes_keeps_nobody_waiting(void **state)
{
	struct rig_io ios[2];

	create(HOUR_US, HOUR_US);
	for (uint32_t i = 0; i < 2; i++) {
		rig_io_init(&ios[i], rig.chs[i], i ? BDEV_WRITE : BDEV_READ, 0, 1, i ? buf : other, sizeof(buf));
		rig_io_start(&rig.rig, i, &ios[i]);
	}
	rig_settle(&rig.rig);
	rig_on(core_control(rig.rig.core), delete_here, NULL);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(rig_io_wait(&ios[i]), BDEV_ST_OK);
	stack_rig_leave(&rig);
	stack_rig_wait_gone(&rig);
	stack_rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_take_their_time),
		cmocka_unit_test(an_abort_ends_the_wait),
		cmocka_unit_test(a_device_that_goes_keeps_nobody_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
