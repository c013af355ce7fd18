/* SPDX-License-Identifier: BSD-3-Clause */
/* message.c: what each message of a front-end means. A handler says in s->err what was wrong; what has to happen on
 * cores first is counted in s->waits, and the message is answered when that is done. */
#include <errno.h>

#include "vhost/session.h"

#define PROTOCOL_FEATURES (VU_P_BIT(MQ) | VU_P_BIT(LOG_SHMFD) | VU_P_BIT(REPLY_ACK) | VU_P_BIT(BACKEND_REQ) | \
	VU_P_BIT(CONFIG) | VU_P_BIT(BACKEND_SEND_FD) | VU_P_BIT(INFLIGHT_SHMFD) | VU_P_BIT(RESET_DEVICE) | \
	VU_P_BIT(INBAND_NOTIFICATIONS) | VU_P_BIT(CONFIGURE_MEM_SLOTS) | VU_P_BIT(STATUS) | \
	VU_P_BIT(DEVICE_STATE))

typedef void handler(struct vhost_session_priv *s);

/* A descriptor that came with the message is the caller's from now on. */
static int take_fd(struct vhost_session_priv *s, uint32_t i)
{
	int fd = s->msg.fds[i];

	assert(i < s->msg.fd_count && fd >= 0);
	s->msg.fds[i] = -1;
	return fd;
}

static bool has_fd(struct vhost_session_priv *s)
{
	if (!s->msg.fd_count)
		err_set(&s->err, -EBADF, "a descriptor should have come with it");
	return s->msg.fd_count;
}

static struct vu_msg *reply(struct vhost_session_priv *s, enum vu_payload kind)
{
	vu_reply_to(&s->msg, kind, &s->reply);
	return &s->reply;
}

static struct vhost_ring_priv *queue_at(struct vhost_session_priv *s, uint32_t index)
{
	return vhost_queue_get(s, index, &s->err);
}

/* One that is set up while it stands still. */
static struct vhost_ring_priv *still_queue_at(struct vhost_session_priv *s, uint32_t index)
{
	struct vhost_ring_priv *r = queue_at(s, index);

	if (r && r->queue.running)
		err_set(&s->err, -EBUSY, "queue %u runs; stop it first (GET_VRING_BASE)", index);
	return r && !r->queue.running ? r : NULL;
}

/* --- features ---------------------------------------------------------------------------------------------------- */

static uint64_t offered(const struct vhost_session_priv *s)
{
	struct vhost_ctrlr *c = s->session.ctrlr;
	uint64_t f = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_F_IN_ORDER) | VIRTIO_BIT(VIRTIO_F_LOG_ALL) |
		VIRTIO_BIT(VIRTIO_F_PROTOCOL_FEATURES);

	if (!c->no_packed)
		f |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	return f | c->ops->features(c);
}

static void on_get_features(struct vhost_session_priv *s)
{
	reply(s, VU_PAYLOAD_U64)->u64 = offered(s);
}

static void on_set_features(struct vhost_session_priv *s)
{
	const uint64_t log = VIRTIO_BIT(VIRTIO_F_LOG_ALL);
	uint64_t before = s->session.features, now = s->msg.u64, more = now & ~offered(s);

	if (more) {
		err_set(&s->err, -EINVAL, "features 0x%llx were not offered", (unsigned long long)more);
		return;
	}
	if (s->running && ((before ^ now) & ~log)) {
		err_set(&s->err, -EBUSY, "features can change while no queue runs; %u do", s->running);
		return;
	}
	s->session.features = now;
	s->has_protocol = now & VIRTIO_BIT(VIRTIO_F_PROTOCOL_FEATURES);
	if ((before ^ now) & log)
		vhost_queues_relog(s);
	if (!s->running)
		s->session.ctrlr->ops->negotiated(&s->session, now);
}

static void on_get_protocol_features(struct vhost_session_priv *s)
{
	reply(s, VU_PAYLOAD_U64)->u64 = PROTOCOL_FEATURES;
}

/* In-band notifications without a way to send, or to wait for, them: that cannot be said other than by hanging up. */
static void on_set_protocol_features(struct vhost_session_priv *s)
{
	const uint64_t in_band = VU_P_BIT(BACKEND_REQ) | VU_P_BIT(REPLY_ACK);
	uint64_t f = s->msg.u64;

	if (f & ~PROTOCOL_FEATURES) {
		err_set(&s->err, -EINVAL, "protocol features 0x%llx were not offered",
		        (unsigned long long)(f & ~PROTOCOL_FEATURES));
	} else if ((f & VU_P_BIT(INBAND_NOTIFICATIONS)) && (f & in_band) != in_band) {
		err_set(&s->err, -EINVAL, "INBAND_NOTIFICATIONS needs BACKEND_REQ and REPLY_ACK");
		vhost_session_end(s, "in-band notifications without what they need");
	} else {
		s->protocol = f;
	}
}

