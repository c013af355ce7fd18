/* SPDX-License-Identifier: BSD-3-Clause */
/* sock_rpc.c: what scripts written for SPDK ask of sockets. There is one kind here, which tunes itself: what was set is
 * told, over what holds where nothing was. */
#include "rpc/core_rpc.h"
#include "rpc/ignored.h"

static const char *const impl_names[] = { "posix", "ssl", "uring", NULL };

struct impl_get {
	char *impl_name;
};

static const struct rpc_param impl_get_params[] = {
	RPC_PARAM(struct impl_get, impl_name, .required = true, .choices = impl_names,
	          .doc = "Which of SPDK's kinds of sockets."),
};

static struct json_object *own_options(void)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "recv_buf_size", 0); /* the system's, which grows as it must */
	json_add_u64(o, "send_buf_size", 0);
	json_add_bool(o, "enable_recv_pipe", false);
	json_add_bool(o, "enable_quickack", false);
	json_add_u64(o, "enable_placement_id", 0);
	json_add_bool(o, "enable_zerocopy_send_server", false);
	json_add_bool(o, "enable_zerocopy_send_client", false);
	json_add_u64(o, "zerocopy_threshold", 0);
	json_add_u64(o, "tls_version", 0);
	json_add_bool(o, "enable_ktls", false);
	return o;
}

static void handle_sock_impl_get_options(struct rpc_call *call, void *args)
{
	struct impl_get *a = args;
	struct json_object *o = own_options();
	struct json_object *given = ignored_given(rpc_of(call), "sock_impl_set_options", a->impl_name);

	if (given) {
		json_object_object_foreach(given, name, value)
			if (strcmp(name, "impl_name") != 0)
				json_object_object_add(o, name, json_object_get(value));
	}
	rpc_reply(call, o);
}

static void handle_sock_get_default_impl(struct rpc_call *call, void *args)
{
	struct json_object *given = ignored_given(rpc_of(call), "sock_set_default_impl", NULL), *name = NULL;
	struct json_object *o = json_object_new_object();

	(void)args;
	if (given)
		json_object_object_get_ex(given, "impl_name", &name);
	json_object_object_add(o, "impl_name", name ? json_object_get(name) : json_object_new_string("posix"));
	rpc_reply(call, o);
}

#define BOTH (RPC_STARTUP | RPC_RUNTIME)
static const struct rpc_method methods[] = {
	RPC_METHOD("sock_impl_get_options", struct impl_get, impl_get_params, handle_sock_impl_get_options, .flags =
	           BOTH | RPC_READS,
		.doc = "What sock_impl_set_options was given, which has no effect, and SPDK's other options as they are here.",
		.returns = "{recv_buf_size, send_buf_size, enable_recv_pipe, ..., tls_version, enable_ktls}"),
	RPC_METHOD_BARE("sock_get_default_impl", handle_sock_get_default_impl, .flags = BOTH | RPC_READS,
		.doc = "What sock_set_default_impl was given, which has no effect.", .returns = "{impl_name: \"posix\"}"),
};

void sock_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
