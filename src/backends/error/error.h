/* SPDX-License-Identifier: BSD-3-Clause */
/* error.h: a device that does to chosen I/Os what disks do when they fail: errors, silence, wrong bytes.
 *
 * What is injected is a rule: which operations, which blocks, how often, and what happens. Rules live until they are
 * used up or taken away, also while the base is not there.
 */
#ifndef BACKENDS_ERROR_ERROR_H
#define BACKENDS_ERROR_ERROR_H

#include "bdev/bdev_stack.h"

struct error_opts {
	const char *base;       /* the device is called EE_<base> */
	struct uuid uuid;       /* null: follows from the base's */
};

enum error_kind {
	ERROR_STATUS,           /* the I/O does not reach the base and ends with `status` */
	ERROR_PENDING,          /* it is kept until it is aborted, resumed, reset, or the device goes */
	ERROR_CORRUPT,          /* one byte of its data is another one; READ and WRITE */
};

struct error_rule_opts {
	uint32_t ops;           /* BDEV_BIT()s */
	enum error_kind kind;
	enum bdev_status status;
	uint32_t num;           /* of I/Os; 0: no more */
	uint64_t queue_depth;   /* only when the core has as many with the base */
	uint64_t lba, count;    /* only I/O that touches these blocks; count 0: all, and I/O without blocks too */
	uint64_t corrupt_offset; /* bytes from the I/O's beginning */
	uint8_t corrupt_value;  /* XOR */
};

extern const struct bdev_order_ops error_order_ops;

/* Order one: it is there when this returns, or as soon as its base is.
 * Core: control. Memory: `opts` is copied. Errors: what bdev_order_start() says. */
int error_create(struct bdev_registry *reg, const struct error_opts *opts, struct err *e) MUST_USE;
/* `done` runs when it is gone and forgotten. Errors: -ENODEV, -EINVAL: of another kind. */
int error_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                 struct err *e) MUST_USE;
/* What was ordered; texts lie in the order. */
void error_get_opts(const struct bdev_order *o, struct error_opts *ret_opts);

/* The rules that are not used up, the first that counts first: 0, 1, ...; `num` as it was given. False: no more. */
bool error_get_rule(const struct bdev_order *o, uint32_t at, struct error_rule_opts *ret_rule);

typedef void error_done_fn(void *arg);
/* Add a rule for what is submitted after `done`. It takes the place of those for the same blocks, as far as they are
 * about the same operations. Errors: -ENODEV (no such device, or its base is not there), -EINVAL, -ENOSPC. */
int error_inject(struct bdev_registry *reg, const char *name, const struct error_rule_opts *opts, error_done_fn *done,
                 void *arg, struct err *e) MUST_USE;
/* Take all rules away; what is kept stays. */
int error_clear(struct bdev_registry *reg, const char *name, error_done_fn *done, void *arg, struct err *e) MUST_USE;
/* Let kept I/O go on to the base, and keep no more: rules of that kind end. */
int error_resume(struct bdev_registry *reg, const char *name, error_done_fn *done, void *arg, struct err *e) MUST_USE;

#endif
