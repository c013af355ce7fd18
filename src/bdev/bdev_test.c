/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev_test.c: the waist over a fake device, on real reactors: what is checked, split, emulated, revoked.
 *
 * Long because each ability of the waist has its tests here, over the same device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bdev/fake_disk_test.h"
#include "bdev/rig_test.h"

#define BS 512u

static struct rig rig;
static struct fake_disk fake;
static struct bdev_desc *desc;
static struct bdev_channel *chs[3]; /* of reactors 0, 1 and control */
static char buf[64 * 1024], other[64 * 1024];

static void register_fake(void *arg)
{
	*(int *)arg = bdev_register(rig.reg, &fake.bdev, NULL);
}

static void connect_all(bool write)
{
	int rc = -1;

	rig_on(core_control(rig.core), register_fake, &rc);
	assert_int_equal(rc, 0);
	desc = rig_open(&rig, "fake", write);
	assert_non_null(desc);
	for (uint32_t i = 0; i < 3; i++)
		chs[i] = rig_get(&rig, i, desc);
}

static void begin(void)
{
	rig_start(&rig, 2);
	fake_init(&fake, "fake");
}

static sem_t gone;
static void unregistered(void *arg, int rc) { sem_post(&gone); }
static void unregister_fake(void *arg) { bdev_unregister(&fake.bdev, unregistered, NULL); }

static void disconnect(void)
{
	for (uint32_t i = 0; i < 3; i++)
		rig_put(&rig, i, chs[i]);
	rig_close(&rig, desc);
}

static void end(void)
{
	sem_init(&gone, 0, 0);
	disconnect();
	rig_on(core_control(rig.core), unregister_fake, NULL);
	sem_wait(&gone);
	assert_true(fake.destroyed);
	rig_stop(&rig);
	fake_fini(&fake);
}

static enum bdev_status io_do(uint32_t core, enum bdev_op op, uint64_t lba, uint64_t count, void *b, size_t len)
{
	return rig_do(&rig, core, chs[core], op, lba, count, b, len);
}

static void fill(char *at, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (char)(seed + i * 7 + i / 251);
}

/* Without the checks a back-end would see ranges it does not have. */
static void bad_requests_never_reach_the_device(void **state)
{
	begin();
	connect_all(true);
	assert_int_equal(io_do(0, BDEV_READ, FAKE_BLOCKS, 1, buf, BS), BDEV_ST_BAD_RANGE);
	assert_int_equal(io_do(0, BDEV_READ, FAKE_BLOCKS - 1, 2, buf, 2 * BS), BDEV_ST_BAD_RANGE);
	assert_int_equal(io_do(0, BDEV_READ, UINT64_MAX, 2, buf, 2 * BS), BDEV_ST_BAD_RANGE);
	assert_int_equal(io_do(0, BDEV_WRITE, 0, 0, buf, 0), BDEV_ST_BAD_RANGE);
	assert_int_equal(io_do(0, BDEV_WRITE, 0, 2, buf, BS), BDEV_ST_BAD_FIELD);
	assert_int_equal(io_do(0, BDEV_WRITE, 0, 2, NULL, 0), BDEV_ST_BAD_FIELD);
	assert_int_equal(io_do(0, BDEV_UNMAP, 0, 2, NULL, 0), BDEV_ST_UNSUPPORTED);
	assert_int_equal(io_do(0, BDEV_RESET, 0, 0, NULL, 0), BDEV_ST_UNSUPPORTED);
	assert_int_equal(io_do(0, BDEV_COPY, 0, FAKE_BLOCKS + 1, NULL, 0), BDEV_ST_BAD_RANGE);
	assert_int_equal(fake.logged, 0);
	assert_int_equal(io_do(2, BDEV_WRITE, FAKE_BLOCKS - 1, 1, buf, BS), BDEV_ST_OK); /* control has a channel too */
	assert_int_equal(fake.logged, 1);
	end();
}

