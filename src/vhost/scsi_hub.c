/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_hub.c: sessions of a SCSI host, and what they have on each core.
 *
 *     its core   a ring opens: control is asked
 *     control    makes the hub of that core if there is none: joins a nexus with each target; they begin there
 *     its core   the ring is open, and the hub its device
 *
 * Hubs end when the device is reset, which ends what is in flight, and when the session closes; a lane ends with its
 * target, too. Rings that open meanwhile wait until hubs have ended.
 */
#include "core/log.h"
#include "vhost/scsi.h"
#include "vhost/session.h"

/* A ring on its way in, or out. */
struct vscsi_opening {
	struct msg msg;
	struct list link;
	struct vhost_ring *ring;
	struct reactor *on;
	struct vscsi_hub *hub;
};

static void open_on_control(struct msg *m);
static void opened_on_core(struct msg *m);
static void close_on_control(struct msg *m);
static void closed_on_core(struct msg *m);
static void lane_begin(struct msg *m);
static void lane_begun(struct msg *m);
static void target_less(struct vscsi_target *t);
static void lane_end(struct vscsi_lane *l);
static void lane_ended(struct scsi_nexus *n);
static void lane_gone(struct msg *m);
static void hub_end_on_core(struct msg *m);
static void hub_end_back(struct msg *m);
static void disconnect(struct scsi_nexus *n);
static void go_on(struct vscsi_session *s);

static const struct scsi_nexus_ops nexus_ops = { .task_done = vscsi_task_done, .disconnect = disconnect,
	.event = vscsi_nexus_event };

static struct core *core_of(const struct vscsi_session *s) { return s->session->ctrlr->vhost->core; }

/* --- sessions: control ------------------------------------------------------------------------------------------ */

static void default_sizes(struct vscsi_session *s)
{
	atomic_store(&s->cdb_size, VIRTIO_SCSI_CDB_DEFAULT_SIZE);
	atomic_store(&s->sense_size, VIRTIO_SCSI_SENSE_DEFAULT_SIZE);
}

void vscsi_session_open(struct vhost_session *session)
{
	struct vscsi_session *s = base_zalloc(sizeof(*s));

	s->session = session;
	s->index = -1;
	s->hubs = base_zalloc(core_reactor_count(session->ctrlr->vhost->core) * sizeof(struct vscsi_hub *));
	list_init(&s->openings);
	list_init(&s->events);
	default_sizes(s);
	session->device = s;
}

static void hubs_end(struct vscsi_session *s)
{
	for (uint32_t i = 0; i < core_reactor_count(core_of(s)); i++) {
		struct vscsi_hub *h = s->hubs[i];

		if (!h || h->ending)
			continue;
		h->ending = true;
		s->ending++;
		vscsi_hub_pin(h);
		msg_send(h->on, &h->end_msg, hub_end_on_core);
	}
	atomic_store(&s->speaker, NULL);
}

void vscsi_session_close(struct vhost_session *session)
{
	struct vscsi_session *s = session->device;

	assert(list_empty(&s->openings) && !s->event_on);
	s->closing = true;
	hubs_end(s);
	go_on(s);
}

/* Whoever drives it now has nothing to do with tasks, unit attentions and events of before. */
void vscsi_negotiated(struct vhost_session *session, uint64_t features)
{
	struct vscsi_session *s = session->device;

	s->features = features;
	if (!features)
		default_sizes(s);
	hubs_end(s);
	if (s->event_on)
		s->forget = true;
	else
		vscsi_events_drop(s);
}

static void go_on(struct vscsi_session *s)
{
	struct vhost_session *session = s->session;
	struct list waiting;
	struct list *l;

	if (s->ending)
		return;
	if (s->closing) {
		vscsi_events_drop(s);
		session->device = NULL;
		free(s->hubs);
		free(s);
		vhost_session_closed(session);
		return;
	}
	list_init(&waiting);
	list_splice(&waiting, &s->openings);
	while ((l = list_pop(&waiting)))
		open_on_control(&list_entry(l, struct vscsi_opening, link)->msg);
}

/* --- rings ------------------------------------------------------------------------------------------------------- */

static void to_control(struct vhost_ring *r, msg_fn *fn)
{
	struct vscsi_opening *o = base_zalloc(sizeof(*o));

	o->ring = r;
	o->on = reactor_self();
	o->hub = r->device;
	msg_send(core_control(reactor_core(o->on)), &o->msg, fn);
}

