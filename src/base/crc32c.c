/* SPDX-License-Identifier: BSD-3-Clause */
/* crc32c.c: ISA-L under names of our own. It picks the widest instructions at the first call. */
#include "base/crc32c.h"

#include <isa-l/crc.h>

/* ISA-L takes the length as an int. */
#define CHUNK_MAX (1u << 30)

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

uint32_t crc32c_update_iov(uint32_t crc, const struct iovec *iov, int count)
{
	for (int i = 0; i < count; i++)
		crc = crc32c_update(crc, iov[i].iov_base, iov[i].iov_len);
	return crc;
}
