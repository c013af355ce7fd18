/* SPDX-License-Identifier: BSD-3-Clause */
/* skeleton.h: the smallest complete back-end: a read-only device whose blocks say their own number.
 *
 * It exists to be copied: docs/ADD-A-BACKEND.md walks through it. Each 8-byte word of a block is the block's number,
 * little endian. `latency_us` 0 answers within submit(); any other value answers later, by a timer, as a device
 * with real media does.
 */
#ifndef BACKENDS_SKELETON_SKELETON_H
#define BACKENDS_SKELETON_SKELETON_H

#include "bdev/bdev.h"

struct skeleton_opts {
	const char *name;
	uint64_t block_count;
	uint32_t block_size;   /* a multiple of 512 */
	uint32_t latency_us;
};

/* Make and register one.
 *
 * Core:   control. Memory: `opts` is copied.
 * Then:   it can be opened. Errors: -EINVAL, -EEXIST with a sentence. */
int skeleton_create(struct bdev_registry *reg, const struct skeleton_opts *opts, struct bdev **ret_bdev,
                    struct err *e) MUST_USE;

/* Remove one; `done` runs when the last user has closed it. Errors: -ENODEV, -EINVAL: of another kind. */
int skeleton_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                    struct err *e) MUST_USE;

#endif
