/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev.h: the waist between protocols and back-ends: what a block device is and how it is used.
 *
 * Users open a device on the control reactor (bdev_open), take a channel on each core they use it from
 * (bdev_channel_get), and submit I/Os they own. Back-ends fill a `struct bdev` with a table of
 * functions and register it; bdev_device.h is their side of this header.
 *
 * Submitting cannot fail to start: whatever is wrong becomes the I/O's status. `done` runs exactly once, on
 * the same core, in a later phase of the same pass or in a later pass, never inside bdev_submit().
 *
 * Data moves in one of two forms. Plain: the caller's iovecs. Lent: a read without buffers, for which the
 * device fills in iovecs over its own stable memory, to be given back by bdev_io_release() exactly
 * once, after `done`, on any core. And a write whose payload the device consumed before bdev_submit()
 * returned says so (io->consumed), so that a shared receive buffer can be reused at once. A write can be lent, too: the
 * device brings memory for data that is still to come (bdev_write_lend()), and makes it its own without a copy.
 */
#ifndef BDEV_BDEV_H
#define BDEV_BDEV_H

#include <sys/uio.h>

#include "base/uuid.h"
#include "core/core.h"
#include "core/mem.h"

struct bdev;          /* a device; bdev_device.h */
struct bdev_registry; /* all devices of one daemon; lives on the control reactor */
struct bdev_desc;     /* a device opened by somebody */
struct bdev_channel;  /* one core's way into a device */
struct bdev_io;

/*   operation             name                    data moves */
#define BDEV_OPS(X) \
	X(READ,                "read",                 BDEV_DATA_IN) \
	X(WRITE,               "write",                BDEV_DATA_OUT) \
	X(FLUSH,               "flush",                BDEV_DATA_NONE) \
	X(UNMAP,               "unmap",                BDEV_DATA_NONE) \
	X(WRITE_ZEROES,        "write_zeroes",         BDEV_DATA_NONE) \
	X(COMPARE,             "compare",              BDEV_DATA_OUT) \
	X(COMPARE_AND_WRITE,   "compare_and_write",    BDEV_DATA_OUT) \
	X(COPY,                "copy",                 BDEV_DATA_NONE) \
	X(VERIFY,              "verify",               BDEV_DATA_NONE) \
	X(WRITE_UNCORRECTABLE, "write_uncorrectable",  BDEV_DATA_NONE) \
	X(GET_LBA_STATUS,      "get_lba_status",       BDEV_DATA_NONE) \
	X(RESET,               "reset",                BDEV_DATA_NONE) \
	X(PASSTHROUGH,         "passthrough",          BDEV_DATA_OUT)
#define BDEV_OP_ENUM(op, name, data) BDEV_##op,
enum bdev_data { BDEV_DATA_NONE, BDEV_DATA_IN, BDEV_DATA_OUT };
enum bdev_op { BDEV_OPS(BDEV_OP_ENUM) BDEV_OP_COUNT };
#define BDEV_BIT(op) (1u << BDEV_##op)
const char *bdev_op_name(enum bdev_op op);

/* How an I/O ended. Protocols translate this in one function each. */
/*   status             meaning */
#define BDEV_STATUSES(X) \
	X(OK,               "done") \
	X(BAD_RANGE,        "blocks beyond the end of the device") \
	X(BAD_FIELD,        "a field the device cannot accept, such as buffers that do not match the length") \
	X(UNSUPPORTED,      "the device cannot do this and it cannot be emulated") \
	X(WRITE_PROTECTED,  "the device is read only, or was opened for reading") \
	X(MISCOMPARE,       "the data compared differs; io->miscompare_offset says where") \
	X(MEDIA_ERROR,      "the media could not deliver or keep the data") \
	X(GUARD_CHECK,      "protection information: guard") \
	X(APPTAG_CHECK,     "protection information: application tag") \
	X(REFTAG_CHECK,     "protection information: reference tag") \
	X(RESERVED,         "another initiator holds a reservation") \
	X(FENCED,           "the lease the I/O carried has been revoked") \
	X(ABORTED,          "aborted on request") \
	X(GONE,             "the device was removed") \
	X(SRC_GONE,         "the device to copy from was removed") \
	X(NO_SPACE,         "a thin device has no memory or space left") \
	X(BUSY,             "try again later") \
	X(FAILED,           "the device failed and stays failed until it is opened again") \
	X(TIMED_OUT,        "the device did not answer")
