/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_test.c: what a device lacks is done for it, on real reactors: each as the device would have done it itself. */
#include "bdev/waist_rig_test.h"

static void emulated_compare_says_where(void **state)
{
	struct rig_io io;

	begin();
	connect_all(true);
	fill(buf, sizeof(buf), 3);
	assert_int_equal(io_do(0, BDEV_WRITE, 10, 128, buf, sizeof(buf)), BDEV_ST_OK);
	assert_int_equal(io_do(1, BDEV_COMPARE, 10, 128, buf, sizeof(buf)), BDEV_ST_OK);
	buf[50001] ^= 1;
	rig_io_init(&io, chs[0], BDEV_COMPARE, 10, 128, buf, sizeof(buf));
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_MISCOMPARE);
	assert_int_equal(io.io.miscompare_offset, 50001);
	end();
}

static void emulated_zeroes_verify_and_status(void **state)
{
	struct rig_io io;

	begin();
	connect_all(true);
	memset(fake.media, 0x55, FAKE_BLOCKS * BS);
	assert_int_equal(io_do(0, BDEV_WRITE_ZEROES, 1, FAKE_BLOCKS - 2, NULL, 0), BDEV_ST_OK);
	for (size_t i = BS; i < (FAKE_BLOCKS - 1) * BS; i++)
		assert_int_equal(fake.media[i], 0);
	assert_int_equal(fake.media[BS - 1], 0x55);
	assert_int_equal(fake.media[(FAKE_BLOCKS - 1) * BS], 0x55);
	assert_int_equal(io_do(1, BDEV_VERIFY, 0, FAKE_BLOCKS, NULL, 0), BDEV_ST_OK);
	fake.fail_at = fake.seen + 2;
	assert_int_equal(io_do(1, BDEV_VERIFY, 0, FAKE_BLOCKS, NULL, 0), BDEV_ST_MEDIA_ERROR);
	rig_io_init(&io, chs[0], BDEV_GET_LBA_STATUS, 7, 100, NULL, 0);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_true(io.io.lba_status.ret_mapped);
	assert_int_equal(io.io.lba_status.ret_blocks, 100);
	assert_int_equal(io_do(0, BDEV_FLUSH, 0, 0, NULL, 0), BDEV_ST_OK); /* no cache: nothing to do */
	end();
}

/* A copy whose ranges overlap would read what it has just written. */
static void emulated_copy_may_overlap(void **state)
{
	static char before[FAKE_BLOCKS * BS];
	const struct { uint64_t src, dst, count; } cases[] = {
		{ 0, 2000, 1000 }, { 0, 1, 3000 }, { 1000, 1, 3000 }, { 500, 700, 1 }, { 0, 128, 256 }, { 128, 0, 256 },
	};

	begin();
	connect_all(true);
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig_io io;

		fill(fake.media, FAKE_BLOCKS * BS, i);
		memcpy(before, fake.media, sizeof(before));
		rig_io_init(&io, chs[0], BDEV_COPY, cases[i].dst, cases[i].count, NULL, 0);
		io.io.copy.src_lba = cases[i].src;
		assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
		assert_memory_equal(fake.media + cases[i].dst * BS, before + cases[i].src * BS, cases[i].count * BS);
		assert_memory_equal(fake.media, before, cases[i].dst * BS);
	}
	end();
}

/* FUA without a flush after it is a broken promise; with the flush before it, too. */
static void emulated_fua_flushes_after_the_write(void **state)
{
	struct rig_io io;

	begin();
	fake.bdev.cache = BDEV_CACHE_VOLATILE;
	fake.bdev.native_ops |= BDEV_BIT(FLUSH);
	fake.bdev.max_io_blocks = 4;
	connect_all(true);
	rig_io_init(&io, chs[0], BDEV_WRITE, 0, 8, buf, 8 * BS);
	io.io.flags = BDEV_IO_FUA;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(fake.logged, 3);
	assert_int_equal(fake.log[1].op, BDEV_WRITE);
	assert_int_equal(fake.log[2].op, BDEV_FLUSH);
	assert_int_equal(fake.log[0].flags & BDEV_IO_FUA, 0);
	rig_io_init(&io, chs[0], BDEV_READ, 0, 1, buf, BS);
	io.io.flags = BDEV_IO_FUA;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(fake.log[3].op, BDEV_FLUSH);
	assert_int_equal(fake.log[4].op, BDEV_READ);
	end();
}

