/* SPDX-License-Identifier: BSD-3-Clause */
/* platform.c: a thread per reactor, pinned; the control reactor on the calling thread. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "core/log.h"
#include "core/os/os.h"

struct platform *platform_make(struct core *core, const struct core_opts *opts, struct err *e)
{
	struct platform *p = base_zalloc(sizeof(*p));

	/* a peer that went away is an error of write(), not a reason to end */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is an error of writing, not the end */
	p->core = core;
	guard_init(&p->guard, p);
	helpers_init(&p->helpers);
	ahead_init(&p->ahead);
	return p;
}

void platform_free(struct platform *p)
{
	if (!p)
		return;
	helpers_fini(&p->helpers);
	ahead_fini(&p->ahead);
	free(p);
}

/* --- which CPUs ---------------------------------------------------------------------------------- */

static int check_allowed(const char *text, const uint32_t *cpus, uint32_t count, struct err *e)
{
	cpu_set_t allowed;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 0; /* more CPUs than the set can hold: pinning will tell */
	for (uint32_t i = 0; i < count; i++)
		if (cpus[i] >= CPU_SETSIZE || !CPU_ISSET(cpus[i], &allowed))
			return err_set(e, ERR_BAD_PARAM, "cpus: \"%s\" names CPU %u, which this process may not use "
			               "(it may use %d CPUs: see taskset -p, or the container's cpuset)",
			               text, cpus[i], CPU_COUNT(&allowed));
	return 0;
}

static void first_allowed(uint32_t *ret_cpu)
{
	cpu_set_t allowed;

	*ret_cpu = 0;
	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	while (*ret_cpu < CPU_SETSIZE - 1 && !CPU_ISSET(*ret_cpu, &allowed))
		(*ret_cpu)++;
}

int platform_cpus(const char *cpus, uint32_t *ret_cpus, uint32_t *ret_count, struct err *e)
{
	int rc;

	if (!cpus) {
		first_allowed(&ret_cpus[0]);
		*ret_count = 1;
		return 0;
	}
	rc = cpus_parse(cpus, ret_cpus, ret_count, e);
	return rc ? rc : check_allowed(cpus, ret_cpus, *ret_count, e);
}

int platform_pin(struct platform_reactor *pr, const uint32_t *cpus, uint32_t count)
{
	cpu_set_t set;

	(void)pr;
	CPU_ZERO(&set);
	for (uint32_t i = 0; i < count; i++)
		if (cpus[i] < CPU_SETSIZE)
			CPU_SET(cpus[i], &set);
	return -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* --- threads ------------------------------------------------------------------------------------- */

static void loop(struct platform_reactor *pr)
{
	reactor_current = pr->r;
	pr->cpu_clock = CLOCK_THREAD_CPUTIME_ID;
	if (!pthread_getcpuclockid(pthread_self(), &pr->cpu_clock))
		atomic_store(&pr->has_clock, true);
	atomic_store(&pr->waiting, false);
	guard_arm(&pr->platform->guard);
	while (!core_stopping(pr->r->core))
		reactor_loop_once(pr->r);
	atomic_store(&pr->has_clock, false);
	atomic_store(&pr->waiting, true); /* nothing for the guard to watch any more */
	reactor_current = NULL;
}

static void *reactor_thread(void *arg)
{
	struct platform_reactor *pr = arg;
	char name[16];

	snprintf(name, sizeof(name), "reactor_%u", pr->r->cpu);
	pthread_setname_np(pthread_self(), name);
	loop(pr);
	return NULL;
}

static int start_reactor(struct platform_reactor *pr)
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	int rc;

	CPU_ZERO(&cpus);
	CPU_SET(pr->r->cpu, &cpus);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	rc = pthread_create(&pr->thread, &attr, reactor_thread, pr);
	pthread_attr_destroy(&attr);
	pr->started = rc == 0;
	if (rc)
		log_error("cannot start a thread on CPU %u: %s", pr->r->cpu, strerror(rc));
	return -rc;
}

static int start_all(struct platform *p)
{
	struct core *core = p->core;
	sigset_t all, old;
	int rc = guard_start(&p->guard);

	/* Signals are for the control thread. Faults are not blocked: they end the process where they are. */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	sigdelset(&all, SIGURG); /* the guard's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (uint32_t i = 0; i < core->count && !rc; i++)
		rc = start_reactor(core->reactors[i]->pr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

int platform_run(struct platform *p)
{
	struct core *core = p->core;
	struct platform_reactor *control = core_control(core)->pr;
	int rc = start_all(p);

	if (rc)
		core_stop(core, rc);
	control->thread = pthread_self();
	loop(control);
	guard_stop(&p->guard); /* first: it must not signal a thread that was joined */
	for (uint32_t i = 0; i < core->count; i++)
		if (core->reactors[i]->pr->started)
			pthread_join(core->reactors[i]->pr->thread, NULL);
	helpers_stop(&p->helpers); /* they send messages, so before any reactor goes */
	return atomic_load(&core->code);
}
