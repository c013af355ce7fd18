/* SPDX-License-Identifier: BSD-3-Clause */
/* aio_rpc.c: disks over files, through libaio, by SPDK's methods. */
#include "backends/aio/aio_rpc.h"

#include "bdev/bdev_device.h"
#include "rpc/json.h"

struct aio_create {
	char *name, *filename;
	uint32_t block_size;
	bool readonly, fallocate;
	struct uuid uuid;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct aio_create, name, .required = true, .min = 1, .max = 255, .doc = "Name of the new device."),
	RPC_PARAM(struct aio_create, filename, .required = true, .min = 1, .max = 4095,
	          .doc = "Path of a file or block device; it must be there."),
	RPC_PARAM(struct aio_create, block_size, .max = 65536, .multiple_of = 512, .unit = "bytes",
	          .doc = "A power of two; what the file system or device has when left out."),
	RPC_PARAM(struct aio_create, readonly, .doc = "Open it for reading only."),
	RPC_PARAM(struct aio_create, fallocate, .fallback = "true",
	          .doc = "Unmap and write zeroes are done by the file system or device; it never blocks a core here."),
	RPC_PARAM(struct aio_create, uuid, .doc = "UUID of the new device; made up when left out."),
	RPC_IGNORED("nowait", .doc = "What would block is noticed and done by a helper, always."),
};

static void handle_create(struct rpc_call *call, void *args)
{
	struct file_rpc *fr = rpc_ctx(call);
	const struct aio_create *a = args;
	struct file_opts opts = { .name = a->name, .filename = a->filename, .uuid = a->uuid, .block_size = a->block_size,
	                          .read_only = a->readonly, .fallocate = a->fallocate };

	file_create(fr->files, &opts, file_rpc_created, call);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_aio_create", struct aio_create, create_params, handle_create, .flags = RPC_RUNTIME,
	           .doc = "Make a disk of a file or block device, through libaio.", .returns = "name of the device"),
	RPC_METHOD("bdev_aio_delete", struct file_rpc_name, file_rpc_name_params, file_rpc_delete,
	           .flags = RPC_RUNTIME, .doc = "Remove such a disk; the file stays.", .returns = "true"),
	RPC_METHOD("bdev_aio_rescan", struct file_rpc_name, file_rpc_name_params, file_rpc_rescan,
	           .flags = RPC_RUNTIME, .doc = "Look at the size of the file anew, and open it again when it has failed.",
	           .returns = "true"),
};

static void save_params(const struct bdev *b, struct json_object *params)
{
	struct file_facts f;

	file_facts_of(b, &f);
	file_rpc_save(params, &f);
	if (!f.block_size_given)
		json_object_object_del(params, "block_size");
	json_add_bool(params, "readonly", f.read_only);
	json_add_bool(params, "fallocate", f.fallocate);
}

static void driver_specific(const struct bdev *b, struct json_object *driver)
{
	struct json_object *o = json_object_new_object();
	struct file_facts f;

	file_facts_of(b, &f);
	json_add_text(o, "filename", f.filename);
	json_add_bool(o, "block_size_override", f.block_size_given);
	json_add_bool(o, "readonly", f.read_only);
	json_add_bool(o, "fallocate", f.fallocate);
	json_add_bool(o, "nowait", true);
	json_object_object_add(driver, "aio", o);
}

void aio_rpc_init(struct file_rpc *fr, struct bdev_rpc *br)
{
	fr->files = aio_backend_make(bdev_rpc_registry(br));
	fr->kind = (struct bdev_rpc_kind){ .product = "AIO disk", .method = "bdev_aio_create", .params = save_params,
	                                   .driver_specific = driver_specific, .stamped = true };
	bdev_rpc_add_kind(br, &fr->kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), fr);
}

void aio_rpc_fini(struct file_rpc *fr)
{
	file_backend_free(fr->files);
}