/* Who opened for reading must not write, and protection checks are not ignored. */
static void what_is_not_allowed_is_refused(void **state)
{
	struct rig_io io;
	struct iovec md = { .iov_base = other, .iov_len = 8 };

	begin();
	connect_all(false);
	assert_int_equal(io_do(0, BDEV_WRITE, 0, 1, buf, BS), BDEV_ST_WRITE_PROTECTED);
	assert_int_equal(io_do(0, BDEV_WRITE_ZEROES, 0, 1, NULL, 0), BDEV_ST_WRITE_PROTECTED);
	rig_io_init(&io, chs[0], BDEV_READ, 0, 1, buf, BS);
	io.io.flags = BDEV_IO_PRCHK_GUARD;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_UNSUPPORTED);
	rig_io_init(&io, chs[0], BDEV_READ, 0, 1, buf, BS);
	io.io.flags = BDEV_IO_LEND; /* the fake does not lend */
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_BAD_FIELD);
	rig_io_init(&io, chs[0], BDEV_READ, 0, 1, buf, BS);
	io.io.md_iovs = &md; /* nor has it metadata */
	io.io.md_iov_count = 1;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_BAD_FIELD);
	end();
}

/* A caller that frees its request in done would be freed under bdev_submit(). */
static void done_never_runs_within_submit(void **state)
{
	struct rig_io io;

	begin();
	connect_all(true);
	rig_io_init(&io, chs[0], BDEV_WRITE, 0, 1, buf, BS);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_false(io.done_in_submit);
	rig_io_init(&io, chs[0], BDEV_WRITE, 0, 9, buf, BS);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_BAD_FIELD);
	assert_false(io.done_in_submit);
	end();
}

static void submit_twice(void *arg)
{
	struct rig_io *io = arg;

	rig_submit_here(io);
	bdev_submit(io->ch, &io->io);
}

static void done_twice(void *arg)
{
	struct rig_io *io = arg;

	rig_submit_here(io);
	bdev_io_done(&io->io, BDEV_ST_OK);
}

/* A back-end that answers twice, or a caller that submits what is under way, would corrupt somebody else's I/O. */
static void dies(void (*crime)(void *arg))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct rig_io io;

		if (!freopen("/dev/null", "w", stderr))
			_exit(0);
		begin();
		connect_all(true);
		rig_io_init(&io, chs[0], BDEV_READ, 0, 1, buf, BS);
		rig_on(rig_core(&rig, 0), crime, &io);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0));
}

static void contract_violations_stop_the_process(void **state)
{
	dies(submit_twice);
	dies(done_twice);
}

/* Cut iovecs must not lose or repeat a byte, wherever their borders lie. */
static void split_moves_every_byte(void **state)
{
	struct iovec iovs[40];
	struct rig_io io;
	size_t at = 0;

	begin();
	fake.bdev.max_io_blocks = 3;
	connect_all(true);
	fill(buf, 32 * BS, 1);
	for (uint32_t i = 0; i < 40; i++) {
		size_t n = i == 39 ? 32 * BS - at : (i * 37) % 800;

		iovs[i] = (struct iovec){ .iov_base = buf + at, .iov_len = n };
		at += n;
	}
	rig_io_init(&io, chs[0], BDEV_WRITE, 5, 32, buf, BS);
	io.io.iovs = iovs;
	io.io.iov_count = 40;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_int_equal(fake.logged, 11);
	for (uint32_t i = 0; i < fake.logged; i++)
		assert_true(fake.log[i].count <= 3);
	for (uint32_t i = 0; i < 32; i++)
		assert_memory_equal(fake.media + (5 + i) * BS, buf + i * BS, BS);
	memset(other, 0, sizeof(other));
	assert_int_equal(io_do(1, BDEV_READ, 5, 32, other, 32 * BS), BDEV_ST_OK);
	assert_memory_equal(buf, other, 32 * BS);
	assert_int_equal(io_do(1, BDEV_COMPARE, 5, 32, other, 32 * BS), BDEV_ST_OK);
	end();
}

/* A parent that reported a later, milder error would hide the one that matters; one that went on after an error would
 * write what its caller believes unwritten. */
static void split_keeps_first_error(void **state)
{
	begin();
	fake.bdev.max_io_blocks = 2;
	fake.fail_at = 3;
	connect_all(true);
	assert_int_equal(io_do(0, BDEV_WRITE, 0, 64, buf, 64 * BS), BDEV_ST_MEDIA_ERROR);
	assert_true(fake.logged <= 6); /* those under way, none after */
	end();
}

