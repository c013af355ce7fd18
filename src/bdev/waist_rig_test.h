/* SPDX-License-Identifier: BSD-3-Clause */
/* waist_rig_test.h: the waist over a fake device, with a channel on each of three reactors. */
#ifndef BDEV_WAIST_RIG_TEST_H
#define BDEV_WAIST_RIG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

#endif
