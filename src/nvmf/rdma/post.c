/* SPDX-License-Identifier: BSD-3-Clause */
/* post.c: all that a connection has to post, at the end of a pass: one chain of READs, WRITEs and answers, put together
 * on the core's scratch pad; before it the receives that came back, so that there is one for what an answer leads to.
 *
 * Signaled are the last READ of a request, and the last work request of a chain: a completion each costs the adapter
 * and us as much as posting did, and those before it are known to be done when it is. No chain ends unsignaled, so that
 * nothing waits for a later one.
 */
#include <errno.h>

#include "nvmf/rdma/rdma.h"

struct batch {
	struct rdma_conn *c;
	struct rdma_home *h;
	uint32_t wrs, sges;
};

static void flush(struct defer *d);
static void shared_flush(struct defer *d);
static bool post_receives(struct rdma_home *h, struct rdma_capsules *s, struct rdma_conn *c);
static bool post_batch(struct batch *b);
static void put_reads(struct batch *b, struct rdma_req *r);
static void put_answer(struct batch *b, struct rdma_req *r);
static uint32_t put_data(struct batch *b, struct rdma_req *r, struct rdma_cursor *at, uint32_t bytes,
                         enum verbs_op op);
static struct verbs_wr *put_wr(struct batch *b, struct rdma_req *r);

void rdma_post_soon(struct rdma_conn *c)
{
	defer_last(&c->flush, flush);
}

void rdma_post_shared_soon(struct rdma_home *h)
{
	defer_last(&h->flush, shared_flush);
}

static void flush(struct defer *d)
{
	struct rdma_conn *c = container_of(d, struct rdma_conn, flush);
	struct batch b = { .c = c, .h = c->home };
	bool one_by_one = c->qp.transport->opts.no_wr_batching;

	if (!conn_is_live(c))
		return;
	while (!queue_empty(&c->out)) {
		struct rdma_req *r = container_of(c->out.first, struct rdma_req, link);

		if (b.wrs && (b.wrs + r->wrs > RDMA_BATCH || one_by_one) && !post_batch(&b))
			return;
		queue_pop(&c->out);
		r->number = ++c->posts;
		if (r->state == REQ_READ)
			put_reads(&b, r);
		else
			put_answer(&b, r);
	}
	post_batch(&b);
}

/* False: the connection was lost. */
static bool post_batch(struct batch *b)
{
	const struct verbs_wr *bad;
	int rc;

	rdma_post_shared(b->h); /* which may end all connections */
	if (!conn_is_live(b->c) || !rdma_post_own(b->c))
		return false;
	if (!b->wrs)
		return true;
	b->h->wrs[b->wrs - 1].next = NULL;
	b->h->wrs[b->wrs - 1].signaled = true;
	rc = verbs_post(b->c->vc, b->h->wrs, &bad);
	rdma_count(b->h, send_doorbell_updates, 1);
	rdma_count(b->h, total_send_wrs, b->wrs);
	b->wrs = b->sges = 0;
	if (likely(!rc))
		return true;
	rdma_conn_lose(b->c, strerror(-rc));
	return false;
}

/* --- receives --- */

void rdma_post_shared(struct rdma_home *h)
{
	post_receives(h, &h->shared, NULL);
}

bool rdma_post_own(struct rdma_conn *c)
{
	return post_receives(c->home, &c->own, c);
}

static void shared_flush(struct defer *d)
{
	struct rdma_home *h = container_of(d, struct rdma_home, flush);

	if (h->begun)
		rdma_post_shared(h);
}

static void put_receive(const struct rdma_capsules *s, struct rdma_capsule *cap, struct verbs_recv *recv,
                        struct verbs_sge *sges)
{
	sges[0] = (struct verbs_sge){ (uintptr_t)cap->sqe, sizeof(*cap->sqe), s->mem.lkey };
	sges[1] = (struct verbs_sge){ (uintptr_t)cap->data, s->data_bytes, s->mem.lkey };
	*recv = (struct verbs_recv){ .next = recv + 1, .ctx = &cap->work, .sges = sges,
	                             .sge_count = s->data_bytes ? 2 : 1 };
	cap->posted = true;
}

/* The adapter is gone, most likely: nothing would ever come. If not, there is less to share. */
static void shared_failed(struct rdma_home *h, int rc)
{
	if (rc != -ENODEV && log_may(&h->complaints))
		log_error("NVMe/RDMA: adapter %s takes no shared receives: %s; its connections on core %u end",
		          verbs_dev_info(h->dev->vd)->name, strerror(-rc), reactor_index(h->reactor));
	h->stopping |= h->shared.count < RDMA_SRQ_DEPTH_MIN / 2; /* until it was away and came back */
	rdma_home_lose_all(h, strerror(-rc));
}

/* Nobody knows which of a chain were posted: they come back if one is used. */
static void give_up(struct rdma_capsules *s, const struct verbs_recv *recvs)
{
	for (; recvs; recvs = recvs->next) {
		container_of((struct rdma_work *)recvs->ctx, struct rdma_capsule, work)->posted = false;
		s->count--;
	}
}

