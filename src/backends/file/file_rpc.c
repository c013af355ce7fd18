/* SPDX-License-Identifier: BSD-3-Clause */
/* file_rpc.c: see file_rpc.h. */
#include "backends/file/file_rpc.h"

#include "bdev/bdev_device.h"
#include "rpc/json.h"

const struct rpc_param file_rpc_name_params[1] = {
	RPC_PARAM(struct file_rpc_name, name, .required = true, .doc = "Name of the device."),
};

void file_rpc_created(void *arg, struct bdev *b, const struct err *e)
{
	if (b)
		rpc_reply(arg, json_object_new_string(b->name));
	else
		rpc_reply_err(arg, e);
}

void file_rpc_delete(struct rpc_call *call, void *args)
{
	struct file_rpc *fr = rpc_ctx(call);
	const struct file_rpc_name *a = args;
	struct err e = { 0 };

	if (file_delete(fr->files, a->name, bdev_rpc_deleted, call, &e) != 0)
		rpc_reply_err(call, &e);
}

static void rescanned(void *arg, const struct err *e)
{
	if (e)
		rpc_reply_err(arg, e);
	else
		rpc_reply_true(arg);
}

void file_rpc_rescan(struct rpc_call *call, void *args)
{
	struct file_rpc *fr = rpc_ctx(call);
	const struct file_rpc_name *a = args;

	file_rescan(fr->files, a->name, rescanned, call);
}

void file_rpc_save(struct json_object *params, const struct file_facts *f)
{
	static const char *const not_ours[] = { "num_blocks", "physical_block_size", "md_size" };

	for (size_t i = 0; i < ARRAY_SIZE(not_ours); i++)
		json_object_object_del(params, not_ours[i]);
	json_add_text(params, "filename", f->filename);
}
