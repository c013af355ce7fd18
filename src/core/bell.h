/* SPDX-License-Identifier: BSD-3-Clause */
/* bell.h: a bell that one side rings and the other hears, over the border of a process: an eventfd, made here or given
 * by somebody. In the simulator (core/sim) a descriptor is the number of a simulated object.
 *
 * Rings are not counted: many that were not heard yet are one.
 */
#ifndef CORE_BELL_H
#define CORE_BELL_H

#include "core/core.h"

struct bell;
typedef void bell_fn(struct bell *b);
struct bell {
	int fd;                /* valid while `open` */
	bool open, listening;
	bell_fn *rang;
	struct source source;  /* while it is listened to */
	void *object;          /* the simulator's */
	void *ear;
};

/* Make one. Errors: sentence (no descriptor left), `b` is closed. */
int bell_make(struct bell *b, struct err *e) MUST_USE;
/* Take over a descriptor that somebody gave us. It is taken in any case: closed when this fails, which it does for
 * what is no eventfd, because ringing that might block. It becomes non-blocking for those who share it, too. */
int bell_take(struct bell *b, int fd, struct err *e) MUST_USE;
/* Unlisten, and close the descriptor. No effect when it is not open; zeroed memory is closed. */
void bell_close(struct bell *b);
static inline bool bell_is_open(const struct bell *b) { return b->open; }
/* To pass on; stays the bell's. */
static inline int bell_fd(const struct bell *b) { return b->open ? b->fd : -1; }

/* Ring it. Any thread of the core. Never blocks, cannot fail: one that is full has been rung. */
void bell_ring(const struct bell *b);

/* Hear it on the calling reactor: `rang` is called, after the bell was cleared, also for a ring that came before this.
 * `name` is static text for "why awake". Who rings it while its reactor sleeps wakes it. Errors: negative errno. */
int bell_listen(struct bell *b, const char *name, bell_fn *rang) MUST_USE;
/* On the same reactor; after it `rang` is not called again. A ring not heard yet stays for the next who listens. No
 * effect when it is not listened to. */
void bell_unlisten(struct bell *b);

#endif
