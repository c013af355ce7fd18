/* SPDX-License-Identifier: BSD-3-Clause */
/* micro_timer.c: what it costs to start, stop and run timers, beside many that are running.
 *
 *     micro_timer [--json]
 */
#include <stdio.h>

#include "core/core.h"

#define COUNT_MAX 100000u
#define OPERATIONS 1000000u

static struct timer timers[COUNT_MAX];
static bool json;
static uint64_t fired, seed = 1;
static uint32_t due;
static struct core *core;
static struct defer go_on;
static const uint32_t counts[] = { 10, 1000, COUNT_MAX };
static uint32_t at;
static uint64_t began_ns;

static void print(const char *what, uint32_t count, double ns)
{
	printf(json ? "{\"case\": \"%s\", \"timers\": %u, \"ns\": %.1f}\n" : "%s beside %u timers: %.1f ns\n", what, count,
	       ns);
}

/* xorshift: the bench must not spend its time on good randomness */
static uint64_t draw(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static void ignore(struct timer *t) { fired++; }

/* A keep-alive's life: it is always started anew before it expires. */
static void restart(uint32_t count)
{
	uint64_t began;

	for (uint32_t i = 0; i < count; i++)
		timer_start(&timers[i], NS_PER_S * 1000 + draw(NS_PER_S), ignore);
	began = core_clock_ns();
	for (uint32_t i = 0; i < OPERATIONS; i++)
		timer_start(&timers[draw(count)], NS_PER_S * 1000 + draw(NS_PER_S), ignore);
	print("start anew", count, (double)(core_clock_ns() - began) / OPERATIONS);
	began = core_clock_ns();
	for (uint32_t i = 0; i < count; i++)
		timer_stop(&timers[i]);
	print("stop", count, (double)(core_clock_ns() - began) / count);
}

static void step(struct defer *d);

static void expired(struct timer *t)
{
	if (--due)
		return;
	print("start and expire", counts[at], (double)(core_clock_ns() - began_ns) / counts[at]);
	at++;
	defer_run(&go_on, step);
}

/* All start at random deadlines a nanosecond to a microsecond away, and run in the next pass. */
static void step(struct defer *d)
{
	if (at == ARRAY_SIZE(counts)) {
		core_stop(core, 0);
		return;
	}
	restart(counts[at]);
	due = counts[at];
	began_ns = core_clock_ns();
	for (uint32_t i = 0; i < counts[at]; i++)
		timer_start(&timers[i], draw(NS_PER_US), expired);
}

static void on_core(struct msg *m) { defer_run(&go_on, step); }

static void start(void *arg)
{
	static struct msg m;

	msg_send(core_reactor(core, 0), &m, on_core);
}

int main(int argc, char **argv)
{
	struct core_opts opts = { .mode = CORE_POLL };
	struct err e = { 0 };
	int rc;

	json = argc > 1 && strcmp(argv[1], "--json") == 0;
	core = core_make(&opts, &e);
	if (!core) {
		fprintf(stderr, "micro_timer: %s\n", e.text);
		return 2;
	}
	rc = core_run(core, start, NULL);
	core_free(core);
	return rc;
}
