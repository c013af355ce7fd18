/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_cmd.c: the NVMe command of an I/O, for everything but plain reads and writes (remote_io.c has those, unless
 * they go in parts).
 *
 * An I/O that one command cannot carry takes several, one after the other: r->at says how much is done, r->step how
 * much the present one does. What is made anew after a path was lost begins at r->at again.
 */
#include "backends/remote/remote_core.h"
#include "bdev/iov.h"

static void set_data(struct remote_io *r, const struct iovec *iovs, uint32_t iov_count, enum nvme_op_data data,
                     uint64_t at, uint64_t len);
static enum bdev_status make_unmap(struct remote_io *r, const struct remote_disk *d, bool *ret_nothing);
static void make_copy(struct remote_io *r, const struct remote_disk *d);
static bool crosses_boundary(const struct bdev *b, const struct bdev_io *io)
{
	uint64_t boundary = b->atomic_boundary_blocks;

	return boundary && io->lba / boundary != (io->lba + io->count - 1) / boundary;
}

static enum bdev_status make_fused(struct remote_channel *c, struct remote_io *r);
static enum bdev_status make_passthrough(struct remote_io *r, uint32_t nsid);

/* What is left of an I/O without data, within the limit of one command. */
static void make_range(struct remote_io *r, uint8_t opc, uint32_t nsid, uint32_t max)
{
	const struct bdev_io *io = r->io;
	uint32_t count = (uint32_t)min_u64(io->count - r->at, min_u32(max, 65536));

	r->op.cmd = nvme_sqe_rw(opc, nsid, io->lba + r->at, count);
	r->step = count;
	r->more = r->at + count < io->count;
	set_data(r, NULL, 0, NVME_OP_NONE, 0, 0);
}

enum bdev_status remote_make_command(struct remote_channel *c, struct remote_io *r, bool *ret_nothing)
{
	const struct remote_disk *d = c->disk;
	const struct bdev_io *io = r->io;
	uint16_t control = io->flags & BDEV_IO_FUA ? NVME_RW_FUA : 0;

	*ret_nothing = false;
	r->more = false;
	switch ((enum bdev_op)io->op) {
	case BDEV_FLUSH:
		r->op.cmd = (struct nvme_sqe){ .opc = NVME_CMD_FLUSH, .nsid = le32_of(d->nsid) };
		set_data(r, NULL, 0, NVME_OP_NONE, 0, 0);
		return BDEV_ST_OK;
	case BDEV_UNMAP:
		return make_unmap(r, d, ret_nothing);
	case BDEV_WRITE_ZEROES:
		make_range(r, NVME_CMD_WRITE_ZEROES, d->nsid, d->zeroes_blocks_max);
		if (io->flags & BDEV_IO_DEALLOCATE && d->info.dlfeat & NVME_DLFEAT_WRITE_ZEROES)
			control |= NVME_RW_DEAC;
		r->op.cmd.rw.control = le16_of(control);
		return BDEV_ST_OK;
	case BDEV_READ: /* the rest of one that goes in parts */
	case BDEV_WRITE:
	case BDEV_COMPARE:
		return remote_make_part(c, r, UINT32_MAX) ? BDEV_ST_OK : BDEV_ST_BAD_FIELD;
	case BDEV_COMPARE_AND_WRITE:
		return make_fused(c, r);
	case BDEV_COPY:
		make_copy(r, d);
		return BDEV_ST_OK;
	case BDEV_VERIFY:
		make_range(r, NVME_CMD_VERIFY, d->nsid, d->verify_blocks_max);
		r->op.cmd.rw.control = le16_of(control);
		return BDEV_ST_OK;
	case BDEV_WRITE_UNCORRECTABLE:
		make_range(r, NVME_CMD_WRITE_UNCOR, d->nsid, d->uncorrectable_blocks_max);
		return BDEV_ST_OK;
	case BDEV_PASSTHROUGH:
		return make_passthrough(r, d->nsid);
	default: /* not among native_ops */
		return BDEV_ST_UNSUPPORTED;
	}
}

