/* SPDX-License-Identifier: BSD-3-Clause */
/* move.c: a ring goes to another core (core/carry.h), by the scheduler: it takes nothing new, its tasks end, its device
 * leaves this core and comes to that one. Indices and wrap counters go through struct freeze; memory stays where it
 * is. */
#include <errno.h>

#include "vhost/session.h"

static bool may_leave(struct carry *c);
static void stay(struct carry *c);
static void leave(struct carry *c, struct reactor *to, struct freeze *f);
static void arrive(struct carry *c, struct freeze *f);
static void live(struct carry *c);
static void offer(struct sched_mover *m, struct sched_offers *o);
static void move(struct sched_mover *m, uint64_t id, struct reactor *to, void (*done)(void *arg, int rc), void *arg);

static const struct carry_ops carry_ops = { .what = "vhost: a queue", .patience_ms = VHOST_MOVE_MS,
	.may_leave = may_leave, .stay = stay, .leave = leave, .arrive = arrive, .live = live };

static struct vhost_ring_priv *moving(struct carry *c) { return container_of(c, struct vhost_ring_priv, carry); }

/* --- leaving ----------------------------------------------------------------------------------------------------- */

static bool may_leave(struct carry *c)
{
	struct vhost_ring_priv *r = moving(c);

	if (r->ring.in_flight)
		return false;
	if (r->state == RING_OPEN)
		vhost_ring_close(r); /* it looks again when that is done, which may be now */
	return r->state == RING_CLOSED && !r->flush.queued;
}

/* Its device may have left already: then it comes again, here. */
static void stay(struct carry *c)
{
	struct vhost_ring_priv *r = moving(c);

	if (r->state == RING_CLOSED)
		live(c);
	else
		vhost_ring_go_on(r);
}

static void leave(struct carry *c, struct reactor *to, struct freeze *f)
{
	struct vhost_ring_priv *r = moving(c);
	struct vhost *v = r->home->vhost;

	sched_place_left(&v->place, reactor_self());
	sched_place_came(&v->place, to);
	vq_dev_freeze(f, &r->vq);
	freeze_bool(f, "ring.notify", &r->notify);
	vq_dev_fini(&r->vq);
	vhost_ring_leave(r);
	r->notify = false;
	r->home = NULL;
	carry_goes(&r->at, to);
}

/* --- arriving ---------------------------------------------------------------------------------------------------- */

static void arrive(struct carry *c, struct freeze *f)
{
	struct vhost_ring_priv *r = moving(c);
	struct vq_setup setup = r->setup;

	setup.inflight = NULL;
	must(!vq_dev_init(&r->vq, &setup)); /* as it was over there */
	vq_dev_freeze(f, &r->vq);
	freeze_bool(f, "ring.notify", &r->notify);
	if (r->setup.inflight)
		vq_dev_thaw_inflight(&r->vq, r->setup.inflight);
	vhost_ring_enter(r);
}

static void live(struct carry *c)
{
	struct vhost_ring_priv *r = moving(c);

	r->state = RING_OPENING;
	carry_came(&r->at);
	r->ring.session->ctrlr->ops->ring_open(&r->ring);
}

/* --- the scheduler ------------------------------------------------------------------------------------------------ */

void vhost_mover_begin(struct vhost *v)
{
	v->mover.offer = offer;
	v->mover.move = move;
	sched_add_mover(v->core, &v->mover);
}

static void offer(struct sched_mover *m, struct sched_offers *o)
{
	struct vhost *v = container_of(m, struct vhost, mover);

	list_each(l, &v->homes[reactor_index(reactor_self())].rings) {
		struct vhost_ring_priv *r = list_entry(l, struct vhost_ring_priv, link);
		bool rests = r->moved_round && m->round - r->moved_round < SCHED_REST_ROUNDS;
		const struct sched_item item = {
			.id = r->id, .work = r->work, .allowed = r->ring.session->ctrlr->place,
			.fixed = rests || r->pinned || r->state != RING_OPEN || r->stopping || r->broken,
		};

		r->work = 0;
		sched_offer(o, &item);
	}
}

static void move(struct sched_mover *m, uint64_t id, struct reactor *to, void (*done)(void *arg, int rc), void *arg)
{
	struct vhost *v = container_of(m, struct vhost, mover);

	list_each(l, &v->homes[reactor_index(reactor_self())].rings) {
		struct vhost_ring_priv *r = list_entry(l, struct vhost_ring_priv, link);

		if (r->id != id)
			continue;
		r->moved_round = m->round;
		vhost_ring_carry(r, to, done, arg);
		return;
	}
	done(arg, -ENOTCONN);
}

/* What was not published yet is seen first. */
void vhost_ring_carry(struct vhost_ring_priv *r, struct reactor *to, carry_done_fn *done, void *arg)
{
	bool lives = r->state == RING_OPEN && !r->stopping && !r->broken;

	if (lives && !carry_is_wanted(&r->carry) && to != reactor_self())
		vhost_ring_silence(r);
	carry_start(&r->carry, &carry_ops, to, lives, done, arg);
}

/* --- by hand ----------------------------------------------------------------------------------------------------- */

static void carried(void *arg, int rc)
{
	struct vhost_op *op = arg;

	op->rc = rc;
	vhost_op_end(op);
}

static void move_on_core(struct vhost_op *op)
{
	struct vhost_ring_priv *r = op->ring;

	r->pinned = op->pinned;
	if (reactor_self() == op->to && r->state == RING_OPEN && !carry_is_wanted(&r->carry))
		carried(op, 0);
	else
		vhost_ring_carry(r, op->to, carried, op);
}

static void moved(struct vhost_op *op)
{
	carry_explain("the queue", op->rc, &op->change->err);
	op->change->done(op->change);
}

void vhost_queue_move(struct vhost_ctrlr *c, uint32_t session, uint32_t queue, struct reactor *to, bool pinned,
                      struct vhost_change *change)
{
	list_each(l, &c->sessions) {
		struct vhost_session_priv *s = session_priv(list_entry(l, struct vhost_session, link));
		struct vhost_ring_priv *r = vhost_running(s, queue);
		struct vhost_op *op;

		if (s->session.id != session || !r)
			continue;
		op = vhost_op_make(r, move_on_core, moved);
		op->to = to;
		op->pinned = pinned;
		op->change = change;
		vhost_op_send(op);
		return;
	}
	err_set(&change->err, -ENOENT, "queue: no queue %u of a session %u runs; vhost_get_controllers lists those that do",
	        queue, session);
	change->done(change);
}
