/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev_waist.h: what the waist's own files share. Private to bdev.
 *
 * An I/O's way:  bdev_submit     checks, counts, lease
 *                bdev_admit      range locks, for what changes data
 *                bdev_dispatch   lease again, limits, reservations; split, emulate, or ->
 *                bdev_to_device  context, the device's submit()
 *                bdev_io_done    the device's answer, queued on the channel
 *                drain           accounts, then io->done, in the deferred phase
 *
 * Emulation and splitting make child I/Os that enter at bdev_dispatch.
 */
#ifndef BDEV_BDEV_WAIST_H
#define BDEV_BDEV_WAIST_H

#include "base/hist.h"
#include "bdev/bdev_device.h"
#include "core/waits.h"

/* io->waist */
#define WAIST_CHILD       0x001u /* made by the waist: neither checked nor counted as a user's */
#define WAIST_CHANGES     0x004u /* counted in core->changes[] ... */
#define WAIST_CHANGES_1   0x008u /* ... of phase 1 */
#define WAIST_LEASED      0x010u /* counted in its lease ... */
#define WAIST_LEASED_1    0x020u /* ... in phase 1 */
#define WAIST_CTX         0x040u /* device_ctx is taken */
#define WAIST_DEVICE      0x080u /* the device has it */
#define WAIST_DONE        0x100u /* answered, on its way to done */
#define WAIST_ABORT       0x200u /* asked to end while it waited */
#define WAIST_FAMILY     0x2000u /* children do its work; device_ctx is their struct bdev_family */
#define WAIST_METERED     0x400u /* counted in core->depth */
#define WAIST_PI         0x4000u /* its protection information is to be checked when it has been read */
#define WAIST_PAID        0x800u /* within its device's limits: not looked at again */
#define WAIST_THROTTLED  0x1000u /* waits for them */

/* The beginning of every context in which the waist does an I/O by children: who aborts the one means the others. */
struct bdev_family {
	void (*abort)(struct bdev_family *f);
};
static inline void bdev_family_begin(struct bdev_io *parent, struct bdev_family *f,
                                     void (*abort_children)(struct bdev_family *f))
{
	f->abort = abort_children;
	parent->device_ctx = f; /* free: the device does not see the parent */
	parent->waist |= WAIST_FAMILY;
}

/* Objects of one size for one device on one core. Grows by chunks up to a limit, never shrinks while the device
 * lives; who finds none waits in line. */
struct bdev_pool {
	const char *name;               /* of the wait */
	uint32_t size, chunk, max;
	uint32_t made, used, used_max;
	bool granting;                  /* the head of the line is being served */
	uint64_t waits;
	struct queue_link *free, *chunks;
	struct queue waiting;           /* of struct bdev_io by link */
	struct bdev_core *core;
	struct defer wake;
	void (*again)(struct bdev_channel *ch, struct bdev_io *io); /* try the I/O anew */
};
void bdev_pool_init(struct bdev_pool *p, struct bdev_core *core, const char *name, uint32_t size, uint32_t chunk,
                    uint32_t max, void (*again)(struct bdev_channel *ch, struct bdev_io *io));
void bdev_pool_fini(struct bdev_pool *p);
/* NULL: `io` waits, and `again` is called for it when there is one. */
void *bdev_pool_take(struct bdev_pool *p, struct bdev_io *io);
void bdev_pool_give(struct bdev_pool *p, void *object);

/* Why whole I/Os take the long way on a core, beside the device's own needs: bdev_dispatch() finds no simple operation
 * then, so that who wants none of it pays for none of it. */
#define LONG_DEPTH 0x1u         /* the queue depth is metered */
#define LONG_QOS   0x2u         /* there are limits */
#define LONG_RESV  0x4u         /* there is a reservation */

/* How often each latency was seen, one core's share. */
struct bdev_tally {
	uint32_t ops;                   /* those that are kept */
	uint64_t count[BDEV_OP_COUNT][HIST_BUCKETS];
};

/* Depth times time up to `since_ns`: I/Os between admission and done. */
struct bdev_depth {
	uint32_t in_flight;
	uint64_t since_ns, area_ns;
};

