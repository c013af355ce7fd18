/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc_rpc.c: RAM disks by SPDK's methods. */
#include "backends/malloc/malloc_rpc.h"

#include <errno.h>

#include "backends/malloc/malloc.h"
#include "bdev/bdev_device.h"

struct malloc_create {
	char *name;
	uint64_t num_blocks;
	uint32_t block_size, physical_block_size, optimal_io_boundary, md_size;
	struct uuid uuid;
	bool md_interleave;
	uint32_t dif_type, dif_pi_format;
	bool dif_is_head_of_md;
};

static const struct rpc_param create_params[] = {
	RPC_PARAM(struct malloc_create, name, .min = 1, .max = 255,
	          .doc = "Name of the new device; made up when left out."),
	RPC_PARAM(struct malloc_create, num_blocks, .required = true, .min = 1, .unit = "blocks", .doc = "Size."),
	RPC_PARAM(struct malloc_create, block_size, .required = true, .min = 512, .max = 65536, .multiple_of = 512,
	          .or_plus = "md_size", .unit = "bytes", .doc = "Size of a block, metadata not counted; or, as SPDK "
	          "saves it, with metadata that follow the data: 520 with an md_size of 8 is 512 and md_interleave."),
	RPC_PARAM(struct malloc_create, physical_block_size, .multiple_of = 512, .unit = "bytes",
	          .doc = "What is said to be written in one go; block_size when left out."),
	RPC_PARAM(struct malloc_create, uuid, .doc = "UUID of the new device; made up when left out."),
	RPC_PARAM(struct malloc_create, optimal_io_boundary, .unit = "blocks",
	          .doc = "Said to users as what suits the device."),
	RPC_PARAM(struct malloc_create, md_size, .max = 128, .unit = "bytes",
	          .doc = "Metadata of a block: 0, 8, 16, 32, 64, 128."),
	RPC_PARAM(struct malloc_create, md_interleave,
	          .doc = "Metadata follow each block's data; otherwise they travel apart."),
	RPC_PARAM(struct malloc_create, dif_type, .max = 3,
	          .doc = "Protection information in the metadata: type 1, 2 or 3; 0: none."),
	RPC_PARAM(struct malloc_create, dif_is_head_of_md,
	          .doc = "Protection information is the first 8 bytes of the metadata, else the last."),
	RPC_PARAM(struct malloc_create, dif_pi_format,
	          .doc = "Format of the protection information: 0, a guard of 16 bits; there are no others."),
	RPC_IGNORED("numa_id", .doc = "Memory comes from the node whose core writes first."),
};

static void handle_create(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	const struct malloc_create *a = args;
	struct malloc_opts opts = {
		.name = a->name, .uuid = a->uuid, .block_count = a->num_blocks, .block_size = a->block_size,
		.physical_block_size = a->physical_block_size, .optimal_io_blocks = a->optimal_io_boundary,
		.md_size = a->md_size, .md_interleaved = a->md_interleave, .dif_type = (uint8_t)a->dif_type,
		.dif_is_head_of_md = a->dif_is_head_of_md,
	};
	struct err e = { 0 };
	struct bdev *b;

	if (a->block_size % 512) {
		opts.block_size -= a->md_size;
		opts.md_interleaved = true;
	}
	if (a->dif_pi_format != 0)
		rpc_reply_error(call, -EINVAL, "dif_pi_format: only 0, a guard of 16 bits, is supported");
	else if (malloc_create(bdev_rpc_registry(br), &opts, &b, &e) != 0)
		rpc_reply_err(call, &e);
	else
		rpc_reply(call, json_object_new_string(b->name));
}

struct malloc_delete {
	char *name;
};

static const struct rpc_param delete_params[] = {
	RPC_PARAM(struct malloc_delete, name, .required = true, .doc = "Name of the device."),
};

static void handle_delete(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct malloc_delete *a = args;
	struct err e = { 0 };

	if (malloc_delete(bdev_rpc_registry(br), a->name, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

struct malloc_resize {
	char *name;
	uint64_t new_size;
};

static const struct rpc_param resize_params[] = {
	RPC_PARAM(struct malloc_resize, name, .required = true, .doc = "Name of the device."),
	RPC_PARAM(struct malloc_resize, new_size, .required = true, .min = 1, .max = 1ull << 42, .unit = "MiB",
	          .doc = "New size; what lies beyond a smaller one is lost."),
};

static void resized(void *arg, const struct err *e)
{
	rpc_reply_rc(arg, e ? e->code : 0, e);
}

static void handle_resize(struct rpc_call *call, void *args)
{
	struct bdev_rpc *br = rpc_ctx(call);
	struct malloc_resize *a = args;
	struct bdev *b = bdev_find(bdev_rpc_registry(br), a->name);
	uint32_t block = b ? b->block_size + (b->md_interleaved ? b->md_size : 0) : 1;

	malloc_resize(bdev_rpc_registry(br), a->name, a->new_size * MIB / block, resized, call);
}

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_malloc_create", struct malloc_create, create_params, handle_create, .flags = RPC_RUNTIME,
	           .doc = "Make a RAM disk.", .returns = "name of the device"),
	RPC_METHOD("bdev_malloc_delete", struct malloc_delete, delete_params, handle_delete, .flags = RPC_RUNTIME,
	           .doc = "Remove a RAM disk and all it holds.", .returns = "true"),
	RPC_METHOD("bdev_malloc_resize", struct malloc_resize, resize_params, handle_resize, .flags = RPC_RUNTIME,
	           .doc = "Change the size of a RAM disk.", .returns = "true"),
};

static void save_params(const struct bdev *b, struct json_object *params)
{
	json_object_object_add(params, "optimal_io_boundary", json_object_new_uint64(b->optimal_io_blocks));
	json_object_object_add(params, "md_interleave", json_object_new_boolean(b->md_interleaved));
	json_object_object_add(params, "dif_type", json_object_new_uint64(b->dif_type));
	json_object_object_add(params, "dif_is_head_of_md", json_object_new_boolean(b->dif_is_head_of_md));
}

void malloc_rpc_add(struct bdev_rpc *br, struct bdev_rpc_kind *kind)
{
	*kind = (struct bdev_rpc_kind){ .product = "Malloc disk", .method = "bdev_malloc_create", .params = save_params,
	                                .stamped = true };
	bdev_rpc_add_kind(br, kind);
	rpc_add_methods(bdev_rpc_of(br), methods, ARRAY_SIZE(methods), br);
}
