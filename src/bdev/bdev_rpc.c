/* SPDX-License-Identifier: BSD-3-Clause */
/* bdev_rpc.c: methods about block devices of every kind, in SPDK's names and shapes: who is there, what they are. */
#include "bdev/bdev_rpc.h"

#include <errno.h>
#include <stdio.h>

#include "bdev/bdev_device.h"
#include "bdev/bdev_rpc_priv.h"
#include "rpc/json.h"

/* --- bdev_get_bdevs --------------------------------------------------------------------------------------- */

struct get_bdevs {
	char *name;
	uint64_t timeout;
};

static const struct rpc_param get_bdevs_params[] = {
	RPC_PARAM(struct get_bdevs, name, .doc = "Only this one: a name, an alias or a UUID."),
	RPC_PARAM(struct get_bdevs, timeout, .max = 86400000, .unit = "ms",
	          .doc = "Wait as long for the device to appear."),
};

/* A caller that waits for a device. */
struct waiting {
	struct bdev_arrival arrival;
	struct timer timer;
	struct rpc_call *call;
	const char *name;
	struct list link;
};

/* What is checked where metadata are made and dropped here: bdev_plain(). */
static void add_protection(struct json_object *o, const struct bdev_info *i)
{
	struct json_object *checks = json_object_new_object();

	json_add_bool(o, "dif_is_head_of_md", i->dif_is_head_of_md);
	json_add_bool(checks, "reftag", i->dif_type != 3);
	json_add_bool(checks, "apptag", false);
	json_add_bool(checks, "guard", true);
	json_object_object_add(o, "enabled_dif_check_types", checks);
	json_add_u64(o, "dif_pi_format", 0); /* 16 bits of guard */
}

static struct json_object *dump(const struct bdev_rpc *br, const struct bdev *b);

static void reply_one(struct rpc_call *call, const struct bdev *b)
{
	struct json_object *array = json_object_new_array();

	json_object_array_add(array, dump(rpc_ctx(call), b));
	rpc_reply(call, array);
}

static void no_such(struct rpc_call *call, const char *name)
{
	rpc_reply_error(call, -ENODEV, "name: there is no block device '%s'; bdev_get_bdevs lists those there are", name);
}

struct bdev *bdev_rpc_find(struct rpc_call *call, const char *name)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct bdev *b = bdev_find(br->reg, name);

	if (!b)
		no_such(call, name);
	return b;
}

static void waiting_end(struct waiting *w)
{
	bdev_arrival_remove(&w->arrival);
	timer_stop(&w->timer);
	list_del(&w->link);
	free(w);
}

static void arrived(struct bdev_arrival *a, struct bdev *b)
{
	struct waiting *w = container_of(a, struct waiting, arrival);
	struct bdev_rpc *br = rpc_ctx(w->call);
	struct rpc_call *call = w->call;

	if (bdev_find(br->reg, w->name) != b)
		return;
	waiting_end(w);
	reply_one(call, b);
}

static void give_up(struct waiting *w)
{
	struct rpc_call *call = w->call;
	const char *name = w->name;

	waiting_end(w);
	no_such(call, name);
}

static void too_late(struct timer *t)
{
	give_up(container_of(t, struct waiting, timer));
}

static void handle_get_bdevs(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct get_bdevs *a = args;
	struct json_object *array;
	struct bdev *b = a->name ? bdev_find(br->reg, a->name) : NULL;

	if (b) {
		reply_one(call, b);
	} else if (a->name && a->timeout) {
		struct waiting *w = base_zalloc(sizeof(*w));

		w->call = call;
		w->name = a->name;
		list_add_tail(&br->waiting, &w->link);
		bdev_arrival_add(br->reg, &w->arrival, arrived);
		timer_start(&w->timer, a->timeout * NS_PER_MS, too_late);
	} else if (a->name) {
		no_such(call, a->name);
	} else {
		array = json_object_new_array();
		for (b = bdev_first(br->reg); b; b = bdev_next(b))
			json_object_array_add(array, dump(br, b));
		rpc_reply(call, array);
	}
}

/* --- one device ------------------------------------------------------------------------------------------- */

/* A key may say in which object it lies: "passthru.name". */
static void add_driver_value(void *arg, const char *key, const char *text)
{
	const char *dot = strchr(key, '.');
	struct json_object *inner;
	char outer[64];

	if (!dot) {
		json_add_text(arg, key, text);
		return;
	}
	snprintf(outer, sizeof(outer), "%.*s", (int)(dot - key), key);
	if (!json_object_object_get_ex(arg, outer, &inner))
		inner = json_add_object(arg, outer);
	json_add_text(inner, dot + 1, text);
}

