/* SPDX-License-Identifier: BSD-3-Clause */
/* work.c: work requests, carried out while they are posted, in the order of their queue pair. */
#include "fake.h"

#include <stdlib.h>
#include <string.h>

/* One that waits for a receive of the other side, or behind such a one. Its inline data is its own. */
struct stalled {
	struct list link;
	struct ibv_send_wr wr;
	uint32_t number;
	struct ibv_sge sges[FAKE_SGE_MAX];
	uint8_t data[FAKE_INLINE_MAX];
};

enum { STALLS = 0xff }; /* besides enum ibv_wc_status */

/* --- moving bytes ----------------------------------------------------------------------------------------------- */

static uint32_t length_of(const struct ibv_sge *sges, uint32_t count)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < count; i++)
		len += sges[i].length;
	return len;
}

/* Our own pieces are registered, with that right. */
static bool sges_are_ours(const struct ibv_sge *sges, uint32_t count, int access)
{
	for (uint32_t i = 0; i < count; i++) {
		if (unlikely(!fake_mr_at(sges[i].lkey, sges[i].addr, sges[i].length, access)))
			return false;
	}
	return true;
}

static enum ibv_wc_status move_remote(const struct fake_qp *qp, const struct ibv_send_wr *wr, bool is_inline)
{
	bool is_read = wr->opcode == IBV_WR_RDMA_READ;
	uint32_t count = (uint32_t)wr->num_sge, len = length_of(wr->sg_list, count);
	char *remote = fake_mr_at(wr->wr.rdma.rkey, wr->wr.rdma.remote_addr, len,
	                          is_read ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE);

	if (unlikely(qp->other && qp->other->shut))
		return IBV_WC_REM_INV_REQ_ERR;
	if (unlikely(!is_inline && !sges_are_ours(wr->sg_list, count, is_read ? IBV_ACCESS_LOCAL_WRITE : 0)))
		return IBV_WC_LOC_PROT_ERR;
	if (unlikely(!remote && len))
		return IBV_WC_REM_ACCESS_ERR;
	for (uint32_t i = 0; i < count && fake_copies; i++) {
		void *local = (void *)(uintptr_t)wr->sg_list[i].addr;

		memcpy(is_read ? local : remote, is_read ? remote : local, wr->sg_list[i].length);
		remote += wr->sg_list[i].length;
	}
	return IBV_WC_SUCCESS;
}

/* Pieces of a message into those of a receive; false: longer than these. */
static bool scatter(const struct fake_recv *r, const struct ibv_sge *from, uint32_t count)
{
	uint32_t at = 0, into = 0;

	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t done = 0; done < from[i].length;) {
			uint32_t n = from[i].length - done, room;

			if (into == r->sge_count)
				return false;
			room = r->sges[into].length - at;
			n = n < room ? n : room;
			memcpy((char *)(uintptr_t)r->sges[into].addr + at, (char *)(uintptr_t)from[i].addr + done, n);
			done += n;
			at += n;
			if (at == r->sges[into].length) {
				into++;
				at = 0;
			}
		}
	}
	return true;
}

bool fake_qp_deliver(struct fake_qp *qp, const struct ibv_sge *from, uint32_t count, const uint32_t *inv)
{
	struct fake_rq *q = qp->rq;
	const struct fake_recv *r = &q->ring[q->head & q->mask];
	struct fake_cqe e = { .qp = qp, .opcode = IBV_WC_RECV, .len = length_of(from, count) };

	if (fake_rq_is_empty(q))
		return false;
	q->head++;
	e.wr_id = r->wr_id;
	if (inv) {
		e.invalidated = true;
		e.key = *inv;
	}
	if (unlikely(!sges_are_ours(r->sges, r->sge_count, IBV_ACCESS_LOCAL_WRITE)))
		e.status = IBV_WC_LOC_PROT_ERR;
	else if (unlikely(!scatter(r, from, count)))
		e.status = IBV_WC_LOC_LEN_ERR;
	fake_cq_push(container_of(qp->qp.recv_cq, struct fake_cq, cq), &e);
	if (unlikely(e.status))
		fake_qp_fail(qp);
	return true;
}

/* --- one work request ------------------------------------------------------------------------------------------- */

static int send_message(struct fake_qp *qp, const struct ibv_send_wr *wr, bool is_inline)
{
	const uint32_t *inv = wr->opcode == IBV_WR_SEND_WITH_INV ? &wr->invalidate_rkey : NULL;
	struct fake_qp *other = qp->other;

	if (unlikely(!is_inline && !sges_are_ours(wr->sg_list, (uint32_t)wr->num_sge, 0)))
		return IBV_WC_LOC_PROT_ERR;
	if (qp->peer) {
		qp->peer->message(qp->peer, wr->sg_list, (uint32_t)wr->num_sge);
		return IBV_WC_SUCCESS;
	}
	if (!other)
		return IBV_WC_RETRY_EXC_ERR;
	if (!fake_qp_deliver(other, wr->sg_list, (uint32_t)wr->num_sge, inv))
		return qp->rnr_retries == 7 ? STALLS : IBV_WC_RNR_RETRY_EXC_ERR;
	return other->qp.state == IBV_QPS_ERR ? IBV_WC_REM_INV_REQ_ERR : IBV_WC_SUCCESS;
}

static bool is_message(const struct ibv_send_wr *wr)
{
	return wr->opcode == IBV_WR_SEND || wr->opcode == IBV_WR_SEND_WITH_INV;
}

