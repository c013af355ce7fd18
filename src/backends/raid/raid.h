/* SPDX-License-Identifier: BSD-3-Clause */
/* raid.h: several devices as one: one after the other (concat) or in strips (raid0). No copies: who loses one has
 * lost all. A raid is an order that stays: its device is there while all its members are.
 */
#ifndef BACKENDS_RAID_RAID_H
#define BACKENDS_RAID_RAID_H

#include "bdev/bdev.h"
#include "bdev/bdev_stack.h"

#define RAID_MEMBERS_MAX 255u
#define RAID_PRODUCT "Raid Volume" /* as SPDK calls it */

enum raid_level { RAID_CONCAT, RAID_0 };
const char *raid_level_name(enum raid_level level); /* "concat", "raid0" */

struct raid_opts {
	const char *name;
	struct uuid uuid;             /* null: made up */
	enum raid_level level;
	uint32_t strip_kib;           /* a power of two; CONCAT: members are cut to whole strips, 0: not */
	const char *const *members;
	uint32_t member_count;
};

/* What was asked for. */
struct raid_order {
	struct bdev_order order;
	struct uuid uuid;
	enum raid_level level;
	uint32_t strip_kib;
};

extern const struct bdev_order_ops raid_order_ops;

/* Order one: it is there as soon as its members are, and each time they are.
 *
 * Core: control. Memory: `opts` is copied. Errors: with a sentence; members that are there and do not fit. */
int raid_create(struct bdev_registry *reg, const struct raid_opts *opts, struct err *e) MUST_USE;
/* `done` runs when it is gone; its members are left as they are. */
int raid_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                struct err *e) MUST_USE;

/* All there are, in the order in which they were made; NULL after the last. Control reactor. */
struct raid_order *raid_next(struct bdev_registry *reg, struct raid_order *after);
/* Of a device whose product is RAID_PRODUCT. */
struct raid_order *raid_order_of(const struct bdev *b);
/* Its device; NULL while it is not there. */
struct bdev *raid_device(const struct raid_order *ro);
/* Blocks of a member that are used; 0 while the device is not there. */
uint64_t raid_member_blocks(const struct raid_order *ro, uint32_t member);

#endif
