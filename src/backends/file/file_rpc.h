/* SPDX-License-Identifier: BSD-3-Clause */
/* file_rpc.h: what the methods of disks over files share, whatever engine moves their data. An engine's back-end has a
 * `struct file_rpc` as its methods' context, its own create method, and the rest from here:
 *
 *     RPC_METHOD("bdev_uring_delete", struct file_rpc_name, file_rpc_name_params, file_rpc_delete, ...)
 */
#ifndef BACKENDS_FILE_FILE_RPC_H
#define BACKENDS_FILE_FILE_RPC_H

#include "backends/file/file.h"
#include "bdev/bdev_rpc.h"
#include "rpc/rpc.h"

struct file_rpc {
	struct file_backend *files;
	struct bdev_rpc_kind kind;
};

struct file_rpc_name {
	char *name;
};
extern const struct rpc_param file_rpc_name_params[1];

/* Answers a create method with the new disk's name, or what is wrong: for file_create(); `arg` is the call. */
void file_rpc_created(void *arg, struct bdev *b, const struct err *e);
/* Both take struct file_rpc_name. */
rpc_handler file_rpc_delete, file_rpc_rescan;

/* A saved disk's parameters: the file's name in place of what the file itself says (size, metadata). */
void file_rpc_save(struct json_object *params, const struct file_facts *f);

#endif
