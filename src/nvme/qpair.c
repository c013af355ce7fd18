/* SPDX-License-Identifier: BSD-3-Clause */
/* qpair.c: a queue pair above its transport: command ids, commands that wait, Connect, and an end at
 * which every command it held comes back exactly once.
 */
#include <errno.h>

#include "nvme/host.h"

static const struct machine_state qpair_states[] = { QPAIR_STATES(MACHINE_ROW) };

/* --- opening ---------------------------------------------------------------------------------- */

static void deadline_passed(struct timer *t)
{
	struct nvme_qpair *qp = container_of(t, struct nvme_qpair, deadline);
	bool connecting = qp->machine.state == QPAIR_CONNECTING;
	char addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };

	err_set(&e, -ETIMEDOUT, "queue %u to %s: not ready within %u ms; it was %s", qp->qid,
	        net_addr_text(&qp->addr, addr), qp->opts.connect_timeout_ms, qpair_states[qp->machine.state].meaning);
	nvme_qpair_broke(qp, connecting ? NVME_REASON_CONNECT_TIMEOUT : NVME_REASON_LOGIN_TIMEOUT, &e);
}

static void cids_make(struct nvme_qpair *qp)
{
	assert(qp->size > qp->reserved + 1);
	qp->cid_count = (uint16_t)(qp->size - 1);
	qp->free_count = (uint16_t)(qp->cid_count - qp->reserved);
	qp->ops = base_zalloc(qp->cid_count * sizeof(*qp->ops));
	qp->free_cids = base_zalloc(qp->cid_count * sizeof(*qp->free_cids));
	for (uint16_t i = 0; i < qp->free_count; i++)
		qp->free_cids[i] = (uint16_t)(qp->free_count - 1 - i);
	qp->transport->size(qp);
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
	memcpy(d->hostid, l->hostid.b, sizeof(d->hostid));
	d->cntlid = le16_of(l->cntlid);
	memcpy(d->subsysnqn, l->subnqn, strlen(l->subnqn));
	memcpy(d->hostnqn, l->hostnqn, strlen(l->hostnqn));
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
	cids_make(qp);
}

static struct nvme_qpair *qpair_make(struct nvme_host *h, const struct nvme_transport *tr, const struct nvme_login *l)
{
	struct nvme_qpair *qp = tr->make();

	qp->transport = tr;
	qp->host = h;
	qp->opts = l->opts;
	qp->addr = l->addr;
	qp->from = l->from;
	qp->has_from = l->has_from;
	qp->machine = (struct machine){ .states = qpair_states, .name = "qpair", .state = QPAIR_CONNECTING };
	qp->timeout_ns = qp->opts.io_timeout_ms * NS_PER_MS;
	queue_init(&qp->waiting);
	queue_init(&qp->refused);
	return qp;
}

