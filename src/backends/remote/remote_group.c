/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_group.c: groups: what SPDK calls a controller's name; what cores see of one; and how one goes.
 *
 * Cores see a group through its view, an immutable version. Changes that come together make one view. Memory that a
 * view names (a path, a disk) goes only when no core can see that view any more.
 */
#include "backends/remote/remote_ctl.h"

#include <stdio.h>

#include "core/log.h"

/* How long I/O that is under way may take to end in peace when a group is detached. */
#define LEAVE_PEACE_NS NS_PER_S
#define LET_GO_AT_ONCE 8u               /* disks in one pass */

static void publish_now(struct defer *d);
static void published(struct version_publish *p);
static void view_free(struct version *v);
static void let_go_some(struct timer *t);
static void end_paths(struct timer *t);
static void free_later(struct msg *m);

struct remote_group *remote_group_find(struct remote *r, const char *name)
{
	list_each(l, &r->groups) {
		struct remote_group *g = list_entry(l, struct remote_group, link);

		if (strcmp(g->name, name) == 0)
			return g;
	}
	return NULL;
}

struct remote_group *remote_group_make(struct remote *r, const char *name, const char *subnqn)
{
	struct remote_group *g = base_zalloc(sizeof(*g));

	g->remote = r;
	g->number = ++r->last_group;
	snprintf(g->name, sizeof(g->name), "%s", name);
	snprintf(g->subnqn, sizeof(g->subnqn), "%s", subnqn);
	list_init(&g->disks);
	list_init(&g->wishes);
	list_init(&g->published);
	list_init(&g->published_now);
	list_init(&g->leavers);
	version_slot_init(&g->views, r->core);
	g->views.enter = remote_view_enter;
	g->views.free = view_free;
	g->policy = (uint8_t)r->opts.policy;
	g->selector = (uint8_t)r->opts.selector;
	g->rr_min_io = r->opts.rr_min_io;
	g->cores = base_zalloc_aligned(CACHE_LINE, remote_core_count(r) * sizeof(*g->cores));
	for (uint32_t i = 0; i < remote_core_count(r); i++)
		g->cores[i].group = g;
	remote_group_cores_init(g);
	list_add_tail(&r->groups, &g->link);
	return g;
}

struct remote_wish *remote_wish_find(const struct remote_group *g, uint32_t nsid)
{
	list_each(l, &g->wishes) {
		struct remote_wish *w = list_entry(l, struct remote_wish, link);

		if (w->nsid == nsid)
			return w;
	}
	return NULL;
}

struct remote_wish *remote_wish_for(struct remote_group *g, uint32_t nsid)
{
	struct remote_wish *w = remote_wish_find(g, nsid);

	if (!w) {
		w = base_zalloc(sizeof(*w));
		w->nsid = nsid;
		w->preferred = REMOTE_NO_PATH;
		list_add_tail(&g->wishes, &w->link);
	}
	return w;
}

uint32_t remote_group_path_count(const struct remote_group *g)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		count += g->paths[i] && !remote_path_going(g->paths[i]);
	return count;
}

const char *remote_policy_name(uint8_t policy)
{
	return policy == REMOTE_ACTIVE_ACTIVE ? "active_active" : "active_passive";
}

const char *remote_selector_name(uint8_t selector)
{
	static const char *const names[] = { [REMOTE_ROUND_ROBIN] = "round_robin", [REMOTE_QUEUE_DEPTH] = "queue_depth",
	                                     [REMOTE_LATENCY] = "latency" };

	return names[selector];
}

/* --- the view ------------------------------------------------------------------------------------------------ */

/* A path that may still come, for a disk that it has or may have. */
static bool hopeless(const struct remote_group *g)
{
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i] && remote_path_may_come(g->paths[i]))
			return false;
	return true;
}

