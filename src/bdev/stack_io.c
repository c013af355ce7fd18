/* SPDX-License-Identifier: BSD-3-Clause */
/* stack_io.c: devices that stand on others: their channels, how their I/O goes to a base and back, and how they go.
 *
 * The child of an I/O lies in the I/O's own context, from the pool per core that every device has; so passing an
 * I/O on takes no memory. A core's channel to a base lives as long as its channel to the device on top.
 */
#include <errno.h>
#include <stdio.h>

#include "bdev/bdev_stack.h"
#include "bdev/bdev_waist.h"

static void unmap_ranges(struct bdev_stack_io *x, struct bdev_channel *ch);

const struct bdev_ops bdev_stack_ops = {
	.channel_open = bdev_stack_channel_open,
	.channel_close = bdev_stack_channel_close,
	.submit = bdev_stack_submit,
	.abort = bdev_stack_abort,
	.release = bdev_stack_release,
	.lend_iovs_max = bdev_stack_lend_iovs_max,
	.remove = bdev_stack_remove,
	.destroy = bdev_stack_destroy,
	.describe = bdev_stack_describe,
};

static struct bdev_stacked *stacked_of(const struct bdev *b)
{
	return container_of(b, struct bdev_stacked, bdev);
}

static struct bdev_desc *base_of(const struct bdev *b)
{
	const struct bdev_stacked *s = container_of(b, const struct bdev_stacked, bdev);

	return s->order->bases[s->base].desc; /* constant while the device lives */
}

/* --- coming ----------------------------------------------------------------------------------------------- */

static void free_plain(struct bdev_stacked *s)
{
	free(s);
}

void bdev_stacked_init(struct bdev_stacked *s, struct bdev_order *o, uint32_t base)
{
	const struct bdev *b = o->bases[base].desc->bdev;
	uint32_t usable = bdev_usable_ops(b);

	s->order = o;
	s->base = base;
	s->offset = 0;
	s->end_core = bdev_stack_end_core;
	s->free = free_plain;
	s->visits = 0;
	s->destroying = false;
	memset(s->cores, 0, sizeof(s->cores));
	list_init(&s->link);
	s->bdev = (struct bdev){
		.ops = &bdev_stack_ops,
		.block_size = b->block_size, .physical_block_size = b->physical_block_size,
		.md_size = b->md_size, .md_interleaved = b->md_interleaved, .dif_type = b->dif_type,
		.dif_is_head_of_md = b->dif_is_head_of_md,
		.block_count = atomic_load(&b->block_count),
		.native_ops = usable & ~BDEV_BIT(PASSTHROUGH),
		.emulated_below = b->emulated_below | (usable & ~b->native_ops),
		.lends = b->lends, .lends_zeroes = b->lends_zeroes, .consumes = b->consumes,
		.fua = b->fua, .read_only = b->read_only, .thin = b->thin, .knows_bad = b->knows_bad, .cache = b->cache,
		.optimal_io_blocks = b->optimal_io_blocks, .max_io_blocks = b->max_io_blocks,
		.max_unmap_blocks = b->max_unmap_blocks, .atomic_blocks = b->atomic_blocks,
		.atomic_boundary_blocks = b->atomic_boundary_blocks, .atomic_caw_blocks = b->atomic_caw_blocks,
		.max_caw_blocks = b->max_caw_blocks,
		.channel_ctx_bytes = sizeof(struct bdev_stack_core),
		.io_ctx_bytes = sizeof(struct bdev_stack_io),
		.sleeps = "as its base",
	};
}

/* Where the base's boundaries are not this device's. */
static void atomics_at_offset(struct bdev_stacked *s)
{
	struct bdev *b = &s->bdev;

	if (b->atomic_boundary_blocks && s->offset % b->atomic_boundary_blocks)
		b->atomic_blocks = b->atomic_caw_blocks = 1;
}

int bdev_stacked_register(struct bdev_stacked *s, struct err *e)
{
	int rc;

	atomics_at_offset(s);
	list_add_tail(&s->order->devices, &s->link); /* before: others may be told of it and build on it */
	rc = bdev_register(s->order->reg, &s->bdev, e);
	if (rc != 0)
		list_del(&s->link);
	return rc;
}

struct uuid bdev_stacked_uuid(const struct bdev_stacked *s, const char *kind, uint32_t number)
{
	const struct uuid *base = &base_of(&s->bdev)->bdev->uuid;
	uint64_t half[2] = { 0xcbf29ce484222325, 0x84222325cbf29ce4 };
	uint8_t bytes[16];

	for (uint32_t i = 0; i < 2; i++) { /* FNV-1a, with different beginnings */
		for (uint32_t k = 0; k < sizeof(*base); k++)
			half[i] = (half[i] ^ ((const uint8_t *)base)[k]) * 0x100000001b3;
		for (const char *c = kind; *c; c++)
			half[i] = (half[i] ^ (uint8_t)*c) * 0x100000001b3;
		for (uint32_t k = 0; k < 32; k += 8)
			half[i] = (half[i] ^ (uint8_t)(number >> k)) * 0x100000001b3;
		for (uint32_t k = 0; k < 8; k++)
			bytes[i * 8 + k] = (uint8_t)(half[i] >> 8 * k);
	}
	return uuid_from_random(bytes);
}

