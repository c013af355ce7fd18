/* SPDX-License-Identifier: BSD-3-Clause */
/* ring.h: virtqueues, split and packed, the device's side and the driver's, over memory that somebody else writes.
 *
 * Pure: memory in, memory out; no descriptors of files, no clocks, no reactor. One thread at a time uses a queue (it
 * belongs to a core); the other side runs whenever it likes. What a guest can write is read once and checked; what is
 * wrong stops the queue with a row of VQ_FAULTS and harms nothing else.
 *
 * A pass of a device:
 *
 *     while (n-- && (rc = vq_dev_pop(q, &req->chain, req->iovs, IOVS_MAX)) > 0)
 *             execute(req);                               ... later, in any order: vq_dev_push(q, &req->chain, written)
 *     vq_dev_publish(q);                                  once a batch: the driver sees what was pushed
 *     if (vq_dev_kick_due(q))                             once a batch, or as often as coalescing lets you
 *             bell_ring(call);
 *
 * and to sleep: `if (vq_dev_arm(q)) go on; else sleep`, then vq_dev_disarm() when awake.
 *
 * Files: mem.c (guest memory, log), dev.c (start, freeze, what both formats share), split.c, packed.c (the formats,
 * device's side), inflight.c (what survives a restart), drv.c, drv_split.c, drv_packed.c (driver's side).
 */
#ifndef VIRTIO_RING_H
#define VIRTIO_RING_H

#include <sys/uio.h>

#include "base/base.h"
#include "base/err.h"
#include "wire/virtio.h"

struct freeze;

/* --- what can be wrong --- */

#define VQ_FAULTS(X) \
	/* setting up: the front-end's doing */ \
	X(SIZE,             "the queue's size is 0, above 32768 or, split, not a power of two")                        \
	X(RING_ALIGN,       "a part of the ring is not aligned as its format demands")                                 \
	X(RING_MEM,         "a part of the ring is not wholly in one region of the guest's memory")                    \
	X(BASE,             "the index to start from is beyond the ring")                                              \
	X(INFLIGHT_SIZE,    "the in-flight region is too short, or for a smaller queue")                               \
	X(INFLIGHT_VERSION, "the in-flight region has a version that is not known")                                    \
	X(INFLIGHT_LIST,    "the in-flight region's lists are broken")                                                 \
	X(LEFT_BEHIND,      "requests were under way where it comes from, and the region that tells which is not here") \
	/* running: the driver's doing */ \
	X(AVAIL_AHEAD,      "more is available than the ring can hold")                                                \
	X(HEAD,             "a head in the available ring is beyond the descriptor table")                             \
	X(ID,               "a buffer id is not below the queue's size")                                               \
	X(TWICE,            "a buffer was made available that the device still has")                                   \
	X(NEXT,             "a descriptor's next is beyond its table")                                                 \
	X(LOOP,             "a chain is longer than its table: it loops")                                              \
	X(ORDER,            "a descriptor for reading comes behind one for writing")                                   \
	X(LEN,              "a chain is longer than 4 GiB")                                                            \
	X(IOVS,             "a chain has more segments than were offered")                                             \
	X(ADDR,             "a descriptor leads outside the guest's memory")                                           \
	X(INDIRECT,         "an indirect table was not negotiated")                                                    \
	X(INDIRECT_LEN,     "an indirect table's length is 0, no multiple of 16 or above the limit")                   \
	X(INDIRECT_ADDR,    "an indirect table leads outside the guest's memory")                                      \
	X(INDIRECT_NESTED,  "an indirect table leads to an indirect table")                                            \
	X(INDIRECT_NEXT,    "a descriptor has an indirect table and a next")                                           \
	/* seen by a driver: the device's doing */ \
	X(USED_AHEAD,       "more was used than was made available")                                                   \
	X(USED_ID,          "a buffer was used that the device did not have")
#define VQ_ENUM_FAULT(name, text) VQ_FAULT_##name,
enum vq_fault { VQ_OK, VQ_FAULTS(VQ_ENUM_FAULT) VQ_FAULT_COUNT };
const char *vq_fault_name(enum vq_fault f);  /* "AVAIL_AHEAD" */
const char *vq_fault_text(enum vq_fault f);  /* the sentence, without a stop */

