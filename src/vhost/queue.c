/* SPDX-License-Identifier: BSD-3-Clause */
/* queue.c: a ring as the control reactor sees it: what the front-end said of it, and its starting and stopping.
 *
 * A ring starts when all is there that it takes, whichever message came last: size, addresses, memory, a kick, and that
 * it is enabled. What has to be done where it runs is an op: a message that finds it wherever it moved.
 */
#include <errno.h>

#include "vhost/session.h"

static void forget_base(struct vhost_queue *q);
static void started(struct vhost_op *op);
static void stopped(struct vhost_op *op);

/* --- ops -------------------------------------------------------------------------------------------------------- */

struct vhost_op *vhost_op_make(struct vhost_ring_priv *r, vhost_op_fn *run, vhost_op_fn *done)
{
	struct vhost_op *op = base_zalloc(sizeof(*op));

	op->ring = r;
	op->session = session_priv(r->ring.session);
	op->run = run;
	op->done = done;
	return op;
}

static void op_arrives(struct msg *m)
{
	struct vhost_op *op = container_of(m, struct vhost_op, msg);

	if (carry_met(&op->ring->at, m, op_arrives))
		op->run(op);
}

void vhost_op_send(struct vhost_op *op)
{
	op->session->waits++;
	carry_send(&op->ring->at, &op->msg, op_arrives);
}

static void op_back(struct msg *m)
{
	struct vhost_op *op = container_of(m, struct vhost_op, msg);
	struct vhost_session_priv *s = op->session;

	if (op->done)
		op->done(op);
	free(op);
	vhost_session_less(s);
}

void vhost_op_end(struct vhost_op *op)
{
	msg_send(core_control(op->session->vhost->core), &op->msg, op_back);
}

/* --- making ----------------------------------------------------------------------------------------------------- */

struct vhost_ring_priv *vhost_queue_get(struct vhost_session_priv *s, uint32_t index, struct err *e)
{
	uint32_t max = min_u32(s->session.ctrlr->ops->rings_max, VHOST_RINGS_MAX);
	struct vhost_ring_priv *r;

	if (index >= max) {
		err_set(e, -EINVAL, "queue %u: there are 0 to %u", index, max - 1);
		return NULL;
	}
	if (s->rings[index])
		return s->rings[index];
	r = base_zalloc_aligned(CACHE_LINE, sizeof(*r));
	r->ring.session = &s->session;
	r->ring.index = index;
	r->ring.priv = r;
	r->id = atomic_fetch_add(&s->vhost->ring_ids, 1);
	s->rings[index] = r;
	return r;
}

void vhost_queue_count(const struct vhost_ring_priv *r, struct vhost_counts *counts)
{
	counts->commands += __atomic_load_n(&r->commands, __ATOMIC_RELAXED);
	counts->kicks += __atomic_load_n(&r->kicks, __ATOMIC_RELAXED);
	counts->calls += __atomic_load_n(&r->calls, __ATOMIC_RELAXED);
}

void vhost_queue_free(struct vhost_ring_priv *r)
{
	struct vhost_session_priv *s = session_priv(r->ring.session);

	assert(!r->queue.running);
	vhost_queue_count(r, &s->session.ctrlr->ended);
	bell_close(&r->kick);
	bell_close(&r->call);
	bell_close(&r->err);
	s->rings[r->ring.index] = NULL;
	free(r);
}

/* --- starting --------------------------------------------------------------------------------------------------- */

static bool is_complete(const struct vhost_session_priv *s, const struct vhost_queue *q)
{
	return s->mem && q->size && q->has_addr && q->kicked && (q->enabled || !s->has_protocol) && !s->ended;
}

/* It was given for the features of then, which may have changed: no more is there than was mapped. */
static void *inflight_of(const struct vhost_session_priv *s, uint32_t index, uint16_t size, size_t *ret_len)
{
	size_t one = vq_inflight_len(vhost_is_packed(s), s->inflight_at.queue_size), at = index * one;

	*ret_len = at < s->inflight.len ? min_u64(one, s->inflight.len - at) : 0;
	if (!s->inflight.base || index >= s->inflight_at.queues || size > s->inflight_at.queue_size)
		return NULL;
	return s->inflight.base + at;
}

static enum vq_fault set_up(const struct vhost_ring_priv *r, struct vq_setup *setup)
{
	const struct vhost_session_priv *s = session_priv(r->ring.session);
	const struct vhost_queue *q = &r->queue;

	*setup = (struct vq_setup){ .features = s->session.features, .size = q->size, .mem = s->mem->vq, .base = q->base };
	if (vhost_is_packed(s) && !q->base_set)
		setup->base = VQ_BASE_PACKED;
	setup->inflight = inflight_of(s, r->ring.index, q->size, &setup->inflight_len);
	return vq_setup_place(setup, q->addr.desc, q->addr.avail, q->addr.used);
}