/* `len` bytes of the iovecs, from `at` on. */
static void set_data(struct remote_io *r, const struct iovec *iovs, uint32_t iov_count, enum nvme_op_data data,
                     uint64_t at, uint64_t len)
{
	r->op.iovs = iovs;
	r->op.iov_count = (uint16_t)iov_count;
	r->op.data = (uint8_t)data;
	r->op.iov_at = (uint32_t)at;
	r->op.data_len = (uint32_t)len;
}

/* --- in parts ----------------------------------------------------------------------------------------------- */

bool remote_make_part(struct remote_channel *c, struct remote_io *r, uint32_t bytes_max)
{
	const struct bdev_io *io = r->io;
	uint32_t count = (uint32_t)min_u64(io->count - r->at, bytes_max / c->block_bytes);

	if (!count)
		return false;
	if (io->op == BDEV_COMPARE) {
		r->op.cmd = nvme_sqe_rw(NVME_CMD_COMPARE, c->disk->nsid, io->lba + r->at, count);
		r->op.cmd.rw.control = le16_of(io->flags & BDEV_IO_FUA ? NVME_RW_FUA : 0);
	} else {
		r->op.cmd = remote_rw_cmd(c, io, r->at, count);
	}
	r->step = count;
	r->more = r->at + count < io->count;
	set_data(r, io->iovs, io->iov_count, io->op == BDEV_READ ? NVME_OP_TO_HOST : NVME_OP_TO_CTRLR,
	         r->at * c->block_bytes, (uint64_t)count * c->block_bytes);
	return true;
}

/* --- Dataset Management ------------------------------------------------------------------------------------- */

/* As many ranges as one command takes. The waist has cut those that are too long for any. */
static enum bdev_status make_unmap(struct remote_io *r, const struct remote_disk *d, bool *ret_nothing)
{
	const struct bdev_io *io = r->io;
	struct bdev_range whole = { io->lba, io->count };
	const struct bdev_range *ranges = io->unmap.range_count ? io->unmap.ranges : &whole;
	uint64_t count = io->unmap.range_count ? io->unmap.range_count : 1, blocks = 0, at = r->at;
	uint32_t used = 0, max = min_u32(REMOTE_RANGES, d->discard_ranges_max);

	for (; at < count && used < max; at++) {
		if (!ranges[at].count)
			continue;
		if (used && blocks + ranges[at].count > d->discard_blocks_max)
			break;
		assert(ranges[at].count <= UINT32_MAX);
		blocks += ranges[at].count;
		r->ranges[used++] = (struct nvme_dsm_range){ .nlb = le32_of((uint32_t)ranges[at].count),
			                                     .slba = le64_of(ranges[at].lba) };
	}
	r->step = at - r->at;
	r->more = at < count;
	*ret_nothing = !used;
	r->op.cmd = (struct nvme_sqe){ .opc = NVME_CMD_DSM, .nsid = le32_of(d->nsid) };
	r->op.cmd.dsm.nr = (uint8_t)(used - 1);
	r->op.cmd.dsm.attributes = le32_of(NVME_DSM_AD);
	r->iov = (struct iovec){ r->ranges, used * sizeof(r->ranges[0]) };
	set_data(r, &r->iov, 1, NVME_OP_TO_CTRLR, 0, r->iov.iov_len);
	return BDEV_ST_OK;
}

/* --- Copy --------------------------------------------------------------------------------------------------- */

/* One source range a command. Of ranges that overlap, pieces without overlap of their own, from the end whose source
 * would be overwritten first. */
static void make_copy(struct remote_io *r, const struct remote_disk *d)
{
	const struct bdev_io *io = r->io;
	bool up = io->lba > io->copy.src_lba;
	uint64_t apart = up ? io->lba - io->copy.src_lba : io->copy.src_lba - io->lba, left = io->count - r->at, at = r->at;
	bool overlaps = apart && apart < io->count;

	r->step = min_u64(left, min_u32(d->copy_blocks_max, 65536));
	if (overlaps)
		r->step = min_u64(r->step, apart);
	if (overlaps && up)
		at = left - r->step;
	r->copy = (struct nvme_copy_range){ .slba = le64_of(io->copy.src_lba + at),
		                            .nlb = le16_of((uint16_t)(r->step - 1)) };
	r->op.cmd = (struct nvme_sqe){ .opc = NVME_CMD_COPY, .nsid = le32_of(d->nsid) };
	r->op.cmd.copy.sdlba = le64_of(io->lba + at);
	r->op.cmd.copy.control = le16_of(io->flags & BDEV_IO_FUA ? NVME_RW_FUA : 0);
	r->more = r->step < left;
	r->iov = (struct iovec){ &r->copy, sizeof(r->copy) };
	set_data(r, &r->iov, 1, NVME_OP_TO_CTRLR, 0, sizeof(r->copy));
}

