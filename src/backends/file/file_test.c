/* SPDX-License-Identifier: BSD-3-Clause */
/* file_test.c: what goes wrong under a file, by an engine that answers what the test says: short transfers, errors,
 * devices that go. An answer that is lost, given twice or wrong is a host's data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backends/file/file_disk.h"
#include "backends/file/file_engine.h"
#include "backends/file/file_rig_test.h"

#define BLOCK 512u
#define BLOCKS 2048u

static struct file_rig fr;

/* --- an engine that does as it is told -------------------------------------------------------------------- */

static int64_t answers[16];          /* of attempts to come; MOVE: do it, MOVE + n: at most n bytes */
static uint32_t answer_count, answer_at, attempts;
static struct file_io *held;
static struct defer later;
static int64_t held_answer;

#define MOVE (1ll << 40)
#define HOLD (1ll << 41)             /* until the test lets it go */

static int fake_probe(void) { return 0; }
static int fake_open(struct file_lane *l) { return 0; }
static void fake_close(struct file_lane *l) {}

static void fake_later(struct defer *d)
{
	struct file_io *f = held;

	held = NULL;
	file_io_moved(f, held_answer);
}

static int64_t fake_move(struct file_io *f, uint64_t most)
{
	int64_t sum = 0;

	if (f->io->op == BDEV_FLUSH)
		return 0;
	for (uint32_t i = 0; i < f->iov_count && most; i++) {
		size_t len = min_u64(f->iovs[i].iov_len, most);
		ssize_t n = f->io->op == BDEV_READ ? pread(f->fd, f->iovs[i].iov_base, len, (off_t)f->at + sum) :
		                                     pwrite(f->fd, f->iovs[i].iov_base, len, (off_t)f->at + sum);

		if (n < 0)
			return -errno;
		sum += n;
		most -= (uint64_t)n;
		if ((size_t)n < len)
			break;
	}
	return sum;
}

static void fake_start(struct file_lane *l, struct file_io *f)
{
	int64_t a = answer_at < answer_count ? answers[answer_at++] : MOVE;

	attempts++;
	held = f;
	if (a == HOLD)
		return;
	held_answer = a < MOVE ? a : fake_move(f, a == MOVE ? UINT32_MAX : (uint64_t)(a - MOVE));
	defer_run(&later, fake_later);
}

static bool fake_abort(struct file_lane *l, struct file_io *f)
{
	held_answer = -ECANCELED;
	defer_run(&later, fake_later);
	return true;
}

static const struct file_engine fake = {
	.name = "fake", .sleeps = "inline", .buffered = true, .flushes = true, .probe = fake_probe, .open = fake_open,
	.close = fake_close, .start = fake_start, .abort = fake_abort,
};

static struct file_backend *make_fake(struct bdev_registry *reg)
{
	static const struct file_engine *const engines[] = { &fake, NULL };

	return file_backend_make(reg, "Fake disk", engines);
}

static void begin(void)
{
	file_rig_disk(&fr, make_fake, ".", BLOCK * BLOCKS, BLOCK);
	answer_count = answer_at = attempts = 0;
}

static void say(uint32_t count, const int64_t *list)
{
	memcpy(answers, list, count * sizeof(*list));
	answer_count = count;
	answer_at = attempts = 0;
}
#define SAY(...) say(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), (int64_t[]){ __VA_ARGS__ })

static void fill(uint8_t *buf, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

/* --- transfers that need more than one attempt ------------------------------------------------------------ */

/* In pieces, by several iovecs, interrupted: what is read is what was written. */
static void short_transfers_go_on(void **state)
{
	static _Alignas(4096) uint8_t out[16 * BLOCK], in[16 * BLOCK];
	struct iovec iovs[12] = { 0 };
	struct rig_io io;

	begin();
	fill(out, sizeof(out), 1);
	SAY(MOVE + 3 * BLOCK, -EINTR, MOVE + BLOCK, -EAGAIN, -EAGAIN, MOVE + 5 * BLOCK);
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 7, 16, out), BDEV_ST_OK);
	assert_int_equal(attempts, 7);

	rig_io_init(&io, fr.ch[0], BDEV_READ, 7, 16, in, sizeof(in));
	for (uint32_t i = 0; i < 12; i++)
		iovs[i] = (struct iovec){ in + i * BLOCK, i == 11 ? 5 * BLOCK : BLOCK };
	io.io.iovs = iovs;
	io.io.iov_count = 12;
	SAY(MOVE + BLOCK, MOVE, MOVE + BLOCK, -EINTR);
	assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_OK);
	assert_memory_equal(in, out, sizeof(in));
	file_rig_end(&fr);
}

