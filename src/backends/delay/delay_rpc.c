/* SPDX-License-Identifier: BSD-3-Clause */
/* delay_rpc.c: delay devices by SPDK's methods. */
#include "backends/delay/delay_rpc.h"

#include "backends/delay/delay.h"
#include "rpc/json.h"

#define LATENCY_US_MAX 86400000000ull

struct delay_create {
	char *base_bdev_name, *name;
	struct uuid uuid;
	uint64_t avg_read_latency, p99_read_latency, avg_write_latency, p99_write_latency;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct delay_create, base_bdev_name, .required = true, .min = 1, .max = 255,
	          .doc = "The device to stand on; it may come later."),
	RPC_PARAM(struct delay_create, name, .required = true, .min = 1, .max = 255, .doc = "Name of the new device."),
	RPC_PARAM(struct delay_create, uuid, .doc = "UUID of the new device; follows from its base's when left out."),
	RPC_PARAM(struct delay_create, avg_read_latency, .required = true, .max = LATENCY_US_MAX, .unit = "us",
	          .doc = "What 99 of 100 reads take, since they came."),
	RPC_PARAM(struct delay_create, p99_read_latency, .required = true, .max = LATENCY_US_MAX, .unit = "us",
	          .doc = "What the hundredth takes."),
	RPC_PARAM(struct delay_create, avg_write_latency, .required = true, .max = LATENCY_US_MAX, .unit = "us",
	          .doc = "What 99 of 100 writes take."),
	RPC_PARAM(struct delay_create, p99_write_latency, .required = true, .max = LATENCY_US_MAX, .unit = "us",
	          .doc = "What the hundredth takes."),
};

static void handle_create(struct rpc_call *call, void *args)
{
	const struct delay_create *a = args;
	struct delay_opts opts = { .name = a->name, .base = a->base_bdev_name, .uuid = a->uuid,
	                           .latency_us = { a->avg_read_latency, a->p99_read_latency, a->avg_write_latency,
	                                           a->p99_write_latency } };
	struct err e = { 0 };

	if (delay_create(bdev_rpc_registry(rpc_ctx(call)), &opts, &e) != 0)
		rpc_reply_err(call, &e);
	else
		rpc_reply(call, json_object_new_string(a->name));
}

struct delay_update {
	char *delay_bdev_name, *latency_type;
	uint64_t latency_us;
};

static const char *const latency_types[] = { "avg_read", "p99_read", "avg_write", "p99_write", NULL };
static const struct rpc_param update_params[] = {
	RPC_PARAM(struct delay_update, delay_bdev_name, .required = true, .doc = "Name of the device."),
	RPC_PARAM(struct delay_update, latency_type, .required = true, .choices = latency_types,
	          .doc = "Which of its latencies."),
	RPC_PARAM(struct delay_update, latency_us, .required = true, .max = LATENCY_US_MAX, .unit = "us",
	          .doc = "Its new value, for I/O that comes from now on."),
};

static void handle_update(struct rpc_call *call, void *args)
{
	const struct delay_update *a = args;
	uint32_t which = 0;
	struct err e = { 0 };
	int rc;

	while (strcmp(latency_types[which], a->latency_type) != 0)
		which++; /* the row lets only these through */
	rc = delay_update(bdev_rpc_registry(rpc_ctx(call)), a->delay_bdev_name, (enum delay_latency)which, a->latency_us,
	                  &e);
	rpc_reply_rc(call, rc, &e);
}

struct delay_delete {
	char *name;
};

static const struct rpc_param delete_params[] = {
	RPC_PARAM(struct delay_delete, name, .required = true, .doc = "Name of the device, built or waiting."),
};

static void handle_delete(struct rpc_call *call, void *args)
{
	const struct delay_delete *a = args;
	struct err e = { 0 };

	if (delay_delete(bdev_rpc_registry(rpc_ctx(call)), a->name, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

static void params(const struct bdev_order *o, struct json_object *json)
{
	struct delay_opts opts;
	char uuid[UUID_TEXT_MAX];

	delay_get_opts(o, &opts);
	json_add_text(json, "base_bdev_name", opts.base);
	json_add_text(json, "name", opts.name);
	if (!uuid_is_null(&opts.uuid))
		json_add_text(json, "uuid", uuid_to_text(&opts.uuid, uuid));
	json_add_u64(json, "avg_read_latency", opts.latency_us[DELAY_AVG_READ]);
	json_add_u64(json, "p99_read_latency", opts.latency_us[DELAY_P99_READ]);
	json_add_u64(json, "avg_write_latency", opts.latency_us[DELAY_AVG_WRITE]);
	json_add_u64(json, "p99_write_latency", opts.latency_us[DELAY_P99_WRITE]);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_delay_create", struct delay_create, create_params, handle_create, .flags = RPC_RUNTIME,
	           .doc = "Make a device that answers later than its base does.", .returns = "name of the device"),
	RPC_METHOD("bdev_delay_update_latency", struct delay_update, update_params, handle_update, .flags = RPC_RUNTIME,
	           .doc = "Change one latency of a delay device.", .returns = "true"),
	RPC_METHOD("bdev_delay_delete", struct delay_delete, delete_params, handle_delete, .flags = RPC_RUNTIME,
	           .doc = "Remove a delay device.", .returns = "true"),
};

void delay_rpc_add(struct bdev_rpc *br, struct bdev_rpc_order_kind *kind)
{
	*kind = (struct bdev_rpc_order_kind){ .ops = &delay_order_ops, .method = "bdev_delay_create", .params = params,
	                                      .stamped = true };
	bdev_rpc_add_order_kind(br, kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), br);
}
