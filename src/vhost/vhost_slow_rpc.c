/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_slow_rpc.c: the flight recorder's methods: what it keeps of requests of virtio-blk, and the limit. */
#include "rpc/slow.h"
#include "vhost/vhost_eyes.h"
#include "vhost/vhost_rpc_priv.h"

static void show(struct json_object *o, const struct flight_io *io)
{
	const struct vhost_slow_io *s = container_of(io, const struct vhost_slow_io, io);

	json_add_text(o, "opcode", s->name ? s->name : "unknown");
	json_add_u64(o, "type", s->type);
	if (s->has_sector)
		json_add_u64(o, "sector", s->sector);
	json_add_u64(o, "bytes", s->bytes);
	json_add_text(o, "ctrlr", s->ctrlr);
	json_add_u64(o, "session", s->session);
	json_add_u64(o, "queue", s->queue);
	json_add_u64(o, "request", s->id);
	json_add_text(o, "bdev_name", s->device);
	json_add_u64(o, "status", s->status);
}

static void handle_get_slow_ios(struct rpc_call *call, void *args) { rpc_slow_get(call, args, show); }

static void save(void *ctx, struct json_object *array)
{
	rpc_slow_save_limit(array, "vhost_set_slow_io_limit", ctx);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("vhost_get_slow_ios", struct rpc_slow_max, rpc_slow_max_params, handle_get_slow_ios,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "The flight recorder of virtio-blk requests: the last slow ones and the slowest of each of the "
	           "last seconds, with the time of each stage. Those of virtio-scsi: scsi_get_slow_ios.",
	           .returns = "{adaptive, cores: [{core, limit_ns, slow_ios}], ios: [{at_us, total_ns, stages_ns, why, "
	           "opcode, type, sector, bytes, ctrlr, session, queue, request, bdev_name, status, core}]}"),
	RPC_METHOD_BARE("vhost_clear_slow_ios", rpc_slow_clear, .flags = RPC_RUNTIME,
	           .doc = "Empty the flight recorder of virtio-blk requests.", .returns = "true"),
	RPC_METHOD("vhost_set_slow_io_limit", struct rpc_slow_limit, rpc_slow_limit_params, rpc_slow_set_limit,
	           .flags = RPC_RUNTIME, .doc = "Say what a slow virtio-blk request is.", .returns = "true"),
};

void vhost_rpc_slow_add(struct rpc *rpc, struct vhost *v)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), vhost_flights(v));
	rpc_add_saver(rpc, "vhost", save, vhost_flights(v));
}
