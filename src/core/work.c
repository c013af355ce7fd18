/* SPDX-License-Identifier: BSD-3-Clause */
/* work.c: deferred calls, sources, pollers and jobs: how work is put into a reactor by itself. */
#include "core/reactor.h"

static void defer_add(struct queue *q, struct defer *d, defer_fn *fn)
{
	if (d->queued)
		return;
	d->queued = true;
	d->fn = fn;
	queue_push(q, &d->link);
}

void defer_run(struct defer *d, defer_fn *fn) { defer_add(&reactor_current->defers, d, fn); }
void defer_last(struct defer *d, defer_fn *fn) { defer_add(&reactor_current->lasts, d, fn); }
void defer_end(struct defer *d, defer_fn *fn) { defer_add(&reactor_current->ends, d, fn); }
void defer_hurry(void) { reactor_current->hurry = true; }

void defer_cancel(struct defer *d)
{
	struct reactor *r = reactor_current;

	if (!d->queued)
		return;
	must(queue_remove(&r->defers, &d->link) || queue_remove(&r->lasts, &d->link) ||
	     queue_remove(&r->lasts_late, &d->link) || queue_remove(&r->lasts_now, &d->link) ||
	     queue_remove(&r->ends, &d->link));
	d->queued = false;
}

/* --- file descriptors ---------------------------------------------------------------------------- */

int source_start(struct source *s, int fd, uint32_t events, const char *name, source_fn *fn)
{
	struct reactor *r = reactor_current;
	int rc;

	s->fd = fd;
	s->events = events;
	s->fn = fn;
	s->name = name;
	s->reactor = r;
	rc = platform_source_start(r->pr, s);
	if (rc)
		return rc;
	list_add_tail(&r->sources, &s->link);
	r->source_count++;
	return 0;
}

void source_change(struct source *s, uint32_t events)
{
	assert(s->reactor == reactor_current);
	if (s->events == events)
		return;
	s->events = events;
	platform_source_change(s->reactor->pr, s);
}

void source_stop(struct source *s)
{
	struct reactor *r = s->reactor;

	assert(r == reactor_current);
	platform_source_stop(r->pr, s);
	list_del(&s->link);
	r->source_count--;
	s->reactor = NULL;
}

/* --- pollers ------------------------------------------------------------------------------------- */

void poller_start(struct poller *p, const char *name, poller_fn *fn)
{
	struct reactor *r = reactor_current;

	p->fn = fn;
	p->name = name;
	p->runs = p->busy_runs = 0;
	list_add_tail(&r->pollers, &p->link);
	r->poller_count++;
}

void poller_stop(struct poller *p)
{
	struct reactor *r = reactor_current;

	list_del(&p->link);
	r->poller_count--;
	if (r->poller_running == p)
		r->poller_running = NULL;
}

/* --- jobs ---------------------------------------------------------------------------------------- */

void job_start(struct job *j, job_fn *work, job_fn *done)
{
	j->from = reactor_current;
	j->work = work;
	j->done = done;
	platform_job_start(j->from->core->platform, j);
}

static void job_done_on_core(struct msg *m)
{
	struct job *j = container_of(m, struct job, msg);

	j->done(j);
}

void reactor_job_worked(struct job *j)
{
	msg_send(j->from, &j->msg, job_done_on_core);
}
