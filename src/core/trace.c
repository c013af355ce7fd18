/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.c: the last records of each reactor. */
#include "core/trace.h"

#include "core/reactor.h"

_Atomic uint64_t trace_mask;

#define TRACE_ROW(name, group, a, b) { #name, a, b, TRACE_GROUP_##group, 0 },
static const struct trace_point_info points[] = { TRACE_POINTS(TRACE_ROW) };

void trace_add(enum trace_point p, uint64_t a, uint64_t b)
{
	struct reactor *r = reactor_current;
	uint64_t count;

	if (!r || !(atomic_load_explicit(&trace_mask, memory_order_acquire) & 1ull << p))
		return;
	if (!r->trace)
		r->trace = base_zalloc(sizeof(*r->trace));
	count = atomic_load_explicit(&r->trace->count, memory_order_relaxed);
	r->trace->records[count % TRACE_RING_RECORDS] = (struct trace_record){
		.at_ns = r->now_ns, .a = a, .b = b, .point = p, .reactor = r->index,
	};
	atomic_store_explicit(&r->trace->count, count + 1, memory_order_release);
}

uint32_t trace_read(struct trace_record *ret_records, uint32_t max)
{
	struct trace_ring *t = reactor_current->trace;
	uint64_t ever = t ? atomic_load_explicit(&t->count, memory_order_relaxed) : 0;
	uint32_t count = (uint32_t)min_u64(min_u64(ever, TRACE_RING_RECORDS), max);

	for (uint32_t i = 0; i < count; i++)
		ret_records[i] = t->records[(ever - count + i) % TRACE_RING_RECORDS];
	return count;
}

/* --- rows --- */

struct trace_point_info trace_point_info(uint32_t point)
{
	struct trace_point_info info = { 0 };

	if (point >= TRACE_POINT_COUNT)
		return info;
	info = points[point];
	for (uint32_t i = 0; i < point; i++)
		info.bit += points[i].group == info.group;
	return info;
}

const char *trace_group_name(enum trace_group group)
{
#define TRACE_GROUP_NAME(id, name) name,
	static const char *const names[] = { TRACE_GROUPS(TRACE_GROUP_NAME) };

	return group < TRACE_GROUP_COUNT ? names[group] : "unknown";
}

uint64_t trace_group_points(enum trace_group group)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; i < TRACE_POINT_COUNT; i++)
		if (points[i].group == group)
			bits |= 1ull << i;
	return bits;
}

/* --- shared rings --- */

void trace_set_sharer(struct core *core, struct trace_sharer *s) { core->trace_sharer = s; }
struct trace_sharer *trace_sharer_of(struct core *core) { return core->trace_sharer; }

/* No reactor looks at its ring while nothing is switched on; the mask's store lets them see it. */
static int share(struct core *core, struct err *e)
{
	struct trace_sharer *s = core->trace_sharer;
	struct trace_ring *rings;

	if (!s || core->trace_is_shared)
		return 0;
	rings = s->share(s, core->count + 1, e);
	if (!rings)
		return e && e->code ? e->code : -1;
	for (uint32_t i = 0; i <= core->count; i++)
		core->reactors[i]->trace = &rings[i];
	core->trace_is_shared = true;
	return 0;
}

int trace_enable(struct core *core, uint64_t on, uint64_t off, struct err *e)
{
	uint64_t mask = atomic_load(&trace_mask);
	int rc = on ? share(core, e) : 0;

	if (rc == 0)
		atomic_store(&trace_mask, (mask & ~off) | on);
	return rc;
}

void trace_fini(struct reactor *r)
{
	if (!r->core->trace_is_shared)
		free(r->trace);
}
