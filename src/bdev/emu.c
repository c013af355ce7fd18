/* SPDX-License-Identifier: BSD-3-Clause */
/* emu.c: what to do with an I/O that the device cannot take as it is, and what the leaves among the
 * emulations share: a context, buffers, and one child I/O at a time.
 */
#include "bdev/md.h"

#define EMU_CHUNK 8u
#define EMU_MAX 64u

static void lba_status(struct bdev_channel *ch, struct bdev_io *io);
static void nothing_to_flush(struct bdev_channel *ch, struct bdev_io *io);

/* Where the device has no such operation of its own. */
static bdev_emu_fn *const emulations[BDEV_OP_COUNT] = {
	[BDEV_COMPARE] = bdev_emu_compare,
	[BDEV_VERIFY] = bdev_emu_verify,
	[BDEV_COPY] = bdev_emu_copy,
	[BDEV_WRITE_ZEROES] = bdev_emu_write_zeroes,
	[BDEV_COMPARE_AND_WRITE] = bdev_emu_caw,
	[BDEV_GET_LBA_STATUS] = lba_status,
	[BDEV_FLUSH] = nothing_to_flush,
};

/* A source that is the same device is what devices and emulations take for granted. */
static bool from_elsewhere(const struct bdev_channel *ch, struct bdev_io *io)
{
	if (!(io->flags & BDEV_IO_SRC))
		return false;
	if (io->copy.src->bdev != ch->bdev)
		return true;
	io->flags &= (uint16_t)~BDEV_IO_SRC;
	return false;
}

static bool fua_means_something(uint8_t op)
{
	return bdev_op_changes(op) || op == BDEV_READ || op == BDEV_COMPARE;
}

bool bdev_emulate(struct bdev_channel *ch, struct bdev_io *io)
{
	bool native = ch->bdev->native_ops & 1u << io->op;

	if (io->flags & ch->slow_flags & BDEV_IO_FUA && fua_means_something(io->op))
		bdev_emu_fua(ch, io); /* on others the flag means nothing */
	else if (io->op == BDEV_COPY && from_elsewhere(ch, io))
		bdev_emu_copy_from(ch, io);
	else if (io->op == BDEV_GET_LBA_STATUS && io->lba_status.of_bad && !ch->bdev->knows_bad)
		lba_status(ch, io);
	else if (unlikely(io->flags & BDEV_IO_MD) && bdev_md_emulate(ch, io))
		return true;
	else if (!native && emulations[io->op])
		emulations[io->op](ch, io);
	else if (!native)
		bdev_io_end(io, BDEV_ST_UNSUPPORTED);
	else if (bdev_split_needed(ch, io))
		bdev_split(ch, io);
	else if (io->op == BDEV_COPY && io->count > bdev_blocks_max(ch, io->op))
		bdev_emu_copy(ch, io);
	else if (io->op == BDEV_COMPARE_AND_WRITE && io->count > ch->max_io_blocks)
		bdev_io_end(io, BDEV_ST_BAD_FIELD); /* in parts it would not be one */
	else
		return false;
	return true;
}

/* A device without holes, or without a memory of what it lost. */
static void lba_status(struct bdev_channel *ch, struct bdev_io *io)
{
	io->lba_status.ret_mapped = true;
	io->lba_status.ret_bad = false;
	io->lba_status.ret_blocks = io->count;
	bdev_io_end(io, BDEV_ST_OK);
}

/* A device without a cache: bdev_usable_ops() lets nobody else come here. */
static void nothing_to_flush(struct bdev_channel *ch, struct bdev_io *io)
{
	bdev_io_end(io, BDEV_ST_OK);
}

void bdev_emu_init(struct bdev_core *core)
{
	bdev_pool_init(&core->emus, core, "emulation context", sizeof(struct emu), EMU_CHUNK, EMU_MAX, bdev_dispatch);
	bdev_pool_init(&core->splits, core, "split context", bdev_split_bytes(), EMU_CHUNK, EMU_MAX, bdev_dispatch);
	bdev_pool_init(&core->caws, core, "compare-and-write context", bdev_caw_bytes(), EMU_CHUNK, EMU_MAX,
	               bdev_dispatch);
	bdev_pool_init(&core->fuas, core, "FUA context", bdev_fua_bytes(), EMU_CHUNK, EMU_MAX, bdev_dispatch);
	bdev_pool_init(&core->mds, core, "metadata context", bdev_md_bytes(), EMU_CHUNK, EMU_MAX, bdev_dispatch);
}

