/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut_io.c: I/O on a disk with a volatile cache: what users ask for, and the cache's own way to the base.
 *
 * A write is done when its blocks are in the cache. A read asks the base and lays what the cache has over it; blocks
 * that reach the base meanwhile are kept in the cache until that read has ended, so that it misses neither. A flush
 * waits until nothing that was written before it is owed, then flushes the base; FUA is a flush of its own blocks
 * alone, so that who relies on it for others is found out. Unmap goes to the base at once; until that has
 * answered nothing is written back there.
 *
 * pump() starts whatever can go on; it is called after everything that may let something go on.
 */
#include "backends/powercut/powercut_disk.h"
#include "base/random.h"
#include "bdev/iov.h"
#include "core/log.h"

#define ALL_BLOCKS UINT64_MAX

static void arrived(struct msg *m);
static void begin(struct powercut_op *op);
static void read_start(struct powercut_op *op);
static void write_start(struct powercut_op *op);
static void unmaps_start(struct powercut *d);
static void reset_start(struct powercut_op *op);
static void flushed(struct bdev_io *child);
static void end(struct powercut_op *op, enum bdev_status st);
static void pump(struct powercut *d);

void powercut_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct powercut *d = powercut_of(bdev_channel_bdev(ch));
	struct powercut_op *op = io->device_ctx;

	memset(op, 0, sizeof(*op));
	op->disk = d;
	op->io = io;
	op->home = reactor_self();
	if (op->home == d->owner)
		begin(op);
	else
		msg_send(d->owner, &op->msg, arrived);
}

static void arrived(struct msg *m)
{
	begin(container_of(m, struct powercut_op, msg));
}

/* Nothing is on the media yet, and everything before it in this core's queue was dealt with. */
static bool may_begin(struct powercut_op *op)
{
	struct powercut *d = op->disk;
	struct err e = { 0 };

	if (!bdev_io_may_land(op->io)) {
		end(op, BDEV_ST_FENCED);
		return false;
	}
	if (!d->off && !d->base_ch) {
		d->base_ch = bdev_channel_get(d->stacked.order->bases[0].desc, &e);
		if (!d->base_ch)
			log_error("powercut %s: %s", d->stacked.bdev.name, e.text);
	}
	if (!d->off && d->base_ch && !d->gave_up)
		return true;
	end(op, d->gave_up ? BDEV_ST_GONE : BDEV_ST_FAILED);
	return false;
}

static void owe(struct powercut_op *op, uint64_t lba, uint64_t count)
{
	op->lba = lba;
	op->count = count;
	op->seq = op->disk->seq;
	list_add_tail(&op->disk->owed, &op->link);
}

static void begin(struct powercut_op *op)
{
	struct powercut *d = op->disk;
	struct bdev_io *io = op->io;

	if (!may_begin(op))
		return;
	switch (io->op) {
	case BDEV_READ:
		if (io->flags & BDEV_IO_FUA)
			owe(op, io->lba, io->count);
		else
			read_start(op);
		break;
	case BDEV_WRITE:
		list_add_tail(&d->waiting, &op->link);
		break;
	case BDEV_FLUSH:
		owe(op, 0, ALL_BLOCKS);
		break;
	case BDEV_UNMAP:
		list_add_tail(&d->unmaps, &op->link);
		break;
	default:
		reset_start(op);
	}
	pump(d);
}

/* Back to where it came from. What ends without power has failed, whatever the base said. */
static void ended(struct msg *m)
{
	struct powercut_op *op = container_of(m, struct powercut_op, msg);

	bdev_io_done(op->io, op->status);
}

static void end(struct powercut_op *op, enum bdev_status st)
{
	op->status = op->disk->off && st == BDEV_ST_OK ? BDEV_ST_FAILED : st;
	if (op->disk->gave_up && st == BDEV_ST_ABORTED)
		op->status = BDEV_ST_GONE; /* it was us who aborted it */
	if (op->home == reactor_self())
		bdev_io_done(op->io, op->status);
	else
		msg_send(op->home, &op->msg, ended);
}

