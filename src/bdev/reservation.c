/* SPDX-License-Identifier: BSD-3-Clause */
/* reservation.c: operations on a device's reservation, one after the other, from asking to the answer.
 *
 * The first of a device's line of operations is being done: decided on a copy of the state, written out, shown to every
 * core, waited for where it aborts, told, answered. What cores look at is exchanged by a visit to each; nobody
 * keeps a view beyond one look, so the old one is freed when the visit is over.
 */
#include "bdev/locks.h"
#include "bdev/resv_priv.h"
#include "core/log.h"

static void arrived(struct msg *m);
static void go_on(struct bdev_resv *r);
static bool decide(struct bdev_resv *r, struct resv_op *op);
static void written(void *arg, int rc);
static void show(struct bdev_resv *r);
static void show_on_core(struct each *e);
static void shown(struct each *e);
static void abort_preempted(struct bdev_resv *r);
static void drained(struct bdev_lock *l);
static void barrier_begin(struct bdev_lock *l);
static void barrier_taken(struct bdev_lock *l);
static void barrier_gone(struct bdev_lock *l);
static void finish(struct bdev_resv *r);
static void answered(struct msg *m);
static bool ask_outside(struct bdev_resv *r, struct resv_op *op);
static size_t strings_len(const struct resv_party *y);
static const char *put(char **at, const char *s);
static struct resv_report *report_make(const struct bdev_resv *r);

/* --- looking: each core ---------------------------------------------------------------------------------- */

static enum resv_relation relation(const struct resv_view *v, uint32_t party)
{
	if (party >= v->parties || !(v->registered[party / 64] >> party % 64 & 1))
		return RESV_STRANGER;
	return resv_type_is_all(v->type) || v->holder == party ? RESV_HOLDER : RESV_REGISTRANT;
}

static bool view_refuses(const struct resv_view *v, uint32_t party, enum resv_class class)
{
	if (v->spc2)
		return v->spc2 != party && class != RESV_ALWAYS;
	return resv_conflicts(v->type, relation(v, party), class);
}

static const uint8_t class_of[BDEV_OP_COUNT] = {
	[BDEV_READ] = RESV_READ, [BDEV_COMPARE] = RESV_READ, [BDEV_VERIFY] = RESV_READ, [BDEV_GET_LBA_STATUS] = RESV_READ,
	[BDEV_WRITE] = RESV_WRITE, [BDEV_FLUSH] = RESV_WRITE, [BDEV_UNMAP] = RESV_WRITE, [BDEV_WRITE_ZEROES] = RESV_WRITE,
	[BDEV_COMPARE_AND_WRITE] = RESV_WRITE, [BDEV_COPY] = RESV_WRITE, [BDEV_WRITE_UNCORRECTABLE] = RESV_WRITE,
	[BDEV_PASSTHROUGH] = RESV_WRITE, [BDEV_RESET] = RESV_ALWAYS,
};

bool bdev_resv_stops(const struct bdev_core *core, const struct bdev_io *io)
{
	return io->who && view_refuses(core->resv, io->who->party, class_of[io->op]);
}

bool bdev_resv_refuses(struct bdev_channel *ch, const struct bdev_initiator *who, enum resv_class class)
{
	const struct resv_view *v = ch->core->resv;

	return v && view_refuses(v, who->party, class);
}

bool bdev_resv_persists(struct bdev_channel *ch)
{
	return ch->core->resv && ch->core->resv->persists;
}

bool bdev_resv_can_persist(const struct bdev_registry *reg)
{
	return reg->resv_store != NULL;
}

/* --- parties and listeners: control ---------------------------------------------------------------------- */

void bdev_initiator_enter(struct bdev_registry *reg, struct bdev_initiator *who, const struct resv_identity *id)
{
	struct resv_party *y = resv_party_take(reg->parties, id);

	y->users++;
	who->party = y->id;
}

static void dropped(struct resv_op *op)
{
	free(op);
}

static void drop(struct bdev *b, const struct resv_party *y, enum resv_action action)
{
	struct resv_op *op = base_zalloc(sizeof(*op));

	*op = (struct resv_op){ .action = (uint8_t)action, .flags = RESV_F_ANY_KEY, .bdev = b, .party = y->id,
		.done = dropped, .from = reactor_self() };
	arrived(&op->msg);
}

