/* SPDX-License-Identifier: BSD-3-Clause */
/* place.c: on which core something begins to live. */
#include "core/sched.h"

void sched_place_init(struct sched_place *p, struct core *core)
{
	p->core = core;
	atomic_init(&p->allowed, UINT64_MAX);
}

/* How near a core is to where packets come in. */
static uint32_t nearness(struct core *core, uint32_t index, int cpu, int node)
{
	const struct reactor *r = core_reactor(core, index);

	if (cpu >= 0 && reactor_cpu(r) == (uint32_t)cpu)
		return 2;
	return node >= 0 && node == reactor_node(r);
}

static struct reactor *place(struct sched_place *p, int cpu, int node)
{
	uint32_t best = UINT32_MAX, best_count = 0, best_near = 0, cores = core_reactor_count(p->core);
	uint64_t allowed = sched_place_allowed(p);

	for (uint32_t n = 0, i = p->next++ % cores; n < cores; n++, i = (i + 1) % cores) {
		uint32_t count = atomic_load_explicit(&p->count[i], memory_order_relaxed);
		uint32_t near = nearness(p->core, i, cpu, node);

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

struct reactor *sched_place(struct sched_place *p, int cpu)
{
	return place(p, cpu, cpu < 0 ? -1 : core_cpu_node(p->core, (uint32_t)cpu));
}

struct reactor *sched_place_on_node(struct sched_place *p, int node)
{
	return place(p, -1, node);
}
