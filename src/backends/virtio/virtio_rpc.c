/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_rpc.c: disks of vhost-user servers, by SPDK's methods.
 *
 * Attaching answers when the first attempt ended: with the disks, or with the sentence why not, and then nothing
 * remains. As an entry of a configuration that is loaded a controller stands in any case, and its server is looked for
 * until it is there.
 */
#include "backends/virtio/virtio_rpc.h"

#include <strings.h>

#include "bdev/bdev_device.h"
#include "rpc/json.h"

struct attach {
	char *name, *trtype, *traddr, *dev_type;
	uint32_t vq_count, vq_size;
	bool packed_ring;
	uint32_t reconnect_delay_sec, fast_io_fail_timeout_sec;
	struct uuid uuid;
};

static const char *const trtypes[] = { "user", NULL }, *const dev_types[] = { "blk", "scsi", NULL };

static const struct rpc_param attach_params[] = {
	RPC_PARAM(struct attach, name, .required = true, .min = 1, .max = VIO_NAME_MAX - 1,
	          .doc = "Name of the disk; of SCSI the beginning of its disks' names."),
	RPC_PARAM(struct attach, trtype, .required = true, .choices = trtypes,
	          .doc = "user: a vhost-user server on this machine."),
	RPC_PARAM(struct attach, traddr, .required = true, .min = 1, .max = VIO_PATH_MAX - 1,
	          .doc = "Path of the server's socket."),
	RPC_PARAM(struct attach, dev_type, .required = true, .choices = dev_types, .doc = "What kind of device it has."),
	RPC_PARAM(struct attach, vq_count, .max = CORE_REACTORS_MAX, .unit = "queues",
	          .doc = "Most queues to use, each on a core of its own; one for each core when left out or 0."),
	RPC_PARAM(struct attach, vq_size, .max = 32768, .unit = "descriptors",
	          .doc = "Size of a queue, a power of two: a request takes three. 512 when left out or 0."),
	RPC_PARAM(struct attach, packed_ring, .doc = "Packed rings, if the server has them."),
	RPC_PARAM(struct attach, reconnect_delay_sec, .min = 1, .max = 3600, .fallback = "1", .unit = "seconds",
	          .doc = "How long to wait before a server that went away is looked for again."),
	RPC_PARAM(struct attach, fast_io_fail_timeout_sec, .max = 86400, .fallback = "30", .unit = "seconds",
	          .doc = "I/O waits so long for a server that is away, and fails then until it is back. 0: it waits as "
	                 "long as it takes."),
	RPC_PARAM(struct attach, uuid, .doc = "UUID of a disk of dev_type blk; made up when left out."),
};

static void add_name(void *arg, struct bdev *b)
{
	json_object_array_add(arg, json_object_new_string(b->name));
}

static void attached(void *arg, struct vio_ctrlr *c, const struct err *e)
{
	struct json_object *names;

	if (!c) {
		rpc_reply_err(arg, e);
		return;
	}
	names = json_object_new_array();
	vio_each_disk(c, add_name, names);
	rpc_reply(arg, names);
}

static void handle_attach(struct rpc_call *call, void *args)
{
	struct virtio_rpc *vr = rpc_ctx(call);
	const struct attach *a = args;
	struct vio_opts o = {
		.name = a->name, .path = a->traddr, .kind = strcmp(a->dev_type, "scsi") == 0 ? VIO_SCSI : VIO_BLK,
		.queues = a->vq_count, .queue_size = a->vq_size, .packed = a->packed_ring, .patient = rpc_is_loading(call),
		.reconnect_delay_sec = a->reconnect_delay_sec, .fast_io_fail_timeout_sec = a->fast_io_fail_timeout_sec,
		.uuid = a->uuid,
	};

	vio_attach(vr->vio, &o, attached, call);
}

struct detach {
	char *name;
};

static const struct rpc_param detach_params[] = {
	RPC_PARAM(struct detach, name, .required = true, .doc = "Name of the controller, as it was attached by."),
};

