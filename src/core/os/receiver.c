/* SPDX-License-Identifier: BSD-3-Clause */
/* receiver.c: the thread of a receiver, which sleeps on an eventfd. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/os/os.h"
#include "core/receiver.h"

struct platform_thread {
	struct receiver *receiver;
	pthread_t thread;
	int wake_fd;
};

static void *run(void *arg)
{
	struct platform_thread *t = arg;
	struct receiver *r = t->receiver;
	char name[16];
	uint64_t count;

	snprintf(name, sizeof(name), "%s", r->name);
	pthread_setname_np(pthread_self(), name);
	for (;;) {
		bool stop = atomic_load(&r->stop); /* before it looks: what was sent before the end is run */

		if (receiver_run(r))
			continue;
		if (stop)
			return NULL;
		if (receiver_may_sleep(r))
			while (read(t->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
				;
	}
}

struct platform_thread *platform_thread_start(struct platform *p, struct receiver *r)
{
	struct platform_thread *t = base_zalloc(sizeof(*t));
	sigset_t all, old;
	int rc;

	(void)p;
	t->receiver = r;
	t->wake_fd = eventfd(0, EFD_CLOEXEC);
	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* as in helpers.c; libraries' threads inherit it from here */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = t->wake_fd < 0 ? errno : pthread_create(&t->thread, NULL, run, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!rc)
		return t;
	if (t->wake_fd >= 0)
		close(t->wake_fd);
	free(t);
	return NULL;
}

void platform_thread_wake(struct platform_thread *t)
{
	uint64_t one = 1;
	ssize_t n = write(t->wake_fd, &one, sizeof(one));

	(void)n; /* it fails only when 2^64 wake-ups wait */
}

void platform_thread_stop(struct platform_thread *t)
{
	platform_thread_wake(t);
	pthread_join(t->thread, NULL);
	close(t->wake_fd);
	free(t);
}
