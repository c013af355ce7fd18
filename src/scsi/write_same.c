/* SPDX-License-Identifier: BSD-3-Clause */
/* write_same.c: WRITE SAME: one block, many times. Zeroes are the device's to write, or to unmap when the host lets it;
 * other patterns are written in pieces that repeat one buffer.
 */
#include "scsi/block.h"

#define UNMAP_BIT 0x08u
#define ANCHOR_BIT 0x10u
#define NDOB_BIT 0x01u
#define PATTERN_BYTES 32768u       /* of the buffer: some blocks */
#define PATTERN_IOVS 32u           /* it is written so many times in one piece */

struct pattern {
	struct iovec iovs[PATTERN_IOVS];
	uint64_t left;                 /* blocks */
	uint8_t *bytes;
};

static void pattern_next(struct bdev_io *io);

static bool has_no_data(const struct scsi_task *t)
{
	return t->op->cdb_len == 16 && t->cdb[1] & NDOB_BIT;
}

bool scsi_write_same_parse(struct scsi_task *t)
{
	struct scsi_limits limits;
	uint32_t len = 1u << t->lu->shift;

	scsi_block_limits(scsi_lu_of(t->lu), &limits);
	if (t->cdb[1] & ANCHOR_BIT)
		return scsi_task_bad_field(t, 1, 4, true);
	if (t->cdb[1] & UNMAP_BIT && !limits.unmaps)
		return scsi_task_bad_field(t, 1, 3, true);
	if (!scsi_block_range(t))
		return false;
	if (!t->io.count) /* to the end */
		t->io.count = bdev_block_count(t->lu->desc) - t->io.lba;
	if (t->io.count > limits.write_same_blocks_max)
		return scsi_task_bad_field(t, SCSI_BLOCK_LEN_AT(t->op->cdb_len), -1, true);
	if (has_no_data(t))
		return true;
	if (t->expected_out != len)
		return scsi_task_bad_field(t, SCSI_BLOCK_LEN_AT(t->op->cdb_len), -1, true);
	return scsi_block_moves_out(t, len);
}

static bool is_zero(const struct scsi_task *t)
{
	for (uint32_t i = 0; i < t->iov_count; i++) {
		const uint8_t *p = t->iovs[i].iov_base;
		size_t len = t->iovs[i].iov_len;

		if (len && (p[0] || memcmp(p, p + 1, len - 1)))
			return false;
	}
	return true;
}

static void write_zeroes(struct scsi_task *t)
{
	struct bdev_io *io = &t->io;

	if (!scsi_block_begin(t, BDEV_WRITE_ZEROES, scsi_block_done))
		return;
	io->flags = scsi_block_through(t) | (t->cdb[1] & UNMAP_BIT ? BDEV_IO_DEALLOCATE : 0);
	io->iov_count = 0;
	bdev_submit(t->lu->ch, io);
}

static void write_pattern(struct scsi_task *t)
{
	const size_t page = 4096;
	uint32_t block = 1u << t->shift, bytes = max_u32(PATTERN_BYTES, block);
	struct pattern *p = scsi_task_own(t, page + bytes);

	if (!p)
		return;
	p->bytes = (uint8_t *)p + page;
	p->left = t->io.count;
	scsi_task_read_params(t, 0, p->bytes, block);
	for (uint32_t at = block; at < bytes; at += block)
		memcpy(p->bytes + at, p->bytes, block);
	t->io.flags = scsi_block_through(t);
	t->io.count = 0;
	t->io.status = BDEV_ST_OK;
	if (scsi_block_begin(t, BDEV_WRITE, pattern_next))
		pattern_next(&t->io);
}

static void pattern_next(struct bdev_io *io)
{
	struct scsi_task *t = scsi_task_of(io);
	struct pattern *p = t->own;
	uint32_t bytes = max_u32(PATTERN_BYTES, 1u << t->shift);
	uint64_t len, at = 0;
	uint16_t n = 0;

	if (io->status != BDEV_ST_OK || !p->left) {
		scsi_block_done(io);
		return;
	}
	if (scsi_block_is_over(t))
		return;
	io->lba += io->count;
	len = min_u64(p->left << t->shift, (uint64_t)bytes * PATTERN_IOVS);
	for (; at < len; n++) {
		p->iovs[n] = (struct iovec){ p->bytes, min_u64(bytes, len - at) };
		at += p->iovs[n].iov_len;
	}
	io->count = len >> t->shift;
	p->left -= io->count;
	io->iovs = p->iovs;
	io->iov_count = n;
	io->iov_max = PATTERN_IOVS;
	bdev_submit(t->lu->ch, io);
}

void scsi_write_same_run(struct scsi_task *t)
{
	if (!t->io.count)
		scsi_block_complete(t);
	else if (has_no_data(t) || is_zero(t))
		write_zeroes(t);
	else
		write_pattern(t);
}
