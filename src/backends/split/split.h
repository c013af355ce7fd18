/* SPDX-License-Identifier: BSD-3-Clause */
/* split.h: one device cut into several of equal size: BASEp0, BASEp1, ... */
#ifndef BACKENDS_SPLIT_SPLIT_H
#define BACKENDS_SPLIT_SPLIT_H

#include "bdev/bdev_stack.h"

struct split_opts {
	const char *base;
	uint32_t count;
	uint64_t size_mb;       /* of each part; 0: the base's size by count */
};

extern const struct bdev_order_ops split_order_ops;

/* Order the parts of a device: they are there when this returns, or as soon as the base is. Fewer than `count` when no
 * more of that size fit.
 * Core: control. Memory: `opts` is copied. Errors: what bdev_order_start() says; -EINVAL: a size that cannot be. */
int split_create(struct bdev_registry *reg, const struct split_opts *opts, struct err *e) MUST_USE;
/* Remove all parts of a base; `done` runs when they are gone and forgotten. Errors: -ENODEV. */
int split_delete(struct bdev_registry *reg, const char *base, void (*done)(void *arg, int rc), void *arg,
                 struct err *e) MUST_USE;
/* What was ordered; texts lie in the order. */
void split_get_opts(const struct bdev_order *o, struct split_opts *ret_opts);

#endif
