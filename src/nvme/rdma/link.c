/* SPDX-License-Identifier: BSD-3-Clause */
/* link.c: one connection on control: adapter and route, queues, Connect of the connection manager, and its death.
 *
 * Core and control tell each other by messages that lie in the link, each sent at most once:
 *
 *     core       begin ........................ end ..................... (let go, chunks given back) free
 *     control           resolve, connect, up         destroy ... dead                                      gone
 *                       broke: by itself
 *
 * The deadline is the queue pair's. Whatever the other side does or does not do: destroying takes only this machine.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "nvme/rdma/inside.h"

#define LINK_RETRIES 7u         /* of the transport, and without end when the target has no receive posted: as Linux */
#define LINK_RNR_RETRIES 7u

static const struct machine_state link_states[] = { LINK_STATES(MACHINE_ROW) };

static void begin_on_control(struct msg *m);
static void end_on_control(struct msg *m);
static void up_on_core(struct msg *m);
static void broke_on_core(struct msg *m);
static void dead_on_core(struct msg *m);
static void free_on_control(struct msg *m);
static void on_event(void *arg, enum verbs_conn_event event, const struct verbs_params *p, int rc);

/* --- what the core asks for ------------------------------------------------------------------------------------- */

static struct reactor *control_of(const struct rdma_link *l)
{
	return core_control(l->hub->host->core);
}

void nvme_rdma_link_begin(struct rdma_link *l)
{
	l->machine = (struct machine){ .states = link_states, .name = "RDMA link", .state = LINK_BEGIN };
	msg_send(control_of(l), &l->begin_msg, begin_on_control);
}

void nvme_rdma_link_end(struct rdma_link *l)
{
	assert(!l->ended);
	l->ended = true;
	if (l->up)
		verbs_conn_forget(l->conn);
	msg_send(control_of(l), &l->end_msg, end_on_control);
}

/* --- reaching the target ---------------------------------------------------------------------------------------- */

void nvme_rdma_link_broke(struct rdma_link *l, enum nvme_reason reason, int code, const char *fmt, ...)
{
	char why[ERR_TEXT_MAX];
	va_list ap;

	if (l->machine.state == LINK_OVER)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	machine_goto(&l->machine, LINK_OVER);
	l->reason = reason;
	err_set(&l->err, code, "%s", why);
	msg_send(l->home, &l->broke_msg, broke_on_core);
}

static void begin_on_control(struct msg *m)
{
	struct rdma_link *l = container_of(m, struct rdma_link, begin_msg);
	struct err e = { 0 };
	struct verbs *v = nvme_rdma_hub_verbs(l->hub, &e);

	list_add_tail(&l->hub->links, &l->link);
	if (v) {
		machine_goto(&l->machine, LINK_RESOLVE);
		l->conn = verbs_resolve(v, &l->to, l->has_from ? &l->from : NULL, l->timeout_ms, on_event, l, &e);
	}
	if (l->conn && l->tos)
		verbs_conn_set_tos(l->conn, l->tos);
	if (l->conn && l->ack_exponent)
		verbs_conn_set_ack_timeout(l->conn, l->ack_exponent);
	if (!l->conn)
		nvme_rdma_link_broke(l, NVME_REASON_UNREACHABLE, e.code, "%s", e.text);
}

static void resolved(struct rdma_link *l)
{
	struct err e = { 0 };

	machine_goto(&l->machine, LINK_SEAT);
	if (!nvme_rdma_seat_take(l, verbs_conn_dev(l->conn), &e))
		nvme_rdma_link_broke(l, NVME_REASON_UNREACHABLE, e.code, "%s", e.text);
}

/* Receives for all answers are there before the first command goes out. */
static int post_receives(struct rdma_link *l)
{
	uint8_t *at = (uint8_t *)l->mem.base + (size_t)l->slot_count * l->capsule_bytes;

	l->recvs = base_zalloc(l->size * sizeof(*l->recvs));
	for (uint16_t i = 0; i < l->size; i++, at += sizeof(struct nvme_cqe)) {
		struct rdma_recv *r = &l->recvs[i];

		r->sge = (struct verbs_sge){ (uintptr_t)at, sizeof(struct nvme_cqe), l->mem.lkey };
		r->recv = (struct verbs_recv){ .ctx = r, .sges = &r->sge, .sge_count = 1,
			                       .next = i + 1 < l->size ? &l->recvs[i + 1].recv : NULL };
	}
	return verbs_post_recv(l->conn, &l->recvs[0].recv);
}

