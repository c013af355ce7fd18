/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_scsi_rpc.c: methods of virtio-scsi controllers, and their part of the saved configuration. Names, parameters
 * and shapes are SPDK's. */
#include <errno.h>

#include "base/text.h"
#include "vhost/vhost_rpc_priv.h"

/* --- making ------------------------------------------------------------------------------------------------------- */

struct create_scsi {
	char *ctrlr, *cpumask, *socket;
	bool delay, packed_ring, client;
	uint32_t patience_ms;
};

static const struct rpc_param create_params[] = {
	NEW_CTRLR_ROW(struct create_scsi),
	CPUMASK_ROW(struct create_scsi),
	RPC_PARAM(struct create_scsi, delay,
	          .doc = "Nobody can connect before vhost_start_scsi_controller. At first false."),
	PACKED_ROW(struct create_scsi),
	PATIENCE_ROW(struct create_scsi),
	SOCKET_ROWS(struct create_scsi),
};

static void handle_create(struct rpc_call *call, void *args)
{
	const struct create_scsi *a = args;
	const struct vhost_ctrlr_opts opts = { .name = a->ctrlr, .cpumask = a->cpumask, .socket = a->socket,
		.client = a->client, .no_packed = !a->packed_ring, .patience_ms = a->patience_ms,
		.delay = a->delay };
	struct err e = { 0 };

	rpc_reply_rc(call, vhost_scsi_make(rpc_ctx(call), &opts, &e), &e);
}

static const struct rpc_param start_params[] = { CTRLR_ROW(struct vhost_rpc_ctrlr_args) };

static void handle_start(struct rpc_call *call, void *args)
{
	const struct vhost_rpc_ctrlr_args *a = args;
	struct vhost_ctrlr *c = vhost_rpc_ctrlr(call, a->ctrlr);
	struct err e = { 0 };

	if (c)
		rpc_reply_rc(call, vhost_scsi_start(c, &e), &e);
}

/* --- targets ------------------------------------------------------------------------------------------------------ */

struct add_target {
	char *ctrlr, *bdev_name;
	int32_t scsi_target_num;
};

static const struct rpc_param add_target_params[] = {
	CTRLR_ROW(struct add_target),
	RPC_PARAM(struct add_target, scsi_target_num, .required = true,
	          .doc = "Which target of the controller it becomes, 0 to 255; -1: the first that is free."),
	RPC_PARAM(struct add_target, bdev_name, .required = true, .doc = "The disk that is its LUN 0."),
};

struct add_target_call {
	struct vhost_scsi_change change;
	struct rpc_call *call;
};

static void target_added(struct vhost_change *c)
{
	struct add_target_call *a = container_of(c, struct add_target_call, change.change);

	if (c->err.code)
		rpc_reply_rc(a->call, c->err.code, &c->err);
	else
		rpc_reply(a->call, json_object_new_int64(a->change.ret_num));
	free(a);
}

static void handle_add_target(struct rpc_call *call, void *args)
{
	const struct add_target *a = args;
	struct vhost_ctrlr *c = vhost_rpc_ctrlr(call, a->ctrlr);
	struct add_target_call *add;

	if (!c)
		return;
	add = base_zalloc(sizeof(*add));
	add->call = call;
	add->change.change.done = target_added;
	vhost_scsi_add_target(c, a->scsi_target_num, a->bdev_name, &add->change);
}

struct remove_target {
	char *ctrlr;
	uint32_t scsi_target_num;
};

static const struct rpc_param remove_target_params[] = {
	CTRLR_ROW(struct remove_target),
	RPC_PARAM(struct remove_target, scsi_target_num, .required = true, .max = VHOST_SCSI_TARGETS_MAX - 1,
	          .doc = "Which target of the controller."),
};

static void handle_remove_target(struct rpc_call *call, void *args)
{
	const struct remove_target *a = args;
	struct vhost_ctrlr *c = vhost_rpc_ctrlr(call, a->ctrlr);

	if (c)
		vhost_scsi_remove_target(c, a->scsi_target_num, vhost_rpc_change(call));
}

/* --- showing ------------------------------------------------------------------------------------------------------ */

