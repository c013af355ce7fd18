/* SPDX-License-Identifier: BSD-3-Clause */
/* packed.c: packed virtqueues, the device's side (virtio 1.2, 2.8).
 *
 * The driver shows a chain, we show a batch, by the flags of the first descriptor, written last.
 */
#include "virtio/access.h"

static enum vq_fault packed_chain(struct vq_dev *q, struct vq_chain *c, uint32_t max, uint16_t flags,
                                  struct vq_slot *ret_slot);
static enum vq_fault packed_again(struct vq_dev *q, struct vq_chain *c, uint32_t max, struct vq_slot *ret_slot);
static void packed_use(struct vq_dev *q, uint16_t id, uint32_t written);

/* The next entry if it is available, and the one after it. What is not a head's is worth its reading, too. */
static inline void packed_look_ahead(const struct vq_dev *q)
{
	uint32_t at = q->avail_next;
	uint16_t flags = vq_load16(&vq_pdesc(q->desc, at)->flags);

	if (!vq_is_avail(flags, q->avail_wrap))
		return;
	if (flags & VIRTQ_DESC_F_INDIRECT)
		vq_prefetch_table(q, &q->desc[at]);
	else
		vq_prefetch_target(q, &q->desc[at]);
	at++;
	if (at < q->size && vq_is_avail(vq_load16(&vq_pdesc(q->desc, at)->flags), q->avail_wrap))
		vq_prefetch_target(q, &q->desc[at]);
	__builtin_prefetch(&q->desc[at + 3 < q->size ? at + 3 : 0]);
}

int vq_packed_pop(struct vq_dev *q, struct vq_chain *c, struct iovec *iovs, uint32_t max)
{
	bool resubmit = unlikely(q->resubmit_next < q->resubmit_count);
	struct vq_slot slot = { .state = VQ_SLOT_TAKEN };
	enum vq_fault fault;
	uint16_t flags;

	assert(max <= UINT16_MAX);
	if (unlikely(q->fault != VQ_OK))
		return -1;
	*c = (struct vq_chain){ .iov = iovs, .mem = q->mem, .resubmitted = resubmit };
	if (resubmit) {
		fault = packed_again(q, c, max, &slot);
	} else {
		flags = vq_load16(&vq_pdesc(q->desc, q->avail_next)->flags);
		if (!vq_is_avail(flags, q->avail_wrap))
			return 0;
		fault = packed_chain(q, c, max, flags, &slot);
	}
	if (unlikely(fault != VQ_OK))
		return vq_dev_stop(q, fault, q->avail_next, q->fault_value);
	if (unlikely(c->id >= q->size))
		return vq_dev_stop(q, VQ_FAULT_ID, q->avail_next, c->id);
	if (unlikely(q->slots[c->id].state != VQ_SLOT_FREE))
		return vq_dev_stop(q, VQ_FAULT_TWICE, q->avail_next, c->id);
	q->slots[c->id] = slot;
	if (resubmit) {
		q->resubmit_next++; /* it was counted as held from the start */
	} else {
		if (q->inflight)
			vq_packed_inflight_take(q, &q->slots[c->id]);
		q->descs_held += slot.descs;
		q->avail_next += slot.descs;
		if (q->avail_next >= q->size) {
			q->avail_next -= (uint16_t)q->size;
			q->avail_wrap = !q->avail_wrap;
		}
		packed_look_ahead(q);
	}
	if (q->in_order)
		vq_order_add(q, c->id);
	q->in_flight++;
	return 1;
}

static bool is_avail_ahead(const struct vq_dev *q, uint32_t entries)
{
	uint32_t at = q->avail_next + entries;
	bool wraps = at >= q->size;

	return entries < q->size - q->descs_held &&
	       vq_is_avail(vq_load16(&vq_pdesc(q->desc, wraps ? at - q->size : at)->flags), q->avail_wrap != wraps);
}

/* Where the last of so many would be, if they are as long as those that are out. */
uint32_t vq_packed_known(const struct vq_dev *q)
{
	uint32_t descs = q->in_flight ? max_u32(q->descs_held / q->in_flight, 1) : 1;

	for (uint32_t count = 127; count >= 31; count /= 2)
		if (is_avail_ahead(q, (count - 1) * descs))
			return count;
	return is_avail_ahead(q, 0);
}

void vq_packed_push(struct vq_dev *q, const struct vq_chain *c, uint32_t written)
{
	uint16_t id = c->id;

	must(id < q->size && q->slots[id].state == VQ_SLOT_TAKEN);
	if (unlikely(q->log != NULL))
		vq_dev_log_chain(q, c);
	if (likely(!q->in_order)) {
		packed_use(q, id, written);
		return;
	}
	q->slots[id].state = VQ_SLOT_DONE;
	q->slots[id].written = written;
	while (vq_order_next(q, &id))
		packed_use(q, id, q->slots[id].written);
}

void vq_packed_publish(struct vq_dev *q)
{
	struct pvirtq_desc *first = vq_pdesc(q->desc, q->used_told);

	if (q->inflight)
		vq_packed_inflight_before(q);
	/* In one order with our look at the driver's event word, which vq_dev_kick_due() takes. */
	vq_store16_seq(&first->flags, q->used_flags);
	if (q->inflight)
		vq_packed_inflight_after(q);
	if (unlikely(q->log != NULL))
		vq_dev_log_ring(q, first, sizeof(*first));
	q->told_since += q->descs_pushed;
	q->descs_held -= q->descs_pushed;
	q->descs_pushed = 0;
	q->used_told = q->used_next;
	q->told_wrap = q->used_wrap;
	q->used_pending = false;
}

