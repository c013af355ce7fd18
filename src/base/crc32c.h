/* SPDX-License-Identifier: BSD-3-Clause */
/* crc32c.h: CRC-32C (Castagnoli) as NVMe/TCP and iSCSI digests use it, by ISA-L. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <sys/uio.h>

#include "base/base.h"

/* Running value: start with CRC32C_START, update any number of times, finish for the wire. */
#define CRC32C_START 0xffffffffu
uint32_t crc32c_update(uint32_t crc, const void *data, size_t len);
/* The same, and meanwhile what comes after it comes to the caches: of long data the rest, and with the last 4 KiB as
 * much as they are at `ahead`. A core that computes can wait for memory at the same time. Nothing is read there; NULL:
 * nothing is known to come. */
uint32_t crc32c_update_ahead(uint32_t crc, const void *data, size_t len, const void *ahead);
uint32_t crc32c_update_iov(uint32_t crc, const struct iovec *iov, int count);
static inline uint32_t crc32c_finish(uint32_t crc) { return ~crc; }

#endif