#define BDEV_STATUS_ENUM(status, text) BDEV_ST_##status,
enum bdev_status { BDEV_STATUSES(BDEV_STATUS_ENUM) BDEV_STATUS_COUNT };
const char *bdev_status_name(enum bdev_status st); /* "MEDIA_ERROR" */
const char *bdev_status_text(enum bdev_status st); /* the meaning */

/* What keeps data from a power cut. */
enum bdev_cache { BDEV_CACHE_NONE, BDEV_CACHE_VOLATILE, BDEV_CACHE_LOST_ANYWAY /* RAM: nothing survives */ };

/* What a device is; the same on all cores. Sizes may grow or shrink while it is open (BDEV_EVENT_RESIZE). */
struct bdev_info {
	const char *name, *product;       /* stable while open */
	struct uuid uuid;
	uint32_t block_size;              /* data bytes of a block */
	uint32_t physical_block_size;
	uint32_t md_size;                 /* metadata bytes of a block; 0: none */
	bool md_interleaved;
	uint8_t dif_type;                 /* protection information in the metadata: 1 to 3 (pi.h); 0: none */
	bool dif_is_head_of_md;           /* it comes first there, else last */
	uint64_t block_count;
	uint32_t ops;                     /* BDEV_BIT()s that work, natively or emulated */
	uint32_t native_ops;
	bool lends;                       /* reads may be asked for without buffers ... */
	bool lends_zeroes;                /* ... and are mem_zeroes() */
	bool lends_writes;                /* bdev_write_lend() may have some */
	bool fua;                         /* honoured natively; else write + flush */
	bool read_only, thin;
	bool knows_bad;                   /* GET_LBA_STATUS tells blocks that are lost from others */
	enum bdev_cache cache;
	uint32_t optimal_io_blocks;       /* 0: no preference */
	uint32_t max_io_blocks;           /* 0: no limit; larger ones are split by the waist */
	uint32_t max_unmap_blocks;        /* 0: no limit */
	uint32_t atomic_blocks;           /* largest write of which nobody ever sees half, nor after a power cut; ... */
	uint32_t atomic_boundary_blocks;  /* ... if it crosses no multiple of this; 0: there is no such */
	uint32_t atomic_caw_blocks;       /* the same of COMPARE_AND_WRITE */
	uint32_t max_caw_blocks;          /* a larger COMPARE_AND_WRITE may be refused; 0: no limit */
};

/* Who sends I/O: for reservations, leases and accounts. Lives as long as its controller or session. */
struct bdev_initiator {
	char name[224];                   /* NVMe host NQN, iSCSI initiator name */
	struct uuid host_id;
	uint32_t party;                   /* whom reservations know it as: bdev_initiator_enter(); 0: nobody */
};

/* --- leases: the one revocation mechanism --------------------------------------------------------
 * A lease is one initiator's permission to touch one device, or all devices, through one controller. Every I/O carries
 * the lease and the epoch in which it began; both are checked at the last point before the media.
 * Revoking advances the epoch and answers only when no I/O of an older epoch can land any more. */
