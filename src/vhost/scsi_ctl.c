/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_ctl.c: the control queue of a SCSI host (virtio 1.2, 5.6.6.2): task management, and asynchronous notification,
 * of which there is none to subscribe to.
 *
 * A guest's tasks are on several cores. What means a logical unit as a whole the SCSI layer does for all nexuses there
 * are; the other functions run on each of the session's lanes: from the queue's core by way of control to all hubs, and
 * back. A leg goes back at the end of its pass: the driver finds every task that was ended in its queue before it finds
 * the answer here.
 *
 * Between two of its pieces a long command is not the SCSI layer's: what that cannot find waits in its ring for its
 * next turn, by which it ends. A function that ends it is answered behind that, on whichever core it is: so for a
 * logical unit that was reset all hubs are visited once more.
 */
#include "core/log.h"
#include "vhost/scsi.h"
#include "vhost/session.h"
#include "wire/virtio.h"

/* A function at work. */
struct vscsi_tmf {
	struct msg msg;
	struct vscsi_task *task;           /* its queue's core: NULL: its queue has stopped meanwhile */
	struct vscsi_session *session;     /* there as long as a hub is pinned, or the queue is */
	struct reactor *from;
	uint8_t function, num;
	uint64_t lun, tag;
	uint32_t left;                     /* control: legs */
	bool swept;                        /* the SCSI layer has done its part; now what it does not know of ends */
	uint8_t response;                  /* what they come to; at first there is no such target */
};

/* ... on one core. */
struct vscsi_leg {
	struct scsi_tmf scsi;
	struct vscsi_tmf *tmf;
	struct vscsi_hub *hub;
	struct msg msg;
	struct defer defer;
	struct vscsi_lane *lane;           /* NULL: there is no such target, any more */
};

static void manage(struct vscsi_task *v);
static void notify(struct vscsi_task *v);
static void spread(struct msg *m);
static void leg_send(struct vscsi_tmf *m, struct vscsi_hub *h);
static void leg_run(struct msg *m);
static void leg_done(struct scsi_tmf *m);
static void leg_wait(struct msg *m);
static void leg_end(struct vscsi_leg *leg);
static void leg_goes(struct defer *d);
static void leg_back(struct msg *m);
static void less(struct vscsi_tmf *m);
static void tmf_back(struct msg *m);
static void tmf_respond(struct vscsi_task *v, enum virtio_scsi_response response);

static bool is_there(const struct vscsi_task *v, const uint8_t lun[8])
{
	const struct vscsi_hub *h = v->task.ring->device;

	return lun[0] == 1 && h->lanes[lun[1]];
}

static void broken(struct vscsi_task *v)
{
	vhost_ring_broken(v->task.ring, "a control request without a whole header, or without room for its answer");
	vhost_task_done(&v->task, 0);
}

static bool read_request(struct vscsi_task *v, void *request, uint32_t len, uint32_t answer_len)
{
	struct vhost_task *t = &v->task;

	return t->chain.in_len >= answer_len && vhost_iovs_read(vhost_task_out(t), t->chain.out_count, 0, request, len);
}

void vscsi_control(struct vscsi_task *v)
{
	le32 type;

	v->tmf = NULL;
	if (!read_request(v, &type, sizeof(type), sizeof(struct virtio_scsi_ctrl_tmf_resp))) {
		broken(v);
		return;
	}
	switch (le32_get(type)) {
	case VIRTIO_SCSI_T_TMF:
		manage(v);
		break;
	case VIRTIO_SCSI_T_AN_QUERY:
	case VIRTIO_SCSI_T_AN_SUBSCRIBE:
		notify(v);
		break;
	default:
		tmf_respond(v, VIRTIO_SCSI_S_FUNCTION_REJECTED);
	}
}

/* --- asynchronous notification ------------------------------------------------------------------------------------ */

/* Its events are those of removable media. Who asks and who subscribes hear the same: which can be reported. */
static void notify(struct vscsi_task *v)
{
	struct virtio_scsi_ctrl_an_resp r = { .response = VIRTIO_SCSI_S_OK };
	struct virtio_scsi_ctrl_an_req h;
	struct vhost_task *t = &v->task;

	if (!read_request(v, &h, sizeof(h), sizeof(r))) {
		broken(v);
		return;
	}
	if (!is_there(v, h.lun))
		r.response = VIRTIO_SCSI_S_BAD_TARGET;
	must(vhost_iovs_write(vhost_task_in(t), t->chain.in_count, 0, &r, sizeof(r)));
	vhost_task_done(t, sizeof(r));
}

/* --- task management ---------------------------------------------------------------------------------------------- */

