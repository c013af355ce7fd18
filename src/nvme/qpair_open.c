/* SPDX-License-Identifier: BSD-3-Clause */
/* qpair_open.c: a queue pair until it is ready: connect, negotiate, wait to be used perhaps, fabrics Connect. A
 * deadline covers each part in which the target is waited for.
 */
#include <errno.h>

#include "nvme/host.h"

static const struct machine_state qpair_states[] = { QPAIR_STATES(MACHINE_ROW) };

/* --- opening ---------------------------------------------------------------------------------- */

static void deadline_passed(struct timer *t)
{
	struct nvme_qpair *qp = container_of(t, struct nvme_qpair, deadline);
	enum nvme_reason reason = qp->machine.state == QPAIR_CONNECTING ? NVME_REASON_CONNECT_TIMEOUT :
	                                                                  NVME_REASON_LOGIN_TIMEOUT;
	char addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };

	err_set(&e, -ETIMEDOUT, "queue %u to %s: not ready within %u ms; it was %s%s", qp->qid,
	        net_addr_text(&qp->addr, addr), qp->opts.connect_timeout_ms, qpair_states[qp->machine.state].meaning,
	        nvme_reason_remedy(reason));
	nvme_qpair_broke(qp, reason, &e);
}

static void slots_make(struct nvme_qpair *qp)
{
	assert(qp->size > qp->reserved + 1);
	qp->slot_count = (uint16_t)(qp->size - 1);
	while (qp->slot_mask < qp->slot_count) /* the last number is no slot's: 0xffff is no cid */
		qp->slot_mask = (uint16_t)(qp->slot_mask << 1 | 1);
	qp->usable = qp->free_count = (uint16_t)(qp->slot_count - qp->reserved);
	qp->ops = base_zalloc(qp->slot_count * sizeof(*qp->ops));
	qp->free_slots = base_zalloc(qp->slot_count * sizeof(*qp->free_slots));
	for (uint16_t i = 0; i < qp->free_count; i++)
		qp->free_slots[i] = (uint16_t)(qp->free_count - 1 - i);
	qp->transport->size(qp);
}

bool nvme_qpair_cut(struct nvme_qpair *qp, uint32_t entries)
{
	assert(!qp->outstanding);
	if (entries >= qp->size)
		return true;
	if (entries < qp->reserved + 2u)
		return false;
	qp->size = (uint16_t)entries;
	qp->connect_op.cmd.connect.sqsize = le16_of((uint16_t)(entries - 1));
	qp->usable = qp->free_count = (uint16_t)(entries - 1 - qp->reserved);
	return true;
}

static void connect_prepare(struct nvme_qpair *qp, const struct nvme_login *l, uint16_t qid, uint32_t keep_alive_ms)
{
	struct nvmf_connect_data *d = &qp->connect_data;
	struct nvme_sqe *cmd = &qp->connect_op.cmd;

	assert(l->size >= 2);
	qp->has_login = true;
	qp->qid = qid;
	qp->size = l->size;
	qp->in_capsule_bytes = l->in_capsule_bytes;
	qp->descriptors_max = l->descriptors_max;
	memcpy(d->hostid, l->hostid.b, sizeof(d->hostid));
	d->cntlid = le16_of(l->cntlid);
	cmd->opc = NVME_ADMIN_FABRICS;
	cmd->fctype = NVME_FABRICS_CONNECT;
	cmd->connect.qid = le16_of(qid);
	cmd->connect.sqsize = le16_of((uint16_t)(qp->size - 1));
	cmd->connect.kato = le32_of(keep_alive_ms);
	qp->connect_iov = (struct iovec){ d, sizeof(*d) };
	qp->connect_op.iovs = &qp->connect_iov;
	qp->connect_op.iov_count = 1;
	qp->connect_op.data = NVME_OP_TO_CTRLR;
	qp->connect_op.data_len = sizeof(*d);
	slots_make(qp);
}

static struct nvme_qpair *qpair_make(struct nvme_host *h, const struct nvme_login *l)
{
	struct nvme_qpair *qp = l->transport->make(h);

	qp->transport = l->transport;
	qp->host = h;
	qp->opts = l->opts;
	qp->generated = nvme_generated_ref(l->opts.generated);
	qp->addr = l->addr;
	qp->from = l->from;
	qp->has_from = l->has_from;
	qp->machine = (struct machine){ .states = qpair_states, .name = "qpair", .state = QPAIR_CONNECTING };
	qp->timeout_ns = qp->opts.io_timeout_ms * NS_PER_MS;
	queue_init(&qp->waiting);
	queue_init(&qp->refused);
	memcpy(qp->connect_data.subsysnqn, l->subnqn, strlen(l->subnqn));
	memcpy(qp->connect_data.hostnqn, l->hostnqn, strlen(l->hostnqn));
	return qp;
}

