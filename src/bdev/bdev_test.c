/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev_test.c: the waist over a fake device, on real reactors: what is checked, split, revoked; devices that come and
 * go. */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bdev/waist_rig_test.h"

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

/* Who hears of any other error relies on it that nothing lands any more. */
static void split_says_that_the_device_is_gone(void **state)
{
	begin();
	fake.bdev.max_io_blocks = 2;
	fake.fail_at = 2;
	fake.gone_at = 3;
	connect_all(true);
	assert_int_equal(io_do(0, BDEV_WRITE, 0, 64, buf, 64 * BS), BDEV_ST_GONE);
	end();
}

/* A device that finds out on the way that it cannot take so much at once gets parts, several at a time; but of a part
 * none, or all contexts could wait for each other. */
static void a_device_may_have_an_io_cut(void **state)
{
	struct rig_io io;

	begin();
	fake.bdev.max_io_blocks = 32;
	fake.bdev.io_ctx_bytes = 64;
	fake.cuts = 5;
	connect_all(true);
	fill(buf, 64 * BS, 3);
	assert_int_equal(io_do(0, BDEV_WRITE, 7, 23, buf, 23 * BS), BDEV_ST_OK);
	assert_memory_equal(fake.media + 7 * BS, buf, 23 * BS);
	assert_int_equal(fake.logged, 6);
	for (uint32_t i = 1; i < 6; i++) {
		assert_int_equal(fake.log[i].lba, 7 + 5 * (i - 1));
		assert_int_equal(fake.log[i].count, i < 5 ? 5 : 3);
	}
	fake.logged = 0;
	assert_int_equal(io_do(0, BDEV_WRITE, 0, 64, buf, 64 * BS), BDEV_ST_OK);
	assert_int_equal(fake.logged, 2); /* parts already: of 32 blocks */
	fake.holding = true;
	rig_io_init(&io, chs[0], BDEV_READ, 7, 23, other, 23 * BS);
	rig_io_start(&rig, 0, &io);
	rig_settle(&rig);
	assert_int_equal(fake.held, 4);
	fake.fail_at = fake.seen + 2;
	fake.holding = false;
	rig_on(rig_core(&rig, 0), fake_let_go, chs[0]);
	assert_int_equal(rig_io_wait(&io), BDEV_ST_MEDIA_ERROR);
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
		cmocka_unit_test(split_says_that_the_device_is_gone),
		cmocka_unit_test(a_device_may_have_an_io_cut),
		cmocka_unit_test(split_lends_in_order),
		cmocka_unit_test(revoke_answers_when_nothing_older_can_land),
		cmocka_unit_test(revoke_does_not_wait_for_newer_io),
		cmocka_unit_test(starved_pools_only_wait),
		cmocka_unit_test(removal_under_io_ends_with_gone),
		cmocka_unit_test(resize_is_told_and_checked),
		cmocka_unit_test(a_block_that_no_buffer_holds_is_refused),
		cmocka_unit_test(a_claim_keeps_other_writers_out),
		cmocka_unit_test(statistics_count_what_users_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