static bool function_of(uint32_t subtype, uint8_t *ret)
{
	static const uint8_t of[] = {
		[VIRTIO_SCSI_T_TMF_ABORT_TASK] = SCSI_TMF_ABORT_TASK,
		[VIRTIO_SCSI_T_TMF_ABORT_TASK_SET] = SCSI_TMF_ABORT_TASK_SET,
		[VIRTIO_SCSI_T_TMF_CLEAR_ACA] = SCSI_TMF_CLEAR_ACA,
		[VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET] = SCSI_TMF_CLEAR_TASK_SET,
		[VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET] = SCSI_TMF_NEXUS_RESET,
		[VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET] = SCSI_TMF_LU_RESET,
		[VIRTIO_SCSI_T_TMF_QUERY_TASK] = SCSI_TMF_QUERY_TASK,
		[VIRTIO_SCSI_T_TMF_QUERY_TASK_SET] = SCSI_TMF_QUERY_TASK_SET,
	};

	if (subtype >= ARRAY_SIZE(of))
		return false;
	*ret = of[subtype];
	return true;
}

static void manage(struct vscsi_task *v)
{
	struct virtio_scsi_ctrl_tmf_req h;
	struct vscsi_tmf *m;
	uint8_t function;

	if (!read_request(v, &h, sizeof(h), sizeof(struct virtio_scsi_ctrl_tmf_resp))) {
		broken(v);
		return;
	}
	if (!is_there(v, h.lun) || !function_of(le32_get(h.subtype), &function)) {
		tmf_respond(v, is_there(v, h.lun) ? VIRTIO_SCSI_S_FUNCTION_REJECTED : VIRTIO_SCSI_S_BAD_TARGET);
		return;
	}
	m = base_zalloc(sizeof(*m));
	m->task = v;
	v->tmf = m;
	m->session = v->task.ring->session->device;
	m->from = reactor_self();
	m->function = function;
	m->num = h.lun[1];
	m->lun = vscsi_lun_of(h.lun);
	m->tag = le64_get(h.tag);
	m->response = VIRTIO_SCSI_S_BAD_TARGET;
	log_debug("vhost %s: task management %u, target %u", v->task.ring->session->name, le32_get(h.subtype), m->num);
	msg_send(core_control(reactor_core(m->from)), &m->msg, spread);
}

static void spread(struct msg *msg)
{
	struct vscsi_tmf *m = container_of(msg, struct vscsi_tmf, msg);
	struct vscsi_session *s = m->session;
	bool one = m->function == SCSI_TMF_LU_RESET && !m->swept;

	m->left = 1;
	for (uint32_t i = 0; i < core_reactor_count(reactor_core(m->from)); i++)
		if (s->hubs[i] && !s->hubs[i]->ending && (!one || s->hubs[i]->on == m->from))
			leg_send(m, s->hubs[i]);
	less(m);
}

static void leg_send(struct vscsi_tmf *m, struct vscsi_hub *h)
{
	struct vscsi_leg *leg = base_zalloc(sizeof(*leg));

	leg->tmf = m;
	leg->hub = h;
	m->left++;
	vscsi_hub_pin(h);
	msg_send(h->on, &leg->msg, leg_run);
}

static bool is_reset(const struct vscsi_tmf *m)
{
	return m->function == SCSI_TMF_LU_RESET || m->function == SCSI_TMF_NEXUS_RESET;
}

static struct scsi_task *scsi_of(struct vhost_task *t) { return &container_of(t, struct vscsi_task, task)->scsi; }

/* What the function means, between two pieces. */
static bool is_meant(struct vhost_task *t, const void *arg)
{
	const struct scsi_task *s = scsi_of(t);
	const struct vscsi_leg *leg = arg;
	const struct vscsi_tmf *m = leg->tmf;

	if (s->nexus != &leg->lane->nexus || (m->function != SCSI_TMF_NEXUS_RESET && s->lun != m->lun))
		return false;
	return (m->function != SCSI_TMF_ABORT_TASK && m->function != SCSI_TMF_QUERY_TASK) || s->tag == m->tag;
}

/* ... and ends with its next turn: what came later does not. */
static bool is_ending(struct vhost_task *t, const void *arg)
{
	return is_meant(t, arg) && scsi_task_is_stale(scsi_of(t));
}

static bool is_ended(struct vhost_task *t, const void *arg)
{
	if (!is_meant(t, arg))
		return false;
	scsi_task_abort_between(scsi_of(t));
	return true;
}

static bool longs_have(const struct vscsi_leg *leg, bool (*is)(struct vhost_task *t, const void *arg))
{
	return vhost_longs_have(leg->tmf->session->session, is, leg);
}

