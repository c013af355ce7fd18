/* SPDX-License-Identifier: BSD-3-Clause */
/* uring_test.c: real files, on the disk and in memory, through each engine: io_uring, libaio and threads. What would
 * break is data that is not what was written, holes that fill up, and rings closed over I/O that is not done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/aio/aio.h"
#include "backends/file/file_rig_test.h"
#include "backends/uring/uring.h"

#define MEMORY_DIR "/dev/shm"

static struct file_rig fr;

static struct file_backend *threads_make(struct bdev_registry *reg)
{
	static const struct file_engine *const none[] = { NULL };

	return file_backend_make(reg, "Thread disk", none);
}

static file_rig_make *const makes[] = { uring_backend_make, aio_backend_make, threads_make };

static void fill(uint8_t *buf, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

/* On the disk and in memory, as far as there are both. */
static void with_each(void (*test)(file_rig_make *make, const char *where))
{
	for (uint32_t i = 0; i < ARRAY_SIZE(makes); i++) {
		test(makes[i], ".");
		if (access(MEMORY_DIR, W_OK) == 0)
			test(makes[i], MEMORY_DIR);
	}
}

/* --- data ------------------------------------------------------------------------------------------------- */

static void round_trip(file_rig_make *make, const char *where, uint32_t block_size)
{
	static _Alignas(4096) uint8_t out[MIB], in[MIB + 1];
	static const uint32_t bytes[] = { 4096, 65536, MIB };

	file_rig_disk(&fr, make, where, 8 * MIB, block_size);
	for (uint32_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		uint32_t blocks = bytes[i] / block_size;
		struct rig_io io;

		fill(out, bytes[i], i + block_size);
		rig_io_init(&io, fr.ch[0], BDEV_WRITE, 3 + i, blocks, out, bytes[i]);
		io.io.flags = i % 2 ? BDEV_IO_FUA : 0;
		assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_OK);
		assert_int_equal(file_rig_do(&fr, BDEV_FLUSH, 0, 0, NULL), BDEV_ST_OK);
		/* another core's ring, and memory that O_DIRECT does not take */
		rig_io_init(&io, fr.ch[fr.cores - 1], BDEV_READ, 3 + i, blocks, in + 1, bytes[i]);
		assert_int_equal(rig_io_run(&fr.rig, fr.cores - 1, &io), BDEV_ST_OK);
		assert_memory_equal(in + 1, out, bytes[i]);
		assert_int_equal(file_rig_do(&fr, BDEV_COMPARE, 3 + i, blocks, out), BDEV_ST_OK);
	}
	file_rig_end(&fr);
}

static void what_is_written_is_read(file_rig_make *make, const char *where)
{
	round_trip(make, where, 512);
	round_trip(make, where, 4096);
}

static void data_round_trips(void **state) { with_each(what_is_written_is_read); }

/* More at once than a ring has entries or a core has jobs. */
#define MANY 600u

static void many_at_once(file_rig_make *make, const char *where)
{
	static _Alignas(4096) uint8_t bufs[MANY][4096];
	static struct rig_io ios[MANY];

	file_rig_disk(&fr, make, where, MANY * 4096, 4096);
	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < MANY; i++) {
			uint32_t core = i % fr.cores;

			memset(bufs[i], pass ? 0xff : (uint8_t)(i * 7 + 1), 4096);
			rig_io_init(&ios[i], fr.ch[core], pass ? BDEV_READ : BDEV_WRITE, i, 1, bufs[i], 4096);
			rig_io_start(&fr.rig, core, &ios[i]);
		}
		for (uint32_t i = 0; i < MANY; i++)
			assert_int_equal(rig_io_wait(&ios[i]), BDEV_ST_OK);
	}
	for (uint32_t i = 0; i < MANY; i++)
		assert_true(bufs[i][0] == (uint8_t)(i * 7 + 1) && bufs[i][4095] == (uint8_t)(i * 7 + 1));
	file_rig_end(&fr);
}

static void many_ios_end_once_each(void **state) { with_each(many_at_once); }

/* --- holes ------------------------------------------------------------------------------------------------ */

static bool is_zero(const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i])
			return false;
	return true;
}

