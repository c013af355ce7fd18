/* SPDX-License-Identifier: BSD-3-Clause */
/* blk_io.c: virtio-blk's requests (virtio 1.2, 5.2.6), on a ring's core. Data goes between disk and guest memory with
 * no stop between. A request without a whole header, or without a byte for its status, is no request: its ring
 * stops. One request can have 4 GiB, which a RAM disk copies with its core: it goes in pieces, so that others have
 * their turn. */
#include "vhost/blk.h"
#include "vhost/vhost_eyes.h"
#include "wire/virtio.h"

static void run(struct blk_task *b, const struct virtio_blk_outhdr *h);
static void read_or_write(struct blk_task *b, uint64_t sector, bool write);
static void piece(struct blk_task *b);
static void flush(struct blk_task *b);
static void ranges(struct blk_task *b, bool zeroes);
static void get_id(struct blk_task *b);
static void submit(struct blk_task *b, enum bdev_op op);
static void io_done(struct bdev_io *io);
static void leave(struct blk_task *b);
static void end(struct blk_task *b, enum virtio_blk_status status);

_Static_assert((int)VIRTIO_BLK_T_IN == STAGE_KIND_READ && (int)VIRTIO_BLK_T_OUT == STAGE_KIND_WRITE, "blk_count()");

static struct blk_task *task_of(struct vhost_task *t) { return container_of(t, struct blk_task, task); }

/* --- coming and going ------------------------------------------------------------------------------------------- */

void blk_ring_open(struct vhost_ring *r)
{
	struct vhost_disk *d = atomic_load(&blk_of(r->session->ctrlr)->disk);
	struct bdev_view *v = d ? &d->dev.view[reactor_index(reactor_self())] : NULL;

	if (v)
		v->refs++;
	r->device = v;
	blk_stages_open(r);
	vhost_ring_opened(r);
}

void blk_ring_close(struct vhost_ring *r)
{
	if (r->device)
		bdev_view_put(r->device);
	r->device = NULL;
	blk_stages_close(r);
	vhost_ring_closed(r);
}

void blk_ring_pick(struct vhost_ring *r, void *disk)
{
	struct vhost_disk *d = atomic_load(&blk_of(r->session->ctrlr)->disk);

	if (r->device || !d || &d->dev != disk)
		return; /* it opened after the disk had come, or is closed */
	r->device = &d->dev.view[reactor_index(reactor_self())];
	((struct bdev_view *)r->device)->refs++;
}

void blk_ring_drop(struct vhost_ring *r, void *disk)
{
	struct bdev_view *v = r->device;

	if (!v || v->served != disk)
		return;
	r->device = NULL;
	bdev_view_put(v);
}

/* --- requests --------------------------------------------------------------------------------------------------- */

/* The status is the last byte that can be written. */
static uint8_t *status_of(struct vhost_task *t)
{
	struct iovec *last = vhost_task_in(t) + t->chain.in_count;

	for (uint32_t i = 0; i < t->chain.in_count; i++)
		if ((--last)->iov_len)
			return (uint8_t *)last->iov_base + last->iov_len - 1;
	return NULL;
}

void blk_execute(struct vhost_task *t)
{
	struct blk_task *b = task_of(t);
	struct virtio_blk_outhdr h;

	b->cut.count = 0;
	b->in_len = b->left = b->bytes = 0;
	b->type = UINT32_MAX;
	b->between_ns = 0;
	b->io.waited = 0;
	b->status = status_of(t);
	if (likely(t->chain.out_count && t->iovs[0].iov_len == sizeof(h)))
		memcpy(&h, t->iovs[0].iov_base, sizeof(h));
	else if (!vhost_iovs_read(vhost_task_out(t), t->chain.out_count, 0, &h, sizeof(h)))
		b->status = NULL;
	__asm__ volatile("" ::: "memory"); /* from here on `h` is ours: not to be read in the guest's memory again */
	if (unlikely(!b->status)) {
		vhost_ring_broken(t->ring, "a request without a whole header, or without a byte for its status");
		vhost_task_done(t, 0);
		return;
	}
	b->view = t->ring->device;
	if (unlikely(!b->view || !b->view->ch)) {
		b->view = NULL;
		end(b, VIRTIO_BLK_S_IOERR);
		return;
	}
	b->view->refs++;
	run(b, &h);
}

