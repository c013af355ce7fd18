/* SPDX-License-Identifier: BSD-3-Clause */
/* access.h: reads and writes of ring memory, which the other side writes and reads at the same time.
 *
 * Indices, flags and event words are atomic: they order what they announce, so that a thread sanitizer follows it.
 * Where one side writes A and reads B while the other writes B and reads A (publish and event index), both are
 * sequentially consistent: one of them sees the other. Descriptors are read once each, by volatile reads, so that what
 * was checked is what is used. They are read as words and cut here, in one place: a struct of bytes copied to the
 * stack and read in parts waits for the store each time.
 */
#ifndef VIRTIO_ACCESS_H
#define VIRTIO_ACCESS_H

#include "virtio/ring.h"

/* Alignment 1, whatever a guest has chosen for an indirect table. */
typedef struct { uint64_t v; } __attribute__((packed, may_alias)) vq_word64;

struct vq_split_desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct vq_packed_desc { uint64_t addr; uint32_t len; uint16_t id, flags; };

static inline struct vq_split_desc vq_read_split(const struct virtq_desc *d)
{
	const volatile vq_word64 *w = (const void *)d;
	uint64_t rest = w[1].v;

	return (struct vq_split_desc){ w[0].v, (uint32_t)rest, (uint16_t)(rest >> 32), (uint16_t)(rest >> 48) };
}

static inline struct vq_packed_desc vq_read_packed(const struct virtq_desc *d)
{
	const volatile vq_word64 *w = (const void *)d;
	uint64_t rest = w[1].v;

	return (struct vq_packed_desc){ w[0].v, (uint32_t)rest, (uint16_t)(rest >> 32), (uint16_t)(rest >> 48) };
}

static inline uint16_t vq_load16(const void *p) { return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE); }
static inline uint16_t vq_load16_seq(const void *p) { return __atomic_load_n((const uint16_t *)p, __ATOMIC_SEQ_CST); }
static inline uint32_t vq_load32_seq(const void *p) { return __atomic_load_n((const uint32_t *)p, __ATOMIC_SEQ_CST); }
static inline void vq_store16(void *p, uint16_t v) { __atomic_store_n((uint16_t *)p, v, __ATOMIC_RELEASE); }
static inline void vq_store16_seq(void *p, uint16_t v) { __atomic_store_n((uint16_t *)p, v, __ATOMIC_SEQ_CST); }
static inline void vq_store32(void *p, uint32_t v) { __atomic_store_n((uint32_t *)p, v, __ATOMIC_RELEASE); }
static inline void vq_store32_seq(void *p, uint32_t v) { __atomic_store_n((uint32_t *)p, v, __ATOMIC_SEQ_CST); }
static inline uint16_t vq_peek16(const void *p) { return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED); }

/* Where things lie. The event words are behind the rings. */
static inline le16 *vq_avail_event(const void *used, uint32_t size)
{
	return (le16 *)((uint8_t *)used + sizeof(struct virtq_used) + size * sizeof(struct virtq_used_elem));
}
static inline le16 *vq_used_event(void *avail, uint32_t size) { return &((struct virtq_avail *)avail)->ring[size]; }
static inline struct pvirtq_desc *vq_pdesc(struct virtq_desc *ring, uint32_t at)
{
	return (struct pvirtq_desc *)(ring + at);
}

/* A descriptor's two bits as who wrote it in a round of this wrap counter leaves them. */
static inline uint16_t vq_avail_bits(bool wrap) { return wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED; }
static inline uint16_t vq_used_bits(bool wrap) { return wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0; }
#define VQ_WRAP_BITS (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)

static inline bool vq_is_avail(uint16_t flags, bool wrap) { return (flags & VQ_WRAP_BITS) == vq_avail_bits(wrap); }
static inline bool vq_is_used(uint16_t flags, bool wrap) { return (flags & VQ_WRAP_BITS) == vq_used_bits(wrap); }

/* Was the index at which the other side wants to hear among those from `old` on, up to `next` (2.7.10)? */
static inline bool vq_event_passed(uint16_t event, uint16_t next, uint16_t old)
{
	return (uint16_t)(next - event - 1) < (uint16_t)(next - old);
}
/* The same for a packed ring's event word. More than a round may have gone by: then it certainly was. */
bool vq_packed_event_passed(uint32_t event, bool event_idx, uint16_t next, bool wrap, uint32_t size, uint32_t since);

/* What both sides ask of a ring's size and places: dev.c. */
enum vq_fault vq_setup_check(const struct vq_setup *s);

/* --- shared by the device's files ------------------------------------------------------------------------------- */

/* Stop the queue. Returns -1, which is what pop returns then. */
int vq_dev_stop(struct vq_dev *q, enum vq_fault f, uint32_t at, uint64_t value);
static inline enum vq_fault vq_dev_bad(struct vq_dev *q, enum vq_fault f, uint64_t value)
{
	q->fault_value = value;
	return f;
}
/* Everything that the chain's writable part covers, and the ring's own pages. */
void vq_dev_log_chain(struct vq_dev *q, const struct vq_chain *c);
void vq_dev_log_ring(struct vq_dev *q, const void *at, uint64_t len);

