/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_disk_test.h: a device for tests that remembers what it was asked, can keep I/Os until told to go on, and can
 * fail the n-th. Its media is one array; each I/O lands in one go under a lock, when it is let go.
 */
#ifndef BDEV_FAKE_DISK_TEST_H
#define BDEV_FAKE_DISK_TEST_H

#include <pthread.h>
#include <stdio.h>

#include "bdev/bdev_device.h"
#include "bdev/iov.h"

#define FAKE_BLOCKS 4096u
#define FAKE_LOG 8192u

struct fake_disk {
	struct bdev bdev;
	char *media;                         /* block_size + md_size bytes a block */
	_Atomic bool holding;                /* keep what comes */
	uint32_t cuts;                       /* have larger ones cut to so many blocks, as far as that can be; 0: none */
	_Atomic uint32_t fail_at, seen;      /* the fail_at-th I/O ends with MEDIA_ERROR; from 1 */
	_Atomic uint32_t gone_at;            /* and this one with GONE */
	_Atomic uint32_t held;
	pthread_mutex_t lock;
	struct { uint8_t op; uint16_t flags; uint64_t lba, count; } log[FAKE_LOG];
	uint32_t logged;
	bool destroyed;
};

struct fake_core {
	struct queue kept;
};

static inline void fake_land(struct fake_disk *f, struct bdev_io *io)
{
	struct iov_cursor c = iov_cursor_over(io->iovs, io->iov_count);
	struct iov_cursor md = iov_cursor_over(io->md_iovs, io->md_iov_count);
	size_t bs = f->bdev.block_size, all = bs + f->bdev.md_size;
	size_t n = f->bdev.md_interleaved ? all : bs, md_n = all - n;

	pthread_mutex_lock(&f->lock);
	for (uint64_t i = 0; i < io->count; i++) {
		char *at = f->media + (io->lba + i) * all;

		if (io->op == BDEV_READ)
			iov_copy_in(&c, at, n);
		else if (io->op == BDEV_WRITE)
			iov_copy_out(at, &c, n);
		if (io->op == BDEV_READ && io->md_iovs)
			iov_copy_in(&md, at + n, md_n);
		else if (io->op == BDEV_WRITE && io->md_iovs)
			iov_copy_out(at + n, &md, md_n);
		if (io->op == BDEV_UNMAP)
			memset(at, 0, all);
	}
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_go_on(struct fake_disk *f, struct bdev_io *io)
{
	uint32_t number = atomic_fetch_add(&f->seen, 1) + 1;

	if (number == atomic_load(&f->fail_at) || number == atomic_load(&f->gone_at)) {
		bdev_io_done(io, number == atomic_load(&f->fail_at) ? BDEV_ST_MEDIA_ERROR : BDEV_ST_GONE);
		return;
	}
	if (!bdev_io_may_land(io)) {
		bdev_io_done(io, BDEV_ST_FENCED);
		return;
	}
	if (io->op == BDEV_READ && io->flags & BDEV_IO_LEND) {
		size_t block = f->bdev.block_size + (f->bdev.md_interleaved ? f->bdev.md_size : 0);

		io->iovs[0] = (struct iovec){ .iov_base = f->media + io->lba * block, .iov_len = io->count * block };
		io->iov_count = 1;
		io->lent = true;
	} else {
		fake_land(f, io);
	}
	bdev_io_done(io, BDEV_ST_OK);
}

static void fake_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct fake_disk *f = container_of(bdev_channel_bdev(ch), struct fake_disk, bdev);
	struct fake_core *c = bdev_channel_ctx(ch);

	pthread_mutex_lock(&f->lock);
	if (f->logged < FAKE_LOG) {
		f->log[f->logged].op = io->op;
		f->log[f->logged].flags = io->flags;
		f->log[f->logged].lba = io->lba;
		f->log[f->logged++].count = io->count;
	}
	pthread_mutex_unlock(&f->lock);
	if (f->cuts && io->count > f->cuts && bdev_io_cut(io, f->cuts))
		return;
	if (atomic_load(&f->holding)) {
		queue_push(&c->kept, &io->link);
		atomic_fetch_add(&f->held, 1);
	} else {
		fake_go_on(f, io);
	}
}

/* On a core: let go what it keeps. `arg` is any channel of that core. */
static inline void fake_let_go(void *arg)
{
	struct bdev_channel *ch = arg;
	struct fake_disk *f = container_of(bdev_channel_bdev(ch), struct fake_disk, bdev);
	struct fake_core *c = bdev_channel_ctx(ch);
	struct queue_link *l = queue_take_all(&c->kept);

	while (l) {
		struct bdev_io *io = container_of(l, struct bdev_io, link);

		l = l->next;
		atomic_fetch_sub(&f->held, 1);
		fake_go_on(f, io);
	}
}

static int fake_channel_open(struct bdev_channel *ch, struct err *e)
{
	queue_init(&((struct fake_core *)bdev_channel_ctx(ch))->kept);
	return 0;
}

static void fake_release(struct bdev *b, const struct iovec *iovs, uint32_t count) {}

static void fake_destroy(struct bdev *b)
{
	struct fake_disk *f = container_of(b, struct fake_disk, bdev);

	f->destroyed = true;
	bdev_destroyed(b);
}

static const struct bdev_ops fake_ops = {
	.channel_open = fake_channel_open, .submit = fake_submit, .release = fake_release, .destroy = fake_destroy,
};

/* READ and WRITE only, 512-byte blocks; change f->bdev before registering. */
static inline void fake_init(struct fake_disk *f, const char *name)
{
	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	f->bdev = (struct bdev){
		.ops = &fake_ops, .product = "Fake disk", .block_size = 512, .block_count = FAKE_BLOCKS,
		.native_ops = BDEV_BIT(READ) | BDEV_BIT(WRITE), .channel_ctx_bytes = sizeof(struct fake_core),
	};
	snprintf(f->bdev.name, sizeof(f->bdev.name), "%s", name);
	f->media = base_zalloc((size_t)FAKE_BLOCKS * 1024);
}

static inline void fake_fini(struct fake_disk *f)
{
	free(f->media);
	pthread_mutex_destroy(&f->lock);
}

#endif
