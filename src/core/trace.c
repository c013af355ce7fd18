/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.c: the last records of each reactor. */
#include "core/trace.h"

#include "core/reactor.h"

#define RING_RECORDS 4096u /* a power of two */

struct trace_ring {
	uint64_t count; /* ever added */
	struct trace_record records[RING_RECORDS];
};

_Atomic bool trace_on;

void trace_set(bool on) { atomic_store(&trace_on, on); }

void trace_add(enum trace_point p, uint64_t a, uint64_t b)
{
	struct reactor *r = reactor_current;

	if (!r)
		return;
	if (!r->trace)
		r->trace = base_zalloc(sizeof(*r->trace));
	r->trace->records[r->trace->count++ % RING_RECORDS] = (struct trace_record){
		.at_ns = r->now_ns, .a = a, .b = b, .point = p, .reactor = r->index,
	};
}

uint32_t trace_read(struct trace_record *ret_records, uint32_t max)
{
	struct trace_ring *t = reactor_current->trace;
	uint32_t count = t ? (uint32_t)min_u64(min_u64(t->count, RING_RECORDS), max) : 0;

	for (uint32_t i = 0; i < count; i++)
		ret_records[i] = t->records[(t->count - count + i) % RING_RECORDS];
	return count;
}

const char *trace_point_name(uint32_t point)
{
	static const char *const names[] = {
#define TRACE_NAME(name, a, b) #name,
		TRACE_POINTS(TRACE_NAME)
	};

	return point < ARRAY_SIZE(names) ? names[point] : "UNKNOWN";
}

void trace_fini(struct reactor *r) { free(r->trace); }