/* --- compare and write -------------------------------------------------------------------------------------- */

static enum bdev_status make_fused(struct remote_channel *c, struct remote_io *r)
{
	const struct bdev_io *io = r->io;
	uint64_t len = io->count * c->block_bytes;
	struct nvme_op *second = &r->fused.second;

	if (io->count > c->disk->compare_blocks_max || crosses_boundary(&c->disk->bdev, io))
		return BDEV_ST_BAD_FIELD; /* more than the controller compares and writes as one */
	r->op.cmd = nvme_sqe_rw(NVME_CMD_COMPARE, c->disk->nsid, io->lba, (uint32_t)io->count);
	r->op.cmd.flags = (uint8_t)nvme_flags_with_fuse(0, 1);
	set_data(r, io->iovs, io->iov_count, NVME_OP_TO_CTRLR, 0, len);
	*second = (struct nvme_op){ .iovs = io->iovs, .iov_count = io->iov_count, .data = NVME_OP_TO_CTRLR,
		                    .iov_at = (uint32_t)len, .data_len = (uint32_t)len };
	second->cmd = nvme_sqe_rw(NVME_CMD_WRITE, c->disk->nsid, io->lba, (uint32_t)io->count);
	second->cmd.flags = (uint8_t)nvme_flags_with_fuse(0, 2);
	second->cmd.rw.control = le16_of(io->flags & BDEV_IO_FUA ? NVME_RW_FUA : 0);
	return BDEV_ST_OK;
}

/* --- as it is ----------------------------------------------------------------------------------------------- */

/* A command of I/O queues, with the namespace that it can only be about here. */
static enum bdev_status make_passthrough(struct remote_io *r, uint32_t nsid)
{
	const struct bdev_io *io = r->io;
	uint64_t len = iov_bytes(io->iovs, io->iov_count);
	enum nvme_data data;

	memcpy(&r->op.cmd, io->passthrough.cmd, sizeof(r->op.cmd));
	if (r->op.cmd.opc == NVME_ADMIN_FABRICS || nvme_flags_fuse(r->op.cmd.flags) || len > UINT32_MAX)
		return BDEV_ST_BAD_FIELD;
	data = nvme_data_of(r->op.cmd.opc);
	if (data == NVME_DATA_BIDI)
		return BDEV_ST_UNSUPPORTED;
	r->op.cmd.nsid = le32_of(nsid);
	set_data(r, io->iovs, len ? io->iov_count : 0,
	         !len ? NVME_OP_NONE : data == NVME_DATA_H2C ? NVME_OP_TO_CTRLR : NVME_OP_TO_HOST, 0, len);
	return BDEV_ST_OK;
}

/* --- what a disk can do ------------------------------------------------------------------------------------- */

static uint32_t blocks_of(uint64_t bytes, uint32_t block_bytes)
{
	return bytes && bytes != UINT32_MAX ? max_u32(1, (uint32_t)min_u64(bytes / block_bytes, UINT32_MAX)) : UINT32_MAX;
}

static uint32_t limit_of(uint64_t told)
{
	return told ? (uint32_t)min_u64(told, UINT32_MAX) : UINT32_MAX;
}

