/* SPDX-License-Identifier: BSD-3-Clause */
/* dev.c: the device's side of a virtqueue: where it starts, when it asks and tells, how it stops and moves. */
#include "core/freeze.h"
#include "virtio/access.h"

static void start_at(struct vq_dev *q, uint32_t base);

enum vq_fault vq_dev_init(struct vq_dev *q, const struct vq_setup *s)
{
	enum vq_fault fault = vq_setup_check(s);

	*q = (struct vq_dev){
		.desc = s->desc, .driver = s->driver, .device = s->device, .mem = s->mem, .size = s->size,
		.indirect_max = s->indirect_max ? s->indirect_max : VQ_INDIRECT_DEFAULT,
		.packed = s->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED),
		.event_idx = s->features & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX),
		.indirect = s->features & VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		.in_order = s->features & VIRTIO_BIT(VIRTIO_F_IN_ORDER),
		.log = s->log,
	};
	if (fault != VQ_OK)
		return fault;
	if (q->packed && ((s->base & 0x7fff) >= q->size || (s->base >> 16 & 0x7fff) >= q->size))
		return VQ_FAULT_BASE;
	q->slots = base_zalloc(q->size * sizeof(*q->slots));
	q->order = q->in_order ? base_zalloc(q->size * sizeof(*q->order)) : NULL;
	start_at(q, s->base);
	fault = s->inflight ? vq_inflight_start(q, s) : VQ_OK;
	q->used_told = q->used_next;
	q->told_wrap = q->used_wrap;
	if (fault != VQ_OK)
		vq_dev_fini(q);
	return fault;
}

void vq_dev_fini(struct vq_dev *q)
{
	free(q->slots);
	free(q->order);
	free(q->batch);
	free(q->resubmit);
	*q = (struct vq_dev){ .fault = q->fault };
}

void vq_dev_remap(struct vq_dev *q, const struct vq_setup *s)
{
	assert(s->size == q->size && vq_setup_check(s) == VQ_OK);
	q->desc = s->desc;
	q->driver = s->driver;
	q->device = s->device;
	q->mem = s->mem;
	q->mem_hint = q->table_hint = 0;
}

void vq_dev_set_log(struct vq_dev *q, const struct vq_log *log)
{
	q->log = log;
}

/* --- asking and telling --- */

/* Does the driver's word, read after our publish, ask for an interrupt? */
bool vq_dev_kick_due(struct vq_dev *q)
{
	uint32_t since = q->told_since;
	bool asked = q->asked;

	if (since == 0)
		return false;
	q->told_since = 0;
	q->asked = true;
	if (q->packed)
		return vq_packed_event_passed(vq_load32_seq(q->driver), q->event_idx, q->used_told, q->told_wrap,
		                              q->size, asked ? since : q->size);
	if (!q->event_idx)
		return !(vq_load16_seq(&((struct virtq_avail *)q->driver)->flags) & VIRTQ_AVAIL_F_NO_INTERRUPT);
	return !asked || since >= q->size ||
	       vq_event_passed(vq_load16_seq(vq_used_event(q->driver, q->size)), q->used_told,
	                       (uint16_t)(q->used_told - since));
}

bool vq_packed_event_passed(uint32_t event, bool event_idx, uint16_t next, bool wrap, uint32_t size, uint32_t since)
{
	uint16_t at = event & 0x7fff, flags = (uint16_t)(event >> 16) & 3;
	bool at_wrap = event >> RING_EVENT_WRAP_SHIFT & 1;

	if (flags == RING_EVENT_FLAGS_DISABLE)
		return false;
	if (flags != RING_EVENT_FLAGS_DESC || !event_idx || since >= size)
		return true;
	if (at_wrap != wrap)
		at -= (uint16_t)size;
	return vq_event_passed(at, next, (uint16_t)(next - since));
}

