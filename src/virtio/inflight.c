/* SPDX-License-Identifier: BSD-3-Clause */
/* inflight.c: which chains are in flight, in memory that outlives us (docs/interop/vhost-user.rst, "Inflight I/O").
 *
 * The front-end keeps the region. Who is killed at any instruction leaves one from which the next can tell, exactly,
 * which chains were taken and not given back. Stores are made in the text's order; a killed process has made all those
 * before the one it was killed at, so that it is enough that the compiler keeps the order: hence release stores. The
 * region is the front-end's memory, which can change it at any time: what is believed is read once, and checked.
 *
 * Both formats touch the region when a chain is taken and when a batch is published, never in between: a chain taken
 * between push and publish would otherwise overwrite entries that a roll-back needs.
 */
#include "virtio/access.h"

static enum vq_fault split_start(struct vq_dev *q, const struct vq_setup *s);
static enum vq_fault packed_start(struct vq_dev *q, const struct vq_setup *s);

#define STORE8(field, v) __atomic_store_n(&(field), (uint8_t)(v), __ATOMIC_RELEASE)
#define STORE16(field, v) vq_store16(&(field), v)
#define LOAD8(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define LOAD32(field) __atomic_load_n((const uint32_t *)(const void *)&(field), __ATOMIC_RELAXED)
#define LOAD64(field) __atomic_load_n((const uint64_t *)(const void *)&(field), __ATOMIC_RELAXED)
#define STORE64(field, v) __atomic_store_n((uint64_t *)(void *)&(field), v, __ATOMIC_RELEASE)

size_t vq_inflight_len(bool packed, uint32_t size)
{
	size_t len = packed ? sizeof(struct pvirtq_inflight) + size * sizeof(struct pvirtq_inflight_desc) :
	             sizeof(struct virtq_inflight) + size * sizeof(struct virtq_inflight_desc);

	return align_up(len, VIRTQ_INFLIGHT_ALIGN);
}

void vq_inflight_format(void *region, bool packed, uint32_t size)
{
	struct virtq_inflight *split = region;
	struct pvirtq_inflight *p = region;
	uint32_t i;

	if (!packed) {
		STORE16(split->desc_num, (uint16_t)size);
		return;
	}
	STORE16(p->desc_num, (uint16_t)size);
	STORE8(p->used_wrap_counter, 1);
	STORE8(p->old_used_wrap_counter, 1);
	for (i = 0; i < size; i++) /* the last one's next is none */
		STORE16(p->desc[i].next, (uint16_t)(i + 1));
}

enum vq_fault vq_inflight_start(struct vq_dev *q, const struct vq_setup *s)
{
	if ((uintptr_t)s->inflight % sizeof(uint64_t) != 0 || s->inflight_len < vq_inflight_len(q->packed, s->size))
		return VQ_FAULT_INFLIGHT_SIZE;
	q->inflight = s->inflight;
	q->batch = base_zalloc(q->size * sizeof(*q->batch));
	q->resubmit = base_zalloc(q->size * sizeof(*q->resubmit));
	return q->packed ? packed_start(q, s) : split_start(q, s);
}

/* --- what is to be done again --- */

struct again {
	uint64_t counter;
	uint16_t id;
};

static void again_free(struct again **again)
{
	free(*again);
}