static int make_queues(struct rdma_link *l, struct err *e)
{
	struct verbs_queues q = {
		.cq = l->seat->cq, .send_max = l->slot_count, .recv_max = l->size, .recv_sge_max = 1,
		.send_sge_max = min_u32(RDMA_SGES_MAX, verbs_dev_info(l->seat->dev)->sge_max), .inline_max = RDMA_INLINE_BYTES,
	};
	size_t bytes = (size_t)l->slot_count * l->capsule_bytes + l->size * sizeof(struct nvme_cqe);
	int rc = verbs_conn_make_queues(l->conn, &q, e);

	if (!rc)
		rc = verbs_mem_make(&l->mem, l->seat->dev, bytes, e);
	if (rc)
		return rc;
	l->sge_max = q.send_sge_max;
	rc = post_receives(l);
	if (rc)
		err_set(e, rc, "receives cannot be posted: %s", strerror(-rc));
	return rc;
}

void nvme_rdma_link_seated(struct rdma_link *l)
{
	const struct nvme_rdma_cm_req req = {
		.recfmt = le16_of(NVME_RDMA_CM_FMT_1_0), .qid = le16_of(l->qid), .hrqsize = le16_of(l->size),
		.hsqsize = le16_of((uint16_t)(l->size - 1)), .cntlid = le16_of(l->qid ? l->cntlid : 0),
	};
	struct verbs_params p = {
		.data = &req, .data_len = sizeof(req), .read_serve = UINT8_MAX, .retries = LINK_RETRIES,
		.rnr_retries = LINK_RNR_RETRIES, .flow_control = true,
	};
	struct err e = { 0 };
	int rc;

	if (l->machine.state != LINK_SEAT)
		return;
	machine_goto(&l->machine, LINK_CONNECT);
	rc = make_queues(l, &e);
	if (!rc) {
		rc = verbs_connect(l->conn, &p);
		if (rc)
			err_set(&e, rc, "cannot connect: %s", strerror(-rc));
	}
	if (rc)
		nvme_rdma_link_broke(l, NVME_REASON_UNREACHABLE, e.code, "%s", e.text);
}

/* --- what the other side says ----------------------------------------------------------------------------------- */

static const char *status_text(uint16_t sts)
{
#define STATUS_ROW(value, name, text) case NVME_RDMA_CM_##name: return text;
	switch (sts) {
	NVME_RDMA_CM_STATUSES(STATUS_ROW)
	default: return NULL;
	}
}

/* Whoever rejects for NVMe says why; the system rejects when nobody listens. The data may be padded with zeroes. */
static void rejected(struct rdma_link *l, const struct verbs_params *p)
{
	struct nvme_rdma_cm_rej rej = { 0 };
	uint16_t sts;

	if (p && p->data_len >= sizeof(rej))
		memcpy(&rej, p->data, sizeof(rej));
	sts = le16_get(rej.sts);
	if (!sts || le16_get(rej.recfmt) != NVME_RDMA_CM_FMT_1_0)
		nvme_rdma_link_broke(l, NVME_REASON_REFUSED, -ECONNREFUSED,
		                     "the connection was rejected: nobody listens there");
	else if (status_text(sts))
		nvme_rdma_link_broke(l, NVME_REASON_LOGIN_REFUSED, -ECONNREFUSED, "the target rejected the connection: %s",
		                status_text(sts));
	else
		nvme_rdma_link_broke(l, NVME_REASON_LOGIN_REFUSED, -ECONNREFUSED,
		                "the target rejected the connection with the unknown status %u", sts);
}

