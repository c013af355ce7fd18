/* SPDX-License-Identifier: BSD-3-Clause */
/* recv.c: from readiness to whole commands and data.
 *
 * One receive a visit, into the core's one buffer, parsed to its end: what does not fit is reported again in the next
 * pass, after others had their turn. Commands of a visit that brought several are done and answered before the next
 * connection has its turn: their host has the whole round to send new ones, and more wait when the turn comes again.
 *
 * Data that straddles the end of a feed has its request's memory, and the next receive puts its rest there directly.
 */
#include <errno.h>

#include "bdev/iov.h"
#include "nvmf/tcp/tcp.h"

#define DIRECT_IOVS_MAX 64u /* of one receive: pages of a RAM disk may lie far from each other */

static void receive(struct tcp_conn *c);
static size_t feed_bytes(const struct tcp_conn *c);
static ssize_t receive_feed(struct tcp_conn *c, struct gather_rx *rx);
static ssize_t receive_direct(struct tcp_conn *c, struct gather_rx *rx);
static uint32_t direct_room(const struct tcp_conn *c);
static void feed(struct tcp_conn *c, const uint8_t *at, const uint8_t *end);
static void on_header(struct tcp_conn *c);
static void on_command(struct tcp_conn *c, const struct nvme_tcp_cmd *pdu);
static void on_h2c_data(struct tcp_conn *c, const union nvme_tcp_pdu *pdu);
static void on_data(struct tcp_conn *c);
static bool may_stay_in_feed(const struct tcp_conn *c, const struct tcp_req *r);
static void on_end(struct tcp_conn *c);
static void take_out_of_feed(struct tcp_conn *c);
static void keep(struct tcp_conn *c, struct tcp_req *r, const void *bytes, uint32_t len);
static void hold_capsule(struct tcp_conn *c, struct tcp_req *r);
static void buffers_are_back(struct wait *w);

void tcp_conn_ready(void *arg, uint32_t events)
{
	struct tcp_conn *c = arg;

	if (events & SOCK_FAILED) {
		/* What may still lie there unread comes from a host that does not listen for answers. */
		tcp_conn_lose(c, strerror(-sock_error(c->sock)));
		return;
	}
	if (events & SOCK_WRITABLE) {
		c->blocked = false;
		sock_want_write(c->sock, false);
		tcp_send_soon(c);
	}
	if (events & SOCK_READABLE)
		receive(c);
	nvmf_qpair_worked(&c->qp);
}

static void receive(struct tcp_conn *c)
{
	struct tcp_home *h = c->home;
	struct gather_rx *rx = h->rxs.now;
	uint64_t before;
	ssize_t n;

	n = direct_room(c) ? receive_direct(c, rx) : receive_feed(c, rx);
	tcp_count(h, recvs, 1);
	if (unlikely(n < 0)) {
		if (n != -EAGAIN)
			tcp_conn_lose(c, n == -ENODATA ? "the host closed it" : strerror((int)-n));
		return;
	}
	nvmf_qpair_seen(&c->qp);
	before = h->counters.capsules;
	feed(c, rx->bytes, rx->bytes + n);
	if (c->span_req)
		take_out_of_feed(c);
	if (h->counters.capsules - before >= GATHER_ANSWERED_EARLY) {
		defer_hurry();
		tcp_count(h, answered_early, 1);
	}
	if (unlikely(gather_visited(&h->rxs)))
		tcp_count(h, rx_pinned, 1);
}

/* A host that was asked for data sends it in long PDUs. Taken through the feed they would be copied once more than
 * received where they belong, so that the feed is kept short then: room for what lies around the data. */
static size_t feed_bytes(const struct tcp_conn *c)
{
	return c->owed ? TCP_FEED_OWED_BYTES : sizeof(c->home->rxs.now->bytes);
}

/* Both return the bytes that are in the receive buffer, or a negative errno; -ENODATA is the peer's end. */
static ssize_t receive_feed(struct tcp_conn *c, struct gather_rx *rx)
{
	ssize_t n = sock_recv(c->sock, rx->bytes, feed_bytes(c));

	if (n <= 0)
		return n ? n : -ENODATA;
	tcp_count(c->home, recv_bytes, (uint64_t)n);
	return n;
}

