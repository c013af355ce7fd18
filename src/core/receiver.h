/* SPDX-License-Identifier: BSD-3-Clause */
/* receiver.h: the inside of a receiver, for its thread. Private to core, core/os and core/sim. */
#ifndef CORE_RECEIVER_H
#define CORE_RECEIVER_H

#include "core/reactor.h"

struct receiver {
	struct core *core;
	struct reactor *on;              /* NULL: `thread` */
	const char *name;
	struct platform_thread *thread;
	CACHE_ALIGNED struct mpsc queue;
	_Atomic uint64_t since_ns;       /* when one was sent whose age shall be noted */
	CACHE_ALIGNED _Atomic uint32_t sleeping;
	_Atomic bool stop;
	CACHE_ALIGNED struct receiver_stats stats; /* one writer */
};

/* Run all that waits; false: nothing did. */
bool receiver_run(struct receiver *r);
/* Its thread will sleep until platform_thread_wake(); false: there is something to do. */
bool receiver_may_sleep(struct receiver *r);

#endif
