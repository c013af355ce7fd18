/* SPDX-License-Identifier: BSD-3-Clause */
/* registry.c: which controllers exist and which queue pairs they have: the control reactor's side.
 *
 * A controller lives from the Connect of its admin queue until its last seat is free. Losing the admin queue, a
 * keep-alive that expired, a host or subsystem that was removed: each makes it `dying`: its lease is revoked, so that
 * nothing of it can land any more, and every queue pair is told to go. A reset does the same to the I/O queues only.
 */
#include "core/notify.h"
#include "nvmf/target.h"

static void ctrlr_go_on(struct nvmf_ctrlr *c);
static void revoke(struct nvmf_ctrlr *c);
static void revoked(struct bdev_lease_revoke *r);
static void quiesce_late(struct timer *t);
static void ctrlr_free(struct nvmf_ctrlr *c);
static void mail_send(struct nvmf_seat *s);
static void mail_on_core(struct msg *m);
static void mail_back(struct msg *m);
static void seat_gone(struct msg *m);
static void seat_free_if_idle(struct nvmf_seat *s);

/* --- rosters --------------------------------------------------------------------------------------- */

struct nvmf_roster *nvmf_roster_make(struct nvmf_target *t, bool discovery)
{
	struct nvmf_roster *r = base_zalloc(sizeof(*r));

	r->refs = 1;
	r->discovery = discovery;
	list_init(&r->ctrlrs);
	list_init(&r->waiters);
	return r;
}

void nvmf_roster_unref(struct nvmf_target *t, struct nvmf_roster *r)
{
	assert(r->refs > 0);
	if (--r->refs)
		return;
	free(r->gone);
	free(r->had_static);
	free(r);
}

static bool roster_has(struct nvmf_roster *r, struct nvmf_roster_wait *w)
{
	list_each(l, &r->ctrlrs)
		if (w->matches(w, list_entry(l, struct nvmf_ctrlr, link)))
			return true;
	return false;
}

void nvmf_roster_disconnect(struct nvmf_roster *r, struct nvmf_roster_wait *w)
{
	list_each_safe(l, &r->ctrlrs) {
		struct nvmf_ctrlr *c = list_entry(l, struct nvmf_ctrlr, link);

		if (w->matches(w, c))
			nvmf_ctrlr_disconnect(c);
	}
}

void nvmf_roster_wait_gone(struct nvmf_roster *r, struct nvmf_roster_wait *w)
{
	list_init(&w->link);
	if (roster_has(r, w))
		list_add_tail(&r->waiters, &w->link);
	else
		w->fn(w);
}

void nvmf_roster_tell(struct nvmf_roster *r, uint32_t bits)
{
	list_each(l, &r->ctrlrs) {
		struct nvmf_ctrlr *c = list_entry(l, struct nvmf_ctrlr, link);

		if (c->seat_by_qid[0])
			nvmf_seat_tell(c->seat_by_qid[0], bits);
	}
}

/* --- controllers -------------------------------------------------------------------------------------- */

static bool cntlid_taken(const struct nvmf_roster *r, uint16_t cntlid)
{
	list_each(l, &r->ctrlrs)
		if (list_entry(l, struct nvmf_ctrlr, link)->cntlid == cntlid)
			return true;
	return false;
}

/* Go round, so that an id that was just given up is not used again at once. 0: none free. */
static uint16_t cntlid_take(const struct nvmf_subsystem *s)
{
	struct nvmf_roster *r = s->roster;
	uint32_t count = (uint32_t)s->max_cntlid - s->min_cntlid + 1;
	uint16_t id = r->next_cntlid;

	if (r->count >= count)
		return 0;
	for (uint32_t n = 0; n < count; n++, id++) {
		if (id < s->min_cntlid || id > s->max_cntlid)
			id = s->min_cntlid;
		if (!cntlid_taken(r, id)) {
			r->next_cntlid = (uint16_t)(id + 1);
			return id;
		}
	}
	return 0;
}

