/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_event.c: what a SCSI host tells its driver by itself (virtio 1.2, 5.6.6.3): targets that come and go, units that
 * change.
 *
 * Control says it; the event queue's core writes it into a buffer of the driver, or keeps it until there is one. When
 * too many wait the driver is told that it missed some, and looks at everything anew. Units' changes are heard from the
 * nexuses of one hub of the session.
 */
#include "core/log.h"
#include "vhost/scsi.h"
#include "vhost/session.h"
#include "wire/virtio.h"

#define ASC_PARAMETERS_CHANGED 0x2au

static void on_core(struct msg *m);
static void keep(struct vscsi_session *s, struct vscsi_event *e);
static void tell(struct vscsi_session *s, struct vhost_task *t);
static void changed(struct msg *m);

static bool is_wanted(const struct vscsi_session *s, uint32_t event)
{
	uint32_t feature = event == VIRTIO_SCSI_T_PARAM_CHANGE ? VIRTIO_SCSI_F_CHANGE : VIRTIO_SCSI_F_HOTPLUG;

	return s->features & VIRTIO_BIT(feature);
}

void vscsi_event_add(struct vscsi_session *s, uint32_t event, uint32_t target, uint32_t lun, uint32_t reason)
{
	struct vscsi_event *e;

	if (!is_wanted(s, event) || s->closing || s->forget)
		return;
	e = base_zalloc(sizeof(*e));
	e->session = s;
	e->event = event;
	e->target = (uint8_t)target;
	e->lun = (uint8_t)lun;
	e->reason = reason;
	if (s->event_on)
		msg_send(s->event_on, &e->msg, on_core);
	else
		keep(s, e);
}

static void keep(struct vscsi_session *s, struct vscsi_event *e)
{
	if (s->event_count == VSCSI_EVENTS_MAX) {
		s->missed = true;
		free(e);
		return;
	}
	s->event_count++;
	list_add_tail(&s->events, &e->link);
}

static void on_core(struct msg *m)
{
	struct vscsi_event *e = container_of(m, struct vscsi_event, msg);
	struct vscsi_session *s = e->session;

	keep(s, e);
	vscsi_events_go_on(s);
}

void vscsi_event_buffers(struct vhost_ring *r)
{
	vscsi_events_go_on(r->session->device);
}

void vscsi_events_go_on(struct vscsi_session *s)
{
	while (s->event_count && s->event_ring) {
		struct vhost_task *t = vhost_ring_take(s->event_ring);

		if (!t)
			return;
		tell(s, t);
	}
}

static void tell(struct vscsi_session *s, struct vhost_task *t)
{
	struct vscsi_event *e = list_entry(s->events.next, struct vscsi_event, link);
	const struct virtio_scsi_event event = {
		.event = le32_of(e->event | (s->missed ? VIRTIO_SCSI_T_EVENTS_MISSED : 0)),
		.lun = { 1, e->target, 0, e->lun },
		.reason = le32_of(e->reason),
	};

	if (!vhost_iovs_write(vhost_task_in(t), t->chain.in_count, 0, &event, sizeof(event))) {
		vhost_ring_broken(t->ring, "a buffer for events that is too small for one");
		vhost_task_done(t, 0);
		return;
	}
	list_del(&e->link);
	free(e);
	s->event_count--;
	s->missed = false;
	vhost_task_done(t, sizeof(event));
}

void vscsi_events_drop(struct vscsi_session *s)
{
	struct list *l;

	while ((l = list_pop(&s->events)))
		free(list_entry(l, struct vscsi_event, link));
	s->event_count = 0;
	s->missed = false;
}

/* --- units ------------------------------------------------------------------------------------------------------- */

/* All lanes of a session hear of it; one of them is enough. */
void vscsi_nexus_event(struct scsi_nexus *n, uint64_t lun, uint8_t asc, uint8_t ascq)
{
	const struct vscsi_lane *l = vscsi_lane_of(n);
	struct vscsi_session *s = l->hub->session;
	struct vscsi_event *e;

	if (asc != ASC_PARAMETERS_CHANGED || atomic_load(&s->speaker) != l->hub)
		return;
	e = base_zalloc(sizeof(*e));
	e->session = s;
	e->target = l->num;
	e->lun = (uint8_t)scsi_lun_number(lun);
	e->reason = (uint32_t)asc | (uint32_t)ascq << 8;
	msg_send(core_control(reactor_core(reactor_self())), &e->msg, changed);
}

/* Its lane, and so the session, is there: that it has ended would come behind this. */
static void changed(struct msg *m)
{
	struct vscsi_event *e = container_of(m, struct vscsi_event, msg);

	vscsi_event_add(e->session, VIRTIO_SCSI_T_PARAM_CHANGE, e->target, e->lun, e->reason);
	free(e);
}