/* An engine that never gets round to it is not asked for ever. */
static void endless_again_goes_to_a_thread(void **state)
{
	static _Alignas(4096) uint8_t out[BLOCK], in[BLOCK];

	begin();
	fill(out, sizeof(out), 2);
	SAY(-EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN);
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 1, 1, out), BDEV_ST_OK);
	assert_int_equal(attempts, 8);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 1, 1, in), BDEV_ST_OK);
	assert_memory_equal(in, out, sizeof(in));
	file_rig_end(&fr);
}

/* Memory that O_DIRECT does not take goes by way of aligned buffers; the caller's neighbours stay as they are. */
static void unaligned_memory_is_bounced(void **state)
{
	static _Alignas(4096) uint8_t out[9 * BLOCK + 16], in[9 * BLOCK + 16];

	begin();
	fill(out, sizeof(out), 3);
	memset(in, 0xee, sizeof(in));
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 100, 9, out + 5), BDEV_ST_OK);
	SAY(MOVE + BLOCK, MOVE);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 100, 9, in + 3), BDEV_ST_OK);
	assert_memory_equal(in + 3, out + 5, 9 * BLOCK);
	assert_int_equal(in[2], 0xee);
	assert_int_equal(in[9 * BLOCK + 3], 0xee);
	file_rig_end(&fr);
}

/* Disks that take data at any address still want whole sectors in each piece; a guest's memory comes in pieces of
 * pages. */
static void pieces_that_are_no_sectors_are_bounced(void **state)
{
	static _Alignas(4096) uint8_t out[2 * BLOCK], in[4 * BLOCK];
	struct rig_io io;

	begin();
	file_disk_of(fr.bdev)->mem_align = 4;
	fill(out, sizeof(out), 4);
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 7, 2, out), BDEV_ST_OK);
	rig_io_init(&io, fr.ch[0], BDEV_READ, 7, 2, in, sizeof(out));
	io.io.iovs = (struct iovec[]){ { in, BLOCK + 128 }, { in + 2 * BLOCK, BLOCK - 128 } };
	io.io.iov_count = 2;
	assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_OK);
	assert_memory_equal(in, out, BLOCK + 128);
	assert_memory_equal(in + 2 * BLOCK, out + BLOCK + 128, BLOCK - 128);
	file_rig_end(&fr);
}

/* Each second time that aligned memory is asked for there is none: the I/O waits in line, and is done all the same. */
static void bounced_when_memory_is_hard_to_get(void **state)
{
	static _Alignas(4096) uint8_t out[9 * BLOCK + 16], in[9 * BLOCK + 16];

	begin();
	mem_starve(fr.rig.core, 2);
	for (uint32_t n = 0; n < 6; n++) {
		fill(out, sizeof(out), n);
		assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 10 * n, 9, out + 5), BDEV_ST_OK);
		assert_int_equal(file_rig_do(&fr, BDEV_READ, 10 * n, 9, in + 3), BDEV_ST_OK);
		assert_memory_equal(in + 3, out + 5, 9 * BLOCK);
	}
	mem_starve(fr.rig.core, 0);
	file_rig_end(&fr);
}

/* --- errors ----------------------------------------------------------------------------------------------- */

