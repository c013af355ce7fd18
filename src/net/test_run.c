/* SPDX-License-Identifier: BSD-3-Clause */
/* test_run.c: run a test of sockets on a core, real or simulated. */
#include "net/test_run.h"

#include <errno.h>

#define GUARD_NS (30 * NS_PER_S)

struct run run;
uint32_t world_number;

static void guard_ran_out(struct timer *t)
{
	core_stop(run.core, -ETIMEDOUT);
}

static void run_started(void *arg)
{
	timer_start(&run.guard, GUARD_NS, guard_ran_out);
	run.start(run.arg);
}

void part_ended(void)
{
	if (atomic_fetch_sub(&run.parts, 1) == 1)
		core_stop(run.core, 0);
}

int run_core(void (*start)(void *arg), void *arg, int parts)
{
	struct core_opts opts = { .cpus = world_cpus(), .mode = CORE_INTERRUPT };
	struct err e = { 0 };
	int rc;

	run = (struct run){ .start = start, .arg = arg, .parts = parts };
	world_start(world_number);
	run.core = core_make(&opts, &e);
	if (!run.core)
		fail_msg("%s", e.text);
	rc = core_run(run.core, run_started, NULL);
	core_free(run.core);
	world_end();
	return rc;
}

struct net_addr loopback(void)
{
	struct net_addr a;

	if (net_addr_parse(NET_IPV4, "127.0.0.1", "0", &a, NULL))
		abort();
	return a;
}
