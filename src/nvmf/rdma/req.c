/* SPDX-License-Identifier: BSD-3-Clause */
/* req.c: a command's life, from its slot to its answer.
 *
 * Data to the controller came with the capsule, or is READ, for which there have to be its connection's turn, buffers,
 * READs and work requests, in that order: who holds buffers waits for nothing but the adapter and the device. No
 * connection can hold all: what its host has yet to send, or to take, is limited. Data to the host is
 * written from buffers by the same chain that sends the answer.
 *
 * A device's own memory is not asked for: what a RAM disk would lend is registered with no adapter, and copying to
 * buffers is what it does itself then. Buffers are registered, and other devices fill them without a copy. Who lends
 * the zeroes that all have, and that are registered, does: a read of those takes no buffers, and waits for none.
 */
#include "core/waits.h"
#include "nvmf/rdma/rdma.h"

static bool keep_list(struct rdma_req *r);
static void capsule_is_read(struct rdma_req *r);
static enum step fail(struct rdma_req *r, uint16_t status);
static enum step get_room(struct rdma_req *r);
static bool take_lot(struct rdma_req *r);
static void give_lot(struct rdma_req *r);
static void turn_came(struct wait *w);
static void room_came(struct wait *w);
static void have_room(struct rdma_req *r);
static uint32_t wrs_for(const struct rdma_req *r, uint32_t from, uint32_t len);
static bool take_reads(struct rdma_req *r);
static void reads_came(struct wait *w);
static bool take_send(struct rdma_req *r);
static void send_came(struct wait *w);
static void give_room(struct rdma_req *r);
static void give_credits(struct rdma_req *r);
static void wait_in(struct rdma_req *r, struct waitq *q, uint32_t need, wait_fn *fn);
static void wait_is_over(struct rdma_req *r);
static void end(struct rdma_req *r);
static void cancel_wait(struct rdma_req *r);

static enum step req_on_FREE(struct rdma_req *r);
static enum step req_on_NEW(struct rdma_req *r);
static enum step req_on_NEED_TURN(struct rdma_req *r);
static enum step req_on_NEED_ROOM(struct rdma_req *r);
static enum step req_on_NEED_READS(struct rdma_req *r);
static enum step req_on_READ(struct rdma_req *r);
static enum step req_on_EXECUTE(struct rdma_req *r);
static enum step req_on_NEED_SEND(struct rdma_req *r);
static enum step req_on_SEND(struct rdma_req *r);
static enum step req_on_DEAD(struct rdma_req *r);

const struct machine_state rdma_req_states[] = { REQ_STATES(MACHINE_ROW) };

/* Where another trace point says the same in the same breath: RDMA_START for what executes at once, RDMA_DONE. */
static inline void req_enter(struct rdma_req *r, enum req_state state)
{
	must(rdma_req_states[r->state].next & 1ull << state);
	r->state = (uint8_t)state;
}

/* Out of line: nothing of it lies on the way of a command that does not stop. */
static __attribute__((noinline)) enum step req_goto(struct rdma_req *r, enum req_state state)
{
	req_enter(r, state);
	trace(RDMA_REQ_STATE, r->index, state);
	return STEP_NEXT;
}

#define REQ_CASE(M, S, meaning, next) case M##_##S: step = req_on_##S(r); break;

void rdma_req_run(struct rdma_req *r)
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

/* The slot used last is the warm one; a slot never used costs no memory yet. */
struct rdma_req *rdma_req_take(struct rdma_conn *c)
{
	struct rdma_req *r;

	if (c->free) {
		r = container_of(c->free, struct rdma_req, link);
		c->free = r->link.next;
	} else {
		if (c->touched == c->slot_count)
			return NULL;
		r = &c->slots[c->touched];
		memset(r, 0, sizeof(*r));
		r->work.kind = RDMA_WORK_REQ;
		r->index = (uint16_t)c->touched++;
		r->req.qpair = &c->qp;
	}
	c->in_use++;
	r->asked = false;
	r->moved = r->moving = 0;
	r->sgl = (struct rdma_sgl){ 0 };
	r->since_ns = reactor_now_ns();
	nvmf_req_came(&r->req, r->since_ns);
	req_enter(r, REQ_NEW);
	watch_arm(&c->home->watch);
	return r;
}

