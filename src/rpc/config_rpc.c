/* SPDX-License-Identifier: BSD-3-Clause */
/* config_rpc.c: the configuration over RPC. SPDK's script puts it together from framework_get_config itself; these do
 * the same in one call, in the same format. */
#include "rpc/core_rpc.h"

struct get_config {
	char *name;
	bool with_batches;
};

static const struct rpc_param get_config_params[] = {
	RPC_PARAM(struct get_config, name, .required = true, .doc = "The subsystem, such as bdev or nvmf."),
	RPC_IGNORED("with_batches", .doc = "There are no batches in a saved configuration."),
};

static void handle_framework_get_config(struct rpc_call *call, void *args)
{
	struct get_config *a = args;
	struct err e = { 0 };
	struct json_object *config = rpc_save_subsystem(rpc_of(call), a->name, &e);

	if (config)
		rpc_reply(call, config);
	else
		rpc_reply_err(call, &e);
}

static void handle_save_subsystem_config(struct rpc_call *call, void *args)
{
	struct get_config *a = args;
	struct err e = { 0 };
	struct json_object *config = rpc_save_subsystem(rpc_of(call), a->name, &e), *result;

	if (!config) {
		rpc_reply_err(call, &e);
		return;
	}
	result = json_object_new_object();
	json_add_text(result, "subsystem", a->name);
	json_object_object_add(result, "config", config);
	rpc_reply(call, result);
}

static void handle_save_config(struct rpc_call *call, void *args)
{
	rpc_reply(call, rpc_save_config(rpc_of(call)));
}

struct load_config {
	struct json_object *subsystems;
};

static const struct rpc_param load_config_params[] = {
	RPC_PARAM(struct load_config, subsystems, .required = true,
	          .doc = "As save_config gives it: [{subsystem, config: [{method, params}]}]."),
};

static void loaded(void *arg, const struct err *e)
{
	if (e)
		rpc_reply_err(arg, e);
	else
		rpc_reply_true(arg);
}

static void handle_load_config(struct rpc_call *call, void *args)
{
	rpc_load_json(rpc_of(call), rpc_given_params(call), RPC_LOAD_ALLOWED, loaded, call);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("framework_get_config", struct get_config, get_config_params, handle_framework_get_config,
		.flags = RPC_RUNTIME | RPC_READS, .doc = "The methods that would make what one subsystem has now.",
		.returns = "[{method, params}]"),
	RPC_METHOD_BARE("save_config", handle_save_config, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "The whole configuration, as gantryd -c and load_config read it.",
		.returns = "{subsystems: [{subsystem, config: [{method, params}]}]}"),
	RPC_METHOD("save_subsystem_config", struct get_config, get_config_params, handle_save_subsystem_config,
		.flags = RPC_RUNTIME | RPC_READS, .doc = "The configuration of one subsystem.",
		.returns = "{subsystem, config: [{method, params}]}"),
	RPC_METHOD("load_config", struct load_config, load_config_params, handle_load_config,
		.flags = RPC_STARTUP | RPC_RUNTIME | RPC_WHOLE,
		.doc = "Run the methods of a saved configuration that may be called now, in an order in which they go, up to "
		       "the first error.",
		.returns = "true"),
};

void config_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
