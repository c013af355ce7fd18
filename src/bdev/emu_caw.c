/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_caw.c: compare and write as one act: compare under a range lock, write if equal, give the lock back.
 *
 * Everything else that changes these blocks waits meanwhile, on every core (locks.c). Reads do not: they see the
 * blocks before or after, as they do with any write.
 */
#include "bdev/emu.h"

struct caw {
	struct bdev_family family;
	struct bdev_io child;
	struct bdev_io *parent;
	enum bdev_status status;
	struct iov_cursor data, md;
	struct bdev_lock lock;
	struct iovec iovs[CAW_IOVS], md_iovs[CAW_IOVS / 4];
};

static void abort_child(struct bdev_family *f);
static void locked(struct bdev_lock *l);
static void run_child(struct caw *c, enum bdev_op op, bdev_done_fn *done);
static void compared(struct bdev_io *child);
static void written(struct bdev_io *child);
static void unlock(struct caw *c, enum bdev_status st);
static void unlocked(struct bdev_lock *l);

uint32_t bdev_caw_bytes(void)
{
	return sizeof(struct caw);
}

void bdev_emu_caw(struct bdev_channel *ch, struct bdev_io *io)
{
	struct caw *c = bdev_pool_take(&ch->core->caws, io);

	if (!c)
		return;
	memset(c, 0, offsetof(struct caw, iovs));
	c->parent = io;
	c->data = iov_cursor_over(io->iovs, io->iov_count);
	c->md = iov_cursor_over(io->md_iovs, io->md_iov_count);
	bdev_family_begin(io, &c->family, abort_child);
	bdev_lock_take(&c->lock, ch->bdev, io->lba, io->count, locked);
}

static void abort_child(struct bdev_family *f)
{
	struct caw *c = container_of(f, struct caw, family);

	bdev_abort(c->parent->ch, &c->child);
}

static void locked(struct bdev_lock *l)
{
	struct caw *c = container_of(l, struct caw, lock);

	if (c->parent->waist & WAIST_ABORT)
		unlock(c, BDEV_ST_ABORTED);
	else if (c->parent->ch->core->long_way & LONG_RESV && bdev_resv_stops(c->parent->ch->core, c->parent))
		unlock(c, BDEV_ST_RESERVED); /* made while it waited: nothing of it may land behind that */
	else
		run_child(c, BDEV_COMPARE, compared);
}

/* What is compared is checked as it is read; what is written was checked when it came. */
static void take_tags(struct bdev_io *child, const struct bdev_io *io)
{
	bool compares = child->op == BDEV_COMPARE;

	child->flags |= compares ? io->flags >> 7 & BDEV_IO_PRCHK : 0;
	child->ref_tag = compares ? io->compare.ref : io->ref_tag;
	child->app_tag = compares ? io->compare.app : io->app_tag;
	child->app_mask = compares ? io->compare.mask : io->app_mask;
}

/* A child over the next half of the parent's data. */
static void run_child(struct caw *c, enum bdev_op op, bdev_done_fn *done)
{
	const struct bdev_io *io = c->parent;
	struct bdev_channel *ch = io->ch;
	struct bdev_io *child = &c->child;

	child->op = (uint8_t)op;
	child->flags = op == BDEV_WRITE ? io->flags & BDEV_IO_FUA : 0;
	child->lba = io->lba;
	child->count = io->count;
	child->flags |= io->flags & (BDEV_IO_PLAIN | BDEV_IO_EXTENDED);
	take_tags(child, io);
	child->iovs = c->iovs;
	child->iov_count = (uint16_t)iov_slice(&c->data, io->count * bdev_io_block_bytes(ch, io), c->iovs,
	                                       ARRAY_SIZE(c->iovs));
	if (io->md_iovs) {
		child->md_iovs = c->md_iovs;
		child->md_iov_count = (uint16_t)iov_slice(&c->md, io->count * ch->bdev->md_size, c->md_iovs,
		                                          ARRAY_SIZE(c->md_iovs));
	}
	child->region = io->region;
	child->done = done;
	if (!child->iov_count || (io->md_iovs && !child->md_iov_count))
		unlock(c, BDEV_ST_BAD_FIELD); /* in more pieces than anybody needs */
	else
		bdev_child_start(child, io);
}

static void compared(struct bdev_io *child)
{
	struct caw *c = container_of(child, struct caw, child);

	c->parent->miscompare_offset = child->miscompare_offset;
	if (child->status != BDEV_ST_OK)
		unlock(c, child->status);
	else
		run_child(c, BDEV_WRITE, written);
}

static void written(struct bdev_io *child)
{
	unlock(container_of(child, struct caw, child), child->status);
}

static void unlock(struct caw *c, enum bdev_status st)
{
	c->status = st;
	bdev_lock_give(&c->lock, unlocked);
}

static void unlocked(struct bdev_lock *l)
{
	struct caw *c = container_of(l, struct caw, lock);
	struct bdev_io *parent = c->parent;
	enum bdev_status st = c->status;

	bdev_pool_give(&parent->ch->core->caws, c);
	bdev_io_end(parent, st);
}