static enum step req_on_FREE(struct rdma_req *r)
{
	return STEP_DONE;
}

/* --- the command --- */

static enum step req_on_NEW(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);
	struct nvmf_req *req = &r->req;
	uint16_t status;

	trace(RDMA_START, c->qp.qid, le16_get(req->cmd.cid));
	if (unlikely(!nvmf_req_parse(req))) {
		capsule_is_read(r);
		return req_goto(r, REQ_NEED_SEND);
	}
	if (req->data == NVMF_DATA_NONE || !req->data_len) {
		capsule_is_read(r);
		req->iovs = NULL;
		req->iov_count = req->iov_max = 0;
		req_enter(r, REQ_EXECUTE);
		return STEP_NEXT;
	}
	if (unlikely(req->data_len > min_u32(c->qp.transport->opts.max_io_size, MEM_IO_BYTES_MAX)))
		return fail(r, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	status = rdma_sgl_parse(req, r->capsule->data, r->capsule->came, &r->sgl);
	if (unlikely(status))
		return fail(r, status);
	if (r->sgl.in_capsule) {
		r->one = (struct iovec){ r->capsule->data + r->sgl.at, req->data_len };
		req->iovs = &r->one;
		req->iov_count = 1;
		req->iov_max = 0;
		rdma_count(c->home, in_capsule, 1);
		req_enter(r, REQ_EXECUTE);
		return STEP_NEXT;
	}
	if (r->sgl.listed)
		rdma_count(c->home, listed, 1);
	if (!r->sgl.listed || keep_list(r))
		capsule_is_read(r);
	if (req->may_lend && req->lends_zeroes && req->lend_iovs_max == 1 && req->data == NVMF_DATA_TO_HOST) {
		req->iovs = &r->one;
		req->iov_count = 0;
		req->iov_max = 1;
		req_enter(r, REQ_EXECUTE);
		return STEP_NEXT;
	}
	r->asked = req->data == NVMF_DATA_TO_CTRLR;
	return take_lot(r) ? get_room(r) : req_goto(r, REQ_NEED_TURN);
}

/* Receives that all share are not for waiting in: a host that is slow to take its data would have those of others.
 * Room for lists is made with a connection's first. False: the list stays where it is. */
static bool keep_list(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	if (r->capsule->conn)
		return false;
	if (!c->lists) {
		if (!mem_charge(c->home->tr->core, c->slot_count * sizeof(*c->lists)))
			return false;
		c->lists = malloc(c->slot_count * sizeof(*c->lists));
		must(c->lists);
	}
	memcpy(c->lists[r->index], r->sgl.descs, r->sgl.count * sizeof(*r->sgl.descs));
	r->sgl.descs = c->lists[r->index];
	return true;
}

/* All that is needed of it was taken out: it goes back before the command is long with anybody. */
static void capsule_is_read(struct rdma_req *r)
{
	if (r->capsule)
		rdma_capsule_done(req_conn(r)->home, r->capsule);
	r->capsule = NULL;
}

static enum step fail(struct rdma_req *r, uint16_t status)
{
	capsule_is_read(r);
	r->sgl = (struct rdma_sgl){ 0 };
	nvmf_req_fail(&r->req, status);
	return req_goto(r, REQ_NEED_SEND);
}

/* --- room --- */

/* A connection's buffers that wait for its host are limited; one command always has its turn. */
static inline bool lot_has(const struct rdma_lot *l, uint32_t need)
{
	return !l->bytes || l->bytes + need <= l->max;
}

bool rdma_lot_ready(struct waitq *q, uint32_t need)
{
	return lot_has(container_of(q, struct rdma_lot, line), need);
}

static bool take_lot(struct rdma_req *r)
{
	struct rdma_lot *l = r->asked ? &req_conn(r)->asked : &req_conn(r)->shown;

	if (unlikely(!list_empty(&l->line.waiters) || !lot_has(l, r->req.data_len)))
		return false;
	r->lot = l;
	l->bytes += r->req.data_len;
	return true;
}

