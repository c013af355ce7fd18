/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.c: a connection's life: placed, greeted, sized at Connect, ended.
 *
 * Two must let go before it is freed: the socket, closed by either side, and the target, which may still have requests
 * in its hands. A connection whose host broke the rules says so first (C2HTermReq), and leaves the closing to the host.
 * Memory comes from and goes back to the control reactor, so that nobody finds it freed within a pass.
 */
#include <errno.h>

#include "net/tls.h"
#include "nvmf/tcp/tcp.h"

#define TLS_RECORD_HANDSHAKE 22u /* RFC 8446, 5.1: what a ClientHello begins with; no PDU has that type */

static void set_state(struct tcp_conn *c, enum conn_state state);
static void close_qpair(struct tcp_conn *c);
static void maybe_gone(struct tcp_conn *c);
static void gone_run(struct defer *d);
static void timer_due(struct timer *t);
static void start_data_timer(struct tcp_conn *c);
static void check_data_deadlines(struct tcp_conn *c);
static const struct tcp_req *oldest_owed(struct tcp_conn *c);

const struct machine_state tcp_conn_states[] = { CONN_STATES(MACHINE_ROW) };

static void set_state(struct tcp_conn *c, enum conn_state state)
{
	must(tcp_conn_states[c->state].next & 1ull << state);
	trace(STATE, c->qp.qid, state);
	c->state = (uint8_t)state;
}

/* --- beginning --- */

/* The first slots are not touched: an idle connection shall stay small. */
struct tcp_conn *tcp_conn_make(struct tcp_transport *tr, struct sock *s)
{
	struct tcp_conn *c = malloc(sizeof(*c));

	must(c);
	memset(c, 0, offsetof(struct tcp_conn, first));
	c->qp.transport = &tr->base;
	c->sock = s;
	c->slot_count = TCP_FIRST_SLOTS;
	c->tx.align_bytes = 4;
	queue_init(&c->out);
	queue_init(&c->turns);
	list_init(&c->link);
	fabric_rx_init(&c->rx, NVME_TCP_CONTROLLER);
	c->rx.as.icd_bytes_max = tr->icd_bytes_max;
	c->rx.as.h2cdata_bytes_max = TCP_MAXH2CDATA;
	return c;
}

void tcp_conn_arrive(struct msg *m)
{
	struct tcp_conn *c = container_of(m, struct tcp_conn, msg);
	struct tcp_transport *tr = tcp_of(c->qp.transport);
	int rc;

	c->home = tcp_home_self(tr);
	tcp_home_begin(c->home);
	nvmf_qpair_init(&c->qp, &tr->base);
	c->qp.tls_serial = c->tls_serial;
	c->qp.concat_only = c->concat_only;
	list_add_tail(&c->home->conns, &c->link);
	tcp_count(c->home, connections, 1);
	tcp_conn_start_timer(c);
	rc = sock_attach(c->sock, tcp_conn_ready, c);
	if (rc)
		tcp_conn_lose(c, strerror(-rc));
	else if (c->home->stopping)
		tcp_conn_lose(c, "the transport stops");
}

void tcp_conn_hello(struct tcp_conn *c, const struct nvme_tcp_icreq *icreq)
{
	uint8_t resp[FABRIC_PUT_MAX];

	assert(c->state == CONN_HELLO); /* the checks know of one ICReq only */
	c->tx.hdgst = icreq->dgst & NVME_TCP_DGST_HEADER;
	c->tx.ddgst = icreq->dgst & NVME_TCP_DGST_DATA;
	c->tx.align_bytes = fabric_align_of(icreq->hpda);
	c->rx.as.framing.hdgst = c->tx.hdgst;
	c->rx.as.framing.ddgst = c->tx.ddgst;
	c->rx.as.framing.align_bytes = fabric_align_of(0);
	c->rx.as.ready = true;
	set_state(c, CONN_READY);
	tcp_conn_raw(c, resp, fabric_put_icresp(resp, 0, icreq->dgst, TCP_MAXH2CDATA));
	tcp_conn_start_timer(c);
}

void tcp_conn_raw(struct tcp_conn *c, const void *bytes, uint32_t len)
{
	uint32_t have = c->raw ? c->raw->len : 0;

	c->raw = realloc(c->raw, sizeof(*c->raw) + have + len);
	must(c->raw);
	if (!have)
		c->raw->at = 0;
	memcpy(c->raw->bytes + have, bytes, len);
	c->raw->len = have + len;
	tcp_send_soon(c);
}

