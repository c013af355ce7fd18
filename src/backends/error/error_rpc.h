/* SPDX-License-Identifier: BSD-3-Clause */
/* error_rpc.h: bdev_error_create and its kin. */
#ifndef BACKENDS_ERROR_ERROR_RPC_H
#define BACKENDS_ERROR_ERROR_RPC_H

#include "bdev/bdev_rpc.h"

/* Control reactor. `kind` is room for what bdev_rpc keeps; it lives as long as `br`. */
void error_rpc_add(struct bdev_rpc *br, struct bdev_rpc_order_kind *kind);

#endif
