/* SPDX-License-Identifier: BSD-3-Clause */
/* drv.c: the driver's side of a virtqueue: what both formats share. The device is believed as little as a guest is. */
#include "virtio/drv.h"

static int batch_in_order(struct vq_drv *q, uint32_t id, uint32_t written);

enum vq_fault vq_drv_init(struct vq_drv *q, const struct vq_setup *s)
{
	bool packed = s->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	enum vq_fault fault = vq_setup_check(s);
	uint32_t i;

	*q = (struct vq_drv){
		.desc = s->desc, .driver = s->driver, .device = s->device, .tables = s->tables,
		.table_len = s->table_len, .addr_offset = s->addr_offset, .size = s->size, .packed = packed,
		.event_idx = s->features & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX),
		.in_order = s->features & VIRTIO_BIT(VIRTIO_F_IN_ORDER),
		.avail_wrap = packed, .used_wrap = packed, .told_wrap = packed, .descs_free = s->size,
	};
	if (fault != VQ_OK)
		return fault;
	if (!(s->features & VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)))
		q->tables = NULL;
	memset(q->desc, 0, vq_area_len(VQ_DESC, s->features, s->size));
	memset(q->driver, 0, vq_area_len(VQ_DRIVER, s->features, s->size));
	memset(q->device, 0, vq_area_len(VQ_DEVICE, s->features, s->size));
	q->slots = base_zalloc(q->size * sizeof(*q->slots));
	q->order = q->in_order ? base_zalloc(q->size * sizeof(*q->order)) : NULL;
	for (i = 0; i < q->size; i++) /* the free list: descriptors, or a packed ring's ids */
		q->slots[i].next = (uint16_t)(i + 1 < q->size ? i + 1 : 0);
	q->free_tail = (uint16_t)(q->size - 1);
	return VQ_OK;
}

void vq_drv_fini(struct vq_drv *q)
{
	free(q->slots);
	free(q->order);
	*q = (struct vq_drv){ .fault = q->fault };
}

bool vq_drv_add(struct vq_drv *q, const struct iovec *iov, uint32_t out_count, uint32_t in_count, void *token)
{
	assert(out_count + in_count > 0);
	if (q->fault != VQ_OK || (q->in_order && q->order_count == q->size))
		return false;
	return q->packed ? vq_packed_add(q, iov, out_count, in_count, token) :
	       vq_split_add(q, iov, out_count, in_count, token);
}

void vq_drv_publish(struct vq_drv *q)
{
	if (!q->avail_pending)
		return;
	/* In one order with our look at the device's event word, which vq_drv_kick_due() takes. */
	if (q->packed)
		vq_store16_seq(&vq_pdesc(q->desc, q->avail_told)->flags, q->avail_flags);
	else
		vq_store16_seq(&((struct virtq_avail *)q->driver)->idx, q->avail_next);
	q->told_since += q->descs_added;
	q->descs_added = 0;
	q->avail_told = q->avail_next;
	q->told_wrap = q->avail_wrap;
	q->avail_pending = false;
}

bool vq_drv_kick_due(struct vq_drv *q)
{
	uint32_t since = q->told_since;

	if (since == 0)
		return false;
	q->told_since = 0;
	if (q->packed)
		return vq_packed_event_passed(vq_load32_seq(q->device), q->event_idx, q->avail_told, q->told_wrap, q->size,
		                              since);
	if (!q->event_idx)
		return !(vq_load16_seq(&((struct virtq_used *)q->device)->flags) & VIRTQ_USED_F_NO_NOTIFY);
	return since >= q->size || vq_event_passed(vq_load16_seq(vq_avail_event(q->device, q->size)), q->avail_told,
	                                           (uint16_t)(q->avail_told - since));
}

int vq_drv_get(struct vq_drv *q, void **ret_token, uint32_t *ret_written)
{
	uint32_t id, written;
	int rc;

	if (unlikely(q->fault != VQ_OK))
		return -1;
	if (!q->in_order || q->order_batch == 0) {
		rc = q->packed ? vq_packed_used(q, &id, &written) : vq_split_used(q, &id, &written);
		if (rc <= 0)
			return rc;
		if (unlikely(id >= q->size || !q->slots[id].taken))
			return vq_drv_stop(q, VQ_FAULT_USED_ID, id);
		if (q->in_order && batch_in_order(q, id, written) < 0)
			return -1;
	}
	if (q->in_order) {
		id = q->order[q->order_head];
		q->order_head = q->order_head + 1 < q->size ? q->order_head + 1 : 0;
		q->order_count--;
		written = --q->order_batch == 0 ? q->order_written : q->slots[id].in_len;
	}
	*ret_token = q->slots[id].token;
	*ret_written = written;
	q->slots[id].taken = false;
	if (q->packed)
		vq_packed_free(q, (uint16_t)id);
	else
		vq_split_free(q, (uint16_t)id);
	q->in_flight--;
	return 1;
}

/* A device in order may tell of the last of a batch only (2.7.4.1, 2.8.21): all up to it are used, and filled. */
static int batch_in_order(struct vq_drv *q, uint32_t id, uint32_t written)
{
	uint32_t i;

	for (i = 0; i < q->order_count; i++) {
		if (q->order[(q->order_head + i) % q->size] == id) {
			q->order_batch = i + 1;
			q->order_written = written;
			return 0;
		}
	}
	return vq_drv_stop(q, VQ_FAULT_USED_ID, id);
}

bool vq_drv_pending(const struct vq_drv *q)
{
	if (q->fault != VQ_OK || q->order_batch > 0)
		return q->fault == VQ_OK;
	if (q->packed)
		return vq_is_used(vq_load16(&vq_pdesc(q->desc, q->used_next)->flags), q->used_wrap);
	return vq_load16(&((struct virtq_used *)q->device)->idx) != q->used_next;
}

bool vq_drv_arm(struct vq_drv *q)
{
	const struct virtq_used *used = q->device;
	uint32_t word = RING_EVENT_FLAGS_ENABLE;

	if (q->fault != VQ_OK || q->order_batch > 0)
		return q->fault == VQ_OK;
	if (q->packed) {
		if (q->event_idx)
			word = q->used_next | (uint32_t)q->used_wrap << RING_EVENT_WRAP_SHIFT |
			       (uint32_t)RING_EVENT_FLAGS_DESC << 16;
		vq_store32_seq(q->driver, word);
		return vq_is_used(vq_load16_seq(&vq_pdesc(q->desc, q->used_next)->flags), q->used_wrap);
	}
	if (q->event_idx)
		vq_store16_seq(vq_used_event(q->driver, q->size), q->used_next);
	else
		vq_store16_seq(&((struct virtq_avail *)q->driver)->flags, 0);
	return vq_load16_seq(&used->idx) != q->used_next;
}

void vq_drv_disarm(struct vq_drv *q)
{
	if (q->packed)
		vq_store32(q->driver, (uint32_t)RING_EVENT_FLAGS_DISABLE << 16);
	else if (!q->event_idx)
		vq_store16(&((struct virtq_avail *)q->driver)->flags, VIRTQ_AVAIL_F_NO_INTERRUPT);
}

uint32_t vq_drv_base(const struct vq_drv *q)
{
	uint32_t at;

	if (!q->packed)
		return vq_load16(&((struct virtq_used *)q->device)->idx);
	at = q->used_next | (uint32_t)q->used_wrap << 15;
	return at | at << 16;
}
