/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio.h: disks of somebody else's vhost-user server: the front-end's side of vhost-user as a back-end. */
#ifndef BACKENDS_VIRTIO_VIRTIO_H
#define BACKENDS_VIRTIO_VIRTIO_H

#include "bdev/bdev.h"

struct vio;       /* the controllers of one daemon */
struct vio_ctrlr; /* one server's socket, and the disks behind it */

enum vio_kind { VIO_BLK, VIO_SCSI };

#define VIO_NAME_MAX 128
#define VIO_PATH_MAX 108
#define VIO_QUEUE_SIZE_DEFAULT 512u

struct vio_opts {
	const char *name;                /* of the disk; of SCSI the beginning of its disks' names */
	const char *path;                /* of the server's socket */
	enum vio_kind kind;
	uint32_t queues;                 /* most of them; 0: one for each I/O core. Never more than the server has */
	uint32_t queue_size;             /* descriptors of a queue: a power of two; 0: VIO_QUEUE_SIZE_DEFAULT */
	bool packed;                     /* packed rings, where the server has them */
	bool patient;                    /* stands though the server is not there yet, and is tried until it is */
	uint32_t reconnect_delay_sec;
	uint32_t fast_io_fail_timeout_sec; /* I/O waits so long for a server that is away; 0: as long as it takes */
	struct uuid uuid;                /* of the disk; null: made up */
};

struct vio *vio_make(struct bdev_registry *reg);
void vio_free(struct vio *v);           /* after vio_stop() */
/* The daemon is about to end: I/O that waits for a server does so for five more seconds only. */
void vio_ending(struct vio *v);
/* All controllers go. Core: control. Then: done runs once, maybe at once. */
void vio_stop(struct vio *v, void (*done)(void *arg), void *arg);

/* Connect, and register what is there.
 *
 * Core:   control. Memory: `o` is copied.
 * Then:   done runs once, later: `c` with its disks, or NULL with a sentence. A patient one has no disks yet if its
 *         server is not there; they come when it is. */
typedef void vio_attached_fn(void *arg, struct vio_ctrlr *c, const struct err *e);
void vio_attach(struct vio *v, const struct vio_opts *o, vio_attached_fn *done, void *arg);
/* Its disks go, then itself. Errors: -ENODEV with a sentence. */
int vio_detach(struct vio *v, const char *name, void (*done)(void *arg, int rc), void *arg, struct err *e) MUST_USE;

/* --- looking at them: control --- */

struct vio_facts {
	const char *name, *path, *state; /* state: "up", "waiting", ... */
	enum vio_kind kind;
	bool packed;
	uint32_t queues, queue_size;     /* in use; 0 before the first connection */
	struct vio_opts opts;            /* as asked for */
	uint64_t features, protocol;     /* agreed on */
	uint64_t reconnects, requeued;   /* connections after the first; I/Os that were sent again */
};
void vio_facts_of(const struct vio_ctrlr *c, struct vio_facts *ret_facts);
/* NULL: the first. */
struct vio_ctrlr *vio_next(struct vio *v, struct vio_ctrlr *c);
/* The names of its disks, one call each. */
void vio_each_disk(struct vio_ctrlr *c, void (*fn)(void *arg, struct bdev *b), void *arg);
/* The controller of a disk; NULL: not one of ours. */
struct vio_ctrlr *vio_ctrlr_of(const struct bdev *b);
extern const char vio_blk_product[], vio_scsi_product[];

#endif
