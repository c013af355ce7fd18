/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_test.c: partitions come with their disk, go with it, follow its table, and take nothing from others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sched.h>

#include "backends/gpt/gpt.h"
#include "backends/gpt/gpt_image_test.h"
#include "bdev/fake_disk_test.h"
#include "bdev/rig_test.h"

#define BS 512u
#define BLOCKS 1024u

/* 6527994e-2c5a-4eec-9613-8f5944074e8b and 0fc63daf-8483-4772-8e79-3d69d8477de4 as they lie on a disk. */
static const uint8_t SPDK[16] = { 0x4e, 0x99, 0x27, 0x65, 0x5a, 0x2c, 0xec, 0x4e, 0x96, 0x13, 0x8f, 0x59, 0x44, 0x07,
	                          0x4e, 0x8b };
static const uint8_t SPDK_OLD[16] = { 0xbd, 0x22, 0x52, 0x7c, 0x5d, 0x8f, 0x87, 0x40, 0x9c, 0x00, 0xbf, 0x98, 0x43,
	                              0xc7, 0xb5, 0x8c };
static const uint8_t LINUX[16] = { 0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47,
	                           0x7d, 0xe4 };

static struct rig rig;
static struct gpt *gpt;
static struct fake_disk fake;
static struct gpt_image image;
static sem_t gone, scanned;

static void make_here(void *arg) { gpt = gpt_make(rig.reg); }
static void free_here(void *arg) { gpt_free(gpt); }
static void register_here(void *arg) { must(bdev_register(rig.reg, &fake.bdev, NULL) == 0); }
static void went(void *arg, int rc) { sem_post(&gone); }
static void unregister_here(void *arg) { bdev_unregister(&fake.bdev, went, NULL); }
static void did_scan(void *arg) { sem_post(&scanned); }
static void rescan_here(void *arg) { must(gpt_rescan(gpt, NULL, did_scan, NULL, NULL) == 0); }

static void wait_for(sem_t *s)
{
	while (sem_wait(s) != 0)
		;
}

static void set_types_here(void *arg)
{
	struct gpt_types t = { .count = 0 };

	must(gpt_types_add(&t, arg, NULL) == 0);
	gpt_set_types(gpt, &t);
}

static void set_types(const char *text)
{
	rig_on(core_control(rig.core), set_types_here, (void *)(uintptr_t)text);
}

/* The table of `image` is what lies on the disk. */
static void begin(void)
{
	sem_init(&gone, 0, 0);
	sem_init(&scanned, 0, 0);
	rig_start(&rig, 1);
	rig_on(core_control(rig.core), make_here, NULL);
	fake_init(&fake, "disk");
	fake.bdev.block_count = BLOCKS;
	image_init(&image, BS, BLOCKS);
	free(image.disk);
	image.disk = (uint8_t *)fake.media;
	fake.media[450] = (char)0xee;
	image_u32(image.disk + 454, 1);
	image_u32(image.disk + 458, BLOCKS - 1);
	fake.media[510] = 0x55;
	fake.media[511] = (char)0xaa;
	image_part(&image, 1, SPDK, 100, 199, "one");
	image_part(&image, 2, LINUX, 200, 299, "two");
	image_part(&image, 3, SPDK_OLD, 300, 399, "three");
	image_seal(&image);
}

static void rescan(void)
{
	rig_on(core_control(rig.core), rescan_here, NULL);
	wait_for(&scanned);
}

static void come(void)
{
	rig_on(core_control(rig.core), register_here, NULL);
	rescan(); /* it has been read once when this has ended */
}

static void go(void)
{
	rig_on(core_control(rig.core), unregister_here, NULL);
	wait_for(&gone);
}

static void end(void)
{
	go();
	rig_on(core_control(rig.core), free_here, NULL);
	rig_stop(&rig);
	fake_fini(&fake);
}

struct look {
	const char *name;
	bool there, claimed;
	uint64_t blocks;
	struct gpt_facts facts;
	char label[64];
};

static void look_here(void *arg)
{
	struct look *l = arg;
	const struct bdev *b = bdev_find(rig.reg, l->name);

	l->there = b != NULL;
	l->claimed = b && b->claim;
	l->blocks = b ? atomic_load(&b->block_count) : 0;
	if (b && gpt_facts_of(b, &l->facts))
		snprintf(l->label, sizeof(l->label), "%s", l->facts.name);
}

