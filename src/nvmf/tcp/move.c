/* SPDX-License-Identifier: BSD-3-Clause */
/* move.c: what of a connection is carried to another core (core/carry.h).
 *
 * While it wants to move it is not read; it does not want for long: a host must be heard. Everything goes along but
 * what a device has in hand: negotiated values, a half-received PDU with the data that came, R2Ts the host has yet to
 * answer, bytes not yet sent, and commands that may wait for ever (AERs), which the target hands back and gets again.
 */
#include "bdev/iov.h"
#include "nvmf/tcp/tcp.h"

#define NO_REQUEST 0xffffu

static bool may_leave(struct carry *m);
static bool target_let_go(struct tcp_conn *c);
static void stay(struct carry *m);
static void leave(struct carry *m, struct reactor *to, struct freeze *f);
static void settle(struct tcp_conn *c);
static void forget(struct tcp_conn *c);
static void arrive(struct carry *m, struct freeze *f);
static void live(struct carry *m);
static void freeze_conn(struct freeze *f, struct tcp_conn *c);
static void freeze_framing(struct freeze *f, struct tcp_conn *c);
static void freeze_raw_output(struct freeze *f, struct tcp_conn *c);
static void freeze_requests(struct freeze *f, struct tcp_conn *c);
static void freeze_request(struct freeze *f, struct tcp_conn *c, uint16_t index);
static void thaw_receiving(struct tcp_req *r, uint32_t data_len, uint16_t status);
static void freeze_data(struct freeze *f, struct tcp_req *r);
static void rebuild_free_slots(struct tcp_conn *c);

static const struct carry_ops carry_ops = { .what = "NVMe/TCP: a connection", .patience_ms = TCP_MOVE_MS,
	.may_leave = may_leave, .stay = stay, .leave = leave, .arrive = arrive, .live = live };

static struct tcp_conn *moving(struct carry *m) { return container_of(m, struct tcp_conn, move); }

void tcp_conn_move(struct nvmf_qpair *qp, struct reactor *to, carry_done_fn *done, void *arg)
{
	struct tcp_conn *c = conn_of(qp);

	carry_start(&c->move, &carry_ops, to, conn_is_live(c) && !c->close_soon, done, arg);
	tcp_conn_update_reading(c);
}

/* --- leaving --- */

/* Halves of fused pairs found each other in the order of the queue, which is not that of slots: they end first, and for
 * that the second, and the data of both, are read. */
bool tcp_conn_has_halves(struct tcp_conn *c)
{
	for (uint32_t i = 0; i < c->touched; i++) {
		const struct tcp_req *r = conn_req(c, i);

		if (r->state != REQ_FREE && r->state <= REQ_EXECUTE && !r->refused && nvme_flags_fuse(r->req.cmd.flags))
			return true;
	}
	return false;
}

static bool may_leave(struct carry *m)
{
	struct tcp_conn *c = moving(m);

	if (c->close_soon || tcp_conn_has_halves(c) || !target_let_go(c))
		return false; /* the end of a request calls again */
	if (c->qp.executing_count || c->flush.queued) {
		carry_look_soon(m); /* somebody looks at the qpair just now, or a call is still to come */
		return false;
	}
	return true;
}

/* False: a device has something in hand. */
static bool target_let_go(struct tcp_conn *c)
{
	for (uint32_t i = 0; i < c->touched; i++)
		if (conn_req(c, i)->state == REQ_EXECUTE && !conn_req(c, i)->req.parks)
			return false;
	for (uint32_t i = 0; i < c->touched; i++) {
		struct tcp_req *r = conn_req(c, i);

		if (r->state != REQ_EXECUTE)
			continue;
		if (!nvmf_req_withdraw(&r->req))
			return false;
		r->state = REQ_NEW;
		c->executing--;
	}
	return true;
}

/* What the target had handed back already goes to it again. */
static void stay(struct carry *m)
{
	struct tcp_conn *c = moving(m);

	tcp_conn_update_reading(c);
	for (uint32_t i = 0; i < c->touched; i++)
		if (conn_req(c, i)->state == REQ_NEW)
			tcp_req_run(conn_req(c, i));
}

static void leave(struct carry *m, struct reactor *to, struct freeze *f)
{
	struct tcp_conn *c = moving(m);

	settle(c);
	c->qp.reactor = to;
	freeze_conn(f, c);
	forget(c);
	list_del(&c->link);
}

