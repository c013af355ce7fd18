/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut_rpc.c: power-cut disks by methods in SPDK's style: made, removed, cut, given power again. */
#include "backends/powercut/powercut_rpc.h"

#include "backends/powercut/powercut.h"
#include "rpc/json.h"

/* --- bdev_powercut_create ----------------------------------------------------------------------------------- */

struct create {
	char *base_bdev_name, *name;
	struct uuid uuid;
	uint32_t cache_blocks;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct create, base_bdev_name, .required = true, .min = 1, .max = 255,
	          .doc = "The device that keeps what was flushed; it may come later."),
	RPC_PARAM(struct create, name, .required = true, .min = 1, .max = 255, .doc = "Name of the new device."),
	RPC_PARAM(struct create, uuid, .doc = "UUID of the new device; follows from its base's when left out."),
	RPC_PARAM(struct create, cache_blocks, .min = POWERCUT_CACHE_BLOCKS_MIN, .fallback = "4096", .unit = "blocks",
	          .doc = "Size of the volatile cache."),
};

static void handle_create(struct rpc_call *call, void *args)
{
	const struct create *a = args;
	struct powercut_opts opts = { .name = a->name, .base = a->base_bdev_name, .uuid = a->uuid,
	                              .cache_blocks = a->cache_blocks };
	struct err e = { 0 };

	if (powercut_create(bdev_rpc_registry(rpc_ctx(call)), &opts, &e) != 0)
		rpc_reply_err(call, &e);
	else
		rpc_reply(call, json_object_new_string(a->name));
}

/* --- bdev_powercut_delete ----------------------------------------------------------------------------------- */

struct one {
	char *name;
};

static const struct rpc_param one_params[] = {
	RPC_PARAM(struct one, name, .required = true, .doc = "Name of the device."),
};

static void handle_delete(struct rpc_call *call, void *args)
{
	const struct one *a = args;
	struct err e = { 0 };

	if (powercut_delete(bdev_rpc_registry(rpc_ctx(call)), a->name, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

/* --- bdev_powercut_trigger ---------------------------------------------------------------------------------- */

struct trigger {
	char *name, *mode;
	uint64_t seed;
	bool stay_off;
};

static const char *const modes[] = { "drop", "tear", "reorder", NULL }; /* as in struct powercut_cut_opts */
static const struct rpc_param trigger_params[] = {
	RPC_PARAM(struct trigger, name, .required = true, .doc = "Name of the device."),
	RPC_PARAM(struct trigger, mode, .choices = modes, .fallback = "drop",
	          .doc = "What happens to what was not flushed. drop: all is lost. tear: the writes before some moment "
	                 "survive, one of them in part. reorder: some survive, whatever came before them."),
	RPC_PARAM(struct trigger, seed, .max = (1ull << 53), .doc = "Chooses what survives; drawn when 0 or left out."),
	RPC_PARAM(struct trigger, stay_off, .doc = "Until bdev_powercut_power_on; else the power is back at once."),
};

static void was_cut(void *call, const struct powercut_cut_result *r)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "seed", r->seed);
	json_add_u64(o, "blocks_unflushed", r->blocks_unflushed);
	json_add_u64(o, "blocks_kept", r->blocks_kept);
	json_add_u64(o, "blocks_lost", r->blocks_lost);
	rpc_reply(call, o);
}

static void handle_trigger(struct rpc_call *call, void *args)
{
	const struct trigger *a = args;
	struct powercut_cut_opts opts = { .seed = a->seed, .stay_off = a->stay_off };
	struct err e = { 0 };

	while (strcmp(modes[opts.mode], a->mode) != 0)
		opts.mode++;
	if (powercut_trigger(bdev_rpc_registry(rpc_ctx(call)), a->name, &opts, was_cut, call, &e) != 0)
		rpc_reply_err(call, &e);
}

static void has_power(void *call, const struct powercut_cut_result *r)
{
	rpc_reply_true(call);
}

static void handle_power_on(struct rpc_call *call, void *args)
{
	const struct one *a = args;
	struct err e = { 0 };

	if (powercut_power_on(bdev_rpc_registry(rpc_ctx(call)), a->name, has_power, call, &e) != 0)
		rpc_reply_err(call, &e);
}

/* --- all ---------------------------------------------------------------------------------------------------- */

static void driver_specific(const struct bdev *b, struct json_object *driver)
{
	struct json_object *o = json_add_object(driver, "powercut");
	struct powercut_facts f;

	powercut_get_facts(b, &f);
	json_add_text(o, "base_bdev_name", f.base);
	json_add_text(o, "power", f.has_power ? "on" : "off");
	json_add_u64(o, "cache_blocks", f.cache_blocks);
	json_add_u64(o, "unflushed_blocks", f.unflushed_blocks);
	json_add_u64(o, "power_cuts", f.power_cuts);
}

static void params(const struct bdev_order *o, struct json_object *json)
{
	struct powercut_opts opts;
	char uuid[UUID_TEXT_MAX];

	powercut_get_opts(o, &opts);
	json_add_text(json, "base_bdev_name", opts.base);
	json_add_text(json, "name", opts.name);
	if (!uuid_is_null(&opts.uuid))
		json_add_text(json, "uuid", uuid_to_text(&opts.uuid, uuid));
	json_add_u64(json, "cache_blocks", opts.cache_blocks);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_powercut_create", struct create, create_params, handle_create, .flags = RPC_RUNTIME,
	           .doc = "Make a disk with a volatile cache that can lose power.", .returns = "name of the device"),
	RPC_METHOD("bdev_powercut_delete", struct one, one_params, handle_delete, .flags = RPC_RUNTIME,
	           .doc = "Remove a power-cut disk; what it holds goes to its base first.", .returns = "true"),
	RPC_METHOD("bdev_powercut_trigger", struct trigger, trigger_params, handle_trigger, .flags = RPC_RUNTIME,
	           .doc = "Cut the power: what was not flushed is lost, torn or reordered.",
	           .returns = "seed, and how many blocks survived"),
	RPC_METHOD("bdev_powercut_power_on", struct one, one_params, handle_power_on, .flags = RPC_RUNTIME,
	           .doc = "Give the power back after a cut with stay_off.", .returns = "true"),
};

void powercut_rpc_add(struct powercut_rpc *pr, struct bdev_rpc *br)
{
	pr->kind = (struct bdev_rpc_kind){ .product = POWERCUT_PRODUCT, .driver_specific = driver_specific };
	pr->order_kind = (struct bdev_rpc_order_kind){ .ops = &powercut_order_ops, .method = "bdev_powercut_create",
	                                               .params = params, .stamped = true };
	bdev_rpc_add_kind(br, &pr->kind);
	bdev_rpc_add_order_kind(br, &pr->order_kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), br);
}
