/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut_test.c: a disk that loses power keeps what was flushed, and of the rest each block old or new, on whatever
 * core it was written; and what is under way when it happens ends as a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include "backends/powercut/powercut.h"
#include "backends/powercut/powercut_cache.h"
#include "bdev/fake_disk_test.h"
#include "bdev/rig_test.h"

#define BS 512u
#define BLOCKS 64u
#define CORES 2u

static struct rig rig;
static struct fake_disk fake;
static struct bdev_desc *desc;
static struct bdev_channel *chs[CORES];
static sem_t gone;
static char buf[BLOCKS * BS];

struct call {
	struct powercut_opts opts;
	struct powercut_cut_opts cut;
	struct powercut_cut_result result;
	struct err e;
	int rc;
	sem_t done;
};

static void create_here(void *arg)
{
	struct call *c = arg;

	c->rc = powercut_create(rig.reg, &c->opts, &c->e);
}

static void register_here(void *arg) { must(bdev_register(rig.reg, &fake.bdev, NULL) == 0); }
static void went(void *arg, int rc) { sem_post(&gone); }
static void unregister_here(void *arg) { bdev_unregister(&fake.bdev, went, NULL); }
static void delete_here(void *arg) { ((struct call *)arg)->rc = powercut_delete(rig.reg, "pc", went, NULL, NULL); }

static void wait_for(sem_t *s)
{
	while (sem_wait(s) != 0)
		;
}

static void open_disk(void)
{
	desc = rig_open(&rig, "pc", true);
	assert_non_null(desc);
	for (uint32_t i = 0; i < CORES; i++)
		chs[i] = rig_get(&rig, i, desc);
}

static void close_disk(void)
{
	for (uint32_t i = 0; i < CORES; i++)
		rig_put(&rig, i, chs[i]);
	rig_close(&rig, desc);
}

static void come(void)
{
	fake_init(&fake, "base");
	fake.bdev.block_count = BLOCKS;
	fake.bdev.native_ops |= BDEV_BIT(UNMAP);
	rig_on(core_control(rig.core), register_here, NULL);
}

static void begin(uint32_t cache_blocks)
{
	struct call c = { .opts = { .name = "pc", .base = "base", .cache_blocks = cache_blocks } };

	sem_init(&gone, 0, 0);
	rig_start(&rig, CORES);
	rig_on(core_control(rig.core), create_here, &c); /* before its base: it waits */
	assert_int_equal(c.rc, 0);
	assert_null(rig_open(&rig, "pc", true));
	come();
	open_disk();
}

static void end(void)
{
	struct call c = { .rc = 0 };

	close_disk();
	rig_on(core_control(rig.core), delete_here, &c);
	assert_int_equal(c.rc, 0);
	wait_for(&gone);
	rig_on(core_control(rig.core), unregister_here, NULL);
	wait_for(&gone);
	rig_stop(&rig);
}

static void cut_done(void *arg, const struct powercut_cut_result *r)
{
	struct call *c = arg;

	c->result = *r;
	sem_post(&c->done);
}

static void trigger_here(void *arg)
{
	struct call *c = arg;

	c->rc = powercut_trigger(rig.reg, "pc", &c->cut, cut_done, c, &c->e);
}

static void power_on_here(void *arg)
{
	struct call *c = arg;

	c->rc = powercut_power_on(rig.reg, "pc", cut_done, c, &c->e);
}

static void cut_start(struct call *c, uint32_t mode, uint64_t seed, bool stay_off)
{
	memset(c, 0, sizeof(*c));
	c->cut = (struct powercut_cut_opts){ .mode = mode, .seed = seed, .stay_off = stay_off };
	sem_init(&c->done, 0, 0);
	rig_on(core_control(rig.core), trigger_here, c);
}

static struct powercut_cut_result cut(uint32_t mode, uint64_t seed)
{
	struct call c;

	cut_start(&c, mode, seed, false);
	assert_int_equal(c.rc, 0);
	wait_for(&c.done);
	return c.result;
}

/* --- the oracle: what each block may hold after a cut ------------------------------------------------------ */

static uint64_t durable[BLOCKS];      /* what it holds at least */
static uint64_t newest[BLOCKS];
static uint64_t number;

static void fill(uint64_t lba, uint64_t count)
{
	for (uint64_t i = 0; i < count * BS / 8; i++)
		((uint64_t *)buf)[i] = number << 16 | (lba + i * 8 / BS);
}

/* The number of the write whose block this is; a block of two is none. */
static uint64_t number_in(const char *block, uint64_t lba)
{
	uint64_t first = *(const uint64_t *)block;

	for (uint32_t i = 8; i < BS; i += 8)
		assert_int_equal(*(const uint64_t *)(block + i), first);
	assert_true(first == 0 || (first & 0xffff) == lba);
	return first >> 16;
}

