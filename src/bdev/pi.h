/* SPDX-License-Identifier: BSD-3-Clause */
/* pi.h: protection information: eight bytes in each block's metadata that vouch for the block.
 *
 *     guard, 2 bytes            CRC-16 of the block, and of the metadata before the tuple
 *     application tag, 2        the owner's; FFFFh: check nothing of this block (type 3: with the next one FFFFFFFFh)
 *     reference tag, 4          types 1 and 2: counts with the blocks; type 3: the owner's, not checked
 *
 * All of them big endian. Of type 1 the reference tag begins with the low half of the LBA, of type 2 with what the
 * command says. Witnesses: SPDK's dif.c and QEMU's nvme/dif.c.
 */
#ifndef BDEV_PI_H
#define BDEV_PI_H

#include "bdev/bdev.h"
#include "bdev/iov.h"

#define PI_BYTES 8u
#define PI_APP_ESCAPE 0xffffu
#define PI_REF_ESCAPE 0xffffffffu
#define PI_CHECKS (BDEV_IO_PRCHK_GUARD | BDEV_IO_PRCHK_APPTAG | BDEV_IO_PRCHK_REFTAG)

/* How blocks are protected. */
struct pi_shape {
	uint32_t block_size, md_size;    /* bytes of data, and of metadata: at least PI_BYTES */
	uint8_t type;                    /* 1 to 3; 0: not at all */
	bool at_head;                    /* the tuple is the first of the metadata, else the last */
};

struct pi_tuple {
	uint16_t guard, app;
	uint32_t ref;
};
struct pi_tuple pi_tuple_read(const void *at);
void pi_tuple_write(void *at, struct pi_tuple t);

/* Where the metadata's tuple begins. */
static inline uint32_t pi_at(const struct pi_shape *s) { return s->at_head ? 0 : s->md_size - PI_BYTES; }
/* The reference tag `blocks` further. */
static inline uint32_t pi_ref_after(const struct pi_shape *s, uint32_t ref, uint64_t blocks)
{
	return s->type == 3 ? ref : ref + (uint32_t)blocks;
}

/* Make the tuples of `count` blocks. `md` NULL: metadata follow each block's data. Other metadata stay. */
void pi_generate(const struct pi_shape *s, struct iov_cursor data, struct iov_cursor *md, uint64_t count,
                 struct bdev_tags tags);
/* Look at `checks` (PI_CHECKS) of `count` blocks: OK, or what is wrong with the first one that is not. A block that
 * will be looked at afterwards, at `then`, comes to the caches meanwhile; NULL: none will. */
enum bdev_status pi_verify(const struct pi_shape *s, struct iov_cursor data, struct iov_cursor *md, uint64_t count,
                           struct bdev_tags tags, uint32_t checks, const void *then) MUST_USE;

#endif