/* `c` NULL: they are shared. False: the connection was lost. */
static bool post_receives(struct rdma_home *h, struct rdma_capsules *s, struct rdma_conn *c)
{
	while (!queue_empty(&s->again)) {
		struct verbs_recv recvs[RDMA_RECVS_A_POST];
		struct verbs_sge sges[2 * RDMA_RECVS_A_POST];
		uint32_t n = 0;
		int rc;

		while (n < RDMA_RECVS_A_POST && !queue_empty(&s->again)) {
			put_receive(s, container_of(queue_pop(&s->again), struct rdma_capsule, link), &recvs[n], &sges[2 * n]);
			n++;
		}
		recvs[n - 1].next = NULL;
		rc = c ? verbs_post_recv(c->vc, recvs) : verbs_srq_post(h->srq, recvs);
		rdma_count(h, recv_doorbell_updates, 1);
		rdma_count(h, total_recv_wrs, n);
		if (likely(!rc)) {
			s->posted += n;
			continue;
		}
		give_up(s, recvs);
		if (c)
			rdma_conn_lose(c, strerror(-rc));
		else
			shared_failed(h, rc);
		return false;
	}
	return true;
}

/* --- work requests --- */

static struct verbs_wr *put_wr(struct batch *b, struct rdma_req *r)
{
	struct verbs_wr *wr = &b->h->wrs[b->wrs++];

	assert(b->wrs <= RDMA_BATCH);
	*wr = (struct verbs_wr){ .next = wr + 1, .ctx = &r->work };
	return wr;
}

/* One piece of memory here, one there: nearly always. */
static bool put_simple(struct batch *b, struct rdma_req *r, uint32_t len, enum verbs_op op)
{
	const struct nvme_sgl *d = r->sgl.descs;
	const struct iovec *v = r->req.iovs;
	struct verbs_sge *sge;
	struct verbs_wr *wr;

	if (unlikely(r->sgl.count != 1 || r->req.iov_count != 1))
		return false;
	wr = put_wr(b, r);
	sge = &b->h->sges[b->sges++];
	*sge = (struct verbs_sge){ (uintptr_t)v->iov_base, len, rdma_home_lkey(b->h, v->iov_base, len) };
	wr->op = (uint8_t)op;
	wr->sges = sge;
	wr->sge_count = 1;
	wr->rkey = le32_get(d->key);
	wr->remote = le64_get(d->addr);
	return true;
}

/* As many as were taken; READ's next chain begins where this one ends. */
static void put_reads(struct batch *b, struct rdma_req *r)
{
	uint32_t left = r->req.data_len - r->moved;
	struct rdma_cursor at;

	r->moving = left;
	if (likely(put_simple(b, r, left, VERBS_READ))) {
		b->h->wrs[b->wrs - 1].signaled = true;
		return;
	}
	at = rdma_cursor_over(&r->sgl, r->req.iovs, r->req.iov_count);
	rdma_cursor_skip(&at, r->moved);
	r->moving = 0;
	for (uint32_t i = 0; i < r->wrs; i++)
		r->moving += put_data(b, r, &at, left - r->moving, VERBS_READ);
	b->h->wrs[b->wrs - 1].signaled = true;
}

static uint32_t put_data(struct batch *b, struct rdma_req *r, struct rdma_cursor *at, uint32_t bytes,
                         enum verbs_op op)
{
	struct verbs_wr *wr = put_wr(b, r);
	struct verbs_sge *sges = &b->h->sges[b->sges];
	uint32_t len = rdma_cursor_next(at, bytes, b->c->sges_max, sges, wr);

	wr->op = (uint8_t)op;
	for (uint32_t i = 0; i < wr->sge_count; i++)
		sges[i].lkey = rdma_home_lkey(b->h, (void *)(uintptr_t)sges[i].addr, sges[i].len);
	b->sges += wr->sge_count;
	return len;
}

static struct nvme_cqe *answer_of(struct rdma_conn *c, struct rdma_req *r)
{
	struct nvme_cqe *at;

	if (c->answers_inline)
		return &r->req.cpl;
	at = (struct nvme_cqe *)((char *)c->own.mem.base + c->own.answers_at) + r->index;
	*at = r->req.cpl;
	return at;
}

static void put_answer(struct batch *b, struct rdma_req *r)
{
	struct rdma_conn *c = b->c;
	uint32_t len = rdma_req_data_to_send(r);
	struct rdma_cursor at;
	struct verbs_sge *sge;
	struct verbs_wr *wr;

	if (len && unlikely(!put_simple(b, r, len, VERBS_WRITE)))
		for (at = rdma_cursor_over(&r->sgl, r->req.iovs, r->req.iov_count); len;)
			len -= put_data(b, r, &at, len, VERBS_WRITE);
	nvmf_req_finish_cpl(&r->req);
	wr = put_wr(b, r);
	sge = &b->h->sges[b->sges++];
	*sge = (struct verbs_sge){ (uintptr_t)answer_of(c, r), sizeof(struct nvme_cqe), c->own.mem.lkey };
	wr->sges = sge;
	wr->sge_count = 1;
	wr->op = VERBS_SEND;
	if (r->sgl.invalidate && verbs_dev_info(b->h->dev->vd)->send_invalidate) {
		wr->op = VERBS_SEND_INVALIDATE;
		wr->rkey = r->sgl.key;
		rdma_count(b->h, invalidations, 1);
	}
	queue_push(&c->posted, &r->link);
	c->sending++;
	c->unanswered--;
	if (unlikely(r->capsule)) { /* its list of descriptors is not needed any more */
		rdma_capsule_done(b->h, r->capsule);
		r->capsule = NULL;
	}
}
