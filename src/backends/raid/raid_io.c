/* SPDX-License-Identifier: BSD-3-Clause */
/* raid_io.c: I/O of a raid: passed on whole where it lies within one member, else cut at the borders.
 *
 * Parts are cut a few at a time, in order; the parent waits until the last has ended and takes the first error
 * (bdev_status_of_parts()). What has no range, flush and reset, goes to every member.
 */
#include "backends/raid/raid_disk.h"

struct raid_io;
struct raid_child {
	struct bdev_stack_io x;
	struct raid_io *r;
	bool busy;
	struct iovec iovs[RAID_IOVS];
};

struct raid_io {
	struct bdev_stack_io whole;
	struct bdev_io *io;
	bool in_parts;
	/* in parts */
	uint64_t at;                 /* blocks of the I/O (UNMAP: of the range) that went out; FLUSH, RESET: members */
	uint32_t range, running;
	enum bdev_status status;
	struct iov_cursor data;
	struct raid_child children[RAID_CHILDREN];
};

static void in_parts(struct raid_io *r);
static void cut_more(struct raid_io *r);
static bool cut_one(struct raid_io *r, struct raid_child *c);
static void child_done(struct bdev_stack_io *x);
static void end(struct raid_io *r);

uint32_t raid_io_bytes(void)
{
	return sizeof(struct raid_io);
}

static bool has_range(const struct bdev_io *io)
{
	return io->op != BDEV_FLUSH && io->op != BDEV_RESET && !(io->op == BDEV_UNMAP && io->unmap.range_count);
}

void raid_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct raid_io *r = io->device_ctx;
	struct raid_place p;

	r->io = io;
	r->in_parts = true;
	if (has_range(io)) {
		p = raid_place_of(raid_of(bdev_channel_bdev(ch)), io->lba);
		if (io->count <= p.run) {
			r->in_parts = false;
			bdev_stack_child_init(&r->whole, io);
			r->whole.child.lba = p.lba;
			bdev_stack_child_start(&r->whole, ch, p.member, bdev_stack_child_end);
			return;
		}
	}
	in_parts(r);
}

static void in_parts(struct raid_io *r)
{
	r->at = 0;
	r->range = r->running = 0;
	r->status = BDEV_ST_OK;
	r->data = iov_cursor_over(r->io->iovs, r->io->iov_count);
	for (uint32_t i = 0; i < RAID_CHILDREN; i++)
		r->children[i].busy = false;
	cut_more(r);
}

static void cut_more(struct raid_io *r)
{
	for (uint32_t i = 0; i < RAID_CHILDREN && r->status == BDEV_ST_OK; i++)
		if (!r->children[i].busy && !cut_one(r, &r->children[i]))
			break;
	if (!r->running)
		end(r);
}

/* The range the next part is of: lba and count of what is left. */
static bool rest(struct raid_io *r, uint64_t *ret_lba, uint64_t *ret_count)
{
	const struct bdev_io *io = r->io;

	if (has_range(io)) {
		*ret_lba = io->lba + r->at;
		*ret_count = io->count - r->at;
		return *ret_count > 0;
	}
	while (r->range < io->unmap.range_count && r->at == io->unmap.ranges[r->range].count) {
		r->range++;
		r->at = 0;
	}
	if (r->range == io->unmap.range_count)
		return false;
	*ret_lba = io->unmap.ranges[r->range].lba + r->at;
	*ret_count = io->unmap.ranges[r->range].count - r->at;
	return true;
}

/* The part's data: as many blocks as fit into a child's iovecs. Returns how many; 0: a block in too many pieces. */
static uint64_t slice(struct raid_io *r, struct raid_child *c, uint64_t count)
{
	const struct bdev *b = bdev_channel_bdev(r->io->ch);
	uint64_t block_bytes = b->block_size + (b->md_interleaved ? b->md_size : 0);

	for (; count; count /= 2) {
		uint32_t n = iov_slice(&r->data, count * block_bytes, c->iovs, RAID_IOVS);

		if (!n)
			continue;
		c->x.child.iovs = c->iovs;
		c->x.child.iov_count = (uint16_t)n;
		break;
	}
	return count;
}

static void start(struct raid_io *r, struct raid_child *c, uint32_t member)
{
	c->r = r;
	c->busy = true;
	r->running++;
	bdev_stack_child_start(&c->x, r->io->ch, member, child_done);
}

static bool cut_one(struct raid_io *r, struct raid_child *c)
{
	const struct raid *disk = raid_of(bdev_channel_bdev(r->io->ch));
	bool moves = r->io->op == BDEV_READ || r->io->op == BDEV_WRITE;
	struct raid_place p;
	uint64_t lba, count;

	bdev_stack_child_init(&c->x, r->io);
	if (r->io->op == BDEV_FLUSH || r->io->op == BDEV_RESET) {
		if (r->at == disk->members)
			return false;
		start(r, c, (uint32_t)r->at++);
		return true;
	}
	if (!rest(r, &lba, &count))
		return false;
	p = raid_place_of(disk, lba);
	count = min_u64(count, p.run);
	if (moves)
		count = slice(r, c, count);
	if (!count) {
		r->status = BDEV_ST_BAD_FIELD;
		return false;
	}
	if (r->io->op == BDEV_UNMAP)
		c->x.child.unmap.range_count = 0;
	c->x.child.lba = p.lba;
	c->x.child.count = count;
	r->at += count;
	start(r, c, p.member);
	return true;
}

static void child_done(struct bdev_stack_io *x)
{
	struct raid_child *c = container_of(x, struct raid_child, x);
	struct raid_io *r = c->r;

	c->busy = false;
	r->running--;
	r->status = bdev_status_of_parts(r->status, (enum bdev_status)x->child.status);
	cut_more(r);
}

static void end(struct raid_io *r)
{
	enum bdev_status st = r->status;

	if (st == BDEV_ST_ABORTED && atomic_load(&bdev_channel_bdev(r->io->ch)->removing))
		st = BDEV_ST_GONE;
	bdev_io_done(r->io, st);
}

bool raid_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct raid_io *r = io->device_ctx;
	bool any = false;

	if (!r->in_parts)
		return bdev_abort(r->whole.child.ch, &r->whole.child);
	for (uint32_t i = 0; i < RAID_CHILDREN; i++)
		if (r->children[i].busy)
			any |= bdev_abort(r->children[i].x.child.ch, &r->children[i].x.child);
	return any;
}
