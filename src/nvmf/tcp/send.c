/* SPDX-License-Identifier: BSD-3-Clause */
/* send.c: all that a connection has to say, in one send at the end of a pass.
 *
 * Answers lie where they are: payload in the device's or the request's memory, headers are written now, into the core's
 * batch, side by side where they are neighbours on the wire. After a short send the rest is made anew when the
 * socket is writable: writing a request twice gives the same bytes, so only a count of bytes has to be kept.
 */
#include <errno.h>

#include "base/crc32c.h"
#include "nvmf/tcp/tcp.h"

#define REQ_BYTES_MAX (2 * FABRIC_PUT_MAX + NVME_TCP_DIGEST_SIZE)
#define REQ_IOVS_MIN 4 /* headers, digest, response around the data */

static bool send_batch(struct tcp_conn *c);
static bool batch_fits(const struct gather_batch *b, const struct tcp_req *r);
static uint32_t data_to_send(const struct tcp_req *r);
static void batch_req(struct gather_batch *b, struct tcp_conn *c, struct tcp_req *r);
static const void *data_after(const struct tcp_req *r);
static void batch_answer(struct gather_batch *b, struct tcp_conn *c, struct tcp_req *r);
static void batch_data(struct gather_batch *b, const struct tcp_req *r, uint32_t len);
static void sent(struct tcp_conn *c, size_t len);
static void failed(struct tcp_conn *c, int error);

void tcp_send_soon(struct tcp_conn *c)
{
	if (!c->blocked)
		defer_last(&c->flush, tcp_send_flush);
}

void tcp_send_flush(struct defer *d)
{
	struct tcp_conn *c = container_of(d, struct tcp_conn, flush);

	for (uint32_t i = 0; c->sock && !c->blocked && (c->raw || !queue_empty(&c->out)); i++) {
		if (i == TCP_BATCHES_A_PASS) {
			defer_last(&c->flush, tcp_send_flush);
			nvmf_qpair_worked(&c->qp);
			return;
		}
		if (!send_batch(c))
			break;
	}
	nvmf_qpair_worked(&c->qp);
	if (c->sock && c->close_soon)
		tcp_conn_lose(c, "the target ended it");
}

/* False: no more now. */
static bool send_batch(struct tcp_conn *c)
{
	struct gather_batch *b = c->home->batch;
	ssize_t n;

	gather_begin(b);
	if (c->raw) {
		gather_data(b, c->raw->bytes + c->raw->at, c->raw->len - c->raw->at);
	}
	for (struct queue_link *l = c->out.first; l; l = l->next) {
		struct tcp_req *r = container_of(l, struct tcp_req, link);

		if (!batch_fits(b, r))
			break;
		batch_req(b, c, r);
	}
	if (c->head_sent) {
		assert(!c->raw); /* what had begun would have become part of it */
		gather_trim(b, c->head_sent);
	}
	n = sock_send(c->sock, b->iovs, (int)b->count);
	tcp_count(c->home, sends, 1);
	if (unlikely(n < 0 && n != -EAGAIN)) {
		failed(c, (int)n);
		return false;
	}
	if (n > 0) {
		tcp_count(c->home, sent_bytes, (uint64_t)n);
		sent(c, (size_t)n);
	}
	if (n == (ssize_t)b->total)
		return true;
	tcp_count(c->home, short_sends, 1);
	c->blocked = true;
	tcp_conn_is_blocked(c);
	sock_want_write(c->sock, true);
	return false;
}

/* --- putting it together --- */

static bool batch_fits(const struct gather_batch *b, const struct tcp_req *r)
{
	uint32_t iovs = r->state == REQ_SEND && r->req.data == NVMF_DATA_TO_HOST ? r->req.iov_count : 0;

	return b->total < GATHER_BYTES_MAX && gather_fits(b, REQ_BYTES_MAX, iovs + REQ_IOVS_MIN);
}

