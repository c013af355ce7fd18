/* SPDX-License-Identifier: BSD-3-Clause */
/* file_job.c: what blocks, on helper threads: writing out, holes, zeroes, where holes are; and reads and writes, where
 * there is no other way.
 *
 * A lane has few jobs at a time, so that a file system that hangs does not take all helpers away from everybody else;
 * others queue.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backends/file/file_disk.h"

#define LANE_JOBS_MAX 4u
#define ZERO_BYTES 65536u

static void work(struct job *j);
static void worked(struct job *j);

/* Threads as an engine: the last resort. */
static int threads_probe(void) { return 0; }
static int threads_open(struct file_lane *l) { return 0; }
static void threads_close(struct file_lane *l) {}
static void threads_start(struct file_lane *l, struct file_io *f) { file_job_start(f); }

const struct file_engine file_threads = {
	.name = "threads", .sleeps = "message", .buffered = true,
	.probe = threads_probe, .open = threads_open, .close = threads_close, .start = threads_start,
};

void file_job_start(struct file_io *f)
{
	struct file_lane *l = f->lane;

	if (l->jobs >= LANE_JOBS_MAX) {
		f->state = FILE_IO_QUEUED;
		queue_push(&l->queued, &f->io->link);
		return;
	}
	l->jobs++;
	f->state = FILE_IO_JOB;
	memset(&f->job, 0, sizeof(f->job));
	job_start(&f->job, work, worked);
}

bool file_job_cancel(struct file_io *f)
{
	struct queue_link *l = queue_take_all(&f->lane->queued), *next;
	bool found = false;

	for (; l; l = next) {
		next = l->next;
		if (l == &f->io->link)
			found = true;
		else
			queue_push(&f->lane->queued, l);
	}
	if (found)
		file_io_end(f, BDEV_ST_ABORTED);
	return found;
}

/* --- on a helper: results are 0 or bytes, or a negative errno --------------------------------------------- */

static int64_t do_move(struct file_io *f);
static int64_t do_unmap(struct file_disk *d, const struct bdev_io *io);
static int64_t do_zeroes(struct file_disk *d, const struct bdev_io *io);
static int64_t do_lba_status(struct file_disk *d, struct bdev_io *io);

static void work(struct job *j)
{
	struct file_io *f = container_of(j, struct file_io, job);
	struct file_disk *d = file_disk_of(bdev_channel_bdev(f->io->ch));

	switch (f->io->op) {
	case BDEV_READ:
	case BDEV_WRITE:
		f->result = do_move(f);
		break;
	case BDEV_FLUSH:
		f->result = fdatasync(d->fd) ? -errno : 0;
		break;
	case BDEV_UNMAP:
		f->result = do_unmap(d, f->io);
		break;
	case BDEV_WRITE_ZEROES:
		f->result = do_zeroes(d, f->io);
		break;
	default:
		f->result = do_lba_status(d, f->io);
		break;
	}
}

