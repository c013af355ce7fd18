/* SPDX-License-Identifier: BSD-3-Clause */
/* null_test.c: zeroes come, lent and copied; what is written goes nowhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/null/null.h"
#include "bdev/iov.h"
#include "bdev/rig_test.h"
#include "core/mem.h"

static struct rig rig;
static struct bdev_desc *desc;
static struct bdev_channel *ch;
static sem_t gone;

struct call {
	int create, resize, delete;
};

static void create_here(void *arg)
{
	struct null_opts opts = { .name = "n", .block_count = 4096, .block_size = 4096 };
	struct bdev *b;

	((struct call *)arg)->create = null_create(rig.reg, &opts, &b, NULL);
}

static void resize_here(void *arg) { ((struct call *)arg)->resize = null_resize(rig.reg, "n", 8192, NULL); }
static void deleted(void *arg, int rc) { sem_post(&gone); }
static void delete_here(void *arg) { ((struct call *)arg)->delete = null_delete(rig.reg, "n", deleted, NULL, NULL); }

/* What lay in a reader's buffer belongs to somebody else: a device without media must not leave it there. */
static void reads_are_zeroes_and_writes_go_nowhere(void **state)
{
	static char buf[3 << 20], zero[3 << 20];
	struct call c = { -1, -1, -1 };
	struct iovec lent[3 * (1 << 20) / MEM_ZEROES_BYTES];
	struct bdev_info info;
	struct rig_io io;

	sem_init(&gone, 0, 0);
	rig_start(&rig, 1);
	rig_on(core_control(rig.core), create_here, &c);
	assert_int_equal(c.create, 0);
	desc = rig_open(&rig, "n", true);
	ch = rig_get(&rig, 0, desc);
	memset(buf, 1, sizeof(buf));
	rig_io_init(&io, ch, BDEV_WRITE, 0, 768, buf, sizeof(buf));
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_true(io.consumed_at_return);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_READ, 0, 768, buf, sizeof(buf)), BDEV_ST_OK);
	assert_memory_equal(buf, zero, sizeof(buf));
	rig_io_init(&io, ch, BDEV_READ, 0, 768, NULL, 0);
	io.io.flags = BDEV_IO_LEND;
	io.io.iovs = lent;
	io.io.iov_max = (uint16_t)bdev_lend_iovs_max(desc, 768);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(iov_bytes(lent, io.io.iov_count), sizeof(zero));
	for (uint32_t i = 0; i < io.io.iov_count; i++)
		assert_memory_equal(lent[i].iov_base, zero, lent[i].iov_len);
	bdev_get_info(desc, &info);
	assert_true(info.lends_zeroes);
	for (uint32_t i = 0; i < io.io.iov_count; i++) { /* as it says */
		assert_ptr_equal(lent[i].iov_base, mem_zeroes(rig.core)->base);
		assert_true(lent[i].iov_len <= MEM_ZEROES_BYTES);
	}
	bdev_io_release(&io.io);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_READ, 8191, 1, buf, 4096), BDEV_ST_BAD_RANGE);
	rig_on(core_control(rig.core), resize_here, &c);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_READ, 8191, 1, buf, 4096), BDEV_ST_OK);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_COMPARE_AND_WRITE, 1, 1, zero, 8192), BDEV_ST_OK);
	rig_put(&rig, 0, ch);
	rig_close(&rig, desc);
	rig_on(core_control(rig.core), delete_here, &c);
	sem_wait(&gone);
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(reads_are_zeroes_and_writes_go_nowhere) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