static void established(struct rdma_link *l, const struct verbs_params *p)
{
	struct nvme_rdma_cm_rep rep = { 0 };

	if (p && p->data_len >= sizeof(rep))
		memcpy(&rep, p->data, sizeof(rep));
	if (le16_get(rep.recfmt) != NVME_RDMA_CM_FMT_1_0) {
		nvme_rdma_link_broke(l, NVME_REASON_PROTOCOL, -EPROTO,
		                "the target accepted with private data of format %u; 0 is known", le16_get(rep.recfmt));
		return;
	}
	machine_goto(&l->machine, LINK_UP);
	l->crqsize = le16_get(rep.crqsize);
	msg_send(l->home, &l->up_msg, up_on_core);
}

static void unreachable(struct rdma_link *l, int rc)
{
	if (rc == -ETIMEDOUT)
		nvme_rdma_link_broke(l, NVME_REASON_CONNECT_TIMEOUT, rc, "no answer while %s%s",
		                link_states[l->machine.state].meaning, nvme_reason_remedy(NVME_REASON_CONNECT_TIMEOUT));
	else if (rc == -ECONNREFUSED)
		nvme_rdma_link_broke(l, NVME_REASON_REFUSED, rc, "cannot connect: %s%s", strerror(-rc),
		                nvme_reason_remedy(NVME_REASON_REFUSED));
	else
		nvme_rdma_link_broke(l, NVME_REASON_UNREACHABLE, rc ? rc : -EHOSTUNREACH, "cannot connect: %s (%s)",
		                strerror(rc ? -rc : EHOSTUNREACH), link_states[l->machine.state].meaning);
}

static void on_event(void *arg, enum verbs_conn_event event, const struct verbs_params *p, int rc)
{
	struct rdma_link *l = arg;

	if (l->machine.state == LINK_OVER)
		return;
	switch (event) {
	case VERBS_CONN_RESOLVED:
		resolved(l);
		break;
	case VERBS_CONN_ESTABLISHED:
		established(l, p);
		break;
	case VERBS_CONN_REJECTED:
		rejected(l, p);
		break;
	case VERBS_CONN_UNREACHABLE:
		unreachable(l, rc);
		break;
	case VERBS_CONN_ENDED:
		if (verbs_dev_is_there(l->seat->dev))
			nvme_rdma_link_broke(l, NVME_REASON_CLOSED, -ECONNRESET, "the target closed the connection");
		else
			nvme_rdma_link_broke(l, NVME_REASON_RESET, -ENODEV, "adapter %s is gone",
			                     verbs_dev_info(l->seat->dev)->name);
		break;
	}
}

static void up_on_core(struct msg *m)
{
	struct rdma_link *l = container_of(m, struct rdma_link, up_msg);

	if (l->ended)
		return;
	l->up = true;
	nvme_rdma_link_is_up(l);
}

static void broke_on_core(struct msg *m)
{
	struct rdma_link *l = container_of(m, struct rdma_link, broke_msg);

	if (!l->ended)
		nvme_rdma_link_is_broken(l);
}

/* --- its death -------------------------------------------------------------------------------------------------- */

static void end_on_control(struct msg *m)
{
	struct rdma_link *l = container_of(m, struct rdma_link, end_msg);

	if (l->machine.state != LINK_OVER)
		machine_goto(&l->machine, LINK_OVER);
	if (list_linked(&l->seat_link))
		list_del(&l->seat_link);
	if (l->conn && l->up)
		verbs_disconnect(l->conn); /* the other side hears of it */
	if (l->conn)
		verbs_conn_free(l->conn);
	l->conn = NULL;
	verbs_mem_free(&l->mem);
	msg_send(l->home, &l->dead_msg, dead_on_core);
}

static void dead_on_core(struct msg *m)
{
	struct rdma_link *l = container_of(m, struct rdma_link, dead_msg);

	nvme_rdma_link_is_dead(l);
	msg_send(control_of(l), &l->free_msg, free_on_control);
}

static void free_on_control(struct msg *m)
{
	struct rdma_link *l = container_of(m, struct rdma_link, free_msg);
	struct rdma_hub *hub = l->hub;

	nvme_rdma_seat_give(l);
	list_del(&l->link);
	free(l->recvs);
	free(l->slots);
	free(l);
	nvme_rdma_hub_look_idle(hub);
}
