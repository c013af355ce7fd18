/* SPDX-License-Identifier: BSD-3-Clause */
/* test_world.h: where tests of verbs run: real adapters, or simulated ones. The test is straight-line code outside of
 * reactors: it has functions run on them, and waits for what they bring about. */
#ifndef VERBS_TEST_WORLD_H
#define VERBS_TEST_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "verbs/verbs.h"

/* What the test was called with: a real world's adapter. Ends the process if there is none. */
void world_args(int argc, char **argv);
/* How often the tests run, and what is new each time: a seed. */
uint32_t world_count(void);
bool world_is_simulated(void);
/* A core with two I/O reactors that sleep whenever they can, and an adapter with world_address(); and its end. */
struct core *world_begin(uint32_t number);
void world_end(struct core *core);
const char *world_address(void);
/* Run fn(arg) as `r`, and wait until it has. */
void world_on(struct reactor *r, void (*fn)(void *arg), void *arg);
/* Wait until `until` is true: it reads atomics. False: it took too long. */
bool world_wait(bool (*until)(void *arg), void *arg);
/* Let some time go by. */
void world_pass_ms(uint32_t ms);

#endif
