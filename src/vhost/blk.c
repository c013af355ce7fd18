/* SPDX-License-Identifier: BSD-3-Clause */
/* blk.c: a controller that is a virtio-blk disk: making it, what it says of itself, and what happens when its disk
 * changes or goes. Control reactor. */
#include <errno.h>

#include "bdev/bdev_device.h"
#include "core/log.h"
#include "vhost/blk.h"
#include "vhost/session.h"

static void entered(void *arg);
static void left(void *arg);
static void disk_event(struct bdev_desc *desc, enum bdev_event event, void *arg);
static void disk_over(struct bdev_served *s);
static void let_go(struct vhost_disk *d);

static const struct bdev_served_ops served_ops = { .shown_as = "vhost disk", .param = "dev_name",
	.event = disk_event, .over = disk_over };

static uint64_t blk_features(struct vhost_ctrlr *c)
{
	const struct vhost_blk *b = blk_of(c);
	uint64_t f = VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |
		VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) | VIRTIO_BIT(VIRTIO_BLK_F_MQ) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) |
		VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE);

	if (b->info.read_only)
		return f | VIRTIO_BIT(VIRTIO_BLK_F_RO);
	if (bdev_can(&b->info, BDEV_UNMAP))
		f |= VIRTIO_BIT(VIRTIO_BLK_F_DISCARD);
	if (bdev_can(&b->info, BDEV_WRITE_ZEROES))
		f |= VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	return f;
}

static uint64_t blocks_of(const struct vhost_blk *b)
{
	const struct vhost_disk *d = atomic_load(&b->disk);

	return d ? bdev_block_count(d->dev.desc) : b->info.block_count;
}

static void blk_config(struct vhost_ctrlr *c, struct vhost_session *s, uint8_t ret_config[VU_CONFIG_MAX])
{
	const struct vhost_blk *b = blk_of(c);
	const struct bdev_info *i = &b->info;
	const struct blk_session *bs = s ? s->device : NULL;
	uint32_t sectors = i->block_size / VIRTIO_BLK_SECTOR, physical = max_u32(i->physical_block_size, i->block_size);
	struct virtio_blk_config config = {
		.capacity = le64_of(blocks_of(b) * sectors),
		.seg_max = le32_of(VHOST_SEG_MAX),
		.blk_size = le32_of(i->block_size),
		.physical_block_exp = (uint8_t)(__builtin_ctz(physical) - __builtin_ctz(i->block_size)),
		.min_io_size = le16_of((uint16_t)(physical / i->block_size)),
		.opt_io_size = le32_of(i->optimal_io_blocks),
		.wce = !atomic_load(&b->cache_off) && !(bs && atomic_load(&bs->no_flush)),
		.num_queues = le16_of(b->num_queues),
		.max_discard_sectors = le32_of(BLK_DISCARD_SECTORS_MAX),
		.max_discard_seg = le32_of(BLK_RANGES_MAX),
		.discard_sector_alignment = le32_of(sectors),
		.max_write_zeroes_sectors = le32_of(BLK_ZEROES_SECTORS_MAX),
		.max_write_zeroes_seg = le32_of(1),
		.write_zeroes_may_unmap = bdev_can(i, BDEV_UNMAP),
	};

	memcpy(ret_config, &config, sizeof(config));
}

static void set_cache(struct vhost_blk *b, bool off)
{
	struct vhost *v = b->ctrlr.vhost;

	if (atomic_exchange(&b->cache_off, off) == off)
		return;
	vhost_ctrlr_resaved(&b->ctrlr);
	if (v->changed)
		v->changed(v->changed_arg);
}

/* The cache's mode is the one field that a driver may write. It outlives the device's reset, the front-end's connection
 * and this process (it is saved): all end without the driver's knowing (a machine is paused, a socket breaks), and one
 * that has switched the cache off flushes no more. A migration writes all of the space: what this disk is it is. */
static int blk_config_write(struct vhost_session *s, uint32_t offset, const uint8_t *data, uint32_t len, bool live,
                            struct err *e)
{
	const uint32_t wce = offsetof(struct virtio_blk_config, wce);

	if (!live && (offset != wce || len != 1))
		return err_set(e, -EPERM, "bytes %u to %u of the configuration cannot be written", offset, offset + len);
	if (offset > wce || wce - offset >= len)
		return 0;
	if (data[wce - offset] > 1)
		return err_set(e, -EINVAL, "cache mode %u: 0 is write through, 1 write back", data[wce - offset]);
	set_cache(blk_of(s->ctrlr), !data[wce - offset]);
	return 0;
}

