/* SPDX-License-Identifier: BSD-3-Clause */
/* stack_test.c: orders build whatever comes first, go with their bases and come back; I/O reaches the base and returns
 * with its status, also when the base goes under it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "bdev/bdev_stack.h"
#include "bdev/fake_disk_test.h"
#include "bdev/rig_test.h"

#define BS 512u
#define OFFSET 64u

static struct rig rig;
static struct fake_disk fakes[2];
static char buf[64 * 1024], other[64 * 1024];
static sem_t gone;
static _Atomic uint32_t freed, built;
static int build_rc;

/* --- an order of one device over the first of its bases, at an offset ----------------------------------------- */

struct window {
	struct bdev_order order;
	char name[32];
};

static int window_build(struct bdev_order *o, struct err *e)
{
	struct bdev_stacked *s;
	int rc;

	if (build_rc != 0)
		return err_set(e, build_rc, "the window is stuck");
	s = base_zalloc(sizeof(*s));
	bdev_stacked_init(s, o, 0);
	s->offset = OFFSET;
	s->bdev.block_count = s->bdev.block_count - OFFSET;
	s->bdev.product = "window";
	s->bdev.uuid = bdev_stacked_uuid(s, "window", 0);
	snprintf(s->bdev.name, sizeof(s->bdev.name), "%s", container_of(o, struct window, order)->name);
	rc = bdev_stacked_register(s, e);
	if (rc != 0)
		free(s);
	else
		atomic_fetch_add(&built, 1);
	return rc;
}

static void window_resized(struct bdev_order *o, uint32_t base)
{
	struct bdev_stacked *s = list_first(&o->devices, struct bdev_stacked, link);

	must(bdev_resize(&s->bdev, bdev_block_count(o->bases[base].desc) - OFFSET, NULL) == 0);
}

static void window_free(struct bdev_order *o)
{
	free(container_of(o, struct window, order));
	atomic_fetch_add(&freed, 1);
}

static const struct bdev_order_ops window_ops = {
	.kind = "window", .claims = true, .build = window_build, .resized = window_resized, .free = window_free,
};

struct start {
	const char *name;
	const char *bases[2];
	int rc;
	struct err e;
};

static void start_here(void *arg)
{
	struct start *s = arg;
	struct window *w = base_zalloc(sizeof(*w));

	snprintf(w->name, sizeof(w->name), "%s", s->name);
	s->rc = bdev_order_start(rig.reg, &w->order, &window_ops, s->name, s->bases, s->bases[1] ? 2 : 1, &s->e);
}

static int start(const char *name, const char *base, const char *base2)
{
	struct start s = { .name = name, .bases = { base, base2 } };

	rig_on(core_control(rig.core), start_here, &s);
	return s.rc;
}

static void deleted(void *arg, int rc) { sem_post(&gone); }
static void delete_here(void *arg)
{
	bdev_order_delete(bdev_order_find(rig.reg, &window_ops, arg), deleted, NULL);
}

static void delete(const char *name)
{
	rig_on(core_control(rig.core), delete_here, (void *)(uintptr_t)name);
	while (sem_wait(&gone) != 0)
		;
}

static void register_here(void *arg) { must(bdev_register(rig.reg, arg, NULL) == 0); }
static void remove_here(void *arg) { bdev_unregister(arg, deleted, NULL); }

static void come(uint32_t i, const char *name)
{
	fake_init(&fakes[i], name);
	fakes[i].bdev.lends = true;
	fakes[i].bdev.native_ops |= BDEV_BIT(UNMAP);
	rig_on(core_control(rig.core), register_here, &fakes[i].bdev);
}

static void ask_to_go(uint32_t i)
{
	rig_on(core_control(rig.core), remove_here, &fakes[i].bdev);
}

static void is_gone(uint32_t i)
{
	while (sem_wait(&gone) != 0)
		;
	fake_fini(&fakes[i]);
}

static void go(uint32_t i)
{
	ask_to_go(i);
	is_gone(i);
}

