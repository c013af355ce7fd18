/* SPDX-License-Identifier: BSD-3-Clause */
/* raid_test.c: several devices answer as one: every block where it belongs, whatever borders an I/O crosses; all
 * members or none; the first error is the answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "backends/raid/raid.h"
#include "bdev/fake_disk_test.h"
#include "bdev/rig_test.h"

#define BS 512u
#define MEMBERS 3u
#define BLOCKS_MAX 1024u

static struct rig rig;
static struct fake_disk fakes[MEMBERS];
static const uint32_t sizes[MEMBERS] = { 100, 37, 250 };
static struct bdev_desc *desc;
static struct bdev_channel *ch;
static sem_t gone;
static char buf[BLOCKS_MAX * BS], model[BLOCKS_MAX * BS];
static uint64_t blocks;

struct call {
	struct raid_opts opts;
	struct err e;
	int rc;
};

static void create_here(void *arg)
{
	struct call *c = arg;

	c->rc = raid_create(rig.reg, &c->opts, &c->e);
}

static void went(void *arg, int rc) { sem_post(&gone); }
static void delete_here(void *arg) { must(raid_delete(rig.reg, "r", went, NULL, NULL) == 0); }
static void register_here(void *arg) { must(bdev_register(rig.reg, arg, NULL) == 0); }
static void unregister_here(void *arg) { bdev_unregister(arg, went, NULL); }

static void wait_gone(void)
{
	while (sem_wait(&gone) != 0)
		;
}

static void come(uint32_t i)
{
	char name[8];

	snprintf(name, sizeof(name), "m%u", i);
	fake_init(&fakes[i], name);
	fakes[i].bdev.block_count = sizes[i];
	fakes[i].bdev.native_ops |= BDEV_BIT(UNMAP) | BDEV_BIT(FLUSH) | BDEV_BIT(RESET);
	rig_on(core_control(rig.core), register_here, &fakes[i].bdev);
}

static void go(uint32_t i)
{
	rig_on(core_control(rig.core), unregister_here, &fakes[i].bdev);
	wait_gone();
	fake_fini(&fakes[i]);
}

static int create(enum raid_level level, uint32_t strip_kib)
{
	static const char *const names[] = { "m0", "m1", "m2" };
	struct call c = { .opts = { .name = "r", .level = level, .strip_kib = strip_kib, .members = names,
	                            .member_count = MEMBERS } };

	rig_on(core_control(rig.core), create_here, &c);
	return c.rc;
}

static void open_raid(void)
{
	desc = rig_open(&rig, "r", true);
	assert_non_null(desc);
	ch = rig_get(&rig, 0, desc);
	blocks = bdev_block_count(desc);
}

static void close_raid(void)
{
	rig_put(&rig, 0, ch);
	rig_close(&rig, desc);
}

static void begin(enum raid_level level, uint32_t strip_kib)
{
	sem_init(&gone, 0, 0);
	rig_start(&rig, 1);
	for (uint32_t i = 0; i < MEMBERS; i++)
		come(i);
	assert_int_equal(create(level, strip_kib), 0);
	open_raid();
}

static void end(void)
{
	close_raid();
	rig_on(core_control(rig.core), delete_here, NULL);
	wait_gone();
	for (uint32_t i = 0; i < MEMBERS; i++)
		go(i);
	rig_stop(&rig);
}

static uint64_t roll(uint64_t *state, uint64_t below)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (*state >> 33) % below;
}

/* Random I/O of all kinds and lengths against an array. */
static void check_against_model(uint64_t seed)
{
	uint64_t dice = seed;

	memset(model, 0, sizeof(model));
	for (uint32_t n = 0; n < 400; n++) {
		uint64_t count = 1 + roll(&dice, roll(&dice, 3) ? 30 : blocks - 1), lba = roll(&dice, blocks - count + 1);
		char *at = model + lba * BS;
		size_t len = count * BS;

		switch (roll(&dice, 4)) {
		case 0:
			for (uint64_t i = 0; i < count; i++)
				memset(buf + i * BS, (int)(n + i * 7 + 1), BS);
			memcpy(at, buf, len);
			assert_int_equal(rig_do(&rig, 0, ch, BDEV_WRITE, lba, count, buf, len), BDEV_ST_OK);
			break;
		case 1:
			memset(at, 0, len);
			assert_int_equal(rig_do(&rig, 0, ch, n % 2 ? BDEV_UNMAP : BDEV_WRITE_ZEROES, lba, count, NULL, 0),
			                 BDEV_ST_OK);
			break;
		default:
			memset(buf, 0xee, len);
			assert_int_equal(rig_do(&rig, 0, ch, BDEV_READ, lba, count, buf, len), BDEV_ST_OK);
			assert_memory_equal(buf, at, len);
		}
	}
}