/* Address space for the slots; memory is touched as the host uses its queue, and charged to the budget then. */
void tcp_conn_sized(struct nvmf_qpair *qp)
{
	struct tcp_conn *c = conn_of(qp);
	uint64_t bytes;

	assert(!c->slots);
	timer_stop(&c->timer); /* it came */
	tcp_conn_start_timer(c);
	tcp_conn_is_known(c->home->tr, c);
	if (qp->size <= TCP_FIRST_SLOTS)
		return;
	bytes = (uint64_t)(qp->size - TCP_FIRST_SLOTS) * sizeof(struct tcp_req);
	c->slots = malloc(bytes);
	must(c->slots);
	c->slot_count = qp->size;
}

void tcp_conn_charge_slots(struct tcp_conn *c)
{
	uint64_t bytes = (uint64_t)min_u32(TCP_SLOTS_CHARGED, c->slot_count - c->touched) * sizeof(struct tcp_req);

	if (mem_charge(c->home->tr->core, bytes))
		c->slots_bytes += bytes;
	else if (log_may(&c->home->complaints)) /* they are the host's: it was told so many entries */
		log_warning("NVMe/TCP: the command slots of all connections exceed the memory budget; raise --memory");
}

void tcp_conn_addrs(const struct nvmf_qpair *qp, struct net_addr *ret_local, struct net_addr *ret_peer)
{
	const struct tcp_conn *c = container_of(qp, struct tcp_conn, qp);

	memset(ret_local, 0, sizeof(*ret_local));
	memset(ret_peer, 0, sizeof(*ret_peer));
	if (!c->sock)
		return;
	sock_local_addr(c->sock, ret_local);
	sock_peer_addr(c->sock, ret_peer);
}

const char *tcp_conn_identity(const struct nvmf_qpair *qp, uint8_t *ret_hash)
{
	const struct tcp_conn *c = container_of(qp, struct tcp_conn, qp);

	*ret_hash = c->sock ? sock_tls_hash(c->sock) : 0;
	return *ret_hash ? sock_tls_identity(c->sock) : NULL;
}

/* --- reading or not --- */

void tcp_conn_update_reading(struct tcp_conn *c)
{
	bool moving = carry_is_wanted(&c->move) && !tcp_conn_has_halves(c);

	if (c->sock && conn_is_live(c))
		sock_want_read(c->sock, !moving && (!c->throttled || c->owed));
}

/* --- deadlines: one timer, armed while there is one --- */

void tcp_conn_start_timer(struct tcp_conn *c)
{
	switch ((enum conn_state)c->state) {
	case CONN_HELLO:
		timer_start(&c->timer, TCP_HELLO_MS * NS_PER_MS, timer_due);
		break;
	case CONN_READY:
		if (!c->qp.connected)
			timer_start(&c->timer, TCP_CONNECT_MS * NS_PER_MS, timer_due);
		else
			check_data_deadlines(c);
		break;
	case CONN_TERM:
		timer_start(&c->timer, TCP_LINGER_MS * NS_PER_MS, timer_due);
		break;
	default:
		break;
	}
}

void tcp_conn_owes_data(struct tcp_conn *c)
{
	if (unlikely(c->throttled))
		tcp_conn_update_reading(c);
	start_data_timer(c);
}

void tcp_conn_is_blocked(struct tcp_conn *c)
{
	c->blocked_ns = reactor_now_ns();
	start_data_timer(c);
}

static void start_data_timer(struct tcp_conn *c)
{
	if (!timer_is_running(&c->timer))
		timer_start(&c->timer, c->qp.transport->opts.data_timeout_ms * NS_PER_MS, timer_due);
}

static void timer_due(struct timer *t)
{
	struct tcp_conn *c = container_of(t, struct tcp_conn, timer);

	if (c->state == CONN_READY && c->qp.connected) {
		check_data_deadlines(c);
		return;
	}
	tcp_count(c->home, timed_out, 1);
	tcp_conn_lose(c, c->state == CONN_HELLO ? "no ICReq came" : c->state == CONN_READY ? "no Connect came" :
	              "the host did not close after C2HTermReq");
}

/* Each R2T has its own deadline, moved by each piece of data; so has what is to be sent, by each piece that the host
 * takes: who does not read keeps answers, and what they lie in, from others. The timer goes by the first to come. */