static void errors_are_said_in_the_waists_words(void **state)
{
	static const struct { int error; enum bdev_status status; } rows[] = {
		{ EIO, BDEV_ST_MEDIA_ERROR }, { EILSEQ, BDEV_ST_MEDIA_ERROR }, { ENODATA, BDEV_ST_MEDIA_ERROR },
		{ ENOSPC, BDEV_ST_NO_SPACE }, { EDQUOT, BDEV_ST_NO_SPACE }, { ENOMEM, BDEV_ST_BUSY },
		{ EINVAL, BDEV_ST_BAD_FIELD }, { EOPNOTSUPP, BDEV_ST_UNSUPPORTED }, { EROFS, BDEV_ST_WRITE_PROTECTED },
		{ EBADE, BDEV_ST_RESERVED }, { ETIMEDOUT, BDEV_ST_TIMED_OUT }, { ECANCELED, BDEV_ST_ABORTED },
	};
	static _Alignas(4096) uint8_t buf[BLOCK];

	begin();
	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		SAY(-rows[i].error);
		assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 0, 1, buf), rows[i].status);
	}
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 0, 1, buf), BDEV_ST_OK); /* the next one has another chance */
	file_rig_end(&fr);
}

/* The system forgets what it could not write; saying yes to the next flush would be a lie. */
static void a_failed_flush_fails_the_disk_until_it_is_opened_again(void **state)
{
	static _Alignas(4096) uint8_t buf[BLOCK];

	begin();
	SAY(-EIO);
	assert_int_equal(file_rig_do(&fr, BDEV_FLUSH, 0, 0, NULL), BDEV_ST_FAILED);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(file_rig_do(&fr, BDEV_FLUSH, 0, 0, NULL), BDEV_ST_FAILED);
		assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 0, 1, buf), BDEV_ST_FAILED);
		assert_int_equal(file_rig_do(&fr, BDEV_READ, 0, 1, buf), BDEV_ST_FAILED);
	}
	assert_int_equal(attempts, 1);
	assert_int_equal(file_rig_rescan(&fr), 0);
	assert_int_equal(file_rig_do(&fr, BDEV_FLUSH, 0, 0, NULL), BDEV_ST_OK);
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 0, 1, buf), BDEV_ST_OK);
	file_rig_end(&fr);
}

/* Also for want of room: it is said once, of what is lost by then. */
static void a_flush_that_found_no_room_fails_the_disk(void **state)
{
	const int errors[] = { ENOSPC, EDQUOT, ETIMEDOUT, EROFS };

	for (uint32_t i = 0; i < ARRAY_SIZE(errors); i++) {
		begin();
		SAY(-errors[i]);
		assert_int_equal(file_rig_do(&fr, BDEV_FLUSH, 0, 0, NULL), BDEV_ST_FAILED);
		assert_int_equal(file_rig_do(&fr, BDEV_FLUSH, 0, 0, NULL), BDEV_ST_FAILED);
		assert_int_equal(attempts, 1);
		file_rig_end(&fr);
	}
}

/* A read from the media comes by way of a thread that writes out first, and brings what was written. */
static void a_read_through_writes_out_first(void **state)
{
	static _Alignas(4096) uint8_t out[BLOCK], in[BLOCK];
	struct rig_io io;

	begin();
	fill(out, sizeof(out), 9);
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 5, 1, out), BDEV_ST_OK);
	assert_int_equal(attempts, 1);
	rig_io_init(&io, fr.ch[0], BDEV_READ, 5, 1, in, sizeof(in));
	io.io.flags = BDEV_IO_FUA;
	assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(attempts, 1);
	assert_memory_equal(in, out, sizeof(in));
	file_rig_end(&fr);
}

static void let_go_here(void *arg)
{
	file_io_moved(arg, 0);
}

/* Of two that run at a time the system tells only one: the other may not say yes after it. */
static void a_flush_beside_a_failed_one_fails(void **state)
{
	struct rig_io io;
	struct file_io *first;

	begin();
	SAY(HOLD, -EIO);
	rig_io_init(&io, fr.ch[0], BDEV_FLUSH, 0, 0, NULL, 0);
	rig_io_start(&fr.rig, 0, &io);
	rig_settle(&fr.rig);
	first = held;
	assert_int_equal(file_rig_do(&fr, BDEV_FLUSH, 0, 0, NULL), BDEV_ST_FAILED);
	rig_on(rig_core(&fr.rig, 0), let_go_here, first);
	assert_int_equal(rig_io_wait(&io), BDEV_ST_FAILED);
	file_rig_end(&fr);
}

