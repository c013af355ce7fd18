/* SPDX-License-Identifier: BSD-3-Clause */
/* watch_rpc.c: the watchdog: for how long a request may take before it is said, and which took longer. */
#include "core/watch.h"
#include "rpc/core_rpc.h"

#define NOTES_MAX 16u /* of a reactor: as many as it keeps */

struct set_watchdog {
	uint64_t limit_ms;
};

static const struct rpc_param set_watchdog_params[] = {
	RPC_PARAM(struct set_watchdog, limit_ms, .required = true, .min = 100, .max = 86400000, .unit = "ms",
	          .doc = "A request that takes longer is said, with what it waits for; at first 10 s."),
};

static void handle_gantry_set_watchdog(struct rpc_call *call, void *args)
{
	struct rpc_core_methods *m = rpc_ctx(call);

	m->watch_limit_ms = ((struct set_watchdog *)args)->limit_ms;
	watch_set_limit(rpc_core(m->rpc), m->watch_limit_ms * NS_PER_MS);
	rpc_reply_true(call);
}

void watch_rpc_save(struct rpc_core_methods *m, struct json_object *array)
{
	const struct set_watchdog a = { .limit_ms = m->watch_limit_ms };
	struct json_object *entry;

	if (!m->watch_limit_ms)
		return;
	entry = json_append_object(array);
	json_add_text(entry, "method", "gantry_set_watchdog");
	json_object_object_add(entry, "params",
	                       rpc_params_to_json(set_watchdog_params, ARRAY_SIZE(set_watchdog_params), &a));
}

/* --- what it said --- */

struct notes {
	uint32_t count;
	struct watch_note of[NOTES_MAX];
};

struct asking {
	struct each each;
	struct rpc_call *call;
	struct notes notes[CORE_REACTORS_MAX];
};

static void keep(const struct watch_note *n, void *arg)
{
	struct notes *notes = arg;

	if (notes->count < NOTES_MAX)
		notes->of[notes->count++] = *n;
}

static void ask_on_core(struct each *e)
{
	watch_visit_notes(keep, &container_of(e, struct asking, each)->notes[reactor_index(reactor_self())]);
}

static void asked(struct each *e)
{
	struct asking *a = container_of(e, struct asking, each);
	struct core *core = rpc_core(rpc_of(a->call));
	struct json_object *result = json_object_new_object(), *array;

	json_add_u64(result, "limit_ms", watch_get_limit(core) / NS_PER_MS);
	json_add_u64(result, "stuck", watch_stuck_count(core));
	array = json_add_array(result, "last");
	for (uint32_t i = 0; i < core_reactor_count(core); i++) {
		for (uint32_t k = 0; k < a->notes[i].count; k++) {
			const struct watch_note *n = &a->notes[i].of[k];
			struct json_object *o = json_append_object(array);

			json_add_u64(o, "reactor", i);
			json_add_u64(o, "ago_ms", (core_clock_ns() - n->at_ns) / NS_PER_MS);
			json_add_u64(o, "age_ms", n->age_ns / NS_PER_MS);
			json_add_text(o, "of", n->watch);
			json_add_text(o, "what", n->text);
		}
	}
	rpc_reply(a->call, result);
	free(a);
}

static void handle_gantry_get_watchdog(struct rpc_call *call, void *args)
{
	struct asking *a = base_zalloc(sizeof(*a));

	a->call = call;
	each_core(&a->each, rpc_core(rpc_of(call)), ask_on_core, asked);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("gantry_set_watchdog", struct set_watchdog, set_watchdog_params, handle_gantry_set_watchdog,
		.flags = RPC_STARTUP | RPC_RUNTIME, .doc = "For how long a request may take before the log says so.",
		.returns = "true"),
	RPC_METHOD_BARE("gantry_get_watchdog", handle_gantry_get_watchdog, .flags = RPC_RUNTIME | RPC_READS,
		.doc = "How many requests took too long, and the last of them.",
		.returns = "{limit_ms, stuck, last: [{reactor, ago_ms, age_ms, of, what}]}"),
};

void watch_rpc_add(struct rpc_core_methods *m)
{
	rpc_add_methods(m->rpc, methods, ARRAY_SIZE(methods), m);
}