/* What does not outlive its party: SPC-2's, and all that a host without an identifier has. */
static void drop_of(struct bdev_registry *reg, const struct resv_party *y)
{
	for (struct bdev *b = bdev_first(reg); b; b = bdev_next(b)) {
		if (!b->resv || b->resv_outside || atomic_load(&b->removing))
			continue;
		if (b->resv->state->spc2 == y->id)
			drop(b, y, RESV_SPC2_RELEASE);
		else if (resv_party_is_nameless(y) && resv_find(b->resv->state, y->id))
			drop(b, y, RESV_NVME_UNREGISTER);
	}
}

void bdev_initiator_leave(struct bdev_registry *reg, struct bdev_initiator *who)
{
	struct resv_party *y;

	if (!who->party)
		return;
	y = resv_party_of(reg->parties, who->party);
	assert(y->users > 0);
	if (--y->users == 0)
		drop_of(reg, y);
	resv_party_unref(reg->parties, y->id);
	who->party = 0;
}

void bdev_resv_listen(struct bdev_registry *reg, struct resv_listener *l,
                      void (*fn)(struct resv_listener *l, struct bdev *b, uint32_t party, enum resv_event event))
{
	l->fn = fn;
	list_add_tail(&reg->resv_listeners, &l->link);
}

void bdev_resv_unlisten(struct resv_listener *l)
{
	list_del(&l->link);
}

/* --- an operation ---------------------------------------------------------------------------------------- */

void bdev_resv_do(struct bdev_desc *desc, const struct bdev_initiator *who, struct resv_op *op, resv_done_fn *done)
{
	assert(op->other_count <= RESV_OTHERS_MAX);
	op->bdev = desc->bdev;
	op->desc = desc;
	op->party = who ? who->party : 0;
	op->ret_report = NULL;
	op->other_parties = NULL;
	op->from = reactor_self();
	op->done = done;
	msg_send(core_control(desc->bdev->reg->core), &op->msg, arrived);
}

static struct bdev_resv *resv_make(struct bdev *b)
{
	struct bdev_resv *r = base_zalloc(sizeof(*r));

	r->bdev = b;
	r->state = base_zalloc(sizeof(*r->state));
	list_init(&r->ops);
	b->resv = r;
	return r;
}

static void arrived(struct msg *m)
{
	struct resv_op *op = container_of(m, struct resv_op, msg);
	struct bdev *b = op->bdev;
	struct bdev_resv *r;

	if (atomic_load(&b->removing)) {
		op->result = RESV_GONE;
		msg_send(op->from, &op->msg, answered);
		return;
	}
	r = b->resv ? b->resv : resv_make(b);
	b->holds++;
	if (op->other_count)
		op->other_parties = base_zalloc(op->other_count * sizeof(*op->other_parties));
	for (uint32_t i = 0; i < op->other_count; i++)
		op->other_parties[i] = resv_party_take(b->reg->parties, &op->others[i])->id;
	if (op->party)
		resv_party_ref(b->reg->parties, op->party);
	list_add_tail(&r->ops, &op->link);
	if (r->ops.next == &op->link)
		go_on(r);
}

static struct resv_op *current(struct bdev_resv *r)
{
	return list_first(&r->ops, struct resv_op, link);
}

/* The first in line, and those after it that are answered at once. */
static void go_on(struct bdev_resv *r)
{
	struct bdev *b = r->bdev;
	struct resv_op *op;

	b->holds++; /* the last answer may let it go, and `r` with it */
	while ((op = current(r)) && !decide(r, op))
		finish(r);
	b->holds--;
	bdev_try_destroy(b);
}

static struct resv_view *view_make(const struct resv_state *s)
{
	uint32_t parties = 0;
	struct resv_view *v;

	if (resv_is_empty(s))
		return NULL;
	for (uint32_t i = 0; i < s->count; i++)
		parties = max_u32(parties, s->who[i].party + 1);
	v = base_zalloc(sizeof(*v) + div_up(parties, 64) * sizeof(v->registered[0]));
	v->type = s->type;
	v->persists = s->persists;
	v->holder = s->holder;
	v->spc2 = s->spc2;
	v->parties = parties;
	for (uint32_t i = 0; i < s->count; i++)
		v->registered[s->who[i].party / 64] |= 1ull << s->who[i].party % 64;
	return v;
}

