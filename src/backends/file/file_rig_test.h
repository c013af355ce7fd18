/* SPDX-License-Identifier: BSD-3-Clause */
/* file_rig_test.h: disks over files of one's own, for tests: made, used and removed from the test's thread. */
#ifndef BACKENDS_FILE_FILE_RIG_TEST_H
#define BACKENDS_FILE_FILE_RIG_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/file/file.h"
#include "bdev/rig_test.h"

struct file_rig {
	struct rig rig;
	struct file_backend *files;
	char dir[64], path[96];
	struct bdev *bdev;
	struct bdev_desc *desc;
	struct bdev_channel *ch[2];
	uint32_t cores;
};

typedef struct file_backend *file_rig_make(struct bdev_registry *reg);

/* --- calls that end later --------------------------------------------------------------------------------- */

struct file_rig_call {
	struct file_rig *fr;
	const struct file_opts *opts;
	file_rig_make *make;
	struct bdev *b;
	struct err err;
	int rc;
	sem_t done;
};

static void file_rig_looked(void *arg, const struct err *e)
{
	struct file_rig_call *c = arg;

	if (e)
		c->err = *e;
	sem_post(&c->done);
}

static void file_rig_made(void *arg, struct bdev *b, const struct err *e)
{
	((struct file_rig_call *)arg)->b = b;
	file_rig_looked(arg, e);
}

static void file_rig_gone(void *arg, int rc)
{
	((struct file_rig_call *)arg)->rc = rc;
	sem_post(&((struct file_rig_call *)arg)->done);
}

static void file_rig_create_here(void *arg)
{
	struct file_rig_call *c = arg;

	file_create(c->fr->files, c->opts, file_rig_made, c);
}

static void file_rig_rescan_here(void *arg)
{
	struct file_rig_call *c = arg;

	file_rescan(c->fr->files, "f", file_rig_looked, c);
}

static void file_rig_delete_here(void *arg)
{
	struct file_rig_call *c = arg;

	if (file_delete(c->fr->files, "f", file_rig_gone, c, &c->err))
		sem_post(&c->done);
}

static inline struct file_rig_call file_rig_call(struct file_rig *fr, const struct file_opts *opts,
                                                 void (*fn)(void *arg))
{
	struct file_rig_call c = { .fr = fr, .opts = opts };

	sem_init(&c.done, 0, 0);
	rig_on(core_control(fr->rig.core), fn, &c);
	while (sem_wait(&c.done) != 0)
		;
	sem_destroy(&c.done);
	return c;
}

/* 0, or the error's code; its sentence goes to `text`. */
static inline int file_rig_create(struct file_rig *fr, const struct file_opts *opts, char *text, size_t len)
{
	struct file_rig_call c = file_rig_call(fr, opts, file_rig_create_here);

	fr->bdev = c.b;
	if (text)
		snprintf(text, len, "%s", c.err.text);
	return c.err.code;
}

static inline int file_rig_rescan(struct file_rig *fr)
{
	return file_rig_call(fr, NULL, file_rig_rescan_here).err.code;
}

/* --- a disk ----------------------------------------------------------------------------------------------- */

static void file_rig_make_here(void *arg)
{
	struct file_rig_call *c = arg;

	c->fr->files = c->make(c->fr->rig.reg);
}

static void file_rig_free_here(void *arg)
{
	file_backend_free(((struct file_rig *)arg)->files);
}

/* A core and a back-end, and a file of `bytes` in a directory of its own below `where`. */
static inline void file_rig_begin(struct file_rig *fr, file_rig_make *make, const char *where, uint64_t bytes)
{
	struct file_rig_call c = { .fr = fr, .make = make };
	int fd;

	memset(fr, 0, sizeof(*fr));
	fr->cores = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1;
	rig_start(&fr->rig, fr->cores);
	rig_on(core_control(fr->rig.core), file_rig_make_here, &c);
	snprintf(fr->dir, sizeof(fr->dir), "%s/gantry-file-XXXXXX", where);
	must(mkdtemp(fr->dir));
	snprintf(fr->path, sizeof(fr->path), "%s/f", fr->dir);
	fd = open(fr->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	close(fd);
}

static inline void file_rig_open(struct file_rig *fr)
{
	fr->desc = rig_open(&fr->rig, "f", true);
	must(fr->desc);
	for (uint32_t i = 0; i < fr->cores; i++)
		fr->ch[i] = rig_get(&fr->rig, i, fr->desc);
}

/* And a disk "f" over it, with a channel from each core. */
static inline void file_rig_disk(struct file_rig *fr, file_rig_make *make, const char *where, uint64_t bytes,
                                 uint32_t block_size)
{
	struct file_opts opts = { .name = "f", .filename = fr->path, .block_size = block_size, .fallocate = true };

	file_rig_begin(fr, make, where, bytes);
	must(file_rig_create(fr, &opts, NULL, 0) == 0);
	file_rig_open(fr);
}

static inline void file_rig_end(struct file_rig *fr)
{
	if (fr->desc) {
		for (uint32_t i = 0; i < fr->cores; i++)
			rig_put(&fr->rig, i, fr->ch[i]);
		rig_close(&fr->rig, fr->desc);
	}
	if (fr->bdev)
		must(file_rig_call(fr, NULL, file_rig_delete_here).rc == 0);
	rig_on(core_control(fr->rig.core), file_rig_free_here, fr);
	rig_stop(&fr->rig);
	unlink(fr->path);
	rmdir(fr->dir);
}

static inline enum bdev_status file_rig_do(struct file_rig *fr, enum bdev_op op, uint64_t lba, uint64_t count,
                                           void *buf)
{
	return rig_do(&fr->rig, 0, fr->ch[0], op, lba, count, buf, buf ? count * fr->bdev->block_size : 0);
}

/* Bytes that the file takes of the disk. */
static inline uint64_t file_rig_taken(struct file_rig *fr)
{
	struct stat st;

	must(stat(fr->path, &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

#endif