/* The rest of the data goes where it belongs, what comes behind it to the receive buffer. */
static ssize_t receive_direct(struct tcp_conn *c, struct gather_rx *rx)
{
	struct tcp_req *r = c->rx_req;
	struct iovec iovs[DIRECT_IOVS_MAX + 1];
	struct iov_cursor rest = iov_cursor_over(r->req.iovs, r->req.iov_count);
	uint32_t whole = direct_room(c), count, here;
	size_t room;
	ssize_t n;

	iov_skip(&rest, r->received);
	count = iov_some(&rest, whole, iovs, DIRECT_IOVS_MAX, &room);
	assert(count);
	if (likely(room == whole))
		iovs[count++] = (struct iovec){ rx->bytes, feed_bytes(c) };
	n = sock_recvv(c->sock, iovs, (int)count);
	if (n <= 0)
		return n ? n : -ENODATA;
	tcp_count(c->home, recv_bytes, (uint64_t)n);
	here = (uint32_t)min_u64((uint64_t)n, room);
	fabric_rx_direct_took(&c->rx, iovs, here);
	r->received += here;
	r->since_ns = reactor_now_ns();
	tcp_count(c->home, direct_bytes, here);
	return n - here;
}

/* Bytes of the data at hand that its request still wants, and has memory for. */
static uint32_t direct_room(const struct tcp_conn *c)
{
	const struct tcp_req *r = c->rx_req;

	return r && r->hold != HOLD_NOTHING ? min_u32(fabric_rx_direct_left(&c->rx), r->req.data_len - r->received) : 0;
}

static void feed(struct tcp_conn *c, const uint8_t *at, const uint8_t *end)
{
	while (conn_is_live(c)) {
		switch (fabric_rx_next(&c->rx, &at, end)) {
		case FABRIC_RX_MORE:
			return;
		case FABRIC_RX_HEADER:
			on_header(c);
			break;
		case FABRIC_RX_DATA:
			on_data(c);
			break;
		case FABRIC_RX_END:
			on_end(c);
			break;
		case FABRIC_RX_BAD:
			if (c->rx.type == NVME_TCP_H2CTERM)
				tcp_conn_lose(c, "the host ended it, not quite properly");
			else
				tcp_conn_terminate(c, c->rx.fes, c->rx.fei);
			break;
		}
	}
}

static void on_header(struct tcp_conn *c)
{
	const union nvme_tcp_pdu *pdu = c->rx.pdu;

	c->rx_req = NULL;
	switch ((enum nvme_tcp_type)pdu->h.type) {
	case NVME_TCP_CMD:
		on_command(c, &pdu->cmd);
		return;
	case NVME_TCP_H2CDATA:
		on_h2c_data(c, pdu);
		return;
	case NVME_TCP_ICREQ:
		tcp_conn_hello(c, &pdu->icreq);
		return;
	case NVME_TCP_H2CTERM:
		log_info("NVMe/TCP: a host ended its connection: %s (FES %02xh, FEI %08xh)",
		         nvme_tcp_fes_text(le16_get(pdu->term.fes)), le16_get(pdu->term.fes), le32_get(pdu->term.fei));
		tcp_conn_lose(c, "the host sent H2CTermReq");
		return;
	case NVME_TCP_ICRESP:
	case NVME_TCP_C2HTERM:
	case NVME_TCP_RSP:
	case NVME_TCP_C2HDATA:
	case NVME_TCP_R2T:
		break;
	}
	must(false); /* the checks let nothing else pass */
}

static void on_command(struct tcp_conn *c, const struct nvme_tcp_cmd *pdu)
{
	struct tcp_req *r = tcp_req_take(c);

	tcp_count(c->home, capsules, 1);
	if (unlikely(!r)) {
		/* More commands than the queue has entries: an answer to this one could not be told from another's. */
		tcp_conn_terminate(c, NVME_TCP_FES_SEQUENCE, 0);
		return;
	}
	r->req.cmd = pdu->sqe;
	tcp_req_run(r);
	if (r->state == REQ_RECEIVE)
		c->rx_req = r;
	if (carry_is_wanted(&c->move))
		tcp_conn_update_reading(c); /* the second of a fused pair may have come */
}

