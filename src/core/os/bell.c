/* SPDX-License-Identifier: BSD-3-Clause */
/* bell.c: core/bell.h over the kernel's eventfds. */
#include "core/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/os/os.h"

static bool is_eventfd(int fd);
static void on_event(struct source *s, uint32_t events);

int bell_make(struct bell *b, struct err *e)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	*b = (struct bell){ .fd = fd, .open = fd >= 0 };
	if (fd < 0)
		return err_set(e, -errno, "no eventfd can be opened: %s (see ulimit -n)", strerror(errno));
	return 0;
}

int bell_take(struct bell *b, int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	*b = (struct bell){ .fd = fd, .open = true };
	if (flags >= 0 && is_eventfd(fd) && !fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return 0;
	if (flags >= 0)
		close(fd);
	b->open = false;
	return err_set(e, -EINVAL, "descriptor %d is not an eventfd", fd);
}

/* Where /proc is missing: one of the few things that have no type of file at all. */
static bool is_eventfd(int fd)
{
	char link[64], what[64];
	struct stat st;
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, what, sizeof(what) - 1);
	if (len < 0)
		return !fstat(fd, &st) && (st.st_mode & S_IFMT) == 0;
	what[len] = 0;
	return strstr(what, "[eventfd]") != NULL;
}

void bell_close(struct bell *b)
{
	if (!b->open)
		return;
	bell_unlisten(b);
	close(b->fd);
	b->open = false;
}

/* It fails only when so many wait that one more is not needed. */
void bell_ring(const struct bell *b)
{
	uint64_t one = 1;
	ssize_t n;

	assert(b->open);
	n = write(b->fd, &one, sizeof(one));
	(void)n;
}

int bell_listen(struct bell *b, const char *name, bell_fn *rang)
{
	int rc;

	assert(b->open);
	assert(!b->listening);
	b->rang = rang;
	rc = source_start(&b->source, b->fd, EPOLLIN, name, on_event);
	if (rc)
		return rc;
	b->listening = true;
	b->source.reactor->bell_count++;
	return 0;
}

void bell_unlisten(struct bell *b)
{
	if (!b->listening)
		return;
	b->source.reactor->bell_count--;
	b->listening = false;
	source_stop(&b->source);
}

/* Somebody else who listens to the same one may have been first. */
static void on_event(struct source *s, uint32_t events)
{
	struct bell *b = container_of(s, struct bell, source);
	uint64_t rings;

	if (read(b->fd, &rings, sizeof(rings)) == (ssize_t)sizeof(rings))
		b->rang(b);
}
