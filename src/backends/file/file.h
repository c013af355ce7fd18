/* SPDX-License-Identifier: BSD-3-Clause */
/* file.h: files and block devices of this machine as disks: what the back-ends uring and aio share.
 *
 * They differ in the engine that moves the data (file_engine.h) and in their methods. Everything here runs on the
 * control reactor; opening, closing and looking run as jobs.
 */
#ifndef BACKENDS_FILE_FILE_H
#define BACKENDS_FILE_FILE_H

#include "bdev/bdev.h"

struct file_backend; /* all disks of one product, and what its engine keeps for each core */
struct file_engine;

struct file_opts {
	const char *name, *filename;
	struct uuid uuid;             /* null: made up */
	uint32_t block_size;          /* 0: what the file system or device has */
	bool read_only;
	bool fallocate;               /* unmap and write zeroes by the file system or device */
};

/* What a disk was made from and is, for describing and saving it. */
struct file_facts {
	const char *filename, *engine;
	bool block_size_given, read_only, fallocate, direct, in_memory, is_block_device, failed;
};

/* `engines`: in the order in which they are tried, NULL at the end; threads come after the last. */
struct file_backend *file_backend_make(struct bdev_registry *reg, const char *product,
                                       const struct file_engine *const *engines);
void file_backend_free(struct file_backend *fb); /* no disk is left */

/* Open a file and register it as a disk.
 *
 * Core:   control. Memory: `opts` is copied.
 * Then:   done(arg, disk, NULL) or done(arg, NULL, what is wrong) runs once, later. */
typedef void file_made_fn(void *arg, struct bdev *b, const struct err *e);
void file_create(struct file_backend *fb, const struct file_opts *opts, file_made_fn *done, void *arg);

/* Remove one; `done` runs when the last user has closed it and the file is closed. Errors: -ENODEV, -EINVAL. */
int file_delete(struct file_backend *fb, const char *name, void (*done)(void *arg, int rc), void *arg,
                struct err *e) MUST_USE;

/* Look at the file anew: its size; and when it has failed or another one lies at its path, open that one.
 * Then: done(arg, NULL) or done(arg, what is wrong) runs once, maybe at once. */
typedef void file_looked_fn(void *arg, const struct err *e);
void file_rescan(struct file_backend *fb, const char *name, file_looked_fn *done, void *arg);

/* `b` is one of `fb`'s. */
void file_facts_of(const struct bdev *b, struct file_facts *ret_facts);

#endif
