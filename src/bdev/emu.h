/* SPDX-License-Identifier: BSD-3-Clause */
/* emu.h: what the emulations share. Private to bdev.
 *
 * Contexts come from pools in a fixed order, so that who waits for one never holds what the owner of one needs:
 *
 *     FUA -> compare-and-write -> the leaves (compare, verify, copy, write zeroes) -> metadata -> split
 *         -> the device's own
 *
 * Range locks are taken by whole I/Os before their first context, buffers by leaves only.
 */
#ifndef BDEV_EMU_H
#define BDEV_EMU_H

#include "bdev/bdev_waist.h"
#include "bdev/iov.h"
#include "bdev/locks.h"

#define EMU_PIECE_BYTES 65536u   /* of data and metadata that a leaf has in memory at a time */
#define SPLIT_CHILDREN 4u        /* under way at a time */
#define SPLIT_IOVS 64u           /* of one child: a block in more pieces is refused */
#define CAW_IOVS 64u

/* One leaf at work. */
struct emu;
typedef void emu_fn(struct emu *e);
struct emu {
	struct bdev_family family;
	struct bdev_io child;
	struct bdev_io source;       /* a copy's, on another device */
	struct bdev_io *parent;
	struct bdev_channel *ch;
	uint64_t done;               /* blocks of the parent */
	uint32_t piece, piece_max;   /* blocks of the child; of the largest one */
	struct iov_cursor data, md;  /* how far the parent's iovecs were compared */
	emu_fn *next;                /* when buffers have come, when a child ended well */
	struct mem_bufs bufs;
	struct wait wait;
	struct iovec iovs[MEM_IOV_MAX], md_iovs[MEM_IOV_MAX];
};

/* A context for `io`; NULL: it waits, and is dispatched again when there is one. */
struct emu *emu_take(struct bdev_channel *ch, struct bdev_io *io);
void emu_end(struct emu *e, enum bdev_status st);
/* Take buffers for the largest piece, then call next. */
void emu_need_buffers(struct emu *e, emu_fn *next);
/* Choose the next piece of the parent. False: there is none left, or the parent was aborted; it has been ended. */
bool emu_next_piece(struct emu *e);
/* Read or write `e->piece` blocks at lba through the buffers; next is called when that went well. */
void emu_move(struct emu *e, enum bdev_op op, uint64_t lba, emu_fn *next);

/* The piece that has just been read, `offset` blocks from the parent's beginning, against the parent's PRCHK. */
enum bdev_status emu_check_piece(const struct emu *e, uint64_t offset);

/* One file each. */
typedef void bdev_emu_fn(struct bdev_channel *ch, struct bdev_io *io);
bdev_emu_fn bdev_emu_compare, bdev_emu_verify, bdev_emu_copy, bdev_emu_copy_from, bdev_emu_write_zeroes, bdev_emu_caw,
            bdev_emu_fua, bdev_emu_md;
bdev_emu_fn bdev_split;
/* The most that the device takes of such an operation at once. */
uint32_t bdev_blocks_max(const struct bdev_channel *ch, uint8_t op);
bool bdev_split_needed(const struct bdev_channel *ch, const struct bdev_io *io);

/* For the pools' sizes. */
uint32_t bdev_fua_bytes(void);
uint32_t bdev_caw_bytes(void);
uint32_t bdev_split_bytes(void);
uint32_t bdev_md_bytes(void);

#endif
