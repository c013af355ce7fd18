/* SPDX-License-Identifier: BSD-3-Clause */
/* block.h: what the block commands (SBC) share (private to scsi). */
#ifndef SCSI_BLOCK_H
#define SCSI_BLOCK_H

#include "scsi/scsi_priv.h"

/* Where a CDB of its length has its transfer length, and control byte. */
#define SCSI_BLOCK_LEN_AT(cdb_len) ((cdb_len) == 6 ? 4 : (cdb_len) == 10 ? 7 : (cdb_len) == 12 ? 6 : 10)

/* As a CDB of 6, 10, 12 or 16 bytes has it. */
void scsi_block_cdb_range(const struct scsi_task *t, uint64_t *ret_lba, uint64_t *ret_count);
/* Of such a CDB: fills in io.lba and io.count, and t->shift. False: beyond the end; refused. */
bool scsi_block_range(struct scsi_task *t);
/* ... and not longer than `blocks_max`. */
bool scsi_block_range_within(struct scsi_task *t, uint64_t blocks_max);
bool scsi_block_transfer(struct scsi_task *t);             /* ... as many as a transfer may have */
/* Nothing but whole blocks moves to the device; `len`: what the CDB is about. */
bool scsi_block_moves_out(struct scsi_task *t, uint32_t len);

/* parse, when t->moves is known: what a transport cannot hold at a time goes in pieces; sets io.count, and io.lba of
 * the one that t->base says. Done by scsi_block_done(), it goes on with the next one. */
void scsi_block_cut(struct scsi_task *t);

/* run: prepare t->io for the device. False: it cannot be reached; answered. */
bool scsi_block_begin(struct scsi_task *t, enum bdev_op op, bdev_done_fn *done);
static inline struct scsi_task *scsi_task_of(struct bdev_io *io) { return container_of(io, struct scsi_task, io); }
/* All of the unit's device, as an I/O of the task; answered when it cannot be reached. */
void scsi_block_flush(struct scsi_task *t, bdev_done_fn *done);
/* The flag for a write: of the write cache, when hosts switched it off; of that and its FUA bit. */
uint8_t scsi_block_through(const struct scsi_task *t);
uint8_t scsi_block_fua(const struct scsi_task *t);
/* From a device's answer: the task, or its piece, ends with status and sense of it; full_len: all. */
void scsi_block_done(struct bdev_io *io);
/* Ended without the device: all went well. */
void scsi_block_complete(struct scsi_task *t);
/* Between two steps: true: it was aborted, and has been ended. */
static inline bool scsi_block_is_over(struct scsi_task *t)
{
	if (likely(!t->aborted))
		return false;
	scsi_task_finish(t);
	return true;
}

/* verify.c */
bool scsi_verify_parse(struct scsi_task *t);
void scsi_verify_run(struct scsi_task *t);
bool scsi_write_verify_parse(struct scsi_task *t);
void scsi_write_verify_run(struct scsi_task *t);
/* atomic.c */
bool scsi_caw_parse(struct scsi_task *t);
void scsi_caw_run(struct scsi_task *t);
bool scsi_orwrite_parse(struct scsi_task *t);
void scsi_orwrite_run(struct scsi_task *t);
/* unmap.c */
bool scsi_unmap_parse(struct scsi_task *t);
void scsi_unmap_run(struct scsi_task *t);
bool scsi_lba_status_parse(struct scsi_task *t);
void scsi_lba_status_run(struct scsi_task *t);
/* write_same.c */
bool scsi_write_same_parse(struct scsi_task *t);
void scsi_write_same_run(struct scsi_task *t);

#endif