static void fail_here(void *arg)
{
	file_io_moved(arg, -EIO);
}

/* The other one hears yes while the one that is told of the failure has not been heard yet: on the same core, or on
 * another. What begins later keeps nobody waiting. */
static void a_flush_waits_for_those_beside_it(void **state)
{
	for (uint32_t turn = 0; turn < 8; turn++) {
		uint32_t core = fr.cores > 1 ? turn % 2 : 0;
		bool fails = turn & 2, again = turn & 4;
		struct rig_io first, second, third;
		struct file_io *held_first, *held_third;

		begin();
		SAY(HOLD, MOVE, HOLD);
		rig_io_init(&first, fr.ch[0], BDEV_FLUSH, 0, 0, NULL, 0);
		rig_io_start(&fr.rig, 0, &first);
		rig_settle(&fr.rig);
		held_first = held;
		rig_io_init(&second, fr.ch[core], BDEV_FLUSH, 0, 0, NULL, 0);
		rig_io_start(&fr.rig, core, &second);
		rig_settle(&fr.rig);
		assert_int_equal(attempts, 2);
		rig_io_init(&third, fr.ch[0], BDEV_FLUSH, 0, 0, NULL, 0);
		rig_io_start(&fr.rig, 0, &third);
		rig_settle(&fr.rig);
		held_third = held;
		assert_int_equal(attempts, 3);
		assert_false(rig_io_ended(&second));
		rig_on(rig_core(&fr.rig, 0), fails ? fail_here : let_go_here, held_first);
		assert_int_equal(rig_io_wait(&second), fails ? BDEV_ST_FAILED : BDEV_ST_OK);
		rig_settle(&fr.rig);
		assert_int_equal(rig_io_ended(&first), fails); /* good: the third runs beside it, and may hear of a failure */
		assert_false(rig_io_ended(&third));
		if (again) /* that it is good again does not make good what was lost before */
			assert_int_equal(file_rig_rescan(&fr), 0);
		rig_on(rig_core(&fr.rig, 0), let_go_here, held_third);
		assert_int_equal(rig_io_wait(&third), fails ? BDEV_ST_FAILED : BDEV_ST_OK);
		assert_int_equal(rig_io_wait(&first), fails ? BDEV_ST_FAILED : BDEV_ST_OK);
		if (again || !fails)
			assert_int_equal(file_rig_do(&fr, BDEV_FLUSH, 0, 0, NULL), BDEV_ST_OK);
		file_rig_end(&fr);
	}
}

/* --- many at a time, on helper threads, from two cores: each ends --- */

#define CROWD 8u
#define ROUNDS 100u

struct one_of_many {
	struct bdev_io io;
	struct bdev_channel *ch;
	uint32_t left;
	_Atomic uint32_t *failed;
	sem_t *done;
};

static void again_and_again(struct bdev_io *io)
{
	struct one_of_many *m = container_of(io, struct one_of_many, io);

	if (io->status != BDEV_ST_OK)
		atomic_fetch_add(m->failed, 1);
	if (--m->left)
		bdev_submit(m->ch, io);
	else
		sem_post(m->done);
}

static void begin_here(void *arg)
{
	struct one_of_many *m = arg;

	m->io = (struct bdev_io){ .op = BDEV_FLUSH, .done = again_and_again };
	bdev_submit(m->ch, &m->io);
}

static struct file_backend *make_threads(struct bdev_registry *reg)
{
	static const struct file_engine *const engines[] = { NULL };

	return file_backend_make(reg, "Fake disk", engines);
}