/* Entries lie in a row; NEXT has no meaning in a packed ring's table (2.8.7). */
static enum vq_fault packed_table(struct vq_dev *q, struct vq_chain *c, uint32_t max, const struct vq_packed_desc *t)
{
	uint32_t count = t->len / sizeof(struct virtq_desc), at;
	const struct virtq_desc *entry;
	struct vq_packed_desc d;
	enum vq_fault fault = vq_table_check(q, t->len, t->flags);

	if (unlikely(fault != VQ_OK))
		return vq_dev_bad(q, fault, t->len);
	for (at = 0; at < count; at++) {
		entry = vq_table_at(q, t->addr, at);
		if (unlikely(!entry))
			return vq_dev_bad(q, VQ_FAULT_INDIRECT_ADDR, t->addr);
		d = vq_read_packed(entry);
		if (unlikely(d.flags & VIRTQ_DESC_F_INDIRECT))
			return vq_dev_bad(q, VQ_FAULT_INDIRECT_NESTED, d.addr);
		fault = vq_chain_add(q, c, max, d.addr, d.len, d.flags & VIRTQ_DESC_F_WRITE);
		if (unlikely(fault != VQ_OK))
			return vq_dev_bad(q, fault, d.addr);
	}
	return VQ_OK;
}

static inline enum vq_fault packed_desc(struct vq_dev *q, struct vq_chain *c, uint32_t max,
                                        const struct vq_packed_desc *d)
{
	enum vq_fault fault;

	if (d->flags & VIRTQ_DESC_F_INDIRECT)
		return packed_table(q, c, max, d);
	fault = vq_chain_add(q, c, max, d->addr, d->len, d->flags & VIRTQ_DESC_F_WRITE);
	return likely(fault == VQ_OK) ? VQ_OK : vq_dev_bad(q, fault, d->addr);
}

/* `flags`: the head's, read by who found it available. What is held and what comes fit into the ring together. */
static enum vq_fault packed_chain(struct vq_dev *q, struct vq_chain *c, uint32_t max, uint16_t flags,
                                  struct vq_slot *ret_slot)
{
	uint32_t at = q->avail_next, room = q->size - q->descs_held, count = 0;
	struct vq_packed_desc d;
	enum vq_fault fault;
	int entry = -1;

	for (;;) {
		if (unlikely(count == room))
			return vq_dev_bad(q, VQ_FAULT_AVAIL_AHEAD, q->descs_held + count);
		d = vq_read_packed(&q->desc[at]);
		d.flags = count == 0 ? flags : d.flags;
		if (q->inflight) {
			entry = vq_packed_inflight_note(q, entry, &d);
			if (unlikely(entry < 0))
				return vq_dev_bad(q, VQ_FAULT_INFLIGHT_LIST, count);
			ret_slot->entry = count == 0 ? (uint16_t)entry : ret_slot->entry;
			ret_slot->last = (uint16_t)entry;
		}
		fault = packed_desc(q, c, max, &d);
		if (unlikely(fault != VQ_OK))
			return fault;
		count++;
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			break;
		at = at + 1 < q->size ? at + 1 : 0;
	}
	c->id = d.id; /* only the last one's counts (2.8.6) */
	ret_slot->descs = (uint16_t)count;
	return VQ_OK;
}

/* A chain of an earlier process: its descriptors are in the in-flight region; the ring has others there by now. */
static enum vq_fault packed_again(struct vq_dev *q, struct vq_chain *c, uint32_t max, struct vq_slot *ret_slot)
{
	struct vq_packed_desc d;
	enum vq_fault fault;
	uint16_t head = q->resubmit[q->resubmit_next], at = head, next;

	do {
		if (unlikely(!vq_packed_inflight_read(q, at, &d, &next)))
			return vq_dev_bad(q, VQ_FAULT_INFLIGHT_LIST, at);
		fault = packed_desc(q, c, max, &d);
		if (unlikely(fault != VQ_OK))
			return fault;
		ret_slot->descs++;
		if (!(d.flags & VIRTQ_DESC_F_NEXT))
			break;
		at = next;
	} while (ret_slot->descs < q->size);
	c->id = d.id;
	ret_slot->entry = head;
	ret_slot->last = at;
	if (ret_slot->descs != vq_packed_inflight_num(q, head) || ret_slot->descs > q->resubmit_descs)
		return vq_dev_bad(q, VQ_FAULT_INFLIGHT_LIST, head);
	q->resubmit_descs -= ret_slot->descs;
	return VQ_OK;
}

static void packed_use(struct vq_dev *q, uint16_t id, uint32_t written)
{
	struct pvirtq_desc *d = vq_pdesc(q->desc, q->used_next);
	struct vq_slot *slot = &q->slots[id];
	uint16_t flags = vq_used_bits(q->used_wrap) | (written > 0 ? VIRTQ_DESC_F_WRITE : 0);

	d->id = le16_of(id);
	d->len = le32_of(written);
	if (q->used_pending) {
		vq_store16(&d->flags, flags);
	} else {
		q->used_flags = flags;
		q->used_pending = true;
	}
	if (unlikely(q->log != NULL))
		vq_dev_log_ring(q, d, sizeof(*d));
	q->used_next += slot->descs;
	if (q->used_next >= q->size) {
		q->used_next -= (uint16_t)q->size;
		q->used_wrap = !q->used_wrap;
	}
	q->descs_pushed += slot->descs;
	slot->state = q->inflight ? vq_batch_add(q, id) : VQ_SLOT_FREE;
	q->in_flight--;
}
