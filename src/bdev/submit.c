/* SPDX-License-Identifier: BSD-3-Clause */
/* submit.c: the waist proper: what every I/O passes on its way to the device and back.
 *
 * Down: the contract is asserted, the request checked, counted, and handed to the device, to an emulation or to
 * the splitter. Up: the device's answer is queued on the channel, and one deferred call per channel and
 * batch does the accounts and runs the done functions, so that a device that answers within submit() costs
 * no more than a list operation.
 */
#include "bdev/bdev_waist.h"
#include "bdev/iov.h"
#include "core/trace.h"

static enum bdev_status check(struct bdev_channel *ch, struct bdev_io *io);
static enum bdev_status check_other(struct bdev_channel *ch, struct bdev_io *io);

void bdev_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	enum bdev_status st;

	assert(ch->core->reactor == reactor_self());
	assert(io->done);
	assert(!(io->flags & BDEV_IO_LENT) || io->op == BDEV_WRITE);
	must(!io->active);
	must(ch->users > 0);
	io->active = true;
	io->consumed = false;
	io->lent = io->flags & BDEV_IO_LENT;
	io->ch = ch;
	io->waist = 0;
	io->began_ns = reactor_now_ns();
	ch->in_flight++;
	trace(IO_SUBMIT, io->lba, io->count << 8 | io->op);
	st = check(ch, io);
	if (likely(st == BDEV_ST_OK) && io->lease && unlikely(!bdev_lease_enter(io, ch->core->index)))
		st = BDEV_ST_FENCED;
	if (unlikely(st != BDEV_ST_OK)) {
		io->consumed = !io->lent; /* nobody will look at the data any more */
		bdev_io_end(io, st);
		return;
	}
	bdev_admit(ch, io);
}

static inline bool in_range(const struct bdev *b, uint64_t lba, uint64_t count)
{
	uint64_t limit = atomic_load_explicit(&b->block_count, memory_order_relaxed);

	return count - 1 < limit && lba <= limit - count; /* count 0 is none; lba + count might wrap */
}

static inline bool is_gone(const struct bdev *b)
{
	return atomic_load_explicit(&b->removing, memory_order_relaxed);
}

/* Do the iovecs hold exactly so many bytes? */
static inline bool fits(const struct bdev_io *io, uint64_t len)
{
	if (likely(io->iov_count == 1))
		return io->iovs[0].iov_len == len;
	return io->iov_count && iov_bytes(io->iovs, io->iov_count) == len;
}

static bool md_fits(const struct bdev_channel *ch, const struct bdev_io *io, uint64_t count)
{
	const struct bdev *b = ch->bdev;

	return b->md_size && !b->md_interleaved && !(io->flags & (BDEV_IO_PLAIN | BDEV_IO_EXTENDED)) &&
	       iov_bytes(io->md_iovs, io->md_iov_count) == count * b->md_size;
}

static inline enum bdev_status check(struct bdev_channel *ch, struct bdev_io *io)
{
	const struct bdev *b = ch->bdev;

	if (unlikely(io->op > BDEV_WRITE || (io->flags | ch->md_flags) & BDEV_IO_MD))
		return check_other(ch, io);
	if (unlikely(is_gone(b)))
		return BDEV_ST_GONE;
	if (io->op == BDEV_WRITE && unlikely(!ch->may_write))
		return BDEV_ST_WRITE_PROTECTED;
	if (unlikely(!in_range(b, io->lba, io->count)))
		return BDEV_ST_BAD_RANGE;
	if (io->flags & BDEV_IO_LEND) {
		if (unlikely(io->op != BDEV_READ || !ch->lends || !io->iov_max))
			return BDEV_ST_BAD_FIELD;
	} else if (unlikely(!fits(io, io->count * ch->block_bytes))) {
		return BDEV_ST_BAD_FIELD;
	}
	if (unlikely(io->md_iovs != NULL) && !md_fits(ch, io, io->count))
		return BDEV_ST_BAD_FIELD;
	return BDEV_ST_OK;
}