bool vq_dev_arm(struct vq_dev *q)
{
	const struct virtq_avail *avail = q->driver;
	struct virtq_used *used = q->device;
	uint32_t word = RING_EVENT_FLAGS_ENABLE;

	if (q->fault != VQ_OK)
		return false;
	if (q->packed) {
		if (q->event_idx)
			word = q->avail_next | (uint32_t)q->avail_wrap << RING_EVENT_WRAP_SHIFT |
			       (uint32_t)RING_EVENT_FLAGS_DESC << 16;
		vq_store32_seq(q->device, word);
	} else if (q->event_idx) {
		vq_store16_seq(vq_avail_event(used, q->size), q->avail_next);
	} else {
		vq_store16_seq(&used->flags, 0);
	}
	if (unlikely(q->log != NULL))
		vq_dev_log_ring(q, q->packed ? q->device : q->event_idx ? (void *)vq_avail_event(used, q->size) : used, 4);
	if (q->resubmit_next < q->resubmit_count)
		return true;
	if (q->packed)
		return vq_is_avail(vq_load16_seq(&vq_pdesc(q->desc, q->avail_next)->flags), q->avail_wrap);
	return vq_load16_seq(&avail->idx) != q->avail_next;
}

void vq_dev_disarm(struct vq_dev *q)
{
	/* Split with event index: the old event lies behind us; it costs one kick in 65,536 chains. */
	if (q->fault != VQ_OK || (!q->packed && q->event_idx))
		return;
	if (q->packed)
		vq_store32(q->device, (uint32_t)RING_EVENT_FLAGS_DISABLE << 16);
	else
		vq_store16(&((struct virtq_used *)q->device)->flags, VIRTQ_USED_F_NO_NOTIFY);
	if (unlikely(q->log != NULL))
		vq_dev_log_ring(q, q->device, 4);
}

/* --- stopping, logging --- */

int vq_dev_stop(struct vq_dev *q, enum vq_fault f, uint32_t at, uint64_t value)
{
	assert(f != VQ_OK);
	q->fault = f;
	q->fault_at = at;
	q->fault_value = value;
	return -1;
}

void vq_dev_log_ring(struct vq_dev *q, const void *at, uint64_t len)
{
	uint64_t addr = vq_mem_addr_of(q->mem, at);

	if (addr != UINT64_MAX)
		vq_log_mark(q->log, addr, len);
}

/* All of its writable part: which bytes were written is not for a ring to know (a status comes last). */
void vq_dev_log_chain(struct vq_dev *q, const struct vq_chain *c)
{
	const struct iovec *v;
	uint64_t addr;

	for (v = c->iov + c->out_count; v < c->iov + c->out_count + c->in_count; v++) {
		addr = vq_mem_addr_of(c->mem, v->iov_base);
		if (addr != UINT64_MAX)
			vq_log_mark(q->log, addr, v->iov_len);
	}
}

/* --- starting and moving --- */

uint64_t vq_area_len(enum vq_area area, uint64_t features, uint32_t size)
{
	uint64_t event = features & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) ? sizeof(le16) : 0;

	if (area == VQ_DESC)
		return size * sizeof(struct virtq_desc);
	if (features & VIRTIO_BIT(VIRTIO_F_RING_PACKED))
		return sizeof(struct pvirtq_event_suppress);
	if (area == VQ_DRIVER)
		return sizeof(struct virtq_avail) + size * sizeof(le16) + event;
	return sizeof(struct virtq_used) + size * sizeof(struct virtq_used_elem) + event;
}

enum vq_fault vq_setup_place(struct vq_setup *s, uint64_t desc, uint64_t driver, uint64_t device)
{
	s->desc = vq_mem_at_user(s->mem, desc, vq_area_len(VQ_DESC, s->features, s->size));
	s->driver = vq_mem_at_user(s->mem, driver, vq_area_len(VQ_DRIVER, s->features, s->size));
	s->device = vq_mem_at_user(s->mem, device, vq_area_len(VQ_DEVICE, s->features, s->size));
	return s->desc && s->driver && s->device ? vq_setup_check(s) : VQ_FAULT_RING_MEM;
}

enum vq_fault vq_setup_check(const struct vq_setup *s)
{
	bool packed = s->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	uintptr_t driver_align = packed ? sizeof(uint32_t) : VIRTQ_AVAIL_ALIGN;

