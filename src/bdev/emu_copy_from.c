/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_copy_from.c: copy from another device: read a piece there, write it here.
 *
 * A source that lends lends the piece, and what is written is the source's own memory. The reads are whole I/Os of the
 * source: checked, counted and limited there, and fenced by the same lease.
 */
#include "bdev/md.h"

static void abort_either(struct bdev_family *f);
static void source_shape(struct emu *e);
static void read_piece(struct emu *e);
static void source_done(struct bdev_io *source);
static void write_piece(struct emu *e);
static void written(struct bdev_io *child);

void bdev_emu_copy_from(struct bdev_channel *ch, struct bdev_io *io)
{
	struct emu *e = emu_take(ch, io);

	if (!e)
		return;
	e->family.abort = abort_either;
	source_shape(e);
	if (e->source.flags & BDEV_IO_LEND)
		read_piece(e);
	else
		emu_need_buffers(e, read_piece);
}

static void abort_either(struct bdev_family *f)
{
	struct emu *e = container_of(f, struct emu, family);

	bdev_abort(e->parent->copy.src, &e->source);
	bdev_abort(e->ch, &e->child);
}

/* Lent, where the iovecs of a piece suffice, metadata do not travel apart, and no tags are made in them. */
static void source_shape(struct emu *e)
{
	const struct bdev_channel *src = e->parent->copy.src;
	uint32_t piece = e->piece_max;

	if (!src->lends || (src->bdev->md_size && !src->bdev->md_interleaved) ||
	    e->parent->flags & (BDEV_IO_PRACT | BDEV_IO_PLAIN))
		return;
	while (piece && bdev_lend_iovs_max(src->desc, piece) > MEM_IOV_MAX)
		piece /= 2;
	if (!piece)
		return;
	e->piece_max = piece;
	e->source.flags = BDEV_IO_LEND;
}

/* Of a block, as the users of a channel see it. */
static size_t shown_bytes(const struct bdev_channel *ch)
{
	return ch->md_flags ? ch->bdev->block_size : ch->block_bytes;
}

static void read_piece(struct emu *e)
{
	struct bdev_channel *src = e->parent->copy.src;
	const struct bdev *b = src->bdev;
	struct bdev_io *source = &e->source;

	if (!emu_next_piece(e))
		return;
	source->op = BDEV_READ;
	source->lba = e->parent->copy.src_lba + e->done;
	source->count = e->piece;
	source->iovs = e->iovs;
	source->iov_max = MEM_IOV_MAX;
	if (!(source->flags & BDEV_IO_LEND)) {
		struct iov_cursor at = iov_cursor_over(mem_iov(&e->bufs), e->bufs.count);

		source->iov_count = (uint16_t)iov_slice(&at, e->piece * shown_bytes(src), e->iovs, MEM_IOV_MAX);
		if (b->md_size && !b->md_interleaved && !src->md_flags) {
			source->md_iovs = e->md_iovs;
			source->md_iov_count = (uint16_t)iov_slice(&at, (size_t)e->piece * b->md_size, e->md_iovs, MEM_IOV_MAX);
		}
		source->region = mem_region_self();
	}
	source->who = e->parent->who;
	source->lease = e->parent->lease;
	source->lease_epoch = e->parent->lease_epoch;
	source->done = source_done;
	bdev_submit(src, source);
}

static void source_done(struct bdev_io *source)
{
	struct emu *e = container_of(source, struct emu, source);
	bool aborted = e->parent->waist & WAIST_ABORT;

	if (source->status == BDEV_ST_OK && !aborted) {
		write_piece(e);
		return;
	}
	if (source->lent)
		bdev_io_release(source);
	if (source->status == BDEV_ST_OK)
		emu_end(e, BDEV_ST_ABORTED);
	else /* the device that was written to is there, and who asked must not think otherwise */
		emu_end(e, source->status == BDEV_ST_GONE ? BDEV_ST_SRC_GONE : source->status);
}

/* Protection information of what is written: made or checked here, or by the child where there is none to see. */
static enum bdev_status protect(struct emu *e)
{
	struct pi_shape s = bdev_pi_shape(e->ch->bdev);

	if (!e->ch->md_flags)
		return bdev_copy_protect(e->parent, &e->child, e->done);
	e->child.flags |= BDEV_IO_PLAIN;
	e->child.ref_tag = pi_ref_after(&s, e->parent->ref_tag, e->done);
	return BDEV_ST_OK;
}

static void written_badly(struct emu *e, enum bdev_status st)
{
	if (e->source.lent)
		bdev_io_release(&e->source);
	emu_end(e, st);
}

static void write_piece(struct emu *e)
{
	struct bdev_io *child = &e->child;
	enum bdev_status st;

	child->op = BDEV_WRITE;
	child->flags = e->parent->flags & BDEV_IO_FUA; /* left when the device keeps that promise itself */
	child->lba = e->parent->lba + e->done;
	child->count = e->piece;
	child->iovs = e->source.iovs;
	child->iov_count = e->source.iov_count;
	child->md_iovs = e->source.md_iovs;
	child->md_iov_count = e->source.md_iov_count;
	child->region = e->source.region;
	child->done = written;
	st = protect(e);
	if (st == BDEV_ST_OK)
		bdev_child_start(child, e->parent);
	else
		written_badly(e, st);
}

static void written(struct bdev_io *child)
{
	struct emu *e = container_of(child, struct emu, child);

	if (child->status != BDEV_ST_OK) {
		written_badly(e, child->status);
		return;
	}
	if (e->source.lent)
		bdev_io_release(&e->source);
	e->done += e->piece;
	read_piece(e);
}