static enum bdev_status check_unmap(const struct bdev *b, const struct bdev_io *io)
{
	if (!io->unmap.range_count)
		return in_range(b, io->lba, io->count) ? BDEV_ST_OK : BDEV_ST_BAD_RANGE;
	for (uint32_t i = 0; i < io->unmap.range_count; i++)
		if (io->unmap.ranges[i].count && !in_range(b, io->unmap.ranges[i].lba, io->unmap.ranges[i].count))
			return BDEV_ST_BAD_RANGE;
	return BDEV_ST_OK;
}

static uint32_t md_size_shown(const struct bdev_channel *ch)
{
	return ch->md_flags ? 0 : ch->bdev->md_size;
}

static enum bdev_status check_source(const struct bdev_channel *ch, const struct bdev_io *io)
{
	const struct bdev_channel *src = io->flags & BDEV_IO_SRC ? io->copy.src : ch;
	const struct bdev *b = src->bdev;

	assert(src->core->index == ch->core->index);
	if (is_gone(b))
		return src == ch ? BDEV_ST_GONE : BDEV_ST_SRC_GONE;
	if (b->block_size != ch->bdev->block_size || md_size_shown(src) != md_size_shown(ch) ||
	    (md_size_shown(ch) && (b->md_interleaved != ch->bdev->md_interleaved || b->dif_type != ch->bdev->dif_type)))
		return BDEV_ST_BAD_FIELD;
	return in_range(b, io->copy.src_lba, io->count) ? BDEV_ST_OK : BDEV_ST_BAD_RANGE;
}

/* How often the blocks' bytes are in the data iovecs. */
static uint32_t data_times(const struct bdev_io *io)
{
	switch (io->op) {
	case BDEV_READ:
		return io->flags & BDEV_IO_LEND ? 0 : 1;
	case BDEV_WRITE:
	case BDEV_COMPARE:
		return 1;
	case BDEV_COMPARE_AND_WRITE:
		return 2;
	default:
		return 0;
	}
}

/* Everything but reads and writes of blocks as they lie on the device. */
static enum bdev_status check_other(struct bdev_channel *ch, struct bdev_io *io)
{
	const struct bdev *b = ch->bdev;
	bool has_md = (io->flags | ch->md_flags) & BDEV_IO_MD;
	enum bdev_status st;
	uint32_t times;

	if (io->op >= BDEV_OP_COUNT || (io->flags & BDEV_IO_LEND && io->op != BDEV_READ))
		return BDEV_ST_BAD_FIELD;
	if (is_gone(b))
		return BDEV_ST_GONE;
	if (!(bdev_usable_ops(b) & 1u << io->op))
		return BDEV_ST_UNSUPPORTED;
	if (bdev_op_changes(io->op) && !ch->may_write)
		return BDEV_ST_WRITE_PROTECTED;
	if (unlikely(has_md) && (st = bdev_md_begin(ch, io)) != BDEV_ST_OK)
		return st;
	if (io->op == BDEV_FLUSH || io->op == BDEV_RESET || io->op == BDEV_PASSTHROUGH)
		return BDEV_ST_OK;
	if (io->op == BDEV_UNMAP)
		return check_unmap(b, io);
	if (!in_range(b, io->lba, io->count))
		return BDEV_ST_BAD_RANGE;
	if (io->op == BDEV_COPY && (st = check_source(ch, io)) != BDEV_ST_OK)
		return st;
	times = data_times(io);
	if (times && !fits(io, times * io->count * bdev_io_block_bytes(ch, io)))
		return BDEV_ST_BAD_FIELD;
	if (io->flags & BDEV_IO_LEND && (!ch->lends || !io->iov_max ||
	                                 io->flags & ch->slow_flags & (BDEV_IO_PLAIN | BDEV_IO_EXTENDED)))
		return BDEV_ST_BAD_FIELD;
	if (io->md_iovs && (!(times || io->flags & BDEV_IO_LEND) || !md_fits(ch, io, max_u32(times, 1) * io->count)))
		return BDEV_ST_BAD_FIELD;
	return unlikely(has_md) ? bdev_md_check(ch, io) : BDEV_ST_OK;
}