static int64_t do_move(struct file_io *f)
{
	ssize_t n;

	if (f->io->op == BDEV_READ && f->through && fdatasync(f->fd))
		return -EIO;
	do {
		if (f->io->op == BDEV_READ)
			n = preadv(f->fd, f->iovs, f->iov_count, (off_t)f->at);
		else
			n = pwritev2(f->fd, f->iovs, f->iov_count, (off_t)f->at, f->through ? RWF_DSYNC : 0);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int fallocate_all(int fd, int mode, uint64_t at, uint64_t len)
{
	int rc;

	do
		rc = fallocate(fd, mode, (off_t)at, (off_t)len);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

/* 0; or -EOPNOTSUPP, and then it is known for the next time. */
static int punch(struct file_disk *d, uint64_t at, uint64_t len)
{
	int rc;

	if (atomic_load(&d->no_punch))
		return -EOPNOTSUPP;
	rc = fallocate_all(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, len);
	if (rc == -EOPNOTSUPP)
		atomic_store(&d->no_punch, true);
	else if (rc == 0)
		atomic_store(&d->thin, true);
	return rc;
}

static int unmap_range(struct file_disk *d, uint64_t lba, uint64_t count)
{
	uint64_t range[2] = { lba * d->bdev.block_size, count * d->bdev.block_size };
	int rc;

	if (!count)
		return 0;
	if (d->is_block_device)
		rc = ioctl(d->fd, BLKDISCARD, range) ? -errno : 0;
	else
		rc = punch(d, range[0], range[1]);
	return rc == -EOPNOTSUPP ? 0 : rc; /* it is advice: not to take it is allowed */
}

static int64_t do_unmap(struct file_disk *d, const struct bdev_io *io)
{
	int rc = 0;

	if (!io->unmap.range_count)
		return unmap_range(d, io->lba, io->count);
	for (uint32_t i = 0; i < io->unmap.range_count && !rc; i++)
		rc = unmap_range(d, io->unmap.ranges[i].lba, io->unmap.ranges[i].count);
	return rc;
}

/* By writing them: where the file system cannot do better. */
static int write_zeroes(struct file_disk *d, uint64_t at, uint64_t len)
{
	static const _Alignas(4096) uint8_t zeroes[ZERO_BYTES];
	ssize_t n;

	for (; len; at += (uint64_t)n, len -= (uint64_t)n) {
		n = pwrite(d->fd, zeroes, min_u64(len, sizeof(zeroes)), (off_t)at);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return n ? -errno : -ENOSPC;
	}
	return 0;
}

/* A file with holes gets holes; one that was allocated as a whole stays so, unless the host says it need not. */
static int64_t do_zeroes(struct file_disk *d, const struct bdev_io *io)
{
	uint64_t at = io->lba * d->bdev.block_size, len = io->count * d->bdev.block_size;
	bool hole = io->flags & BDEV_IO_DEALLOCATE || (!d->is_block_device && atomic_load(&d->thin));
	int rc = -EOPNOTSUPP;

	if (!hole && !atomic_load(&d->no_zero_range)) {
		rc = fallocate_all(d->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, len);
		if (rc == -EOPNOTSUPP)
			atomic_store(&d->no_zero_range, true);
	}
	if (rc == -EOPNOTSUPP)
		rc = punch(d, at, len);
	if (rc == -EOPNOTSUPP)
		rc = write_zeroes(d, at, len);
	if (rc == 0 && io->flags & BDEV_IO_FUA)
		rc = fdatasync(d->fd) ? -EIO : 0; /* whatever it was: it may have been of earlier writes */
	return rc;
}

static int64_t do_lba_status(struct file_disk *d, struct bdev_io *io)
{
	uint64_t block = d->bdev.block_size;
	off_t at = (off_t)(io->lba * block), data = lseek(d->fd, at, SEEK_DATA), end = data;

	io->lba_status.ret_mapped = true;
	io->lba_status.ret_blocks = io->count;
	if (data < 0 && errno != ENXIO)
		return errno == EINVAL || errno == EOPNOTSUPP ? 0 : -errno;
	if (data < 0 || data - at >= (off_t)block) { /* a hole, of whole blocks */
		io->lba_status.ret_mapped = false;
		if (data >= 0)
			io->lba_status.ret_blocks = min_u64(io->count, (uint64_t)(data - at) / block);
		return 0;
	}
	end = lseek(d->fd, data, SEEK_HOLE);
	if (end > at)
		io->lba_status.ret_blocks = min_u64(io->count, div_up((uint64_t)(end - at), block));
	return 0;
}

/* --- back on the lane's core ------------------------------------------------------------------------------ */

static void start_next(struct file_lane *l)
{
	struct queue_link *link;

	while (l->jobs < LANE_JOBS_MAX && (link = queue_pop(&l->queued))) {
		struct file_io *f = container_of(link, struct bdev_io, link)->device_ctx;

		if (bdev_io_may_land(f->io))
			file_job_start(f);
		else
			file_io_end(f, BDEV_ST_FENCED);
	}
}

static void worked(struct job *j)
{
	struct file_io *f = container_of(j, struct file_io, job);
	struct file_disk *d = file_disk_of(bdev_channel_bdev(f->io->ch));
	struct file_lane *l = f->lane;

	l->jobs--;
	if (f->io->op == BDEV_READ || f->io->op == BDEV_WRITE)
		file_io_moved(f, f->result);
	else
		file_io_end(f, f->result ? file_status(d, f->io, (int)-f->result) : BDEV_ST_OK);
	start_next(l);
}
