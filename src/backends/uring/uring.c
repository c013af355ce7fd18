/* SPDX-License-Identifier: BSD-3-Clause */
/* uring.c: io_uring as the engine of disks over files: one ring for each core and all its disks.
 *
 * What is started within a pass is handed over by one system call in the pass's deferred phase, which also collects
 * what ended at once. The ring's descriptor is a source of the core: it is readable when something has ended, so that
 * the core may sleep. Nothing interrupts the core to complete an I/O (COOP_TASKRUN): its next system call does.
 */
#include "backends/uring/uring.h"

#include <errno.h>
#include <liburing.h>
#include <sys/epoll.h>

#include "backends/aio/aio.h"
#include "backends/file/file_engine.h"

#define SQ_ENTRIES 256u
#define CQ_ENTRIES 2048u        /* more than that are kept by the kernel until there is room */
#define REAP_MAX 512u           /* of one visit; the source stays ready */
#define CANCELLED 1u            /* user data of requests that stop others: they end in nothing */

struct ring {
	struct io_uring uring;
	struct source source;
	struct defer submit;
	struct msg again;           /* the kernel had no memory for what waits in the queue */
	bool again_sent, closing;
};

static int probe(void);
static int ring_open(struct file_lane *l);
static void ring_close(struct file_lane *l);
static void ring_start(struct file_lane *l, struct file_io *f);
static bool ring_abort(struct file_lane *l, struct file_io *f);

const struct file_engine uring_engine = {
	.name = "io_uring", .sleeps = "epoll", .buffered = true, .flushes = true,
	.probe = probe, .open = ring_open, .close = ring_close, .start = ring_start, .abort = ring_abort,
};

struct file_backend *uring_backend_make(struct bdev_registry *reg)
{
	static const struct file_engine *const engines[] = { &uring_engine, &aio_engine, NULL };

	return file_backend_make(reg, "URING bdev", engines);
}

/* --- the ring --------------------------------------------------------------------------------------------- */

/* The best that the kernel knows: the flags came with 5.19 and 6.0. Not DEFER_TASKRUN: with it a ring's descriptor was
 * seen to stay silent in epoll while completions waited (6.18). */
static int queue_init_best(struct io_uring *u)
{
	static const uint32_t flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int rc = 0;

	for (uint32_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct io_uring_params p = { .flags = flags[i] | IORING_SETUP_CQSIZE, .cq_entries = CQ_ENTRIES };

		rc = io_uring_queue_init_params(SQ_ENTRIES, u, &p);
		if (rc != -EINVAL)
			return rc;
	}
	return rc;
}

static int probe(void)
{
	struct io_uring u;
	int rc = queue_init_best(&u);

	if (rc == 0)
		io_uring_queue_exit(&u);
	return rc;
}

static void ring_ready(struct source *s, uint32_t events);
static void ring_submit(struct defer *d);

static int ring_open(struct file_lane *l)
{
	struct ring *r = base_zalloc(sizeof(*r));
	int rc = queue_init_best(&r->uring);

	if (rc) {
		free(r);
		return rc;
	}
	rc = source_start(&r->source, r->uring.ring_fd, EPOLLIN, "io_uring", ring_ready);
	if (rc) {
		io_uring_queue_exit(&r->uring);
		free(r);
		return rc;
	}
	(void)io_uring_register_ring_fd(&r->uring); /* saves looking it up in each call; may be too many */
	l->ctx = r;
	return 0;
}

static void ring_close(struct file_lane *l)
{
	struct ring *r = l->ctx;

	defer_cancel(&r->submit);
	source_stop(&r->source);
	io_uring_queue_exit(&r->uring);
	if (r->again_sent)
		r->closing = true; /* its message is under way */
	else
		free(r);
}

/* --- down ------------------------------------------------------------------------------------------------- */

static int push(struct ring *r);

/* A free entry; NULL: the queue is full and the kernel takes nothing now. */
static struct io_uring_sqe *take_sqe(struct ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

	if (unlikely(!sqe)) {
		push(r);
		sqe = io_uring_get_sqe(&r->uring);
	}
	if (likely(sqe != NULL))
		defer_run(&r->submit, ring_submit);
	return sqe;
}

static void ring_start(struct file_lane *l, struct file_io *f)
{
	struct io_uring_sqe *sqe = take_sqe(l->ctx);
	const struct iovec *iov = f->iovs;

	if (unlikely(!sqe)) {
		file_io_to_job(f);
		return;
	}
	if (f->io->op == BDEV_FLUSH) {
		io_uring_prep_fsync(sqe, f->fd, IORING_FSYNC_DATASYNC);
	} else if (f->io->op == BDEV_READ) {
		if (likely(f->iov_count == 1))
			io_uring_prep_read(sqe, f->fd, iov->iov_base, (unsigned)iov->iov_len, f->at);
		else
			io_uring_prep_readv(sqe, f->fd, iov, f->iov_count, f->at);
	} else {
		if (likely(f->iov_count == 1))
			io_uring_prep_write(sqe, f->fd, iov->iov_base, (unsigned)iov->iov_len, f->at);
		else
			io_uring_prep_writev(sqe, f->fd, iov, f->iov_count, f->at);
		sqe->rw_flags = f->through ? RWF_DSYNC : 0;
	}
	io_uring_sqe_set_data(sqe, f);
}

static bool ring_abort(struct file_lane *l, struct file_io *f)
{
	struct io_uring_sqe *sqe = take_sqe(l->ctx);

	if (!sqe)
		return false;
	io_uring_prep_cancel(sqe, f, 0);
	io_uring_sqe_set_data64(sqe, CANCELLED);
	return true;
}

static void submit_again(struct msg *m)
{
	struct ring *r = container_of(m, struct ring, again);

	r->again_sent = false;
	if (r->closing)
		free(r);
	else
		defer_run(&r->submit, ring_submit);
}

/* Hand over what is queued. What the kernel does not take stays queued for the next pass. */
static int push(struct ring *r)
{
	int rc;

	do
		rc = io_uring_submit(&r->uring);
	while (rc == -EINTR);
	if (unlikely(io_uring_sq_ready(&r->uring)) && !r->again_sent) {
		r->again_sent = true;
		msg_send(reactor_self(), &r->again, submit_again);
	}
	return rc;
}

/* --- and back --------------------------------------------------------------------------------------------- */

static void reap(struct ring *r);

static void ring_submit(struct defer *d)
{
	struct ring *r = container_of(d, struct ring, submit);

	push(r);
	reap(r);
}

static void ring_ready(struct source *s, uint32_t events)
{
	struct ring *r = container_of(s, struct ring, source);

	(void)io_uring_get_events(&r->uring);
	reap(r);
}

/* An I/O that is continued takes a new entry, which this pass or the next one hands over. */
static void reap(struct ring *r)
{
	struct io_uring_cqe *cqes[64];
	uint32_t count, left = REAP_MAX;

	do {
		count = io_uring_peek_batch_cqe(&r->uring, cqes, ARRAY_SIZE(cqes));
		for (uint32_t i = 0; i < count; i++) {
			struct io_uring_cqe cqe = *cqes[i];

			if (cqe.user_data != CANCELLED)
				file_io_moved((struct file_io *)(uintptr_t)cqe.user_data, cqe.res);
		}
		io_uring_cq_advance(&r->uring, count);
		left -= min_u32(left, count);
	} while (count == ARRAY_SIZE(cqes) && left);
}
