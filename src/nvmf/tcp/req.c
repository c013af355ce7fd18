/* SPDX-License-Identifier: BSD-3-Clause */
/* req.c: a command's life, from its slot to its answer.
 *
 * Data to the controller comes with the capsule or is asked for by R2T. What comes with the capsule cannot be told to
 * wait: it is executed from the receive buffer where the device allows, else gets buffers, else memory
 * from the heap; when the budget has no room for that either, the connection is not read on before buffers are to be
 * had (recv.c), unless it owes data.
 * An R2T goes out only when all buffers for the answer are held. Better than buffers is memory that the device lends:
 * what is received there needs no copy any more.
 */
#include "core/waits.h"
#include "nvmf/tcp/tcp.h"

#define TURN "its host to answer earlier R2Ts" /* the name of a wait */

static bool sgl_is_wrong(struct tcp_req *r);
static bool take_room(struct tcp_req *r);
static bool is_its_turn(const struct tcp_req *r);
static enum step get_room(struct tcp_req *r);
static void turns_go_on(struct tcp_conn *c);
static void room_came(struct wait *w);
static void give_room(struct tcp_req *r);
static void pin_or_give(struct tcp_req *r);

static enum step req_on_FREE(struct tcp_req *r);
static enum step req_on_NEW(struct tcp_req *r);
static enum step req_on_NEED_ROOM(struct tcp_req *r);
static enum step req_on_ASK(struct tcp_req *r);
static enum step req_on_RECEIVE(struct tcp_req *r);
static enum step req_on_EXECUTE(struct tcp_req *r);
static enum step req_on_SEND(struct tcp_req *r);

const struct machine_state tcp_req_states[] = { REQ_STATES(MACHINE_ROW) };

/* Where another trace point says the same in the same breath: REQ_START for what executes at once, REQ_DONE. */
static inline void req_enter(struct tcp_req *r, enum req_state state)
{
	must(tcp_req_states[r->state].next & 1ull << state);
	r->state = (uint8_t)state;
}

/* Out of line: nothing of it lies on the way of a command that does not stop. */
static __attribute__((noinline)) enum step req_goto(struct tcp_req *r, enum req_state state)
{
	req_enter(r, state);
	trace(REQ_STATE, r->index, state);
	return STEP_NEXT;
}

#define REQ_CASE(M, S, meaning, next) case M##_##S: step = req_on_##S(r); break;

void tcp_req_run(struct tcp_req *r)
{
	enum step step;

	do {
		switch ((enum req_state)r->state) {
		REQ_STATES(REQ_CASE)
		default: must(false); return;
		}
	} while (step == STEP_NEXT);
}

/* --- slots --- */

void tcp_req_slot_init(struct tcp_conn *c, uint32_t index)
{
	struct tcp_req *r = conn_req(c, index);

	memset(r, 0, sizeof(*r));
	r->index = (uint16_t)index;
	r->req.qpair = &c->qp;
}

/* The slot used last is the warm one; a slot never used costs no memory yet. */
struct tcp_req *tcp_req_take(struct tcp_conn *c)
{
	struct tcp_req *r;

	if (c->free) {
		r = container_of(c->free, struct tcp_req, link);
		c->free = r->link.next;
	} else {
		if (c->touched == c->slot_count)
			return NULL;
		if (c->touched >= TCP_FIRST_SLOTS && (c->touched - TCP_FIRST_SLOTS) % TCP_SLOTS_CHARGED == 0)
			tcp_conn_charge_slots(c);
		tcp_req_slot_init(c, c->touched);
		r = conn_req(c, c->touched++);
	}
	c->in_use++;
	r->asked = r->bad_digest = r->encoded = r->refused = false;
	r->received = 0;
	r->since_ns = reactor_now_ns();
	nvmf_req_came(&r->req, r->since_ns);
	req_enter(r, REQ_NEW);
	watch_arm(&c->home->watch);
	return r;
}

static enum step req_on_FREE(struct tcp_req *r)
{
	return STEP_DONE;
}

