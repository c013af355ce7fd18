/* SPDX-License-Identifier: BSD-3-Clause */
/* stack_rig_test.h: a fake base and a device over it, for tests of stacked back-ends. */
#ifndef BDEV_STACK_RIG_TEST_H
#define BDEV_STACK_RIG_TEST_H

#include "bdev/bdev_stack.h"
#include "bdev/fake_disk_test.h"
#include "bdev/rig_test.h"

/* Each test file has one of these. */
struct stack_rig {
	struct rig rig;
	struct fake_disk base;
	struct bdev_desc *desc;
	struct bdev_channel *chs[2];
	sem_t gone;
};

struct stack_rig_find {
	struct stack_rig *r;
	const char *name;
	bool found;
};

static void stack_rig_find_here(void *arg)
{
	struct stack_rig_find *f = arg;

	f->found = bdev_find(f->r->rig.reg, f->name) != NULL;
}

static inline bool stack_rig_there(struct stack_rig *r, const char *name)
{
	struct stack_rig_find f = { .r = r, .name = name };

	rig_on(core_control(r->rig.core), stack_rig_find_here, &f);
	return f.found;
}

static void stack_rig_gone(void *arg, int rc)
{
	sem_post(&((struct stack_rig *)arg)->gone);
}

static inline void stack_rig_wait_gone(struct stack_rig *r)
{
	while (sem_wait(&r->gone) != 0)
		;
}

static void stack_rig_register(void *arg)
{
	struct stack_rig *r = arg;

	must(bdev_register(r->rig.reg, &r->base.bdev, NULL) == 0);
}

/* The base is called "base"; it lends, and can unmap and reset. */
static inline void stack_rig_come(struct stack_rig *r)
{
	fake_init(&r->base, "base");
	r->base.bdev.lends = true;
	r->base.bdev.native_ops |= BDEV_BIT(UNMAP);
	rig_on(core_control(r->rig.core), stack_rig_register, r);
}

static inline void stack_rig_start(struct stack_rig *r)
{
	memset(r, 0, sizeof(*r));
	sem_init(&r->gone, 0, 0);
	rig_start(&r->rig, 2);
	stack_rig_come(r);
}

static void stack_rig_unregister(void *arg)
{
	struct stack_rig *r = arg;

	bdev_unregister(&r->base.bdev, stack_rig_gone, r);
}

static inline void stack_rig_ask_to_go(struct stack_rig *r)
{
	rig_on(core_control(r->rig.core), stack_rig_unregister, r);
}

/* After stack_rig_ask_to_go(). */
static inline void stack_rig_is_gone(struct stack_rig *r)
{
	stack_rig_wait_gone(r);
	fake_fini(&r->base);
}

static inline void stack_rig_use(struct stack_rig *r, const char *name)
{
	r->desc = rig_open(&r->rig, name, true);
	must(r->desc);
	for (uint32_t i = 0; i < 2; i++)
		r->chs[i] = rig_get(&r->rig, i, r->desc);
}

static inline void stack_rig_leave(struct stack_rig *r)
{
	for (uint32_t i = 0; i < 2; i++)
		rig_put(&r->rig, i, r->chs[i]);
	rig_close(&r->rig, r->desc);
}

/* The base goes, and with it all that stands on it; the end. */
static inline void stack_rig_stop(struct stack_rig *r)
{
	stack_rig_ask_to_go(r);
	stack_rig_is_gone(r);
	rig_stop(&r->rig);
}

struct stack_rig_abort {
	struct rig_io *io;
	bool asked;
};

static void stack_rig_abort_here(void *arg)
{
	struct stack_rig_abort *a = arg;

	a->asked = bdev_abort(a->io->ch, &a->io->io);
}

static inline bool stack_rig_abort(struct stack_rig *r, uint32_t core, struct rig_io *io)
{
	struct stack_rig_abort a = { .io = io };

	rig_on(rig_core(&r->rig, core), stack_rig_abort_here, &a);
	return a.asked;
}

#endif
