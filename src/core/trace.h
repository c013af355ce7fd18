/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.h: what happened last on each core: a ring of fixed-size records per reactor, off until asked
 * for. A trace point is one row here; the simulator compares the rings of two runs of one seed. */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include "core/core.h"

/*   name              a              b */
#define TRACE_POINTS(X) \
	X(MSG_RUN,         "function",    "") \
	X(TIMER_RUN,       "function",    "") \
	X(STATE,           "object id",   "state") \
	X(SOCK_RECV,       "object id",   "bytes") \
	X(SOCK_SEND,       "object id",   "bytes") \
	X(REQ_START,       "connection",  "command id") \
	X(REQ_DONE,        "connection",  "status") \
	X(IO_SUBMIT,       "lba",         "operation and blocks") \
	X(IO_DONE,         "lba",         "status")
#define TRACE_ENUM(name, a, b) TRACE_##name,
enum trace_point { TRACE_POINTS(TRACE_ENUM) TRACE_POINT_COUNT };

struct trace_record {
	uint64_t at_ns, a, b;
	uint32_t point, reactor;
};

extern _Atomic bool trace_on;
void trace_set(bool on);
void trace_add(enum trace_point p, uint64_t a, uint64_t b);
#define trace(p, a, b) \
	do { \
		if (unlikely(atomic_load_explicit(&trace_on, memory_order_relaxed))) \
			trace_add(TRACE_##p, (uint64_t)(a), (uint64_t)(b)); \
	} while (0)
const char *trace_point_name(uint32_t point);
/* The calling reactor's last records, oldest first; returns how many. */
uint32_t trace_read(struct trace_record *ret_records, uint32_t max);

#endif