static void to_base(struct powercut *d, struct bdev_io *io, bdev_done_fn *done)
{
	io->done = done;
	d->base_ios++;
	bdev_submit(d->base_ch, io);
}

/* For a user's I/O. */
static void to_base_for(struct powercut_op *op, bdev_done_fn *done)
{
	list_add_tail(&op->disk->at_base, &op->base_link);
	to_base(op->disk, &op->child, done);
}

static struct powercut_op *op_of(struct bdev_io *child)
{
	struct powercut_op *op = container_of(child, struct powercut_op, child);

	list_del(&op->base_link);
	return op;
}

/* After every answer of the base. */
static void base_answered(struct powercut *d)
{
	d->base_answers++;
	d->base_ios--;
	pump(d);
	powercut_step(d);
}

/* --- read ------------------------------------------------------------------------------------------------- */

static void read_done(struct bdev_io *child);

static void read_start(struct powercut_op *op)
{
	struct bdev_io *io = op->io;

	op->child = (struct bdev_io){ .op = BDEV_READ, .lba = io->lba, .count = io->count, .iovs = io->iovs,
	                              .iov_count = io->iov_count, .region = io->region };
	list_add_tail(&op->disk->reads, &op->link);
	to_base_for(op, read_done);
}

static bool is_read(const struct powercut *d, uint64_t lba)
{
	list_each(l, &d->reads) {
		const struct bdev_io *io = list_entry(l, struct powercut_op, link)->io;

		if (lba >= io->lba && lba - io->lba < io->count)
			return true;
	}
	return false;
}

static void lay_over(const struct powercut *d, const struct bdev_io *io)
{
	struct iov_cursor to = iov_cursor_over(io->iovs, io->iov_count);

	for (uint64_t i = 0; i < io->count; i++) {
		uint32_t slot = powercut_cache_find(&d->cache, io->lba + i);

		if (slot == CACHE_NONE)
			iov_skip(&to, d->cache.block_bytes);
		else
			iov_copy_in(&to, powercut_cache_data(&d->cache, slot), d->cache.block_bytes);
	}
}

/* What was kept for a read that has ended, unless another one needs it. */
void powercut_forget_kept(struct powercut *d)
{
	uint32_t next;

	for (uint32_t i = d->cache.other_first; i != CACHE_NONE; i = next) {
		next = d->cache.slots[i].next;
		if (d->cache.slots[i].state == CACHE_KEPT && !is_read(d, d->cache.slots[i].lba))
			powercut_cache_release(&d->cache, i);
	}
}

static void read_done(struct bdev_io *child)
{
	struct powercut_op *op = op_of(child);
	struct powercut *d = op->disk;

	if (child->status == BDEV_ST_OK)
		lay_over(d, op->io);
	list_del(&op->link);
	powercut_forget_kept(d);
	end(op, child->status);
	base_answered(d);
}

/* --- write ------------------------------------------------------------------------------------------------ */

static void write_start(struct powercut_op *op)
{
	struct powercut *d = op->disk;
	struct bdev_io *io = op->io;
	struct iov_cursor from = iov_cursor_over(io->iovs, io->iov_count);

	if (!bdev_io_may_land(io)) { /* it may have waited */
		end(op, BDEV_ST_FENCED);
		return;
	}
	d->seq++;
	for (uint64_t i = 0; i < io->count; i++)
		iov_copy_out(powercut_cache_put(&d->cache, io->lba + i, d->seq), &from, d->cache.block_bytes);
	if (io->flags & BDEV_IO_FUA)
		owe(op, io->lba, io->count);
	else
		end(op, BDEV_ST_OK);
}

/* In the order in which they came: who needs little does not pass who needs much. */
static void writes_start(struct powercut *d)
{
	struct powercut_op *op;

	while ((op = list_first(&d->waiting, struct powercut_op, link))) {
		if (powercut_cache_slots_needed(&d->cache, op->io->lba, op->io->count) > d->cache.free_count)
			return;
		list_del(&op->link);
		write_start(op);
	}
}