static bool reached_now(const struct remote_group *g, const struct remote_disk *d)
{
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i] && g->paths[i]->state == REMOTE_PATH_UP && d->ns[i].present &&
		    d->ns[i].access >= REMOTE_ACCESS_NON_OPTIMIZED)
			return true;
	return false;
}

/* The longest that one of its paths lets I/O wait; 0: for ever. */
static uint64_t patience_ns(const struct remote_group *g)
{
	uint64_t longest_ns = 0;

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		if (!g->paths[i])
			continue;
		if (!g->paths[i]->opts.fast_io_fail_timeout_sec)
			return 0;
		longest_ns = max_u64(longest_ns, g->paths[i]->opts.fast_io_fail_timeout_sec * NS_PER_S);
	}
	return longest_ns;
}

static void unreached_too_long(struct timer *t)
{
	struct remote_disk *d = container_of(t, struct remote_disk, reach);

	d->hopeless = true;
	log_notice("remote: %s: no path reaches it for %llu s: its I/O fails instead of waiting", d->bdev.name,
	           (unsigned long long)((reactor_now_ns() - d->lost_ns) / NS_PER_S));
	remote_group_changed(d->group);
}

/* A namespace may be out of reach although its controllers are there: that is not waited for without end either. */
static void look_at_reach(struct remote_group *g, struct remote_disk *d)
{
	uint64_t patience = patience_ns(g), now;

	if (reached_now(g, d)) {
		timer_stop(&d->reach);
		d->lost_ns = 0;
		d->hopeless = false;
		return;
	}
	now = reactor_now_ns();
	d->lost_ns = d->lost_ns ? d->lost_ns : now;
	if (!patience)
		timer_stop(&d->reach);
	else if (!d->hopeless && !timer_is_running(&d->reach)) /* the path that waits for ever may have gone since */
		timer_start(&d->reach, d->lost_ns + patience > now ? d->lost_ns + patience - now : 0, unreached_too_long);
}

static void view_disk(struct remote_view_disk *vd, struct remote_disk *d, bool none_may_come)
{
	look_at_reach(d->group, d);
	*vd = (struct remote_view_disk){ .disk = d, .policy = d->policy, .selector = d->selector,
	                                 .preferred = d->preferred, .rr_min_io = d->rr_min_io,
	                                 .hopeless = none_may_come || d->hopeless };
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		vd->access[i] = d->ns[i].present ? d->ns[i].access : REMOTE_ACCESS_NONE;
}

static struct remote_view *view_make(struct remote_group *g)
{
	struct remote_view *v = base_zalloc_aligned(CACHE_LINE,
		align_up(sizeof(*v) + g->disk_slots * sizeof(v->disks[0]), CACHE_LINE));
	bool none_may_come = hopeless(g);

	v->group = g;
	v->disk_count = g->disk_slots;
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		struct remote_path *p = g->paths[i];

		if (!p || p->ctl->freeing)
			continue;
		v->paths[i] = p;
		v->up[i] = p->state == REMOTE_PATH_UP;
	}
	list_each(l, &g->disks) {
		struct remote_disk *d = list_entry(l, struct remote_disk, link);

		if (!d->gone)
			view_disk(&v->disks[d->index], d, none_may_come);
	}
	return v;
}

void remote_group_changed(struct remote_group *g)
{
	g->dirty = true;
	if (!g->publishing)
		defer_run(&g->publish_later, publish_now);
}

static void publish_now(struct defer *d)
{
	struct remote_group *g = container_of(d, struct remote_group, publish_later);
	struct version *v = NULL;

	if (g->publishing || !g->dirty)
		return;
	g->dirty = false;
	g->publishing = true;
	list_splice(&g->published_now, &g->published);
	if (!g->ending) {
		v = &view_make(g)->version;
		g->views_alive++;
	}
	version_publish(&g->views, &g->publish, v, published);
	if (v)
		remote_view_enter(v, core_reactor_count(g->remote->core));
}