static void qpair_connect(struct nvme_qpair *qp)
{
	struct err e = { 0 };

	timer_start(&qp->deadline, qp->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
	if (qp->transport->connect(qp, &e))
		nvme_qpair_broke(qp, NVME_REASON_UNREACHABLE, &e);
}

struct nvme_qpair *nvme_qpair_start(struct nvme_host *h, const struct nvme_login *l, const struct qpair_start *start)
{
	struct nvme_qpair *qp = qpair_make(h, l);

	qp->held_fn = start->held;
	qp->reserved = start->reserved;
	qp->ready = start->ready;
	qp->gone = start->gone;
	qp->arg = start->arg;
	connect_prepare(qp, l, 0, start->keep_alive_ms);
	if (qp->opts.is_static)
		qp->connect_data.cntlid = le16_of(qp->opts.static_cntlid);
	qpair_connect(qp);
	return qp;
}

struct nvme_qpair *nvme_qpair_open(struct nvme_host *h, const struct nvme_login *l, uint16_t qid,
                                   nvme_qpair_event_fn *ready, nvme_qpair_event_fn *gone, void *arg)
{
	struct nvme_qpair *qp = qpair_make(h, l);

	if (qp->has_from)
		net_addr_set_port(&qp->from, 0); /* one connection only can come from that port: the admin queue's */
	qp->ready = ready;
	qp->gone = gone;
	qp->arg = arg;
	if (l->cntlid != NVME_CNTLID_DYNAMIC) {
		assert(qid >= 1 && qid <= l->io_queues);
		connect_prepare(qp, l, qid, 0);
	} else if (qp->transport->names_queues) {
		machine_goto(&qp->machine, QPAIR_WAITING);
		return qp;
	}
	qpair_connect(qp);
	return qp;
}

static void log_in(struct nvme_qpair *qp);

void nvme_qpair_login(struct nvme_qpair *qp, const struct nvme_login *l, uint16_t qid)
{
	assert(!qp->has_login && l->cntlid != NVME_CNTLID_DYNAMIC);
	if (qp->machine.state == QPAIR_DEAD)
		return; /* `ready` is about to tell */
	connect_prepare(qp, l, qid, 0);
	qp->opts.connect_timeout_ms = l->opts.connect_timeout_ms;
	if (qp->transport->names_queues) {
		machine_goto(&qp->machine, QPAIR_CONNECTING);
		qpair_connect(qp);
		return;
	}
	timer_start(&qp->deadline, qp->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
	if (l->opts.generated && !qp->generated) { /* what it has is a connection in the clear */
		qp->generated = nvme_generated_ref(l->opts.generated);
		nvme_qpair_connect_again(qp);
	} else if (qp->machine.state == QPAIR_WAITING) {
		log_in(qp);
	}
}

bool nvme_qpair_is_waiting(const struct nvme_qpair *qp)
{
	return qp->machine.state == QPAIR_WAITING;
}

static bool wants_channel(const struct nvme_qpair *qp, const struct nvme_cqe *cpl)
{
	return le16_get(cpl->authreq) & NVME_AUTHREQ_ASCR;
}

/* The target has controllers of the other model, or other ones. */
static const char *model_differs(const struct nvme_qpair *qp, const struct nvme_cqe *cpl, uint16_t status)
{
	if (qp->qid || status != NVME_SC_CONNECT_INVALID_PARAM || cpl->iattr != NVME_IATTR_DATA ||
	    le16_get(cpl->ipo) != offsetof(struct nvmf_connect_data, cntlid))
		return NULL;
	return qp->opts.is_static ? "it has no such static controller (cntlid)"
	                          : "its controllers are static: cntlid says which one is wanted, or 'any'";
}

/* What Connect was answered, if we cannot live with it: why. */
static enum nvme_reason connect_refused(const struct nvme_qpair *qp, const struct nvme_cqe *cpl, const char **ret_why)
{
	uint16_t status = nvme_cqe_status(cpl) & NVME_SC_CODE;

	if (status) {
		*ret_why = model_differs(qp, cpl, status) ?: nvme_status_text(status, true);
		return NVME_REASON_LOGIN_REFUSED;
	}
	if (wants_channel(qp, cpl) && (qp->qid || !qp->opts.key || qp->opts.psk || !qp->transport->secure)) {
		*ret_why = "it wants a proof that makes a key of TLS, and there is none by which we could give it (dhchap_key)";
		return NVME_REASON_LOGIN_REFUSED;
	}
	if (le16_get(cpl->authreq) & NVME_AUTHREQ_ATR && !qp->opts.key) {
		*ret_why = "it wants authentication, and there is no key for it here (dhchap_key)";
		return NVME_REASON_LOGIN_REFUSED;
	}
	if (!qp->qid && le16_get(cpl->cntlid) > NVME_CNTLID_MAX) {
		*ret_why = "the controller id that it gives is a reserved one";
		return NVME_REASON_BAD_ANSWER;
	}
	if (!qp->qid && le16_get(qp->connect_data.cntlid) <= NVME_CNTLID_MAX &&
	    le16_get(cpl->cntlid) != le16_get(qp->connect_data.cntlid)) {
		*ret_why = "the controller that it gives is another one than was asked for";
		return NVME_REASON_BAD_ANSWER;
	}
	return NVME_REASON_NONE;
}

static void connect_done(struct nvme_op *op)
{
	struct nvme_qpair *qp = container_of(op, struct nvme_qpair, connect_op);
	enum nvme_reason reason;
	const char *why;
	char addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };

	if (qp->machine.state == QPAIR_DEAD)
		return;
	reason = connect_refused(qp, &op->cpl, &why);
	if (reason) {
		err_set(&e, -ECONNREFUSED, "queue %u to %s: the target refused Connect to %s: %s", qp->qid,
		        net_addr_text(&qp->addr, addr), qp->connect_data.subsysnqn, why);
		nvme_qpair_broke(qp, reason, &e);
		return;
	}
	qp->cntlid = le16_get(op->cpl.cntlid);
	/* A target that asks for no proof of ours has to give one of its own all the same, where we have a key for that. */
	if (wants_channel(qp, &op->cpl) || le16_get(op->cpl.authreq) & NVME_AUTHREQ_ATR ||
	    (qp->opts.key && qp->opts.ctrlr_key && !qp->generated)) {
		machine_goto(&qp->machine, QPAIR_PROVING);
		nvme_proof_free(qp);
		nvme_proof_start(qp, wants_channel(qp, &op->cpl));
	} else {
		nvme_qpair_proved(qp);
	}
}

void nvme_qpair_proved(struct nvme_qpair *qp)
{
	timer_stop(&qp->deadline);
	machine_goto(&qp->machine, QPAIR_READY);
	qp->ready(qp, NULL, qp->arg);
	if (!qp->closed)
		qpair_submit_waiting(qp);
}

static void log_in(struct nvme_qpair *qp)
{
	machine_goto(&qp->machine, QPAIR_LOGGING_IN);
	qp->connect_op.done = connect_done;
	qpair_submit_now(qp, &qp->connect_op);
}

void nvme_qpair_connected(struct nvme_qpair *qp)
{
	void (*held)(struct nvme_qpair *qp, void *arg) = qp->held_fn;

	if (!held) {
		nvme_qpair_negotiate(qp);
		return;
	}
	qp->held_fn = NULL; /* once: not for another connection because of TLS */
	machine_goto(&qp->machine, QPAIR_HELD);
	timer_stop(&qp->deadline);
	held(qp, qp->arg);
}

void nvme_qpair_negotiate(struct nvme_qpair *qp)
{
	if (qp->machine.state == QPAIR_HELD)
		timer_start(&qp->deadline, qp->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
	if (qp->opts.psk || qp->generated) {
		machine_goto(&qp->machine, QPAIR_SECURING);
		nvme_secure_start(qp);
	} else {
		machine_goto(&qp->machine, QPAIR_NEGOTIATING);
		qp->transport->negotiate(qp);
	}
}

/* The deadline goes on. */
void nvme_qpair_connect_again(struct nvme_qpair *qp)
{
	struct err e = { 0 };

	must(qp->transport->disconnect(qp));
	machine_goto(&qp->machine, QPAIR_CONNECTING);
	if (qp->transport->connect(qp, &e))
		nvme_qpair_broke(qp, NVME_REASON_UNREACHABLE, &e);
}

void nvme_qpair_negotiated(struct nvme_qpair *qp)
{
	if (qp->has_login) {
		log_in(qp);
		return;
	}
	machine_goto(&qp->machine, QPAIR_WAITING);
	timer_stop(&qp->deadline);
}