/* --- flush, FUA ------------------------------------------------------------------------------------------- */

static void owed_end(struct powercut *d)
{
	list_each_safe(l, &d->owed) {
		struct powercut_op *op = list_entry(l, struct powercut_op, link);

		if (powercut_cache_owes(&d->cache, op->lba, op->count, op->seq))
			continue;
		list_del(&op->link);
		op->child = (struct bdev_io){ .op = BDEV_FLUSH };
		to_base_for(op, flushed);
	}
}

static void flushed(struct bdev_io *child)
{
	struct powercut_op *op = op_of(child);
	struct powercut *d = op->disk;
	bool has_flush = child->status != BDEV_ST_UNSUPPORTED; /* without one there is nothing to lose below */

	if (op->io->op == BDEV_READ && child->status == BDEV_ST_OK && !d->off)
		read_start(op);
	else
		end(op, has_flush ? child->status : BDEV_ST_OK);
	base_answered(d);
}

/* --- unmap, reset ----------------------------------------------------------------------------------------- */

static bool unmaps_block(const struct bdev_io *io, uint64_t lba)
{
	if (!io->unmap.range_count)
		return lba >= io->lba && lba - io->lba < io->count;
	for (uint32_t i = 0; i < io->unmap.range_count; i++)
		if (lba >= io->unmap.ranges[i].lba && lba - io->unmap.ranges[i].lba < io->unmap.ranges[i].count)
			return true;
	return false;
}

static bool is_unmapped(const struct powercut *d, uint64_t lba)
{
	list_each(l, &d->unmaps)
		if (unmaps_block(list_entry(l, struct powercut_op, link)->io, lba))
			return true;
	return false;
}

static bool is_written_back(const struct powercut *d, const struct bdev_io *io)
{
	for (uint32_t i = d->cache.other_first; i != CACHE_NONE; i = d->cache.slots[i].next)
		if (d->cache.slots[i].state != CACHE_KEPT && unmaps_block(io, d->cache.slots[i].lba))
			return true;
	return false;
}

static void unmapped(struct bdev_io *child);

static void unmaps_start(struct powercut *d)
{
	list_each_safe(l, &d->unmaps) {
		struct powercut_op *op = list_entry(l, struct powercut_op, link);

		if (op->child.active || is_written_back(d, op->io))
			continue;
		op->seq = d->seq;
		op->child = (struct bdev_io){ .op = BDEV_UNMAP, .lba = op->io->lba, .count = op->io->count,
		                              .lease = op->io->lease, .lease_epoch = op->io->lease_epoch,
		                              .unmap = { op->io->unmap.ranges, op->io->unmap.range_count } };
		to_base_for(op, unmapped);
	}
}

/* What was written since then stays. */
static void forget_unmapped(struct powercut *d, const struct powercut_op *op)
{
	const uint32_t firsts[] = { d->cache.dirty_first, d->cache.other_first };
	uint32_t next;

	for (uint32_t k = 0; k < ARRAY_SIZE(firsts); k++) {
		for (uint32_t i = firsts[k]; i != CACHE_NONE; i = next) {
			next = d->cache.slots[i].next;
			if (unmaps_block(op->io, d->cache.slots[i].lba) && d->cache.slots[i].seq <= op->seq)
				powercut_cache_drop(&d->cache, i);
		}
	}
}

static void unmapped(struct bdev_io *child)
{
	struct powercut_op *op = op_of(child);
	struct powercut *d = op->disk;

	if (child->status == BDEV_ST_OK)
		forget_unmapped(d, op);
	list_del(&op->link);
	end(op, child->status);
	base_answered(d);
}

static void reset_done(struct bdev_io *child)
{
	struct powercut_op *op = op_of(child);
	struct powercut *d = op->disk;

	end(op, child->status);
	base_answered(d);
}