static void handle_detach(struct rpc_call *call, void *args)
{
	struct virtio_rpc *vr = rpc_ctx(call);
	const struct detach *a = args;
	struct err e = { 0 };

	if (vio_detach(vr->vio, a->name, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

static void add_facts(struct json_object *o, const struct vio_facts *f)
{
	json_add_text(o, "type", "user");
	json_add_text(o, "socket", f->path);
	json_add_text(o, "state", f->state);
	json_add_bool(o, "packed", f->packed);
	json_add_u64(o, "vq_count", f->queues);
	json_add_u64(o, "vq_size", f->queue_size);
	json_add_u64(o, "features", f->features);
	json_add_u64(o, "protocol_features", f->protocol);
	json_add_u64(o, "reconnects", f->reconnects);
	json_add_u64(o, "requeued", f->requeued);
}

static void handle_get_scsi(struct rpc_call *call, void *args)
{
	struct virtio_rpc *vr = rpc_ctx(call);
	struct json_object *list = json_object_new_array();
	struct vio_facts f;

	for (struct vio_ctrlr *c = vio_next(vr->vio, NULL); c; c = vio_next(vr->vio, c)) {
		struct json_object *o;

		vio_facts_of(c, &f);
		if (f.kind != VIO_SCSI)
			continue;
		o = json_append_object(list);
		json_add_text(o, "name", f.name);
		add_facts(json_add_object(o, "virtio"), &f);
	}
	rpc_reply(call, list);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_virtio_attach_controller", struct attach, attach_params, handle_attach, .flags = RPC_RUNTIME,
	           .doc = "Connect to a vhost-user server and make disks of its device.", .returns = "names of the disks"),
	RPC_METHOD("bdev_virtio_detach_controller", struct detach, detach_params, handle_detach, .flags = RPC_RUNTIME,
	           .doc = "Remove the disks of such a server and leave it.", .returns = "true"),
	RPC_METHOD_BARE("bdev_virtio_scsi_get_devices", handle_get_scsi, .flags = RPC_RUNTIME | RPC_READS,
	                .doc = "The servers of SCSI devices.",
	                .returns = "list of {name, virtio: {type, socket, state, ...}}"),
};

/* --- saved, and shown -------------------------------------------------------------------------------------------- */

static void only_uuid(void *arg, struct bdev *b)
{
	*(struct uuid *)arg = b->uuid;
}

static void save(void *ctx, struct json_object *array)
{
	struct virtio_rpc *vr = ctx;
	struct vio_facts f;

	for (struct vio_ctrlr *c = vio_next(vr->vio, NULL); c; c = vio_next(vr->vio, c)) {
		struct json_object *entry = json_append_object(array), *p;
		struct uuid uuid;

		vio_facts_of(c, &f);
		uuid = f.opts.uuid;
		json_add_text(entry, "method", "bdev_virtio_attach_controller");
		p = json_add_object(entry, "params");
		json_add_text(p, "name", f.name);
		json_add_text(p, "trtype", "user");
		json_add_text(p, "traddr", f.path);
		json_add_text(p, "dev_type", dev_types[f.kind == VIO_SCSI]);
		json_add_u64(p, "vq_count", f.opts.queues);
		json_add_u64(p, "vq_size", f.opts.queue_size);
		json_add_bool(p, "packed_ring", f.opts.packed);
		json_add_u64(p, "reconnect_delay_sec", f.opts.reconnect_delay_sec);
		json_add_u64(p, "fast_io_fail_timeout_sec", f.opts.fast_io_fail_timeout_sec);
		if (f.kind == VIO_BLK)
			vio_each_disk(c, only_uuid, &uuid);
		if (f.kind == VIO_BLK && !uuid_is_null(&uuid)) {
			char text[UUID_TEXT_MAX];

			uuid_to_text(&uuid, text);
			json_add_text(p, "uuid", text);
		}
	}
}

static void driver_specific(const struct bdev *b, struct json_object *driver)
{
	struct vio_facts f;

	vio_facts_of(vio_ctrlr_of(b), &f);
	add_facts(json_add_object(driver, "virtio"), &f);
}

static void draining(struct rpc_drain_hook *h)
{
	vio_ending(container_of(h, struct virtio_rpc, drain)->vio);
}

void virtio_rpc_init(struct virtio_rpc *vr, struct bdev_rpc *br)
{
	vr->vio = vio_make(bdev_rpc_registry(br));
	vr->blk_kind = (struct bdev_rpc_kind){ .product = vio_blk_product, .driver_specific = driver_specific };
	vr->scsi_kind = (struct bdev_rpc_kind){ .product = vio_scsi_product, .driver_specific = driver_specific };
	bdev_rpc_add_kind(br, &vr->blk_kind);
	bdev_rpc_add_kind(br, &vr->scsi_kind);
	vr->saver = (struct bdev_rpc_saver){ .save = save, .ctx = vr };
	bdev_rpc_add_saver(br, &vr->saver);
	vr->drain.fn = draining;
	rpc_on_drain(bdev_rpc_of(br), &vr->drain);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), vr);
}

void virtio_rpc_stop(struct virtio_rpc *vr, void (*done)(void *arg), void *arg)
{
	vio_stop(vr->vio, done, arg);
}

void virtio_rpc_fini(struct virtio_rpc *vr)
{
	vio_free(vr->vio);
	vr->vio = NULL;
}
