/* SPDX-License-Identifier: BSD-3-Clause */
/* hba.c: what a SCSI guest of vhost_sim.c does beside I/O: task management on its control queue, buffers for events.
 *
 * A function that ends tasks is answered when they have ended: what the disk had when it was asked for is back by then.
 * What changes while a guest is at work it is told, sooner or later.
 */
#include "load.h"
#include "seeds.h"

#define EVENT_BUFFERS 3u

bool hba_is_disturbed(const struct member *m, const struct guest_req *r)
{
	const struct guest *g = &m->guest;

	return g->queues[g->queue_count].reqs[0].out || m->target != TARGET_HERE || m->disturbs != r->disturbs;
}

bool hba_is_drained(const struct guest *g)
{
	uint32_t out = 0;

	for (uint32_t n = 0; n < g->all_count; n++)
		out += g->queues[n].side == SIDE_EVENT ? 0 : g->queues[n].out;
	return !out;
}

void hba_forget(struct member *m)
{
	m->news_due = 0;
	m->disturbs++;
	for (uint32_t n = 0; n < m->guest.queue_count; n++)
		for (uint32_t i = 0; i < GUEST_REQS; i++)
			m->guest.queues[n].reqs[i].must_end = false;
}

/* --- events ------------------------------------------------------------------------------------------------------ */

void hba_more(struct guest_queue *q)
{
	for (uint32_t i = 0; q->side == SIDE_EVENT && i < EVENT_BUFFERS; i++)
		if (!q->reqs[i].out && q->drv.descs_free)
			must(guest_submit_bytes(&q->reqs[i], 0, sizeof(struct virtio_scsi_event)) || q->g->rogue);
}

static void event(struct member *m, const struct guest_req *r)
{
	struct virtio_scsi_event e;
	uint32_t what, reason;

	memcpy(&e, guest_at(&m->guest, r->hdr + GUEST_ANSWER_AT), sizeof(e));
	what = le32_get(e.event);
	reason = le32_get(e.reason);
	sim_note((uint64_t)what << 32 | reason);
	m->events++;
	if (what & VIRTIO_SCSI_T_EVENTS_MISSED)
		m->news_due = 0;
	else if (what == VIRTIO_SCSI_T_TRANSPORT_RESET && reason == VIRTIO_SCSI_EVT_RESET_REMOVED)
		m->news_due &= ~(uint32_t)(NEWS_REMOVED | NEWS_CHANGED);
	else if (what == VIRTIO_SCSI_T_TRANSPORT_RESET && reason == VIRTIO_SCSI_EVT_RESET_RESCAN)
		m->news_due &= ~(uint32_t)(NEWS_CAME | NEWS_CHANGED);
	else if (what == VIRTIO_SCSI_T_PARAM_CHANGE)
		m->news_due &= ~(uint32_t)NEWS_CHANGED;
	else
		seeds_fail("guest %u: event %u, reason %u", m->index, what, reason);
	if (e.lun[0] != 1 || e.lun[1])
		seeds_fail("guest %u: an event of target %u", m->index, e.lun[1]);
}

/* --- task management ---------------------------------------------------------------------------------------------- */

static bool ends_all(uint32_t function)
{
	return function == VIRTIO_SCSI_T_TMF_ABORT_TASK_SET || function == VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET ||
	       function == VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET || function == VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET;
}

/* In order it may have ended, and cannot be used before those that came before it. */
static bool is_of_one(const struct guest *g, uint32_t function)
{
	return function == VIRTIO_SCSI_T_TMF_ABORT_TASK && !(g->features & VIRTIO_BIT(VIRTIO_F_IN_ORDER));
}

void hba_manage(struct member *m)
{
	struct guest *g = &m->guest;
	struct guest_queue *q = hba_queue(g, SIDE_CONTROL);
	struct guest_req *r = &q->reqs[0], *victim = &g->queues[sim_draw(g->queue_count)].reqs[sim_draw(GUEST_REQS)];
	struct virtio_scsi_ctrl_tmf_req h = { .lun = { 1, 0, 0x40 }, .tag = le64_of(victim->hdr) };

	if (!q->runs || r->out || q->drv.descs_free < 4)
		return;
	m->tmf = (uint32_t)sim_draw(8);
	m->tmfs++;
	m->disturbs++;
	h.subtype = le32_of(m->tmf);
	for (uint32_t n = 0; n < g->queue_count; n++)
		for (uint32_t i = 0; i < GUEST_REQS; i++) {
			struct guest_req *each = &g->queues[n].reqs[i];

			each->must_end = each->out && load_has_begun(m, each) &&
			                 (ends_all(m->tmf) || (is_of_one(g, m->tmf) && each == victim));
		}
	memcpy(guest_at(g, r->hdr), &h, sizeof(h));
	must(guest_submit_bytes(r, sizeof(h), 1));
}

static void managed(struct member *m, const struct guest_req *r)
{
	struct guest *g = &m->guest;
	uint8_t response = *guest_at(g, r->hdr + GUEST_ANSWER_AT);

	sim_note(response);
	m->disturbs++;
	for (uint32_t n = 0; n < g->queue_count; n++)
		guest_look(&g->queues[n]);
	for (uint32_t n = 0; n < g->queue_count; n++)
		for (uint32_t i = 0; i < GUEST_REQS; i++) {
			struct guest_req *each = &g->queues[n].reqs[i];

			if (each->out && each->must_end && response == VIRTIO_SCSI_S_OK)
				seeds_fail("guest %u: a task outlives task management %u", m->index, m->tmf);
			each->must_end = false;
		}
	if (response != VIRTIO_SCSI_S_OK && response != VIRTIO_SCSI_S_FUNCTION_SUCCEEDED &&
	    response != VIRTIO_SCSI_S_FUNCTION_REJECTED && response != VIRTIO_SCSI_S_BAD_TARGET)
		seeds_fail("guest %u: task management %u is answered with %u", m->index, m->tmf, response);
}

void hba_used(struct guest_req *r)
{
	struct member *m = member_of(r->q->g);

	if (m->guest.rogue)
		return;
	if (r->q->side == SIDE_EVENT)
		event(m, r);
	else
		managed(m, r);
}
