/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc_fuzz.c: any bytes, cut into pieces of any size, into a session whose methods have rows of every type; and the
 * same bytes as a configuration. */
#include "rpc/registry.h"
#include "rpc/session.h"

struct item {
	char *nqn;
	uint16_t port;
};

static const struct rpc_param item_rows[] = {
	RPC_PARAM(struct item, nqn, .required = true, .max = 20),
	RPC_PARAM(struct item, port, .fallback = "4420"),
};

struct all {
	char *name, *kind, *key;
	uint64_t num_blocks;
	uint32_t block_size;
	uint8_t level;
	int32_t offset;
	int64_t delta;
	bool flag;
	struct uuid uuid;
	struct rpc_texts tags;
	struct rpc_objects items;
	struct item item;
	struct json_object *extra;
};

static const char *const kinds[] = { "TCP", "RDMA", NULL };
static const struct rpc_param rows[] = {
	RPC_PARAM(struct all, name, .alias = "bdev_name", .min = 1, .max = 8),
	RPC_PARAM(struct all, kind, .choices = kinds),
	RPC_PARAM(struct all, key, .secret = true),
	RPC_PARAM(struct all, num_blocks, .required = true, .min = 1),
	RPC_PARAM(struct all, block_size, .min = 512, .multiple_of = 512, .fallback = "4096"),
	RPC_PARAM(struct all, level),
	RPC_PARAM(struct all, offset),
	RPC_PARAM(struct all, delta),
	RPC_PARAM(struct all, flag),
	RPC_PARAM(struct all, uuid),
	RPC_PARAM(struct all, tags, .max = 5),
	RPC_PARAM(struct all, items, .params = item_rows, .param_count = ARRAY_SIZE(item_rows),
	          .object_size = sizeof(struct item)),
	RPC_PARAM(struct all, item, .params = item_rows, .param_count = ARRAY_SIZE(item_rows)),
	RPC_PARAM(struct all, extra),
	RPC_IGNORED("dif"),
};

/* What was read is written, and must be taken again. */
static void handle_all(struct rpc_call *call, void *args)
{
	struct json_object *json = rpc_params_to_json(rows, ARRAY_SIZE(rows), args);
	struct all again = { 0 };
	struct err e = { 0 };

	must(rpc_params_from_json(rows, ARRAY_SIZE(rows), json, &again, &e) == 0);
	rpc_params_free(rows, ARRAY_SIZE(rows), &again);
	rpc_reply(call, json);
}

static void handle_hold(struct rpc_call *call, void *args)
{
	struct rpc_call **held = rpc_ctx(call);

	if (*held)
		rpc_reply_true(*held);
	*held = call;
}

static const struct rpc_method methods[] = {
	RPC_METHOD("all", struct all, rows, handle_all, .alias = "a"),
	RPC_METHOD_BARE("hold", handle_hold),
};

static void wake(void *arg)
{
}

static void loaded(void *arg, const struct err *e)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpc *rpc = rpc_make(NULL);
	struct rpc_call *held = NULL;
	struct session s;
	const char *text = (const char *)data, *out;
	size_t piece = size ? data[0] % 61 + 1u : 1, at = size > 1;

	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), &held);
	rpc_set_running(rpc, true);
	session_init(&s, rpc, wake, NULL);
	while (at < size && session_can_take(&s)) {
		at += session_take(&s, text + at, min_u64(piece, size - at));
		while (session_run(&s))
			;
		session_sent(&s, session_output(&s, &out));
	}
	session_fini(&s);
	rpc_load_config(rpc, text, size, RPC_LOAD_ALLOWED, loaded, NULL);
	if (held)
		rpc_reply_true(held);
	json_object_put(rpc_save_config(rpc));
	rpc_free(rpc);
	return 0;
}