/* --- decided outside --- */

/* Whose registration it was there cannot come back to give it up: the next who asks deals with it. */
static bool is_left_behind(const struct bdev_resv *r)
{
	const struct resv_party *y = r->state->count ? resv_party_of(r->bdev->reg->parties, r->state->who[0].party) : NULL;

	return y && !y->users && resv_party_is_nameless(y);
}

/* A target knows this daemon as one host, so one party of the daemon at a time can be registered there. */
static bool ask_outside(struct bdev_resv *r, struct resv_op *op)
{
	const struct resv_state *s = r->state;

	if (op->action != RESV_REPORT && s->count && s->who[0].party != op->party && !is_left_behind(r)) {
		op->result = RESV_CONFLICT;
		return false;
	}
	r->bdev->ops->resv(r->bdev, op);
	return true;
}

/* The daemon's own entry is the party's for which it registered. */
static struct resv_report *report_of_seen(const struct bdev_resv *r, const struct resv_seen *seen)
{
	const struct resv_party *y = r->state->count ? resv_party_of(r->bdev->reg->parties, r->state->who[0].party) : NULL;
	size_t len = sizeof(struct resv_report) + seen->count * sizeof(struct resv_reported);
	struct resv_report *to = base_zalloc(len + (y ? strings_len(y) : 0) + 1);
	char *text = (char *)to + len;

	*to = (struct resv_report){ .generation = seen->generation, .count = seen->count, .type = seen->type,
	                            .persists = seen->persists };
	for (uint32_t i = 0; i < seen->count; i++) {
		struct resv_reported *w = &to->who[i];

		*w = (struct resv_reported){ .key = seen->who[i].key, .holds = seen->who[i].holds, .kind = RESV_NVME_HOST,
			                     .host_id = seen->who[i].host_id };
		w->name = w->port = w->target = text + (y ? strings_len(y) : 0);
		if (!seen->who[i].ours || !y || w->party)
			continue;
		w->party = y->id;
		w->kind = y->kind;
		w->port_id = y->port_id;
		w->host_id = y->host_id;
		w->name = put(&text, y->name);
		w->port = put(&text, y->port);
		w->target = put(&text, y->target);
		y = NULL;
	}
	return to;
}

/* What is ours there; the rest of it the target looks after. */
static void state_of_seen(struct resv_state *s, const struct resv_seen *seen, uint32_t party)
{
	*s = (struct resv_state){ .generation = seen->generation };
	for (uint32_t i = 0; i < seen->count && party; i++) {
		if (!seen->who[i].ours)
			continue;
		s->count = 1;
		s->who[0] = (struct resv_registrant){ .key = seen->who[i].key, .party = party };
		if (seen->who[i].holds) {
			s->type = seen->type;
			s->holder = resv_type_is_all(seen->type) ? 0 : party;
		}
	}
}

void bdev_resv_answered(struct resv_op *op, struct resv_seen *seen)
{
	struct bdev_resv *r = op->bdev->resv;
	bool stays = r->state->count && (op->action == RESV_REPORT || !is_left_behind(r));
	uint32_t party = stays ? r->state->who[0].party : op->party;

	assert(current(r) == op && (op->result == RESV_OK) == (seen != NULL));
	if (seen && op->action == RESV_REPORT)
		op->ret_report = report_of_seen(r, seen);
	if (!seen || (op->action == RESV_REPORT && !r->state->count)) {
		free(seen);
		finish(r);
		go_on(r);
		return;
	}
	r->next = base_zalloc(sizeof(*r->next));
	r->outcome = base_zalloc(sizeof(*r->outcome));
	r->outcome->changed = true;
	state_of_seen(r->next, seen, party);
	free(seen);
	show(r);
}

