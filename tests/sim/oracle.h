/* SPDX-License-Identifier: BSD-3-Clause */
/* oracle.h: what a read may return. Remembers every write of every block: when it began, when it ended.
 *
 * A block's bytes all tell one generation: anything else is a torn read. A read may return write W if W began
 * before the read ended, and no other write began after W had ended and ended before the read began. A write that
 * failed may have happened or not, at any time after it began, until it is fenced.
 *
 * A power cut makes all that was not durable by then uncertain: it may have happened or not, but not later.
 */
#ifndef TESTS_SIM_ORACLE_H
#define TESTS_SIM_ORACLE_H

#include "base/base.h"

struct oracle;

struct oracle *oracle_make(uint64_t blocks, uint32_t block_size);
void oracle_free(struct oracle *o);

/* A write of `count` blocks begins: returns its generation and fills `buf`. Zeroes: generation of a write of zeroes. */
uint32_t oracle_write_begin(struct oracle *o, uint64_t lba, uint32_t count, void *buf);
uint32_t oracle_zeroes_begin(struct oracle *o, uint64_t lba, uint32_t count);
void oracle_write_end(struct oracle *o, uint64_t lba, uint32_t count, uint32_t generation, bool ok);
/* What has not ended well by now has happened by now, or never. */
void oracle_fence(struct oracle *o, uint64_t lba, uint32_t count, uint32_t generation);

/* Whose bytes a block holds: 0: nobody's. */
uint32_t oracle_generation(const void *block);

/* A write that ended well is on the media; a flush ended well that began then. */
void oracle_durable(struct oracle *o, uint64_t lba, uint32_t count, uint32_t generation);
void oracle_flush_end(struct oracle *o, uint64_t began);
/* The device has lost its power, and settled what survives. */
void oracle_power_cut(struct oracle *o);

/* When a read, or a flush, begins, and whether what it returned was allowed. False: *ret_why says block and reason. */
uint64_t oracle_read_begin(struct oracle *o);
bool oracle_read_end(struct oracle *o, uint64_t lba, uint32_t count, uint64_t began, const void *buf, char *ret_why,
                     size_t why_size);

#endif