static void show_target(struct json_object *list, uint32_t num, const struct vhost_scsi_target_info *i)
{
	struct json_object *o = json_append_object(list), *luns;
	char name[32];
	struct text t = text_over(name, sizeof(name));

	text_add(&t, "Target %u", num);
	json_add_u64(o, "scsi_dev_num", num);
	json_add_u64(o, "id", num);
	json_add_text(o, "target_name", name);
	if (i->gone)
		json_add_text(o, "lost_bdev", i->bdev_name);
	luns = json_add_array(o, "luns");
	if (i->gone)
		return;
	o = json_append_object(luns);
	json_add_u64(o, "id", 0);
	json_add_text(o, "bdev_name", i->bdev_name);
}

void vhost_rpc_scsi_show(struct json_object *specific, const struct vhost_ctrlr *c)
{
	struct vhost_scsi_target_info target;
	struct vhost_scsi_info info;
	struct json_object *list;

	if (!vhost_scsi_get(c, &info))
		return;
	list = json_add_array(specific, "scsi");
	for (uint32_t i = 0; i < VHOST_SCSI_TARGETS_MAX; i++)
		if (vhost_scsi_target(c, i, &target))
			show_target(list, i, &target);
}

/* --- saving ----------------------------------------------------------------------------------------------------- */

/* Who connects finds all targets there are: it is started when they are. */
static void save_scsi(void *arg, struct json_object *array)
{
	const struct vhost_ctrlr *c = arg;
	struct vhost_scsi_target_info target;
	struct vhost_scsi_info info;
	struct vhost_ctrlr_info i;
	struct json_object *o;

	vhost_ctrlr_get(c, &i);
	must(vhost_scsi_get(c, &info));
	json_add_bool(vhost_rpc_save_create(array, "vhost_create_scsi_controller", &i), "delay", true);
	for (uint32_t num = 0; num < VHOST_SCSI_TARGETS_MAX; num++) {
		if (!vhost_scsi_target(c, num, &target) || target.lost)
			continue;
		o = vhost_rpc_save_call(array, "vhost_scsi_controller_add_target");
		json_add_text(o, "ctrlr", i.name);
		json_add_u64(o, "scsi_target_num", num);
		json_add_text(o, "bdev_name", target.bdev_name);
	}
	vhost_rpc_save_coalescing(array, &i);
	if (info.started)
		json_add_text(vhost_rpc_save_call(array, "vhost_start_scsi_controller"), "ctrlr", i.name);
}

/* What was saved with a target whose disk has been deleted since holds no more: that goes, and is no other disk's. */
static uint64_t saved_stamp(const struct vhost_ctrlr *c, uint64_t stamp)
{
	struct vhost_scsi_target_info target;

	for (uint32_t num = 0; num < VHOST_SCSI_TARGETS_MAX; num++)
		if (vhost_scsi_target(c, num, &target) && target.lost)
			return 0;
	return stamp;
}

static void save_all(void *ctx, struct rpc_save *save)
{
	for (struct vhost_ctrlr *c = vhost_ctrlr_next(ctx, NULL); c; c = vhost_ctrlr_next(ctx, c)) {
		struct vhost_scsi_info info;
		struct vhost_ctrlr_info i;

		vhost_ctrlr_get(c, &i);
		if (vhost_scsi_get(c, &info))
			rpc_save_object(save, saved_stamp(c, i.stamp), save_scsi, c);
	}
}

static const struct rpc_method methods[] = {
	RPC_METHOD("vhost_create_scsi_controller", struct create_scsi, create_params, handle_create, .flags = RPC_RUNTIME,
		.doc = "Make a SCSI host for virtual machines, virtio-scsi over vhost-user, without targets.",
		.returns = "true"),
	RPC_METHOD("vhost_start_scsi_controller", struct vhost_rpc_ctrlr_args, start_params, handle_start,
		.flags = RPC_RUNTIME, .doc = "Let virtual machines connect to a controller that was made with delay.",
		.returns = "true"),
	RPC_METHOD("vhost_scsi_controller_add_target", struct add_target, add_target_params, handle_add_target,
		.flags = RPC_RUNTIME, .doc = "Add a target with a disk to a SCSI host; guests hear of it.",
		.returns = "the target's number"),
	RPC_METHOD("vhost_scsi_controller_remove_target", struct remove_target, remove_target_params,
		handle_remove_target, .flags = RPC_RUNTIME,
		.doc = "Take a target from a SCSI host, end what is in flight; guests hear of it.", .returns = "true"),
};

void vhost_rpc_scsi_add(struct rpc *rpc, struct vhost *v)
{
	rpc_add_methods(rpc, methods, ARRAY_SIZE(methods), v);
	rpc_add_object_saver(rpc, "vhost_scsi", save_all, v);
}