static void leg_run(struct msg *msg)
{
	struct vscsi_leg *leg = container_of(msg, struct vscsi_leg, msg);
	const struct vscsi_tmf *m = leg->tmf;
	struct vscsi_lane *lane = leg->hub->lanes[m->num];
	bool query = m->function == SCSI_TMF_QUERY_TASK || m->function == SCSI_TMF_QUERY_TASK_SET;

	if (!lane) {
		leg_end(leg);
		return;
	}
	leg->lane = lane;
	if (query && longs_have(leg, is_meant)) {
		leg->scsi.response = SCSI_TMF_SUCCEEDED;
		leg_end(leg);
		return;
	}
	lane->aborting += !is_reset(m);
	scsi_nexus_hold(&lane->nexus);
	leg->scsi = (struct scsi_tmf){ .nexus = &lane->nexus, .function = m->function, .lun = m->lun, .tag = m->tag,
		.done = leg_done };
	if (m->swept || (m->function == SCSI_TMF_ABORT_TASK && longs_have(leg, is_ended)))
		leg_done(&leg->scsi);
	else
		scsi_tmf_start(&leg->scsi);
}

static void leg_done(struct scsi_tmf *scsi)
{
	struct vscsi_leg *leg = container_of(scsi, struct vscsi_leg, scsi);

	leg_wait(&leg->msg);
}

/* One of a ring's has its turn in each pass. */
static void leg_wait(struct msg *msg)
{
	struct vscsi_leg *leg = container_of(msg, struct vscsi_leg, msg);

	if (longs_have(leg, is_ending)) {
		msg_send(reactor_self(), msg, leg_wait);
		return;
	}
	leg->lane->aborting -= !is_reset(leg->tmf);
	scsi_nexus_let_go(&leg->lane->nexus);
	leg_end(leg);
}

static void leg_end(struct vscsi_leg *leg)
{
	defer_last(&leg->defer, leg_goes); /* behind the queues' */
}

static void leg_goes(struct defer *d)
{
	struct vscsi_leg *leg = container_of(d, struct vscsi_leg, defer);

	msg_send(core_control(reactor_core(reactor_self())), &leg->msg, leg_back);
}

static uint8_t response_of(uint8_t response)
{
	switch ((enum scsi_tmf_response)response) {
	case SCSI_TMF_COMPLETE:
	case SCSI_TMF_NO_TASK: /* it is not there: what was wanted */
		return VIRTIO_SCSI_S_OK;
	case SCSI_TMF_SUCCEEDED:
		return VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
	case SCSI_TMF_NO_LUN:
		return VIRTIO_SCSI_S_INCORRECT_LUN;
	case SCSI_TMF_UNSUPPORTED:
	case SCSI_TMF_REJECTED:
		break;
	}
	return VIRTIO_SCSI_S_FUNCTION_REJECTED;
}

/* A task that one lane has is there; all others are of one mind. */
static void leg_back(struct msg *msg)
{
	struct vscsi_leg *leg = container_of(msg, struct vscsi_leg, msg);
	struct vscsi_tmf *m = leg->tmf;
	struct vscsi_hub *h = leg->hub;

	if (leg->lane && !m->swept && m->response != VIRTIO_SCSI_S_FUNCTION_SUCCEEDED)
		m->response = response_of(leg->scsi.response);
	free(leg);
	less(m);
	vscsi_hub_unpin(h);
}

static void less(struct vscsi_tmf *m)
{
	if (--m->left)
		return;
	if (m->function != SCSI_TMF_LU_RESET || m->swept) {
		msg_send(m->from, &m->msg, tmf_back);
	} else {
		m->swept = true;
		spread(&m->msg); /* the hub whose leg came back is pinned still */
	}
}

/* Its queue is here still, if it has a task out. */
static void tmf_back(struct msg *msg)
{
	struct vscsi_tmf *m = container_of(msg, struct vscsi_tmf, msg);
	struct vscsi_task *v = m->task;
	uint8_t response = m->response;

	free(m);
	if (v)
		tmf_respond(v, response);
}

/* It goes on without its queue, and what it has aborted ends when that can. Who has it again does it again. */
void vscsi_control_hurry(struct vscsi_task *v)
{
	if (!v->tmf)
		return;
	v->tmf->task = NULL;
	v->tmf = NULL;
	if (vhost_task_may_be_left(&v->task))
		vhost_task_leave(&v->task);
	else
		tmf_respond(v, VIRTIO_SCSI_S_FUNCTION_REJECTED);
}

static void tmf_respond(struct vscsi_task *v, enum virtio_scsi_response response)
{
	const struct virtio_scsi_ctrl_tmf_resp r = { .response = (uint8_t)response };
	struct vhost_task *t = &v->task;

	must(vhost_iovs_write(vhost_task_in(t), t->chain.in_count, 0, &r, sizeof(r)));
	vhost_task_done(t, sizeof(r));
}
