/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp.c: queue pairs over NVMe/TCP.
 *
 * Receiving goes through the core's shared buffer; the rest of a long C2HData is received straight into the
 * command's own memory. Sending gathers what a pass produced into one sendmsg: headers from the commands'
 * slots, data from the caller's iovecs, no copy. We grant one R2T at a time per command, so a slot has at most
 * one PDU in the line.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/crc32c.h"
#include "fabric/fabric.h"
#include "nvme/host.h"

#define TCP_RECV_BUDGET 4u      /* receives per visit */
#define TCP_SEND_IOVS 512

/* What one outstanding command has under way. By cid; `line` links those with a PDU to send. */
struct slot {
	struct queue_link line;
	struct nvme_op *op;
	uint8_t header[FABRIC_PUT_MAX];
	uint8_t digest[NVME_TCP_DIGEST_SIZE];
	uint32_t header_len;
	uint32_t data_at, data_len;     /* of the PDU in the line, within the command's data */
	bool digested;                  /* a data digest follows the data */
	/* R2T being answered. */
	uint32_t r2t_at, r2t_end;
	uint16_t ttag;
	uint32_t received;              /* C2HData so far */
	bool bad_digest;
	bool lined;                     /* in the line: its memory must stay until the PDU is out */
	bool answered;                  /* the answer came while it was: complete it then */
	struct nvme_cqe answer;
};

struct tcp_qpair {
	struct nvme_qpair qp;
	struct sock *sock;
	struct fabric_rx rx;
	struct nvme_tcp_framing tx;
	uint32_t h2c_data_max;
	struct slot *slots;
	struct slot *receiving;         /* whose data the PDU at hand carries */
	bool success;                   /* and whether it stands for the response, too */
	struct queue line;              /* slots with a PDU to send */
	uint32_t first_sent;            /* bytes of the first one that are out */
	struct defer send_defer;
	bool writable, connected;
	uint8_t icreq[FABRIC_PUT_MAX];
	uint32_t icreq_len, icreq_sent;
};

static struct tcp_qpair *tcp_of(struct nvme_qpair *qp)
{
	return container_of(qp, struct tcp_qpair, qp);
}

static void broke(struct tcp_qpair *t, enum nvme_reason reason, int code, const char *fmt, ...) PRINTF(4, 5);
#define bad(t, ...) broke(t, NVME_REASON_PROTOCOL, -EPROTO, __VA_ARGS__)

static void broke(struct tcp_qpair *t, enum nvme_reason reason, int code, const char *fmt, ...)
{
	char why[200], addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	err_set(&e, code, "queue %u to %s: %s", t->qp.qid, net_addr_text(&t->qp.addr, addr), why);
	nvme_qpair_broke(&t->qp, reason, &e);
}

/* Of a connection that stood. */
static enum nvme_reason reason_of(int error)
{
	switch (error) {
	case -ETIMEDOUT: return NVME_REASON_SILENT;
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ENETDOWN: return NVME_REASON_UNREACHABLE;
	default: return NVME_REASON_RESET;
	}
}

static enum nvme_reason connect_reason_of(int error)
{
	switch (error) {
	case -ECONNREFUSED:
	case -ECONNRESET: return NVME_REASON_REFUSED;
	case -ETIMEDOUT: return NVME_REASON_CONNECT_TIMEOUT;
	default: return NVME_REASON_UNREACHABLE;
	}
}

/* --- sending ---------------------------------------------------------------------------------- */

/* The bytes [at, at + len) of a command's data as iovecs; returns how many. */
static int data_iovs(const struct nvme_op *op, uint32_t at, uint32_t len, struct iovec *iov, int max)
{
	int count = 0;

	for (uint16_t i = 0; i < op->iov_count && len && count < max; i++) {
		size_t take;

		if (at >= op->iovs[i].iov_len) {
			at -= (uint32_t)op->iovs[i].iov_len;
			continue;
		}
		take = min_u64(op->iovs[i].iov_len - at, len);
		iov[count++] = (struct iovec){ (uint8_t *)op->iovs[i].iov_base + at, take };
		len -= (uint32_t)take;
		at = 0;
	}
	return count;
}

