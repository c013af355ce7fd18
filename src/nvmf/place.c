/* SPDX-License-Identifier: BSD-3-Clause */
/* place.c: on which core a connection lives: where it begins, and who moves it.
 *
 * A new one goes to the core with the fewest. Later the scheduler moves it (core/sched.h), or a person does.
 */
#include "nvmf/nvmf.h"
#include "nvmf/target.h"

static void offer(struct sched_mover *m, struct sched_offers *o);
static void move(struct sched_mover *m, uint64_t id, struct reactor *to, void (*done)(void *arg, int rc), void *arg);

void nvmf_place_init(struct nvmf_target *t)
{
	sched_place_init(&t->place, t->core);
	t->mover.offer = offer;
	t->mover.move = move;
	sched_add_mover(t->core, &t->mover);
}

void nvmf_place_stop(struct nvmf_target *t, void (*done)(void *arg), void *arg)
{
	sched_remove_mover(t->core, &t->mover, done, arg);
}

/* Which core it was born on, and a count there. */
uint64_t nvmf_place_id(struct nvmf_core *nc)
{
	return (uint64_t)nc->index << 48 | ++nc->last_qpair_id;
}

/* --- where a connection begins ----------------------------------------------------------------------------- */

struct reactor *nvmf_target_place(struct nvmf_target *t, struct sock *s)
{
	return sched_place(&t->place, t->core_count > 1 ? sock_incoming_cpu(s) : -1);
}

struct reactor *nvmf_target_place_on_node(struct nvmf_target *t, int node)
{
	return sched_place_on_node(&t->place, node);
}

void nvmf_target_unplace(struct nvmf_target *t, struct reactor *r)
{
	sched_place_left(&t->place, r);
}

void nvmf_set_place_mask(struct nvmf_target *t, uint64_t mask)
{
	assert(mask & (UINT64_MAX >> (64 - t->core_count)));
	atomic_store(&t->place.allowed, mask);
}

/* --- the scheduler's --------------------------------------------------------------------------------------- */

static void offer(struct sched_mover *m, struct sched_offers *o)
{
	struct nvmf_target *t = container_of(m, struct nvmf_target, mover);

	list_each(l, &nvmf_core_here(t)->qpairs) {
		struct nvmf_qpair *qp = list_entry(l, struct nvmf_qpair, link);
		const struct sched_item item = {
			.id = qp->id, .work = qp->work, .allowed = sched_place_allowed(&t->place),
			.fixed = sched_rests(m, qp->moved_round) || qp->pinned || !qp->connected || qp->closing ||
			         !qp->transport->ops->qpair_move,
		};

		qp->work = 0;
		sched_offer(o, &item);
	}
}

static struct nvmf_qpair *find_here(struct nvmf_target *t, uint64_t id)
{
	list_each(l, &nvmf_core_here(t)->qpairs)
		if (list_entry(l, struct nvmf_qpair, link)->id == id)
			return list_entry(l, struct nvmf_qpair, link);
	return NULL;
}

static void move(struct sched_mover *m, uint64_t id, struct reactor *to, void (*done)(void *arg, int rc), void *arg)
{
	struct nvmf_qpair *qp = find_here(container_of(m, struct nvmf_target, mover), id);

	if (!qp || qp->closing || !qp->transport->ops->qpair_move) {
		done(arg, qp && !qp->closing ? -ENOTSUP : -ENOTCONN);
		return;
	}
	qp->moved_round = m->round;
	qp->transport->ops->qpair_move(qp, to, done, arg);
}

/* --- by hand: control -> the qpair's core -> control ------------------------------------------------------- */

static struct nvmf_seat *find_seat(struct nvmf_move *m, const char *nqn, uint16_t cntlid, uint16_t qid)
{
	struct nvmf_subsystem *s = nvmf_config_find(m->target->config, nqn);

	if (!s) {
		err_set(&m->err, -ENODEV, "nqn: there is no subsystem '%s'; nvmf_get_subsystems lists those that exist",
		        nqn);
		return NULL;
	}
	list_each(l, &s->roster->ctrlrs) {
		struct nvmf_ctrlr *c = list_entry(l, struct nvmf_ctrlr, link);

		if (c->cntlid == cntlid && qid <= c->io_queues_max && c->seat_by_qid[qid])
			return c->seat_by_qid[qid];
	}
	err_set(&m->err, -ENODEV, "cntlid, qid: %s has no controller %u with a queue %u; nvmf_subsystem_get_qpairs tells "
	        "which there are", nqn, cntlid, qid);
	return NULL;
}

static void move_end(struct nvmf_move *m)
{
	carry_explain("the queue pair", m->rc, &m->err);
	m->done(m);
}

static void moved_on_control(struct msg *msg)
{
	struct nvmf_move *m = container_of(msg, struct nvmf_move, msg);
	struct nvmf_target *t = m->target;

	if (m->seat) {
		m->seat->moving = false;
		nvmf_seat_unpin(m->seat);
	}
	move_end(m);
	nvmf_target_less(t, &t->moves_out);
}

/* It stays where it is, and free to be moved by others if it was. */
static void not_moved_on_core(struct msg *msg)
{
	struct nvmf_move *m = container_of(msg, struct nvmf_move, msg);

	if (!nvmf_seat_here(m->seat, msg, not_moved_on_core))
		return;
	if (m->seat->qp)
		m->seat->qp->pinned = m->was_pinned;
	msg_send(core_control(m->target->core), &m->msg, moved_on_control);
}

static void moved(void *arg, int rc)
{
	struct nvmf_move *m = arg;

	m->rc = rc;
	if (rc)
		not_moved_on_core(&m->msg);
	else
		msg_send(core_control(m->target->core), &m->msg, moved_on_control);
}

static void move_on_core(struct msg *msg)
{
	struct nvmf_move *m = container_of(msg, struct nvmf_move, msg);
	struct nvmf_qpair *qp;

	if (!nvmf_seat_here(m->seat, msg, move_on_core))
		return;
	qp = m->seat->qp;
	m->was_pinned = qp && qp->pinned;
	if (!qp || qp->closing) {
		moved(m, -ENOTCONN);
		return;
	}
	qp->pinned = m->pinned;
	if (m->to == reactor_self())
		moved(m, 0);
	else if (!qp->transport->ops->qpair_move)
		moved(m, -ENOTSUP);
	else
		qp->transport->ops->qpair_move(qp, m->to, moved, m);
}

void nvmf_move_qpair(struct nvmf_move *m, const char *nqn, uint16_t cntlid, uint16_t qid, struct reactor *to,
                     bool pinned)
{
	m->to = to;
	m->pinned = pinned;
	m->rc = 0;
	m->seat = find_seat(m, nqn, cntlid, qid);
	if (m->seat && m->seat->moving)
		err_set(&m->err, -EBUSY, "the queue pair is being moved already");
	if (m->err.code) {
		m->done(m);
		return;
	}
	m->target->moves_out++;
	m->seat->moving = true;
	m->seat->pins++;
	carry_send(&m->seat->home, &m->msg, move_on_core);
}

/* --- for tests --------------------------------------------------------------------------------------------- */

struct nvmf_qpair *nvmf_target_qpair(struct nvmf_target *t, uint32_t n)
{
	struct nvmf_core *nc = nvmf_core_here(t);

	list_each(l, &nc->qpairs)
		if (n-- == 0)
			return list_entry(l, struct nvmf_qpair, link);
	return NULL;
}
