/* SPDX-License-Identifier: BSD-3-Clause */
/* load.c: a run from opening the disk to closing it; all of this is on the control reactor. */
#include "load/load.h"

#include <errno.h>
#include <stdio.h>

static int open_disk(struct load *l, struct bdev_registry *reg, struct err *e);
static int check(struct load *l, struct err *e);
static void make_workers(struct load *l);
static void disk_changed(struct bdev_desc *desc, enum bdev_event event, void *arg);

int load_start(struct load *l, struct bdev_registry *reg, const struct load_opts *opts, void (*done)(struct load *l),
               struct err *e)
{
	l->core = bdev_registry_core(reg);
	l->opts = *opts;
	l->done = done;
	snprintf(l->name, sizeof(l->name), "%s", opts->name);
	if (!l->opts.reactors)
		l->opts.reactors = UINT64_MAX;
	for (uint32_t i = 0; i < core_reactor_count(l->core); i++)
		l->worker_count += l->opts.reactors >> i & 1;
	if (!l->worker_count)
		return err_set(e, -EINVAL, "cores: this daemon has no reactor on any of them; gantry status lists them");
	if (open_disk(l, reg, e))
		return e->code;
	if (check(l, e)) {
		bdev_close(l->desc);
		return e->code;
	}
	make_workers(l);
	l->workers_left = l->worker_count;
	for (uint32_t i = 0; i < l->worker_count; i++)
		msg_send(l->workers[i].reactor, &l->workers[i].msg, load_worker_begin);
	return 0;
}

static int open_disk(struct load *l, struct bdev_registry *reg, struct err *e)
{
	bool writes = l->opts.read_percent < 100 || l->opts.verify;

	l->desc = bdev_open(reg, l->name, writes, "a load of bdev_perf_start", disk_changed, l, e);
	if (!l->desc)
		return e->code;
	if (writes && bdev_claim(l->desc, e)) {
		bdev_close(l->desc);
		return e->code;
	}
	if (bdev_plain(l->desc, e)) { /* metadata are not this load's: made and checked, as for hosts that know of none */
		bdev_close(l->desc);
		return e->code;
	}
	bdev_get_info(l->desc, &l->info);
	return 0;
}

static int check(struct load *l, struct err *e)
{
	const struct load_opts *o = &l->opts;
	uint64_t tasks = (uint64_t)o->depth * l->worker_count;

	if (o->io_bytes % l->info.block_size)
		return err_set(e, -EINVAL, "io_size: %u: %s has blocks of %u bytes", o->io_bytes, l->name, l->info.block_size);
	if (l->info.read_only && o->read_percent < 100)
		return err_set(e, -EROFS, "rw: %s is read only; use read or randread", l->name);
	if (tasks * o->io_bytes > LOAD_MEMORY_MAX)
		return err_set(e, -ENOMEM, "qd: %u I/Os of %u bytes on %u reactors need %llu MiB of memory; at most %llu are "
		               "used", o->depth, o->io_bytes, l->worker_count,
		               (unsigned long long)(tasks * o->io_bytes / MIB), LOAD_MEMORY_MAX / MIB);
	l->io_blocks = o->io_bytes / l->info.block_size;
	l->slots = l->info.block_count / l->io_blocks;
	if (l->slots < (o->verify ? tasks : 1))
		return err_set(e, -EINVAL, "name: %s is too small for this load", l->name);
	return 0;
}

static void make_workers(struct load *l)
{
	l->workers = base_zalloc(l->worker_count * sizeof(*l->workers));
	for (uint32_t i = 0, n = 0; n < l->worker_count; i++) {
		struct load_worker *w = &l->workers[n];

		if (!(l->opts.reactors >> i & 1))
			continue;
		w->load = l;
		w->reactor = core_reactor(l->core, i);
		w->share = n++;
		w->random_state = l->opts.seed * 1000003 + i;
		w->next_slot = w->share * (l->slots / l->worker_count);
	}
}

void load_worker_finished(struct msg *m)
{
	struct load_worker *w = container_of(m, struct load_worker, msg);
	struct load *l = w->load;

	if (w->err.code)
		load_stop(l, &w->err);
	if (--l->workers_left)
		return;
	bdev_close(l->desc);
	l->done(l);
}

static void disk_changed(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	struct load *l = arg;
	struct err e = { 0 };

	(void)desc;
	if (event == BDEV_EVENT_REMOVE) {
		err_set(&e, -ENODEV, "%s was removed", l->name);
		load_stop(l, &e);
	} else if (bdev_block_count(l->desc) < l->slots * l->io_blocks) {
		err_set(&e, -ENOSPC, "%s became smaller", l->name);
		load_stop(l, &e);
	}
}

void load_stop(struct load *l, const struct err *why)
{
	err_set(&l->err, why->code, "%s", why->text);
	atomic_store_explicit(&l->stopping, true, memory_order_relaxed);
}

void load_fini(struct load *l)
{
	for (uint32_t i = 0; i < l->worker_count && l->workers; i++)
		load_worker_fini(&l->workers[i]);
	free(l->workers);
}