	if (s->size == 0 || s->size > VIRTQ_SIZE_MAX || (!packed && !is_pow2(s->size)))
		return VQ_FAULT_SIZE;
	if ((uintptr_t)s->desc % VIRTQ_DESC_ALIGN != 0 || (uintptr_t)s->driver % driver_align != 0 ||
	    (uintptr_t)s->device % VIRTQ_USED_ALIGN != 0)
		return VQ_FAULT_RING_ALIGN;
	return VQ_OK;
}

/* The used index is where we go on: what was taken beyond it was lost with who took it, and is taken again. That is
 * what a base short of in-flight regions can do; a queue that was stopped in order has both at one place. */
static void start_at(struct vq_dev *q, uint32_t base)
{
	uint16_t avail = (uint16_t)base, used = (uint16_t)(base >> 16);

	if (!q->packed) {
		q->used_next = vq_load16(&((struct virtq_used *)q->device)->idx);
		q->base_moved = q->used_next != avail;
		q->base_ahead = (uint16_t)(avail - q->used_next) - 1u < q->size;
		q->avail_next = q->avail_seen = q->used_next;
		return;
	}
	/* Front-ends of old say 16 bits only; but 0 is a place, too: there its first entry is still the driver's. */
	if (used == 0 && !vq_is_avail(vq_load16(&vq_pdesc(q->desc, 0)->flags), false))
		used = avail;
	q->base_moved = q->base_ahead = used != avail;
	q->used_next = q->avail_next = used & 0x7fff;
	q->used_wrap = q->avail_wrap = used >> RING_EVENT_WRAP_SHIFT;
}

/* A chain of the window between what was used and what was taken: held, and not seen before in it. */
static bool holds(const struct vq_dev *q, uint16_t id, bool *seen)
{
	if (id >= q->size || q->slots[id].state == VQ_SLOT_FREE || seen[id])
		return false;
	seen[id] = true;
	return true;
}

static bool split_window_is_held(const struct vq_dev *q, bool *seen)
{
	const struct virtq_avail *avail = q->driver;
	uint16_t count = (uint16_t)(q->avail_next - q->used_next);

	for (uint16_t i = 0; i < count; i++)
		if (count > q->size || !holds(q, vq_load16(&avail->ring[(q->used_next + i) & (q->size - 1)]), seen))
			return false;
	return true;
}

/* An id is in the last of a chain's descriptors. */
static bool packed_window_is_held(const struct vq_dev *q, bool *seen)
{
	uint32_t left = q->avail_next - q->used_next + (q->avail_wrap != q->used_wrap ? q->size : 0), at = q->used_next;

	assert(left <= q->size);
	while (left > 0) {
		uint32_t count = 1;
		uint16_t id;

		while (count < left && vq_load16(&vq_pdesc(q->desc, at)->flags) & VIRTQ_DESC_F_NEXT) {
			at = (at + 1) % q->size;
			count++;
		}
		id = vq_load16(&vq_pdesc(q->desc, at)->id);
		if (!holds(q, id, seen) || q->slots[id].descs != count)
			return false;
		at = (at + 1) % q->size;
		left -= count;
	}
	return true;
}

uint32_t vq_dev_base(const struct vq_dev *q, bool *ret_apart)
{
	bool *seen = base_zalloc(q->size * sizeof(*seen));
	bool held = q->packed ? packed_window_is_held(q, seen) : split_window_is_held(q, seen);
	uint16_t avail = held ? q->used_next : q->avail_next;
	bool wrap = held ? q->used_wrap : q->avail_wrap;

	free(seen);
	if (ret_apart)
		*ret_apart = !held;
	if (!q->packed)
		return avail;
	return avail | (uint32_t)wrap << 15 | (uint32_t)q->used_next << 16 | (uint32_t)q->used_wrap << 31;
}

/* --- freeze --- */

