/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.h: copy past the caches, to memory that will not be looked at soon.
 *
 * An ordinary store first fetches the line it is going to overwrite, and puts out of the caches what is wanted
 * there. Streaming stores do neither; what they cost is order: they become visible to others, in any order, no later
 * than at stream_done().
 */
#ifndef BASE_STREAM_H
#define BASE_STREAM_H

#include "base/base.h"

#if defined(__x86_64__)
#include <emmintrin.h>

static inline void stream_copy(void *to, const void *from, size_t len)
{
	const __m128i *f = from;
	__m128i *t = to;

	if (unlikely((uintptr_t)to % sizeof(*t))) {
		memcpy(to, from, len);
		return;
	}
	for (; len >= 4 * sizeof(*t); len -= 4 * sizeof(*t), t += 4, f += 4) { /* a line */
		__m128i a = _mm_loadu_si128(f), b = _mm_loadu_si128(f + 1), c = _mm_loadu_si128(f + 2),
		        d = _mm_loadu_si128(f + 3);

		_mm_stream_si128(t, a);
		_mm_stream_si128(t + 1, b);
		_mm_stream_si128(t + 2, c);
		_mm_stream_si128(t + 3, d);
	}
	memcpy(t, f, len);
}

static inline void stream_done(void) { _mm_sfence(); }

#else
static inline void stream_copy(void *to, const void *from, size_t len) { memcpy(to, from, len); }
static inline void stream_done(void) {}
#endif

#endif
