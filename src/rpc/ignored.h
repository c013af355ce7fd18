/* SPDX-License-Identifier: BSD-3-Clause */
/* ignored.h: what is accepted for SPDK's sake and has no meaning here. Private to rpc.
 *
 * Such a method or parameter is said once in the log and kept, so that a configuration written for SPDK comes back
 * whole from save_config.
 */
#ifndef RPC_IGNORED_H
#define RPC_IGNORED_H

#include "rpc/rpc.h"

/* One log line for each parameter of the method, the first time it is given. */
void ignored_say_params(struct rpc *rpc, const struct rpc_method *m, struct json_object *ignored);
/* Keep them for the object that the call named by its required parameters and "name". */
void ignored_keep_params(struct rpc *rpc, const struct rpc_method *m, struct json_object *params,
                         struct json_object *ignored);
/* Put kept parameters into a saved {method, params} of the same object. `ret_seen`, unless NULL: what that depended on;
 * as long as ignored_same() says so it would have the same result. */
struct ignored_seen {
	uint32_t bucket;
	uint64_t version;
};
void ignored_merge_params(struct rpc *rpc, struct json_object *entry, struct ignored_seen *ret_seen);
bool ignored_same(const struct rpc *rpc, const struct ignored_seen *seen);
/* Append the kept whole methods of one subsystem. */
void ignored_save_methods(struct rpc *rpc, const char *subsystem, struct json_object *array);
/* Subsystems of such methods: 0, 1, ...; NULL after the last. */
const char *ignored_subsystem(size_t index);
/* A method that was called with these parameters is not saved any more; false: it was not. */
bool ignored_forget_method(struct rpc *rpc, const struct rpc_method *m, struct json_object *params);
/* What such a method was given last; `key`: the value of the parameter by which its calls are kept apart. Borrowed;
 * NULL: nothing. */
struct json_object *ignored_given(struct rpc *rpc, const char *method, const char *key);
void ignored_forget(struct rpc *rpc);

#endif
