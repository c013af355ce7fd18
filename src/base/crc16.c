/* SPDX-License-Identifier: BSD-3-Clause */
/* crc16.c: ISA-L under a name of our own, by pieces where memory is to come meanwhile. */
#include "base/crc16.h"

#include <isa-l/crc.h>

#define PIECE 512u

uint16_t crc16_update(uint16_t crc, const void *data, size_t len)
{
	return crc16_t10dif(crc, data, len);
}

/* All at once would fill the queues of a core, which then does nothing else. */
static void fetch_piece(const uint8_t *at)
{
	for (uint32_t i = 0; i < PIECE; i += CACHE_LINE)
		__builtin_prefetch(at + i, 0, 3);
}

uint16_t crc16_update_ahead(uint16_t crc, const void *data, size_t len, const void *ahead)
{
	const uint8_t *at = data, *next = ahead;

	if (!next)
		return crc16_t10dif(crc, at, len);
	__builtin_prefetch(next + len); /* what is behind the data */
	for (; len > PIECE; at += PIECE, next += PIECE, len -= PIECE) {
		fetch_piece(next);
		crc = crc16_t10dif(crc, at, PIECE);
	}
	fetch_piece(next);
	return crc16_t10dif(crc, at, len);
}
