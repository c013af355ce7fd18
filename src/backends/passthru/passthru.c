/* SPDX-License-Identifier: BSD-3-Clause */
/* passthru.c: a device like its base, under another name. */
#include "backends/passthru/passthru.h"

#include <stdio.h>

struct passthru_order {
	struct bdev_order order;
	struct uuid uuid;
};

static int build(struct bdev_order *o, struct err *e);
static void order_free(struct bdev_order *o);

const struct bdev_order_ops passthru_order_ops = {
	.kind = "passthru", .claims = true, .build = build, .resized = bdev_order_resize_one, .free = order_free,
};

int passthru_create(struct bdev_registry *reg, const struct passthru_opts *opts, struct err *e)
{
	struct passthru_order *p;
	int rc = bdev_order_check_name(reg, &passthru_order_ops, opts->name, opts->base, e);

	if (rc != 0)
		return rc;
	p = base_zalloc(sizeof(*p));
	p->uuid = opts->uuid;
	return bdev_order_start(reg, &p->order, &passthru_order_ops, opts->name, &opts->base, 1, e);
}

static int build(struct bdev_order *o, struct err *e)
{
	const struct passthru_order *p = container_of(o, const struct passthru_order, order);
	struct bdev_stacked *s = base_zalloc(sizeof(*s));
	int rc;

	bdev_stacked_init(s, o, 0);
	s->bdev.product = "passthru";
	s->bdev.uuid = uuid_is_null(&p->uuid) ? bdev_stacked_uuid(s, o->name, 0) : p->uuid;
	snprintf(s->bdev.name, sizeof(s->bdev.name), "%s", o->name);
	rc = bdev_stacked_register(s, e);
	if (rc != 0)
		free(s);
	return rc;
}

int passthru_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                    struct err *e)
{
	return bdev_order_delete_named(reg, &passthru_order_ops, name, done, arg, e);
}

static void order_free(struct bdev_order *o)
{
	free(container_of(o, struct passthru_order, order));
}

void passthru_get_opts(const struct bdev_order *o, struct passthru_opts *ret_opts)
{
	const struct passthru_order *p = container_of(o, const struct passthru_order, order);

	*ret_opts = (struct passthru_opts){ .name = o->name, .base = o->bases[0].name, .uuid = p->uuid };
}
