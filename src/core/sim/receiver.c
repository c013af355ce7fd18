/* SPDX-License-Identifier: BSD-3-Clause */
/* receiver.c: the thread of a receiver: an event of the world that comes some time after a wake-up. */
#include "core/receiver.h"
#include "core/sim/machine.h"

#define WAKE_NS_MAX (100 * NS_PER_US)

struct platform_thread {
	struct sim_event event;
	struct receiver *receiver;
};

static void run(struct sim_event *e)
{
	struct platform_thread *t = container_of(e, struct platform_thread, event);

	while (receiver_run(t->receiver) || !receiver_may_sleep(t->receiver))
		if (atomic_load(&t->receiver->stop))
			return;
}

struct platform_thread *platform_thread_start(struct platform *p, struct receiver *r)
{
	struct platform_thread *t = base_zalloc(sizeof(*t));

	t->receiver = r;
	atomic_store(&r->sleeping, 1);
	return t;
}

void platform_thread_wake(struct platform_thread *t)
{
	sim_event_at(&t->event, sim.now_ns + 1 + sim_draw(WAKE_NS_MAX), run);
}

void platform_thread_stop(struct platform_thread *t)
{
	sim_event_cancel(&t->event);
	while (receiver_run(t->receiver))
		;
	free(t);
}