void vscsi_ring_open(struct vhost_ring *r)
{
	to_control(r, open_on_control);
}

/* Of sessions that are there at a time each is an initiator port of its own; who comes again is who it was. */
static int free_index(const struct vscsi_session *s)
{
	for (int i = 0;; i++) {
		bool taken = false;

		list_each(l, &s->session->ctrlr->sessions) {
			const struct vscsi_session *other = list_entry(l, struct vhost_session, link)->device;

			taken |= other && other->index == i;
		}
		if (!taken)
			return i;
	}
}

/* `came`: its target waits until it has begun. */
static void lane_make(struct vscsi_hub *h, struct vscsi_target *t, bool came)
{
	struct vscsi_lane *l = base_zalloc(sizeof(*l));
	struct vhost_session *session = h->session->session;
	struct err e = { 0 };

	l->hub = h;
	l->num = t->num;
	l->nexus.who = session->who;
	l->nexus.lanes = h->session;
	l->nexus.port = 1;
	l->nexus.piece_bytes = VSCSI_PIECE_BYTES;
	vscsi_name(session->ctrlr, "initiator", (uint32_t)h->session->index, l->nexus.initiator_port);
	if (scsi_nexus_join(&l->nexus, t->scsi, &nexus_ops, &e)) {
		log_error("vhost %s: target %u cannot be used: %s", session->name, t->num, e.text);
		free(l);
		return;
	}
	vscsi_hub_pin(h);
	l->came = came;
	t->beginning += came;
	msg_send(h->on, &l->msg, lane_begin);
}

static struct vscsi_hub *hub_make(struct vscsi_session *s, struct reactor *on)
{
	struct vscsi_hub *h = base_zalloc(sizeof(*h)), *none = NULL;
	struct vscsi *v = vscsi_of(s->session->ctrlr);

	if (s->index < 0)
		s->index = free_index(s);
	h->session = s;
	h->on = on;
	for (uint32_t i = 0; i < VHOST_SCSI_TARGETS_MAX; i++)
		if (v->targets[i] && v->targets[i]->state == VSCSI_HERE)
			lane_make(h, v->targets[i], false);
	atomic_compare_exchange_strong(&s->speaker, &none, h);
	return h;
}

static void open_on_control(struct msg *m)
{
	struct vscsi_opening *o = container_of(m, struct vscsi_opening, msg);
	struct vscsi_session *s = o->ring->session->device;
	struct vscsi_hub **hub = &s->hubs[reactor_index(o->on)];

	if (s->ending) {
		list_add_tail(&s->openings, &o->link);
		return;
	}
	if (!*hub)
		*hub = hub_make(s, o->on);
	o->hub = *hub;
	o->hub->rings++;
	if (o->ring->index == VIRTIO_SCSI_EVENTQ)
		s->event_on = o->on;
	msg_send(o->on, &o->msg, opened_on_core); /* behind its lanes' beginning */
}

static void opened_on_core(struct msg *m)
{
	struct vscsi_opening *o = container_of(m, struct vscsi_opening, msg);
	struct vhost_ring *r = o->ring;
	struct vscsi_session *s = r->session->device;

	r->device = o->hub;
	free(o);
	if (r->index == VIRTIO_SCSI_EVENTQ)
		s->event_ring = r;
	vhost_ring_opened(r);
	if (r->index == VIRTIO_SCSI_EVENTQ)
		vscsi_events_go_on(s);
}

/* By way of control, so that nothing is sent to it here any more. */
void vscsi_ring_close(struct vhost_ring *r)
{
	struct vscsi_session *s = r->session->device;

	if (r->index == VIRTIO_SCSI_EVENTQ)
		s->event_ring = NULL;
	to_control(r, close_on_control);
	r->device = NULL;
}

static void close_on_control(struct msg *m)
{
	struct vscsi_opening *o = container_of(m, struct vscsi_opening, msg);
	struct vscsi_hub *h = o->hub;

	vscsi_hub_pin(h);
	h->rings--;
	if (o->ring->index == VIRTIO_SCSI_EVENTQ)
		h->session->event_on = NULL;
	msg_send(o->on, &o->msg, closed_on_core);
}

static void closed_back(struct msg *m)
{
	struct vscsi_opening *o = container_of(m, struct vscsi_opening, msg);
	struct vscsi_hub *h = o->hub;
	struct vscsi_session *s = h->session;

	free(o);
	if (s->forget && !s->event_on) {
		s->forget = false;
		vscsi_events_drop(s);
	}
	vscsi_hub_unpin(h);
}