static void split_lends_in_order(void **state)
{
	struct iovec iovs[8] = { 0 };
	struct rig_io io;

	begin();
	fake.bdev.max_io_blocks = 4;
	fake.bdev.lends = true;
	connect_all(true);
	assert_int_equal(bdev_lend_iovs_max(desc, 4), 1);
	assert_int_equal(bdev_lend_iovs_max(desc, 10), 3);
	rig_io_init(&io, chs[0], BDEV_READ, 1, 10, NULL, 0);
	io.io.flags = BDEV_IO_LEND;
	io.io.iovs = iovs;
	io.io.iov_max = 3;
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_true(io.io.lent);
	assert_int_equal(io.io.iov_count, 3);
	assert_ptr_equal(iovs[2].iov_base, fake.media + 9 * BS);
	bdev_io_release(&io.io);
	end();
}

/* --- emulations ------------------------------------------------------------------------------------------- */

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

/* --- leases ----------------------------------------------------------------------------------------------- */

static struct bdev_lease lease;
static struct bdev_lease_revoke revokes[2];
static _Atomic uint32_t answers;

static void revoked(struct bdev_lease_revoke *r) { atomic_fetch_add(&answers, 1); }
static void revoke_here(void *arg) { bdev_lease_revoke(rig.core, &lease, arg, revoked); }

static void leased(struct rig_io *io, uint32_t core, uint64_t lba)
{
	rig_io_init(io, chs[core], BDEV_WRITE, lba, 1, other, BS);
	io->io.lease = &lease;
	io->io.lease_epoch = bdev_lease_epoch(&lease);
	rig_io_start(&rig, core, io);
}

/* An answer before the last old write has ended would let it land in what another host believes is its own. */
static void revoke_answers_when_nothing_older_can_land(void **state)
{
	struct rig_io old[3], new, late;

	begin();
	connect_all(true);
	if (core_reactor_count(rig.core) < 2) {
		end();
		skip(); /* one CPU: two of the three cores would be the same */
	}
	bdev_lease_init(&lease);
	answers = 0;
	fake.holding = true;
	for (uint32_t i = 0; i < 3; i++)
		leased(&old[i], i, i);
	late = (struct rig_io){ 0 };
	rig_io_init(&late, chs[1], BDEV_WRITE, 9, 1, other, BS);
	late.io.lease = &lease;
	late.io.lease_epoch = bdev_lease_epoch(&lease);
	rig_on(rig_core(&rig, 0), revoke_here, &revokes[0]);
	rig_settle(&rig);
	assert_int_equal(rig_io_run(&rig, 1, &late), BDEV_ST_FENCED);
	leased(&new, 1, 20); /* the new epoch goes on and delays nobody */
	rig_on(core_control(rig.core), revoke_here, &revokes[1]);
	rig_settle(&rig);
	assert_int_equal(answers, 0);
	memset(other, 9, sizeof(other));
	rig_on(rig_core(&rig, 0), fake_let_go, chs[0]);
	rig_settle(&rig);
	assert_int_equal(answers, 0);
	rig_on(rig_core(&rig, 2), fake_let_go, chs[2]);
	rig_settle(&rig);
	assert_int_equal(answers, 0);
	rig_on(rig_core(&rig, 1), fake_let_go, chs[1]);
	rig_settle(&rig);
	assert_int_equal(answers, 2);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(rig_io_wait(&old[i]), BDEV_ST_FENCED); /* the fake looks before it lands */
		assert_int_equal(fake.media[i * BS], 0);
	}
	rig_io_wait(&new);
	end();
}

/* I/O of the new epoch that never ends must not keep an answer back. */
static void revoke_does_not_wait_for_newer_io(void **state)
{
	struct rig_io new;

	begin();
	connect_all(true);
	bdev_lease_init(&lease);
	answers = 0;
	fake.holding = true;
	atomic_fetch_add(&lease.epoch, 0);
	rig_on(rig_core(&rig, 0), revoke_here, &revokes[0]);
	rig_settle(&rig);
	leased(&new, 1, 1);
	assert_int_equal(answers, 1);
	fake.holding = false;
	rig_on(rig_core(&rig, 1), fake_let_go, chs[1]);
	assert_int_equal(rig_io_wait(&new), BDEV_ST_OK);
	end();
}