struct nvmf_ctrlr *nvmf_ctrlr_make(struct nvmf_subsystem *s, struct nvmf_qpair *qp, const struct net_addr *local,
                                   uint16_t cntlid)
{
	struct nvmf_target *t = qp->target;
	struct nvmf_ctrlr *c;

	cntlid = cntlid ? cntlid : cntlid_take(s);
	if (!cntlid)
		return NULL;
	c = base_zalloc_aligned(CACHE_LINE, sizeof(*c));
	c->target = t;
	c->transport = qp->transport;
	c->transport->ctrlrs++;
	c->roster = s->roster;
	c->roster->refs++;
	c->roster->count++;
	c->sub_id = s->id;
	memcpy(c->nqn, s->nqn, sizeof(c->nqn));
	c->cntlid = cntlid;
	c->discovery = s->discovery;
	c->is_static = s->is_static;
	c->io_queues_max = s->discovery ? 0 : qp->transport->opts.max_io_qpairs_per_ctrlr;
	atomic_store(&c->io_queues, c->io_queues_max);
	c->seen = base_zalloc_aligned(CACHE_LINE, (c->io_queues_max + 1u) * sizeof(*c->seen));
	c->seat_by_qid = base_zalloc((c->io_queues_max + 1u) * sizeof(*c->seat_by_qid));
	c->listen_addr = *local;
	bdev_lease_init(&c->lease);
	nvmf_ccr_init(c);
	list_init(&c->seats);
	list_add_tail(&c->roster->ctrlrs, &c->link);
	c->unborn = true;
	c->connected_us = core_wall_us();
	t->ctrlrs_alive++;
	t->ctrlrs_of[c->sub_id]++;
	return c;
}

void nvmf_ctrlr_disconnect(struct nvmf_ctrlr *c)
{
	if (c->dying)
		return;
	c->dying = true;
	revoke(c);
	list_each(l, &c->seats)
		nvmf_seat_tell(list_entry(l, struct nvmf_seat, link), NVMF_MAIL_DISCONNECT);
	ctrlr_go_on(c);
}

/* CC.EN went to 0 or CC.SHN was set; its admin queue is pinned and waits for the answer. */
void nvmf_ctrlr_reset_on_control(struct msg *m)
{
	struct nvmf_ctrlr *c = container_of(m, struct nvmf_ctrlr, control_msg);

	c->resetting = true;
	revoke(c);
	list_each(l, &c->seats) {
		struct nvmf_seat *s = list_entry(l, struct nvmf_seat, link);

		if (s->qid)
			nvmf_seat_tell(s, NVMF_MAIL_DISCONNECT);
	}
	ctrlr_go_on(c);
}

/* A host came again, and its target's policy is that the older controllers go. */
void nvmf_ctrlr_replace_on_control(struct msg *m)
{
	struct nvmf_ctrlr *c = container_of(m, struct nvmf_ctrlr, replace_msg);

	list_each_safe(l, &c->roster->ctrlrs) {
		struct nvmf_ctrlr *old = list_entry(l, struct nvmf_ctrlr, link);

		if (old == c || strcmp(old->who.name, c->who.name) || !uuid_equal(&old->who.host_id, &c->who.host_id))
			continue;
		log_notice("host %s came again to %s: its controller %u goes (dup_host_policy)", old->who.name, old->nqn,
		           old->cntlid);
		nvmf_ctrlr_disconnect(old);
	}
	carry_send(&c->admin_seat->home, m, nvmf_ctrlr_replaced);
}

static void revoke(struct nvmf_ctrlr *c)
{
	if (c->revoking || c->discovery)
		return;
	c->revoking = true;
	if (c->target->cqt_ms)
		timer_start(&c->quiesce, c->target->cqt_ms * NS_PER_MS, quiesce_late);
	bdev_lease_revoke(c->target->core, &c->lease, &c->revoke, revoked);
}

static void revoked(struct bdev_lease_revoke *r)
{
	struct nvmf_ctrlr *c = container_of(r, struct nvmf_ctrlr, revoke);

	c->revoking = false;
	timer_stop(&c->quiesce);
	ctrlr_go_on(c);
}

/* What its host sends again by another controller may be overtaken: people should know. */
static void quiesce_late(struct timer *t)
{
	struct nvmf_ctrlr *c = container_of(t, struct nvmf_ctrlr, quiesce);

	if (log_may(&c->target->complaints))
		log_warning("host %s, controller %u: has ended, and a device has had I/O of it in hand for %u ms since (CQT): "
		            "nvmf_set_failover tells hosts to wait for longer", c->who.name, c->cntlid, c->target->cqt_ms);
}

