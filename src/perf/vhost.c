/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost.c: --vhost: virtio-blk disks of vhost-user servers, through the back-end that a daemon has for them. A worker
 * has one queue of each. */
#include <stdio.h>

#include "perf/perf.h"

static void attached(void *arg, struct vio_ctrlr *c, const struct err *e);
static bool take(struct perf *p, uint32_t i);

static void say(struct perf *p, const struct err *e)
{
	fprintf(stderr, "gantry-perf: %s\n", e->text);
	p->code = 1;
}

static void disk_name(char *buf, size_t len, uint32_t i) { snprintf(buf, len, "vhost%u", i); }

/* --- control: coming ------------------------------------------------------------------------------------------- */

void perf_vhost_attach(struct perf *p, void (*all)(struct perf *p))
{
	const struct perf_opts *o = &p->opts;
	char name[16];

	p->reg = bdev_registry_make(p->core);
	p->vio = vio_make(p->reg);
	p->disks_all = all;
	p->disks_coming = o->vhost_count + 1; /* and our own hold */
	for (uint32_t i = 0; i < o->vhost_count; i++) {
		disk_name(name, sizeof(name), i);
		vio_attach(p->vio, &(struct vio_opts){ .name = name, .path = o->vhosts[i], .kind = VIO_BLK,
		           .packed = o->packed, .queue_size = o->host.io_queue_size,
		           .reconnect_delay_sec = 1, .fast_io_fail_timeout_sec = o->host.io_timeout_ms / 1000 }, attached, p);
	}
	attached(p, NULL, NULL);
}

static void attached(void *arg, struct vio_ctrlr *c, const struct err *e)
{
	struct perf *p = arg;

	(void)c;
	if (e)
		say(p, e);
	if (--p->disks_coming)
		return;
	p->ns = base_zalloc((p->opts.vhost_count + 1) * sizeof(*p->ns));
	for (uint32_t i = 0; i < p->opts.vhost_count && !p->code; i++)
		p->code = take(p, i) ? 0 : 1;
	p->disks_all(p);
}

/* A disk that goes, because the process ends or its server became another device: its I/O ends and says so. */
static void event(struct bdev_desc *desc, enum bdev_event ev, void *arg)
{
	(void)desc, (void)ev, (void)arg;
}

static bool take(struct perf *p, uint32_t i)
{
	struct perf_ns *ns = &p->ns[i];
	struct err e = { 0 };
	struct bdev_info info;
	char name[16];

	disk_name(name, sizeof(name), i);
	ns->desc = bdev_open(p->reg, name, p->opts.read_percent < 100, "gantry-perf", event, NULL, &e);
	if (!ns->desc) {
		say(p, &e);
		return false;
	}
	bdev_get_info(ns->desc, &info);
	ns->info.block_size = info.block_size;
	ns->info.block_count = bdev_block_count(ns->desc);
	snprintf(ns->name, sizeof(ns->name), "%s", p->opts.vhosts[i]);
	return perf_disk_fits(p);
}

/* --- control: going -------------------------------------------------------------------------------------------- */

void perf_vhost_detach(struct perf *p, void (*done)(void *arg))
{
	for (uint32_t i = 0; p->ns && i < p->opts.vhost_count; i++)
		if (p->ns[i].desc)
			bdev_close(p->ns[i].desc);
	vio_stop(p->vio, done, p);
}

void perf_vhost_free(struct perf *p)
{
	vio_free(p->vio);
	if (p->reg)
		bdev_registry_free(p->reg);
}

/* --- a worker's ------------------------------------------------------------------------------------------------ */

static void io_done(struct bdev_io *io)
{
	enum bdev_status status = io->status;

	perf_task_done(container_of(io, struct perf_task, io), status == BDEV_ST_OK ? NULL : bdev_status_text(status));
}

void perf_vhost_submit(struct perf_task *t, struct bdev_channel *ch, uint64_t lba)
{
	t->io.op = t->is_read ? BDEV_READ : BDEV_WRITE;
	t->io.lba = lba;
	t->io.count = t->flow->ns->io_blocks;
	t->io.iovs = &t->iov;
	t->io.iov_count = 1;
	t->io.done = io_done;
	bdev_submit(ch, &t->io);
}
