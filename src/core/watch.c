/* SPDX-License-Identifier: BSD-3-Clause */
/* watch.c: one timer per reactor, running only while a watch is armed, asks each what is overdue. */
#include "core/watch.h"

#include <stdarg.h>

#include "base/text.h"
#include "core/log.h"
#include "core/notify.h"
#include "core/reactor.h"

#define LOOKS_PER_LIMIT 4 /* so that what is stuck is told within five quarters of the limit */
#define NOTES_MAX 16
#define SAID_MAX 16u      /* a look; a disk that answers nothing may have thousands waiting */

struct watch_list {
	struct list watches;
	struct timer timer;
	uint32_t said;        /* by this look */
	uint64_t notes_count; /* ever made */
	struct watch_note notes[NOTES_MAX];
};

static void look(struct timer *t);

static struct watch_list *list_self(void)
{
	struct reactor *r = reactor_current;

	if (!r->watch) {
		r->watch = base_zalloc(sizeof(*r->watch));
		list_init(&r->watch->watches);
	}
	return r->watch;
}

void watch_start(struct watch *w, const char *name, watch_fn *fn)
{
	w->fn = fn;
	w->name = name;
	w->armed = false;
	list_add_tail(&list_self()->watches, &w->link);
}

void watch_stop(struct watch *w)
{
	list_del(&w->link);
	if (list_empty(&list_self()->watches))
		timer_stop(&list_self()->timer);
}

static void start_timer(struct watch_list *l)
{
	timer_start(&l->timer, atomic_load(&reactor_current->core->watch_limit_ns) / LOOKS_PER_LIMIT, look);
}

void watch_arm_slow(struct watch *w)
{
	struct watch_list *l = list_self();

	w->armed = true;
	if (!timer_is_running(&l->timer))
		start_timer(l);
}

static void look(struct timer *t)
{
	struct watch_list *l = container_of(t, struct watch_list, timer);
	uint64_t limit_ns = atomic_load(&reactor_current->core->watch_limit_ns);
	bool any = false;

	l->said = 0;
	list_each_safe(at, &l->watches) {
		struct watch *w = list_entry(at, struct watch, link);

		if (!w->armed)
			continue;
		w->armed = w->fn(w, reactor_now_ns(), limit_ns);
		any |= w->armed;
	}
	if (l->said > SAID_MAX)
		log_warning("stuck: %u more on core %u", l->said - SAID_MAX, atomic_load(&reactor_current->cpu));
	if (any)
		start_timer(l);
}

void watch_report(struct watch *w, uint64_t age_ns, const char *fmt, ...)
{
	struct watch_list *l = list_self();
	struct watch_note *n = &l->notes[l->notes_count++ % NOTES_MAX];
	struct text t = text_over(n->text, sizeof(n->text));
	char age[32];
	va_list ap;

	n->at_ns = reactor_now_ns();
	n->age_ns = age_ns;
	n->watch = w->name;
	va_start(ap, fmt);
	text_vadd(&t, fmt, ap);
	va_end(ap);
	atomic_fetch_add(&reactor_current->core->watch_stuck, 1);
	if (++l->said > SAID_MAX)
		return;
	log_warning("stuck for %s: %s: %s", text_duration(age_ns, age), w->name, n->text);
	notify(reactor_current->core, NOTIFY_IO_STUCK, "%s: %s: %s", age, w->name, n->text);
}

void watch_visit_notes(void (*visit)(const struct watch_note *n, void *arg), void *arg)
{
	struct watch_list *l = list_self();
	uint64_t count = min_u64(l->notes_count, NOTES_MAX);

	for (uint64_t i = l->notes_count - count; i < l->notes_count; i++)
		visit(&l->notes[i % NOTES_MAX], arg);
}

void watch_set_limit(struct core *core, uint64_t limit_ns) { atomic_store(&core->watch_limit_ns, limit_ns); }
uint64_t watch_get_limit(struct core *core) { return atomic_load(&core->watch_limit_ns); }
uint64_t watch_stuck_count(struct core *core) { return atomic_load(&core->watch_stuck); }
void watch_fini(struct reactor *r) { free(r->watch); }
