/* SPDX-License-Identifier: BSD-3-Clause */
/* sched_plan.c: which things move where.
 *
 * First off saturated cores; only when none is, near-idle ones are emptied. An item's load is its share of its core's,
 * by work. What a plan moves it takes into account at once, so that two cores do not both fill a third.
 */
#include "core/sched_plan.h"

#define OVER_ROUNDS 2u                     /* a core is saturated for so many periods before anything leaves it */
#define GAIN (SCHED_LOAD_ALL / 20)         /* a move shall gain at least as much */
#define ACTIVE (SCHED_LOAD_ALL / 100)      /* what loads a core less does not matter when it is saturated */

struct plan {
	const struct sched_view *v;
	struct sched_order *orders;
	uint32_t count;
};

static void relieve(struct plan *p, uint32_t from);
static void empty(struct plan *p, uint32_t from);

void sched_core_add(struct sched_core *c, const struct sched_item *item)
{
	uint32_t least = 0;

	c->all++;
	c->work += item->work;
	if (c->count < SCHED_ITEMS_MAX) {
		c->items[c->count++] = *item;
		return;
	}
	for (uint32_t i = 1; i < c->count; i++)
		if (c->items[i].work < c->items[least].work)
			least = i;
	if (c->items[least].work < item->work)
		c->items[least] = *item;
}

uint32_t sched_plan(const struct sched_view *v, struct sched_order *ret_orders)
{
	struct plan p = { .v = v, .orders = ret_orders };
	bool saturated = false;

	for (uint32_t i = 0; i < v->count; i++) {
		if (v->isolated >> i & 1 || v->cores[i].load < v->opts->core_busy * 100)
			continue;
		saturated = true;
		if (v->cores[i].over >= OVER_ROUNDS)
			relieve(&p, i);
	}
	for (uint32_t i = v->count; !saturated && i-- > 0;)
		if (i != v->first && !(v->isolated >> i & 1) && v->cores[i].load < v->opts->load_limit * 100)
			empty(&p, i);
	return p.count;
}

/* Its share of what its core does. */
static uint32_t load_of(const struct sched_core *c, const struct sched_item *item)
{
	return c->work ? (uint32_t)((double)item->work / (double)c->work * c->load) : 0;
}

static void order(struct plan *p, uint32_t from, uint32_t index, uint32_t to)
{
	struct sched_core *f = &p->v->cores[from], *t = &p->v->cores[to];
	struct sched_item item = f->items[index];
	uint32_t load = load_of(f, &item);

	p->orders[p->count++] = (struct sched_order){ .mover = item.mover, .id = item.id, .from = from, .to = to };
	f->items[index] = f->items[--f->count];
	f->work -= item.work;
	f->load -= load;
	f->all--;
	t->load += load;
	t->all++;
}

/* --- off a saturated core --- */

static uint32_t least_loaded(const struct sched_view *v, uint32_t from, uint64_t allowed)
{
	uint32_t best = from;

	for (uint32_t i = 0; i < v->count; i++)
		if (i != from && !(v->isolated >> i & 1) && allowed >> i & 1 &&
		    (best == from || v->cores[i].load < v->cores[best].load))
			best = i;
	return best;
}

static uint32_t active_items(const struct sched_core *c)
{
	uint32_t active = 0;

	for (uint32_t i = 0; i < c->count; i++)
		active += load_of(c, &c->items[i]) >= ACTIVE;
	return active;
}

/* The largest that fits somewhere and leaves both cores better off than this one was. */
static bool relieve_once(struct plan *p, uint32_t from)
{
	const struct sched_view *v = p->v;
	struct sched_core *f = &v->cores[from];
	uint32_t best = UINT32_MAX, best_load = 0, best_to = 0;

	for (uint32_t i = 0; i < f->count; i++) {
		uint32_t load = load_of(f, &f->items[i]), to = least_loaded(v, from, f->items[i].allowed);

		if (f->items[i].fixed || load < ACTIVE || load <= best_load || to == from)
			continue;
		if (v->cores[to].load + load > v->opts->core_limit * 100 || v->cores[to].load + load + GAIN > f->load)
			continue;
		best = i;
		best_load = load;
		best_to = to;
	}
	if (best == UINT32_MAX)
		return false;
	order(p, from, best, best_to);
	return true;
}

static void relieve(struct plan *p, uint32_t from)
{
	while (p->count < SCHED_MOVES_MAX && active_items(&p->v->cores[from]) > 1 && relieve_once(p, from))
		;
}

/* --- off a core that has little to do --- */

/* The first core in the order in which cores are filled that is before `from`, and has room. */
static uint32_t room_for(const struct sched_view *v, uint32_t from, uint64_t allowed, uint32_t load)
{
	const uint32_t fill = v->opts->core_limit * 100 / 2;

	if (allowed >> v->first & 1 && v->cores[v->first].load + load <= fill)
		return v->first;
	for (uint32_t i = 0; i < from; i++)
		if (i != v->first && !(v->isolated >> i & 1) && allowed >> i & 1 && v->cores[i].all &&
		    v->cores[i].load + load <= fill)
			return i;
	return from;
}

static void empty(struct plan *p, uint32_t from)
{
	struct sched_core *f = &p->v->cores[from];

	for (uint32_t i = f->count; i-- > 0 && p->count < SCHED_MOVES_MAX;) {
		uint32_t to = room_for(p->v, from, f->items[i].allowed, load_of(f, &f->items[i]));

		if (!f->items[i].fixed && to != from)
			order(p, from, i, to);
	}
}
