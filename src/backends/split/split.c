/* SPDX-License-Identifier: BSD-3-Clause */
/* split.c: devices that are parts of one base: the same I/O at an offset. */
#include "backends/split/split.h"

#include <errno.h>
#include <stdio.h>

#include "core/log.h"

struct split_order {
	struct bdev_order order;
	uint32_t count;
	uint64_t size_mb;
	uint64_t part_blocks;   /* of each part, as built */
};

static int build(struct bdev_order *o, struct err *e);
static int build_one(struct bdev_order *o, uint32_t number, uint64_t size, struct err *e);
static void resized(struct bdev_order *o, uint32_t base);
static void order_free(struct bdev_order *o);
static void describe(const struct bdev *b, bdev_emit_fn *emit, void *arg);

const struct bdev_order_ops split_order_ops = {
	.kind = "split", .claims = true, .build = build, .resized = resized, .free = order_free,
};

static const struct bdev_ops part_ops = {
	.channel_open = bdev_stack_channel_open,
	.channel_close = bdev_stack_channel_close,
	.submit = bdev_stack_submit,
	.abort = bdev_stack_abort,
	.release = bdev_stack_release,
	.lend_iovs_max = bdev_stack_lend_iovs_max,
	.remove = bdev_stack_remove,
	.destroy = bdev_stack_destroy,
	.describe = describe,
};

int split_create(struct bdev_registry *reg, const struct split_opts *opts, struct err *e)
{
	struct split_order *p;

	if (!opts->count)
		return err_set(e, -EINVAL, "split_count: 0 parts are none; give 1 or more");
	p = base_zalloc(sizeof(*p));
	p->count = opts->count;
	p->size_mb = opts->size_mb;
	return bdev_order_start(reg, &p->order, &split_order_ops, opts->base, &opts->base, 1, e);
}

/* Blocks of a part; 0: an error. */
static uint64_t part_size(const struct split_order *p, const struct bdev_info *i, struct err *e)
{
	uint64_t size = p->size_mb ? p->size_mb * MIB / i->block_size : i->block_count / p->count;

	if (p->size_mb && p->size_mb * MIB % i->block_size)
		err_set(e, -EINVAL, "split_size_mb: %llu MiB are no whole number of the %u-byte blocks of '%s'",
		        (unsigned long long)p->size_mb, i->block_size, i->name);
	else if (!size)
		err_set(e, -EINVAL, "split_count: '%s' has %llu blocks, too few for %u parts", i->name,
		        (unsigned long long)i->block_count, p->count);
	else if (size > i->block_count)
		err_set(e, -EINVAL, "split_size_mb: '%s' has %llu blocks of %u bytes, too few for one part of %llu MiB",
		        i->name, (unsigned long long)i->block_count, i->block_size, (unsigned long long)p->size_mb);
	else
		return size;
	return 0;
}

static int build(struct bdev_order *o, struct err *e)
{
	struct split_order *p = container_of(o, struct split_order, order);
	struct bdev_info i;
	uint64_t size;
	uint32_t count;

	bdev_get_info(o->bases[0].desc, &i);
	size = part_size(p, &i, e);
	if (!size)
		return -EINVAL;
	p->part_blocks = size;
	count = (uint32_t)min_u64(p->count, i.block_count / size);
	if (count < p->count)
		log_warning("split: '%s' has room for %u parts of %llu blocks, not %u", o->name, count,
		            (unsigned long long)size, p->count);
	for (uint32_t n = 0; n < count; n++) {
		int rc = build_one(o, n, size, e);

		if (rc != 0)
			return rc;
	}
	return 0;
}

static int build_one(struct bdev_order *o, uint32_t number, uint64_t size, struct err *e)
{
	struct bdev_stacked *s = base_zalloc(sizeof(*s));
	int rc;

	bdev_stacked_init(s, o, 0);
	s->offset = number * size;
	s->bdev.ops = &part_ops;
	s->bdev.product = "Split Disk";
	s->bdev.block_count = size;
	s->bdev.uuid = bdev_stacked_uuid(s, "split", number);
	snprintf(s->bdev.name, sizeof(s->bdev.name), "%.*sp%u", BDEV_NAME_MAX - 16, o->name, number);
	rc = bdev_stacked_register(s, e);
	if (rc != 0)
		free(s);
	return rc;
}

/* Parts stay where they are and get as much of their size as the base still has. One that lies behind its end keeps a
 * block, because a device has one: its I/O ends with BAD_RANGE. */
static void resized(struct bdev_order *o, uint32_t base)
{
	const struct split_order *p = container_of(o, const struct split_order, order);
	uint64_t blocks = bdev_block_count(o->bases[base].desc);

	list_each_safe(l, &o->devices) {
		struct bdev_stacked *s = list_entry(l, struct bdev_stacked, link);
		uint64_t left = blocks > s->offset ? blocks - s->offset : 1;
		int rc = bdev_resize(&s->bdev, min_u64(p->part_blocks, left), NULL);

		(void)rc; /* one that goes keeps its size */
	}
}

static void describe(const struct bdev *b, bdev_emit_fn *emit, void *arg)
{
	const struct bdev_stacked *s = container_of(b, const struct bdev_stacked, bdev);
	char text[32];

	emit(arg, "split.base_bdev", s->order->bases[0].name);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)s->offset);
	emit(arg, "split.offset_blocks", text);
}

int split_delete(struct bdev_registry *reg, const char *base, void (*done)(void *arg, int rc), void *arg,
                 struct err *e)
{
	struct bdev_order *o = bdev_order_find(reg, &split_order_ops, base);

	if (!o)
		return err_set(e, -ENODEV, "base_bdev: '%s' is not split", base);
	bdev_order_delete(o, done, arg);
	return 0;
}

static void order_free(struct bdev_order *o)
{
	free(container_of(o, struct split_order, order));
}

void split_get_opts(const struct bdev_order *o, struct split_opts *ret_opts)
{
	const struct split_order *p = container_of(o, const struct split_order, order);

	*ret_opts = (struct split_opts){ .base = o->bases[0].name, .count = p->count, .size_mb = p->size_mb };
}
