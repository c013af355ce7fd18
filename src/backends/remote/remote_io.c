/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_io.c: an I/O from the waist's hands to a queue pair and back, and what is done when it comes back otherwise
 * than well.
 *
 * Plain reads and writes are made here, everything else in remote_cmd.c. An I/O that ends badly is told to the waist,
 * goes out again, or waits: for another path (remote_wait.c), or until it is known that it cannot land any more
 * (remote_limbo.c). While it waits it is in one of the channel's or the lane's lists, and each has somebody who wakes
 * it.
 */
#include "backends/remote/remote_core.h"

#define REFUSALS_MAX 600u       /* by paths that answer; with a tenth of a second between rounds */
#define LATER_FIRST_NS (10 * NS_PER_MS)

static void run(struct remote_lane *l, struct remote_io *r);
static bool make_other(struct remote_channel *c, struct remote_io *r);
static void op_done(struct nvme_op *op);

/* --- down --------------------------------------------------------------------------------------------------- */

static inline void make_rw(struct remote_channel *c, struct remote_io *r, const struct bdev_io *io)
{
	r->op.cmd = remote_rw_cmd(c, io, 0, (uint32_t)io->count);
	r->op.iovs = io->iovs;
	r->op.iov_count = io->iov_count;
	r->op.data = io->op == BDEV_WRITE ? NVME_OP_TO_CTRLR : NVME_OP_TO_HOST;
	r->op.iov_at = 0;
	r->op.data_len = (uint32_t)io->count * c->block_bytes;
	r->more = false;
}

void remote_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct remote_channel *c = bdev_channel_ctx(ch);
	struct remote_io *r = io->device_ctx;

	r->io = io;
	r->channel = c;
	r->aborted = false;
	r->inject = 0;
	r->retries = r->refusals = r->losses = 0;
	r->at = 0;
	if (likely(io->op <= BDEV_WRITE))
		make_rw(c, r, io);
	else if (!make_other(c, r))
		return;
	remote_go(c, r);
}

/* False: it has ended. */
static bool make_other(struct remote_channel *c, struct remote_io *r)
{
	bool nothing = false;
	enum bdev_status st;

	if (r->io->op == BDEV_RESET) { /* what waits ends; controllers are reset by who is asked to (remote.md) */
		remote_waiting_end(c, BDEV_ST_ABORTED);
		remote_end(r, BDEV_ST_OK);
		return false;
	}
	st = remote_make_command(c, r, &nothing);
	if (st == BDEV_ST_OK && !nothing)
		return true;
	remote_end(r, st);
	return false;
}

void remote_go(struct remote_channel *c, struct remote_io *r)
{
	struct remote_lane *l = c->lane;

	if (unlikely(!l)) {
		l = remote_choose(c);
		if (!l) {
			remote_wait_path(c, r);
			return;
		}
	}
	run(l, r);
}

void remote_go_again(struct remote_channel *c, struct remote_io *r)
{
	if (remote_is_removed(c))
		remote_end(r, BDEV_ST_GONE); /* first: limbo ends early then, and the others would say that it cannot land */
	else if (r->aborted)
		remote_end(r, BDEV_ST_ABORTED);
	else if (!bdev_io_may_land(r->io))
		remote_end(r, BDEV_ST_FENCED);
	else
		remote_go(c, r);
}

/* The waist has cut it to what the disk takes; this path's controller takes less. The waist cuts it again, so that its
 * parts go side by side; but for what is a part already, or had its first part done: the rest goes one by one.
 * False: it is not `r`'s any more. */
static __attribute__((noinline)) bool fit(struct remote_lane *l, struct remote_io *r)
{
	const uint32_t cut_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(COMPARE);
	uint32_t blocks = l->io_bytes_max / r->channel->block_bytes;

	if (!(cut_ops & 1u << r->io->op))
		return true;
	if (blocks && !r->at && bdev_io_cut(r->io, blocks))
		return false;
	if (remote_make_part(r->channel, r, l->io_bytes_max))
		return true;
	remote_end(r, BDEV_ST_BAD_FIELD);
	return false;
}

static void run(struct remote_lane *l, struct remote_io *r)
{
	assert(l->state == REMOTE_LANE_OPEN_STATE);
	if (unlikely(r->op.data_len > l->io_bytes_max) && !fit(l, r))
		return;
	r->lane = l;
	r->life = l->life;
	r->place = REMOTE_AT_LANE;
	r->timed_out = false;
	r->via = l->via;
	r->began_ns = reactor_now_ns();
	remote_count_add(&l->outstanding, 1);
	remote_count_add(&l->counts[REMOTE_LANE_SUBMITTED], 1);
	if (unlikely(atomic_load_explicit(&l->path->injections, memory_order_acquire)) && remote_injected(l, r))
		return;
	if (unlikely(l->via))
		remote_forward(l, r);
	else
		remote_hand_over(r, l->qp, op_done);
}

/* --- and back ----------------------------------------------------------------------------------------------- */

static void half_done(struct nvme_op *op);
static void second_done(struct nvme_op *op);

