/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_forward.c: I/O of a core without a queue pair of its own, by way of another core's.
 *
 * A controller may grant fewer queues than there are cores, or refuse one. The I/O travels there and back in a message
 * of its own; what happens to it otherwise (retries, limbo, waiting) happens on its own core. A lane is not down before
 * all have come home.
 */
#include "backends/remote/remote_core.h"

static void arrive(struct msg *m);
static void came_home(struct msg *m);

void remote_forward(struct remote_lane *l, struct remote_io *r)
{
	l->away++;
	remote_count_add(&l->counts[REMOTE_LANE_FORWARDED], 1);
	msg_send(remote_lane_reactor(r->via), &r->msg, arrive);
}

/* --- over there --------------------------------------------------------------------------------------------- */

static void go_home(struct remote_io *r)
{
	msg_send(remote_lane_reactor(r->lane), &r->msg, came_home);
}

/* The lane whose queue pair this was ends here and now, so that who comes home does not find it open any more; and one
 * whose target answers with a host's own status ends at all. */
static void back(struct nvme_op *op)
{
	struct remote_io *r = container_of(op, struct remote_io, op);
	uint16_t status = nvme_cqe_status(&op->cpl);

	remote_late_ended(r);
	if ((status & NVME_SC_CODE) == NVME_SC_HOST_PATH_ERROR && !(status & NVME_SC_DNR))
		remote_lane_lost(r->via);
	go_home(r);
}

bool remote_op_is_forwarded(const struct nvme_op *op)
{
	return op->done == back;
}

static void take(struct remote_lane *via, struct remote_io *r)
{
	if (via->up && via->life == r->life) {
		remote_lane_want(via);
		if (via->qp) {
			remote_hand_over(r, via->qp, back);
			return;
		}
	}
	r->op.sent = false;
	r->op.cpl = (struct nvme_cqe){ 0 };
	nvme_cqe_set_status(&r->op.cpl, NVME_SC_HOST_PATH_ERROR);
	go_home(r);
}

static void arrive(struct msg *m)
{
	struct remote_io *r = container_of(m, struct remote_io, msg);
	struct remote_lane *via = r->via;

	if ((int32_t)(r->life - via->life) > 0)
		list_add_tail(&via->early, &r->link); /* its core heard of that life before this one: up_on_core() follows */
	else
		take(via, r);
}

void remote_early_go(struct remote_lane *via)
{
	struct list *link;

	while ((link = list_pop(&via->early)))
		take(via, list_entry(link, struct remote_io, link));
}

/* --- at home again ------------------------------------------------------------------------------------------ */

static void came_home(struct msg *m)
{
	struct remote_io *r = container_of(m, struct remote_io, msg);
	struct remote_lane *l = r->lane;

	l->away--;
	remote_lane_look_via(l);
	remote_ended(r);
	remote_lane_look_down(l);
}
