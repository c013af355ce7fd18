/* SPDX-License-Identifier: BSD-3-Clause */
/* abort.c: the Abort command: finds a command wherever it is, and tells the truth about what became of it.
 *
 * It goes to the core of the command's queue: through the control reactor, because that knows where a queue lives.
 * There the command waits for its pair, for an event, for room or for data, and is answered; or a device has it, is
 * asked, and the Abort waits for how the command ends, but not longer than `abort_timeout_sec` of the transport.
 */
#include "nvmf/target.h"

static void abort_on_control(struct msg *m);
static void abort_on_core(struct msg *m);
static void abort_look(struct nvmf_abort *a, struct nvmf_qpair *qp);
static void take_off(struct nvmf_abort *a);
static void abort_ended(struct nvmf_abort *a);
static void abort_back(struct msg *m);
static void abort_answer(struct msg *m);
static void abort_due(struct timer *tm);

void nvmf_abort_run(struct nvmf_req *req)
{
	struct nvmf_ctrlr *c = req->qpair->ctrlr;

	for (uint32_t i = 0; i < NVMF_ABORTS_MAX; i++) {
		struct nvmf_abort *a = &c->aborts[i];

		if (a->req)
			continue;
		*a = (struct nvmf_abort){ .ctrlr = c, .req = req, .sqid = le16_get(req->cmd.abort.sqid),
		                          .cid = le16_get(req->cmd.abort.cid) };
		if (a->sqid)
			msg_send(core_control(c->target->core), &a->msg, abort_on_control);
		else
			abort_look(a, req->qpair);
		return;
	}
	nvmf_req_complete(req, NVME_SC_ABORT_LIMIT);
}

static void abort_on_control(struct msg *m)
{
	struct nvmf_abort *a = container_of(m, struct nvmf_abort, msg);

	a->seat = a->sqid <= a->ctrlr->io_queues_max ? a->ctrlr->seat_by_qid[a->sqid] : NULL;
	if (!a->seat) {
		abort_back(m);
		return;
	}
	a->seat->pins++;
	carry_send(&a->seat->home, m, abort_on_core);
}

static void abort_on_core(struct msg *m)
{
	struct nvmf_abort *a = container_of(m, struct nvmf_abort, msg);

	if (!nvmf_seat_here(a->seat, m, abort_on_core))
		return;
	if (a->seat->qp)
		abort_look(a, a->seat->qp);
	else
		abort_ended(a);
}

/* --- where the command is ---------------------------------------------------------------------------- */

/* The list is this core's; `a` itself may be on its way, or even another Abort already. */
static bool still_waits(const struct nvmf_qpair *qp, const struct nvmf_abort *a)
{
	for (const struct nvmf_abort *w = qp->aborts; w; w = w->next)
		if (w == a)
			return true;
	return false;
}

static void abort_look(struct nvmf_abort *a, struct nvmf_qpair *qp)
{
	enum nvmf_aborted how;

	a->qp = qp;
	a->next = qp->aborts;
	qp->aborts = a; /* before: what is asked to end may do so at once */
	how = nvmf_qpair_abort(qp, a->cid, &a->victim);
	if (!still_waits(qp, a))
		return;
	if (how != NVMF_ABORT_ASKED) {
		take_off(a);
		a->aborted = how == NVMF_ABORT_DONE;
		abort_ended(a);
		return;
	}
	timer_start(&a->timer, max_u32(qp->transport->opts.abort_timeout_sec, 1) * NS_PER_S, abort_due);
}

static void take_off(struct nvmf_abort *a)
{
	struct nvmf_abort **at = &a->qp->aborts;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	a->qp = NULL;
	timer_stop(&a->timer);
}

static bool was_aborted(uint16_t status)
{
	return (status & NVME_SC_CODE) == NVME_SC_ABORT_REQ || (status & NVME_SC_CODE) == NVME_SC_FUSED_FAIL;
}

void nvmf_abort_victim_done(struct nvmf_req *req)
{
	struct nvmf_abort *next;

	for (struct nvmf_abort *a = req->qpair->aborts; a; a = next) {
		next = a->next;
		if (a->victim != req)
			continue;
		take_off(a);
		a->aborted = was_aborted(nvme_cqe_status(&req->cpl));
		abort_ended(a);
	}
}

/* The device takes its time: as far as we know it is not aborted. */
static void abort_due(struct timer *tm)
{
	struct nvmf_abort *a = container_of(tm, struct nvmf_abort, timer);

	take_off(a);
	abort_ended(a);
}

/* --- the answer ----------------------------------------------------------------------------------------- */

static void answer(struct nvmf_abort *a)
{
	struct nvmf_req *req = a->req;

	a->req = NULL;
	req->cpl.dw0 = le32_of(!a->aborted); /* bit 0: not aborted */
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

static void abort_ended(struct nvmf_abort *a)
{
	if (a->seat)
		msg_send(core_control(a->ctrlr->target->core), &a->msg, abort_back);
	else
		answer(a);
}

static void abort_back(struct msg *m)
{
	struct nvmf_abort *a = container_of(m, struct nvmf_abort, msg);
	struct nvmf_seat *seat = a->seat;

	carry_send(&a->ctrlr->admin_seat->home, m, abort_answer);
	if (seat)
		nvmf_seat_unpin(seat);
}

static void abort_answer(struct msg *m)
{
	struct nvmf_abort *a = container_of(m, struct nvmf_abort, msg);

	if (nvmf_seat_here(a->ctrlr->admin_seat, m, abort_answer))
		answer(a);
}
