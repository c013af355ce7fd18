/* SPDX-License-Identifier: BSD-3-Clause */
/* drv_packed.c: packed virtqueues, the driver's side (virtio 1.2, 2.8.19 to 2.8.21). */
#include "virtio/drv.h"

static void write_desc(struct vq_drv *q, uint16_t id, uint64_t addr, uint64_t len, uint16_t flags);

bool vq_packed_add(struct vq_drv *q, const struct iovec *iov, uint32_t out_count, uint32_t in_count, void *token)
{
	uint32_t count = out_count + in_count, i;
	uint16_t id = q->free_head;
	struct virtq_desc *table = vq_drv_table(q, id, count);
	struct vq_drv_slot *slot = &q->slots[id];
	uint16_t flags;

	if (q->descs_free < (table ? 1 : count))
		return false;
	slot->descs = (uint16_t)(table ? 1 : count);
	for (i = 0; i < count; i++) {
		flags = i < out_count ? 0 : VIRTQ_DESC_F_WRITE;
		if (table)
			*vq_pdesc(table, i) = (struct pvirtq_desc){ le64_of(vq_drv_addr(q, iov[i].iov_base)),
				le32_of((uint32_t)iov[i].iov_len), le16_of(0), le16_of(flags) };
		else
			write_desc(q, id, vq_drv_addr(q, iov[i].iov_base), iov[i].iov_len,
			           flags | (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0));
	}
	if (table)
		write_desc(q, id, vq_drv_addr(q, table), count * sizeof(*table), VIRTQ_DESC_F_INDIRECT);
	q->free_head = slot->next;
	q->descs_free -= slot->descs;
	vq_drv_take(q, id, iov + out_count, in_count, token);
	return true;
}

/* The first one's flags are kept back: with them the device sees all. */
static void write_desc(struct vq_drv *q, uint16_t id, uint64_t addr, uint64_t len, uint16_t flags)
{
	struct pvirtq_desc *d = vq_pdesc(q->desc, q->avail_next);

	flags |= vq_avail_bits(q->avail_wrap);
	d->addr = le64_of(addr);
	d->len = le32_of((uint32_t)len);
	d->id = le16_of(id);
	if (q->avail_pending) {
		vq_store16(&d->flags, flags);
	} else {
		q->avail_flags = flags;
		q->avail_pending = true;
	}
	q->descs_added++;
	if (++q->avail_next == q->size) {
		q->avail_next = 0;
		q->avail_wrap = !q->avail_wrap;
	}
}

int vq_packed_used(struct vq_drv *q, uint32_t *ret_id, uint32_t *ret_written)
{
	const struct pvirtq_desc *d = vq_pdesc(q->desc, q->used_next);

	if (!vq_is_used(vq_load16(&d->flags), q->used_wrap))
		return 0;
	if (unlikely(q->in_flight == 0))
		return vq_drv_stop(q, VQ_FAULT_USED_AHEAD, q->used_next);
	*ret_id = *(const volatile uint16_t *)(const void *)&d->id;
	*ret_written = *(const volatile uint32_t *)(const void *)&d->len;
	return 1;
}

void vq_packed_free(struct vq_drv *q, uint16_t id)
{
	struct vq_drv_slot *slot = &q->slots[id];

	q->used_next += slot->descs;
	if (q->used_next >= q->size) {
		q->used_next -= (uint16_t)q->size;
		q->used_wrap = !q->used_wrap;
	}
	q->descs_free += slot->descs;
	slot->next = q->free_head;
	q->free_head = id;
}
