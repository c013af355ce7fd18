/* SPDX-License-Identifier: BSD-3-Clause */
/* rig_test.h: run a few reactors for the length of a test. Checks on reactors are counted in rig.trouble and
 * asserted by the main thread afterwards, because cmocka's asserts jump. */
#ifndef CORE_RIG_TEST_H
#define CORE_RIG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>

#include "base/text.h"
#include "core/core.h"

static struct {
	struct core *core;
	_Atomic uint32_t trouble;
	const char *_Atomic what; /* the first check that failed */
} rig;

#define check(cond) ((cond) ? (void)0 : rig_say(#cond))
static inline void rig_say(const char *what)
{
	if (!atomic_fetch_add(&rig.trouble, 1))
		atomic_store(&rig.what, what);
}

/* The first `count` CPUs this process may use, fewer where there are fewer. */
static inline const char *rig_cpus(uint32_t count)
{
	static char list[64];
	struct text t = text_over(list, sizeof(list));
	cpu_set_t allowed;
	uint32_t found = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE && found < count; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			text_add(&t, found++ ? ",%u" : "[%u", cpu);
	text_add(&t, "]");
	return list;
}

static inline void rig_make(const struct core_opts *opts)
{
	struct err e = { 0 };

	atomic_store(&rig.trouble, 0);
	rig.core = core_make(opts, &e);
	if (!rig.core)
		fail_msg("%s", e.text);
}

/* Run until core_stop(), and free. */
static inline void rig_end(void (*start)(void *arg))
{
	int code = core_run(rig.core, start, NULL);

	core_free(rig.core);
	if (rig.trouble)
		fail_msg("%u checks failed; the first: %s", atomic_load(&rig.trouble), atomic_load(&rig.what));
	assert_int_equal(code, 0);
}

static inline void rig_run(uint32_t reactors, enum core_mode mode, void (*start)(void *arg))
{
	struct core_opts opts = { .cpus = rig_cpus(reactors), .mode = mode, .stall_ms = 60000 };

	rig_make(&opts);
	rig_end(start);
}

static inline void rig_stop(void) { core_stop(rig.core, 0); }
static inline struct reactor *rig_last(void) { return core_reactor(rig.core, core_reactor_count(rig.core) - 1); }

#endif
