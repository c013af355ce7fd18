/* SPDX-License-Identifier: BSD-3-Clause */
/* atomic.c: COMPARE AND WRITE, and ORWRITE, which is made of it: blocks are read, and what they become is written if
 * they still are what was read; else once more. Nobody is kept waiting, and somebody always gets on.
 */
#include "scsi/block.h"

static void or_read(struct scsi_task *t);
static void or_was_read(struct bdev_io *io);
static void or_written(struct bdev_io *io);

/* --- COMPARE AND WRITE -- */

bool scsi_caw_parse(struct scsi_task *t)
{
	struct scsi_limits limits;
	uint64_t blocks = bdev_block_count(t->lu->desc), lba = scsi_u64(t->cdb + 2);
	uint8_t count = t->cdb[13];

	scsi_block_limits(scsi_lu_of(t->lu), &limits);
	if (!limits.caw_blocks_max)
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	if (count > limits.caw_blocks_max)
		return scsi_task_bad_field(t, 13, -1, true);
	if (count > blocks || lba > blocks - count)
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	t->shift = t->lu->shift;
	t->io.lba = lba;
	t->io.count = count;
	scsi_block_moves_out(t, 2u * count << t->shift);
	/* All of it or nothing: half of what is to be compared cannot be told from what is to be written. */
	return t->expected_out == t->data_len || scsi_task_bad_field(t, 13, -1, true);
}

void scsi_caw_run(struct scsi_task *t)
{
	struct bdev_io *io = &t->io;

	if (!t->moves) {
		scsi_block_complete(t);
		return;
	}
	if (!scsi_block_begin(t, BDEV_COMPARE_AND_WRITE, scsi_block_done))
		return;
	io->flags = scsi_block_fua(t);
	io->iovs = t->iovs;
	io->iov_count = t->iov_count;
	io->iov_max = t->iov_max;
	bdev_submit(t->lu->ch, io);
}

/* --- ORWRITE -- */

struct orwrite {
	struct iovec iov;
	uint64_t lba;
	uint32_t at, len, max;             /* bytes: done; being done; at a time, as the device may write fewer as one */
	uint8_t *old;                      /* what was read, then what it becomes */
};

bool scsi_orwrite_parse(struct scsi_task *t)
{
	const struct bdev_info *info = &t->lu->served->info;
	uint32_t max = t->nexus->piece_bytes ? SCSI_TRANSFER_BYTES_MAX : SCSI_ATOMIC_BYTES_MAX;

	if (!bdev_can(info, BDEV_COMPARE_AND_WRITE))
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	if (!scsi_block_range_within(t, max >> t->lu->shift))
		return false;
	scsi_block_moves_out(t, (uint32_t)t->io.count << t->shift);
	scsi_block_cut(t);
	return true;
}

void scsi_orwrite_run(struct scsi_task *t)
{
	const size_t page = 4096;
	uint32_t max_blocks = t->lu->served->info.max_caw_blocks, max = t->moves;
	struct orwrite *o;

	if (!t->moves) {
		scsi_block_complete(t);
		return;
	}
	if (max_blocks)
		max = (uint32_t)min_u64(max, (uint64_t)max_blocks << t->shift);
	o = scsi_task_own(t, page + 2 * (size_t)max);
	if (!o)
		return;
	o->lba = t->io.lba;
	o->max = max;
	o->old = (uint8_t *)o + page;
	if (scsi_block_begin(t, BDEV_READ, or_was_read))
		or_read(t);
}

static void or_read(struct scsi_task *t)
{
	struct orwrite *o = t->own;
	struct bdev_io *io = &t->io;

	o->len = min_u32(o->max, t->moves - o->at);
	o->iov = (struct iovec){ o->old, o->len };
	io->lba = o->lba + (o->at >> t->shift);
	io->count = o->len >> t->shift;
	io->op = BDEV_READ;
	io->done = or_was_read;
	io->flags = 0;
	io->iovs = &o->iov;
	io->iov_count = 1;
	bdev_submit(t->lu->ch, io);
}

static void or_was_read(struct bdev_io *io)
{
	struct scsi_task *t = scsi_task_of(io);
	struct orwrite *o = t->own;

	if (io->status != BDEV_ST_OK) {
		scsi_block_done(io);
		return;
	}
	if (scsi_block_is_over(t))
		return;
	scsi_task_read_params(t, o->at, o->old + o->len, o->len);
	for (uint32_t i = 0; i < o->len; i++)
		o->old[o->len + i] |= o->old[i];
	o->iov.iov_len = 2 * (size_t)o->len;
	io->op = BDEV_COMPARE_AND_WRITE;
	io->done = or_written;
	io->flags = scsi_block_fua(t);
	bdev_submit(t->lu->ch, io);
}

static void or_written(struct bdev_io *io)
{
	struct scsi_task *t = scsi_task_of(io);
	struct orwrite *o = t->own;

	if (io->status == BDEV_ST_OK)
		o->at += o->len;
	if ((io->status != BDEV_ST_OK && io->status != BDEV_ST_MISCOMPARE) || o->at == t->moves)
		scsi_block_done(io);
	else if (!scsi_block_is_over(t))
		or_read(t); /* the rest; or once more: somebody was faster */
}
