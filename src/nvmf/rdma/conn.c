/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.c: a connection's life on its core: it arrives, gets commands, ends.
 *
 * Two must let go before it is freed: the adapter, when control has freed the verbs connection, and the target, which
 * may still have requests in its hands.
 */
#include <errno.h>

#include "core/waits.h"
#include "nvmf/rdma/rdma.h"

static void set_state(struct rdma_conn *c, enum conn_state state);
static void begin(struct rdma_conn *c, struct rdma_req *r, struct rdma_capsule *cap);
static void wait_for_slot(struct rdma_conn *c, struct rdma_capsule *cap);
static void drop_early(struct rdma_conn *c);
static void timer_due(struct timer *t);
static void end_if_all_is_sent(struct rdma_conn *c);
static void maybe_gone(struct rdma_conn *c);
static void gone_run(struct defer *d);

const struct machine_state rdma_conn_states[] = { CONN_STATES(MACHINE_ROW) };

static void set_state(struct rdma_conn *c, enum conn_state state)
{
	must(rdma_conn_states[c->state].next & 1ull << state);
	trace(RDMA_STATE, c->qp.qid, state);
	c->state = (uint8_t)state;
}

/* --- beginning --- */

/* Lines know their connection: after all that is constant is set. */
void rdma_conn_init(struct rdma_conn *c)
{
	queue_init(&c->out);
	queue_init(&c->posted);
	queue_init(&c->early);
	queue_init(&c->own.again);
	list_init(&c->link);
	c->asked.max = RDMA_ASKED_BYTES_MAX;
	waitq_init(&c->asked.line, RDMA_WAIT_TURN, rdma_lot_ready);
	waitq_init(&c->shown.line, RDMA_WAIT_SHARE, rdma_lot_ready);
	waitq_init(&c->readers, RDMA_WAIT_READS, rdma_readers_ready);
	waitq_init(&c->senders, RDMA_WAIT_SEND, rdma_senders_ready);
	c->credits = c->send_max;
	c->reads_free = c->read_depth;
}

void rdma_conn_arrive(struct msg *m)
{
	struct rdma_conn *c = container_of(m, struct rdma_conn, msg);
	struct nvmf_transport *base = c->qp.transport;
	struct rdma_home *h = c->home;
	int rc = rdma_home_begin(h);

	nvmf_qpair_init(&c->qp, base);
	c->qp.size_max = c->depth;
	c->shown.max = (uint32_t)min_u64(1u << 30, mem_region_self()->len / RDMA_SHARE_OF_POOL);
	c->shown.max = max_u32(c->shown.max, RDMA_ASKED_BYTES_MAX);
	list_add_tail(&h->conns, &c->link);
	rdma_count(h, connections, 1);
	timer_start(&c->timer, RDMA_CONNECT_MS * NS_PER_MS, timer_due);
	if (rc || h->stopping) {
		rdma_conn_lose(c, rc ? strerror(-rc) : "the transport stops");
		return;
	}
	msg_send(core_control(h->tr->core), &c->msg, rdma_conn_queue_on_control);
}

/* Receives are there before control lets it in. */
void rdma_conn_queued_on_core(struct msg *m)
{
	struct rdma_conn *c = container_of(m, struct rdma_conn, msg);

	c->queued = true;
	if (conn_is_live(c))
		rdma_post_own(c);
	else
		verbs_conn_forget(c->vc);
	msg_send(core_control(c->home->tr->core), &c->msg, rdma_conn_accept_on_control);
}

void rdma_conn_sized(struct nvmf_qpair *qp)
{
	struct rdma_conn *c = conn_of(qp);

	if (c->state != CONN_READY)
		return;
	timer_stop(&c->timer); /* Connect came; it is the last answers' otherwise */
	c->known = true;
	msg_send(core_control(c->home->tr->core), &c->msg, rdma_conn_connected_on_control);
}

void rdma_conn_addrs(const struct nvmf_qpair *qp, struct net_addr *ret_local, struct net_addr *ret_peer)
{
	const struct rdma_conn *c = container_of(qp, const struct rdma_conn, qp);

	*ret_local = c->local;
	*ret_peer = c->peer;
}

/* --- commands --- */

void rdma_conn_capsule(struct rdma_conn *c, struct rdma_capsule *cap)
{
	struct rdma_req *r;

	if (unlikely(c->unanswered == c->depth)) {
		/* More commands than the queue has entries: an answer to this one could not be told from another's. */
		rdma_capsule_done(c->home, cap);
		rdma_count(c->home, broken_rules, 1);
		rdma_conn_lose(c, "more commands than its queue has entries");
		return;
	}
	c->unanswered++;
	r = queue_empty(&c->early) ? rdma_req_take(c) : NULL;
	if (likely(r))
		begin(c, r, cap);
	else
		wait_for_slot(c, cap);
}

static void begin(struct rdma_conn *c, struct rdma_req *r, struct rdma_capsule *cap)
{
	r->capsule = cap;
	r->req.cmd = *cap->sqe;
	rdma_req_run(r);
}

/* The host has an answer already whose completion has not come here: its slot will be free in a moment. */
static void wait_for_slot(struct rdma_conn *c, struct rdma_capsule *cap)
{
	cap->since_ns = reactor_now_ns();
	queue_push(&c->early, &cap->link);
	wait_began(RDMA_WAIT_SLOT);
	rdma_count(c->home, pending_free_request, 1);
}