static void on_h2c_data(struct tcp_conn *c, const union nvme_tcp_pdu *pdu)
{
	uint32_t index = le16_get(pdu->data.ttag), fei;
	struct tcp_req *r = index < c->touched ? conn_req(c, index) : NULL;
	struct nvme_tcp_transfer t;
	enum nvme_tcp_fes fes;

	tcp_count(c->home, h2c_pdus, 1);
	if (unlikely(!r || r->state != REQ_RECEIVE || !r->asked)) {
		tcp_conn_terminate(c, NVME_TCP_FES_INVALID_HEADER, NVME_TCP_FEI_TTAG);
		return;
	}
	t = (struct nvme_tcp_transfer){ le16_get(r->req.cmd.cid), r->received, r->req.data_len };
	fes = nvme_tcp_check_transfer(pdu, &t, &fei);
	if (unlikely(fes)) {
		tcp_conn_terminate(c, fes, fei);
		return;
	}
	r->since_ns = reactor_now_ns();
	c->rx_req = r;
}

/* --- data --- */

static void on_data(struct tcp_conn *c)
{
	struct tcp_req *r = c->rx_req;
	uint32_t len;

	if (!r)
		return;
	len = min_u32(c->rx.span_len, r->req.data_len - r->received);
	if (may_stay_in_feed(c, r)) {
		c->span_req = r;
		r->received = len;
		c->span = (struct iovec){ (void *)(uintptr_t)c->rx.span, len };
		return;
	}
	if (r->hold == HOLD_NOTHING)
		hold_capsule(c, r);
	keep(c, r, c->rx.span, len);
}

/* All of the command's data is in this feed, and the device will be done with it before the feed is. Memory that was
 * lent for it is used all the same: what is copied there now is not copied later. */
static bool may_stay_in_feed(const struct tcp_conn *c, const struct tcp_req *r)
{
	return r->req.may_consume && !r->req.lent && !r->received && c->rx.span_len >= r->req.data_len &&
	       gather_may_pin(&c->home->rxs);
}

static void on_end(struct tcp_conn *c)
{
	struct tcp_req *r = c->rx_req;

	c->rx_req = NULL;
	if (!r)
		return;
	if (unlikely(!c->rx.digest_good))
		r->bad_digest = true;
	if (r->received < r->req.data_len) {
		assert(!c->span_req);
		return;
	}
	if (c->span_req)
		tcp_req_use_span(r, &c->span);
	tcp_req_received(r);
	c->span_req = NULL;
}

/* The digest is still to come, and the feed ends. */
static void take_out_of_feed(struct tcp_conn *c)
{
	struct tcp_req *r = c->span_req;

	c->span_req = NULL;
	r->received = 0;
	if (r->hold == HOLD_NOTHING)
		hold_capsule(c, r);
	keep(c, r, c->span.iov_base, (uint32_t)c->span.iov_len);
}

static void keep(struct tcp_conn *c, struct tcp_req *r, const void *bytes, uint32_t len)
{
	struct iov_cursor to = iov_cursor_over(r->req.iovs, r->req.iov_count);

	if (!len)
		return;
	iov_skip(&to, r->received);
	iov_copy_in(&to, bytes, len);
	r->received += len;
}

/* --- too much at once --- */

/* Data that comes with a capsule must be taken, and costs memory beyond the budget when the pools are dry. So
 * that it is not much, a connection that this happens to is read on only when there are buffers again; except
 * when it owes data: others may wait for the buffers which that data sets free. */
static void hold_capsule(struct tcp_conn *c, struct tcp_req *r)
{
	if (tcp_req_hold_capsule(r) || c->throttled)
		return;
	c->throttled = true;
	mem_wait(&c->throttle, r->req.data_len, buffers_are_back);
	tcp_conn_update_reading(c);
}

static void buffers_are_back(struct wait *w)
{
	struct tcp_conn *c = container_of(w, struct tcp_conn, throttle);

	c->throttled = false;
	tcp_conn_update_reading(c);
}
