/* SPDX-License-Identifier: BSD-3-Clause */
/* platform.h: the seam. What a reactor needs from the world; core/os and core/sim implement it.
 *
 * Private to core. The loop itself (reactor.c), messages, timers and the rest are the same code on
 * both sides.
 */
#ifndef CORE_PLATFORM_H
#define CORE_PLATFORM_H

#include "core/core.h"

struct platform;         /* one per core: threads and helper pool, or the simulated machine */
struct platform_reactor; /* one per reactor: epoll and eventfd, or a place in the schedule */

struct platform *platform_make(struct core *core, const struct core_opts *opts, struct err *e);
void platform_free(struct platform *p);
struct platform_reactor *platform_reactor_make(struct platform *p, struct reactor *r, struct err *e);
void platform_reactor_free(struct platform_reactor *pr);
/* The CPUs named by opts->cpus that this process may use; fills up to CORE_REACTORS_MAX; sentence in `e`. */
int platform_cpus(const char *cpus, uint32_t *ret_cpus, uint32_t *ret_count, struct err *e);

/* Memory nodes: how many there are, and to which one a CPU belongs; -1: nobody knows. */
#define TOPOLOGY_CPUS_MAX 4096u
struct topology {
	uint32_t nodes;
	int16_t node_of[TOPOLOGY_CPUS_MAX];
};
/* `dir` as sysfs has it; NULL: the system's. */
void platform_topology(const char *dir, struct topology *ret_topology);
/* Where memory comes from that this thread touches first from now on; -1: the system's choice again. */
void platform_prefer_node(int node);
/* And where pages of a mapping come from, whoever touches them. Page aligned. */
void platform_bind_memory(void *at, size_t len, int node);
/* Let the reactor's thread run on these CPUs only: the calling thread's, or before it starts. */
int platform_pin(struct platform_reactor *pr, const uint32_t *cpus, uint32_t count) MUST_USE;

/* Run all reactors' loops until core_stop(); the control reactor's on the calling thread. */
int platform_run(struct platform *p);

/* Clocks and randomness. */
uint64_t platform_now_ns(void);
uint64_t platform_wall_us(void);
void platform_random(void *buf, size_t len);
/* Write to standard error, waiting for its reader no longer than this; returns how much it took: all when it is
 * closed. */
size_t platform_log(const char *bytes, size_t len, int wait_ms);
/* Lines are written at once, by whoever has them: a simulation's course must not depend on what is logged. */
bool platform_log_direct(void);
/* Start `s` for when it takes more; negative: it can not tell. Control reactor. */
int platform_log_wait(struct source *s, source_fn *fn);
uint64_t platform_thread_cpu_ns(struct platform_reactor *pr);

/* A cheap counter for measuring callbacks, and what a difference of two is in nanoseconds. In the simulator
 * the virtual clock. */
uint64_t platform_ticks(void);
uint64_t platform_ticks_to_ns(uint64_t ticks);
/* Name of a function for people; NULL when there is none. Static text, or kept for ever. */
const char *platform_symbol(void *fn);

/* Collect ready descriptors and dispatch each by reactor_source_ready(); wait at most timeout_ns (0: do not
 * wait, UINT64_MAX: for ever; then calls reactor_woke() before it dispatches). Returns how many there were.
 * Wake-ups by platform_wake() end the wait, also when they came before it, and are not counted. */
uint32_t platform_poll(struct platform_reactor *pr, uint64_t timeout_ns);
/* End a wait of this reactor, from any thread. */
void platform_wake(struct platform_reactor *pr);

int platform_source_start(struct platform_reactor *pr, struct source *s);
void platform_source_change(struct platform_reactor *pr, struct source *s);
void platform_source_stop(struct platform_reactor *pr, struct source *s);

void platform_job_start(struct platform *p, struct job *j);
/* Get memory ready before it is touched; page aligned. */
void platform_populate(void *at, size_t len);
/* Work for a helper thread, ahead of the reactors that will need it, step by step, so that who goes away waits for one
 * step at most. The simulator has no helpers: nothing is done ahead there. */
struct ahead {
	struct list link;                 /* the platform's; zeroed at first */
	bool (*step)(struct ahead *a);    /* on a helper thread; true: there is more to do */
	bool ended;
};
/* Have a->step() called until it says that there is no more; no effect while it waits for its turn.
 * Core: any reactor. Memory: `a` stays until platform_ahead_end(). */
void platform_ahead(struct platform *p, struct ahead *a);
/* It is not called any more; waits for the step at hand. Any thread. */
void platform_ahead_end(struct platform *p, struct ahead *a);

/* The thread of a receiver: calls receiver_run() and sleeps when receiver_may_sleep(). NULL: none can be had. */
struct platform_thread;
struct platform_thread *platform_thread_start(struct platform *p, struct receiver *r);
void platform_thread_wake(struct platform_thread *t);
void platform_thread_stop(struct platform_thread *t); /* what was sent has been run */

#endif
