/* SPDX-License-Identifier: BSD-3-Clause */
/* delay_rpc.h: bdev_delay_create and its kin. */
#ifndef BACKENDS_DELAY_DELAY_RPC_H
#define BACKENDS_DELAY_DELAY_RPC_H

#include "bdev/bdev_rpc.h"

/* Control reactor. `kind` is room for what bdev_rpc keeps; it lives as long as `br`. */
void delay_rpc_add(struct bdev_rpc *br, struct bdev_rpc_order_kind *kind);

#endif
