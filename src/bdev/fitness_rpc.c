/* SPDX-License-Identifier: BSD-3-Clause */
/* fitness_rpc.c: what each device is fit for: how it wakes a reactor, what a flush reaches, what it does by itself,
 * what is emulated, and where its limits are. */
#include <errno.h>

#include "bdev/bdev_device.h"
#include "bdev/bdev_rpc_priv.h"
#include "bdev/bdev_stack.h"
#include "rpc/json.h"

struct get_fitness {
	char *name;
};

static const struct rpc_param get_fitness_params[] = {
	RPC_PARAM(struct get_fitness, name, .doc = "Only this device: a name, an alias or a UUID."),
};

static struct json_object *row(struct bdev *b);

static void handle_get_fitness(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct get_fitness *a = args;
	struct bdev *b = a->name ? bdev_find(br->reg, a->name) : NULL;
	struct json_object *array;

	if (a->name && !b) {
		rpc_reply_error(call, -ENODEV, "name: there is no block device '%s'; leave it out to see all", a->name);
		return;
	}
	array = json_object_new_array();
	if (b)
		json_object_array_add(array, row(b));
	else
		for (b = bdev_first(br->reg); b; b = bdev_next(b))
			json_object_array_add(array, row(b));
	rpc_reply(call, array);
}

static void add_ops(struct json_object *o, const char *key, uint32_t ops)
{
	struct json_object *array = json_add_array(o, key);

	for (uint32_t op = 0; op < BDEV_OP_COUNT; op++)
		if (ops & 1u << op)
			json_object_array_add(array, json_object_new_string(bdev_op_name(op)));
}

static const char *flush_reaches(const struct bdev_info *i)
{
	switch (i->cache) {
	case BDEV_CACHE_NONE:
		return "nothing to do: what was answered is on the media";
	case BDEV_CACHE_VOLATILE:
		return bdev_can(i, BDEV_FLUSH) ? "the media" : "nothing: the device cannot flush its cache";
	default:
		return "memory: nothing survives a power cut";
	}
}

static const char *fua(const struct bdev_info *i)
{
	if (i->fua || i->cache == BDEV_CACHE_NONE)
		return "native";
	if (i->cache == BDEV_CACHE_LOST_ANYWAY)
		return "without effect";
	return bdev_can(i, BDEV_FLUSH) ? "emulated" : "refused";
}

static void add_limits(struct json_object *o, const struct bdev_info *i)
{
	struct json_object *limits = json_add_object(o, "limits");

	json_add_u64(limits, "block_size", i->block_size);
	json_add_u64(limits, "physical_block_size", i->physical_block_size);
	json_add_u64(limits, "md_size", i->md_size);
	json_add_u64(limits, "num_blocks", i->block_count);
	json_add_u64(limits, "max_io_blocks", i->max_io_blocks);
	json_add_u64(limits, "max_unmap_blocks", i->max_unmap_blocks);
	json_add_u64(limits, "optimal_io_blocks", i->optimal_io_blocks);
	json_add_u64(limits, "atomic_blocks", i->atomic_blocks);
	json_add_u64(limits, "atomic_boundary_blocks", i->atomic_boundary_blocks);
	json_add_u64(limits, "atomic_caw_blocks", i->atomic_caw_blocks);
}

static struct json_object *row(struct bdev *b)
{
	static const char *const caches[] = { [BDEV_CACHE_NONE] = "none", [BDEV_CACHE_VOLATILE] = "volatile",
	                                      [BDEV_CACHE_LOST_ANYWAY] = "lost_anyway" };
	struct json_object *o = json_object_new_object(), *bases;
	const struct bdev_order *order = bdev_order_of(b);
	struct bdev_info i;
	uint32_t native;

	bdev_info_of(b, &i);
	native = i.native_ops & ~b->emulated_below;
	json_add_text(o, "name", i.name);
	json_add_text(o, "product_name", i.product);
	bases = json_add_array(o, "bases");
	for (uint32_t k = 0; order && k < order->base_count; k++)
		json_object_array_add(bases, json_object_new_string(order->bases[k].name));
	json_add_text(o, "sleeps", b->sleeps ? b->sleeps : "unknown");
	json_add_text(o, "cache", caches[i.cache]);
	json_add_text(o, "flush_reaches", flush_reaches(&i));
	json_add_text(o, "fua", fua(&i));
	add_ops(o, "native_operations", native);
	add_ops(o, "emulated_operations", i.ops & ~native);
	json_add_bool(o, "abort", b->ops->abort != NULL);
	json_add_bool(o, "lends", i.lends);
	json_add_bool(o, "consumes", b->consumes);
	json_add_bool(o, "thin", i.thin);
	json_add_bool(o, "read_only", i.read_only);
	add_limits(o, &i);
	return o;
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_get_fitness", struct get_fitness, get_fitness_params, handle_get_fitness,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "What each device is fit for: how it sleeps, what a flush reaches, what is native, emulated or "
	                  "limited; 0 blocks: no limit.",
	           .returns = "list of devices"),
};

void bdev_rpc_add_fitness(struct bdev_rpc *br)
{
	rpc_add_methods(br->rpc, methods, ARRAY_SIZE(methods), br);
}