/* `number`: which of its queue's it is, from 1 on. */
static void complete(struct fake_qp *qp, const struct ibv_send_wr *wr, uint32_t number, enum ibv_wc_status status)
{
	struct fake_cqe e = { .wr_id = wr->wr_id, .qp = qp, .status = (uint8_t)status, .send_done = number,
	                      .opcode = is_message(wr) ? IBV_WC_SEND :
	                                wr->opcode == IBV_WR_RDMA_READ ? IBV_WC_RDMA_READ : IBV_WC_RDMA_WRITE };

	fake_cq_push(container_of(qp->qp.send_cq, struct fake_cq, cq), &e);
}

/* False: it stalls. */
static bool carry_out(struct fake_qp *qp, const struct ibv_send_wr *wr, uint32_t number)
{
	bool is_inline = wr->send_flags & IBV_SEND_INLINE;
	int status = IBV_WC_WR_FLUSH_ERR;

	if (likely(qp->qp.state == IBV_QPS_RTS))
		status = is_message(wr) ? send_message(qp, wr, is_inline) : (int)move_remote(qp, wr, is_inline);
	if (unlikely(status == STALLS))
		return false;
	if (status || qp->sig_all || wr->send_flags & IBV_SEND_SIGNALED)
		complete(qp, wr, number, (enum ibv_wc_status)status);
	if (unlikely(status && status != IBV_WC_WR_FLUSH_ERR))
		fake_qp_fail(qp);
	return true;
}

/* --- those that wait for a receive ------------------------------------------------------------------------------ */

static int stall(struct fake_qp *qp, const struct ibv_send_wr *wr, uint32_t number)
{
	struct stalled *s = calloc(1, sizeof *s);
	uint32_t at = 0;

	if (!s)
		return ENOMEM;
	s->wr = *wr;
	s->number = number;
	s->wr.sg_list = s->sges;
	for (int i = 0; i < wr->num_sge; i++) {
		s->sges[i] = wr->sg_list[i];
		if (wr->send_flags & IBV_SEND_INLINE) {
			memcpy(s->data + at, (void *)(uintptr_t)wr->sg_list[i].addr, wr->sg_list[i].length);
			s->sges[i].addr = (uintptr_t)(s->data + at);
			at += wr->sg_list[i].length;
		}
	}
	list_add_tail(&qp->stalled, &s->link);
	return 0;
}

static void go_on(struct fake_qp *qp)
{
	struct list *l;

	while ((l = list_pop(&qp->stalled))) {
		struct stalled *s = list_entry(l, struct stalled, link);

		if (!carry_out(qp, &s->wr, s->number)) {
			list_add_head(&qp->stalled, &s->link);
			return;
		}
		free(s);
	}
}

void fake_qp_room(struct fake_qp *qp)
{
	if (qp->peer)
		qp->peer->room(qp->peer);
	else if (qp->other && !list_empty(&qp->other->stalled))
		go_on(qp->other);
}

void fake_qp_drop_stalled(struct fake_qp *qp)
{
	struct list *l;

	while ((l = list_pop(&qp->stalled))) {
		struct stalled *s = list_entry(l, struct stalled, link);

		complete(qp, &s->wr, s->number, IBV_WC_WR_FLUSH_ERR);
		free(s);
	}
}

/* --- posting ---------------------------------------------------------------------------------------------------- */

static int check(const struct fake_qp *qp, const struct ibv_send_wr *wr)
{
	if (unlikely(qp->qp.state != IBV_QPS_RTS && qp->qp.state != IBV_QPS_ERR))
		return EINVAL;
	if (unlikely(!is_message(wr) && wr->opcode != IBV_WR_RDMA_WRITE && wr->opcode != IBV_WR_RDMA_READ))
		return EINVAL;
	if (unlikely(wr->num_sge < 0 || (uint32_t)wr->num_sge > qp->send_sge_max))
		return EINVAL;
	if (unlikely(wr->send_flags & IBV_SEND_INLINE && length_of(wr->sg_list, (uint32_t)wr->num_sge) > qp->inline_max))
		return EINVAL;
	return qp->sent - qp->send_done < qp->send_max ? 0 : ENOMEM;
}

static int post_one(struct fake_qp *qp, struct ibv_send_wr *wr)
{
	int rc = check(qp, wr);

	if (unlikely(rc))
		return rc;
	qp->sent++;
	if (likely(list_empty(&qp->stalled)) && carry_out(qp, wr, qp->sent))
		return 0;
	return stall(qp, wr, qp->sent);
}

int fake_post_send(struct ibv_qp *ibv_qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	struct fake_qp *qp = fake_qp_of(ibv_qp);
	int rc = 0;

	fake_lock();
	for (; wr && !rc; wr = rc ? wr : wr->next) {
		rc = post_one(qp, wr);
		if (unlikely(rc))
			*bad = wr;
	}
	fake_unlock();
	return rc;
}

int fake_post_recv(struct ibv_qp *ibv_qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct fake_qp *qp = fake_qp_of(ibv_qp);
	int rc;

	fake_lock();
	rc = qp->qp.srq ? EINVAL : fake_rq_post(qp->rq, wr, bad);
	if (qp->qp.state == IBV_QPS_ERR)
		fake_qp_flush_receives(qp);
	else
		fake_qp_room(qp);
	fake_unlock();
	return rc;
}
