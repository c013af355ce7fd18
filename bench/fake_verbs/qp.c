/* SPDX-License-Identifier: BSD-3-Clause */
/* qp.c: receive queues, shared or not, and queue pairs: made, connected, failed, freed. */
#include "fake.h"

#include <stdlib.h>
#include <string.h>

static struct list qps = { &qps, &qps };
static uint32_t qp_next = 0x11;

/* --- receive queues --------------------------------------------------------------------------------------------- */

bool fake_rq_init(struct fake_rq *q, uint32_t entries, uint32_t sges)
{
	uint32_t size = 1;

	while (size < entries)
		size *= 2;
	*q = (struct fake_rq){ .mask = size - 1, .limit = entries, .sge_max = sges };
	q->ring = calloc(size, sizeof *q->ring);
	q->sges = calloc((size_t)size * (sges ? sges : 1), sizeof *q->sges);
	if (!q->ring || !q->sges) {
		fake_rq_fini(q);
		return false;
	}
	for (uint32_t i = 0; i < size; i++)
		q->ring[i].sges = q->sges + (size_t)i * sges;
	return true;
}

void fake_rq_fini(struct fake_rq *q)
{
	free(q->ring);
	free(q->sges);
	q->ring = NULL;
	q->sges = NULL;
}

int fake_rq_post(struct fake_rq *q, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	for (; wr; wr = wr->next) {
		struct fake_recv *r = &q->ring[q->tail & q->mask];

		*bad = wr;
		if (unlikely(q->tail - q->head == q->limit))
			return ENOMEM;
		if (unlikely(wr->num_sge < 0 || (uint32_t)wr->num_sge > q->sge_max))
			return EINVAL;
		r->wr_id = wr->wr_id;
		r->sge_count = (uint32_t)wr->num_sge;
		for (uint32_t i = 0; i < r->sge_count; i++)
			r->sges[i] = wr->sg_list[i];
		q->tail++;
	}
	return 0;
}

FAKE_EXPORT struct ibv_srq *ibv_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr)
{
	struct fake_srq *s = calloc(1, sizeof *s);

	if (!s || attr->attr.max_wr < 1 || attr->attr.max_wr > FAKE_WR_MAX || attr->attr.max_sge > FAKE_SGE_MAX - 1 ||
	    !fake_rq_init(&s->rq, attr->attr.max_wr, attr->attr.max_sge)) {
		errno = s ? EINVAL : ENOMEM;
		free(s);
		return NULL;
	}
	s->srq.context = pd->context;
	s->srq.pd = pd;
	s->srq.srq_context = attr->srq_context;
	list_init(&s->qps);
	return &s->srq;
}

FAKE_EXPORT int ibv_destroy_srq(struct ibv_srq *srq)
{
	struct fake_srq *s = container_of(srq, struct fake_srq, srq);

	if (!list_empty(&s->qps))
		return EBUSY;
	fake_rq_fini(&s->rq);
	free(s);
	return 0;
}

FAKE_EXPORT int ibv_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int mask)
{
	return EOPNOTSUPP;
}

FAKE_EXPORT int ibv_query_srq(struct ibv_srq *srq, struct ibv_srq_attr *ret)
{
	struct fake_srq *s = container_of(srq, struct fake_srq, srq);

	*ret = (struct ibv_srq_attr){ .max_wr = s->rq.limit, .max_sge = s->rq.sge_max };
	return 0;
}

int fake_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct fake_srq *s = container_of(srq, struct fake_srq, srq);
	int rc;

	fake_lock();
	rc = fake_rq_post(&s->rq, wr, bad);
	list_each_safe(l, &s->qps) {
		if (fake_rq_is_empty(&s->rq))
			break;
		fake_qp_room(list_entry(l, struct fake_qp, srq_link));
	}
	fake_unlock();
	return rc;
}

/* --- queue pairs ------------------------------------------------------------------------------------------------ */

static bool init_attr_is_good(const struct ibv_qp_init_attr *attr)
{
	const struct ibv_qp_cap *cap = &attr->cap;

	return attr->send_cq && attr->recv_cq && attr->qp_type == IBV_QPT_RC && cap->max_send_wr <= FAKE_WR_MAX &&
	       cap->max_recv_wr <= FAKE_WR_MAX && cap->max_send_sge <= FAKE_SGE_MAX &&
	       cap->max_recv_sge <= FAKE_SGE_MAX && cap->max_inline_data <= FAKE_INLINE_MAX;
}

struct ibv_qp *fake_qp_make(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct fake_qp *qp = calloc(1, sizeof *qp);
	struct fake_srq *srq = attr->srq ? container_of(attr->srq, struct fake_srq, srq) : NULL;

	if (!qp || !pd || !init_attr_is_good(attr) ||
	    (!srq && !fake_rq_init(&qp->own, attr->cap.max_recv_wr ? attr->cap.max_recv_wr : 1, attr->cap.max_recv_sge))) {
		errno = qp ? EINVAL : ENOMEM;
		free(qp);
		return NULL;
	}
	qp->qp = (struct ibv_qp){ .context = pd->context, .pd = pd, .qp_context = attr->qp_context,
		.send_cq = attr->send_cq, .recv_cq = attr->recv_cq, .srq = attr->srq, .qp_type = IBV_QPT_RC,
		.state = IBV_QPS_INIT };
	qp->rq = srq ? &srq->rq : &qp->own;
	qp->send_max = attr->cap.max_send_wr;
	qp->send_sge_max = attr->cap.max_send_sge;
	qp->inline_max = attr->cap.max_inline_data;
	qp->sig_all = attr->sq_sig_all;
	list_init(&qp->stalled);
	list_init(&qp->srq_link);
	fake_lock();
	qp->qp.qp_num = qp_next++;
	list_add_tail(&qps, &qp->link);
	if (srq)
		list_add_tail(&srq->qps, &qp->srq_link);
	fake_unlock();
	return &qp->qp;
}