/* --- guest memory --- */

struct vq_region {
	uint64_t addr;           /* as descriptors say it (guest-physical) */
	uint64_t len;
	uint8_t *host;           /* where it is mapped here */
	uint64_t user;           /* where the front-end has it: ring addresses of SET_VRING_ADDR */
};
/* One version of a guest's memory: immutable, shared by all cores; its maker frees it when no chain points into it. */
struct vq_mem {
	uint32_t count;
	struct vq_region regions[];  /* sorted by addr; none overlap */
};
/* Core: any (control path). Memory: `regions` is copied. Errors: NULL: overlapping, empty or wrapping regions. */
struct vq_mem *vq_mem_make(const struct vq_region *regions, uint32_t count, struct err *e) MUST_USE;
void vq_mem_free(struct vq_mem *mem);
/* [addr, addr + len) when it is wholly in one region, else NULL. `hint`: index of the region hit last; at first 0. */
static inline void *vq_mem_at(const struct vq_mem *mem, uint64_t addr, uint64_t len, uint32_t *hint);
/* The same, found by the front-end's address. */
void *vq_mem_at_user(const struct vq_mem *mem, uint64_t user, uint64_t len);
/* The same for a range that may go on in the next regions: an iovec of each; 0: it is not all there, or empty; -1: it
 * is there, in more than `max` pieces. */
int vq_mem_iovs(const struct vq_mem *mem, uint64_t addr, uint64_t len, struct iovec *iovs, uint32_t max,
                uint32_t *hint);
/* The guest's address of a byte of ours; UINT64_MAX when it is none of this memory's. */
uint64_t vq_mem_addr_of(const struct vq_mem *mem, const void *host);

/* --- the log of a live migration --- */

#define VHOST_LOG_PAGE 4096u      /* bytes of guest memory per bit */
struct vq_log {
	uint8_t *base;           /* shared with the front-end; bits are set atomically, from any core */
	uint64_t size_bytes;     /* what lies beyond is not logged */
};
void vq_log_mark(const struct vq_log *log, uint64_t addr, uint64_t len);

/* --- setting up --- */

struct vq_setup {
	uint64_t features;       /* negotiated: VIRTIO_BIT(VIRTIO_F_RING_PACKED) says which format */
	uint32_t size;           /* descriptors */
	uint32_t indirect_max;   /* longest indirect table, in descriptors; 0: VQ_INDIRECT_DEFAULT */
	void *desc, *driver, *device; /* split: descriptor table, available ring, used ring; see vq_setup_place() */
	const struct vq_mem *mem;     /* device's side */
	uint32_t base;           /* device's side: the word of SET_VRING_BASE; 0 for a new split ring, VQ_BASE_PACKED */
	void *inflight;          /* device's side: this queue's region (vq_inflight_len() apart), or NULL */
	size_t inflight_len;
	const struct vq_log *log;     /* device's side, or NULL */
	/* Driver's side: the device's address of our memory is ours plus this. Tables: memory that the device sees too,
	 * for `size` indirect tables of `table_len` descriptors; NULL: none are used. */
	uint64_t addr_offset;
	void *tables;
	uint32_t table_len;
};
#define VQ_INDIRECT_DEFAULT 4096u
#define VQ_BASE_PACKED 0x80008000u    /* both indices 0, both wrap counters 1 */

enum vq_area { VQ_DESC, VQ_DRIVER, VQ_DEVICE };
uint64_t vq_area_len(enum vq_area area, uint64_t features, uint32_t size); /* EVENT_IDX's words included */
/* Find desc, driver and device in s->mem, by the front-end's addresses (s->size and s->features are set). */
enum vq_fault vq_setup_place(struct vq_setup *s, uint64_t desc, uint64_t driver, uint64_t device) MUST_USE;
/* Bytes of a queue's in-flight region, aligned so that regions can lie one behind the other. */
size_t vq_inflight_len(bool packed, uint32_t size);
/* Make a zeroed region one that nobody used yet (GET_INFLIGHT_FD's answer). vq_dev_init() does the rest. */
void vq_inflight_format(void *region, bool packed, uint32_t size);

/* --- device's side --- */

