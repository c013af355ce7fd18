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

void bdev_rpc_save_orders(struct bdev_rpc *br, struct json_object *array)
{
	for (struct bdev_order *o = bdev_order_first(br->reg); o; o = bdev_order_next(o)) {
		const struct bdev_rpc_order_kind *kind = kind_of(br, o);
		struct json_object *entry;

		if (!kind || o->deleted)
			continue;
		entry = json_object_new_object();
		json_add_text(entry, "method", kind->method);
		kind->params(o, json_add_object(entry, "params"));
		json_object_array_add(array, entry);
	}
}
