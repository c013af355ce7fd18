/* SPDX-License-Identifier: BSD-3-Clause */
/* raid.c: raids come and go; where their blocks lie. */
#include "backends/raid/raid.h"

#include <errno.h>
#include <stdio.h>

#include "backends/raid/raid_disk.h"
#include "core/log.h"

static int check_opts(struct bdev_registry *reg, const struct raid_opts *opts, struct err *e);
static int build(struct bdev_order *o, struct err *e);
static void resized(struct bdev_order *o, uint32_t base);
static void order_free(struct bdev_order *o);
static int check_members(const struct raid_order *ro, struct err *e);
static struct raid *disk_make(struct raid_order *ro);
static void lay_out(struct raid *r, const struct bdev_order *o);
static void disk_free(struct bdev_stacked *s);

const struct bdev_order_ops raid_order_ops = {
	.kind = "raid", .claims = true, .build = build, .resized = resized, .free = order_free,
};

static const struct bdev_ops raid_ops = {
	.channel_open = bdev_stack_channel_open, .channel_close = bdev_stack_channel_close,
	.submit = raid_submit, .abort = raid_abort, .remove = bdev_stack_remove, .destroy = bdev_stack_destroy,
};

const char *raid_level_name(enum raid_level level)
{
	return level == RAID_0 ? "raid0" : "concat";
}

static struct raid_order *of(struct bdev_order *o)
{
	return container_of(o, struct raid_order, order);
}

/* --- orders ----------------------------------------------------------------------------------------------- */

int raid_create(struct bdev_registry *reg, const struct raid_opts *opts, struct err *e)
{
	struct raid_order *ro;
	uint8_t random[16];
	int rc = check_opts(reg, opts, e);

	if (rc != 0)
		return rc;
	ro = base_zalloc(sizeof(*ro));
	ro->level = opts->level;
	ro->strip_kib = opts->strip_kib;
	ro->uuid = opts->uuid;
	if (uuid_is_null(&ro->uuid)) {
		core_random(random, sizeof(random));
		ro->uuid = uuid_from_random(random);
	}
	rc = bdev_order_start(reg, &ro->order, &raid_order_ops, opts->name, opts->members, opts->member_count, e);
	if (rc == 0 && bdev_order_waits(&ro->order)) {
		for (uint32_t i = 0; i < opts->member_count; i++)
			if (!bdev_find(reg, opts->members[i]))
				log_notice("raid %s: waits for its member '%s'", opts->name, opts->members[i]);
	}
	return rc;
}

static int check_opts(struct bdev_registry *reg, const struct raid_opts *opts, struct err *e)
{
	if (opts->strip_kib && !is_pow2(opts->strip_kib))
		return err_set(e, -EINVAL, "strip_size_kb: %u is not a power of two", opts->strip_kib);
	if (opts->level == RAID_0 && !opts->strip_kib)
		return err_set(e, -EINVAL, "strip_size_kb: raid0 needs one, such as 64");
	if (!opts->member_count || opts->member_count > RAID_MEMBERS_MAX)
		return err_set(e, -EINVAL, "base_bdevs: %u devices; a raid has 1 to %u", opts->member_count, RAID_MEMBERS_MAX);
	if (bdev_find(reg, opts->name))
		return err_set(e, -EEXIST, "name: '%s' is taken by another device; choose another one", opts->name);
	return 0;
}

static void order_free(struct bdev_order *o)
{
	free(of(o));
}

int raid_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg, struct err *e)
{
	struct bdev_order *o = bdev_order_find(reg, &raid_order_ops, name);

	if (!o)
		return err_set(e, -ENODEV, "there is no raid '%s'; bdev_raid_get_bdevs lists those there are", name);
	bdev_order_delete(o, done, arg);
	return 0;
}

struct raid_order *raid_next(struct bdev_registry *reg, struct raid_order *after)
{
	struct bdev_order *o = after ? bdev_order_next(&after->order) : bdev_order_first(reg);