static void concat_puts_one_after_the_other(void **state)
{
	begin(RAID_CONCAT, 0);
	assert_int_equal(blocks, 387);
	check_against_model(1);
	assert_memory_equal(fakes[0].media, model, 100 * BS);
	assert_memory_equal(fakes[1].media, model + 100 * BS, 37 * BS);
	assert_memory_equal(fakes[2].media, model + 137 * BS, 250 * BS);
	end();
}

/* Members are cut to whole strips, or a disk made by SPDK would be read at the wrong places. */
static void concat_cuts_members_to_whole_strips(void **state)
{
	begin(RAID_CONCAT, 8);
	assert_int_equal(blocks, 96 + 32 + 240);
	check_against_model(2);
	assert_memory_equal(fakes[1].media, model + 96 * BS, 32 * BS);
	end();
}

static void raid0_deals_out_strips(void **state)
{
	begin(RAID_0, 4);
	assert_int_equal(blocks, 32 * 3);
	check_against_model(3);
	for (uint32_t strip = 0; strip < blocks / 8; strip++)
		assert_memory_equal(fakes[strip % 3].media + strip / 3 * 8 * BS, model + strip * 8 * BS, 8 * BS);
	end();
}

/* A payload in many pieces needs more iovecs than a part has. */
static void data_may_lie_in_many_pieces(void **state)
{
	static struct iovec iovs[240];
	struct rig_io io;

	begin(RAID_CONCAT, 0);
	for (uint32_t i = 0; i < 60 * BS; i++)
		buf[i] = (char)(i * 31 + i / 256);
	for (uint32_t i = 0; i < 240; i++)
		iovs[i] = (struct iovec){ buf + i * 128, 128 };
	rig_io_init(&io, ch, BDEV_WRITE, 90, 60, buf, 60 * BS);
	io.io.iovs = iovs;
	io.io.iov_count = 240;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_memory_equal(fakes[0].media + 90 * BS, buf, 10 * BS);
	assert_memory_equal(fakes[1].media, buf + 10 * BS, 37 * BS);
	assert_memory_equal(fakes[2].media, buf + 47 * BS, 13 * BS);
	end();
}

static uint32_t logged(uint32_t member, enum bdev_op op)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < fakes[member].logged; i++)
		n += fakes[member].log[i].op == op;
	return n;
}

/* A flush that reaches one member only would lose what lies on the others. */
static void flush_and_reset_reach_all(void **state)
{
	begin(RAID_0, 4);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_FLUSH, 0, 0, NULL, 0), BDEV_ST_OK);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_RESET, 0, 0, NULL, 0), BDEV_ST_OK);
	for (uint32_t i = 0; i < MEMBERS; i++) {
		assert_int_equal(logged(i, BDEV_FLUSH), 1);
		assert_int_equal(logged(i, BDEV_RESET), 1);
	}
	end();
}

