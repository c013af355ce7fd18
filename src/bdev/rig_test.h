/* SPDX-License-Identifier: BSD-3-Clause */
/* rig_test.h: a running core for tests of devices, driven from the test's own thread, so that a test reads from top to
 * bottom: each call goes to a reactor and waits for its answer. Asserts stay on the test's thread.
 */
#ifndef BDEV_RIG_TEST_H
#define BDEV_RIG_TEST_H

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "base/text.h"
#include "bdev/bdev_device.h"

struct rig {
	struct core *core;
	struct bdev_registry *reg;
	pthread_t thread;
	sem_t started;
};

struct rig_call {
	struct msg msg;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void rig_started(void *arg)
{
	sem_post(&((struct rig *)arg)->started);
}

static void *rig_thread(void *arg)
{
	struct rig *r = arg;

	core_run(r->core, rig_started, r);
	return NULL;
}

static void rig_called(struct msg *m)
{
	struct rig_call *c = container_of(m, struct rig_call, msg);

	c->fn(c->arg);
	sem_post(&c->done);
}

/* Run fn(arg) on a reactor and wait. */
static inline void rig_on(struct reactor *on, void (*fn)(void *arg), void *arg)
{
	struct rig_call c = { .fn = fn, .arg = arg };

	sem_init(&c.done, 0, 0);
	msg_send(on, &c.msg, rig_called);
	while (sem_wait(&c.done) != 0)
		;
	sem_destroy(&c.done);
}

static inline struct reactor *rig_core(struct rig *r, uint32_t index)
{
	return index < core_reactor_count(r->core) ? core_reactor(r->core, index) : core_control(r->core);
}

static void rig_make_registry(void *arg)
{
	struct rig *r = arg;

	r->reg = bdev_registry_make(r->core);
}

/* Reactors on the first CPUs this process may use: a container may have taken number 0 away. */
static inline void rig_start(struct rig *r, uint32_t reactors)
{
	char list[64];
	struct text t = text_over(list, sizeof(list));
	struct core_opts opts = { .cpus = list, .mode = CORE_INTERRUPT };
	struct err e = { 0 };
	cpu_set_t allowed;

	must(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
	text_add(&t, "[");
	for (uint32_t cpu = 0, taken = 0; cpu < CPU_SETSIZE && taken < reactors; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			text_add(&t, taken++ ? ",%u" : "%u", cpu);
	text_add(&t, "]");

	memset(r, 0, sizeof(*r));
	r->core = core_make(&opts, &e);
	must(r->core);
	sem_init(&r->started, 0, 0);
	must(pthread_create(&r->thread, NULL, rig_thread, r) == 0);
	sem_wait(&r->started);
	rig_on(core_control(r->core), rig_make_registry, r);
}

static void rig_end(void *arg)
{
	struct rig *r = arg;

	bdev_registry_free(r->reg);
	core_stop(r->core, 0);
}

static inline void rig_stop(struct rig *r)
{
	rig_on(core_control(r->core), rig_end, r);
	pthread_join(r->thread, NULL);
	core_free(r->core);
	sem_destroy(&r->started);
}

/* --- devices ---------------------------------------------------------------------------------------------- */

struct rig_open {
	struct rig *rig;
	const char *name;
	bool write;
	struct bdev_desc *desc;
	bdev_event_fn *event;
	void *arg;
	struct err err;
};

static void rig_open_here(void *arg)
{
	struct rig_open *o = arg;

	o->desc = bdev_open(o->rig->reg, o->name, o->write, "test", o->event, o->arg, &o->err);
}

static inline struct bdev_desc *rig_open(struct rig *r, const char *name, bool write)
{
	struct rig_open o = { .rig = r, .name = name, .write = write };

	rig_on(core_control(r->core), rig_open_here, &o);
	return o.desc;
}

static void rig_close_here(void *arg)
{
	bdev_close(arg);
}

static inline void rig_close(struct rig *r, struct bdev_desc *desc)
{
	rig_on(core_control(r->core), rig_close_here, desc);
}

struct rig_channel {
	struct bdev_desc *desc;
	struct bdev_channel *ch;
};

static void rig_get_here(void *arg)
{
	struct rig_channel *c = arg;

	c->ch = bdev_channel_get(c->desc, NULL);
}

static inline struct bdev_channel *rig_get(struct rig *r, uint32_t core, struct bdev_desc *desc)
{
	struct rig_channel c = { .desc = desc };

	rig_on(rig_core(r, core), rig_get_here, &c);
	return c.ch;
}

static void rig_put_here(void *arg)
{
	bdev_channel_put(arg);
}

static inline void rig_put(struct rig *r, uint32_t core, struct bdev_channel *ch)
{
	rig_on(rig_core(r, core), rig_put_here, ch);
}

/* --- I/O -------------------------------------------------------------------------------------------------- */

struct rig_io {
	struct bdev_io io;
	struct bdev_channel *ch;
	struct iovec iov;
	sem_t done;
	bool done_in_submit, consumed_at_return;
	bool submitting;
};

static void rig_io_done(struct bdev_io *io)
{
	struct rig_io *r = container_of(io, struct rig_io, io);

	r->done_in_submit = r->submitting;
	sem_post(&r->done);
}

static void rig_submit_here(void *arg)
{
	struct rig_io *r = arg;

	r->io.done = rig_io_done;
	r->submitting = true;
	bdev_submit(r->ch, &r->io);
	r->submitting = false;
	r->consumed_at_return = r->io.consumed;
}

/* A whole operation over one buffer (NULL: none). */
static inline void rig_io_init(struct rig_io *r, struct bdev_channel *ch, enum bdev_op op, uint64_t lba, uint64_t count,
                               void *buf, size_t len)
{
	memset(r, 0, sizeof(*r));
	r->ch = ch;
	r->io.op = (uint8_t)op;
	r->io.lba = lba;
	r->io.count = count;
	r->iov = (struct iovec){ .iov_base = buf, .iov_len = len };
	r->io.iovs = &r->iov;
	r->io.iov_count = buf ? 1 : 0;
	r->io.iov_max = 1;
	sem_init(&r->done, 0, 0);
}

static inline void rig_io_start(struct rig *r, uint32_t core, struct rig_io *io)
{
	rig_on(rig_core(r, core), rig_submit_here, io);
}

static inline enum bdev_status rig_io_wait(struct rig_io *io)
{
	while (sem_wait(&io->done) != 0)
		;
	return (enum bdev_status)io->io.status;
}

static inline bool rig_io_ended(struct rig_io *io)
{
	int v = 0;

	sem_getvalue(&io->done, &v);
	return v > 0;
}

static inline enum bdev_status rig_io_run(struct rig *r, uint32_t core, struct rig_io *io)
{
	rig_io_start(r, core, io);
	return rig_io_wait(io);
}

/* The shortest way: one operation, one buffer, wait. */
static inline enum bdev_status rig_do(struct rig *r, uint32_t core, struct bdev_channel *ch, enum bdev_op op,
                                      uint64_t lba, uint64_t count, void *buf, size_t len)
{
	struct rig_io io;

	rig_io_init(&io, ch, op, lba, count, buf, len);
	return rig_io_run(r, core, &io);
}

/* Every reactor has made a pass since: what was sent before has arrived. */
static void rig_nothing(void *arg) {}
static inline void rig_settle(struct rig *r)
{
	for (uint32_t turns = 0; turns < 3; turns++)
		for (uint32_t i = 0; i <= core_reactor_count(r->core); i++)
			rig_on(rig_core(r, i), rig_nothing, NULL);
}

#endif
