/* SPDX-License-Identifier: BSD-3-Clause */
/* nexus.c: nexuses and their seats in a device's register; mail; unit attentions.
 *
 *     control   scsi_nexus_join()    a seat; mail waits on control until the nexus has begun
 *     its core  scsi_nexus_begin()
 *     its core  scsi_nexus_end()     tasks are aborted, the lease revoked; then
 *     control                        the seat is taken off the register; then
 *     its core                       n->ended(); the seat is freed when no mail is out
 */
#include "bdev/reservation.h"
#include "core/log.h"
#include "scsi/scsi_priv.h"

static void begun_on_control(struct msg *m);
static void revoked(struct bdev_lease_revoke *r);
static void leave(struct defer *d);
static void gone_on_control(struct msg *m);
static void ended_on_core(struct msg *m);
static void forgotten_on_control(struct msg *m);
static void mail_on_core(struct msg *m);
static void mail_on_control(struct msg *m);
static bool core_watch(struct watch *w, uint64_t now_ns, uint64_t limit_ns);

/* --- joining: control -- */

static int check_join(const struct scsi_nexus *n, const struct scsi_target *t, struct err *e)
{
	if (t->dying)
		return err_set(e, -ENODEV, "SCSI device '%s' is being removed", t->name);
	if (!scsi_map_port(t->map, n->port))
		return err_set(e, -ENODEV, "SCSI device '%s' has no port %u", t->name, n->port);
	list_each(l, &t->seats) {
		const struct scsi_seat *s = list_entry(l, struct scsi_seat, link);

		if (n->lanes && s->lanes == n->lanes)
			continue;
		if (s->port == n->port && !strcmp(s->initiator_port, n->initiator_port))
			return err_set(e, -EEXIST, "initiator port '%s' has a nexus with port %u of '%s' already",
			               n->initiator_port, n->port, t->name);
	}
	return 0;
}

/* To reservations. */
static void enter_party(struct scsi_nexus *n)
{
	const struct resv_identity id = { .kind = RESV_SCSI_NEXUS, .port_id = n->port, .host_id = n->who.host_id,
		.name = n->who.name, .port = n->initiator_port, .target = n->target->name };

	bdev_initiator_enter(n->target->scsi->reg, &n->who, &id);
}

int scsi_nexus_join(struct scsi_nexus *n, struct scsi_target *t, const struct scsi_nexus_ops *ops, struct err *e)
{
	struct scsi_seat *s;
	int rc = check_join(n, t, e);

	if (rc)
		return rc;
	n->ops = ops;
	n->target = t;
	n->who.host_id = uuid_of_name(n->initiator_port);
	bdev_lease_init(&n->lease);
	n->lease_epoch = bdev_lease_epoch(&n->lease);
	list_init(&n->tasks);
	list_init(&n->legs);
	n->attentions = base_zalloc((SCSI_LUNS_MAX + 1) * sizeof(*n->attentions));
	n->seat = s = base_zalloc_aligned(CACHE_LINE, sizeof(*s));
	s->target = t;
	s->port = n->port;
	s->lanes = n->lanes;
	s->nexus = n;
	s->pins = 1; /* for its beginning */
	memcpy(s->initiator_port, n->initiator_port, sizeof(s->initiator_port));
	memcpy(s->initiator, n->who.name, sizeof(s->initiator));
	carry_begins(&s->home, reactor_self());
	enter_party(n);
	s->party = n->who.party;
	list_init(&s->unsent);
	list_add_tail(&t->seats, &s->link);
	t->seat_count++;
	return 0;
}

/* --- living on a core -- */

static void join_core(struct scsi_nexus *n)
{
	n->reactor = reactor_self();
	n->core = scsi_core_here(n->target->scsi);
	list_add_tail(&n->core->nexuses, &n->link);
	if (!n->core->watching) {
		watch_start(&n->core->watch, "scsi", core_watch);
		n->core->watching = true;
	}
}

void scsi_nexus_begin(struct scsi_nexus *n)
{
	struct scsi_seat *s = n->seat;

	assert(!n->core && !n->ending);
	join_core(n);
	carry_begins(&s->home, reactor_self());
	msg_send(core_control(n->target->scsi->core), &s->begun_msg, begun_on_control);
}

static void send_unsent(struct scsi_seat *s)
{
	struct list *l;

	while ((l = list_pop(&s->unsent)))
		carry_send(&s->home, &list_entry(l, struct scsi_mail, link)->msg, mail_on_core);
}

static void begun_on_control(struct msg *m)
{
	struct scsi_seat *s = container_of(m, struct scsi_seat, begun_msg);

	s->begun = true;
	send_unsent(s);
	scsi_seat_unpin(s);
}

void scsi_nexus_freeze(struct freeze *f, struct scsi_nexus *n, struct reactor *to)
{
	if (!f->thawing) {
		assert(list_empty(&n->tasks) && !n->task_count && !n->ending);
		scsi_stages_close(n);
		list_del(&n->link);
		n->core = NULL;
		n->reactor = to;
		carry_goes(&n->seat->home, to);
	}
	freeze_u32(f, "lease_epoch", &n->lease_epoch);
	if (f->thawing) {
		join_core(n);
		carry_came(&n->seat->home);
	}
}

