/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_send.c: commands and their data out.
 *
 * What a pass produced is gathered into one sendmsg: headers from the commands' slots, data from the caller's iovecs.
 * Headers that follow each other are copied together: a piece more costs the system more than 72 bytes cost us.
 */
#include <errno.h>

#include "base/crc32c.h"
#include "nvme/tcp.h"

#define TCP_SEND_IOVS 512
#define TCP_SEND_HEADERS 4096
#define TCP_SEND_BYTES (512 * KIB) /* of one visit: the copying into the kernel is our core's time, and others wait */

static uint32_t data_crc(const struct nvme_op *op, uint32_t at, uint32_t len)
{
	uint32_t crc = CRC32C_START;
	struct iovec iov[64];

	while (len) {
		int count = tcp_data_iovs(op, at, len, iov, ARRAY_SIZE(iov));

		crc = crc32c_update_iov(crc, iov, count);
		for (int i = 0; i < count; i++) {
			at += (uint32_t)iov[i].iov_len;
			len -= (uint32_t)iov[i].iov_len;
		}
	}
	return crc;
}

static uint32_t pdu_len(const struct slot *s)
{
	return s->header_len + s->data_len + (s->digested ? NVME_TCP_DIGEST_SIZE : 0);
}

static void line_up(struct tcp_qpair *t, struct slot *s)
{
	s->digested = s->data_len && t->tx.ddgst;
	if (s->digested)
		fabric_put_digest(s->digest, data_crc(s->op, s->data_at, s->data_len));
	queue_push(&t->line, &s->line);
	s->lined = true;
	if (t->writable)
		defer_last(&t->send_defer, tcp_send_gathered);
}

void tcp_line_up_h2c(struct tcp_qpair *t, struct slot *s)
{
	uint32_t len = min_u32(s->r2t_end - s->r2t_at, t->h2c_data_max);
	bool last = s->r2t_at + len == s->r2t_end;

	s->header_len = fabric_put_h2c_data(s->header, &t->tx, s->op->cid, s->ttag, s->r2t_at, len,
	                                    last ? NVME_TCP_LAST : 0);
	s->data_at = s->r2t_at;
	s->data_len = len;
	s->r2t_at += len;
	line_up(t, s);
}

/* What one send is given. */
struct batch {
	struct iovec iov[TCP_SEND_IOVS];
	int count;
	size_t bytes;
	uint32_t copied;                /* of `headers` */
	uint8_t headers[TCP_SEND_HEADERS];
};

static void batch_add(struct batch *b, void *at, size_t len)
{
	b->iov[b->count++] = (struct iovec){ at, len };
	b->bytes += len;
}

/* A PDU that is a header only, behind others of its kind. */
static bool batch_copy(struct batch *b, const struct slot *s, uint32_t skip)
{
	uint8_t *at = b->headers + b->copied;
	uint32_t len = s->header_len - skip;
	struct iovec *last = b->count ? &b->iov[b->count - 1] : NULL;

	if (len > sizeof(b->headers) - b->copied)
		return false;
	memcpy(at, s->header + skip, len);
	b->copied += len;
	if (!last || (uint8_t *)last->iov_base + last->iov_len != at) {
		batch_add(b, at, len);
		return true;
	}
	last->iov_len += len;
	b->bytes += len;
	return true;
}

static inline uint32_t batch_room(const struct batch *b)
{
	return b->bytes < TCP_SEND_BYTES ? TCP_SEND_BYTES - (uint32_t)b->bytes : 0;
}

/* One PDU from byte `skip` of it on, as far as there is room. */
static void batch_add_pdu(struct batch *b, struct slot *s, uint32_t skip)
{
	uint32_t before;
	int more;

	if (skip < s->header_len)
		batch_add(b, s->header + skip, s->header_len - skip);
	skip = skip > s->header_len ? skip - s->header_len : 0;
	before = min_u32(skip, s->data_len);
	more = tcp_data_iovs(s->op, s->data_at + before, min_u32(s->data_len - before, batch_room(b)), b->iov + b->count,
	                     TCP_SEND_IOVS - b->count - 1);
	while (more--) {
		before += (uint32_t)b->iov[b->count].iov_len;
		b->bytes += b->iov[b->count++].iov_len;
	}
	if (s->digested && before == s->data_len) {
		skip = skip > s->data_len ? skip - s->data_len : 0;
		batch_add(b, s->digest + skip, NVME_TCP_DIGEST_SIZE - skip);
	}
}