static void give_lot(struct rdma_req *r)
{
	struct rdma_lot *l = r->lot;

	if (!l)
		return;
	r->lot = NULL;
	l->bytes -= r->req.data_len;
	if (unlikely(!list_empty(&l->line.waiters)))
		waitq_wake(&l->line);
}

static enum step req_on_NEED_TURN(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	rdma_count(c->home, pending_turn, 1);
	wait_in(r, r->asked ? &c->asked.line : &c->shown.line, r->req.data_len, turn_came);
	return STEP_WAIT;
}

static void turn_came(struct wait *w)
{
	struct rdma_req *r = container_of(w, struct rdma_req, wait);

	wait_is_over(r);
	r->lot = r->asked ? &req_conn(r)->asked : &req_conn(r)->shown;
	r->lot->bytes += r->req.data_len;
	if (get_room(r) == STEP_NEXT)
		rdma_req_run(r);
}

static enum step get_room(struct rdma_req *r)
{
	if (unlikely(!mem_take(&r->bufs, r->req.data_len)))
		return req_goto(r, REQ_NEED_ROOM);
	have_room(r);
	if (r->asked)
		return req_goto(r, REQ_NEED_READS);
	req_enter(r, REQ_EXECUTE);
	return STEP_NEXT;
}

static void have_room(struct rdma_req *r)
{
	struct nvmf_req *req = &r->req;

	req->iovs = mem_iov(&r->bufs);
	req->iov_count = (uint16_t)r->bufs.count;
	req->iov_max = 0;
}

static enum step req_on_NEED_ROOM(struct rdma_req *r)
{
	rdma_count(req_conn(r)->home, pending_data_buffer, 1);
	mem_wait(&r->wait, r->req.data_len, room_came);
	return STEP_WAIT;
}

static void room_came(struct wait *w)
{
	struct rdma_req *r = container_of(w, struct rdma_req, wait);

	if (!mem_take(&r->bufs, r->req.data_len)) {
		req_on_NEED_ROOM(r);
		return;
	}
	have_room(r);
	nvmf_req_waited(&r->req, r->since_ns);
	r->since_ns = reactor_now_ns();
	req_goto(r, r->asked ? REQ_NEED_READS : REQ_EXECUTE);
	rdma_req_run(r);
}

static void give_room(struct rdma_req *r)
{
	mem_give(&r->bufs);
	give_lot(r);
	capsule_is_read(r);
}

/* --- data from the host: as many READs at a time as there may be --- */

/* Answers go first: they give back more than READs do, which only lead to more of them. */
bool rdma_readers_ready(struct waitq *q, uint32_t need)
{
	const struct rdma_conn *c = container_of(q, struct rdma_conn, readers);

	return c->reads_free && c->credits && list_empty(&c->senders.waiters);
}

static enum step req_on_NEED_READS(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	if (likely(list_empty(&c->readers.waiters) && take_reads(r)))
		return req_goto(r, REQ_READ);
	rdma_count(c->home, pending_rdma_read, 1);
	wait_in(r, &c->readers, 1, reads_came);
	return STEP_WAIT;
}

static bool take_reads(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);
	uint32_t wanted;

	if (!rdma_readers_ready(&c->readers, 1))
		return false;
	wanted = wrs_for(r, r->moved, r->req.data_len - r->moved);
	r->reads = (uint16_t)min_u32(wanted, min_u32(c->reads_free, c->credits));
	r->wrs = r->reads;
	if (r->reads < wanted && !r->moved)
		rdma_count(c->home, split_reads, 1);
	c->reads_free -= r->reads;
	c->credits -= r->wrs;
	return true;
}

static void reads_came(struct wait *w)
{
	struct rdma_req *r = container_of(w, struct rdma_req, wait);

	wait_is_over(r);
	must(take_reads(r)); /* ready() said so just now */
	req_goto(r, REQ_READ);
	rdma_req_run(r);
	waitq_wake(&req_conn(r)->readers);
}

static enum step req_on_READ(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	r->since_ns = reactor_now_ns();
	queue_push(&c->out, &r->link);
	rdma_post_soon(c);
	return STEP_WAIT;
}

static void was_read(struct rdma_req *r)
{
	give_credits(r);
	r->since_ns = reactor_now_ns();
	r->moved += r->moving;
	r->moving = 0;
	if (r->moved < r->req.data_len) {
		req_goto(r, REQ_NEED_READS);
	} else {
		give_lot(r);
		req_goto(r, REQ_EXECUTE);
	}
	rdma_req_run(r);
}

