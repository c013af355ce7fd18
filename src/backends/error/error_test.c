/* SPDX-License-Identifier: BSD-3-Clause */
/* error_test.c: what is injected happens, to the I/O it was meant for, as often as was said; what is kept ends, whoever
 * ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "backends/error/error.h"
#include "bdev/stack_rig_test.h"

static struct stack_rig rig;
static char buf[64 * 512], other[64 * 512];

static void create_here(void *arg)
{
	struct error_opts opts = { .base = "base" };

	must(error_create(rig.rig.reg, &opts, NULL) == 0);
}

static void begin(void)
{
	stack_rig_start(&rig);
	rig_on(core_control(rig.rig.core), create_here, NULL);
	stack_rig_use(&rig, "EE_base");
	memset(buf, 'x', sizeof(buf));
}

static void end(void)
{
	stack_rig_leave(&rig);
	stack_rig_stop(&rig);
}

struct call {
	struct error_rule_opts rule;
	bool resume, clear;
	int rc;
	sem_t done;
};

static void called(void *arg) { sem_post(&((struct call *)arg)->done); }
static void call_here(void *arg)
{
	struct call *c = arg;

	c->rc = c->resume ? error_resume(rig.rig.reg, "EE_base", called, c, NULL)
	      : c->clear ? error_clear(rig.rig.reg, "EE_base", called, c, NULL)
	      : error_inject(rig.rig.reg, "EE_base", &c->rule, called, c, NULL);
}

static int call(struct call *c)
{
	sem_init(&c->done, 0, 0);
	rig_on(core_control(rig.rig.core), call_here, c);
	if (c->rc == 0)
		while (sem_wait(&c->done) != 0)
			;
	return c->rc;
}

static int inject(struct error_rule_opts rule)
{
	struct call c = { .rule = rule };

	return call(&c);
}

static void resume(void)
{
	struct call c = { .resume = true };

	assert_int_equal(call(&c), 0);
}

static enum bdev_status run(enum bdev_op op, uint64_t lba, uint64_t count, void *b)
{
	return rig_do(&rig.rig, 0, rig.chs[0], op, lba, count, b, b ? count * 512 : 0);
}

static void errors_hit_what_they_are_meant_for(void **state)
{
	struct call clear = { .clear = true };

	begin();
	assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(READ), .status = BDEV_ST_MEDIA_ERROR, .num = 2,
	                                                  .lba = 100, .count = 10 }), 0);
	assert_int_equal(run(BDEV_READ, 90, 10, other), BDEV_ST_OK);
	assert_int_equal(run(BDEV_READ, 90, 11, other), BDEV_ST_MEDIA_ERROR);
	assert_int_equal(run(BDEV_WRITE, 100, 1, buf), BDEV_ST_OK);
	assert_int_equal(run(BDEV_READ, 109, 1, other), BDEV_ST_MEDIA_ERROR);
	assert_int_equal(run(BDEV_READ, 109, 1, other), BDEV_ST_OK); /* twice was said */
	/* the later one counts for the same blocks, and only for the operations it names */
	assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(READ) | BDEV_BIT(WRITE), .num = 100,
	                                                  .status = BDEV_ST_FAILED }), 0);
	assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(WRITE), .num = 100,
	                                                  .status = BDEV_ST_NO_SPACE }), 0);
	assert_int_equal(run(BDEV_READ, 0, 1, other), BDEV_ST_FAILED);
	assert_int_equal(run(BDEV_WRITE, 0, 1, buf), BDEV_ST_NO_SPACE);
	assert_int_equal(run(BDEV_UNMAP, 0, 1, NULL), BDEV_ST_OK);
	assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(WRITE), .num = 0 }), 0);
	assert_int_equal(run(BDEV_WRITE, 0, 1, buf), BDEV_ST_OK);
	assert_int_equal(run(BDEV_READ, 0, 1, other), BDEV_ST_FAILED);
	assert_int_equal(call(&clear), 0);
	assert_int_equal(run(BDEV_READ, 0, 1, other), BDEV_ST_OK);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(READ), .num = 1, .lba = i, .count = 1,
		                                                  .status = BDEV_ST_FAILED }), 0);
	assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(READ), .num = 1, .lba = 64, .count = 1,
	                                                  .status = BDEV_ST_FAILED }), -ENOSPC);
	end();
}