/* True: it goes on by itself. */
static bool decide(struct bdev_resv *r, struct resv_op *op)
{
	struct bdev_registry *reg = r->bdev->reg;

	if (r->bdev->resv_outside)
		return ask_outside(r, op);
	if (op->action == RESV_REPORT) {
		op->ret_report = report_make(r);
		op->result = RESV_OK;
		return false;
	}
	if (op->flags & RESV_F_PERSIST && !bdev_resv_can_persist(reg)) {
		op->result = RESV_NO_PERSIST;
		return false;
	}
	r->next = base_zalloc(sizeof(*r->next));
	r->outcome = base_zalloc(sizeof(*r->outcome));
	*r->next = *r->state;
	op->result = (uint8_t)resv_change(r->next, op, r->outcome);
	if (!r->outcome->changed)
		return false;
	if ((r->next->persists || r->state->persists) && r->next->spc2 == r->state->spc2) /* SPC-2's never lasts */
		r->write = resv_store_write(reg, &r->bdev->uuid, r->next, written, r);
	else
		show(r);
	return true;
}

static void written(void *arg, int rc)
{
	struct bdev_resv *r = arg;

	struct resv_op *op = current(r);

	must(op);
	r->write = NULL;
	if (rc == 0) {
		show(r);
		return;
	}
	op->result = RESV_NO_ROOM;
	finish(r);
	go_on(r);
}

static void refs(struct bdev_resv *r, const struct resv_state *s, void (*count)(struct resv_parties *p, uint32_t id))
{
	struct resv_parties *p = r->bdev->reg->parties;

	for (uint32_t i = 0; i < s->count; i++)
		count(p, s->who[i].party);
	if (s->spc2)
		count(p, s->spc2);
}

static void show(struct bdev_resv *r)
{
	refs(r, r->next, resv_party_ref);
	r->next_view = view_make(r->next);
	each_core(&r->each, r->bdev->reg->core, show_on_core, shown);
}

static void look_at(struct bdev_core *core, struct resv_view *v)
{
	core->resv = v;
	bdev_core_long_way(core, LONG_RESV, v && (v->type || v->spc2));
}

static void show_on_core(struct each *e)
{
	struct bdev_resv *r = container_of(e, struct bdev_resv, each);

	look_at(&r->bdev->cores[reactor_index(reactor_self())], r->next_view);
}

static void shown(struct each *e)
{
	struct bdev_resv *r = container_of(e, struct bdev_resv, each);
	struct resv_state *before = r->state;

	look_at(&r->bdev->cores[reactor_index(reactor_self())], r->next_view); /* control's own */
	free(r->view);
	r->view = r->next_view;
	r->state = r->next;
	r->next = before; /* of finish() to free, when those whom it names were told */
	if (!r->outcome->aborts) {
		finish(r);
		go_on(r);
		return;
	}
	abort_preempted(r);
	r->lock = base_zalloc_aligned(CACHE_LINE, sizeof(*r->lock));
	bdev_lock_take(r->lock, r->bdev, UINT64_MAX, 0, drained);
}

static void abort_preempted(struct bdev_resv *r)
{
	for (uint32_t i = 0; i < r->outcome->told_count; i++) {
		if (r->outcome->told[i].event != RESV_EVENT_REGISTRATION_PREEMPTED)
			continue;
		list_each_safe(l, &r->bdev->reg->resv_listeners) {
			struct resv_listener *listener = list_entry(l, struct resv_listener, link);

			if (listener->abort)
				listener->abort(listener, r->bdev, r->outcome->told[i].party);
		}
	}
}

/* A lock on no block waits for what was begun before and stops nobody: what may take long is over now. */
static void drained(struct bdev_lock *l)
{
	bdev_lock_give(l, barrier_begin);
}

/* Compare-and-writes are not counted, they have locks: so one on all blocks, for a moment. */
static void barrier_begin(struct bdev_lock *l)
{
	bdev_lock_take(l, l->bdev, 0, UINT64_MAX, barrier_taken);
}

/* Nothing that changes the device is under way on any core that was begun before the new view was everywhere. */
static void barrier_taken(struct bdev_lock *l)
{
	bdev_lock_give(l, barrier_gone);
}

static void barrier_gone(struct bdev_lock *l)
{
	struct bdev_resv *r = l->bdev->resv;

	free(l);
	r->lock = NULL;
	finish(r);
	go_on(r);
}

