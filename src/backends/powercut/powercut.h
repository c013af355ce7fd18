/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut.h: a disk with a volatile write cache that can lose power, stacked on any device.
 *
 * What was written and not flushed is in memory. Flush and FUA move it to the base; a full cache moves some of it,
 * in any order, as a disk does. When the plug is pulled, what was not flushed is lost, torn or reordered, by a seed.
 */
#ifndef BACKENDS_POWERCUT_POWERCUT_H
#define BACKENDS_POWERCUT_POWERCUT_H

#include "bdev/bdev_stack.h"

#define POWERCUT_PRODUCT "Power-cut disk"
#define POWERCUT_CACHE_BLOCKS 4096u      /* when left out */
#define POWERCUT_CACHE_BLOCKS_MIN 8u
#define POWERCUT_CACHE_BYTES_MAX (1u << 30)

struct powercut_opts {
	const char *name, *base;      /* of this device, of the device below */
	struct uuid uuid;             /* null: made from the base's and the name */
	uint32_t cache_blocks;        /* 0: POWERCUT_CACHE_BLOCKS */
};

struct powercut_cut_opts {
	uint32_t mode;                /* enum powercut_mode of powercut_cache.h: 0 drop, 1 tear, 2 reorder */
	uint64_t seed;                /* chooses what survives; 0: drawn, and told in the result */
	bool stay_off;                /* until powercut_power_on() */
};

struct powercut_cut_result {
	uint64_t seed;
	uint32_t blocks_unflushed, blocks_kept, blocks_lost;
};
typedef void powercut_cut_fn(void *arg, const struct powercut_cut_result *result);

extern const struct bdev_order_ops powercut_order_ops;

/* Order one: it is there as soon as its base is, and each time the base comes back.
 *
 * Core:   control. Memory: `opts` is copied. Errors: with a sentence. */
int powercut_create(struct bdev_registry *reg, const struct powercut_opts *opts, struct err *e) MUST_USE;
/* Remove it; what it holds goes to the base first. */
int powercut_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                    struct err *e) MUST_USE;

/* What was ordered, and how it is; texts lie in the order. */
void powercut_get_opts(const struct bdev_order *o, struct powercut_opts *ret_opts);
struct powercut_facts {
	const char *base;
	bool has_power;
	uint32_t cache_blocks, unflushed_blocks, power_cuts;
};
void powercut_get_facts(const struct bdev *b, struct powercut_facts *ret_facts); /* of product POWERCUT_PRODUCT */

/* Cut the power. I/O that is under way, or comes until the power is back, ends with FAILED.
 *
 * Core:   control. Memory: `opts` is copied.
 * Then:   done(arg, ...) runs here when what survives is on the base and, unless it shall stay off, the disk works.
 * Errors: -ENODEV, -EINVAL: of another kind; -EBUSY: in the middle of another cut; -EALREADY: it is off. */
int powercut_trigger(struct bdev_registry *reg, const char *name, const struct powercut_cut_opts *opts,
                     powercut_cut_fn *done, void *arg, struct err *e) MUST_USE;
/* The power comes back. Errors: as above; -EALREADY: it is on. */
int powercut_power_on(struct bdev_registry *reg, const char *name, powercut_cut_fn *done, void *arg,
                      struct err *e) MUST_USE;

#endif