struct find {
	const char *name;
	bool found;
};
static void find_here(void *arg)
{
	struct find *f = arg;

	f->found = bdev_find(rig.reg, f->name) != NULL;
}

static bool there(const char *name)
{
	struct find f = { .name = name };

	rig_on(core_control(rig.core), find_here, &f);
	return f.found;
}

static void begin(void)
{
	sem_init(&gone, 0, 0);
	freed = built = 0;
	build_rc = 0;
	rig_start(&rig, 2);
}

/* --- coming and going ----------------------------------------------------------------------------------------- */

static void order_of_creation_does_not_matter(void **state)
{
	begin();
	assert_int_equal(start("w", "base", NULL), 0);
	assert_int_equal(start("ww", "w", NULL), 0); /* and on top of what is not there yet */
	assert_false(there("w"));
	come(0, "base");
	assert_true(there("w") && there("ww"));
	assert_int_equal(start("w", "base", NULL), -EEXIST);
	assert_int_equal(start("v", "base", NULL), -EPERM); /* claimed */
	delete("ww");
	assert_false(there("ww"));
	assert_true(there("w"));
	delete("w");
	assert_int_equal(freed, 4);
	go(0);
	rig_stop(&rig);
}

static void remove_next(void *arg, int rc) { remove_here(arg); }

static void delete_and_remove_both(void *arg)
{
	bdev_order_delete(bdev_order_find(rig.reg, &window_ops, "w"), deleted, NULL);
	bdev_unregister(&fakes[0].bdev, remove_next, &fakes[1].bdev);
}

/* Closing its first base ends that one, and whoever waited for it removes the second, which the order has open still:
 * it would be told of that when it is free already. */
static void bases_may_end_one_after_the_other_as_they_are_closed(void **state)
{
	begin();
	come(0, "one");
	come(1, "two");
	assert_int_equal(start("w", "one", "two"), 0);
	rig_on(core_control(rig.core), delete_and_remove_both, NULL);
	for (uint32_t i = 0; i < 2; i++)
		while (sem_wait(&gone) != 0)
			;
	assert_int_equal(freed, 1);
	assert_true(fakes[0].destroyed && fakes[1].destroyed);
	fake_fini(&fakes[0]);
	fake_fini(&fakes[1]);
	rig_stop(&rig);
}

static void goes_with_its_base_and_comes_back(void **state)
{
	begin();
	come(0, "base");
	assert_int_equal(start("w", "base", NULL), 0);
	assert_int_equal(start("ww", "w", NULL), 0);
	for (uint32_t i = 1; i <= 3; i++) {
		assert_true(there("w") && there("ww"));
		assert_int_equal(built, 2 * i);
		go(0);
		assert_false(there("w") || there("ww"));
		come(0, "base");
	}
	go(0);
	rig_stop(&rig); /* orders that wait end with the registry */
	assert_int_equal(freed, 2);
}

static void waits_for_all_of_its_bases(void **state)
{
	begin();
	assert_int_equal(start("w", "a", "b"), 0);
	come(1, "b");
	assert_false(there("w"));
	come(0, "a");
	assert_true(there("w"));
	go(1);
	assert_false(there("w"));
	come(1, "b");
	assert_true(there("w"));
	delete("w");
	assert_int_equal(start("w", "a", "a"), -EINVAL);
	go(0);
	go(1);
	rig_stop(&rig);
}

/* A base that is not let go of after a failure could never be removed. */
static void a_build_that_fails_leaves_nothing(void **state)
{
	begin();
	come(0, "base");
	build_rc = -EIO;
	assert_int_equal(start("w", "base", NULL), -EIO);
	assert_int_equal(freed, 1);
	go(0);
	assert_int_equal(start("w", "base", NULL), 0);
	come(0, "base"); /* it fails now, and goes on waiting */
	assert_false(there("w"));
	build_rc = 0;
	go(0);
	come(0, "base");
	assert_true(there("w"));
	delete("w");
	go(0);
	rig_stop(&rig);
}