static uint32_t data_crc(const struct nvme_op *op, uint32_t at, uint32_t len)
{
	uint32_t crc = CRC32C_START;
	struct iovec iov[64];

	while (len) {
		int count = data_iovs(op, at, len, iov, ARRAY_SIZE(iov));

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

static void send_gathered(struct defer *d);
static void complete(struct tcp_qpair *t, const struct nvme_cqe *cqe);

static void line_up(struct tcp_qpair *t, struct slot *s)
{
	s->digested = s->data_len && t->tx.ddgst;
	if (s->digested)
		fabric_put_digest(s->digest, data_crc(s->op, s->data_at, s->data_len));
	queue_push(&t->line, &s->line);
	s->lined = true;
	if (t->writable)
		defer_last(&t->send_defer, send_gathered);
}

/* The next H2CData of the R2T this slot answers. */
static void line_up_h2c(struct tcp_qpair *t, struct slot *s)
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

/* Iovecs of one PDU from byte `skip` of it on. */
static int pdu_iovs(struct slot *s, uint32_t skip, struct iovec *iov, int max)
{
	int count = 0;

	if (skip < s->header_len)
		iov[count++] = (struct iovec){ s->header + skip, s->header_len - skip };
	skip = skip > s->header_len ? skip - s->header_len : 0;
	if (skip < s->data_len)
		count += data_iovs(s->op, s->data_at + skip, s->data_len - skip, iov + count, max - count - 1);
	skip = skip > s->data_len ? skip - s->data_len : 0;
	if (s->digested)
		iov[count++] = (struct iovec){ s->digest + skip, NVME_TCP_DIGEST_SIZE - skip };
	return count;
}

/* Bytes of this PDU are out: may the target do the command now? Not before it has some of the data that it needs. */
static inline bool lets_it_be_done(const struct slot *s)
{
	return s->data_len || s->op->data != NVME_OP_TO_CTRLR || !s->op->data_len;
}

/* `sent` more bytes are out: take finished PDUs from the line. */
static void line_advance(struct tcp_qpair *t, size_t sent)
{
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
			complete(t, &s->answer);
		else if (s->r2t_at < s->r2t_end)
			line_up_h2c(t, s);
		if (!t->sock)
			return;
	}
	t->first_sent = (uint32_t)sent;
}

static int gather(struct tcp_qpair *t, struct iovec *iov, size_t *ret_bytes)
{
	uint32_t skip = t->first_sent;
	int count = 0;

	*ret_bytes = 0;
	for (struct queue_link *l = t->line.first; l; l = l->next) {
		struct slot *s = container_of(l, struct slot, line);
		int room = TCP_SEND_IOVS - count, more;

		if (room < s->op->iov_count + 2 && count)
			break;
		more = pdu_iovs(s, skip, iov + count, room);
		for (int i = count; i < count + more; i++)
			*ret_bytes += iov[i].iov_len;
		count += more;
		skip = 0;
	}
	return count;
}

static void send_line(struct tcp_qpair *t);

static void send_gathered(struct defer *d)
{
	struct tcp_qpair *t = container_of(d, struct tcp_qpair, send_defer);

	nvme_qpair_hold(&t->qp);
	send_line(t);
	nvme_qpair_release(&t->qp);
}

static void send_line(struct tcp_qpair *t)
{
	struct iovec iov[TCP_SEND_IOVS];

	while (t->sock && !queue_empty(&t->line)) {
		size_t bytes;
		int count = gather(t, iov, &bytes);
		ssize_t sent = sock_send(t->sock, iov, count);

		if (sent < 0 && sent != -EAGAIN) {
			broke(t, reason_of((int)sent), (int)sent, "sending failed: %s", strerror((int)-sent));
			return;
		}
		if (sent > 0)
			line_advance(t, (size_t)sent);
		if (!t->sock)
			return; /* a command that ended with this ended the queue pair, too */
		if (sent < 0 || (size_t)sent < bytes) {
			t->writable = false;
			sock_want_write(t->sock, true);
			return;
		}
	}
}

static void tcp_submit(struct nvme_qpair *qp, struct nvme_op *op)
{
	struct tcp_qpair *t = tcp_of(qp);
	struct slot *s = &t->slots[op->cid];
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

/* --- receiving -------------------------------------------------------------------------------- */

static void complete(struct tcp_qpair *t, const struct nvme_cqe *cqe)
{
	struct nvme_op *op = nvme_qpair_op(&t->qp, le16_get(cqe->cid));
	struct nvme_cqe cpl = *cqe;
	struct slot *s;

	if (!op) {
		bad(t, "the target answered command %u, which is not outstanding", le16_get(cqe->cid));
		return;
	}
	s = &t->slots[op->cid];
	if (s->lined) {
		s->answered = true;
		s->answer = *cqe;
		return;
	}
	if (s->bad_digest && !(nvme_cqe_status(&cpl) & NVME_SC_CODE))
		nvme_cqe_set_status(&cpl, NVME_SC_TRAN_TPORT_ERROR);
	else if (op->data == NVME_OP_TO_HOST && op->data_len && !(nvme_cqe_status(&cpl) & NVME_SC_CODE) &&
	         s->received != op->data_len) {
		bad(t, "the target ended a read after %u of %u bytes", s->received, op->data_len);
		return;
	}
	s->op = NULL;
	nvme_qpair_completed(&t->qp, &cpl);
}

static void complete_success(struct tcp_qpair *t, uint16_t cid)
{
	struct nvme_cqe cqe = { .cid = le16_of(cid) };

	complete(t, &cqe);
}

static bool transfer_fits(struct tcp_qpair *t, const union nvme_tcp_pdu *pdu, struct slot *s, uint32_t next)
{
	struct nvme_tcp_transfer transfer = { .cccid = s->op->cid, .next = next, .end = s->op->data_len };
	uint32_t fei = 0;
	enum nvme_tcp_fes fes = nvme_tcp_check_transfer(pdu, &transfer, &fei);

	if (fes)
		bad(t, "the target's %s does not fit its command: %s", nvme_tcp_type_name(pdu->h.type),
		      nvme_tcp_fes_text((uint16_t)fes));
	return !fes;
}

static struct slot *slot_of(struct tcp_qpair *t, le16 cccid, enum nvme_op_data data)
{
	struct nvme_op *op = nvme_qpair_op(&t->qp, le16_get(cccid));

	if (op && op->data == data && !t->slots[op->cid].answered)
		return &t->slots[op->cid];
	bad(t, "the target moves data of command %u, which has none under way", le16_get(cccid));
	return NULL;
}

static void on_r2t(struct tcp_qpair *t, const union nvme_tcp_pdu *pdu)
{
	struct slot *s = slot_of(t, pdu->r2t.cccid, NVME_OP_TO_CTRLR);

	/* Any part may be asked for; one that begins beyond the data is for the check to find. */
	if (!s || !transfer_fits(t, pdu, s, min_u32(le32_get(pdu->r2t.r2to), s->op->data_len)))
		return;
	if (s->lined) { /* what the line holds is the command itself, or the answer to an earlier R2T */
		bad(t, "the target sent an R2T for a command whose last one is not answered yet");
		return;
	}
	s->ttag = le16_get(pdu->r2t.ttag);
	s->r2t_at = le32_get(pdu->r2t.r2to);
	s->r2t_end = s->r2t_at + le32_get(pdu->r2t.r2tl);
	line_up_h2c(t, s);
}

static void on_icresp(struct tcp_qpair *t, const struct nvme_tcp_icresp *ic)
{
	t->tx.hdgst = t->rx.as.framing.hdgst = ic->dgst & NVME_TCP_DGST_HEADER;
	t->tx.ddgst = t->rx.as.framing.ddgst = ic->dgst & NVME_TCP_DGST_DATA;
	t->tx.align_bytes = fabric_align_of(ic->cpda);
	t->h2c_data_max = le32_get(ic->maxh2cdata);
	t->rx.as.ready = true;
	nvme_qpair_negotiated(&t->qp);
}

static void on_end(struct tcp_qpair *t);

static void on_header(struct tcp_qpair *t)
{
	const union nvme_tcp_pdu *pdu = t->rx.pdu;

	t->receiving = NULL;
	switch (pdu->h.type) {
	case NVME_TCP_ICRESP:
		on_icresp(t, &pdu->icresp);
		break;
	case NVME_TCP_RSP:
		complete(t, &pdu->rsp.cqe);
		break;
	case NVME_TCP_R2T:
		on_r2t(t, pdu);
		break;
	case NVME_TCP_C2HDATA:
		t->receiving = slot_of(t, pdu->data.cccid, NVME_OP_TO_HOST);
		if (t->receiving && !transfer_fits(t, pdu, t->receiving, t->receiving->received))
			t->receiving = NULL;
		t->success = pdu->h.flags & NVME_TCP_SUCCESS;
		if (!t->rx.data_len)
			on_end(t); /* no data, so no end of it will be told */
		break;
	default: /* C2HTermReq: the checkers let nothing else through */
		bad(t, "the target ended the connection: %s", nvme_tcp_fes_text(le16_get(pdu->term.fes)));
	}
}

static void on_data(struct tcp_qpair *t)
{
	struct slot *s = t->receiving;
	const uint8_t *from = t->rx.span;
	struct iovec iov[64];

	if (!s)
		return;
	for (uint32_t left = t->rx.span_len; left;) {
		int count = data_iovs(s->op, s->received, left, iov, ARRAY_SIZE(iov));

		for (int i = 0; i < count; i++) {
			memcpy(iov[i].iov_base, from, iov[i].iov_len);
			from += iov[i].iov_len;
			left -= (uint32_t)iov[i].iov_len;
			s->received += (uint32_t)iov[i].iov_len;
		}
	}
}

static void on_end(struct tcp_qpair *t)
{
	struct slot *s = t->receiving;

	t->receiving = NULL;
	if (!s)
		return;
	if (!t->rx.digest_good)
		s->bad_digest = true;
	if (t->success)
		complete_success(t, s->op->cid);
}

/* Everything in the feed. False: the queue pair is dead or gone. */
static bool eat(struct tcp_qpair *t, const uint8_t *at, const uint8_t *end)
{
	while (t->sock && !t->qp.closed) {
		switch (fabric_rx_next(&t->rx, &at, end)) {
		case FABRIC_RX_MORE: return true;
		case FABRIC_RX_HEADER: on_header(t); break;
		case FABRIC_RX_DATA: on_data(t); break;
		case FABRIC_RX_END: on_end(t); break;
		case FABRIC_RX_BAD:
			bad(t, "the target sent a malformed PDU: %s", nvme_tcp_fes_text((uint16_t)t->rx.fes));
			return false;
		}
	}
	return false;
}

/* One receive: what is left of long data goes where it belongs, the rest into the core's buffer. */
static ssize_t receive(struct tcp_qpair *t, uint8_t *buf, size_t *ret_direct)
{
	uint32_t direct = t->receiving ? fabric_rx_direct_left(&t->rx) : 0;
	struct iovec iov[64];
	int count = 0;

	if (direct)
		count = data_iovs(t->receiving->op, t->receiving->received, direct, iov, ARRAY_SIZE(iov) - 1);
	*ret_direct = 0;
	for (int i = 0; i < count; i++)
		*ret_direct += iov[i].iov_len;
	if (*ret_direct == direct)      /* otherwise the array was too small: only as far as it goes */
		iov[count++] = (struct iovec){ buf, HOST_RECV_BYTES };
	return sock_recvv(t->sock, iov, count);
}

static void took_direct(struct tcp_qpair *t, uint32_t len)
{
	struct iovec iov[64];

	data_iovs(t->receiving->op, t->receiving->received, len, iov, ARRAY_SIZE(iov));
	fabric_rx_direct_took(&t->rx, iov, len);
	t->receiving->received += len;
}

static void receive_all(struct tcp_qpair *t)
{
	uint8_t *buf = nvme_host_recv_buf(t->qp.host);

	for (uint32_t i = 0; i < TCP_RECV_BUDGET; i++) {
		size_t direct;
		ssize_t got = receive(t, buf, &direct);

		if (got == -EAGAIN)
			return;
		if (got <= 0) {
			broke(t, got ? reason_of((int)got) : NVME_REASON_CLOSED, got ? (int)got : -ECONNRESET, "%s",
			      got ? strerror((int)-got) : "the target closed the connection");
			return;
		}
		nvme_qpair_alive(&t->qp);
		if (direct)
			took_direct(t, (uint32_t)min_u64((uint64_t)got, direct));
		if (!eat(t, buf, buf + ((size_t)got > direct ? (size_t)got - direct : 0)))
			return;
		if ((size_t)got < HOST_RECV_BYTES)
			return; /* level triggered: what came meanwhile is for the next pass */
	}
}

/* --- connection ------------------------------------------------------------------------------- */

static void send_icreq(struct tcp_qpair *t)
{
	struct iovec iov = { t->icreq + t->icreq_sent, t->icreq_len - t->icreq_sent };
	ssize_t sent = sock_send(t->sock, &iov, 1);

	if (sent < 0 && sent != -EAGAIN) {
		broke(t, reason_of((int)sent), (int)sent, "sending failed: %s", strerror((int)-sent));
		return;
	}
	t->icreq_sent += sent > 0 ? (uint32_t)sent : 0;
	t->writable = t->icreq_sent == t->icreq_len;
	sock_want_write(t->sock, !t->writable);
}

static void on_writable(struct tcp_qpair *t)
{
	if (!t->connected) {
		t->connected = true;
		sock_want_write(t->sock, false);
		nvme_qpair_connected(&t->qp);
		return;
	}
	if (t->icreq_sent < t->icreq_len) {
		send_icreq(t);
		return;
	}
	t->writable = true;
	sock_want_write(t->sock, false);
	defer_last(&t->send_defer, send_gathered);
}

static void sock_event(void *arg, uint32_t events)
{
	struct tcp_qpair *t = arg;

	nvme_qpair_hold(&t->qp);
	if (t->sock && (events & SOCK_FAILED) && !t->connected) {
		int error = sock_error(t->sock);

		error = error ? error : -ECONNREFUSED;
		broke(t, connect_reason_of(error), error, "cannot connect: %s", strerror(-error));
	}
	if (t->sock && (events & SOCK_WRITABLE))
		on_writable(t);
	if (t->sock && (events & (SOCK_READABLE | SOCK_FAILED)) && t->connected)
		receive_all(t);
	nvme_qpair_release(&t->qp);
}

static int tcp_connect(struct nvme_qpair *qp, struct err *e)
{
	struct tcp_qpair *t = tcp_of(qp);
	struct sock_opts opts = { .ack_timeout_ms = qp->opts.ack_timeout_ms, .priority = qp->opts.priority };

	fabric_rx_init(&t->rx, NVME_TCP_HOST);
	t->rx.as.dgst_asked = (uint8_t)((qp->opts.header_digest ? NVME_TCP_DGST_HEADER : 0) |
	                                      (qp->opts.data_digest ? NVME_TCP_DGST_DATA : 0));
	t->icreq_len = fabric_put_icreq(t->icreq, 0, t->rx.as.dgst_asked, 0);
	t->sock = sock_connect(&qp->addr, qp->has_from ? &qp->from : NULL, &opts, sock_event, t, e);
	return t->sock ? 0 : -1;
}

static void tcp_negotiate(struct nvme_qpair *qp)
{
	send_icreq(tcp_of(qp));
}

static void tcp_size(struct nvme_qpair *qp)
{
	struct tcp_qpair *t = tcp_of(qp);

	t->slots = base_zalloc(qp->cid_count * sizeof(*t->slots));
}

static void tcp_disconnect(struct nvme_qpair *qp)
{
	struct tcp_qpair *t = tcp_of(qp);

	if (t->sock)
		sock_close(t->sock);
	t->sock = NULL;
	t->receiving = NULL;
	queue_init(&t->line);
}

static struct nvme_qpair *tcp_make(void)
{
	struct tcp_qpair *t = base_zalloc(sizeof(*t));

	queue_init(&t->line);
	return &t->qp;
}

/* The send defer may still be queued: the last free of a pass is done by it. */
static void free_at_end(struct defer *d)
{
	struct tcp_qpair *t = container_of(d, struct tcp_qpair, send_defer);

	free(t->slots);
	free(t);
}

static void tcp_free(struct nvme_qpair *qp)
{
	struct tcp_qpair *t = tcp_of(qp);

	if (t->send_defer.queued)
		t->send_defer.fn = free_at_end;
	else
		free_at_end(&t->send_defer);
}

const struct nvme_transport nvme_tcp = {
	.name = "TCP",
	.make = tcp_make,
	.connect = tcp_connect,
	.negotiate = tcp_negotiate,
	.size = tcp_size,
	.submit = tcp_submit,
	.disconnect = tcp_disconnect,
	.free = tcp_free,
};