static void a_crowd_of_flushes_ends(void **state)
{
	static struct one_of_many crowd[2 * CROWD];
	_Atomic uint32_t failed;
	sem_t done;

	sem_init(&done, 0, 0);
	atomic_init(&failed, 0);
	file_rig_disk(&fr, make_threads, ".", BLOCK * BLOCKS, BLOCK);
	for (uint32_t i = 0; i < ARRAY_SIZE(crowd); i++) {
		uint32_t core = fr.cores > 1 ? i % 2 : 0;

		crowd[i] = (struct one_of_many){ .ch = fr.ch[core], .left = ROUNDS, .failed = &failed, .done = &done };
		rig_on(rig_core(&fr.rig, core), begin_here, &crowd[i]);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(crowd); i++)
		while (sem_wait(&done) != 0)
			;
	assert_int_equal(atomic_load(&failed), 0);
	file_rig_end(&fr);
	sem_destroy(&done);
}

static void a_failed_write_through_fails_the_disk(void **state)
{
	static _Alignas(4096) uint8_t buf[BLOCK];
	struct rig_io io;

	begin();
	SAY(-EIO);
	rig_io_init(&io, fr.ch[0], BDEV_WRITE, 0, 1, buf, sizeof(buf));
	io.io.flags = BDEV_IO_FUA;
	assert_int_equal(rig_io_run(&fr.rig, 0, &io), BDEV_ST_FAILED);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 0, 1, buf), BDEV_ST_FAILED);
	file_rig_end(&fr);
}

/* A server or device that comes back is found without anybody's help. */
static void what_was_lost_is_opened_again(void **state)
{
	static _Alignas(4096) uint8_t buf[BLOCK];
	char away[128];
	enum bdev_status st;

	begin();
	snprintf(away, sizeof(away), "%s.away", fr.path);
	assert_int_equal(rename(fr.path, away), 0);
	SAY(-ESTALE);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 0, 1, buf), BDEV_ST_FAILED);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 0, 1, buf), BDEV_ST_FAILED);
	assert_int_equal(file_rig_rescan(&fr), -ENOENT);
	assert_int_equal(rename(away, fr.path), 0);
	do {
		st = file_rig_do(&fr, BDEV_READ, 0, 1, buf);
		usleep(10000);
	} while (st == BDEV_ST_FAILED);
	assert_int_equal(st, BDEV_ST_OK);
	file_rig_end(&fr);
}

/* --- sizes ------------------------------------------------------------------------------------------------ */

static void a_file_that_shrinks_is_a_media_error_and_then_smaller(void **state)
{
	static _Alignas(4096) uint8_t buf[8 * BLOCK];

	begin();
	assert_int_equal(truncate(fr.path, BLOCK * 1004), 0);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 1000, 8, buf), BDEV_ST_MEDIA_ERROR);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 2000, 1, buf), BDEV_ST_MEDIA_ERROR);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 1000, 4, buf), BDEV_ST_OK);
	assert_int_equal(file_rig_rescan(&fr), 0);
	assert_int_equal(atomic_load(&fr.bdev->block_count), 1004);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 1000, 8, buf), BDEV_ST_BAD_RANGE);
	assert_int_equal(truncate(fr.path, BLOCK * 3000 + 100), 0); /* a part of a block is left out */
	assert_int_equal(file_rig_rescan(&fr), 0);
	assert_int_equal(atomic_load(&fr.bdev->block_count), 3000);
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 2992, 8, buf), BDEV_ST_OK);
	assert_int_equal(truncate(fr.path, 0), 0);
	assert_int_equal(file_rig_rescan(&fr), -EINVAL); /* no disk has no blocks: it stays as large as it was */
	assert_int_equal(atomic_load(&fr.bdev->block_count), 3000);
	file_rig_end(&fr);
}

