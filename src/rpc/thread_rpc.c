/* SPDX-License-Identifier: BSD-3-Clause */
/* thread_rpc.c: the reactors, in the shapes of SPDK's reactors and threads, and why they were awake.
 *
 * A reactor here is a reactor and its one thread there. Times are nanoseconds: tick_rate says so.
 */
#include "rpc/core_rpc.h"

static gather_fn make_reactors, make_thread_stats, make_thread_pollers, make_thread_channels, make_wakeups;
static void add_item_lists(struct json_object *o, const struct gathered *g);
static void add_lookers(struct json_object *o, const struct gathered *g);
static uint64_t thread_id(const struct gathered *g);

static void handle_framework_get_reactors(struct rpc_call *call, void *args)
{
	gather(rpc_ctx(call), call, make_reactors);
}

static struct json_object *make_reactors(struct rpc_core_methods *m, const struct gathered *reactors, uint32_t count)
{
	struct json_object *result = json_object_new_object(), *array;
	char name[32];

	json_add_u64(result, "tick_rate", NS_PER_S);
	json_add_u64(result, "pid", m->host->pid);
	array = json_add_array(result, "reactors");
	for (uint32_t i = 0; i + 1 < count; i++) {
		const struct gathered *g = &reactors[i];
		struct json_object *o = json_append_object(array), *t;
		enum core_mode mode = reactor_mode(g->reactor);

		json_add_u64(o, "lcore", reactor_cpu(g->reactor));
		json_object_object_add(o, "numa_id", json_object_new_int(reactor_node(g->reactor))); /* -1: SPDK's "any" */
		json_add_u64(o, "tid", g->thread_id);
		json_add_u64(o, "busy", g->stats.busy_ns);
		json_add_u64(o, "idle", g->stats.idle_ns + g->stats.sleep_ns);
		json_add_u64(o, "sleep", g->stats.sleep_ns);
		json_add_u64(o, "cpu", g->stats.cpu_ns);
		json_add_text(o, "mode", core_mode_name(mode));
		json_add_bool(o, "in_interrupt", mode == CORE_INTERRUPT || reactor_is_parked(g->reactor));
		json_add_bool(o, "parked", reactor_is_parked(g->reactor));
		json_add_u64(o, "message_depth", g->stats.message_depth);
		json_add_u64(o, "message_depth_max", g->stats.message_depth_max);
		json_add_u64(o, "message_age_ns", g->stats.message_age_ns);
		json_add_u64(o, "message_age_max_ns", g->stats.message_age_max_ns);
		json_add_u64(o, "irq", 0); /* not counted, as with SPDK when it cannot read them */
		json_add_u64(o, "sys", 0);
		json_add_u64(o, "usr", 0);
		t = json_append_object(json_add_array(o, "lw_threads"));
		json_add_text(t, "name", gathered_name(g, name));
		json_add_u64(t, "id", thread_id(g));
		json_add_text(t, "cpumask", g->mask);
		json_add_u64(t, "elapsed", core_clock_ns() - m->began_ns);
	}
	return result;
}

/* What all three thread_get_* say of a thread first; `show` adds its part. */
static struct json_object *make_threads(const struct gathered *reactors, uint32_t count,
                                        void (*show)(struct json_object *o, const struct gathered *g))
{
	struct json_object *result = json_object_new_object(), *array;
	char name[32];

	json_add_u64(result, "tick_rate", NS_PER_S);
	array = json_add_array(result, "threads");
	for (uint32_t i = 0; i < count; i++) {
		struct json_object *o = json_append_object(array);

		json_add_text(o, "name", gathered_name(&reactors[i], name));
		show(o, &reactors[i]);
	}
	return result;
}

static void handle_thread_get_stats(struct rpc_call *call, void *args)
{
	gather(rpc_ctx(call), call, make_thread_stats);
}

static void show_stats(struct json_object *o, const struct gathered *g)
{
	json_add_u64(o, "id", thread_id(g));
	json_add_text(o, "cpumask", g->mask);
	json_add_u64(o, "busy", g->stats.busy_ns);
	json_add_u64(o, "idle", g->stats.idle_ns + g->stats.sleep_ns);
	json_add_u64(o, "message_depth", g->stats.message_depth);
	json_add_u64(o, "message_depth_max", g->stats.message_depth_max);
	json_add_u64(o, "message_age_ns", g->stats.message_age_ns);
	json_add_u64(o, "message_age_max_ns", g->stats.message_age_max_ns);
	json_add_u64(o, "active_pollers_count", g->poller_count);
	json_add_u64(o, "timed_pollers_count", 0);
	json_add_u64(o, "paused_pollers_count", 0);
}

