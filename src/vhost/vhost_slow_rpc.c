/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_slow_rpc.c: the flight recorder's methods: what it keeps of requests of virtio-blk, and the limit. */
#include "rpc/slow.h"
#include "vhost/vhost_eyes.h"
#include "vhost/vhost_rpc_priv.h"

static struct flight *flight_of(void *arg, uint32_t core_index) { return vhost_flight(arg, core_index); }

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

static struct rpc_slow slow_of(struct rpc_call *call)
{
	struct vhost *v = rpc_ctx(call);

	return (struct rpc_slow){ .core = vhost_core_of(v), .flight = flight_of, .show = show, .arg = v };
}

static void handle_get_slow_ios(struct rpc_call *call, void *args)
{
	struct rpc_slow slow = slow_of(call);

	rpc_slow_get(call, &slow, ((const struct rpc_slow_max *)args)->max, !vhost_slow_get_limit(rpc_ctx(call)));
}

static void handle_clear_slow_ios(struct rpc_call *call, void *args)
{
	struct rpc_slow slow = slow_of(call);

	rpc_slow_clear(call, &slow);
}

static void handle_set_slow_io_limit(struct rpc_call *call, void *args)
{
	const struct rpc_slow_limit *a = args;

	vhost_slow_set_limit(rpc_ctx(call), a->limit_us * NS_PER_US);
	rpc_reply_true(call);
}

static void save(void *ctx, struct json_object *array)
{
	rpc_slow_save_limit(array, "vhost_set_slow_io_limit", vhost_slow_get_limit(ctx));
}

static const struct rpc_method methods[] = {
	RPC_METHOD("vhost_get_slow_ios", struct rpc_slow_max, rpc_slow_max_params, handle_get_slow_ios,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "The flight recorder of virtio-blk requests: the last slow ones and the slowest of each of the "
	           "last seconds, with the time of each stage. Those of virtio-scsi: scsi_get_slow_ios.",
	           .returns = "{adaptive, cores: [{core, limit_ns, slow_ios}], ios: [{at_us, total_ns, stages_ns, why, "
	           "opcode, type, sector, bytes, ctrlr, session, queue, request, bdev_name, status, core}]}"),
	RPC_METHOD_BARE("vhost_clear_slow_ios", handle_clear_slow_ios, .flags = RPC_RUNTIME,
	           .doc = "Empty the flight recorder of virtio-blk requests.", .returns = "true"),
	RPC_METHOD("vhost_set_slow_io_limit", struct rpc_slow_limit, rpc_slow_limit_params, handle_set_slow_io_limit,
	           .flags = RPC_RUNTIME, .doc = "Say what a slow virtio-blk request is.", .returns = "true"),
};

void vhost_rpc_slow_add(struct rpc *rpc, struct vhost *v)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), v);
	rpc_add_saver(rpc, "vhost", save, v);
}
