/* SPDX-License-Identifier: BSD-3-Clause */
/* qpair.c: the commands of a queue pair, above its transport: their ids, those that wait, those that are late, and an
 * end at which every one that it held comes back exactly once.
 */
#include <errno.h>

#include "nvme/host.h"

/* --- command ids ---------------------------------------------------------------------------- */

static void look_for_late(struct timer *t);

/* The bits of a cid above its slot's number change with each command: a second answer to an old command, or data for
 * it, is not taken for one of its slot's next. */
static void submit_with(struct nvme_qpair *qp, struct nvme_op *op, uint16_t slot)
{
	op->cid = (uint16_t)(slot | qp->generation);
	op->cmd.cid = le16_of(op->cid);
	qp->generation = (uint16_t)(qp->generation + qp->slot_mask + 1u);
	qp->ops[slot] = op;
	qp->outstanding++;
	if (op->began_ns && !timer_is_running(&qp->timeout_timer))
		timer_start(&qp->timeout_timer, qp->timeout_ns, look_for_late);
	qp->transport->submit(qp, op);
}

void qpair_submit_now(struct nvme_qpair *qp, struct nvme_op *op)
{
	submit_with(qp, op, qp->free_slots[--qp->free_count]);
}

static void fail_all(struct defer *d);

/* Waiting would not help, and all others would wait behind it. */
static bool refuse_fused(struct nvme_qpair *qp)
{
	if (qp->usable >= 2)
		return false;
	queue_push(&qp->refused, queue_pop(&qp->waiting));
	queue_push(&qp->refused, queue_pop(&qp->waiting));
	defer_run(&qp->fail_defer, fail_all);
	return true;
}

void qpair_submit_waiting(struct nvme_qpair *qp)
{
	while (qp->machine.state == QPAIR_READY && !queue_empty(&qp->waiting)) {
		struct nvme_op *op = container_of(qp->waiting.first, struct nvme_op, link);

		if (op->fused && refuse_fused(qp))
			continue;
		if (qp->free_count < 1u + op->fused)
			return;
		qpair_submit_now(qp, container_of(queue_pop(&qp->waiting), struct nvme_op, link));
		if (op->fused) /* nothing may come between them */
			qpair_submit_now(qp, container_of(queue_pop(&qp->waiting), struct nvme_op, link));
	}
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
		qpair_submit_now(qp, op);
		return;
	}
	queue_push(&qp->waiting, &op->link);
	if (qp->machine.state == QPAIR_DEAD)
		defer_run(&qp->fail_defer, fail_all);
}

void qpair_submit_first(struct nvme_qpair *qp, struct nvme_op *op)
{
	op->sent = op->late = op->fused = false;
	op->began_ns = 0;
	if (qp->free_count && qp->machine.state != QPAIR_DEAD) {
		qpair_submit_now(qp, op);
		return;
	}
	queue_push_front(&qp->waiting, &op->link);
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
		qpair_submit_waiting(qp);
}

