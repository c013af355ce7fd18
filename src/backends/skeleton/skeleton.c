/* SPDX-License-Identifier: BSD-3-Clause */
/* skeleton.c: the smallest complete back-end, explained line by line in docs/ADD-A-BACKEND.md.
 *
 * What it need not do: check ranges, buffer lengths, read-only, leases, operations it does not name, or count
 * anything. The waist (bdev/) did that before submit() is called.
 */
#include "backends/skeleton/skeleton.h"

#include <errno.h>
#include <stdio.h>

#include "bdev/bdev_device.h"
#include "bdev/iov.h"

/* The device: the waist's part and ours. The waist hands us the former; container_of() leads to the latter. */
struct skeleton {
	struct bdev bdev;
	uint64_t latency_ns;
};

/* What we keep per core: made with a core's first channel and gone with its last, zeroed. Only that core touches
 * it, so nothing is locked. */
struct skeleton_core {
	uint64_t reads;
};

/* What we keep per I/O while we have it: from a pool per core that the waist looks after. When the pool is empty
 * the I/O waits there; submit() always finds a context in io->device_ctx. */
struct skeleton_io {
	struct timer timer;
	struct bdev_io *io;
};

static int skeleton_channel_open(struct bdev_channel *ch, struct err *e);
static void skeleton_channel_close(struct bdev_channel *ch);
static void skeleton_submit(struct bdev_channel *ch, struct bdev_io *io);
static bool skeleton_abort(struct bdev_channel *ch, struct bdev_io *io);
static void skeleton_destroy(struct bdev *b);
static void skeleton_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg);

static const struct bdev_ops skeleton_ops = {
	.channel_open = skeleton_channel_open,
	.channel_close = skeleton_channel_close,
	.submit = skeleton_submit,
	.abort = skeleton_abort,
	.destroy = skeleton_destroy,
	.describe = skeleton_describe,
};

/* --- control reactor: come and go ------------------------------------------------------------------------ */

int skeleton_create(struct bdev_registry *reg, const struct skeleton_opts *opts, struct bdev **ret_bdev,
                    struct err *e)
{
	struct skeleton *s = base_zalloc(sizeof(*s));
	int rc;

	s->latency_ns = opts->latency_us * NS_PER_US;
	s->bdev = (struct bdev){
		.ops = &skeleton_ops,
		.product = "Skeleton disk",
		.block_size = opts->block_size,
		.block_count = opts->block_count,
		.native_ops = BDEV_BIT(READ),         /* compare and verify are made of reads by the waist */
		.read_only = true,                    /* writes are answered before they come here */
		.cache = BDEV_CACHE_NONE,             /* nothing can be lost: flush is answered by the waist too */
		.channel_ctx_bytes = sizeof(struct skeleton_core),
		.io_ctx_bytes = sizeof(struct skeleton_io),
		.sleeps = opts->latency_us ? "timer" : "inline",
	};
	snprintf(s->bdev.name, sizeof(s->bdev.name), "%s", opts->name);
	rc = bdev_register(reg, &s->bdev, e); /* checks name and sizes, with a sentence for the person who asked */
	if (rc != 0) {
		free(s);
		return rc;
	}
	*ret_bdev = &s->bdev;
	return 0;
}

int skeleton_delete(struct bdev_registry *reg, const char *name, void (*done)(void *arg, int rc), void *arg,
                    struct err *e)
{
	struct bdev *b = bdev_find(reg, name);

	if (!b)
		return err_set(e, -ENODEV, "name: there is no block device '%s'; bdev_get_bdevs lists those there are", name);
	if (b->ops != &skeleton_ops)
		return err_set(e, -EINVAL, "block device '%s' is a %s, not a skeleton", name, b->product);
	bdev_unregister(b, done, arg); /* users are told; skeleton_destroy() runs when the last has closed it */
	return 0;
}

/* The last call: nobody has a descriptor or a channel any more. */
static void skeleton_destroy(struct bdev *b)
{
	struct skeleton *s = container_of(b, struct skeleton, bdev);

	bdev_destroyed(b);
	free(s);
}

static void skeleton_describe(const struct bdev *b, bdev_emit_fn *emit, void *arg)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu",
	         (unsigned long long)(container_of(b, const struct skeleton, bdev)->latency_ns / NS_PER_US));
	emit(arg, "latency_us", text);
}

/* --- each core -------------------------------------------------------------------------------------------- */

/* A device with queues, descriptors or connections opens this core's here, and says why it cannot. */
static int skeleton_channel_open(struct bdev_channel *ch, struct err *e)
{
	struct skeleton_core *c = bdev_channel_ctx(ch);

	c->reads = 0;
	return 0;
}

static void skeleton_channel_close(struct bdev_channel *ch)
{
	/* What channel_open() opened would be closed here. No I/O is left. */
}

/* Every 8-byte word of a block is its number. */
static void fill(const struct skeleton *s, struct bdev_io *io)
{
	struct iov_cursor to = iov_cursor_over(io->iovs, io->iov_count);

	for (uint64_t i = 0; i < io->count; i++) {
		uint64_t number = io->lba + i;

		for (uint32_t at = 0; at < s->bdev.block_size; at += sizeof(number))
			iov_copy_in(&to, &number, sizeof(number));
	}
}

static void time_is_up(struct timer *t);

/* Start one I/O: a READ, the only operation we named. It is ours until bdev_io_done(), exactly once. */
static void skeleton_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct skeleton *s = container_of(bdev_channel_bdev(ch), struct skeleton, bdev);
	struct skeleton_core *c = bdev_channel_ctx(ch);
	struct skeleton_io *ctx = io->device_ctx;

	c->reads++;
	if (!s->latency_ns) {
		fill(s, io);
		bdev_io_done(io, BDEV_ST_OK); /* at once: its done function runs later in this pass all the same */
		return;
	}
	*ctx = (struct skeleton_io){ .io = io }; /* contents are what the last user left */
	timer_start(&ctx->timer, s->latency_ns, time_is_up);
}

/* Later, on the same core. A device with media looks at the lease once more here, at the last point before it. */
static void time_is_up(struct timer *t)
{
	struct skeleton_io *ctx = container_of(t, struct skeleton_io, timer);
	struct bdev_io *io = ctx->io;

	if (!bdev_io_may_land(io)) {
		bdev_io_done(io, BDEV_ST_FENCED);
		return;
	}
	fill(container_of(bdev_channel_bdev(io->ch), struct skeleton, bdev), io);
	bdev_io_done(io, BDEV_ST_OK);
}

/* Somebody wants it to end. It still ends through bdev_io_done(), once; who cannot stop it leaves this out. */
static bool skeleton_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct skeleton_io *ctx = io->device_ctx;

	timer_stop(&ctx->timer);
	bdev_io_done(io, BDEV_ST_ABORTED);
	return true;
}
