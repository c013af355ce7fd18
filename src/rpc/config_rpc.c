/* SPDX-License-Identifier: BSD-3-Clause */
/* config_rpc.c: the configuration over RPC. SPDK's script puts it together from framework_get_config itself; these do
 * the same in one call, in the same format. */
#include <string.h>

#include "rpc/core_rpc.h"

struct get_config {
	char *name;
	bool with_batches;
};

static const struct rpc_param get_config_params[] = {
	RPC_PARAM(struct get_config, name, .required = true, .doc = "The subsystem, such as bdev or nvmf."),
	RPC_PARAM(struct get_config, with_batches, .doc = "Calls of one method that follow each other and do not "
	          "need each other are one list, which SPDK's clients send at once."),
};

static const char *method_of(struct json_object *list, size_t at)
{
	return json_object_get_string(json_object_object_get(json_object_array_get_idx(list, at), "method"));
}

/* Those of which there may be thousands. */
static bool goes_in_batches(const char *method)
{
	static const char *const names[] = {
		"bdev_malloc_create", "bdev_null_create", "bdev_uring_create", "bdev_aio_create", "nvmf_create_subsystem",
		"nvmf_subsystem_add_host", "nvmf_subsystem_add_ns", "nvmf_subsystem_add_listener",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(method, names[i]) == 0)
			return true;
	return false;
}

/* Takes `config`. */
static struct json_object *in_batches(struct json_object *config)
{
	struct json_object *result = json_object_new_array(), *batch = NULL;
	size_t count = json_object_array_length(config);

	for (size_t i = 0; i < count; i++) {
		struct json_object *entry = json_object_array_get_idx(config, i);
		bool more = i + 1 < count && strcmp(method_of(config, i), method_of(config, i + 1)) == 0 &&
		            goes_in_batches(method_of(config, i));

		if (more && !batch) {
			batch = json_object_new_array();
			json_object_array_add(result, batch);
		}
		json_object_array_add(batch ? batch : result, json_object_get(entry));
		if (!more)
			batch = NULL;
	}
	json_object_put(config);
	return result;
}

static void handle_framework_get_config(struct rpc_call *call, void *args)
{
	struct get_config *a = args;
	struct err e = { 0 };
	struct json_object *config = rpc_save_subsystem(rpc_of(call), a->name, &e);

	if (config && a->with_batches)
		config = in_batches(config);
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
	if (a->with_batches)
		config = in_batches(config);
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
