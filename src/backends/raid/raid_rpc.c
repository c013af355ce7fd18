/* SPDX-License-Identifier: BSD-3-Clause */
/* raid_rpc.c: raids by SPDK's methods. */
#include "backends/raid/raid_rpc.h"

#include <errno.h>

#include "backends/raid/raid.h"
#include "rpc/json.h"

/* --- bdev_raid_create -------------------------------------------------------------------------------------- */

struct create {
	char *name, *raid_level;
	uint32_t strip_size_kb;
	struct rpc_texts base_bdevs;
	struct uuid uuid;
	bool superblock;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct create, name, .required = true, .min = 1, .max = 255, .doc = "Name of the new device."),
	RPC_PARAM(struct create, raid_level, .required = true,
	          .doc = "concat: one after the other; raid0: strips in turn. There are no others."),
	RPC_PARAM(struct create, base_bdevs, .required = true, .doc = "The devices to put together; they may come later."),
	RPC_PARAM(struct create, strip_size_kb, .unit = "KiB",
	          .doc = "A power of two; needed for raid0. With concat, devices are cut to whole strips."),
	RPC_PARAM(struct create, uuid, .doc = "UUID of the new device; made up when left out."),
	RPC_PARAM(struct create, superblock, .doc = "False: nothing is written to the devices for the raid's own use."),
};

/* Negative with a sentence. */
static int level_of(const char *text, enum raid_level *ret_level, struct err *e)
{
	if (strcasecmp(text, "concat") == 0)
		*ret_level = RAID_CONCAT;
	else if (strcasecmp(text, "raid0") == 0 || strcmp(text, "0") == 0)
		*ret_level = RAID_0;
	else if (strcasecmp(text, "raid1") == 0 || strcmp(text, "1") == 0 || strcasecmp(text, "raid5f") == 0 ||
	         strcasecmp(text, "5f") == 0)
		return err_set(e, -ENOTSUP, "raid_level: '%s' keeps copies, which is not there; concat and raid0 are", text);
	else
		return err_set(e, -EINVAL, "raid_level: '%s' is none; concat and raid0 are there", text);
	return 0;
}

static void handle_create(struct rpc_call *call, void *args)
{
	const struct create *a = args;
	struct raid_opts opts = {
		.name = a->name, .uuid = a->uuid, .strip_kib = a->strip_size_kb,
		.members = (const char *const *)a->base_bdevs.at, .member_count = (uint32_t)a->base_bdevs.count,
	};
	struct err e = { 0 };

	if (a->superblock)
		rpc_reply_error(call, -ENOTSUP, "superblock: not supported; leave it out and keep the saved configuration");
	else if (level_of(a->raid_level, &opts.level, &e) != 0 ||
	         raid_create(bdev_rpc_registry(rpc_ctx(call)), &opts, &e) != 0)
		rpc_reply_err(call, &e);
	else
		rpc_reply_true(call);
}

/* --- bdev_raid_delete -------------------------------------------------------------------------------------- */

struct delete {
	char *name;
	bool clear_sb;
};

static const struct rpc_param delete_params[] = {
	RPC_PARAM(struct delete, name, .required = true, .doc = "Name of the raid, there or waiting."),
	RPC_IGNORED("clear_sb", .doc = "There is no superblock to clear."),
};

