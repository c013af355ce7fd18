/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_copy.c: copy within a device: read a piece, write it. Ranges that overlap are copied from the end whose
 * source would be overwritten first.
 *
 * Protection information is checked as that of the source, then made anew or checked as that of the destination.
 */
#include "bdev/md.h"

static void read_piece(struct emu *e);
static void write_piece(struct emu *e);
static void piece_was_written(struct emu *e);

void bdev_emu_copy(struct bdev_channel *ch, struct bdev_io *io)
{
	struct emu *e = emu_take(ch, io);

	if (e)
		emu_need_buffers(e, read_piece);
}

/* Where the piece lies, from the beginning of the range. */
static uint64_t offset(const struct emu *e)
{
	const struct bdev_io *io = e->parent;
	bool backwards = io->lba > io->copy.src_lba && io->lba - io->copy.src_lba < io->count;

	return backwards ? io->count - e->done - e->piece : e->done;
}

static void read_piece(struct emu *e)
{
	if (emu_next_piece(e))
		emu_move(e, BDEV_READ, e->parent->copy.src_lba + offset(e), write_piece);
}

/* Over the blocks of `piece`, as the device has them, `offset` blocks from the beginning of the copy. */
enum bdev_status bdev_copy_protect(const struct bdev_io *io, struct bdev_io *piece, uint64_t offset)
{
	const struct bdev *b = io->ch->bdev;
	struct pi_shape s = bdev_pi_shape(b);
	struct bdev_tags from = { .ref = pi_ref_after(&s, io->from.ref, offset), .app = io->from.app,
	                          .mask = io->from.mask };
	struct bdev_tags to = { .ref = pi_ref_after(&s, io->ref_tag, offset), .app = io->app_tag, .mask = io->app_mask };
	uint32_t from_checks = io->flags >> 7 & BDEV_IO_PRCHK;
	enum bdev_status st = BDEV_ST_OK;

	if (likely(!b->dif_type))
		return BDEV_ST_OK;
	if (from_checks)
		st = bdev_md_verify(b, piece, from, from_checks);
	if (st != BDEV_ST_OK)
		return st;
	if (io->flags & (BDEV_IO_PRACT | BDEV_IO_PLAIN))
		return bdev_md_generate(b, piece, to);
	return io->flags & BDEV_IO_PRCHK ? bdev_md_verify(b, piece, to, io->flags) : BDEV_ST_OK;
}

static void write_piece(struct emu *e)
{
	enum bdev_status st = bdev_copy_protect(e->parent, &e->child, offset(e));

	if (st == BDEV_ST_OK)
		emu_move(e, BDEV_WRITE, e->parent->lba + offset(e), piece_was_written);
	else
		emu_end(e, st);
}

static void piece_was_written(struct emu *e)
{
	e->done += e->piece;
	read_piece(e);
}
