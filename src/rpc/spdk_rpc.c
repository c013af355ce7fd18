/* SPDX-License-Identifier: BSD-3-Clause */
/* spdk_rpc.c: what scripts written for SPDK ask of its pools of buffers and of its acceleration, said of what is in
 * their place here. */
#include "core/mem.h"
#include "rpc/core_rpc.h"

static void add_pool(struct json_object *module, const char *name, uint64_t retries)
{
	struct json_object *o = json_add_object(module, name);

	json_add_u64(o, "cache", 0); /* taking a buffer is not counted */
	json_add_u64(o, "main", 0);
	json_add_u64(o, "retry", retries);
	json_add_u64(o, "cache_size", 0);
}

/* One line for all, because all buffers are one budget. */
static void handle_iobuf_get_stats(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_array(), *o = json_append_object(result);
	struct mem_stats s;

	(void)args;
	mem_get_stats(rpc_core(rpc_of(call)), &s);
	json_add_text(o, "module", "gantry");
	add_pool(o, "small_pool", s.waits_small);
	add_pool(o, "large_pool", s.waits_large);
	rpc_reply(call, result);
}

/* SPDK's operations that are done here: by the CPU that has the data. */
static const char *const operations[] = {
	"copy", "fill", "compare", "crc32c", "copy_crc32c", "dif_verify", "dif_verify_copy", "dif_generate",
	"dif_generate_copy", "dix_generate", "dix_verify",
};

static void handle_accel_get_opc_assignments(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_object();

	(void)args;
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		json_add_text(result, operations[i], "software");
	rpc_reply(call, result);
}

static void handle_accel_get_module_info(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_array(), *o = json_append_object(result), *list;

	(void)args;
	json_add_text(o, "module", "software");
	list = json_add_array(o, "supported ops");
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		json_object_array_add(list, json_object_new_string(operations[i]));
	rpc_reply(call, result);
}

static const struct rpc_method methods[] = {
	RPC_METHOD_BARE("iobuf_get_stats", handle_iobuf_get_stats, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "How often requests waited for buffers, in SPDK's shape: small_pool.retry for up to 4 KiB, "
		       "large_pool.retry for more. All share one budget and so are one module; the rest is 0. "
		       "framework_get_memory says more.",
		.returns = "[{module: \"gantry\", small_pool: {cache, main, retry, cache_size}, large_pool}]"),
	RPC_METHOD_BARE("accel_get_opc_assignments", handle_accel_get_opc_assignments, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "Who does which of SPDK's accelerated operations: the CPU that has the data.",
		.returns = "{copy: \"software\", ...}"),
	RPC_METHOD_BARE("accel_get_module_info", handle_accel_get_module_info, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "The same by module: there is one.",
		.returns = "[{module: \"software\", \"supported ops\": [operation]}]"),
};

void spdk_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
