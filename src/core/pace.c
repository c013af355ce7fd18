/* SPDX-License-Identifier: BSD-3-Clause */
/* pace.c: how long an adaptive reactor spins before it sleeps.
 *
 * Spinning pays when the next arrival comes within the spin: then it saves a wake-up, which costs the
 * sleeper tens of microseconds. So the gaps between the end of work and the next arrival are smoothed, and
 * a reactor whose gaps are usually longer than a spin makes only a token one. A gap that ended a sleep
 * holds the wake-up's own cost, which WAKE_NS allows for: otherwise a reactor that once fell asleep would
 * measure its own slowness and never spin again.
 */
#include "core/reactor.h"

#define WAKE_NS (50 * NS_PER_US)
#define GAP_TIMES 4  /* a gap counts as at most so many of the longest spin, so that habits can change soon */
#define TOKEN_PART 25
#define EWMA_SHIFT 3

void pace_worked(struct pace *p, uint64_t now_ns, uint64_t spin_ns_max)
{
	uint64_t gap;

	if (!p->idle_since_ns)
		return;
	gap = min_u64(now_ns - p->idle_since_ns, spin_ns_max * GAP_TIMES + WAKE_NS);
	p->idle_since_ns = 0;
	p->gap_ewma_ns = p->gap_ewma_ns - (p->gap_ewma_ns >> EWMA_SHIFT) + (gap >> EWMA_SHIFT);
}

void pace_idle(struct pace *p, uint64_t now_ns)
{
	if (!p->idle_since_ns)
		p->idle_since_ns = now_ns;
}

bool pace_may_sleep(const struct pace *p, uint64_t now_ns, uint64_t spin_ns_max)
{
	uint64_t spin_ns = p->gap_ewma_ns <= spin_ns_max + WAKE_NS ? spin_ns_max : spin_ns_max / TOKEN_PART;

	return p->idle_since_ns && now_ns - p->idle_since_ns >= spin_ns;
}