static bool io_queues_gone(const struct nvmf_ctrlr *c)
{
	return list_empty(&c->seats) || (c->seats.next == c->seats.prev && c->seat_by_qid[0]);
}

/* Something it may have waited for has happened. */
static void ctrlr_go_on(struct nvmf_ctrlr *c)
{
	nvmf_ccr_look(c);
	if (c->resetting && !c->revoking && io_queues_gone(c)) {
		c->resetting = false;
		nvmf_ccr_renew(c);
		carry_send(&c->admin_seat->home, &c->home_msg, nvmf_ctrlr_reset_done);
	}
	if (!c->seat_count && !c->revoking && !c->unborn)
		ctrlr_free(c);
}

static void ctrlr_free(struct nvmf_ctrlr *c)
{
	struct nvmf_target *t = c->target;
	struct nvmf_roster *r = c->roster;

	assert(list_empty(&c->seats) && !c->aer_count);
	nvmf_ccr_fini(c);
	list_del(&c->link);
	r->count--;
	t->ctrlrs_of[c->sub_id]--;
	if (atomic_load(&c->arrived))
		notify(t->core, NOTIFY_HOST_DISCONNECTED, "%s %s", c->who.name, c->nqn);
	list_each_safe(l, &r->waiters) {
		struct nvmf_roster_wait *w = list_entry(l, struct nvmf_roster_wait, link);

		if (!roster_has(r, w)) {
			list_del(l);
			w->fn(w);
		}
	}
	nvmf_roster_unref(t, r);
	bdev_initiator_leave(t->reg, &c->who);
	nvmf_resv_ctrlr_fini(c);
	free(c->seen);
	free(c->seat_by_qid);
	free(c->changed_ns);
	free(c->seen_ns);
	free(c->tler);
	if (--c->transport->ctrlrs == 0 && c->transport->left)
		c->transport->left(c->transport->left_arg);
	free(c);
	nvmf_target_less(t, &t->ctrlrs_alive);
}

/* --- seats ------------------------------------------------------------------------------------------------ */

struct nvmf_seat *nvmf_seat_make(struct nvmf_ctrlr *c, struct nvmf_qpair *qp, uint16_t qid)
{
	struct nvmf_seat *s = base_zalloc(sizeof(*s));

	assert(!c->seat_by_qid[qid]);
	s->ctrlr = c;
	s->qid = qid;
	s->qp = qp;
	carry_begins(&s->home, qp->reactor);
	s->epoch = bdev_lease_epoch(&c->lease);
	list_add_tail(&c->seats, &s->link);
	c->seat_by_qid[qid] = s;
	c->seat_count++;
	c->target->conns++;
	c->unborn = false;
	if (qid == 0)
		c->admin_seat = s;
	return s;
}

void nvmf_seat_leave(struct nvmf_seat *s)
{
	s->qp = NULL;
	msg_send(core_control(s->ctrlr->target->core), &s->gone_msg, seat_gone);
}

static void seat_gone(struct msg *m)
{
	struct nvmf_seat *s = container_of(m, struct nvmf_seat, gone_msg);
	struct nvmf_ctrlr *c = s->ctrlr;

	s->gone = true;
	c->target->conns--;
	list_del(&s->link);
	c->seat_by_qid[s->qid] = NULL;
	c->unborn = true; /* not freed under our feet */
	if (s->qid == 0)
		nvmf_ctrlr_disconnect(c);
	seat_free_if_idle(s);
	c->unborn = false;
	ctrlr_go_on(c);
}

static void seat_free_if_idle(struct nvmf_seat *s)
{
	if (!s->gone || s->mail_out || s->pins)
		return;
	s->ctrlr->seat_count--;
	free(s->tls_identity);
	nvmf_resv_notes_free(s->preempted);
	free(s);
}

void nvmf_seat_unpin(struct nvmf_seat *s)
{
	struct nvmf_ctrlr *c = s->ctrlr;

	s->pins--;
	seat_free_if_idle(s);
	ctrlr_go_on(c);
}

/* --- mail from a queue pair: home -> control -> home ----------------------------------------------------------- */

struct from_qpair {
	struct msg msg;
	struct nvmf_seat *seat;           /* its queue pair is pinned */
	uint32_t bits;
};

