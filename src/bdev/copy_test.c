/* SPDX-License-Identifier: BSD-3-Clause */
/* copy_test.c: copies from one device to another: lent or not, in pieces, and how they end when things go wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bdev/fake_disk_test.h"
#include "bdev/rig_test.h"

struct pair {
	struct rig rig;
	struct fake_disk from, to;
	struct bdev_desc *from_desc, *to_desc;
	struct bdev_channel *src, *dst;
};

static void register_here(void *arg)
{
	struct pair *p = arg;

	must(bdev_register(p->rig.reg, &p->from.bdev, NULL) == 0);
	must(bdev_register(p->rig.reg, &p->to.bdev, NULL) == 0);
}

static void unregistered(void *arg, int rc) {}

static void unregister_here(void *arg)
{
	bdev_unregister(arg, unregistered, NULL);
}

static void pair_init(struct pair *p)
{
	fake_init(&p->from, "from");
	fake_init(&p->to, "to");
	for (uint32_t i = 0; i < FAKE_BLOCKS * 512; i++) {
		p->from.media[i] = (char)(i / 512 * 7 + i % 512);
		p->to.media[i] = 0x55;
	}
}

static void pair_start(struct pair *p)
{
	rig_start(&p->rig, 1);
	rig_on(core_control(p->rig.core), register_here, p);
	p->from_desc = rig_open(&p->rig, "from", false);
	p->to_desc = rig_open(&p->rig, "to", true);
	p->src = rig_get(&p->rig, 0, p->from_desc);
	p->dst = rig_get(&p->rig, 0, p->to_desc);
}

static void pair_stop(struct pair *p)
{
	rig_put(&p->rig, 0, p->src);
	rig_put(&p->rig, 0, p->dst);
	rig_close(&p->rig, p->from_desc);
	rig_close(&p->rig, p->to_desc);
	if (!p->from.destroyed)
		rig_on(core_control(p->rig.core), unregister_here, &p->from.bdev);
	rig_on(core_control(p->rig.core), unregister_here, &p->to.bdev);
	rig_settle(&p->rig);
	rig_stop(&p->rig);
	fake_fini(&p->from);
	fake_fini(&p->to);
}

static void copy_init(struct pair *p, struct rig_io *io, uint64_t src, uint64_t dst, uint64_t count)
{
	rig_io_init(io, p->dst, BDEV_COPY, dst, count, NULL, 0);
	io->io.flags = BDEV_IO_SRC;
	io->io.copy.src_lba = src;
	io->io.copy.src = p->src;
}

static enum bdev_status copy(struct pair *p, uint64_t src, uint64_t dst, uint64_t count)
{
	struct rig_io io;

	copy_init(p, &io, src, dst, count);
	return rig_io_run(&p->rig, 0, &io);
}

static bool holds_copy(const struct pair *p, uint64_t src, uint64_t dst, uint64_t count)
{
	uint32_t bytes = p->from.bdev.block_size + p->from.bdev.md_size;

	return memcmp(p->from.media + src * bytes, p->to.media + dst * bytes, count * bytes) == 0 &&
	       p->to.media[dst * bytes - 1] == 0x55 && p->to.media[(dst + count) * bytes] == 0x55;
}

static uint32_t count_of(const struct fake_disk *f, uint8_t op, uint8_t flags)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->logged; i++)
		n += f->log[i].op == op && f->log[i].flags == flags;
	return n;
}

static void a_copy_crosses_devices(void **state)
{
	static const struct { bool lends; uint32_t md; uint32_t max; } kinds[] = {
		{ false, 0, 0 }, { true, 0, 0 }, { false, 8, 0 }, { true, 0, 3 },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct pair *p = base_zalloc(sizeof(*p));
		enum bdev_status st;
		bool right;

		pair_init(p);
		p->from.bdev.lends = kinds[i].lends;
		p->from.bdev.md_size = p->to.bdev.md_size = kinds[i].md;
		p->to.bdev.max_io_blocks = kinds[i].max;
		pair_start(p);
		st = copy(p, 100, 1000, 777);
		right = holds_copy(p, 100, 1000, 777);
		pair_stop(p);
		assert_int_equal(st, BDEV_ST_OK);
		assert_true(right);
		assert_int_equal(count_of(&p->from, BDEV_READ, BDEV_IO_LEND) != 0, kinds[i].lends);
		assert_int_equal(count_of(&p->from, BDEV_READ, 0) != 0, !kinds[i].lends);
		assert_int_equal(count_of(&p->from, BDEV_WRITE, 0), 0);
		assert_int_equal(count_of(&p->to, BDEV_READ, 0), 0);
		free(p);
	}
}

/* Tags made for where a copy goes must not be made in memory that the source has lent: it is the source's media. */
static void a_source_keeps_its_tags(void **state)
{
	static const uint32_t flags[] = { BDEV_IO_PRACT, BDEV_IO_PLAIN };

	for (uint32_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct pair *p = base_zalloc(sizeof(*p));
		enum bdev_status st;
		struct rig_io io;
		char was[520];
		bool kept;

		pair_init(p);
		p->from.bdev.lends = true;
		p->from.bdev.md_size = p->to.bdev.md_size = 8;
		p->from.bdev.md_interleaved = p->to.bdev.md_interleaved = true;
		p->from.bdev.dif_type = p->to.bdev.dif_type = 1;
		memcpy(was, p->from.media + 100 * sizeof(was), sizeof(was));
		pair_start(p);
		copy_init(p, &io, 100, 1000, 1);
		io.io.flags |= (uint16_t)flags[i];
		io.io.ref_tag = 1000;
		st = rig_io_run(&p->rig, 0, &io);
		kept = memcmp(was, p->from.media + 100 * sizeof(was), sizeof(was)) == 0;
		pair_stop(p);
		free(p);
		assert_int_equal(st, BDEV_ST_OK);
		assert_true(kept);
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	struct pair *p = base_zalloc(sizeof(*p));
	enum bdev_status beyond_src, beyond_dst, wraps, last, shape;

	pair_init(p);
	pair_start(p);
	beyond_src = copy(p, FAKE_BLOCKS - 1, 0, 2);
	beyond_dst = copy(p, 0, FAKE_BLOCKS - 1, 2);
	wraps = copy(p, UINT64_MAX, 0, 2);
	last = copy(p, FAKE_BLOCKS - 1, FAKE_BLOCKS - 1, 1);
	pair_stop(p);
	pair_init(p);
	p->from.bdev.block_size = 1024;
	pair_start(p);
	shape = copy(p, 0, 0, 1);
	pair_stop(p);
	free(p);
	assert_int_equal(beyond_src, BDEV_ST_BAD_RANGE);
	assert_int_equal(beyond_dst, BDEV_ST_BAD_RANGE);
	assert_int_equal(wraps, BDEV_ST_BAD_RANGE);
	assert_int_equal(last, BDEV_ST_OK);
	assert_int_equal(shape, BDEV_ST_BAD_FIELD);
}

/* Another descriptor of the same device: ranges may overlap then, and a device that copies by itself does. */
static void a_source_that_is_the_same_device_is_found_out(void **state)
{
	struct pair *p = base_zalloc(sizeof(*p));
	struct bdev_desc *again;
	struct rig_io io;
	char before[20 * 512];
	enum bdev_status st;
	bool right;

	pair_init(p);
	pair_start(p);
	memcpy(before, p->to.media, sizeof(before));
	for (uint32_t i = 0; i < sizeof(before); i++)
		before[i] = p->to.media[i] = (char)(i / 512);
	again = rig_open(&p->rig, "to", false);
	copy_init(p, &io, 0, 10, 20);
	io.io.copy.src = rig_get(&p->rig, 0, again);
	st = rig_io_run(&p->rig, 0, &io);
	right = memcmp(p->to.media + 10 * 512, before, sizeof(before)) == 0;
	rig_put(&p->rig, 0, io.io.copy.src);
	rig_close(&p->rig, again);
	pair_stop(p);
	free(p);
	assert_int_equal(st, BDEV_ST_OK);
	assert_true(right);
	assert_int_equal(io.io.flags & BDEV_IO_SRC, 0);
}

static void errors_of_either_end_it(void **state)
{
	for (uint32_t at = 1; at <= 3; at++)
		for (uint32_t of_source = 0; of_source <= 1; of_source++) {
			struct pair *p = base_zalloc(sizeof(*p));
			enum bdev_status st;

			pair_init(p);
			p->from.bdev.lends = at == 2;
			atomic_store(of_source ? &p->from.fail_at : &p->to.fail_at, at);
			pair_start(p);
			st = copy(p, 0, 0, 512);
			pair_stop(p);
			assert_int_equal(st, BDEV_ST_MEDIA_ERROR);
			free(p);
		}
}

static enum bdev_status copy_while_one_goes(bool source, bool midway)
{
	struct pair *p = base_zalloc(sizeof(*p));
	enum bdev_status st;
	struct rig_io io;

	pair_init(p);
	pair_start(p);
	copy_init(p, &io, 0, 0, 4096);
	if (midway) { /* the first piece is being read */
		atomic_store(&p->from.holding, true);
		rig_io_start(&p->rig, 0, &io);
		while (!atomic_load(&p->from.held))
			sched_yield();
	}
	rig_on(core_control(p->rig.core), unregister_here, source ? &p->from.bdev : &p->to.bdev);
	if (midway) {
		atomic_store(&p->from.holding, false);
		rig_on(rig_core(&p->rig, 0), fake_let_go, p->src);
	} else {
		rig_io_start(&p->rig, 0, &io);
	}
	st = rig_io_wait(&io);
	pair_stop(p);
	free(p);
	return st;
}

/* Who copies has to know which of the two is not there any more. */
static void a_device_that_goes_is_named(void **state)
{
	assert_int_equal(copy_while_one_goes(true, false), BDEV_ST_SRC_GONE);
	assert_int_equal(copy_while_one_goes(true, true), BDEV_ST_SRC_GONE);
	assert_int_equal(copy_while_one_goes(false, false), BDEV_ST_GONE);
}

/* --- leases and aborts --- */

static void wait_held(struct fake_disk *f, uint32_t count)
{
	while (atomic_load(&f->held) < count)
		sched_yield();
}

struct revoking {
	struct bdev_lease lease;
	struct bdev_lease_revoke revoke;
	struct core *core;
	_Atomic bool answered;
};

static void revoked(struct bdev_lease_revoke *r)
{
	atomic_store(&container_of(r, struct revoking, revoke)->answered, true);
}

static void revoke_here(void *arg)
{
	struct revoking *r = arg;

	bdev_lease_revoke(r->core, &r->lease, &r->revoke, revoked);
}

static void a_revoked_lease_lets_nothing_land(void **state)
{
	struct pair *p = base_zalloc(sizeof(*p));
	struct revoking *r = base_zalloc(sizeof(*r));
	struct rig_io io;
	enum bdev_status st;
	bool early, untouched;

	pair_init(p);
	p->from.bdev.lends = true;
	pair_start(p);
	r->core = p->rig.core;
	bdev_lease_init(&r->lease);
	copy_init(p, &io, 0, 0, 512);
	io.io.lease = &r->lease;
	io.io.lease_epoch = bdev_lease_epoch(&r->lease);
	atomic_store(&p->from.holding, true);
	rig_io_start(&p->rig, 0, &io);
	wait_held(&p->from, 1);
	rig_on(core_control(p->rig.core), revoke_here, r);
	rig_settle(&p->rig);
	early = atomic_load(&r->answered);
	atomic_store(&p->from.holding, false);
	rig_on(rig_core(&p->rig, 0), fake_let_go, p->src);
	st = rig_io_wait(&io);
	while (!atomic_load(&r->answered))
		sched_yield();
	untouched = p->to.media[0] == 0x55;
	pair_stop(p);
	free(p);
	free(r);
	assert_int_equal(st, BDEV_ST_FENCED);
	assert_false(early);
	assert_true(untouched);
}

struct aborting {
	struct bdev_channel *ch;
	struct bdev_io *io;
	bool may;
};

static void abort_here(void *arg)
{
	struct aborting *a = arg;

	a->may = bdev_abort(a->ch, a->io);
}

static void an_aborted_copy_ends(void **state)
{
	for (uint32_t holds_source = 0; holds_source <= 1; holds_source++) {
		struct pair *p = base_zalloc(sizeof(*p));
		struct fake_disk *f = holds_source ? &p->from : &p->to;
		struct aborting a;
		struct rig_io io;
		enum bdev_status st;

		pair_init(p);
		p->from.bdev.lends = holds_source;
		pair_start(p);
		copy_init(p, &io, 0, 0, 4096);
		atomic_store(&f->holding, true);
		rig_io_start(&p->rig, 0, &io);
		wait_held(f, 1);
		a = (struct aborting){ .ch = p->dst, .io = &io.io };
		rig_on(rig_core(&p->rig, 0), abort_here, &a);
		atomic_store(&f->holding, false);
		rig_on(rig_core(&p->rig, 0), fake_let_go, holds_source ? p->src : p->dst);
		st = rig_io_wait(&io);
		pair_stop(p);
		assert_true(a.may);
		assert_int_equal(st, BDEV_ST_ABORTED);
		assert_true(p->from.logged <= 1 && p->to.logged <= 1);
		free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_crosses_devices),
		cmocka_unit_test(a_source_keeps_its_tags),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(a_source_that_is_the_same_device_is_found_out),
		cmocka_unit_test(errors_of_either_end_it),
		cmocka_unit_test(a_device_that_goes_is_named),
		cmocka_unit_test(a_revoked_lease_lets_nothing_land),
		cmocka_unit_test(an_aborted_copy_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
