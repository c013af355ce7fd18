/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_verify.c: verify: read everything, look at its protection information if that is asked for, keep nothing. */
#include "bdev/md.h"

static void read_piece(struct emu *e);
static void piece_was_read(struct emu *e);

void bdev_emu_verify(struct bdev_channel *ch, struct bdev_io *io)
{
	struct emu *e = emu_take(ch, io);

	if (e)
		emu_need_buffers(e, read_piece);
}

static void read_piece(struct emu *e)
{
	if (emu_next_piece(e))
		emu_move(e, BDEV_READ, e->parent->lba + e->done, piece_was_read);
}

static void piece_was_read(struct emu *e)
{
	enum bdev_status st = emu_check_piece(e, e->done);

	if (st != BDEV_ST_OK) {
		emu_end(e, st);
		return;
	}
	e->done += e->piece;
	read_piece(e);
}
