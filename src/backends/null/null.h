/* SPDX-License-Identifier: BSD-3-Clause */
/* null.h: a device without media: reads are zeroes, writes go nowhere. */
#ifndef BACKENDS_NULL_NULL_H
#define BACKENDS_NULL_NULL_H

#include "bdev/bdev.h"

struct null_opts {
	const char *name;
	struct uuid uuid;             /* null: made up */
	uint64_t block_count;
	uint32_t block_size;          /* data bytes of a block: a multiple of 512 */
	uint32_t physical_block_size; /* 0: block_size */
	uint32_t md_size;             /* interleaved metadata bytes of a block, as SPDK's null device has them */
	uint8_t dif_type;             /* protection information in them: 1 to 3; 0: none */
	bool dif_is_head_of_md;
};

/* Make and register a null device.
 *
 * Core:   control. Memory: `opts` is copied.
 * Then:   it can be opened. Errors: -EINVAL, -EEXIST, -ENOMEM with a sentence. */
int null_create(struct bdev_registry *reg, const struct null_opts *opts, struct bdev **ret_bdev,
                struct err *e) MUST_USE;

/* Remove one; `done` runs when the last user has closed it. Errors: -ENODEV, -EINVAL: not a null device. */
int null_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                struct err *e) MUST_USE;

/* Change the number of blocks, up or down. */
int null_resize(struct bdev_registry *reg, const char *name, uint64_t block_count, struct err *e) MUST_USE;

#endif