/* --- each core -------------------------------------------------------------------------------------------- */

int bdev_stack_channel_open(struct bdev_channel *ch, struct err *e)
{
	struct bdev_stack_core *c = bdev_channel_ctx(ch);
	struct bdev_stacked *s = stacked_of(bdev_channel_bdev(ch));
	const struct bdev_order *o = s->order;

	c->bases = base_zalloc(o->base_count * sizeof(struct bdev_channel *));
	c->device = s;
	list_init(&c->out);
	for (uint32_t i = 0; i < o->base_count; i++) {
		c->bases[i] = bdev_channel_get(o->bases[i].desc, e);
		if (c->bases[i])
			continue;
		while (i-- > 0)
			bdev_channel_put(c->bases[i]);
		free(c->bases);
		return -ENOMEM;
	}
	s->cores[reactor_index(reactor_self())] = c;
	return 0;
}

void bdev_stack_channel_close(struct bdev_channel *ch)
{
	struct bdev_stack_core *c = bdev_channel_ctx(ch);
	struct bdev_stacked *s = c->device;

	must(list_empty(&c->out));
	s->cores[reactor_index(reactor_self())] = NULL;
	for (uint32_t i = 0; i < s->order->base_count; i++)
		bdev_channel_put(c->bases[i]);
	free(c->bases);
}

/* --- down ------------------------------------------------------------------------------------------------- */

void bdev_stack_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	const struct bdev_stacked *s = stacked_of(bdev_channel_bdev(ch));

	bdev_stack_forward(ch, io, s->base, s->offset);
}

void bdev_stack_forward(struct bdev_channel *ch, struct bdev_io *io, uint32_t base, uint64_t offset)
{
	bdev_stack_forward_later(ch, io, base, offset);
	io->consumed = bdev_stack_io_of(io)->child.consumed;
}

void bdev_stack_forward_later(struct bdev_channel *ch, struct bdev_io *io, uint32_t base, uint64_t offset)
{
	struct bdev_stack_io *x = io->device_ctx;

	bdev_stack_child_init(x, io);
	x->child.lba += offset;
	if (io->op == BDEV_COPY) {
		x->child.copy.src_lba += offset;
	} else if (io->op == BDEV_UNMAP && io->unmap.range_count && offset) {
		x->offset = offset;
		x->base = base;
		x->next_range = 0;
		unmap_ranges(x, ch);
		return;
	}
	bdev_stack_child_start(x, ch, base, bdev_stack_child_end);
}

void bdev_stack_child_init(struct bdev_stack_io *x, struct bdev_io *io)
{
	struct bdev_io *child = &x->child;

	x->parent = io;
	child->op = io->op;
	child->flags = io->flags & (uint16_t)~(BDEV_IO_LENT | BDEV_IO_MD); /* those are between the parent and its device */
	child->iov_count = io->iov_count;
	child->iov_max = io->iov_max;
	child->md_iov_count = io->md_iov_count;
	child->lba = io->lba;
	child->count = io->count;
	child->iovs = io->iovs;
	child->lease = io->lease;
	child->lease_epoch = io->lease_epoch;
	child->md_iovs = io->md_iovs;
	child->who = io->who;
	child->ref_tag = io->ref_tag;
	child->app_tag = io->app_tag;
	child->app_mask = io->app_mask;
	child->region = io->region;
	child->unmap = io->unmap; /* the largest of the union's */
}
_Static_assert(sizeof(((struct bdev_io *)0)->unmap) >= sizeof(((struct bdev_io *)0)->copy) &&
               sizeof(((struct bdev_io *)0)->unmap) >= sizeof(((struct bdev_io *)0)->passthrough) &&
               sizeof(((struct bdev_io *)0)->unmap) >= sizeof(((struct bdev_io *)0)->lba_status),
               "a child takes over the whole union");

static void child_back(struct bdev_io *child)
{
	struct bdev_stack_io *x = container_of(child, struct bdev_stack_io, child);

	list_del(&x->link);
	x->done(x);
}

void bdev_stack_child_start(struct bdev_stack_io *x, struct bdev_channel *ch, uint32_t base,
                            void (*done)(struct bdev_stack_io *x))
{
	struct bdev_stack_core *c = bdev_channel_ctx(ch);

	x->done = done;
	x->child.done = child_back;
	list_add_tail(&c->out, &x->link);
	bdev_submit(c->bases[base], &x->child);
}

/* The ranges are the caller's and stay as they are: a few at a time move to a place of ours. */
static void unmapped(struct bdev_stack_io *x)
{
	if (x->child.status == BDEV_ST_OK && x->next_range < x->parent->unmap.range_count)
		unmap_ranges(x, x->parent->ch);
	else
		bdev_stack_child_end(x);
}

