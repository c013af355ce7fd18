/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.h: what happened last on each core: a ring of fixed-size records per reactor, off until asked for. A trace
 * point is one row here, and belongs to a group that is switched together; where the machine has USDT every row is
 * a probe besides (provider gantry). Off, a point costs one predictable branch.
 *
 * The daemon's rings lie in a file of shared memory (core/os/trace_file.h), made when tracing is first switched on,
 * so that gantry-trace reads them without asking, also after the daemon has died. The simulator compares the rings
 * of two runs of one seed.
 */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include "core/core.h"
#ifdef GANTRY_USDT
#include <sys/sdt.h>
#define TRACE_PROBE(p, a, b) STAP_PROBE2(gantry, p, a, b)
#else
#define TRACE_PROBE(p, a, b)
#endif

/*   group    name */
#define TRACE_GROUPS(X) \
	X(THREAD,   "thread") \
	X(SOCK,     "sock") \
	X(NVMF_TCP, "nvmf_tcp") \
	X(NVMF_RDMA, "nvmf_rdma") \
	X(SCSI,     "scsi") \
	X(ISCSI,    "iscsi_conn") \
	X(VHOST,    "vhost_blk") \
	X(BDEV,     "bdev")
/* REQ_STATE: of commands that stop on their way; REQ_START and REQ_DONE say it of the others. */
/*   name        group     a              b */
#define TRACE_POINTS(X) \
	X(MSG_RUN,   THREAD,   "function",    "") \
	X(TIMER_RUN, THREAD,   "function",    "") \
	X(STATE,     NVMF_TCP, "queue",       "connection's state") \
	X(TLS,       NVMF_TCP, "handshakes begun", "handshakes in all") \
	X(SOCK_RECV, SOCK,     "object id",   "bytes") \
	X(SOCK_SEND, SOCK,     "object id",   "bytes") \
	X(REQ_START, NVMF_TCP, "queue",       "command id") \
	X(REQ_STATE, NVMF_TCP, "slot",        "request's state") \
	X(REQ_DONE,  NVMF_TCP, "queue",       "status") \
	X(RDMA_STATE, NVMF_RDMA, "queue",     "connection's state") \
	X(RDMA_START, NVMF_RDMA, "queue",     "command id") \
	X(RDMA_REQ_STATE, NVMF_RDMA, "slot",  "request's state") \
	X(RDMA_DONE, NVMF_RDMA, "queue",      "status") \
	X(SCSI_START, SCSI,    "tag",         "opcode") \
	X(SCSI_WAIT, SCSI,     "tag",         "tasks of its nexus") \
	X(SCSI_DONE, SCSI,     "tag",         "status") \
	X(ISCSI_STATE, ISCSI,  "session",     "connection's state") \
	X(ISCSI_TASK_STATE, ISCSI, "tag",     "task's state, where it stops") \
	X(VHOST_START, VHOST,  "request",     "type") \
	X(VHOST_DONE, VHOST,   "request",     "status") \
	X(IO_SUBMIT, BDEV,     "lba",         "blocks << 8 | operation") \
	X(IO_DONE,   BDEV,     "lba",         "status")
#define TRACE_ENUM(name, group, a, b) TRACE_##name,
enum trace_point { TRACE_POINTS(TRACE_ENUM) TRACE_POINT_COUNT };
#define TRACE_GROUP_ENUM(group, name) TRACE_GROUP_##group,
enum trace_group { TRACE_GROUPS(TRACE_GROUP_ENUM) TRACE_GROUP_COUNT };
_Static_assert(TRACE_POINT_COUNT <= 64, "a bit each");

struct trace_record {
	uint64_t at_ns, a, b;
	uint32_t point, reactor;
};

extern _Atomic uint64_t trace_mask; /* bit per point */
void trace_add(enum trace_point p, uint64_t a, uint64_t b);
#define trace_is_on(p) (atomic_load_explicit(&trace_mask, memory_order_relaxed) & 1ull << TRACE_##p)
#define trace(p, a, b) \
	do { \
		TRACE_PROBE(p, a, b); \
		if (unlikely(trace_is_on(p))) \
			trace_add(TRACE_##p, (uint64_t)(a), (uint64_t)(b)); \
	} while (0)

/* One row, by number; name is NULL beyond the last. `bit`: within its group, as SPDK's tools count. */
struct trace_point_info {
	const char *name, *a, *b;
	enum trace_group group;
	uint32_t bit;
};
struct trace_point_info trace_point_info(uint32_t point);
const char *trace_group_name(enum trace_group group);
uint64_t trace_group_points(enum trace_group group);                  /* bits of trace_mask */
/* The calling reactor's last records, oldest first; returns how many. */
uint32_t trace_read(struct trace_record *ret_records, uint32_t max);

/* --- rings that others can read ---- */
#define TRACE_RING_RECORDS 4096u /* a power of two */
struct trace_ring {
	_Atomic uint64_t count;      /* ever added */
	struct trace_record records[TRACE_RING_RECORDS];
};

/* Where the rings come from. `share` returns memory for `count` of them, zeroed. */
struct trace_sharer {
	struct trace_ring *(*share)(struct trace_sharer *s, uint32_t count, struct err *e);
	char path[128];
};
/* Before the first trace_enable(). */
void trace_set_sharer(struct core *core, struct trace_sharer *s);
struct trace_sharer *trace_sharer_of(struct core *core);              /* NULL: none */
/* Control reactor: switch points on and off; the rings are made first. Errors: sentence in `e`. */
int trace_enable(struct core *core, uint64_t on, uint64_t off, struct err *e) MUST_USE;

#endif
