/* SPDX-License-Identifier: BSD-3-Clause */
/* notify.c: the ring of events, on the control reactor; what others have to tell comes by message. */
#include "core/notify.h"

#include "base/text.h"
#include "core/reactor.h"

struct notify_hub {
	_Atomic uint32_t on_the_way;
	_Atomic uint64_t dropped;
	/* control */
	uint64_t next_id;
	struct list listeners;
	struct notify_event *events;  /* made with the first */
};

struct letter {
	struct msg msg;
	struct core *core;
	struct notify_event event;
};

static void add(struct core *core, const struct notify_event *ev);
static void letter_came(struct msg *m);

void notify_init(struct core *core)
{
	core->notify = base_zalloc(sizeof(*core->notify));
	list_init(&core->notify->listeners);
}

void notify_fini(struct core *core)
{
	if (core->notify)
		free(core->notify->events);
	free(core->notify);
}

void notify(struct core *core, enum notify_type type, const char *fmt, ...)
{
	struct notify_hub *hub = core->notify;
	struct reactor *self = reactor_self();
	bool here = self && reactor_is_control(self) && self->core == core;
	struct notify_event ev = { .type = type, .at_us = core_wall_us() };
	struct text t = text_over(ev.context, sizeof(ev.context));
	struct letter *letter;
	va_list ap;

	va_start(ap, fmt);
	text_vadd(&t, fmt, ap);
	va_end(ap);
	if (here) {
		add(core, &ev);
		return;
	}
	if (atomic_fetch_add(&hub->on_the_way, 1) >= NOTIFY_ON_THE_WAY_MAX) {
		atomic_fetch_sub(&hub->on_the_way, 1);
		atomic_fetch_add(&hub->dropped, 1);
		return;
	}
	letter = base_zalloc(sizeof(*letter));
	letter->core = core;
	letter->event = ev;
	msg_send(core_control(core), &letter->msg, letter_came);
}

static void letter_came(struct msg *m)
{
	struct letter *letter = container_of(m, struct letter, msg);

	atomic_fetch_sub(&letter->core->notify->on_the_way, 1);
	add(letter->core, &letter->event);
	free(letter);
}

static void add(struct core *core, const struct notify_event *ev)
{
	struct notify_hub *hub = core->notify;
	struct notify_event *slot;

	if (!hub->events)
		hub->events = base_zalloc(NOTIFY_EVENTS_MAX * sizeof(*hub->events));
	slot = &hub->events[hub->next_id % NOTIFY_EVENTS_MAX];
	*slot = *ev;
	slot->id = hub->next_id++;
	list_each_safe(l, &hub->listeners) {
		struct notify_listener *listener = list_entry(l, struct notify_listener, link);

		listener->fn(listener);
	}
}

uint64_t notify_next_id(struct core *core) { return core->notify->next_id; }
uint64_t notify_dropped(struct core *core) { return atomic_load(&core->notify->dropped); }

const struct notify_event *notify_get(struct core *core, uint64_t id)
{
	struct notify_hub *hub = core->notify;

	if (id >= hub->next_id || hub->next_id - id > NOTIFY_EVENTS_MAX)
		return NULL;
	return &hub->events[id % NOTIFY_EVENTS_MAX];
}

void notify_listen(struct core *core, struct notify_listener *l, void (*fn)(struct notify_listener *l))
{
	l->fn = fn;
	list_add_tail(&core->notify->listeners, &l->link);
}

void notify_unlisten(struct notify_listener *l)
{
	list_del(&l->link);
}

const char *notify_type_name(enum notify_type type)
{
#define NOTIFY_NAME(type, name, doc) name,
	static const char *const names[] = { NOTIFY_TYPES(NOTIFY_NAME) };

	return type < NOTIFY_TYPE_COUNT ? names[type] : "unknown";
}
