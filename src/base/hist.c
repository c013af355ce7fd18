/* SPDX-License-Identifier: BSD-3-Clause */
/* hist.c: reading a histogram; adding to one is inline in the header. */
#include "base/hist.h"

uint64_t hist_bucket_floor(uint32_t bucket)
{
	uint32_t range = bucket >> HIST_SUB_BITS;
	uint64_t sub = bucket & ((1u << HIST_SUB_BITS) - 1);

	assert(bucket < HIST_BUCKETS);
	if (range == 0)
		return sub;
	return ((1ull << HIST_SUB_BITS) + sub) << (range - 1);
}

void hist_merge(struct hist *into, const struct hist *from)
{
	if (from->count == 0)
		return;
	into->min = into->count ? min_u64(into->min, from->min) : from->min;
	into->max = max_u64(into->max, from->max);
	into->count += from->count;
	into->sum += from->sum;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
	double rank = (double)h->count * percent / 100.0;
	uint64_t below = 0;

	assert(percent >= 0 && percent <= 100);
	if (h->count == 0)
		return 0;
	for (uint32_t i = 0; i < HIST_BUCKETS - 1; i++) {
		below += h->bucket[i];
		if (below > 0 && (double)below >= rank)
			/* The upper edge: a percentile must not flatter. */
			return min_u64(hist_bucket_floor(i + 1) - 1, h->max);
	}
	return h->max;
}
