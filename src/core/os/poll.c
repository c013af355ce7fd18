/* SPDX-License-Identifier: BSD-3-Clause */
/* poll.c: where a reactor waits: one epoll, with an eventfd in it for messages and mode switches.
 *
 * The eventfd is edge triggered and never read: each write is one event, and nothing is left to clear.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/os/os.h"

struct platform_reactor *platform_reactor_make(struct platform *p, struct reactor *r, struct err *e)
{
	struct platform_reactor *pr = base_zalloc(sizeof(*pr));
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };

	pr->platform = p;
	pr->r = r;
	atomic_init(&pr->waiting, true); /* for the guard, until its thread runs */
	pr->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	pr->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (pr->epoll_fd < 0 || pr->wake_fd < 0 || epoll_ctl(pr->epoll_fd, EPOLL_CTL_ADD, pr->wake_fd, &ev)) {
		err_set(e, -errno, "cannot make the event queue of a reactor: %s (see ulimit -n)", strerror(errno));
		platform_reactor_free(pr);
		return NULL;
	}
	return pr;
}

void platform_reactor_free(struct platform_reactor *pr)
{
	if (!pr)
		return;
	if (pr->epoll_fd >= 0)
		close(pr->epoll_fd);
	if (pr->wake_fd >= 0)
		close(pr->wake_fd);
	free(pr);
}

/* --- waiting ------------------------------------------------------------------------------------- */

static int wait_ns(struct platform_reactor *pr, uint64_t timeout_ns);
static void dispatch(struct platform_reactor *pr, uint32_t count, uint32_t *ret_dispatched);

uint32_t platform_poll(struct platform_reactor *pr, uint64_t timeout_ns)
{
	uint32_t dispatched = 0;
	int count;

	if (!timeout_ns) {
		if (!pr->sources)
			return 0; /* nothing but the eventfd, whose message was seen without it */
		count = epoll_wait(pr->epoll_fd, pr->events, POLL_EVENTS, 0);
	} else {
		atomic_store(&pr->waiting, true);
		count = wait_ns(pr, timeout_ns);
		stat_add(&pr->waits, 1);
		atomic_store(&pr->waiting, false);
		guard_arm(&pr->platform->guard);
		reactor_woke(pr->r);
	}
	if (count > 0)
		dispatch(pr, (uint32_t)count, &dispatched);
	return dispatched;
}

static int wait_ns(struct platform_reactor *pr, uint64_t timeout_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(timeout_ns / NS_PER_S), .tv_nsec = (long)(timeout_ns % NS_PER_S),
	};
	uint64_t ms = div_up(timeout_ns, NS_PER_MS);
	int count;

	if (timeout_ns == UINT64_MAX)
		return epoll_wait(pr->epoll_fd, pr->events, POLL_EVENTS, -1);
	if (!pr->pwait2_missing) {
		count = epoll_pwait2(pr->epoll_fd, pr->events, POLL_EVENTS, &ts, NULL);
		if (count >= 0 || (errno != ENOSYS && errno != EPERM))
			return count;
		pr->pwait2_missing = true;
	}
	return epoll_wait(pr->epoll_fd, pr->events, POLL_EVENTS, (int)min_u64(ms, INT32_MAX));
}

static void dispatch(struct platform_reactor *pr, uint32_t count, uint32_t *ret_dispatched)
{
	pr->event_count = count;
	for (pr->event_at = 0; pr->event_at < pr->event_count;) {
		struct epoll_event *ev = &pr->events[pr->event_at++];
		struct source *s = ev->data.ptr;
		uint32_t events;

		if (!s)
			continue; /* the eventfd, or a source that was stopped meanwhile */
		events = ev->events & (s->events | EPOLLERR | EPOLLHUP);
		if (!events)
			continue; /* no longer asked for */
		(*ret_dispatched)++;
		reactor_source_ready(pr->r, s, events);
	}
	pr->event_at = pr->event_count = 0;
}

void platform_wake(struct platform_reactor *pr)
{
	uint64_t one = 1;
	ssize_t n = write(pr->wake_fd, &one, sizeof(one));

	(void)n; /* it fails only when 2^64 wake-ups wait, and then one more is not needed */
}

/* --- descriptors --------------------------------------------------------------------------------- */

int platform_source_start(struct platform_reactor *pr, struct source *s)
{
	struct epoll_event ev = { .events = s->events, .data.ptr = s };

	if (epoll_ctl(pr->epoll_fd, EPOLL_CTL_ADD, s->fd, &ev))
		return -errno;
	pr->sources++;
	return 0;
}

void platform_source_change(struct platform_reactor *pr, struct source *s)
{
	struct epoll_event ev = { .events = s->events, .data.ptr = s };

	must(epoll_ctl(pr->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev) == 0);
}

void platform_source_stop(struct platform_reactor *pr, struct source *s)
{
	/* ENOENT and EBADF: closed before it was stopped, which takes it out as well */
	int rc = epoll_ctl(pr->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);

	must(rc == 0 || errno == ENOENT || errno == EBADF);
	pr->sources--;
	for (uint32_t i = pr->event_at; i < pr->event_count; i++)
		if (pr->events[i].data.ptr == s)
			pr->events[i].data.ptr = NULL;
}