static void unmap_ranges(struct bdev_stack_io *x, struct bdev_channel *ch)
{
	const struct bdev_io *io = x->parent;
	uint32_t n = 0;

	while (n < BDEV_STACK_RANGES && x->next_range < io->unmap.range_count) {
		const struct bdev_range *r = &io->unmap.ranges[x->next_range++];

		x->ranges[n++] = (struct bdev_range){ r->lba + x->offset, r->count };
	}
	x->child.unmap.ranges = x->ranges;
	x->child.unmap.range_count = n;
	bdev_stack_child_start(x, ch, x->base, unmapped);
}

/* --- and back --------------------------------------------------------------------------------------------- */

void bdev_stack_child_end(struct bdev_stack_io *x)
{
	struct bdev_io *io = x->parent;
	const struct bdev_io *child = &x->child;
	const struct bdev *b = bdev_channel_bdev(io->ch);
	enum bdev_status st = (enum bdev_status)child->status;

	if (io->op == BDEV_READ) {
		io->iov_count = child->iov_count;
		io->lent = child->lent;
	} else if (io->op == BDEV_GET_LBA_STATUS) {
		io->lba_status = child->lba_status;
		io->lba_status.ret_blocks = min_u64(io->lba_status.ret_blocks, atomic_load(&b->block_count) - io->lba);
	}
	io->miscompare_offset = child->miscompare_offset;
	if (unlikely(st == BDEV_ST_ABORTED && atomic_load(&b->removing)))
		st = BDEV_ST_GONE; /* it was us who aborted it, or could have been */
	bdev_io_done(io, st);
}

bool bdev_stack_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct bdev_stack_io *x = io->device_ctx;

	return bdev_abort(x->child.ch, &x->child);
}

void bdev_stack_release(struct bdev *b, const struct iovec *iovs, uint32_t count)
{
	bdev_release_iovs(base_of(b), iovs, count);
}

uint32_t bdev_stack_lend_iovs_max(const struct bdev *b, uint32_t blocks)
{
	return bdev_lend_iovs_max(base_of(b), blocks);
}

void bdev_stack_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg)
{
	const struct bdev_stacked *s = container_of(b, const struct bdev_stacked, bdev);
	char key[64];

	snprintf(key, sizeof(key), "%s.name", s->order->ops->kind);
	emit(arg, key, b->name);
	snprintf(key, sizeof(key), "%s.base_bdev_name", s->order->ops->kind);
	emit(arg, key, s->order->bases[s->base].name);
}

/* --- going ------------------------------------------------------------------------------------------------ */

/* Aborting may end several in one call, but only with their done functions called later: the list stays. */
void bdev_stack_end_core(struct bdev_stack_visit *v, struct bdev_stack_core *c)
{
	list_each(l, &c->out) {
		struct bdev_stack_io *x = list_entry(l, struct bdev_stack_io, link);

		bdev_abort(x->child.ch, &x->child);
	}
}

static void visited(struct msg *m)
{
	struct bdev_stack_visit *v = container_of(m, struct bdev_stack_visit, done_msg);
	struct bdev_stacked *s = v->device;

	if (v->done)
		v->done(v);
	if (--s->visits == 0 && s->destroying)
		bdev_stack_destroy(&s->bdev);
}

static void visit_here(struct msg *m)
{
	uint32_t index = reactor_index(reactor_self());
	struct bdev_stack_visit *v = container_of(m - index, struct bdev_stack_visit, msgs[0]);
	struct bdev_stack_core *c = v->device->cores[index];

	if (c)
		v->on_core(v, c);
	if (atomic_fetch_sub(&v->left, 1) == 1)
		msg_send(core_control(v->device->order->reg->core), &v->done_msg, visited);
}

void bdev_stacked_visit(struct bdev_stacked *s, struct bdev_stack_visit *v,
                        void (*on_core)(struct bdev_stack_visit *v, struct bdev_stack_core *c),
                        void (*done)(struct bdev_stack_visit *v))
{
	struct core *core = s->order->reg->core;
	uint32_t count = core_reactor_count(core);

	v->device = s;
	v->on_core = on_core;
	v->done = done;
	s->visits++;
	atomic_store(&v->left, count + 1);
	for (uint32_t i = 0; i <= count; i++)
		msg_send(i == count ? core_control(core) : core_reactor(core, i), &v->msgs[i], visit_here);
}

void bdev_stack_remove(struct bdev *b)
{
	struct bdev_stacked *s = stacked_of(b);

	bdev_stacked_visit(s, &s->going, s->end_core, NULL);
}

void bdev_stack_destroy(struct bdev *b)
{
	struct bdev_stacked *s = stacked_of(b);
	struct bdev_order *o = s->order;

	s->destroying = true;
	if (s->visits)
		return; /* visited() comes here again */
	o->busy++;
	list_del(&s->link);
	bdev_destroyed(b);
	s->free(s);
	o->busy--;
	bdev_order_lost(o);
}