/* In order: note that `id` was popped; who is done next, if its turn came. */
static inline void vq_order_add(struct vq_dev *q, uint16_t id)
{
	uint32_t at = q->order_head + q->order_count++;

	q->order[at < q->size ? at : at - q->size] = id;
}
static inline bool vq_order_next(struct vq_dev *q, uint16_t *ret_id)
{
	if (q->order_count == 0 || q->slots[q->order[q->order_head]].state != VQ_SLOT_DONE)
		return false;
	*ret_id = q->order[q->order_head];
	q->order_head = q->order_head + 1 < q->size ? q->order_head + 1 : 0;
	q->order_count--;
	return true;
}

/* Pushed ids are kept until they are published: until then nobody else may have them. Their state is returned. */
static inline uint8_t vq_batch_add(struct vq_dev *q, uint16_t id)
{
	q->batch[q->batch_count++] = id;
	return VQ_SLOT_DONE;
}
static inline void vq_batch_end(struct vq_dev *q)
{
	while (q->batch_count > 0)
		q->slots[q->batch[--q->batch_count]].state = VQ_SLOT_FREE;
}

/* inflight.c: find out what an earlier process left; sets the indices and the list of what is to be resubmitted. */
enum vq_fault vq_inflight_start(struct vq_dev *q, const struct vq_setup *s);
/* Split: `id` was taken; the batch is about to be published, was published. */
void vq_split_inflight_take(struct vq_dev *q, uint16_t id);
void vq_split_inflight_before(struct vq_dev *q);
void vq_split_inflight_after(struct vq_dev *q);
/* Packed: note one descriptor of a chain: returns the entry, or -1: the list is broken. Then take the whole. */
int vq_packed_inflight_note(struct vq_dev *q, int before, const struct vq_packed_desc *d);
void vq_packed_inflight_take(struct vq_dev *q, const struct vq_slot *slot);
/* What was noted of an entry, and which is the next. False: there is no such entry. And how many a head has. */
bool vq_packed_inflight_read(const struct vq_dev *q, uint16_t entry, struct vq_packed_desc *ret_d, uint16_t *ret_next);
uint16_t vq_packed_inflight_num(const struct vq_dev *q, uint16_t head);
void vq_packed_inflight_before(struct vq_dev *q);
void vq_packed_inflight_after(struct vq_dev *q);

/* One segment more. A guest of one region and whole buffers takes the first way through. */
static inline __attribute__((always_inline)) enum vq_fault vq_chain_add(struct vq_dev *q, struct vq_chain *c,
	uint32_t max, uint64_t addr, uint32_t len, bool write)
{
	uint32_t at = (uint32_t)c->out_count + c->in_count;
	uint32_t *sum = write ? &c->in_len : &c->out_len;
	void *host;
	int count = 1;

	if (unlikely(!write && c->in_len > 0))
		return VQ_FAULT_ORDER;
	if (unlikely(len == 0))
		return VQ_OK; /* it is nowhere */
	if (unlikely(__builtin_add_overflow(*sum, len, sum)))
		return VQ_FAULT_LEN;
	if (unlikely(at == max))
		return VQ_FAULT_IOVS;
	host = vq_mem_at(q->mem, addr, len, &q->mem_hint);
	if (likely(host != NULL)) {
		c->iov[at] = (struct iovec){ host, len };
	} else {
		count = vq_mem_iovs(q->mem, addr, len, c->iov + at, max - at, &q->mem_hint);
		if (count <= 0)
			return count == 0 ? VQ_FAULT_ADDR : VQ_FAULT_IOVS;
	}
	if (write)
		c->in_count += (uint16_t)count;
	else
		c->out_count += (uint16_t)count;
	return VQ_OK;
}

/* An entry of an indirect table; a table may go on in another region, an entry is whole. NULL: it is not there. */
static inline const struct virtq_desc *vq_table_at(struct vq_dev *q, uint64_t table, uint32_t index)
{
	return vq_mem_at(q->mem, table + index * sizeof(struct virtq_desc), sizeof(struct virtq_desc), &q->table_hint);
}

static inline enum vq_fault vq_table_check(const struct vq_dev *q, uint32_t len, uint16_t flags)
{
	if (unlikely(!q->indirect))
		return VQ_FAULT_INDIRECT;
	if (unlikely(flags & VIRTQ_DESC_F_NEXT))
		return VQ_FAULT_INDIRECT_NEXT;
	if (unlikely(len == 0 || len % sizeof(struct virtq_desc) != 0 ||
	             len / sizeof(struct virtq_desc) > q->indirect_max))
		return VQ_FAULT_INDIRECT_LEN;
	return VQ_OK;
}

/* --- looking ahead: what the next chains need is on its way while this one is done. Nothing here is believed. --- */

static inline void *vq_ahead(const struct vq_dev *q, uint64_t addr, uint32_t hint, uint64_t len)
{
	const struct vq_region *r = &q->mem->regions[hint];
	uint64_t at = addr - r->addr;

	return likely(at < r->len && len <= r->len - at) ? r->host + at : NULL;
}

/* What a descriptor points to: a request's header, or its table. */
static inline void vq_prefetch_target(const struct vq_dev *q, const struct virtq_desc *d)
{
	void *to = vq_ahead(q, vq_read_split(d).addr, q->mem_hint, 1);

	if (to)
		__builtin_prefetch(to);
}

/* What its table points to first: the header. */
static inline void vq_prefetch_table(const struct vq_dev *q, const struct virtq_desc *d)
{
	const struct virtq_desc *table = vq_ahead(q, vq_read_split(d).addr, q->table_hint, sizeof(*table));

	if (table)
		vq_prefetch_target(q, table);
}

#endif