static void from_qpair_back(struct msg *m)
{
	struct from_qpair *f = container_of(m, struct from_qpair, msg);

	if (!nvmf_seat_here(f->seat, m, from_qpair_back))
		return;
	nvmf_qpair_unpin(f->seat->qp);
	free(f);
}

static void from_qpair_on_control(struct msg *m)
{
	struct from_qpair *f = container_of(m, struct from_qpair, msg);
	struct nvmf_seat *to = f->bits == NVMF_MAIL_DISCONNECT ? f->seat : f->seat->ctrlr->seat_by_qid[0];

	if (to)
		nvmf_seat_tell(to, f->bits);
	carry_send(&f->seat->home, m, from_qpair_back);
}

void nvmf_qpair_mail(struct nvmf_qpair *qp, uint32_t bits)
{
	struct from_qpair *f = base_zalloc(sizeof(*f));

	f->seat = qp->seat;
	f->bits = bits;
	nvmf_qpair_pin(qp);
	msg_send(core_control(qp->target->core), &f->msg, from_qpair_on_control);
}

/* --- mail: control -> home -> control ---------------------------------------------------------------------------- */

void nvmf_seat_tell(struct nvmf_seat *s, uint32_t bits)
{
	s->mail_bits |= bits;
	if (!s->mail_out)
		mail_send(s);
}

static void mail_send(struct nvmf_seat *s)
{
	s->mail_now = s->mail_bits;
	s->mail_bits = 0;
	s->mail_out = true;
	if (s->mail_now & NVMF_MAIL_RESV) {
		s->notes_now = s->ctrlr->resv_notes;
		s->ctrlr->resv_notes = NULL;
		s->ctrlr->resv_note_count = 0;
	}
	if (s->mail_now & NVMF_MAIL_PREEMPTED) {
		s->preempted_now = s->preempted;
		s->preempted = NULL;
	}
	carry_send(&s->home, &s->mail, mail_on_core);
}

static void mail_on_core(struct msg *m)
{
	struct nvmf_seat *s = container_of(m, struct nvmf_seat, mail);
	struct nvmf_qpair *qp = s->qp;

	if (!nvmf_seat_here(s, m, mail_on_core))
		return;
	if (qp && (s->mail_now & NVMF_MAIL_CONFIG) && !s->qid && s->ctrlr->admin_qp == qp)
		nvmf_ctrlr_look(s->ctrlr);
	if (s->mail_now & NVMF_MAIL_RESV) {
		nvmf_resv_noted(qp && !s->qid && s->ctrlr->admin_qp == qp ? s->ctrlr : NULL, s->notes_now);
		s->notes_now = NULL;
	}
	if (s->mail_now & NVMF_MAIL_PREEMPTED) {
		if (qp)
			nvmf_qpair_preempted(qp, s->preempted_now);
		nvmf_resv_notes_free(s->preempted_now);
		s->preempted_now = NULL;
	}
	if (qp && (s->mail_now & NVMF_MAIL_CCR) && !s->qid && s->ctrlr->admin_qp == qp)
		nvmf_event_raise(s->ctrlr, NVMF_EVENT_CCR);
	if (qp && (s->mail_now & NVMF_MAIL_HEALTH) && !s->qid && s->ctrlr->admin_qp == qp && qp->nc->subs[qp->sub_id])
		nvmf_health_look(s->ctrlr, qp->nc->subs[qp->sub_id]);
	if (qp && (s->mail_now & NVMF_MAIL_NSSR) && !s->qid && s->ctrlr->admin_qp == qp)
		nvmf_ctrlr_nssr(s->ctrlr);
	if (qp && (s->mail_now & NVMF_MAIL_DISCONNECT) && !qp->closing)
		qp->transport->ops->qpair_disconnect(qp);
	msg_send(core_control(s->ctrlr->target->core), m, mail_back);
}

static void mail_back(struct msg *m)
{
	struct nvmf_seat *s = container_of(m, struct nvmf_seat, mail);
	struct nvmf_ctrlr *c = s->ctrlr;

	s->mail_out = false;
	if (s->mail_bits && !s->gone) {
		mail_send(s);
		return;
	}
	seat_free_if_idle(s);
	ctrlr_go_on(c);
}
