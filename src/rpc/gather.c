/* SPDX-License-Identifier: BSD-3-Clause */
/* gather.c: what only a reactor itself can tell, from all of them, for one answer. */
#include <stdio.h>
#include <unistd.h>

#include "core/look.h"
#include "rpc/core_rpc.h"

struct gathering {
	struct each each;
	struct rpc_core_methods *m;
	struct rpc_call *call;
	gather_fn *make;
	struct gathered of[CORE_THREADS_MAX];
};

static void gather_on_core(struct each *e);
static void gather_self(struct gathered *g);
static void visit_poller(const struct poller *p, void *arg);
static void visit_source(const struct source *s, void *arg);
static void visit_looker(const struct looker *l, void *arg);
static void gather_done(struct each *e);

void gather(struct rpc_core_methods *m, struct rpc_call *call, gather_fn *make)
{
	struct gathering *g = base_zalloc(sizeof(*g));

	g->m = m;
	g->call = call;
	g->make = make;
	each_core(&g->each, rpc_core(m->rpc), gather_on_core, gather_done);
}

static void gather_on_core(struct each *e)
{
	gather_self(&container_of(e, struct gathering, each)->of[reactor_index(reactor_self())]);
}

static void gather_self(struct gathered *g)
{
	uint32_t cpus[CORE_PINS_MAX];

	g->reactor = reactor_self();
	g->thread_id = (uint64_t)gettid();
	reactor_get_stats(g->reactor, &g->stats);
	g->mask = core_cpus_mask(cpus, reactor_pins(cpus));
	reactor_visit_pollers(visit_poller, g);
	reactor_visit_sources(visit_source, g);
	reactor_visit_lookers(visit_looker, g);
}

static struct gathered_item *append(struct gathered_item **items, size_t *count)
{
	*items = reallocarray(*items, *count + 1, sizeof(**items));
	must(*items);
	memset(&(*items)[*count], 0, sizeof(**items));
	return &(*items)[(*count)++];
}

static void visit_poller(const struct poller *p, void *arg)
{
	struct gathered *g = arg;

	*append(&g->pollers, &g->poller_count) =
		(struct gathered_item){ .name = p->name, .count = 1, .runs = p->runs, .busy_runs = p->busy_runs };
}

static struct gathered_item *find_or_append(struct gathered_item **items, size_t *count, const char *name)
{
	struct gathered_item *item;

	for (size_t i = 0; i < *count; i++)
		if (strcmp((*items)[i].name, name) == 0)
			return &(*items)[i];
	item = append(items, count);
	item->name = name;
	return item;
}

static void visit_source(const struct source *s, void *arg)
{
	struct gathered *g = arg;

	find_or_append(&g->sources, &g->source_count, s->name)->count++;
}

static void visit_looker(const struct looker *l, void *arg)
{
	struct gathered *g = arg;
	struct gathered_item *item = find_or_append(&g->lookers, &g->looker_count, l->name);

	item->count++;
	item->runs += l->looks;
	item->busy_runs += l->busy_looks;
	item->armed += l->armed;
	item->arms += l->arms;
	item->rings += l->rings;
}

static void gather_done(struct each *e)
{
	struct gathering *g = container_of(e, struct gathering, each);
	uint32_t count = core_reactor_count(rpc_core(g->m->rpc)) + 1;

	gather_self(&g->of[count - 1]); /* the control reactor: here */
	rpc_reply(g->call, g->make(g->m, g->of, count));
	for (uint32_t i = 0; i < count; i++) {
		free(g->of[i].mask);
		free(g->of[i].pollers);
		free(g->of[i].sources);
		free(g->of[i].lookers);
	}
	free(g);
}

const char *gathered_name(const struct gathered *g, char buf[static 32])
{
	if (reactor_is_control(g->reactor))
		return "control";
	snprintf(buf, 32, "reactor_%u", reactor_index(g->reactor));
	return buf;
}
