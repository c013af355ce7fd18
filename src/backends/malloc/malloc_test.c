/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc_test.c: the RAM disk of every shape against a plain array, thin, lent, shared between cores, resized. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backends/malloc/malloc.h"
#include "bdev/iov.h"
#include "bdev/rig_test.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN
#endif
#elif defined(__SANITIZE_THREAD__)
#define WITH_TSAN
#endif

static struct rig rig;
static struct bdev *dev;
static struct bdev_desc *desc;
static struct bdev_channel *chs[2];
static uint32_t block_bytes, md_bytes;

struct create {
	struct malloc_opts opts;
	struct err err;
	int rc;
};

static void create_here(void *arg)
{
	struct create *c = arg;

	c->rc = malloc_create(rig.reg, &c->opts, &dev, &c->err);
}

/* Protection information of the next disk: its type, and where the tuple is within what has the metadata. */
static uint8_t dif_type;
static bool dif_head;
static size_t tuple_at;

static void begin(uint64_t blocks, uint32_t block_size, uint32_t md_size, bool interleaved)
{
	struct create c = { .opts = { .block_count = blocks, .block_size = block_size, .md_size = md_size,
	                              .md_interleaved = interleaved, .dif_type = dif_type,
	                              .dif_is_head_of_md = dif_head } };

	rig_start(&rig, 2);
	rig_on(core_control(rig.core), create_here, &c);
	assert_int_equal(c.rc, 0);
	block_bytes = block_size + (interleaved ? md_size : 0);
	md_bytes = interleaved ? 0 : md_size;
	tuple_at = (interleaved ? block_size : 0) + (dif_head ? 0 : md_size - 8);
	desc = rig_open(&rig, "Malloc0", true);
	for (uint32_t i = 0; i < 2; i++)
		chs[i] = rig_get(&rig, i, desc);
}

static sem_t gone;
static void deleted(void *arg, int rc) { sem_post(&gone); }
static void delete_here(void *arg) { *(int *)arg = malloc_delete(rig.reg, "Malloc0", deleted, NULL, NULL); }

static void let_go(void)
{
	for (uint32_t i = 0; i < 2; i++)
		rig_put(&rig, i, chs[i]);
	rig_close(&rig, desc);
}

static void end(void)
{
	int rc = -1;

	sem_init(&gone, 0, 0);
	let_go();
	rig_on(core_control(rig.core), delete_here, &rc);
	assert_int_equal(rc, 0);
	sem_wait(&gone);
	rig_stop(&rig);
}

static enum bdev_status io_do(enum bdev_op op, uint64_t lba, uint64_t count, void *buf)
{
	return rig_do(&rig, 0, chs[0], op, lba, count, buf, count * block_bytes);
}

/* --- against a model -------------------------------------------------------------------------------------- */

#define MODEL_BLOCKS 97u
#define MODEL_STEPS 1500u

struct model {
	char *data, *md;          /* what the disk must hold */
	char *buf, *md_buf;
	struct iovec iovs[3], md_iov;
	struct iovec lent[MODEL_BLOCKS + 1];
	uint64_t random;
};

static uint64_t draw(struct model *m, uint64_t n)
{
	m->random = m->random * 6364136223846793005ull + 1442695040888963407ull;
	return (m->random >> 33) % n;
}

static void scatter(struct model *m, struct rig_io *io, uint64_t count)
{
	size_t len = count * block_bytes, a = draw(m, len), b = a + draw(m, len - a);

	m->iovs[0] = (struct iovec){ .iov_base = m->buf, .iov_len = a };
	m->iovs[1] = (struct iovec){ .iov_base = m->buf + a, .iov_len = b - a };
	m->iovs[2] = (struct iovec){ .iov_base = m->buf + b, .iov_len = len - b };
	io->io.iovs = m->iovs;
	io->io.iov_count = 3;
	m->md_iov = (struct iovec){ .iov_base = m->md_buf, .iov_len = count * md_bytes };
	io->io.md_iovs = md_bytes ? &m->md_iov : NULL;
	io->io.md_iov_count = 1;
}

