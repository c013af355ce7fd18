/* SPDX-License-Identifier: BSD-3-Clause */
/* gather.c: receive buffers and arrays of iovecs of a core: made when needed, kept for reuse. */
#include "net/gather.h"

static struct gather_rx *rx_make(struct gather_rxs *g);
static bool iovs_are_free(struct waitq *q, uint32_t need);

/* --- receive buffers --- */

void gather_rxs_begin(struct gather_rxs *g)
{
	*g = (struct gather_rxs){ 0 };
	g->now = rx_make(g);
}

void gather_rxs_end(struct gather_rxs *g)
{
	assert(!g->now->pins);
	free(g->now);
	while (g->spare) {
		struct gather_rx *rx = g->spare;

		g->spare = rx->next;
		free(rx);
	}
}

static struct gather_rx *rx_make(struct gather_rxs *g)
{
	struct gather_rx *rx = malloc(sizeof(*rx)); /* its pages come when they are used */

	must(rx);
	rx->next = NULL;
	rx->pins = 0;
	rx->retired = false;
	g->made++;
	return rx;
}

void gather_change(struct gather_rxs *g)
{
	g->now->retired = true;
	g->now = g->spare;
	if (g->now) {
		g->spare = g->now->next;
		g->now->retired = false;
		return;
	}
	must(g->made < GATHER_RX_BUFFERS_MAX);
	g->now = rx_make(g);
}

void gather_unpin(struct gather_rxs *g, struct gather_rx *rx)
{
	assert(rx->pins);
	if (--rx->pins || !rx->retired)
		return;
	rx->next = g->spare;
	g->spare = rx;
}

/* --- one send --- */

void gather_trim(struct gather_batch *b, size_t len)
{
	uint32_t whole = 0;

	assert(len < b->total);
	b->total -= len;
	for (; len >= b->iovs[whole].iov_len; whole++)
		len -= b->iovs[whole].iov_len;
	b->count -= whole;
	memmove(b->iovs, b->iovs + whole, b->count * sizeof(b->iovs[0]));
	b->iovs[0].iov_base = (uint8_t *)b->iovs[0].iov_base + len;
	b->iovs[0].iov_len -= len;
}

/* --- arrays of iovecs --- */

static uint64_t array_bytes(const struct gather_iovs *g)
{
	return g->per_array * sizeof(struct iovec);
}

void gather_iovs_begin(struct gather_iovs *g, struct core *core, uint32_t per_array)
{
	*g = (struct gather_iovs){ .core = core, .per_array = per_array };
	waitq_init(&g->wait, "iovecs for lent reads", iovs_are_free);
}

void gather_iovs_end(struct gather_iovs *g)
{
	while (g->free) {
		void *iovs = g->free;

		g->free = *(void **)iovs;
		free(iovs);
	}
	if (g->made > GATHER_IOV_ARRAYS)
		mem_uncharge(g->core, (g->made - GATHER_IOV_ARRAYS) * array_bytes(g));
}

struct iovec *gather_iovs_take(struct gather_iovs *g)
{
	void *iovs = g->free;

	if (!list_empty(&g->wait.waiters) && !g->wait.granting)
		return NULL;
	if (iovs) {
		g->free = *(void **)iovs;
		return iovs;
	}
	/* A host that does not read its answers keeps them: as long as the budget has room, that is not felt by others. */
	if (g->made >= GATHER_IOV_ARRAYS && !mem_charge(g->core, array_bytes(g)))
		return NULL;
	iovs = malloc(array_bytes(g));
	must(iovs);
	g->made++;
	return iovs;
}

void gather_iovs_give(struct gather_iovs *g, struct iovec *iovs)
{
	*(void **)iovs = g->free;
	g->free = iovs;
	if (unlikely(!list_empty(&g->wait.waiters)))
		waitq_wake(&g->wait);
}

static bool iovs_are_free(struct waitq *q, uint32_t need)
{
	struct gather_iovs *g = container_of(q, struct gather_iovs, wait);

	return g->free || g->made < GATHER_IOV_ARRAYS;
}
