/* SPDX-License-Identifier: BSD-3-Clause */
/* drv_split.c: split virtqueues, the driver's side (virtio 1.2, 2.7.13 and 2.7.14). */
#include "virtio/drv.h"

static uint16_t write_chain(struct vq_drv *q, const struct iovec *iov, uint32_t out_count, uint32_t count);
static void write_table(struct vq_drv *q, struct virtq_desc *table, const struct iovec *iov, uint32_t out_count,
                        uint32_t count);

static struct virtq_desc desc_of(const struct vq_drv *q, const struct iovec *v, uint16_t flags, uint16_t next)
{
	return (struct virtq_desc){ le64_of(vq_drv_addr(q, v->iov_base)), le32_of((uint32_t)v->iov_len),
	                            le16_of(flags), le16_of(next) };
}

bool vq_split_add(struct vq_drv *q, const struct iovec *iov, uint32_t out_count, uint32_t in_count, void *token)
{
	struct virtq_avail *avail = q->driver;
	uint32_t count = out_count + in_count;
	uint16_t head = q->free_head;
	struct virtq_desc *table = vq_drv_table(q, head, count);
	struct vq_drv_slot *slot = &q->slots[head];

	if (q->descs_free < (table ? 1 : count))
		return false;
	slot->descs = (uint16_t)(table ? 1 : count);
	if (table) {
		write_table(q, table, iov, out_count, count);
		q->desc[head] = (struct virtq_desc){ le64_of(vq_drv_addr(q, table)),
			le32_of((uint32_t)(count * sizeof(*table))), le16_of(VIRTQ_DESC_F_INDIRECT), le16_of(0) };
		slot->last = head;
	} else {
		slot->last = write_chain(q, iov, out_count, count);
	}
	q->free_head = q->slots[slot->last].next;
	q->descs_free -= slot->descs;
	vq_drv_take(q, head, iov + out_count, in_count, token);
	__atomic_store_n((uint16_t *)(void *)&avail->ring[q->avail_next & (q->size - 1)], head, __ATOMIC_RELAXED);
	q->avail_next++;
	q->descs_added++; /* here: of the available ring */
	q->avail_pending = true;
	return true;
}

/* Returns the last descriptor. */
static uint16_t write_chain(struct vq_drv *q, const struct iovec *iov, uint32_t out_count, uint32_t count)
{
	uint16_t at = q->free_head, last = at, flags;
	uint32_t i;

	for (i = 0; i < count; i++) {
		flags = (i < out_count ? 0 : VIRTQ_DESC_F_WRITE) | (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0);
		last = at;
		at = q->slots[at].next;
		q->desc[last] = desc_of(q, &iov[i], flags, i + 1 < count ? at : 0);
	}
	return last;
}

static void write_table(struct vq_drv *q, struct virtq_desc *table, const struct iovec *iov, uint32_t out_count,
                        uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		table[i] = desc_of(q, &iov[i], (i < out_count ? 0 : VIRTQ_DESC_F_WRITE) |
		                   (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0), (uint16_t)(i + 1 < count ? i + 1 : 0));
}

int vq_split_used(struct vq_drv *q, uint32_t *ret_id, uint32_t *ret_written)
{
	const struct virtq_used *used = q->device;
	const struct virtq_used_elem *elem = &used->ring[q->used_next & (q->size - 1)];
	uint16_t count = (uint16_t)(vq_load16(&used->idx) - q->used_next);

	if (count == 0)
		return 0;
	if (unlikely(count > q->in_flight))
		return vq_drv_stop(q, VQ_FAULT_USED_AHEAD, count);
	*ret_id = *(const volatile uint32_t *)(const void *)&elem->id;
	*ret_written = *(const volatile uint32_t *)(const void *)&elem->len;
	return 1;
}

/* In order, chains come back as they went, to the end of the list: so it stays the order of the table (2.7.5). Else the
 * one that was used last is the next: its descriptors are in the cache. */
void vq_split_free(struct vq_drv *q, uint16_t id)
{
	struct vq_drv_slot *slot = &q->slots[id];

	q->used_next++;
	q->descs_free += slot->descs;
	if (q->descs_free == slot->descs) { /* the list was empty */
		q->free_head = id;
		q->free_tail = slot->last;
	} else if (q->in_order) {
		q->slots[q->free_tail].next = id;
		q->free_tail = slot->last;
	} else {
		q->slots[slot->last].next = q->free_head;
		q->free_head = id;
	}
}
