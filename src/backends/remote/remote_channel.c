/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_channel.c: disks on a core: channels that come and go, and views that change under them. */
#include "backends/remote/remote_core.h"

static void use_view(struct remote_channel *c);

void remote_group_cores_init(struct remote_group *g)
{
	for (uint32_t i = 0; i < remote_core_count(g->remote); i++) {
		g->cores[i].group = g;
		list_init(&g->cores[i].channels);
	}
}

void remote_group_cores_fini(struct remote_group *g)
{
	for (uint32_t i = 0; i < remote_core_count(g->remote); i++)
		must(list_empty(&g->cores[i].channels));
}

/* --- channels ----------------------------------------------------------------------------------------------- */

/* Kept with the disk, so that they say what was done since it came. */
static struct remote_io_stats *stats_of(struct remote_disk *d, uint32_t core_index)
{
	struct remote_io_stats *s = atomic_load_explicit(&d->stats[core_index], memory_order_relaxed);

	if (!s) {
		s = base_zalloc_aligned(CACHE_LINE, align_up(REMOTE_PATHS_MAX * sizeof(*s), CACHE_LINE));
		atomic_store_explicit(&d->stats[core_index], s, memory_order_release);
	}
	return s;
}

int remote_channel_open(struct bdev_channel *ch, struct err *e)
{
	struct remote_channel *c = bdev_channel_ctx(ch);
	struct remote_disk *d = container_of(bdev_channel_bdev(ch), struct remote_disk, bdev);
	uint32_t core_index = reactor_index(reactor_self());

	(void)e;
	c->disk = d;
	c->core = &d->group->cores[core_index];
	c->stats = stats_of(d, core_index);
	c->block_bytes = d->bdev.block_size + (d->bdev.md_interleaved ? d->bdev.md_size : 0);
	c->current = c->preferred = REMOTE_NO_PATH;
	list_init(&c->line);
	list_init(&c->later);
	list_init(&c->limbo);
	c->core->view = remote_view_of(d->group, core_index); /* not kept up to date while there was no channel */
	list_add_tail(&c->core->channels, &c->link);
	use_view(c);
	return 0;
}

void remote_channel_close(struct bdev_channel *ch)
{
	struct remote_channel *c = bdev_channel_ctx(ch);

	must(list_empty(&c->line) && list_empty(&c->later) && list_empty(&c->limbo));
	timer_stop(&c->again);
	defer_cancel(&c->line_more);
	list_del(&c->link);
}

/* --- views -------------------------------------------------------------------------------------------------- */

/* Connect where nobody on this core has yet, and look again at what waits; what is hopeless ends there. */
static void use_view(struct remote_channel *c)
{
	const struct remote_view *v = c->core->view;
	const struct remote_view_disk *vd = remote_view_disk_of(c);

	c->lane = NULL;
	c->avoid = 0;
	timer_stop(&c->again);
	for (uint32_t i = 0; v && i < REMOTE_PATHS_MAX; i++)
		if (v->paths[i])
			remote_lane_want(&v->paths[i]->lanes[c->core - v->group->cores]);
	if (!vd)
		return;
	if (vd->preferred != c->preferred) {
		c->preferred = vd->preferred;
		c->current = REMOTE_NO_PATH; /* somebody wants it to move, now */
	}
	remote_line_run(c);
}

void remote_view_enter(struct version *v, uint32_t core_index)
{
	struct remote_view *view = container_of(v, struct remote_view, version);
	struct remote_group_core *gc = &view->group->cores[core_index];

	gc->view = view;
	list_each_safe(link, &gc->channels)
		use_view(list_entry(link, struct remote_channel, link));
}

/* --- going -------------------------------------------------------------------------------------------------- */

static void end_here(struct remote_disk *d)
{
	struct remote_group_core *gc = &d->group->cores[reactor_index(reactor_self())];

	list_each_safe(link, &gc->channels) {
		struct remote_channel *c = list_entry(link, struct remote_channel, link);

		if (c->disk != d)
			continue;
		remote_waiting_end(c, BDEV_ST_GONE);
		remote_limbo_end(c, BDEV_ST_GONE);
	}
}

static void end_on_core(struct each *e)
{
	end_here(container_of(e, struct remote_disk, remove));
}

static void ended_everywhere(struct each *e)
{
	remote_disk_removed(container_of(e, struct remote_disk, remove));
}

void remote_disk_remove(struct bdev *b)
{
	struct remote_disk *d = container_of(b, struct remote_disk, bdev);

	end_here(d); /* control's own */
	each_core(&d->remove, d->group->remote->core, end_on_core, ended_everywhere);
}
