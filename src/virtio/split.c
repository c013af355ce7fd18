/* SPDX-License-Identifier: BSD-3-Clause */
/* split.c: split virtqueues, the device's side (virtio 1.2, 2.7). */
#include "virtio/access.h"

static bool split_look(struct vq_dev *q);
static enum vq_fault split_chain(struct vq_dev *q, struct vq_chain *c, uint32_t max, uint16_t head);
static void split_use(struct vq_dev *q, uint16_t id, uint32_t written);

static const struct virtq_desc *split_head(const struct vq_dev *q, uint16_t at)
{
	const struct virtq_avail *avail = q->driver;

	return &q->desc[vq_peek16(&avail->ring[at & (q->size - 1)]) & (q->size - 1)];
}

/* Three misses lie one behind the other (descriptor, table, header): each is asked for some chains before. */
static inline void split_look_ahead(const struct vq_dev *q)
{
	uint16_t left = (uint16_t)(q->avail_seen - q->avail_next);

	if (left > 4)
		__builtin_prefetch(split_head(q, q->avail_next + 4));
	if (left > 2)
		vq_prefetch_target(q, split_head(q, q->avail_next + 2));
	if (left > 1 && vq_read_split(split_head(q, q->avail_next + 1)).flags & VIRTQ_DESC_F_INDIRECT)
		vq_prefetch_table(q, split_head(q, q->avail_next + 1));
}

int vq_split_pop(struct vq_dev *q, struct vq_chain *c, struct iovec *iovs, uint32_t max)
{
	const struct virtq_avail *avail = q->driver;
	bool resubmit = unlikely(q->resubmit_next < q->resubmit_count);
	struct vq_slot *slot;
	enum vq_fault fault;
	uint16_t head;

	assert(max <= UINT16_MAX);
	if (unlikely(q->fault != VQ_OK))
		return -1;
	if (resubmit) {
		head = q->resubmit[q->resubmit_next];
	} else {
		if (q->avail_next == q->avail_seen && !split_look(q))
			return q->fault == VQ_OK ? 0 : -1;
		head = vq_peek16(&avail->ring[q->avail_next & (q->size - 1)]);
		if (unlikely(head >= q->size))
			return vq_dev_stop(q, VQ_FAULT_HEAD, q->avail_next, head);
		split_look_ahead(q);
	}
	slot = &q->slots[head];
	if (unlikely(slot->state != VQ_SLOT_FREE))
		return vq_dev_stop(q, VQ_FAULT_TWICE, q->avail_next, head);
	*c = (struct vq_chain){ .iov = iovs, .mem = q->mem, .id = head, .resubmitted = resubmit };
	fault = split_chain(q, c, max, head);
	if (unlikely(fault != VQ_OK))
		return vq_dev_stop(q, fault, head, q->fault_value);
	if (resubmit) {
		q->resubmit_next++;
	} else {
		q->avail_next++;
		if (q->inflight)
			vq_split_inflight_take(q, head);
	}
	slot->state = VQ_SLOT_TAKEN;
	slot->descs = 1;
	if (q->in_order)
		vq_order_add(q, head);
	q->in_flight++;
	return 1;
}

void vq_split_push(struct vq_dev *q, const struct vq_chain *c, uint32_t written)
{
	uint16_t id = c->id;

	must(id < q->size && q->slots[id].state == VQ_SLOT_TAKEN);
	if (unlikely(q->log != NULL))
		vq_dev_log_chain(q, c);
	if (likely(!q->in_order)) {
		split_use(q, id, written);
		return;
	}
	q->slots[id].state = VQ_SLOT_DONE;
	q->slots[id].written = written;
	while (vq_order_next(q, &id))
		split_use(q, id, q->slots[id].written);
}

void vq_split_publish(struct vq_dev *q)
{
	struct virtq_used *used = q->device;

	if (q->inflight)
		vq_split_inflight_before(q);
	/* In one order with our look at the driver's event word, which vq_dev_kick_due() takes. */
	vq_store16_seq(&used->idx, q->used_next);
	if (q->inflight)
		vq_split_inflight_after(q);
	if (unlikely(q->log != NULL))
		vq_dev_log_ring(q, used, sizeof(*used));
	q->told_since += (uint16_t)(q->used_next - q->used_told);
	q->used_told = q->used_next;
	q->used_pending = false;
}

/* Read the available index: all of a batch with one read. */
static bool split_look(struct vq_dev *q)
{
	const struct virtq_avail *avail = q->driver;
	uint16_t seen = vq_load16(&avail->idx), count = (uint16_t)(seen - q->avail_next);

	if (count > q->size) {
		vq_dev_stop(q, VQ_FAULT_AVAIL_AHEAD, q->avail_next, seen);
		return false;
	}
	q->avail_seen = seen;
	return count > 0;
}

static enum vq_fault split_table(struct vq_dev *q, struct vq_chain *c, uint32_t max, const struct vq_split_desc *t)
{
	uint32_t count = t->len / sizeof(struct virtq_desc), steps = 0, at = 0;
	const struct virtq_desc *entry;
	struct vq_split_desc d;
	enum vq_fault fault = vq_table_check(q, t->len, t->flags);

	if (unlikely(fault != VQ_OK))
		return vq_dev_bad(q, fault, t->len);
	for (;;) {
		entry = vq_table_at(q, t->addr, at);
		if (unlikely(!entry))
			return vq_dev_bad(q, VQ_FAULT_INDIRECT_ADDR, t->addr);
		d = vq_read_split(entry);
		if (unlikely(d.flags & VIRTQ_DESC_F_INDIRECT))
			return vq_dev_bad(q, VQ_FAULT_INDIRECT_NESTED, d.addr);
		fault = vq_chain_add(q, c, max, d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE);
		if (unlikely(fault != VQ_OK))
			return vq_dev_bad(q, fault, d.addr);
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			return VQ_OK;
		if (unlikely(d.next >= count))
			return vq_dev_bad(q, VQ_FAULT_NEXT, d.next);
		if (unlikely(++steps == count))
			return vq_dev_bad(q, VQ_FAULT_LOOP, d.next);
		at = d.next;
	}
}

static enum vq_fault split_chain(struct vq_dev *q, struct vq_chain *c, uint32_t max, uint16_t head)
{
	struct vq_split_desc d;
	uint32_t steps = 0;
	uint16_t at = head;
	enum vq_fault fault;

	for (;;) {
		d = vq_read_split(&q->desc[at]);
		if (d.flags & VIRTQ_DESC_F_INDIRECT)
			return split_table(q, c, max, &d);
		fault = vq_chain_add(q, c, max, d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE);
		if (unlikely(fault != VQ_OK))
			return vq_dev_bad(q, fault, d.addr);
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			return VQ_OK;
		if (unlikely(d.next >= q->size))
			return vq_dev_bad(q, VQ_FAULT_NEXT, d.next);
		if (unlikely(++steps == q->size))
			return vq_dev_bad(q, VQ_FAULT_LOOP, d.next);
		at = d.next;
	}
}

static void split_use(struct vq_dev *q, uint16_t id, uint32_t written)
{
	struct virtq_used *used = q->device;
	struct virtq_used_elem *elem = &used->ring[q->used_next & (q->size - 1)];

	*elem = (struct virtq_used_elem){ le32_of(id), le32_of(written) };
	if (unlikely(q->log != NULL))
		vq_dev_log_ring(q, elem, sizeof(*elem));
	q->slots[id].state = q->inflight ? vq_batch_add(q, id) : VQ_SLOT_FREE;
	q->used_next++;
	q->used_pending = true;
	q->in_flight--;
}
