/* SPDX-License-Identifier: BSD-3-Clause */
/* passthru_rpc.c: passthru devices by SPDK's methods. */
#include "backends/passthru/passthru_rpc.h"

#include "backends/passthru/passthru.h"

struct passthru_create {
	char *base_bdev_name, *name;
	struct uuid uuid;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct passthru_create, base_bdev_name, .required = true, .min = 1, .max = 255,
	          .doc = "The device to stand on; it may come later."),
	RPC_PARAM(struct passthru_create, name, .required = true, .min = 1, .max = 255, .doc = "Name of the new device."),
	RPC_PARAM(struct passthru_create, uuid, .doc = "UUID of the new device; follows from its base's when left out."),
};

static void handle_create(struct rpc_call *call, void *args)
{
	const struct passthru_create *a = args;
	struct passthru_opts opts = { .name = a->name, .base = a->base_bdev_name, .uuid = a->uuid };
	struct err e = { 0 };

	if (passthru_create(bdev_rpc_registry(rpc_ctx(call)), &opts, &e) != 0)
		rpc_reply_err(call, &e);
	else
		rpc_reply(call, json_object_new_string(a->name));
}

struct passthru_delete {
	char *name;
};

static const struct rpc_param delete_params[] = {
	RPC_PARAM(struct passthru_delete, name, .required = true, .doc = "Name of the device, built or waiting."),
};

static void handle_delete(struct rpc_call *call, void *args)
{
	const struct passthru_delete *a = args;
	struct err e = { 0 };

	if (passthru_delete(bdev_rpc_registry(rpc_ctx(call)), a->name, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

static void params(const struct bdev_order *o, struct json_object *json)
{
	struct passthru_opts opts;
	char uuid[UUID_TEXT_MAX];

	passthru_get_opts(o, &opts);
	json_object_object_add(json, "base_bdev_name", json_object_new_string(opts.base));
	json_object_object_add(json, "name", json_object_new_string(opts.name));
	if (!uuid_is_null(&opts.uuid))
		json_object_object_add(json, "uuid", json_object_new_string(uuid_to_text(&opts.uuid, uuid)));
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_passthru_create", struct passthru_create, create_params, handle_create, .flags = RPC_RUNTIME,
	           .doc = "Make a device that passes everything on to another one.", .returns = "name of the device"),
	RPC_METHOD("bdev_passthru_delete", struct passthru_delete, delete_params, handle_delete, .flags = RPC_RUNTIME,
	           .doc = "Remove a passthru device.", .returns = "true"),
};

void passthru_rpc_add(struct bdev_rpc *br, struct bdev_rpc_order_kind *kind)
{
	*kind = (struct bdev_rpc_order_kind){ .ops = &passthru_order_ops, .method = "bdev_passthru_create",
	                                      .params = params, .stamped = true };
	bdev_rpc_add_order_kind(br, kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), br);
}