static uint32_t native_ops(const struct nvme_ctrlr_info *ctrlr, const struct nvme_ns_info *ns)
{
	uint32_t ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(PASSTHROUGH) | BDEV_BIT(RESET);

	if (ctrlr->vwc & NVME_VWC_PRESENT)
		ops |= BDEV_BIT(FLUSH);
	if (ctrlr->oncs & NVME_ONCS_DSM)
		ops |= BDEV_BIT(UNMAP);
	if (ctrlr->oncs & NVME_ONCS_WRITE_ZEROES)
		ops |= BDEV_BIT(WRITE_ZEROES);
	if (ctrlr->oncs & NVME_ONCS_COMPARE)
		ops |= BDEV_BIT(COMPARE);
	if (ctrlr->oncs & NVME_ONCS_VERIFY)
		ops |= BDEV_BIT(VERIFY);
	if (ctrlr->oncs & NVME_ONCS_WRITE_UNCOR)
		ops |= BDEV_BIT(WRITE_UNCORRECTABLE);
	if (ctrlr->oncs & NVME_ONCS_COPY && ns->copy_range_blocks_max)
		ops |= BDEV_BIT(COPY);
	if (ctrlr->fuses & NVME_FUSES_COMPARE_AND_WRITE)
		ops |= BDEV_BIT(COMPARE_AND_WRITE);
	return ops;
}

/* A controller that tells no limit may have one all the same: Linux's target refuses more than 4 MiB. */
#define UNTOLD_IO_BYTES_MAX ((uint32_t)MIB)

uint32_t remote_io_bytes_max(const struct nvme_ctrlr_info *ctrlr)
{
	return min_u32(ctrlr->max_io_bytes, ctrlr->mdts ? MEM_IO_BYTES_MAX : UNTOLD_IO_BYTES_MAX);
}

void remote_disk_shape(struct remote_disk *d, const struct nvme_ctrlr_info *ctrlr, const struct nvme_ns_info *ns)
{
	struct bdev *b = &d->bdev;
	uint32_t block_bytes = ns->block_size + (ns->flbas & NVME_FLBAS_EXTENDED ? ns->md_size : 0);

	b->native_ops = native_ops(ctrlr, ns);
	b->cache = ctrlr->vwc & NVME_VWC_PRESENT ? BDEV_CACHE_VOLATILE : BDEV_CACHE_NONE;
	b->fua = true;
	b->read_only = ns->nsattr & NVME_NSATTR_WRITE_PROTECTED;
	b->thin = ns->nsfeat & NVME_NSFEAT_THIN;
	b->max_io_blocks = min_u32(blocks_of(remote_io_bytes_max(ctrlr), block_bytes), 65536);
	b->max_nodata_blocks = UINT32_MAX; /* in several commands of the limits below */
	if (ns->io_boundary_blocks || ns->optimal_write_blocks)
		b->optimal_io_blocks = ns->io_boundary_blocks ? ns->io_boundary_blocks : ns->optimal_write_blocks;
	b->atomic_blocks = min_u32(max_u32(1, ns->atomic_write_blocks), b->max_io_blocks);
	b->atomic_boundary_blocks = ns->atomic_boundary_blocks;
	b->atomic_caw_blocks = min_u32(max_u32(1, ns->atomic_compare_blocks), b->max_io_blocks);
	b->max_caw_blocks = b->atomic_boundary_blocks ? 1 : b->atomic_caw_blocks; /* two may lie across one */
	b->channel_ctx_bytes = sizeof(struct remote_channel);
	b->io_ctx_bytes = sizeof(struct remote_io);
	b->sleeps = "epoll";
	d->one_act_blocks = max_u32(b->atomic_blocks, b->atomic_caw_blocks);
	d->zeroes_blocks_max = blocks_of(ctrlr->zeroes_bytes_max, block_bytes);
	d->verify_blocks_max = blocks_of(ctrlr->verify_bytes_max, block_bytes);
	d->uncorrectable_blocks_max = blocks_of(ctrlr->uncorrectable_bytes_max, block_bytes);
	d->copy_blocks_max = min_u32(limit_of(ns->copy_range_blocks_max), limit_of(ns->copy_blocks_max));
	d->compare_blocks_max = b->atomic_caw_blocks;
	d->discard_ranges_max = limit_of(ctrlr->discard_ranges_max);
	d->discard_blocks_max = limit_of(ctrlr->discard_blocks_max);
	b->max_unmap_blocks = min_u32(limit_of(ctrlr->discard_range_blocks_max), d->discard_blocks_max);
}
