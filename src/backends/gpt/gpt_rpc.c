/* SPDX-License-Identifier: BSD-3-Clause */
/* gpt_rpc.c: which partitions are looked for, looking again, and what is shown of them: in SPDK's shape. */
#include "backends/gpt/gpt_rpc.h"

#include "rpc/json.h"

/* --- bdev_gpt_set_options ---------------------------------------------------------------------------------- */

struct set_options {
	struct rpc_texts types;
};

static const struct rpc_param set_options_params[] = {
	RPC_PARAM(struct set_options, types, .required = true,
	          .doc = "Types of partitions that become devices: spdk (at first), linux, all, none, or UUIDs of types."),
};

static void did_rescan(void *call)
{
	rpc_reply_true(call);
}

static void handle_set_options(struct rpc_call *call, void *args)
{
	struct gpt_rpc *gr = rpc_ctx(call);
	const struct set_options *a = args;
	struct gpt_types types = { .count = 0 };
	struct err e = { 0 };

	for (size_t i = 0; i < a->types.count && !e.code; i++)
		if (gpt_types_add(&types, a->types.at[i], &e) != 0)
			break;
	if (!e.code) {
		gpt_set_types(gr->gpt, &types);
		if (gpt_rescan(gr->gpt, NULL, did_rescan, call, &e) == 0)
			return;
	}
	rpc_reply_err(call, &e);
}

/* --- bdev_gpt_rescan --------------------------------------------------------------------------------------- */

struct rescan {
	char *name;
};

static const struct rpc_param rescan_params[] = {
	RPC_PARAM(struct rescan, name, .doc = "The device to read; all when left out."),
};

static void handle_rescan(struct rpc_call *call, void *args)
{
	struct gpt_rpc *gr = rpc_ctx(call);
	const struct rescan *a = args;
	struct err e = { 0 };

	if (gpt_rescan(gr->gpt, a->name, did_rescan, call, &e) != 0)
		rpc_reply_err(call, &e);
}

/* --- shown and saved --------------------------------------------------------------------------------------- */

static void driver_specific(const struct bdev *b, struct json_object *driver)
{
	struct json_object *o = json_add_object(driver, "gpt");
	char text[UUID_TEXT_MAX];
	struct gpt_facts f;

	if (!gpt_facts_of(b, &f))
		return;
	json_add_text(o, "base_bdev", f.base);
	json_add_u64(o, "offset_blocks", f.offset_blocks);
	json_add_text(o, "partition_table_guid", uuid_to_text(&f.table, text));
	json_add_text(o, "partition_type_guid", uuid_to_text(&f.type, text));
	json_add_text(o, "unique_partition_guid", uuid_to_text(&f.id, text));
	json_add_text(o, "partition_name", f.name);
}

/* What differs from the beginning; a name that stands for several types is saved as those. */
static void save(void *ctx, struct json_object *array)
{
	struct gpt_rpc *gr = ctx;
	const struct gpt_types *t = gpt_get_types(gr->gpt);
	struct gpt_types first = { .count = 0 };
	struct json_object *entry, *list;
	char text[UUID_TEXT_MAX];

	must(gpt_types_add(&first, "spdk", NULL) == 0);
	if (t->all == first.all && t->count == first.count && memcmp(t->types, first.types, sizeof(first.types)) == 0)
		return;
	entry = json_append_object(array);
	json_add_text(entry, "method", "bdev_gpt_set_options");
	list = json_add_array(json_add_object(entry, "params"), "types");
	if (t->all || !t->count)
		json_object_array_add(list, json_object_new_string(t->all ? "all" : "none"));
	for (uint32_t i = 0; i < t->count; i++)
		json_object_array_add(list, json_object_new_string(uuid_to_text(&t->types[i], text)));
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_gpt_set_options", struct set_options, set_options_params, handle_set_options,
	           .flags = RPC_STARTUP | RPC_RUNTIME,
	           .doc = "Choose which partitions become devices, and look for them on all devices.", .returns = "true"),
	RPC_METHOD("bdev_gpt_rescan", struct rescan, rescan_params, handle_rescan, .flags = RPC_RUNTIME,
	           .doc = "Read partition tables anew.", .returns = "true"),
};

void gpt_rpc_init(struct gpt_rpc *gr, struct bdev_rpc *br)
{
	gr->gpt = gpt_make(bdev_rpc_registry(br));
	gr->kind = (struct bdev_rpc_kind){ .product = "GPT Disk", .driver_specific = driver_specific };
	bdev_rpc_add_kind(br, &gr->kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), gr);
	rpc_add_saver(bdev_rpc_of(br), "gpt", save, gr);
}

void gpt_rpc_fini(struct gpt_rpc *gr)
{
	gpt_free(gr->gpt);
}
