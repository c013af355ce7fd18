/* SPDX-License-Identifier: BSD-3-Clause */
/* emu_fua.c: force unit access for a device with a volatile cache and no FUA of its own.
 *
 * What changes data is done without the flag and followed by a flush. A read that has to come from the media is
 * preceded by one: what it returns then is on the media.
 */
#include "bdev/emu.h"

struct fua {
	struct bdev_family family;
	struct bdev_io child;
	struct bdev_io *parent;
	bool flushes_first;
};

static void abort_child(struct bdev_family *f);
static void first_done(struct bdev_io *child);
static void second_done(struct bdev_io *child);
static void start(struct fua *f, bool flush, bdev_done_fn *done);
static void end(struct fua *f, enum bdev_status st);

uint32_t bdev_fua_bytes(void)
{
	return sizeof(struct fua);
}

void bdev_emu_fua(struct bdev_channel *ch, struct bdev_io *io)
{
	struct fua *f;

	if (!(ch->bdev->native_ops & BDEV_BIT(FLUSH))) {
		bdev_io_end(io, BDEV_ST_UNSUPPORTED); /* nothing can keep the promise */
		return;
	}
	f = bdev_pool_take(&ch->core->fuas, io);
	if (!f)
		return;
	memset(f, 0, sizeof(*f));
	f->parent = io;
	f->flushes_first = !bdev_op_changes(io->op);
	bdev_family_begin(io, &f->family, abort_child);
	start(f, f->flushes_first, first_done);
}

static void abort_child(struct bdev_family *family)
{
	struct fua *f = container_of(family, struct fua, family);

	bdev_abort(f->parent->ch, &f->child);
}

static void start(struct fua *f, bool flush, bdev_done_fn *done)
{
	const struct bdev_io *io = f->parent;
	struct bdev_io *child = &f->child;

	*child = (struct bdev_io){ .op = BDEV_FLUSH };
	if (!flush) {
		*child = *io;
		child->flags &= (uint16_t)~BDEV_IO_FUA;
		child->active = false;
		child->device_ctx = NULL;
	}
	child->done = done;
	bdev_child_start(child, io);
}

static void first_done(struct bdev_io *child)
{
	struct fua *f = container_of(child, struct fua, child);

	if (child->status != BDEV_ST_OK) {
		f->parent->miscompare_offset = child->miscompare_offset;
		end(f, child->status);
	} else {
		start(f, !f->flushes_first, second_done);
	}
}

static void second_done(struct bdev_io *child)
{
	struct fua *f = container_of(child, struct fua, child);

	if (f->flushes_first) {
		f->parent->iov_count = child->iov_count;
		f->parent->lent = child->lent;
		f->parent->miscompare_offset = child->miscompare_offset;
	}
	end(f, child->status);
}

static void end(struct fua *f, enum bdev_status st)
{
	struct bdev_io *parent = f->parent;

	bdev_pool_give(&parent->ch->core->fuas, f);
	bdev_io_end(parent, st);
}
