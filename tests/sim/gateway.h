/* SPDX-License-Identifier: BSD-3-Clause */
/* gateway.h: a daemon with remote disks in the simulator: its methods are called as a script calls them, and loads keep
 * its disks busy through the waist.
 */
#ifndef TESTS_SIM_GATEWAY_H
#define TESTS_SIM_GATEWAY_H

#include "backends/remote/remote_rpc.h"
#include "bdev/bdev.h"
#include "oracle.h"
#include "rpc/rpc.h"

/* --- the daemon ------------------------------------------------------------------------------- */

struct gateway {
	struct core *core;
	uint32_t reactors;
	struct bdev_registry *reg;
	struct rpc *rpc;
	struct bdev_rpc *br;
	struct remote_rpc remote;
	bool stopped;
};
void gateway_make(struct gateway *g, uint32_t reactors);
void gateway_stop(struct gateway *g); /* `stopped` says when; then: */
void gateway_free(struct gateway *g);

/* One call of a method; answered when `out` is false again. */
struct gateway_call {
	struct gateway *g;
	const char *method;
	char params[1024];
	bool out;
	uint64_t began_ns;
	struct err err;             /* code 0: it did what it was told */
};
void gateway_call(struct gateway *g, struct gateway_call *c, const char *method, const char *fmt, ...) PRINTF(4, 5);

/* --- loads ------------------------------------------------------------------------------------ */

#define LOAD_TASKS 8u
#define LOAD_BLOCKS_MAX 40u

struct load_task {
	struct bdev_io io;
	struct iovec iov[3];
	struct load_worker *worker;
	uint8_t *buf;
	uint32_t generation;
	uint64_t began_ns, read_began;
	bool out, aborted;
};

/* One core's part. */
struct load_worker {
	struct load *load;
	struct reactor *reactor;
	struct bdev_channel *ch;
	uint32_t tasks, out;
	bool rests;                 /* lets go of its channel when it can */
	struct load_task task[LOAD_TASKS];
};

struct load {
	struct gateway *g;
	struct oracle *oracle;
	const char *disk;
	uint32_t block_size, ios_left, workers, largest;
	uint64_t blocks_max;        /* never beyond */
	struct bdev_desc *desc;     /* NULL: there is no such disk now, or it is being let go of */
	bool removing, opening;
	uint64_t ended, failed;
	/* An I/O has ended; before it is forgotten. */
	void (*done)(void *arg, struct load_task *t);
	void *arg;
	struct load_worker worker[4];
};
void load_init(struct load *l, struct gateway *g, const char *disk, uint32_t block_size, uint64_t blocks,
               struct oracle *oracle);
void load_fini(struct load *l);
/* To be called now and then, outside of all reactors: opens, submits, lets go. */
void load_step(struct load *l);
uint32_t load_out(const struct load *l);
/* Give an I/O that is out back early, maybe. */
void load_abort_one(struct load *l);
const char *load_text(const struct load_task *t, char buf[static 128]);

#endif
