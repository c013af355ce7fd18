/* SPDX-License-Identifier: BSD-3-Clause */
/* qpair.c: a queue pair's life, and a command's way through it: parse, execute, complete, free.
 *
 * An answer that is ready at once waits in the core's queue until the end of the pass's deferred calls, so that the
 * transport never hears of it from within its own call; an answer that comes from a device goes to the transport at
 * once.
 */
#include "core/freeze.h"
#include "nvmf/target.h"

static void done_run(struct defer *d);
static void closed_run(struct defer *d);

void nvmf_qpair_init(struct nvmf_qpair *qp, struct nvmf_transport *tr)
{
	uint32_t len_max = tr->opts.max_io_size;

	memset(qp, 0, sizeof(*qp));
	qp->transport = tr;
	qp->target = tr->target;
	qp->reactor = reactor_self();
	qp->nc = nvmf_core_here(tr->target);
	qp->data_len_max = 1u << (31 - __builtin_clz(max_u32(len_max, MEM_SMALL_BYTES)));
	qp->last_seen = &qp->last_seen_unconnected;
	qp->masked = tr->opts.masked_oncs != 0;
	list_init(&qp->executing);
	list_add_tail(&qp->nc->qpairs, &qp->link);
	qp->counted = true;
	qp->id = nvmf_place_id(qp->nc);
}

/* --- parse: which handler, which data -------------------------------------------------------------- */

bool nvmf_req_refuse(struct nvmf_req *req, uint16_t status)
{
	nvme_cqe_set_status(&req->cpl, status);
	if (req->qpair->served) /* a stranger's mistakes do not push the host's own out of its controller's log */
		nvmf_error_add(req);
	req->qpair->wrong_req = NULL;
	return false;
}

bool nvmf_req_moves(struct nvmf_req *req, enum nvmf_data data, uint32_t len)
{
	req->data = len ? data : NVMF_DATA_NONE;
	req->data_len = len;
	return true;
}

static const struct nvmf_handler *find_handler(struct nvmf_req *req)
{
	uint8_t opc = req->cmd.opc;

	if (opc == NVME_ADMIN_FABRICS)
		return nvmf_fabrics_handler(req->cmd.fctype);
	if (!req->qpair->qid)
		return nvmf_admin_handler(opc);
	if (unlikely(req->qpair->masked) && nvmf_io_masked(&req->qpair->transport->opts, opc))
		return NULL;
	return nvmf_io_handler(opc);
}

