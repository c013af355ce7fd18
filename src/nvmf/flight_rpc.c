/* SPDX-License-Identifier: BSD-3-Clause */
/* flight_rpc.c: the flight recorder's methods: every core's slow I/Os, newest first, and the limit. */
#include "nvmf/nvmf_eyes.h"
#include "nvmf/nvmf_rpc_priv.h"

struct slow_read {
	struct each each;
	struct nvmf_target *target;
	struct rpc_call *call;
	uint32_t max;
	bool clear;
	struct {
		uint32_t count;
		uint64_t limit_ns, slow_ever;
		struct nvmf_slow_io *ios;
	} core[];
};

static void read_on_core(struct each *e)
{
	struct slow_read *r = container_of(e, struct slow_read, each);
	uint32_t index = reactor_index(reactor_self());
	const struct nvmf_flight *f = &nvmf_core_here(r->target)->flight;

	if (r->clear) {
		nvmf_slow_clear(r->target);
		return;
	}
	r->core[index].ios = base_zalloc(NVMF_SLOW_IOS_MAX * sizeof(struct nvmf_slow_io));
	r->core[index].count = nvmf_slow_read(r->target, r->core[index].ios);
	r->core[index].limit_ns = f->limit_ns;
	r->core[index].slow_ever = f->slow_count;
}

static void show(struct json_object *array, const struct nvmf_slow_io *s)
{
	const struct nvmf_handler *h = nvmf_io_handler(s->opc);
	struct json_object *o = json_append_object(array), *stages, *why;
	bool has_range = s->opc != NVME_CMD_FLUSH && s->opc != NVME_CMD_DSM && s->opc != NVME_CMD_COPY;

	json_add_u64(o, "at_us", s->at_us);
	json_add_u64(o, "total_ns", s->total_ns);
	stages = json_add_object(o, "stages_ns");
	for (uint32_t i = 0; i < NVMF_STAGE_COUNT; i++)
		json_add_u64(stages, nvmf_stage_name(i), s->stage_ns[i]);
	why = json_add_array(o, "why");
	if (s->why & NVMF_SLOW_LIMIT)
		json_object_array_add(why, json_object_new_string("limit"));
	if (s->why & NVMF_SLOW_OF_SECOND)
		json_object_array_add(why, json_object_new_string("slowest_of_second"));
	if (s->why & NVMF_SLOW_LOST)
		json_object_array_add(why, json_object_new_string("connection_lost"));
	json_add_text(o, "opcode", h ? h->name : "unknown");
	json_add_u64(o, "opc", s->opc);
	if (has_range) {
		json_add_u64(o, "lba", s->lba);
		json_add_u64(o, "num_blocks", s->blocks_1 + 1ull);
	}
	json_add_u64(o, "bytes", s->len);
	json_add_text(o, "hostnqn", s->host);
	json_add_text(o, "subnqn", s->nqn);
	json_add_u64(o, "nsid", s->nsid);
	json_add_text(o, "bdev_name", s->device);
	json_add_u64(o, "cntlid", s->cntlid);
	json_add_u64(o, "qid", s->qid);
	json_add_u64(o, "cid", s->cid);
	json_add_u64(o, "core", s->core);
	json_add_u64(o, "sct", s->status >> 8 & 7);
	json_add_u64(o, "sc", s->status & 0xff);
}

/* The newest of those not yet shown. */
static struct nvmf_slow_io *newest(struct slow_read *r)
{
	struct nvmf_slow_io *best = NULL;

	for (uint32_t c = 0; c < r->target->core_count; c++)
		for (uint32_t i = 0; i < r->core[c].count; i++) {
			struct nvmf_slow_io *s = &r->core[c].ios[i];

			if (s->total_ns && (!best || s->at_ns > best->at_ns ||
			                    (s->at_ns == best->at_ns && s->number > best->number)))
				best = s;
		}
	return best;
}

