/* SPDX-License-Identifier: BSD-3-Clause */
/* locks.h: an exclusive lock on a range of a device's blocks, against everything that changes them, on all cores.
 * Private to bdev.
 */
#ifndef BDEV_LOCKS_H
#define BDEV_LOCKS_H

#include "bdev/bdev_waist.h"

struct bdev_lock;
typedef void bdev_lock_fn(struct bdev_lock *l);
struct bdev_lock_core {
	struct bdev_lock *lock;
	struct msg msg;                              /* to that core and back to the owner */
	struct list link, drain_link;                /* that core's */
};
struct bdev_lock {
	struct bdev *bdev;
	uint64_t lba, count;
	struct reactor *from;                        /* who asked */
	bdev_lock_fn *next;                          /* what runs there when it is granted, then when it is gone */
	struct msg msg;                              /* to the owner and back */
	/* the owner core's */
	struct list link;                            /* held or waiting */
	uint32_t cores_left;
	struct bdev_lock_core core[CORE_REACTORS_MAX + 1];
};

/* Ask for [lba, lba + count).
 *
 * Core:   any reactor. Memory: `l` and the device stay until it was given back and `next` ran.
 * Then:   next(l) runs here when no change of these blocks is under way on any core, and none begins until the lock is
 *         given back. Locks on overlapping ranges are granted in order of arrival. */
void bdev_lock_take(struct bdev_lock *l, struct bdev *b, uint64_t lba, uint64_t count, bdev_lock_fn *next);
/* Same core; next(l) runs here when the lock is nowhere any more. */
void bdev_lock_give(struct bdev_lock *l, bdev_lock_fn *next);

#endif
