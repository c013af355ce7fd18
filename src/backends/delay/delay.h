/* SPDX-License-Identifier: BSD-3-Clause */
/* delay.h: a device that answers its base's reads and writes later than the base does. */
#ifndef BACKENDS_DELAY_DELAY_H
#define BACKENDS_DELAY_DELAY_H

#include "bdev/bdev_stack.h"

/* Since submission, in microseconds: what 99 of 100 take, and what the last one takes. */
enum delay_latency { DELAY_AVG_READ, DELAY_P99_READ, DELAY_AVG_WRITE, DELAY_P99_WRITE, DELAY_LATENCIES };

struct delay_opts {
	const char *name, *base;
	struct uuid uuid;       /* null: follows from the base's and the name */
	uint64_t latency_us[DELAY_LATENCIES];
};

extern const struct bdev_order_ops delay_order_ops;

/* Order one: it is there when this returns, or as soon as its base is.
 * Core: control. Memory: `opts` is copied. Errors: what bdev_order_start() says. */
int delay_create(struct bdev_registry *reg, const struct delay_opts *opts, struct err *e) MUST_USE;
/* For I/O that is submitted from now on. Errors: -ENODEV, -EINVAL: of another kind. */
int delay_update(struct bdev_registry *reg, const char *name, enum delay_latency which, uint64_t latency_us,
                 struct err *e) MUST_USE;
/* `done` runs when it is gone and forgotten. Errors: -ENODEV, -EINVAL: of another kind. */
int delay_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                 struct err *e) MUST_USE;
/* What was ordered, as updated; texts lie in the order. */
void delay_get_opts(const struct bdev_order *o, struct delay_opts *ret_opts);

#endif