/* A buffer that the driver made available. Small: requests embed it. */
struct vq_chain {
	struct iovec *iov;       /* the caller's: what the device may read, then what it may write */
	const struct vq_mem *mem;/* the version that iov points into */
	uint32_t out_len, in_len;
	uint16_t out_count, in_count;
	uint16_t id;             /* below the queue's size: no other chain in flight has it */
	bool resubmitted;        /* an earlier process had it already */
};

enum vq_slot_state { VQ_SLOT_FREE, VQ_SLOT_TAKEN, VQ_SLOT_DONE };
struct vq_slot {                 /* per id */
	uint32_t written;
	uint16_t descs;          /* ring entries that it occupies */
	uint16_t entry, last;    /* packed: its first and last descriptor's entries in the in-flight region */
	uint8_t state;
};

struct vq_dev {                  /* all of it is private to src/virtio, but for the fault */
	struct virtq_desc *desc;
	void *driver, *device;
	const struct vq_mem *mem;
	struct vq_slot *slots;
	uint32_t mem_hint, table_hint, size, indirect_max;
	bool packed, event_idx, indirect, in_order;
	uint16_t avail_next;     /* what is popped next; split: free running, packed: a position */
	uint16_t avail_seen;     /* split: the available index as last read */
	uint16_t used_next;      /* what is pushed next */
	uint16_t used_told;      /* used_next as published */
	uint16_t used_flags;     /* packed: flags of the first unpublished, kept back until publish */
	bool avail_wrap, used_wrap, told_wrap;
	bool used_pending;       /* something was pushed and not published */
	bool asked;              /* kick_due answered before: told_since counts from there */
	uint32_t told_since;     /* ring entries published since kick_due last answered */
	uint32_t in_flight;      /* chains popped and not pushed */
	uint32_t descs_held;     /* packed: ring entries popped and not published */
	uint32_t descs_pushed;   /* packed: of these, pushed */
	const struct vq_log *log;
	/* In order: who was popped when; what is done waits for its elders. */
	uint16_t *order;
	uint32_t order_head, order_count;
	/* What survives a restart. */
	void *inflight;
	uint32_t inflight_count; /* packed: entries of the region, at least `size` */
	uint64_t counter;
	uint16_t *batch;         /* ids that were pushed and not published */
	uint32_t batch_count;
	uint16_t *resubmit;      /* what an earlier process had; popped first, oldest first */
	uint32_t resubmit_count, resubmit_next;
	uint32_t resubmit_descs; /* packed: ring entries of those that are not popped yet, as they were counted */
	bool base_moved;         /* the base did not fit the used ring, which was believed */
	bool base_ahead;         /* ... as far as what can have been under way */
	/* For all to read. */
	enum vq_fault fault;     /* why pop returns -1 */
	uint64_t fault_value;    /* the value that was wrong */
	uint32_t fault_at;       /* the id or ring position where */
};

/* Start a queue where setup says, or where the in-flight region says (what it holds is popped first, oldest first).
 *
 * Core:   any; from then on one at a time.
 * Memory: `s` is copied; what it points to stays. Allocates; vq_dev_fini() gives back.
 * Then:   VQ_OK: pop, push.
 * Errors: the fault; nothing to undo. */
enum vq_fault vq_dev_init(struct vq_dev *q, const struct vq_setup *s) MUST_USE;
void vq_dev_fini(struct vq_dev *q);

/* Take the next chain. Memory: iovs are the caller's, and stay as filled until the chain is pushed (the log goes by
 * them). Then: 1: a chain; 0: none; -1: q->fault, and nothing was taken: the queue stays stopped, what is in flight may
 * be pushed. */
static inline int vq_dev_pop(struct vq_dev *q, struct vq_chain *c, struct iovec *iovs, uint32_t max);
/* Is there anything to pop? One read. Never in a stopped queue. */
static inline bool vq_dev_pending(const struct vq_dev *q);
/* How many more there are, for who takes part of them: as seen already; of a packed queue, which shows them one by one,
 * 127, 63, 31, 1 or 0, and no more than that: a guess when chains differ in length. */
static inline uint32_t vq_dev_known(const struct vq_dev *q);
/* Give a chain back: `written` bytes of its writable part. In any order; in-order queues keep it back until its
 * elders are done. The driver sees it with the next publish. */