FAKE_EXPORT struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	return fake_qp_make(pd, attr);
}

static void let_go_of(struct fake_qp *qp)
{
	struct fake_peer *peer = qp->peer;

	if (qp->other)
		qp->other->other = NULL;
	qp->other = NULL;
	qp->peer = NULL;
	if (peer)
		peer->ended(peer);
}

FAKE_EXPORT int ibv_destroy_qp(struct ibv_qp *ibv_qp)
{
	struct fake_qp *qp = fake_qp_of(ibv_qp);

	fake_lock();
	let_go_of(qp);
	fake_qp_drop_stalled(qp);
	fake_cq_forget(container_of(ibv_qp->send_cq, struct fake_cq, cq), qp);
	fake_cq_forget(container_of(ibv_qp->recv_cq, struct fake_cq, cq), qp);
	fake_async_forget(qp);
	list_del(&qp->link);
	list_del(&qp->srq_link);
	fake_unlock();
	fake_rq_fini(&qp->own);
	free(qp);
	return 0;
}

void fake_qp_connect(struct fake_qp *qp, struct fake_qp *other, struct fake_peer *peer, uint8_t rnr_retries)
{
	qp->other = other;
	qp->peer = peer;
	qp->rnr_retries = rnr_retries;
	qp->qp.state = IBV_QPS_RTS;
}

void fake_qp_flush_receives(struct fake_qp *qp)
{
	struct fake_cq *q = container_of(qp->qp.recv_cq, struct fake_cq, cq);

	while (!qp->qp.srq && !fake_rq_is_empty(qp->rq)) {
		const struct fake_recv *r = &qp->rq->ring[qp->rq->head++ & qp->rq->mask];

		fake_cq_push(q, &(struct fake_cqe){ .wr_id = r->wr_id, .qp = qp, .status = IBV_WC_WR_FLUSH_ERR,
		                                    .opcode = IBV_WC_RECV });
	}
}

void fake_qp_fail(struct fake_qp *qp)
{
	if (qp->qp.state == IBV_QPS_ERR)
		return;
	qp->qp.state = IBV_QPS_ERR;
	fake_qp_drop_stalled(qp);
	fake_qp_flush_receives(qp);
	if (qp->qp.srq && !qp->last_told) {
		qp->last_told = true;
		fake_async(IBV_EVENT_QP_LAST_WQE_REACHED, &qp->qp);
	}
	let_go_of(qp);
}

FAKE_EXPORT int ibv_modify_qp(struct ibv_qp *ibv_qp, struct ibv_qp_attr *attr, int mask)
{
	if (mask && !(mask & ~(IBV_QP_ACCESS_FLAGS | IBV_QP_MIN_RNR_TIMER))) {
		if (mask & IBV_QP_ACCESS_FLAGS)
			fake_qp_of(ibv_qp)->shut = !attr->qp_access_flags;
		return 0;
	}
	if (!(mask & IBV_QP_STATE) || attr->qp_state != IBV_QPS_ERR)
		return EOPNOTSUPP;
	fake_lock();
	fake_qp_fail(fake_qp_of(ibv_qp));
	fake_unlock();
	return 0;
}

FAKE_EXPORT int ibv_query_qp(struct ibv_qp *ibv_qp, struct ibv_qp_attr *ret_attr, int mask,
                             struct ibv_qp_init_attr *ret_init)
{
	struct fake_qp *qp = fake_qp_of(ibv_qp);
	struct ibv_qp_cap cap = { .max_send_wr = qp->send_max, .max_recv_wr = qp->own.limit,
		.max_send_sge = qp->send_sge_max, .max_recv_sge = qp->rq->sge_max, .max_inline_data = qp->inline_max };

	fake_lock();
	*ret_attr = (struct ibv_qp_attr){ .qp_state = ibv_qp->state, .cur_qp_state = ibv_qp->state, .cap = cap,
		.path_mtu = IBV_MTU_4096, .max_rd_atomic = FAKE_READ_DEPTH_MAX,
		.max_dest_rd_atomic = FAKE_READ_DEPTH_MAX, .port_num = 1, .rnr_retry = qp->rnr_retries };
	*ret_init = (struct ibv_qp_init_attr){ .qp_context = ibv_qp->qp_context, .send_cq = ibv_qp->send_cq,
		.recv_cq = ibv_qp->recv_cq, .srq = ibv_qp->srq, .cap = cap, .qp_type = IBV_QPT_RC,
		.sq_sig_all = qp->sig_all };
	fake_unlock();
	return 0;
}