/* Come to rest: nothing of this core is waited for any more. */
static void settle(struct tcp_conn *c)
{
	assert(!c->span_req && !c->executing);
	sock_want_write(c->sock, false);
	sock_detach(c->sock);
	c->blocked = true; /* nothing is sent from here any more */
	tcp_send_to_raw(c, true);
	timer_stop(&c->timer);
	if (c->throttled)
		mem_wait_cancel(&c->throttle);
	c->throttled = false;
	queue_init(&c->turns);
	for (uint32_t i = 0; i < c->touched; i++) {
		struct tcp_req *r = conn_req(c, i);

		if (r->state != REQ_NEED_ROOM)
			continue;
		tcp_req_wait_cancel(r);
		r->state = REQ_NEW;
	}
}

/* What was frozen is given up here, so that thawing cannot lean on it. */
static void forget(struct tcp_conn *c)
{
	const struct fabric_rx rx = { .state = FABRIC_RX_ON_NOTHING };

	tcp_req_end_all(c);
	assert(!c->in_use);
	free(c->raw);
	c->raw = NULL;
	c->rx = rx;
	c->tx = (struct nvme_tcp_framing){ 0 };
	c->free = NULL;
	c->touched = 0;
	c->home = NULL;
}

/* --- arriving --- */

static void arrive(struct carry *m, struct freeze *f)
{
	struct tcp_conn *c = moving(m);

	c->home = tcp_home_self(tcp_of(c->qp.transport));
	tcp_home_begin(c->home);
	c->blocked = false;
	list_add_tail(&c->home->conns, &c->link);
	tcp_count(c->home, moved_in, 1);
	freeze_conn(f, c);
}

static void live(struct carry *m)
{
	struct tcp_conn *c = moving(m);
	int rc = sock_attach(c->sock, tcp_conn_ready, c);

	if (rc || c->home->stopping) {
		tcp_conn_lose(c, rc ? strerror(-rc) : "the transport stops");
		return;
	}
	tcp_conn_update_reading(c);
	tcp_conn_start_timer(c);
	if (c->raw)
		tcp_send_soon(c);
}

/* --- both ways --- */

static void freeze_conn(struct freeze *f, struct tcp_conn *c)
{
	uint16_t rx_req = c->rx_req ? c->rx_req->index : NO_REQUEST;

	freeze_u8(f, "conn.state", &c->state);
	freeze_framing(f, c);
	freeze_raw_output(f, c);
	nvmf_qpair_freeze(f, &c->qp);
	freeze_u32(f, "conn.slot_count", &c->slot_count);
	freeze_u32(f, "conn.touched", &c->touched);
	freeze_u16(f, "conn.rx_req", &rx_req);
	freeze_requests(f, c);
	if (f->thawing)
		c->rx_req = rx_req == NO_REQUEST || f->err.code ? NULL : conn_req(c, rx_req);
}

static void freeze_framing(struct freeze *f, struct tcp_conn *c)
{
	struct fabric_rx *rx = &c->rx;
	uint32_t stash_len = rx->stash_len;

	if (f->thawing)
		fabric_rx_init(rx, NVME_TCP_CONTROLLER);
	freeze_bool(f, "tx.hdgst", &c->tx.hdgst);
	freeze_bool(f, "tx.ddgst", &c->tx.ddgst);
	freeze_u8(f, "tx.align", &c->tx.align_bytes);
	freeze_bool(f, "rx.ready", &rx->as.ready);
	freeze_bool(f, "rx.hdgst", &rx->as.framing.hdgst);
	freeze_bool(f, "rx.ddgst", &rx->as.framing.ddgst);
	freeze_u8(f, "rx.align", &rx->as.framing.align_bytes);
	freeze_u32(f, "rx.icd_max", &rx->as.icd_bytes_max);
	freeze_u32(f, "rx.h2c_max", &rx->as.h2cdata_bytes_max);
	freeze_u8(f, "rx.type", &rx->type);
	freeze_u8(f, "rx.state", &rx->state);
	freeze_u8(f, "rx.pad_left", &rx->pad_left);
	freeze_u32(f, "rx.data_len", &rx->data_len);
	freeze_u32(f, "rx.data_left", &rx->data_left);
	freeze_bool(f, "rx.digest_follows", &rx->digest_follows);
	freeze_bool(f, "rx.digest_good", &rx->digest_good);
	freeze_u32(f, "rx.crc", &rx->crc);
	freeze_bytes(f, "rx.stash", rx->stash, &stash_len, sizeof(rx->stash));
	rx->stash_len = (uint8_t)stash_len;
}