static void closed_on_core(struct msg *m)
{
	struct vscsi_opening *o = container_of(m, struct vscsi_opening, msg);
	struct vhost_ring *r = o->ring;

	/* Ahead of the message that says that the ring has stopped: the session is there until then. */
	msg_send(core_control(reactor_core(o->on)), m, closed_back);
	vhost_ring_closed(r);
}

/* --- hubs and lanes ----------------------------------------------------------------------------------------------- */

void vscsi_hub_pin(struct vscsi_hub *h)
{
	h->pins++;
}

void vscsi_hub_unpin(struct vscsi_hub *h)
{
	struct vscsi_session *s = h->session;

	assert(h->pins > 0);
	if (--h->pins || h->rings || !h->ending)
		return;
	s->hubs[reactor_index(h->on)] = NULL;
	free(h);
	s->ending--;
	go_on(s);
}

static void lane_begin(struct msg *m)
{
	struct vscsi_lane *l = container_of(m, struct vscsi_lane, msg);

	scsi_nexus_begin(&l->nexus);
	l->hub->lanes[l->num] = l;
	if (l->came)
		msg_send(core_control(reactor_core(reactor_self())), &l->begun_msg, lane_begun);
}

/* The target is there: that this lane has ended comes behind this. */
static void lane_begun(struct msg *m)
{
	const struct vscsi_lane *l = container_of(m, struct vscsi_lane, begun_msg);

	target_less(vscsi_of(l->hub->session->session->ctrlr)->targets[l->num]);
}

static void lane_end(struct vscsi_lane *l)
{
	l->hub->lanes[l->num] = NULL;
	scsi_nexus_end(&l->nexus, lane_ended);
}

/* Its target goes. */
static void disconnect(struct scsi_nexus *n)
{
	vscsi_lane_of(n)->aborting++;
	lane_end(vscsi_lane_of(n));
}

static void lane_ended(struct scsi_nexus *n)
{
	struct vscsi_lane *l = vscsi_lane_of(n);

	msg_send(core_control(reactor_core(reactor_self())), &l->msg, lane_gone);
}

static void lane_gone(struct msg *m)
{
	struct vscsi_lane *l = container_of(m, struct vscsi_lane, msg);
	struct vscsi_hub *h = l->hub;

	free(l);
	vscsi_hub_unpin(h);
}

static void hub_end_on_core(struct msg *m)
{
	struct vscsi_hub *h = container_of(m, struct vscsi_hub, end_msg);

	for (uint32_t i = 0; i < VHOST_SCSI_TARGETS_MAX; i++)
		if (h->lanes[i])
			lane_end(h->lanes[i]);
	msg_send(core_control(reactor_core(reactor_self())), m, hub_end_back);
}

static void hub_end_back(struct msg *m)
{
	vscsi_hub_unpin(container_of(m, struct vscsi_hub, end_msg));
}

/* --- targets ----------------------------------------------------------------------------------------------------- */

static void tell(struct vscsi_target *t, uint32_t reason)
{
	list_each(l, &t->ctrlr->ctrlr.sessions) {
		struct vscsi_session *s = list_entry(l, struct vhost_session, link)->device;

		if (s)
			vscsi_event_add(s, VIRTIO_SCSI_T_TRANSPORT_RESET, t->num, 0, reason);
	}
}

/* Drivers look for it, on any queue, as soon as they hear of it. */
void vscsi_target_came(struct vscsi_target *t)
{
	t->beginning = 1;
	list_each(l, &t->ctrlr->ctrlr.sessions) {
		struct vscsi_session *s = list_entry(l, struct vhost_session, link)->device;

		for (uint32_t i = 0; s && i < core_reactor_count(core_of(s)); i++)
			if (s->hubs[i] && !s->hubs[i]->ending)
				lane_make(s->hubs[i], t, true);
	}
	target_less(t);
}

static void target_less(struct vscsi_target *t)
{
	assert(t->beginning > 0);
	if (--t->beginning || t->state != VSCSI_HERE)
		return;
	tell(t, VIRTIO_SCSI_EVT_RESET_RESCAN);
	vscsi_target_ready(t);
}

void vscsi_target_goes(struct vscsi_target *t)
{
	tell(t, VIRTIO_SCSI_EVT_RESET_REMOVED);
}
