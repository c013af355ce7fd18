/* SPDX-License-Identifier: BSD-3-Clause */
/* aio_rpc.h: bdev_aio_create and its kin. */
#ifndef BACKENDS_AIO_AIO_RPC_H
#define BACKENDS_AIO_AIO_RPC_H

#include "backends/aio/aio.h"
#include "bdev/bdev_rpc.h"

struct aio_rpc {
	struct bdev_rpc *br;
	struct file_backend *files;
	struct bdev_rpc_kind kind;
};

/* Control reactor. `ar` lives as long as `br`; aio_rpc_fini() when no disk is left. */
void aio_rpc_init(struct aio_rpc *ar, struct bdev_rpc *br);
void aio_rpc_fini(struct aio_rpc *ar);

#endif