static void a_byte_is_wrong_and_only_where_it_was_to_be(void **state)
{
	struct rig_io io;
	struct iovec iovs[3] = { { buf, 100 }, { buf + 100, 401 }, { buf + 501, 11 } };

	begin();
	assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(READ) | BDEV_BIT(WRITE), .num = 100,
	                        .kind = ERROR_CORRUPT, .corrupt_offset = 500, .corrupt_value = 0x81 }), 0);
	rig_io_init(&io, rig.chs[0], BDEV_WRITE, 0, 1, buf, 512);
	io.io.iovs = iovs;
	io.io.iov_count = 3;
	assert_int_equal(rig_io_run(&rig.rig, 0, &io), BDEV_ST_OK);
	for (uint32_t i = 0; i < 512; i++) {
		assert_int_equal(buf[i], 'x');
		assert_int_equal((uint8_t)rig.base.media[i], i == 500 ? 'x' ^ 0x81 : 'x');
	}
	assert_int_equal(run(BDEV_READ, 0, 1, other), BDEV_ST_OK); /* wrong twice is right */
	assert_memory_equal(other, buf, 512);
	assert_int_equal((uint8_t)rig.base.media[500], 'x' ^ 0x81);
	assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(UNMAP), .num = 1, .kind = ERROR_CORRUPT,
	                                                  .corrupt_value = 1 }), -EINVAL);
	end();
}

static struct rig_io ios[2];

/* One read kept on each core. */
static void keep_two(void)
{
	begin();
	assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(READ), .num = UINT32_MAX,
	                                                  .kind = ERROR_PENDING }), 0);
	for (uint32_t i = 0; i < 2; i++) {
		rig_io_init(&ios[i], rig.chs[i], BDEV_READ, 0, 1, i ? buf : other, 512);
		rig_io_start(&rig.rig, i, &ios[i]);
	}
	rig_settle(&rig.rig);
	assert_false(rig_io_ended(&ios[0]) || rig_io_ended(&ios[1]));
}

static void what_is_kept_goes_on_when_resumed(void **state)
{
	keep_two();
	resume();
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(rig_io_wait(&ios[i]), BDEV_ST_OK);
	assert_int_equal(run(BDEV_READ, 0, 1, other), BDEV_ST_OK); /* and no more are kept */
	end();
}

static void what_is_kept_can_be_aborted(void **state)
{
	keep_two();
	for (uint32_t i = 0; i < 2; i++) {
		assert_true(stack_rig_abort(&rig, i, &ios[i]));
		assert_int_equal(rig_io_wait(&ios[i]), BDEV_ST_ABORTED);
	}
	end();
}

static void a_reset_ends_it_on_all_cores(void **state)
{
	struct rig_io reset[3];

	keep_two();
	for (uint32_t i = 0; i < 3; i++) {
		rig_io_init(&reset[i], rig.chs[i % 2], BDEV_RESET, 0, 0, NULL, 0);
		rig_io_start(&rig.rig, i % 2, &reset[i]);
	}
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(rig_io_wait(&reset[i]), BDEV_ST_OK);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(rig_io_wait(&ios[i]), BDEV_ST_ABORTED);
	end();
}

/* Both the device itself and its base: whoever has I/O there must not wait for ever. */
static void the_end_of_the_base_ends_it(void **state)
{
	keep_two();
	stack_rig_ask_to_go(&rig);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(rig_io_wait(&ios[i]), BDEV_ST_GONE);
	stack_rig_leave(&rig);
	stack_rig_is_gone(&rig);
	rig_stop(&rig.rig);
}

