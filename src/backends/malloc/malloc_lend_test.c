/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc_lend_test.c: pages that a RAM disk lends for writes to come: published as they lie, or given back, never both
 * and never neither.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "backends/malloc/malloc.h"
#include "bdev/iov.h"
#include "bdev/rig_test.h"

#define BLOCKS 1024u
#define IOVS 40u

static struct rig rig;
static struct bdev *dev;
static struct bdev_desc *desc;
static struct bdev_channel *chs[2];
static uint32_t block_bytes;

struct create {
	struct malloc_opts opts;
	int rc;
};
static void create_here(void *arg)
{
	struct create *c = arg;

	c->rc = malloc_create(rig.reg, &c->opts, &dev, NULL);
}

static void begin_as(const struct malloc_opts *opts, bool write)
{
	struct create c = { .opts = *opts };

	rig_start(&rig, 2);
	rig_on(core_control(rig.core), create_here, &c);
	assert_int_equal(c.rc, 0);
	block_bytes = opts->block_size;
	desc = rig_open(&rig, "Malloc0", write);
	for (uint32_t i = 0; i < 2; i++)
		chs[i] = rig_get(&rig, i, desc);
}

static void begin(uint32_t block_size)
{
	begin_as(&(struct malloc_opts){ .block_count = BLOCKS, .block_size = block_size }, true);
}

static sem_t gone;
static void deleted(void *arg, int rc) { sem_post(&gone); }
static void delete_here(void *arg) { *(int *)arg = malloc_delete(rig.reg, "Malloc0", deleted, NULL, NULL); }

/* With asserts on, the pool looks for pages that were lent and are neither published nor back. */
static void end(void)
{
	int rc = -1;

	sem_init(&gone, 0, 0);
	for (uint32_t i = 0; i < 2; i++)
		rig_put(&rig, i, chs[i]);
	rig_close(&rig, desc);
	rig_on(core_control(rig.core), delete_here, &rc);
	assert_int_equal(rc, 0);
	sem_wait(&gone);
	rig_stop(&rig);
}

/* --- a write in two steps ------------------------------------------------------------------------------------- */

struct lent {
	struct rig_io io;
	struct iovec iovs[IOVS];
	bool ok;
};

static void lend_here(void *arg)
{
	struct lent *l = arg;

	l->ok = bdev_write_lend(l->io.ch, &l->io.io);
}

static bool lend_room(struct lent *l, uint32_t core, uint64_t lba, uint64_t count, uint16_t iov_max)
{
	rig_io_init(&l->io, chs[core], BDEV_WRITE, lba, count, NULL, 0);
	l->io.io.iovs = l->iovs;
	l->io.io.iov_max = iov_max;
	rig_on(rig_core(&rig, core), lend_here, l);
	return l->ok;
}

static bool lend(struct lent *l, uint32_t core, uint64_t lba, uint64_t count)
{
	return lend_room(l, core, lba, count, IOVS);
}

static void fill(struct lent *l, int byte)
{
	assert_int_equal(iov_bytes(l->iovs, l->io.io.iov_count), l->io.io.count * block_bytes);
	for (uint32_t i = 0; i < l->io.io.iov_count; i++)
		memset(l->iovs[i].iov_base, byte, l->iovs[i].iov_len);
}

