/* SPDX-License-Identifier: BSD-3-Clause */
/* flight_rpc.c: the flight recorder's methods: what it keeps of NVMe commands, and the limit. */
#include "nvmf/nvmf_eyes.h"
#include "nvmf/nvmf_rpc_priv.h"
#include "rpc/slow.h"

static void show(struct json_object *o, const struct flight_io *io)
{
	const struct nvmf_slow_io *s = container_of(io, const struct nvmf_slow_io, io);
	const struct nvmf_handler *h = nvmf_io_handler(s->opc);
	bool has_range = s->opc != NVME_CMD_FLUSH && s->opc != NVME_CMD_DSM && s->opc != NVME_CMD_COPY;

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
	json_add_u64(o, "sct", s->status >> 8 & 7);
	json_add_u64(o, "sc", s->status & 0xff);
}

static void handle_get_slow_ios(struct rpc_call *call, void *args) { rpc_slow_get(call, args, show); }

void nvmf_flight_save(struct nvmf_target *t, struct json_object *array)
{
	rpc_slow_save_limit(array, "nvmf_set_slow_io_limit", nvmf_flights(t));
}

static const struct rpc_method methods[] = {
	RPC_METHOD("nvmf_get_slow_ios", struct rpc_slow_max, rpc_slow_max_params, handle_get_slow_ios,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "The flight recorder: the last slow I/Os and the slowest of each of the last seconds, with the "
	           "time of each stage.",
	           .returns = "{adaptive, cores: [{core, limit_ns, slow_ios}], ios: [{at_us, total_ns, stages_ns, why, "
	           "opcode, lba, num_blocks, bytes, hostnqn, subnqn, nsid, bdev_name, cntlid, qid, cid, sct, sc, core}]}"),
	RPC_METHOD_BARE("nvmf_clear_slow_ios", rpc_slow_clear, .flags = RPC_RUNTIME,
	           .doc = "Empty the flight recorder.", .returns = "true"),
	RPC_METHOD("nvmf_set_slow_io_limit", struct rpc_slow_limit, rpc_slow_limit_params, rpc_slow_set_limit,
	           .flags = RPC_RUNTIME, .doc = "Say what a slow I/O is.", .returns = "true"),
};

void nvmf_flight_rpc_add(struct rpc *rpc, struct nvmf_target *t)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), nvmf_flights(t));
}
