/* SPDX-License-Identifier: BSD-3-Clause */
/* pattern.c: data of loads that check what they read. Every 64-bit word is a mix of its slot, generation and place, so
 * that stale, shifted, torn and foreign data all differ from what is expected. */
#include "base/pattern.h"

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0x9e3779b97f4a7c15ull;
	x ^= x >> 29;
	return x;
}

void pattern_fill(void *buf, size_t len, uint64_t slot, uint32_t generation)
{
	uint64_t base = mix(slot * 0x100000001b3ull + generation);
	uint8_t *at = buf;

	assert(len % 8 == 0);
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = mix(base + i);

		memcpy(at + i, &word, 8);
	}
}

size_t pattern_check(const void *buf, size_t len, uint64_t slot, uint32_t generation)
{
	uint64_t base = mix(slot * 0x100000001b3ull + generation);
	const uint8_t *at = buf;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t want = mix(base + i), word;

		memcpy(&word, at + i, 8);
		if (word != want)
			return i + (size_t)__builtin_ctzll(word ^ want) / 8;
	}
	return len;
}
