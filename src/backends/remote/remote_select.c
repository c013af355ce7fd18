/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_select.c: which path an I/O takes.
 *
 * The choice is kept in channel->lane as long as it cannot be another one: with active_passive, or when there is only
 * one path to choose from. Whatever may change that (a view, a lane that opens or ends, a refusal) clears it.
 */
#include "backends/remote/remote_core.h"

#define PROBE_EVERY 64u         /* choices: then the one that was not used for longest, to learn its latency */

struct choice {
	const struct remote_view *view;
	const struct remote_view_disk *disk;
	uint8_t best;                   /* enum remote_access */
	uint16_t usable;                /* bits of paths with the best access (active_passive: of all) */
};

static struct remote_lane *lane_of(const struct remote_channel *c, const struct remote_view *v, uint32_t path)
{
	return &v->paths[path]->lanes[c->core - v->group->cores];
}

const struct remote_view_disk *remote_view_disk_of(const struct remote_channel *c)
{
	const struct remote_view *v = c->core->view;
	const struct remote_view_disk *vd;

	if (!v || c->disk->index >= v->disk_count)
		return NULL;
	vd = &v->disks[c->disk->index];
	return vd->disk == c->disk ? vd : NULL;
}

static bool is_usable(struct remote_channel *c, const struct choice *x, uint32_t path)
{
	struct remote_lane *l;

	if (!x->view->paths[path] || !x->view->up[path] || x->disk->access[path] < REMOTE_ACCESS_NON_OPTIMIZED)
		return false;
	l = lane_of(c, x->view, path);
	remote_lane_want(l);
	return remote_lane_usable(l) && !(c->avoid & 1u << path);
}

static bool look(struct remote_channel *c, struct choice *x)
{
	uint16_t all = 0, best = 0;

	*x = (struct choice){ .view = c->core->view, .disk = remote_view_disk_of(c) };
	if (!x->disk)
		return false;
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		uint8_t access = x->disk->access[i];

		if (!is_usable(c, x, i))
			continue;
		all |= (uint16_t)(1u << i);
		if (access > x->best)
			best = 0;
		x->best = access > x->best ? access : x->best;
		if (access == x->best)
			best |= (uint16_t)(1u << i);
	}
	x->usable = x->disk->policy == REMOTE_ACTIVE_PASSIVE ? all : best;
	return x->usable;
}

/* The preferred one, then the best; the one in use stays if it is as good, or if nobody wants it to go back. */
static uint32_t active_passive(const struct remote_channel *c, const struct choice *x)
{
	uint32_t found = REMOTE_NO_PATH, current = c->current;
	bool stays = current < REMOTE_PATHS_MAX && x->usable & 1u << current;

	if (stays && c->disk->group->remote->opts.disable_auto_failback)
		return current;
	if (x->disk->preferred < REMOTE_PATHS_MAX && x->usable & 1u << x->disk->preferred)
		return x->disk->preferred;
	if (stays && x->disk->access[current] == x->best)
		return current;
	for (uint32_t i = 0; i < REMOTE_PATHS_MAX && found == REMOTE_NO_PATH; i++)
		if (x->usable & 1u << i && x->disk->access[i] == x->best)
			found = i;
	return found;
}

static uint32_t round_robin(struct remote_channel *c, const struct choice *x)
{
	uint32_t i = c->current < REMOTE_PATHS_MAX ? c->current : REMOTE_PATHS_MAX - 1;

	if (c->turns && x->usable & 1u << i) {
		c->turns--;
		return i;
	}
	c->turns = max_u32(1, x->disk->rr_min_io) - 1;
	do
		i = (i + 1) % REMOTE_PATHS_MAX;
	while (!(x->usable & 1u << i));
	return i;
}

static uint32_t queue_depth(const struct remote_channel *c, const struct choice *x)
{
	uint32_t found = REMOTE_NO_PATH;
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		uint64_t depth;

		if (!(x->usable & 1u << i))
			continue;
		depth = remote_count_get(&lane_of(c, x->view, i)->outstanding);
		if (depth < least) {
			least = depth;
			found = i;
		}
	}
	return found;
}

/* The one that will probably answer first. Now and then the one that was not asked for longest, which may have become
 * better meanwhile; one that was never asked has a latency of nothing, and comes first. */
static uint32_t latency(struct remote_channel *c, const struct choice *x)
{
	uint32_t found = REMOTE_NO_PATH, stale = REMOTE_NO_PATH;
	uint64_t least = UINT64_MAX, oldest = UINT64_MAX;

	for (uint32_t i = 0; i < REMOTE_PATHS_MAX; i++) {
		const struct remote_lane *l;
		uint64_t cost;

		if (!(x->usable & 1u << i))
			continue;
		l = lane_of(c, x->view, i);
		cost = l->latency_ns * (remote_count_get(&l->outstanding) + 1);
		if (cost < least) {
			least = cost;
			found = i;
		}
		if (l->chosen_ns < oldest) {
			oldest = l->chosen_ns;
			stale = i;
		}
	}
	if (++c->turns % PROBE_EVERY == 0)
		found = stale;
	lane_of(c, x->view, found)->chosen_ns = reactor_now_ns();
	return found;
}

static uint32_t active_active(struct remote_channel *c, const struct choice *x)
{
	switch ((enum remote_selector)x->disk->selector) {
	case REMOTE_QUEUE_DEPTH: return queue_depth(c, x);
	case REMOTE_LATENCY: return latency(c, x);
	case REMOTE_ROUND_ROBIN: break;
	}
	return round_robin(c, x);
}

struct remote_lane *remote_choose(struct remote_channel *c)
{
	struct remote_lane *l;
	struct choice x;
	uint32_t path;
	bool passive;

	c->lane = NULL;
	if (!look(c, &x))
		return NULL;
	passive = x.disk->policy == REMOTE_ACTIVE_PASSIVE;
	path = passive ? active_passive(c, &x) : active_active(c, &x);
	assert(path < REMOTE_PATHS_MAX && x.usable & 1u << path);
	c->current = (uint8_t)path;
	c->latency = !passive && x.disk->selector == REMOTE_LATENCY;
	l = lane_of(c, x.view, path);
	if (passive || (x.usable & (x.usable - 1)) == 0)
		c->lane = l;
	return l;
}