static struct look look(const char *name)
{
	struct look l = { .name = name };

	rig_on(core_control(rig.core), look_here, &l);
	return l;
}

static void partitions_of_spdks_types_are_there(void **state)
{
	static char out[2 * BS], in[2 * BS];
	struct bdev_channel *ch;
	struct bdev_desc *desc;

	begin();
	come();
	assert_true(look("diskp1").there);
	assert_int_equal(look("diskp1").blocks, 100);
	assert_string_equal(look("diskp1").label, "one");
	assert_int_equal(look("diskp1").facts.offset_blocks, 100);
	assert_false(look("diskp2").there);
	assert_int_equal(look("diskp3").blocks, 99); /* as SPDK shows it */
	assert_true(look("disk").claimed);
	assert_null(rig_open(&rig, "disk", true));
	desc = rig_open(&rig, "diskp1", true);
	ch = rig_get(&rig, 0, desc);
	memset(out, 7, sizeof(out));
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_WRITE, 98, 2, out, sizeof(out)), BDEV_ST_OK);
	assert_memory_equal(fake.media + 198 * BS, out, sizeof(out));
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_READ, 98, 2, in, sizeof(in)), BDEV_ST_OK);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(rig_do(&rig, 0, ch, BDEV_WRITE, 99, 2, out, sizeof(out)), BDEV_ST_BAD_RANGE);
	rig_put(&rig, 0, ch);
	rig_close(&rig, desc);
	end();
}

static void other_types_can_be_asked_for(void **state)
{
	begin();
	set_types("linux");
	come();
	assert_false(look("diskp1").there);
	assert_true(look("diskp2").there);
	set_types("all");
	rescan();
	assert_true(look("diskp1").there && look("diskp2").there && look("diskp3").there);
	set_types("none");
	rescan();
	rig_settle(&rig);
	assert_false(look("diskp1").there || look("diskp2").there || look("diskp3").there);
	assert_false(look("disk").claimed); /* the disk can be used whole again */
	end();
}

/* A host that uses the whole disk would find it taken from under it. */
static void a_disk_in_use_is_left_alone(void **state)
{
	struct bdev_desc *desc;

	begin();
	set_types("none");
	come();
	desc = rig_open(&rig, "disk", true);
	set_types("spdk");
	rescan();
	assert_false(look("diskp1").there);
	assert_false(look("disk").claimed);
	rig_close(&rig, desc);
	rescan();
	assert_true(look("diskp1").there);
	end();
}

static void the_backup_table_helps(void **state)
{
	begin();
	memset(fake.media + 512, 0, 512);
	come();
	assert_true(look("diskp1").there);
	memset(fake.media + 1023 * BS, 0, 512);
	end();
	begin();
	fake.media[1024]++;             /* the primary entries */
	come();
	assert_true(look("diskp1").there);
	end();
	begin();
	fake.media[1024]++;
	fake.media[1023 * BS + 20]++;   /* and the backup header */
	come();
	assert_false(look("diskp1").there);
	end();
}

static void unreadable_disks_have_no_partitions(void **state)
{
	for (uint32_t n = 1; n <= 2; n++) {
		begin();
		atomic_store(&fake.fail_at, n);
		rig_on(core_control(rig.core), register_here, NULL);
		rig_settle(&rig);
		assert_int_equal(look("diskp1").there, n == 2); /* the backup one, when it is the entries */
		end();
	}
}

/* The table changes while partitions are open: who has one open keeps it until it lets go. */
static void a_rescan_follows_the_table(void **state)
{
	struct bdev_desc *desc;

	begin();
	come();
	desc = rig_open(&rig, "diskp3", true);
	image_part(&image, 1, SPDK, 100, 149, "one");   /* smaller */
	image_part(&image, 2, SPDK, 500, 599, "two");   /* new */
	image_part(&image, 3, SPDK, 310, 319, "three"); /* somewhere else */
	image_seal(&image);
	rescan();
	assert_int_equal(look("diskp1").blocks, 50);
	assert_int_equal(look("diskp2").blocks, 100);
	assert_int_equal(look("diskp3").facts.offset_blocks, 300);
	rig_close(&rig, desc);
	rig_settle(&rig);
	assert_int_equal(look("diskp3").facts.offset_blocks, 310);
	assert_int_equal(look("diskp3").blocks, 10);
	end();
}