static void reset_start(struct powercut_op *op)
{
	op->child = (struct bdev_io){ .op = BDEV_RESET };
	to_base_for(op, reset_done);
}

/* --- to the base ------------------------------------------------------------------------------------------ */

static bool writable(const struct powercut *d, uint32_t slot)
{
	return powercut_cache_writable(&d->cache, slot) && !is_unmapped(d, d->cache.slots[slot].lba);
}

/* The oldest block that may be written now, of writes up to `seq`, in [lba, lba + count). */
static uint32_t oldest_owed(const struct powercut *d, uint64_t lba, uint64_t count, uint64_t seq)
{
	for (uint32_t i = d->cache.dirty_first; i != CACHE_NONE && d->cache.slots[i].oldest <= seq;
	     i = d->cache.slots[i].next)
		if (d->cache.slots[i].lba >= lba && d->cache.slots[i].lba - lba < count && writable(d, i))
			return i;
	return CACHE_NONE;
}

/* Any block, for the first write that waits for room; as a disk takes what lies next to its head. */
static uint32_t evicted(struct powercut *d)
{
	const struct powercut_op *op = list_first(&d->waiting, struct powercut_op, link);
	uint32_t needed, slot;

	if (!op || !d->cache.dirty_count)
		return CACHE_NONE;
	needed = powercut_cache_slots_needed(&d->cache, op->io->lba, op->io->count);
	if (needed <= d->cache.free_count + d->cache.busy_count)
		return CACHE_NONE;
	slot = powercut_cache_draw(&d->cache, random_next(&d->dice));
	return writable(d, slot) ? slot : oldest_owed(d, 0, ALL_BLOCKS, UINT64_MAX);
}

static uint32_t next_to_write(struct powercut *d)
{
	uint32_t slot = CACHE_NONE;

	if (d->draining)
		return oldest_owed(d, 0, ALL_BLOCKS, UINT64_MAX);
	list_each(l, &d->owed) {
		const struct powercut_op *op = list_entry(l, struct powercut_op, link);

		slot = oldest_owed(d, op->lba, op->count, op->seq);
		if (slot != CACHE_NONE)
			return slot;
	}
	return evicted(d);
}

static void written_back(struct bdev_io *io);

/* With the blocks that follow it, as far as they may be written too. */
static void write_back(struct powercut_write_back *wb, uint32_t slot)
{
	struct powercut *d = wb->disk;
	uint64_t lba = d->cache.slots[slot].lba;
	uint16_t n = 0;

	do {
		powercut_cache_write_begin(&d->cache, slot);
		wb->slots[n] = slot;
		wb->iovs[n++] = (struct iovec){ powercut_cache_data(&d->cache, slot), d->cache.block_bytes };
		slot = powercut_cache_find(&d->cache, lba + n);
	} while (n < WRITE_BACK_BLOCKS && slot != CACHE_NONE && writable(d, slot));
	wb->io = (struct bdev_io){ .op = BDEV_WRITE, .lba = lba, .count = n, .iovs = wb->iovs, .iov_count = n };
	wb->busy = true;
	to_base(d, &wb->io, written_back);
}

static void write_backs_start(struct powercut *d)
{
	for (uint32_t i = 0; i < WRITE_BACKS; i++) {
		uint32_t slot;

		if (d->write_backs[i].busy)
			continue;
		slot = next_to_write(d);
		if (slot == CACHE_NONE)
			return;
		write_back(&d->write_backs[i], slot);
	}
}

/* Who waits for the media hears that it fails; the blocks stay, and the next one tries again. */
static void fail_waiting(struct powercut *d, enum bdev_status st)
{
	struct list *lists[] = { &d->waiting, &d->owed };

	for (uint32_t k = 0; k < ARRAY_SIZE(lists); k++) {
		list_each_safe(l, lists[k]) {
			struct powercut_op *op = list_entry(l, struct powercut_op, link);

			list_del(&op->link);
			end(op, st);
		}
	}
}

