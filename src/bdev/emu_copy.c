/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_copy.c: copy within a device: read a piece, write it. Ranges that overlap are copied from the end whose
 * source would be overwritten first.
 */
#include "bdev/emu.h"

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

static void write_piece(struct emu *e)
{
	emu_move(e, BDEV_WRITE, e->parent->lba + offset(e), piece_was_written);
}

static void piece_was_written(struct emu *e)
{
	e->done += e->piece;
	read_piece(e);
}
