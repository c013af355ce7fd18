/* SPDX-License-Identifier: BSD-3-Clause */
/* queue.c: completion queues, receives and posting of simulated adapters. */
#include <errno.h>

#include "verbs/sim/inside.h"

#define LATE_PERCENT 30u /* completions that come just after somebody has looked */

static void tick(struct sim_event *e) {} /* whoever spins looks again */
static void rang(struct sim_ready *r);
static void check_sges(const struct sim_conn *c, const struct sim_adapter *a, const struct verbs_sge *sges,
                       uint32_t count);

/* --- completion queues ---------------------------------------------------------------------------- */

static struct sim_cq *sim_cq_of(struct verbs_cq *q) { return container_of(q, struct sim_cq, cq); }

struct verbs_cq *platform_cq_make(struct verbs_dev *d, uint32_t *entries, struct err *e)
{
	struct sim_adapter *a = sim_adapter_of(d);
	struct sim_cq *q;

	if (!a) {
		err_set(e, -ENODEV, "RDMA: adapter %s is gone", d->info.name);
		return NULL;
	}
	q = base_zalloc(sizeof(*q));
	q->adapter = a;
	q->size = *entries += (uint32_t)sim_draw(min_u32(8, d->info.cq_max - *entries + 1)); /* as hardware rounds up */
	q->cqes = base_zalloc(q->size * sizeof(q->cqes[0]));
	sim_verbs.cqs++;
	return &q->cq;
}

void platform_cq_destroy(struct verbs_cq *cq)
{
	struct sim_cq *q = sim_cq_of(cq);

	q->dead = true;
	sim_verbs.cqs--;
}

void platform_cq_free(struct verbs_cq *cq)
{
	struct sim_cq *q = sim_cq_of(cq);

	must(q->dead);
	sim_ready_cancel(&q->ready);
	sim_event_cancel(&q->tick);
	free(q->cqes);
	free(q);
}

int platform_cq_resize(struct verbs_cq *cq, uint32_t entries, uint32_t *ret_entries)
{
	struct sim_cq *q = sim_cq_of(cq);
	struct sim_cqe *cqes;

	if (!q->adapter || q->adapter->lacks_cq_resize)
		return q->adapter ? -ENOTSUP : -ENODEV;
	cqes = base_zalloc(entries * sizeof(cqes[0]));
	for (uint32_t i = 0; i < q->count; i++)
		cqes[i] = q->cqes[(q->head + i) % q->size];
	free(q->cqes);
	q->cqes = cqes;
	q->head = 0;
	*ret_entries = q->size = entries;
	return 0;
}

int platform_cq_start(struct verbs_cq *cq)
{
	struct sim_cq *q = sim_cq_of(cq);

	q->reactor = reactor_self();
	q->listening = true;
	return 0;
}

void platform_cq_stop(struct verbs_cq *cq)
{
	struct sim_cq *q = sim_cq_of(cq);

	must(q->reactor == reactor_self());
	q->listening = false;
	sim_ready_cancel(&q->ready);
}

static void rang(struct sim_ready *r)
{
	struct sim_cq *q = container_of(r, struct sim_cq, ready);

	verbs_cq_rang(&q->cq);
}

static void ring(struct sim_cq *q)
{
	struct sim_adapter *a = q->adapter;

	if (a->lose_ring && !--a->lose_ring) {
		a->lost++;
		return; /* the next one's will be heard */
	}
	q->armed = false;
	if (q->listening)
		sim_ready_add(q->reactor, &q->ready, rang);
}

static bool is_to_lose(struct sim_adapter *a, const struct sim_cqe *cqe)
{
	if (!a->lose_completion || cqe->wc.status != VERBS_OK || cqe->wc.op != a->lose_op || --a->lose_completion)
		return false;
	a->lost++;
	return true;
}

void sim_cq_push(struct sim_cq *q, const struct sim_cqe *cqe)
{
	if (q->dead || !q->adapter->here)
		return;
	sim_note(cqe->wc.status << 8 | cqe->wc.op);
	if (is_to_lose(q->adapter, cqe))
		return;
	if (q->count == q->size)
		sim_verbs_fault("a completion queue of adapter %s overflows: it has %u entries",
		                q->adapter->info.name, q->size);
	q->cqes[(q->head + q->count++) % q->size] = *cqe;
	if (q->armed)
		ring(q);
	else
		q->late += q->late || sim_chance(LATE_PERCENT);
}

static void late_ones_come(struct sim_cq *q)
{
	q->late = 0;
	if (q->armed)
		ring(q);
	sim_event_at(&q->tick, sim_now_ns() + 1, tick);
}

