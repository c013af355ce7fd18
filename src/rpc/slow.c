/* SPDX-License-Identifier: BSD-3-Clause */
/* slow.c: what the cores' flight recorders keep, as one answer. */
#include "rpc/slow.h"

const struct rpc_param rpc_slow_max_params[1] = {
	RPC_PARAM(struct rpc_slow_max, max, .fallback = "64", .doc = "How many, the newest first."),
};
const struct rpc_param rpc_slow_limit_params[1] = {
	RPC_PARAM(struct rpc_slow_limit, limit_us, .required = true, .max = 3600ull * 1000 * 1000, .unit = "microseconds",
	          .doc = "What takes longer is slow. 0: sixteen times each core's mean, at least a millisecond."),
};

struct slow_read {
	struct each each;
	struct flights *flights;
	struct rpc_call *call;
	rpc_slow_show_fn *show;      /* NULL: to be emptied */
	uint32_t core_count, max;
	struct {
		uint32_t count;
		size_t size;
		uint64_t limit_ns, slow_ever;
		uint8_t *ios;
	} core[];
};

static void read_on_core(struct each *e)
{
	struct slow_read *r = container_of(e, struct slow_read, each);
	uint32_t index = reactor_index(reactor_self());
	struct flight *f = r->flights->of(r->flights, index);

	if (!r->show) {
		flight_clear(f);
		return;
	}
	r->core[index].size = f->size;
	r->core[index].ios = base_zalloc(FLIGHT_IOS_MAX * f->size);
	r->core[index].count = flight_read(f, r->core[index].ios, FLIGHT_IOS_MAX);
	r->core[index].limit_ns = f->limit_ns;
	r->core[index].slow_ever = f->slow_count;
}

static void show_one(const struct slow_read *r, struct json_object *array, const struct flight_io *io)
{
	static const char *const whys[] = { "limit", "slowest_of_second", "connection_lost", "aborted" };
	struct json_object *o = json_append_object(array), *stages, *why;

	json_add_u64(o, "at_us", io->at_us);
	json_add_u64(o, "total_ns", io->total_ns);
	stages = json_add_object(o, "stages_ns");
	for (uint32_t i = 0; i < STAGE_COUNT; i++)
		json_add_u64(stages, stage_name(i), io->stage_ns[i]);
	why = json_add_array(o, "why");
	for (uint32_t i = 0; i < ARRAY_SIZE(whys); i++)
		if (io->why & 1u << i)
			json_object_array_add(why, json_object_new_string(whys[i]));
	r->show(o, io);
	json_add_u64(o, "core", io->core);
}

/* The newest of those not yet shown. */
static struct flight_io *newest(struct slow_read *r)
{
	struct flight_io *best = NULL;

	for (uint32_t c = 0; c < r->core_count; c++)
		for (uint32_t i = 0; i < r->core[c].count; i++) {
			struct flight_io *io = (struct flight_io *)(void *)(r->core[c].ios + i * r->core[c].size);

			if (io->total_ns && (!best || io->at_ns > best->at_ns ||
			                     (io->at_ns == best->at_ns && io->number > best->number)))
				best = io;
		}
	return best;
}

static void read_done(struct each *e)
{
	struct slow_read *r = container_of(e, struct slow_read, each);
	struct json_object *result, *cores, *ios;
	struct flight_io *io;

	if (!r->show) {
		rpc_reply_true(r->call);
		free(r);
		return;
	}
	result = json_object_new_object();
	json_add_bool(result, "adaptive", !atomic_load(&r->flights->limit_ns));
	cores = json_add_array(result, "cores");
	for (uint32_t c = 0; c < r->core_count; c++) {
		struct json_object *o = json_append_object(cores);

		json_add_u64(o, "core", c);
		json_add_u64(o, "limit_ns", r->core[c].limit_ns);
		json_add_u64(o, "slow_ios", r->core[c].slow_ever);
	}
	ios = json_add_array(result, "ios");
	while (r->max-- && (io = newest(r))) {
		show_one(r, ios, io);
		io->total_ns = 0;
	}
	rpc_reply(r->call, result);
	for (uint32_t c = 0; c < r->core_count; c++)
		free(r->core[c].ios);
	free(r);
}

static void begin(struct rpc_call *call, uint32_t max, rpc_slow_show_fn *show)
{
	struct flights *flights = rpc_ctx(call);
	uint32_t count = core_reactor_count(flights->core);
	struct slow_read *r = base_zalloc(sizeof(*r) + count * sizeof(r->core[0]));

	r->flights = flights;
	r->call = call;
	r->show = show;
	r->core_count = count;
	r->max = max;
	each_core(&r->each, flights->core, read_on_core, read_done);
}

void rpc_slow_get(struct rpc_call *call, const struct rpc_slow_max *args, rpc_slow_show_fn *show)
{
	begin(call, args->max, show);
}

void rpc_slow_clear(struct rpc_call *call, void *args) { begin(call, 0, NULL); }

void rpc_slow_set_limit(struct rpc_call *call, void *args)
{
	struct flights *flights = rpc_ctx(call);

	atomic_store(&flights->limit_ns, ((const struct rpc_slow_limit *)args)->limit_us * NS_PER_US);
	rpc_reply_true(call);
}

void rpc_slow_save_limit(struct json_object *array, const char *method, const struct flights *flights)
{
	const struct rpc_slow_limit a = { .limit_us = atomic_load(&flights->limit_ns) / NS_PER_US };
	struct json_object *o;

	if (!a.limit_us)
		return;
	o = json_append_object(array);
	json_add_text(o, "method", method);
	json_object_object_add(o, "params",
	                       rpc_params_to_json(rpc_slow_limit_params, ARRAY_SIZE(rpc_slow_limit_params), &a));
}