/* What the adapter is moving data of is too late. */
bool rdma_req_abort(struct nvmf_qpair *qp, uint16_t cid)
{
	struct rdma_conn *c = conn_of(qp);

	for (uint32_t i = 0; conn_is_live(c) && i < c->touched; i++) {
		struct rdma_req *r = &c->slots[i];

		if (le16_get(r->req.cmd.cid) != cid ||
		    (r->state != REQ_NEED_TURN && r->state != REQ_NEED_ROOM && r->state != REQ_NEED_READS))
			continue;
		cancel_wait(r);
		give_room(r);
		fail(r, NVME_SC_ABORT_REQ);
		rdma_req_run(r);
		return true;
	}
	return false;
}

/* --- the target --- */

static enum step req_on_EXECUTE(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	if (r->asked)
		capsule_is_read(r); /* its list of descriptors was */
	c->executing++;
	nvmf_req_execute(&r->req);
	if (r->req.data == NVMF_DATA_TO_CTRLR && r->req.consumed)
		give_room(r);
	return STEP_WAIT;
}

void rdma_req_done(struct nvmf_req *req)
{
	struct rdma_req *r = req_of(req);
	struct rdma_conn *c = req_conn(r);

	must(r->state == REQ_EXECUTE);
	c->executing--;
	r->since_ns = reactor_now_ns();
	trace(RDMA_DONE, c->qp.qid, nvme_cqe_status(&req->cpl));
	if (unlikely(!conn_is_live(c))) {
		nvmf_stages_count(&r->req, r->since_ns, true);
		end(r);
		return;
	}
	if (req->data == NVMF_DATA_TO_CTRLR)
		give_room(r);
	req_enter(r, REQ_NEED_SEND);
	rdma_req_run(r);
}

/* --- the answer --- */

/* Data goes with success only. */
uint32_t rdma_req_data_to_send(const struct rdma_req *r)
{
	if (r->req.data != NVMF_DATA_TO_HOST || (nvme_cqe_status(&r->req.cpl) & NVME_SC_CODE))
		return 0;
	return r->req.sent_len;
}

bool rdma_senders_ready(struct waitq *q, uint32_t need)
{
	return container_of(q, struct rdma_conn, senders)->credits >= need;
}

/* Work requests for `len` bytes from `from` on: nearly always one. */
static uint32_t wrs_for(const struct rdma_req *r, uint32_t from, uint32_t len)
{
	uint32_t sges_max = container_of(r->req.qpair, struct rdma_conn, qp)->sges_max;
	struct rdma_cursor at;

	if (likely(r->sgl.count == 1 && r->req.iov_count <= sges_max))
		return 1;
	at = rdma_cursor_over(&r->sgl, r->req.iovs, r->req.iov_count);
	rdma_cursor_skip(&at, from);
	return rdma_cursor_count(at, len, sges_max);
}

static enum step req_on_NEED_SEND(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);
	uint32_t len = rdma_req_data_to_send(r);

	r->wrs = (uint16_t)(1 + (len ? wrs_for(r, 0, len) : 0));
	if (likely(list_empty(&c->senders.waiters) && take_send(r))) {
		req_enter(r, REQ_SEND);
		return STEP_NEXT;
	}
	if (len)
		rdma_count(c->home, pending_rdma_write, 1);
	else
		rdma_count(c->home, pending_rdma_send, 1);
	wait_in(r, &c->senders, r->wrs, send_came);
	return STEP_WAIT;
}

static bool take_send(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	if (c->credits < r->wrs)
		return false;
	c->credits -= r->wrs;
	return true;
}

static void send_came(struct wait *w)
{
	struct rdma_req *r = container_of(w, struct rdma_req, wait);
	struct rdma_conn *c = req_conn(r);

	wait_is_over(r);
	must(take_send(r));
	req_goto(r, REQ_SEND);
	rdma_req_run(r);
	if (list_empty(&c->senders.waiters))
		waitq_wake(&c->readers);
}