static void read_done(struct each *e)
{
	struct slow_read *r = container_of(e, struct slow_read, each);
	struct json_object *result, *cores, *ios;
	struct nvmf_slow_io *s;

	if (r->clear) {
		rpc_reply_true(r->call);
		free(r);
		return;
	}
	result = json_object_new_object();
	json_add_bool(result, "adaptive", !nvmf_slow_get_limit(r->target));
	cores = json_add_array(result, "cores");
	for (uint32_t c = 0; c < r->target->core_count; c++) {
		struct json_object *o = json_append_object(cores);

		json_add_u64(o, "core", c);
		json_add_u64(o, "limit_ns", r->core[c].limit_ns);
		json_add_u64(o, "slow_ios", r->core[c].slow_ever);
	}
	ios = json_add_array(result, "ios");
	while (r->max-- && (s = newest(r))) {
		show(ios, s);
		s->total_ns = 0;
	}
	rpc_reply(r->call, result);
	for (uint32_t c = 0; c < r->target->core_count; c++)
		free(r->core[c].ios);
	free(r);
}

static void begin(struct rpc_call *call, uint32_t max, bool clear)
{
	struct nvmf_target *t = rpc_ctx(call);
	struct slow_read *r = base_zalloc(sizeof(*r) + t->core_count * sizeof(r->core[0]));

	r->target = t;
	r->call = call;
	r->max = max;
	r->clear = clear;
	each_core(&r->each, t->core, read_on_core, read_done);
}

struct get_slow {
	uint32_t max;
};
static const struct rpc_param get_slow_params[] = {
	RPC_PARAM(struct get_slow, max, .fallback = "64", .doc = "How many, the newest first."),
};

static void handle_get_slow_ios(struct rpc_call *call, void *args)
{
	begin(call, ((const struct get_slow *)args)->max, false);
}

static void handle_clear_slow_ios(struct rpc_call *call, void *args)
{
	begin(call, 0, true);
}

struct slow_limit {
	uint64_t limit_us;
};
static const struct rpc_param slow_limit_params[] = {
	RPC_PARAM(struct slow_limit, limit_us, .required = true, .max = 3600ull * 1000 * 1000, .unit = "microseconds",
	          .doc = "What takes longer is slow. 0: sixteen times each core's mean, at least a millisecond."),
};

static void handle_set_slow_io_limit(struct rpc_call *call, void *args)
{
	const struct slow_limit *a = args;

	nvmf_slow_set_limit(rpc_ctx(call), a->limit_us * NS_PER_US);
	rpc_reply_true(call);
}

void nvmf_flight_save(struct nvmf_target *t, struct json_object *array)
{
	struct slow_limit a = { .limit_us = nvmf_slow_get_limit(t) / NS_PER_US };
	struct json_object *o;

	if (!a.limit_us)
		return;
	o = json_append_object(array);
	json_add_text(o, "method", "nvmf_set_slow_io_limit");
	json_object_object_add(o, "params", rpc_params_to_json(slow_limit_params, ARRAY_SIZE(slow_limit_params), &a));
}

static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_get_slow_ios", struct get_slow, get_slow_params, handle_get_slow_ios,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "The flight recorder: the last slow I/Os and the slowest of each of the last seconds, with the "
	           "time of each stage.",
	           .returns = "{adaptive, cores: [{core, limit_ns, slow_ios}], ios: [{at_us, total_ns, stages_ns, why, "
	           "opcode, lba, num_blocks, bytes, hostnqn, subnqn, nsid, bdev_name, cntlid, qid, cid, core, sct, sc}]}"),
	RPC_METHOD_BARE("nvmf_clear_slow_ios", handle_clear_slow_ios, .flags = RPC_RUNTIME,
	           .doc = "Empty the flight recorder.", .returns = "true"),
	RPC_METHOD("nvmf_set_slow_io_limit", struct slow_limit, slow_limit_params, handle_set_slow_io_limit,
	           .flags = RPC_RUNTIME, .doc = "Say what a slow I/O is.", .returns = "true"),
};

void nvmf_flight_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), t);
}
