/* SPDX-License-Identifier: BSD-3-Clause */
/* files.h: core/files.h in memory, with what a crash leaves of it.
 *
 * It remembers of each file what is there and what is lasting, and the same of the names. Every operation that changes
 * something is a step; a step can be chosen at which everything ends (it and all after it fail), and then
 * files_sim_crash() leaves what a crash may: what was synced, and of what was not any part. A process that is
 * killed loses nothing that was written; a machine may.
 */
#ifndef CORE_SIM_FILES_H
#define CORE_SIM_FILES_H

#include "core/files.h"

struct files *files_sim_make(uint64_t seed); /* its own dice: no simulation needs to run */
uint64_t files_sim_steps(struct files *f);   /* done so far */
/* The step after which all fail; a write there is done in part. UINT64_MAX: none. */
void files_sim_cut(struct files *f, uint64_t step);
/* Steps from this one on fail with `rc`, and change nothing, until it is 0. */
void files_sim_fail(struct files *f, int rc);
enum files_crash { FILES_KILLED, FILES_POWER_CUT };
/* The moment after: handles and the lock are gone, no step is chosen. */
void files_sim_crash(struct files *f, enum files_crash how);
/* A file's bytes, for tests that damage them: NULL when it is not there. */
char *files_sim_bytes(struct files *f, const char *name, size_t *ret_len);

#endif
