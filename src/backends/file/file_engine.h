/* SPDX-License-Identifier: BSD-3-Clause */
/* file_engine.h: what moves a disk's data: io_uring, libaio, or helper threads.
 *
 * A lane is one core's way for all disks of a back-end; the engine keeps its ring or queue there. An engine makes one
 * attempt at a transfer and reports it by file_io_moved(), which goes on with the rest, tries again or ends the I/O.
 */
#ifndef BACKENDS_FILE_FILE_ENGINE_H
#define BACKENDS_FILE_FILE_ENGINE_H

#include "bdev/bdev_device.h"
#include "core/log.h"

#define FILE_REST_IOVS 8u      /* of a transfer that is continued, at a time */
#define FILE_ENGINE_BYTES 64u  /* an engine's own part of an I/O */

struct file_lane;
struct file_disk;
struct file_backend;

/* One I/O that does not end within submit(): its context. */
struct file_io {
	struct bdev_io *io;
	struct file_lane *lane;
	int fd;
	uint64_t at;               /* byte of the file where what is left begins */
	uint32_t left;             /* bytes */
	uint16_t iov_count;
	uint8_t tries;
	uint8_t state;             /* enum file_io_state */
	bool syncs;                /* writes out, at the same time as others perhaps: file_sync.c */
	bool through;              /* on media before it is answered; READ: what is in a cache goes there first */
	const struct iovec *iovs;  /* of what is left */
	struct iovec rest[FILE_REST_IOVS];
	struct mem_bufs bounce;    /* where the caller's buffers are not aligned */
	int64_t result;            /* of a job */
	struct {
		struct list link;
		uint64_t ticket;       /* its own; when it has its result: those before it are waited for */
		uint32_t failures;     /* there had been so many when it began */
		struct file_io *next;  /* parked */
		struct reactor *home;
	} sync;
	union {
		struct msg msg;
		struct wait wait;
		struct job job;
		_Alignas(16) uint8_t engine[FILE_ENGINE_BYTES];
	};
};

enum file_io_state {
	FILE_IO_WAITS,   /* for a buffer */
	FILE_IO_ENGINE,  /* the engine has it */
	FILE_IO_QUEUED,  /* for a job of the lane */
	FILE_IO_JOB,     /* a helper thread has it */
	FILE_IO_PARKED,  /* it went well, and waits for others that write out */
};

struct file_engine {
	const char *name;          /* "io_uring" */
	const char *sleeps;        /* of struct bdev */
	bool buffered;             /* takes what goes through the page cache without blocking */
	bool flushes;              /* start() takes FLUSH */
	/* Any thread: 0, or the errno with which the system refuses it. */
	int (*probe)(void);
	/* The lane's core. Errors: a negative errno; the next engine is tried. */
	int (*open)(struct file_lane *l);
	void (*close)(struct file_lane *l);
	/* READ, WRITE or FLUSH: one attempt, reported by file_io_moved(), later or at once. */
	void (*start)(struct file_lane *l, struct file_io *f);
	/* It will be reported soon, with -ECANCELED when it could be stopped. False: there is no way. */
	bool (*abort)(struct file_lane *l, struct file_io *f);
};

struct file_lane {
	struct file_backend *fb;
	const struct file_engine *engine;
	void *ctx;                 /* the engine's */
	uint32_t users;            /* channels */
	uint32_t jobs;             /* running */
	struct queue queued;       /* of struct bdev_io by link: wait for a job to end */
	struct log_limit said;
};

/* An attempt's result: bytes, or a negative errno. The lane's core. */
void file_io_moved(struct file_io *f, int64_t result);
/* Do it on a helper thread: for an engine that finds that it would block. */
void file_io_to_job(struct file_io *f);

#endif
