/* SPDX-License-Identifier: BSD-3-Clause */
/* test_run.h: run a test of sockets on a core, real or simulated.
 *
 * cmocka's asserts longjmp, so reactors only collect; everything is checked when the core has stopped.
 */
#ifndef NET_TEST_RUN_H
#define NET_TEST_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net.h"

#define TEST_SKIPPED 77 /* exit code that meson knows: this machine has not what the tests need */

struct run {
	struct core *core;
	struct timer guard;
	void (*start)(void *arg);
	void *arg;
	_Atomic int parts;
};
extern struct run run;
extern uint32_t world_number; /* which of world_count() runs */

/* Run on two I/O reactors and the control reactor, on which `start` runs, until part_ended() was called `parts`
 * times. Returns what core_stop() was given: 0, or -ETIMEDOUT when that took too long. */
int run_core(void (*start)(void *arg), void *arg, int parts);
void part_ended(void);
struct net_addr loopback(void);

/* Of the world: the kernel's or the simulator's. How often the tests run in it, and what surrounds each core. */
uint32_t world_count(void);
const char *world_cpus(void); /* two of them; NULL: there are none */
void world_start(uint32_t n);
void world_end(void);
uint32_t world_fds(void); /* descriptors that are open */

#endif
