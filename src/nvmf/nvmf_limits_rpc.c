/* SPDX-License-Identifier: BSD-3-Clause */
/* nvmf_limits_rpc.c: how much of everything there can be: what it is, who sets it, how who wants more is answered. */
#include <stdio.h>

#include "nvmf/nvmf_rpc_priv.h"

struct limits_args {
	char *tgt_name;
	uint32_t max_connections, max_controllers;
};

static const struct rpc_param limits_params[] = {
#define P(field, ...) RPC_PARAM(struct limits_args, field, __VA_ARGS__)
	NVMF_RPC_TGT(struct limits_args),
	P(max_connections, .doc = "Queue pairs that may be connected at a time, admin queues among them, over all "
	  "transports; 0: as many as there is memory for (--memory)."),
	P(max_controllers, .doc = "Controllers that there may be at a time, those of the discovery service among them; "
	  "0: as many as subsystems have identifiers for (min_cntlid, max_cntlid)."),
#undef P
};

static void handle_set_limits(struct rpc_call *call, void *args)
{
	const struct limits_args *a = args;
	struct nvmf_target *t = rpc_ctx(call);

	if (!nvmf_rpc_target_ok(call, a->tgt_name))
		return;
	if (rpc_given(call, "max_connections"))
		t->conns_max = a->max_connections;
	if (rpc_given(call, "max_controllers"))
		t->ctrlrs_max = a->max_controllers;
	t->limits_set = true;
	rpc_reply_true(call);
}

void nvmf_limits_save(struct nvmf_target *t, struct json_object *array)
{
	struct json_object *call, *p;

	if (!t->limits_set)
		return;
	call = json_append_object(array);
	json_add_text(call, "method", "nvmf_set_limits");
	p = json_object_new_object();
	json_object_object_add(call, "params", p);
	json_add_u64(p, "max_connections", t->conns_max);
	json_add_u64(p, "max_controllers", t->ctrlrs_max);
}

/* --- what there is ---------------------------------------------------------------------------------- */

struct tgt_args { char *tgt_name; };
static const struct rpc_param tgt_params[] = { NVMF_RPC_TGT(struct tgt_args) };

static struct json_object *add(struct json_object *array, const char *name, uint64_t most, uint64_t now,
                               const char *set_by, const char *answer)
{
	struct json_object *o = json_append_object(array);

	json_add_text(o, "name", name);
	json_add_u64(o, "limit", most);
	json_add_u64(o, "used", now);
	json_add_text(o, "set_by", set_by);
	json_add_text(o, "refused_with", answer);
	return o;
}

static void add_subsystems(struct json_object *array, const struct nvmf_target *t)
{
	uint32_t count = 0, namespaces = 0, fullest_of = 0;

	for (uint32_t i = 0; i < NVMF_SUBSYSTEMS_MAX; i++) {
		const struct nvmf_subsystem *s = t->config->subs[i];

		count += s != NULL;
		if (s && s->ns_max && (!fullest_of || s->ns_count > namespaces)) {
			namespaces = s->ns_count;
			fullest_of = s->ns_max;
		}
	}
	add(array, "subsystems", min_u32(NVMF_SUBSYSTEMS_MAX, t->subsystems_max), count, "nvmf_set_max_subsystems",
	    "nvmf_create_subsystem: -28");
	add(array, "namespaces of the subsystem that has most", fullest_of ? fullest_of : NVMF_NSID_LIMIT, namespaces,
	    "nvmf_create_subsystem, max_namespaces", "nvmf_subsystem_add_ns: -28");
}

static void add_transports(struct json_object *array, const struct nvmf_target *t)
{
	list_each(l, &t->transports) {
		const struct nvmf_transport *tr = list_entry(l, struct nvmf_transport, link);
		char name[64];

		snprintf(name, sizeof(name), "entries of an I/O queue, %s", tr->ops->name);
		add(array, name, tr->opts.max_queue_depth, 0, "nvmf_create_transport, max_queue_depth",
		    "Connect: Connect Invalid Parameters (182h)");
		snprintf(name, sizeof(name), "I/O queues of a controller, %s", tr->ops->name);
		add(array, name, tr->opts.max_io_qpairs_per_ctrlr, 0, "nvmf_create_transport, max_io_qpairs_per_ctrlr",
		    "Set Features, Number of Queues: fewer are granted");
		snprintf(name, sizeof(name), "bytes of a command, %s", tr->ops->name);
		add(array, name, tr->opts.max_io_size, 0, "nvmf_create_transport, max_io_size", "Invalid Field (02h)");
	}
}

static void handle_get_limits(struct rpc_call *call, void *args)
{
	const struct nvmf_target *t = rpc_ctx(call);
	struct json_object *array, *o;
	struct mem_stats memory;

	if (!nvmf_rpc_target_ok(call, ((const struct tgt_args *)args)->tgt_name))
		return;
	array = json_object_new_array();
	o = add(array, "connections", t->conns_max, t->conns, "nvmf_set_limits, max_connections",
	        "Connect: Connect Controller Busy (181h)");
	json_add_u64(o, "refused", t->conns_refused);
	o = add(array, "controllers", t->ctrlrs_max, t->ctrlrs_alive, "nvmf_set_limits, max_controllers",
	        "Connect: Connect Controller Busy (181h)");
	json_add_u64(o, "refused", t->ctrlrs_refused);
	add_subsystems(array, t);
	add_transports(array, t);
	mem_get_stats(t->core, &memory);
	add(array, "bytes of connections' memory", memory.charge_bytes_max, memory.charged_bytes, "--memory",
	    "the connection is closed");
	rpc_reply(call, array);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_set_limits", struct limits_args, limits_params, handle_set_limits,
	           .flags = RPC_STARTUP | RPC_RUNTIME, .returns = "true",
	           .doc = "Bound what hosts may take of the target as a whole. What is there stays; what is left out of "
	                  "the call, too."),
	RPC_METHOD("nvmf_get_limits", struct tgt_args, tgt_params, handle_get_limits, .flags = RPC_RUNTIME | RPC_READS,
	           .returns = "array of {name, limit (0: none of its own), used, set_by, refused_with, refused (of those "
	                      "that are counted)}",
	           .doc = "What there can be of everything, what there is, who sets it, how who wants more is answered."),
};

void nvmf_limits_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
