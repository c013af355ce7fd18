/* SPDX-License-Identifier: BSD-3-Clause */
/* ahead.c: one job for everybody who wants steps done ahead: it goes round among them until nobody wants any more.
 *
 * The job belongs to the platform, not to who wants something: those come and go, and a job that has been queued cannot
 * be taken back.
 */
#include "core/os/os.h"

static void work(struct job *j);
static void worked(struct job *j);

void ahead_init(struct ahead_job *j)
{
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->stepped, NULL);
	list_init(&j->wanted);
}

void ahead_fini(struct ahead_job *j)
{
	pthread_mutex_destroy(&j->lock);
	pthread_cond_destroy(&j->stepped);
}

void platform_ahead(struct platform *p, struct ahead *a)
{
	struct ahead_job *j = &p->ahead;
	bool start;

	pthread_mutex_lock(&j->lock);
	if (!list_linked(&a->link) && !a->ended)
		list_add_tail(&j->wanted, &a->link);
	start = !j->running && !list_empty(&j->wanted);
	j->running |= start;
	pthread_mutex_unlock(&j->lock);
	if (start)
		job_start(&j->job, work, worked);
}

void platform_ahead_end(struct platform *p, struct ahead *a)
{
	struct ahead_job *j = &p->ahead;

	pthread_mutex_lock(&j->lock);
	a->ended = true;
	if (list_linked(&a->link))
		list_del(&a->link);
	while (j->at == a)
		pthread_cond_wait(&j->stepped, &j->lock);
	pthread_mutex_unlock(&j->lock);
}

static void work(struct job *job)
{
	struct ahead_job *j = container_of(job, struct ahead_job, job);
	struct core *core = container_of(j, struct platform, ahead)->core;
	struct list *l;

	pthread_mutex_lock(&j->lock);
	while (reactor_current && list_pop(&j->wanted))
		; /* there was no thread to be had: it is not worth a stall */
	while (!core_stopping(core) && (l = list_pop(&j->wanted))) {
		struct ahead *a = j->at = list_entry(l, struct ahead, link);
		bool more;

		pthread_mutex_unlock(&j->lock);
		more = a->step(a);
		pthread_mutex_lock(&j->lock);
		j->at = NULL;
		pthread_cond_broadcast(&j->stepped);
		if (more && !a->ended && !list_linked(&a->link))
			list_add_tail(&j->wanted, &a->link);
	}
	pthread_mutex_unlock(&j->lock);
}

/* On the reactor that had started it: somebody may have come too late for the helper. */
static void worked(struct job *job)
{
	struct ahead_job *j = container_of(job, struct ahead_job, job);
	bool again;

	pthread_mutex_lock(&j->lock);
	again = j->running = !list_empty(&j->wanted);
	pthread_mutex_unlock(&j->lock);
	if (again)
		job_start(&j->job, work, worked);
}
