/* SPDX-License-Identifier: BSD-3-Clause */
/* home.c: what a core has for all of its connections over one adapter: a completion queue, shared receives where the
 * adapter has them, a watchdog. Made and freed by the control reactor, begun with its first connection.
 */
#include <errno.h>

#include "core/waits.h"
#include "nvmf/rdma/rdma.h"

static uint32_t shared_depth(const struct rdma_transport *tr, const struct verbs_dev_info *info);
static uint32_t fit_into_share(const struct rdma_transport *tr);
static uint32_t stride_of(const struct nvmf_transport_opts *opts);
static void completed(void *arg, const struct verbs_wc *wcs, uint32_t count);
static void capsule_completed(struct rdma_home *h, struct rdma_capsule *cap, const struct verbs_wc *wc);
static void req_completed(struct rdma_req *r, const struct verbs_wc *wc);
static void sweep_due(struct timer *t);
static void remember(struct rdma_home *h, struct rdma_conn *c);
static bool watch_requests(struct watch *w, uint64_t now_ns, uint64_t limit_ns);
static bool watch_conn(struct watch *w, struct rdma_conn *c, uint64_t now_ns, uint64_t limit_ns);
static void watch_one(struct watch *w, struct rdma_conn *c, struct rdma_req *r, uint64_t age_ns);

/* --- making: control --- */

struct rdma_home *rdma_home_make(struct rdma_transport *tr, struct rdma_dev *dev, uint32_t core_index, struct err *e)
{
	const struct nvmf_transport_opts *opts = &tr->base.opts;
	const struct verbs_dev_info *info = verbs_dev_info(dev->vd);
	struct rdma_home *h = base_zalloc_aligned(CACHE_LINE, align_up(sizeof(*h), CACHE_LINE));
	uint32_t shared = shared_depth(tr, info);
	uint64_t entries = opts->num_cqe;

	h->tr = tr;
	h->dev = dev;
	h->reactor = core_reactor(tr->core, core_index);
	list_init(&h->conns);
	queue_init(&h->shared.again);
	/* Not every adapter lets it grow. Where receives are shared more than usual may be asked for, not less: num_cqe is
	 * known as an option of those that are not. */
	if (!entries || shared)
		entries = max_u64(entries, RDMA_CQ_ENTRIES);
	entries += shared;
	h->cq = verbs_cq_make(dev->vd, (uint32_t)min_u64(entries, info->cq_max), e);
	if (!h->cq)
		goto failed;
	if (!shared)
		return h;
	/* Fewer do as well: a host waits until there is one. */
	while (rdma_capsules_make(&h->shared, h, NULL, shared, 0, e)) {
		shared /= 2;
		if (shared < RDMA_SRQ_DEPTH_MIN)
			goto failed;
		*e = (struct err){ 0 };
	}
	h->srq = verbs_srq_make(dev->vd, shared, h->shared.data_bytes ? 2 : 1, e);
	if (h->srq)
		return h;
failed:
	rdma_home_free(h);
	return NULL;
}

static uint32_t stride_of(const struct nvmf_transport_opts *opts)
{
	uint32_t bytes = opts->in_capsule_data_size;

	return (uint32_t)align_up(bytes, bytes < RDMA_CAPSULE_ALIGN ? CACHE_LINE : RDMA_CAPSULE_ALIGN);
}

/* 0: receives are not shared. */
static uint32_t shared_depth(const struct rdma_transport *tr, const struct verbs_dev_info *info)
{
	const struct nvmf_transport_opts *opts = &tr->base.opts;

	if (opts->no_srq || info->srq_recv_max < RDMA_SRQ_DEPTH_MIN || info->srq_sge_max < 2)
		return 0;
	return min_u32(min_u32(opts->max_srq_depth ? opts->max_srq_depth : RDMA_SRQ_DEPTH, info->srq_recv_max),
	               fit_into_share(tr));
}

/* The first cores shall not have all memory for receives: the others want some too, and connections their slots. */
static uint32_t fit_into_share(const struct rdma_transport *tr)
{
	uint32_t each = (uint32_t)sizeof(struct nvme_sqe) + stride_of(&tr->base.opts), adapters = 0;
	struct mem_stats mem;

	list_each(l, &tr->devs)
		adapters++;
	mem_get_stats(tr->core, &mem);
	return (uint32_t)max_u64(RDMA_SRQ_DEPTH_MIN, mem.charge_bytes_max / RDMA_SRQ_SHARE /
	                         ((uint64_t)adapters * core_reactor_count(tr->core)) / each);
}

void rdma_home_free(struct rdma_home *h)
{
	assert(!h->begun && list_empty(&h->conns));
	if (h->srq)
		verbs_srq_free(h->srq);
	if (h->cq)
		verbs_cq_free(h->cq);
	rdma_capsules_free(&h->shared, h);
	free(h);
}

