/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut.c: power-cut disks come and go: a standing order each, for a device over one base. */
#include <errno.h>
#include <stdio.h>

#include "backends/powercut/powercut_disk.h"

static int build(struct bdev_order *o, struct err *e);
static void resized(struct bdev_order *o, uint32_t base);
static void order_free(struct bdev_order *o);
static int check(const struct powercut_order *po, const struct bdev_info *i, struct err *e);
static struct powercut *disk_make(struct powercut_order *po, const struct bdev_info *i);
static void disk_free(struct bdev_stacked *s);

const struct bdev_order_ops powercut_order_ops = {
	.kind = "powercut", .claims = true, .build = build, .resized = resized, .free = order_free,
};

static const struct bdev_ops powercut_ops = {
	.submit = powercut_submit, .remove = powercut_remove, .destroy = powercut_destroy,
};

int powercut_create(struct bdev_registry *reg, const struct powercut_opts *opts, struct err *e)
{
	struct powercut_order *po;

	if (opts->cache_blocks && opts->cache_blocks < POWERCUT_CACHE_BLOCKS_MIN)
		return err_set(e, -EINVAL, "cache_blocks: %u is less than %u", opts->cache_blocks, POWERCUT_CACHE_BLOCKS_MIN);
	if (bdev_find(reg, opts->name))
		return err_set(e, -EEXIST, "name: '%s' is taken by another device; choose another one", opts->name);
	po = base_zalloc(sizeof(*po));
	po->uuid = opts->uuid;
	po->cache_blocks = opts->cache_blocks ? opts->cache_blocks : POWERCUT_CACHE_BLOCKS;
	return bdev_order_start(reg, &po->order, &powercut_order_ops, opts->name, &opts->base, 1, e);
}

static void order_free(struct bdev_order *o)
{
	free(container_of(o, struct powercut_order, order));
}

int powercut_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                    struct err *e)
{
	struct bdev_order *o = bdev_order_find(reg, &powercut_order_ops, name);

	if (!o)
		return err_set(e, -ENODEV, "there is no powercut '%s'", name);
	bdev_order_delete(o, done, arg);
	return 0;
}

struct powercut *powercut_find(struct bdev_registry *reg, const char *name, struct err *e)
{
	struct bdev *b = bdev_find(reg, name);
	struct bdev_order *o = bdev_order_find(reg, &powercut_order_ops, name);

	if (b && b->ops == &powercut_ops && !atomic_load(&b->removing))
		return powercut_of(b);
	if (o)
		err_set(e, -ENODEV, "powercut '%s' waits for its base '%s'", name, o->bases[0].name);
	else if (b)
		err_set(e, -EINVAL, "block device '%s' is a %s, not a powercut", name, b->product);
	else
		err_set(e, -ENODEV, "there is no powercut '%s'", name);
	return NULL;
}

/* --- the device ------------------------------------------------------------------------------------------- */

static int build(struct bdev_order *o, struct err *e)
{
	struct powercut_order *po = container_of(o, struct powercut_order, order);
	struct powercut *d;
	struct bdev_info i;
	int rc;

	bdev_get_info(o->bases[0].desc, &i);
	rc = check(po, &i, e);
	if (rc != 0)
		return rc;
	d = disk_make(po, &i);
	rc = bdev_stacked_register(&d->stacked, e);
	if (rc != 0)
		disk_free(&d->stacked);
	return rc;
}

static int check(const struct powercut_order *po, const struct bdev_info *i, struct err *e)
{
	uint32_t block_bytes = i->block_size + i->md_size;

	if (i->md_size && !i->md_interleaved)
		return err_set(e, -EINVAL, "base_bdev_name: device '%s' has metadata that travel apart, which a powercut "
		               "has no place for; use one with interleaved or without metadata", i->name);
	if (i->cache == BDEV_CACHE_VOLATILE && !bdev_can(i, BDEV_FLUSH))
		return err_set(e, -EINVAL, "base_bdev_name: device '%s' has a volatile cache and no flush; nothing could "
		               "be kept; use another one", i->name);
	if (po->cache_blocks > POWERCUT_CACHE_BYTES_MAX / block_bytes)
		return err_set(e, -EINVAL, "cache_blocks: %u blocks of %u bytes are more than 1 GiB; at most %u are possible",
		               po->cache_blocks, block_bytes, POWERCUT_CACHE_BYTES_MAX / block_bytes);
	return 0;
}

static struct powercut *disk_make(struct powercut_order *po, const struct bdev_info *i)
{
	struct powercut *d = base_zalloc(sizeof(*d));
	struct bdev *b = &d->stacked.bdev;

	bdev_stacked_init(&d->stacked, &po->order, 0);
	snprintf(b->name, sizeof(b->name), "%s", po->order.name);
	b->ops = &powercut_ops;
	b->product = POWERCUT_PRODUCT;
	b->uuid = uuid_is_null(&po->uuid) ? bdev_stacked_uuid(&d->stacked, "powercut", 0) : po->uuid;
	b->native_ops = i->ops & (BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(UNMAP) | BDEV_BIT(RESET));
	b->native_ops |= BDEV_BIT(FLUSH);
	b->emulated_below = 0;
	b->lends = b->consumes = false;
	b->cache = BDEV_CACHE_VOLATILE;
	b->fua = true;
	b->atomic_blocks = 1; /* a cut tears what is longer */
	b->max_io_blocks = po->cache_blocks / 2; /* with room to write back what it replaces */
	b->channel_ctx_bytes = 0;
	b->io_ctx_bytes = sizeof(struct powercut_op);
	b->sleeps = "message";
	d->stacked.free = disk_free;
	d->owner = core_reactor(bdev_registry_core(po->order.reg), 0);
	d->dice = core_random_u64();
	powercut_cache_init(&d->cache, po->cache_blocks, i->block_size + i->md_size);
	list_init(&d->waiting);
	list_init(&d->owed);
	list_init(&d->reads);
	list_init(&d->unmaps);
	list_init(&d->at_base);
	for (uint32_t k = 0; k < WRITE_BACKS; k++)
		d->write_backs[k].disk = d;
	return d;
}

static void disk_free(struct bdev_stacked *s)
{
	struct powercut *d = container_of(s, struct powercut, stacked);

	powercut_cache_fini(&d->cache);
	free(d);
}

static void resized(struct bdev_order *o, uint32_t base)
{
	struct bdev_stacked *s = list_first(&o->devices, struct bdev_stacked, link);

	if (s && bdev_resize(&s->bdev, bdev_block_count(o->bases[base].desc), NULL) != 0)
		return; /* it is going */
}

void powercut_get_facts(const struct bdev *b, struct powercut_facts *ret_facts)
{
	const struct powercut *d = powercut_of(b);

	*ret_facts = (struct powercut_facts){
		.base = d->stacked.order->bases[0].name, .has_power = !atomic_load(&d->seen_off),
		.cache_blocks = d->cache.slot_count, .unflushed_blocks = atomic_load(&d->seen_dirty),
		.power_cuts = atomic_load(&d->seen_cuts),
	};
}

void powercut_get_opts(const struct bdev_order *o, struct powercut_opts *ret_opts)
{
	const struct powercut_order *po = container_of(o, const struct powercut_order, order);

	*ret_opts = (struct powercut_opts){ .name = o->name, .base = o->bases[0].name, .uuid = po->uuid,
	                                    .cache_blocks = po->cache_blocks };
}
