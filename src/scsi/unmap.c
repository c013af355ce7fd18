/* SPDX-License-Identifier: BSD-3-Clause */
/* unmap.c: UNMAP, and GET LBA STATUS: which blocks have media behind them.
 *
 * A device that can write zeroes by itself is asked for that instead, with leave to take the media away: so that what
 * was unmapped reads as zeroes, and is said to (LBPRZ).
 */
#include "scsi/block.h"

static void unmap_next(struct bdev_io *io);
static void status_next(struct bdev_io *io);

/* --- UNMAP -- */

#define UNMAP_HEADER 8u
#define UNMAP_DESC 16u

bool scsi_unmap_parse(struct scsi_task *t)
{
	uint16_t len = scsi_u16(t->cdb + 7);

	if (!bdev_can(&t->lu->served->info, BDEV_UNMAP))
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	if (t->cdb[1] & 0x01) /* ANCHOR */
		return scsi_task_bad_field(t, 1, 0, true);
	if (len > UNMAP_HEADER + SCSI_UNMAP_DESCS_MAX * UNMAP_DESC)
		return scsi_task_bad_field(t, 7, -1, true);
	t->shift = t->lu->shift;
	scsi_task_moves(t, SCSI_DATA_OUT, len);
	if (len && (len < UNMAP_HEADER || t->moves < len))
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	return true;
}

static struct bdev_range unmap_range(const struct scsi_task *t, uint32_t at)
{
	const uint8_t *desc = (const uint8_t *)t->own + UNMAP_HEADER + at * UNMAP_DESC;

	return (struct bdev_range){ .lba = scsi_u64(desc), .count = scsi_u32(desc + 8) };
}

/* Whole descriptors that there are. */
static uint32_t unmap_descs(const struct scsi_task *t)
{
	return min_u32(scsi_u16((const uint8_t *)t->own + 2), t->moves - UNMAP_HEADER) / UNMAP_DESC;
}

static bool check_unmap(struct scsi_task *t)
{
	uint64_t blocks = bdev_block_count(t->lu->desc), sum = 0;
	struct scsi_limits limits;

	scsi_block_limits(scsi_lu_of(t->lu), &limits);
	for (uint32_t at = 0, count = unmap_descs(t); at < count; at++) {
		struct bdev_range r = unmap_range(t, at);

		if (r.count > blocks || r.lba > blocks - r.count)
			return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
		sum += r.count;
		if (sum > limits.unmap_blocks_max)
			return scsi_task_bad_field(t, (uint16_t)(UNMAP_HEADER + at * UNMAP_DESC + 8), -1, false);
	}
	return true;
}

void scsi_unmap_run(struct scsi_task *t)
{
	struct bdev_io *io = &t->io;
	bool zeroes = t->lu->served->info.native_ops & BDEV_BIT(WRITE_ZEROES);
	uint8_t *list;

	if (!t->moves) {
		scsi_task_complete(t);
		return;
	}
	list = scsi_task_own(t, t->moves); /* what is checked is what is done: buffers may be a guest's, and change */
	if (!list)
		return;
	scsi_task_read_params(t, 0, list, t->moves);
	if (!check_unmap(t)) {
		scsi_task_complete(t);
		return;
	}
	t->at = 0;
	io->status = BDEV_ST_OK;
	if (!scsi_block_begin(t, zeroes ? BDEV_WRITE_ZEROES : BDEV_UNMAP, unmap_next))
		return;
	io->flags = zeroes ? BDEV_IO_DEALLOCATE : 0;
	io->iov_count = 0;
	io->unmap.ranges = NULL;
	io->unmap.range_count = 0;
	unmap_next(io);
}

