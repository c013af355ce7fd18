/* SPDX-License-Identifier: BSD-3-Clause */
/* passthru_test.c: what is written through it lies on the base, and it is like its base. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "backends/passthru/passthru.h"
#include "bdev/stack_rig_test.h"

static struct stack_rig rig;
static char buf[4096], other[4096];

struct create {
	struct passthru_opts opts;
	int rc;
};

static void create_here(void *arg)
{
	struct create *c = arg;

	c->rc = passthru_create(rig.rig.reg, &c->opts, NULL);
}

static int create(const char *name, const char *base)
{
	struct create c = { .opts = { .name = name, .base = base } };

	rig_on(core_control(rig.rig.core), create_here, &c);
	return c.rc;
}

static void delete_here(void *arg)
{
	*(int *)arg = passthru_delete(rig.rig.reg, "p", stack_rig_gone, &rig, NULL);
}

static int delete(void)
{
	int rc = -1;

	rig_on(core_control(rig.rig.core), delete_here, &rc);
	if (rc == 0)
		stack_rig_wait_gone(&rig);
	return rc;
}

static void io_passes_through(void **state)
{
	struct bdev_info i, j;
	struct bdev_desc *base;

	stack_rig_start(&rig);
	assert_int_equal(create("p", "base"), 0);
	stack_rig_use(&rig, "p");
	bdev_get_info(rig.desc, &i);
	base = rig_open(&rig.rig, "base", false);
	bdev_get_info(base, &j);
	assert_int_equal(i.block_count, j.block_count);
	assert_int_equal(i.ops, j.ops);
	assert_true(i.lends);
	assert_null(rig_open(&rig.rig, "base", true)); /* claimed */
	memset(buf, 'x', sizeof(buf));
	assert_int_equal(rig_do(&rig.rig, 0, rig.chs[0], BDEV_WRITE, 1, 8, buf, sizeof(buf)), BDEV_ST_OK);
	assert_memory_equal(rig.base.media + 512, buf, sizeof(buf));
	assert_int_equal(rig_do(&rig.rig, 1, rig.chs[1], BDEV_READ, 1, 8, other, sizeof(other)), BDEV_ST_OK);
	assert_memory_equal(other, buf, sizeof(buf));
	assert_int_equal(rig_do(&rig.rig, 1, rig.chs[1], BDEV_COMPARE_AND_WRITE, 1, 4, buf, sizeof(buf)), BDEV_ST_OK);
	assert_int_equal(rig_do(&rig.rig, 1, rig.chs[1], BDEV_READ, FAKE_BLOCKS - 1, 8, other, sizeof(other)),
	                 BDEV_ST_BAD_RANGE);
	rig.base.fail_at = rig.base.seen + 1;
	assert_int_equal(rig_do(&rig.rig, 1, rig.chs[1], BDEV_READ, 1, 8, other, sizeof(other)), BDEV_ST_MEDIA_ERROR);
	rig_close(&rig.rig, base);
	stack_rig_leave(&rig);
	assert_int_equal(create("base", "base"), -EINVAL);
	assert_int_equal(create("p", "base"), -EEXIST);
	assert_int_equal(delete(), 0);
	assert_int_equal(delete(), -ENODEV);
	stack_rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(io_passes_through) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