struct bdev_lease_revoke;
struct bdev_lease {
	_Atomic uint32_t epoch;
	struct {
		CACHE_ALIGNED uint32_t in_flight[2]; /* of that core only: I/Os submitted and not done, by phase */
		uint8_t phase;                       /* of I/Os that begin now; revoking turns it */
		struct bdev_lease_revoke *draining;  /* wait for the other phase */
		struct bdev_lease_revoke *queued;    /* came while those did: the next turn is theirs */
		struct list *throttled;              /* the waist's lines in which some of them may wait for a limit */
	} core[CORE_REACTORS_MAX + 1];
};
void bdev_lease_init(struct bdev_lease *l);
static inline uint32_t bdev_lease_epoch(struct bdev_lease *l)
{
	return atomic_load_explicit(&l->epoch, memory_order_acquire);
}
struct bdev_lease_revoke {
	struct msg msgs[CORE_REACTORS_MAX + 1], done_msg;
	struct bdev_lease *lease;
	_Atomic uint32_t cores_left;
	struct reactor *from;
	void (*done)(struct bdev_lease_revoke *r);
	struct bdev_lease_revoke *next[CORE_REACTORS_MAX + 1]; /* in a core's draining or queued */
};
/* Core: any reactor. Memory: `r` stays until done. Then: done runs here, when nothing older can land. */
void bdev_lease_revoke(struct core *core, struct bdev_lease *l, struct bdev_lease_revoke *r,
                       void (*done)(struct bdev_lease_revoke *r));

/* --- one I/O ---------------------------------------------------------------------------------------------- */

#define BDEV_IO_FUA      0x01u /* on media before done */
#define BDEV_IO_LEND     0x02u /* READ only: fill io->iovs (room for iov_max) with the device's own memory */
#define BDEV_IO_SRC      0x04u /* COPY: io->copy.src is the source's channel; taken off when that is the same device */
#define BDEV_IO_LENT     0x08u /* WRITE only: the data lies in what bdev_write_lend() brought for this I/O */
#define BDEV_IO_PRCHK_GUARD  0x10u /* check protection information; a device that cannot answers UNSUPPORTED */
#define BDEV_IO_PRCHK_APPTAG 0x20u
#define BDEV_IO_PRCHK_REFTAG 0x40u
#define BDEV_IO_DEALLOCATE   0x80u /* WRITE_ZEROES may leave holes */
/* Where the metadata are, when not where the device has them: see bdev_plain(), too. */
#define BDEV_IO_PLAIN       0x100u /* the iovecs hold none: protection information is made, or checked and dropped */
#define BDEV_IO_EXTENDED    0x200u /* they follow each block's data, whatever the device does */
#define BDEV_IO_PRACT       0x400u /* protection information of what is written is made here, in the metadata given */
#define BDEV_IO_SRC_PRCHK(flags) ((flags) << 7) /* COPY, COMPARE_AND_WRITE: the PRCHK of what is read */
#define BDEV_IO_PRCHK       (BDEV_IO_PRCHK_GUARD | BDEV_IO_PRCHK_APPTAG | BDEV_IO_PRCHK_REFTAG)
#define BDEV_IO_MD          (BDEV_IO_PRCHK | BDEV_IO_PLAIN | BDEV_IO_EXTENDED | BDEV_IO_PRACT | \
                             BDEV_IO_SRC_PRCHK(BDEV_IO_PRCHK))

typedef void bdev_done_fn(struct bdev_io *io);

/* Of protection information: pi.h. */
struct bdev_tags {
	uint32_t ref;
	uint16_t app, mask;
};

struct bdev_range {
	uint64_t lba, count;
};

/* Zero it once before its first use; afterwards only what an operation needs has to be set. The first two cache
 * lines are what a plain read or write touches. */
struct bdev_io {
	/* Set by the caller before bdev_submit(); unchanged until done. */
	uint8_t op;                     /* enum bdev_op */
	uint16_t flags;                 /* BDEV_IO_* */
	uint16_t iov_count, iov_max;    /* data iovecs; iov_max: room in iovs for LEND */
	uint64_t lba, count;            /* blocks */
	union {
		struct iovec *iovs;         /* data; COMPARE_AND_WRITE: compare bytes, then write bytes */
		struct bdev_tags from;      /* COPY, which has none: of what is read, where BDEV_IO_SRC_PRCHK */
	};
	bdev_done_fn *done;
	struct bdev_lease *lease;       /* NULL: the daemon itself */
	uint32_t lease_epoch;

