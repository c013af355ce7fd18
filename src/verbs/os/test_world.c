/* SPDX-License-Identifier: BSD-3-Clause */
/* test_world.c: verbs_test.c on a real adapter, whose address is the program's argument. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "verbs/test_world.h"

#define WAIT_MS 60000u
#define LOOK_US 200u
#define SKIPPED 77

static const char *address;
static pthread_t thread;
static struct core *running;

void world_args(int argc, char **argv)
{
	if (argc == 2) {
		address = argv[1];
		return;
	}
	fprintf(stderr, "usage: %s ADDRESS, an RDMA adapter's own\n", argv[0]);
	exit(SKIPPED);
}

uint32_t world_count(void) { return 1; }
bool world_is_simulated(void) { return false; }
const char *world_address(void) { return address; }

static void *run(void *arg)
{
	core_run(arg, NULL, NULL);
	return NULL;
}

struct core *world_begin(uint32_t number)
{
	/* what is pinned costs time */
	struct core_opts opts = { .cpus = "[0-1]", .mode = CORE_INTERRUPT, .memory_bytes = 24 * MIB };
	struct err e = { 0 };

	running = core_make(&opts, &e);
	if (!running)
		fail_msg("%s", e.text);
	if (pthread_create(&thread, NULL, run, running))
		abort();
	return running;
}

static void stop(void *arg) { core_stop(arg, 0); }

struct ending {
	struct core *core;
	_Atomic bool over;
};

static void ignore(void *arg) {}

static void ask_if_over(void *arg)
{
	struct ending *e = arg;

	atomic_store(&e->over, verbs_is_over(e->core, ignore, NULL));
}

static bool is_over(void *arg)
{
	struct ending *e = arg;

	world_on(core_control(e->core), ask_if_over, e);
	return atomic_load(&e->over);
}

/* What is freed by and by: memory is deregistered by helpers. */
void world_end(struct core *core)
{
	struct ending e = { .core = core };

	if (!world_wait(is_over, &e))
		abort();
	world_on(core_control(core), stop, core);
	pthread_join(thread, NULL);
	core_free(core);
}

struct call {
	struct msg msg;
	void (*fn)(void *arg);
	void *arg;
	_Atomic bool called;
};

static void call(struct msg *m)
{
	struct call *c = container_of(m, struct call, msg);

	c->fn(c->arg);
	atomic_store(&c->called, true);
}

static bool is_called(void *arg) { return atomic_load((_Atomic bool *)arg); }

void world_on(struct reactor *r, void (*fn)(void *arg), void *arg)
{
	struct call c = { .fn = fn, .arg = arg };

	msg_send(r, &c.msg, call);
	if (!world_wait(is_called, &c.called))
		abort();
}

bool world_wait(bool (*until)(void *arg), void *arg)
{
	for (uint32_t us = 0; us < WAIT_MS * 1000; us += LOOK_US) {
		if (until(arg))
			return true;
		usleep(LOOK_US);
	}
	return until(arg);
}

void world_pass_ms(uint32_t ms) { usleep(ms * 1000); }
