/* SPDX-License-Identifier: BSD-3-Clause */
/* file_io.c: one I/O on a file, from the waist to an engine and back.
 *
 * Reads and writes go to the lane's engine; where O_DIRECT asks for aligned memory and the caller's is not, by way of
 * buffers of core/mem. What blocks goes to helpers (file_job.c). Files in memory are read and written here and now: a
 * system call that copies is shorter than any way of asking for it.
 */
#include "backends/file/file_disk.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bdev/iov.h"

#define TRIES_MAX 8u            /* of an engine that says EAGAIN; then a helper does it, which may block */

static struct file_lane *lane_make(struct file_backend *fb);

/* --- lanes ------------------------------------------------------------------------------------------------ */

int file_channel_open(struct bdev_channel *ch, struct err *e)
{
	struct file_channel *c = bdev_channel_ctx(ch);
	struct file_backend *fb = file_disk_of(bdev_channel_bdev(ch))->fb;
	struct file_lane **lane = &fb->lanes[reactor_index(reactor_self())];

	if (!*lane)
		*lane = lane_make(fb);
	(*lane)->users++;
	c->lane = *lane;
	return 0;
}

void file_channel_close(struct bdev_channel *ch)
{
	struct file_channel *c = bdev_channel_ctx(ch);
	struct file_lane *l = c->lane;

	if (--l->users)
		return;
	must(!l->jobs && queue_empty(&l->queued));
	l->engine->close(l);
	l->fb->lanes[reactor_index(reactor_self())] = NULL;
	free(l);
}

/* Engines in order, from the one that was granted; threads, the last, never refuse. */
static struct file_lane *lane_make(struct file_backend *fb)
{
	struct file_lane *l = base_zalloc(sizeof(*l));
	uint32_t i = 0;
	int rc;

	l->fb = fb;
	queue_init(&l->queued);
	while (fb->engines[i] != fb->engine)
		i++;
	for (;; i++) {
		l->engine = fb->engines[i];
		rc = l->engine->open(l);
		if (rc == 0)
			return l;
		must(fb->engines[i + 1]);
		if (!atomic_exchange(&fb->said, true))
			log_notice("%s: the system refuses %s (%s): %s does its work", fb->product, l->engine->name,
			           strerror(-rc), fb->engines[i + 1]->name);
	}
}

/* --- down ------------------------------------------------------------------------------------------------- */

static void move_in_memory(struct file_disk *d, struct bdev_io *io, struct log_limit *said);
static void start(struct file_io *f);
static void bounce_or_start(struct file_io *f);

/* Through the page cache, an error of which the system tells whoever asks first. */
static bool writes_out(const struct file_disk *d, const struct file_io *f)
{
	return f->io->op == BDEV_FLUSH || (f->through && !d->direct) ||
	       (f->io->op == BDEV_WRITE_ZEROES && f->io->flags & BDEV_IO_FUA);
}

void file_submit(struct bdev_channel *ch, struct bdev_io *io)
{
	struct file_disk *d = file_disk_of(bdev_channel_bdev(ch));
	struct file_channel *c = bdev_channel_ctx(ch);
	struct file_io *f = io->device_ctx;
	bool moves = io->op == BDEV_READ || io->op == BDEV_WRITE;

	if (unlikely(atomic_load_explicit(&d->state, memory_order_relaxed) != FILE_GOOD)) {
		file_seems_lost(d);
		io->consumed = d->in_memory && io->op == BDEV_WRITE;
		bdev_io_done(io, BDEV_ST_FAILED);
		return;
	}
	if (d->in_memory && moves) {
		move_in_memory(d, io, &c->lane->said);
		return;
	}
	if (io->op == BDEV_RESET || (io->op == BDEV_FLUSH && d->bdev.cache == BDEV_CACHE_LOST_ANYWAY)) {
		bdev_io_done(io, BDEV_ST_OK);
		return;
	}
	f->io = io;
	f->lane = c->lane;
	f->fd = d->fd;
	f->tries = 0;
	f->at = io->lba * d->bdev.block_size;
	f->left = moves ? (uint32_t)(io->count * d->bdev.block_size) : 0;
	f->iovs = io->iovs;
	f->iov_count = io->iov_count;
	f->through = io->flags & BDEV_IO_FUA && (io->op == BDEV_WRITE ||
	          (io->op == BDEV_READ && d->bdev.cache != BDEV_CACHE_NONE));
	f->bounce.count = 0;
	f->syncs = writes_out(d, f);
	if (f->syncs)
		file_sync_begin(d, f);
	if (moves)
		bounce_or_start(f);
	else if (io->op == BDEV_FLUSH && c->lane->engine->flushes)
		start(f);
	else
		file_job_start(f);
}