/* --- waits ------------------------------------------------------------------------------------------------ */

/* A device that is used deeper than its pools are must slow down, not fail or hang. */
static void starved_pools_only_wait(void **state)
{
	enum { DEPTH = 6000 };
	struct rig_io *ios = base_zalloc(DEPTH * sizeof(*ios));
	uint32_t ok = 0;

	begin();
	fake.bdev.io_ctx_bytes = 16;
	connect_all(true);
	fake.holding = true;
	for (uint32_t i = 0; i < DEPTH; i++) {
		rig_io_init(&ios[i], chs[0], i % 2 ? BDEV_READ : BDEV_WRITE, i % FAKE_BLOCKS, 1, buf, BS);
		rig_io_start(&rig, 0, &ios[i]);
	}
	assert_int_equal(fake.held, 4096); /* the pool's limit; the rest waits */
	fake.holding = false;
	rig_on(rig_core(&rig, 0), fake_let_go, chs[0]);
	for (uint32_t i = 0; i < DEPTH; i++)
		ok += rig_io_wait(&ios[i]) == BDEV_ST_OK;
	assert_int_equal(ok, DEPTH);
	end();
	free(ios);
}

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

/* --- coming and going ------------------------------------------------------------------------------------- */

static _Atomic uint32_t removes, resizes;
static void on_event(struct bdev_desc *d, enum bdev_event event, void *arg)
{
	atomic_fetch_add(event == BDEV_EVENT_REMOVE ? &removes : &resizes, 1);
}

/* A device that went away under I/O must answer all of it and stay until it is closed. */
static void removal_under_io_ends_with_gone(void **state)
{
	struct rig_open o = { .rig = &rig, .name = "fake", .event = on_event };
	struct rig_io under_way;

	begin();
	connect_all(true);
	sem_init(&gone, 0, 0);
	removes = 0;
	rig_on(core_control(rig.core), rig_open_here, &o);
	fake.holding = true;
	rig_io_init(&under_way, chs[1], BDEV_WRITE, 0, 1, buf, BS);
	rig_io_start(&rig, 1, &under_way);
	rig_on(core_control(rig.core), unregister_fake, NULL);
	assert_int_equal(removes, 1);
	assert_int_equal(io_do(0, BDEV_READ, 0, 1, buf, BS), BDEV_ST_GONE);
	assert_int_equal(io_do(0, BDEV_VERIFY, 0, 1, NULL, 0), BDEV_ST_GONE);
	assert_null(rig_open(&rig, "fake", false));
	assert_false(fake.destroyed);
	rig_on(rig_core(&rig, 1), fake_let_go, chs[1]);
	assert_int_equal(rig_io_wait(&under_way), BDEV_ST_OK);
	disconnect();
	assert_false(fake.destroyed);
	rig_close(&rig, o.desc);
	sem_wait(&gone);
	assert_true(fake.destroyed);
	rig_stop(&rig);
	fake_fini(&fake);
}

static void shrink(void *arg) { *(int *)arg = bdev_resize(&fake.bdev, 100, NULL); }

static void resize_is_told_and_checked(void **state)
{
	struct rig_open o = { .rig = &rig, .name = "fake", .event = on_event };
	int rc = -1;

	begin();
	connect_all(true);
	resizes = 0;
	rig_on(core_control(rig.core), rig_open_here, &o);
	rig_on(core_control(rig.core), shrink, &rc);
	assert_int_equal(rc, 0);
	assert_int_equal(resizes, 1);
	assert_int_equal(bdev_block_count(desc), 100);
	assert_int_equal(io_do(0, BDEV_READ, 100, 1, buf, BS), BDEV_ST_BAD_RANGE);
	assert_int_equal(io_do(1, BDEV_READ, 99, 1, buf, BS), BDEV_ST_OK);
	rig_close(&rig, o.desc);
	end();
}

struct claims {
	int first, second, duplicate;
	struct bdev_desc *other;
	struct err err;
};