static void thin_stays_thin(file_rig_make *make, const char *where)
{
	static _Alignas(4096) uint8_t buf[MIB];
	struct bdev_range ranges[] = { { 0, 64 }, { 100, 0 }, { 128, 64 } };
	struct bdev_info info;
	struct rig_io io;

	file_rig_disk(&fr, make, where, 64 * MIB, 4096);
	bdev_info_of(fr.bdev, &info);
	assert_true(info.thin);
	memset(buf, 1, sizeof(buf));
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 0, 256, buf), BDEV_ST_OK);
	assert_int_equal(file_rig_do(&fr, BDEV_FLUSH, 0, 0, NULL), BDEV_ST_OK);
	assert_true(file_rig_taken(&fr) >= MIB);
	/* zeroes over everything, twice: nothing is allocated for them */
	for (uint32_t i = 0; i < 2; i++) {
		rig_io_init(&io, fr.ch[0], BDEV_WRITE_ZEROES, 192, 64 * 256 - 192, NULL, 0);
		io.io.flags = i ? BDEV_IO_DEALLOCATE : 0;
		assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_OK);
	}
	assert_true(file_rig_taken(&fr) < 2 * MIB);
	rig_io_init(&io, fr.ch[0], BDEV_UNMAP, 0, 0, NULL, 0);
	io.io.unmap.ranges = ranges;
	io.io.unmap.range_count = ARRAY_SIZE(ranges);
	assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 0, 256, buf), BDEV_ST_OK);
	assert_true(is_zero(buf, 64 * 4096) && is_zero(buf + 128 * 4096, 128 * 4096));
	assert_int_equal(buf[64 * 4096], 1);
	assert_int_equal(buf[128 * 4096 - 1], 1);
	assert_true(file_rig_taken(&fr) < MIB);
	file_rig_end(&fr);
}

static void holes_stay_holes(void **state) { with_each(thin_stays_thin); }

static void holes_are_told(file_rig_make *make, const char *where)
{
	static _Alignas(4096) uint8_t buf[65536];
	struct rig_io io;

	file_rig_disk(&fr, make, where, 4 * MIB, 4096);
	memset(buf, 1, sizeof(buf));
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 256, 16, buf), BDEV_ST_OK);
	rig_io_init(&io, fr.ch[0], BDEV_GET_LBA_STATUS, 0, 1024, NULL, 0);
	assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_OK);
	assert_false(io.io.lba_status.ret_mapped);
	assert_int_equal(io.io.lba_status.ret_blocks, 256);
	rig_io_init(&io, fr.ch[0], BDEV_GET_LBA_STATUS, 260, 700, NULL, 0);
	assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_OK);
	assert_true(io.io.lba_status.ret_mapped);
	assert_true(io.io.lba_status.ret_blocks >= 12 && io.io.lba_status.ret_blocks <= 700);
	file_rig_end(&fr);
}

static void runs_of_holes_and_data_are_told(void **state) { with_each(holes_are_told); }

/* A file that was allocated as a whole is so afterwards: a later write finds its space. */
static void thick_stays_thick(void **state)
{
	static _Alignas(4096) uint8_t buf[4096];
	struct file_opts opts = { .name = "f", .filename = fr.path, .block_size = 4096, .fallocate = true };
	struct rig_io io;
	int fd, rc;

	file_rig_begin(&fr, uring_backend_make, ".", 4 * MIB);
	fd = open(fr.path, O_RDWR | O_CLOEXEC);
	rc = fallocate(fd, 0, 0, 4 * MIB);
	close(fd);
	if (rc == 0) {
		assert_int_equal(file_rig_create(&fr, &opts, NULL, 0), 0);
		file_rig_open(&fr);
		rig_io_init(&io, fr.ch[0], BDEV_WRITE_ZEROES, 0, 1024, NULL, 0);
		assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_OK);
		assert_true(file_rig_taken(&fr) >= 4 * MIB);
		assert_int_equal(file_rig_do(&fr, BDEV_READ, 1000, 1, buf), BDEV_ST_OK);
		assert_true(is_zero(buf, sizeof(buf)));
	}
	file_rig_end(&fr);
}

/* --- what it says it is ----------------------------------------------------------------------------------- */