/* The rest of what had been said, or begun to be said. */
static void freeze_raw_output(struct freeze *f, struct tcp_conn *c)
{
	uint32_t len = c->raw ? c->raw->len - c->raw->at : 0;

	freeze_u32(f, "raw.len", &len);
	if (f->thawing && !f->err.code && len) {
		c->raw = malloc(sizeof(*c->raw) + len);
		must(c->raw);
		c->raw->len = len;
		c->raw->at = 0;
	}
	if (len && c->raw)
		freeze_raw(f, "raw", c->raw->bytes + c->raw->at, len);
}

static void freeze_requests(struct freeze *f, struct tcp_conn *c)
{
	uint32_t count = c->in_use;

	freeze_u32(f, "requests", &count);
	if (f->thawing) {
		for (uint32_t i = 0; i < c->touched; i++)
			tcp_req_slot_init(c, i);
		c->in_use = c->owed = c->asked_bytes = 0;
		while (count-- && !f->err.code)
			freeze_request(f, c, 0);
		rebuild_free_slots(c);
		return;
	}
	for (uint32_t i = 0; i < c->touched; i++)
		if (conn_req(c, i)->state != REQ_FREE)
			freeze_request(f, c, (uint16_t)i);
}

static void freeze_request(struct freeze *f, struct tcp_conn *c, uint16_t index)
{
	struct tcp_req *r;
	uint32_t data_len;
	uint16_t status;

	freeze_u16(f, "req.index", &index);
	if (f->err.code || index >= c->touched)
		return;
	r = conn_req(c, index);
	data_len = r->req.data_len;
	status = r->refused ? nvme_cqe_status(&r->req.cpl) : 0;
	freeze_u8(f, "req.state", &r->state);
	freeze_raw(f, "req.cmd", &r->req.cmd, sizeof(r->req.cmd));
	freeze_u64(f, "req.since", &r->since_ns);
	freeze_u64(f, "req.came", &r->req.came_ns);
	freeze_u32(f, "req.began", &r->req.began);
	freeze_u32(f, "req.waited", &r->req.waited);
	freeze_bool(f, "req.asked", &r->asked);
	freeze_bool(f, "req.bad_digest", &r->bad_digest);
	freeze_bool(f, "req.refused", &r->refused);
	freeze_u16(f, "req.status", &status);
	freeze_u32(f, "req.data_len", &data_len);
	freeze_u32(f, "req.received", &r->received);
	must(r->state == REQ_NEW || r->state == REQ_RECEIVE);
	if (f->thawing) {
		c->in_use++;
		watch_arm(&c->home->watch);
	}
	if (r->state == REQ_NEW) {
		if (f->thawing)
			tcp_req_run(r);
		return;
	}
	if (f->thawing)
		thaw_receiving(r, data_len, status);
	if (r->received)
		freeze_data(f, r);
}

/* Data is under way, whatever the configuration of this core now says of the command: it is taken, then refused. What
 * was refused before stays so: the core where it was may have seen another configuration. */
static void thaw_receiving(struct tcp_req *r, uint32_t data_len, uint16_t status)
{
	struct tcp_conn *c = req_conn(r);

	if (r->refused) {
		nvme_cqe_set_status(&r->req.cpl, status);
	} else if (!nvmf_req_parse(&r->req)) {
		r->refused = true;
	} else if (r->req.data != NVMF_DATA_TO_CTRLR || r->req.data_len != data_len) {
		nvmf_req_fail(&r->req, NVME_SC_TRAN_TPORT_ERROR);
		r->refused = true;
	}
	r->req.data = NVMF_DATA_TO_CTRLR;
	r->req.data_len = data_len;
	r->req.may_lend = r->req.may_lend && !r->refused;
	if (r->asked) {
		c->owed++;
		c->asked_bytes += data_len;
		tcp_req_hold_capsule(r); /* buffers, or heap memory: the R2T is out */
	}
}

static void freeze_data(struct freeze *f, struct tcp_req *r)
{
	uint8_t *flat = malloc(r->received);
	struct iov_cursor at;

	must(flat);
	if (f->thawing && r->hold == HOLD_NOTHING)
		tcp_req_hold_capsule(r);
	at = iov_cursor_over(r->req.iovs, r->req.iov_count);
	if (!f->thawing)
		iov_copy_out(flat, &at, r->received);
	freeze_raw(f, "req.data", flat, r->received);
	if (f->thawing)
		iov_copy_in(&at, flat, r->received);
	free(flat);
}

static void rebuild_free_slots(struct tcp_conn *c)
{
	c->free = NULL;
	for (uint32_t i = c->touched; i-- > 0;) {
		struct tcp_req *r = conn_req(c, i);

		if (r->state != REQ_FREE)
			continue;
		r->link.next = c->free;
		c->free = &r->link;
	}
}