/* --- I/O ------------------------------------------------------------------------------------------------------ */

static struct bdev_desc *desc;
static struct bdev_channel *chs[2];

static void closed_on_removal(struct bdev_desc *d, enum bdev_event event, void *arg) {}

static void use(const char *name)
{
	struct rig_open o = { .rig = &rig, .name = name, .write = true, .event = closed_on_removal };

	rig_on(core_control(rig.core), rig_open_here, &o);
	desc = o.desc;
	assert_non_null(desc);
	for (uint32_t i = 0; i < 2; i++)
		chs[i] = rig_get(&rig, i, desc);
}

static void leave(void)
{
	for (uint32_t i = 0; i < 2; i++)
		rig_put(&rig, i, chs[i]);
	rig_close(&rig, desc);
}

static void resize_here(void *arg) { must(bdev_resize(arg, FAKE_BLOCKS / 2, NULL) == 0); }

static void io_goes_to_its_place_on_the_base(void **state)
{
	struct bdev_range ranges[11];
	struct iovec lent[4];
	struct rig_io io;

	begin();
	come(0, "base");
	assert_int_equal(start("w", "base", NULL), 0);
	use("w");
	for (uint32_t i = 0; i < 2; i++) {
		memset(buf, 'a' + (int)i, 4 * BS);
		assert_int_equal(rig_do(&rig, i, chs[i], BDEV_WRITE, 3, 4, buf, 4 * BS), BDEV_ST_OK);
		assert_memory_equal(fakes[0].media + (OFFSET + 3) * BS, buf, 4 * BS);
		assert_int_equal(rig_do(&rig, i, chs[i], BDEV_READ, 3, 4, other, 4 * BS), BDEV_ST_OK);
		assert_memory_equal(other, buf, 4 * BS);
	}
	rig_io_init(&io, chs[0], BDEV_READ, 3, 4, NULL, 0);
	io.io.flags = BDEV_IO_LEND;
	io.io.iovs = lent;
	io.io.iov_max = (uint16_t)bdev_lend_iovs_max(desc, 4);
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	assert_true(io.io.lent && io.io.iov_count == 1);
	assert_ptr_equal(lent[0].iov_base, fakes[0].media + (OFFSET + 3) * BS);
	bdev_io_release(&io.io);
	assert_int_equal(rig_do(&rig, 0, chs[0], BDEV_COPY, 100, 4, NULL, 0), BDEV_ST_OK); /* from block 0 */
	assert_memory_equal(fakes[0].media + (OFFSET + 100) * BS, fakes[0].media + OFFSET * BS, 4 * BS);
	buf[BS] ^= 1;
	assert_int_equal(rig_do(&rig, 0, chs[0], BDEV_COMPARE, 3, 4, buf, 4 * BS), BDEV_ST_MISCOMPARE);
	/* more ranges than move at a time, one of them empty */
	memset(fakes[0].media, 7, FAKE_BLOCKS * BS);
	for (uint32_t i = 0; i < ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct bdev_range){ 10 * i, i == 5 ? 0 : 2 };
	rig_io_init(&io, chs[0], BDEV_UNMAP, 0, 0, NULL, 0);
	io.io.unmap.ranges = ranges;
	io.io.unmap.range_count = ARRAY_SIZE(ranges);
	fakes[0].bdev.max_unmap_blocks = 1; /* one by one, so that the fake need not know ranges */
	assert_int_equal(rig_io_run(&rig, 0, &io), BDEV_ST_OK);
	for (uint32_t i = 0; i < ARRAY_SIZE(ranges) * 10; i++)
		assert_int_equal(fakes[0].media[(OFFSET + i) * BS], i % 10 < 2 && i / 10 != 5 ? 0 : 7);
	assert_int_equal(fakes[0].media[(OFFSET - 1) * BS], 7);
	/* sizes follow */
	assert_int_equal(rig_do(&rig, 0, chs[0], BDEV_READ, FAKE_BLOCKS - OFFSET - 1, 1, buf, BS), BDEV_ST_OK);
	rig_on(core_control(rig.core), resize_here, &fakes[0].bdev);
	assert_int_equal(bdev_block_count(desc), FAKE_BLOCKS / 2 - OFFSET);
	assert_int_equal(rig_do(&rig, 0, chs[0], BDEV_READ, FAKE_BLOCKS / 2 - OFFSET, 1, buf, BS), BDEV_ST_BAD_RANGE);
	leave();
	delete("w");
	go(0);
	rig_stop(&rig);
}