static void run(struct blk_task *b, const struct virtio_blk_outhdr *h)
{
	uint64_t sector = le64_get(h->sector);

	b->type = le32_get(h->type);
	b->sector = sector;
	trace(VHOST_START, b->task.chain.id, b->type);
	switch (b->type) {
	case VIRTIO_BLK_T_IN:
		read_or_write(b, sector, false);
		break;
	case VIRTIO_BLK_T_OUT:
		read_or_write(b, sector, true);
		break;
	case VIRTIO_BLK_T_FLUSH:
		flush(b);
		break;
	case VIRTIO_BLK_T_DISCARD:
		ranges(b, false);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		ranges(b, true);
		break;
	case VIRTIO_BLK_T_GET_ID:
		get_id(b);
		break;
	default:
		end(b, VIRTIO_BLK_S_UNSUPP);
	}
}

static bool writes_through(const struct blk_task *b)
{
	const struct vhost_session *s = b->task.ring->session;
	const struct blk_session *bs = s->device;

	return atomic_load_explicit(&bs->no_flush, memory_order_relaxed) ||
	       atomic_load_explicit(&blk_of(s->ctrlr)->cache_off, memory_order_relaxed);
}

/* Of what goes in pieces none is done if the last one cannot be. */
static bool is_within(const struct blk_task *b, uint64_t at, uint64_t len)
{
	uint64_t all = bdev_block_count(b->view->desc) << b->view->shift;

	return len <= all && at <= all - len;
}

static void read_or_write(struct blk_task *b, uint64_t sector, bool write)
{
	struct vhost_task *t = &b->task;
	uint64_t len = write ? t->chain.out_len - sizeof(struct virtio_blk_outhdr) : t->chain.in_len - 1u;
	uint32_t shift = b->view->shift, mask = (1u << shift) - 1;
	uint64_t at = sector * VIRTIO_BLK_SECTOR;

	if (!len || (len & mask) || (at & mask) || sector > UINT64_MAX / VIRTIO_BLK_SECTOR || len > UINT32_MAX ||
	    (unlikely(len > BLK_PIECE_BYTES) && !is_within(b, at, len))) {
		end(b, VIRTIO_BLK_S_IOERR);
		return;
	}
	b->in_len = write ? 0 : (uint32_t)len;
	b->at = write ? sizeof(struct virtio_blk_outhdr) : 0;
	b->left = b->bytes = (uint32_t)len;
	b->io.op = write ? BDEV_WRITE : BDEV_READ;
	b->io.lba = at >> shift;
	b->io.count = 0;
	b->io.flags = write && writes_through(b) ? BDEV_IO_FUA : 0;
	piece(b);
}

/* Behind the one before it, if any. */
static void piece(struct blk_task *b)
{
	struct vhost_task *t = &b->task;
	uint32_t len = min_u32(b->left, max_u32(BLK_PIECE_BYTES, 1u << b->view->shift));
	bool write = b->io.op == BDEV_WRITE;

	must(vhost_iovs_cut(&b->cut, write ? vhost_task_out(t) : vhost_task_in(t),
	                    write ? t->chain.out_count : t->chain.in_count, b->at, len));
	b->at += len;
	b->left -= len;
	b->io.iovs = b->cut.iovs;
	b->io.iov_count = (uint16_t)b->cut.count;
	b->io.lba += b->io.count;
	b->io.count = len >> b->view->shift;
	submit(b, (enum bdev_op)b->io.op);
}

void blk_go_on(struct vhost_task *t)
{
	struct blk_task *b = task_of(t);

	b->between_ns += reactor_now_ns() - b->paused_ns;
	vhost_iovs_mend(&b->cut);
	piece(b);
}

void blk_hurry(struct vhost_task *t)
{
	struct blk_task *b = task_of(t);

	if (b->io.active)
		bdev_abort(b->io.ch, &b->io);
}

static void flush(struct blk_task *b)
{
	struct bdev_info info;

	bdev_get_info(b->view->desc, &info);
	if (!bdev_can(&info, BDEV_FLUSH)) {
		end(b, info.cache == BDEV_CACHE_VOLATILE ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_OK);
		return;
	}
	b->io.flags = 0;
	b->io.lba = 0;
	b->io.count = bdev_block_count(b->view->desc);
	submit(b, BDEV_FLUSH);
}

/* One range out of the guest's memory. */
static enum virtio_blk_status parse_range(struct blk_task *b, uint32_t i, bool zeroes)
{
	struct virtio_blk_discard_write_zeroes w;
	uint32_t shift = b->view->shift, mask = (1u << shift) - 1, flags;
	uint64_t at, len;