static bool holds(uint64_t lba, uint64_t count, int byte)
{
	static char back[256 * 4096];

	assert_int_equal(rig_do(&rig, 1, chs[1], BDEV_READ, lba, count, back, count * block_bytes), BDEV_ST_OK);
	return back[0] == (char)byte && memcmp(back, back + 1, count * block_bytes - 1) == 0;
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

/* The whole point: what was received is what is read, at the same address. */
static void what_was_put_there_is_published_as_it_lies(void **state)
{
	struct lent l = { 0 }, again = { 0 };
	struct iovec lent[4];
	struct rig_io read;

	begin(4096);
	assert_true(lend(&l, 0, 3, 32));
	assert_int_equal(l.io.io.iov_count, 1); /* fresh pages lie side by side */
	fill(&l, 'a');
	assert_true(holds(3, 32, 0));
	assert_int_equal(rig_io_run(&rig, 0, &l.io), BDEV_ST_OK);
	assert_false(l.io.io.lent);
	assert_true(l.io.consumed_at_return);
	assert_true(holds(3, 32, 'a'));
	assert_int_equal(malloc_bytes_in_use(dev), 32 * 4096);

	rig_io_init(&read, chs[1], BDEV_READ, 3, 32, NULL, 0);
	read.io.flags = BDEV_IO_LEND;
	read.io.iovs = lent;
	read.io.iov_max = 4;
	assert_int_equal(rig_io_run(&rig, 1, &read), BDEV_ST_OK);
	assert_int_equal(read.io.iov_count, 1);
	assert_ptr_equal(lent[0].iov_base, l.iovs[0].iov_base);

	/* Who reads keeps what was there, whole, while the next one is written. */
	assert_true(lend(&again, 0, 3, 32));
	fill(&again, 'b');
	assert_int_equal(rig_io_run(&rig, 0, &again.io), BDEV_ST_OK);
	assert_true(holds(3, 32, 'b'));
	for (uint32_t i = 0; i < lent[0].iov_len; i++)
		assert_int_equal(((char *)lent[0].iov_base)[i], 'a');
	bdev_io_release(&read.io);
	assert_int_equal(malloc_bytes_in_use(dev), 32 * 4096);
	end();
}

/* Pages of a write come back in the order in which the next one wants them: else lending fell apart into single pages
 * after the first round. */
static void runs_of_pages_stay_runs(void **state)
{
	struct lent l = { 0 };

	begin(4096);
	for (uint32_t round = 0; round < 100; round++) {
		assert_true(lend(&l, 0, round % 7 * 32, 32));
		assert_in_range(l.io.io.iov_count, 1, 2);
		fill(&l, (int)round);
		assert_int_equal(rig_io_run(&rig, 0, &l.io), BDEV_ST_OK);
		assert_true(holds(round % 7 * 32, 32, (int)round));
	}
	end();
}

static void what_is_given_back_was_never_there(void **state)
{
	struct lent l = { 0 };

	begin(512);
	assert_int_equal(rig_do(&rig, 0, chs[0], BDEV_WRITE_ZEROES, 0, 64, NULL, 0), BDEV_ST_OK);
	assert_true(lend(&l, 0, 8, 64));
	fill(&l, 'x');
	bdev_io_release(&l.io.io);
	assert_false(l.io.io.lent);
	assert_true(holds(8, 64, 0));
	assert_int_equal(malloc_bytes_in_use(dev), 0);
	end();
}

/* What cannot be published by exchanging pages is not offered. */
static void only_whole_pages_are_lent(void **state)
{
	const struct malloc_opts odd[] = {
		{ .block_count = BLOCKS, .block_size = 1536 }, { .block_count = BLOCKS, .block_size = 512, .md_size = 8 },
		{ .block_count = BLOCKS, .block_size = 4096, .md_size = 8, .md_interleaved = true },
	};
	struct lent l = { 0 };

	begin(512);
	assert_false(lend(&l, 0, 1, 8));
	assert_false(lend(&l, 0, 8, 7));
	assert_false(lend(&l, 0, 8, 0));
	assert_false(lend(&l, 0, BLOCKS, 8));
	assert_false(lend(&l, 0, BLOCKS - 8, 16));
	assert_true(lend(&l, 0, BLOCKS - 8, 8));
	bdev_io_release(&l.io.io);
	end();
	for (uint32_t i = 0; i < ARRAY_SIZE(odd); i++) {
		begin_as(&odd[i], true);
		assert_false(lend(&l, 0, 0, 64));
		end();
	}
	begin_as(&(struct malloc_opts){ .block_count = BLOCKS, .block_size = 4096 }, false);
	assert_false(lend(&l, 0, 0, 8)); /* opened for reading */
	end();
}

/* Large blocks have large pages. And who has no room to describe them gets none, without a leak. */
static void large_pages_and_too_few_iovecs(void **state)
{
	struct lent l = { 0 }, m = { 0 };

	begin(65536);
	assert_true(lend(&l, 0, 5, 3));
	fill(&l, 'l');
	assert_int_equal(rig_io_run(&rig, 0, &l.io), BDEV_ST_OK);
	assert_true(holds(5, 3, 'l'));
	assert_true(lend_room(&l, 0, 0, 1, 1));
	assert_true(lend_room(&m, 1, 1, 1, 1)); /* another core's pages lie elsewhere */
	bdev_io_release(&m.io.io); /* to this thread's store: no reactor */
	bdev_io_release(&l.io.io);
	for (uint32_t i = 0; i < 64; i++) { /* scattered: every other page goes */
		assert_int_equal(rig_do(&rig, 0, chs[0], BDEV_WRITE_ZEROES, i, 1, NULL, 0), BDEV_ST_OK);
		if (lend_room(&l, 0, 2 * i, 2, 1))
			bdev_io_release(&l.io.io);
	}
	end();
}

static struct bdev_lease lease;
static struct bdev_lease_revoke revoke;
static _Atomic uint32_t answers;
static void revoked(struct bdev_lease_revoke *r) { atomic_fetch_add(&answers, 1); }
static void revoke_here(void *arg) { bdev_lease_revoke(rig.core, &lease, &revoke, revoked); }

/* Data that came too late must not land, and its pages come back. */
static void a_fenced_write_publishes_nothing(void **state)
{
	struct lent l = { 0 };

	begin(4096);
	bdev_lease_init(&lease);
	assert_true(lend(&l, 0, 0, 16));
	l.io.io.lease = &lease;
	l.io.io.lease_epoch = bdev_lease_epoch(&lease);
	fill(&l, 'f');
	rig_on(rig_core(&rig, 1), revoke_here, NULL);
	rig_settle(&rig);
	assert_int_equal(answers, 1); /* lent memory alone keeps no revocation waiting */
	assert_int_equal(rig_io_run(&rig, 0, &l.io), BDEV_ST_FENCED);
	assert_true(l.io.io.lent);
	assert_false(l.io.consumed_at_return);
	bdev_io_release(&l.io.io);
	assert_true(holds(0, 16, 0));
	assert_int_equal(malloc_bytes_in_use(dev), 0);
	end();
}

struct resize {
	uint64_t blocks;
	int rc;
	bool done;
};
static void resized(void *arg, const struct err *e)
{
	struct resize *r = arg;

	r->rc = e ? e->code : 0;
	r->done = true;
}
static void resize_here(void *arg)
{
	struct resize *r = arg;

	malloc_resize(rig.reg, "Malloc0", r->blocks, resized, r);
}

static void resize_to(uint64_t blocks)
{
	struct resize r = { .blocks = blocks };

	rig_on(core_control(rig.core), resize_here, &r);
	while (!r.done)
		rig_on(core_control(rig.core), rig_nothing, NULL);
	assert_int_equal(r.rc, 0);
}

/* A disk that was cut off below them must not get them when it grows again. */
static void a_disk_that_shrank_takes_nothing_beyond_its_end(void **state)
{
	struct lent l = { 0 };

	begin(4096);
	assert_true(lend(&l, 0, 96, 16));
	fill(&l, 's');
	resize_to(100);
	assert_int_equal(rig_io_run(&rig, 0, &l.io), BDEV_ST_BAD_RANGE);
	assert_true(l.io.io.lent);
	bdev_io_release(&l.io.io);
	resize_to(BLOCKS);
	assert_true(holds(96, 16, 0));
	assert_int_equal(malloc_bytes_in_use(dev), 0);
	end();
}

static void uncorrectable_blocks_are_healed(void **state)
{
	static char buf[8 * 512];
	struct lent l = { 0 };

	begin(512);
	assert_int_equal(rig_do(&rig, 0, chs[0], BDEV_WRITE_UNCORRECTABLE, 0, 32, NULL, 0), BDEV_ST_OK);
	assert_true(lend(&l, 0, 8, 16));
	fill(&l, 'h');
	assert_int_equal(rig_do(&rig, 1, chs[1], BDEV_READ, 8, 8, buf, sizeof(buf)), BDEV_ST_MEDIA_ERROR);
	assert_int_equal(rig_io_run(&rig, 0, &l.io), BDEV_ST_OK);
	assert_true(holds(8, 16, 'h'));
	assert_int_equal(rig_do(&rig, 1, chs[1], BDEV_READ, 0, 8, buf, sizeof(buf)), BDEV_ST_MEDIA_ERROR);
	end();
}

/* --- across cores ------------------------------------------------------------------------------------------------ */

#define ROUNDS 6000u

struct looper {
	struct bdev_io io;
	struct iovec iovs[IOVS];
	struct bdev_channel *ch;
	uint64_t random;
	uint32_t left, torn;
	bool writes;
	sem_t *done;
};

static void loop_done(struct bdev_io *io);

static void loop_on(void *arg)
{
	struct looper *l = arg;

	l->random = l->random * 6364136223846793005ull + 1442695040888963407ull;
	l->io.op = l->writes ? BDEV_WRITE : BDEV_READ;
	l->io.flags = l->writes ? 0 : BDEV_IO_LEND;
	l->io.lba = (l->random >> 33) % 3 * 8;
	l->io.count = 16; /* two pages of eight blocks; neighbours overlap by one of them */
	l->io.iovs = l->iovs;
	l->io.iov_max = IOVS;
	if (l->writes) {
		must(bdev_write_lend(l->ch, &l->io));
		for (uint32_t i = 0; i < l->io.iov_count; i++)
			memset(l->iovs[i].iov_base, (int)(l->random >> 40 & 0xff), l->iovs[i].iov_len);
	}
	bdev_submit(l->ch, &l->io);
}

static void loop_done(struct bdev_io *io)
{
	struct looper *l = container_of(io, struct looper, io);
	struct iov_cursor at = iov_cursor_over(io->iovs, io->iov_count);
	char page[4096];

	must(io->status == BDEV_ST_OK && io->lent == !l->writes);
	for (uint32_t i = 0; !l->writes && i < 2; i++) {
		iov_copy_out(page, &at, sizeof(page));
		l->torn += memcmp(page, page + 1, sizeof(page) - 1) != 0;
	}
	if (io->lent)
		bdev_io_release(io);
	if (--l->left)
		loop_on(l);
	else
		sem_post(l->done);
}

/* Two cores publish into the same slots while both read them. */
static void nobody_sees_half_a_page(void **state)
{
	static struct looper loopers[6];
	uint32_t torn = 0;
	sem_t done;

	begin(512);
	sem_init(&done, 0, 0);
	for (uint32_t i = 0; i < 6; i++) {
		struct looper *l = &loopers[i];

		*l = (struct looper){ .random = i + 1, .left = ROUNDS, .writes = i < 3, .done = &done, .ch = chs[i % 2],
		                      .io.done = loop_done };
		rig_on(rig_core(&rig, i % 2), loop_on, l);
	}
	for (uint32_t i = 0; i < 6; i++)
		sem_wait(&done);
	for (uint32_t i = 0; i < 6; i++)
		torn += loopers[i].torn;
	assert_int_equal(torn, 0);
	assert_true(malloc_bytes_in_use(dev) <= 4 * 4096);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_there_is_published_as_it_lies),
		cmocka_unit_test(runs_of_pages_stay_runs),
		cmocka_unit_test(what_is_given_back_was_never_there),
		cmocka_unit_test(only_whole_pages_are_lent),
		cmocka_unit_test(large_pages_and_too_few_iovecs),
		cmocka_unit_test(a_fenced_write_publishes_nothing),
		cmocka_unit_test(a_disk_that_shrank_takes_nothing_beyond_its_end),
		cmocka_unit_test(uncorrectable_blocks_are_healed),
		cmocka_unit_test(nobody_sees_half_a_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