static void handle_delete(struct rpc_call *call, void *args)
{
	const struct delete *a = args;
	struct err e = { 0 };

	if (raid_delete(bdev_rpc_registry(rpc_ctx(call)), a->name, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

/* --- bdev_raid_get_bdevs ------------------------------------------------------------------------------------ */

struct get {
	char *category;
};

static const char *const categories[] = { "all", "online", "configuring", "offline", NULL };
static const struct rpc_param get_params[] = {
	RPC_PARAM(struct get, category, .required = true, .choices = categories,
	          .doc = "Which ones: online are there, configuring wait for devices, offline are going."),
};

static const char *state_of(const struct raid_order *ro)
{
	static const char *const states[] = { [BDEV_ORDER_WAITS] = "configuring", [BDEV_ORDER_UP] = "online",
	                                      [BDEV_ORDER_GOES] = "offline" };

	return states[ro->order.state];
}

static void add_members(const struct raid_order *ro, struct json_object *o)
{
	struct json_object *list = json_add_array(o, "base_bdevs_list");
	char text[UUID_TEXT_MAX];

	for (uint32_t i = 0; i < ro->order.base_count; i++) {
		const struct bdev *b = bdev_find(ro->order.reg, ro->order.bases[i].name);
		struct json_object *m = json_append_object(list);
		struct uuid none = { { 0 } };

		json_add_text(m, "name", ro->order.bases[i].name);
		json_add_text(m, "uuid", uuid_to_text(b ? &b->uuid : &none, text));
		json_add_bool(m, "is_configured", raid_device(ro) != NULL);
		json_add_u64(m, "data_offset", 0);
		json_add_u64(m, "data_size", raid_member_blocks(ro, i));
	}
}

static void describe(const struct raid_order *ro, struct json_object *o)
{
	uint32_t discovered = 0, count = ro->order.base_count;
	char text[UUID_TEXT_MAX];

	for (uint32_t i = 0; i < count; i++)
		discovered += bdev_find(ro->order.reg, ro->order.bases[i].name) != NULL;
	json_add_text(o, "uuid", uuid_to_text(&ro->uuid, text));
	json_add_u64(o, "strip_size_kb", ro->strip_kib);
	json_add_text(o, "state", state_of(ro));
	json_add_text(o, "raid_level", raid_level_name(ro->level));
	json_add_bool(o, "superblock", false);
	json_add_u64(o, "num_base_bdevs", count);
	json_add_u64(o, "num_base_bdevs_discovered", discovered);
	json_add_u64(o, "num_base_bdevs_operational", raid_device(ro) ? count : discovered);
	add_members(ro, o);
}

static void handle_get(struct rpc_call *call, void *args)
{
	struct bdev_registry *reg = bdev_rpc_registry(rpc_ctx(call));
	const struct get *a = args;
	struct json_object *array = json_object_new_array(), *o;

	for (struct raid_order *ro = raid_next(reg, NULL); ro; ro = raid_next(reg, ro)) {
		if (strcmp(a->category, "all") != 0 && strcmp(a->category, state_of(ro)) != 0)
			continue;
		o = json_append_object(array);
		json_add_text(o, "name", ro->order.name);
		describe(ro, o);
		if (ro->order.why.code)
			json_add_text(o, "waits_because", ro->order.why.text);
	}
	rpc_reply(call, array);
}

/* --- all ---------------------------------------------------------------------------------------------------- */

static void driver_specific(const struct bdev *b, struct json_object *driver)
{
	describe(raid_order_of(b), json_add_object(driver, "raid"));
}

static void params(const struct bdev_order *o, struct json_object *json)
{
	const struct raid_order *ro = container_of(o, const struct raid_order, order);
	struct json_object *list;
	char text[UUID_TEXT_MAX];

	json_add_text(json, "name", o->name);
	json_add_text(json, "uuid", uuid_to_text(&ro->uuid, text));
	if (ro->strip_kib)
		json_add_u64(json, "strip_size_kb", ro->strip_kib);
	json_add_text(json, "raid_level", raid_level_name(ro->level));
	list = json_add_array(json, "base_bdevs");
	for (uint32_t i = 0; i < o->base_count; i++)
		json_object_array_add(list, json_object_new_string(o->bases[i].name));
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_raid_create", struct create, create_params, handle_create, .flags = RPC_RUNTIME,
	           .doc = "Put devices together to one; it is there while all of them are.", .returns = "true"),
	RPC_METHOD("bdev_raid_delete", struct delete, delete_params, handle_delete, .flags = RPC_RUNTIME,
	           .doc = "Take a raid apart; its devices stay as they are.", .returns = "true"),
	RPC_METHOD("bdev_raid_get_bdevs", struct get, get_params, handle_get, .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "List raids, also those that wait for devices.", .returns = "list of raids"),
};

void raid_rpc_add(struct raid_rpc *rr, struct bdev_rpc *br)
{
	rr->kind = (struct bdev_rpc_kind){ .product = RAID_PRODUCT, .driver_specific = driver_specific };
	rr->order_kind = (struct bdev_rpc_order_kind){ .ops = &raid_order_ops, .method = "bdev_raid_create",
	                                               .params = params, .stamped = true };
	bdev_rpc_add_kind(br, &rr->kind);
	bdev_rpc_add_order_kind(br, &rr->order_kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), br);
}