static void op_write(uint32_t core, uint64_t lba, uint64_t count, bool fua)
{
	struct rig_io io;

	number++;
	fill(lba, count);
	rig_io_init(&io, chs[core], BDEV_WRITE, lba, count, buf, count * BS);
	io.io.flags = fua ? BDEV_IO_FUA : 0;
	assert_int_equal(rig_io_run(&rig, core, &io), BDEV_ST_OK);
	for (uint64_t i = lba; i < lba + count; i++) {
		newest[i] = number;
		if (fua)
			durable[i] = number;
	}
}

static void op_read(uint32_t core, uint64_t lba, uint64_t count)
{
	assert_int_equal(rig_do(&rig, core, chs[core], BDEV_READ, lba, count, buf, count * BS), BDEV_ST_OK);
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(number_in(buf + i * BS, lba + i), newest[lba + i]);
}

static void op_unmap(uint32_t core, uint64_t lba, uint64_t count)
{
	assert_int_equal(rig_do(&rig, core, chs[core], BDEV_UNMAP, lba, count, NULL, 0), BDEV_ST_OK);
	memset(newest + lba, 0, count * sizeof(newest[0]));
	memset(durable + lba, 0, count * sizeof(durable[0]));
}

static void op_flush(uint32_t core)
{
	assert_int_equal(rig_do(&rig, core, chs[core], BDEV_FLUSH, 0, 0, NULL, 0), BDEV_ST_OK);
	memcpy(durable, newest, sizeof(durable));
}

/* Nothing older than what was flushed, nothing that never was. Then this is how the disk is. */
static void check_after_cut(void)
{
	static char media[BLOCKS * BS];
	uint32_t zeroes = 0;

	assert_int_equal(rig_do(&rig, 0, chs[0], BDEV_READ, 0, BLOCKS, media, sizeof(media)), BDEV_ST_OK);
	for (uint64_t i = 0; i < BLOCKS; i++) {
		uint64_t n = number_in(media + i * BS, i);

		zeroes += n == 0;
		assert_true(n >= durable[i] && n <= newest[i]);
		newest[i] = durable[i] = n;
	}
	assert_true(zeroes <= BLOCKS);
}

static void forget(void)
{
	memset(durable, 0, sizeof(durable));
	memset(newest, 0, sizeof(newest));
	number = 0;
}

static uint64_t roll(uint64_t *state, uint64_t below)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (*state >> 33) % below;
}

/* Flushed data would be lost, or a block hold what nobody wrote. */
static void check_random_cuts(uint32_t cache_blocks, uint64_t seed)
{
	uint64_t dice = seed;
	uint32_t lost = 0, kept = 0;

	forget();
	begin(cache_blocks);
	for (uint32_t round = 0; round < 60; round++) {
		struct powercut_cut_result r;

		for (uint64_t ops = roll(&dice, 40); ops; ops--) {
			uint32_t core = (uint32_t)roll(&dice, CORES);
			uint64_t count = 1 + roll(&dice, 12), lba = roll(&dice, BLOCKS - count), what = roll(&dice, 20);

			if (what < 10)
				op_write(core, lba, count, what == 0);
			else if (what < 17)
				op_read(core, lba, count);
			else if (what < 19)
				op_flush(core);
			else
				op_unmap(core, lba, count);
		}
		r = cut((uint32_t)roll(&dice, 3), 0);
		assert_int_equal(r.blocks_kept + r.blocks_lost, r.blocks_unflushed);
		lost += r.blocks_lost;
		kept += r.blocks_kept;
		check_after_cut();
	}
	assert_true(lost > 100 && kept > 30); /* it did cut, and not everything */
	end();
	fake_fini(&fake);
}

static void a_cut_spares_what_was_flushed(void **state) { check_random_cuts(256, 1); }
/* Writes wait for room, and blocks reach the media before anybody asked. */
static void so_it_is_when_the_cache_is_small(void **state) { check_random_cuts(8, 2); }

/* --- what is under way ------------------------------------------------------------------------------------- */

static void wait_until_held(uint32_t n)
{
	while (atomic_load(&fake.held) < n)
		usleep(1000);
}

/* The owner's core, 0, is where the fake keeps I/O: any channel of it does. */
static struct bdev_desc *base_desc;
static struct bdev_channel *base_ch;

static void release_held(void)
{
	atomic_store(&fake.holding, false);
	base_desc = rig_open(&rig, "base", false);
	base_ch = rig_get(&rig, 0, base_desc);
	rig_on(rig_core(&rig, 0), fake_let_go, base_ch);
	rig_put(&rig, 0, base_ch);
	rig_close(&rig, base_desc);
}

