/* SPDX-License-Identifier: BSD-3-Clause */
/* split.c: cut an I/O that a device cannot take whole into ones it can.
 *
 * The parent waits until its last child is done and takes the first error (bdev_status_of_parts()). Children are cut
 * a few at a time, so the memory needed does not depend on the size of the parent. Lent reads go one by one: each
 * child appends to the parent's iovecs.
 */
#include "bdev/emu.h"

struct split;
struct child {
	struct bdev_io io;
	struct split *split;
	uint64_t at;                     /* blocks from the parent's beginning */
	bool busy;
	struct iovec iovs[SPLIT_IOVS], md_iovs[SPLIT_IOVS / 4];
};

struct split {
	struct bdev_family family;
	struct bdev_io *parent;
	struct bdev_channel *ch;
	uint64_t max;                    /* blocks of a child */
	uint64_t cut;                    /* blocks of the parent (UNMAP: of the range) that went to children */
	uint32_t range;                  /* UNMAP */
	uint32_t running, lent_iovs;
	enum bdev_status status;         /* so far */
	struct iov_cursor data, md;
	struct child children[SPLIT_CHILDREN];
};

static void abort_children(struct bdev_family *f);
static void cut_more(struct split *s);
static bool cut_one(struct split *s, struct child *c);
static bool cut_unmap(struct split *s, struct bdev_io *io);
static bool cut_data(struct split *s, struct child *c);
static void child_done(struct bdev_io *io);
static void end(struct split *s);

uint32_t bdev_split_bytes(void)
{
	return sizeof(struct split);
}

static uint64_t unmap_largest(const struct bdev_io *io)
{
	uint64_t largest = 0;

	if (!io->unmap.range_count)
		return io->count;
	for (uint32_t i = 0; i < io->unmap.range_count; i++)
		largest = max_u64(largest, io->unmap.ranges[i].count);
	return largest;
}

uint32_t bdev_blocks_max(const struct bdev_channel *ch, uint8_t op)
{
	const uint32_t nodata = BDEV_BIT(WRITE_ZEROES) | BDEV_BIT(VERIFY) | BDEV_BIT(WRITE_UNCORRECTABLE) | BDEV_BIT(COPY);

	return nodata & 1u << op && ch->bdev->max_nodata_blocks ? ch->bdev->max_nodata_blocks : ch->max_io_blocks;
}

bool bdev_split_needed(const struct bdev_channel *ch, const struct bdev_io *io)
{
	switch (io->op) {
	case BDEV_READ:
	case BDEV_WRITE:
	case BDEV_WRITE_ZEROES:
	case BDEV_COMPARE:
	case BDEV_VERIFY:
	case BDEV_WRITE_UNCORRECTABLE:
		return io->count > bdev_blocks_max(ch, io->op);
	case BDEV_UNMAP:
		return ch->bdev->max_unmap_blocks && unmap_largest(io) > ch->bdev->max_unmap_blocks;
	default:
		return false; /* nothing to cut; copy and compare-and-write: emu.c */
	}
}

static void split_at(struct bdev_channel *ch, struct bdev_io *io, uint64_t max)
{
	struct split *s = bdev_pool_take(&ch->core->splits, io);

	if (!s)
		return;
	memset(s, 0, offsetof(struct split, children));
	s->parent = io;
	s->ch = ch;
	s->max = max;
	s->data = iov_cursor_over(io->iovs, io->iov_count);
	s->md = iov_cursor_over(io->md_iovs, io->md_iov_count);
	for (uint32_t i = 0; i < SPLIT_CHILDREN; i++) {
		memset(&s->children[i].io, 0, sizeof(s->children[i].io));
		s->children[i].split = s;
		s->children[i].busy = false;
	}
	bdev_family_begin(io, &s->family, abort_children);
	cut_more(s);
}

void bdev_split(struct bdev_channel *ch, struct bdev_io *io)
{
	split_at(ch, io, io->op == BDEV_UNMAP ? ch->bdev->max_unmap_blocks : bdev_blocks_max(ch, io->op));
}

/* Not children of ours: who has a context of a pool does not wait for another one. */
bool bdev_io_cut(struct bdev_io *io, uint64_t blocks)
{
	must(io->active && (io->waist & (WAIST_DEVICE | WAIST_DONE)) == WAIST_DEVICE);
	assert((BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(COMPARE)) & 1u << io->op);
	assert(blocks && blocks < io->count);
	if (io->done == child_done)
		return false;
	if (io->waist & WAIST_CTX)
		bdev_pool_give(&io->ch->core->ctxs, io->device_ctx);
	io->waist &= (uint16_t)~(WAIST_DEVICE | WAIST_CTX);
	split_at(io->ch, io, blocks);
	return true;
}

