/* SPDX-License-Identifier: BSD-3-Clause */
/* dice.c: every choice of a simulation follows from its seed, and leaves its mark on the hash.
 *
 * Source: xoshiro256** and splitmix64 by David Blackman and Sebastiano Vigna (public domain).
 */
#include "core/sim/machine.h"

static uint64_t dice_next(void);
static uint64_t rotl(uint64_t v, int by);

void sim_dice_seed(uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = (seed += 0x9e3779b97f4a7c15ull);

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
		sim.dice[i] = z ^ (z >> 31);
	}
	sim.hash = seed;
}

static uint64_t dice_next(void)
{
	uint64_t *s = sim.dice, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	must(sim.on);
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

static uint64_t rotl(uint64_t v, int by)
{
	return (v << by) | (v >> (64 - by));
}

uint64_t sim_draw(uint64_t n)
{
	assert(n > 0);
	return (uint64_t)(((unsigned __int128)dice_next() * n) >> 64);
}

bool sim_chance(uint32_t percent)
{
	return sim_draw(100) < percent;
}

void platform_random(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		uint64_t v = dice_next();
		size_t part = min_u64(len, sizeof(v));

		memcpy(p, &v, part);
		p += part;
		len -= part;
	}
}

void sim_note(uint64_t v)
{
	uint64_t h = (sim.hash ^ v) * 0x9e3779b97f4a7c15ull;

	sim.hash = h ^ (h >> 32);
}
