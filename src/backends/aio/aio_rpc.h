/* SPDX-License-Identifier: BSD-3-Clause */
/* aio_rpc.h: bdev_aio_create and its kin. */
#ifndef BACKENDS_AIO_AIO_RPC_H
#define BACKENDS_AIO_AIO_RPC_H

#include "backends/aio/aio.h"
#include "backends/file/file_rpc.h"

/* Control reactor. `fr` lives as long as `br`; aio_rpc_fini() when no disk is left. */
void aio_rpc_init(struct file_rpc *fr, struct bdev_rpc *br);
void aio_rpc_fini(struct file_rpc *fr);

#endif
