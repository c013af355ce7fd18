/* SPDX-License-Identifier: BSD-3-Clause */
/* front.h: hosts of a gateway: its disk is exported by a target of its own, and clients (client.c) use that, while
 * their connections are frozen after any pass and thawed on another core.
 */
#ifndef TESTS_SIM_FRONT_H
#define TESTS_SIM_FRONT_H

#include "gateway.h"

struct front;

/* Begins to export `disk`, of which `blocks` are used, to `ios` I/Os in all. */
struct front *front_make(struct gateway *g, const char *disk, uint32_t block_size, uint64_t blocks,
                         struct oracle *oracle, uint32_t ios);
bool *front_serves(struct front *f); /* to wait for */
void front_begin(struct front *f);   /* then */
/* Now and then, outside of all reactors. */
void front_step(struct front *f);
uint32_t front_ios_left(const struct front *f);
bool front_over(const struct front *f);        /* all I/O has ended, and the clients are gone */
void front_stop(struct front *f);
bool *front_stopped(struct front *f);
void front_free(struct front *f);

#endif
