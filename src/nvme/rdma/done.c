/* SPDX-License-Identifier: BSD-3-Clause */
/* done.c: completions: commands that are out, answers that came in, and how a connection fails.
 *
 * A command ends when it was answered and its SEND is complete: before that the adapter may still read its memory, to
 * send it again. Nothing here trusts an answer: one that is not to a command that is out ends the connection.
 */
#include <errno.h>

#include "nvme/rdma/inside.h"

static void copy_out(const struct rdma_slot *s)
{
	struct op_walk walk = op_walk_over(s->op);
	const uint8_t *at = s->chunk;
	struct iovec iov;

	while (op_walk_next(&walk, &iov)) {
		memcpy(iov.iov_base, at, iov.iov_len);
		at += iov.iov_len;
	}
}

static void finish(struct rdma_qpair *t, struct rdma_slot *s, const struct nvme_cqe *cqe)
{
	if (s->chunk) {
		if (s->op->data == NVME_OP_TO_HOST && !(nvme_cqe_status(cqe) & NVME_SC_CODE))
			copy_out(s);
		chunks_give(&t->link->seat->chunks, s->chunk, s->chunk_len);
		t->chunk_bytes -= s->chunk_len;
		s->chunk = NULL;
		nvme_rdma_line_go(t);
	}
	t->direct_out -= s->direct;
	s->op = NULL;
	s->posted = false;
	nvme_qpair_completed(&t->qp, cqe);
}

/* --- commands that are out -------------------------------------------------------------------------------------- */

/* This SEND is complete, and so are those before it. */
static void sent(struct rdma_qpair *t, const struct rdma_slot *upto)
{
	struct rdma_slot *s;

	do {
		if (t->ring_first == t->ring_next)
			return; /* within: the queue pair ended */
		s = &t->slots[t->ring[t->ring_first++ & t->ring_mask]];
		s->sent = true;
		if (s->answered)
			finish(t, s, &s->answer);
	} while (s != upto && t->link && !t->link->ended);
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

static void receive_again(struct rdma_qpair *t, struct rdma_recv *r)
{
	*t->recvs_last = &r->recv;
	t->recvs_last = (struct verbs_recv **)&r->recv.next;
	rdma_count(&t->link->seat->receives, 1);
	nvme_rdma_post_soon(t);
}

static void answered(struct rdma_qpair *t, const struct verbs_wc *wc)
{
	struct rdma_recv *r = wc->ctx;
	struct nvme_cqe cqe;
	struct rdma_slot *s;
	struct nvme_op *op;

	nvme_qpair_alive(&t->qp);
	if (wc->len != sizeof(cqe)) {
		rdma_bad(t, "the target sent an answer of %u bytes", wc->len);
		return;
	}
	if (wc->invalidated) {
		rdma_bad(t, "the target invalidated key %08xh, which nobody told it to", wc->key);
		return;
	}
	memcpy(&cqe, (const void *)(uintptr_t)r->sge.addr, sizeof(cqe));
	receive_again(t, r);
	op = nvme_qpair_op(&t->qp, le16_get(cqe.cid));
	s = op ? &t->slots[nvme_qpair_slot(&t->qp, op->cid)] : NULL;
	if (!s || !s->posted || s->answered) {
		rdma_bad(t, "the target answered command %u, which is not outstanding", le16_get(cqe.cid));
		return;
	}
	if (s->sent) {
		finish(t, s, &cqe);
		return;
	}
	s->answered = true;
	s->answer = cqe;
}

/* --- failures --------------------------------------------------------------------------------------------------- */

/* Why a connection fails that a completion failed of. The first one says it; the others are flushed. */
static enum nvme_reason reason_of(enum verbs_status status)
{
	switch (status) {
	case VERBS_RETRIES:
		return NVME_REASON_SILENT;
	case VERBS_FLUSHED:
		return NVME_REASON_CLOSED;
	case VERBS_LENGTH:
	case VERBS_REMOTE_KEY:
	case VERBS_REMOTE_INVALID:
	case VERBS_REMOTE_BROKEN:
	case VERBS_NO_RECEIVE:
		return NVME_REASON_PROTOCOL;
	case VERBS_OK:
	case VERBS_LOCAL_KEY:
	case VERBS_OTHER:
	case VERBS_STATUS_COUNT:
		break;
	}
	return NVME_REASON_RESET;
}

static void failed(struct rdma_qpair *t, const struct verbs_wc *wc)
{
	const struct verbs_dev *d = t->link->seat->dev;

	if (!verbs_dev_is_there(d))
		nvme_rdma_broke(t, NVME_REASON_RESET, -ENODEV, "adapter %s is gone", verbs_dev_info(d)->name);
	else
		nvme_rdma_broke(t, reason_of(wc->status), -ECONNRESET, "the connection failed: %s",
		                verbs_status_text(wc->status));
}

void nvme_rdma_done(void *arg, const struct verbs_wc *wcs, uint32_t count)
{
	(void)arg;
	for (uint32_t i = 0; i < count; i++) {
		const struct verbs_wc *wc = &wcs[i];
		struct rdma_link *l = verbs_conn_arg(wc->conn);
		struct rdma_qpair *t = l->owner;

		if (!t || l->ended)
			continue;
		nvme_qpair_hold(&t->qp);
		if (unlikely(wc->status != VERBS_OK))
			failed(t, wc);
		else if (wc->op == VERBS_RECV)
			answered(t, wc);
		else
			sent(t, wc->ctx);
		nvme_qpair_release(&t->qp);
	}
}
