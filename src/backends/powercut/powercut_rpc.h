/* SPDX-License-Identifier: BSD-3-Clause */
/* powercut_rpc.h: bdev_powercut_create and its kin. */
#ifndef BACKENDS_POWERCUT_POWERCUT_RPC_H
#define BACKENDS_POWERCUT_POWERCUT_RPC_H

#include "bdev/bdev_rpc.h"

struct powercut_rpc {
	struct bdev_rpc_kind kind;
	struct bdev_rpc_order_kind order_kind;
};

/* Control reactor. `pr` is room for what bdev_rpc keeps; it lives as long as `br`. */
void powercut_rpc_add(struct powercut_rpc *pr, struct bdev_rpc *br);

#endif