/* A device that honours FUA itself has to hear of it in each write that an operation is made of. */
static void native_fua_reaches_emulated_writes(void **state)
{
	struct rig_io io;

	begin();
	fake.bdev.cache = BDEV_CACHE_VOLATILE;
	fake.bdev.fua = true;
	connect_all(true);
	rig_io_init(&io, chs[0], BDEV_WRITE_ZEROES, 0, 8, NULL, 0);
	io.io.flags = BDEV_IO_FUA | BDEV_IO_DEALLOCATE;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(fake.logged, 1);
	assert_int_equal(fake.log[0].flags, BDEV_IO_FUA);
	rig_io_init(&io, chs[0], BDEV_COPY, 8, 8, NULL, 0);
	io.io.copy.src_lba = 0;
	io.io.flags = BDEV_IO_FUA;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(fake.logged, 3);
	assert_int_equal(fake.log[2].op, BDEV_WRITE);
	assert_int_equal(fake.log[2].flags, BDEV_IO_FUA);
	end();
}

static void interleaved_and_separate_metadata_travel(void **state)
{
	for (uint32_t interleaved = 0; interleaved < 2; interleaved++) {
		struct iovec md = { .iov_base = other, .iov_len = 4 * 8 };
		uint32_t block = interleaved ? BS + 8 : BS;
		struct rig_io io;

		begin();
		fake.bdev.md_size = 8;
		fake.bdev.md_interleaved = interleaved;
		connect_all(true);
		fill(buf, sizeof(buf), 9);
		fill(other, sizeof(other), 77);
		rig_io_init(&io, chs[0], BDEV_WRITE, 3, 4, buf, 4 * block);
		io.io.md_iovs = interleaved ? NULL : &md;
		io.io.md_iov_count = 1;
		assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
		assert_memory_equal(fake.media + 3 * (BS + 8), buf, BS);
		assert_memory_equal(fake.media + 3 * (BS + 8) + BS, interleaved ? buf + BS : other, 8);
		rig_io_init(&io, chs[0], BDEV_COPY, 30, 4, NULL, 0);
		io.io.copy.src_lba = 3;
		assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
		assert_memory_equal(fake.media + 3 * (BS + 8), fake.media + 30 * (BS + 8), 4 * (BS + 8));
		rig_io_init(&io, chs[0], BDEV_COMPARE, 30, 4, buf, 4 * block);
		io.io.md_iovs = interleaved ? NULL : &md;
		io.io.md_iov_count = 1;
		assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
		assert_int_equal(io_do(0, BDEV_WRITE_ZEROES, 30, 1, NULL, 0), BDEV_ST_OK);
		assert_int_equal(fake.media[30 * (BS + 8) + BS + 7], 0);
		end();
	}
}

/* --- compare and write ------------------------------------------------------------------------------------ */

#define ROUNDS 300

struct adder {
	struct bdev_io io;
	struct iovec iov;
	struct bdev_channel *ch;
	uint64_t words[2 * BS / 8];
	uint32_t left;
	sem_t *done;
};

/* Add one to block 7 by compare-and-write; on a miscompare look again. */
static void add_looked(struct bdev_io *io);
static void add_written(struct bdev_io *io);

static void add_look(struct adder *a)
{
	a->iov = (struct iovec){ .iov_base = a->words, .iov_len = BS };
	a->io.op = BDEV_READ;
	a->io.done = add_looked;
	bdev_submit(a->ch, &a->io);
}

static void add_looked(struct bdev_io *io)
{
	struct adder *a = container_of(io, struct adder, io);

	memcpy(a->words + BS / 8, a->words, BS);
	a->words[BS / 8]++;
	a->iov.iov_len = 2 * BS;
	a->io.op = BDEV_COMPARE_AND_WRITE;
	a->io.done = add_written;
	bdev_submit(a->ch, &a->io);
}

static void add_written(struct bdev_io *io)
{
	struct adder *a = container_of(io, struct adder, io);

	if (io->status == BDEV_ST_OK)
		a->left--;
	else
		must(io->status == BDEV_ST_MISCOMPARE);
	if (a->left)
		add_look(a);
	else
		sem_post(a->done);
}

static void add_start(void *arg)
{
	add_look(arg);
}

/* Two that lock a block by compare-and-write would both believe they have it. */
static void compare_and_write_is_atomic_across_cores(void **state)
{
	static struct adder adders[6];
	uint64_t sum;
	sem_t done;

	begin();
	connect_all(true);
	sem_init(&done, 0, 0);
	for (uint32_t i = 0; i < 6; i++) {
		memset(&adders[i], 0, sizeof(adders[i]));
		adders[i].io.lba = 7;
		adders[i].io.count = 1;
		adders[i].io.iovs = &adders[i].iov;
		adders[i].io.iov_count = 1;
		adders[i].ch = chs[i % 3];
		adders[i].left = ROUNDS;
		adders[i].done = &done;
		rig_on(rig_core(&rig, i % 3), add_start, &adders[i]);
	}
	for (uint32_t i = 0; i < 6; i++)
		sem_wait(&done);
	memcpy(&sum, fake.media + 7 * BS, sizeof(sum));
	assert_int_equal(sum, 6 * ROUNDS);
	rig_settle(&rig);
	end();
}