static struct json_object *make_thread_stats(struct rpc_core_methods *m, const struct gathered *reactors,
                                             uint32_t count)
{
	return make_threads(reactors, count, show_stats);
}

static void handle_thread_get_pollers(struct rpc_call *call, void *args)
{
	gather(rpc_ctx(call), call, make_thread_pollers);
}

static void show_pollers(struct json_object *o, const struct gathered *g)
{
	struct json_object *active;

	json_add_u64(o, "id", thread_id(g));
	active = json_add_array(o, "active_pollers");
	for (size_t k = 0; k < g->poller_count; k++) {
		struct json_object *p = json_append_object(active);

		json_add_text(p, "name", g->pollers[k].name);
		json_add_u64(p, "id", k + 1);
		json_add_text(p, "state", "waiting");
		json_add_u64(p, "run_count", g->pollers[k].runs);
		json_add_u64(p, "busy_count", g->pollers[k].busy_runs);
	}
	json_add_array(o, "timed_pollers");
	json_add_array(o, "paused_pollers");
	add_lookers(o, g);
}

static struct json_object *make_thread_pollers(struct rpc_core_methods *m, const struct gathered *reactors,
                                               uint32_t count)
{
	return make_threads(reactors, count, show_pollers);
}

static void handle_thread_get_io_channels(struct rpc_call *call, void *args)
{
	gather(rpc_ctx(call), call, make_thread_channels);
}

/* Descriptors that a reactor waits on are what it has in SPDK's place of I/O channels. */
static void show_channels(struct json_object *o, const struct gathered *g)
{
	struct json_object *channels = json_add_array(o, "io_channels");

	for (size_t k = 0; k < g->source_count; k++) {
		struct json_object *c = json_append_object(channels);

		json_add_text(c, "name", g->sources[k].name);
		json_add_u64(c, "ref", g->sources[k].count);
	}
}

static struct json_object *make_thread_channels(struct rpc_core_methods *m, const struct gathered *reactors,
                                                uint32_t count)
{
	return make_threads(reactors, count, show_channels);
}

static void handle_gantry_get_wakeups(struct rpc_call *call, void *args)
{
	gather(rpc_ctx(call), call, make_wakeups);
}

static struct json_object *make_wakeups(struct rpc_core_methods *m, const struct gathered *reactors, uint32_t count)
{
	struct json_object *result = json_object_new_object(), *array = json_add_array(result, "reactors");
	char name[32];

	for (uint32_t i = 0; i < count; i++) {
		const struct gathered *g = &reactors[i];
		const struct reactor_stats *s = &g->stats;
		struct json_object *o = json_append_object(array), *part;

		json_add_text(o, "name", gathered_name(g, name));
		if (!reactor_is_control(g->reactor))
			json_add_u64(o, "cpu", reactor_cpu(g->reactor));
		json_add_text(o, "mode", core_mode_name(reactor_mode(g->reactor)));
		json_add_u64(o, "busy_ns", s->busy_ns);
		json_add_u64(o, "idle_ns", s->idle_ns);
		json_add_u64(o, "sleep_ns", s->sleep_ns);
		json_add_u64(o, "cpu_ns", s->cpu_ns);
		json_add_u64(o, "passes", s->passes);
		json_add_u64(o, "busy_passes", s->busy_passes);
		json_add_u64(o, "sleeps", s->sleeps);
		part = json_add_object(o, "wakes");
		json_add_u64(part, "message", s->wakes_message);
		json_add_u64(part, "fd", s->wakes_fd);
		json_add_u64(part, "timer", s->wakes_timer);
		part = json_add_object(o, "work");
		json_add_u64(part, "messages", s->messages);
		json_add_u64(part, "fd_events", s->fd_events);
		json_add_u64(part, "timers", s->timers);
		json_add_u64(part, "polls_busy", s->polls_busy);
		json_add_u64(part, "looks_busy", s->looks_busy);
		json_add_u64(part, "defers", s->defers);
		json_add_u64(o, "arms", s->arms);
		json_add_u64(o, "arms_in_vain", s->arms_in_vain);
		json_add_u64(o, "asks_saved", s->asks_saved);
		json_add_u64(o, "message_depth_max", s->message_depth_max);
		json_add_u64(o, "message_age_max_ns", s->message_age_max_ns);
		json_add_u64(o, "longest_ns", s->longest_ns);
		json_add_text(o, "longest_name", s->longest_name ? s->longest_name : "");
		json_add_u64(o, "longest_cpu_ns", s->longest_cpu_ns);
		json_add_text(o, "longest_cpu_name", s->longest_cpu_name ? s->longest_cpu_name : "");
		json_add_u64(o, "stalls", s->stalls);
		add_item_lists(o, g);
	}
	return result;
}

