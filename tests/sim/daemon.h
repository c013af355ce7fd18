/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon.h: what simulated daemons and hosts begin and end with, whatever they serve. */
#ifndef TESTS_SIM_DAEMON_H
#define TESTS_SIM_DAEMON_H

#include "core/core.h"

/* A core in any mode. `memory_bytes` 0: the default. */
struct core *daemon_core_make(uint32_t reactors, uint64_t memory_bytes);

/* The same for a target that should get by with little: some have 16 MiB, some too few buffers. */
struct core *daemon_core_make_scarce(uint32_t reactors);

/* A network that delays and cuts into pieces. */
void daemon_net_start(void);
/* Its end, and the simulation's: no connection may be left. Returns the run's hash. */
uint64_t daemon_net_end(void);

/* Until *done; ends the process with `what` if that takes longer, and with what else went wrong meanwhile. */
void daemon_wait(bool *done, uint64_t ns, const char *what);

/* All buffers of its data memory were given back, or seeds_fail(). */
void daemon_check_memory(struct core *core, const char *whose);

#endif
