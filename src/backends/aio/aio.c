/* SPDX-License-Identifier: BSD-3-Clause */
/* aio.c: libaio as the engine of disks over files: one context for each core and all its disks.
 *
 * What is started within a pass is handed over by one system call in the pass's deferred phase; an eventfd among the
 * core's sources says what has ended. Only what is open with O_DIRECT comes here: through the page cache io_submit()
 * does the whole work before it returns. And what it would have to wait for even so (RWF_NOWAIT) is done by a helper.
 */
#include "backends/aio/aio.h"

#include <errno.h>
#include <libaio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backends/file/file_engine.h"

#define CONTEXT_EVENTS 1024u    /* in flight at most; /proc/sys/fs/aio-max-nr bounds the sum */
#define BATCH_MAX 128u
#define REAP_MAX 64u

struct context {
	io_context_t io;
	int event_fd;
	struct source source;
	struct defer submit;
	uint32_t queued, in_flight;
	bool no_nowait;             /* a file system does not know it */
	struct iocb *batch[BATCH_MAX];
	struct queue waiting;       /* of struct bdev_io by link: the context is full */
};

_Static_assert(sizeof(struct iocb) <= FILE_ENGINE_BYTES, "an I/O embeds it");

static int probe(void);
static int context_open(struct file_lane *l);
static void context_close(struct file_lane *l);
static void context_start(struct file_lane *l, struct file_io *f);

const struct file_engine aio_engine = {
	.name = "libaio", .sleeps = "eventfd", .buffered = false, .flushes = false,
	.probe = probe, .open = context_open, .close = context_close, .start = context_start,
};

struct file_backend *aio_backend_make(struct bdev_registry *reg)
{
	static const struct file_engine *const engines[] = { &aio_engine, NULL };

	return file_backend_make(reg, "AIO disk", engines);
}

/* --- the context ------------------------------------------------------------------------------------------ */

static int probe(void)
{
	io_context_t io = NULL;
	int rc = io_setup(CONTEXT_EVENTS, &io);

	if (rc == 0)
		io_destroy(io);
	return rc;
}

static void context_ready(struct source *s, uint32_t events);
static void context_submit(struct defer *d);

static int context_open(struct file_lane *l)
{
	struct context *c = base_zalloc(sizeof(*c));
	int rc = io_setup(CONTEXT_EVENTS, &c->io);

	if (rc) {
		free(c);
		return rc;
	}
	queue_init(&c->waiting);
	c->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	rc = c->event_fd < 0 ? -errno : source_start(&c->source, c->event_fd, EPOLLIN, "libaio", context_ready);
	if (rc) {
		io_destroy(c->io);
		if (c->event_fd >= 0)
			close(c->event_fd);
		free(c);
		return rc;
	}
	l->ctx = c;
	return 0;
}

static void context_close(struct file_lane *l)
{
	struct context *c = l->ctx;

	must(!c->queued && !c->in_flight && queue_empty(&c->waiting));
	defer_cancel(&c->submit);
	source_stop(&c->source);
	close(c->event_fd);
	io_destroy(c->io);
	free(c);
}

/* --- down ------------------------------------------------------------------------------------------------- */

static void push(struct context *c);

static struct iocb *iocb_of(struct file_io *f)
{
	return (struct iocb *)(void *)f->engine;
}

static void context_start(struct file_lane *l, struct file_io *f)
{
	struct context *c = l->ctx;
	struct iocb *cb = iocb_of(f);

	if (unlikely(c->queued + c->in_flight >= CONTEXT_EVENTS)) {
		queue_push(&c->waiting, &f->io->link);
		return;
	}
	if (f->io->op == BDEV_READ)
		io_prep_preadv(cb, f->fd, f->iovs, f->iov_count, (long long)f->at);
	else
		io_prep_pwritev(cb, f->fd, f->iovs, f->iov_count, (long long)f->at);
	io_set_eventfd(cb, c->event_fd);
	cb->data = f;
	cb->aio_rw_flags = (c->no_nowait ? 0 : RWF_NOWAIT) | (f->through ? RWF_DSYNC : 0);
	c->batch[c->queued++] = cb;
	if (c->queued == BATCH_MAX)
		push(c);
	else
		defer_run(&c->submit, context_submit);
}

static void context_submit(struct defer *d)
{
	push(container_of(d, struct context, submit));
}

/* The first of what is left was refused. */
static void refused(struct context *c, struct file_io *f, int error)
{
	if (error == -EOPNOTSUPP && !c->no_nowait)
		c->no_nowait = true;
	file_io_to_job(f);
}

static void push(struct context *c)
{
	uint32_t at = 0, count = c->queued;

	c->queued = 0; /* who is refused may start others */
	while (at < count) {
		int rc = io_submit(c->io, (long)(count - at), &c->batch[at]);

		if (rc > 0) {
			at += (uint32_t)rc;
			c->in_flight += (uint32_t)rc;
		} else if (rc != -EINTR) {
			refused(c, c->batch[at++]->data, rc);
		}
	}
}

/* --- and back --------------------------------------------------------------------------------------------- */

static void ended(struct context *c, struct file_io *f, int64_t result)
{
	if (result == -EAGAIN || (result == -EOPNOTSUPP && !c->no_nowait)) {
		c->no_nowait = c->no_nowait || result == -EOPNOTSUPP;
		file_io_to_job(f); /* it would have had to wait */
		return;
	}
	file_io_moved(f, result);
}

static void start_waiting(struct context *c)
{
	struct queue_link *link;

	while (c->queued + c->in_flight < CONTEXT_EVENTS && (link = queue_pop(&c->waiting))) {
		struct file_io *f = container_of(link, struct bdev_io, link)->device_ctx;

		if (bdev_io_may_land(f->io))
			context_start(f->lane, f);
		else
			file_io_moved(f, -ECANCELED);
	}
}

static void context_ready(struct source *s, uint32_t events)
{
	struct context *c = container_of(s, struct context, source);
	struct io_event ended_now[REAP_MAX];
	struct timespec now = { 0 };
	eventfd_t count;
	int n;

	(void)eventfd_read(c->event_fd, &count);
	do {
		n = io_getevents(c->io, 0, REAP_MAX, ended_now, &now);
		for (int i = 0; i < n; i++) {
			c->in_flight--;
			ended(c, ended_now[i].data, (int64_t)ended_now[i].res);
		}
	} while (n == (int)REAP_MAX);
	start_waiting(c);
}
