/* SPDX-License-Identifier: BSD-3-Clause */
/* blk.c: a virtio-blk device as a disk. Its one request is an I/O; a discard or write-zeroes of more ranges, or longer
 * ones, than it takes at once is several requests, one after the other.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "backends/virtio/virtio_priv.h"
#include "core/log.h"

#define SEGS_MAX ARRAY_SIZE(((struct vio_req *)0)->segs)

static void submit(struct bdev_channel *ch, struct bdev_io *io);

static const struct bdev_ops blk_ops = {
	.submit = submit,
	.abort = vio_abort,
	.remove = vio_disk_remove,
	.destroy = vio_disk_destroy,
};

uint64_t vio_blk_features(void)
{
	return VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_BIT(VIRTIO_BLK_F_RO) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) |
	       VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) | VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE) | VIRTIO_BIT(VIRTIO_BLK_F_MQ) |
	       VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES) |
	       VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX);
}

static bool has(const struct vio_ctrlr *c, enum virtio_blk_feature f) { return c->features & VIRTIO_BIT(f); }

/* --- what it is -------------------------------------------------------------------------------------------------- */

struct shape {
	uint32_t block_size;
	uint64_t block_count;
};

/* No server says what kind of device it has: a SCSI host offers none of a disk's features, and where a disk has its
 * geometry it has the length of an event. */
static bool is_scsi_host(const struct vio_ctrlr *c)
{
	struct virtio_scsi_config f;

	memcpy(&f, c->config, sizeof(f));
	return !(c->features & VIO_BLK_ONLY) && le32_get(f.event_info_size) == sizeof(struct virtio_scsi_event) &&
	       le32_get(f.cdb_size);
}

static int shape_of(const struct vio_ctrlr *c, const struct virtio_blk_config *f, struct shape *ret_shape,
                    struct err *e)
{
	struct shape s = { .block_size = has(c, VIRTIO_BLK_F_BLK_SIZE) ? le32_get(f->blk_size) : VIRTIO_BLK_SECTOR };
	uint64_t sectors = le64_get(f->capacity);

	if (is_scsi_host(c))
		return err_set(e, ERR_BAD_PARAM, "dev_type: blk, but the server's device is a SCSI host (virtio-scsi); attach "
		               "it with dev_type scsi");
	if (!is_pow2(s.block_size) || s.block_size < VIRTIO_BLK_SECTOR || s.block_size > 65536)
		return err_set(e, -EPROTO, "the server's device has blocks of %u bytes", s.block_size);
	if (sectors > UINT64_MAX / VIRTIO_BLK_SECTOR || sectors < s.block_size / VIRTIO_BLK_SECTOR)
		return err_set(e, -EPROTO, "the server's device has %" PRIu64 " sectors", sectors);
	s.block_count = sectors / (s.block_size / VIRTIO_BLK_SECTOR);
	*ret_shape = s;
	return 0;
}

static enum bdev_cache cache_of(const struct vio_ctrlr *c, const struct virtio_blk_config *f)
{
	if (!has(c, VIRTIO_BLK_F_FLUSH))
		return BDEV_CACHE_NONE;
	return has(c, VIRTIO_BLK_F_CONFIG_WCE) && !f->wce ? BDEV_CACHE_NONE : BDEV_CACHE_VOLATILE;
}

/* Blocks of one range, and ranges of one request, that a device takes; 0 ranges: one. */
static uint32_t range_blocks(const struct vio_ctrlr *c, le32 max_sectors, uint32_t block_size)
{
	uint32_t sectors = le32_get(max_sectors);

	return max_u32((sectors ? sectors : UINT32_MAX) / (block_size / VIRTIO_BLK_SECTOR), 1);
}

static int add(struct vio_ctrlr *c, const struct virtio_blk_config *f, const struct shape *s, struct err *e)
{
	struct vio_disk *d = base_zalloc(sizeof(*d));
	uint32_t size_max = has(c, VIRTIO_BLK_F_SIZE_MAX) ? le32_get(f->size_max) : 0;
	uint32_t io_bytes = size_max >= s->block_size ? min_u32(size_max, VIO_LARGE_BYTES) : VIO_LARGE_BYTES;

	d->bdev = (struct bdev){
		.ops = &blk_ops,
		.product = vio_blk_product,
		.uuid = c->opts.uuid,
		.block_size = s->block_size,
		.physical_block_size = has(c, VIRTIO_BLK_F_TOPOLOGY) ? s->block_size << (f->physical_block_exp & 15) : 0,
		.block_count = s->block_count,
		.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | (has(c, VIRTIO_BLK_F_FLUSH) ? BDEV_BIT(FLUSH) : 0) |
		              (has(c, VIRTIO_BLK_F_DISCARD) ? BDEV_BIT(UNMAP) : 0) |
		              (has(c, VIRTIO_BLK_F_WRITE_ZEROES) ? BDEV_BIT(WRITE_ZEROES) : 0),
		.read_only = has(c, VIRTIO_BLK_F_RO),
		.thin = has(c, VIRTIO_BLK_F_DISCARD),
		.cache = cache_of(c, f),
		.max_io_blocks = io_bytes / s->block_size,
		.io_ctx_bytes = sizeof(struct vio_req),
		.sleeps = "eventfd",
	};
	snprintf(d->bdev.name, sizeof(d->bdev.name), "%s", c->name);
	if (has(c, VIRTIO_BLK_F_DISCARD)) {
		d->seg_max = min_u32(max_u32(le32_get(f->max_discard_seg), 1), SEGS_MAX);
		d->range_blocks_max = range_blocks(c, f->max_discard_sectors, s->block_size);
	}
	if (has(c, VIRTIO_BLK_F_WRITE_ZEROES))
		d->bdev.max_nodata_blocks = range_blocks(c, f->max_write_zeroes_sectors, s->block_size);
	return vio_disk_add(c, d, e);
}

