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

#define MEM_IO_BYTES_MAX (1u << 20)  /* largest I/O that buffers are reserved for */
#define MEM_SMALL_BYTES 4096u        /* buffers come in two sizes */
#define MEM_LARGE_BYTES 65536u
#define MEM_IOV_MAX (MEM_IO_BYTES_MAX / MEM_LARGE_BYTES + MEM_LARGE_BYTES / MEM_SMALL_BYTES)

struct mem_region {
	void *base;
	size_t len;
	uint32_t id;
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
	uint64_t waits, wakes, depth, depth_max;
};
void waitq_init(struct waitq *q, const char *name, bool (*ready)(struct waitq *q, uint32_t need));
void waitq_add(struct waitq *q, struct wait *w, uint32_t need, wait_fn *fn);
/* Take a waiter out: its connection is going. */
void waitq_remove(struct waitq *q, struct wait *w);
/* The resource came back: call waiters from the head while ready() says so, later in this pass. */
void waitq_wake(struct waitq *q);

/* Buffers of one request. Filled by mem_take(); never copied while held. */
struct mem_bufs {
	struct iovec iov[MEM_IOV_MAX];
	uint16_t count;
	struct reactor *owner;   /* where they go back to */
	struct msg msg;          /* carries them home when given back elsewhere */
};

/* Take buffers for `len` bytes (1 to MEM_IO_BYTES_MAX) from the calling reactor's pools: all or none. A
 * request must not take while others wait: false then, too. */
bool mem_take(struct mem_bufs *b, uint32_t len);
/* Wait in line for `len` bytes; `fn` is called when mem_take() will succeed for it. */
void mem_wait(struct wait *w, uint32_t len, wait_fn *fn);
void mem_wait_cancel(struct wait *w);
/* Give back, from any reactor of the core. `b` must stay until mem_give() has returned on its owner;
 * on another reactor it is carried home by b->msg, so that `b` must live until b->count is 0 there. */
void mem_give(struct mem_bufs *b);

struct mem_stats {
	uint64_t budget_bytes, reserved_bytes, in_use_bytes, in_use_bytes_max, waits;
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

#endif
