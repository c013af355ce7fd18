/* SPDX-License-Identifier: BSD-3-Clause */
/* seeds.h: run a scenario of the simulator under many seeds, and one again.
 *
 * A scenario starts a simulation with its seed, checks with must() or tells what is wrong with seeds_fail(), ends it
 * and returns sim_end()'s hash. When one fails, the line to run it again is printed:
 *
 *     sim_echo                  the usual number of seeds
 *     sim_echo --seeds 100000   more; --from 500 begins there
 *     sim_echo --seed 4711      that one
 *
 * Some seeds run twice, and must take the same course.
 */
#ifndef TESTS_SIM_SEEDS_H
#define TESTS_SIM_SEEDS_H

#include "core/sim/sim.h"

typedef uint64_t seeds_fn(uint64_t seed);

/* Returns the exit code of main(). */
int seeds_main(int argc, char **argv, uint64_t count, seeds_fn *scenario);

/* What goes wrong in this run: the first sentence counts. The run goes on until somebody asks. */
void seeds_fail(const char *fmt, ...) PRINTF(1, 2);
bool seeds_failed(void);
/* Ends the process with the first failure's sentence, if there was one. */
void seeds_verdict(void);

#endif