static void start(struct file_io *f)
{
	const struct file_disk *d = file_disk_of(bdev_channel_bdev(f->io->ch));

	if (unlikely((!d->direct && !f->lane->engine->buffered) || (f->through && f->io->op == BDEV_READ))) {
		file_job_start(f); /* a read from the media: what a cache holds of it is written out first */
		return;
	}
	f->state = FILE_IO_ENGINE;
	f->lane->engine->start(f->lane, f);
}

void file_io_to_job(struct file_io *f)
{
	file_job_start(f);
}

/* --- files in memory -------------------------------------------------------------------------------------- */

/* syscall(): what pread() does besides, to be a place where a thread may be cancelled, is 4 % of a 4 KiB read from
 * tmpfs (perf, one core at its limit). */
static ssize_t move_once(const struct file_disk *d, struct bdev_io *io, uint64_t at, const struct iovec *iovs,
                         int count)
{
	bool reads = io->op == BDEV_READ;

	_Static_assert(sizeof(long) == 8, "an offset is one argument");
	if (likely(count == 1))
		return syscall(reads ? SYS_pread64 : SYS_pwrite64, d->fd, iovs->iov_base, iovs->iov_len, at);
	return reads ? preadv(d->fd, iovs, count, (off_t)at) : pwritev(d->fd, iovs, count, (off_t)at);
}

static void say_shrunk(const struct file_disk *d, struct log_limit *said, uint64_t at)
{
	if (log_may(said))
		log_warning("%s '%s': '%s' ends before byte %llu: it shrank; rescan it", d->bdev.product, d->bdev.name,
		            d->filename, (unsigned long long)at);
}

/* Short: what is left, piece by piece. */
static enum bdev_status move_rest(struct file_disk *d, struct bdev_io *io, ssize_t moved, struct iov_cursor *c,
                                  struct log_limit *said)
{
	uint64_t at = io->lba * d->bdev.block_size, end = at + io->count * d->bdev.block_size;
	struct iovec piece = { 0 };

	for (;;) {
		if (moved == 0) {
			say_shrunk(d, said, at);
			return BDEV_ST_MEDIA_ERROR;
		}
		if (moved < 0 && errno != EINTR)
			return file_status(d, io, errno);
		if (moved > 0) {
			iov_skip(c, (size_t)moved);
			at += (uint64_t)moved;
		}
		if (at == end)
			return BDEV_ST_OK;
		{
			struct iov_cursor peek = *c;

			piece.iov_base = iov_next(&peek, end - at, &piece.iov_len);
		}
		moved = move_once(d, io, at, &piece, 1);
	}
}

static void move_in_memory(struct file_disk *d, struct bdev_io *io, struct log_limit *said)
{
	uint64_t len = io->count * d->bdev.block_size;
	ssize_t moved = move_once(d, io, io->lba * d->bdev.block_size, io->iovs, io->iov_count);
	enum bdev_status st = BDEV_ST_OK;

	if (unlikely(moved != (ssize_t)len)) {
		struct iov_cursor c = iov_cursor_over(io->iovs, io->iov_count);

		st = move_rest(d, io, moved, &c, said);
	}
	io->consumed = io->op == BDEV_WRITE;
	bdev_io_done(io, st);
}

/* --- bounce ----------------------------------------------------------------------------------------------- */

static bool is_aligned(const struct file_disk *d, const struct bdev_io *io)
{
	uintptr_t bits = 0, lens = 0;

	for (uint32_t i = 0; i < io->iov_count; i++) {
		bits |= (uintptr_t)io->iovs[i].iov_base;
		lens |= io->iovs[i].iov_len;
	}
	return !((bits | lens) & (d->mem_align - 1)) && !(lens & (d->len_align - 1));
}