/* sqes first, then data, each at a place that devices like; then answers. Charged as a whole. */
int rdma_capsules_make(struct rdma_capsules *s, struct rdma_home *h, struct rdma_conn *owner, uint32_t count,
                       uint32_t answers, struct err *e)
{
	struct core *core = h->tr->core;
	uint64_t data_at, bytes;
	int rc;

	queue_init(&s->again);
	s->data_bytes = h->tr->base.opts.in_capsule_data_size;
	s->stride = stride_of(&h->tr->base.opts);
	data_at = align_up((uint64_t)count * sizeof(struct nvme_sqe), RDMA_CAPSULE_ALIGN);
	s->answers_at = data_at + (uint64_t)count * s->stride;
	bytes = s->answers_at + answers * sizeof(struct nvme_cqe);
	if (!bytes)
		return 0;
	if (!mem_charge(core, bytes))
		return err_set(e, -ENOMEM, "capsules of %u commands do not fit into the memory budget; raise --memory, or "
		               "lower max_srq_depth or in_capsule_data_size", count);
	rc = verbs_mem_make(&s->mem, h->dev->vd, bytes, e);
	if (rc) {
		mem_uncharge(core, bytes);
		return rc;
	}
	s->charged = bytes;
	s->count = count;
	s->all = base_zalloc(max_u32(count, 1) * sizeof(*s->all));
	for (uint32_t i = 0; i < count; i++) {
		struct rdma_capsule *cap = &s->all[i];

		cap->work.kind = RDMA_WORK_CAPSULE;
		cap->conn = owner;
		cap->sqe = (struct nvme_sqe *)s->mem.base + i;
		cap->data = (uint8_t *)s->mem.base + data_at + (uint64_t)i * s->stride;
		queue_push(&s->again, &cap->link);
	}
	return 0;
}

void rdma_capsules_free(struct rdma_capsules *s, struct rdma_home *h)
{
	if (!s->charged)
		return;
	verbs_mem_free(&s->mem);
	mem_uncharge(h->tr->core, s->charged);
	free(s->all);
	memset(s, 0, sizeof(*s));
}

/* --- beginning and end: its core --- */

static void know(const struct rdma_home *h, struct rdma_known *k, const struct mem_region *r)
{
	struct verbs_key key;

	if (verbs_find_key(h->dev->vd, r->base, r->len, &key))
		*k = (struct rdma_known){ (uintptr_t)r->base, r->len, key.lkey };
}

int rdma_home_begin(struct rdma_home *h)
{
	int rc;

	if (h->begun)
		return 0;
	rc = verbs_cq_start(h->cq, completed, h);
	if (rc)
		return rc;
	h->begun = true;
	know(h, &h->buffers, mem_region_self());
	know(h, &h->zeroes, mem_zeroes(h->tr->core));
	watch_start(&h->watch, "NVMe/RDMA", watch_requests);
	if (h->srq)
		rdma_post_shared(h);
	return 0;
}

void rdma_home_end(struct rdma_home *h)
{
	if (!h->begun)
		return;
	assert(list_empty(&h->conns));
	verbs_cq_stop(h->cq);
	watch_stop(&h->watch);
	timer_stop(&h->sweep);
	defer_cancel(&h->flush);
	h->begun = false;
}

void rdma_home_lose_all(struct rdma_home *h, const char *why)
{
	list_each_safe(l, &h->conns)
		rdma_conn_lose(list_entry(l, struct rdma_conn, link), why);
}

/* Buffers lie in one piece of registered memory, zeroes in another; what does not is looked up. */
uint32_t rdma_home_lkey(struct rdma_home *h, const void *at, size_t len)
{
	struct verbs_key key;

	if (likely((uintptr_t)at - h->buffers.at < h->buffers.len))
		return h->buffers.lkey;
	if (likely((uintptr_t)at - h->zeroes.at < h->zeroes.len))
		return h->zeroes.lkey;
	/* Memory that is not registered ends the connection with a LOCAL_KEY fault. */
	return verbs_find_key(h->dev->vd, at, len, &key) ? key.lkey : 0;
}

/* --- completions --- */

static void completed(void *arg, const struct verbs_wc *wcs, uint32_t count)
{
	struct rdma_home *h = arg;

	for (uint32_t i = 0; i < count; i++) {
		struct rdma_work *work = wcs[i].ctx;

		if (work->kind == RDMA_WORK_CAPSULE)
			capsule_completed(h, container_of(work, struct rdma_capsule, work), &wcs[i]);
		else
			req_completed(container_of(work, struct rdma_req, work), &wcs[i]);
	}
	if (h->srq && unlikely(!h->shared.posted))
		rdma_count(h, shared_dry, 1);
}

