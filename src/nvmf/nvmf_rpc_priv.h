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

void nvmf_flight_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_flight_save(struct nvmf_target *t, struct json_object *array);
void nvmf_get_rpc_add(struct rpc *rpc, struct nvmf_target *t);
void nvmf_place_rpc_add(struct rpc *rpc, struct nvmf_target *t);
/* False: answered. */
bool nvmf_rpc_set_poll_groups_mask(struct rpc_call *call, struct nvmf_target *t, const char *mask);
char *nvmf_rpc_poll_groups_mask(struct nvmf_target *t); /* heap */
void nvmf_save(void *ctx, struct rpc_save *save);
void nvmf_save_ns(struct json_object *array, const struct nvmf_subsystem *s, const struct nvmf_ns *ns);
/* Only one target exists. False: answered. */
bool nvmf_rpc_target_ok(struct rpc_call *call, const char *tgt_name);

#endif
