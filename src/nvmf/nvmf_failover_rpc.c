/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_failover_rpc.c: what hosts that lose a path are told to expect, and how it went. */
#include "nvmf/nvmf_rpc_priv.h"

struct failover_args {
	char *tgt_name;
	uint8_t ccr_limit;
	uint16_t cqt_ms;
};

static const struct rpc_param failover_params[] = {
#define P(field, ...) RPC_PARAM(struct failover_args, field, __VA_ARGS__)
	NVMF_RPC_TGT(struct failover_args),
	P(ccr_limit, .max = NVMF_CCR_LIMIT_MAX, .doc = "Cross-controller resets that a controller takes on at a time; 0: "
	  "the command is not offered. Hosts see it when they connect."),
	P(cqt_ms, .unit = "ms", .doc = "Command Quiesce Time: how long devices may need to end what they have in hand of a "
	  "host that was lost. Hosts that cannot have a controller reset wait for it, besides their keep-alive times, "
	  "before they send again what was not answered; 0: not said."),
#undef P
};

static void handle_set_failover(struct rpc_call *call, void *args)
{
	const struct failover_args *a = args;
	struct nvmf_target *t = rpc_ctx(call);

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	nvmf_set_failover(t, rpc_given(call, "ccr_limit") ? a->ccr_limit : t->ccr_limit,
	                  rpc_given(call, "cqt_ms") ? a->cqt_ms : t->cqt_ms);
	t->failover_set = true;
	rpc_reply_true(call);
}

struct tgt_args { char *tgt_name; };
static const struct rpc_param tgt_params[] = { NVMF_RPC_TGT(struct tgt_args) };

static void handle_get_failover(struct rpc_call *call, void *args)
{
	const struct nvmf_target *t = rpc_ctx(call);
	struct json_object *o;

	if (!nvmf_rpc_target_ok(call, ((const struct tgt_args *)args)->tgt_name))
		return;
	o = json_object_new_object();
	json_add_u64(o, "ccr_limit", t->ccr_limit);
	json_add_u64(o, "cqt_ms", t->cqt_ms);
	json_add_u64(o, "ccr_begun", t->ccr_begun);
	json_add_u64(o, "ccr_done", t->ccr_done);
	json_add_u64(o, "ccr_failed", t->ccr_failed);
	rpc_reply(call, o);
}

void nvmf_failover_save(struct nvmf_target *t, struct json_object *array)
{
	struct json_object *call, *p;

	if (!t->failover_set)
		return;
	call = json_append_object(array);
	json_add_text(call, "method", "nvmf_set_failover");
	p = json_object_new_object();
	json_object_object_add(call, "params", p);
	json_add_u64(p, "ccr_limit", t->ccr_limit);
	json_add_u64(p, "cqt_ms", t->cqt_ms);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_set_failover", struct failover_args, failover_params, handle_set_failover,
	           .flags = RPC_STARTUP | RPC_RUNTIME, .returns = "true",
	           .doc = "What hosts are told of failing over to another path: cross-controller resets, and the time that "
	                  "devices need to end commands. What is left out stays."),
	RPC_METHOD("nvmf_get_failover", struct tgt_args, tgt_params, handle_get_failover,
	           .flags = RPC_RUNTIME | RPC_READS, .returns = "object: the same, and how many resets there were",
	           .doc = "Count the cross-controller resets that hosts have asked for."),
};

void nvmf_failover_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