static void watch_nexus(struct watch *w, const struct scsi_nexus *n, uint64_t now_ns, uint64_t limit_ns)
{
	list_each(l, &n->tasks) {
		struct scsi_task *t = list_entry(l, struct scsi_task, link);
		uint64_t since_ns = t->came_ns + ((uint64_t)t->began << STAGE_UNIT_BITS);
		uint64_t age = now_ns - min_u64(since_ns, now_ns);

		if (age >= limit_ns)
			watch_report(w, age, "%s waits for %s, disk %s; LUN %u of %s, from %s", t->op ? t->op->name : "a command",
			             t->state == SCSI_TASK_WAITS ? "older ones" : t->io.active ? "the device" : "the target",
			             t->lu ? t->lu->served->bdev_name : "-", t->lu ? scsi_lu_of(t->lu)->lun : 0,
			             n->target->name, n->initiator_port);
	}
}

static bool core_watch(struct watch *w, uint64_t now_ns, uint64_t limit_ns)
{
	struct scsi_core *c = container_of(w, struct scsi_core, watch);
	bool busy = false;

	list_each(l, &c->nexuses) {
		const struct scsi_nexus *n = list_entry(l, struct scsi_nexus, link);

		watch_nexus(w, n, now_ns, limit_ns);
		busy |= !list_empty(&n->tasks);
	}
	return busy;
}

/* --- ending -- */

void scsi_nexus_end(struct scsi_nexus *n, void (*ended)(struct scsi_nexus *n))
{
	struct scsi_seat *s = n->seat;

	assert(!n->ending);
	n->ending = true;
	n->ended = ended;
	if (!n->core) { /* it has not begun */
		n->told = true;
		defer_run(&n->defer, leave);
		return;
	}
	list_each_safe(l, &n->tasks) {
		struct scsi_task *t = list_entry(l, struct scsi_task, link);

		if (t->state != SCSI_TASK_DONE)
			scsi_task_abort(t, false);
	}
	bdev_lease_revoke(n->target->scsi->core, &n->lease, &s->revoke, revoked);
}

static void revoked(struct bdev_lease_revoke *r)
{
	struct scsi_nexus *n = container_of(r, struct scsi_seat, revoke)->nexus;

	n->revoked = true;
	scsi_nexus_go_on(n);
}

void scsi_nexus_go_on(struct scsi_nexus *n)
{
	if (likely(!n->ending) || n->task_count || !n->revoked || n->told)
		return;
	n->told = true;
	defer_run(&n->defer, leave);
}

void scsi_nexus_let_go(struct scsi_nexus *n)
{
	assert(n->task_count > 0);
	n->task_count--;
	scsi_nexus_go_on(n);
}

static void leave(struct defer *d)
{
	struct scsi_nexus *n = container_of(d, struct scsi_nexus, defer);
	struct scsi_seat *s = n->seat;

	if (n->core) {
		scsi_stages_close(n);
		list_del(&n->link);
	}
	s->leaving = n;
	s->nexus = NULL;
	msg_send(core_control(s->target->scsi->core), &s->gone_msg, gone_on_control);
}

static void gone_on_control(struct msg *m)
{
	struct scsi_seat *s = container_of(m, struct scsi_seat, gone_msg);

	s->gone = true;
	list_del(&s->link);
	bdev_initiator_leave(s->target->scsi->reg, &s->leaving->who);
	s->pins++;
	if (!s->leaving->core) { /* it never begins */
		s->begun = true;
		send_unsent(s);
		s->pins--;
	}
	carry_send(&s->home, &s->gone_msg, ended_on_core);
}

static void ended_on_core(struct msg *m)
{
	struct scsi_seat *s = container_of(m, struct scsi_seat, gone_msg);
	struct scsi_nexus *n = s->leaving;

	s->leaving = NULL;
	n->seat = NULL;
	free(n->attentions);
	n->attentions = NULL;
	n->ended(n); /* may free it */
	msg_send(core_control(s->target->scsi->core), m, forgotten_on_control);
}

static void forgotten_on_control(struct msg *m)
{
	scsi_seat_unpin(container_of(m, struct scsi_seat, gone_msg));
}

void scsi_seat_pin(struct scsi_seat *s)
{
	s->pins++;
}

void scsi_seat_unpin(struct scsi_seat *s)
{
	struct scsi_target *t = s->target;

	assert(s->pins > 0);
	if (--s->pins || !s->gone)
		return;
	t->seat_count--;
	free(s);
	scsi_target_go_on(t);
}

/* --- mail: control -> home -> control -- */

void scsi_mail_send(struct scsi_mail *m, struct scsi_seat *s)
{
	assert(reactor_is_control(reactor_self()));
	m->seat = s;
	s->pins++;
	if (s->begun)
		carry_send(&s->home, &m->msg, mail_on_core);
	else
		list_add_tail(&s->unsent, &m->link);
}

static void mail_on_core(struct msg *msg)
{
	struct scsi_mail *m = container_of(msg, struct scsi_mail, msg);
	struct scsi_seat *s = m->seat;

	if (carry_met(&s->home, msg, mail_on_core))
		m->at_home(m, s->nexus);
}