static inline void vq_dev_push(struct vq_dev *q, const struct vq_chain *c, uint32_t written);
/* Not to be given back: with an in-flight region who starts the queue next has it again, without one it is lost. */
static inline void vq_dev_leave(struct vq_dev *q)
{
	assert(q->in_flight > 0);
	q->in_flight--;
}
/* Show the driver what was pushed; cheap when that is nothing. */
static inline void vq_dev_publish(struct vq_dev *q);
/* Does the driver want to hear of what was published since this was last asked? A "no" is for good, a "yes" that is not
 * acted on at once (coalescing) must be acted on later. */
bool vq_dev_kick_due(struct vq_dev *q);
/* Ask to be kicked for the next chain, and look again. True: there is one already, do not sleep. */
bool vq_dev_arm(struct vq_dev *q) MUST_USE;
/* No kicks wanted while we look. */
void vq_dev_disarm(struct vq_dev *q);

/* The ring or the guest's memory lies elsewhere now (s->mem, desc, driver, device; the rest must be as it was).
 * Chains in flight keep the version that they were popped with, but for those of vq_chain_remap(). */
void vq_dev_remap(struct vq_dev *q, const struct vq_setup *s);
/* All that the chain points into is mapped in `mem` as it is in its own version (which still is): that is its version
 * from now on. Else false, and it keeps its own. iov may be cut shorter meanwhile. */
bool vq_chain_remap(struct vq_chain *c, const struct vq_mem *mem) MUST_USE;
void vq_dev_set_log(struct vq_dev *q, const struct vq_log *log);
/* What an earlier process had and nobody popped yet. A queue that stops for good (migration) pops and ends it first. */
static inline uint32_t vq_dev_resubmits_left(const struct vq_dev *q) { return q->resubmit_count - q->resubmit_next; }
/* The word of GET_VRING_BASE; nothing is in flight, all is published. Chains that were left, if they are all from one
 * place of the ring on, are behind it: who starts there without the in-flight region (a machine that moved) has them,
 * too; who has the region goes by that. `ret_apart` (or NULL): some are not, and it is ahead of the used ring: without
 * the region that is refused (LEFT_BEHIND), because others would be taken for them. */
uint32_t vq_dev_base(const struct vq_dev *q, bool *ret_apart);
/* Indices, wrap counters and the ids in flight. Everything pushed is published first. Thawing: into a queue on which
 * vq_dev_init() was called with the same setup but `inflight` NULL, which comes by vq_dev_thaw_inflight(). */
void vq_dev_freeze(struct freeze *f, struct vq_dev *q);
/* After a thaw: the in-flight region that goes with it. */
void vq_dev_thaw_inflight(struct vq_dev *q, void *inflight);

/* --- driver's side --- */

struct vq_drv_slot {
	void *token;
	uint32_t in_len;         /* writable bytes: what a batch in order leaves to guess */
	uint16_t descs;          /* ring entries */
	uint16_t last;           /* split: last descriptor of the chain */
	uint16_t next;           /* split: of this descriptor, in its chain or the free list; packed: the next free id */
	bool taken;
};

struct vq_drv {
	struct virtq_desc *desc;
	void *driver, *device, *tables;
	struct vq_drv_slot *slots;
	uint64_t addr_offset;
	uint32_t size, table_len;
	bool packed, event_idx, in_order;
	uint16_t free_head;      /* split: descriptors; packed: ids */
	uint16_t free_tail;      /* in order they come back at the end, and so go out as they lie */
	uint16_t avail_next, avail_told, avail_flags, used_next;
	bool avail_wrap, used_wrap, told_wrap, avail_pending;
	uint32_t told_since;     /* as the device's; a fresh ring's words are zeros, which ask */
	uint32_t descs_added;    /* not yet published; split: entries of the available ring */
	uint32_t descs_free;
	uint32_t in_flight;
	uint16_t *order;         /* in order: ids as added */
	uint32_t order_head, order_count;
	uint32_t order_batch;    /* used, and not yet got */
	uint32_t order_written;  /* of the last of them */
	enum vq_fault fault;
	uint64_t fault_value;
};

