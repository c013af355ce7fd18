/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc.h: a RAM disk. Thin: memory comes when blocks are written and goes when they are unmapped. */
#ifndef BACKENDS_MALLOC_MALLOC_H
#define BACKENDS_MALLOC_MALLOC_H

#include "bdev/bdev.h"

struct malloc_opts {
	const char *name;             /* NULL: Malloc0, Malloc1, ... */
	struct uuid uuid;             /* null: made up */
	uint64_t block_count;
	uint32_t block_size;          /* data bytes of a block: a multiple of 512, at most 65536 */
	uint32_t physical_block_size; /* 0: block_size */
	uint32_t optimal_io_blocks;   /* said to users; 0: none */
	uint32_t md_size;             /* metadata bytes of a block: 0, 8, 16, 32, 64 or 128 */
	bool md_interleaved;          /* they follow each block's data; otherwise they travel apart */
	uint8_t dif_type;             /* protection information in the metadata: 1 to 3; 0: none */
	bool dif_is_head_of_md;       /* it comes first there, else last */
};

/* Make and register a RAM disk.
 *
 * Core:   control. Memory: `opts` is copied.
 * Then:   it can be opened. Errors: -EINVAL, -EEXIST, -ENOMEM with a sentence. */
int malloc_create(struct bdev_registry *reg, const struct malloc_opts *opts, struct bdev **ret_bdev,
                  struct err *e) MUST_USE;

/* Remove one; `done` runs when the last user has closed it. Errors: -ENODEV, -EINVAL: not a RAM disk. */
int malloc_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                  struct err *e) MUST_USE;

/* Change the number of blocks.
 *
 * Core:   control.
 * Then:   `done` runs once, before this returns; or, while an earlier, smaller size still gives back memory in pieces,
 *         when all is given back. After that a shrunk disk does so itself.
 * Errors: handed to `done`, NULL: none. As above; -ENOSPC: grown too far. */
typedef void malloc_resized_fn(void *arg, const struct err *e);
void malloc_resize(struct bdev_registry *reg, const char *name, uint64_t block_count, malloc_resized_fn *done,
                   void *arg);

/* Bytes of memory that blocks of the disk take. */
uint64_t malloc_bytes_in_use(const struct bdev *b);

#endif