void scsi_mail_back(struct scsi_mail *m)
{
	msg_send(core_control(m->seat->target->scsi->core), &m->msg, mail_on_control);
}

static void mail_on_control(struct msg *msg)
{
	struct scsi_mail *m = container_of(msg, struct scsi_mail, msg);
	struct scsi_seat *s = m->seat;

	m->back(m); /* may free it */
	scsi_seat_unpin(s);
}

static void disconnect_at_home(struct scsi_mail *m, struct scsi_nexus *n)
{
	if (n && !n->ending)
		n->ops->disconnect(n);
	scsi_mail_back(m);
}

static void free_mail(struct scsi_mail *m)
{
	free(m);
}

void scsi_seat_disconnect(struct scsi_seat *s)
{
	struct scsi_mail *m;

	if (s->disconnecting)
		return;
	s->disconnecting = true;
	m = base_zalloc(sizeof(*m));
	m->at_home = disconnect_at_home;
	m->back = free_mail;
	scsi_mail_send(m, s);
}

/* --- unit attentions: the nexus' core -- */

void scsi_attention_raise(struct scsi_nexus *n, uint32_t lun, uint16_t asc_ascq)
{
	struct scsi_attention *a = &n->attentions[lun];

	assert(lun < SCSI_LUNS_MAX);
	for (uint32_t i = 0; i < a->count; i++)
		if (a->asc[i] == asc_ascq)
			return;
	if (a->count == SCSI_ATTENTIONS_MAX)
		return; /* what it is told of the others makes it look anew */
	if (!a->count)
		n->attention_count++;
	a->asc[a->count++] = asc_ascq;
}

static void take_at(struct scsi_nexus *n, struct scsi_attention *a, uint32_t at)
{
	a->count--;
	memmove(&a->asc[at], &a->asc[at + 1], (a->count - at) * sizeof(a->asc[0]));
	if (!a->count)
		n->attention_count--;
}

bool scsi_attention_take(struct scsi_nexus *n, uint32_t lun, uint16_t *ret_asc)
{
	struct scsi_attention *a = &n->attentions[lun];

	if (lun >= SCSI_LUNS_MAX || !a->count)
		return false;
	*ret_asc = a->asc[0];
	take_at(n, a, 0);
	return true;
}

void scsi_attention_drop(struct scsi_nexus *n, uint16_t asc_ascq)
{
	for (uint32_t lun = 0; n->attention_count && lun < SCSI_LUNS_MAX; lun++) {
		struct scsi_attention *a = &n->attentions[lun];

		for (uint32_t i = 0; i < a->count; i++)
			if (a->asc[i] == asc_ascq)
				take_at(n, a, i--);
	}
}

/* --- unit attentions: from control to many nexuses -- */

struct tell_mail {
	struct scsi_mail mail;
	struct scsi_tell *tell;
};

static void tell_at_home(struct scsi_mail *m, struct scsi_nexus *n)
{
	const struct scsi_tell *tell = container_of(m, struct tell_mail, mail)->tell;
	const struct scsi_map *map = n ? scsi_nexus_map(n) : NULL;
	uint32_t first = tell->lun == UINT32_MAX ? 0 : tell->lun;

	for (uint32_t lun = first; n && lun < SCSI_LUNS_MAX && (lun == first || tell->lun == UINT32_MAX); lun++)
		if (map->luns[lun].lu)
			scsi_attention_raise(n, lun, tell->asc_ascq);
	if (n && n->ops->event)
		n->ops->event(n, scsi_lun_wire(first), (uint8_t)(tell->asc_ascq >> 8), (uint8_t)tell->asc_ascq);
	scsi_mail_back(m);
}

static void tell_end(struct msg *m)
{
	struct scsi_tell *tell = container_of(m, struct scsi_tell, msg);
	struct scsi_target *t = tell->target;

	if (tell->done)
		tell->done(tell);
	else
		free(tell);
	t->works--;
	scsi_target_go_on(t);
}

static void tell_less(struct scsi_tell *tell)
{
	if (--tell->left == 0)
		msg_send(reactor_self(), &tell->msg, tell_end);
}

static void tell_back(struct scsi_mail *m)
{
	struct tell_mail *tm = container_of(m, struct tell_mail, mail);
	struct scsi_tell *tell = tm->tell;

	free(tm);
	tell_less(tell);
}

void scsi_tell(struct scsi_tell *tell)
{
	struct scsi_target *t = tell->target;

	t->works++;
	tell->left = 1;
	list_each_safe(l, &t->seats) {
		struct scsi_seat *s = list_entry(l, struct scsi_seat, link);
		struct tell_mail *tm;

		if (scsi_seat_same(s, tell->except) || (tell->means && !tell->means(tell, s)))
			continue;
		tm = base_zalloc(sizeof(*tm));
		tm->tell = tell;
		tm->mail.at_home = tell_at_home;
		tm->mail.back = tell_back;
		tell->left++;
		scsi_mail_send(&tm->mail, s);
	}
	tell_less(tell);
}
