/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics_rpc.c: the text over RPC, and the HTTP server on and off. */
#include "metrics/metrics_rpc.h"

#include <errno.h>

#include "metrics/gather.h"
#include "rpc/json.h"
#include "rpc/rpc.h"

struct get {
	struct metrics_ask ask;
	struct rpc_call *call;
};

static void text_is_there(struct metrics_ask *a, struct metrics_text *text)
{
	struct get *get = container_of(a, struct get, ask);

	rpc_reply(get->call, json_object_new_string_len(text->bytes, (int)text->len));
	metrics_text_unref(text);
	free(get);
}

static void handle_get(struct rpc_call *call, void *args)
{
	struct get *get = base_zalloc(sizeof(*get));

	get->call = call;
	metrics_ask(rpc_ctx(call), &get->ask, text_is_there);
}

struct start {
	char *address;
	uint16_t port;
};

static const struct rpc_param start_params[] = {
	RPC_PARAM(struct start, address, .fallback = "127.0.0.1",
	          .doc = "IPv4 or IPv6 address to listen on. Whoever reaches it reads everything: there is no password."),
	RPC_PARAM(struct start, port, .required = true, .min = 1, .doc = "TCP port."),
};

static void handle_start(struct rpc_call *call, void *args)
{
	const struct start *a = args;
	struct err e = { 0 };
	struct metrics *m = rpc_ctx(call);

	if (metrics_serve(m, a->address, a->port, &e)) {
		rpc_reply_err(call, &e);
		return;
	}
	m->by_rpc = true;
	rpc_reply_true(call);
}

static void handle_stop(struct rpc_call *call, void *args)
{
	if (metrics_unserve(rpc_ctx(call)))
		rpc_reply_true(call);
	else
		rpc_reply_error(call, -ENOENT, "the metrics are not served");
}

static void save(void *ctx, struct json_object *array)
{
	const struct metrics *m = ctx;
	struct start a = { .address = (char *)(uintptr_t)m->host, .port = m->port };
	struct json_object *o;

	if (!m->http || !m->by_rpc)
		return;
	o = json_append_object(array);
	json_add_text(o, "method", "metrics_start_server");
	json_object_object_add(o, "params", rpc_params_to_json(start_params, ARRAY_SIZE(start_params), &a));
}

static const struct rpc_method methods[] = {
	RPC_METHOD_BARE("metrics_get", handle_get, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "The daemon's counters in Prometheus' text format; at most half a second old.",
		.returns = "the text"),
	RPC_METHOD("metrics_start_server", struct start, start_params, handle_start, .flags = RPC_RUNTIME,
		.doc = "Serve the metrics by HTTP, at /metrics.", .returns = "true"),
	RPC_METHOD_BARE("metrics_stop_server", handle_stop, .flags = RPC_RUNTIME,
		.doc = "Serve the metrics no more.", .returns = "true"),
};

void metrics_rpc_add(struct rpc *rpc, struct metrics *m)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), m);
	rpc_add_saver(rpc, "metrics", save, m);
}