/* One after the other. */
static void unmap_next(struct bdev_io *io)
{
	struct scsi_task *t = scsi_task_of(io);
	uint32_t count = unmap_descs(t);

	while (io->status == BDEV_ST_OK && !t->aborted && t->at < count) {
		struct bdev_range r = unmap_range(t, t->at++);

		if (!r.count)
			continue;
		io->lba = r.lba;
		io->count = r.count;
		bdev_submit(t->lu->ch, io);
		return;
	}
	if (scsi_task_set_io_status(t, io))
		t->full_len = t->data_len;
	scsi_task_complete(t); /* perhaps nothing was submitted: later, as any */
}

/* --- GET LBA STATUS -- */

#define STATUS_HEADER 8u
#define STATUS_DESC 16u
#define STATUS_DESCS_MAX 64u
#define STATUS_MAPPED 0u
#define STATUS_DEALLOCATED 1u

struct lba_status {
	uint32_t count, max;
	uint8_t data[STATUS_HEADER + STATUS_DESCS_MAX * STATUS_DESC];
};

bool scsi_lba_status_parse(struct scsi_task *t)
{
	uint64_t lba = scsi_u64(t->cdb + 2);

	if (lba >= bdev_block_count(t->lu->desc))
		return scsi_task_refuse(t, SCSI_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	if (t->cdb[14])
		return scsi_task_bad_field(t, 14, -1, true); /* REPORT TYPE: all blocks */
	t->io.lba = lba;
	return scsi_task_moves(t, SCSI_DATA_IN, scsi_u32(t->cdb + 10));
}

/* Blocks that it tells of: a descriptor counts 32 bits of them, and the next one goes on where it ends. */
static uint64_t add_status(struct lba_status *s, uint64_t lba, uint64_t count, uint8_t status)
{
	uint8_t *desc = s->data + STATUS_HEADER + s->count++ * STATUS_DESC;

	count = min_u64(count, UINT32_MAX);
	scsi_put64(desc, lba);
	scsi_put32(desc + 8, (uint32_t)count);
	desc[12] = status;
	return count;
}

static void status_answer(struct scsi_task *t, struct lba_status *s)
{
	uint32_t len = STATUS_HEADER + s->count * STATUS_DESC;

	scsi_put32(s->data, len - 4);
	scsi_task_complete_data(t, s->data, len);
}

static void status_submit(struct scsi_task *t)
{
	struct bdev_io *io = &t->io;
	uint64_t blocks = bdev_block_count(t->lu->desc);

	io->count = io->lba < blocks ? blocks - io->lba : 1;
	io->lba_status.of_bad = false;
	bdev_submit(t->lu->ch, io);
}

void scsi_lba_status_run(struct scsi_task *t)
{
	struct lba_status *s = scsi_task_own(t, sizeof(*s));
	uint64_t blocks = bdev_block_count(t->lu->desc);

	if (!s)
		return;
	s->max = t->data_len < STATUS_HEADER + STATUS_DESC ? 1 : (t->data_len - STATUS_HEADER) / STATUS_DESC;
	s->max = min_u32(s->max, STATUS_DESCS_MAX);
	if (!bdev_can(&t->lu->served->info, BDEV_GET_LBA_STATUS)) {
		add_status(s, t->io.lba, blocks > t->io.lba ? blocks - t->io.lba : 1, STATUS_MAPPED);
		status_answer(t, s);
	} else if (scsi_block_begin(t, BDEV_GET_LBA_STATUS, status_next)) {
		t->io.flags = 0;
		t->io.iov_count = 0;
		status_submit(t);
	}
}

static void status_next(struct bdev_io *io)
{
	struct scsi_task *t = scsi_task_of(io);
	struct lba_status *s = t->own;

	if (io->status == BDEV_ST_OK) {
		io->lba += add_status(s, io->lba, io->lba_status.ret_blocks,
		                      io->lba_status.ret_mapped ? STATUS_MAPPED : STATUS_DEALLOCATED);
		if (s->count < s->max && io->lba < bdev_block_count(t->lu->desc) && !t->aborted) {
			status_submit(t);
			return;
		}
	}
	if (s->count)
		status_answer(t, s);
	else
		scsi_block_done(io);
}
