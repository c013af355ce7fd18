/* SPDX-License-Identifier: BSD-3-Clause */
/* tcp_recv.c: answers and data in.
 *
 * Receiving goes through the core's shared buffer; the rest of a long C2HData is received straight into the command's
 * own memory.
 */
#include <errno.h>

#include "nvme/tcp.h"

#define TCP_RECV_LARGE (4 * KIB)        /* received into the buffer behind a PDU with as much data as: */
#define TCP_LARGE_DATA (32 * KIB)
#define FEI_CQE_CID ((uint32_t)(offsetof(struct nvme_tcp_rsp, cqe) + offsetof(struct nvme_cqe, cid)))

void tcp_complete(struct tcp_qpair *t, const struct nvme_cqe *cqe)
{
	struct nvme_op *op = nvme_qpair_op(&t->qp, le16_get(cqe->cid));
	struct nvme_cqe cpl = *cqe;
	struct slot *s;

	if (!op) {
		tcp_bad(t, NVME_TCP_FES_INVALID_HEADER, FEI_CQE_CID, "the target answered command %u, which is not outstanding",
		        le16_get(cqe->cid));
		return;
	}
	s = &t->slots[nvme_qpair_slot(&t->qp, op->cid)];
	if (s->lined) {
		s->answered = true;
		s->answer = *cqe;
		return;
	}
	if (s->bad_digest && !(nvme_cqe_status(&cpl) & NVME_SC_CODE))
		nvme_cqe_set_status(&cpl, NVME_SC_TRAN_TPORT_ERROR);
	else if (op->data == NVME_OP_TO_HOST && op->data_len && !(nvme_cqe_status(&cpl) & NVME_SC_CODE) &&
	         s->received != op->data_len && !op->may_be_short) {
		tcp_bad(t, NVME_TCP_FES_SEQUENCE, 0, "the target ended a read after %u of %u bytes", s->received, op->data_len);
		return;
	}
	s->op = NULL;
	nvme_qpair_completed(&t->qp, &cpl);
}

static void complete_success(struct tcp_qpair *t, uint16_t cid)
{
	struct nvme_cqe cqe = { .cid = le16_of(cid) };

	tcp_complete(t, &cqe);
}

static bool transfer_fits(struct tcp_qpair *t, const union nvme_tcp_pdu *pdu, struct slot *s, uint32_t next)
{
	struct nvme_tcp_transfer transfer = { .cccid = s->op->cid, .next = next, .end = s->op->data_len };
	uint32_t fei = 0;
	enum nvme_tcp_fes fes = nvme_tcp_check_transfer(pdu, &transfer, &fei);

	if (fes)
		tcp_bad(t, fes, fei, "the target's %s does not fit its command: %s", nvme_tcp_type_name(pdu->h.type),
		        nvme_tcp_fes_text((uint16_t)fes));
	return !fes;
}

static struct slot *slot_of(struct tcp_qpair *t, le16 cccid, enum nvme_op_data data)
{
	struct nvme_op *op = nvme_qpair_op(&t->qp, le16_get(cccid));

	if (op && op->data == data && !t->slots[nvme_qpair_slot(&t->qp, op->cid)].answered)
		return &t->slots[nvme_qpair_slot(&t->qp, op->cid)];
	tcp_bad(t, NVME_TCP_FES_INVALID_HEADER, NVME_TCP_FEI_CCCID,
	        "the target moves data of command %u, which has none under way", le16_get(cccid));
	return NULL;
}