void tcp_req_end(struct tcp_req *r)
{
	struct tcp_conn *c = req_conn(r);

	assert(r->state != REQ_EXECUTE);
	nvmf_req_free(&r->req);
	give_room(r);
	r->state = REQ_FREE;
	r->link.next = c->free;
	c->free = &r->link;
	c->in_use--;
}

/* The connection ends: nothing it still had to receive or to send matters any more. */
void tcp_req_end_all(struct tcp_conn *c)
{
	queue_init(&c->out);
	c->head_sent = 0;
	queue_init(&c->turns);
	c->rx_req = c->span_req = NULL;
	c->owed = c->asked_bytes = 0;
	for (uint32_t i = 0; i < c->touched; i++) {
		struct tcp_req *r = conn_req(c, i);

		if (r->state == REQ_FREE || r->state == REQ_EXECUTE)
			continue;
		if (r->state == REQ_NEED_ROOM)
			tcp_req_wait_cancel(r);
		if (!carry_is_wanted(&c->move)) /* else it lives on, on another core */
			nvmf_stages_count(&r->req, r->state == REQ_SEND ? r->since_ns : reactor_now_ns(), true);
		tcp_req_end(r);
	}
}

void tcp_req_wait_cancel(struct tcp_req *r)
{
	assert(r->state == REQ_NEED_ROOM);
	nvmf_req_waited(&r->req, r->since_ns);
	if (r->waits == WAITS_TURN)
		wait_ended(TURN, r->since_ns);
	r->since_ns = reactor_now_ns();
	if (r->waits == WAITS_IOVS)
		waitq_remove(&req_conn(r)->home->iovs.wait, &r->wait);
	else if (r->waits == WAITS_BUFFERS)
		mem_wait_cancel(&r->wait);
}

/* --- the command --- */

static enum step req_on_NEW(struct tcp_req *r)
{
	struct nvmf_req *req = &r->req;

	trace(REQ_START, req_conn(r)->qp.qid, le16_get(req->cmd.cid));
	if (unlikely(!nvmf_req_parse(req)))
		return req_goto(r, REQ_SEND);
	if (req->data == NVMF_DATA_NONE || !req->data_len) {
		req->iovs = NULL;
		req->iov_count = req->iov_max = 0;
		req_enter(r, REQ_EXECUTE);
		return STEP_NEXT;
	}
	if (unlikely(sgl_is_wrong(r)))
		return req_goto(r, REQ_SEND);
	if (req->data == NVMF_DATA_TO_CTRLR && !r->asked)
		return req_goto(r, REQ_RECEIVE);
	if (r->asked && !is_its_turn(r)) {
		r->waits = WAITS_TURN;
		return req_goto(r, REQ_NEED_ROOM);
	}
	return get_room(r);
}

/* What the one descriptor offers, against what the command moves. Decides, for data to the controller, whether
 * it is in the capsule or has to be asked for. True: req->cpl says what is wrong. */
