/* SPDX-License-Identifier: BSD-3-Clause */
/* notify.h: what happened in the daemon, for those who follow it: a bounded list of numbered events on the control
 * reactor. Who falls behind misses the oldest, and sees it by the numbers. A type is one row here. */
#ifndef CORE_NOTIFY_H
#define CORE_NOTIFY_H

#include "core/core.h"

/*   type                  name                     what the event's context names */
#define NOTIFY_TYPES(X) \
	X(BDEV_REGISTER,       "bdev_register",         "the device") \
	X(BDEV_UNREGISTER,     "bdev_unregister",       "the device") \
	X(BDEV_RESIZE,         "bdev_resize",           "the device") \
	X(HOST_CONNECTED,      "host_connected",        "the host and the subsystem, or target node") \
	X(HOST_DISCONNECTED,   "host_disconnected",     "the host and the subsystem, or target node") \
	X(REMOTE_PATH_UP,      "remote_path_up",        "the controller and its address") \
	X(REMOTE_PATH_LOST,    "remote_path_lost",      "the controller and its address, and why") \
	X(IO_STUCK,            "io_stuck",              "the request, and what it waits for") \
	X(REACTOR_STALLED,     "reactor_stalled",       "the reactor and its callback")
#define NOTIFY_ENUM(type, name, doc) NOTIFY_##type,
enum notify_type { NOTIFY_TYPES(NOTIFY_ENUM) NOTIFY_TYPE_COUNT };
const char *notify_type_name(enum notify_type type);

#define NOTIFY_EVENTS_MAX 1024u
#define NOTIFY_CONTEXT_MAX 512u
#define NOTIFY_ON_THE_WAY_MAX 64u /* from other threads; more are dropped and counted */

struct notify_event {
	uint64_t id, at_us;           /* 0, 1, ...; wall clock */
	enum notify_type type;
	char context[NOTIFY_CONTEXT_MAX];
};

/* Any thread of the daemon. */
void notify(struct core *core, enum notify_type type, const char *fmt, ...) PRINTF(3, 4);

/* --- control reactor ---- */
/* The next event's number; those before it, but no more than NOTIFY_EVENTS_MAX, can be had. */
uint64_t notify_next_id(struct core *core);
/* NULL: not any more, or not yet. */
const struct notify_event *notify_get(struct core *core, uint64_t id);
uint64_t notify_dropped(struct core *core);

/* Be told of each event when it was added; at most a few. */
struct notify_listener {
	struct list link;
	void (*fn)(struct notify_listener *l);
};
void notify_listen(struct core *core, struct notify_listener *l, void (*fn)(struct notify_listener *l));
void notify_unlisten(struct notify_listener *l);

#endif
