/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes.h: integers as they lie in wire structures and media.
 *
 * Each is a struct, so that arithmetic or comparison on one does not compile; read it once into a
 * plain integer. Alignment is 1: they can be laid over any buffer.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/base.h"

typedef struct { uint8_t b[2]; } le16;
typedef struct { uint8_t b[4]; } le32;
typedef struct { uint8_t b[8]; } le64;
typedef struct { uint8_t b[2]; } be16;
typedef struct { uint8_t b[3]; } be24;
typedef struct { uint8_t b[4]; } be32;
typedef struct { uint8_t b[8]; } be64;

#define BYTES_ACCESS(bits, order, swap) \
	static inline uint##bits##_t order##bits##_get(order##bits v) \
	{ \
		uint##bits##_t x; \
		memcpy(&x, v.b, sizeof(x)); \
		return swap(x); \
	} \
	static inline order##bits order##bits##_of(uint##bits##_t v) \
	{ \
		order##bits x; \
		v = swap(v); \
		memcpy(x.b, &v, sizeof(v)); \
		return x; \
	}
#define BYTES_SAME(x) (x)
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian machines need the swaps exchanged");
BYTES_ACCESS(16, le, BYTES_SAME)
BYTES_ACCESS(32, le, BYTES_SAME)
BYTES_ACCESS(64, le, BYTES_SAME)
BYTES_ACCESS(16, be, __builtin_bswap16)
BYTES_ACCESS(32, be, __builtin_bswap32)
BYTES_ACCESS(64, be, __builtin_bswap64)

static inline uint32_t be24_get(be24 v)
{
	return (uint32_t)v.b[0] << 16 | (uint32_t)v.b[1] << 8 | v.b[2];
}

static inline be24 be24_of(uint32_t v) /* its low 24 bits */
{
	return (be24){ { (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v } };
}

#endif