static void blk_session_open(struct vhost_session *s)
{
	s->device = base_zalloc(sizeof(struct blk_session));
}

static void blk_session_close(struct vhost_session *s)
{
	free(s->device);
	s->device = NULL;
	vhost_session_closed(s);
}

/* A driver that cannot flush relies on what is written (5.2.6.2). */
static void blk_negotiated(struct vhost_session *s, uint64_t features)
{
	struct blk_session *bs = s->device;

	atomic_store(&bs->no_flush, features && !(features & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH)));
}

static void blk_free(struct vhost_ctrlr *c)
{
	free(blk_of(c));
}

/* The controller goes: its disk first. */
static void blk_end(struct vhost_ctrlr *c)
{
	struct vhost_blk *b = blk_of(c);
	struct vhost_disk *d = atomic_exchange(&b->disk, NULL);

	b->ended = true;
	if (d)
		let_go(d);
	else if (!b->disks)
		vhost_ctrlr_ended(c); /* else when the last one is over */
}

static const struct vhost_device_ops blk_ops = {
	.type = "block",
	.task_bytes = sizeof(struct blk_task),
	.rings_max = VHOST_RINGS_MAX,
	.features = blk_features,
	.config = blk_config,
	.config_write = blk_config_write,
	.session_open = blk_session_open,
	.session_close = blk_session_close,
	.negotiated = blk_negotiated,
	.end = blk_end,
	.free = blk_free,
	.ring_open = blk_ring_open,
	.ring_close = blk_ring_close,
	.execute = blk_execute,
	.go_on = blk_go_on,
	.hurry = blk_hurry,
};

bool vhost_blk_get(const struct vhost_ctrlr *c, struct vhost_blk_info *ret_info)
{
	const struct vhost_blk *b = blk_of(c);

	if (c->ops != &blk_ops)
		return false;
	*ret_info = (struct vhost_blk_info){ .bdev_name = b->bdev_name, .gone = !atomic_load(&b->disk),
		.read_only = b->made_read_only, .cache_off = atomic_load(&b->cache_off), .num_queues = b->num_queues };
	return true;
}

/* --- making ----------------------------------------------------------------------------------------------------- */

static void make_ends(struct vhost_blk *b, struct vhost_change *c)
{
	struct vhost *v = b->ctrlr.vhost;

	v->making--;
	b->change = NULL;
	c->done(c);
	vhost_less(v);
}

/* Nothing but its memory is left. */
static void make_fails(struct vhost_blk *b)
{
	struct vhost_change *c = b->change;
	struct vhost *v = b->ctrlr.vhost;

	free(b);
	v->making--;
	c->done(c);
	vhost_less(v);
}

static struct vhost_disk *open_disk(struct vhost_blk *b, const char *ctrlr, const char *bdev_name, struct err *e)
{
	struct vhost *v = b->ctrlr.vhost;
	struct vhost_disk *d = bdev_served_zalloc(struct vhost_disk, dev, v->core);
	char owner[VHOST_NAME_MAX + 32];
	struct text text = text_over(owner, sizeof(owner));

	text_add(&text, "vhost controller %s", ctrlr);
	if (bdev_served_open(&d->dev, v->reg, bdev_name, b->made_read_only, owner, &served_ops, e)) {
		free(d);
		return NULL;
	}
	d->blk = b;
	b->disks++;
	return d;
}

void vhost_blk_make(struct vhost *v, const struct vhost_blk_opts *opts, struct vhost_change *change)
{
	struct vhost_blk *b = base_zalloc(sizeof(*b));
	struct vhost_disk *d;

	b->ctrlr.vhost = v;
	b->change = change;
	b->opts = *opts;
	b->made_read_only = opts->read_only;
	atomic_init(&b->cache_off, opts->cache_off);
	b->num_queues = opts->num_queues ? opts->num_queues : VHOST_RINGS_MAX;
	v->making++;
	d = vhost_ctrlr_check(v, &opts->ctrlr, &change->err) ? NULL :
	    open_disk(b, opts->ctrlr.name, opts->bdev_name, &change->err);
	if (!d) {
		make_fails(b);
		return;
	}
	b->info = d->dev.info;
	text_pad(b->bdev_name, sizeof(b->bdev_name) - 1, d->dev.bdev_name, 0);
	bdev_served_enter_all(&d->dev, entered, d);
}