static void on_set_owner(struct vhost_session_priv *s)
{
	(void)s;
}

static void disable_all(struct vhost_session_priv *s)
{
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++) {
		if (!s->rings[i])
			continue;
		s->rings[i]->queue.enabled = false;
		s->rings[i]->queue.kicked = false;
	}
	vhost_queues_stop(s);
}

/* Deprecated: some meant by it that rings are disabled, and that is what is recommended. */
static void on_reset_owner(struct vhost_session_priv *s)
{
	disable_all(s);
}

static void on_reset_device(struct vhost_session_priv *s)
{
	disable_all(s);
	s->status = 0;
	s->resets = true;
}

/* Its queues have stopped: what was negotiated is so no more. They begin at their beginning again, unless a base is
 * said; for a status of 0 those whose base the front-end does not ask for either: QEMU stops a machine, which may go on
 * where it was, by a status of 0 before (7.2) or after that it asks for the bases. */
void vhost_message_ended(struct vhost_session_priv *s)
{
	if (!s->resets)
		return;
	s->resets = false;
	vhost_queues_forget_bases(s, s->msg.request == VU_RESET_DEVICE);
	s->session.features = 0;
	s->session.ctrlr->ops->negotiated(&s->session, 0);
}

static void on_get_status(struct vhost_session_priv *s)
{
	reply(s, VU_PAYLOAD_U64)->u64 = s->status;
}

