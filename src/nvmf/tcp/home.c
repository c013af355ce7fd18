/* SPDX-License-Identifier: BSD-3-Clause */
/* home.c: what a core has for all of its connections together. Made with its first connection. */
#include "nvmf/tcp/tcp.h"

static bool watch_requests(struct watch *w, uint64_t now_ns, uint64_t limit_ns);
static void watch_one(struct watch *w, struct tcp_conn *c, struct tcp_req *r, uint64_t age_ns);

void tcp_home_begin(struct tcp_home *h)
{
	if (h->begun)
		return;
	h->begun = true;
	gather_rxs_begin(&h->rxs);
	gather_iovs_begin(&h->iovs, h->tr->core, h->tr->iovs_per_array);
	h->batch = malloc(sizeof(*h->batch));
	must(h->batch);
	list_init(&h->conns);
	watch_start(&h->watch, "NVMe/TCP", watch_requests);
}

void tcp_home_end(struct tcp_home *h)
{
	if (!h->begun)
		return;
	assert(list_empty(&h->conns));
	watch_stop(&h->watch);
	free(h->batch);
	gather_rxs_end(&h->rxs);
	gather_iovs_end(&h->iovs);
	h->begun = false;
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