static void entered(void *arg)
{
	struct vhost_disk *d = arg;
	struct vhost_blk *b = d->blk;
	struct vhost_change *c = b->change;

	if (d->going)
		err_set(&c->err, -ENODEV, "dev_name: device '%s' went away", b->bdev_name);
	else if (!bdev_served_check(&d->dev, &c->err) &&
	         !vhost_ctrlr_start(b->ctrlr.vhost, &b->ctrlr, &blk_ops, &b->opts.ctrlr, &c->err))
		atomic_store(&b->disk, d);
	if (c->err.code)
		bdev_served_leave_all(&d->dev, left, d);
	else
		make_ends(b, c);
}

static void left(void *arg)
{
	struct vhost_disk *d = arg;

	bdev_served_unref(&d->dev);
}

/* --- the disk changes, or goes ---------------------------------------------------------------------------------- */

static void disk_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	struct vhost_disk *d = container_of((struct bdev_served *)arg, struct vhost_disk, dev);
	struct vhost_blk *b = d->blk;

	(void)desc;
	if (event == BDEV_EVENT_RESIZE) {
		if (b && atomic_load(&b->disk) == d)
			vhost_ctrlr_config_changed(&b->ctrlr);
		return;
	}
	if (d->going)
		return;
	if (!b || atomic_load(&b->disk) != d) {
		d->going = true; /* entered() sees it, or it goes already */
		return;
	}
	log_warning("vhost %s: its disk %s was removed: requests end with errors from now on", b->ctrlr.name, b->bdev_name);
	atomic_store(&b->disk, NULL);
	vhost_ctrlr_resaved(&b->ctrlr);
	let_go(d);
}

static void dropped(struct vhost_each *e)
{
	struct vhost_disk *d = container_of(e, struct vhost_disk, visit);

	bdev_served_leave_all(&d->dev, left, d);
}

/* Nobody begins with it any more; rings drop it, then cores close their channels. */
static void let_go(struct vhost_disk *d)
{
	d->going = true;
	d->visit = (struct vhost_each){ .fn = blk_ring_drop, .done = dropped, .arg = &d->dev };
	vhost_each_ring(&d->blk->ctrlr, &d->visit);
}

/* --- and comes back ------------------------------------------------------------------------------------------- */

static void picked(struct vhost_each *e)
{
	(void)e; /* whoever lets the disk go visits the same rings behind this */
}

/* As long as it looks as it did, but for its size: what a driver has read of it cannot change. */
static bool is_as_before(const struct vhost_blk *b, const struct vhost_disk *d)
{
	const struct bdev_info *was = &b->info, *is = &d->dev.info;

	return was->block_size == is->block_size && was->read_only == is->read_only;
}

static void entered_again(void *arg)
{
	struct vhost_disk *d = arg;
	struct vhost_blk *b = d->blk;
	struct err e = { 0 };

	b->coming = false;
	if (b->ended || d->going || bdev_served_check(&d->dev, &e) || !is_as_before(b, d)) {
		log_warning("vhost %s: disk %s came back, but is not served: %s", b->ctrlr.name, b->bdev_name,
		            e.code ? e.text : "it is another one, or goes again");
		bdev_served_leave_all(&d->dev, left, d);
		return;
	}
	b->info = d->dev.info;
	atomic_store(&b->disk, d);
	log_notice("vhost %s: its disk %s is back", b->ctrlr.name, b->bdev_name);
	d->pick = (struct vhost_each){ .fn = blk_ring_pick, .done = picked, .arg = &d->dev };
	vhost_each_ring(&b->ctrlr, &d->pick);
	vhost_ctrlr_config_changed(&b->ctrlr);
}

void vhost_blk_came(struct vhost_ctrlr *c, const struct bdev *came)
{
	struct vhost_blk *b = blk_of(c);
	struct vhost_disk *d;
	struct err e = { 0 };

	if (c->ops != &blk_ops || c->deleting || b->coming || atomic_load(&b->disk) || strcmp(came->name, b->bdev_name))
		return;
	d = open_disk(b, c->name, b->bdev_name, &e);
	if (!d) {
		log_warning("vhost %s: disk %s came back, but is not served: %s", c->name, b->bdev_name, e.text);
		return;
	}
	b->coming = true;
	bdev_served_enter_all(&d->dev, entered_again, d);
}

static void disk_over(struct bdev_served *s)
{
	struct vhost_disk *d = container_of(s, struct vhost_disk, dev);
	struct vhost_blk *b = d->blk;

	free(d);
	b->disks--;
	if (b->change)
		make_fails(b);
	else if (b->ended && !b->disks)
		vhost_ctrlr_ended(&b->ctrlr);
}
