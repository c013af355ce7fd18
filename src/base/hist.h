/* SPDX-License-Identifier: BSD-3-Clause */
/* hist.h: log-linear histogram of 64-bit values: 64 ranges of 64 buckets, error under 1.6 %. */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include "base/base.h"

#define HIST_SUB_BITS 6
#define HIST_BUCKETS ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t count, sum, min, max;
	uint64_t bucket[HIST_BUCKETS];
};

static inline uint32_t hist_bucket_of(uint64_t v)
{
	uint32_t shift;

	if (v < (1u << HIST_SUB_BITS))
		return (uint32_t)v;
	shift = 63 - (uint32_t)__builtin_clzll(v) - HIST_SUB_BITS;
	return ((shift + 1) << HIST_SUB_BITS) + (uint32_t)((v >> shift) & ((1u << HIST_SUB_BITS) - 1));
}

static inline void hist_add(struct hist *h, uint64_t v)
{
	h->count++;
	h->sum += v;
	if (v < h->min || h->count == 1)
		h->min = v;
	if (v > h->max)
		h->max = v;
	h->bucket[hist_bucket_of(v)]++;
}

/* Lower edge of a bucket. */
uint64_t hist_bucket_floor(uint32_t bucket);
void hist_merge(struct hist *into, const struct hist *from);
/* Value below which `percent` of the values lie (0 to 100); 0 when there are none. */
uint64_t hist_percentile(const struct hist *h, double percent);
static inline uint64_t hist_mean(const struct hist *h) { return h->count ? h->sum / h->count : 0; }

#endif
