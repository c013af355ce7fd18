/* SPDX-License-Identifier: BSD-3-Clause */
/* mem.h: the one memory budget: buffers for data in flight, and waits with wakers.
 *
 * Every reactor has pools of fixed-size buffers cut from arenas that are mapped at start and touched on
 * demand. A request takes all the buffers it needs or none (mem_take), and who found none waits in line
 * (mem_wait) and is called, in order of arrival, when enough came back. One I/O of maximum size per
 * reactor is always reserved for the head of the line, so that the line always moves.
 *
 * Arenas tell registered listeners about their regions (RDMA MR, VFIO DMA, io_uring fixed buffers).
 */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include <sys/uio.h>

#include "core/core.h"

#define MEM_IO_BYTES_MAX (2u << 20)  /* largest I/O that buffers are reserved for */
#define MEM_SMALL_BYTES 4096u        /* buffers come in two sizes */
#define MEM_LARGE_BYTES 65536u
#define MEM_IOV_MAX 40u              /* most iovecs of one mem_take() */
#define MEM_IOV_NEAR 3u              /* as many lie in struct mem_bufs itself */
#define MEM_ZEROES_BYTES 131072u     /* of mem_zeroes() */

struct mem_region {
	void *base;
	size_t len;
	uint32_t id;         /* set when it is added; never used again for another one */
	bool of_buffers;     /* mem_take()'s come from it, or it is mem_zeroes(): there as long as the core is */
	bool shared;         /* with another process, which may exchange its pages (a balloon does): who pins them would go
	                      * on using the old ones */
	struct list link;
};

/* Waits with a name: whoever gives the resource back wakes. */
struct waitq;
struct wait;
typedef void wait_fn(struct wait *w);
struct wait {
	struct list link;
	wait_fn *fn;
	uint64_t since_ns;
	uint32_t need; /* units of the resource; read by the giver */
};
struct waitq {
	const char *name;           /* static text, shown by status and by the watchdog */
	struct list waiters;
	struct defer wake;
	bool (*ready)(struct waitq *q, uint32_t need); /* may the head go on? */
	bool granting;              /* a waiter's function runs: it may take ahead of those still waiting */
	uint64_t waits, wakes, depth, depth_max;
};
void waitq_init(struct waitq *q, const char *name, bool (*ready)(struct waitq *q, uint32_t need));
void waitq_add(struct waitq *q, struct wait *w, uint32_t need, wait_fn *fn);
/* Take a waiter out: its connection is going. */
void waitq_remove(struct waitq *q, struct wait *w);
/* The resource came back: call waiters from the head while ready() says so, later in this pass. */
void waitq_wake(struct waitq *q);

/* Buffers of one request: one cache line that describes up to MEM_IO_BYTES_MAX. May be moved while held. */
struct mem_bufs {
	union {
		struct iovec near[MEM_IOV_NEAR];
		struct iovec *far;       /* more than MEM_IOV_NEAR: in a small buffer of their own */
	};
	struct reactor *owner;           /* where they go back to */
	uint32_t count;                  /* iovecs; 0: holds nothing */
	uint32_t len;                    /* bytes asked for: what the iovecs' lengths add up to */
};
_Static_assert(sizeof(struct mem_bufs) == 64, "a request embeds it");
/* The iovecs. Read only: mem_give() goes by them. */
static inline struct iovec *mem_iov(struct mem_bufs *b)
{
	return b->count <= MEM_IOV_NEAR ? b->near : b->far;
}
static inline bool mem_held(const struct mem_bufs *b) { return b->count != 0; }

/* Take buffers for `len` bytes (1 to MEM_IO_BYTES_MAX) from the calling reactor's pools: all or none. Who has
 * not waited gets none while others wait.
 *
 * Core:   any reactor. Memory: `b` yours, holding nothing; contents of the buffers are undefined.
 * Then:   true: give them back with mem_give(). Errors: false: mem_wait(), then take again. */
bool mem_take(struct mem_bufs *b, uint32_t len) MUST_USE;
/* Wait in line for `len` bytes; `fn` is called in a later phase or pass, when mem_take() for as many bytes
 * will succeed if it is the first thing that `fn` takes. */
void mem_wait(struct wait *w, uint32_t len, wait_fn *fn);
void mem_wait_cancel(struct wait *w);
/* Give back, from any reactor of the core; `b` holds nothing when it returns and may be reused or freed. From
 * another reactor than b->owner the buffers go home by a message that lies in the first of them. */
void mem_give(struct mem_bufs *b);
/* The region in which the calling reactor's buffers lie. */
const struct mem_region *mem_region_self(void);
/* Zeroes that nobody can write to, for who has nothing else to lend; hooks hear of them as of buffers. Any core. */
const struct mem_region *mem_zeroes(const struct core *core);

/* in_use counts buffers taken; charged what mem_charge() counts; a reactor's shares are cut from the budget. */
struct mem_stats {
	uint64_t budget_bytes, buffers_bytes, charge_bytes_max; /* the budget, and how it is divided */
	uint64_t charged_bytes, in_use_bytes, in_use_bytes_max, waits, waiting;
	uint64_t waits_small, waits_large; /* waits: for a small buffer at most; for more */
};
void mem_get_stats(struct core *core, struct mem_stats *ret_stats);

/* Charge long-lived memory (command slots, receive buffers) to the budget. False: it would not fit. */
bool mem_charge(struct core *core, uint64_t bytes);
void mem_uncharge(struct core *core, uint64_t bytes);

/* Tests and the simulator: fail every n-th mem_take(); 0 switches off. */
void mem_starve(struct core *core, uint32_t every_nth);

/* Hooks for those who must register memory with a device. Called on the control reactor, for all regions
 * that exist and all to come. */
struct mem_hook {
	struct list link;
	void (*added)(struct mem_hook *h, const struct mem_region *r);
	void (*removed)(struct mem_hook *h, const struct mem_region *r);
};
void mem_hook_add(struct core *core, struct mem_hook *h);
void mem_hook_remove(struct core *core, struct mem_hook *h);
/* One more region that hooks shall hear of (a guest's memory, say); `r` stays the caller's until it is removed. Control
 * reactor. */
void mem_region_add(struct core *core, struct mem_region *r);
void mem_region_remove(struct core *core, struct mem_region *r);

#endif
