/* SPDX-License-Identifier: BSD-3-Clause */
/* split_rpc.c: parts of devices by SPDK's methods. */
#include "backends/split/split_rpc.h"

#include "backends/split/split.h"
#include "rpc/json.h"

struct split_create {
	char *base_bdev;
	uint32_t split_count;
	uint64_t split_size_mb;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct split_create, base_bdev, .required = true, .min = 1, .max = 239,
	          .doc = "The device to cut; it may come later."),
	RPC_PARAM(struct split_create, split_count, .required = true, .min = 1, .max = 65536, .unit = "parts",
	          .doc = "How many; fewer when no more fit."),
	RPC_PARAM(struct split_create, split_size_mb, .max = 1ull << 42, .unit = "MiB",
	          .doc = "Size of each part; all of the device in equal parts when left out."),
};

static void handle_create(struct rpc_call *call, void *args)
{
	struct bdev_registry *reg = bdev_rpc_registry(rpc_ctx(call));
	const struct split_create *a = args;
	struct split_opts opts = { .base = a->base_bdev, .count = a->split_count, .size_mb = a->split_size_mb };
	struct json_object *names;
	struct bdev_order *o;
	struct err e = { 0 };

	if (split_create(reg, &opts, &e) != 0) {
		rpc_reply_err(call, &e);
		return;
	}
	names = json_object_new_array();
	o = bdev_order_find(reg, &split_order_ops, a->base_bdev);
	list_each(l, &o->devices)
		json_object_array_add(names, json_object_new_string(list_entry(l, struct bdev_stacked, link)->bdev.name));
	rpc_reply(call, names);
}

struct split_delete {
	char *base_bdev;
};

static const struct rpc_param delete_params[] = {
	RPC_PARAM(struct split_delete, base_bdev, .required = true, .doc = "The device that was cut."),
};

static void handle_delete(struct rpc_call *call, void *args)
{
	const struct split_delete *a = args;
	struct err e = { 0 };

	if (split_delete(bdev_rpc_registry(rpc_ctx(call)), a->base_bdev, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

static void params(const struct bdev_order *o, struct json_object *json)
{
	struct split_opts opts;

	split_get_opts(o, &opts);
	json_add_text(json, "base_bdev", opts.base);
	json_add_u64(json, "split_count", opts.count);
	json_add_u64(json, "split_size_mb", opts.size_mb);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_split_create", struct split_create, create_params, handle_create, .flags = RPC_RUNTIME,
	           .doc = "Cut a device into several of equal size: BASEp0, BASEp1, ...",
	           .returns = "list of names; empty while the base is not there"),
	RPC_METHOD("bdev_split_delete", struct split_delete, delete_params, handle_delete, .flags = RPC_RUNTIME,
	           .doc = "Remove all parts of a device.", .returns = "true"),
};

void split_rpc_add(struct bdev_rpc *br, struct bdev_rpc_order_kind *kind)
{
	*kind = (struct bdev_rpc_order_kind){ .ops = &split_order_ops, .method = "bdev_split_create", .params = params,
	                                      .stamped = true };
	bdev_rpc_add_order_kind(br, kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), br);
}