static void claim_here(void *arg)
{
	struct claims *c = arg;
	struct fake_disk twin;

	c->first = bdev_claim(desc, NULL);
	c->other = bdev_open(rig.reg, "fake", true, "rival", NULL, NULL, &c->err);
	c->second = bdev_claim(desc, NULL);
	fake_init(&twin, "fake");
	c->duplicate = bdev_register(rig.reg, &twin.bdev, NULL);
	fake_fini(&twin);
}

static void a_block_that_no_buffer_holds_is_refused(void **state)
{
	int rc = 0;

	begin();
	fake.bdev.block_size = MEM_IO_BYTES_MAX;
	fake.bdev.md_size = 8;
	rig_on(core_control(rig.core), register_fake, &rc);
	assert_int_equal(rc, -EINVAL);
	rig_stop(&rig);
	fake_fini(&fake);
}

static void a_claim_keeps_other_writers_out(void **state)
{
	struct claims c = { 0 };

	begin();
	connect_all(true);
	rig_on(core_control(rig.core), claim_here, &c);
	assert_int_equal(c.first, 0);
	assert_int_equal(c.second, 0);
	assert_null(c.other);
	assert_non_null(strstr(c.err.text, "claimed by test"));
	assert_int_not_equal(c.duplicate, 0);
	end();
}

static struct bdev_stats_read stats;
static sem_t stats_came;
static void stats_done(struct bdev_stats_read *r) { sem_post(&stats_came); }
static void stats_here(void *arg) { bdev_stats_get(rig.reg, &fake.bdev, &stats, true, stats_done); }

/* Children are the waist's own business: a user who wrote once must see one write. */
static void statistics_count_what_users_asked_for(void **state)
{
	begin();
	fake.bdev.max_io_blocks = 2;
	connect_all(true);
	sem_init(&stats_came, 0, 0);
	io_do(0, BDEV_WRITE, 0, 16, buf, 16 * BS);
	io_do(1, BDEV_WRITE, 0, 4, buf, 4 * BS);
	io_do(2, BDEV_READ, FAKE_BLOCKS, 1, buf, BS);
	rig_on(core_control(rig.core), stats_here, NULL);
	sem_wait(&stats_came);
	assert_int_equal(stats.sum.op[BDEV_WRITE].ops, 2);
	assert_int_equal(stats.sum.op[BDEV_WRITE].blocks, 20);
	assert_int_equal(stats.sum.op[BDEV_READ].errors, 1);
	assert_int_equal(stats.per_core[1].op[BDEV_WRITE].blocks, 4);
	rig_on(core_control(rig.core), stats_here, NULL);
	sem_wait(&stats_came);
	assert_int_equal(stats.sum.op[BDEV_WRITE].ops, 0); /* it was reset */
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(contract_violations_stop_the_process),
		cmocka_unit_test(bad_requests_never_reach_the_device),
		cmocka_unit_test(what_is_not_allowed_is_refused),
		cmocka_unit_test(done_never_runs_within_submit),
		cmocka_unit_test(split_moves_every_byte),
		cmocka_unit_test(split_keeps_first_error),
		cmocka_unit_test(split_lends_in_order),
		cmocka_unit_test(emulated_compare_says_where),
		cmocka_unit_test(emulated_zeroes_verify_and_status),
		cmocka_unit_test(emulated_copy_may_overlap),
		cmocka_unit_test(emulated_fua_flushes_after_the_write),
		cmocka_unit_test(native_fua_reaches_emulated_writes),
		cmocka_unit_test(interleaved_and_separate_metadata_travel),
		cmocka_unit_test(compare_and_write_is_atomic_across_cores),
		cmocka_unit_test(a_lock_waits_for_older_writes_and_holds_newer_ones),
		cmocka_unit_test(revoke_answers_when_nothing_older_can_land),
		cmocka_unit_test(revoke_does_not_wait_for_newer_io),
		cmocka_unit_test(starved_pools_only_wait),
		cmocka_unit_test(emulations_at_depth_with_starved_buffers_end),
		cmocka_unit_test(removal_under_io_ends_with_gone),
		cmocka_unit_test(resize_is_told_and_checked),
		cmocka_unit_test(a_block_that_no_buffer_holds_is_refused),
		cmocka_unit_test(a_claim_keeps_other_writers_out),
		cmocka_unit_test(statistics_count_what_users_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
