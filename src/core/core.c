/* SPDX-License-Identifier: BSD-3-Clause */
/* core.c: making, running and freeing a set of reactors. */
#include <errno.h>

#include "core/look.h"
#include "core/reactor.h"
#include "core/watch.h"

static int make_reactors(struct core *core, const struct core_opts *opts, struct err *e);
static int reactor_make(struct core *core, uint32_t index, uint32_t cpu, struct err *e);
static void reactor_free(struct reactor *r);
static void start_on_core(struct msg *m);

struct core *core_make(const struct core_opts *opts, struct err *e)
{
	struct core *core = base_zalloc(sizeof(*core));

	core->opts = *opts;
	core->opts.cpus = NULL;
	if (!core->opts.memory_bytes)
		core->opts.memory_bytes = 256 * MIB;
	if (!core->opts.spin_us_max)
		core->opts.spin_us_max = 50;
	if (!core->opts.stall_ms)
		core->opts.stall_ms = 1000;
	atomic_init(&core->watch_limit_ns, WATCH_LIMIT_NS);
	atomic_init(&core->sched_period_ns, NS_PER_S);
	list_init(&core->parts);
	notify_init(core);
	if (make_reactors(core, opts, e) || mem_init(core, e)) {
		core_free(core);
		return NULL;
	}
	return core;
}

static int make_reactors(struct core *core, const struct core_opts *opts, struct err *e)
{
	uint32_t cpus[CORE_REACTORS_MAX], count = 0;
	int rc = platform_cpus(opts->cpus, cpus, &count, e);

	if (rc)
		return rc;
	core->count = count;
	core->platform = platform_make(core, opts, e);
	if (!core->platform)
		return e ? e->code : -EINVAL;
	platform_topology(opts->topology_dir, &core->topology);
	for (uint32_t i = 0; i <= count && !rc; i++) {
		core_prefer_node(core, i < count ? core_cpu_node(core, cpus[i]) : -1);
		rc = reactor_make(core, i, i < count ? cpus[i] : UINT32_MAX, e);
	}
	core_prefer_node(core, -1);
	return rc;
}

/* What is made for a reactor shall lie near its CPU, though another thread makes it. */
void core_prefer_node(struct core *core, int node)
{
	if (core->topology.nodes > 1)
		platform_prefer_node(node);
}

static int reactor_make(struct core *core, uint32_t index, uint32_t cpu, struct err *e)
{
	struct reactor *r = base_zalloc_aligned(CACHE_LINE, sizeof(*r));

	core->reactors[index] = r;
	r->core = core;
	r->index = index;
	atomic_init(&r->cpu, cpu);
	r->is_control = index == core->count;
	r->mode = r->is_control ? CORE_INTERRUPT : core->opts.mode;
	atomic_init(&r->mode_wanted, r->mode);
	atomic_init(&r->mode_asked, r->mode);
	queue_init(&r->defers);
	queue_init(&r->lasts);
	queue_init(&r->ends);
	queue_init(&r->lasts_late);
	queue_init(&r->lasts_now);
	list_init(&r->pollers);
	list_init(&r->sources);
	list_init(&r->lookers);
	list_init(&r->dozing);
	list_init(&r->armed);
	list_init(&r->parts);
	r->looker_quiet_ns = max_u64(LOOKER_QUIET_NS, 4 * core->opts.spin_us_max * NS_PER_US);
	msg_init(r);
	r->now_ns = platform_now_ns();
	r->pr = platform_reactor_make(core->platform, r, e);
	return r->pr ? 0 : -ENOMEM;
}

int core_run(struct core *core, void (*start)(void *arg), void *arg)
{
	core->start = start;
	core->start_arg = arg;
	msg_send(core_control(core), &core->start_msg, start_on_core);
	return platform_run(core->platform);
}

static void start_on_core(struct msg *m)
{
	struct core *core = container_of(m, struct core, start_msg);

	if (core->start)
		core->start(core->start_arg);
}

void core_stop(struct core *core, int code)
{
	if (core_stopping(core))
		return;
	atomic_store(&core->code, code);
	atomic_store(&core->stopping, true);
	for (uint32_t i = 0; i <= core->count; i++)
		platform_wake(core->reactors[i]->pr);
}

void core_add_part(struct core *core, struct core_part *p, const char *name)
{
	assert(!core_find_part(core, name));
	p->name = name;
	list_add_tail(&core->parts, &p->link);
}

void core_remove_part(struct core *core, struct core_part *p)
{
	list_del(&p->link);
}

struct core_part *core_find_part(const struct core *core, const char *name)
{
	list_each(l, &core->parts) {
		struct core_part *p = list_entry(l, struct core_part, link);

		if (!strcmp(p->name, name))
			return p;
	}
	return NULL;
}

void reactor_add_part(struct reactor_part *p, const char *name, reactor_part_free_fn *free_part)
{
	assert(!reactor_find_part(name));
	p->name = name;
	p->free = free_part;
	list_add_tail(&reactor_current->parts, &p->link);
}

struct reactor_part *reactor_find_part(const char *name)
{
	list_each(l, &reactor_current->parts) {
		struct reactor_part *p = list_entry(l, struct reactor_part, link);

		if (p->name == name || !strcmp(p->name, name))
			return p;
	}
	return NULL;
}

void core_free(struct core *core)
{
	if (!core)
		return;
	for (uint32_t i = 0; i <= core->count; i++)
		reactor_free(core->reactors[i]);
	sched_fini(core);
	mem_fini(core);
	platform_free(core->platform);
	for (uint32_t i = 0; i <= core->count; i++)
		free(core->reactors[i]);
	notify_fini(core);
	free(core);
}

static void reactor_free(struct reactor *r)
{
	struct reactor *before = reactor_current;
	struct list *l;

	if (!r)
		return;
	reactor_current = r; /* as which they were made */
	while ((l = list_pop(&r->parts))) {
		struct reactor_part *p = list_entry(l, struct reactor_part, link);

		p->free(p);
	}
	reactor_current = before;
	log_core_fini(r);
	trace_fini(r);
	watch_fini(r);
	waits_fini(r);
	platform_reactor_free(r->pr);
	msg_fini(r);
	free(r->pins);
}

struct reactor *core_reactor(struct core *core, uint32_t index)
{
	assert(index < core->count);
	return core->reactors[index];
}

struct reactor *core_control(struct core *core) { return core->reactors[core->count]; }
uint32_t core_reactor_count(const struct core *core) { return core->count; }