/* 0 resets the device: its queues stop. NEEDS_RESET is ours to say, until then. */
static void on_set_status(struct vhost_session_priv *s)
{
	uint8_t status = (uint8_t)s->msg.u64;

	if (s->msg.u64 > UINT8_MAX) {
		err_set(&s->err, -EINVAL, "0x%llx is no device status", (unsigned long long)s->msg.u64);
		return;
	}
	if (!status) {
		on_reset_device(s);
		return;
	}
	s->status = status | (s->status & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* A region that is there, or would be, in the way of another: they may share no guest address. */
static bool overlaps(const struct vhost_mem *m, const struct vu_region *at)
{
	for (uint32_t i = 0; m && i < m->count; i++) {
		const struct vu_region *r = &m->regions[i]->at;

		if (at->guest < r->guest + r->size && r->guest < at->guest + at->size)
			return true;
	}
	return false;
}

static void on_set_mem_table(struct vhost_session_priv *s)
{
	uint32_t count = s->msg.memory.count;
	struct vhost_mem *m;

	if (s->msg.fd_count != count) {
		err_set(&s->err, -EBADF, "%u regions, but %u descriptors", count, s->msg.fd_count);
		return;
	}
	m = vhost_mem_make(s, count);
	for (uint32_t i = 0; i < count && !s->err.code; i++) {
		m->regions[i] = vhost_region_map(s, &s->msg.memory.at[i], s->msg.fds[i], &s->err);
		m->count = i + (m->regions[i] != NULL);
	}
	vhost_mem_publish(s, m, &s->err);
}

static void on_get_max_mem_slots(struct vhost_session_priv *s)
{
	reply(s, VU_PAYLOAD_U64)->u64 = VU_SLOTS_MAX;
}

static bool find_region(const struct vhost_mem *m, const struct vu_region *at, uint32_t *ret_index)
{
	for (uint32_t i = 0; m && i < m->count; i++) {
		const struct vu_region *r = &m->regions[i]->at;

		*ret_index = i;
		if (r->guest == at->guest && r->user == at->user && r->size == at->size)
			return true;
	}
	return false;
}

/* The same one again takes the old one's place: a front-end that reset the device may give its memory anew. */
static void on_add_mem_reg(struct vhost_session_priv *s)
{
	const struct vu_region *at = &s->msg.region;
	struct vhost_mem *m;
	uint32_t i;

	if (!has_fd(s))
		return;
	m = vhost_mem_copy(s, (s->mem ? s->mem->count : 0) + 1);
	if (find_region(m, at, &i))
		vhost_mem_drop(m, i);
	if (m->count >= VU_SLOTS_MAX)
		err_set(&s->err, -ENOSPC, "there are %u regions already, as many as were offered", m->count);
	else if (overlaps(m, at))
		err_set(&s->err, -EEXIST, "guest address 0x%llx, %llu bytes: overlaps a region that is there",
		        (unsigned long long)at->guest, (unsigned long long)at->size);
	else
		m->regions[m->count] = vhost_region_map(s, at, s->msg.fds[0], &s->err);
	m->count += !s->err.code;
	vhost_mem_publish(s, m, &s->err);
}

static void on_rem_mem_reg(struct vhost_session_priv *s)
{
	const struct vu_region *at = &s->msg.region;
	struct vhost_mem *m;
	uint32_t i;

	if (find_region(s->mem, at, &i)) {
		m = vhost_mem_copy(s, s->mem->count);
		vhost_mem_drop(m, i);
		vhost_mem_publish(s, m, &s->err);
		return;
	}
	err_set(&s->err, -ENOENT, "there is no region of guest address 0x%llx, user address 0x%llx, %llu bytes",
	        (unsigned long long)at->guest, (unsigned long long)at->user, (unsigned long long)at->size);
}

static void on_set_log_base(struct vhost_session_priv *s)
{
	reply(s, VU_PAYLOAD_NONE);
	if (has_fd(s))
		vhost_log_set(s, &s->msg.log, s->msg.fds[0], &s->err);
}

/* To be rung for what is logged: nobody asks for it to be, the front-end looks when it likes. */
static void on_set_log_fd(struct vhost_session_priv *s)
{
	has_fd(s);
}

/* --- queues ----------------------------------------------------------------------------------------------------- */

static void on_get_queue_num(struct vhost_session_priv *s)
{
	reply(s, VU_PAYLOAD_U64)->u64 = s->session.ctrlr->ops->rings_max;
}

static void on_set_vring_num(struct vhost_session_priv *s)
{
	struct vhost_ring_priv *r = still_queue_at(s, s->msg.state.index);
	uint32_t num = s->msg.state.num;

	if (!r)
		return;
	if (!num || num > VHOST_RING_SIZE_MAX)
		err_set(&s->err, -EINVAL, "queue %u: %u descriptors; 1 to %u can be had", s->msg.state.index, num,
		        VHOST_RING_SIZE_MAX);
	else
		r->queue.size = (uint16_t)num;
}

static void on_set_vring_addr(struct vhost_session_priv *s)
{
	const struct vu_addr *a = &s->msg.addr;
	struct vhost_ring_priv *r = queue_at(s, a->index);
	const struct vu_addr *had;

	if (!r)
		return;
	had = &r->queue.addr;
	if (!vhost_queue_placed(r, a)) {
		err_set(&s->err, -EFAULT, "queue %u: its addresses are not, or not wholly, in the memory that was given",
		        a->index);
	} else if (!r->queue.running) {
		r->queue.addr = *a;
		r->queue.has_addr = true;
		vhost_queue_start(r);
	} else if (had->desc == a->desc && had->used == a->used && had->avail == a->avail) {
		r->queue.addr = *a; /* logging begins or ends */
		vhost_queue_relog(r);
	} else {
		r->queue.addr = *a;
		vhost_queue_restart(r);
	}
}

static void on_set_vring_base(struct vhost_session_priv *s)
{
	struct vhost_ring_priv *r = still_queue_at(s, s->msg.state.index);

	if (!r)
		return;
	r->queue.base = s->msg.state.num;
	r->queue.base_set = r->queue.base_told = true;
}

/* The ring stops, which waits for its I/O; it says where it stopped when it has. */
static void on_get_vring_base(struct vhost_session_priv *s)
{
	struct vhost_ring_priv *r = queue_at(s, s->msg.state.index);

	reply(s, VU_PAYLOAD_STATE)->state = (struct vu_state){ s->msg.state.index, 0 };
	if (!r)
		return;
	r->queue.kicked = false;
	r->queue.base_told = true;
	r->queue.asked_base = r->queue.running;
	s->reply.state.num = r->queue.base;
	vhost_queue_stop(r);
}

static void on_vring_fd(struct vhost_session_priv *s, vhost_op_fn *run)
{
	struct vhost_ring_priv *r = queue_at(s, (uint32_t)(s->msg.u64 & VU_VRING_INDEX_MASK));
	bool none = s->msg.u64 & VU_VRING_FD_NONE;
	struct bell bell = { 0 };

	if (!r || (!none && !has_fd(s)))
		return;
	if (!none && bell_take(&bell, take_fd(s, 0), &s->err))
		return;
	if (run == vhost_ring_kick_op) {
		r->queue.kicked = true;
		r->queue.polled = none;
	}
	vhost_queue_bell(r, run, &bell);
	if (!r->queue.running)
		vhost_queue_start(r);
}

static void on_set_vring_kick(struct vhost_session_priv *s)
{
	on_vring_fd(s, vhost_ring_kick_op);
}

static void on_set_vring_call(struct vhost_session_priv *s)
{
	on_vring_fd(s, vhost_ring_call_op);
}

static void on_set_vring_err(struct vhost_session_priv *s)
{
	on_vring_fd(s, vhost_ring_err_op);
}

static void on_set_vring_enable(struct vhost_session_priv *s)
{
	struct vhost_ring_priv *r = queue_at(s, s->msg.state.index);

	if (!r)
		return;
	r->queue.enabled = s->msg.state.num != 0;
	if (r->queue.enabled)
		vhost_queue_start(r);
	else
		vhost_queue_stop(r);
}

/* In band: the ring starts by it, and is looked at because of it. */
static void on_vring_kick(struct vhost_session_priv *s)
{
	struct vhost_ring_priv *r;

	if (!vhost_has_protocol(s, VU_P_INBAND_NOTIFICATIONS)) {
		err_set(&s->err, -EPROTO, "in-band notifications were not negotiated");
		return;
	}
	r = queue_at(s, s->msg.state.index);
	if (!r)
		return;
	r->queue.kicked = true;
	if (r->queue.running)
		vhost_op_send(vhost_op_make(r, vhost_ring_kicked_op, NULL));
	else
		vhost_queue_start(r);
}

/* --- configuration ---------------------------------------------------------------------------------------------- */

static void on_get_config(struct vhost_session_priv *s)
{
	struct vhost_ctrlr *c = s->session.ctrlr;
	const struct vu_config *asked = &s->msg.config;
	uint8_t config[VU_CONFIG_MAX] = { 0 };
	struct vu_config *told = &reply(s, VU_PAYLOAD_CONFIG)->config;

	c->ops->config(c, &s->session, config);
	told->offset = asked->offset;
	told->size = asked->size;
	told->flags = asked->flags;
	memcpy(told->data, config + asked->offset, asked->size);
}

static void on_set_config(struct vhost_session_priv *s)
{
	const struct vu_config *c = &s->msg.config;
	const struct vhost_device_ops *ops = s->session.ctrlr->ops;

	ops->config_write(&s->session, c->offset, c->data, c->size, c->flags & VU_CONFIG_LIVE_MIGRATION, &s->err);
}

/* --- what is in flight ------------------------------------------------------------------------------------------ */

static size_t inflight_len(const struct vhost_session_priv *s, const struct vu_inflight *i)
{
	return vq_inflight_len(vhost_is_packed(s), i->queue_size);
}

static bool inflight_ok(struct vhost_session_priv *s, const struct vu_inflight *i)
{
	if (!i->queues || i->queues > s->session.ctrlr->ops->rings_max || !i->queue_size ||
	    i->queue_size > VHOST_RING_SIZE_MAX)
		err_set(&s->err, -EINVAL, "%u queues of %u descriptors; 1 to %u of 1 to %u can be had", i->queues,
		        i->queue_size, s->session.ctrlr->ops->rings_max, VHOST_RING_SIZE_MAX);
	return !s->err.code;
}

static void on_get_inflight_fd(struct vhost_session_priv *s)
{
	const struct vu_inflight *asked = &s->msg.inflight;
	size_t one = inflight_len(s, asked), all = one * asked->queues;
	struct vu_msg *m = reply(s, VU_PAYLOAD_INFLIGHT);
	struct share share = { 0 };
	int fd;

	if (!inflight_ok(s, asked))
		return;
	fd = share_make("vhost-inflight", all, &s->err);
	if (fd < 0)
		return;
	if (share_map(&share, fd, 0, all, true, &s->err)) {
		core_fd_close(fd);
		return;
	}
	for (uint32_t i = 0; i < asked->queues; i++)
		vq_inflight_format(share.base + i * one, vhost_is_packed(s), asked->queue_size);
	share_unmap(&share);
	m->inflight = (struct vu_inflight){ all, 0, asked->queues, asked->queue_size };
	m->fds[0] = fd;
	m->fd_count = 1;
}

static void on_set_inflight_fd(struct vhost_session_priv *s)
{
	const struct vu_inflight *i = &s->msg.inflight;

	if (!has_fd(s) || !inflight_ok(s, i))
		return;
	if (s->running)
		err_set(&s->err, -EBUSY, "%u queues run", s->running);
	else if (i->size < inflight_len(s, i) * i->queues)
		err_set(&s->err, -EINVAL, "%llu bytes for %u queues of %u descriptors; that takes %zu",
		        (unsigned long long)i->size, i->queues, i->queue_size, inflight_len(s, i) * i->queues);
	if (s->err.code)
		return;
	share_unmap(&s->inflight);
	if (share_map(&s->inflight, s->msg.fds[0], i->offset, i->size, true, &s->err))
		return;
	s->inflight_at = *i;
	vhost_session_watch_inflight(s);
}

static void on_set_backend_req_fd(struct vhost_session_priv *s)
{
	if (has_fd(s))
		vhost_backend_set(s, take_fd(s, 0), &s->err);
}

/* Their answers say what came of them. */
static void state_result(struct vhost_session_priv *s, bool done, uint64_t more, const struct err *e)
{
	if (!done)
		log_warning("vhost %s: %s: %s", s->session.name, vu_name(VU_REQUEST, s->msg.request), e->text);
	reply(s, VU_PAYLOAD_U64)->u64 = more | (done ? 0 : VU_STATE_REFUSED);
}

static void on_set_device_state_fd(struct vhost_session_priv *s)
{
	struct err e = { 0 };

	if (has_fd(s))
		state_result(s, vhost_state_transfer(s, &s->msg.transfer, take_fd(s, 0), &e), VU_STATE_NO_FD, &e);
}

static void on_check_device_state(struct vhost_session_priv *s)
{
	struct err e = { 0 };

	state_result(s, vhost_state_check(s, &e), 0, &e);
}

static void on_iotlb(struct vhost_session_priv *s)
{
	reply(s, VU_PAYLOAD_U64)->u64 = 1; /* ACCESS_PLATFORM is not offered */
}

static handler *const handlers[VU_REQUEST_END] = {
	[VU_GET_FEATURES] = on_get_features,
	[VU_SET_FEATURES] = on_set_features,
	[VU_SET_OWNER] = on_set_owner,
	[VU_RESET_OWNER] = on_reset_owner,
	[VU_SET_MEM_TABLE] = on_set_mem_table,
	[VU_SET_LOG_BASE] = on_set_log_base,
	[VU_SET_LOG_FD] = on_set_log_fd,
	[VU_SET_VRING_NUM] = on_set_vring_num,
	[VU_SET_VRING_ADDR] = on_set_vring_addr,
	[VU_SET_VRING_BASE] = on_set_vring_base,
	[VU_GET_VRING_BASE] = on_get_vring_base,
	[VU_SET_VRING_KICK] = on_set_vring_kick,
	[VU_SET_VRING_CALL] = on_set_vring_call,
	[VU_SET_VRING_ERR] = on_set_vring_err,
	[VU_GET_PROTOCOL_FEATURES] = on_get_protocol_features,
	[VU_SET_PROTOCOL_FEATURES] = on_set_protocol_features,
	[VU_GET_QUEUE_NUM] = on_get_queue_num,
	[VU_SET_VRING_ENABLE] = on_set_vring_enable,
	[VU_SET_BACKEND_REQ_FD] = on_set_backend_req_fd,
	[VU_IOTLB_MSG] = on_iotlb,
	[VU_GET_CONFIG] = on_get_config,
	[VU_SET_CONFIG] = on_set_config,
	[VU_GET_INFLIGHT_FD] = on_get_inflight_fd,
	[VU_SET_INFLIGHT_FD] = on_set_inflight_fd,
	[VU_RESET_DEVICE] = on_reset_device,
	[VU_VRING_KICK] = on_vring_kick,
	[VU_GET_MAX_MEM_SLOTS] = on_get_max_mem_slots,
	[VU_ADD_MEM_REG] = on_add_mem_reg,
	[VU_REM_MEM_REG] = on_rem_mem_reg,
	[VU_SET_STATUS] = on_set_status,
	[VU_GET_STATUS] = on_get_status,
	[VU_SET_DEVICE_STATE_FD] = on_set_device_state_fd,
	[VU_CHECK_DEVICE_STATE] = on_check_device_state,
};

void vhost_message(struct vhost_session_priv *s)
{
	uint32_t request = s->msg.request;
	struct vu_row row;

	log_debug("vhost %s: %s", s->session.name, vu_name(VU_REQUEST, request));
	if (!vu_row(VU_REQUEST, request, &row) || !handlers[request])
		err_set(&s->err, -ENOTSUP, "message %u is not for a disk, or not known", request);
	else if (row.needs != VU_P_NONE && !(PROTOCOL_FEATURES & (1ull << row.needs)))
		err_set(&s->err, -EPROTO, "what it belongs to was not offered");
	else
		handlers[request](s);
}