static void add_item_lists(struct json_object *o, const struct gathered *g)
{
	struct json_object *list = json_add_array(o, "pollers");

	for (size_t i = 0; i < g->poller_count; i++) {
		struct json_object *p = json_append_object(list);

		json_add_text(p, "name", g->pollers[i].name);
		json_add_u64(p, "runs", g->pollers[i].runs);
		json_add_u64(p, "busy_runs", g->pollers[i].busy_runs);
	}
	list = json_add_array(o, "sources");
	for (size_t i = 0; i < g->source_count; i++) {
		struct json_object *s = json_append_object(list);

		json_add_text(s, "name", g->sources[i].name);
		json_add_u64(s, "count", g->sources[i].count);
	}
	add_lookers(o, g);
}

/* What it looks at while it is awake, and that does not keep it awake. */
static void add_lookers(struct json_object *o, const struct gathered *g)
{
	struct json_object *list = json_add_array(o, "lookers");

	for (size_t i = 0; i < g->looker_count; i++) {
		struct json_object *l = json_append_object(list);

		json_add_text(l, "name", g->lookers[i].name);
		json_add_u64(l, "count", g->lookers[i].count);
		json_add_u64(l, "armed", g->lookers[i].armed);
		json_add_u64(l, "run_count", g->lookers[i].runs);
		json_add_u64(l, "busy_count", g->lookers[i].busy_runs);
		json_add_u64(l, "arms", g->lookers[i].arms);
		json_add_u64(l, "rings", g->lookers[i].rings);
	}
}

/* SPDK counts threads from 1, and its first is the one that runs the RPCs. */
static uint64_t thread_id(const struct gathered *g)
{
	return reactor_is_control(g->reactor) ? 1 : reactor_index(g->reactor) + 2;
}

static const struct rpc_method methods[] = {
	RPC_METHOD_BARE("framework_get_reactors", handle_framework_get_reactors, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "The reactors: CPU, mode, and how their time was spent.",
		.returns = "{tick_rate, pid, reactors: [{lcore, tid, busy, idle, sleep, cpu, mode, lw_threads, ...}]}"),
	RPC_METHOD_BARE("thread_get_stats", handle_thread_get_stats, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "Busy and idle time of every reactor and of the control thread.",
		.returns = "{tick_rate, threads: [{name, id, cpumask, busy, idle, active_pollers_count, ...}]}"),
	RPC_METHOD_BARE("thread_get_pollers", handle_thread_get_pollers, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "What has to be polled, by name: each keeps its reactor awake. Normally none. And `lookers`, memory "
		       "that an awake reactor looks at; those `armed` wait for their bell.",
		.returns = "{tick_rate, threads: [{name, id, active_pollers, timed_pollers, paused_pollers, lookers}]}"),
	RPC_METHOD_BARE("thread_get_io_channels", handle_thread_get_io_channels, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "What every reactor waits on, by kind and how many.",
		.returns = "{tick_rate, threads: [{name, io_channels: [{name, ref}]}]}"),
	RPC_METHOD_BARE("gantry_get_wakeups", handle_gantry_get_wakeups, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "Why every reactor was awake: what ended its sleeps, what it did then, and what it has to poll.",
		.returns = "{reactors: [{name, cpu, mode, busy_ns, idle_ns, sleep_ns, sleeps, wakes, work, pollers, ...}]}"),
};

void thread_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
