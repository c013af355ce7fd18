/* SPDX-License-Identifier: BSD-3-Clause */
/* blk.h: a block device of vhost (private): blk.c makes it and says what it is, blk_io.c does its requests,
 * blk_stages.c counts them and their time. */
#ifndef VHOST_BLK_H
#define VHOST_BLK_H

#include "base/text.h"
#include "bdev/served.h"
#include "core/stages.h"
#include "core/trace.h"
#include "vhost/device.h"

#define BLK_PIECE_BYTES (4u << 20)     /* longer reads and writes go in pieces of so much; usual drivers have none */
#define BLK_RANGES_MAX 16u             /* of one discard */
#define BLK_ZEROES_SECTORS_MAX (1u << 22)
#define BLK_DISCARD_SECTORS_MAX (1u << 22)

/* The disk behind it, until that is removed. */
struct vhost_disk {
	struct vhost_blk *blk;             /* NULL: it was never begun to be served */
	struct vhost_each visit, pick;
	bool going;
	struct bdev_served dev;            /* its views follow */
};

struct vhost_blk {
	struct vhost_ctrlr ctrlr;
	char bdev_name[256];
	struct bdev_info info;             /* as it was opened; a disk that is gone is still the same device */
	bool made_read_only;
	uint16_t num_queues;
	_Atomic(struct vhost_disk *) disk; /* NULL: gone. Control writes */
	_Atomic bool cache_off;            /* by a driver, until one switches it on again. Control writes */
	uint32_t disks;                    /* this one, one that comes back, and those still going */
	bool coming;                       /* one comes back */
	/* while it is made */
	struct vhost_blk_opts opts;
	struct vhost_change *change;
	bool ended;
};

/* session->device. */
struct blk_session {
	_Atomic bool no_flush;             /* its driver has no way to flush. Control writes */
};

struct blk_task {
	struct vhost_task task;
	struct bdev_io io;
	struct bdev_view *view;            /* counted while the disk has it */
	uint8_t *status;                   /* where the guest wants it */
	struct vhost_cut cut;
	uint32_t in_len;                   /* bytes that a good request writes ahead of the status */
	uint32_t at, left;                 /* data, as the guest has it: where the next piece begins; what is left of it */
	uint32_t type, bytes;              /* bytes: of data, of a read or write */
	uint64_t sector;                   /* as it came */
	uint64_t paused_ns, between_ns;    /* between two pieces: since when; in all */
	uint8_t end;                       /* the status it came to */
	struct bdev_range ranges[BLK_RANGES_MAX];
} CACHE_ALIGNED;

void blk_ring_open(struct vhost_ring *r);
void blk_ring_close(struct vhost_ring *r);
void blk_execute(struct vhost_task *t);
void blk_go_on(struct vhost_task *t);
void blk_hurry(struct vhost_task *t);
/* The disk goes, or came back: rings let go of it, or take it. Visits. */
void blk_ring_pick(struct vhost_ring *r, void *disk);
void blk_ring_drop(struct vhost_ring *r, void *disk);

/* blk_stages.c. Ring: it came to this core, or leaves it. A request ends; at first nearly all: a read or write that
 * went well in the pass in which it came. */
void blk_stages_open(struct vhost_ring *r);
void blk_stages_close(struct vhost_ring *r);
void blk_count_slow(struct blk_task *b, uint32_t status);
static inline void blk_count(struct blk_task *b, uint32_t status)
{
	struct stage_counts *c = b->task.ring->counts;

	trace(VHOST_DONE, b->task.chain.id, status);
	if (unlikely(status || b->type > 1 || reactor_now_ns() > b->task.since_ns)) {
		blk_count_slow(b, status);
		return;
	}
	c->ios[b->type]++;             /* VIRTIO_BLK_T_IN, _OUT are STAGE_KIND_READ, _WRITE */
	c->bytes[b->type] += b->bytes;
	c->at_once++;
}

static inline struct vhost_blk *blk_of(const struct vhost_ctrlr *c) { return container_of(c, struct vhost_blk, ctrlr); }

#endif