void rdma_conn_slot_free(struct rdma_conn *c)
{
	while (unlikely(!queue_empty(&c->early)) && conn_is_live(c)) {
		struct rdma_req *r = rdma_req_take(c);
		struct rdma_capsule *cap;

		if (!r)
			return;
		cap = container_of(queue_pop(&c->early), struct rdma_capsule, link);
		wait_ended(RDMA_WAIT_SLOT, cap->since_ns);
		begin(c, r, cap);
	}
}

void rdma_capsule_done(struct rdma_home *h, struct rdma_capsule *cap)
{
	if (cap->conn) {
		queue_push(&cap->conn->own.again, &cap->link);
		if (conn_is_live(cap->conn))
			rdma_post_soon(cap->conn);
		return;
	}
	queue_push(&h->shared.again, &cap->link);
	rdma_post_shared_soon(h);
}

static void drop_early(struct rdma_conn *c)
{
	while (!queue_empty(&c->early)) {
		struct rdma_capsule *cap = container_of(queue_pop(&c->early), struct rdma_capsule, link);

		wait_ended(RDMA_WAIT_SLOT, cap->since_ns);
		rdma_capsule_done(c->home, cap);
	}
}

/* --- deadlines --- */

static void timer_due(struct timer *t)
{
	struct rdma_conn *c = container_of(t, struct rdma_conn, timer);

	rdma_count(c->home, timed_out, 1);
	rdma_conn_lose(c, c->state == CONN_LAST ? "the host does not take the last answers" : "no Connect came");
}

/* --- ending --- */

/* The target wants it gone: when the host has what was said. */
void rdma_conn_disconnect(struct nvmf_qpair *qp)
{
	struct rdma_conn *c = conn_of(qp);

	if (c->state != CONN_READY)
		return;
	set_state(c, CONN_LAST);
	timer_start(&c->timer, RDMA_LINGER_MS * NS_PER_MS, timer_due);
	defer_run(&c->gone, gone_run);
}

void rdma_conn_sent(struct rdma_conn *c)
{
	c->sending--;
	if (unlikely(c->state == CONN_LAST))
		end_if_all_is_sent(c);
}

static void end_if_all_is_sent(struct rdma_conn *c)
{
	if (!c->sending && queue_empty(&c->out) && list_empty(&c->senders.waiters))
		rdma_conn_lose(c, "the target ended it");
}

void rdma_conn_lost_on_core(struct msg *m)
{
	rdma_conn_lose(container_of(m, struct rdma_conn, lost_msg), "the host, or its adapter, ended it");
}

/* Control may not have heard yet that it is known: then it stays. */
void rdma_conn_out_on_core(struct msg *m)
{
	struct rdma_conn *c = container_of(m, struct rdma_conn, out_msg);

	if (c->known || c->state == CONN_LOST)
		return;
	rdma_count(c->home, crowded_out, 1);
	rdma_conn_lose(c, "too many others have not said who they are");
}

void rdma_conn_failed(struct rdma_conn *c, uint8_t status, const char *what)
{
	char text[NET_ADDR_TEXT_MAX];

	if (status != VERBS_FLUSHED) {
		rdma_count(c->home, failed, 1);
		if (log_may(&c->home->complaints))
			log_warning("NVMe/RDMA: %s, queue %u: %s: %s: disconnecting", net_addr_text(&c->peer, text), c->qp.qid,
			            what, verbs_status_text(status));
	}
	rdma_conn_lose(c, verbs_status_text(status));
}

void rdma_conn_lose(struct rdma_conn *c, const char *why)
{
	if (c->state == CONN_LOST)
		return;
	log_debug("NVMe/RDMA: queue %u: connection ends: %s", c->qp.qid, why);
	set_state(c, CONN_LOST);
	timer_stop(&c->timer);
	if (c->queued)
		verbs_conn_forget(c->vc);
	drop_early(c);
	rdma_req_end_all(c);
	msg_send(core_control(c->home->tr->core), &c->drop_msg, rdma_conn_drop_on_control);
	nvmf_qpair_close(&c->qp);
}

void rdma_conn_dropped_on_core(struct msg *m)
{
	struct rdma_conn *c = container_of(m, struct rdma_conn, drop_msg);

	rdma_req_end_dead(c);
	c->dropped = true;
	maybe_gone(c);
}

void rdma_conn_closed(struct nvmf_qpair *qp)
{
	struct rdma_conn *c = conn_of(qp);

	assert(!c->executing);
	c->qp_closed = true;
	maybe_gone(c);
}

static void maybe_gone(struct rdma_conn *c)
{
	if (c->qp_closed && c->dropped)
		defer_last(&c->gone, gone_run);
}

/* Nobody up the stack has it in hand any more. */
static void gone_run(struct defer *d)
{
	struct rdma_conn *c = container_of(d, struct rdma_conn, gone);

	if (c->state == CONN_LAST) {
		end_if_all_is_sent(c);
		return;
	}
	if (!c->qp_closed || !c->dropped)
		return; /* the target's wish and its end came in one pass */
	if (c->flush.queued || c->asked.line.wake.queued || c->shown.line.wake.queued || c->readers.wake.queued ||
	    c->senders.wake.queued) {
		defer_last(&c->gone, gone_run);
		return;
	}
	assert(!c->in_use);
	list_del(&c->link);
	msg_send(core_control(c->home->tr->core), &c->drop_msg, rdma_conn_free_on_control);
}
