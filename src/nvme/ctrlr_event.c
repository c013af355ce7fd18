/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrlr_event.c: asynchronous events.
 *
 * Requests are kept out on command ids of their own, and each that comes back goes out again, before its event is
 * told. A controller that fires without end is slowed down: after so many events its requests stay here for a while.
 */
#include "nvme/host.h"

#define EVENT_BURST 64u                  /* events in so much time: */
#define EVENT_BURST_NS (1 * NS_PER_S)

static void events_send(struct nvme_ctrlr *c);

static void pause_over(struct timer *t)
{
	events_send(container_of(t, struct nvme_ctrlr, events.pause));
}

/* False: there were too many of late; the timer goes on. */
static bool may_send(struct nvme_ctrlr *c)
{
	struct ctrlr_events *e = &c->events;
	uint64_t now_ns = reactor_now_ns();

	if (now_ns - e->burst_ns >= EVENT_BURST_NS) {
		e->burst_ns = now_ns;
		e->burst = 0;
	}
	if (e->burst < EVENT_BURST)
		return true;
	if (!timer_is_running(&e->pause))
		timer_start(&e->pause, e->burst_ns + EVENT_BURST_NS - now_ns, pause_over);
	return false;
}

static void event_done(struct nvme_op *op)
{
	struct ctrlr_event_slot *s = container_of(op, struct ctrlr_event_slot, op);
	struct nvme_ctrlr *c = s->ctrlr;
	uint32_t what = le32_get(op->cpl.dw0);

	s->out = false;
	if (c->machine.state != CTRLR_READY || nvme_qpair_is_dead(c->admin))
		return;
	if (nvme_op_status(op)) {
		s->refused = true; /* it allows fewer than it said */
		return;
	}
	c->events.burst++;
	events_send(c);
	c->events.fn(c, what & 7, (uint8_t)(what >> 8), (uint8_t)(what >> 16), c->events.arg);
}

static void events_send(struct nvme_ctrlr *c)
{
	uint32_t most = min_u32(c->info.aerl + 1u, CTRLR_EVENTS_MAX);

	if (!may_send(c))
		return;
	for (uint8_t i = 0; i < most; i++) {
		struct ctrlr_event_slot *s = &c->events.slots[i];

		if (s->out || s->refused)
			continue;
		s->out = true;
		s->ctrlr = c;
		s->op = (struct nvme_op){ .cmd.opc = NVME_ADMIN_ASYNC_EVENT, .done = event_done };
		nvme_qpair_submit_reserved(c->admin, &s->op, (uint8_t)(CTRLR_CID_EVENT + i));
	}
}

void ctrlr_events_begin(struct nvme_ctrlr *c)
{
	if (c->events.fn)
		events_send(c);
}

void ctrlr_events_end(struct nvme_ctrlr *c)
{
	timer_stop(&c->events.pause);
}

void nvme_ctrlr_on_event(struct nvme_ctrlr *c, nvme_event_fn *fn, void *arg)
{
	c->events.fn = fn;
	c->events.arg = arg;
	if (c->machine.state == CTRLR_READY)
		events_send(c);
}