	while (o && o->ops != &raid_order_ops)
		o = bdev_order_next(o);
	return o ? of(o) : NULL;
}

struct bdev *raid_device(const struct raid_order *ro)
{
	struct bdev_stacked *s = list_first(&ro->order.devices, struct bdev_stacked, link);

	return s ? &s->bdev : NULL;
}

uint64_t raid_member_blocks(const struct raid_order *ro, uint32_t member)
{
	const struct bdev *b = raid_device(ro);
	const struct raid *r = b ? raid_of(b) : NULL;

	if (!r)
		return 0;
	return r->level == RAID_0 ? r->each : r->starts[member + 1] - r->starts[member];
}

/* --- the device ------------------------------------------------------------------------------------------- */

static int build(struct bdev_order *o, struct err *e)
{
	struct raid *r;
	int rc = check_members(of(o), e);

	if (rc != 0)
		return rc;
	r = disk_make(of(o));
	if (!atomic_load(&r->stacked.bdev.block_count))
		rc = err_set(e, -EINVAL, "base_bdevs: a member is smaller than a strip of %u KiB", of(o)->strip_kib);
	else
		rc = bdev_stacked_register(&r->stacked, e);
	if (rc != 0)
		disk_free(&r->stacked);
	return rc;
}

static int check_members(const struct raid_order *ro, struct err *e)
{
	struct bdev_info first, i;

	bdev_get_info(ro->order.bases[0].desc, &first);
	for (uint32_t k = 0; k < ro->order.base_count; k++) {
		bdev_get_info(ro->order.bases[k].desc, &i);
		if (i.block_size != first.block_size || i.md_size != first.md_size)
			return err_set(e, -EINVAL, "base_bdevs: '%s' has blocks of %u bytes and %u of metadata, '%s' of %u and %u; "
			               "all must have the same", i.name, i.block_size, i.md_size, first.name, first.block_size,
			               first.md_size);
		if (i.dif_type != first.dif_type || i.dif_is_head_of_md != first.dif_is_head_of_md)
			return err_set(e, -EINVAL, "base_bdevs: '%s' has protection information of type %u, '%s' of type %u, or at "
			               "the other end of the metadata; all must have the same", i.name, i.dif_type, first.name,
			               first.dif_type);
		if (i.md_size && !(i.md_interleaved && first.md_interleaved))
			return err_set(e, -EINVAL, "base_bdevs: '%s' has metadata that travel apart, which a raid cannot cut; use "
			               "interleaved metadata or none", i.name);
	}
	if (ro->strip_kib && (ro->strip_kib * KIB < first.block_size || ro->strip_kib * KIB % first.block_size))
		return err_set(e, -EINVAL, "strip_size_kb: %u KiB are not whole blocks of %u bytes", ro->strip_kib,
		               first.block_size);
	return 0;
}

/* What all members can, and the worst of what they promise. */
static void take_over(struct bdev *b, const struct bdev_order *o)
{
	for (uint32_t k = 0; k < o->base_count; k++) {
		struct bdev_info i;

		bdev_get_info(o->bases[k].desc, &i);
		b->native_ops &= i.ops;
		b->emulated_below |= i.ops & ~i.native_ops;
		b->fua &= i.fua;
		b->read_only |= i.read_only;
		b->thin |= i.thin;
		b->physical_block_size = max_u32(b->physical_block_size, i.physical_block_size);
		if (i.cache == BDEV_CACHE_VOLATILE || (i.cache == BDEV_CACHE_LOST_ANYWAY && b->cache == BDEV_CACHE_NONE))
			b->cache = i.cache;
	}
}

static struct raid *disk_make(struct raid_order *ro)
{
	struct raid *r = base_zalloc(sizeof(*r));
	struct bdev_order *o = &ro->order;
	struct bdev *b = &r->stacked.bdev;