static void capsule_completed(struct rdma_home *h, struct rdma_capsule *cap, const struct verbs_wc *wc)
{
	struct rdma_conn *c = wc->conn ? verbs_conn_arg(wc->conn) : NULL;
	struct rdma_capsules *all = cap->conn ? &cap->conn->own : &h->shared;

	if (unlikely(!cap->posted))
		all->count++; /* of a chain that was refused in part: it was posted, then */
	else
		all->posted--;
	cap->posted = false;
	if (unlikely(!c || !conn_is_live(c) || wc->status != VERBS_OK)) {
		if (!cap->conn)
			rdma_capsule_done(h, cap);
		if (c && conn_is_live(c))
			rdma_conn_failed(c, wc->status, "a receive");
		return;
	}
	cap->came = wc->len > sizeof(*cap->sqe) ? wc->len - (uint32_t)sizeof(*cap->sqe) : 0;
	rdma_count(h, requests, 1);
	nvmf_qpair_seen(&c->qp);
	if (unlikely(wc->len < sizeof(*cap->sqe))) {
		rdma_capsule_done(h, cap);
		rdma_count(h, broken_rules, 1);
		rdma_conn_lose(c, "a capsule is shorter than a command");
		return;
	}
	rdma_conn_capsule(c, cap);
}

static void req_completed(struct rdma_req *r, const struct verbs_wc *wc)
{
	struct rdma_conn *c = req_conn(r);

	if (unlikely(!conn_is_live(c)))
		return; /* lost by what came before it in this batch */
	if (unlikely(wc->status != VERBS_OK)) {
		rdma_conn_failed(c, wc->status, rdma_req_states[r->state].meaning);
		return;
	}
	rdma_req_completed(r);
}

/* --- waits: nobody is forgotten --- */

void rdma_home_waits(struct rdma_home *h)
{
	h->waiting++;
	if (!timer_is_running(&h->sweep))
		timer_start(&h->sweep, RDMA_SWEEP_MS * NS_PER_MS, sweep_due);
}

static void sweep_due(struct timer *t)
{
	struct rdma_home *h = container_of(t, struct rdma_home, sweep);

	list_each(l, &h->conns)
		remember(h, list_entry(l, struct rdma_conn, link));
	if (h->waiting)
		timer_start(&h->sweep, RDMA_SWEEP_MS * NS_PER_MS, sweep_due);
}

static void look_at_line(struct rdma_home *h, struct waitq *q)
{
	struct wait *w = list_first(&q->waiters, struct wait, link);

	if (!w || q->wake.queued || !q->ready(q, w->need))
		return;
	rdma_count(h, remembered, 1);
	waitq_wake(q);
}

static void remember(struct rdma_home *h, struct rdma_conn *c)
{
	look_at_line(h, &c->asked.line);
	look_at_line(h, &c->shown.line);
	look_at_line(h, &c->senders);
	look_at_line(h, &c->readers);
}

/* --- requests that stand still --- */

/* What is in the target's hands the target watches. */
static bool watch_requests(struct watch *w, uint64_t now_ns, uint64_t limit_ns)
{
	struct rdma_home *h = container_of(w, struct rdma_home, watch);
	bool any = false;

	list_each_safe(l, &h->conns)
		any |= watch_conn(w, list_entry(l, struct rdma_conn, link), now_ns, limit_ns);
	return any;
}

/* A completion that is so late that it was named, and had the data deadline on top, does not come any more: the
 * connection ends, and its host connects anew. */
static bool watch_conn(struct watch *w, struct rdma_conn *c, uint64_t now_ns, uint64_t limit_ns)
{
	uint64_t patience_ns = limit_ns + c->qp.transport->opts.data_timeout_ms * NS_PER_MS;
	bool any = false, late = false;

	for (uint32_t i = 0; c->in_use > c->executing && i < c->touched; i++) {
		struct rdma_req *r = &c->slots[i];
		uint64_t age_ns = now_ns > r->since_ns ? now_ns - r->since_ns : 0;

		if (r->state == REQ_FREE || r->state == REQ_EXECUTE)
			continue;
		any = true;
		if (age_ns > limit_ns)
			watch_one(w, c, r, age_ns);
		late |= age_ns > patience_ns && (r->state == REQ_READ || r->state == REQ_SEND);
	}
	if (late && conn_is_live(c)) {
		rdma_count(c->home, timed_out, 1);
		rdma_conn_lose(c, "a completion never came");
	}
	return any;
}

static void watch_one(struct watch *w, struct rdma_conn *c, struct rdma_req *r, uint64_t age_ns)
{
	char text[NET_ADDR_TEXT_MAX];

	watch_report(w, age_ns, "%s queue %u command %u opcode %02xh: %s (%u of %u bytes, %u work requests)",
	             net_addr_text(&c->peer, text), c->qp.qid, le16_get(r->req.cmd.cid), r->req.cmd.opc,
	             rdma_req_states[r->state].meaning, r->moved, r->req.data_len, r->wrs);
}