static void model_write(struct model *m, uint64_t lba, uint64_t count)
{
	struct rig_io io;

	for (size_t i = 0; i < count * block_bytes; i++)
		m->buf[i] = (char)draw(m, 256);
	for (size_t i = 0; i < count * md_bytes; i++)
		m->md_buf[i] = (char)draw(m, 256);
	rig_io_init(&io, chs[0], BDEV_WRITE, lba, count, m->buf, 0);
	scatter(m, &io, count);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_true(io.consumed_at_return);
	memcpy(m->data + lba * block_bytes, m->buf, count * block_bytes);
	memcpy(m->md + lba * md_bytes, m->md_buf, count * md_bytes);
}

static void model_read(struct model *m, uint64_t lba, uint64_t count, bool lend)
{
	struct iov_cursor at;
	struct rig_io io;

	rig_io_init(&io, chs[1], BDEV_READ, lba, count, m->buf, 0);
	scatter(m, &io, count);
	if (lend) {
		io.io.flags = BDEV_IO_LEND;
		io.io.iovs = m->lent;
		io.io.iov_count = 0;
		io.io.iov_max = (uint16_t)bdev_lend_iovs_max(desc, (uint32_t)count);
	}
	assert_int_equal(rig_io_run(&rig, 1, &io), BDEV_ST_OK);
	assert_true(io.io.lent == lend);
	assert_int_equal(iov_bytes(io.io.iovs, io.io.iov_count), count * block_bytes);
	at = iov_cursor_over(io.io.iovs, io.io.iov_count);
	assert_int_equal(iov_equal(&at, m->data + lba * block_bytes, count * block_bytes), count * block_bytes);
	assert_memory_equal(m->md_buf, m->md + lba * md_bytes, count * md_bytes);
	if (lend)
		bdev_io_release(&io.io);
}

/* What nobody wrote has tuples that say so. */
static void escape(struct model *m, uint64_t lba, uint64_t count)
{
	for (; dif_type && count; lba++, count--)
		memset((md_bytes ? m->md + lba * md_bytes : m->data + lba * block_bytes) + tuple_at, 0xff, 8);
}

static void model_zero(struct model *m, uint64_t lba, uint64_t count, uint64_t how)
{
	struct bdev_range ranges[2] = { { lba, count }, { (lba + 5) % MODEL_BLOCKS, 1 } };
	struct rig_io io;

	rig_io_init(&io, chs[1], how < 2 ? BDEV_WRITE_ZEROES : BDEV_UNMAP, lba, count, NULL, 0);
	io.io.flags = how == 1 ? BDEV_IO_DEALLOCATE : 0;
	if (how == 3) {
		io.io.unmap.ranges = ranges;
		io.io.unmap.range_count = 2;
	}
	assert_int_equal(rig_io_run(&rig, 1, &io), BDEV_ST_OK);
	for (uint32_t i = 0; i < (how == 3 ? 2 : 1); i++) {
		memset(m->data + ranges[i].lba * block_bytes, 0, ranges[i].count * block_bytes);
		memset(m->md + ranges[i].lba * md_bytes, 0, ranges[i].count * md_bytes);
		escape(m, ranges[i].lba, ranges[i].count);
	}
}

static void model_copy(struct model *m, uint64_t src, uint64_t dst, uint64_t count)
{
	struct rig_io io;

	rig_io_init(&io, chs[0], BDEV_COPY, dst, count, NULL, 0);
	io.io.copy.src_lba = src;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	memmove(m->data + dst * block_bytes, m->data + src * block_bytes, count * block_bytes);
	memmove(m->md + dst * md_bytes, m->md + src * md_bytes, count * md_bytes);
}

static void model_compare(struct model *m, uint64_t lba, uint64_t count)
{
	uint64_t wrong = draw(m, count * block_bytes * 2);
	bool differs = wrong < count * block_bytes && !(dif_type && !md_bytes && wrong % block_bytes >= tuple_at);
	struct rig_io io;

	memcpy(m->buf, m->data + lba * block_bytes, count * block_bytes);
	memcpy(m->md_buf, m->md + lba * md_bytes, count * md_bytes);
	if (wrong < count * block_bytes)
		m->buf[wrong] ^= 4;
	rig_io_init(&io, chs[0], BDEV_COMPARE, lba, count, m->buf, 0);
	scatter(m, &io, count);
	assert_int_equal(rig_io_run(&rig, 0, &io), differs ? BDEV_ST_MISCOMPARE : BDEV_ST_OK);
	if (differs)
		assert_int_equal(io.io.miscompare_offset, wrong);
}

