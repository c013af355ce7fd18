/* SPDX-License-Identifier: BSD-3-Clause */
/* platform.c: core/platform.h over the simulated machine.
 *
 * There are no descriptors here: what is ready is said by sim_ready_add(). Jobs run as events of the world
 * after a delay, and their end comes to the reactor as from a foreign thread.
 */
#include <errno.h>
#include <stdio.h>

#include "core/sim/machine.h"

#define WALL_START_US 1800000000000000ull /* 2027-01-15 */
#define LEAVE_READY_PERCENT 10u           /* how often a poll does not report all that is ready */

struct sim_job {
	struct sim_event event;
	struct list link;         /* platform->jobs */
	struct job *job;
};

static void job_run(struct sim_event *e);

/* --- cores and reactors --- */

struct platform *platform_make(struct core *core, const struct core_opts *opts, struct err *e)
{
	struct platform *p;

	if (!sim.on) {
		err_set(e, -EINVAL, "no simulation runs; sim_start() comes first");
		return NULL;
	}
	p = base_zalloc(sizeof(*p));
	p->core = core;
	list_init(&p->jobs);
	list_add_tail(&sim.platforms, &p->link);
	core->msg_gate = sim_message_gate;
	return p;
}

/* What the helper pool had not begun is never done, as when a process ends. */
void platform_free(struct platform *p)
{
	struct list *l;

	if (!p)
		return;
	while ((l = list_pop(&p->jobs))) {
		struct sim_job *j = list_entry(l, struct sim_job, link);

		sim_event_cancel(&j->event);
		free(j);
	}
	sim_fds_close_core(p->core);
	list_del(&p->link);
	free(p);
}

/* Any CPU exists here, and may be shared by several cores. */
int platform_cpus(const char *cpus, uint32_t *ret_cpus, uint32_t *ret_count, struct err *e)
{
	return cpus_parse(cpus ? cpus : "0x1", ret_cpus, ret_count, e);
}

/* Two CPUs each share a node. */
void platform_topology(const char *dir, struct topology *t)
{
	t->nodes = TOPOLOGY_CPUS_MAX / 2;
	for (uint32_t i = 0; i < TOPOLOGY_CPUS_MAX; i++)
		t->node_of[i] = (int16_t)(i / 2);
}

void platform_prefer_node(int node)
{
}

void platform_bind_memory(void *at, size_t len, int node)
{
}

int platform_pin(struct platform_reactor *pr, const uint32_t *cpus, uint32_t count)
{
	return 0;
}

struct platform_reactor *platform_reactor_make(struct platform *p, struct reactor *r, struct err *e)
{
	struct platform_reactor *pr = base_zalloc(sizeof(*pr));
	uint32_t others = 0;

	list_each(l, &sim.reactors)
		others++;
	must(others < SIM_REACTORS_MAX); /* sim_step() has room for so many */
	pr->platform = p;
	pr->r = r;
	list_init(&pr->ready);
	list_add_tail(&sim.reactors, &pr->link);
	return pr;
}

void platform_reactor_free(struct platform_reactor *pr)
{
	struct list *l;

	if (!pr)
		return;
	while ((l = list_pop(&pr->ready)))
		list_entry(l, struct sim_ready, link)->queued = false;
	list_del(&pr->link);
	free(pr);
}

/* A core alone, as a daemon's main() runs it: until it stops, or nothing will ever happen again. */
static bool stopping(void *arg)
{
	struct platform *p = arg;

	return core_stopping(p->core);
}

int platform_run(struct platform *p)
{
	return sim_run(stopping, p, UINT64_MAX) ? atomic_load(&p->core->code) : -EDEADLK;
}

/* --- clocks --- */

uint64_t platform_now_ns(void) { return sim.now_ns; }
uint64_t platform_wall_us(void) { return WALL_START_US + sim.now_ns / NS_PER_US; }
size_t platform_log(const char *bytes, size_t len, int wait_ms)
{
	fwrite(bytes, 1, len, stderr);
	return len;
}

bool platform_log_direct(void) { return true; }
int platform_log_wait(struct source *s, source_fn *fn) { return -ENOTSUP; }
uint64_t platform_thread_cpu_ns(struct platform_reactor *pr) { return 0; }
uint64_t platform_ticks(void) { return sim.now_ns; }
uint64_t platform_ticks_to_ns(uint64_t ticks) { return ticks; }
const char *platform_symbol(void *fn) { return NULL; }

/* --- what is ready --- */

uint32_t platform_poll(struct platform_reactor *pr, uint64_t timeout_ns)
{
	struct list now, *l;
	uint32_t count = 0;

	must(!timeout_ns); /* sim.c decides who sleeps */
	pr->woken = false;
	list_init(&now);
	list_splice(&now, &pr->ready);
	while ((l = list_pop(&now))) {
		struct sim_ready *s = list_entry(l, struct sim_ready, link);

		s->queued = false;
		s->fn(s);
		reactor_source_ran(pr->r);
		count++;
		if (sim_chance(LEAVE_READY_PERCENT))
			break;
	}
	list_splice(&now, &pr->ready);
	list_splice(&pr->ready, &now);
	return count;
}

void platform_wake(struct platform_reactor *pr)
{
	pr->woken = true;
}

/* The kernel's descriptors have no place in a simulation. */
int platform_source_start(struct platform_reactor *pr, struct source *s)
{
	return -ENOTSUP;
}

void platform_source_change(struct platform_reactor *pr, struct source *s)
{
}

void platform_source_stop(struct platform_reactor *pr, struct source *s)
{
}

/* --- jobs --- */

void platform_job_start(struct platform *p, struct job *job)
{
	struct sim_job *j = base_zalloc(sizeof(*j));

	j->job = job;
	list_add_tail(&p->jobs, &j->link);
	sim_event_at(&j->event, sim.now_ns + sim.job_ns_min + sim_draw(sim.job_ns_max - sim.job_ns_min + 1), job_run);
}

void platform_populate(void *at, size_t len)
{
}

void platform_ahead(struct platform *p, struct ahead *a)
{
}

void platform_ahead_end(struct platform *p, struct ahead *a)
{
}

static void job_run(struct sim_event *e)
{
	struct sim_job *j = container_of(e, struct sim_job, event);
	struct job *job = j->job;

	list_del(&j->link);
	free(j);
	job->work(job);
	reactor_job_worked(job);
}
