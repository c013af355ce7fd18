/* SPDX-License-Identifier: BSD-3-Clause */
/* rdma.c: queue pairs over NVMe/RDMA: their beginning and end, on their own core. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "nvme/rdma/inside.h"

void nvme_rdma_broke(struct rdma_qpair *t, enum nvme_reason reason, int code, const char *fmt, ...)
{
	char why[ERR_TEXT_MAX], addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	err_set(&e, code, "queue %u to %s: %s", t->qp.qid, net_addr_text(&t->qp.addr, addr), why);
	nvme_qpair_broke(&t->qp, reason, &e);
}

/* --- beginning -------------------------------------------------------------------------------------------------- */

struct nvme_qpair *nvme_rdma_make(struct nvme_host *h)
{
	struct rdma_qpair *t = base_zalloc(sizeof(*t));

	(void)h;
	queue_init(&t->line);
	queue_init(&t->chain);
	t->recvs_last = &t->recvs_first;
	return &t->qp;
}

void nvme_rdma_size(struct nvme_qpair *qp)
{
	struct rdma_qpair *t = rdma_of(qp);

	t->slots = base_zalloc(qp->slot_count * sizeof(*t->slots));
	while (t->ring_mask < qp->slot_count)
		t->ring_mask = t->ring_mask << 1 | 1;
	t->ring = base_zalloc((t->ring_mask + 1) * sizeof(*t->ring));
}

/* A command, and room for its descriptors. */
static uint32_t capsule_bytes(const struct nvme_qpair *qp)
{
	uint32_t descriptors = qp->qid ? min_u32(qp->descriptors_max, RDMA_DESCRIPTORS_MAX) : 0;

	return align_up((uint32_t)(sizeof(struct nvme_sqe) + descriptors * sizeof(struct nvme_sgl)), CACHE_LINE);
}

int nvme_rdma_connect(struct nvme_qpair *qp, struct err *e)
{
	struct rdma_qpair *t = rdma_of(qp);
	struct rdma_link *l = base_zalloc(sizeof(*l));

	(void)e;
	assert(t->slots && !t->link);
	l->hub = nvme_rdma_hub_of(qp->host);
	l->home = reactor_self();
	l->to = qp->addr;
	l->from = qp->from;
	l->has_from = qp->has_from;
	l->qid = qp->qid;
	l->size = qp->size;
	l->slot_count = qp->slot_count;
	l->cntlid = le16_get(qp->connect_data.cntlid);
	l->capsule_bytes = capsule_bytes(qp);
	l->timeout_ms = qp->opts.cm_timeout_ms ? qp->opts.cm_timeout_ms : qp->opts.connect_timeout_ms;
	l->tos = qp->opts.tos;
	l->ack_exponent = (uint8_t)min_u32(qp->opts.ack_exponent, VERBS_ACK_EXPONENT_MAX);
	l->owner = t;
	l->slots = t->slots;
	t->link = l;
	nvme_rdma_link_begin(l);
	return 0;
}

static const char *stage_of(const struct rdma_slot *s)
{
	if (!s->posted)
		return "waits for copy buffers";
	if (s->answered)
		return "answered, but its SEND is not complete";
	return s->sent ? "waits for the answer" : "sent, neither complete nor answered";
}

/* Keep Alive's success says nothing of I/O. An asynchronous event request is meant to stay. */
static bool name_old_ones(struct watch *w, uint64_t now_ns, uint64_t limit_ns)
{
	struct rdma_qpair *t = container_of(w, struct rdma_qpair, watch);
	char addr[NET_ADDR_TEXT_MAX];
	bool any = false;

	for (uint16_t i = 0; t->slots && i < t->qp.slot_count; i++) {
		const struct rdma_slot *s = &t->slots[i];

		if (!s->op || (!t->qp.qid && s->op->cmd.opc == NVME_ADMIN_ASYNC_EVENT))
			continue;
		any = true;
		if (now_ns - s->began_ns < limit_ns)
			continue;
		watch_report(w, now_ns - s->began_ns, "queue %u to %s: command %u (%02xh) %s", t->qp.qid,
		             net_addr_text(&t->qp.addr, addr), s->op->cid, s->op->cmd.opc, stage_of(s));
	}
	return any;
}

void nvme_rdma_link_is_up(struct rdma_link *l)
{
	struct rdma_qpair *t = l->owner;

	watch_start(&t->watch, "NVMe/RDMA host", name_old_ones);
	nvme_qpair_hold(&t->qp);
	if (l->crqsize && !nvme_qpair_cut(&t->qp, l->crqsize))
		rdma_bad(t, "the target accepted a queue for %u commands, which is too small", l->crqsize);
	else
		nvme_qpair_connected(&t->qp);
	nvme_qpair_release(&t->qp);
}

/* The connection manager has settled everything. */
void nvme_rdma_negotiate(struct nvme_qpair *qp)
{
	nvme_qpair_negotiated(qp);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

void nvme_rdma_link_is_broken(struct rdma_link *l)
{
	nvme_rdma_broke(l->owner, l->reason, l->err.code, "%s", l->err.text);
}

bool nvme_rdma_disconnect(struct nvme_qpair *qp)
{
	struct rdma_qpair *t = rdma_of(qp);
	struct rdma_link *l = t->link;

	if (!l)
		return true;
	nvme_rdma_line_end(t);
	if (l->up)
		watch_stop(&t->watch);
	nvme_rdma_link_end(l);
	if (t->direct_out)
		return false;
	t->link = NULL;
	t->slots = NULL;
	l->owner = NULL;
	return true;
}

void nvme_rdma_link_is_dead(struct rdma_link *l)
{
	struct rdma_qpair *t = l->owner;

	for (uint16_t i = 0; i < l->slot_count && l->seat; i++)
		if (l->slots[i].chunk)
			chunks_give(&l->seat->chunks, l->slots[i].chunk, l->slots[i].chunk_len);
	l->owner = NULL;
	if (!t)
		return;
	t->link = NULL;
	t->slots = NULL;
	t->direct_out = 0;
	nvme_qpair_let_go(&t->qp);
}

/* The defer may still be queued: the last free of a pass is done by it. */
static void free_at_end(struct defer *d)
{
	struct rdma_qpair *t = container_of(d, struct rdma_qpair, post_defer);

	free(t->slots);
	free(t->ring);
	free(t);
}

void nvme_rdma_free(struct nvme_qpair *qp)
{
	struct rdma_qpair *t = rdma_of(qp);

	assert(!t->link);
	if (t->post_defer.queued)
		t->post_defer.fn = free_at_end;
	else
		free_at_end(&t->post_defer);
}
