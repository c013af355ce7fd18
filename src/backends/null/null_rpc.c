/* SPDX-License-Identifier: BSD-3-Clause */
/* null_rpc.c: null devices by SPDK's methods. */
#include "backends/null/null_rpc.h"

#include <errno.h>

#include "backends/null/null.h"
#include "bdev/bdev_device.h"

struct null_create {
	char *name;
	uint64_t num_blocks;
	uint32_t block_size, physical_block_size, md_size;
	struct uuid uuid;
	uint32_t dif_type, dif_pi_format;
	bool dif_is_head_of_md;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct null_create, name, .required = true, .min = 1, .max = 255, .doc = "Name of the new device."),
	RPC_PARAM(struct null_create, num_blocks, .required = true, .min = 1, .unit = "blocks", .doc = "Size."),
	RPC_PARAM(struct null_create, block_size, .required = true, .min = 512, .max = 1u << 20, .multiple_of = 512,
	          .or_plus = "md_size", .unit = "bytes", .doc = "Size of a block, metadata not counted; or, as SPDK "
	          "saves it, with them: 520 with an md_size of 8 is 512."),
	RPC_PARAM(struct null_create, physical_block_size, .multiple_of = 512, .unit = "bytes",
	          .doc = "What is said to be written in one go; block_size when left out."),
	RPC_PARAM(struct null_create, uuid, .doc = "UUID of the new device; made up when left out."),
	RPC_PARAM(struct null_create, md_size, .max = 128, .unit = "bytes",
	          .doc = "Metadata that follow each block's data."),
	RPC_PARAM(struct null_create, dif_type, .max = 3,
	          .doc = "Protection information in the metadata: type 1, 2 or 3; 0: none. What is read has it."),
	RPC_PARAM(struct null_create, dif_is_head_of_md,
	          .doc = "Protection information is the first 8 bytes of the metadata, else the last."),
	RPC_PARAM(struct null_create, dif_pi_format,
	          .doc = "Format of the protection information: 0, a guard of 16 bits; there are no others."),
	RPC_IGNORED("preferred_write_granularity", .doc = "A device without media prefers nothing."),
	RPC_IGNORED("preferred_write_alignment", .doc = "A device without media prefers nothing."),
	RPC_IGNORED("optimal_write_size", .doc = "A device without media prefers nothing."),
	RPC_IGNORED("preferred_unmap_granularity", .doc = "A device without media prefers nothing."),
	RPC_IGNORED("preferred_unmap_alignment", .doc = "A device without media prefers nothing."),
};

static void handle_create(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	const struct null_create *a = args;
	struct null_opts opts = { .name = a->name, .uuid = a->uuid, .block_count = a->num_blocks,
	                          .block_size = a->block_size, .physical_block_size = a->physical_block_size,
	                          .md_size = a->md_size, .dif_type = (uint8_t)a->dif_type,
	                          .dif_is_head_of_md = a->dif_is_head_of_md };
	struct err e = { 0 };
	struct bdev *b;

	if (a->block_size % 512)
		opts.block_size -= a->md_size;
	if (a->dif_pi_format != 0)
		rpc_reply_error(call, -EINVAL, "dif_pi_format: only 0, a guard of 16 bits, is supported");
	else if (null_create(bdev_rpc_registry(br), &opts, &b, &e) != 0)
		rpc_reply_err(call, &e);
	else
		rpc_reply(call, json_object_new_string(b->name));
}

struct null_delete {
	char *name;
};

static const struct rpc_param delete_params[] = {
	RPC_PARAM(struct null_delete, name, .required = true, .doc = "Name of the device."),
};

static void handle_delete(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct null_delete *a = args;
	struct err e = { 0 };

	if (null_delete(bdev_rpc_registry(br), a->name, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

struct null_resize {
	char *name;
	uint64_t new_size;
};

static const struct rpc_param resize_params[] = {
	RPC_PARAM(struct null_resize, name, .required = true, .doc = "Name of the device."),
	RPC_PARAM(struct null_resize, new_size, .required = true, .min = 1, .max = 1ull << 42, .unit = "MiB",
	          .doc = "New size."),
};

static void handle_resize(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct null_resize *a = args;
	struct bdev *b = bdev_find(bdev_rpc_registry(br), a->name);
	uint32_t block = b ? b->block_size + b->md_size : 1;
	struct err e = { 0 };

	rpc_reply_rc(call, null_resize(bdev_rpc_registry(br), a->name, a->new_size * MIB / block, &e), &e);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_null_create", struct null_create, create_params, handle_create, .flags = RPC_RUNTIME,
	           .doc = "Make a device without media.", .returns = "name of the device"),
	RPC_METHOD("bdev_null_delete", struct null_delete, delete_params, handle_delete, .flags = RPC_RUNTIME,
	           .doc = "Remove a null device.", .returns = "true"),
	RPC_METHOD("bdev_null_resize", struct null_resize, resize_params, handle_resize, .flags = RPC_RUNTIME,
	           .doc = "Change the size of a null device.", .returns = "true"),
};

static void save_params(const struct bdev *b, struct json_object *params)
{
	json_object_object_add(params, "dif_type", json_object_new_uint64(b->dif_type));
	json_object_object_add(params, "dif_is_head_of_md", json_object_new_boolean(b->dif_is_head_of_md));
}

void null_rpc_add(struct bdev_rpc *br, struct bdev_rpc_kind *kind)
{
	*kind = (struct bdev_rpc_kind){ .product = "Null disk", .method = "bdev_null_create", .params = save_params,
	                                .stamped = true };
	bdev_rpc_add_kind(br, kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), br);
}