static void check_data_deadlines(struct tcp_conn *c)
{
	uint64_t since = c->blocked ? c->blocked_ns : UINT64_MAX, limit_ms = c->qp.transport->opts.data_timeout_ms;
	uint64_t now = reactor_now_ns(), age;
	const struct tcp_req *late = c->owed ? oldest_owed(c) : NULL;

	if (late && late->since_ns <= since)
		since = late->since_ns;
	else
		late = NULL;
	if (since == UINT64_MAX)
		return;
	age = now > since ? now - since : 0; /* it may have come from a core whose pass began later than ours */
	if (age < limit_ms * NS_PER_MS) {
		timer_start(&c->timer, limit_ms * NS_PER_MS - age, timer_due);
		return;
	}
	if (!log_may(&c->home->complaints))
		; /* it is counted */
	else if (late)
		log_warning("NVMe/TCP: a host was silent for %u ms after R2T (queue %u, command %u, %u of %u bytes came): "
		            "disconnecting",
		            (unsigned)limit_ms, c->qp.qid, le16_get(late->req.cmd.cid), late->received, late->req.data_len);
	else
		log_warning("NVMe/TCP: a host took none of its answers for %u ms (queue %u): disconnecting",
		            (unsigned)limit_ms, c->qp.qid);
	tcp_count(c->home, timed_out, 1);
	tcp_conn_lose(c, "data timeout");
}

static const struct tcp_req *oldest_owed(struct tcp_conn *c)
{
	const struct tcp_req *oldest = NULL;

	for (uint32_t i = 0; i < c->touched; i++) {
		const struct tcp_req *r = conn_req(c, i);

		if (r->state == REQ_RECEIVE && r->asked && (!oldest || r->since_ns < oldest->since_ns))
			oldest = r;
	}
	return oldest;
}

/* --- ending --- */

void tcp_conn_terminate(struct tcp_conn *c, enum nvme_tcp_fes fes, uint32_t fei)
{
	uint8_t term[FABRIC_TERM_MAX];
	uint32_t len = fabric_put_term(term, &c->rx, fes, fei);
	struct net_addr peer;
	char text[NET_ADDR_TEXT_MAX];

	sock_peer_addr(c->sock, &peer);
	if (log_may(&c->home->complaints))
		log_warning("NVMe/TCP: %s sent a bad %s: %s (FES %02xh, FEI %08xh)%s: disconnecting",
		            net_addr_text(&peer, text), nvme_tcp_type_name(c->rx.type), nvme_tcp_fes_text((uint16_t)fes), fes,
		            fei, c->state == CONN_HELLO && c->rx.type == TLS_RECORD_HANDSHAKE ?
		            "; it begins with TLS, which needs a listener with secure_channel" : "");
	tcp_count(c->home, terminated, 1);
	tcp_send_to_raw(c, false); /* what has begun to go out is finished; the rest will never be answered */
	tcp_conn_raw(c, term, len);
	carry_cancel(&c->move);
	set_state(c, CONN_TERM);
	sock_want_read(c->sock, true); /* to hear it close */
	tcp_conn_start_timer(c);
	close_qpair(c);
}

void tcp_conn_disconnect(struct nvmf_qpair *qp)
{
	struct tcp_conn *c = conn_of(qp);

	assert(c->home && c->home == tcp_home_self(c->home->tr));
	if (!conn_is_live(c) || c->close_soon)
		return;
	c->close_soon = true;
	defer_last(&c->flush, tcp_send_flush);
}

void tcp_conn_lose(struct tcp_conn *c, const char *why)
{
	if (c->state == CONN_LOST)
		return;
	log_debug("NVMe/TCP: queue %u: connection ends: %s", c->qp.qid, why);
	carry_cancel(&c->move);
	set_state(c, CONN_LOST);
	timer_stop(&c->timer);
	sock_close(c->sock);
	c->sock = NULL;
	free(c->raw);
	c->raw = NULL;
	close_qpair(c);
	maybe_gone(c);
}

static void close_qpair(struct tcp_conn *c)
{
	if (c->qp_closing)
		return;
	c->qp_closing = true;
	if (c->throttled)
		mem_wait_cancel(&c->throttle);
	c->throttled = false;
	tcp_req_end_all(c);
	nvmf_qpair_close(&c->qp);
}

void tcp_conn_closed(struct nvmf_qpair *qp)
{
	struct tcp_conn *c = conn_of(qp);

	assert(!c->in_use && !c->executing);
	c->qp_closed = true;
	maybe_gone(c);
}

static void maybe_gone(struct tcp_conn *c)
{
	if (c->qp_closed && !c->sock)
		defer_last(&c->gone, gone_run);
}

/* Nobody up the stack has it in hand any more. */
static void gone_run(struct defer *d)
{
	struct tcp_conn *c = container_of(d, struct tcp_conn, gone);

	if (c->flush.queued) {
		defer_last(&c->gone, gone_run);
		return;
	}
	list_del(&c->link);
	mem_uncharge(c->home->tr->core, c->slots_bytes);
	free(c->slots);
	tcp_conn_gone(c->home->tr, c);
}
