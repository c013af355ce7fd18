/* SPDX-License-Identifier: BSD-3-Clause */
/* slow.h: the methods of a protocol's flight recorder (core/stages.h): every core's slow commands, newest first; to
 * empty it; the limit, which is saved. A protocol has a table of them, with its struct flights as their context, and
 * says what stands in its records:
 *
 *     static void handle_get_slow_ios(struct rpc_call *call, void *args) { rpc_slow_get(call, args, show); }
 */
#ifndef RPC_SLOW_H
#define RPC_SLOW_H

#include "core/stages.h"
#include "rpc/json.h"
#include "rpc/rpc.h"

struct rpc_slow_max {
	uint32_t max;
};
struct rpc_slow_limit {
	uint64_t limit_us;
};
extern const struct rpc_param rpc_slow_max_params[1], rpc_slow_limit_params[1];

/* What stands behind the head of a record. */
typedef void rpc_slow_show_fn(struct json_object *o, const struct flight_io *io);
/* {adaptive, cores: [{core, limit_ns, slow_ios}], ios: [{at_us, total_ns, stages_ns, why, ..., core}]}. */
void rpc_slow_get(struct rpc_call *call, const struct rpc_slow_max *args, rpc_slow_show_fn *show);
rpc_handler rpc_slow_clear;                       /* takes nothing */
rpc_handler rpc_slow_set_limit;                   /* takes struct rpc_slow_limit */
/* The call of `method` that sets the limit again, if one is set. */
void rpc_slow_save_limit(struct json_object *array, const char *method, const struct flights *flights);

#endif