static void run_model(uint64_t seed)
{
	struct model m = { .random = seed };

	m.data = base_zalloc(MODEL_BLOCKS * block_bytes);
	m.buf = base_zalloc(MODEL_BLOCKS * block_bytes);
	m.md = base_zalloc(MODEL_BLOCKS * md_bytes);
	m.md_buf = base_zalloc(MODEL_BLOCKS * md_bytes);
	escape(&m, 0, MODEL_BLOCKS);
	for (uint32_t i = 0; i < MODEL_STEPS; i++) {
		uint64_t lba = draw(&m, MODEL_BLOCKS), count = 1 + draw(&m, min_u64(20, MODEL_BLOCKS - lba));

		switch (draw(&m, 8)) {
		case 0: case 1: model_write(&m, lba, count); break;
		case 2: model_read(&m, lba, count, false); break;
		case 3: case 4: model_read(&m, lba, count, true); break;
		case 5: model_zero(&m, lba, count, draw(&m, 4)); break;
		case 6: model_copy(&m, lba, draw(&m, MODEL_BLOCKS - count + 1), count); break;
		default: model_compare(&m, lba, count);
		}
	}
	free(m.data);
	free(m.buf);
	free(m.md);
	free(m.md_buf);
}

/* Every shape of block must behave as an array of bytes does: some span pages, some do not divide one. */
static void every_shape_is_a_disk(void **state)
{
	const struct { uint32_t block, md; bool interleaved; uint8_t dif; bool head; } shapes[] = {
		{ 512, 0, 0 }, { 4096, 0, 0 }, { 1536, 0, 0 }, { 12288, 0, 0 }, { 65536, 0, 0 }, { 512, 8, 1 }, { 512, 8, 0 },
		{ 4096, 64, 1 }, { 4096, 8, 0 }, { 2560, 128, 0 },
		{ 512, 8, 1, 1 }, { 512, 8, 0, 2 }, { 4096, 64, 1, 3 }, { 4096, 8, 0, 1 }, { 512, 16, 0, 1, true },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		dif_type = shapes[i].dif;
		dif_head = shapes[i].head;
		begin(MODEL_BLOCKS, shapes[i].block, shapes[i].md, shapes[i].interleaved);
		run_model(i + 1);
		assert_int_equal(io_do(BDEV_WRITE_ZEROES, 0, MODEL_BLOCKS, NULL), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_UNMAP, 0, MODEL_BLOCKS, NULL), BDEV_ST_OK);
		/* The last page may be shared with blocks that do not exist: it is zeroed, not given back. */
		assert_true(malloc_bytes_in_use(dev) <= 2 * 65536);
		end();
	}
	dif_type = 0;
	dif_head = false;
}

/* --- across cores ----------------------------------------------------------------------------------------- */

#define TORN_ROUNDS 4000u

struct looper {
	struct bdev_io io;
	struct iovec iov, lent[4];
	struct bdev_channel *ch;
	char *buf;
	uint64_t random;
	uint32_t left, torn, blocks;
	bool writes, lends;
	sem_t *done;
};

static void loop_done(struct bdev_io *io);

static void loop_on(void *arg)
{
	struct looper *l = arg;

	l->random = l->random * 6364136223846793005ull + 1442695040888963407ull;
	l->io.lba = (l->random >> 33) % (l->blocks - 1);
	l->io.count = 2;
	l->io.op = l->writes ? BDEV_WRITE : BDEV_READ;
	l->lends = !l->writes && l->random >> 62 & 1;
	l->io.flags = l->lends ? BDEV_IO_LEND : 0;
	l->io.iovs = l->lends ? l->lent : &l->iov;
	l->io.iov_count = 1;
	l->io.iov_max = 4;
	if (l->writes)
		memset(l->buf, (int)(l->random >> 40 & 0xff), l->iov.iov_len);
	bdev_submit(l->ch, &l->io);
}

static bool uniform(const char *at, size_t len)
{
	return memcmp(at, at + 1, len - 1) == 0;
}