static void qpair_connect(struct nvme_qpair *qp)
{
	struct err e = { 0 };

	timer_start(&qp->deadline, qp->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
	if (qp->transport->connect(qp, &e))
		nvme_qpair_broke(qp, NVME_REASON_UNREACHABLE, &e);
}

struct nvme_qpair *nvme_qpair_start(struct nvme_host *h, const struct nvme_transport *tr, const struct nvme_login *l,
                                    const struct qpair_start *start)
{
	struct nvme_qpair *qp = qpair_make(h, tr, l);

	qp->held_fn = start->held;
	qp->reserved = start->reserved;
	qp->ready = start->ready;
	qp->gone = start->gone;
	qp->arg = start->arg;
	connect_prepare(qp, l, 0, start->keep_alive_ms);
	qpair_connect(qp);
	return qp;
}

struct nvme_qpair *nvme_qpair_open(struct nvme_host *h, const struct nvme_login *l, uint16_t qid,
                                   nvme_qpair_event_fn *ready, nvme_qpair_event_fn *gone, void *arg)
{
	struct nvme_qpair *qp = qpair_make(h, &nvme_tcp, l);

	if (qp->has_from)
		net_addr_set_port(&qp->from, 0); /* one connection only can come from that port: the admin queue's */
	qp->ready = ready;
	qp->gone = gone;
	qp->arg = arg;
	if (l->cntlid != NVME_CNTLID_DYNAMIC) {
		assert(qid >= 1 && qid <= l->io_queues);
		connect_prepare(qp, l, qid, 0);
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
	timer_start(&qp->deadline, qp->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
	if (qp->machine.state == QPAIR_WAITING)
		log_in(qp);
}

bool nvme_qpair_is_waiting(const struct nvme_qpair *qp)
{
	return qp->machine.state == QPAIR_WAITING;
}

static void look_for_late(struct timer *t);

static void submit_with(struct nvme_qpair *qp, struct nvme_op *op, uint16_t cid)
{
	op->cid = cid;
	op->cmd.cid = le16_of(cid);
	qp->ops[cid] = op;
	qp->outstanding++;
	if (op->began_ns && !timer_is_running(&qp->timeout_timer))
		timer_start(&qp->timeout_timer, qp->timeout_ns, look_for_late);
	qp->transport->submit(qp, op);
}

static void submit_now(struct nvme_qpair *qp, struct nvme_op *op)
{
	submit_with(qp, op, qp->free_cids[--qp->free_count]);
}

static void fail_all(struct defer *d);

/* Waiting would not help, and all others would wait behind it. */
static bool refuse_fused(struct nvme_qpair *qp)
{
	if (qp->cid_count - qp->reserved >= 2)
		return false;
	queue_push(&qp->refused, queue_pop(&qp->waiting));
	queue_push(&qp->refused, queue_pop(&qp->waiting));
	defer_run(&qp->fail_defer, fail_all);
	return true;
}

static void submit_waiting(struct nvme_qpair *qp)
{
	while (qp->machine.state == QPAIR_READY && !queue_empty(&qp->waiting)) {
		struct nvme_op *op = container_of(qp->waiting.first, struct nvme_op, link);

		if (op->fused && refuse_fused(qp))
			continue;
		if (qp->free_count < 1u + op->fused)
			return;
		submit_now(qp, container_of(queue_pop(&qp->waiting), struct nvme_op, link));
		if (op->fused) /* nothing may come between them */
			submit_now(qp, container_of(queue_pop(&qp->waiting), struct nvme_op, link));
	}
}

/* What Connect was answered, if we cannot live with it: why. */
static enum nvme_reason connect_refused(const struct nvme_qpair *qp, const struct nvme_cqe *cpl, const char **ret_why)
{
	uint16_t status = nvme_cqe_status(cpl) & NVME_SC_CODE;

	if (status) {
		*ret_why = nvme_status_text(status, true);
		return NVME_REASON_LOGIN_REFUSED;
	}
	if (le16_get(cpl->authreq) & (NVME_AUTHREQ_ATR | NVME_AUTHREQ_ASCR)) {
		*ret_why = "it wants authentication, which this host does not do yet";
		return NVME_REASON_LOGIN_REFUSED;
	}
	if (!qp->qid && le16_get(cpl->cntlid) > NVME_CNTLID_MAX) {
		*ret_why = "the controller id that it gives is a reserved one";
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
	timer_stop(&qp->deadline);
	machine_goto(&qp->machine, QPAIR_READY);
	qp->ready(qp, NULL, qp->arg);
	if (!qp->closed)
		submit_waiting(qp);
}

static void log_in(struct nvme_qpair *qp)
{
	machine_goto(&qp->machine, QPAIR_LOGGING_IN);
	qp->connect_op.done = connect_done;
	submit_now(qp, &qp->connect_op);
}

void nvme_qpair_connected(struct nvme_qpair *qp)
{
	if (!qp->held_fn) {
		nvme_qpair_negotiate(qp);
		return;
	}
	machine_goto(&qp->machine, QPAIR_HELD);
	timer_stop(&qp->deadline);
	qp->held_fn(qp, qp->arg);
}

void nvme_qpair_negotiate(struct nvme_qpair *qp)
{
	if (qp->machine.state == QPAIR_HELD)
		timer_start(&qp->deadline, qp->opts.connect_timeout_ms * NS_PER_MS, deadline_passed);
	machine_goto(&qp->machine, QPAIR_NEGOTIATING);
	qp->transport->negotiate(qp);
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

/* --- commands --------------------------------------------------------------------------------- */

static void op_begin(struct nvme_qpair *qp, struct nvme_op *op)
{
	op->sent = op->late = op->fused = false;
	op->began_ns = 0;
	if (qp->timeout_ns)
		op->began_ns = reactor_now_ns();
}

void nvme_qpair_submit(struct nvme_qpair *qp, struct nvme_op *op)
{
	assert(!qp->closed);
	op_begin(qp, op);
	if (likely(qp->machine.state == QPAIR_READY && qp->free_count && queue_empty(&qp->waiting))) {
		submit_now(qp, op);
		return;
	}
	queue_push(&qp->waiting, &op->link);
	if (qp->machine.state == QPAIR_DEAD)
		defer_run(&qp->fail_defer, fail_all);
}

void nvme_qpair_submit_fused(struct nvme_qpair *qp, struct nvme_op *first, struct nvme_op *second)
{
	assert(!qp->closed);
	op_begin(qp, first);
	op_begin(qp, second);
	first->fused = true;
	first->cmd.flags = (uint8_t)nvme_flags_with_fuse(first->cmd.flags, 1);
	second->cmd.flags = (uint8_t)nvme_flags_with_fuse(second->cmd.flags, 2);
	queue_push(&qp->waiting, &first->link);
	queue_push(&qp->waiting, &second->link);
	if (qp->machine.state == QPAIR_DEAD)
		defer_run(&qp->fail_defer, fail_all);
	else
		submit_waiting(qp);
}

void nvme_qpair_submit_reserved(struct nvme_qpair *qp, struct nvme_op *op, uint8_t n)
{
	uint16_t cid = (uint16_t)(qp->cid_count - qp->reserved + n);

	assert(n < qp->reserved && !qp->ops[cid]);
	op->sent = op->late = op->fused = false;
	op->began_ns = 0;
	if (qp->machine.state == QPAIR_READY) {
		submit_with(qp, op, cid);
		return;
	}
	queue_push(&qp->waiting, &op->link);
	defer_run(&qp->fail_defer, fail_all);
}

static void op_is_late(struct nvme_qpair *qp, struct nvme_op *op)
{
	char addr[NET_ADDR_TEXT_MAX];
	struct err e = { 0 };

	op->late = true;
	if (qp->timed_out) {
		qp->timed_out(qp, op, qp->arg);
		return;
	}
	err_set(&e, -ETIMEDOUT, "queue %u to %s: the target did not answer command %02xh (%s) within %u ms", qp->qid,
	        net_addr_text(&qp->addr, addr), op->cmd.opc, nvme_io_name(op->cmd.opc), qp->opts.io_timeout_ms);
	nvme_qpair_broke(qp, NVME_REASON_IO_TIMEOUT, &e);
}

/* When the oldest may be over. It runs only while something is out; afterwards it ends by itself. */
static void look_for_late(struct timer *t)
{
	struct nvme_qpair *qp = container_of(t, struct nvme_qpair, timeout_timer);
	uint64_t now_ns = reactor_now_ns(), oldest_ns = UINT64_MAX;

	nvme_qpair_hold(qp);
	for (uint16_t cid = 0; cid < qp->cid_count && qp->machine.state == QPAIR_READY; cid++) {
		struct nvme_op *op = qp->ops[cid];

		if (!op || !op->began_ns || op->late)
			continue;
		if (now_ns - op->began_ns >= qp->timeout_ns)
			op_is_late(qp, op);
		else
			oldest_ns = min_u64(oldest_ns, op->began_ns);
	}
	if (oldest_ns != UINT64_MAX && qp->machine.state == QPAIR_READY)
		timer_start(t, oldest_ns + qp->timeout_ns - now_ns, look_for_late);
	nvme_qpair_release(qp);
}

struct nvme_op *nvme_qpair_op(struct nvme_qpair *qp, uint16_t cid)
{
	return cid < qp->cid_count ? qp->ops[cid] : NULL;
}

static void op_finish(struct nvme_qpair *qp, struct nvme_op *op)
{
	qp->ops[op->cid] = NULL;
	if (likely(op->cid < qp->cid_count - qp->reserved))
		qp->free_cids[qp->free_count++] = op->cid;
	qp->outstanding--;
	op->done(op);
}

bool nvme_qpair_completed(struct nvme_qpair *qp, const struct nvme_cqe *cqe)
{
	struct nvme_op *op = nvme_qpair_op(qp, le16_get(cqe->cid));

	if (!op)
		return false;
	op->cpl = *cqe;
	op_finish(qp, op);
	if (!qp->closed)
		submit_waiting(qp);
	return true;
}

uint32_t nvme_qpair_outstanding(const struct nvme_qpair *qp)
{
	return qp->outstanding;
}

void nvme_qpair_on_timeout(struct nvme_qpair *qp, void (*fn)(struct nvme_qpair *qp, struct nvme_op *op, void *arg))
{
	qp->timed_out = fn;
}

uint16_t nvme_qpair_id(const struct nvme_qpair *qp)
{
	return qp->qid;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void op_fail(struct nvme_op *op, uint16_t status)
{
	op->cpl = (struct nvme_cqe){ .cid = le16_of(op->cid) };
	nvme_cqe_set_status(&op->cpl, status);
}

static void fail_refused(struct nvme_qpair *qp)
{
	while (!queue_empty(&qp->refused)) {
		struct nvme_op *op = container_of(queue_pop(&qp->refused), struct nvme_op, link);

		op_fail(op, NVME_SC_FUSED_MISSING);
		op->done(op);
	}
}

/* One by one: `done` may close the queue pair, which fails the rest. What is submitted meanwhile is not looked at; that
 * would never end. */
static void fail_waiting(struct nvme_qpair *qp)
{
	struct queue_link **last = qp->waiting.last;
	bool more = true;

	while (more && !queue_empty(&qp->waiting)) {
		struct nvme_op *op = container_of(queue_pop(&qp->waiting), struct nvme_op, link);

		more = &op->link.next != last;
		op_fail(op, NVME_SC_HOST_PATH_ERROR);
		op->done(op);
	}
}

static void fail_outstanding(struct nvme_qpair *qp)
{
	fail_refused(qp);
	for (uint16_t cid = 0; cid < qp->cid_count; cid++) {
		struct nvme_op *op = qp->ops[cid];

		if (!op)
			continue;
		op_fail(op, NVME_SC_HOST_PATH_ERROR);
		op_finish(qp, op);
	}
	fail_waiting(qp);
}

static void fail_all(struct defer *d)
{
	struct nvme_qpair *qp = container_of(d, struct nvme_qpair, fail_defer);
	nvme_qpair_event_fn *tell;

	nvme_qpair_hold(qp);
	fail_refused(qp);
	if (!qp->closed && qp->machine.state == QPAIR_DEAD) {
		tell = qp->ready ? qp->ready : qp->gone;
		fail_outstanding(qp);
		if (tell && !qp->closed) {
			qp->ready = qp->gone = NULL;
			tell(qp, &qp->err, qp->arg);
		}
	}
	nvme_qpair_release(qp);
}

void nvme_qpair_broke(struct nvme_qpair *qp, enum nvme_reason reason, const struct err *e)
{
	if (qp->machine.state == QPAIR_DEAD)
		return;
	if (qp->machine.state == QPAIR_READY)
		qp->ready = NULL; /* it was told already; `gone` is next */
	machine_goto(&qp->machine, QPAIR_DEAD);
	qp->err = *e;
	qp->reason = reason;
	timer_stop(&qp->deadline);
	timer_stop(&qp->timeout_timer);
	qp->transport->disconnect(qp);
	defer_run(&qp->fail_defer, fail_all);
}

void nvme_qpair_fail(struct nvme_qpair *qp, enum nvme_reason reason, const struct err *e)
{
	nvme_qpair_broke(qp, reason, e);
}

enum nvme_reason nvme_qpair_reason(const struct nvme_qpair *qp)
{
	return qp->reason;
}

static void qpair_free(struct nvme_qpair *qp)
{
	free(qp->ops);
	free(qp->free_cids);
	qp->transport->free(qp);
}

static void free_later(struct defer *d)
{
	qpair_free(container_of(d, struct nvme_qpair, fail_defer));
}

bool nvme_qpair_release(struct nvme_qpair *qp)
{
	bool alive = !qp->closed;

	assert(qp->held);
	if (--qp->held == 0 && qp->closed && !qp->fail_defer.queued)
		qpair_free(qp);
	return alive;
}

void nvme_qpair_close(struct nvme_qpair *qp)
{
	qp->ready = qp->gone = NULL;
	nvme_qpair_hold(qp);
	if (qp->machine.state != QPAIR_DEAD) {
		machine_goto(&qp->machine, QPAIR_DEAD);
		timer_stop(&qp->deadline);
		timer_stop(&qp->timeout_timer);
		qp->transport->disconnect(qp);
	}
	qp->closed = true;
	fail_outstanding(qp);
	if (qp->fail_defer.queued)
		qp->fail_defer.fn = free_later; /* queued to fail what it holds: it frees instead */
	nvme_qpair_release(qp);
}