static void slot_not_written(struct powercut *d, uint32_t slot)
{
	bool beyond = d->cache.slots[slot].lba >= atomic_load(&d->stacked.bdev.block_count); /* it shrank meanwhile */
	bool stale = d->cache.slots[slot].state == CACHE_STALE;

	powercut_cache_write_failed(&d->cache, slot);
	if (!stale && (d->draining || beyond)) {
		powercut_cache_drop(&d->cache, slot);
		d->lost++;
	}
}

static void written_back(struct bdev_io *io)
{
	struct powercut_write_back *wb = container_of(io, struct powercut_write_back, io);
	struct powercut *d = wb->disk;

	for (uint64_t i = 0; i < io->count; i++) {
		if (io->status == BDEV_ST_OK)
			powercut_cache_write_end(&d->cache, wb->slots[i], is_read(d, io->lba + i));
		else
			slot_not_written(d, wb->slots[i]);
	}
	wb->busy = false;
	if (io->status != BDEV_ST_OK)
		fail_waiting(d, io->status);
	base_answered(d);
}

/* --- all -------------------------------------------------------------------------------------------------- */

static void drain_flushed(struct bdev_io *io)
{
	struct powercut *d = container_of(io, struct powercut, flush);

	d->draining = false;
	d->base_ios--;
	d->drained(d);
}

static void give_up_cache(struct powercut *d)
{
	uint32_t next;

	for (uint32_t i = d->cache.dirty_first; i != CACHE_NONE; i = next) {
		next = d->cache.slots[i].next;
		powercut_cache_drop(&d->cache, i);
		d->lost++;
	}
}

static void pump(struct powercut *d)
{
	if (!d->off) {
		unmaps_start(d);
		writes_start(d);
	}
	if (!d->gave_up)
		write_backs_start(d);
	if (!d->off)
		owed_end(d);
	if (d->draining && !d->base_ios && d->gave_up) {
		give_up_cache(d);
		d->draining = false;
		d->drained(d);
		return;
	}
	if (d->draining && !d->base_ios) {
		must(!d->cache.dirty_count);
		d->flush = (struct bdev_io){ .op = BDEV_FLUSH };
		to_base(d, &d->flush, drain_flushed);
	}
	atomic_store_explicit(&d->seen_dirty, d->cache.dirty_count + d->cache.busy_count, memory_order_relaxed);
}

void powercut_drain(struct powercut *d, void (*drained)(struct powercut *d))
{
	must(!d->base_ios && !d->draining);
	powercut_forget_kept(d);
	d->drained = drained;
	if (!d->base_ch) { /* there never was an I/O */
		drained(d);
		return;
	}
	d->draining = true;
	pump(d);
}

void powercut_fail_all(struct powercut *d)
{
	must(d->off);
	fail_waiting(d, BDEV_ST_FAILED);
	list_each_safe(l, &d->unmaps) {
		struct powercut_op *op = list_entry(l, struct powercut_op, link);

		if (op->child.active)
			continue;
		list_del(&op->link);
		end(op, BDEV_ST_FAILED);
	}
}

void powercut_give_up(struct powercut *d)
{
	d->gave_up = true;
	fail_waiting(d, BDEV_ST_GONE);
	list_each_safe(l, &d->unmaps) {
		struct powercut_op *op = list_entry(l, struct powercut_op, link);

		if (op->child.active)
			continue;
		list_del(&op->link);
		end(op, BDEV_ST_GONE);
	}
	/* Nothing of this is answered within bdev_abort(). */
	list_each(l, &d->at_base)
		bdev_abort(d->base_ch, &list_entry(l, struct powercut_op, base_link)->child);
	for (uint32_t i = 0; i < WRITE_BACKS; i++)
		if (d->write_backs[i].busy)
			bdev_abort(d->base_ch, &d->write_backs[i].io);
	if (d->flush.active)
		bdev_abort(d->base_ch, &d->flush);
}
