/* SPDX-License-Identifier: BSD-3-Clause */
/* passthru.h: a device that passes everything on to one other: the smallest that stands on a base. */
#ifndef BACKENDS_PASSTHRU_PASSTHRU_H
#define BACKENDS_PASSTHRU_PASSTHRU_H

#include "bdev/bdev_stack.h"

struct passthru_opts {
	const char *name, *base;
	struct uuid uuid;       /* null: follows from the base's and the name */
};

extern const struct bdev_order_ops passthru_order_ops;

/* Order one: it is there when this returns, or as soon as its base is.
 * Core: control. Memory: `opts` is copied. Errors: what bdev_order_start() says. */
int passthru_create(struct bdev_registry *reg, const struct passthru_opts *opts, struct err *e) MUST_USE;
/* `done` runs when it is gone and forgotten. Errors: -ENODEV, -EINVAL: of another kind. */
int passthru_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                    struct err *e) MUST_USE;
/* What was ordered; texts lie in the order. */
void passthru_get_opts(const struct bdev_order *o, struct passthru_opts *ret_opts);

#endif