struct lease_check {
	struct bdev_lease lease;
	struct bdev_lease_revoke revoke;
	sem_t done;
};
static void revoked(struct bdev_lease_revoke *r) { sem_post(&container_of(r, struct lease_check, revoke)->done); }
static void revoke_here(void *arg)
{
	struct lease_check *c = arg;

	bdev_lease_revoke(rig.core, &c->lease, &c->revoke, revoked);
}

/* A lease is the initiator's: what it sent through a stack does not land after its revocation was answered. */
static void a_revoked_write_does_not_land(void **state)
{
	static struct lease_check c;
	struct rig_io io;

	begin();
	sem_init(&c.done, 0, 0);
	bdev_lease_init(&c.lease);
	come(0, "base");
	assert_int_equal(start("w", "base", NULL), 0);
	use("w");
	fakes[0].holding = true;
	memset(buf, 5, BS);
	rig_io_init(&io, chs[0], BDEV_WRITE, 0, 1, buf, BS);
	io.io.lease = &c.lease;
	io.io.lease_epoch = bdev_lease_epoch(&c.lease);
	rig_io_start(&rig, 0, &io);
	rig_on(rig_core(&rig, 1), revoke_here, &c);
	rig_settle(&rig);
	assert_int_equal(sem_trywait(&c.done), -1);
	fakes[0].holding = false;
	assert_int_equal(fakes[0].held, 1);
	rig_on(rig_core(&rig, 0), fake_let_go, bdev_stack_io_of(&io.io)->child.ch);
	assert_int_equal(rig_io_wait(&io), BDEV_ST_FENCED);
	sem_wait(&c.done);
	assert_int_equal(fakes[0].media[OFFSET * BS], 0);
	leave();
	delete("w");
	go(0);
	rig_stop(&rig);
}

static struct rig_io under_way;

/* The base goes with an I/O under way: new I/O ends with GONE, the old one as the base ends it, and nothing hangs. */
static void a_base_may_go_under_io(void **state)
{
	begin();
	come(0, "base");
	assert_int_equal(start("w", "base", NULL), 0);
	use("w");
	fakes[0].holding = true;
	rig_io_init(&under_way, chs[0], BDEV_READ, 0, 1, buf, BS);
	rig_io_start(&rig, 0, &under_way);
	ask_to_go(0);
	rig_settle(&rig);
	assert_int_equal(rig_do(&rig, 1, chs[1], BDEV_READ, 0, 1, other, BS), BDEV_ST_GONE);
	assert_false(rig_io_ended(&under_way));
	rig_on(rig_core(&rig, 0), fake_let_go, bdev_stack_io_of(&under_way.io)->child.ch);
	assert_int_equal(rig_io_wait(&under_way), BDEV_ST_OK);
	leave();
	is_gone(0);
	assert_false(there("w"));
	rig_stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_of_creation_does_not_matter),
		cmocka_unit_test(bases_may_end_one_after_the_other_as_they_are_closed),
		cmocka_unit_test(goes_with_its_base_and_comes_back),
		cmocka_unit_test(waits_for_all_of_its_bases),
		cmocka_unit_test(a_build_that_fails_leaves_nothing),
		cmocka_unit_test(io_goes_to_its_place_on_the_base),
		cmocka_unit_test(a_revoked_write_does_not_land),
		cmocka_unit_test(a_base_may_go_under_io),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