static void freeze_slots(struct freeze *f, struct vq_dev *q)
{
	uint32_t busy = 0, i, count = 0;
	uint16_t id = 0;

	for (i = 0; i < q->size; i++)
		busy += q->slots[i].state != VQ_SLOT_FREE;
	freeze_u32(f, "busy", &busy);
	for (i = 0; count < busy && count < q->size && f->err.code == 0; i++) {
		if (!f->thawing && q->slots[i].state == VQ_SLOT_FREE)
			continue;
		id = (uint16_t)i;
		freeze_u16(f, "id", &id);
		id = id < q->size ? id : 0;
		freeze_u8(f, "state", &q->slots[id].state);
		freeze_u32(f, "written", &q->slots[id].written);
		freeze_u16(f, "descs", &q->slots[id].descs);
		freeze_u16(f, "entry", &q->slots[id].entry);
		freeze_u16(f, "last", &q->slots[id].last);
		count++;
	}
}

/* A list of at most `size` ids, from `head` on. */
static void freeze_ids(struct freeze *f, struct vq_dev *q, const char *name, uint16_t *ids, uint32_t head,
                       uint32_t *count)
{
	uint32_t i;

	freeze_u32(f, name, count);
	*count = min_u32(*count, q->size);
	for (i = 0; i < *count && f->err.code == 0; i++)
		freeze_u16(f, "id", &ids[(head + i) % q->size]);
}

void vq_dev_freeze(struct freeze *f, struct vq_dev *q)
{
	uint32_t fault = q->fault, left = q->resubmit_count - q->resubmit_next;

	vq_dev_publish(q);
	freeze_u16(f, "avail_next", &q->avail_next);
	freeze_bool(f, "avail_wrap", &q->avail_wrap);
	freeze_u16(f, "used_next", &q->used_next);
	freeze_bool(f, "used_wrap", &q->used_wrap);
	freeze_u32(f, "told_since", &q->told_since);
	freeze_bool(f, "asked", &q->asked);
	freeze_u32(f, "in_flight", &q->in_flight);
	freeze_u32(f, "descs_held", &q->descs_held);
	freeze_u32(f, "resubmit_descs", &q->resubmit_descs);
	freeze_u32(f, "inflight_count", &q->inflight_count); /* as it was checked */
	freeze_u64(f, "counter", &q->counter);
	freeze_u32(f, "fault", &fault);
	freeze_u32(f, "fault_at", &q->fault_at);
	freeze_u64(f, "fault_value", &q->fault_value);
	freeze_slots(f, q);
	if (q->in_order)
		freeze_ids(f, q, "order", q->order, q->order_head, &q->order_count);
	if (f->thawing && !q->resubmit)
		q->resubmit = base_zalloc(q->size * sizeof(*q->resubmit));
	freeze_ids(f, q, "resubmit", q->resubmit, q->resubmit_next, &left);
	if (!f->thawing)
		return;
	q->fault = fault < VQ_FAULT_COUNT ? (enum vq_fault)fault : VQ_OK;
	q->resubmit_next = 0;
	q->resubmit_count = left;
	q->avail_seen = q->avail_next;
	q->used_told = q->used_next;
	q->told_wrap = q->used_wrap;
}

void vq_dev_thaw_inflight(struct vq_dev *q, void *inflight)
{
	q->inflight = inflight;
	q->batch = base_zalloc(q->size * sizeof(*q->batch));
}

/* --- words --- */

const char *vq_fault_name(enum vq_fault f)
{
	static const char *const names[] = {
		[VQ_OK] = "OK",
#define FAULT_NAME(name, text) [VQ_FAULT_##name] = #name,
		VQ_FAULTS(FAULT_NAME)
	};

	return (size_t)f < ARRAY_SIZE(names) ? names[f] : "?";
}

const char *vq_fault_text(enum vq_fault f)
{
	static const char *const texts[] = {
		[VQ_OK] = "nothing is wrong",
#define FAULT_TEXT(name, text) [VQ_FAULT_##name] = text,
		VQ_FAULTS(FAULT_TEXT)
	};

	return (size_t)f < ARRAY_SIZE(texts) ? texts[f] : "?";
}