static void bounce_came(struct wait *w)
{
	struct file_io *f = container_of(w, struct file_io, wait);

	if (!bdev_io_may_land(f->io)) {
		file_io_end(f, BDEV_ST_FENCED);
		return;
	}
	bounce_or_start(f);
}

static void bounce_or_start(struct file_io *f)
{
	const struct file_disk *d = file_disk_of(bdev_channel_bdev(f->io->ch));
	struct bdev_io *io = f->io;

	if (likely(!d->direct || is_aligned(d, io))) {
		start(f);
		return;
	}
	if (!mem_take(&f->bounce, f->left)) {
		f->state = FILE_IO_WAITS;
		f->bounce.count = 0;
		memset(&f->wait, 0, sizeof(f->wait));
		mem_wait(&f->wait, f->left, bounce_came);
		return;
	}
	f->iovs = mem_iov(&f->bounce);
	f->iov_count = (uint16_t)f->bounce.count;
	if (io->op == BDEV_WRITE) {
		struct iov_cursor from = iov_cursor_over(io->iovs, io->iov_count);

		for (uint32_t i = 0; i < f->bounce.count; i++)
			iov_copy_out(f->iovs[i].iov_base, &from, f->iovs[i].iov_len);
	}
	start(f);
}

static void copy_back(struct file_io *f)
{
	struct iov_cursor to = iov_cursor_over(f->io->iovs, f->io->iov_count);
	const struct iovec *from = mem_iov(&f->bounce);

	for (uint32_t i = 0; i < f->bounce.count; i++)
		iov_copy_in(&to, from[i].iov_base, from[i].iov_len);
}

/* --- up --------------------------------------------------------------------------------------------------- */

static void go_on(struct file_io *f, uint32_t moved);
static bool was_taken_out(const struct file_disk *d);

void file_io_moved(struct file_io *f, int64_t result)
{
	struct file_disk *d = file_disk_of(bdev_channel_bdev(f->io->ch));

	if (likely(result >= 0 && (uint64_t)result == f->left)) {
		file_io_end(f, BDEV_ST_OK);
	} else if (result == -EINTR || result == -EAGAIN) {
		if (++f->tries < TRIES_MAX)
			start(f);
		else
			file_job_start(f);
	} else if (result < 0) {
		file_io_end(f, file_status(d, f->io, (int)-result));
	} else if (result == 0 && was_taken_out(d)) {
		file_io_end(f, file_status(d, f->io, ENODEV));
	} else if (result == 0 || (d->direct && result % 512)) {
		say_shrunk(d, &f->lane->said, f->at + (uint64_t)result);
		file_io_end(f, BDEV_ST_MEDIA_ERROR);
	} else {
		go_on(f, (uint32_t)result);
	}
}

/* A part was moved: on with the rest, or as much of it as fits into our iovecs. */
static void go_on(struct file_io *f, uint32_t moved)
{
	struct bdev_io *io = f->io;
	const struct iovec *all = mem_held(&f->bounce) ? mem_iov(&f->bounce) : io->iovs;
	uint32_t count = mem_held(&f->bounce) ? f->bounce.count : io->iov_count, left;
	struct iov_cursor c = iov_cursor_over(all, count);

	f->at += moved;
	f->left -= moved;
	f->tries = 0;
	iov_skip(&c, iov_bytes(all, count) - f->left);
	f->iov_count = 0;
	for (left = f->left; left && f->iov_count < FILE_REST_IOVS; f->iov_count++) {
		struct iovec *r = &f->rest[f->iov_count];

		r->iov_base = iov_next(&c, left, &r->iov_len);
		left -= (uint32_t)r->iov_len;
	}
	f->iovs = f->rest;
	start(f);
}

void file_io_end(struct file_io *f, enum bdev_status st)
{
	if (!f->syncs || file_sync_over(file_disk_of(bdev_channel_bdev(f->io->ch)), f, &st))
		file_io_answer(f, st);
}

