/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_compare.c: compare for devices that can only read: piece by piece into buffers, then memory with memory. */
#include "bdev/emu.h"

static void read_piece(struct emu *e);
static void compare_piece(struct emu *e);

void bdev_emu_compare(struct bdev_channel *ch, struct bdev_io *io)
{
	struct emu *e = emu_take(ch, io);

	if (e)
		emu_need_buffers(e, read_piece);
}

static void read_piece(struct emu *e)
{
	if (emu_next_piece(e))
		emu_move(e, BDEV_READ, e->parent->lba + e->done, compare_piece);
}

/* Bytes from the cursor on that equal those of the iovecs. */
static size_t equal_bytes(struct iov_cursor *with, const struct iovec *iovs, uint32_t count)
{
	size_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		size_t n = iov_equal(with, iovs[i].iov_base, iovs[i].iov_len);

		sum += n;
		if (n != iovs[i].iov_len)
			break;
	}
	return sum;
}

static void compare_piece(struct emu *e)
{
	size_t len = (size_t)e->piece * e->ch->block_bytes;
	size_t equal = equal_bytes(&e->data, e->child.iovs, e->child.iov_count);
	bool differs = equal != len;

	if (!differs && e->parent->md_iovs) {
		differs = equal_bytes(&e->md, e->child.md_iovs, e->child.md_iov_count) !=
		          (size_t)e->piece * e->ch->bdev->md_size;
		equal = 0; /* somewhere in this piece's metadata */
	}
	if (differs) {
		e->parent->miscompare_offset = (uint32_t)(e->done * e->ch->block_bytes + equal);
		emu_end(e, BDEV_ST_MISCOMPARE);
		return;
	}
	e->done += e->piece;
	read_piece(e);
}
