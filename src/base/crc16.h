/* SPDX-License-Identifier: BSD-3-Clause */
/* crc16.h: the CRC-16 of T10 protection information (polynomial 8BB7h), by ISA-L. */
#ifndef BASE_CRC16_H
#define BASE_CRC16_H

#include "base/base.h"

/* Start with 0; any number of pieces. */
uint16_t crc16_update(uint16_t crc, const void *data, size_t len);
/* The same, and meanwhile `len` bytes at `ahead`, and the line behind them, come to the caches: a core that computes
 * can wait for memory at the same time. Nothing is read there; NULL: nothing is wanted. */
uint16_t crc16_update_ahead(uint16_t crc, const void *data, size_t len, const void *ahead);

#endif
