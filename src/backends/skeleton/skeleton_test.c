/* SPDX-License-Identifier: BSD-3-Clause */
/* skeleton_test.c: the device that is there to be copied does what its page says, at once and later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/skeleton/skeleton.h"
#include "bdev/rig_test.h"

#define BLOCK 512u

static struct rig rig;
static struct bdev_desc *desc;
static struct bdev_channel *ch;

struct create {
	struct skeleton_opts opts;
	int rc;
};

static void create_here(void *arg)
{
	struct create *c = arg;
	struct bdev *b;

	c->rc = skeleton_create(rig.reg, &c->opts, &b, NULL);
}

static void begin(uint32_t latency_us)
{
	struct create c = { .opts = { .name = "bones", .block_count = 1000, .block_size = BLOCK,
	                              .latency_us = latency_us } };

	rig_start(&rig, 1);
	rig_on(core_control(rig.core), create_here, &c);
	assert_int_equal(c.rc, 0);
	desc = rig_open(&rig, "bones", true);
	ch = rig_get(&rig, 0, desc);
}

static sem_t gone;
static void deleted(void *arg, int rc) { sem_post(&gone); }
static void delete_here(void *arg) { *(int *)arg = skeleton_delete(rig.reg, "bones", deleted, NULL, NULL); }

static void end(void)
{
	int rc = -1;

	sem_init(&gone, 0, 0);
	rig_put(&rig, 0, ch);
	rig_close(&rig, desc);
	rig_on(core_control(rig.core), delete_here, &rc);
	assert_int_equal(rc, 0);
	sem_wait(&gone);
	rig_stop(&rig);
}

static void check_reads(uint32_t latency_us)
{
	static uint64_t words[3 * BLOCK / 8];

	begin(latency_us);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_READ, 41, 3, words, sizeof(words)), BDEV_ST_OK);
	for (uint32_t i = 0; i < ARRAY_SIZE(words); i++)
		assert_int_equal(words[i], 41 + i / (BLOCK / 8));
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_COMPARE, 41, 3, words, sizeof(words)), BDEV_ST_OK);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_WRITE, 41, 3, words, sizeof(words)), BDEV_ST_WRITE_PROTECTED);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_FLUSH, 0, 0, NULL, 0), BDEV_ST_OK);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_READ, 999, 3, words, sizeof(words)), BDEV_ST_BAD_RANGE);
	end();
}

static void blocks_say_their_number(void **state) { check_reads(0); }
static void blocks_say_their_number_later(void **state) { check_reads(200); }

static void abort_here(void *arg)
{
	struct rig_io *io = arg;

	bdev_abort(io->ch, &io->io);
}

/* An I/O that was aborted and answered by its timer as well would be answered twice. */
static void an_aborted_read_ends_once(void **state)
{
	static char buf[BLOCK];
	struct rig_io io;

	begin(3600u * 1000 * 1000);
	rig_io_init(&io, ch, BDEV_READ, 0, 1, buf, sizeof(buf));
	rig_io_start(&rig, 0, &io);
	assert_false(rig_io_ended(&io));
	rig_on(rig_core(&rig, 0), abort_here, &io);
	assert_int_equal(rig_io_wait(&io), BDEV_ST_ABORTED);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_say_their_number),
		cmocka_unit_test(blocks_say_their_number_later),
		cmocka_unit_test(an_aborted_read_ends_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