static enum step req_on_SEND(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	queue_push(&c->out, &r->link);
	rdma_post_soon(c);
	return STEP_WAIT;
}

static void was_sent(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);
	uint64_t now_ns = reactor_now_ns();

	give_credits(r);
	rdma_count(c->home, request_latency, now_ns > r->req.came_ns ? now_ns - r->req.came_ns : 0);
	nvmf_stages_sent(&r->req, r->since_ns, now_ns);
	end(r);
	rdma_conn_sent(c);
}

/* Answers posted before it went without a word. Each may end the connection, which leaves none. */
void rdma_req_completed(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);
	uint32_t number = r->number;

	if (r->state == REQ_READ)
		was_read(r);
	else
		must(r->state == REQ_SEND);
	while (!queue_empty(&c->posted)) {
		r = container_of(c->posted.first, struct rdma_req, link);
		if ((int32_t)(r->number - number) > 0)
			break;
		queue_pop(&c->posted);
		was_sent(r);
	}
}

/* --- credits and waits --- */

static void give_credits(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	c->credits += r->wrs;
	c->reads_free += r->reads;
	assert(c->credits <= c->send_max && c->reads_free <= c->read_depth);
	r->wrs = r->reads = 0;
	if (unlikely(!list_empty(&c->senders.waiters)))
		waitq_wake(&c->senders);
	if (unlikely(!list_empty(&c->readers.waiters)))
		waitq_wake(&c->readers);
}

static void wait_in(struct rdma_req *r, struct waitq *q, uint32_t need, wait_fn *fn)
{
	waitq_add(q, &r->wait, need, fn);
	rdma_home_waits(req_conn(r)->home);
}

/* `wait` has left its line. What waits to be sent is in its last stage, which began when the target was done. */
static void wait_is_over(struct rdma_req *r)
{
	req_conn(r)->home->waiting--;
	if (r->state == REQ_NEED_SEND)
		return;
	nvmf_req_waited(&r->req, r->since_ns);
	r->since_ns = reactor_now_ns();
}

static void cancel_wait(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	switch ((enum req_state)r->state) {
	case REQ_NEED_ROOM:
		mem_wait_cancel(&r->wait);
		nvmf_req_waited(&r->req, r->since_ns);
		return;
	case REQ_NEED_TURN:
		waitq_remove(r->asked ? &c->asked.line : &c->shown.line, &r->wait);
		break;
	case REQ_NEED_READS:
		waitq_remove(&c->readers, &r->wait);
		break;
	case REQ_NEED_SEND:
		waitq_remove(&c->senders, &r->wait);
		break;
	default:
		return;
	}
	wait_is_over(r);
}

/* --- ends --- */

static void end(struct rdma_req *r)
{
	struct rdma_conn *c = req_conn(r);

	if (r->state != REQ_DEAD)
		nvmf_req_free(&r->req);
	give_room(r);
	r->state = REQ_FREE;
	r->link.next = c->free;
	c->free = &r->link;
	c->in_use--;
	rdma_conn_slot_free(c);
}

/* The connection ends: nothing it still had to read or to send matters any more. What the adapter may still touch is
 * kept until it cannot. */
void rdma_req_end_all(struct rdma_conn *c)
{
	queue_init(&c->out);
	queue_init(&c->posted);
	for (uint32_t i = 0; i < c->touched; i++) {
		struct rdma_req *r = &c->slots[i];
		bool with_adapter = r->state == REQ_READ || r->state == REQ_SEND;

		if (r->state == REQ_FREE || r->state == REQ_EXECUTE)
			continue;
		cancel_wait(r);
		nvmf_stages_count(&r->req, r->state >= REQ_NEED_SEND ? r->since_ns : reactor_now_ns(), true);
		if (!with_adapter) {
			end(r);
			continue;
		}
		nvmf_req_free(&r->req);
		req_goto(r, REQ_DEAD);
		r->since_ns = reactor_now_ns();
	}
	c->sending = 0;
}

void rdma_req_end_dead(struct rdma_conn *c)
{
	for (uint32_t i = 0; i < c->touched; i++)
		if (c->slots[i].state == REQ_DEAD)
			end(&c->slots[i]);
}

static enum step req_on_DEAD(struct rdma_req *r)
{
	return STEP_WAIT;
}
