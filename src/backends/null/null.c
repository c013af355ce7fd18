/* SPDX-License-Identifier: BSD-3-Clause */
/* null.c: a device without media, to measure everything else with.
 *
 * Every operation ends within submit(). Lent reads point into the zeroes that nobody can write to; a read into the
 * caller's buffers fills them, because what lay in them before is somebody else's data.
 */
#include "backends/null/null.h"

#include <errno.h>
#include <stdio.h>

#include "bdev/bdev_device.h"
#include "bdev/pi.h"
#include "core/mem.h"

struct null_disk {
	struct bdev bdev;
	const struct mem_region *zeroes;
};

static void null_submit(struct bdev_channel *ch, struct bdev_io *io);
static void null_release(struct bdev *b, const struct iovec *iovs, uint32_t count);
static uint32_t null_lend_iovs_max(const struct bdev *b, uint32_t blocks);
static void null_destroy(struct bdev *b);

static const struct bdev_ops null_ops = {
	.submit = null_submit,
	.release = null_release,
	.lend_iovs_max = null_lend_iovs_max,
	.destroy = null_destroy,
};

int null_create(struct bdev_registry *reg, const struct null_opts *opts, struct bdev **ret_bdev, struct err *e)
{
	struct null_disk *d;
	int rc;

	if (opts->md_size > 128 || (opts->md_size && (opts->md_size < 8 || !is_pow2(opts->md_size))))
		return err_set(e, -EINVAL, "md_size: %u is none of 0, 8, 16, 32, 64, 128", opts->md_size);
	if (opts->dif_type && !opts->md_size)
		return err_set(e, -EINVAL, "dif_type: protection information lies in metadata; give an md_size of at least 8");
	d = base_zalloc(sizeof(*d));
	d->bdev = (struct bdev){
		.ops = &null_ops, .product = "Null disk", .sleeps = "inline", .uuid = opts->uuid,
		.block_size = opts->block_size, .physical_block_size = opts->physical_block_size,
		.md_size = opts->md_size, .md_interleaved = opts->md_size != 0, .block_count = opts->block_count,
		.dif_type = opts->dif_type, .dif_is_head_of_md = opts->dif_type && opts->dif_is_head_of_md,
		.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) | BDEV_BIT(UNMAP) |
		              BDEV_BIT(WRITE_ZEROES) | BDEV_BIT(VERIFY) | BDEV_BIT(RESET) | BDEV_BIT(COPY),
		.lends = !opts->dif_type, .lends_zeroes = true, .consumes = true, .fua = true, .cache = BDEV_CACHE_LOST_ANYWAY,
	};
	snprintf(d->bdev.name, sizeof(d->bdev.name), "%s", opts->name);
	d->zeroes = mem_zeroes(bdev_registry_core(reg));
	rc = bdev_register(reg, &d->bdev, e);
	if (rc != 0) {
		free(d);
		return rc;
	}
	*ret_bdev = &d->bdev;
	return 0;
}

static struct bdev *find(struct bdev_registry *reg, const char *name, struct err *e)
{
	struct bdev *b = bdev_find(reg, name);

	if (!b)
		err_set(e, -ENODEV, "name: there is no block device '%s'; bdev_get_bdevs lists those there are", name);
	else if (b->ops != &null_ops)
		err_set(e, -EINVAL, "block device '%s' is a %s, not a null device", name, b->product);
	return b && b->ops == &null_ops ? b : NULL;
}

int null_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg, struct err *e)
{
	struct err why = { 0 };
	struct bdev *b = find(reg, name, &why);

	if (!b)
		return err_set(e, why.code, "%s", why.text);
	bdev_unregister(b, done, arg);
	return 0;
}

int null_resize(struct bdev_registry *reg, const char *name, uint64_t block_count, struct err *e)
{
	struct err why = { 0 };
	struct bdev *b = find(reg, name, &why);

	if (!b)
		return err_set(e, why.code, "%s", why.text);
	return bdev_resize(b, block_count, e);
}

static uint64_t bytes_of(const struct bdev *b, uint64_t blocks)
{
	return blocks * (b->block_size + b->md_size);
}

static enum bdev_status lend(const struct null_disk *d, struct bdev_io *io)
{
	uint64_t left = bytes_of(&d->bdev, io->count);
	uint16_t used = 0;

	for (uint64_t len; left; left -= len, used++) {
		len = min_u64(left, d->zeroes->len);
		if (used == io->iov_max)
			return BDEV_ST_BAD_FIELD;
		io->iovs[used] = (struct iovec){ .iov_base = d->zeroes->base, .iov_len = len };
	}
	io->iov_count = used;
	io->lent = true;
	return BDEV_ST_OK;
}

/* Protection information is that of zeroes which were written where they are read. Out of line, as null_submit() is
 * what everything else is measured against. */
static __attribute__((noinline)) void protect(const struct bdev *b, struct bdev_io *io)
{
	struct pi_shape s = { .block_size = b->block_size, .md_size = b->md_size, .type = b->dif_type,
	                      .at_head = b->dif_is_head_of_md };
	struct bdev_tags tags = { .ref = b->dif_type == 3 ? 0 : (uint32_t)io->lba };

	pi_generate(&s, iov_cursor_over(io->iovs, io->iov_count), NULL, io->count, tags);
}

static void fill(const struct bdev *b, struct bdev_io *io)
{
	for (uint16_t i = 0; i < io->iov_count; i++)
		memset(io->iovs[i].iov_base, 0, io->iovs[i].iov_len);
	if (unlikely(b->dif_type))
		protect(b, io);
}

static void null_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	const struct null_disk *d = container_of(bdev_channel_bdev(ch), struct null_disk, bdev);
	enum bdev_status st = BDEV_ST_OK;

	if (io->op == BDEV_WRITE)
		io->consumed = true;
	else if (io->op == BDEV_READ && io->flags & BDEV_IO_LEND)
		st = lend(d, io);
	else if (io->op == BDEV_READ)
		fill(&d->bdev, io);
	bdev_io_done(io, st);
}

static void null_release(struct bdev *b, const struct iovec *iovs, uint32_t count)
{
	/* The zeroes stay. */
}

static uint32_t null_lend_iovs_max(const struct bdev *b, uint32_t blocks)
{
	return (uint32_t)div_up(bytes_of(b, blocks), MEM_ZEROES_BYTES);
}

static void null_destroy(struct bdev *b)
{
	struct null_disk *d = container_of(b, struct null_disk, bdev);

	bdev_destroyed(b);
	free(d);
}