void bdev_emu_fini(struct bdev_core *core)
{
	bdev_pool_fini(&core->emus);
	bdev_pool_fini(&core->splits);
	bdev_pool_fini(&core->caws);
	bdev_pool_fini(&core->fuas);
	bdev_pool_fini(&core->mds);
}

/* --- leaves ----------------------------------------------------------------------------------------------- */

static void abort_child(struct bdev_family *f);

static uint32_t block_bytes_all(const struct bdev *b)
{
	return b->block_size + b->md_size;
}

struct emu *emu_take(struct bdev_channel *ch, struct bdev_io *io)
{
	struct emu *e = bdev_pool_take(&ch->core->emus, io);

	if (!e)
		return NULL;
	memset(e, 0, offsetof(struct emu, iovs));
	e->parent = io;
	e->ch = ch;
	e->piece_max = max_u32(1, EMU_PIECE_BYTES / block_bytes_all(ch->bdev));
	e->piece_max = min_u32(e->piece_max, ch->max_io_blocks);
	e->piece_max = (uint32_t)min_u64(e->piece_max, io->count);
	e->data = iov_cursor_over(io->iovs, io->iov_count);
	e->md = iov_cursor_over(io->md_iovs, io->md_iov_count);
	bdev_family_begin(io, &e->family, abort_child);
	return e;
}

static void abort_child(struct bdev_family *f)
{
	struct emu *e = container_of(f, struct emu, family);

	bdev_abort(e->ch, &e->child);
}

void emu_end(struct emu *e, enum bdev_status st)
{
	struct bdev_io *parent = e->parent;

	if (mem_held(&e->bufs))
		mem_give(&e->bufs);
	bdev_pool_give(&e->ch->core->emus, e);
	bdev_io_end(parent, st);
}

static void buffers_came(struct wait *w);

void emu_need_buffers(struct emu *e, emu_fn *next)
{
	uint32_t len = e->piece_max * block_bytes_all(e->ch->bdev);

	e->next = next;
	if (mem_take(&e->bufs, len))
		next(e);
	else
		mem_wait(&e->wait, len, buffers_came);
}

static void buffers_came(struct wait *w)
{
	struct emu *e = container_of(w, struct emu, wait);

	emu_need_buffers(e, e->next);
}

bool emu_next_piece(struct emu *e)
{
	uint64_t left = e->parent->count - e->done;

	if (!left || e->parent->waist & WAIST_ABORT) {
		emu_end(e, left ? BDEV_ST_ABORTED : BDEV_ST_OK);
		return false;
	}
	e->piece = (uint32_t)min_u64(left, e->piece_max);
	return true;
}

static void moved(struct bdev_io *child)
{
	struct emu *e = container_of(child, struct emu, child);

	if (child->status != BDEV_ST_OK)
		emu_end(e, child->status);
	else
		e->next(e);
}

void emu_move(struct emu *e, enum bdev_op op, uint64_t lba, emu_fn *next)
{
	const struct bdev *b = e->ch->bdev;
	struct iov_cursor at = iov_cursor_over(mem_iov(&e->bufs), e->bufs.count);
	struct bdev_io *child = &e->child;

	child->op = (uint8_t)op;
	child->flags = e->parent->flags & BDEV_IO_FUA; /* left when the device keeps that promise itself */
	child->lba = lba;
	child->count = e->piece;
	child->iovs = e->iovs;
	child->iov_count = (uint16_t)iov_slice(&at, (size_t)e->piece * e->ch->block_bytes, e->iovs, MEM_IOV_MAX);
	if (b->md_size && !b->md_interleaved) {
		child->md_iovs = e->md_iovs;
		child->md_iov_count = (uint16_t)iov_slice(&at, (size_t)e->piece * b->md_size, e->md_iovs, MEM_IOV_MAX);
	}
	child->region = mem_region_self();
	child->done = moved;
	e->next = next;
	bdev_child_start(child, e->parent);
}

enum bdev_status emu_check_piece(const struct emu *e, uint64_t offset)
{
	const struct bdev_io *io = e->parent;
	struct pi_shape s = bdev_pi_shape(e->ch->bdev);
	struct bdev_tags tags = { .ref = pi_ref_after(&s, io->ref_tag, offset), .app = io->app_tag, .mask = io->app_mask };

	if (likely(!(io->flags & BDEV_IO_PRCHK)))
		return BDEV_ST_OK;
	return bdev_md_verify(e->ch->bdev, &e->child, tags, io->flags);
}
