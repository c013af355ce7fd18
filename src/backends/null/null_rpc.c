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
	int32_t dif_type;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct null_create, name, .required = true, .min = 1, .max = 255, .doc = "Name of the new device."),
	RPC_PARAM(struct null_create, num_blocks, .required = true, .min = 1, .unit = "blocks", .doc = "Size."),
	RPC_PARAM(struct null_create, block_size, .required = true, .min = 512, .max = 1u << 20, .multiple_of = 512,
	          .unit = "bytes", .doc = "Size of a block, metadata not counted."),
	RPC_PARAM(struct null_create, physical_block_size, .multiple_of = 512, .unit = "bytes",
	          .doc = "What is said to be written in one go; block_size when left out."),
	RPC_PARAM(struct null_create, uuid, .doc = "UUID of the new device; made up when left out."),
	RPC_PARAM(struct null_create, md_size, .max = 128, .unit = "bytes",
	          .doc = "Metadata that follow each block's data."),
	RPC_PARAM(struct null_create, dif_type, .doc = "Protection information; 0: none. Others are not there yet."),
	RPC_IGNORED("dif_is_head_of_md", .doc = "Has a meaning with dif_type only."),
	RPC_IGNORED("dif_pi_format", .doc = "Has a meaning with dif_type only."),
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
	                          .md_size = a->md_size };
	struct err e = { 0 };
	struct bdev *b;

	if (a->dif_type != 0)
		rpc_reply_error(call, -EINVAL, "dif_type: protection information is not supported yet; leave it out");
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

void null_rpc_add(struct bdev_rpc *br, struct bdev_rpc_kind *kind)
{
	*kind = (struct bdev_rpc_kind){ .product = "Null disk", .method = "bdev_null_create", .stamped = true };
	bdev_rpc_add_kind(br, kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), br);
}