	/* Set by the device or the waist. */
	uint8_t status;                 /* enum bdev_status; valid in done */
	bool consumed;                  /* WRITE: valid when bdev_submit() returns */
	bool lent;                      /* the iovecs are the device's: bdev_io_release(). READ: it lent them; WRITE: with
	                                 * BDEV_IO_LENT, and it has not kept them */
	bool active;                    /* between submit and done: the contract's own check */
	struct bdev_channel *ch;
	struct queue_link link;         /* the device's while it has the I/O, then the channel's */
	uint64_t began_ns;
	void *device_ctx;               /* the device's, from its per-channel pool; of lent data: the device */
	uint16_t waist;                 /* the waist's own notes: bdev_waist.h */
	uint16_t md_iov_count;          /* the caller's, of md_iovs */
	uint32_t miscompare_offset;     /* bytes */
	uint32_t waited;                /* in lines of the waist, 1024 ns each; added up until the caller clears it */

	/* Set by the caller where it applies. */
	struct iovec *md_iovs;          /* separate metadata; NULL: none */
	const struct bdev_initiator *who; /* NULL: the daemon itself */
	uint32_t ref_tag;               /* of the first block, with PRCHK or where it is made */
	uint16_t app_tag, app_mask;
	const struct mem_region *region; /* where the data lies, when known; NULL otherwise */
	union {
		struct { const struct bdev_range *ranges; uint32_t range_count; } unmap; /* count 0: lba,count */
		/* Of the same device; with BDEV_IO_SRC of another one, of the same shape of blocks, through a channel of
		 * this core that stays open until done. */
		struct { uint64_t src_lba; struct bdev_channel *src; } copy;
		struct bdev_tags compare; /* COMPARE_AND_WRITE: of what is there, where BDEV_IO_SRC_PRCHK */
		struct { uint8_t *cmd; uint32_t *result; } passthrough;
		/* Of the run that begins at lba: of blocks alike in what is asked for. */
		struct {
			bool of_bad;    /* asked for: are they known to be lost? Else: are they mapped? */
			bool ret_mapped, ret_bad;
			uint64_t ret_blocks;
		} lba_status;
	};
};
_Static_assert(sizeof(struct bdev_io) <= 160, "requests embed it");

/* Start one operation on a device.
 *
 * Core:   the one that opened `ch`.
 * Memory: `io`, its iovecs and its data stay yours and must not move until io->done runs; data of a write only
 *         until return when io->consumed is set.
 * Then:   io->done(io) runs once, on this core, after bdev_submit() has returned.
 * Errors: none here; what cannot start is completed with io->status set.
 */
void bdev_submit(struct bdev_channel *ch, struct bdev_io *io);

/* Have memory of the device's own for a write whose data is still to come: what is put there is published as it lies.
 * The I/O is filled in as for bdev_submit(), but for its data: io->iovs has room for iov_max, and bdev_lend_iovs_max()
 * tells how much is enough. Nobody else can see the memory; what is in it is undefined.
 *
 * Core:   the one that opened `ch`.
 * Memory: true: the iovecs are the device's, and BDEV_IO_LENT and io->lent are set. Submit the I/O as it is, when all
 *         of the data is there, through a channel of the same device, or give the memory back: bdev_io_release().
 * Then:   a WRITE that ends with io->lent has not used it, for what reason ever: bdev_io_release().
 * Errors: false: not this device, not this range, not now. Use buffers of your own.
 */
bool bdev_write_lend(struct bdev_channel *ch, struct bdev_io *io) MUST_USE;

/* Give lent memory back. Any core of the daemon; exactly once for every I/O that ended with io->lent; `ch` may be
 * closed by then, the descriptor not. */
void bdev_io_release(struct bdev_io *io);
/* The same from the iovecs alone, for who keeps them apart from the I/O (a frozen connection); in several calls if
 * need be, but each iovec whole and as it was lent. */