static void ranges_of_an_unmap_are_cut(void **state)
{
	const struct bdev_range ranges[] = { { 95, 50 }, { 200, 0 }, { 300, 5 } };
	struct rig_io io;

	begin(RAID_CONCAT, 0);
	for (uint32_t i = 0; i < MEMBERS; i++)
		memset(fakes[i].media, 1, (size_t)sizes[i] * BS);
	rig_io_init(&io, ch, BDEV_UNMAP, 0, 0, NULL, 0);
	io.io.unmap.ranges = ranges;
	io.io.unmap.range_count = 3;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	for (uint32_t i = 0; i < 387; i++) {
		const char *at = i < 100 ? fakes[0].media + i * BS : i < 137 ? fakes[1].media + (i - 100) * BS
		                                                             : fakes[2].media + (i - 137) * BS;

		assert_int_equal(*at, !((i >= 95 && i < 145) || (i >= 300 && i < 305)));
	}
	end();
}

static void the_first_error_is_the_answer(void **state)
{
	begin(RAID_CONCAT, 0);
	atomic_store(&fakes[1].fail_at, 1);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_WRITE, 80, 100, buf, 100 * BS), BDEV_ST_MEDIA_ERROR);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_WRITE, 80, 100, buf, 100 * BS), BDEV_ST_OK);
	end();
}

/* With one member missing its blocks would be somewhere else, or nowhere. */
static void it_is_there_when_all_members_are(void **state)
{
	static char out[BS], in[BS];

	sem_init(&gone, 0, 0);
	rig_start(&rig, 1);
	come(2);
	assert_int_equal(create(RAID_CONCAT, 0), 0);
	assert_int_equal(create(RAID_CONCAT, 0), -EEXIST);
	come(0);
	assert_null(rig_open(&rig, "r", true));
	come(1);
	open_raid();
	assert_null(rig_open(&rig, "m1", true)); /* claimed */
	memset(out, 5, BS);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_WRITE, 386, 1, out, BS), BDEV_ST_OK);
	close_raid();
	go(1);
	assert_null(rig_open(&rig, "r", true));
	come(1);
	open_raid();
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_READ, 386, 1, in, BS), BDEV_ST_OK);
	assert_memory_equal(in, out, BS);
	end();
}

static void members_must_be_alike(void **state)
{
	sem_init(&gone, 0, 0);
	rig_start(&rig, 1);
	come(0);
	come(1);
	fake_init(&fakes[2], "m2");
	fakes[2].bdev.block_size = 1024;
	fakes[2].bdev.block_count = 100;
	rig_on(core_control(rig.core), register_here, &fakes[2].bdev);
	assert_int_equal(create(RAID_CONCAT, 0), -EINVAL);
	assert_int_equal(create(RAID_0, 0), -EINVAL);
	assert_int_equal(create(RAID_0, 3), -EINVAL);
	for (uint32_t i = 0; i < MEMBERS; i++)
		go(i);
	rig_stop(&rig);
}

struct resize {
	uint32_t member;
	uint64_t blocks;
};
static void resize_here(void *arg)
{
	struct resize *r = arg;

	must(bdev_resize(&fakes[r->member].bdev, r->blocks, NULL) == 0);
}

static void resize(uint32_t member, uint64_t count)
{
	struct resize r = { member, count };

	rig_on(core_control(rig.core), resize_here, &r);
}

static void the_last_member_may_grow(void **state)
{
	begin(RAID_CONCAT, 0);
	resize(0, 200);
	assert_int_equal(bdev_block_count(desc), 387);
	resize(2, 300);
	assert_int_equal(bdev_block_count(desc), 437);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_WRITE, 386, 51, buf, 51 * BS), BDEV_ST_OK);
	resize(2, 10);
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_WRITE, 386, 1, buf, BS), BDEV_ST_BAD_RANGE);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(concat_puts_one_after_the_other),
		cmocka_unit_test(concat_cuts_members_to_whole_strips),
		cmocka_unit_test(raid0_deals_out_strips),
		cmocka_unit_test(data_may_lie_in_many_pieces),
		cmocka_unit_test(flush_and_reset_reach_all),
		cmocka_unit_test(ranges_of_an_unmap_are_cut),
		cmocka_unit_test(the_first_error_is_the_answer),
		cmocka_unit_test(it_is_there_when_all_members_are),
		cmocka_unit_test(members_must_be_alike),
		cmocka_unit_test(the_last_member_may_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