bool vhost_queue_placed(const struct vhost_ring_priv *r, const struct vu_addr *a)
{
	const struct vhost_session_priv *s = session_priv(r->ring.session);

	return s->mem && vq_mem_at_user(s->mem->vq, a->desc, 1) && vq_mem_at_user(s->mem->vq, a->avail, 1) &&
	       vq_mem_at_user(s->mem->vq, a->used, 1);
}

static struct vhost_log *log_for(struct vhost_session_priv *s)
{
	if (!s->log || !(s->session.features & VIRTIO_BIT(VIRTIO_F_LOG_ALL)))
		return NULL;
	s->log->refs++;
	return s->log;
}

static void find_spot(struct vhost_ring_priv *r)
{
	r->queue.spot = vhost_mem_spot(session_priv(r->ring.session)->mem, r->queue.addr.used);
}

/* Another session of the controller that runs a queue in the same ring, whose requests would be done twice; NULL: none
 * does. */
static const struct vhost_session *who_has_ring(const struct vhost_ring_priv *r)
{
	const struct vhost_session *mine = r->ring.session;

	list_each(l, &mine->ctrlr->sessions) {
		const struct vhost_session *other = list_entry(l, struct vhost_session, link);

		for (uint32_t i = 0; other != mine && i < VHOST_RINGS_MAX; i++) {
			const struct vhost_ring_priv *o = vhost_running(session_priv(other), i);

			if (o && !memcmp(&o->queue.spot, &r->queue.spot, sizeof(o->queue.spot)))
				return other;
		}
	}
	return NULL;
}

void vhost_queue_start(struct vhost_ring_priv *r)
{
	const struct vhost_session *other;
	struct vhost_session_priv *s = session_priv(r->ring.session);
	struct vhost_ctrlr *c = s->session.ctrlr;
	enum vq_fault fault;

	if (r->queue.running || !is_complete(s, &r->queue))
		return;
	find_spot(r);
	other = who_has_ring(r);
	if (other) {
		err_set(&s->err, -EBUSY, "queue %u: its ring is that of a queue that runs for another front-end, %s: end that "
		        "one first", r->ring.index, other->name);
		return;
	}
	if (r->queue.was_reset && !r->queue.base_told)
		forget_base(&r->queue);
	fault = set_up(r, &r->setup);
	if (fault) {
		err_set(&s->err, -EINVAL, "queue %u: %s", r->ring.index, vq_fault_text(fault));
		return;
	}
	r->charged = (uint64_t)r->setup.size * (c->ops->task_bytes + VHOST_IOVS_MAX * sizeof(struct iovec));
	if (!mem_charge(s->vhost->core, r->charged)) {
		err_set(&s->err, -ENOMEM, "queue %u of %u: %llu bytes for its requests are more than what is left of the "
		        "memory budget; see option --memory", r->ring.index, r->setup.size, (unsigned long long)r->charged);
		return;
	}
	r->log = log_for(s);
	r->setup.log = r->log ? &r->log->vq : NULL;
	r->view = vhost_view_make(s->mem);
	r->polled = r->queue.polled;
	r->in_band = vhost_has_protocol(s, VU_P_INBAND_NOTIFICATIONS);
	r->takes = c->ops->takes && c->ops->takes(r->ring.index);
	r->delay_base_us = c->delay_base_us;
	r->iops_threshold = c->iops_threshold;
	r->queue.running = true;
	r->queue.broken = r->queue.unplaced = r->queue.apart = r->pinned = false;
	r->queue.base_told = r->queue.was_reset = false;
	s->running++;
	carry_begins(&r->at, vhost_place(s->vhost, c->place));
	vhost_op_send(vhost_op_make(r, vhost_ring_start_op, started));
}

static void not_running(struct vhost_ring_priv *r)
{
	struct vhost_session_priv *s = session_priv(r->ring.session);

	if (r->log)
		vhost_log_unref(r->log);
	r->log = NULL;
	mem_uncharge(s->vhost->core, r->charged);
	r->queue.running = r->queue.stopping = false;
	s->running--;
}

static void started(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	if (!op->fault) {
		log_info("vhost %s: queue %u of %u runs", vhost_ring_name(r), r->ring.index, r->queue.size);
		return;
	}
	not_running(r);
	err_set(&op->session->err, -EINVAL, "queue %u: %s", r->ring.index, vq_fault_text(op->fault));
}

/* --- stopping --------------------------------------------------------------------------------------------------- */

void vhost_queue_stop(struct vhost_ring_priv *r)
{
	struct vhost_op *op;

	if (!r->queue.running || r->queue.stopping)
		return;
	r->queue.stopping = true;
	op = vhost_op_make(r, vhost_ring_stop_op, stopped);
	op->finish = r->queue.asked_base;
	vhost_op_send(op);
}