static void loop_done(struct bdev_io *io)
{
	struct looper *l = container_of(io, struct looper, io);
	struct iov_cursor at = iov_cursor_over(io->iovs, io->iov_count);
	char block[65536];

	must(io->status == BDEV_ST_OK);
	for (uint32_t i = 0; !l->writes && i < 2; i++) {
		iov_copy_out(block, &at, block_bytes);
		l->torn += !uniform(block, block_bytes);
	}
	if (io->lent)
		bdev_io_release(io);
	if (--l->left)
		loop_on(l);
	else
		sem_post(l->done);
}

/* A read that holds old and new bytes of one block is what RAM disks that copy in place do. */
static void no_block_is_ever_torn(void **state)
{
	const uint32_t sizes[] = { 512, 1536, 4096, 16384, 65536 };
	static struct looper loopers[6];

	for (uint32_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint32_t torn = 0;
		sem_t done;

		begin(8, sizes[s], 0, false);
		sem_init(&done, 0, 0);
		for (uint32_t i = 0; i < 6; i++) {
			struct looper *l = &loopers[i];

			*l = (struct looper){ .random = i + 1, .left = TORN_ROUNDS, .writes = i % 3 == 0, .done = &done,
			                      .blocks = 8, .ch = chs[i % 2] };
			l->buf = base_zalloc(2 * sizes[s]);
			l->iov = (struct iovec){ .iov_base = l->buf, .iov_len = 2 * sizes[s] };
			l->io.done = loop_done;
			rig_on(rig_core(&rig, i % 2), loop_on, l);
		}
		for (uint32_t i = 0; i < 6; i++)
			sem_wait(&done);
		for (uint32_t i = 0; i < 6; i++) {
			torn += loopers[i].torn;
			free(loopers[i].buf);
		}
		assert_int_equal(torn, 0);
		end();
	}
}

/* What is lent must keep its bytes while the block is written, unmapped and written again. */
static void lent_bytes_stay_as_they_were(void **state)
{
	static char a[8192], b[8192];
	struct iovec lent[4];
	struct rig_io io;

	begin(64, 4096, 0, false);
	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	assert_int_equal(io_do(BDEV_WRITE, 3, 2, a), BDEV_ST_OK);
	rig_io_init(&io, chs[0], BDEV_READ, 3, 2, NULL, 0);
	io.io.flags = BDEV_IO_LEND;
	io.io.iovs = lent;
	io.io.iov_max = 4;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(io.io.iov_count, 1); /* written in order: side by side, one piece */
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(io_do(BDEV_WRITE, 3, 2, b), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_UNMAP, 3, 2, NULL), BDEV_ST_OK);
	}
	assert_memory_equal(lent[0].iov_base, a, sizeof(a));
	bdev_io_release(&io.io);
	assert_int_equal(malloc_bytes_in_use(dev), 0);
	end();
}

/* --- thin ------------------------------------------------------------------------------------------------- */

/* Memory that did not come back would make a thin disk a slow leak; a terabyte must cost nothing. */
static void memory_comes_and_goes_with_data(void **state)
{
	static char buf[1 << 20];
	uint64_t blocks = (1ull << 40) / 4096;
	struct rig_io io;

	begin(blocks, 4096, 0, false);
	assert_int_equal(malloc_bytes_in_use(dev), 0);
	assert_int_equal(io_do(BDEV_READ, blocks - 256, 256, buf), BDEV_ST_OK);
	assert_int_equal(io_do(BDEV_WRITE_ZEROES, 0, 4096, NULL), BDEV_ST_OK);
	assert_int_equal(malloc_bytes_in_use(dev), 0);
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(io_do(BDEV_WRITE, i * 1000000ull, 256, buf), BDEV_ST_OK);
	assert_int_equal(malloc_bytes_in_use(dev), 40 << 20);
	rig_io_init(&io, chs[0], BDEV_GET_LBA_STATUS, 1000000, 5000, NULL, 0);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_true(io.io.lba_status.ret_mapped);
	assert_int_equal(io.io.lba_status.ret_blocks, 256);
	rig_io_init(&io, chs[0], BDEV_GET_LBA_STATUS, 1000256, 5000, NULL, 0);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_false(io.io.lba_status.ret_mapped);
	assert_int_equal(io_do(BDEV_UNMAP, 0, 40000000, NULL), BDEV_ST_OK);
	assert_int_equal(malloc_bytes_in_use(dev), 0);
	end();
}

