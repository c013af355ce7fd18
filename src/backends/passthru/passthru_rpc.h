/* SPDX-License-Identifier: BSD-3-Clause */
/* passthru_rpc.h: bdev_passthru_create and its kin. */
#ifndef BACKENDS_PASSTHRU_PASSTHRU_RPC_H
#define BACKENDS_PASSTHRU_PASSTHRU_RPC_H

#include "bdev/bdev_rpc.h"

/* Control reactor. `kind` is room for what bdev_rpc keeps; it lives as long as `br`. */
void passthru_rpc_add(struct bdev_rpc *br, struct bdev_rpc_order_kind *kind);

#endif