static void add_driver_specific(const struct bdev_rpc *br, const struct bdev *b, struct json_object *driver)
{
	if (b->ops->describe)
		b->ops->describe(b, add_driver_value, driver);
	list_each(l, &br->kinds) {
		struct bdev_rpc_kind *kind = list_entry(l, struct bdev_rpc_kind, link);

		if (strcmp(kind->product, b->product) == 0 && kind->driver_specific)
			kind->driver_specific(b, driver);
	}
}

static struct json_object *supported(const struct bdev_info *i, const struct bdev *b)
{
	static const char *const never[] = { "nvme_admin", "nvme_io", "nvme_io_md", "zcopy", "get_zone_info",
	                                     "zone_management", "zone_append", "seek_hole", "seek_data", "nvme_iov_md",
	                                     "nvme_nssr" };
	static const enum bdev_op ops[] = { BDEV_READ, BDEV_WRITE, BDEV_UNMAP, BDEV_FLUSH, BDEV_RESET,
	                                    BDEV_WRITE_ZEROES, BDEV_COMPARE, BDEV_COMPARE_AND_WRITE, BDEV_COPY,
	                                    BDEV_WRITE_UNCORRECTABLE };
	struct json_object *o = json_object_new_object();

	for (uint32_t k = 0; k < ARRAY_SIZE(ops); k++)
		json_add_bool(o, bdev_op_name(ops[k]), bdev_can(i, ops[k]));
	json_add_bool(o, "abort", b->ops->abort != NULL);
	for (uint32_t k = 0; k < ARRAY_SIZE(never); k++)
		json_add_bool(o, never[k], false);
	return o;
}

/* SPDK's figures are in blocks, and 0 where a device has no wish. */
static void add_preferences(struct json_object *o, const struct bdev_info *i)
{
	uint32_t granule = i->physical_block_size > i->block_size ? i->physical_block_size / i->block_size : 0;

	json_add_u64(o, "preferred_write_alignment", granule);
	json_add_u64(o, "preferred_write_granularity", granule);
	json_add_u64(o, "optimal_write_size", i->optimal_io_blocks);
	json_add_u64(o, "preferred_unmap_alignment", granule);
	json_add_u64(o, "preferred_unmap_granularity", granule);
}

static struct json_object *aliases(const struct bdev *b, const char *uuid)
{
	struct json_object *array = json_object_new_array();

	json_object_array_add(array, json_object_new_string(uuid));
	for (uint32_t i = 0; i < BDEV_ALIASES_MAX; i++)
		if (b->aliases[i][0])
			json_object_array_add(array, json_object_new_string(b->aliases[i]));
	return array;
}

static struct json_object *dump(const struct bdev_rpc *br, const struct bdev *b)
{
	struct json_object *o = json_object_new_object(), *driver = json_object_new_object();
	char uuid[UUID_TEXT_MAX];
	struct bdev_info i;

	bdev_info_of(b, &i);
	uuid_to_text(&i.uuid, uuid);
	json_add_text(o, "name", i.name);
	json_object_object_add(o, "aliases", aliases(b, uuid));
	json_add_text(o, "product_name", i.product);
	json_add_u64(o, "block_size", i.block_size + (i.md_interleaved ? i.md_size : 0));
	json_add_u64(o, "num_blocks", i.block_count);
	json_add_u64(o, "physical_block_size", i.physical_block_size);
	json_add_u64(o, "optimal_io_boundary", i.optimal_io_blocks);
	add_preferences(o, &i);
	json_add_text(o, "uuid", uuid);
	json_object_object_add(o, "numa_id", json_object_new_int(-1)); /* of no node: memory is where it is first written */
	if (i.md_size) {
		json_add_u64(o, "md_size", i.md_size);
		json_add_bool(o, "md_interleave", i.md_interleaved);
		json_add_u64(o, "dif_type", i.dif_type);
		if (i.dif_type)
			add_protection(o, &i);
	}
	json_object_object_add(o, "assigned_rate_limits", bdev_rpc_rate_limits(b));
	json_add_bool(o, "claimed", b->claim != NULL);
	if (b->claim)
		json_add_text(o, "claim_type", "exclusive_write");
	json_add_bool(o, "zoned", false);
	json_object_object_add(o, "supported_io_types", supported(&i, b));
	add_driver_specific(br, b, driver);
	json_object_object_add(o, "driver_specific", driver);
	return o;
}

/* --- what SPDK has and here ends at once ------------------------------------------------------------------ */

struct one_name {
	char *name;
};

static const struct rpc_param one_name_params[] = {
	RPC_PARAM(struct one_name, name, .required = true, .doc = "Name of the device."),
};

static void handle_examine(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct one_name *a = args;

	if (bdev_find(br->reg, a->name))
		rpc_reply_true(call);
	else
		no_such(call, a->name);
}