/* A write that began before the lock must end before the compare; one that begins after it must wait. */
static void a_lock_waits_for_older_writes_and_holds_newer_ones(void **state)
{
	struct rig_io older, caw, newer, elsewhere;

	begin();
	connect_all(true);
	memset(buf, 0, sizeof(buf));
	memset(buf + BS, 2, BS);
	memset(other, 1, sizeof(other));
	fake.holding = true;
	rig_io_init(&older, chs[1], BDEV_WRITE, 7, 1, other, BS);
	rig_io_start(&rig, 1, &older);
	rig_io_init(&caw, chs[0], BDEV_COMPARE_AND_WRITE, 7, 1, buf, 2 * BS);
	rig_io_start(&rig, 0, &caw);
	rig_settle(&rig);
	assert_int_equal(fake.logged, 1); /* the compare has not begun */
	rig_io_init(&newer, chs[1], BDEV_WRITE, 6, 2, other, 2 * BS);
	rig_io_start(&rig, 1, &newer);
	rig_io_init(&elsewhere, chs[1], BDEV_WRITE, 8, 1, other, BS);
	rig_io_start(&rig, 1, &elsewhere);
	assert_int_equal(fake.logged, 2); /* elsewhere, not newer */
	fake.holding = false;
	rig_on(rig_core(&rig, 1), fake_let_go, chs[1]);
	assert_int_equal(rig_io_wait(&caw), BDEV_ST_MISCOMPARE); /* it saw the older write */
	assert_int_equal(rig_io_wait(&older), BDEV_ST_OK);
	assert_int_equal(rig_io_wait(&elsewhere), BDEV_ST_OK);
	assert_int_equal(rig_io_wait(&newer), BDEV_ST_OK);
	assert_int_equal(fake.media[7 * BS], 1);
	end();
}

/* --- at depth --------------------------------------------------------------------------------------------- */

static void starve(void *arg) { mem_starve(rig.core, *(uint32_t *)arg); }

/* Emulations hold contexts and buffers while they wait for others: all at once must still end. */
static void emulations_at_depth_with_starved_buffers_end(void **state)
{
	enum { DEPTH = 400 };
	static const enum bdev_op ops[] = { BDEV_COPY, BDEV_VERIFY, BDEV_WRITE_ZEROES, BDEV_COMPARE_AND_WRITE,
	                                    BDEV_COMPARE, BDEV_WRITE };
	struct rig_io *ios = base_zalloc(DEPTH * sizeof(*ios));
	uint32_t every = 2, ended = 0;

	begin();
	fake.bdev.cache = BDEV_CACHE_VOLATILE;
	fake.bdev.native_ops |= BDEV_BIT(FLUSH);
	fake.bdev.max_io_blocks = 5;
	connect_all(true);
	rig_on(core_control(rig.core), starve, &every);
	memset(buf, 0, sizeof(buf));
	for (uint32_t i = 0; i < DEPTH; i++) {
		enum bdev_op op = ops[i % ARRAY_SIZE(ops)];
		uint32_t count = op == BDEV_COMPARE_AND_WRITE ? 2 : 17;
		bool data = op == BDEV_COMPARE || op == BDEV_WRITE || op == BDEV_COMPARE_AND_WRITE;

		rig_io_init(&ios[i], chs[i % 3], op, i % 50, count, data ? buf : NULL,
		            op == BDEV_COMPARE_AND_WRITE ? 2 * count * BS : count * BS);
		ios[i].io.flags = i % 5 == 0 ? BDEV_IO_FUA : 0;
		ios[i].io.copy.src_lba = op == BDEV_COPY ? (i * 7) % 60 : 0;
		rig_io_start(&rig, i % 3, &ios[i]);
	}
	for (uint32_t i = 0; i < DEPTH; i++)
		ended += rig_io_wait(&ios[i]) == BDEV_ST_OK;
	assert_int_equal(ended, DEPTH); /* everything is zero, so every compare agrees */
	every = 0;
	rig_on(core_control(rig.core), starve, &every);
	end();
	free(ios);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(emulated_compare_says_where),
		cmocka_unit_test(emulated_zeroes_verify_and_status),
		cmocka_unit_test(emulated_copy_may_overlap),
		cmocka_unit_test(emulated_fua_flushes_after_the_write),
		cmocka_unit_test(native_fua_reaches_emulated_writes),
		cmocka_unit_test(interleaved_and_separate_metadata_travel),
		cmocka_unit_test(compare_and_write_is_atomic_across_cores),
		cmocka_unit_test(a_lock_waits_for_older_writes_and_holds_newer_ones),
		cmocka_unit_test(emulations_at_depth_with_starved_buffers_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
