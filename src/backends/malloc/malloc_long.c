/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc_long.c: unmap, write zeroes, copy and write uncorrectable, which may name the whole disk with one command.
 *
 * Each pass does a bounded part and sends itself a message for the rest, so that connections on the same core are
 * served in between. The lease is looked at before each part.
 */
#include "backends/malloc/malloc_disk.h"

struct long_op {
	struct msg msg;
	struct malloc_disk *disk;
	struct bdev_io *io;
	uint32_t range;      /* UNMAP: which one */
	uint64_t done;       /* blocks of the range */
	bool aborted;
};

static void run(struct msg *m);
static bool next_part(struct long_op *op, uint32_t *budget, enum bdev_status *st);
static bool zero_part(struct long_op *op, uint64_t lba, uint64_t count, bool deallocate, uint32_t *budget,
                      enum bdev_status *st);
static bool bad_part(struct long_op *op, uint32_t *budget, enum bdev_status *st);
static bool copy_part(struct long_op *op, uint32_t *budget, enum bdev_status *st);

uint32_t malloc_long_bytes(void)
{
	return sizeof(struct long_op);
}

void malloc_long_submit(struct malloc_disk *d, struct bdev_io *io)
{
	struct long_op *op = io->device_ctx;

	*op = (struct long_op){ .disk = d, .io = io };
	run(&op->msg);
}

bool malloc_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct long_op *op = io->device_ctx;

	if (!(bdev_channel_bdev(ch)->io_ctx_ops & 1u << io->op))
		return false; /* the others end within this pass */
	op->aborted = true;
	return true;
}

static void run(struct msg *m)
{
	struct long_op *op = container_of(m, struct long_op, msg);
	uint32_t budget = MALLOC_PASS_BUDGET;
	enum bdev_status st = BDEV_ST_OK;

	if (op->aborted)
		st = BDEV_ST_ABORTED;
	else if (!bdev_io_may_land(op->io))
		st = BDEV_ST_FENCED;
	else
		while (budget && next_part(op, &budget, &st))
			;
	if (budget || st != BDEV_ST_OK)
		bdev_io_done(op->io, st);
	else
		msg_send(reactor_self(), &op->msg, run);
}

static inline void spend(uint32_t *budget, uint32_t cost)
{
	*budget -= min_u32(cost, *budget);
}

/* One part; false: nothing is left to do, or st says why not. */
static bool next_part(struct long_op *op, uint32_t *budget, enum bdev_status *st)
{
	const struct bdev_io *io = op->io;
	const struct bdev_range *r;

	if (io->op == BDEV_COPY)
		return copy_part(op, budget, st);
	if (io->op == BDEV_WRITE_UNCORRECTABLE)
		return bad_part(op, budget, st);
	if (io->op == BDEV_WRITE_ZEROES)
		return zero_part(op, io->lba, io->count, io->flags & BDEV_IO_DEALLOCATE, budget, st);
	if (!io->unmap.range_count)
		return zero_part(op, io->lba, io->count, true, budget, st);
	if (op->range == io->unmap.range_count)
		return false;
	r = &io->unmap.ranges[op->range];
	if (!zero_part(op, r->lba, r->count, true, budget, st)) {
		if (*st != BDEV_ST_OK)
			return false;
		op->range++;
		op->done = 0;
	}
	return true;
}

static bool zero_part(struct long_op *op, uint64_t lba, uint64_t count, bool deallocate, uint32_t *budget,
                      enum bdev_status *st)
{
	struct piece p;
	uint32_t cost;

	if (op->done == count)
		return false;
	p = piece_at(op->disk, lba + op->done, count - op->done);
	cost = malloc_zero(op->disk, &p, deallocate);
	if (!cost) {
		*st = BDEV_ST_NO_SPACE;
		return false;
	}
	if (malloc_has_bad(op->disk))
		malloc_bad_heal(op->disk, lba + op->done, p.count);
	op->done += p.count;
	spend(budget, cost);
	return true;
}

static bool is_cut_off(const struct long_op *op)
{
	return op->io->lba + op->io->count > atomic_load_explicit(&op->disk->bdev.block_count, memory_order_relaxed);
}