/* What the request has to say in its state. Said twice it is the same, to the byte. */
static void batch_req(struct gather_batch *b, struct tcp_conn *c, struct tcp_req *r)
{
	size_t before = b->total;

	if (r->state == REQ_SEND) {
		if (!r->encoded) {
			nvmf_req_finish_cpl(&r->req);
			if (c->tx.ddgst && data_to_send(r))
				r->crc = fabric_data_crc(r->req.iovs, r->req.iov_count, data_to_send(r),
				                         data_after(r));
			r->encoded = true;
		}
		batch_answer(b, c, r);
	} else {
		assert(r->state == REQ_ASK);
		gather_wrote(b, fabric_put_r2t(gather_at(b), &c->tx, le16_get(r->req.cmd.cid), r->index, 0,
		                                r->req.data_len));
	}
	r->wire_len = (uint32_t)(b->total - before);
}

/* Of the request behind this one, whose digest is next. */
static const void *data_after(const struct tcp_req *r)
{
	const struct tcp_req *next = r->link.next ? container_of(r->link.next, struct tcp_req, link) : NULL;

	return next && next->state == REQ_SEND && data_to_send(next) ? next->req.iovs[0].iov_base : NULL;
}

static void batch_answer(struct gather_batch *b, struct tcp_conn *c, struct tcp_req *r)
{
	const struct nvme_cqe *cpl = &r->req.cpl;
	uint32_t len = data_to_send(r);
	bool stands_for_response;

	if (!len) {
		gather_wrote(b, fabric_put_rsp(gather_at(b), &c->tx, cpl));
		return;
	}
	stands_for_response = c->qp.transport->opts.c2h_success && !le64_get(cpl->value);
	gather_wrote(b, fabric_put_c2h_data(gather_at(b), &c->tx, le16_get(cpl->cid), 0, len, NVME_TCP_LAST |
	                                     (stands_for_response ? NVME_TCP_SUCCESS : 0)));
	batch_data(b, r, len);
	if (c->tx.ddgst) {
		fabric_put_digest(gather_at(b), r->crc);
		gather_wrote(b, NVME_TCP_DIGEST_SIZE);
	}
	if (!stands_for_response)
		gather_wrote(b, fabric_put_rsp(gather_at(b), &c->tx, cpl));
}

/* Data goes with success only. */
static uint32_t data_to_send(const struct tcp_req *r)
{
	if (r->req.data != NVMF_DATA_TO_HOST || (nvme_cqe_status(&r->req.cpl) & NVME_SC_CODE))
		return 0;
	return r->req.sent_len;
}

static void batch_data(struct gather_batch *b, const struct tcp_req *r, uint32_t len)
{
	for (uint32_t i = 0; len; i++) {
		uint32_t n = (uint32_t)min_u64(r->req.iovs[i].iov_len, len);

		assert(i < r->req.iov_count);
		gather_data(b, r->req.iovs[i].iov_base, n);
		len -= n;
	}
}

/* --- taking it apart --- */

static void sent(struct tcp_conn *c, size_t len)
{
	uint64_t now_ns = reactor_now_ns();

	if (c->raw) {
		size_t n = min_u64(len, c->raw->len - c->raw->at);

		c->raw->at += (uint32_t)n;
		len -= n;
		if (c->raw->at < c->raw->len)
			return;
		free(c->raw);
		c->raw = NULL;
	}
	len += c->head_sent;
	while (!queue_empty(&c->out)) {
		struct tcp_req *r = container_of(c->out.first, struct tcp_req, link);

		/* Of a request that is not in this batch wire_len is old; but then nothing is left. */
		if (!len || len < r->wire_len)
			break;
		len -= r->wire_len;
		queue_pop(&c->out);
		tcp_req_sent(r, now_ns);
	}
	c->head_sent = (uint32_t)len;
}

static void failed(struct tcp_conn *c, int error)
{
	tcp_conn_lose(c, strerror(-error));
}

void tcp_send_to_raw(struct tcp_conn *c, bool all)
{
	struct gather_batch *b = c->home->batch;

	while (!queue_empty(&c->out) && (all || c->head_sent)) {
		struct tcp_req *r = container_of(c->out.first, struct tcp_req, link);

		gather_begin(b);
		batch_req(b, c, r);
		if (c->head_sent)
			gather_trim(b, c->head_sent);
		c->head_sent = 0;
		for (uint32_t i = 0; i < b->count; i++)
			tcp_conn_raw(c, b->iovs[i].iov_base, (uint32_t)b->iovs[i].iov_len);
		queue_pop(&c->out);
		tcp_req_sent(r, reactor_now_ns());
	}
}