/* One user's way into a device from one core. */
struct bdev_channel {
	/* what every I/O looks at */
	struct bdev *bdev;
	struct bdev_core *core;
	void (*submit)(struct bdev_channel *ch, struct bdev_io *io);
	void *ctx;                      /* the device's */
	uint16_t simple_ops;            /* READ and WRITE, where submit() can be called without looking further ... */
	uint16_t ctx_ops;               /* ... or with a context and no more */
	uint32_t block_bytes;           /* in the data iovecs: with interleaved metadata */
	uint32_t max_io_blocks;         /* UINT32_MAX: no limit */
	uint32_t in_flight;
	struct queue doneq;
	uint16_t slow_flags;            /* BDEV_IO_* that need a closer look */
	uint16_t md_flags;              /* BDEV_IO_* that each of its I/Os has: bdev_plain() */
	bool may_write, lends, draining, closing;
	struct defer defer;
	/* the rest */
	struct bdev_desc *desc;         /* NULL: the core's own channel */
	uint32_t users;                 /* bdev_channel_get() calls */
	struct list link;               /* core->channels */
};

/* A device on one core; only touched there, but for what control does while no channel is open. */
struct bdev_core {
	CACHE_ALIGNED struct bdev *bdev;
	struct reactor *reactor;
	uint32_t index;
	bool locked;                    /* some range is locked: `locks` is not empty */
	uint8_t long_way;               /* LONG_* */
	uint8_t phase;                  /* of I/Os that change data and begin now */
	uint32_t changes[2];            /* those that were admitted and are not done, by phase */
	struct list locks;              /* of struct bdev_lock_core: locks.c */
	struct list draining, to_drain;
	struct queue blocked;           /* I/Os that wait for a lock, by link */
	struct bdev_channel own;        /* what the device's channel_open() sees */
	struct list channels;
	void *ctx;
	struct bdev_pool ctxs, emus, splits, caws, fuas, mds;
	struct bdev_stats stats;
	struct bdev_tally *tally;       /* NULL: nothing is kept */
	struct bdev_depth depth;
	struct bdev_qos_core *qos;      /* while there are limits, and after */
	const struct resv_view *resv;   /* who registered and reserved; NULL: nobody */
};

struct bdev_desc {
	struct bdev *bdev;
	bool write, served, plain;
	char owner[64];
	bdev_event_fn *event;
	void *arg;
	uint64_t told;                  /* number of the last event it was told */
	struct list link;
	struct bdev_channel *channels[CORE_REACTORS_MAX + 1];
};

struct bdev_registry {
	struct core *core;
	struct list bdevs, arrivals, qos_groups;
	struct list throttled[CORE_REACTORS_MAX + 1]; /* each core's, of struct qos_line: those in which somebody waits */
	uint64_t events, saved_stamps;  /* counts of: events, changes of what is saved */
	struct list orders;             /* standing ones: stack.c */
	void (*going)(void *arg, struct bdev *b); /* NULL: nobody listens */
	void *going_arg;
	struct bdev_arrival order_arrival; /* in use while there are some */
	struct resv_parties *parties;   /* whom reservations know */
	struct list resv_listeners;
	struct resv_store *resv_store;  /* NULL: no reservation survives */
};

/* stack.c */
struct bdev_order;
void bdev_orders_free(struct bdev_registry *reg); /* those that wait; others there are not */
void bdev_order_lost(struct bdev_order *o);

/* channel.c */
void bdev_cores_make(struct bdev *b);
void bdev_cores_free(struct bdev *b);
/* Which operations a channel hands to the device without looking further, now. */
void bdev_channel_set_simple(struct bdev_channel *ch);
/* Here and now: switch a reason for the long way on or off, for every channel of the core. */
void bdev_core_long_way(struct bdev_core *core, uint8_t reason, bool on);
/* registry.c: a descriptor or a hold went; destroy the device when it was the last. */
void bdev_try_destroy(struct bdev *b);

/* An I/O waits in a line of the waist, and goes on. Limits that somebody set are no alarm: they have no account. */
static inline void bdev_waited(struct bdev_io *io)
{
	io->waited += (uint32_t)((reactor_now_ns() - io->began_ns) >> 10);
}
static inline void bdev_wait_begins(const char *name) { wait_began(name); }
static inline void bdev_wait_ends(const char *name, struct bdev_io *io)
{
	wait_ended(name, io->began_ns);
	bdev_waited(io);
}

