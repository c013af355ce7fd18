/* SPDX-License-Identifier: BSD-3-Clause */
/* null_rpc.h: bdev_null_create and its kin. */
#ifndef BACKENDS_NULL_NULL_RPC_H
#define BACKENDS_NULL_NULL_RPC_H

#include "bdev/bdev_rpc.h"

/* Control reactor. `kind` is room for what bdev_rpc keeps; it lives as long as `br`. */
void null_rpc_add(struct bdev_rpc *br, struct bdev_rpc_kind *kind);

#endif