static void abort_children(struct bdev_family *f)
{
	struct split *s = container_of(f, struct split, family);

	for (uint32_t i = 0; i < SPLIT_CHILDREN; i++)
		if (s->children[i].busy)
			bdev_abort(s->ch, &s->children[i].io);
}

static void cut_more(struct split *s)
{
	uint32_t children = s->parent->flags & BDEV_IO_LEND ? 1 : SPLIT_CHILDREN;

	if (s->parent->waist & WAIST_ABORT && s->status == BDEV_ST_OK)
		s->status = BDEV_ST_ABORTED;
	for (uint32_t i = 0; i < children && s->status == BDEV_ST_OK; i++) {
		struct child *c = &s->children[i];

		if (c->busy)
			continue;
		if (!cut_one(s, c))
			break;
		c->busy = true;
		s->running++;
		bdev_child_start(&c->io, s->parent);
	}
	if (!s->running)
		end(s);
}

/* False: nothing is left, or s->status says what is wrong. */
static bool cut_one(struct split *s, struct child *c)
{
	const struct bdev_io *parent = s->parent;

	c->io.op = parent->op;
	c->io.flags = parent->flags;
	c->io.region = parent->region;
	c->io.done = child_done;
	if (parent->op == BDEV_UNMAP)
		return cut_unmap(s, &c->io);
	if (s->cut == parent->count)
		return false;
	c->at = s->cut;
	c->io.lba = parent->lba + s->cut;
	c->io.count = min_u64(parent->count - s->cut, s->max);
	c->io.ref_tag = parent->ref_tag + (uint32_t)s->cut;
	c->io.app_tag = parent->app_tag;
	c->io.app_mask = parent->app_mask;
	if (!cut_data(s, c)) {
		s->status = BDEV_ST_BAD_FIELD;
		return false;
	}
	s->cut += c->io.count;
	return true;
}

static bool cut_unmap(struct split *s, struct bdev_io *io)
{
	const struct bdev_io *parent = s->parent;
	struct bdev_range whole = { parent->lba, parent->count };
	const struct bdev_range *ranges = parent->unmap.range_count ? parent->unmap.ranges : &whole;
	uint32_t count = parent->unmap.range_count ? parent->unmap.range_count : 1;

	while (s->range < count && s->cut == ranges[s->range].count) {
		s->range++;
		s->cut = 0;
	}
	if (s->range == count)
		return false;
	io->lba = ranges[s->range].lba + s->cut;
	io->count = min_u64(ranges[s->range].count - s->cut, s->max);
	s->cut += io->count;
	return true;
}

/* The child's part of the iovecs. A part in too many pieces becomes smaller; one block must fit. */
static bool cut_data(struct split *s, struct child *c)
{
	const struct bdev *b = s->ch->bdev;
	struct bdev_io *io = &c->io;

	if (io->flags & BDEV_IO_LEND) {
		io->iovs = s->parent->iovs + s->lent_iovs;
		io->iov_max = (uint16_t)(s->parent->iov_max - s->lent_iovs);
	} else if (s->parent->iovs && (io->op == BDEV_READ || io->op == BDEV_WRITE || io->op == BDEV_COMPARE)) {
		io->iovs = c->iovs;
		for (;;) {
			uint64_t len = io->count * s->ch->block_bytes;

			io->iov_count = (uint16_t)iov_slice(&s->data, len, c->iovs, SPLIT_IOVS);
			if (io->iov_count)
				break;
			if ((io->count /= 2) == 0)
				return false;
		}
	}
	if (!s->parent->md_iovs)
		return true;
	io->md_iovs = c->md_iovs;
	io->md_iov_count = (uint16_t)iov_slice(&s->md, io->count * b->md_size, c->md_iovs, ARRAY_SIZE(c->md_iovs));
	return io->md_iov_count != 0;
}

static void child_done(struct bdev_io *io)
{
	struct child *c = container_of(io, struct child, io);
	struct split *s = c->split;

	c->busy = false;
	s->running--;
	if (io->status != BDEV_ST_OK && s->status == BDEV_ST_OK)
		s->parent->miscompare_offset = (uint32_t)(c->at * s->ch->block_bytes + io->miscompare_offset);
	s->status = bdev_status_of_parts(s->status, (enum bdev_status)io->status);
	if (io->lent)
		s->lent_iovs += io->iov_count;
	cut_more(s);
}

static void end(struct split *s)
{
	struct bdev_io *parent = s->parent;
	struct bdev_channel *ch = s->ch;
	enum bdev_status st = s->status;

	if (parent->flags & BDEV_IO_LEND) {
		if (st != BDEV_ST_OK && s->lent_iovs)
			ch->bdev->ops->release(ch->bdev, parent->iovs, s->lent_iovs);
		parent->iov_count = (uint16_t)s->lent_iovs;
		parent->lent = st == BDEV_ST_OK;
	}
	bdev_pool_give(&ch->core->splits, s);
	bdev_io_end(parent, st);
}