/* Who was told OK would believe that a cut left it alone. */
static void what_is_under_way_fails(void **state)
{
	static char in[BS], out[BS];
	struct rig_io fua, read, flush;
	struct call c, second;

	forget();
	begin(64);
	op_write(0, 5, 3, false);
	atomic_store(&fake.holding, true);
	rig_io_init(&fua, chs[1], BDEV_WRITE, 20, 1, out, BS);
	fua.io.flags = BDEV_IO_FUA;
	rig_io_start(&rig, 1, &fua);
	wait_until_held(1);
	rig_io_init(&read, chs[0], BDEV_READ, 30, 1, in, BS);
	rig_io_start(&rig, 0, &read);
	wait_until_held(2);
	rig_io_init(&flush, chs[1], BDEV_FLUSH, 0, 0, NULL, 0);
	rig_io_start(&rig, 1, &flush);
	wait_until_held(3);
	cut_start(&c, POWERCUT_DROP, 7, false);
	assert_int_equal(c.rc, 0);
	cut_start(&second, POWERCUT_DROP, 7, false);
	assert_int_equal(second.rc, -EBUSY);
	assert_int_equal(rig_io_wait(&flush), BDEV_ST_FAILED);
	assert_false(rig_io_ended(&read)); /* the base has its buffer */
	assert_int_equal(rig_do(&rig, 1, chs[1], BDEV_READ, 0, 1, in, BS), BDEV_ST_FAILED);
	release_held();
	wait_for(&c.done);
	assert_int_equal(rig_io_wait(&read), BDEV_ST_FAILED);
	assert_int_equal(rig_io_wait(&fua), BDEV_ST_FAILED);
	assert_int_equal(rig_do(&rig, 1, chs[1], BDEV_READ, 0, 1, in, BS), BDEV_ST_OK);
	end();
	fake_fini(&fake);
}

static void it_stays_off_until_the_power_is_back(void **state)
{
	struct call c;

	forget();
	begin(64);
	op_write(0, 1, 2, false);
	op_flush(1);
	op_write(1, 1, 2, false);
	cut_start(&c, POWERCUT_DROP, 3, true);
	wait_for(&c.done);
	assert_int_equal(c.result.blocks_lost, 2);
	assert_int_equal(c.result.seed, 3);
	assert_int_equal(rig_do(&rig, 0, chs[0], BDEV_WRITE, 0, 1, buf, BS), BDEV_ST_FAILED);
	assert_int_equal(rig_do(&rig, 1, chs[1], BDEV_FLUSH, 0, 0, NULL, 0), BDEV_ST_FAILED);
	cut_start(&c, POWERCUT_DROP, 3, true);
	assert_int_equal(c.rc, -EALREADY);
	rig_on(core_control(rig.core), power_on_here, &c);
	wait_for(&c.done);
	check_after_cut();
	assert_int_equal(newest[1], 1);
	rig_on(core_control(rig.core), power_on_here, &c);
	assert_int_equal(c.rc, -EALREADY);
	end();
	fake_fini(&fake);
}

/* A flush that answered OK though the media refused would be worse than none. */
static void a_flush_fails_when_the_media_does(void **state)
{
	forget();
	begin(64);
	op_write(0, 8, 4, false);
	atomic_store(&fake.fail_at, atomic_load(&fake.seen) + 1);
	assert_int_equal(rig_do(&rig, 1, chs[1], BDEV_FLUSH, 0, 0, NULL, 0), BDEV_ST_MEDIA_ERROR);
	op_read(1, 8, 4);
	op_flush(0);
	assert_int_equal(cut(POWERCUT_DROP, 1).blocks_unflushed, 0);
	op_read(0, 8, 4);
	end();
	fake_fini(&fake);
}

/* Removing the device in good order is not a power cut. */
static void deleting_it_keeps_everything(void **state)
{
	forget();
	begin(64);
	op_write(1, 8, 10, false);
	end();
	for (uint64_t i = 8; i < 18; i++)
		assert_int_equal(number_in(fake.media + i * BS, i), 1);
	fake_fini(&fake);
}

/* Its base goes under it; when that comes back it is there again. */
static void it_goes_and_comes_with_its_base(void **state)
{
	forget();
	begin(64);
	op_write(1, 8, 10, false);
	close_disk();
	rig_on(core_control(rig.core), unregister_here, NULL);
	wait_for(&gone);
	assert_null(rig_open(&rig, "pc", true));
	fake_fini(&fake);
	come();
	open_disk();
	forget();
	op_read(1, 0, BLOCKS);
	end();
	fake_fini(&fake);
}

/* Atomic writes are promised to hosts as what a power cut does not tear: one block. */
static void it_promises_one_block(void **state)
{
	struct bdev_info i;

	begin(64);
	bdev_get_info(desc, &i);
	assert_int_equal(i.atomic_blocks, 1);
	assert_int_equal(i.cache, BDEV_CACHE_VOLATILE);
	assert_true(i.fua);
	end();
	fake_fini(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cut_spares_what_was_flushed),
		cmocka_unit_test(so_it_is_when_the_cache_is_small),
		cmocka_unit_test(what_is_under_way_fails),
		cmocka_unit_test(it_stays_off_until_the_power_is_back),
		cmocka_unit_test(a_flush_fails_when_the_media_does),
		cmocka_unit_test(deleting_it_keeps_everything),
		cmocka_unit_test(it_goes_and_comes_with_its_base),
		cmocka_unit_test(it_promises_one_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
