/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.c: one core's way into a device: what the device has per core, and the handle each user has.
 *
 * A user's channel is counted per descriptor and core; the device's own state is opened by the first of a core
 * and closed with the last. Statistics and locks belong to the device's core and stay.
 */
#include "bdev/bdev_waist.h"
#include "bdev/resv_priv.h"

#define CTX_CHUNK 64u
#define CTX_MAX 4096u

static int core_open(struct bdev_core *core, struct err *e);
static void core_close(struct bdev_core *core);
static struct bdev_channel *channel_make(struct bdev_desc *desc, struct bdev_core *core);

void bdev_cores_make(struct bdev *b)
{
	struct core *core = b->reg->core;
	uint32_t count = core_reactor_count(core) + 1;

	b->cores = base_zalloc_aligned(CACHE_LINE, sizeof(struct bdev_core) * count);
	for (uint32_t i = 0; i < count; i++) {
		struct bdev_core *c = &b->cores[i];

		c->bdev = b;
		c->index = i;
		c->reactor = i + 1 == count ? core_control(core) : core_reactor(core, i);
		list_init(&c->locks);
		list_init(&c->draining);
		list_init(&c->to_drain);
		list_init(&c->channels);
		queue_init(&c->blocked);
		bdev_stats_clear(&c->stats);
		bdev_pool_init(&c->ctxs, c, "device context", b->io_ctx_bytes, CTX_CHUNK, CTX_MAX, bdev_to_device);
		bdev_emu_init(c);
	}
	bdev_locks_make(b);
}

void bdev_cores_free(struct bdev *b)
{
	uint32_t count = core_reactor_count(b->reg->core) + 1;

	for (uint32_t i = 0; i < count; i++) {
		bdev_pool_fini(&b->cores[i].ctxs);
		bdev_emu_fini(&b->cores[i]);
	}
	bdev_meter_free(b);
	bdev_qos_free(b);
	bdev_resv_free(b);
	bdev_locks_free(b);
	free(b->cores);
	b->cores = NULL;
}

struct bdev_channel *bdev_channel_get(struct bdev_desc *desc, struct err *e)
{
	uint32_t index = reactor_index(reactor_self());
	struct bdev_core *core = &desc->bdev->cores[index];
	struct bdev_channel *ch = desc->channels[index];

	if (ch) {
		ch->users++;
		return ch;
	}
	if (list_empty(&core->channels) && core_open(core, e) != 0)
		return NULL;
	ch = channel_make(desc, core);
	list_add_tail(&core->channels, &ch->link);
	desc->channels[index] = ch;
	atomic_fetch_add(&desc->bdev->open_channels, 1);
	return ch;
}

void bdev_channel_put(struct bdev_channel *ch)
{
	struct bdev_core *core = ch->core;
	struct bdev *b = ch->bdev;

	assert(core->reactor == reactor_self());
	must(ch->users > 0);
	if (--ch->users)
		return;
	must(ch->in_flight == 0 && queue_empty(&ch->doneq));
	ch->desc->channels[core->index] = NULL;
	list_del(&ch->link);
	if (list_empty(&core->channels))
		core_close(core);
	if (ch->draining)
		ch->closing = true; /* called from a done function: bdev_channel_drain() frees it */
	else
		free(ch);
	atomic_fetch_sub(&b->open_channels, 1); /* from here on the device may go */
}

void *bdev_channel_ctx(struct bdev_channel *ch)
{
	return ch->ctx;
}

struct bdev *bdev_channel_bdev(struct bdev_channel *ch)
{
	return ch->bdev;
}

static int core_open(struct bdev_core *core, struct err *e)
{
	struct bdev *b = core->bdev;
	int rc;

	if (b->channel_ctx_bytes)
		core->ctx = base_zalloc_aligned(CACHE_LINE, b->channel_ctx_bytes);
	core->own = (struct bdev_channel){ .bdev = b, .core = core, .ctx = core->ctx };
	rc = b->ops->channel_open ? b->ops->channel_open(&core->own, e) : 0;
	if (rc != 0) {
		free(core->ctx);
		core->ctx = NULL;
	}
	return rc;
}

static void core_close(struct bdev_core *core)
{
	if (core->bdev->ops->channel_close)
		core->bdev->ops->channel_close(&core->own);
	free(core->ctx);
	core->ctx = NULL;
}

static struct bdev_channel *channel_make(struct bdev_desc *desc, struct bdev_core *core)
{
	struct bdev *b = core->bdev;
	struct bdev_channel *ch = base_zalloc_aligned(CACHE_LINE, sizeof(*ch));

	ch->bdev = b;
	ch->core = core;
	ch->submit = b->ops->submit;
	ch->ctx = core->ctx;
	bdev_channel_set_simple(ch);
	ch->block_bytes = b->block_size + (b->md_interleaved ? b->md_size : 0);
	ch->max_io_blocks = b->max_io_blocks ? b->max_io_blocks : UINT32_MAX;
	if (b->cache == BDEV_CACHE_VOLATILE && !b->fua)
		ch->slow_flags = BDEV_IO_FUA;
	if (b->md_size)
		ch->slow_flags |= BDEV_IO_PLAIN | (b->md_interleaved ? 0 : BDEV_IO_EXTENDED);
	if (desc->plain)
		ch->md_flags = (uint16_t)(BDEV_IO_PLAIN | (b->dif_type ? BDEV_IO_PRCHK_GUARD : 0) |
		                          (b->dif_type == 1 || b->dif_type == 2 ? BDEV_IO_PRCHK_REFTAG : 0));
	ch->lends = b->lends && !ch->md_flags;
	ch->may_write = desc->write && !b->read_only;
	ch->users = 1;
	ch->desc = desc;
	queue_init(&ch->doneq);
	return ch;
}

void bdev_channel_set_simple(struct bdev_channel *ch)
{
	const struct bdev *b = ch->bdev;
	uint32_t simple = b->native_ops & (BDEV_BIT(READ) | BDEV_BIT(WRITE)), with_ctx = 0;

	if (b->io_ctx_bytes)
		with_ctx = b->io_ctx_ops ? simple & b->io_ctx_ops : simple;
	ch->simple_ops = (uint16_t)(ch->core->long_way ? 0 : simple & ~with_ctx);
	ch->ctx_ops = (uint16_t)(ch->core->long_way ? 0 : with_ctx);
}

void bdev_core_long_way(struct bdev_core *core, uint8_t reason, bool on)
{
	core->long_way = (uint8_t)(on ? core->long_way | reason : core->long_way & ~reason);
	list_each(l, &core->channels)
		bdev_channel_set_simple(list_entry(l, struct bdev_channel, link));
}
