/* SPDX-License-Identifier: BSD-3-Clause */
/* load.h: a measured or verified load on one disk, from the daemon's own reactors. Private to src/load.
 *
 * The control reactor opens the disk and keeps the account; every reactor of the run is a worker with a channel, tasks
 * and counters of its own. A task is one I/O in flight with its buffer and, when verifying, a stripe of the disk that
 * no other task touches, so that it knows what must be read. gantry-perf does the same to remote namespaces.
 */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include <stdatomic.h>

#include "base/hist.h"
#include "bdev/bdev.h"

#define LOAD_MEMORY_MAX (1ull * GIB) /* of all tasks' buffers */

struct load_opts {
	const char *name;           /* of the disk; until load_start() returns */
	bool random, verify;
	uint8_t read_percent;
	uint32_t depth;             /* I/Os in flight of a worker */
	uint32_t io_bytes;
	uint32_t time_s, warmup_s;  /* time_s 0: until io_limit */
	uint64_t io_limit;          /* of each worker; 0: none */
	uint64_t reactors;          /* a bit each; 0: all */
	uint64_t seed;
};

struct load;
struct load_worker;

struct load_task {
	struct bdev_io io;
	struct load_worker *worker;
	struct iovec iov;
	uint8_t *buf;
	uint64_t slot, began_ns;
	bool is_read, checking;     /* checking: the final pass of `verify`, which reads back all that was written */
	/* verify: this task's stripe of slots and what was written there last; 0: never */
	uint64_t stripe_first, stripe_count, check_at;
	uint32_t *generations;
};

struct load_worker {
	struct load *load;
	struct reactor *reactor;
	struct msg msg;
	struct bdev_channel *ch;
	struct load_task *tasks;
	uint32_t running;           /* tasks */
	uint32_t share;             /* its place among the workers */
	uint64_t random_state, next_slot, issued;
	uint64_t measure_from_ns, end_ns, ended_ns;
	struct err err;             /* no channel could be had */
	struct hist hist;
	uint64_t errors, miscompares, first_error_lba, first_miscompare_lba, first_miscompare_at;
	uint8_t first_error;        /* enum bdev_status */
};

struct load {
	struct core *core;
	struct load_opts opts;
	struct bdev_desc *desc;
	struct bdev_info info;
	char name[256];
	uint32_t io_blocks;
	uint64_t slots;             /* I/Os that fit the disk */
	struct load_worker *workers;
	uint32_t worker_count, workers_left;
	_Atomic bool stopping;      /* the control reactor's; the workers look at it with every I/O */
	struct err err;             /* why it ended early, or never began */
	void (*done)(struct load *l);
	void *arg;
};

/* Core: control. Memory: `l` is the caller's, zeroed, until load_fini() after done. Then: `done` once, later.
 * Errors: the disk is not there, is used by somebody (when the load writes), or does not suit; nothing began. */
int load_start(struct load *l, struct bdev_registry *reg, const struct load_opts *opts, void (*done)(struct load *l),
               struct err *e) MUST_USE;
/* Come to an end soon: what is in flight is waited for, nothing is read back. `done` still runs. */
void load_stop(struct load *l, const struct err *why);
void load_fini(struct load *l);

/* worker.c: on the worker's reactor, by message; `msg` comes back to the control reactor with this function. */
void load_worker_begin(struct msg *m); /* takes a channel, or err */
void load_worker_finished(struct msg *m); /* load.c: to the control reactor */
void load_worker_fini(struct load_worker *w);

#endif