static int look_again(struct vio_ctrlr *c, struct vio_disk *d, const struct shape *s, struct err *e)
{
	uint64_t count = atomic_load(&d->bdev.block_count);

	if (s->block_size != d->bdev.block_size)
		return err_set(e, -EPROTO, "the server's device has blocks of %u bytes now; it had %u", s->block_size,
		               d->bdev.block_size);
	if (s->block_count != count && bdev_resize(&d->bdev, s->block_count, e) != 0)
		return e->code;
	return 0;
}

int vio_blk_up(struct vio_ctrlr *c, struct err *e)
{
	struct virtio_blk_config f;
	struct vio_disk *d = list_first(&c->disks, struct vio_disk, link);
	struct shape s = { 0 };

	memcpy(&f, c->config, sizeof(f));
	if (shape_of(c, &f, &s, e) != 0)
		return e->code;
	return d ? look_again(c, d, &s, e) : add(c, &f, &s, e);
}

/* --- I/O --------------------------------------------------------------------------------------------------------- */

static void answered(struct vio_req *r);

static void head(struct vio_req *r, enum virtio_blk_type type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = le32_of(type), .sector = le64_of(sector) };

	memcpy(r->head, &h, sizeof(h));
	r->head_len = sizeof(h);
	r->answer_len = 1;
	r->answer_first = false;
	r->done = answered;
}

static uint64_t sector_of(const struct vio_disk *d, uint64_t lba)
{
	return lba * (d->bdev.block_size / VIRTIO_BLK_SECTOR);
}

static void seg(const struct vio_disk *d, struct vio_req *r, uint32_t at, uint64_t lba, uint32_t count,
                uint32_t flags)
{
	r->segs[at] = (struct virtio_blk_discard_write_zeroes){
		le64_of(sector_of(d, lba)), le32_of((uint32_t)sector_of(d, count)), le32_of(flags) };
	r->seg_iov = (struct iovec){ r->segs, (at + 1) * sizeof(r->segs[0]) };
	vio_req_data(r, &r->seg_iov, 1, (at + 1) * (uint32_t)sizeof(r->segs[0]), true);
}

static void discard(const struct vio_disk *d, struct vio_req *r, uint32_t at, uint64_t lba, uint32_t count)
{
	seg(d, r, at, lba, count, 0);
}

static void submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct vio_disk *d = container_of(bdev_channel_bdev(ch), struct vio_disk, bdev);
	struct vio_req *r = io->device_ctx;

	r->io = io;
	switch (io->op) {
	case BDEV_READ:
	case BDEV_WRITE:
		head(r, io->op == BDEV_READ ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, sector_of(d, io->lba));
		vio_req_data(r, io->iovs, io->iov_count, (uint32_t)(io->count * d->bdev.block_size), io->op == BDEV_WRITE);
		break;
	case BDEV_FLUSH:
		head(r, VIRTIO_BLK_T_FLUSH, 0);
		vio_req_data(r, NULL, 0, 0, false);
		break;
	case BDEV_WRITE_ZEROES:
		head(r, VIRTIO_BLK_T_WRITE_ZEROES, 0);
		seg(d, r, 0, io->lba, (uint32_t)io->count,
		    io->flags & BDEV_IO_DEALLOCATE ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0);
		break;
	default:
		assert(io->op == BDEV_UNMAP);
		head(r, VIRTIO_BLK_T_DISCARD, 0);
		r->range = 0;
		r->range_at = 0;
		if (!vio_next_ranges(d, r, discard)) {
			bdev_io_done(io, BDEV_ST_OK); /* nothing but empty ranges */
			return;
		}
	}
	vio_submit(d->c, r);
}

bool vio_next_ranges(const struct vio_disk *d, struct vio_req *r, vio_range_fn *put)
{
	const struct bdev_range whole = { r->io->lba, r->io->count };
	const struct bdev_range *ranges = r->io->unmap.range_count ? r->io->unmap.ranges : &whole;
	uint32_t count = r->io->unmap.range_count ? r->io->unmap.range_count : 1, n = 0;

	while (n < d->seg_max && r->range < count) {
		uint64_t left = ranges[r->range].count - r->range_at, blocks = min_u64(left, d->range_blocks_max);

		if (blocks)
			put(d, r, n++, ranges[r->range].lba + r->range_at, (uint32_t)blocks);
		r->range_at += blocks;
		if (blocks == left) {
			r->range++;
			r->range_at = 0;
		}
	}
	return n;
}

static enum bdev_status status_of(const struct vio_req *r)
{
	if (r->status != BDEV_ST_OK)
		return r->status;
	switch (r->answer[0]) {
	case VIRTIO_BLK_S_OK:
		return BDEV_ST_OK;
	case VIRTIO_BLK_S_UNSUPP:
		return BDEV_ST_UNSUPPORTED;
	default:
		return BDEV_ST_MEDIA_ERROR; /* IOERR; and what the server forgot to answer */
	}
}

static void answered(struct vio_req *r)
{
	struct bdev_io *io = r->io;
	const struct vio_disk *d = container_of(bdev_channel_bdev(io->ch), struct vio_disk, bdev);
	enum bdev_status status = status_of(r);

	if (unlikely(io->op == BDEV_UNMAP) && status == BDEV_ST_OK && vio_next_ranges(d, r, discard))
		vio_submit(d->c, r);
	else
		bdev_io_done(io, status);
}
