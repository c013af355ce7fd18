/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev_device.h: a back-end's side of the waist. docs/ADD-A-BACKEND.md and backends/skeleton show its use.
 *
 * A back-end needs no argument checks: ranges, sizes, iovec lengths, read-only, leases, unsupported operations
 * and sizes beyond its limits were dealt with before its submit() is called. It answers each I/O with
 * bdev_io_done() exactly once, also from within submit().
 */
#ifndef BDEV_BDEV_DEVICE_H
#define BDEV_BDEV_DEVICE_H

#include "bdev/bdev.h"

typedef void bdev_emit_fn(void *arg, const char *key, const char *text_value);

struct resv_op;
struct bdev_ops {
	/* The device's per-core state; one call per core and device. Size: bdev->channel_ctx_bytes, zeroed, in
	 * bdev_channel_ctx(ch). Returns 0 or a negative errno with a sentence. NULL: nothing to do. */
	int (*channel_open)(struct bdev_channel *ch, struct err *e);
	void (*channel_close)(struct bdev_channel *ch);

	/* One of native_ops. Same core as the channel. Sets io->consumed for a write it is done with. */
	void (*submit)(struct bdev_channel *ch, struct bdev_io *io);
	/* End an I/O early, with ABORTED, now or soon. False: it ends as it would have. NULL: there is no way. */
	bool (*abort)(struct bdev_channel *ch, struct bdev_io *io);

	/* Fresh memory, as long as a write to come, to io->iovs (at most iov_max) and io->iov_count; range and permission
	 * were checked. Later submit() gets that write with io->lent set and clears it when it has made the
	 * memory its own; else release() comes for it. False: nothing to lend. NULL: never. */
	bool (*write_lend)(struct bdev_channel *ch, struct bdev_io *io);
	/* Lending devices: give memory back (any core); how many iovecs a read, or write, may need. */
	void (*release)(struct bdev *b, const struct iovec *iovs, uint32_t count);
	uint32_t (*lend_iovs_max)(const struct bdev *b, uint32_t blocks);

	/* The device goes, its users have been told: end, with GONE, what would not end by itself, now or soon. Control
	 * reactor. NULL: everything ends by itself. */
	void (*remove)(struct bdev *b);
	/* Last call: no channel and no descriptor is left. Control reactor. Calls bdev_destroyed(b), now or later. */
	void (*destroy)(struct bdev *b);

	/* Devices whose reservations are their target's (resv_outside): do what `op` asks for there, and look at what there
	 * is then; bdev_resv_answered(op, seen), later. Control reactor. NULL: reservations are this daemon's own. */
	void (*resv)(struct bdev *b, struct resv_op *op);

	/* For bdev_get_bdevs' "driver_specific" and save_config: one callback a value, no JSON here. NULL: nothing. */
	void (*describe)(const struct bdev *b, bdev_emit_fn *emit, void *arg);
};

#define BDEV_NAME_MAX 256
#define BDEV_ALIASES_MAX 4

struct bdev {
	/* Filled in by the back-end, then constant; except as noted. */
	const struct bdev_ops *ops;
	char name[BDEV_NAME_MAX];
	char aliases[BDEV_ALIASES_MAX][BDEV_NAME_MAX]; /* empty ones unused; the UUID's text is always one */
	const char *product;            /* "Malloc disk": SPDK's product_name */
	struct uuid uuid;               /* null: made at registration */
	uint32_t block_size, physical_block_size, md_size;
	bool md_interleaved;
	uint8_t dif_type;               /* protection information of blocks: 1 to 3; 0: none. Checked by the waist */
	bool dif_is_head_of_md;
	_Atomic uint64_t block_count;   /* bdev_resize() */
	_Atomic bool removing;          /* the waist's; here because every I/O looks at both */
	uint32_t native_ops;            /* BDEV_BIT(READ) | ... */
	uint32_t emulated_below;        /* those of native_ops that a device under this one emulates */
	bool lends, consumes;           /* consumes: every write is consumed within submit() */
	bool lends_zeroes;              /* for reads, and nothing but mem_zeroes(): adapters know them, and they stay */
	bool fua, read_only, thin;
	bool knows_bad;                 /* a native GET_LBA_STATUS answers of_bad */
	bool resv_outside;              /* ops->resv decides, and the target protects */
	enum bdev_cache cache;
	uint32_t optimal_io_blocks, max_unmap_blocks;
	_Atomic uint32_t max_io_blocks; /* a device may change it, for channels that are opened later; bdev_io_cut() */
	uint32_t atomic_blocks;         /* 0: 1 */
	uint32_t atomic_boundary_blocks; /* 0: none */
	uint32_t atomic_caw_blocks;     /* of a native COMPARE_AND_WRITE; 0, or where it is emulated: atomic_blocks */
	uint32_t max_caw_blocks;        /* of a native one, wherever it begins: larger ones may be refused; 0: no limit */
	uint32_t max_nodata_blocks;     /* of WRITE_ZEROES, VERIFY, WRITE_UNCORRECTABLE and COPY; 0: max_io_blocks */
	uint32_t channel_ctx_bytes;
	uint32_t io_ctx_bytes;          /* of io->device_ctx; 0: none; taken from a per-channel pool with a named wait */
	uint32_t io_ctx_ops;            /* BDEV_BIT()s of the operations that need one; 0: all */
	const char *sleeps;             /* how it wakes a reactor: "inline", "eventfd", ... : the fitness matrix */