	bdev_stacked_init(&r->stacked, o, 0);
	r->stacked.free = disk_free;
	snprintf(b->name, sizeof(b->name), "%s", o->name);
	b->ops = &raid_ops;
	b->product = RAID_PRODUCT;
	b->uuid = ro->uuid;
	b->native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) | BDEV_BIT(UNMAP) | BDEV_BIT(WRITE_ZEROES) |
	                BDEV_BIT(RESET);
	take_over(b, o);
	b->lends = b->consumes = false;
	b->max_io_blocks = b->max_unmap_blocks = 0; /* the members' waists split for them */
	b->atomic_blocks = 1;                       /* a longer write may cross a border */
	b->io_ctx_bytes = raid_io_bytes();
	r->level = ro->level;
	r->members = o->base_count;
	r->strip = ro->strip_kib * KIB / b->block_size;
	r->starts = base_zalloc((o->base_count + 1) * sizeof(*r->starts));
	lay_out(r, o);
	b->optimal_io_blocks = r->level == RAID_0 && r->members > 1 ? (uint32_t)r->strip : 0;
	return r;
}

/* Whole strips only, as SPDK lays them out: disks may move between the two. */
static uint64_t blocks_used(const struct raid *r, const struct bdev_order *o, uint32_t member)
{
	uint64_t blocks = bdev_block_count(o->bases[member].desc);

	return r->strip ? blocks - blocks % r->strip : blocks;
}

static void lay_out(struct raid *r, const struct bdev_order *o)
{
	bool too_small = false;

	r->each = UINT64_MAX;
	for (uint32_t i = 0; i < r->members; i++) {
		uint64_t blocks = blocks_used(r, o, i);

		too_small |= !blocks;
		r->each = min_u64(r->each, blocks);
		r->starts[i + 1] = r->starts[i] + blocks;
	}
	r->stacked.bdev.block_count = too_small ? 0 : r->level == RAID_0 ? r->each * r->members : r->starts[r->members];
}

static void disk_free(struct bdev_stacked *s)
{
	struct raid *r = container_of(s, struct raid, stacked);

	free(r->starts);
	free(r);
}

/* What grows at the end can be had; between members blocks cannot come or go. */
static void resized(struct bdev_order *o, uint32_t base)
{
	struct bdev *b = raid_device(of(o));
	struct raid *r = b ? raid_of(b) : NULL;
	uint64_t blocks, count;

	if (!r)
		return;
	blocks = blocks_used(r, o, base);
	if (r->level == RAID_0) {
		for (uint32_t i = 0; i < r->members; i++)
			blocks = min_u64(blocks, blocks_used(r, o, i));
		count = blocks * r->members;
	} else if (base + 1 == r->members) {
		count = r->starts[base] + blocks;
	} else {
		return;
	}
	if (!count || bdev_resize(b, count, NULL) != 0)
		return; /* it is going, or nothing is left of the member: the member answers then */
	if (r->level == RAID_0)
		r->each = blocks;
	else
		r->starts[r->members] = count; /* for who asks; I/O does not look at it */
}

struct raid_order *raid_order_of(const struct bdev *b)
{
	return of(raid_of(b)->stacked.order);
}

/* --- where blocks lie ------------------------------------------------------------------------------------- */

static struct raid_place place_in_strips(const struct raid *r, uint64_t lba)
{
	uint64_t strip = lba / r->strip, within = lba % r->strip;

	return (struct raid_place){
		.member = (uint32_t)(strip % r->members),
		.lba = strip / r->members * r->strip + within,
		.run = r->members == 1 ? UINT64_MAX : r->strip - within,
	};
}

struct raid_place raid_place_of(const struct raid *r, uint64_t lba)
{
	uint32_t low = 0, high = r->members - 1;

	if (r->level == RAID_0)
		return place_in_strips(r, lba);
	while (low < high) { /* the last that begins at or before lba */
		uint32_t middle = (low + high + 1) / 2;

		if (r->starts[middle] <= lba)
			low = middle;
		else
			high = middle - 1;
	}
	return (struct raid_place){
		.member = low, .lba = lba - r->starts[low],
		.run = low + 1 == r->members ? UINT64_MAX : r->starts[low + 1] - lba, /* the last one may have grown */
	};
}