void bdev_rpc_deleted(void *arg, int rc)
{
	if (rc == 0)
		rpc_reply_true(arg);
	else
		rpc_reply_error(arg, rc, "the device is being removed by somebody else");
}

/* --- saving ----------------------------------------------------------------------------------------------- */

void bdev_rpc_add_kind(struct bdev_rpc *br, struct bdev_rpc_kind *kind)
{
	list_add_tail(&br->kinds, &kind->link);
}

void bdev_rpc_add_saver(struct bdev_rpc *br, struct bdev_rpc_saver *saver)
{
	list_add_tail(&br->savers, &saver->link);
}

struct device_to_save {
	const struct bdev_rpc_kind *kind;
	const struct bdev *bdev;
};

static void save_one(void *arg, struct json_object *array)
{
	const struct device_to_save *d = arg;
	const struct bdev *b = d->bdev;
	struct json_object *entry = json_object_new_object(), *params = json_object_new_object();
	char uuid[UUID_TEXT_MAX];

	json_add_text(params, "name", b->name);
	json_add_u64(params, "num_blocks", atomic_load(&b->block_count));
	json_add_u64(params, "block_size", b->block_size);
	json_add_u64(params, "physical_block_size", b->physical_block_size);
	json_add_text(params, "uuid", uuid_to_text(&b->uuid, uuid));
	json_add_u64(params, "md_size", b->md_size);
	if (d->kind->params)
		d->kind->params(b, params);
	json_add_text(entry, "method", d->kind->method);
	json_object_object_add(entry, "params", params);
	json_object_array_add(array, entry);
}

/* Products are few and constant, and their names are mostly the same texts. */
static const struct bdev_rpc_kind *kind_saved(const struct bdev_rpc *br, const struct bdev *b)
{
	list_each(l, &br->kinds) {
		const struct bdev_rpc_kind *kind = list_entry(l, const struct bdev_rpc_kind, link);

		if (kind->method && (kind->product == b->product || strcmp(kind->product, b->product) == 0))
			return kind;
	}
	return NULL;
}

static void save(void *ctx, struct rpc_save *save)
{
	struct bdev_rpc *br = ctx;

	for (struct bdev *b = bdev_first(br->reg); b; b = bdev_next(b)) {
		struct device_to_save d = { kind_saved(br, b), b };

		if (d.kind && !atomic_load(&b->removing))
			rpc_save_object(save, d.kind->stamped ? b->saved_stamp : 0, save_one, &d);
	}
	list_each(l, &br->savers) {
		struct bdev_rpc_saver *saver = list_entry(l, struct bdev_rpc_saver, link);

		saver->save(saver->ctx, rpc_save_array(save));
	}
	bdev_rpc_save_orders(br, save);
	bdev_rpc_save_qos(br, save);
}

/* --- all -------------------------------------------------------------------------------------------------- */

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_get_bdevs", struct get_bdevs, get_bdevs_params, handle_get_bdevs,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "List block devices.", .returns = "list of devices"),
	RPC_METHOD("bdev_examine", struct one_name, one_name_params, handle_examine, .flags = RPC_RUNTIME,
	           .doc = "Look at a device for others on it: partitions and what stands on it come by themselves.",
	           .returns = "true"),
};

/* The daemon ends: the device will not appear. */
static void drain(struct rpc_drain_hook *h)
{
	struct bdev_rpc *br = container_of(h, struct bdev_rpc, drain);

	list_each_safe(l, &br->waiting)
		give_up(list_entry(l, struct waiting, link));
}

struct bdev_rpc *bdev_rpc_make(struct rpc *rpc, struct bdev_registry *reg)
{
	struct bdev_rpc *br = base_zalloc(sizeof(*br));

	br->rpc = rpc;
	br->reg = reg;
	list_init(&br->kinds);
	list_init(&br->order_kinds);
	list_init(&br->savers);
	list_init(&br->waiting);
	br->drain.fn = drain;
	rpc_on_drain(rpc, &br->drain);
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), br);
	bdev_on_going(reg, bdev_rpc_keep_qos, br);
	bdev_rpc_add_stats(br);
	bdev_rpc_add_fitness(br);
	bdev_rpc_add_reservations(br);
	bdev_rpc_add_meter(br);
	bdev_rpc_add_qos(br);
	rpc_add_object_saver(rpc, "bdev", save, br);
	return br;
}

void bdev_rpc_free(struct bdev_rpc *br)
{
	if (!br)
		return;
	bdev_on_going(br->reg, NULL, NULL);
	list_each_safe(l, &br->waiting)
		give_up(list_entry(l, struct waiting, link));
	free(br);
}

struct rpc *bdev_rpc_of(struct bdev_rpc *br)
{
	return br->rpc;
}

struct bdev_registry *bdev_rpc_registry(struct bdev_rpc *br)
{
	return br->reg;
}