static void published(struct version_publish *p)
{
	struct remote_group *g = container_of(p, struct remote_group, publish);
	struct list done, *l;

	g->publishing = false;
	list_init(&done);
	list_splice(&done, &g->published_now);
	if (g->dirty)
		defer_run(&g->publish_later, publish_now);
	if (g->ending && !g->dirty)
		remote_group_look(g);
	while ((l = list_pop(&done))) {
		struct remote_wait *w = list_entry(l, struct remote_wait, link);

		w->done(w);
	}
}

void remote_group_when_published(struct remote_group *g, struct remote_wait *w)
{
	list_add_tail(&g->published, &w->link);
	remote_group_changed(g);
}

static void view_free(struct version *v)
{
	struct remote_view *view = container_of(v, struct remote_view, version);
	struct remote_group *g = view->group;

	free(view);
	g->views_alive--;
	if (g->ending)
		remote_group_look(g);
}

/* --- going ----------------------------------------------------------------------------------------------------- */

void remote_group_leave(struct remote_group *g, struct remote_wait *w)
{
	if (w)
		list_add_tail(&g->leavers, &w->link);
	if (g->leaving)
		return;
	g->leaving = true;
	let_go_some(&g->letting_go);
	timer_start(&g->peace, list_empty(&g->disks) ? 0 : LEAVE_PEACE_NS, end_paths);
}

/* There may be thousands: a few in a pass. */
static void let_go_some(struct timer *t)
{
	struct remote_group *g = container_of(t, struct remote_group, letting_go);
	uint32_t left = LET_GO_AT_ONCE;

	list_each_safe(l, &g->disks) {
		struct remote_disk *d = list_entry(l, struct remote_disk, link);

		if (d->going)
			continue;
		if (!left--) {
			timer_start(&g->letting_go, 0, let_go_some);
			return;
		}
		remote_disk_unregister(d);
	}
}

static void end_paths(struct timer *t)
{
	struct remote_group *g = container_of(t, struct remote_group, peace);

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		if (!g->paths[i])
			continue;
		remote_path_leave(g->paths[i], NULL);
		remote_path_look(g->paths[i]); /* nothing of it is in limbo any more */
	}
	remote_group_look(g);
}

static bool has_paths(const struct remote_group *g)
{
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i])
			return true;
	return false;
}

/* In steps: the disks, the paths, the last view, the memory. A group whose last path went goes itself. */
void remote_group_look(struct remote_group *g)
{
	if (!has_paths(g) && !g->leaving)
		remote_group_leave(g, NULL);
	if (!g->leaving || !list_empty(&g->disks))
		return;
	if (has_paths(g)) {
		if (timer_is_running(&g->peace))
			timer_start(&g->peace, 0, end_paths);
		return;
	}
	if (!g->ending) {
		g->ending = true;
		remote_group_changed(g);
		return;
	}
	if (g->dirty || g->publishing || g->views_alive || g->freed)
		return;
	g->freed = true;
	msg_send(reactor_self(), &g->freed_msg, free_later);
}

static void free_later(struct msg *m)
{
	struct remote_group *g = container_of(m, struct remote_group, freed_msg);
	struct remote *r = g->remote;
	bool forgotten = g->forgotten;
	struct list leavers, *l;

	timer_stop(&g->peace);
	timer_stop(&g->letting_go);
	defer_cancel(&g->publish_later);
	remote_group_cores_fini(g);
	list_init(&leavers);
	list_splice(&leavers, &g->leavers);
	list_del(&g->link);
	log_info("remote: %s is detached", g->name);
	while ((l = list_pop(&g->wishes)))
		free(list_entry(l, struct remote_wish, link));
	free(g->by_nsid);
	free(g->index_used);
	free(g->cores);
	free(g);
	while ((l = list_pop(&leavers))) {
		struct remote_wait *w = list_entry(l, struct remote_wait, link);

		w->done(w);
	}
	if (forgotten)
		remote_forgot(r); /* its disks' exports are gone as well */
	remote_look_stopped(r);
}