void remote_hand_over(struct remote_io *r, struct nvme_qpair *qp, nvme_op_fn *done)
{
	r->op.done = done;
	if (likely(!remote_is_fused(r))) {
		nvme_qpair_submit(qp, &r->op);
		return;
	}
	r->halves = 2;
	r->fused.both = done;
	r->op.done = half_done;
	r->fused.second.done = second_done;
	nvme_qpair_submit_fused(qp, &r->op, &r->fused.second);
}

/* Of a pair the one that failed tells why; the other one only says that it was not done for that. */
static void both_done(struct remote_io *r)
{
	struct nvme_op *first = &r->op, *second = &r->fused.second;
	uint16_t said = nvme_op_status(first);

	if (--r->halves)
		return;
	first->sent |= second->sent;
	r->fused.compared = !said;
	if (said == NVME_SC_SUCCESS || said == NVME_SC_FUSED_FAIL) {
		if (!said || nvme_op_status(second))
			first->cpl = second->cpl;
	}
	r->fused.both(first);
}

static void half_done(struct nvme_op *op)
{
	both_done(container_of(op, struct remote_io, op));
}

static void second_done(struct nvme_op *op)
{
	both_done(container_of(op, struct remote_io, fused.second));
}

bool remote_op_is_whole(const struct nvme_op *op)
{
	return op->done == op_done || remote_op_is_forwarded(op);
}

static void op_done(struct nvme_op *op)
{
	struct remote_io *r = container_of(op, struct remote_io, op);

	remote_late_ended(r);
	remote_ended(r);
}

void remote_end(struct remote_io *r, enum bdev_status st)
{
	bdev_io_done(r->io, st);
}

static inline void add_time(remote_count *sum, remote_count *min, remote_count *max, uint64_t took_ns)
{
	uint64_t least = remote_count_get(min);

	remote_count_add(sum, took_ns);
	if (unlikely(took_ns < least || !least))
		atomic_store_explicit(min, took_ns, memory_order_relaxed);
	if (unlikely(took_ns > remote_count_get(max)))
		atomic_store_explicit(max, took_ns, memory_order_relaxed);
}

static void account(struct remote_channel *c, struct remote_io *r)
{
	struct remote_lane *l = r->lane;
	struct remote_io_stats *s = &c->stats[l->path->index];
	uint64_t took_ns = reactor_now_ns() - r->began_ns;

	if (likely(r->io->op == BDEV_READ)) {
		remote_count_add(&s->reads, 1);
		remote_count_add(&s->read_bytes, r->op.data_len);
		add_time(&s->read_ns, &s->read_min_ns, &s->read_max_ns, took_ns);
	} else if (r->io->op == BDEV_WRITE) {
		remote_count_add(&s->writes, 1);
		remote_count_add(&s->write_bytes, r->op.data_len);
		add_time(&s->write_ns, &s->write_min_ns, &s->write_max_ns, took_ns);
	} else if (r->io->op == BDEV_COPY) {
		remote_count_add(&s->copies, 1);
		remote_count_add(&s->copy_bytes, r->step * c->block_bytes);
		add_time(&s->copy_ns, &s->copy_min_ns, &s->copy_max_ns, took_ns);
	} else if (r->io->op == BDEV_UNMAP) {
		remote_count_add(&s->unmaps, 1);
		for (uint64_t i = 0; i * sizeof(r->ranges[0]) < r->op.data_len; i++)
			remote_count_add(&s->unmap_bytes, (uint64_t)le32_get(r->ranges[i].nlb) * c->block_bytes);
		add_time(&s->unmap_ns, &s->unmap_min_ns, &s->unmap_max_ns, took_ns);
	} else {
		remote_count_add(&s->others, 1);
	}
	if (unlikely(c->latency)) /* a sixteenth of the difference; signed */
		l->latency_ns = l->latency_ns ? l->latency_ns + (uint64_t)((int64_t)(took_ns - l->latency_ns) / 16) : took_ns;
}

static void went_wrong(struct remote_channel *c, struct remote_io *r, uint16_t status);
static void next(struct remote_channel *c, struct remote_io *r);

void remote_ended(struct remote_io *r)
{
	struct remote_channel *c = r->channel;
	struct remote_lane *l = r->lane;
	uint16_t status = nvme_cqe_status(&r->op.cpl);

	remote_count_add(&l->outstanding, (uint64_t)-1);
	if (unlikely(r->inject)) { /* in place of an answer, not of the end of a connection: it may land after that */
		if ((status & NVME_SC_CODE) != NVME_SC_HOST_PATH_ERROR)
			status = r->inject;
		r->inject = 0;
	}
	if (unlikely(status & NVME_SC_CODE)) {
		went_wrong(c, r, status);
		return;
	}
	remote_count_add(&l->counts[REMOTE_LANE_COMPLETED], 1);
	account(c, r);
	if (unlikely(r->io->op == BDEV_PASSTHROUGH) && r->io->passthrough.result)
		*r->io->passthrough.result = le32_get(r->op.cpl.dw0);
	if (likely(!r->more))
		remote_end(r, BDEV_ST_OK);
	else
		next(c, r);
}