/* Hardware drops a destroyed queue pair's completions, or does not. Shared receives it leaves. */
void sim_cq_forget_sender(struct sim_cq *q, struct sim_conn *c, bool clean)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < q->count; i++) {
		struct sim_cqe *cqe = &q->cqes[(q->head + i) % q->size];

		if (cqe->sender == c)
			cqe->sender = NULL;
		if (clean && cqe->qp == c->conn.qp_num)
			continue;
		q->cqes[(q->head + kept++) % q->size] = *cqe;
	}
	q->count = kept;
	q->late = min_u32(q->late, kept);
}

uint32_t platform_cq_poll(struct verbs_cq *cq, struct verbs_wc *wcs, uint32_t *qps)
{
	struct sim_cq *q = sim_cq_of(cq);
	uint32_t n = 0;

	must(q->reactor == reactor_self());
	for (; n < VERBS_POLL_MAX && q->count > q->late; n++) {
		struct sim_cqe *cqe = &q->cqes[q->head];

		wcs[n] = cqe->wc;
		qps[n] = cqe->qp;
		if (cqe->wc.status != VERBS_OK) /* nothing else is said */
			wcs[n] = (struct verbs_wc){ .ctx = cqe->wc.ctx, .status = cqe->wc.status,
			                            .op = (uint8_t)sim_draw(VERBS_RECV), .len = (uint32_t)sim_draw(1u << 20) };
		if (cqe->sender)
			cqe->sender->freed = cqe->index + 1;
		q->head = (q->head + 1) % q->size;
		q->count--;
	}
	if (q->late)
		late_ones_come(q);
	return n;
}

void platform_cq_request_notify(struct verbs_cq *cq)
{
	sim_cq_of(cq)->armed = true;
}

/* --- receives ------------------------------------------------------------------------------------- */

struct verbs_srq *platform_srq_make(struct verbs_dev *d, uint32_t entries, uint32_t sges, struct err *e)
{
	struct sim_srq *s = base_zalloc(sizeof(*s));

	list_init(&s->recvs);
	sim_verbs.srqs++;
	return &s->srq;
}

void platform_srq_free(struct verbs_srq *srq)
{
	struct sim_srq *s = container_of(srq, struct sim_srq, srq);
	struct list *l;

	list_each(c, &sim_verbs.conns)
		must(list_entry(c, struct sim_conn, link)->closed || list_entry(c, struct sim_conn, link)->conn.srq != srq);
	while ((l = list_pop(&s->recvs)))
		free(list_entry(l, struct sim_recv, link));
	free(s);
	sim_verbs.srqs--;
}

static struct sim_recv *recv_make(const struct verbs_recv *r)
{
	struct sim_recv *s = base_zalloc(sizeof(*s) + r->sge_count * sizeof(s->sges[0]));

	s->ctx = r->ctx;
	s->sge_count = r->sge_count;
	memcpy(s->sges, r->sges, r->sge_count * sizeof(s->sges[0]));
	return s;
}

int verbs_srq_post(struct verbs_srq *srq, const struct verbs_recv *r)
{
	struct sim_srq *s = container_of(srq, struct sim_srq, srq);
	struct sim_adapter *a = sim_adapter_of(srq->dev);

	if (!a)
		return -ENODEV;
	for (; r; r = r->next) {
		if (s->count == srq->entries)
			return -ENOMEM;
		if (r->sge_count > srq->sges || (a->fail_receives && ++a->receives % a->fail_receives == 0))
			return -EINVAL;
		check_sges(NULL, a, r->sges, r->sge_count);
		list_add_tail(&s->recvs, &recv_make(r)->link);
		s->count++;
	}
	return 0;
}

int verbs_post_recv(struct verbs_conn *conn, const struct verbs_recv *r)
{
	struct sim_conn *c = sim_conn_of(conn);

	must(!c->closed && !conn->srq);
	if (!c->adapter)
		return -ENODEV;
	for (; r; r = r->next) {
		if (c->recv_count == c->recv_max)
			return -ENOMEM;
		if (r->sge_count > c->recv_sge_max || c->qp == SIM_QP_NONE)
			return -EINVAL;
		check_sges(c, c->adapter, r->sges, r->sge_count);
		list_add_tail(&c->recvs, &recv_make(r)->link);
		c->recv_count++;
	}
	if (c->qp == SIM_QP_BROKEN)
		sim_wire_break(c);
	return 0;
}