	if (!vhost_iovs_read(vhost_task_out(&b->task), b->task.chain.out_count,
	                     (uint32_t)(sizeof(struct virtio_blk_outhdr) + i * sizeof(w)), &w, sizeof(w)))
		return VIRTIO_BLK_S_IOERR;
	flags = le32_get(w.flags);
	if (flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	if (le64_get(w.sector) > UINT64_MAX / VIRTIO_BLK_SECTOR ||
	    le32_get(w.num_sectors) > (zeroes ? BLK_ZEROES_SECTORS_MAX : BLK_DISCARD_SECTORS_MAX))
		return VIRTIO_BLK_S_IOERR;
	at = le64_get(w.sector) * VIRTIO_BLK_SECTOR;
	len = le32_get(w.num_sectors) * (uint64_t)VIRTIO_BLK_SECTOR;
	if ((at & mask) || (len & mask))
		return VIRTIO_BLK_S_IOERR;
	b->ranges[i] = (struct bdev_range){ at >> shift, len >> shift };
	if (zeroes)
		b->io.flags = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ? BDEV_IO_DEALLOCATE : 0;
	return VIRTIO_BLK_S_OK;
}

static void ranges(struct blk_task *b, bool zeroes)
{
	uint32_t len = b->task.chain.out_len - (uint32_t)sizeof(struct virtio_blk_outhdr);
	uint32_t one = sizeof(struct virtio_blk_discard_write_zeroes), count = len / one;

	b->io.flags = 0;
	if (!count || len % one || count > (zeroes ? 1 : BLK_RANGES_MAX)) {
		end(b, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		enum virtio_blk_status status = parse_range(b, i, zeroes);

		if (status) {
			end(b, status);
			return;
		}
	}
	b->io.lba = b->ranges[0].lba;
	b->io.count = b->ranges[0].count;
	b->io.iov_count = 0;
	if (zeroes && !b->io.count) {
		end(b, VIRTIO_BLK_S_OK);
		return;
	}
	if (zeroes && writes_through(b))
		b->io.flags |= BDEV_IO_FUA;
	b->io.unmap.ranges = b->ranges;
	b->io.unmap.range_count = count;
	submit(b, zeroes ? BDEV_WRITE_ZEROES : BDEV_UNMAP);
}

/* Up to 20 bytes, ended by a zero when shorter. */
static void get_id(struct blk_task *b)
{
	struct vhost_task *t = &b->task;
	uint32_t len = min_u32(VIRTIO_BLK_ID_BYTES, t->chain.in_len - 1);
	char id[VIRTIO_BLK_ID_BYTES + 1] = "";

	text_pad(id, VIRTIO_BLK_ID_BYTES, blk_of(t->ring->session->ctrlr)->bdev_name, 0);
	b->in_len = len;
	if (!vhost_iovs_write(vhost_task_in(t), t->chain.in_count, 0, id, len))
		b->in_len = 0;
	end(b, VIRTIO_BLK_S_OK);
}

/* --- the disk's part -------------------------------------------------------------------------------------------- */

static void submit(struct blk_task *b, enum bdev_op op)
{
	b->io.op = (uint8_t)op;
	b->io.done = io_done;
	b->io.who = &b->task.ring->session->who;
	bdev_submit(b->view->ch, &b->io);
}

static void io_done(struct bdev_io *io)
{
	struct blk_task *b = container_of(io, struct blk_task, io);

	if (likely(io->status == BDEV_ST_OK)) {
		if (likely(!b->left)) {
			end(b, VIRTIO_BLK_S_OK);
		} else {
			b->paused_ns = reactor_now_ns();
			vhost_task_go_on(&b->task);
		}
		return;
	}
	vhost_iovs_touch(b->cut.iovs, b->cut.count);
	if (io->status == BDEV_ST_ABORTED && vhost_task_may_be_left(&b->task))
		leave(b);
	else
		end(b, io->status == BDEV_ST_UNSUPPORTED ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR);
}

static void leave(struct blk_task *b)
{
	vhost_iovs_mend(&b->cut);
	bdev_view_put(b->view);
	blk_count(b, VHOST_LEFT);
	vhost_task_leave(&b->task);
}

static void end(struct blk_task *b, enum virtio_blk_status status)
{
	vhost_iovs_mend(&b->cut);
	if (likely(b->view))
		bdev_view_put(b->view);
	*b->status = (uint8_t)status;
	blk_count(b, status);
	vhost_task_done(&b->task, status == VIRTIO_BLK_S_OK ? b->in_len + 1 : b->task.chain.in_len);
}