void bdev_release_iovs(struct bdev_desc *desc, const struct iovec *iovs, uint32_t count);
/* Most iovecs that a lent read or write of `blocks` blocks can need. */
uint32_t bdev_lend_iovs_max(const struct bdev_desc *desc, uint32_t blocks);

/* Ask the device to end an I/O early; it still ends through done, ABORTED or otherwise. Same core.
 * False: it ends as it would have: it has been answered, or its device cannot stop it. */
bool bdev_abort(struct bdev_channel *ch, struct bdev_io *io);

/* --- opening: control reactor only ------------------------------------------------------------------------ */

struct bdev_registry *bdev_registry_make(struct core *core);
struct core *bdev_registry_core(const struct bdev_registry *reg);
void bdev_registry_free(struct bdev_registry *reg); /* no device may be left */

enum bdev_event { BDEV_EVENT_REMOVE, BDEV_EVENT_RESIZE };
/* REMOVE: the device goes as soon as you have closed it; its I/O ends with GONE meanwhile. */
typedef void bdev_event_fn(struct bdev_desc *desc, enum bdev_event event, void *arg);

/* Errors: -ENODEV, -EPERM (claimed by another), with a sentence. `owner` names you in others' sentences. */
struct bdev_desc *bdev_open(struct bdev_registry *reg, const char *name, bool write, const char *owner,
                            bdev_event_fn *event, void *arg, struct err *e);
void bdev_close(struct bdev_desc *desc); /* all channels were put before */
/* Exclusive write: others may only read. Ends with bdev_close(). Errors: -EPERM when another one has it, or has
 * opened it for writing. */
int bdev_claim(struct bdev_desc *desc, struct err *e) MUST_USE;
/* Open for writing, or reading only, to be served to hosts, whom reservations keep apart: claimed together with others
 * that serve it, but not twice by one of the same name `owner`. */
struct bdev_desc *bdev_open_served(struct bdev_registry *reg, const char *name, bool write, const char *owner,
                                   bdev_event_fn *event, void *arg, struct err *e);
/* From now on the blocks of this descriptor have no metadata: protection information is made when they are written,
 * checked when they are read, other metadata are zeroes. Its bdev_get_info() says so; nothing is lent. Before the first
 * channel. Errors: -ENOTSUP with a sentence. */
int bdev_plain(struct bdev_desc *desc, struct err *e) MUST_USE;
/* The device, to compare: it stays as long as `desc` is open. */
struct bdev *bdev_of(const struct bdev_desc *desc);

/* Any core: what the device is now. Pointers in it are stable while `desc` is open. */
void bdev_get_info(const struct bdev_desc *desc, struct bdev_info *ret_info);
static inline bool bdev_can(const struct bdev_info *i, enum bdev_op op) { return i->ops & (1u << op); }
/* Current size; cheap, any core. */
uint64_t bdev_block_count(const struct bdev_desc *desc);

/* --- channels: each core ---------------------------------------------------------------------------------- */

/* The calling core's channel of an open device; counted. May be the control reactor's too.
 * Errors: NULL with a sentence. */
struct bdev_channel *bdev_channel_get(struct bdev_desc *desc, struct err *e);
void bdev_channel_put(struct bdev_channel *ch); /* its I/Os have ended */

/* --- statistics ------------------------------------------------------------------------------------------- */
/* What I/O waits for in the waist, and how often it had to; or as many as do now. */
/*   wait             name */
#define BDEV_WAITS(X) \
	X(READ_LIMIT,      "rate limit of reads") \
	X(WRITE_LIMIT,     "rate limit of writes") \
	X(CTX,             "device context") \
	X(EMU,             "emulation context") \
	X(SPLIT,           "split context") \
	X(CAW,             "compare-and-write context") \
	X(FUA,             "FUA context") \
	X(MD,              "metadata context")