/* Tell and answer; the next may begin. */
static void finish(struct bdev_resv *r)
{
	struct resv_op *op = current(r);
	struct bdev *b = r->bdev;
	struct resv_parties *p = b->reg->parties;

	must(op);
	list_del(&op->link);
	if (op->result == RESV_OK && r->outcome) {
		for (uint32_t i = 0; i < r->outcome->told_count; i++)
			list_each_safe(l, &b->reg->resv_listeners) {
				struct resv_listener *listener = list_entry(l, struct resv_listener, link);

				listener->aborts = r->outcome->aborts &&
				                   r->outcome->told[i].event == RESV_EVENT_REGISTRATION_PREEMPTED;
				listener->fn(listener, b, r->outcome->told[i].party,
				             (enum resv_event)r->outcome->told[i].event);
			}
		if (r->outcome->changed)
			refs(r, r->next, resv_party_unref);
	}
	free(r->next);
	free(r->outcome);
	r->next = NULL;
	r->outcome = NULL;
	for (uint32_t i = 0; i < op->other_count; i++)
		resv_party_unref(p, op->other_parties[i]);
	free(op->other_parties);
	if (op->party)
		resv_party_unref(p, op->party);
	msg_send(op->from, &op->msg, answered);
	b->holds--;
}

static void answered(struct msg *m)
{
	struct resv_op *op = container_of(m, struct resv_op, msg);

	op->done(op);
}

/* --- coming and going ------------------------------------------------------------------------------------ */

void bdev_resv_arrived(struct bdev *b)
{
	uint32_t cores = core_reactor_count(b->reg->core) + 1;
	struct bdev_resv *r;

	b->resv = NULL;
	if (!b->reg->resv_store)
		return;
	r = resv_make(b);
	if (!resv_store_find(b->reg, &b->uuid, r->state)) {
		bdev_resv_free(b);
		return;
	}
	r->view = view_make(r->state);
	for (uint32_t i = 0; i < cores; i++) /* nobody has it open yet */
		look_at(&b->cores[i], r->view);
	log_notice("bdev: '%s' comes with %u registrants and a reservation of type '%s' from before", b->name,
	           r->state->count, resv_type_name(r->state->type));
}

void bdev_resv_free(struct bdev *b)
{
	struct bdev_resv *r = b->resv;

	if (!r)
		return;
	must(list_empty(&r->ops));
	refs(r, r->state, resv_party_unref);
	free(r->state);
	free(r->view);
	free(r);
	b->resv = NULL;
}

/* --- what there is --------------------------------------------------------------------------------------- */

static size_t strings_len(const struct resv_party *y)
{
	return strlen(y->name) + strlen(y->port) + strlen(y->target) + 3;
}

static const char *put(char **at, const char *s)
{
	size_t len = strlen(s) + 1;
	char *to = *at;

	memcpy(to, s, len);
	*at += len;
	return to;
}

static struct resv_reported reported(const struct resv_party *y, char **text)
{
	struct resv_reported r = { .party = y->id, .kind = y->kind, .port_id = y->port_id, .host_id = y->host_id };

	r.name = put(text, y->name);
	r.port = put(text, y->port);
	r.target = put(text, y->target);
	return r;
}

struct resv_report *bdev_resv_report(const struct bdev *b)
{
	return b->resv ? report_make(b->resv) : base_zalloc(sizeof(struct resv_report));
}

static struct resv_report *report_make(const struct bdev_resv *r)
{
	const struct resv_state *s = r->state;
	const struct resv_parties *p = r->bdev->reg->parties;
	size_t len = sizeof(struct resv_report) + s->count * sizeof(struct resv_reported);
	struct resv_report *to;
	char *text;

	for (uint32_t i = 0; i < s->count; i++)
		len += strings_len(resv_party_of(p, s->who[i].party));
	if (s->spc2)
		len += strings_len(resv_party_of(p, s->spc2));
	to = base_zalloc(len);
	*to = (struct resv_report){ .generation = s->generation, .count = s->count, .type = s->type,
	                            .persists = s->persists, .spc2 = s->spc2 };
	text = (char *)&to->who[s->count];
	for (uint32_t i = 0; i < s->count; i++) {
		const struct resv_registrant *w = &s->who[i];

		to->who[i] = reported(resv_party_of(p, w->party), &text);
		to->who[i].key = w->key;
		to->who[i].holds = resv_holds(s, w);
	}
	if (s->spc2) {
		to->spc2_holder = reported(resv_party_of(p, s->spc2), &text);
		to->spc2_holder.holds = true;
	}
	return to;
}
