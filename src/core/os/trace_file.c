/* SPDX-License-Identifier: BSD-3-Clause */
/* trace_file.c: /dev/shm/gantry_trace.<id>: made when tracing is switched on for the first time, removed at the end. A
 * daemon that was killed leaves it, to be read. */
#include "core/os/trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

static struct trace_ring *share(struct trace_sharer *s, uint32_t count, struct err *e);
static int make_file(const char *path, struct err *e);
static bool is_left_over(const char *path, struct err *e);
static void write_header(struct trace_file_header *h, uint32_t rings);
static void copy_name(char dst[static 32], const char *src);

void trace_file_init(struct trace_file *f, struct core *core, int shm_id)
{
	struct text t = text_over(f->sharer.path, sizeof(f->sharer.path));

	f->sharer.share = share;
	f->map = NULL;
	if (shm_id >= 0)
		text_add(&t, "/dev/shm/gantry_trace.%d", shm_id);
	else
		text_add(&t, "/dev/shm/gantry_trace.pid%d", (int)getpid());
	trace_set_sharer(core, &f->sharer);
}

static struct trace_ring *share(struct trace_sharer *s, uint32_t count, struct err *e)
{
	struct trace_file *f = container_of(s, struct trace_file, sharer);
	int rc;

	f->bytes = TRACE_FILE_RINGS_AT + count * sizeof(struct trace_ring);
	f->fd = make_file(s->path, e);
	if (f->fd < 0)
		return NULL;
	f->map = MAP_FAILED;
	/* Not ftruncate(): where there is no room a store would kill the daemon. */
	rc = posix_fallocate(f->fd, 0, (off_t)f->bytes);
	if (rc == 0)
		f->map = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (f->map == MAP_FAILED) {
		rc = rc ? rc : errno;
		err_set(e, -rc, "the trace file %s cannot have %zu bytes: %s", s->path, f->bytes, strerror(rc));
		f->map = NULL;
		unlink(s->path);
		close(f->fd);
		return NULL;
	}
	write_header(f->map, count);
	return (struct trace_ring *)((char *)f->map + TRACE_FILE_RINGS_AT);
}

/* Locked before it has its name: who finds it unlocked finds what a dead daemon left. */
static int make_file(const char *path, struct err *e)
{
	char made[sizeof(((struct trace_sharer *)0)->path) + 32];
	struct text t = text_over(made, sizeof(made));
	int fd, rc;

	text_add(&t, "%s.new%d", path, (int)getpid());
	unlink(made);
	fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		err_set(e, -errno, "the trace file %s cannot be made: %s; another -i names another one", path,
		        strerror(errno));
		return -1;
	}
	rc = flock(fd, LOCK_EX | LOCK_NB);
	while (rc == 0 && (rc = link(made, path)) != 0 && errno == EEXIST && is_left_over(path, e))
		rc = 0;
	if (rc && !e->code)
		err_set(e, -errno, "the trace file %s cannot be made: %s; another -i names another one", path,
		        strerror(errno));
	unlink(made);
	if (rc == 0)
		return fd;
	close(fd);
	return -1;
}

/* By an earlier daemon of this id: taken away then; who reads it keeps it. */
static bool is_left_over(const char *path, struct err *e)
{
	struct trace_file_header h = { .pid = 0 };
	struct stat mine, named;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		/* Another daemon may have done this in the meantime. */
		if (fstat(fd, &mine) == 0 && lstat(path, &named) == 0 && mine.st_dev == named.st_dev &&
		    mine.st_ino == named.st_ino)
			unlink(path);
		close(fd);
		return true;
	}
	if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		h.pid = 0;
	close(fd);
	err_set(e, -EBUSY, "the trace file %s is in use by process %llu; start one of the two daemons with another -i",
	        path, (unsigned long long)h.pid);
	return false;
}

static void write_header(struct trace_file_header *h, uint32_t rings)
{
	h->version = TRACE_FILE_VERSION;
	h->rings = rings;
	h->ring_records = TRACE_RING_RECORDS;
	h->point_count = TRACE_POINT_COUNT;
	h->pid = (uint64_t)getpid();
	h->began_ns = core_clock_ns();
	h->began_wall_us = core_wall_us();
	for (uint32_t i = 0; i < TRACE_POINT_COUNT; i++) {
		struct trace_point_info info = trace_point_info(i);

		copy_name(h->points[i].name, info.name);
		copy_name(h->points[i].group, trace_group_name(info.group));
		copy_name(h->points[i].a, info.a);
		copy_name(h->points[i].b, info.b);
	}
	memcpy(h->magic, TRACE_FILE_MAGIC, sizeof(h->magic));
}

static void copy_name(char dst[static 32], const char *src)
{
	struct text t = text_over(dst, 32);

	text_add(&t, "%s", src);
}

void trace_file_end(struct trace_file *f)
{
	if (!f->map)
		return;
	munmap(f->map, f->bytes);
	unlink(f->sharer.path);
	close(f->fd);
	f->map = NULL;
}
