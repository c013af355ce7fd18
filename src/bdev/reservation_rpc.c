/* SPDX-License-Identifier: BSD-3-Clause */
/* reservation_rpc.c: who registered with which device and who reserved it: what an administrator asks when a host
 * does not get at its disk. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bdev/bdev_rpc_priv.h"
#include "bdev/reservation.h"
#include "rpc/json.h"

struct get_reservations {
	char *name;
};

static const struct rpc_param get_reservations_params[] = {
	RPC_PARAM(struct get_reservations, name, .doc = "Only this device: a name, an alias or a UUID."),
};

static void add_who(struct json_object *o, const struct resv_reported *who)
{
	char id[UUID_TEXT_MAX];

	json_add_text(o, "kind", who->kind == RESV_NVME_HOST ? "nvme" : "scsi");
	json_add_text(o, "name", who->name);
	if (who->kind == RESV_NVME_HOST) {
		json_add_text(o, "host_id", uuid_to_text(&who->host_id, id));
	} else {
		json_add_text(o, "initiator_port", who->port);
		json_add_text(o, "target", who->target);
		json_add_u64(o, "target_port", who->port_id);
	}
}

static void add_registrant(struct json_object *array, const struct resv_reported *who)
{
	struct json_object *o = json_object_new_object();
	char key[24];

	snprintf(key, sizeof(key), "0x%" PRIx64, who->key);
	add_who(o, who);
	json_add_text(o, "key", key);
	json_add_bool(o, "holds", who->holds);
	json_object_array_add(array, o);
}

/* Nothing for a device that nobody registered with. */
static void add_device(struct json_object *array, const struct bdev *b)
{
	struct resv_report *r = bdev_resv_report(b);
	struct json_object *o, *registrants;
	struct bdev_info info;

	if (r->count || r->spc2) {
		bdev_info_of(b, &info);
		o = json_object_new_object();
		json_add_text(o, "name", info.name);
		json_add_text(o, "type", r->spc2 ? "SPC-2 RESERVE" : resv_type_name(r->type));
		json_add_u64(o, "generation", r->generation);
		json_add_bool(o, "persists", r->persists);
		if (r->spc2)
			add_who(json_add_object(o, "holder"), &r->spc2_holder);
		registrants = json_add_array(o, "registrants");
		for (uint32_t i = 0; i < r->count; i++)
			add_registrant(registrants, &r->who[i]);
		json_object_array_add(array, o);
	}
	free(r);
}

static void handle_get_reservations(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct get_reservations *a = args;
	bool one = a->name != NULL;
	struct bdev *b = one ? bdev_rpc_find(call, a->name) : NULL; /* or the call is answered, and gone with `a` */
	struct json_object *array;

	if (one && !b)
		return;
	array = json_object_new_array();
	if (b)
		add_device(array, b);
	else
		for (b = bdev_first(br->reg); b; b = bdev_next(b))
			add_device(array, b);
	rpc_reply(call, array);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_get_reservations", struct get_reservations, get_reservations_params, handle_get_reservations,
	           .flags = RPC_RUNTIME | RPC_READS,
	           .doc = "Devices that hosts have registered with for reservations: who, with which key, and who holds a "
	                  "reservation of which type.",
	           .returns = "list of {name, type, generation, persists, registrants: [{kind, name, key, holds, ...}]}; "
	                      "of SPC-2's RESERVE, which registers nobody, holder: {kind, name, ...}"),
};

void bdev_rpc_add_reservations(struct bdev_rpc *br)
{
	rpc_add_methods(br->rpc, methods, ARRAY_SIZE(methods), br);
}