/* What works on the device, one way or another. */
uint32_t bdev_usable_ops(const struct bdev *b)
{
	uint32_t native = b->native_ops, ops = native;
	bool reads = native & BDEV_BIT(READ), writes = native & BDEV_BIT(WRITE);

	if (reads)
		ops |= BDEV_BIT(COMPARE) | BDEV_BIT(VERIFY) | BDEV_BIT(GET_LBA_STATUS);
	if (writes)
		ops |= BDEV_BIT(WRITE_ZEROES);
	if (reads && writes)
		ops |= BDEV_BIT(COMPARE_AND_WRITE) | BDEV_BIT(COPY);
	if (b->cache == BDEV_CACHE_NONE)
		ops |= BDEV_BIT(FLUSH); /* what was answered is on the media */
	return ops;
}

/* A compare-and-write that is emulated takes a lock, which would wait for this very I/O if that counted as a change. */
static bool locks_itself(const struct bdev_channel *ch, const struct bdev_io *io)
{
	return !(ch->bdev->native_ops & BDEV_BIT(COMPARE_AND_WRITE)) ||
	       io->flags & ch->slow_flags & (BDEV_IO_PLAIN | BDEV_IO_EXTENDED); /* as in md.c */
}

/* Whole I/Os wait for range locks here, before they hold anything; their children do not. */
void bdev_admit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct bdev_core *core = ch->core;

	if (bdev_op_changes(io->op) && (io->op != BDEV_COMPARE_AND_WRITE || !locks_itself(ch, io))) {
		if (unlikely(core->locked) && bdev_locks_block(core, io))
			return;
		core->changes[core->phase]++;
		io->waist |= core->phase ? WAIST_CHANGES | WAIST_CHANGES_1 : WAIST_CHANGES;
	}
	bdev_dispatch(ch, io);
}

void bdev_admit_again(struct bdev_channel *ch, struct bdev_io *io)
{
	enum bdev_status st = check(ch, io);

	if (likely(st == BDEV_ST_OK))
		bdev_admit(ch, io);
	else
		bdev_io_end(io, st);
}

/* What was asked for and concerns whole I/Os. True: it waits, or was answered. */
static bool takes_long_way(struct bdev_channel *ch, struct bdev_io *io)
{
	struct bdev_core *core = ch->core;

	if (io->waist & WAIST_CHILD)
		return false;
	if (core->long_way & LONG_DEPTH && !(io->waist & WAIST_METERED))
		bdev_depth_enter(core, io);
	if (core->long_way & LONG_QOS && bdev_qos_holds(ch, io))
		return true;
	if (core->long_way & LONG_RESV && bdev_resv_stops(core, io)) {
		bdev_io_end(io, BDEV_ST_RESERVED);
		return true;
	}
	return false;
}

/* Out of line, so that the short way saves no registers for it. */
static __attribute__((noinline)) void dispatch_long(struct bdev_channel *ch, struct bdev_io *io)
{
	if (!(unlikely(ch->core->long_way) && takes_long_way(ch, io)) && !bdev_emulate(ch, io))
		bdev_to_device(ch, io);
}

void bdev_dispatch(struct bdev_channel *ch, struct bdev_io *io)
{
	/* The last point before the media; a child or one that waited may have been overtaken by a revocation. */
	if (unlikely(!bdev_io_may_land(io))) {
		bdev_io_end(io, BDEV_ST_FENCED);
		return;
	}
	if (unlikely(io->waist & WAIST_ABORT)) {
		bdev_io_end(io, BDEV_ST_ABORTED);
		return;
	}
	if (unlikely(io->count > ch->max_io_blocks || io->flags & ch->slow_flags)) {
		dispatch_long(ch, io);
	} else if (likely(ch->simple_ops & 1u << io->op)) {
		io->waist |= WAIST_DEVICE;
		ch->submit(ch, io);
	} else if (ch->ctx_ops & 1u << io->op) {
		bdev_to_device(ch, io);
	} else {
		dispatch_long(ch, io);
	}
}