static void on_r2t(struct tcp_qpair *t, const union nvme_tcp_pdu *pdu)
{
	struct slot *s = slot_of(t, pdu->r2t.cccid, NVME_OP_TO_CTRLR);

	/* Any part may be asked for; one that begins beyond the data is for the check to find. */
	if (!s || !transfer_fits(t, pdu, s, min_u32(le32_get(pdu->r2t.r2to), s->op->data_len)))
		return;
	if (s->lined) { /* what the line holds is the command itself, or the answer to an earlier R2T */
		tcp_bad(t, NVME_TCP_FES_LIMIT_EXCEEDED, 0,
		        "the target sent an R2T for a command whose last one is not answered yet");
		return;
	}
	s->ttag = le16_get(pdu->r2t.ttag);
	s->r2t_at = le32_get(pdu->r2t.r2to);
	s->r2t_end = s->r2t_at + le32_get(pdu->r2t.r2tl);
	tcp_line_up_h2c(t, s);
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
		tcp_complete(t, &pdu->rsp.cqe);
		break;
	case NVME_TCP_R2T:
		on_r2t(t, pdu);
		break;
	case NVME_TCP_C2HDATA:
		t->receiving = slot_of(t, pdu->data.cccid, NVME_OP_TO_HOST);
		if (t->receiving && !transfer_fits(t, pdu, t->receiving, t->receiving->received))
			t->receiving = NULL;
		t->success = pdu->h.flags & NVME_TCP_SUCCESS;
		t->large = t->rx.data_len >= TCP_LARGE_DATA;
		if (!t->rx.data_len && !t->success)
			tcp_bad(t, NVME_TCP_FES_INVALID_HEADER, (uint32_t)offsetof(struct nvme_tcp_data, datal),
			        "the target sent a C2HData without data, which leads nowhere");
		else if (!t->rx.data_len)
			on_end(t); /* no data, so no end of it will be told */
		break;
	default: /* C2HTermReq: the checkers let nothing else through */
		tcp_broke(t, NVME_REASON_PROTOCOL, -EPROTO, "the target ended the connection: %s",
		          nvme_tcp_fes_text(le16_get(pdu->term.fes)));
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
		int count = tcp_data_iovs(s->op, s->received, left, iov, ARRAY_SIZE(iov));

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

/* Everything in the feed, as long as the connection stands. */
static void eat(struct tcp_qpair *t, const uint8_t *at, const uint8_t *end)
{
	struct sock *s = t->sock;

	while (s && t->sock == s && !t->qp.closed) { /* it may come back over another one */
		switch (fabric_rx_next(&t->rx, &at, end)) {
		case FABRIC_RX_MORE: return;
		case FABRIC_RX_HEADER:
			t->at_header = true;
			on_header(t);
			t->at_header = false;
			break;
		case FABRIC_RX_DATA: on_data(t); break;
		case FABRIC_RX_END: on_end(t); break;
		case FABRIC_RX_BAD:
			t->at_header = true;
			tcp_bad(t, t->rx.fes, t->rx.fei, "the target sent a malformed PDU: %s",
			        nvme_tcp_fes_text((uint16_t)t->rx.fes));
			return;
		}
	}
}

/* One receive: what is left of long data goes where it belongs, the rest into the core's buffer. After large data only
 * the next header and little more goes there, since all behind it would be copied. */
static ssize_t receive(struct tcp_qpair *t, uint8_t *buf, size_t *ret_direct, bool *ret_all)
{
	uint32_t direct = t->receiving ? fabric_rx_direct_left(&t->rx) : 0;
	size_t asked = 0;
	struct iovec iov[64];
	int count = 0;
	ssize_t got;

	if (direct)
		count = tcp_data_iovs(t->receiving->op, t->receiving->received, direct, iov, ARRAY_SIZE(iov) - 1);
	for (int i = 0; i < count; i++)
		asked += iov[i].iov_len;
	*ret_direct = asked;
	if (asked == direct) {          /* otherwise the array was too small: only as far as it goes */
		iov[count] = (struct iovec){ buf, t->large ? TCP_RECV_LARGE : HOST_RECV_BYTES };
		asked += iov[count++].iov_len;
	}
	got = sock_recvv(t->sock, iov, count);
	*ret_all = got > 0 && (size_t)got == asked;
	return got;
}

static void took_direct(struct tcp_qpair *t, uint32_t len)
{
	struct iovec iov[64];

	tcp_data_iovs(t->receiving->op, t->receiving->received, len, iov, ARRAY_SIZE(iov));
	fabric_rx_direct_took(&t->rx, iov, len);
	t->receiving->received += len;
}

static bool may_want_tls(const struct tcp_qpair *t)
{
	return t->qp.machine.state == QPAIR_NEGOTIATING && !t->qp.opts.psk && !t->qp.generated;
}

/* Closed before it said anything: all that a listener for TLS does about a host that comes in the clear. */
static const char *end_text(struct tcp_qpair *t, int error)
{
	if ((!error || error == -ECONNRESET) && may_want_tls(t))
		return "the target closed the connection before it said anything: it may want TLS, and there is no key for "
		       "that here (psk)";
	return error ? tcp_error_text(t, error) : "the target closed the connection";
}

/* False: there is no more for now. */
static bool receive_once(struct tcp_qpair *t, size_t *ret_got)
{
	uint8_t *buf = nvme_host_recv_buf(t->qp.host);
	struct sock *s = t->sock;
	size_t direct;
	bool all;
	ssize_t got = receive(t, buf, &direct, &all);

	if (got == -EAGAIN)
		return false;
	if (got <= 0) {
		tcp_broke(t, got ? tcp_reason_of((int)got) : NVME_REASON_CLOSED, got ? (int)got : -ECONNRESET, "%s",
		          end_text(t, (int)got));
		return false;
	}
	nvme_qpair_alive(&t->qp);
	if (direct)
		took_direct(t, (uint32_t)min_u64((uint64_t)got, direct));
	eat(t, buf, buf + ((size_t)got > direct ? (size_t)got - direct : 0));
	*ret_got = (size_t)got;
	return all && t->sock == s;
}

/* So much a visit; what is left then is for the next pass, after the others. A target that sends the smallest PDUs
 * there are takes most of a millisecond with that. */
void tcp_receive(struct tcp_qpair *t)
{
	size_t sum = 0, got;

	while (sum < HOST_RECV_BYTES && receive_once(t, &got))
		sum += got;
}
