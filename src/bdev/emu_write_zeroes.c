/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_write_zeroes.c: write zeroes: writes whose iovecs all point to one constant.
 *
 * Protection information is made on the way where the caller wants it, or tells readers to check nothing.
 */
#include "bdev/md.h"

static const char zeroes[65536];

static void write_piece(struct emu *e);
static void piece_was_written(struct emu *e);

void bdev_emu_write_zeroes(struct bdev_channel *ch, struct bdev_io *io)
{
	struct emu *e = emu_take(ch, io);

	if (!e)
		return;
	/* No buffers are needed: a piece may be as large as the iovecs can say. */
	e->piece_max = max_u32(1, MEM_IOV_MAX / 2 * sizeof(zeroes) / (ch->block_bytes + ch->bdev->md_size));
	e->piece_max = min_u32(e->piece_max, ch->max_io_blocks);
	write_piece(e);
}

static uint16_t describe(struct iovec *iovs, size_t len)
{
	uint16_t used = 0;

	for (size_t n; len; len -= n) {
		n = min_u64(len, sizeof(zeroes));
		iovs[used++] = (struct iovec){ .iov_base = (void *)(uintptr_t)zeroes, .iov_len = n };
	}
	return used;
}

static void child_done(struct bdev_io *child)
{
	struct emu *e = container_of(child, struct emu, child);

	if (child->status != BDEV_ST_OK)
		emu_end(e, child->status);
	else
		piece_was_written(e);
}

static void protect(struct emu *e)
{
	struct bdev_io *child = &e->child;
	const struct bdev_io *io = e->parent;
	struct pi_shape s = bdev_pi_shape(e->ch->bdev);
	bool made = io->flags & (BDEV_IO_PRACT | BDEV_IO_PLAIN);

	child->flags |= BDEV_IO_PLAIN;
	child->ref_tag = made ? pi_ref_after(&s, io->ref_tag, e->done) : PI_REF_ESCAPE;
	child->app_tag = made ? io->app_tag : PI_APP_ESCAPE;
}

static void write_piece(struct emu *e)
{
	const struct bdev *b = e->ch->bdev;
	struct bdev_io *child = &e->child;

	if (!emu_next_piece(e))
		return;
	child->op = BDEV_WRITE;
	child->flags = e->parent->flags & BDEV_IO_FUA; /* left when the device keeps that promise itself */
	if (b->dif_type)
		protect(e);
	child->lba = e->parent->lba + e->done;
	child->count = e->piece;
	child->iovs = e->iovs;
	child->iov_count = describe(e->iovs, (size_t)e->piece * bdev_io_block_bytes(e->ch, child));
	if (b->md_size && !b->md_interleaved && !b->dif_type) {
		child->md_iovs = e->md_iovs;
		child->md_iov_count = describe(e->md_iovs, (size_t)e->piece * b->md_size);
	}
	child->done = child_done;
	bdev_child_start(child, e->parent);
}

static void piece_was_written(struct emu *e)
{
	e->done += e->piece;
	write_piece(e);
}