/* For a message that came; NULL: there is none. The caller frees it. */
struct sim_recv *sim_recv_take(struct sim_conn *c)
{
	struct sim_srq *s;
	struct list *l;

	if (c->adapter->rnr && c->adapter->rnr--)
		return NULL;
	if (!c->conn.srq) {
		l = list_pop(&c->recvs);
		return l ? list_entry(l, struct sim_recv, link) : NULL;
	}
	s = container_of(c->conn.srq, struct sim_srq, srq);
	l = list_pop(&s->recvs);
	s->count -= l != NULL;
	return l ? list_entry(l, struct sim_recv, link) : NULL;
}

/* Posting memory that is not registered is nobody's fault but ours. */
static void check_sges(const struct sim_conn *c, const struct sim_adapter *a, const struct verbs_sge *sges,
                       uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (!sim_mr_find(a, sges[i].lkey, sges[i].addr, sges[i].len, false))
			sim_verbs_fault("piece %u of %u (%u bytes) of what was posted to adapter %s is not registered as key %u",
			                i, count, sges[i].len, a->info.name, sges[i].lkey);
}

/* --- posting -------------------------------------------------------------------------------------- */

static int post_one(struct sim_conn *c, const struct verbs_wr *wr);
static struct sim_wqe *wqe_make(struct sim_conn *c, const struct verbs_wr *wr);

int verbs_post(struct verbs_conn *conn, const struct verbs_wr *wr, const struct verbs_wr **ret_bad)
{
	struct sim_conn *c = sim_conn_of(conn);
	int rc = 0;

	must(!c->closed && conn->cq);
	if (reactor_self() != sim_cq_of(conn->cq)->reactor)
		sim_verbs_fault("a work request is posted on another core than its completion queue's");
	if (conn->left)
		sim_verbs_fault("a work request is posted to a connection that was forgotten: its queues may be gone");
	conn->cq->expects = true;
	for (; wr && !rc; wr = wr->next) {
		rc = post_one(c, wr);
		if (rc) {
			*ret_bad = wr;
			break;
		}
	}
	if (c->qp == SIM_QP_BROKEN)
		sim_wire_break(c);
	else if (c->qp == SIM_QP_READY)
		sim_wire_pump(c);
	return rc;
}

static int post_one(struct sim_conn *c, const struct verbs_wr *wr)
{
	struct sim_adapter *a = c->adapter;

	if (!a)
		return -ENODEV;
	if (a->fail_posts && ++a->posts % a->fail_posts == 0)
		return a->fail_rc ? a->fail_rc : -ENOMEM;
	if (c->qp != SIM_QP_READY && c->qp != SIM_QP_BROKEN)
		return -EINVAL;
	if (c->posted - c->freed >= c->send_max)
		return -ENOMEM;
	if (wr->sge_count > c->send_sge_max)
		sim_verbs_fault("%u pieces of memory are posted where %u were asked for", wr->sge_count, c->send_sge_max);
	if (wr->op == VERBS_READ && !c->read_depth)
		sim_verbs_fault("a READ is posted on a connection that may have none under way");
	if (wr->op == VERBS_SEND_INVALIDATE && !a->info.send_invalidate)
		sim_verbs_fault("SEND with invalidate is posted to adapter %s, which has none", a->info.name);
	assert(wr->op < VERBS_RECV);
	list_add_tail(&c->queued, &wqe_make(c, wr)->link);
	return 0;
}

static struct sim_wqe *wqe_make(struct sim_conn *c, const struct verbs_wr *wr)
{
	struct sim_wqe *w = base_zalloc(sizeof(*w) + wr->sge_count * sizeof(w->sges[0]));

	*w = (struct sim_wqe){ .index = c->posted++, .ctx = wr->ctx, .op = wr->op, .sge_count = wr->sge_count,
	                       .signaled = wr->signaled, .fence = wr->fence, .rkey = wr->rkey, .remote = wr->remote };
	for (uint32_t i = 0; i < wr->sge_count; i++) {
		w->sges[i] = wr->sges[i];
		w->len += wr->sges[i].len;
	}
	w->is_inline = w->len && w->len <= c->inline_max && (w->op == VERBS_SEND || w->op == VERBS_SEND_INVALIDATE);
	if (!w->is_inline) {
		check_sges(c, c->adapter, w->sges, w->sge_count);
		return w;
	}
	w->bytes = base_zalloc(w->len);
	for (uint32_t i = 0, at = 0; i < w->sge_count; at += w->sges[i++].len)
		memcpy(w->bytes + at, (const void *)(uintptr_t)w->sges[i].addr, w->sges[i].len);
	return w;
}
