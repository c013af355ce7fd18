/* SPDX-License-Identifier: BSD-3-Clause */
/* uring_rpc.h: bdev_uring_create and its kin. */
#ifndef BACKENDS_URING_URING_RPC_H
#define BACKENDS_URING_URING_RPC_H

#include "backends/uring/uring.h"
#include "bdev/bdev_rpc.h"

struct uring_rpc {
	struct bdev_rpc *br;
	struct file_backend *files;
	struct bdev_rpc_kind kind;
};

/* Control reactor. `ur` lives as long as `br`; uring_rpc_fini() when no disk is left. */
void uring_rpc_init(struct uring_rpc *ur, struct bdev_rpc *br);
void uring_rpc_fini(struct uring_rpc *ur);

#endif
