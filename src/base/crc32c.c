/* SPDX-License-Identifier: BSD-3-Clause */
/* crc32c.c: ISA-L under names of our own, by pieces where memory is to come meanwhile. It picks the widest instructions
 * at the first call.
 */
#include "base/crc32c.h"

#include <isa-l/crc.h>

/* ISA-L takes the length as an int. */
#define CHUNK_MAX (1u << 30)
/* Lines asked for at once would fill the queues of a core, which then does nothing else: 64 of them cost more than they
 * brought, 16 took 8 % off the time of a page's checksum and copy. */
#define PIECE 1024u
#define AHEAD 4096u /* of long data; a processor by itself goes on to the end of a page */

uint32_t crc32c_update(uint32_t crc, const void *data, size_t len)
{
	unsigned char *at = (unsigned char *)(uintptr_t)data; /* ISA-L reads only, but does not say so */

	while (len > 0) {
		int chunk = (int)(len < CHUNK_MAX ? len : CHUNK_MAX);

		crc = crc32_iscsi(at, chunk, crc);
		at += chunk;
		len -= (size_t)chunk;
	}
	return crc;
}

static void fetch(const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i += CACHE_LINE)
		__builtin_prefetch(at + i, 0, 3);
}

uint32_t crc32c_update_ahead(uint32_t crc, const void *data, size_t len, const void *ahead)
{
	unsigned char *at = (unsigned char *)(uintptr_t)data;
	const uint8_t *next = ahead;

	if (!next && len <= AHEAD)
		return crc32c_update(crc, data, len);
	for (size_t n; len > 0; at += n, len -= n) {
		n = len < PIECE ? len : PIECE;
		if (len > AHEAD) {
			fetch(at + AHEAD, n);
		} else if (next) {
			fetch(next, n);
			next += n;
		}
		crc = crc32_iscsi(at, (int)n, crc);
	}
	return crc;
}

uint32_t crc32c_update_iov(uint32_t crc, const struct iovec *iov, int count)
{
	for (int i = 0; i < count; i++)
		crc = crc32c_update(crc, iov[i].iov_base, iov[i].iov_len);
	return crc;
}
