/* SPDX-License-Identifier: BSD-3-Clause */
/* helpers.c: threads that may block, made when all others are busy and gone when there is nothing to do. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "core/os/os.h"

#define HELPERS_MAX 16u      /* so that a few dead name servers do not hold up every other job */
#define HELPER_IDLE_S 5      /* then a thread without work ends */

static void *helper_thread(void *arg);

void helpers_init(struct helpers *h)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->job_or_stop, &attr);
	pthread_cond_init(&h->gone, &attr);
	pthread_condattr_destroy(&attr);
	queue_init(&h->jobs);
	h->cpus_known = !sched_getaffinity(0, sizeof(h->cpus), &h->cpus);
}

void helpers_stop(struct helpers *h)
{
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_cond_broadcast(&h->job_or_stop);
	while (h->threads)
		pthread_cond_wait(&h->gone, &h->lock);
	pthread_mutex_unlock(&h->lock);
}

void helpers_fini(struct helpers *h)
{
	helpers_stop(h);
	pthread_cond_destroy(&h->job_or_stop);
	pthread_cond_destroy(&h->gone);
	pthread_mutex_destroy(&h->lock);
}

/* A thread would run on the CPU of the reactor that makes it, and keep it from its work: any other CPU of the process
 * is better, those of no reactor best. */
static void away_from_reactors(const struct helpers *h, pthread_attr_t *attr)
{
	const struct core *core = container_of(h, struct platform, helpers)->core;
	cpu_set_t free_ones = h->cpus;

	if (!h->cpus_known)
		return;
	for (uint32_t i = 0; i < core->count; i++)
		if (reactor_cpu(core->reactors[i]) < CPU_SETSIZE)
			CPU_CLR(reactor_cpu(core->reactors[i]), &free_ones);
	pthread_attr_setaffinity_np(attr, sizeof(cpu_set_t), CPU_COUNT(&free_ones) ? &free_ones : &h->cpus);
}

static bool start_helper(struct helpers *h)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* core/share.h: a page of shared memory is gone */
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	away_from_reactors(h, &attr);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, &attr, helper_thread, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return rc == 0;
}

/* Where no thread at all can be had the job runs here: a stall is better than a job that is never done. */
void platform_job_start(struct platform *p, struct job *j)
{
	struct helpers *h = &p->helpers;
	bool here = false;

	pthread_mutex_lock(&h->lock);
	queue_push(&h->jobs, &j->link);
	h->queued++;
	if (h->queued > h->idle && h->threads < HELPERS_MAX) {
		if (start_helper(h))
			h->threads++;
		else if (!h->threads) {
			here = queue_pop(&h->jobs) != NULL;
			h->queued--;
		}
	}
	pthread_cond_signal(&h->job_or_stop);
	pthread_mutex_unlock(&h->lock);
	if (here) {
		j->work(j);
		reactor_job_worked(j);
	}
}

/* The next job; NULL: the thread shall end. Called and returns with the lock held. */
static struct job *next_job(struct helpers *h)
{
	struct queue_link *l = NULL;
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += HELPER_IDLE_S;
	h->idle++;
	while (!h->stop && !(l = queue_pop(&h->jobs)) && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&h->job_or_stop, &h->lock, &until);
	h->idle--;
	if (l)
		h->queued--;
	return l ? container_of(l, struct job, link) : NULL;
}

static void *helper_thread(void *arg)
{
	struct helpers *h = arg;
	struct job *j;

	pthread_setname_np(pthread_self(), "helper");
	pthread_mutex_lock(&h->lock);
	while ((j = next_job(h))) {
		pthread_mutex_unlock(&h->lock);
		j->work(j);
		reactor_job_worked(j);
		pthread_mutex_lock(&h->lock);
	}
	h->threads--;
	pthread_cond_signal(&h->gone);
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

/* Older kernels cannot, and leave it to who touches it first. */
void platform_populate(void *at, size_t len)
{
#ifdef MADV_POPULATE_WRITE
	madvise(at, len, MADV_POPULATE_WRITE);
#else
	madvise(at, len, 23);
#endif
}
