/* SPDX-License-Identifier: BSD-3-Clause */
/* poll.c: Avahi's events over a reactor's descriptors and timers: nothing is polled. */
#include "mdns/poll.h"

#include <avahi-common/timeval.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/core.h"

/* D-Bus has a watch for each direction of one descriptor, a reactor one for both: each gets a descriptor of its own. */
struct AvahiWatch {
	struct source source;
	int fd, theirs;
	bool started;
	AvahiWatchEvent got;
	AvahiWatchCallback call;
	void *arg;
};
_Static_assert((int)AVAHI_WATCH_IN == EPOLLIN && (int)AVAHI_WATCH_OUT == EPOLLOUT && (int)AVAHI_WATCH_ERR == EPOLLERR &&
               (int)AVAHI_WATCH_HUP == EPOLLHUP, "the same bits");

static void ready(struct source *s, uint32_t events)
{
	AvahiWatch *w = container_of(s, struct AvahiWatch, source);

	w->got = (AvahiWatchEvent)events;
	w->call(w, w->theirs, w->got, w->arg); /* it may free the watch */
}

static AvahiWatch *watch_new(const AvahiPoll *poll, int fd, AvahiWatchEvent event, AvahiWatchCallback call, void *arg)
{
	AvahiWatch *w = base_zalloc(sizeof(*w));

	w->theirs = fd;
	w->call = call;
	w->arg = arg;
	w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	w->started = w->fd >= 0 && source_start(&w->source, w->fd, (uint32_t)event, "mdns", ready) == 0;
	return w;
}

static void watch_update(AvahiWatch *w, AvahiWatchEvent event)
{
	if (w->started)
		source_change(&w->source, (uint32_t)event);
}

static AvahiWatchEvent watch_get_events(AvahiWatch *w)
{
	return w->got;
}

static void watch_free(AvahiWatch *w)
{
	if (w->started)
		source_stop(&w->source);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

struct AvahiTimeout {
	struct timer timer;
	AvahiTimeoutCallback call;
	void *arg;
};

static void due(struct timer *t)
{
	AvahiTimeout *o = container_of(t, struct AvahiTimeout, timer);

	o->call(o, o->arg); /* it may free the timeout */
}

/* `at`: of the wall clock; NULL: never. */
static void timeout_update(AvahiTimeout *o, const struct timeval *at)
{
	AvahiUsec in_us = at ? -avahi_age(at) : 0;

	timer_stop(&o->timer);
	if (at)
		timer_start(&o->timer, in_us > 0 ? (uint64_t)in_us * NS_PER_US : 0, due);
}

static AvahiTimeout *timeout_new(const AvahiPoll *poll, const struct timeval *at, AvahiTimeoutCallback call, void *arg)
{
	AvahiTimeout *o = base_zalloc(sizeof(*o));

	o->call = call;
	o->arg = arg;
	timeout_update(o, at);
	return o;
}

static void timeout_free(AvahiTimeout *o)
{
	timer_stop(&o->timer);
	free(o);
}

void mdns_poll_init(AvahiPoll *poll)
{
	*poll = (AvahiPoll){
		.watch_new = watch_new, .watch_update = watch_update, .watch_get_events = watch_get_events,
		.watch_free = watch_free, .timeout_new = timeout_new, .timeout_update = timeout_update,
		.timeout_free = timeout_free,
	};
}