/* With a context when the device wants one; comes here again after a wait for it. */
void bdev_to_device(struct bdev_channel *ch, struct bdev_io *io)
{
	struct bdev_pool *ctxs = &ch->core->ctxs;

	if (unlikely(!bdev_io_may_land(io) || io->waist & WAIST_ABORT)) {
		bdev_io_end(io, io->waist & WAIST_ABORT ? BDEV_ST_ABORTED : BDEV_ST_FENCED);
		return;
	}
	if (ctxs->size && (!ch->bdev->io_ctx_ops || ch->bdev->io_ctx_ops & 1u << io->op)) {
		io->device_ctx = bdev_pool_take(ctxs, io);
		if (!io->device_ctx)
			return;
		io->waist |= WAIST_CTX;
	}
	io->waist |= WAIST_DEVICE;
	ch->submit(ch, io);
}

void bdev_child_start(struct bdev_io *child, const struct bdev_io *parent)
{
	must(!child->active);
	child->active = true;
	child->consumed = false;
	child->lent = false;
	child->ch = parent->ch;
	child->waist = WAIST_CHILD;
	child->began_ns = parent->began_ns;
	child->who = parent->who;
	child->lease = parent->lease;
	child->lease_epoch = parent->lease_epoch;
	bdev_dispatch(child->ch, child);
}

/* --- and back --------------------------------------------------------------------------------------------- */

void bdev_io_done(struct bdev_io *io, enum bdev_status st)
{
	must(io->active && (io->waist & (WAIST_DEVICE | WAIST_DONE)) == WAIST_DEVICE);
	assert(!io->lent || (io->op == BDEV_READ && io->flags & BDEV_IO_LEND && st == BDEV_ST_OK) ||
	       (io->op == BDEV_WRITE && io->flags & BDEV_IO_LENT));
	bdev_io_end(io, st);
}

void bdev_io_end(struct bdev_io *io, enum bdev_status st)
{
	struct bdev_channel *ch = io->ch;

	assert(st < BDEV_STATUS_COUNT);
	assert(ch->core->reactor == reactor_self());
	must(!(io->waist & WAIST_DONE));
	io->status = st;
	io->waist |= WAIST_DONE;
	if (queue_empty(&ch->doneq))
		defer_run(&ch->defer, bdev_channel_drain);
	queue_push(&ch->doneq, &io->link);
}

static inline void change_ends(struct bdev_core *core, const struct bdev_io *io)
{
	uint8_t phase = io->waist & WAIST_CHANGES_1 ? 1 : 0;

	if (--core->changes[phase] == 0 && unlikely(phase != core->phase))
		bdev_locks_drained(core);
}

void bdev_unadmit(struct bdev_io *io)
{
	if (io->waist & WAIST_CHANGES)
		change_ends(io->ch->core, io);
	io->waist &= (uint16_t)~(WAIST_CHANGES | WAIST_CHANGES_1);
}

/* What has been read is looked at before its owner hears of it. */
static __attribute__((noinline)) void check_read(struct bdev_io *io)
{
	const struct bdev *b = io->ch->bdev;

	io->status = (uint8_t)bdev_md_verify_read(io);
	if (io->status == BDEV_ST_OK || !io->lent)
		return;
	io->lent = false;
	b->ops->release(io->ch->bdev, io->iovs, io->iov_count);
}

/* What was counted on the way down and is not a plain read's. */
static inline void uncount(struct bdev_io *io)
{
	struct bdev_core *core = io->ch->core;

	if (io->waist & WAIST_CHANGES)
		change_ends(core, io);
	if (io->waist & WAIST_LEASED)
		bdev_lease_leave(io->lease, core->index, io->waist & WAIST_LEASED_1 ? 1 : 0);
	if (io->waist & WAIST_CTX)
		bdev_pool_give(&core->ctxs, io->device_ctx);
	if (io->waist & WAIST_METERED)
		bdev_depth_leave(core);
	if (unlikely(io->waist & WAIST_PI) && io->status == BDEV_ST_OK)
		check_read(io);
}

static uint64_t unmapped_blocks(const struct bdev_io *io)
{
	uint64_t sum = io->unmap.range_count ? 0 : io->count;

	for (uint32_t i = 0; i < io->unmap.range_count; i++)
		sum += io->unmap.ranges[i].count;
	return sum;
}