static bool sgl_is_wrong(struct tcp_req *r)
{
	const struct nvme_sgl *sgl = &r->req.cmd.sgl1;
	struct tcp_conn *c = req_conn(r);
	uint32_t len = le32_get(sgl->length), data_len = r->req.data_len, icd_max;

	if (data_len > min_u32(c->qp.transport->opts.max_io_size, MEM_IO_BYTES_MAX)) {
		nvmf_req_fail(&r->req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
		return true;
	}
	if (sgl->id == NVME_SGL_ID(NVME_SGL_TRANSPORT_DATA_BLOCK, NVME_SGL_TRANSPORT)) {
		r->asked = r->req.data == NVMF_DATA_TO_CTRLR;
		if (len >= data_len)
			return false;
		nvmf_req_fail(&r->req, NVME_SC_SGL_INVALID_DATA | NVME_SC_DNR);
		return true;
	}
	if (sgl->id != NVME_SGL_ID(NVME_SGL_DATA_BLOCK, NVME_SGL_OFFSET) || r->req.data != NVMF_DATA_TO_CTRLR) {
		nvmf_req_fail(&r->req, NVME_SC_SGL_INVALID_TYPE | NVME_SC_DNR);
		return true;
	}
	if (le64_get(sgl->addr)) { /* there is no ICDOFF on this transport */
		nvmf_req_fail(&r->req, NVME_SC_SGL_INVALID_OFFSET | NVME_SC_DNR);
		return true;
	}
	icd_max = c->qp.qid && r->req.cmd.opc != NVME_ADMIN_FABRICS ? c->qp.transport->opts.in_capsule_data_size :
	                                                              c->rx.as.icd_bytes_max;
	if (len < data_len || len > icd_max || len > c->rx.data_len) {
		nvmf_req_fail(&r->req, NVME_SC_SGL_INVALID_DATA | NVME_SC_DNR);
		return true;
	}
	return false;
}

/* --- room --- */

static bool lends(const struct tcp_req *r)
{
	return r->req.may_lend &&
	       r->req.lend_iovs_max <= tcp_of(r->req.qpair->transport)->iovs_per_array;
}

/* Room to describe what is lent. */
static bool take_iovs(struct tcp_req *r)
{
	struct nvmf_req *req = &r->req;
	struct tcp_home *h = req_conn(r)->home;

	req->iov_count = 0;
	if (req->lend_iovs_max <= TCP_NEAR_IOVS) {
		req->iovs = r->near;
		req->iov_max = TCP_NEAR_IOVS;
		return true;
	}
	r->held = gather_iovs_take(&h->iovs);
	if (!r->held)
		return false;
	r->hold = HOLD_IOVS;
	req->iovs = r->held;
	req->iov_max = (uint16_t)h->tr->iovs_per_array;
	return true;
}

/* Memory of the device's own for a write. */
static bool take_lent(struct tcp_req *r)
{
	if (!take_iovs(r))
		return false;
	if (!nvmf_req_lend(&r->req)) {
		give_room(r);
		return false;
	}
	if (r->hold == HOLD_NOTHING)
		r->hold = HOLD_NEAR;
	tcp_count(req_conn(r)->home, lent_writes, 1);
	return true;
}

static bool take_room(struct tcp_req *r)
{
	struct nvmf_req *req = &r->req;

	if (lends(r) && req->data == NVMF_DATA_TO_HOST)
		return take_iovs(r);
	if (lends(r) && take_lent(r))
		return true;
	if (!mem_take(&r->bufs, req->data_len))
		return false;
	r->hold = HOLD_BUFS;
	req->iovs = mem_iov(&r->bufs);
	req->iov_count = (uint16_t)r->bufs.count;
	req->iov_max = 0;
	return true;
}

/* A connection's buffers that wait for its host are limited; one command always has its turn. */
static bool is_its_turn(const struct tcp_req *r)
{
	const struct tcp_conn *c = container_of(r->req.qpair, struct tcp_conn, qp);

	return queue_empty(&c->turns) && (!c->asked_bytes || c->asked_bytes + r->req.data_len <= TCP_ASKED_BYTES_MAX);
}

/* It is the request's turn: have room, or wait for it. */
static enum step get_room(struct tcp_req *r)
{
	if (r->asked)
		req_conn(r)->asked_bytes += r->req.data_len;
	if (likely(take_room(r))) {
		if (r->asked || r->state != REQ_NEW)
			return req_goto(r, r->asked ? REQ_ASK : REQ_EXECUTE);
		req_enter(r, REQ_EXECUTE);
		return STEP_NEXT;
	}
	r->waits = lends(r) && r->req.data == NVMF_DATA_TO_HOST ? WAITS_IOVS : WAITS_BUFFERS;
	if (r->state != REQ_NEED_ROOM)
		return req_goto(r, REQ_NEED_ROOM);
	return req_on_NEED_ROOM(r);
}

static enum step req_on_NEED_ROOM(struct tcp_req *r)
{
	struct tcp_conn *c = req_conn(r);

	tcp_count(c->home, room_waits, 1);
	if (r->waits == WAITS_TURN) {
		wait_began(TURN);
		queue_push(&c->turns, &r->link);
		return STEP_WAIT;
	}
	r->wait = (struct wait){ 0 }; /* `near` and `bufs` lay here */
	if (r->waits == WAITS_IOVS)
		waitq_add(&c->home->iovs.wait, &r->wait, 1, room_came);
	else
		mem_wait(&r->wait, r->req.data_len, room_came);
	return STEP_WAIT;
}

/* `w` is no longer waiting; what is taken overwrites it. */
static void room_came(struct wait *w)
{
	struct tcp_req *r = container_of(w, struct tcp_req, wait);

	if (!take_room(r)) {
		req_on_NEED_ROOM(r);
		return;
	}
	nvmf_req_waited(&r->req, r->since_ns);
	r->since_ns = reactor_now_ns();
	req_goto(r, r->asked ? REQ_ASK : REQ_EXECUTE);
	tcp_req_run(r);
}

/* Data that was asked for has come: who waited for it may ask now. */
static void turns_go_on(struct tcp_conn *c)
{
	while (!queue_empty(&c->turns)) {
		struct tcp_req *r = container_of(c->turns.first, struct tcp_req, link);

		if (c->asked_bytes && c->asked_bytes + r->req.data_len > TCP_ASKED_BYTES_MAX)
			return;
		queue_pop(&c->turns);
		wait_ended(TURN, r->since_ns);
		nvmf_req_waited(&r->req, r->since_ns);
		r->since_ns = reactor_now_ns();
		if (get_room(r) == STEP_NEXT)
			tcp_req_run(r);
	}
}

static void give_room(struct tcp_req *r)
{
	struct tcp_home *h = req_conn(r)->home;

	switch ((enum req_hold)r->hold) {
	case HOLD_NOTHING:
		return;
	case HOLD_NEAR:
		break;
	case HOLD_BUFS:
		mem_give(&r->bufs);
		break;
	case HOLD_IOVS:
		gather_iovs_give(&h->iovs, r->held);
		break;
	case HOLD_HEAP:
		if (r->charged)
			mem_uncharge(h->tr->core, r->near[0].iov_len);
		free(r->near[0].iov_base);
		break;
	case HOLD_RX:
		gather_unpin(&h->rxs, r->held);
		break;
	}
	r->hold = HOLD_NOTHING;
}

bool tcp_req_hold_capsule(struct tcp_req *r)
{
	struct nvmf_req *req = &r->req;

	if (take_room(r))
		return true;
	r->near[0] = (struct iovec){ malloc(req->data_len), req->data_len };
	must(r->near[0].iov_base);
	r->hold = HOLD_HEAP;
	req->iovs = r->near;
	req->iov_count = 1;
	req->iov_max = 0;
	tcp_count(req_conn(r)->home, capsules_on_heap, 1);
	r->charged = mem_charge(req_conn(r)->home->tr->core, req->data_len);
	return r->charged;
}

void tcp_req_use_span(struct tcp_req *r, const struct iovec *span)
{
	give_room(r);
	r->near[0] = *span;
	r->req.iovs = r->near;
	r->req.iov_count = 1;
	r->req.iov_max = 0;
	tcp_count(req_conn(r)->home, in_place_writes, 1);
}

/* --- data from the host --- */

static enum step req_on_ASK(struct tcp_req *r)
{
	struct tcp_conn *c = req_conn(r);

	queue_push(&c->out, &r->link);
	tcp_send_soon(c);
	return STEP_WAIT;
}

static enum step req_on_RECEIVE(struct tcp_req *r)
{
	return STEP_WAIT; /* recv.c */
}

void tcp_req_received(struct tcp_req *r)
{
	struct tcp_conn *c = req_conn(r);

	assert(r->state == REQ_RECEIVE && r->received == r->req.data_len);
	if (r->asked) {
		c->owed--;
		c->asked_bytes -= r->req.data_len;
		if (unlikely(!queue_empty(&c->turns)))
			turns_go_on(c);
		if (unlikely(c->throttled))
			tcp_conn_update_reading(c);
	}
	r->since_ns = reactor_now_ns();
	if (unlikely(r->bad_digest)) {
		tcp_count(c->home, data_digest_errors, 1);
		nvmf_req_fail(&r->req, NVME_SC_TRAN_TPORT_ERROR);
		req_goto(r, REQ_SEND);
	} else if (unlikely(r->refused)) {
		req_goto(r, REQ_SEND);
	} else {
		req_goto(r, REQ_EXECUTE);
	}
	tcp_req_run(r);
}

/* --- aborted before it was executed --- */

static void turns_take_off(struct tcp_conn *c, struct tcp_req *r)
{
	struct queue_link *l = queue_take_all(&c->turns), *next;

	for (; l; l = next) {
		next = l->next;
		if (l != &r->link)
			queue_push(&c->turns, l);
	}
}

static void abort_waiting(struct tcp_conn *c, struct tcp_req *r)
{
	tcp_req_wait_cancel(r);
	if (r->waits == WAITS_TURN)
		turns_take_off(c, r);
	else if (r->asked)
		c->asked_bytes -= r->req.data_len;
	nvmf_req_fail(&r->req, NVME_SC_ABORT_REQ);
	req_goto(r, REQ_SEND);
	tcp_req_run(r);
	turns_go_on(c);
}

/* Data that was asked for is taken in before the answer goes out. */
bool tcp_req_abort(struct nvmf_qpair *qp, uint16_t cid)
{
	struct tcp_conn *c = conn_of(qp);

	for (uint32_t i = 0; conn_is_live(c) && i < c->touched; i++) {
		struct tcp_req *r = conn_req(c, i);

		if ((r->state != REQ_NEED_ROOM && r->state != REQ_ASK && r->state != REQ_RECEIVE) ||
		    le16_get(r->req.cmd.cid) != cid)
			continue;
		if (r->state == REQ_NEED_ROOM) {
			abort_waiting(c, r);
		} else if (!r->refused) {
			r->refused = true;
			nvmf_req_fail(&r->req, NVME_SC_ABORT_REQ);
		}
		return true;
	}
	return false;
}

/* --- the target --- */

static enum step req_on_EXECUTE(struct tcp_req *r)
{
	struct tcp_conn *c = req_conn(r);

	c->executing++;
	nvmf_req_execute(&r->req);
	if (r->req.data == NVMF_DATA_TO_CTRLR)
		pin_or_give(r);
	return STEP_WAIT;
}

/* Consumed data is not needed any more; what lies in the receive buffer and is needed keeps that buffer. */
static void pin_or_give(struct tcp_req *r)
{
	struct tcp_home *h = req_conn(r)->home;

	if (r->req.consumed) {
		give_room(r);
	} else if (req_conn(r)->span_req == r) {
		r->hold = HOLD_RX;
		r->held = gather_pin(&h->rxs);
	}
}

void tcp_req_done(struct nvmf_req *req)
{
	struct tcp_req *r = req_of(req);
	struct tcp_conn *c = req_conn(r);

	must(r->state == REQ_EXECUTE);
	c->executing--;
	r->since_ns = reactor_now_ns();
	trace(REQ_DONE, c->qp.qid, nvme_cqe_status(&req->cpl));
	req_enter(r, REQ_SEND);
	if (unlikely(!conn_is_live(c))) {
		nvmf_stages_count(&r->req, r->since_ns, true);
		tcp_req_end(r);
		return;
	}
	if (req->data == NVMF_DATA_TO_CTRLR && likely(!req->lent)) /* else nvmf_req_free() still goes by the iovecs */
		give_room(r);
	tcp_req_run(r);
	if (carry_is_wanted(&c->move)) {
		tcp_conn_update_reading(c);
		carry_look_soon(&c->move);
	}
}

/* --- the answer --- */

static enum step req_on_SEND(struct tcp_req *r)
{
	struct tcp_conn *c = req_conn(r);

	queue_push(&c->out, &r->link);
	tcp_send_soon(c);
	return STEP_WAIT;
}

void tcp_req_sent(struct tcp_req *r, uint64_t now_ns)
{
	struct tcp_conn *c = req_conn(r);

	if (r->state == REQ_SEND) {
		nvmf_stages_sent(&r->req, r->since_ns, now_ns);
		tcp_req_end(r);
		return;
	}
	r->since_ns = now_ns;
	tcp_count(c->home, r2ts, 1);
	req_goto(r, REQ_RECEIVE);
	c->owed++;
	tcp_conn_owes_data(c);
}
