/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_rpc_priv.h: what the files of the target's methods share: arguments, and shorthands for results. */
#ifndef NVMF_NVMF_RPC_PRIV_H
#define NVMF_NVMF_RPC_PRIV_H

#include "nvmf/target.h"
#include "rpc/rpc.h"

#define TGT_NAME "nvmf_tgt"

struct listen_address_args {
	char *trtype, *adrfam, *traddr, *trsvcid;
};

void nvmf_get_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_save(void *ctx, struct json_object *array);
/* Only one target exists. False: answered. */
bool nvmf_rpc_target_ok(struct rpc_call *call, const char *tgt_name);

static inline void json_add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}
static inline void json_add_text(struct json_object *o, const char *key, const char *v)
{
	json_object_object_add(o, key, json_object_new_string(v));
}
static inline void json_add_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}
static inline struct json_object *json_add_object(struct json_object *o, const char *key)
{
	struct json_object *v = json_object_new_object();

	json_object_object_add(o, key, v);
	return v;
}
static inline struct json_object *json_add_array(struct json_object *o, const char *key)
{
	struct json_object *v = json_object_new_array();

	json_object_object_add(o, key, v);
	return v;
}
static inline struct json_object *json_append_object(struct json_object *array)
{
	struct json_object *v = json_object_new_object();

	json_object_array_add(array, v);
	return v;
}

#endif
