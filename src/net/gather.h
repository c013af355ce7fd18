/* SPDX-License-Identifier: BSD-3-Clause */
/* gather.h: what a core has for all of its byte-stream connections together: receive buffers, what goes out in one
 * send, and arrays of iovecs for memory that is lent.
 *
 * A busy core's pass gathers: one receive for each readable connection into one buffer, which is parsed to its end at
 * once; one send for each connection at the end of the pass or of its visit, from where the data lies, with headers
 * that are written when they are sent. Each protocol on a core has its own; nothing here is shared between cores.
 */
#ifndef NET_GATHER_H
#define NET_GATHER_H

#include "core/mem.h"
#include "net/net.h"

#define GATHER_RX_BYTES (256u * 1024)       /* one receive; 64 KiB cost 31 % of NVMe/TCP's writes */
#define GATHER_RX_BUFFERS_MAX 4u            /* of a core: one in use, others kept by devices that did not consume */
#define GATHER_HEADER_BYTES 65536u          /* of one send */
#define GATHER_BYTES_MAX (1u << 20)         /* a send is not filled beyond it */
#define GATHER_IOV_ARRAYS 256u              /* more of them are charged to the budget */

/* So many commands of one visit are done and answered before the next connection's: their host has the whole round to
 * send new ones. 1.1 to 1.2 x with 8 connections of 8 each. Fewer are cheaper together with those of others. */
#define GATHER_ANSWERED_EARLY 4u

/* --- receive buffers --- */

struct gather_rx {
	struct gather_rx *next;       /* among the spare ones */
	uint32_t pins;                /* requests whose data lies here */
	bool retired;                 /* no longer what is received into */
	uint8_t bytes[GATHER_RX_BYTES];
};
struct gather_rxs {
	struct gather_rx *now;        /* what is received into */
	struct gather_rx *spare;
	uint32_t made;
};

void gather_rxs_begin(struct gather_rxs *g);
void gather_rxs_end(struct gather_rxs *g);
/* May the receive buffer be kept by a device that does not consume after all? */
static inline bool gather_may_pin(const struct gather_rxs *g)
{
	return g->spare || g->made < GATHER_RX_BUFFERS_MAX;
}
/* A request's data lies in the present buffer and is needed for longer. */
static inline struct gather_rx *gather_pin(struct gather_rxs *g)
{
	g->now->pins++;
	return g->now;
}
void gather_unpin(struct gather_rxs *g, struct gather_rx *rx);
void gather_change(struct gather_rxs *g);
/* A visit is over: another buffer if this one is pinned, and true then. */
static inline bool gather_visited(struct gather_rxs *g)
{
	if (likely(!g->now->pins))
		return false;
	gather_change(g);
	return true;
}

/* --- one send --- */

struct gather_batch {
	struct iovec iovs[SOCK_IOV_MAX];
	uint8_t bytes[GATHER_HEADER_BYTES];
	uint32_t count, used;
	size_t total;
};

static inline void gather_begin(struct gather_batch *b)
{
	b->count = b->used = 0;
	b->total = 0;
}
static inline bool gather_fits(const struct gather_batch *b, uint32_t bytes, uint32_t iovs)
{
	return b->used + bytes <= sizeof(b->bytes) && b->count + iovs <= ARRAY_SIZE(b->iovs);
}
/* Where the next headers are to be written ... */
static inline uint8_t *gather_at(struct gather_batch *b) { return b->bytes + b->used; }
/* ... and were, so many bytes of them. */
static inline void gather_wrote(struct gather_batch *b, uint32_t len)
{
	uint8_t *at = gather_at(b);
	struct iovec *last = b->count ? &b->iovs[b->count - 1] : NULL;

	b->used += len;
	b->total += len;
	if (last && (uint8_t *)last->iov_base + last->iov_len == at)
		last->iov_len += len;
	else
		b->iovs[b->count++] = (struct iovec){ at, len };
}
/* `len` bytes that lie elsewhere until they were sent. */
static inline void gather_data(struct gather_batch *b, const void *data, size_t len)
{
	b->iovs[b->count++] = (struct iovec){ (void *)(uintptr_t)data, len };
	b->total += len;
}
/* The first `len` bytes, fewer than all, are gone already. */
void gather_trim(struct gather_batch *b, size_t len);

/* --- arrays of iovecs, to describe what a device lends --- */

struct gather_iovs {
	struct core *core;
	uint32_t per_array;
	void *free;                   /* linked by their first word */
	uint32_t made;
	struct waitq wait;            /* for one of them */
};
void gather_iovs_begin(struct gather_iovs *g, struct core *core, uint32_t per_array);
void gather_iovs_end(struct gather_iovs *g);
struct iovec *gather_iovs_take(struct gather_iovs *g); /* NULL: wait in `wait` */
void gather_iovs_give(struct gather_iovs *g, struct iovec *iovs);

#endif