/* Start a queue in ring memory that is ours to zero (s->desc, driver, device). Errors: SIZE, RING_ALIGN. */
enum vq_fault vq_drv_init(struct vq_drv *q, const struct vq_setup *s) MUST_USE;
void vq_drv_fini(struct vq_drv *q);
/* Make a buffer available: out_count iovecs that the device reads, then in_count that it writes. False: no room; get
 * first. The device sees it with the next publish. */
bool vq_drv_add(struct vq_drv *q, const struct iovec *iov, uint32_t out_count, uint32_t in_count, void *token) MUST_USE;
void vq_drv_publish(struct vq_drv *q);
bool vq_drv_kick_due(struct vq_drv *q);
/* 1: a buffer was used: its token and the bytes written; 0: none; -1: q->fault, the device cannot be believed. */
int vq_drv_get(struct vq_drv *q, void **ret_token, uint32_t *ret_written);
bool vq_drv_pending(const struct vq_drv *q);
bool vq_drv_arm(struct vq_drv *q) MUST_USE;
void vq_drv_disarm(struct vq_drv *q);
/* SET_VRING_BASE's word for a device that goes on with this ring; what is in flight it must know from its in-flight
 * region, else the ring has to be set up anew. */
uint32_t vq_drv_base(const struct vq_drv *q);

/* --- inline: one branch on the format --- */

void *vq_mem_find(const struct vq_mem *mem, uint64_t addr, uint64_t len, uint32_t *hint);
int vq_split_pop(struct vq_dev *q, struct vq_chain *c, struct iovec *iovs, uint32_t max);
uint32_t vq_packed_known(const struct vq_dev *q);
int vq_packed_pop(struct vq_dev *q, struct vq_chain *c, struct iovec *iovs, uint32_t max);
void vq_split_push(struct vq_dev *q, const struct vq_chain *c, uint32_t written);
void vq_packed_push(struct vq_dev *q, const struct vq_chain *c, uint32_t written);
void vq_split_publish(struct vq_dev *q);
void vq_packed_publish(struct vq_dev *q);

static inline void *vq_mem_at(const struct vq_mem *mem, uint64_t addr, uint64_t len, uint32_t *hint)
{
	const struct vq_region *r = &mem->regions[*hint];
	uint64_t at = addr - r->addr; /* wraps when below */

	if (likely(at < r->len && len <= r->len - at))
		return r->host + at;
	return vq_mem_find(mem, addr, len, hint);
}

static inline int vq_dev_pop(struct vq_dev *q, struct vq_chain *c, struct iovec *iovs, uint32_t max)
{
	return q->packed ? vq_packed_pop(q, c, iovs, max) : vq_split_pop(q, c, iovs, max);
}

static inline uint32_t vq_dev_known(const struct vq_dev *q)
{
	return q->packed ? vq_packed_known(q) : (uint16_t)(q->avail_seen - q->avail_next);
}

static inline void vq_dev_push(struct vq_dev *q, const struct vq_chain *c, uint32_t written)
{
	if (q->packed)
		vq_packed_push(q, c, written);
	else
		vq_split_push(q, c, written);
}

static inline void vq_dev_publish(struct vq_dev *q)
{
	if (!q->used_pending)
		return;
	if (q->packed)
		vq_packed_publish(q);
	else
		vq_split_publish(q);
}

/* Atomic, and in order with what it announces; the ring's places were checked for alignment. */
static inline bool vq_dev_pending(const struct vq_dev *q)
{
	uint16_t flags;

	if (unlikely(q->fault != VQ_OK || q->resubmit_next < q->resubmit_count))
		return q->fault == VQ_OK;
	if (!q->packed)
		return q->avail_next != q->avail_seen ||
		       __atomic_load_n((uint16_t *)((uint8_t *)q->driver + offsetof(struct virtq_avail, idx)),
		                       __ATOMIC_ACQUIRE) != q->avail_next;
	flags = __atomic_load_n((uint16_t *)((uint8_t *)(q->desc + q->avail_next) + offsetof(struct pvirtq_desc, flags)),
	                        __ATOMIC_ACQUIRE);
	return !(flags & VIRTQ_DESC_F_AVAIL) != q->avail_wrap && !(flags & VIRTQ_DESC_F_USED) == q->avail_wrap;
}

#endif
