/* SPDX-License-Identifier: BSD-3-Clause */
/* cq.c: completion queues and their channels. */
#include "fake.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- made and freed --------------------------------------------------------------------------------------------- */

FAKE_EXPORT struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *c)
{
	struct fake_channel *ch = calloc(1, sizeof *ch);

	if (!ch)
		return NULL;
	ch->channel = (struct ibv_comp_channel){ .context = c, .fd = fake_eventfd() };
	list_init(&ch->rang);
	return &ch->channel;
}

FAKE_EXPORT int ibv_destroy_comp_channel(struct ibv_comp_channel *channel)
{
	struct fake_channel *ch = container_of(channel, struct fake_channel, channel);

	if (channel->refcnt)
		return EBUSY;
	close(channel->fd);
	free(ch);
	return 0;
}

static bool ring_make(struct fake_cq *q, uint32_t limit)
{
	uint32_t size = 1;

	while (size < limit)
		size *= 2;
	q->ring = calloc(size, sizeof *q->ring);
	q->mask = size - 1;
	q->limit = limit;
	q->cq.cqe = (int)limit;
	return q->ring;
}

FAKE_EXPORT struct ibv_cq *ibv_create_cq(struct ibv_context *c, int entries, void *context,
                                         struct ibv_comp_channel *channel, int vector)
{
	struct fake_cq *q = calloc(1, sizeof *q);

	if (!q || entries < 1 || entries > FAKE_CQE_MAX || vector < 0 || vector >= c->num_comp_vectors ||
	    !ring_make(q, (uint32_t)entries)) {
		errno = q ? EINVAL : ENOMEM;
		free(q);
		return NULL;
	}
	q->cq.context = c;
	q->cq.cq_context = context;
	q->cq.channel = channel;
	list_init(&q->link);
	fake_lock();
	if (channel)
		channel->refcnt++;
	fake_unlock();
	return &q->cq;
}

FAKE_EXPORT int ibv_resize_cq(struct ibv_cq *cq, int entries)
{
	struct fake_cq *q = container_of(cq, struct fake_cq, cq);
	struct fake_cqe *old;
	uint32_t old_mask, waiting;

	fake_lock();
	old = q->ring;
	old_mask = q->mask;
	waiting = q->tail - q->head;
	if (entries < 1 || entries > FAKE_CQE_MAX || waiting > (uint32_t)entries || !ring_make(q, (uint32_t)entries)) {
		fake_unlock();
		return EINVAL;
	}
	for (uint32_t i = 0; i < waiting; i++)
		q->ring[i] = old[(q->head + i) & old_mask];
	__atomic_store_n(&q->head, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&q->tail, waiting, __ATOMIC_RELAXED);
	fake_unlock();
	free(old);
	return 0;
}

FAKE_EXPORT int ibv_destroy_cq(struct ibv_cq *cq)
{
	struct fake_cq *q = container_of(cq, struct fake_cq, cq);

	fake_lock();
	if (q->told != q->acked)
		fake_fault("ibv_destroy_cq() with %u events not acknowledged: it blocks for ever", q->told - q->acked);
	if (cq->channel) {
		list_del(&q->link);
		cq->channel->refcnt--;
	}
	fake_unlock();
	free(q->ring);
	free(q);
	return 0;
}

/* --- entries ---------------------------------------------------------------------------------------------------- */

static void ring_bell(struct fake_cq *q)
{
	struct fake_channel *ch = container_of(q->cq.channel, struct fake_channel, channel);

	q->armed = false;
	q->rings++;
	if (!list_linked(&q->link))
		list_add_tail(&ch->rang, &q->link);
	fake_eventfd_add(ch->channel.fd);
}

void fake_cq_push(struct fake_cq *q, const struct fake_cqe *e)
{
	if (unlikely(q->tail - q->head == q->limit)) {
		if (!q->overrun)
			fake_async(IBV_EVENT_CQ_ERR, &q->cq);
		q->overrun = true;
		return;
	}
	q->ring[q->tail & q->mask] = *e;
	__atomic_store_n(&q->tail, q->tail + 1, __ATOMIC_RELAXED);
	if (unlikely(q->armed))
		ring_bell(q);
}

void fake_cq_forget(struct fake_cq *q, const struct fake_qp *qp)
{
	uint32_t kept = q->head;

	for (uint32_t i = q->head; i != q->tail; i++) {
		if (q->ring[i & q->mask].qp != qp)
			q->ring[kept++ & q->mask] = q->ring[i & q->mask];
	}
	__atomic_store_n(&q->tail, kept, __ATOMIC_RELAXED);
}

static void tell(const struct fake_cqe *e, struct ibv_wc *wc)
{
	struct fake_qp *qp = e->qp;

	wc->wr_id = e->wr_id;
	wc->status = e->status;
	wc->opcode = e->opcode;
	wc->vendor_err = 0;
	wc->byte_len = e->len;
	wc->invalidated_rkey = e->key;
	wc->qp_num = qp->qp.qp_num;
	wc->src_qp = 0;
	wc->wc_flags = e->invalidated ? IBV_WC_WITH_INV : 0;
	if (!(e->opcode & IBV_WC_RECV))
		qp->send_done = e->send_done;
}

int fake_cq_poll(struct ibv_cq *cq, int n, struct ibv_wc *wc)
{
	struct fake_cq *q = container_of(cq, struct fake_cq, cq);
	int i = 0;

	/* Looked at without the mutex, as an adapter's memory is: who finds nothing pays little. */
	if (__atomic_load_n(&q->tail, __ATOMIC_RELAXED) == __atomic_load_n(&q->head, __ATOMIC_RELAXED))
		return 0;
	fake_lock();
	for (; i < n && q->head != q->tail; i++) {
		tell(&q->ring[q->head & q->mask], &wc[i]);
		__atomic_store_n(&q->head, q->head + 1, __ATOMIC_RELAXED);
	}
	fake_unlock();
	return i;
}

/* --- events ----------------------------------------------------------------------------------------------------- */

/* Of completions that come from now on; not of those that are there: whoever arms has to look again. */
int fake_cq_arm(struct ibv_cq *cq, int solicited_only)
{
	struct fake_cq *q = container_of(cq, struct fake_cq, cq);

	fake_lock();
	q->armed = cq->channel && !solicited_only;
	fake_unlock();
	return 0;
}

FAKE_EXPORT int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **ret_cq, void **ret_context)
{
	struct fake_channel *ch = container_of(channel, struct fake_channel, channel);
	struct fake_cq *q;

	if (fake_eventfd_take(channel->fd))
		return -1;
	fake_lock();
	q = list_first(&ch->rang, struct fake_cq, link);
	if (q) {
		q->told++;
		if (!--q->rings)
			list_del(&q->link);
	}
	fake_unlock();
	if (!q) { /* its queue was destroyed meanwhile */
		errno = EAGAIN;
		return -1;
	}
	*ret_cq = &q->cq;
	*ret_context = q->cq.cq_context;
	return 0;
}

FAKE_EXPORT void ibv_ack_cq_events(struct ibv_cq *cq, unsigned int count)
{
	struct fake_cq *q = container_of(cq, struct fake_cq, cq);

	fake_lock();
	q->acked += count;
	if (q->acked > q->told)
		fake_fault("more completion events acknowledged than were told");
	fake_unlock();
}