/* An I/O error is not an empty table: who uses a partition would lose it for a moment's failure. */
static void a_rescan_that_cannot_read_changes_nothing(void **state)
{
	begin();
	come();
	assert_true(look("diskp1").there);
	atomic_store(&fake.fail_at, atomic_load(&fake.seen) + 1);
	rescan();
	rig_settle(&rig);
	assert_true(look("diskp1").there);
	memset(fake.media + BS, 0, BS); /* read, and none: the primary header is gone, and the backup one */
	memset(fake.media + (BLOCKS - 1) * BS, 0, BS);
	rescan();
	rig_settle(&rig);
	assert_false(look("diskp1").there);
	end();
}

/* Another disk comes under the same name: the old table would cut it up. */
static void a_disk_that_comes_back_is_read_anew(void **state)
{
	begin();
	come();
	go();
	assert_false(look("diskp1").there);
	image_part(&image, 1, LINUX, 100, 199, "one");
	image_seal(&image);
	come();
	assert_false(look("diskp1").there);
	assert_true(look("diskp3").there);
	end();
}

/* --- a disk whose partitions are still going ---------------------------------------------------------------- */

static struct bdev_desc *holder;
static struct bdev_arrival watch;
static struct fake_disk taken;

static void hold_first(struct bdev_arrival *a, struct bdev *b)
{
	if (!holder && strcmp(b->name, "diskp1") == 0)
		holder = bdev_open(rig.reg, "diskp1", false, "test", NULL, NULL, NULL);
}

static void watch_here(void *arg)
{
	must(bdev_register(rig.reg, &taken.bdev, NULL) == 0);
	bdev_arrival_add(rig.reg, &watch, hold_first);
}

static void free_name_here(void *arg)
{
	bdev_unregister(&taken.bdev, went, NULL);
}

static void let_go_here(void *arg)
{
	bdev_arrival_remove(&watch);
	bdev_close(holder);
	holder = NULL;
}

static void a_rescan_while_the_old_ones_go_is_not_lost(void **state)
{
	begin();
	set_types("all");
	fake_init(&taken, "diskp2"); /* so that not all partitions can be made, and none is */
	rig_on(core_control(rig.core), watch_here, NULL);
	come();
	assert_non_null(holder);
	rig_on(core_control(rig.core), free_name_here, NULL);
	wait_for(&gone);
	rescan();
	assert_false(look("diskp2").there);
	rig_on(core_control(rig.core), let_go_here, NULL);
	while (!look("diskp2").there)
		sched_yield();
	assert_true(look("diskp1").there);
	fake_fini(&taken);
	end();
}

static void types_are_named(void **state)
{
	struct gpt_types t = { .count = 0 };

	assert_int_equal(gpt_types_add(&t, "none", NULL), 0);
	assert_int_equal(t.count, 0);
	assert_int_equal(gpt_types_add(&t, "spdk", NULL), 0);
	assert_int_equal(t.count, 2);
	assert_int_equal(gpt_types_add(&t, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", NULL), 0);
	assert_int_equal(t.count, 3);
	assert_int_equal(gpt_types_add(&t, "ntfs", NULL), -EINVAL);
	assert_false(t.all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(partitions_of_spdks_types_are_there),
		cmocka_unit_test(other_types_can_be_asked_for),
		cmocka_unit_test(a_disk_in_use_is_left_alone),
		cmocka_unit_test(the_backup_table_helps),
		cmocka_unit_test(unreadable_disks_have_no_partitions),
		cmocka_unit_test(a_rescan_that_cannot_read_changes_nothing),
		cmocka_unit_test(a_rescan_follows_the_table),
		cmocka_unit_test(a_disk_that_comes_back_is_read_anew),
		cmocka_unit_test(a_rescan_while_the_old_ones_go_is_not_lost),
		cmocka_unit_test(types_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
