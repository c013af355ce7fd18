/* SPDX-License-Identifier: BSD-3-Clause */
/* core_rpc.h: what the files of the daemon's own methods share. Private to rpc. */
#ifndef RPC_CORE_RPC_H
#define RPC_CORE_RPC_H

#include "rpc/core_methods.h"
#include "rpc/json.h"

#define CORE_THREADS_MAX (CORE_REACTORS_MAX + 1) /* the control reactor is the last */

struct rpc_core_methods {
	struct rpc *rpc;
	const struct rpc_host *host;
	struct list waiting;        /* callers of framework_wait_init */
	struct rpc_drain_hook drain;
	struct rpc_notify *notify;  /* notify_rpc.c */
	uint64_t began_ns;
	bool mode_set;              /* by framework_set_mode: to be saved */
	uint64_t watch_limit_ms;    /* by gantry_set_watchdog: to be saved; 0: it was not */
	struct {                    /* as framework_set_scheduler was given them: to be saved */
		char name[64];
		uint64_t period;
		uint32_t load_limit, core_limit, core_busy;
		bool cores_set;     /* scheduler_set_options */
	} sched;
};

void framework_rpc_add(struct rpc_core_methods *m);
void thread_rpc_add(struct rpc_core_methods *m);
void sched_rpc_add(struct rpc_core_methods *m);
void watch_rpc_add(struct rpc_core_methods *m);
void watch_rpc_save(struct rpc_core_methods *m, struct json_object *array);
void sched_rpc_save(struct rpc_core_methods *m, struct json_object *array);
void log_rpc_add(struct rpc_core_methods *m);
void sock_rpc_add(struct rpc_core_methods *m);
void spdk_rpc_add(struct rpc_core_methods *m);
void config_rpc_add(struct rpc_core_methods *m);
void describe_rpc_add(struct rpc_core_methods *m);
void notify_rpc_add(struct rpc_core_methods *m);
void notify_rpc_free(struct rpc_core_methods *m);
void trace_rpc_add(struct rpc_core_methods *m);
void state_rpc_add(struct rpc_core_methods *m);

/* --- gather.c: ask every reactor, on itself ---------------------------------------------------------------- */

struct gathered_item {
	const char *name;
	uint64_t count, runs, busy_runs; /* count: equal sources and lookers are counted as one */
	uint64_t armed, arms, rings;     /* of lookers; armed: how many are now */
};

struct gathered {
	struct reactor *reactor;
	uint64_t thread_id;
	struct reactor_stats stats;
	char *mask;                /* of the CPUs it is pinned to */
	struct gathered_item *pollers, *sources, *lookers;
	size_t poller_count, source_count, looker_count;
};

typedef struct json_object *gather_fn(struct rpc_core_methods *m, const struct gathered *reactors, uint32_t count);
/* Reply to `call` with what `make` makes of all reactors, control last. */
void gather(struct rpc_core_methods *m, struct rpc_call *call, gather_fn *make);
/* "control", "reactor_0", ...; returns buf. */
const char *gathered_name(const struct gathered *g, char buf[static 32]);

#endif