/* The next of an I/O's commands. */
static void next(struct remote_channel *c, struct remote_io *r)
{
	bool nothing = false;
	enum bdev_status st;

	r->at += r->step;
	st = remote_make_command(c, r, &nothing);
	if (st == BDEV_ST_OK && !nothing)
		remote_go_again(c, r);
	else
		remote_end(r, st);
}

/* --- not well ----------------------------------------------------------------------------------------------- */

static void path_lost(struct remote_channel *c, struct remote_io *r)
{
	struct remote_lane *l = r->lane;

	if (r->via == l->via) /* else the lane has found another way meanwhile */
		remote_lane_lost(l);
	if (remote_limbo_takes(r))
		return;
	remote_count_add(&l->counts[REMOTE_LANE_MOVED], 1);
	remote_go_after_loss(c, r);
}

/* Of a compare and write whose first half was answered with success the second may have been done, whatever it says:
 * done again it would find its own data, and say that there were others. */
static bool is_done_perhaps(const struct remote_io *r)
{
	return remote_is_fused(r) && r->fused.compared;
}

static void refused(struct remote_channel *c, struct remote_io *r, const struct remote_status_row *row)
{
	if (row->verdict == REMOTE_OTHER_ANA)
		remote_lane_news(r->lane, REMOTE_NEWS_ANA);
	if (++r->refusals > REFUSALS_MAX || is_done_perhaps(r)) {
		remote_end(r, row->status);
		return;
	}
	remote_count_add(&r->lane->counts[REMOTE_LANE_MOVED], 1);
	remote_avoid(c, r->lane->path->index);
	remote_go_again(c, r);
}

/* What the controller asks for, or a time of our own that grows. */
static uint64_t delay_of(const struct remote_io *r, uint16_t status, const struct remote_status_row *row)
{
	uint32_t crd = (status & NVME_SC_CRD) >> 11;

	if (crd)
		return r->lane->path->crdt_100ms[crd - 1] * 100 * NS_PER_MS;
	return row->verdict == REMOTE_AGAIN_LATER ? LATER_FIRST_NS << min_u32(2 * (r->retries - 1), 8) : 0;
}

static void again(struct remote_channel *c, struct remote_io *r, uint16_t status, const struct remote_status_row *row)
{
	int32_t max = c->disk->group->remote->opts.bdev_retry_count;
	uint64_t delay_ns;

	if (r->aborted || is_done_perhaps(r) || (max >= 0 && r->retries >= (uint32_t)max)) {
		remote_end(r, row->status);
		return;
	}
	r->retries++;
	remote_count_add(&r->lane->counts[REMOTE_LANE_RETRIED], 1);
	delay_ns = delay_of(r, status, row);
	if (delay_ns)
		remote_wait_later(c, r, delay_ns);
	else
		remote_go_again(c, r);
}

static __attribute__((noinline)) void went_wrong(struct remote_channel *c, struct remote_io *r, uint16_t status)
{
	const struct remote_status_row *row = remote_status_of(status);
	struct remote_lane *l = r->lane;

	if ((status & NVME_SC_CODE) == NVME_SC_HOST_PATH_ERROR && !(status & NVME_SC_DNR)) {
		path_lost(c, r);
		return;
	}
	remote_count_add(&l->counts[REMOTE_LANE_COMPLETED], 1);
	remote_count_add(&l->counts[REMOTE_LANE_ERRORS], 1);
	remote_count_add(&c->stats[l->path->index].errors, 1);
	if (row->ns_changed)
		remote_lane_news(l, REMOTE_NEWS_NS);
	if ((status & NVME_SC_CODE) == NVME_SC_ABORT_REQ && (r->aborted || r->timed_out))
		remote_end(r, r->aborted ? BDEV_ST_ABORTED : BDEV_ST_TIMED_OUT);
	else if (status & NVME_SC_DNR || row->verdict == REMOTE_FINAL)
		remote_end(r, row->status);
	else if (row->verdict == REMOTE_OTHER_PATH || row->verdict == REMOTE_OTHER_ANA)
		refused(c, r, row);
	else
		again(c, r, status, row);
}

/* --- abort -------------------------------------------------------------------------------------------------- */

/* What waits here ends here. What the controller has ends with its answer, whatever it is asked; what may still land
 * must not be said to have ended. */
bool remote_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct remote_io *r = io->device_ctx;

	(void)ch;
	switch ((enum remote_place)r->place) {
	case REMOTE_IN_LINE:
	case REMOTE_LATER:
		remote_unwait(r);
		remote_end(r, BDEV_ST_ABORTED);
		return true;
	case REMOTE_IN_LIMBO:
		r->aborted = true;
		return true;
	case REMOTE_INJECTED:
		return false;
	case REMOTE_AT_LANE:
		break;
	}
	if (r->aborted)
		return true;
	/* What is not out yet has no id there. */
	if (remote_is_fused(r) || r->via || !r->op.sent || !remote_lane_abort(r->lane, r->op.cid, false))
		return false;
	r->aborted = true;
	return true;
}