static void delete_here(void *arg) { must(error_delete(rig.rig.reg, "EE_base", stack_rig_gone, &rig, NULL) == 0); }

static void its_own_end_ends_it(void **state)
{
	keep_two();
	rig_on(core_control(rig.rig.core), delete_here, NULL);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(rig_io_wait(&ios[i]), BDEV_ST_GONE);
	stack_rig_leave(&rig);
	stack_rig_wait_gone(&rig);
	stack_rig_stop(&rig);
}

/* --- the waist's own parts over a device that keeps them ------------------------------------------------------ */

struct small {
	struct bdev_order order;
};

/* A device that takes one block at a time, so that the waist splits, and has nothing but read and write. */
static int small_build(struct bdev_order *o, struct err *e)
{
	struct bdev_stacked *s = base_zalloc(sizeof(*s));
	int rc;

	bdev_stacked_init(s, o, 0);
	s->bdev.product = "small";
	s->bdev.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH);
	s->bdev.max_io_blocks = 1;
	s->bdev.cache = BDEV_CACHE_VOLATILE;
	s->bdev.fua = false;
	s->bdev.lends = false;
	snprintf(s->bdev.name, sizeof(s->bdev.name), "small");
	rc = bdev_stacked_register(s, e);
	if (rc != 0)
		free(s);
	return rc;
}

static void small_free(struct bdev_order *o) { free(container_of(o, struct small, order)); }
static const struct bdev_order_ops small_ops = { .kind = "small", .claims = true, .build = small_build,
                                                 .free = small_free };

static void small_here(void *arg)
{
	struct small *s = base_zalloc(sizeof(*s));
	const char *base = "EE_base";

	must(bdev_order_start(rig.rig.reg, &s->order, &small_ops, "small", &base, 1, NULL) == 0);
}

/* Aborting the whole must reach the part that hangs. */
static void aborts_reach_parts(void **state)
{
	static const struct { enum bdev_op op; uint8_t flags; uint64_t count; size_t len; } cases[] = {
		{ BDEV_READ, 0, 9, 9 * 512 },               /* split */
		{ BDEV_WRITE, BDEV_IO_FUA, 1, 512 },        /* write and flush */
		{ BDEV_COMPARE, 0, 2, 1024 },
		{ BDEV_COPY, 0, 2, 0 },
		{ BDEV_WRITE_ZEROES, 0, 9, 0 },
		{ BDEV_COMPARE_AND_WRITE, 0, 1, 1024 },
	};

	stack_rig_start(&rig);
	rig_on(core_control(rig.rig.core), create_here, NULL);
	rig_on(core_control(rig.rig.core), small_here, NULL);
	stack_rig_use(&rig, "small");
	assert_int_equal(inject((struct error_rule_opts){ .ops = BDEV_BIT(READ) | BDEV_BIT(WRITE), .num = UINT32_MAX,
	                                                  .kind = ERROR_PENDING }), 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig_io io;

		rig_io_init(&io, rig.chs[0], cases[i].op, 0, cases[i].count, cases[i].len ? buf : NULL, cases[i].len);
		io.io.flags = cases[i].flags;
		io.io.copy.src_lba = 100;
		rig_io_start(&rig.rig, 0, &io);
		rig_settle(&rig.rig);
		assert_false(rig_io_ended(&io));
		assert_true(stack_rig_abort(&rig, 0, &io));
		assert_int_equal(rig_io_wait(&io), BDEV_ST_ABORTED);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_hit_what_they_are_meant_for),
		cmocka_unit_test(a_byte_is_wrong_and_only_where_it_was_to_be),
		cmocka_unit_test(what_is_kept_goes_on_when_resumed),
		cmocka_unit_test(what_is_kept_can_be_aborted),
		cmocka_unit_test(a_reset_ends_it_on_all_cores),
		cmocka_unit_test(the_end_of_the_base_ends_it),
		cmocka_unit_test(its_own_end_ends_it),
		cmocka_unit_test(aborts_reach_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
