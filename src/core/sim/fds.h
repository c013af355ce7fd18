/* SPDX-License-Identifier: BSD-3-Clause */
/* fds.h: the simulator's descriptors: numbers of objects that several sides hold, as the kernel's are.
 *
 * core/bell.h and core/share.h make them, net/sim carries them from one side to another. What a core has open is closed
 * when it is freed, as when a process ends.
 */
#ifndef CORE_SIM_FDS_H
#define CORE_SIM_FDS_H

#include "core/sim/sim.h"

/* The other side shortens its file: zeros stand in for what is beyond `len` in all that is mapped of it, and each
 * owner is told as if he had touched it at once. */
void sim_share_truncate(int fd, uint64_t len);
/* Descriptors that are open, of this core (NULL: of all and nobody). */
uint32_t sim_fds_open(const struct core *core);

/* --- for net/sim ---- */
struct sim_object;
struct sim_object *sim_object_of(int fd);      /* one more holds it; the descriptor is open */
int sim_fd_make(struct sim_object *o, struct core *core); /* his hold becomes a descriptor */
void sim_object_drop(struct sim_object *o);

#endif
