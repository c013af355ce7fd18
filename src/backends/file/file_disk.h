/* SPDX-License-Identifier: BSD-3-Clause */
/* file_disk.h: what a disk over a file is made of. Private to the back-end. */
#ifndef BACKENDS_FILE_FILE_DISK_H
#define BACKENDS_FILE_FILE_DISK_H

#include <sys/types.h>

#include "backends/file/file.h"
#include "backends/file/file_engine.h"

#define FILE_ENGINES_MAX 4u

/* What opening found out. */
struct file_shape {
	uint64_t bytes;
	uint32_t block_size, physical_block_size;
	uint32_t mem_align, len_align; /* of buffers, and of each piece's length, when direct */
	dev_t dev;
	ino_t ino;
	bool is_block_device, in_memory, thin;
	bool direct;               /* O_DIRECT: past the page cache */
	const char *why_buffered;  /* static text; NULL: direct, or in memory */
	enum bdev_cache cache;
};

/* What is asked for. */
struct file_want {
	const char *name, *filename;
	uint32_t block_size;       /* 0: found */
	bool read_only;
	bool again;                /* it is open already: not exclusively, and a part of a block at its end is left out */
};

enum file_state {
	FILE_GOOD,
	FILE_UNSYNCED,             /* writing out failed: nobody knows what is on the media; until it is opened again */
	FILE_LOST,                 /* the device or server is gone: opened again, when that works, on the next I/O */
};

struct file_disk {
	struct bdev bdev;
	struct file_backend *fb;
	int fd;                    /* stays this number: another file is put behind it */
	_Atomic uint8_t state;     /* enum file_state */
	_Atomic bool thin;         /* has holes that stay holes */
	_Atomic bool no_punch, no_zero_range; /* the file system said so */
	bool direct, in_memory, is_block_device, fallocate, block_size_given;
	uint32_t mem_align, len_align;
	struct file_shape shape;
	char *filename;
	/* file_sync.c */
	_Atomic uint64_t sync_tickets;    /* given out */
	_Atomic uint32_t sync_failures;   /* to write out; other numbers later, not more */
	struct file_io *_Atomic sync_parked;
	struct file_sync_core *sync_cores;

	/* control */
	struct msg look_msg;
	_Atomic bool look_asked;
	_Atomic uint64_t look_after_ns;
	struct queue looks;        /* of struct looking by link: wait for the one that runs */
	uint32_t jobs;             /* looks, waiting and running; destroy waits */
	bool destroy_waits;
	struct job close_job;
};

/* Of each core and disk. */
struct file_channel {
	struct file_lane *lane;
};

struct file_backend {
	struct bdev_registry *reg;
	const char *product;
	const struct file_engine *engines[FILE_ENGINES_MAX + 1]; /* threads last */
	const struct file_engine *engine; /* the first that the system grants; NULL: not asked yet */
	_Atomic bool said;         /* that an engine was refused */
	struct file_lane *lanes[CORE_REACTORS_MAX + 1]; /* each of its core only */
};

static inline struct file_disk *file_disk_of(const struct bdev *b)
{
	return container_of(b, struct file_disk, bdev);
}

/* file_open.c: on a helper thread. Returns a descriptor, or a negative errno with a sentence. */
int file_open(const struct file_want *want, struct file_shape *ret_shape, struct err *e);
/* The size in bytes now. */
int file_size(int fd, bool is_block_device, uint64_t *ret_bytes);

/* file.c: it seems gone; somebody should look. Any core. */
void file_seems_lost(struct file_disk *d);

/* file_io.c */
extern const struct file_engine file_threads;
int file_channel_open(struct bdev_channel *ch, struct err *e);
void file_channel_close(struct bdev_channel *ch);
void file_submit(struct bdev_channel *ch, struct bdev_io *io);
bool file_abort(struct bdev_channel *ch, struct bdev_io *io);
void file_io_end(struct file_io *f, enum bdev_status st);
void file_io_answer(struct file_io *f, enum bdev_status st);
/* An errno of the system, in the waist's words; notes what it means for the disk. */
enum bdev_status file_status(struct file_disk *d, const struct bdev_io *io, int error);

/* file_sync.c: around what writes out, and what may hear of a failure to do so. False: it waits for others that run at
 * the same time, and is answered by file_io_answer(). Otherwise *st may have become FAILED. */
void file_sync_init(struct file_disk *d);
void file_sync_fini(struct file_disk *d);
void file_sync_begin(struct file_disk *d, struct file_io *f);
bool file_sync_over(struct file_disk *d, struct file_io *f, enum bdev_status *st);

/* file_job.c: on helper threads: what blocks. */
void file_job_start(struct file_io *f);
bool file_job_cancel(struct file_io *f);

#endif