/* Served from what is open; a rescan says so, and takes what lies at the path then. */
static void a_file_that_vanishes_is_served_until_there_is_another(void **state)
{
	static _Alignas(4096) uint8_t out[BLOCK], in[BLOCK];
	int fd;

	begin();
	fill(out, sizeof(out), 4);
	assert_int_equal(file_rig_do(&fr, BDEV_WRITE, 5, 1, out), BDEV_ST_OK);
	assert_int_equal(unlink(fr.path), 0);
	assert_int_equal(file_rig_rescan(&fr), -ENOENT);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 5, 1, in), BDEV_ST_OK);
	assert_memory_equal(in, out, sizeof(in));
	fd = open(fr.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, BLOCK * BLOCKS), 0);
	close(fd);
	assert_int_equal(file_rig_rescan(&fr), 0);
	assert_int_equal(file_rig_do(&fr, BDEV_READ, 5, 1, in), BDEV_ST_OK);
	assert_int_equal(in[0] | in[100] | in[BLOCK - 1], 0);
	file_rig_end(&fr);
}

/* --- ending early ----------------------------------------------------------------------------------------- */

static void abort_here(void *arg) { bdev_abort(fr.ch[0], arg); }

static void an_aborted_io_ends_once(void **state)
{
	static _Alignas(4096) uint8_t buf[BLOCK];
	struct rig_io io;

	begin();
	SAY(HOLD);
	rig_io_init(&io, fr.ch[0], BDEV_READ, 0, 1, buf, sizeof(buf));
	rig_io_start(&fr.rig, 0, &io);
	assert_false(rig_io_ended(&io));
	rig_on(rig_core(&fr.rig, 0), abort_here, &io.io);
	assert_int_equal(rig_io_wait(&io), BDEV_ST_ABORTED);
	file_rig_end(&fr);
}

/* --- what cannot be a disk -------------------------------------------------------------------------------- */

static void what_is_wrong_is_said(void **state)
{
	char text[ERR_TEXT_MAX], none[128];
	struct file_opts opts = { .name = "f", .filename = none, .fallocate = true };
	struct { const char *filename; uint32_t block_size; int code; const char *sentence; } rows[] = {
		{ none, 0, -ENOENT, "make the file first" },
		{ fr.dir, 0, -EISDIR, "Is a directory" },
		{ "/dev/null", 0, -EINVAL, "neither a file nor a block device" },
		{ fr.path, 700, -EINVAL, "block_size: 700 is not a power of two" },
		{ fr.path, 256, -EINVAL, "block_size: 256 is not a power of two" },
		{ fr.path, 4096, -EINVAL, "not a number of blocks of 4096 bytes" },
	};

	file_rig_begin(&fr, make_fake, ".", 10 * 512);
	snprintf(none, sizeof(none), "%s/none", fr.dir);
	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		opts.filename = rows[i].filename;
		opts.block_size = rows[i].block_size;
		assert_int_equal(file_rig_create(&fr, &opts, text, sizeof(text)), rows[i].code);
		assert_non_null(strstr(text, rows[i].sentence));
	}
	file_rig_end(&fr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_transfers_go_on),
		cmocka_unit_test(endless_again_goes_to_a_thread),
		cmocka_unit_test(unaligned_memory_is_bounced),
		cmocka_unit_test(pieces_that_are_no_sectors_are_bounced),
		cmocka_unit_test(bounced_when_memory_is_hard_to_get),
		cmocka_unit_test(errors_are_said_in_the_waists_words),
		cmocka_unit_test(a_failed_flush_fails_the_disk_until_it_is_opened_again),
		cmocka_unit_test(a_flush_that_found_no_room_fails_the_disk),
		cmocka_unit_test(a_read_through_writes_out_first),
		cmocka_unit_test(a_flush_beside_a_failed_one_fails),
		cmocka_unit_test(a_flush_waits_for_those_beside_it),
		cmocka_unit_test(a_crowd_of_flushes_ends),
		cmocka_unit_test(a_failed_write_through_fails_the_disk),
		cmocka_unit_test(what_was_lost_is_opened_again),
		cmocka_unit_test(a_file_that_shrinks_is_a_media_error_and_then_smaller),
		cmocka_unit_test(a_file_that_vanishes_is_served_until_there_is_another),
		cmocka_unit_test(an_aborted_io_ends_once),
		cmocka_unit_test(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