static inline void account(struct bdev_io *io, uint64_t now_ns)
{
	struct bdev_op_stats *s = &io->ch->core->stats.op[io->op < BDEV_OP_COUNT ? io->op : BDEV_PASSTHROUGH];
	uint64_t took_ns = now_ns - io->began_ns;

	if (unlikely(io->status != BDEV_ST_OK)) {
		s->errors++;
		return;
	}
	s->ops++;
	s->blocks += unlikely(io->op == BDEV_UNMAP) ? unmapped_blocks(io) : io->count;
	s->latency_ns += took_ns;
	if (took_ns > s->latency_ns_max)
		s->latency_ns_max = took_ns;
	if (took_ns < s->latency_ns_min)
		s->latency_ns_min = took_ns;
}

/* Only while somebody asked for it. What ended badly took a time of its own. A walk of its own before the done
 * functions run, so that who keeps no latencies has nothing of it in the loop that all answers take. */
static uint64_t keep(struct bdev_tally *t, const struct queue_link *link)
{
	uint64_t now_ns = core_clock_ns();

	for (; link; link = link->next) {
		const struct bdev_io *io = container_of(link, struct bdev_io, link);

		if (io->status == BDEV_ST_OK && !(io->waist & WAIST_CHILD) && t->ops & 1u << io->op)
			t->count[io->op][hist_bucket_of(now_ns - io->began_ns)]++;
	}
	return now_ns;
}

static inline void finish(struct bdev_io *io, uint64_t now_ns)
{
	struct bdev_channel *ch = io->ch;

	if (io->waist & (WAIST_CHANGES | WAIST_LEASED | WAIST_CTX | WAIST_METERED | WAIST_PI))
		uncount(io);
	if (io->lent)
		io->device_ctx = ch->bdev; /* for bdev_io_release(), when the channel may be gone */
	if (likely(!(io->waist & WAIST_CHILD))) {
		trace(IO_DONE, io->lba, io->status);
		account(io, now_ns);
		must(ch->in_flight > 0);
		ch->in_flight--;
	}
	io->active = false;
	io->done(io);
}

void bdev_channel_drain(struct defer *d)
{
	struct bdev_channel *ch = container_of(d, struct bdev_channel, defer);
	struct queue_link *link = queue_take_all(&ch->doneq);
	uint64_t now_ns = unlikely(ch->core->tally != NULL) ? keep(ch->core->tally, link) : reactor_now_ns();

	ch->draining = true;
	while (link) {
		struct bdev_io *io = container_of(link, struct bdev_io, link);

		link = link->next;
		finish(io, now_ns);
	}
	ch->draining = false;
	if (ch->closing) /* the last done function put the channel */
		free(ch);
}

bool bdev_write_lend(struct bdev_channel *ch, struct bdev_io *io)
{
	struct bdev *b = ch->bdev;

	assert(ch->core->reactor == reactor_self());
	assert(io->op == BDEV_WRITE);
	must(!io->active);
	if (!b->ops->write_lend || io->md_iovs || is_gone(b) || !ch->may_write || !in_range(b, io->lba, io->count) ||
	    io->count > ch->max_io_blocks || io->flags & ch->slow_flags || !b->ops->write_lend(ch, io))
		return false;
	assert(fits(io, io->count * ch->block_bytes));
	io->flags |= BDEV_IO_LENT;
	io->lent = true;
	io->device_ctx = b; /* for bdev_io_release() */
	return true;
}

void bdev_io_release(struct bdev_io *io)
{
	struct bdev *b = io->device_ctx;

	must(io->lent && !io->active);
	io->lent = false;
	b->ops->release(b, io->iovs, io->iov_count);
}

void bdev_release_iovs(struct bdev_desc *desc, const struct iovec *iovs, uint32_t count)
{
	desc->bdev->ops->release(desc->bdev, iovs, count);
}

bool bdev_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	assert(ch->core->reactor == reactor_self());
	if (!io->active || io->waist & WAIST_DONE)
		return false;
	if (io->waist & WAIST_THROTTLED) {
		bdev_qos_abort(io);
		return true;
	}
	if (io->waist & WAIST_DEVICE)
		return ch->bdev->ops->abort && ch->bdev->ops->abort(ch, io);
	io->waist |= WAIST_ABORT; /* it waits for something; looked at when that comes */
	if (io->waist & WAIST_FAMILY)
		((struct bdev_family *)io->device_ctx)->abort(io->device_ctx);
	return true;
}
