/* SPDX-License-Identifier: BSD-3-Clause */
/* stack_rpc.c: how standing orders are saved, also those that wait for a base: as they were given, one by one. */
#include "bdev/bdev_rpc_priv.h"
#include "bdev/bdev_stack.h"
#include "rpc/json.h"

void bdev_rpc_add_order_kind(struct bdev_rpc *br, struct bdev_rpc_order_kind *kind)
{
	list_add_tail(&br->order_kinds, &kind->link);
}

static const struct bdev_rpc_order_kind *kind_of(const struct bdev_rpc *br, const struct bdev_order *o)
{
	list_each(l, &br->order_kinds) {
		const struct bdev_rpc_order_kind *kind = list_entry(l, const struct bdev_rpc_order_kind, link);

		if (kind->ops == o->ops)
			return kind;
	}
	return NULL;
}

struct order_to_save {
	const struct bdev_rpc_order_kind *kind;
	const struct bdev_order *order;
};

static void save_order(void *arg, struct json_object *array)
{
	const struct order_to_save *os = arg;
	struct json_object *entry = json_append_object(array);

	json_add_text(entry, "method", os->kind->method);
	os->kind->params(os->order, json_add_object(entry, "params"));
	if (os->kind->more)
		os->kind->more(os->order, array);
}

void bdev_rpc_save_orders(struct bdev_rpc *br, struct rpc_save *save)
{
	for (struct bdev_order *o = bdev_order_first(br->reg); o; o = bdev_order_next(o)) {
		struct order_to_save os = { kind_of(br, o), o };

		if (os.kind && !o->deleted)
			rpc_save_object(save, os.kind->stamped ? o->saved_stamp : 0, save_order, &os);
	}
}