static bool parse_slow_checks(struct nvmf_req *req, const struct nvmf_handler *h)
{
	const struct nvmf_qpair *qp = req->qpair;
	bool fabrics = req->cmd.opc == NVME_ADMIN_FABRICS;

	if (!qp->connected)
		return fabrics && req->cmd.fctype == NVME_FABRICS_CONNECT
		       ? h->parse(req) : nvmf_req_refuse(req, NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	if (!qp->served && (!fabrics || (req->cmd.fctype != NVME_FABRICS_AUTH_SEND &&
	                                 req->cmd.fctype != NVME_FABRICS_AUTH_RECEIVE)))
		return nvmf_req_refuse(req, NVME_SC_AUTH_REQUIRED | NVME_SC_DNR);
	if (qp->fused_state && nvme_flags_fuse(req->cmd.flags) != 2)
		nvmf_fused_missing(req->qpair);
	if (!h || (qp->ctrlr->discovery && !(h->flags & NVMF_ON_DISCOVERY)))
		return nvmf_req_refuse(req, NVME_SC_INVALID_OPCODE | NVME_SC_DNR);
	if (!(h->flags & NVMF_ALWAYS) && !atomic_load_explicit(&qp->ctrlr->ready, memory_order_relaxed))
		/* An I/O queue joined while it was ready: now it is about to go, and its commands may take another way. */
		return nvmf_req_refuse(req, qp->qid ? NVME_SC_ABORT_QUEUE : NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR);
	if (nvme_flags_psdt(req->cmd.flags) != 1 && !fabrics)
		return nvmf_req_refuse(req, NVME_SC_INVALID_FIELD | NVME_SC_DNR);
	return nvme_flags_fuse(req->cmd.flags) ? nvmf_fused_parse(req) : h->parse(req);
}

bool nvmf_req_parse(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;
	const struct nvmf_handler *h;

	req->cpl = (struct nvme_cqe){ 0 };
	req->data = NVMF_DATA_NONE;
	req->may_lend = req->may_consume = req->parks = false;
	req->lent = req->consumed = req->executing = req->finishing = req->preempted = req->awaited = false;
	req->data_len = req->sent_len = 0;
	req->lend_iovs_max = 0;
	req->iov_count = req->iov_max = 0;
	req->ns = NULL;
	req->fused = NULL;
	req->fused_status = 0;
	req->handler = h = find_handler(req);
	if (likely(qp->served && h && req->cmd.flags == 1 << 6 && !qp->fused_state && !qp->ctrlr->discovery &&
	           atomic_load_explicit(&qp->ctrlr->ready, memory_order_relaxed)))
		return h->parse(req);
	return parse_slow_checks(req, h);
}

/* --- execute ---------------------------------------------------------------------------------------------- */

void nvmf_req_execute(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;

	assert(!req->executing);
	req->executing = true;
	list_add_tail(&qp->executing, &req->link);
	qp->executing_count++;
	req->io.began_ns = reactor_now_ns();
	req->io.waited = 0;
	req->began = (uint32_t)min_u64((req->io.began_ns - req->came_ns) >> 10, NVMF_NOT_BEGUN - 1);
	if (!req->parks)
		watch_arm(&qp->nc->watch);
	if (unlikely(qp->closing))
		nvmf_req_complete(req, NVME_SC_ABORT_QUEUE);
	else if (unlikely(nvme_flags_fuse(req->cmd.flags)))
		nvmf_fused_run(req);
	else
		req->handler->run(req);
}

/* --- complete ----------------------------------------------------------------------------------------------- */

void nvmf_req_complete(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_core *nc = req->qpair->nc;

	assert(req->executing && !req->finishing);
	req->finishing = true;
	nvme_cqe_set_status(&req->cpl, status);
	if (status && req->qpair->served && !req->qpair->closing)
		nvmf_error_add(req);
	queue_push(&nc->done, &req->done_link);
	defer_run(&nc->done_defer, done_run);
}

static void done_run(struct defer *d)
{
	struct nvmf_core *nc = container_of(d, struct nvmf_core, done_defer);
	struct queue_link *l = queue_take_all(&nc->done), *next;

	for (; l; l = next) {
		next = l->next;
		nvmf_req_finish(container_of(l, struct nvmf_req, done_link));
	}
}

void nvmf_req_finish(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;

	assert(req->executing);
	req->executing = false;
	req->finishing = true;
	list_del(&req->link);
	if (unlikely(req->awaited))
		nvmf_awaits_look(qp->nc);
	qp->work++;
	if (unlikely(qp->aborts))
		nvmf_abort_victim_done(req);
	if (qp->qid)
		nvmf_count(&qp->nc->completed_io);
	else
		nvmf_count(&qp->nc->completed_admin);
	qp->executing_count++; /* the transport may close the queue pair from within */
	qp->transport->ops->req_done(req);
	qp->executing_count--;
	nvmf_qpair_unpin(qp);
}

void nvmf_qpair_unpin(struct nvmf_qpair *qp)
{
	assert(qp->executing_count > 0);
	if (--qp->executing_count == 0 && unlikely(qp->closing))
		defer_run(&qp->closed, closed_run);
}

void nvmf_req_finish_cpl(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;

	req->cpl.cid = req->cmd.cid;
	req->cpl.sqid = le16_of(qp->qid);
	if (unlikely(qp->flow_control_off)) {
		req->cpl.sqhd = le16_of(0xffff);
		return;
	}
	if (qp->size && ++qp->sqhd >= qp->size)
		qp->sqhd = 0;
	req->cpl.sqhd = le16_of(qp->sqhd);
}

void nvmf_req_fail(struct nvmf_req *req, uint16_t status)
{
	assert(!req->executing);
	req->sent_len = 0;
	nvme_cqe_set_status(&req->cpl, status);
	if (req->qpair->served)
		nvmf_error_add(req);
	nvmf_fused_part(req);
}

bool nvmf_req_withdraw(struct nvmf_req *req)
{
	struct nvmf_qpair *qp = req->qpair;

	if (!req->parks || !req->executing || req->finishing)
		return false;
	if (qp->qid || !nvmf_aer_take(qp->ctrlr, req)) /* half of a fused pair has data that does not move: it ends first */
		return false;
	req->executing = false;
	list_del(&req->link);
	nvmf_qpair_unpin(qp);
	return true;
}

void nvmf_req_free(struct nvmf_req *req)
{
	if (req->lent) {
		req->lent = false;
		bdev_io_release(&req->io);
	}
	if (req->ns) {
		bdev_view_put(req->ns);
		req->ns = NULL;
	}
	if (unlikely(req->fused || req->qpair->fused_first == req))
		nvmf_fused_part(req);
}

/* --- data ------------------------------------------------------------------------------------------------------ */

enum iov_way { IOV_READ, IOV_WRITE, IOV_ZERO };

static void iov_copy(const struct nvmf_req *req, uint32_t offset, void *flat, uint32_t len, enum iov_way way)
{
	for (uint32_t i = 0; i < req->iov_count && len; i++) {
		const struct iovec *v = &req->iovs[i];
		uint32_t n;

		if (offset >= v->iov_len) {
			offset -= (uint32_t)v->iov_len;
			continue;
		}
		n = (uint32_t)min_u64(v->iov_len - offset, len);
		if (way == IOV_READ)
			memcpy(flat, (char *)v->iov_base + offset, n);
		else if (way == IOV_WRITE)
			memcpy((char *)v->iov_base + offset, flat, n);
		else
			memset((char *)v->iov_base + offset, 0, n);
		flat = flat ? (char *)flat + n : NULL;
		len -= n;
		offset = 0;
	}
	assert(len == 0);
}

void nvmf_iov_read(const struct nvmf_req *req, uint32_t offset, void *to, uint32_t len)
{
	iov_copy(req, offset, to, len, IOV_READ);
}

void nvmf_iov_write(struct nvmf_req *req, uint32_t offset, const void *from, uint32_t len)
{
	iov_copy(req, offset, (void *)(uintptr_t)from, len, IOV_WRITE);
}

void nvmf_iov_zero(struct nvmf_req *req, uint32_t offset, uint32_t len)
{
	iov_copy(req, offset, NULL, len, IOV_ZERO);
}

void nvmf_req_complete_data(struct nvmf_req *req, const void *data, uint32_t len)
{
	len = min_u32(len, req->data_len);
	nvmf_iov_write(req, 0, data, len);
	nvmf_iov_zero(req, len, req->data_len - len);
	req->sent_len = req->data_len;
	nvmf_req_complete(req, NVME_SC_SUCCESS);
}

/* --- abort, close ------------------------------------------------------------------------------------------------- */

/* Half of a fused pair: what is done is both, by the I/O of one; what waits for the other is answered. */
static enum nvmf_aborted abort_half(struct nvmf_req *req, struct nvmf_req **ret_victim)
{
	struct nvmf_req *io = nvmf_fused_io(req);

	if (io) {
		*ret_victim = req;
		return bdev_abort(io->ns->ch, &io->io) ? NVMF_ABORT_ASKED : NVMF_ABORT_NOT;
	}
	if (!req->parks)
		return NVMF_ABORT_NOT;
	nvmf_fused_leave(req);
	nvmf_fused_part(req);
	nvmf_req_complete(req, NVME_SC_ABORT_REQ);
	return NVMF_ABORT_DONE;
}

static enum nvmf_aborted abort_executing(struct nvmf_req *req, struct nvmf_req **ret_victim)
{
	if (nvme_flags_fuse(req->cmd.flags))
		return abort_half(req, ret_victim);
	if (req->parks && nvmf_aer_take(req->qpair->ctrlr, req)) {
		nvmf_req_complete(req, NVME_SC_ABORT_REQ);
		return NVMF_ABORT_DONE;
	}
	*ret_victim = req;
	return req->io.active && req->ns && bdev_abort(req->ns->ch, &req->io) ? NVMF_ABORT_ASKED : NVMF_ABORT_NOT;
}

enum nvmf_aborted nvmf_qpair_abort(struct nvmf_qpair *qp, uint16_t cid, struct nvmf_req **ret_victim)
{
	list_each(l, &qp->executing) {
		struct nvmf_req *req = list_entry(l, struct nvmf_req, link);

		if (le16_get(req->cmd.cid) == cid && !req->finishing)
			return abort_executing(req, ret_victim);
	}
	return qp->transport->ops->req_abort && qp->transport->ops->req_abort(qp, cid) ? NVMF_ABORT_DONE : NVMF_ABORT_NOT;
}

void nvmf_qpair_preempted(struct nvmf_qpair *qp, const struct nvmf_resv_note *notes)
{
	list_each_safe(l, &qp->executing) {
		struct nvmf_req *req = list_entry(l, struct nvmf_req, link);
		const struct bdev_view *v = req->ns;
		bool is_of = false;

		if (req->finishing || !req->io.active || !v)
			continue;
		for (const struct nvmf_resv_note *n = notes; n; n = n->next)
			is_of |= n->nsid == nvmf_ns_of(req->ns)->nsid;
		if (is_of) {
			req->preempted = true;
			bdev_abort(v->ch, &req->io);
		}
	}
}

/* What an I/O queue must not read: its controller's admin queue may be ending on another core. */
static bool is_admin(const struct nvmf_qpair *qp)
{
	return qp->ctrlr && !qp->qid && qp->ctrlr->admin_qp == qp;
}

void nvmf_qpair_close(struct nvmf_qpair *qp)
{
	assert(!qp->closing);
	qp->closing = true;
	nvmf_qpair_pin(qp);
	nvmf_auth_stop(qp);
	if (is_admin(qp))
		nvmf_ctrlr_end(qp->ctrlr);
	list_each_safe(l, &qp->executing) {
		struct nvmf_req *req = list_entry(l, struct nvmf_req, link);

		if (!req->finishing && req->io.active && req->ns)
			bdev_abort(req->ns->ch, &req->io);
		else if (!req->finishing && req->parks) {
			nvmf_fused_leave(req);
			nvmf_req_complete(req, NVME_SC_ABORT_QUEUE); /* half of a fused pair */
		}
	}
	nvmf_qpair_unpin(qp);
}

static void closed_run(struct defer *d)
{
	struct nvmf_qpair *qp = container_of(d, struct nvmf_qpair, closed);
	struct nvmf_core *nc = qp->nc;

	if (qp->executing_count)
		return;
	if (qp->connected)
		atomic_fetch_sub_explicit(qp->qid ? &nc->current_io_qpairs : &nc->current_admin_qpairs, 1,
		                          memory_order_relaxed);
	nvmf_stages_close(qp);
	nvmf_auth_free(qp);
	free(qp->reach);
	qp->reach = NULL;
	if (qp->seat)
		nvmf_seat_leave(qp->seat);
	qp->seat = NULL;
	qp->ctrlr = NULL;
	qp->connected = qp->served = false;
	qp->last_seen = &qp->last_seen_unconnected;
	list_del(&qp->link);
	if (qp->counted)
		sched_place_left(&qp->target->place, qp->reactor);
	qp->counted = false;
	qp->transport->ops->qpair_closed(qp);
}

/* --- moving -------------------------------------------------------------------------------------- */

static void leave_core(struct nvmf_qpair *qp)
{
	assert(list_empty(&qp->executing));
	nvmf_auth_move(qp, true);
	if (is_admin(qp))
		nvmf_ctrlr_move(qp->ctrlr, true);
	if (qp->connected)
		atomic_fetch_sub_explicit(qp->qid ? &qp->nc->current_io_qpairs : &qp->nc->current_admin_qpairs, 1,
		                          memory_order_relaxed);
	list_del(&qp->link);
	if (qp->counted)
		sched_place_left(&qp->target->place, reactor_self());
	qp->nc = NULL;
	if (qp->seat)
		carry_goes(&qp->seat->home, qp->reactor);
}

static void join_core(struct nvmf_qpair *qp)
{
	qp->reactor = reactor_self();
	qp->nc = nvmf_core_here(qp->target);
	list_add_tail(&qp->nc->qpairs, &qp->link);
	if (qp->counted)
		sched_place_came(&qp->target->place, reactor_self());
	if (qp->connected)
		atomic_fetch_add_explicit(qp->qid ? &qp->nc->current_io_qpairs : &qp->nc->current_admin_qpairs, 1,
		                          memory_order_relaxed);
	nvmf_auth_move(qp, false);
	if (is_admin(qp))
		nvmf_ctrlr_move(qp->ctrlr, false);
	if (qp->seat)
		carry_came(&qp->seat->home);
}

void nvmf_qpair_freeze(struct freeze *f, struct nvmf_qpair *qp)
{
	if (!f->thawing)
		leave_core(qp);
	freeze_u16(f, "qid", &qp->qid);
	freeze_u16(f, "size", &qp->size);
	freeze_u16(f, "sqhd", &qp->sqhd);
	freeze_bool(f, "connected", &qp->connected);
	freeze_bool(f, "served", &qp->served);
	freeze_u8(f, "concat", &qp->concat);
	freeze_bool(f, "concat_only", &qp->concat_only);
	freeze_u64(f, "tls_serial", &qp->tls_serial);
	freeze_bool(f, "flow_control_off", &qp->flow_control_off);
	freeze_u32(f, "lease_epoch", &qp->lease_epoch);
	if (f->thawing)
		join_core(qp);
}
