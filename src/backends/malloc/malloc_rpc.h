/* SPDX-License-Identifier: BSD-3-Clause */
/* malloc_rpc.h: bdev_malloc_create and its kin. */
#ifndef BACKENDS_MALLOC_MALLOC_RPC_H
#define BACKENDS_MALLOC_MALLOC_RPC_H

#include "bdev/bdev_rpc.h"

/* Control reactor. `kind` is room for what bdev_rpc keeps; it lives as long as `br`. */
void malloc_rpc_add(struct bdev_rpc *br, struct bdev_rpc_kind *kind);

#endif