static bool bad_part(struct long_op *op, uint32_t *budget, enum bdev_status *st)
{
	const struct bdev_io *io = op->io;
	uint32_t n;

	if (op->done == io->count)
		return false;
	n = is_cut_off(op) ? 0 : malloc_bad_declare(op->disk, io->lba + op->done, io->count - op->done);
	if (!n) {
		*st = is_cut_off(op) ? BDEV_ST_BAD_RANGE : BDEV_ST_NO_SPACE;
		return false;
	}
	op->done += n;
	spend(budget, MALLOC_COST_HOLE);
	return true;
}

/* Whole pages are not copied but shared: both slots hold a reference, and whoever is written to first gets a
 * page of its own. */
static bool share_page(struct malloc_disk *d, const struct piece *src, const struct piece *dst)
{
	if (!piece_is_page(d, src) || !piece_is_page(d, dst))
		return false;
	page_unpin(d->pages, page_exchange(d->pages, dst->slot, page_pin_slot(d->pages, src->slot)));
	return true;
}

static bool copy_blocks(struct malloc_disk *d, const struct piece *src, const struct piece *dst)
{
	char *page = piece_pin(d, src);
	struct iovec data, md;
	struct contents from = { .has_data = page != NULL, .has_md = page != NULL };
	bool ok;

	if (page) {
		data.iov_base = page + (size_t)src->first * d->block_bytes;
		data.iov_len = (size_t)src->count * d->block_bytes;
		md.iov_base = page + d->md_at + (size_t)src->first * d->md_bytes;
		md.iov_len = (size_t)src->count * d->md_bytes;
		from.data = iov_cursor_over(&data, 1);
		from.md = iov_cursor_over(&md, 1);
	}
	ok = page ? malloc_put(d, dst, &from) : malloc_zero(d, dst, true) != 0;
	page_unpin(d->pages, page);
	return ok;
}

/* The last piece of the first `left` blocks, for going backwards. */
static struct piece piece_before(const struct malloc_disk *d, uint64_t lba, uint64_t left)
{
	uint64_t last = lba + left - 1;
	uint64_t page_lba = slot_index(d, last) * d->blocks_per_page;

	return page_lba > lba ? piece_at(d, page_lba, last - page_lba + 1) : piece_at(d, lba, left);
}

static uint64_t lba_of(const struct malloc_disk *d, const struct piece *p)
{
	return (uint64_t)(p->slot - d->table.slots) * d->blocks_per_page + p->first;
}

/* Ranges that overlap are copied from the end whose source would be overwritten first. */
static bool copy_part(struct long_op *op, uint32_t *budget, enum bdev_status *st)
{
	struct malloc_disk *d = op->disk;
	const struct bdev_io *io = op->io;
	uint64_t left = io->count - op->done, src_lba = io->copy.src_lba;
	bool backwards = io->lba > src_lba && io->lba - src_lba < io->count;
	struct piece src, dst;
	uint32_t n;

	if (!left || io->lba == src_lba)
		return false;
	if (is_cut_off(op)) {
		*st = BDEV_ST_BAD_RANGE; /* the disk was made smaller meanwhile */
		return false;
	}
	if (!backwards) {
		src = piece_at(d, src_lba + op->done, left);
		dst = piece_at(d, io->lba + op->done, left);
		n = min_u32(src.count, dst.count);
	} else {
		src = piece_before(d, src_lba, left);
		dst = piece_before(d, io->lba, left);
		n = min_u32(src.count, dst.count);
		src.first += src.count - n;
		dst.first += dst.count - n;
	}
	src.count = dst.count = n;
	if (malloc_has_bad(d) && malloc_bad_any(d, lba_of(d, &src), n)) {
		*st = BDEV_ST_MEDIA_ERROR;
		return false;
	}
	if (share_page(d, &src, &dst)) {
		spend(budget, MALLOC_COST_FREE);
	} else if (copy_blocks(d, &src, &dst)) {
		spend(budget, MALLOC_COST_COPY);
	} else {
		*st = BDEV_ST_NO_SPACE;
		return false;
	}
	if (malloc_has_bad(d))
		malloc_bad_heal(d, lba_of(d, &dst), n);
	op->done += n;
	return true;
}
