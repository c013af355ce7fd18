/* SPDX-License-Identifier: BSD-3-Clause */
/* verify.c: VERIFY, and WRITE AND VERIFY: that blocks can be read, or are what the initiator sends. */
#include "scsi/block.h"

#define BYTCHK_NONE 0u   /* they can be read */
#define BYTCHK_ALL 1u    /* compare each with its own */
#define BYTCHK_ONE 3u    /* compare each with one block */
#define STEP_BLOCKS 64u  /* BYTCHK_ONE: compared at a time */

struct one_block {
	struct iovec iovs[STEP_BLOCKS];
	uint64_t left;
	uint8_t block[];
};

static void compare_next(struct bdev_io *io);

static uint8_t bytchk(const struct scsi_task *t)
{
	return t->cdb[1] >> 1 & 3;
}

/* --- VERIFY -- */

bool scsi_verify_parse(struct scsi_task *t)
{
	if (bytchk(t) == 2)
		return scsi_task_bad_field(t, 1, 2, true);
	if (!(bytchk(t) == BYTCHK_ALL ? scsi_block_transfer(t) : scsi_block_range_within(t, UINT32_MAX)))
		return false;
	if (!t->io.count || bytchk(t) == BYTCHK_NONE)
		return true;
	if (bytchk(t) == BYTCHK_ONE)
		return scsi_block_moves_out(t, 1u << t->shift);
	scsi_block_moves_out(t, (uint32_t)t->io.count << t->shift);
	scsi_block_cut(t);
	return true;
}

static void compare_with_one(struct scsi_task *t)
{
	uint32_t len = 1u << t->shift;
	struct one_block *o = scsi_task_own(t, sizeof(*o) + len);

	if (!o)
		return;
	scsi_task_read_params(t, 0, o->block, len);
	for (uint32_t i = 0; i < STEP_BLOCKS; i++)
		o->iovs[i] = (struct iovec){ o->block, len };
	o->left = t->io.count;
	t->io.flags = 0;
	t->io.count = 0;
	t->io.status = BDEV_ST_OK;
	if (scsi_block_begin(t, BDEV_COMPARE, compare_next))
		compare_next(&t->io);
}

static void compare_next(struct bdev_io *io)
{
	struct scsi_task *t = scsi_task_of(io);
	struct one_block *o = t->own;

	if (io->status != BDEV_ST_OK || !o->left) {
		scsi_block_done(io);
		return;
	}
	if (scsi_block_is_over(t))
		return;
	io->lba += io->count;
	io->count = min_u64(o->left, STEP_BLOCKS);
	o->left -= io->count;
	io->iovs = o->iovs;
	io->iov_count = (uint16_t)io->count;
	bdev_submit(t->lu->ch, io);
}

static void submit_compare(struct scsi_task *t)
{
	t->io.flags = 0;
	t->io.iovs = t->iovs;
	t->io.iov_count = t->iov_count;
	t->io.count = t->moves >> t->shift;
	bdev_submit(t->lu->ch, &t->io);
}

static void submit_verify(struct scsi_task *t)
{
	t->io.flags = 0;
	t->io.iov_count = 0;
	bdev_submit(t->lu->ch, &t->io);
}

void scsi_verify_run(struct scsi_task *t)
{
	uint8_t how = bytchk(t);

	if (how == BYTCHK_NONE ? !t->io.count : !t->moves)
		scsi_block_complete(t);
	else if (how == BYTCHK_ONE)
		compare_with_one(t);
	else if (how == BYTCHK_ALL && scsi_block_begin(t, BDEV_COMPARE, scsi_block_done))
		submit_compare(t);
	else if (how == BYTCHK_NONE && scsi_block_begin(t, BDEV_VERIFY, scsi_block_done))
		submit_verify(t);
}

/* --- WRITE AND VERIFY -- */

bool scsi_write_verify_parse(struct scsi_task *t)
{
	if (bytchk(t) > BYTCHK_ALL)
		return scsi_task_bad_field(t, 1, 2, true);
	if (!scsi_block_transfer(t))
		return false;
	scsi_block_moves_out(t, (uint32_t)t->io.count << t->shift);
	scsi_block_cut(t);
	return true;
}

static void verify_written(struct bdev_io *io)
{
	struct scsi_task *t = scsi_task_of(io);

	if (io->status != BDEV_ST_OK) {
		scsi_block_done(io);
		return;
	}
	if (scsi_block_is_over(t))
		return;
	io->done = scsi_block_done;
	io->op = bytchk(t) == BYTCHK_ALL ? BDEV_COMPARE : BDEV_VERIFY;
	if (io->op == BDEV_COMPARE)
		submit_compare(t);
	else
		submit_verify(t);
}

/* What is verified is on the medium. */
void scsi_write_verify_run(struct scsi_task *t)
{
	struct bdev_io *io = &t->io;

	if (!t->moves) {
		scsi_block_complete(t);
		return;
	}
	if (!scsi_block_begin(t, BDEV_WRITE, verify_written))
		return;
	io->flags = BDEV_IO_FUA;
	io->iovs = t->iovs;
	io->iov_count = t->iov_count;
	io->iov_max = t->iov_max;
	bdev_submit(t->lu->ch, io);
}