static uint64_t resident_bytes(void)
{
	unsigned long all, resident;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &all, &resident), 2);
	fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Running out of memory is an answer, not the end: what is there can be read, and what is unmapped makes room. */
static void without_memory_a_write_is_refused(void **state)
{
	static char buf[1 << 20], back[1 << 20];
	struct rlimit before, tight;
	enum bdev_status st = BDEV_ST_OK;
	uint64_t blocks = 0, before_bytes;

#ifdef WITH_TSAN
	skip(); /* it needs memory of its own at any time */
#endif
	begin(1u << 20, 4096, 0, false);
	memset(buf, 3, sizeof(buf));
	before_bytes = resident_bytes();
	assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
	tight = before;
	tight.rlim_cur = 1;
	for (; blocks < 1024; blocks += 256)
		assert_int_equal(io_do(BDEV_WRITE, blocks, 256, buf), BDEV_ST_OK);
	/* A helper gets more ready: its thread shall have begun before memory is short. */
	for (uint32_t ms = 0; ms < 10000 && resident_bytes() < before_bytes + (6u << 20); ms++)
		usleep(1000);
	assert_int_equal(setrlimit(RLIMIT_DATA, &tight), 0);
	for (; blocks < 8192 && st == BDEV_ST_OK; blocks += 256)
		st = io_do(BDEV_WRITE, blocks, 256, buf);
	assert_int_equal(io_do(BDEV_READ, 0, 256, back), BDEV_ST_OK);
	assert_int_equal(io_do(BDEV_UNMAP, 0, 256, NULL), BDEV_ST_OK);
	assert_int_equal(io_do(BDEV_WRITE, 100, 128, buf), BDEV_ST_OK);
	assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
	assert_int_equal(st, BDEV_ST_NO_SPACE);
	assert_memory_equal(back, buf, sizeof(buf));
	assert_int_equal(io_do(BDEV_WRITE, blocks, 256, buf), BDEV_ST_OK);
	end();
}

