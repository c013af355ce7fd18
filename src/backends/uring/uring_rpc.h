/* SPDX-License-Identifier: BSD-3-Clause */
/* uring_rpc.h: bdev_uring_create and its kin. */
#ifndef BACKENDS_URING_URING_RPC_H
#define BACKENDS_URING_URING_RPC_H

#include "backends/file/file_rpc.h"
#include "backends/uring/uring.h"

/* Control reactor. `fr` lives as long as `br`; uring_rpc_fini() when no disk is left. */
void uring_rpc_init(struct file_rpc *fr, struct bdev_rpc *br);
void uring_rpc_fini(struct file_rpc *fr);

#endif
