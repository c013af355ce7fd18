/* SPDX-License-Identifier: BSD-3-Clause */
/* split_test.c: parts do not overlap, have SPDK's names and sizes, and follow their base's size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "backends/split/split.h"
#include "bdev/stack_rig_test.h"

static struct stack_rig rig;
static char buf[512], other[512];

struct create {
	struct split_opts opts;
	int rc;
};

static void create_here(void *arg)
{
	struct create *c = arg;

	c->rc = split_create(rig.rig.reg, &c->opts, NULL);
}

static int create(uint32_t count, uint64_t size_mb)
{
	struct create c = { .opts = { .base = "base", .count = count, .size_mb = size_mb } };

	rig_on(core_control(rig.rig.core), create_here, &c);
	return c.rc;
}

static void delete_here(void *arg)
{
	*(int *)arg = split_delete(rig.rig.reg, "base", stack_rig_gone, &rig, NULL);
}

static void delete(void)
{
	int rc = -1;

	rig_on(core_control(rig.rig.core), delete_here, &rc);
	assert_int_equal(rc, 0);
	stack_rig_wait_gone(&rig);
}

static void shrink_here(void *arg) { must(bdev_resize(&rig.base.bdev, *(uint64_t *)arg, NULL) == 0); }
static void resize(uint64_t blocks) { rig_on(core_control(rig.rig.core), shrink_here, &blocks); }

static uint64_t blocks_of(const char *name)
{
	struct bdev_desc *desc = rig_open(&rig.rig, name, false);
	uint64_t blocks = bdev_block_count(desc);

	rig_close(&rig.rig, desc);
	return blocks;
}

static void parts_lie_one_behind_the_other(void **state)
{
	static const char *const names[] = { "basep0", "basep1", "basep2" };

	stack_rig_start(&rig);
	assert_int_equal(create(3, 0), 0);
	assert_false(stack_rig_there(&rig, "basep3"));
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(blocks_of(names[i]), FAKE_BLOCKS / 3);
		stack_rig_use(&rig, names[i]);
		memset(buf, 'a' + (int)i, sizeof(buf));
		assert_int_equal(rig_do(&rig.rig, 0, rig.chs[0], BDEV_WRITE, FAKE_BLOCKS / 3 - 1, 1, buf, 512), BDEV_ST_OK);
		assert_memory_equal(rig.base.media + ((i + 1) * (FAKE_BLOCKS / 3) - 1) * 512, buf, 512);
		assert_int_equal(rig_do(&rig.rig, 1, rig.chs[1], BDEV_READ, FAKE_BLOCKS / 3, 1, other, 512), BDEV_ST_BAD_RANGE);
		stack_rig_leave(&rig);
	}
	delete();
	for (uint32_t i = 0; i < 3; i++)
		assert_false(stack_rig_there(&rig, names[i]));
	assert_int_equal(create(9, 1), 0); /* the base has 2 MiB */
	assert_int_equal(blocks_of("basep1"), 2048);
	assert_false(stack_rig_there(&rig, "basep2"));
	resize(3000);
	assert_int_equal(blocks_of("basep0"), 2048);
	assert_int_equal(blocks_of("basep1"), 952);
	resize(1000);
	assert_int_equal(blocks_of("basep0"), 1000);
	assert_int_equal(blocks_of("basep1"), 1);
	stack_rig_use(&rig, "basep1");
	assert_int_equal(rig_do(&rig.rig, 1, rig.chs[1], BDEV_READ, 0, 1, other, 512), BDEV_ST_BAD_RANGE);
	stack_rig_leave(&rig);
	resize(FAKE_BLOCKS);
	assert_int_equal(blocks_of("basep1"), 2048);
	delete();
	assert_int_equal(create(1, 3), -EINVAL);
	assert_int_equal(create(0, 1), -EINVAL);
	assert_int_equal(create(5000, 0), -EINVAL);
	stack_rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(parts_lie_one_behind_the_other) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
