/* SPDX-License-Identifier: BSD-3-Clause */
/* place.c: on which core something begins to live. */
#include "core/sched.h"

void sched_place_init(struct sched_place *p, struct core *core)
{
	p->core = core;
	atomic_init(&p->allowed, UINT64_MAX);
}

/* How near a core is to where packets come in. */
static uint32_t nearness(struct core *core, uint32_t index, int cpu)
{
	const struct reactor *r = core_reactor(core, index);

	if (cpu < 0)
		return 0;
	return reactor_cpu(r) == (uint32_t)cpu ? 2 : core_cpu_node(core, (uint32_t)cpu) == reactor_node(r);
}

struct reactor *sched_place(struct sched_place *p, int cpu)
{
	uint32_t best = UINT32_MAX, best_count = 0, best_near = 0, cores = core_reactor_count(p->core);
	uint64_t allowed = sched_place_allowed(p);

	for (uint32_t n = 0, i = p->next++ % cores; n < cores; n++, i = (i + 1) % cores) {
		uint32_t count = atomic_load_explicit(&p->count[i], memory_order_relaxed);
		uint32_t near = nearness(p->core, i, cpu);

		if (!(allowed >> i & 1))
			continue;
		if (best == UINT32_MAX || count < best_count || (count == best_count && near > best_near)) {
			best = i;
			best_count = count;
			best_near = near;
		}
	}
	sched_place_came(p, core_reactor(p->core, best));
	return core_reactor(p->core, best);
}