	/* The waist's. */
	struct bdev_registry *reg;
	struct list link, descs;
	struct bdev_core *cores;        /* one per reactor, control last: bdev_waist.h */
	_Atomic uint32_t open_channels;
	bool destroying;
	uint32_t holds;                 /* statistics being read: destroy waits */
	struct bdev_desc *claim;
	void (*unregister_done)(void *arg, int rc);
	void *unregister_arg;
	struct bdev_locks *locks;       /* LBA ranges: bdev/locks.c */
	/* Set by control and looked at by cores that it visits. */
	_Atomic uint32_t hist_ops;      /* operations whose latency is kept: meter.c */
	_Atomic uint64_t depth_period_us;       /* 0: the queue depth is not metered */
	_Atomic uint64_t busy;          /* while it is: how long some core had I/O; meter.c */
	bool returns;                   /* the back-end's, before bdev_unregister(): see bdev_returns() */
	uint64_t saved_stamp;           /* another one when save_config may say something else: bdev_resaved() */
	struct bdev_resv *resv;         /* who reserved it: reservation.c; NULL: nobody ever did */
	struct bdev_qos *qos;           /* limits, its own or a group's: qos_ctl.c; NULL: there never were any */
};

/* Control reactor. `b` is the back-end's memory until destroy. Errors: -EEXIST and others with a sentence. */
int bdev_register(struct bdev_registry *reg, struct bdev *b, struct err *e) MUST_USE;
/* Tell users, wait for them to close, destroy; `done` runs on the control reactor. */
void bdev_unregister(struct bdev *b, void (*done)(void *arg, int rc), void *arg);
void bdev_destroyed(struct bdev *b);
/* New size: told to every user. Shrinking ends later I/O beyond the end with BAD_RANGE. */
int bdev_resize(struct bdev *b, uint64_t block_count, struct err *e) MUST_USE;

/* What the back-end saves of it has changed, other than by these. Control reactor. */
void bdev_resaved(struct bdev *b);

/* The device has ended an I/O: queues it for its done function in this pass. */
void bdev_io_done(struct bdev_io *io, enum bdev_status status);
/* The device has `io`, a read, write or comparison, and cannot take it whole as it turns out: the waist has it done in
 * parts of `blocks` at most, which come to submit() by themselves, several at a time, before this returns or later. The
 * device's context of it is gone. False, and nothing was done: it is such a part already. */
bool bdev_io_cut(struct bdev_io *io, uint64_t blocks);
/* The last check before the media, for devices that hold an I/O between submit and media. False: answer FENCED. */
static inline bool bdev_io_may_land(const struct bdev_io *io)
{
	return !io->lease || bdev_lease_epoch(io->lease) == io->lease_epoch;
}

/* What an I/O that was done in parts ends with, when one more of them has ended: the first error; but GONE before any,
 * for what a device had that was removed may land still. */
static inline enum bdev_status bdev_status_of_parts(enum bdev_status so_far, enum bdev_status part)
{
	return so_far == BDEV_ST_OK || part == BDEV_ST_GONE ? part : so_far;
}

/* A back-end sees two kinds of channel: submit() and abort() get the user's, as in io->ch; channel_open() and
 * channel_close() get the core's own, which lives from the one to the other. Both have the same context. */
void *bdev_channel_ctx(struct bdev_channel *ch);
struct bdev *bdev_channel_bdev(struct bdev_channel *ch);

#endif
