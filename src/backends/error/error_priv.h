/* SPDX-License-Identifier: BSD-3-Clause */
/* error_priv.h: the device as its control side (error.c) and its data path (error_io.c) see it. */
#ifndef BACKENDS_ERROR_ERROR_PRIV_H
#define BACKENDS_ERROR_ERROR_PRIV_H

#include "backends/error/error.h"

#define ERROR_RULES_MAX 64u
#define ERROR_IOVS 64u      /* a write in more pieces cannot be corrupted and ends with FAILED */

struct error_rule {
	struct error_rule_opts opts;    /* constant */
	_Atomic uint32_t left;          /* I/Os to come; any core */
	uint32_t users;                 /* rule sets it is in; control */
};

/* Immutable. A new one takes its place; the old one is freed when every core has been visited since. */
struct error_rules {
	uint32_t count;
	struct error_rule *at[ERROR_RULES_MAX];
};

struct error_device {
	struct bdev_stacked stacked;
	_Atomic(struct error_rules *) rules;
	bool base_resets;
	/* control: resets that came, one at a time */
	struct list resets;
	struct bdev_stack_visit reset_visit;
	bool resetting;
};

struct error_core {
	struct bdev_stack_core stack;
	struct list kept;               /* of struct error_io */
	uint64_t with_base;
};

struct error_io {
	struct bdev_stack_io stack;
	struct list link;               /* error_core.kept, or error_device.resets */
	bool kept;
	bool corrupts;                  /* a read, when it comes back */
	uint8_t value, byte;
	uint64_t offset;
	struct reactor *from;           /* RESET */
	struct msg msg;
	struct iovec iovs[ERROR_IOVS + 2];
};

/* error_io.c */
int error_channel_open(struct bdev_channel *ch, struct err *e);
void error_submit(struct bdev_channel *ch, struct bdev_io *io);
bool error_abort(struct bdev_channel *ch, struct bdev_io *io);
/* On a core: what to do with what is kept. */
void error_end_core(struct bdev_stack_visit *v, struct bdev_stack_core *c);    /* GONE */
void error_resume_core(struct bdev_stack_visit *v, struct bdev_stack_core *c); /* on to the base */

#endif
