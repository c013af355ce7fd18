/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_compare.c: compare for devices that can only read: piece by piece into buffers, then memory with memory.
 *
 * Of metadata, protection information is not compared but checked, where the caller asks for it.
 */
#include "bdev/md.h"

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

/* How many bytes are equal from both cursors on; `len` when all are. */
static size_t equal_bytes(struct iov_cursor *with, struct iov_cursor *here, size_t len)
{
	size_t sum = 0;

	while (sum < len) {
		size_t n, equal;
		const void *p = iov_next(here, len - sum, &n);

		equal = iov_equal(with, p, n);
		sum += equal;
		if (equal != n)
			break;
	}
	return sum;
}

/* Metadata of one block: all but the tuple. */
static bool md_is_equal(const struct pi_shape *s, struct iov_cursor *with, struct iov_cursor *here)
{
	uint32_t before = s->type ? pi_at(s) : s->md_size, tuple = s->type ? PI_BYTES : 0;
	uint32_t after = s->md_size - before - tuple;

	if (equal_bytes(with, here, before) != before)
		return false;
	iov_skip(with, tuple);
	iov_skip(here, tuple);
	return equal_bytes(with, here, after) == after;
}

/* Returns where, in the caller's data, something differs; all of it: nothing does. */
static size_t compare_blocks(struct emu *e)
{
	const struct bdev *b = e->ch->bdev;
	const struct bdev_io *io = e->parent;
	struct pi_shape s = bdev_pi_shape(b);
	struct iov_cursor here = iov_cursor_over(e->child.iovs, e->child.iov_count);
	struct iov_cursor apart = iov_cursor_over(e->child.md_iovs, e->child.md_iov_count);
	struct iov_cursor *md_here = b->md_interleaved ? &here : &apart;
	struct iov_cursor *md_with = b->md_interleaved || io->flags & BDEV_IO_EXTENDED ? &e->data : &e->md;
	bool has_md = !(io->flags & BDEV_IO_PLAIN) && (md_with == &e->data || io->md_iovs);
	size_t stride = bdev_io_block_bytes(e->ch, io);

	for (uint32_t i = 0; i < e->piece; i++) {
		size_t equal = equal_bytes(&e->data, &here, b->block_size);

		if (equal != b->block_size)
			return i * stride + equal;
		if (!has_md)
			iov_skip(md_here, b->md_size);
		else if (!md_is_equal(&s, md_with, md_here))
			return i * stride + min_u64(b->block_size, stride - 1); /* somewhere in its metadata */
	}
	return e->piece * stride;
}

static void compare_piece(struct emu *e)
{
	size_t len = (size_t)e->piece * bdev_io_block_bytes(e->ch, e->parent), equal;
	enum bdev_status st = emu_check_piece(e, e->done);

	if (st != BDEV_ST_OK) {
		emu_end(e, st);
		return;
	}
	if (e->ch->bdev->md_size) {
		equal = compare_blocks(e);
	} else {
		struct iov_cursor here = iov_cursor_over(e->child.iovs, e->child.iov_count);

		equal = equal_bytes(&e->data, &here, len);
	}
	if (equal != len) {
		e->parent->miscompare_offset = (uint32_t)(e->done * bdev_io_block_bytes(e->ch, e->parent) + equal);
		emu_end(e, BDEV_ST_MISCOMPARE);
		return;
	}
	e->done += e->piece;
	read_piece(e);
}