void nvme_qpair_submit_reserved(struct nvme_qpair *qp, struct nvme_op *op, uint8_t n)
{
	uint16_t slot = (uint16_t)(qp->slot_count - qp->reserved + n);

	assert(n < qp->reserved && !qp->ops[slot]);
	op->sent = op->late = op->fused = false;
	op->began_ns = 0;
	if (qp->machine.state == QPAIR_READY) {
		submit_with(qp, op, slot);
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
	for (uint16_t slot = 0; slot < qp->slot_count && qp->machine.state == QPAIR_READY; slot++) {
		struct nvme_op *op = qp->ops[slot];

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
	uint16_t slot = nvme_qpair_slot(qp, cid);
	struct nvme_op *op = slot < qp->slot_count ? qp->ops[slot] : NULL;

	return op && op->cid == cid ? op : NULL;
}

static void op_finish(struct nvme_qpair *qp, struct nvme_op *op)
{
	uint16_t slot = nvme_qpair_slot(qp, op->cid);

	qp->ops[slot] = NULL;
	if (likely(slot < qp->slot_count - qp->reserved))
		qp->free_slots[qp->free_count++] = slot;
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
		qpair_submit_waiting(qp);
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

/* What was sent stays with the target as long as that may touch its memory; the rest never left. */
static void fail_outstanding(struct nvme_qpair *qp)
{
	fail_refused(qp);
	for (uint16_t slot = 0; slot < qp->slot_count; slot++) {
		struct nvme_op *op = qp->ops[slot];

		if (!op || (qp->lingers && op->sent))
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
		fail_outstanding(qp);
		tell = qp->ready ? qp->ready : qp->gone;
		if (tell && !qp->closed && !qp->lingers) {
			qp->ready = qp->gone = NULL;
			tell(qp, &qp->err, qp->arg);
		}
	}
	nvme_qpair_release(qp);
}

void nvme_qpair_broke(struct nvme_qpair *qp, enum nvme_reason reason, const struct err *e)
{
	struct err blame = { 0 };

	if (qp->machine.state == QPAIR_DEAD)
		return;
	if (nvme_proof_blames(qp, &blame)) {
		reason = NVME_REASON_LOGIN_REFUSED;
		e = &blame;
	}
	if (qp->machine.state == QPAIR_READY)
		qp->ready = NULL; /* it was told already; `gone` is next */
	machine_goto(&qp->machine, QPAIR_DEAD);
	qp->err = *e;
	qp->reason = reason;
	timer_stop(&qp->deadline);
	timer_stop(&qp->timeout_timer);
	qp->lingers = !qp->transport->disconnect(qp);
	defer_run(&qp->fail_defer, fail_all);
}

static void tell_closed(struct nvme_qpair *qp);

void nvme_qpair_let_go(struct nvme_qpair *qp)
{
	assert(qp->lingers);
	qp->lingers = false;
	if (!qp->closed) {
		defer_run(&qp->fail_defer, fail_all);
		return;
	}
	nvme_qpair_hold(qp);
	fail_outstanding(qp);
	tell_closed(qp);
	nvme_qpair_release(qp);
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
	free(qp->free_slots);
	nvme_proof_free(qp);
	nvme_secure_free(qp);
	nvme_generated_unref(qp->generated);
	qp->transport->free(qp);
}

static void free_later(struct defer *d)
{
	struct nvme_qpair *qp = container_of(d, struct nvme_qpair, fail_defer);

	if (!qp->held) /* a job of prove.c's may hold it: then it frees */
		qpair_free(qp);
}

bool nvme_qpair_release(struct nvme_qpair *qp)
{
	bool alive = !qp->closed;

	assert(qp->held);
	if (--qp->held == 0 && qp->closed && !qp->fail_defer.queued && !qp->lingers)
		qpair_free(qp);
	return alive;
}

static void tell_closed(struct nvme_qpair *qp)
{
	if (qp->closed_fn && !qp->lingers)
		qp->closed_fn(qp->closed_arg);
}

void nvme_qpair_close_then(struct nvme_qpair *qp, void (*closed)(void *arg), void *arg)
{
	qp->ready = qp->gone = NULL;
	qp->closed_fn = closed;
	qp->closed_arg = arg;
	nvme_qpair_hold(qp);
	if (qp->machine.state != QPAIR_DEAD) {
		machine_goto(&qp->machine, QPAIR_DEAD);
		timer_stop(&qp->deadline);
		timer_stop(&qp->timeout_timer);
		qp->lingers = !qp->transport->disconnect(qp);
	}
	qp->closed = true;
	fail_outstanding(qp);
	if (qp->fail_defer.queued && qp->lingers)
		defer_cancel(&qp->fail_defer);
	else if (qp->fail_defer.queued)
		qp->fail_defer.fn = free_later; /* queued to fail what it holds: it frees instead */
	tell_closed(qp);
	nvme_qpair_release(qp);
}

void nvme_qpair_close(struct nvme_qpair *qp)
{
	nvme_qpair_close_then(qp, NULL, NULL);
}