void vhost_queues_stop(struct vhost_session_priv *s)
{
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++)
		if (s->rings[i])
			vhost_queue_stop(s->rings[i]);
}

static void forget_base(struct vhost_queue *q)
{
	q->base = 0;
	q->base_set = q->apart = false;
}

void vhost_queues_forget_bases(struct vhost_session_priv *s, bool at_once)
{
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++) {
		if (!s->rings[i])
			continue;
		s->rings[i]->queue.was_reset = true;
		if (at_once)
			forget_base(&s->rings[i]->queue);
	}
}

static void hurried(struct vhost_op *op)
{
	struct vhost_session_priv *s = op->session;

	s->hurried_queues += op->waited_for;
	if (!--s->hurrying)
		vhost_session_hurried(s, s->hurried_queues);
}

bool vhost_queues_hurry(struct vhost_session_priv *s)
{
	if (s->hurrying)
		return true; /* still at it */
	s->hurried_queues = 0;
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++) {
		struct vhost_ring_priv *r = vhost_running(s, i);

		if (!r || (!r->queue.stopping && !s->awaited))
			continue;
		s->hurrying++;
		vhost_op_send(vhost_op_make(r, r->queue.stopping ? vhost_ring_hurry_op : vhost_ring_hurry_old_op, hurried));
	}
	return s->hurrying;
}

static void stopped(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	r->queue.base = op->base;
	r->queue.base_set = true;
	r->queue.apart = op->apart;
	not_running(r);
	if (r->queue.asked_base)
		op->session->reply.state.num = op->base;
	r->queue.asked_base = false;
	log_info("vhost %s: queue %u stopped at 0x%x", vhost_ring_name(r), r->ring.index, op->base);
}

static void stopped_to_start(struct vhost_op *op)
{
	stopped(op);
	vhost_queue_start(op->ring);
}

void vhost_queue_restart(struct vhost_ring_priv *r)
{
	assert(r->queue.running && !r->queue.stopping);
	r->queue.stopping = true;
	vhost_op_send(vhost_op_make(r, vhost_ring_stop_op, stopped_to_start));
}

/* --- changes while it runs -------------------------------------------------------------------------------------- */

/* Front-ends that cut their memory anew take a piece away before they give the next: a ring that stops for that reason
 * goes on when it has a place again. */
void vhost_queue_remap(struct vhost_ring_priv *r)
{
	struct vhost_op *op;
	struct vq_setup setup;
	enum vq_fault fault;

	if (!r->queue.running && r->queue.unplaced && !set_up(r, &setup)) {
		vhost_queue_start(r);
		return;
	}
	if (!r->queue.running || r->queue.stopping)
		return;
	fault = set_up(r, &setup);
	if (fault) {
		log_warning("vhost %s: queue %u stops: after a change of memory, %s", vhost_ring_name(r), r->ring.index,
		            vq_fault_text(fault));
		r->queue.unplaced = !r->queue.broken;
		vhost_queue_stop(r);
		return;
	}
	find_spot(r);
	op = vhost_op_make(r, vhost_ring_remap_op, NULL);
	op->view = vhost_view_make(session_priv(r->ring.session)->mem);
	op->setup = setup;
	vhost_op_send(op);
}

void vhost_session_break(struct vhost_session_priv *s, const char *why)
{
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++) {
		struct vhost_ring_priv *r = vhost_running(s, i);
		struct vhost_op *op;

		if (!r)
			continue;
		op = vhost_op_make(r, vhost_ring_break_op, NULL);
		op->why = why;
		vhost_op_send(op);
	}
}

static void relogged(struct vhost_op *op)
{
	if (op->log)
		vhost_log_unref(op->log);
}

void vhost_queue_relog(struct vhost_ring_priv *r)
{
	struct vhost_op *op;

	if (!r->queue.running || r->queue.stopping)
		return;
	op = vhost_op_make(r, vhost_ring_log_op, relogged);
	op->log = log_for(session_priv(r->ring.session));
	vhost_op_send(op);
}

void vhost_queues_relog(struct vhost_session_priv *s)
{
	for (uint32_t i = 0; i < VHOST_RINGS_MAX; i++)
		if (s->rings[i])
			vhost_queue_relog(s->rings[i]);
}

static void bell_back(struct vhost_op *op)
{
	bell_close(&op->bell);
}

static struct bell *bell_of(struct vhost_ring_priv *r, vhost_op_fn *run)
{
	return run == vhost_ring_kick_op ? &r->kick : run == vhost_ring_call_op ? &r->call : &r->err;
}

void vhost_queue_bell(struct vhost_ring_priv *r, vhost_op_fn *run, struct bell *bell)
{
	struct vhost_op *op;

	if (!r->queue.running) {
		struct bell *b = bell_of(r, run);

		bell_close(b);
		*b = *bell;
		return;
	}
	op = vhost_op_make(r, run, bell_back);
	op->bell = *bell;
	vhost_op_send(op);
}
