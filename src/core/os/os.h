/* SPDX-License-Identifier: BSD-3-Clause */
/* os.h: what the parts of core/os share: threads, epoll, clocks. Private. */
#ifndef CORE_OS_OS_H
#define CORE_OS_OS_H

#include <pthread.h>
#include <sys/epoll.h>

#include "core/reactor.h"

#define POLL_EVENTS 256 /* descriptors collected at once; the kernel turns round those that stay ready */

struct platform_reactor {
	struct platform *platform;
	struct reactor *r;
	int epoll_fd, wake_fd;
	uint32_t sources;
	uint32_t event_count, event_at;   /* while dispatching: events[event_at..event_count) are still to come */
	bool pwait2_missing;              /* the kernel or a filter refused epoll_pwait2() */
	pthread_t thread;
	bool started;
	_Atomic bool has_clock;
	clockid_t cpu_clock;
	/* for the guard */
	_Atomic bool waiting;             /* seq_cst with guard.armed */
	uint64_t waits;                   /* relaxed: one writer */
	uint64_t guard_seen, guard_since_ns;
	bool guard_told;
	struct epoll_event events[POLL_EVENTS];
};

/* Looks at the reactors while any is awake; sleeps without a timer when all sleep. */
struct guard {
	struct platform *platform;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t armed_or_stop;
	_Atomic bool armed;
	bool stop, started;               /* under lock */
};

/* Threads for what may block. */
struct helpers {
	pthread_mutex_t lock;
	pthread_cond_t job_or_stop, gone;
	struct queue jobs;                /* all under lock */
	uint32_t threads, idle, queued;
	bool stop;
	cpu_set_t cpus;                   /* where they may run */
	bool cpus_known;
};

/* The one job that does everybody's steps ahead. */
struct ahead_job {
	struct job job;
	pthread_mutex_t lock;
	pthread_cond_t stepped;
	struct list wanted;               /* all under lock */
	struct ahead *at;                 /* its step runs */
	bool running;                     /* the job, until its done function has run */
};

struct platform {
	struct core *core;
	struct guard guard;
	struct helpers helpers;
	struct ahead_job ahead;
};

void guard_init(struct guard *g, struct platform *p);
int guard_start(struct guard *g);
void guard_stop(struct guard *g);
void guard_arm_slow(struct guard *g);
/* A reactor has woken. */
static inline void guard_arm(struct guard *g)
{
	if (!atomic_load(&g->armed))
		guard_arm_slow(g);
}

void helpers_init(struct helpers *h);
/* Waits for the jobs that run; those not begun yet never are, as messages on their way never arrive. */
void helpers_stop(struct helpers *h);
void helpers_fini(struct helpers *h);
void ahead_init(struct ahead_job *j);
void ahead_fini(struct ahead_job *j); /* the helpers have stopped */

#endif
