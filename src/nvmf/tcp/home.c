/* SPDX-License-Identifier: BSD-3-Clause */
/* home.c: what a core has for all of its connections together. Made with its first connection. */
#include "nvmf/tcp/tcp.h"

static struct tcp_rx *rx_make(struct tcp_home *h);
static uint64_t iov_array_bytes(const struct tcp_home *h);
static bool iovs_are_free(struct waitq *q, uint32_t need);
static bool watch_requests(struct watch *w, uint64_t now_ns, uint64_t limit_ns);
static void watch_one(struct watch *w, struct tcp_conn *c, struct tcp_req *r, uint64_t age_ns);

void tcp_home_begin(struct tcp_home *h)
{
	if (h->begun)
		return;
	h->begun = true;
	h->rx = rx_make(h);
	h->batch = malloc(sizeof(*h->batch));
	must(h->batch);
	list_init(&h->conns);
	waitq_init(&h->iov_wait, "iovecs for lent reads", iovs_are_free);
	watch_start(&h->watch, "NVMe/TCP", watch_requests);
}

void tcp_home_end(struct tcp_home *h)
{
	if (!h->begun)
		return;
	assert(list_empty(&h->conns) && !h->rx->pins);
	watch_stop(&h->watch);
	free(h->batch);
	free(h->rx);
	while (h->rx_spare) {
		struct tcp_rx *rx = h->rx_spare;

		h->rx_spare = rx->next;
		free(rx);
	}
	while (h->iov_free) {
		void *iovs = h->iov_free;

		h->iov_free = *(void **)iovs;
		free(iovs);
	}
	if (h->iov_made > TCP_IOV_ARRAYS)
		mem_uncharge(h->tr->core, (h->iov_made - TCP_IOV_ARRAYS) * iov_array_bytes(h));
	h->begun = false;
}

/* --- receive buffers --- */

static struct tcp_rx *rx_make(struct tcp_home *h)
{
	struct tcp_rx *rx = malloc(sizeof(*rx)); /* its pages come when they are used */

	must(rx);
	rx->next = NULL;
	rx->pins = 0;
	rx->retired = false;
	h->rx_made++;
	return rx;
}

void tcp_rx_visited(struct tcp_home *h)
{
	struct tcp_rx *rx = h->rx;

	if (likely(!rx->pins))
		return;
	rx->retired = true;
	tcp_count(h, rx_pinned, 1);
	h->rx = h->rx_spare;
	if (h->rx) {
		h->rx_spare = h->rx->next;
		h->rx->retired = false;
	} else {
		must(h->rx_made < TCP_RX_BUFFERS_MAX);
		h->rx = rx_make(h);
	}
}

void tcp_rx_unpin(struct tcp_home *h, struct tcp_rx *rx)
{
	assert(rx->pins);
	if (--rx->pins || !rx->retired)
		return;
	rx->next = h->rx_spare;
	h->rx_spare = rx;
}

/* --- arrays of iovecs for what a device lends --- */

static uint64_t iov_array_bytes(const struct tcp_home *h)
{
	return h->tr->iovs_per_array * sizeof(struct iovec);
}

struct iovec *tcp_iovs_take(struct tcp_home *h)
{
	void *iovs = h->iov_free;

	if (!list_empty(&h->iov_wait.waiters) && !h->iov_wait.granting)
		return NULL;
	if (iovs) {
		h->iov_free = *(void **)iovs;
		return iovs;
	}
	/* A host that does not read its answers keeps them: as long as the budget has room, that is not felt by others. */
	if (h->iov_made >= TCP_IOV_ARRAYS && !mem_charge(h->tr->core, iov_array_bytes(h)))
		return NULL;
	iovs = malloc(iov_array_bytes(h));
	must(iovs);
	h->iov_made++;
	return iovs;
}

void tcp_iovs_give(struct tcp_home *h, struct iovec *iovs)
{
	*(void **)iovs = h->iov_free;
	h->iov_free = iovs;
	if (unlikely(!list_empty(&h->iov_wait.waiters)))
		waitq_wake(&h->iov_wait);
}

static bool iovs_are_free(struct waitq *q, uint32_t need)
{
	struct tcp_home *h = container_of(q, struct tcp_home, iov_wait);

	return h->iov_free || h->iov_made < TCP_IOV_ARRAYS;
}

/* --- requests that stand still --- */

/* What is in the target's hands the target watches. */
static bool watch_requests(struct watch *w, uint64_t now_ns, uint64_t limit_ns)
{
	struct tcp_home *h = container_of(w, struct tcp_home, watch);
	bool any = false;

	list_each(l, &h->conns) {
		struct tcp_conn *c = list_entry(l, struct tcp_conn, link);

		for (uint32_t i = 0; c->in_use > c->executing && i < c->touched; i++) {
			struct tcp_req *r = conn_req(c, i);

			if (r->state == REQ_FREE || r->state == REQ_EXECUTE)
				continue;
			any = true;
			if (now_ns > r->since_ns && now_ns - r->since_ns > limit_ns)
				watch_one(w, c, r, now_ns - r->since_ns);
		}
	}
	return any;
}

static void watch_one(struct watch *w, struct tcp_conn *c, struct tcp_req *r, uint64_t age_ns)
{
	struct net_addr peer = { .len = 0 };
	char text[NET_ADDR_TEXT_MAX];

	if (c->sock)
		sock_peer_addr(c->sock, &peer);
	watch_report(w, age_ns, "%s queue %u command %u opcode %02xh: %s (%u of %u bytes came%s)",
	             net_addr_text(&peer, text), c->qp.qid, le16_get(r->req.cmd.cid), r->req.cmd.opc,
	             tcp_req_states[r->state].meaning, r->received, r->req.data_len,
	             c->blocked ? "; the host does not read" : "");
}
