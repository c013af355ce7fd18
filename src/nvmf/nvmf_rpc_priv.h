/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_rpc_priv.h: what the files of the target's methods share: arguments, and shorthands for results. */
#ifndef NVMF_NVMF_RPC_PRIV_H
#define NVMF_NVMF_RPC_PRIV_H

#include "nvmf/target.h"
#include "rpc/json.h"
#include "rpc/rpc.h"

#define TGT_NAME "nvmf_tgt"

struct listen_address_args {
	char *trtype, *adrfam, *traddr, *trsvcid;
};

#define NVMF_RPC_TGT(S) RPC_PARAM(S, tgt_name, .doc = "Name of the target: nvmf_tgt.")
#define NVMF_RPC_NQN(S) RPC_PARAM(S, nqn, .required = true, .doc = "NQN of the subsystem.")

/* A change and the call that waits for it. */
struct nvmf_rpc_change {
	struct nvmf_change change;
	struct rpc_call *call;
	bool returns_nsid;
	const char *nqn; /* of that namespace: the call's */
};
/* Ends in the call's answer. */
struct nvmf_rpc_change *nvmf_rpc_change_make(struct rpc_call *call);
struct nvmf_change *nvmf_rpc_change(struct rpc_call *call);
/* A namespace that waits for its device has lost its number to another one. */
void nvmf_rpc_ns_replaced(struct rpc *rpc, const char *nqn, uint32_t nsid);

void nvmf_transport_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_subsystem_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_ns_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_host_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_listener_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_discovery_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_flight_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_flight_save(struct nvmf_target *t, struct json_object *array);
void nvmf_get_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_place_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_limits_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_limits_save(struct nvmf_target *t, struct json_object *array);
void nvmf_failover_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_failover_save(struct nvmf_target *t, struct json_object *array);
/* False: answered. */
bool nvmf_rpc_set_poll_groups_mask(struct rpc_call *call, struct nvmf_target *t, const char *mask);
char *nvmf_rpc_poll_groups_mask(struct nvmf_target *t); /* heap */
/* Of nvmf_set_config: discovery filters and duplicate hosts. False: answered. */
bool nvmf_rpc_parse_filters(struct rpc_call *call, const char *one, const struct rpc_texts *several, uint8_t *filters);
extern const char *const nvmf_dup_host_names[];
void nvmf_rpc_save_policies(const struct nvmf_target *t, struct json_object *params);
/* False: answered. */
bool nvmf_rpc_parse_address(struct rpc_call *call, const char *field, const struct listen_address_args *a,
                            struct net_addr *ret);
extern const struct rpc_param nvmf_rpc_address_params[4];
void nvmf_rpc_add_masks(struct json_object *o, const struct nvmf_transport_opts *opts);
/* Told by methods and saved alike: into the object. */
void nvmf_tell_address(struct json_object *o, const struct nvmf_transport *tr, const struct net_addr *a);
void nvmf_tell_host(struct json_object *o, const char *as, const struct nvmf_host *h);
void nvmf_tell_ns_ids(struct json_object *o, const struct nvmf_ns *ns);
void nvmf_tell_ns_hosts(struct json_object *o, const struct nvmf_subsystem *s, uint32_t nsid);
const char *nvmf_rpc_ana_name(uint8_t state);
void nvmf_tell_transport_opts(struct json_object *o, const struct nvmf_transport *tr);
void nvmf_tell_referral(struct json_object *o, const struct nvmf_referral *r);
void nvmf_save(void *ctx, struct rpc_save *save);
struct json_object *nvmf_save_call(struct json_object *array, const char *method); /* its parameters, to be filled */
void nvmf_show_statics(struct json_object *subsystem, const struct nvmf_subsystem *s);
void nvmf_save_statics(struct json_object *array, const struct nvmf_subsystem *s);
void nvmf_save_ns(struct json_object *array, const struct nvmf_subsystem *s, const struct nvmf_ns *ns);
/* Only one target exists. False: answered. */
bool nvmf_rpc_target_ok(struct rpc_call *call, const char *tgt_name);

#endif
