/* SPDX-License-Identifier: BSD-3-Clause */
/* slow.h: the methods of a protocol's flight recorder (core/stages.h): every core's slow commands, newest first; to
 * empty it. The limit is the protocol's, which saves it. */
#ifndef RPC_SLOW_H
#define RPC_SLOW_H

#include "core/stages.h"
#include "rpc/json.h"
#include "rpc/rpc.h"

struct rpc_slow {
	struct core *core;
	struct flight *(*flight)(void *arg, uint32_t core_index); /* NULL: that core has none */
	void (*show)(struct json_object *o, const struct flight_io *io); /* what stands behind the head */
	void *arg;
};
/* {adaptive, cores: [{core, limit_ns, slow_ios}], ios: [{at_us, total_ns, stages_ns, why, ...}]}. `slow` is copied. */
void rpc_slow_get(struct rpc_call *call, const struct rpc_slow *slow, uint32_t max, bool adaptive);
void rpc_slow_clear(struct rpc_call *call, const struct rpc_slow *slow);

/* What the methods to get and to set the limit take; and the call that sets it again, if one is set. */
struct rpc_slow_max {
	uint32_t max;
};
struct rpc_slow_limit {
	uint64_t limit_us;
};
extern const struct rpc_param rpc_slow_max_params[1], rpc_slow_limit_params[1];
void rpc_slow_save_limit(struct json_object *array, const char *method, uint64_t limit_ns);

#endif