/* submit.c */
uint32_t bdev_usable_ops(const struct bdev *b);
void bdev_admit(struct bdev_channel *ch, struct bdev_io *io);
/* After a wait: the device may have shrunk or gone since it was submitted. */
void bdev_admit_again(struct bdev_channel *ch, struct bdev_io *io);
/* The opposite of admission, for who waits for long: it counts as no change meanwhile. */
void bdev_unadmit(struct bdev_io *io);
void bdev_dispatch(struct bdev_channel *ch, struct bdev_io *io);
void bdev_to_device(struct bdev_channel *ch, struct bdev_io *io);
/* End an I/O that is not in the device's hands. */
void bdev_io_end(struct bdev_io *io, enum bdev_status st);
void bdev_channel_drain(struct defer *d);
/* Start a child: op, range, iovs and done are set; the rest comes from its parent. */
void bdev_child_start(struct bdev_io *child, const struct bdev_io *parent);

/* emu.c: false: the device can take it as it is. */
bool bdev_emulate(struct bdev_channel *ch, struct bdev_io *io);
void bdev_emu_init(struct bdev_core *core);
void bdev_emu_fini(struct bdev_core *core);

/* md.c: of an I/O that has any of BDEV_IO_MD. */
enum bdev_status bdev_md_begin(struct bdev_channel *ch, struct bdev_io *io); /* before its checks */
enum bdev_status bdev_md_check(struct bdev_channel *ch, struct bdev_io *io); /* after them */
enum bdev_status bdev_md_verify_read(const struct bdev_io *io);              /* WAIST_PI; still in its batch */
/* True: not for the device as it is. */
bool bdev_md_emulate(struct bdev_channel *ch, struct bdev_io *io);
/* Of a block in its data iovecs. */
static inline uint32_t bdev_io_block_bytes(const struct bdev_channel *ch, const struct bdev_io *io)
{
	const struct bdev *b = ch->bdev;

	if (likely(!(io->flags & (BDEV_IO_PLAIN | BDEV_IO_EXTENDED))))
		return ch->block_bytes;
	return io->flags & BDEV_IO_PLAIN ? b->block_size : b->block_size + b->md_size;
}

/* meter.c */
void bdev_meter_free(struct bdev *b);
void bdev_depth_enter(struct bdev_core *core, struct bdev_io *io);
void bdev_depth_leave(struct bdev_core *core);
/* Up to now: this core's depth times time, and how long the device had anything to do. */
uint64_t bdev_depth_area_here(struct bdev_core *core);
uint64_t bdev_busy_ns(const struct bdev *b);

/* qos.c. True: the I/O waits. */
bool bdev_qos_holds(struct bdev_channel *ch, struct bdev_io *io);
void bdev_qos_abort(struct bdev_io *io);
void bdev_qos_revoked(struct list *throttled, const struct bdev_lease *l);
/* reservation.c. True: the I/O is not its initiator's to do now. */
bool bdev_resv_stops(const struct bdev_core *core, const struct bdev_io *io);
/* qos_ctl.c */
void bdev_qos_removing(struct bdev *b);
void bdev_qos_free(struct bdev *b);
void bdev_qos_groups_free(struct bdev_registry *reg);

/* stats.c */
void bdev_stats_clear(struct bdev_stats *s);

static inline bool bdev_op_changes(uint8_t op)
{
	return (1u << op) & (BDEV_BIT(WRITE) | BDEV_BIT(UNMAP) | BDEV_BIT(WRITE_ZEROES) | BDEV_BIT(COMPARE_AND_WRITE) |
	                     BDEV_BIT(COPY) | BDEV_BIT(WRITE_UNCORRECTABLE) | BDEV_BIT(PASSTHROUGH));
}

/* lease.c: false: of an older epoch. */
static inline bool bdev_lease_enter(struct bdev_io *io, uint32_t core_index)
{
	uint8_t phase;

	if (bdev_lease_epoch(io->lease) != io->lease_epoch)
		return false;
	phase = io->lease->core[core_index].phase;
	io->lease->core[core_index].in_flight[phase]++;
	io->waist |= phase ? WAIST_LEASED | WAIST_LEASED_1 : WAIST_LEASED;
	return true;
}
void bdev_lease_leave(struct bdev_lease *l, uint32_t core_index, uint8_t phase);

/* locks.c */
void bdev_locks_make(struct bdev *b);
void bdev_locks_free(struct bdev *b);
/* True: a lock covers part of what the I/O changes; it is queued and comes back to bdev_admit(). */
bool bdev_locks_block(struct bdev_core *core, struct bdev_io *io);
/* The last changing I/O of the phase before has ended. */
void bdev_locks_drained(struct bdev_core *core);

#endif
