/* SPDX-License-Identifier: BSD-3-Clause */
/* scsi_rpc.c: the flight recorder's methods: what it keeps of SCSI commands, of whichever transport, and the limit. */
#include "base/text.h"
#include "rpc/slow.h"
#include "scsi/scsi_eyes.h"
#include "scsi/scsi_rpc.h"

static void add_cdb(struct json_object *o, const struct scsi_slow_io *s)
{
	char hex[2 * SCSI_CDB_MAX + 1] = "";
	struct text t = text_over(hex, sizeof(hex));

	for (uint32_t i = 0; i < s->cdb_len; i++)
		text_add(&t, "%02x", s->cdb[i]);
	json_add_text(o, "cdb", hex);
}

static void show(struct json_object *o, const struct flight_io *io)
{
	const struct scsi_slow_io *s = container_of(io, const struct scsi_slow_io, io);

	json_add_text(o, "opcode", s->name ? s->name : "unknown");
	add_cdb(o, s);
	if (s->has_range) {
		json_add_u64(o, "lba", s->lba);
		json_add_u64(o, "num_blocks", s->blocks);
	}
	json_add_u64(o, "bytes", s->bytes);
	json_add_text(o, "initiator", s->host);
	json_add_text(o, "session", s->session);
	json_add_text(o, "target", s->target);
	json_add_u64(o, "port", s->port);
	if (s->lun != UINT32_MAX)
		json_add_u64(o, "lun", s->lun);
	json_add_text(o, "bdev_name", s->device);
	json_add_u64(o, "tag", s->tag);
	json_add_u64(o, "status", s->status);
	json_add_u64(o, "sense_key", s->key);
	json_add_u64(o, "asc", s->asc);
	json_add_u64(o, "ascq", s->ascq);
}

static void handle_get_slow_ios(struct rpc_call *call, void *args) { rpc_slow_get(call, args, show); }

static void save(void *ctx, struct json_object *array)
{
	rpc_slow_save_limit(array, "scsi_set_slow_io_limit", ctx);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("scsi_get_slow_ios", struct rpc_slow_max, rpc_slow_max_params, handle_get_slow_ios,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "The flight recorder of SCSI commands, iSCSI's and virtual machines': the last slow ones and the "
	           "slowest of each of the last seconds, with the time of each stage.",
	           .returns = "{adaptive, cores: [{core, limit_ns, slow_ios}], ios: [{at_us, total_ns, stages_ns, why, "
	           "opcode, cdb, lba, num_blocks, bytes, initiator, session, target, port, lun, bdev_name, tag, status, "
	           "sense_key, asc, ascq, core}]}"),
	RPC_METHOD_BARE("scsi_clear_slow_ios", rpc_slow_clear, .flags = RPC_RUNTIME,
	           .doc = "Empty the flight recorder of SCSI commands.", .returns = "true"),
	RPC_METHOD("scsi_set_slow_io_limit", struct rpc_slow_limit, rpc_slow_limit_params, rpc_slow_set_limit,
	           .flags = RPC_RUNTIME, .doc = "Say what a slow SCSI command is.", .returns = "true"),
};

void scsi_rpc_add(struct rpc *rpc, struct scsi *s)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), scsi_flights(s));
	rpc_add_saver(rpc, "scsi", save, scsi_flights(s));
}
