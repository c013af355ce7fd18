/* SPDX-License-Identifier: BSD-3-Clause */
/* notify_rpc.c: what happened, by number, in SPDK's shapes; a caller may wait for what is to come, and so follow. */
#include <errno.h>

#include "core/notify.h"
#include "rpc/core_rpc.h"

#define FOLLOWERS_MAX 64u
#define WAIT_MS_MAX 60000u
#define WAIT_LEAST_NS NS_PER_S /* who has waited so long makes room for another one */

struct rpc_notify {
	struct core *core;
	struct notify_listener listener;
	struct rpc_drain_hook drain;
	struct list followers;
	uint32_t follower_count;
};

/* A call that waits. */
struct follower {
	struct list link;
	struct rpc_notify *n;
	struct rpc_call *call;
	struct timer timer;
	uint64_t id, max, since_ns;
};

struct get_notifications {
	uint64_t id, max;
	uint32_t wait_ms;
};

static const struct rpc_param get_notifications_params[] = {
	RPC_PARAM(struct get_notifications, id, .doc = "The first wanted; 0 when left out."),
	RPC_PARAM(struct get_notifications, max, .fallback = "18446744073709551615", .doc = "Most of them."),
	RPC_PARAM(struct get_notifications, wait_ms, .max = WAIT_MS_MAX, .unit = "ms",
	          .doc = "How long to wait for one when there is none yet: to follow, ask again from the last id + 1. "
	                 "Where many wait it may be less."),
};

static void handle_get_types(struct rpc_call *call, void *args)
{
	struct json_object *result = json_object_new_array();

	for (enum notify_type t = 0; t < NOTIFY_TYPE_COUNT; t++)
		json_object_array_add(result, json_object_new_string(notify_type_name(t)));
	rpc_reply(call, result);
}

static void reply(struct rpc_call *call, struct core *core, uint64_t id, uint64_t max)
{
	struct json_object *result = json_object_new_array();
	uint64_t next = notify_next_id(core);

	if (next - id > NOTIFY_EVENTS_MAX && next > NOTIFY_EVENTS_MAX && id < next)
		id = next - NOTIFY_EVENTS_MAX;
	for (; id < next && max; id++, max--) {
		const struct notify_event *ev = notify_get(core, id);
		struct json_object *o = json_append_object(result);

		json_add_text(o, "type", notify_type_name(ev->type));
		json_add_text(o, "ctx", ev->context);
		json_add_u64(o, "id", ev->id);
		json_add_u64(o, "at_us", ev->at_us);
	}
	rpc_reply(call, result);
}

static void end(struct follower *f)
{
	timer_stop(&f->timer);
	list_del(&f->link);
	f->n->follower_count--;
	reply(f->call, f->n->core, f->id, f->max);
	free(f);
}

static void waited_enough(struct timer *t)
{
	end(container_of(t, struct follower, timer));
}

static void happened(struct notify_listener *l)
{
	struct rpc_notify *n = container_of(l, struct rpc_notify, listener);
	uint64_t next = notify_next_id(n->core);

	list_each_safe(at, &n->followers) {
		struct follower *f = list_entry(at, struct follower, link);

		if (f->id < next)
			end(f);
	}
}

static void drain(struct rpc_drain_hook *h)
{
	struct rpc_notify *n = container_of(h, struct rpc_notify, drain);

	while (!list_empty(&n->followers))
		end(list_first(&n->followers, struct follower, link));
}

/* Perhaps nobody hears the first in line any more. One that does asks again. */
static void make_room(struct rpc_notify *n)
{
	struct follower *first = list_first(&n->followers, struct follower, link);

	if (first && reactor_now_ns() - first->since_ns >= WAIT_LEAST_NS)
		end(first);
}

static void handle_get_notifications(struct rpc_call *call, void *args)
{
	struct rpc_core_methods *m = rpc_ctx(call);
	const struct get_notifications *a = args;
	struct rpc_notify *n = m->notify;
	struct follower *f;

	if (!a->wait_ms || !a->max || a->id < notify_next_id(n->core)) {
		reply(call, n->core, a->id, a->max);
		return;
	}
	if (n->follower_count == FOLLOWERS_MAX)
		make_room(n);
	if (n->follower_count == FOLLOWERS_MAX) {
		rpc_reply_error(call, -EBUSY, "wait_ms: %u callers wait already; try again later, or without", FOLLOWERS_MAX);
		return;
	}
	f = base_zalloc(sizeof(*f));
	f->n = n;
	f->call = call;
	f->id = a->id;
	f->max = a->max;
	f->since_ns = reactor_now_ns();
	list_add_tail(&n->followers, &f->link);
	n->follower_count++;
	timer_start(&f->timer, a->wait_ms * NS_PER_MS, waited_enough);
}

static const struct rpc_method methods[] = {
	RPC_METHOD_BARE("notify_get_types", handle_get_types, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "The kinds of notifications.", .returns = "[\"bdev_register\", ...]"),
	RPC_METHOD("notify_get_notifications", struct get_notifications, get_notifications_params,
		handle_get_notifications, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "What happened, oldest first. The last 1024 are kept.", .returns = "[{type, ctx, id, at_us}]"),
};

void notify_rpc_add(struct rpc_core_methods *m)
{
	struct rpc_notify *n = base_zalloc(sizeof(*n));

	m->notify = n;
	n->core = rpc_core(m->rpc);
	list_init(&n->followers);
	notify_listen(n->core, &n->listener, happened);
	n->drain.fn = drain;
	rpc_on_drain(m->rpc, &n->drain);
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}

void notify_rpc_free(struct rpc_core_methods *m)
{
	notify_unlisten(&m->notify->listener);
	free(m->notify);
}