/* Copied pages are shared until one of them is written to. */
static void a_copy_costs_no_memory_until_written(void **state)
{
	static char buf[64 * 4096], back[64 * 4096];
	struct rig_io io;

	begin(256, 4096, 0, false);
	memset(buf, 7, sizeof(buf));
	assert_int_equal(io_do(BDEV_WRITE, 0, 64, buf), BDEV_ST_OK);
	rig_io_init(&io, chs[0], BDEV_COPY, 128, 64, NULL, 0);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(malloc_bytes_in_use(dev), sizeof(buf));
	memset(back, 1, 4096);
	assert_int_equal(io_do(BDEV_WRITE, 130, 1, back), BDEV_ST_OK);
	assert_int_equal(io_do(BDEV_READ, 0, 64, back), BDEV_ST_OK);
	assert_memory_equal(back, buf, sizeof(buf));
	assert_int_equal(malloc_bytes_in_use(dev), sizeof(buf) + 4096);
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

static int resize_to(uint64_t blocks)
{
	struct resize r = { .blocks = blocks };

	rig_on(core_control(rig.core), resize_here, &r);
	while (!r.done)
		rig_on(core_control(rig.core), rig_nothing, NULL);
	return r.rc;
}

static void resize_three_times(void *arg)
{
	struct resize *r = arg;

	for (uint32_t i = 0; i < 3; i++)
		resize_here(&r[i]);
	must(r[0].done && !r[1].done && !r[2].done);
}

static void resize_and_delete(void *arg)
{
	struct resize *r = arg;

	resize_here(&r[0]);
	resize_here(&r[1]);
	must(!malloc_delete(rig.reg, "Malloc0", deleted, NULL, NULL));
}

/* Data of blocks that were cut off must not come back with a later growth. */
static void shrinking_forgets_and_growing_starts_empty(void **state)
{
	static char buf[64 * 512], back[64 * 512], zero[64 * 512];

	begin(64, 512, 0, false);
	memset(buf, 5, sizeof(buf));
	assert_int_equal(io_do(BDEV_WRITE, 0, 64, buf), BDEV_ST_OK);
	assert_int_equal(resize_to(11), 0);
	assert_int_equal(io_do(BDEV_READ, 11, 1, back), BDEV_ST_BAD_RANGE);
	assert_int_equal(resize_to(4000), 0);
	assert_int_equal(io_do(BDEV_READ, 0, 64, back), BDEV_ST_OK);
	assert_memory_equal(back, buf, 11 * 512);
	assert_memory_equal(back + 11 * 512, zero, 53 * 512);
	assert_int_equal(io_do(BDEV_WRITE, 3999, 1, buf), BDEV_ST_OK);
	assert_int_equal(resize_to(1ull << 40), -ENOSPC);
	end();
}

/* Who changes a disk's size while an earlier change gives back its memory would be refused. */
static void a_change_of_size_waits_for_the_one_before(void **state)
{
	struct resize r[3] = { { .blocks = 64 }, { .blocks = 32 }, { .blocks = 1u << 20 } };
	static char buf[64 * 512], back[64 * 512], zero[64 * 512];

	begin(1u << 20, 512, 0, false);
	memset(buf, 5, sizeof(buf));
	assert_int_equal(io_do(BDEV_WRITE, 0, 64, buf), BDEV_ST_OK);
	rig_on(core_control(rig.core), resize_three_times, r);
	while (!r[2].done)
		rig_on(core_control(rig.core), rig_nothing, NULL);
	assert_int_equal(r[1].rc, 0);
	assert_int_equal(r[2].rc, 0);
	assert_int_equal(io_do(BDEV_READ, 0, 64, back), BDEV_ST_OK);
	assert_memory_equal(back, buf, 32 * 512);
	assert_memory_equal(back + 32 * 512, zero, 32 * 512);
	end();
}

/* The answer of one that waits would never come, or the disk never go. */
static void a_change_of_size_that_waits_ends_with_the_disk(void **state)
{
	struct resize r[2] = { { .blocks = 64 }, { .blocks = 128 } };

	begin(1u << 20, 512, 0, false);
	sem_init(&gone, 0, 0);
	rig_on(core_control(rig.core), resize_and_delete, r);
	while (!r[1].done)
		rig_on(core_control(rig.core), rig_nothing, NULL);
	assert_int_equal(r[0].rc, 0);
	assert_int_equal(r[1].rc, -ENODEV);
	let_go();
	sem_wait(&gone);
	rig_stop(&rig);
}

static void resized_and_deletes(void *arg, const struct err *e)
{
	must(!e);
	must(!malloc_delete(rig.reg, "Malloc0", deleted, NULL, NULL));
}

static void resize_twice_and_delete(void *arg)
{
	resize_here(arg);
	malloc_resize(rig.reg, "Malloc0", 128, resized_and_deletes, NULL);
}

/* As a configuration that is loaded does: its next call is made within the answer. The disk would be looked at after
 * it had gone. */
static void who_waited_may_delete_the_disk_at_once(void **state)
{
	struct resize r = { .blocks = 64 };

	begin(1u << 20, 512, 0, false);
	sem_init(&gone, 0, 0);
	let_go();
	rig_on(core_control(rig.core), resize_twice_and_delete, &r);
	sem_wait(&gone);
	assert_int_equal(r.rc, 0);
	rig_stop(&rig);
}

/* A disk that is larger than the machine is mostly holes; making it smaller must not cost memory for them. */
static void cutting_off_holes_takes_no_memory(void **state)
{
	uint64_t before;

#ifdef WITH_TSAN
	skip(); /* its notes about each slot are memory too */
#endif
	begin(1ull << 23, 4096, 0, false); /* its table would be 64 MiB */
	before = resident_bytes();
	assert_int_equal(resize_to(16), 0);
	assert_int_equal(resize_to(17), 0); /* waits until all was given back */
	assert_true(resident_bytes() < before + (16u << 20));
	end();
}

static void bad_options_get_a_sentence(void **state)
{
	const struct malloc_opts bad[] = {
		{ .block_count = 0, .block_size = 512 }, { .block_count = 1, .block_size = 513 },
		{ .block_count = 1, .block_size = 512, .md_size = 12 }, { .block_count = UINT64_MAX, .block_size = 4096 },
		{ .block_count = 1, .block_size = 512, .physical_block_size = 1000 },
		{ .name = "Malloc0", .block_count = 1, .block_size = 512 },
	};

	begin(1, 512, 0, false);
	for (uint32_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct create c = { .opts = bad[i] };

		rig_on(core_control(rig.core), create_here, &c);
		assert_true(c.rc < 0);
		assert_true(strlen(c.err.text) > 10);
	}
	end();
}

/* Blocks declared bad stay bad, on every core and for everything that would read them, until they are written. */
static void uncorrectable_blocks_are_errors_until_written(void **state)
{
	static const uint32_t sizes[] = { 512, 4096, 65536 };
	static char buf[16 * 65536];

	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct rig_io io;

		begin(1000, sizes[i], 0, false);
		assert_int_equal(io_do(BDEV_WRITE, 0, 16, buf), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_WRITE_UNCORRECTABLE, 3, 130, NULL), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_READ, 0, 3, buf), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_READ, 0, 4, buf), BDEV_ST_MEDIA_ERROR);
		assert_int_equal(io_do(BDEV_READ, 132, 1, buf), BDEV_ST_MEDIA_ERROR);
		assert_int_equal(io_do(BDEV_READ, 133, 1, buf), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_COMPARE, 4, 2, buf), BDEV_ST_MEDIA_ERROR);
		assert_int_equal(io_do(BDEV_VERIFY, 100, 500, NULL), BDEV_ST_MEDIA_ERROR);
		assert_int_equal(rig_do(&rig, 1, chs[1], BDEV_READ, 64, 1, buf, sizes[i]), BDEV_ST_MEDIA_ERROR);
		rig_io_init(&io, chs[0], BDEV_COPY, 500, 4, NULL, 0);
		io.io.copy.src_lba = 2;
		assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_MEDIA_ERROR);

		assert_int_equal(io_do(BDEV_WRITE, 3, 1, buf), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_READ, 0, 4, buf), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_READ, 4, 1, buf), BDEV_ST_MEDIA_ERROR);
		assert_int_equal(io_do(BDEV_WRITE, 4, 16, buf), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_WRITE_ZEROES, 20, 40, NULL), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_UNMAP, 60, 40, NULL), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_VERIFY, 0, 100, NULL), BDEV_ST_OK);
		rig_io_init(&io, chs[0], BDEV_COPY, 100, 30, NULL, 0);
		io.io.copy.src_lba = 0;
		assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_VERIFY, 0, 130, NULL), BDEV_ST_OK);
		assert_int_equal(io_do(BDEV_VERIFY, 130, 3, NULL), BDEV_ST_MEDIA_ERROR);

		assert_int_equal(io_do(BDEV_WRITE_UNCORRECTABLE, 990, 10, NULL), BDEV_ST_OK);
		assert_int_equal(resize_to(995), 0);
		assert_int_equal(resize_to(1000), 0);
		assert_int_equal(io_do(BDEV_READ, 994, 1, buf), BDEV_ST_MEDIA_ERROR);
		assert_int_equal(io_do(BDEV_READ, 995, 5, buf), BDEV_ST_OK);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_shape_is_a_disk),
		cmocka_unit_test(no_block_is_ever_torn),
		cmocka_unit_test(lent_bytes_stay_as_they_were),
		cmocka_unit_test(memory_comes_and_goes_with_data),
		cmocka_unit_test(without_memory_a_write_is_refused),
		cmocka_unit_test(a_copy_costs_no_memory_until_written),
		cmocka_unit_test(shrinking_forgets_and_growing_starts_empty),
		cmocka_unit_test(a_change_of_size_waits_for_the_one_before),
		cmocka_unit_test(a_change_of_size_that_waits_ends_with_the_disk),
		cmocka_unit_test(who_waited_may_delete_the_disk_at_once),
		cmocka_unit_test(cutting_off_holes_takes_no_memory),
		cmocka_unit_test(uncorrectable_blocks_are_errors_until_written),
		cmocka_unit_test(bad_options_get_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