static int by_counter(const void *a, const void *b)
{
	const struct again *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void resubmit_in_order(struct vq_dev *q, struct again *again, uint32_t count)
{
	uint32_t i;

	qsort(again, count, sizeof(*again), by_counter);
	for (i = 0; i < count; i++)
		q->resubmit[i] = again[i].id;
	q->resubmit_count = count;
	q->counter = count > 0 ? again[count - 1].counter + 1 : 0;
}

/* --- split --- */

void vq_split_inflight_take(struct vq_dev *q, uint16_t id)
{
	struct virtq_inflight *r = q->inflight;

	STORE64(r->desc[id].counter, q->counter);
	q->counter++;
	STORE8(r->desc[id].inflight, 1);
}

void vq_split_inflight_before(struct vq_dev *q)
{
	struct virtq_inflight *r = q->inflight;
	uint32_t i;

	for (i = 0; i < q->batch_count; i++) {
		STORE16(r->desc[q->batch[i]].next, vq_peek16(&r->last_batch_head));
		STORE16(r->last_batch_head, q->batch[i]);
	}
}

void vq_split_inflight_after(struct vq_dev *q)
{
	struct virtq_inflight *r = q->inflight;
	uint32_t i;

	for (i = 0; i < q->batch_count; i++)
		STORE8(r->desc[q->batch[i]].inflight, 0);
	STORE16(r->used_idx, q->used_next);
	vq_batch_end(q);
}

/* The used ring was published and then we were killed: what it shows is not in flight, whatever its entries say. */
static enum vq_fault split_finish_batch(struct virtq_inflight *r, uint16_t used, uint32_t size)
{
	uint16_t left = (uint16_t)(used - vq_peek16(&r->used_idx)), at = vq_peek16(&r->last_batch_head);

	if (left > size)
		return VQ_FAULT_INFLIGHT_LIST;
	for (; left > 0; left--) {
		if (at >= size)
			return VQ_FAULT_INFLIGHT_LIST;
		STORE8(r->desc[at].inflight, 0);
		at = vq_peek16(&r->desc[at].next);
	}
	STORE16(r->used_idx, used);
	return VQ_OK;
}

static enum vq_fault split_start(struct vq_dev *q, const struct vq_setup *s)
{
	struct virtq_inflight *r = q->inflight;
	struct again *again CLEANUP(again_free) = base_zalloc(q->size * sizeof(*again));
	uint16_t version = vq_peek16(&r->version);
	uint32_t i, count = 0;
	enum vq_fault fault;

	if (version == 0 && q->base_ahead)
		return VQ_FAULT_LEFT_BEHIND;
	if (version == 0) { /* nobody's yet; start from the base */
		STORE16(r->desc_num, (uint16_t)max_u32(vq_peek16(&r->desc_num), q->size));
		STORE16(r->used_idx, q->used_next);
		STORE16(r->version, VIRTQ_INFLIGHT_VERSION);
		return VQ_OK;
	}
	if (version != VIRTQ_INFLIGHT_VERSION)
		return VQ_FAULT_INFLIGHT_VERSION;
	if (vq_peek16(&r->desc_num) < q->size)
		return VQ_FAULT_INFLIGHT_SIZE;
	for (i = 0; i < q->size; i++)
		count += LOAD8(r->desc[i].inflight) != 0;
	/* A ring that began anew with nothing in flight may well be elsewhere. */
	fault = count > 0 ? split_finish_batch(r, q->used_next, q->size) : VQ_OK;
	if (fault != VQ_OK)
		return fault;
	STORE16(r->used_idx, q->used_next);
	for (i = 0, count = 0; i < q->size; i++) {
		if (LOAD8(r->desc[i].inflight) != 0)
			again[count++] = (struct again){ LOAD64(r->desc[i].counter), (uint16_t)i };
	}
	resubmit_in_order(q, again, count);
	q->avail_next = q->avail_seen = (uint16_t)(q->used_next + count);
	return VQ_OK;
}

/* --- packed --- */

int vq_packed_inflight_note(struct vq_dev *q, int before, const struct vq_packed_desc *d)
{
	struct pvirtq_inflight *r = q->inflight;
	uint16_t at = vq_peek16(before < 0 ? &r->free_head : &r->desc[before].next);

	if (at >= q->inflight_count)
		return -1;
	r->desc[at].addr = le64_of(d->addr);
	r->desc[at].len = le32_of(d->len);
	r->desc[at].flags = le16_of(d->flags);
	r->desc[at].id = le16_of(d->id);
	return at;
}

void vq_packed_inflight_take(struct vq_dev *q, const struct vq_slot *slot)
{
	struct pvirtq_inflight *r = q->inflight;
	struct pvirtq_inflight_desc *head = &r->desc[slot->entry];
	uint16_t next = vq_peek16(&r->desc[slot->last].next);

	STORE16(head->num, slot->descs);
	STORE16(head->last, slot->last);
	STORE64(head->counter, q->counter);
	q->counter++;
	STORE8(head->inflight, 1);
	STORE16(r->free_head, next);
	STORE16(r->old_free_head, next); /* from here on it is ours: before, a roll-back undoes it */
}

bool vq_packed_inflight_read(const struct vq_dev *q, uint16_t entry, struct vq_packed_desc *ret_d, uint16_t *ret_next)
{
	const struct pvirtq_inflight_desc *e = &((struct pvirtq_inflight *)q->inflight)->desc[entry];

	if (entry >= q->inflight_count)
		return false;
	*ret_d = (struct vq_packed_desc){ LOAD64(e->addr), LOAD32(e->len), vq_peek16(&e->id), vq_peek16(&e->flags) };
	*ret_next = vq_peek16(&e->next);
	return true;
}

uint16_t vq_packed_inflight_num(const struct vq_dev *q, uint16_t head)
{
	return vq_peek16(&((struct pvirtq_inflight *)q->inflight)->desc[head].num);
}

void vq_packed_inflight_before(struct vq_dev *q)
{
	struct pvirtq_inflight *r = q->inflight;
	const struct vq_slot *slot;
	uint32_t i;

	for (i = 0; i < q->batch_count; i++) {
		slot = &q->slots[q->batch[i]];
		STORE16(r->desc[slot->last].next, vq_peek16(&r->free_head));
		STORE16(r->free_head, slot->entry);
	}
	STORE16(r->used_idx, q->used_next);
	STORE8(r->used_wrap_counter, q->used_wrap);
}

void vq_packed_inflight_after(struct vq_dev *q)
{
	struct pvirtq_inflight *r = q->inflight;
	uint32_t i;

	for (i = 0; i < q->batch_count; i++)
		STORE8(r->desc[q->slots[q->batch[i]].entry].inflight, 0);
	STORE16(r->old_free_head, vq_peek16(&r->free_head));
	STORE16(r->old_used_idx, q->used_next);
	STORE8(r->old_used_wrap_counter, q->used_wrap);
	vq_batch_end(q);
}

/* Killed amidst a batch: its first descriptor says whether the driver has seen it. The text compares used_idx with
 * old_used_idx only, which is not enough: a batch may go once around, and between the stores of index and wrap counter
 * the old pair leads to a descriptor that tells nothing. The free heads differ from a batch's first store until the
 * driver has seen it and no longer: where they are one, index and counter are the last batch's, and the old ones may
 * not have come along yet. So the heads are made one first when a batch stands, and last when it is undone. */
static enum vq_fault packed_settle(struct vq_dev *q, struct pvirtq_inflight *r)
{
	uint16_t used = vq_peek16(&r->used_idx), old = vq_peek16(&r->old_used_idx);
	uint16_t free = vq_peek16(&r->free_head), old_free = vq_peek16(&r->old_free_head);
	bool wrap = LOAD8(r->used_wrap_counter) & 1, old_wrap = LOAD8(r->old_used_wrap_counter) & 1;

	if (old >= q->size || used >= q->size)
		return VQ_FAULT_INFLIGHT_LIST;
	if ((used != old || wrap != old_wrap) &&
	    (free == old_free || !vq_is_avail(vq_load16(&vq_pdesc(q->desc, old)->flags), old_wrap))) {
		STORE16(r->old_free_head, free);
		STORE16(r->old_used_idx, used);
		STORE8(r->old_used_wrap_counter, wrap);
		old_free = free;
		old = used;
		old_wrap = wrap;
	}
	STORE16(r->used_idx, old);
	STORE8(r->used_wrap_counter, old_wrap);
	STORE16(r->free_head, old_free);
	q->used_next = old;
	q->used_wrap = old_wrap;
	return VQ_OK;
}

/* What is free is not in flight. */
static enum vq_fault packed_free_list(struct vq_dev *q, struct pvirtq_inflight *r)
{
	uint16_t at = vq_peek16(&r->free_head);
	uint32_t steps;

	for (steps = 0; at < q->inflight_count; steps++) {
		if (steps == q->inflight_count)
			return VQ_FAULT_INFLIGHT_LIST;
		STORE8(r->desc[at].inflight, 0);
		at = vq_peek16(&r->desc[at].next);
	}
	return VQ_OK;
}

/* Of a batch that was not published, all but the first may be marked as used already. Given back in another order, with
 * other chains' lengths, the driver would come to such a mark and believe it: these ring entries are ours again. */
static void packed_unmark(struct vq_dev *q)
{
	uint32_t i, at;
	bool wrap;
	le16 *flags;

	for (i = 0; i < q->descs_held; i++) {
		at = q->used_next + i;
		wrap = at < q->size ? q->used_wrap : !q->used_wrap;
		flags = &vq_pdesc(q->desc, at % q->size)->flags;
		if (vq_is_used(vq_load16(flags), wrap))
			STORE16(*flags, vq_avail_bits(wrap));
	}
}

static void packed_first_use(struct vq_dev *q, struct pvirtq_inflight *r)
{
	q->inflight_count = max_u32(q->inflight_count, q->size);
	vq_inflight_format(r, true, q->inflight_count);
	STORE16(r->free_head, 0);
	STORE16(r->old_free_head, 0);
	STORE16(r->used_idx, q->used_next);
	STORE16(r->old_used_idx, q->used_next);
	STORE8(r->used_wrap_counter, q->used_wrap);
	STORE8(r->old_used_wrap_counter, q->used_wrap);
	STORE16(r->version, VIRTQ_INFLIGHT_VERSION);
}

/* The region is believed, not the base: nothing in a packed ring itself tells a front-end where a killed device was. */
static enum vq_fault packed_start(struct vq_dev *q, const struct vq_setup *s)
{
	struct pvirtq_inflight *r = q->inflight;
	struct again *again CLEANUP(again_free) = NULL;
	uint16_t version = vq_peek16(&r->version);
	uint32_t i, count = 0, held = 0;
	enum vq_fault fault;

	q->inflight_count = vq_peek16(&r->desc_num);
	if (vq_inflight_len(true, q->inflight_count) > s->inflight_len)
		return VQ_FAULT_INFLIGHT_SIZE;
	if (version == 0 && q->base_ahead)
		return VQ_FAULT_LEFT_BEHIND;
	if (version == 0) {
		packed_first_use(q, r);
		return VQ_OK;
	}
	if (version != VIRTQ_INFLIGHT_VERSION)
		return VQ_FAULT_INFLIGHT_VERSION;
	if (q->inflight_count < q->size)
		return VQ_FAULT_INFLIGHT_SIZE;
	fault = packed_settle(q, r);
	fault = fault == VQ_OK ? packed_free_list(q, r) : fault;
	if (fault != VQ_OK)
		return fault;
	again = base_zalloc(q->inflight_count * sizeof(*again));
	for (i = 0; i < q->inflight_count; i++) {
		if (LOAD8(r->desc[i].inflight) == 0)
			continue;
		again[count++] = (struct again){ LOAD64(r->desc[i].counter), (uint16_t)i };
		held += vq_peek16(&r->desc[i].num);
	}
	if (held > q->size || count > q->size)
		return VQ_FAULT_INFLIGHT_LIST;
	resubmit_in_order(q, again, count);
	q->descs_held = q->resubmit_descs = held;
	q->avail_next = (uint16_t)((q->used_next + held) % q->size);
	q->avail_wrap = q->used_next + held < q->size ? q->used_wrap : !q->used_wrap;
	packed_unmark(q);
	return VQ_OK;
}