/* Bytes of this PDU are out: may the target do the command now? Not before it has some of the data that it needs. */
static inline bool lets_it_be_done(const struct slot *s)
{
	return s->data_len || s->op->data != NVME_OP_TO_CTRLR || !s->op->data_len;
}

/* `sent` more bytes are out: take finished PDUs from the line. */
static void line_advance(struct tcp_qpair *t, size_t sent)
{
	struct sock *was = t->sock;

	sent += t->first_sent;
	while (!queue_empty(&t->line)) {
		struct slot *s = container_of(t->line.first, struct slot, line);

		s->op->sent |= sent > 0 && lets_it_be_done(s);
		if (sent < pdu_len(s))
			break;
		sent -= pdu_len(s);
		queue_pop(&t->line);
		s->lined = false;
		if (s->answered)
			tcp_complete(t, &s->answer);
		else if (s->r2t_at < s->r2t_end)
			tcp_line_up_h2c(t, s);
		if (!was || t->sock != was)
			return;
	}
	t->first_sent = (uint32_t)sent;
}

static void gather(struct tcp_qpair *t, struct batch *b)
{
	uint32_t skip = t->first_sent;

	b->count = 0;
	b->bytes = b->copied = 0;
	for (struct queue_link *l = t->line.first; l; l = l->next) {
		struct slot *s = container_of(l, struct slot, line);

		if ((TCP_SEND_IOVS - b->count < s->op->iov_count + 2 && b->count) || !batch_room(b))
			break;
		if (s->data_len || !batch_copy(b, s, skip))
			batch_add_pdu(b, s, skip);
		skip = 0;
	}
}

static void send_line(struct tcp_qpair *t);

void tcp_send_gathered(struct defer *d)
{
	struct tcp_qpair *t = container_of(d, struct tcp_qpair, send_defer);

	nvme_qpair_hold(&t->qp);
	send_line(t);
	nvme_qpair_release(&t->qp);
}

static void send_line(struct tcp_qpair *t)
{
	struct sock *s = t->sock;
	size_t bytes = 0;
	struct batch b;

	while (s && t->sock == s && !queue_empty(&t->line)) {
		ssize_t sent;

		gather(t, &b);
		sent = sock_send(t->sock, b.iov, b.count);
		if (sent < 0 && sent != -EAGAIN) {
			tcp_broke(t, tcp_reason_of((int)sent), (int)sent, "sending failed: %s", tcp_error_text(t, (int)sent));
			return;
		}
		if (sent > 0)
			line_advance(t, (size_t)sent);
		if (t->sock != s)
			return; /* a command that ended with this ended the queue pair, too */
		if (sent < 0 || (size_t)sent < b.bytes) {
			t->writable = false;
			sock_want_write(t->sock, true);
			return;
		}
		bytes += b.bytes;
		if (bytes >= TCP_SEND_BYTES) { /* the rest in the next pass, after the others */
			if (!queue_empty(&t->line))
				defer_last(&t->send_defer, tcp_send_gathered);
			return;
		}
	}
}

void tcp_terminate(struct tcp_qpair *t, enum nvme_tcp_fes fes, uint32_t fei)
{
	uint8_t term[FABRIC_TERM_MAX];
	struct iovec iov = { .iov_base = term };

	if (!t->at_header || !t->sock || t->first_sent || t->icreq_sent < t->icreq_len)
		return;
	iov.iov_len = fabric_put_term(term, &t->rx, fes, fei);
	(void)sock_send(t->sock, &iov, 1);
}

void tcp_submit(struct nvme_qpair *qp, struct nvme_op *op)
{
	struct tcp_qpair *t = tcp_of(qp);
	struct slot *s = &t->slots[nvme_qpair_slot(&t->qp, op->cid)];
	bool in_capsule = op->data == NVME_OP_TO_CTRLR && op->data_len <= qp->in_capsule_bytes;
	struct nvme_sgl *sgl = &op->cmd.sgl1;

	*sgl = (struct nvme_sgl){ .length = le32_of(op->data_len) };
	sgl->id = in_capsule ? NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET)
	                     : NVME_SGL_ID(NVME_SGL_TRANSPORT_DATA_BLOCK, NVME_SGL_TRANSPORT);
	op->cmd.flags = (uint8_t)nvme_flags_with_psdt(op->cmd.flags, 1);
	s->op = op;
	s->data_at = 0;
	s->data_len = in_capsule ? op->data_len : 0;
	s->r2t_at = s->r2t_end = s->received = 0;
	s->bad_digest = s->answered = false;
	s->header_len = fabric_put_cmd(s->header, &t->tx, &op->cmd, s->data_len);
	line_up(t, s);
}