static void what_it_says_is_true(void **state)
{
	struct file_facts f;
	struct bdev_info info;

	file_rig_disk(&fr, uring_backend_make, ".", MIB, 512);
	bdev_info_of(fr.bdev, &info);
	file_facts_of(fr.bdev, &f);
	assert_int_equal(info.cache, f.in_memory ? BDEV_CACHE_LOST_ANYWAY : BDEV_CACHE_VOLATILE);
	assert_true(info.fua && info.ops & BDEV_BIT(UNMAP) && info.ops & BDEV_BIT(FLUSH));
	file_rig_end(&fr);
	if (access(MEMORY_DIR, W_OK))
		return;
	file_rig_disk(&fr, uring_backend_make, MEMORY_DIR, MIB, 512);
	bdev_info_of(fr.bdev, &info);
	assert_int_equal(info.cache, BDEV_CACHE_LOST_ANYWAY); /* no flush makes tmpfs last */
	assert_string_equal(fr.bdev->sleeps, "inline");
	file_rig_end(&fr);
}

static void only_reading(void **state)
{
	static _Alignas(4096) uint8_t buf[4096];
	struct file_opts opts = { .name = "f", .filename = fr.path, .read_only = true, .fallocate = true };

	for (uint32_t i = 0; i < ARRAY_SIZE(makes); i++) {
		file_rig_begin(&fr, makes[i], ".", MIB);
		assert_int_equal(chmod(fr.path, 0400), 0);
		assert_int_equal(file_rig_create(&fr, &opts, NULL, 0), 0);
		file_rig_open(&fr);
		assert_int_equal(rig_do(&fr.rig, 0, fr.ch[0], BDEV_READ, 0, 1, buf, fr.bdev->block_size), BDEV_ST_OK);
		assert_int_equal(rig_do(&fr.rig, 0, fr.ch[0], BDEV_WRITE, 0, 1, buf, fr.bdev->block_size),
		                 BDEV_ST_WRITE_PROTECTED);
		file_rig_end(&fr);
	}
}

/* --- ending early ----------------------------------------------------------------------------------------- */

struct aborted {
	struct rig_io io;
	bool found;
};

static void submit_and_abort(void *arg)
{
	struct aborted *a = arg;

	rig_submit_here(&a->io);
	a->found = bdev_abort(a->io.ch, &a->io.io);
}

/* Before the ring was handed over, and while helpers are busy: each ends once, one way or the other. */
static void aborts(file_rig_make *make, const char *where)
{
	static _Alignas(4096) uint8_t bufs[32][4096];
	static struct aborted a[32];

	file_rig_disk(&fr, make, where, MIB, 4096);
	for (uint32_t i = 0; i < ARRAY_SIZE(a); i++) {
		rig_io_init(&a[i].io, fr.ch[0], i % 3 ? BDEV_WRITE : BDEV_FLUSH, i % 3 ? i : 0, i % 3 ? 1 : 0,
		            i % 3 ? bufs[i] : NULL, i % 3 ? 4096 : 0);
		rig_on(rig_core(&fr.rig, 0), submit_and_abort, &a[i]);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(a); i++) {
		enum bdev_status st = rig_io_wait(&a[i].io);

		assert_true(st == BDEV_ST_OK || (a[i].found && st == BDEV_ST_ABORTED));
	}
	file_rig_end(&fr);
}

static void aborted_ios_end_once(void **state) { with_each(aborts); }

/* Rings come and go with channels. */
static void a_disk_is_opened_again_and_again(void **state)
{
	static _Alignas(4096) uint8_t buf[4096];

	for (uint32_t i = 0; i < ARRAY_SIZE(makes); i++) {
		file_rig_disk(&fr, makes[i], ".", MIB, 4096);
		for (uint32_t turn = 0; turn < 5; turn++) {
			assert_int_equal(file_rig_do(&fr, BDEV_WRITE, turn, 1, buf), BDEV_ST_OK);
			for (uint32_t c = 0; c < fr.cores; c++)
				rig_put(&fr.rig, c, fr.ch[c]);
			rig_close(&fr.rig, fr.desc);
			file_rig_open(&fr);
		}
		file_rig_end(&fr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_round_trips),
		cmocka_unit_test(many_ios_end_once_each),
		cmocka_unit_test(holes_stay_holes),
		cmocka_unit_test(runs_of_holes_and_data_are_told),
		cmocka_unit_test(thick_stays_thick),
		cmocka_unit_test(what_it_says_is_true),
		cmocka_unit_test(only_reading),
		cmocka_unit_test(aborted_ios_end_once),
		cmocka_unit_test(a_disk_is_opened_again_and_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