#define BDEV_WAIT_ENUM(wait, name) BDEV_WAIT_##wait,
enum bdev_wait { BDEV_WAITS(BDEV_WAIT_ENUM) BDEV_WAIT_COUNT };
const char *bdev_wait_name(enum bdev_wait w);

struct bdev_op_stats {
	uint64_t ops, blocks, errors, latency_ns, latency_ns_max, latency_ns_min;
};
struct bdev_stats {
	struct bdev_op_stats op[BDEV_OP_COUNT];
	uint64_t in_flight;
	uint64_t depth_period_us;         /* 0: the queue depth is not metered, and the next two say nothing */
	uint64_t busy_ns, weighted_ns;    /* with any I/O (of the sum only); depth times time */
	struct bdev_wait_stats { uint64_t waits, waiting; } waits[BDEV_WAIT_COUNT];
};
/* What reading does to the counters: SPDK's modes. */
enum bdev_stats_reset { BDEV_STATS_KEEP, BDEV_STATS_RESET_ALL, BDEV_STATS_RESET_MAXMIN, BDEV_STATS_RESET_ERRORS };
/* Sum over all cores, gathered by messages; done runs on the calling (control) reactor. */
struct bdev_stats_read {
	struct each each;
	struct bdev *bdev;
	struct bdev_stats sum;
	struct bdev_stats per_core[CORE_REACTORS_MAX + 1];
	enum bdev_stats_reset reset;
	void (*done)(struct bdev_stats_read *r);
	void *arg;
};
/* Core: control. Memory: `r` yours until done. Then: done runs once, later. The device stays until then. */
void bdev_stats_get(struct bdev_registry *reg, struct bdev *bdev, struct bdev_stats_read *r,
                    enum bdev_stats_reset reset, void (*done)(struct bdev_stats_read *r));

/* Of many devices at once, by one message to each core. */
struct bdev_stats_all {
	struct each each;
	struct bdev_registry *reg;
	uint32_t count, left_out;     /* left_out: beyond `max`, or going */
	struct bdev **bdevs;          /* they stay until bdev_stats_all_end() */
	struct bdev_stats *per_core;
	void (*done)(struct bdev_stats_all *r);
};
/* Core: control. Memory: `r` yours. Then: done runs once, later; bdev_stats_all_end() after it. */
void bdev_stats_all_get(struct bdev_registry *reg, struct bdev_stats_all *r, uint32_t max,
                        void (*done)(struct bdev_stats_all *r));
/* From within done or after: the sum of device `at`. */
void bdev_stats_all_sum(const struct bdev_stats_all *r, uint32_t at, struct bdev_stats *ret_sum);
void bdev_stats_all_end(struct bdev_stats_all *r);

/* --- finding ---------------------------------------------------------------------------------------------- */
struct bdev *bdev_find(struct bdev_registry *reg, const char *name_or_alias_or_uuid);
struct bdev *bdev_first(struct bdev_registry *reg);
struct bdev *bdev_next(struct bdev *b);
/* Be told of every device that is registered from now on, until it is taken off; control reactor. */
struct bdev_arrival {
	struct list link;
	void (*fn)(struct bdev_arrival *a, struct bdev *b);
};
void bdev_arrival_add(struct bdev_registry *reg, struct bdev_arrival *a,
                      void (*fn)(struct bdev_arrival *a, struct bdev *b));
void bdev_arrival_remove(struct bdev_arrival *a);
/* The same of a device that goes, before those are told who have it open; one listener. */
void bdev_on_going(struct bdev_registry *reg, void (*fn)(void *arg, struct bdev *b), void *arg);
/* It goes, but who made it makes it again by itself when it can, with the same name and UUID (the base of a stacked
 * device went): who has something for it may keep that. For BDEV_EVENT_REMOVE. */
bool bdev_returns(const struct bdev_desc *desc);
/* bdev_get_info() without opening: control reactor. */
void bdev_info_of(const struct bdev *b, struct bdev_info *ret_info);

#endif
