/* SPDX-License-Identifier: BSD-3-Clause */
/* media.c: see media.h. */
#include "media.h"

#include <stdio.h>

#include "bdev/iov.h"
#include "core/sim/sim.h"

#define QUICK_NS_MAX (50 * NS_PER_US)

struct media_disk {
	struct bdev bdev;
	struct media *media;
};

struct media_io {
	struct timer timer;
	struct bdev_io *io;
};

void media_init(struct media *m, uint64_t blocks, uint64_t blocks_max, uint32_t block_size)
{
	*m = (struct media){ .block_size = block_size, .blocks = blocks, .blocks_max = blocks_max };
	m->pi.block_size = block_size;
	m->bytes = base_zalloc(blocks_max * block_size);
}

static uint32_t stride(const struct media *m) { return m->block_size + m->pi.md_size; }

void media_protect(struct media *m, uint32_t md_size, uint8_t type, bool at_head)
{
	m->pi = (struct pi_shape){ .block_size = m->block_size, .md_size = md_size, .type = type, .at_head = at_head };
	free(m->bytes);
	m->bytes = base_zalloc(m->blocks_max * stride(m));
	for (uint64_t lba = 0; lba < m->blocks_max; lba++)
		memset(m->bytes + lba * stride(m) + m->block_size, 0xff, md_size);
}

void media_fini(struct media *m)
{
	free(m->bytes);
}

/* --- one I/O ---------------------------------------------------------------------------------- */

static void write_lands(struct media *m, struct bdev_io *io)
{
	struct iov_cursor from = iov_cursor_over(io->iovs, io->iov_count);

	m->writes++;
	for (uint64_t lba = io->lba; lba < io->lba + io->count; lba++) {
		uint8_t *at = m->bytes + lba * stride(m);

		if (io->op == BDEV_WRITE) {
			iov_copy_out(at, &from, stride(m));
		} else {
			memset(at, 0, m->block_size);
			memset(at + m->block_size, 0xff, m->pi.md_size);
		}
		if (m->lands)
			m->lands(m->arg, lba, io->op == BDEV_WRITE ? at : NULL);
		if (io->op == BDEV_WRITE && m->corrupt_permille && sim_draw(1000) < m->corrupt_permille) {
			at[sim_draw(m->block_size)] ^= (uint8_t)(1 + sim_draw(255));
			m->corrupted++;
		}
	}
}

static void read_is_done(struct media *m, struct bdev_io *io)
{
	struct iov_cursor to = iov_cursor_over(io->iovs, io->iov_count);

	m->reads++;
	iov_copy_in(&to, m->bytes + io->lba * stride(m), io->count * stride(m));
}

static void time_is_up(struct timer *t)
{
	struct media_io *ctx = container_of(t, struct media_io, timer);
	struct bdev_io *io = ctx->io;
	struct media *m = container_of(bdev_channel_bdev(io->ch), struct media_disk, bdev)->media;
	bool fenced = !m->stubborn && !bdev_io_may_land(io);
	bool fails = !fenced && m->fail_percent && sim_chance(m->fail_percent);
	bool is_done = !fenced && (!fails || sim_chance(50));

	m->fenced += fenced;
	if (is_done && io->op == BDEV_READ)
		read_is_done(m, io);
	else if (is_done && io->op != BDEV_FLUSH)
		write_lands(m, io);
	bdev_io_done(io, fenced ? BDEV_ST_FENCED : fails ? BDEV_ST_MEDIA_ERROR : BDEV_ST_OK);
}

static void media_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct media *m = container_of(bdev_channel_bdev(ch), struct media_disk, bdev)->media;
	struct media_io *ctx = io->device_ctx;
	bool hold = m->hold_percent && sim_chance(m->hold_percent);
	uint8_t first[4096];

	m->held += hold;
	if (m->begins && io->op == BDEV_WRITE) {
		struct iov_cursor from = iov_cursor_over(io->iovs, io->iov_count);

		iov_copy_out(first, &from, m->block_size);
		m->begins(m->arg, io->lba, first);
	}
	*ctx = (struct media_io){ .io = io };
	timer_start(&ctx->timer, 1 + sim_draw(hold ? m->hold_ns_max : QUICK_NS_MAX), time_is_up);
}

static bool media_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct media_io *ctx = io->device_ctx;

	if (container_of(bdev_channel_bdev(ch), struct media_disk, bdev)->media->stubborn)
		return false;
	timer_stop(&ctx->timer);
	bdev_io_done(io, BDEV_ST_ABORTED);
	return true;
}

/* --- coming and going -------------------------------------------------------------------------- */

static void media_destroy(struct bdev *b)
{
	struct media_disk *d = container_of(b, struct media_disk, bdev);

	bdev_destroyed(b);
	free(d);
}

static const struct bdev_ops media_ops = {
	.submit = media_submit,
	.abort = media_abort,
	.destroy = media_destroy,
};

struct bdev *media_export(struct media *m, struct bdev_registry *reg, const char *name, const struct uuid *uuid)
{
	struct media_disk *d = base_zalloc(sizeof(*d));
	struct err e = { 0 };

	d->media = m;
	d->bdev = (struct bdev){
		.ops = &media_ops, .product = "Simulated media", .sleeps = "timer", .uuid = *uuid,
		.block_size = m->block_size, .block_count = m->blocks, .cache = BDEV_CACHE_NONE,
		.md_size = m->pi.md_size, .md_interleaved = m->pi.md_size, .dif_type = m->pi.type,
		.dif_is_head_of_md = m->pi.at_head,
		.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE) | BDEV_BIT(FLUSH) | BDEV_BIT(UNMAP) | BDEV_BIT(WRITE_ZEROES),
		.io_ctx_bytes = sizeof(struct media_io),
	};
	snprintf(d->bdev.name, sizeof(d->bdev.name), "%s", name);
	if (bdev_register(reg, &d->bdev, &e) != 0)
		fprintf(stderr, "%s\n", e.text);
	must(!e.code);
	return &d->bdev;
}
