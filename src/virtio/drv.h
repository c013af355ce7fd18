/* SPDX-License-Identifier: BSD-3-Clause */
/* drv.h: what the files of the driver's side share. */
#ifndef VIRTIO_DRV_H
#define VIRTIO_DRV_H

#include "virtio/access.h"

bool vq_split_add(struct vq_drv *q, const struct iovec *iov, uint32_t out_count, uint32_t in_count, void *token);
bool vq_packed_add(struct vq_drv *q, const struct iovec *iov, uint32_t out_count, uint32_t in_count, void *token);
/* What the device used last: its id and bytes. 1, 0, -1 as vq_drv_get(). Nothing is taken yet. */
int vq_split_used(struct vq_drv *q, uint32_t *ret_id, uint32_t *ret_written);
int vq_packed_used(struct vq_drv *q, uint32_t *ret_id, uint32_t *ret_written);
/* The used position goes on, and the slot's descriptors are free. */
void vq_split_free(struct vq_drv *q, uint16_t id);
void vq_packed_free(struct vq_drv *q, uint16_t id);

static inline int vq_drv_stop(struct vq_drv *q, enum vq_fault f, uint64_t value)
{
	q->fault = f;
	q->fault_value = value;
	return -1;
}

static inline uint64_t vq_drv_addr(const struct vq_drv *q, const void *p)
{
	return (uint64_t)(uintptr_t)p + q->addr_offset;
}

/* Does it go through the id's indirect table? Then this is where that lies. */
static inline struct virtq_desc *vq_drv_table(const struct vq_drv *q, uint32_t id, uint32_t count)
{
	if (!q->tables || count < 2 || count > q->table_len)
		return NULL;
	return (struct virtq_desc *)q->tables + (size_t)id * q->table_len;
}

static inline void vq_drv_take(struct vq_drv *q, uint32_t id, const struct iovec *in, uint32_t in_count, void *token)
{
	struct vq_drv_slot *slot = &q->slots[id];
	uint32_t at = q->order_head + q->order_count;

	slot->token = token;
	slot->taken = true;
	for (slot->in_len = 0; in_count > 0; in_count--)
		slot->in_len += (uint32_t)in++->iov_len;
	if (q->in_order) {
		q->order[at < q->size ? at : at - q->size] = (uint16_t)id;
		q->order_count++;
	}
	q->in_flight++;
}

#endif