void file_io_answer(struct file_io *f, enum bdev_status st)
{
	if (unlikely(mem_held(&f->bounce))) {
		if (f->io->op == BDEV_READ && st == BDEV_ST_OK)
			copy_back(f);
		mem_give(&f->bounce);
	}
	bdev_io_done(f->io, st);
}

bool file_abort(struct bdev_channel *ch, struct bdev_io *io)
{
	struct file_io *f = io->device_ctx;

	switch ((enum file_io_state)f->state) {
	case FILE_IO_WAITS:
		mem_wait_cancel(&f->wait);
		file_io_end(f, BDEV_ST_ABORTED);
		return true;
	case FILE_IO_QUEUED:
		return file_job_cancel(f);
	case FILE_IO_ENGINE:
		return f->lane->engine->abort && f->lane->engine->abort(f->lane, f);
	case FILE_IO_JOB:
	case FILE_IO_PARKED:
		return false;
	}
	return false;
}

/* --- statuses --------------------------------------------------------------------------------------------- */

/* After writing out has failed the system may forget what it could not write, and say yes the next time. */
static void unsynced(struct file_disk *d, int error)
{
	uint8_t good = FILE_GOOD;

	atomic_fetch_add(&d->sync_failures, 1);
	if (atomic_compare_exchange_strong(&d->state, &good, FILE_UNSYNCED))
		log_error("%s '%s': writing out '%s' failed (%s); nobody knows what is on the media. It answers FAILED until "
		          "it is rescanned", d->bdev.product, d->bdev.name, d->filename, strerror(error));
}

/* A block device that was taken out has no bytes left; its I/O ends in any of EIO, ENOSPC and nothing. */
static bool was_taken_out(const struct file_disk *d)
{
	uint64_t bytes = 0;

	return d->is_block_device && (file_size(d->fd, true, &bytes) != 0 || !bytes);
}

/* A flush says once what kept the system from writing out, and forgets: also that there was no room, where that shows
 * only then. Not of that kind is what says that nothing was tried. */
static bool flush_lost_something(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case ENOMEM:
	case ENOBUFS:
	case EROFS:
	case EPERM:
	case EACCES:
	case EBADE:
	case ETIMEDOUT:
	case ETIME:
		return true;
	}
	return false;
}

/* On the media before it is answered; past the page cache of a device an error is of its own blocks alone. */
static bool goes_through(const struct file_disk *d, const struct bdev_io *io)
{
	return io->flags & BDEV_IO_FUA && !(d->is_block_device && d->direct) &&
	       (io->op == BDEV_READ || io->op == BDEV_WRITE || io->op == BDEV_WRITE_ZEROES);
}

enum bdev_status file_status(struct file_disk *d, const struct bdev_io *io, int error)
{
	int cause = error;

	if (unlikely((error == EIO || error == ENOSPC) && was_taken_out(d)))
		error = ENODEV;
	if (unlikely(io->op == BDEV_FLUSH && flush_lost_something(error)))
		error = EIO;
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return BDEV_ST_NO_SPACE;
	case ECANCELED:
		return BDEV_ST_ABORTED;
	case ENOMEM:
	case ENOBUFS:
	case EAGAIN:
	case EBUSY:
		return BDEV_ST_BUSY;
	case EINVAL:
		return BDEV_ST_BAD_FIELD;
	case EOPNOTSUPP:
	case ENOSYS:
		return BDEV_ST_UNSUPPORTED;
	case EROFS:
	case EPERM:
	case EACCES:
		return BDEV_ST_WRITE_PROTECTED;
	case EBADE: /* the device's word for a reservation conflict */
		return BDEV_ST_RESERVED;
	case ETIMEDOUT:
	case ETIME:
		return BDEV_ST_TIMED_OUT;
	case ENODEV:
	case ENXIO:
	case ENOMEDIUM:
	case ESTALE:
	case ENOTCONN:
	case ESHUTDOWN:
	case ENOLINK:
	case EBADF:
		file_seems_lost(d);
		return BDEV_ST_FAILED;
	}
	if (io->op == BDEV_FLUSH || goes_through(d, io)) {
		unsynced(d, cause);
		return BDEV_ST_FAILED;
	}
	return BDEV_ST_MEDIA_ERROR;
}
